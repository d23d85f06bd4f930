/* kafka/topic_id: ids of clusters that have none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/topic_id.h"

/* As UUID.randomUUID() makes them: version 4, variant 2. */
static const struct uuid kafkas = {
    {0x5a, 0x11, 0x22, 0x33, 0x44, 0x55, 0x46, 0x77, 0x88, 0x99, 0xaa, 0xbb, 'n', 'a', 'm', 'e'}
};
static const struct uuid another = {
    {1, 2, 3, 4, 5, 6, 0x40, 8, 0x80}
};
static const struct uuid zero;

static void a_name_has_one_id_in_a_cluster(void **state)
{
    struct uuid a = topic_id_of_name("lkc-1", "orders");
    struct uuid b = topic_id_of_name("lkc-1", "orders");

    (void)state;
    assert_true(uuid_equal(&a, &b));
    b = topic_id_of_name("lkc-1", "order");
    assert_false(uuid_equal(&a, &b));
    b = topic_id_of_name("lkc-2", "orders");
    assert_false(uuid_equal(&a, &b));
    b = topic_id_of_name("lkc-1o", "rders"); /* where one ends and the other begins */
    assert_false(uuid_equal(&a, &b));
}

/* It is written down in checkpoints and maps: the same for ever. */
static void it_does_not_change(void **state)
{
    struct uuid id = topic_id_of_name("lkc-1", "orders");
    char text[UUID_TEXT_BYTES];

    (void)state;
    assert_string_equal(uuid_hex(&id, text), "6ed0e65582fc855bb3fa6c1f6e616d65");
}

static void it_is_told_from_kafkas(void **state)
{
    struct uuid id = topic_id_of_name("lkc-1", "orders");

    (void)state;
    assert_true(topic_id_is_of_name(&id));
    assert_false(topic_id_is_of_name(&kafkas));
    assert_false(topic_id_is_of_name(&zero));
    id.bytes[15] = 'x';
    assert_false(topic_id_is_of_name(&id));
}

static void what_cannot_be_the_same_topic(void **state)
{
    struct uuid here = topic_id_of_name("lkc-1", "orders");
    struct uuid there = topic_id_of_name("lkc-2", "orders");

    (void)state;
    assert_true(topic_id_other(&kafkas, &another));
    assert_false(topic_id_other(&kafkas, &kafkas));
    assert_true(topic_id_other(&here, &there));
    assert_false(topic_id_other(&here, &here));
    assert_false(topic_id_other(&here, &kafkas)); /* upgraded, maybe */
    assert_false(topic_id_other(&kafkas, &here));
}

static void it_never_goes_to_a_broker(void **state)
{
    struct uuid id = topic_id_of_name("lkc-1", "orders");

    (void)state;
    assert_int_equal(topic_id_version(16, 13, &id), 12);
    assert_int_equal(topic_id_version(13, 13, &id), 12);
    assert_int_equal(topic_id_version(11, 13, &id), 11);
    assert_int_equal(topic_id_version(16, 13, &kafkas), 16);
    assert_int_equal(topic_id_version(-1, 13, &id), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_one_id_in_a_cluster),
        cmocka_unit_test(it_does_not_change),
        cmocka_unit_test(it_is_told_from_kafkas),
        cmocka_unit_test(what_cannot_be_the_same_topic),
        cmocka_unit_test(it_never_goes_to_a_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
