/* mirror/sequence: whose id it is, and 31 bits that stand for 63. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mirror/sequence.h"

#define SPAN ((int64_t)1 << 31)

static int64_t base_of(const char *deployment, const char *service, const char *from,
                       const char *to, uint8_t topic)
{
    struct uuid id = {{0}};
    memset(id.bytes, topic, sizeof(id.bytes));
    return sequence_id_base(deployment, service, from, to, &id);
}

static void others_ids_are_not_ours(void **state)
{
    (void)state;
    int64_t base = base_of("d", "s", "a", "b", 1);
    int32_t generation = -7;
    assert_false(sequence_id_ours(base, -1, &generation));
    assert_false(sequence_id_ours(base, 0, &generation));
    assert_false(
        sequence_id_ours(base, 123456, &generation)); /* allocated ids count up from zero */
    assert_false(sequence_id_ours(base, base - 1, &generation));
    assert_false(sequence_id_ours(base, base + GENERATION_MAX + 1, &generation));
    assert_false(sequence_id_ours(base, INT64_MAX, &generation));
    assert_int_equal(generation, -7);
}

static void every_generation_is_ours(void **state)
{
    (void)state;
    int64_t base = base_of("d", "s", "a", "b", 1);
    int32_t generation = -1;
    assert_true(sequence_id_ours(base, sequence_id(base, 0), &generation));
    assert_int_equal(generation, 0);
    assert_true(sequence_id_ours(base, sequence_id(base, GENERATION_MAX), &generation));
    assert_int_equal(generation, GENERATION_MAX);
}

static void an_id_has_its_prefix_and_is_positive(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        int64_t base = base_of("d", "s", "a", "b", (uint8_t)i);
        assert_true(base > 0);
        assert_int_equal(base >> 47, SEQUENCE_ID_PREFIX);
        assert_int_equal(base & GENERATION_MAX, 0);
    }
}

static void each_part_of_the_name_counts(void **state)
{
    (void)state;
    int64_t base = base_of("ab", "c", "x", "y", 1);
    assert_int_equal(base, base_of("ab", "c", "x", "y", 1));
    assert_int_not_equal(base, base_of("a", "bc", "x", "y", 1));
    assert_int_not_equal(base, base_of("ab", "d", "x", "y", 1));
    assert_int_not_equal(base, base_of("ab", "c", "y", "x", 1));
    assert_int_not_equal(base, base_of("ab", "c", "x", "y", 2));
}

static void widening_below_refuses_what_is_above(void **state)
{
    (void)state;
    assert_int_equal(sequence_widen_below(5, 4), -1);
    assert_int_equal(sequence_widen_below(0x7fffffff, 0x7ffffffe), -1);
    assert_int_equal(sequence_widen_below(5, 5), 5);
    assert_int_equal(sequence_widen_below(5, SPAN + 4), 5);
    assert_int_equal(sequence_widen_below(5, SPAN + 5), SPAN + 5);
    assert_int_equal(sequence_widen_below(0, 7 * SPAN), 7 * SPAN);
}

static void widening_takes_the_nearest_and_never_a_negative(void **state)
{
    (void)state;
    assert_int_equal(sequence_widen(0x7fffffff, 0), 0x7fffffff); /* not -1 */
    assert_int_equal(sequence_widen(0x7fffffff, SPAN), SPAN - 1);
    assert_int_equal(sequence_widen(0, SPAN - 1), SPAN);
    for (int64_t near = 5 * SPAN - 3; near < 5 * SPAN + 3; near++) {
        for (int64_t far = -1000; far <= 1000; far += 7) {
            assert_int_equal(sequence_widen(sequence_wire(near + far), near), near + far);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_ids_are_not_ours),
        cmocka_unit_test(every_generation_is_ours),
        cmocka_unit_test(an_id_has_its_prefix_and_is_positive),
        cmocka_unit_test(each_part_of_the_name_counts),
        cmocka_unit_test(widening_below_refuses_what_is_above),
        cmocka_unit_test(widening_takes_the_nearest_and_never_a_negative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
