/* config/keys: the table is sound, names find their keys, numbers have units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/keys.h"

static const char *parent_of(const char *path, char out[KEY_PATH_BYTES])
{
    const char *dot = strrchr(path, '.');
    snprintf(out, KEY_PATH_BYTES, "%.*s", dot == NULL ? 0 : (int)(dot - path), path);
    return out;
}

/* Every row: its parent stands before it and can have members; defaults are values within the range; help is there. */
static void the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct key *key = &config_keys[i];
        char parent[KEY_PATH_BYTES];
        int64_t number;
        assert_true(strlen(key->path) + 3 < KEY_PATH_BYTES);
        assert_ptr_equal(keys_find(key->path), key); /* no path twice */
        assert_true(strlen(key->help) > 3);
        if (*parent_of(key->path, parent) != '\0') {
            const struct key *above = keys_find(parent);
            assert_non_null(above);
            assert_true(above < key);
            bool element = strcmp(strrchr(key->path, '.'), ".[]") == 0;
            assert_int_equal(above->type, element ? KEY_ARRAY : KEY_OBJECT);
        }
        if (key->type == KEY_BYTES || key->type == KEY_DURATION || key->type == KEY_COUNT) {
            assert_true(key->least < key->most);
            assert_true(keys_number(key->type, key->default_text, &number));
            assert_true(number >= key->least && number <= key->most);
            assert_true(keys_default(key->path) == number);
        }
        assert_true((key->type == KEY_CHOICE) == (key->choices != NULL));
    }
}

static void names_find_their_keys(void **state)
{
    (void)state;
    assert_string_equal(keys_member("", "sites")->path, "sites");
    assert_string_equal(keys_member("sites", "anything")->path, "sites.*");
    assert_string_equal(keys_member("sites.*", "kafka")->path, "sites.*.kafka");
    assert_string_equal(keys_member("sites.*.kafka", "bootstrap.servers")->path, "sites.*.kafka.*");
    assert_string_equal(keys_element("services.*.others")->path, "services.*.others.[]");
    assert_null(keys_member("sites.*", "kafak"));
    assert_null(keys_member("", "*"));
    assert_null(keys_member("", "http.listen")); /* one name, not a path */
    assert_null(keys_member("", "sites.*"));
    assert_null(keys_member("services.*.others", "[]"));
    assert_null(keys_element("sites"));
    char longer[500];
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    assert_null(keys_member("", longer));
    assert_string_equal(keys_member("sites", longer)->path, "sites.*");
}

static void near_names_are_suggested(void **state)
{
    (void)state;
    assert_string_equal(keys_suggest("", "deployement"), "deployment");
    assert_string_equal(keys_suggest("services.*", "tpoics"), "topics");
    assert_string_equal(keys_suggest("mirror", "fecth"), "fetch");
    assert_null(keys_suggest("services.*", "completely"));
    assert_null(keys_suggest("services.*", "x"));
    assert_null(keys_suggest("sites.*.redis", "topics")); /* of another place */
}

static void numbers_have_units(void **state)
{
    static const struct {
        enum key_type type;
        const char *text;
        int64_t number; /* -1 = refused */
    } rows[] = {
        {KEY_BYTES,    "0",                      0            },
        {KEY_BYTES,    "4096",                   4096         },
        {KEY_BYTES,    "5B",                     5            },
        {KEY_BYTES,    "64KiB",                  65536        },
        {KEY_BYTES,    "2MiB",                   2097152      },
        {KEY_BYTES,    "1GiB",                   1073741824   },
        {KEY_BYTES,    "1TiB",                   1099511627776},
        {KEY_BYTES,    "64MB",                   -1           },
        {KEY_BYTES,    "64mib",                  -1           },
        {KEY_BYTES,    "64M",                    -1           },
        {KEY_BYTES,    "1.5MiB",                 -1           },
        {KEY_BYTES,    "-1",                     -1           },
        {KEY_BYTES,    "+1",                     -1           },
        {KEY_BYTES,    " 1",                     -1           },
        {KEY_BYTES,    "1 MiB",                  -1           },
        {KEY_BYTES,    "MiB",                    -1           },
        {KEY_BYTES,    "",                       -1           },
        {KEY_BYTES,    "1s",                     -1           },
        {KEY_BYTES,    "99999999999999TiB",      -1           },
        {KEY_BYTES,    "9999999999999999999999", -1           },
        {KEY_DURATION, "250",                    250          },
        {KEY_DURATION, "250ms",                  250          },
        {KEY_DURATION, "5s",                     5000         },
        {KEY_DURATION, "2m",                     120000       },
        {KEY_DURATION, "1h",                     3600000      },
        {KEY_DURATION, "1d",                     -1           },
        {KEY_DURATION, "1us",                    -1           },
        {KEY_DURATION, "1KiB",                   -1           },
        {KEY_COUNT,    "7",                      7            },
        {KEY_COUNT,    "7s",                     -1           },
        {KEY_STRING,   "7",                      -1           },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t number = -1;
        bool ok = keys_number(rows[i].type, rows[i].text, &number);
        if (ok != (rows[i].number >= 0) || (ok && number != rows[i].number)) {
            fail_msg("'%s': %d %lld", rows[i].text, ok, (long long)number);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(names_find_their_keys),
        cmocka_unit_test(near_names_are_suggested),
        cmocka_unit_test(numbers_have_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
