/* Where a name leads: addresses, aliases over several answers, loops, ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/chain.h"

static struct message_answer answer;

static void begin_answer(void)
{
    memset(&answer, 0, sizeof(answer));
}

static void add(const char *owner, enum message_type type, const char *value)
{
    struct message_record *record = &answer.records[answer.records_count++];
    record->type = type;
    snprintf(record->owner, sizeof(record->owner), "%s", owner);
    snprintf(record->value, sizeof(record->value), "%s", value);
    answer.answers_count = answer.authority_end = answer.records_count;
}

static void an_address(void **state)
{
    struct chain chain;
    (void)state;
    chain_begin(&chain, "kafka", "b");
    begin_answer();
    add("other", MESSAGE_A, "192.0.2.9"); /* of nobody we asked for */
    add("b", MESSAGE_A, "192.0.2.1");
    add("b", MESSAGE_A, "192.0.2.2");
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_ADDRESS);
    assert_int_equal(chain.addresses_count, 2);
    assert_string_equal(chain.addresses[0], "192.0.2.1");
}

/* An answer has its aliases in any order, and may end at another server's door. */
static void aliases_over_two_answers(void **state)
{
    struct chain chain;
    (void)state;
    chain_begin(&chain, "kafka", "b");
    begin_answer();
    add("c", MESSAGE_CNAME, "d");
    add("b", MESSAGE_CNAME, "c");
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_ASK);
    assert_string_equal(chain_name(&chain), "d");
    begin_answer();
    add("d", MESSAGE_AAAA, "2001:db8::1");
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_ADDRESS);
}

static void nothing_there(void **state)
{
    struct chain chain;
    (void)state;
    chain_begin(&chain, "kafka", "b");
    begin_answer();
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_NOWHERE);
}

static void back_to_the_record(void **state)
{
    struct chain chain;
    (void)state;
    chain_begin(&chain, "kafka", "b");
    begin_answer();
    add("b", MESSAGE_CNAME, "c");
    add("c", MESSAGE_CNAME, "kafka");
    add("kafka", MESSAGE_CNAME,
        "a"); /* a resolver goes on from there: an address at its end is no excuse */
    add("a", MESSAGE_A, "192.0.2.1");
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_LOOP);
}

static void a_loop_beside_it(void **state)
{
    struct chain chain;
    (void)state;
    chain_begin(&chain, "kafka", "b");
    begin_answer();
    add("b", MESSAGE_CNAME, "c");
    add("c", MESSAGE_CNAME, "b");
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_LOOP);
}

static void longer_than_anybody_follows(void **state)
{
    struct chain chain;
    char from[16] = "n0";
    char to[16];
    (void)state;
    chain_begin(&chain, "kafka", from);
    begin_answer();
    for (int i = 1; i < 30; i++) {
        snprintf(to, sizeof(to), "n%d", i);
        add(from, MESSAGE_CNAME, to);
        memcpy(from, to, sizeof(from));
    }
    assert_int_equal(chain_follow(&chain, &answer), CHAIN_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address),       cmocka_unit_test(aliases_over_two_answers),
        cmocka_unit_test(nothing_there),    cmocka_unit_test(back_to_the_record),
        cmocka_unit_test(a_loop_beside_it), cmocka_unit_test(longer_than_anybody_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
