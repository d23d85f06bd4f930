/* Names: one text for what is one name; what lies in a zone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/name.h"

static void one_text_for_one_name(void **state)
{
    char out[DNS_NAME_BYTES];
    char longest[DNS_NAME_BYTES + 2] = "";
    (void)state;
    assert_true(dns_name("Kafka.Example.COM.", out));
    assert_string_equal(out, "kafka.example.com");
    assert_true(dns_name("_x.a-b.c1", out));
    for (size_t i = 0; i < DNS_NAME_BYTES - 1; i++) {
        longest[i] = i % 2 == 0 ? 'a' : '.';
    }
    assert_true(dns_name(longest, out)); /* 253 */
    assert_int_equal(strlen(out), 253);
    memcpy(longest + 253, ".a", 3);
    assert_false(dns_name(longest, out));
}

static void what_is_no_name(void **state)
{
    static const char *const texts[] = {
        "",
        ".",
        "a..b",
        ".a",
        "a b",
        "a\\.b",
        "b\xc3\xbc"
        "cher.example",
        "a/b",
        "a.b..",
        "*.a",
        "a\n",
        "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd.example"};
    char out[DNS_NAME_BYTES] = "x";
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(dns_name(texts[i], out));
        assert_string_equal(out, "");
    }
}

static void what_lies_in_a_zone(void **state)
{
    (void)state;
    assert_true(dns_name_below("example.com", "example.com"));
    assert_true(dns_name_below("a.b.example.com", "example.com"));
    assert_false(dns_name_below("badexample.com", "example.com"));
    assert_false(dns_name_below("com", "example.com"));
}

static void the_longest_zone_has_it(void **state)
{
    struct config_zone zones[] = {{.name = "example.com"}, {.name = "Kafka.example.com."}};
    const struct config config = {.zones = zones, .zones_count = 2};
    (void)state;
    assert_ptr_equal(dns_zone_of(&config, "a.kafka.example.com"), &zones[1]);
    assert_ptr_equal(dns_zone_of(&config, "kafka.example.com"), &zones[1]);
    assert_ptr_equal(dns_zone_of(&config, "b.example.com"), &zones[0]);
    assert_null(dns_zone_of(&config, "b.example.org"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_text_for_one_name),
        cmocka_unit_test(what_is_no_name),
        cmocka_unit_test(what_lies_in_a_zone),
        cmocka_unit_test(the_longest_zone_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
