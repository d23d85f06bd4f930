/* What is recorded of names: text and back; a record that anybody may have written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "dns/dns.h"

static void there_and_back(void **state)
{
    static const char text[] = "{\"by\":\"x\",\"epoch\":3,\"records\":{\"Kafka.Example.com.\":{"
                               "\"next\":\"b.example.com\",\"ttl\":30,"
                               "\"ttl_before\":3600,\"value\":\"a.example.com\"},\"new.example."
                               "com\":{\"ttl\":5,\"value\":null}}}";
    struct dns_recorded recorded;
    struct err err;
    (void)state;
    assert_true(dns_recorded_parse(text, &recorded, &err));
    assert_int_equal(recorded.epoch, 3);
    assert_int_equal(recorded.count, 2);
    struct dns_entry *entry = dns_recorded_find(&recorded, "kafka.example.com");
    assert_non_null(entry);
    assert_string_equal(entry->value, "a.example.com");
    assert_string_equal(entry->next, "b.example.com");
    assert_int_equal(entry->ttl_before_s, 3600);
    entry = dns_recorded_find(&recorded, "new.example.com");
    assert_string_equal(entry->value, "");
    assert_int_equal(entry->ttl_before_s, -1);
    json_t *tree = dns_recorded_json(&recorded);
    char *again = json_text(tree);
    assert_string_equal(
        again, "{\"epoch\":3,\"records\":{\"kafka.example.com\":{\"next\":\"b.example.com\","
               "\"ttl\":30,\"ttl_before\":3600,\"value\":\"a.example.com\"},"
               "\"new.example.com\":{\"ttl\":5,\"value\":null}}}");
    free(again);
    json_decref(tree);
}

static void none_is_recorded(void **state)
{
    struct dns_recorded recorded;
    (void)state;
    assert_true(dns_recorded_parse(NULL, &recorded, NULL));
    assert_int_equal(recorded.epoch, 0);
    assert_int_equal(recorded.count, 0);
    assert_null(dns_recorded_find(&recorded, "a"));
    struct dns_entry *made = dns_recorded_at(&recorded, "a");
    assert_ptr_equal(made, dns_recorded_find(&recorded, "a"));
    assert_ptr_equal(made, dns_recorded_at(&recorded, "a"));
}

static void what_is_not_of_its_form(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"records\":{}}",
        "{\"epoch\":0,\"records\":{}}",
        "{\"epoch\":1}",
        "{\"epoch\":1,\"records\":{\"a b\":{\"value\":\"x\",\"ttl\":1}}}",
        "{\"epoch\":1,\"records\":{\"a\":{\"value\":\"x y\",\"ttl\":1}}}",
        "{\"epoch\":1,\"records\":{\"a\":{\"value\":\"x\",\"ttl\":-1}}}",
        "{\"epoch\":1,\"records\":{\"a\":{\"value\":5}}}",
        "{\"epoch\":1,\"records\":{\"a\":7}}",
        "{\"epoch\":1,\"records\":{\"a\":{\"value\":\"x\"},\"A.\":{\"value\":\"y\"}}}",
    };
    struct dns_recorded recorded;
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(dns_recorded_parse(texts[i], &recorded, &err));
        assert_int_equal(err.kind, ERR_REFUSED);
        assert_int_equal(recorded.count, 0); /* nothing of it counts */
    }
}

static void more_than_there_can_be(void **state)
{
    struct dns_recorded recorded;
    char name[16];
    (void)state;
    assert_true(dns_recorded_parse(NULL, &recorded, NULL));
    for (int i = 0; i < DNS_ENTRIES_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        assert_non_null(dns_recorded_at(&recorded, name));
    }
    assert_null(dns_recorded_at(&recorded, "more"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(none_is_recorded),
        cmocka_unit_test(what_is_not_of_its_form),
        cmocka_unit_test(more_than_there_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
