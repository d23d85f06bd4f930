/* What is copied, what waits, what never is; what is ours and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failover/acl_sync.h"

static struct config *config;
static struct acl_list source;
static struct acl_list target;
static struct acl_sync_record before;
static struct acl_sync_plan plan;
static struct err err;
static bool first_closes;
static const char *const own[] = {"User:ferry", "User:oper"};
static const char *const topics[] = {"orders.a", "orders.b", "payments"};
static const char *const groups[] = {"app-1", "app-2"};

static void load(const char *service)
{
    char text[1500];
    config_free(config);
    snprintf(text, sizeof(text),
             "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": "
             "\"h:1\"}}, \"b\": {\"kafka\": {\"bootstrap.servers\": \"h:2\"}}}, \"services\": "
             "{\"s\": {\"home\": \"a\", \"others\": [\"b\"], %s}}}",
             service);
    config = config_parse(text, strlen(text), "f", &err);
    assert_non_null(config);
}

#define TOPICS "\"topics\": {\"include\": [\"orders.*\", \"payments\"]}"
#define ON     ", \"acl_sync\": {\"topics\": true}"

static int set_up(void **state)
{
    (void)state;
    load(TOPICS ON);
    first_closes = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    acl_list_free(&source);
    acl_list_free(&target);
    acl_sync_record_done(&before);
    acl_sync_plan_done(&plan);
    plan = (struct acl_sync_plan){.found = 0};
    config_free(config);
    config = NULL;
    return 0;
}

/* "Allow Read topic literal orders.a User:x", host "*" */
static struct acl entry(const char *text, char words[6][100])
{
    struct acl acl = {.host = (char *)(uintptr_t)"*", .permission = ACL_ALLOW};
    assert_int_equal(sscanf(text, "%99s %99s %99s %99s %99s %99s", words[0], words[1], words[2],
                            words[3], words[4], words[5]),
                     6);
    acl.permission = strcmp(words[0], "Deny") == 0 ? ACL_DENY : ACL_ALLOW;
    assert_true(acl_operation_parse(words[1], &acl.operation));
    assert_true(acl_resource_parse(words[2], &acl.resource));
    assert_true(acl_pattern_parse(words[3], &acl.pattern));
    acl.name = words[4];
    acl.principal = words[5];
    return acl;
}

static void put(struct acl_list *list, const char *text)
{
    char words[6][100];
    const struct acl acl = entry(text, words);
    acl_list_add(list, &acl);
}

static bool has(const struct acl_list *list, const char *text)
{
    char words[6][100];
    const struct acl acl = entry(text, words);
    return acl_list_has(list, &acl);
}

static bool planned(void)
{
    const struct acl_sync_facts facts = {.service = config_service(config, "s"),
                                         .topics = topics,
                                         .topics_count = 3,
                                         .groups = groups,
                                         .groups_count = 2,
                                         .source = &source,
                                         .target = &target,
                                         .own = own,
                                         .own_count = 2,
                                         .first_closes = first_closes};
    acl_sync_plan_done(&plan);
    return acl_sync_plan(&facts, &before, &plan, &err);
}

static void assert_left(const char *text, const char *why)
{
    char words[6][100];
    const struct acl acl = entry(text, words);
    for (size_t i = 0; i < plan.left.count; i++) {
        if (acl_equal(&plan.left.acls[i], &acl)) {
            assert_non_null(strstr(plan.whys[i], why));
            return;
        }
    }
    fail_msg("%s is not left out", text);
}

#define OURS(text)     has(&plan.record.ours, text)
#define WITHHELD(text) has(&plan.record.withheld, text)

static void what_reads_is_copied_what_alters_is_withheld(void **state)
{
    static const char *const reads[] = {"Read", "Describe", "DescribeConfigs"};
    static const char *const alters[] = {"Write", "Create", "Delete", "Alter", "AlterConfigs"};
    char text[100];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "Allow %s topic literal payments User:x", reads[i]);
        put(&source, text);
    }
    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "Allow %s topic literal payments User:x", alters[i]);
        put(&source, text);
    }
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 3);
    assert_int_equal(plan.to_create.count, 3);
    assert_int_equal(plan.record.withheld.count, 5);
    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "Allow %s topic literal payments User:x", alters[i]);
        assert_true(WITHHELD(text));
    }
}

static void of_all_only_what_reads(void **state)
{
    (void)state;
    put(&source, "Allow All topic literal payments User:x");
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 2);
    assert_true(OURS("Allow Read topic literal payments User:x"));
    assert_true(OURS("Allow DescribeConfigs topic literal payments User:x"));
    assert_int_equal(plan.record.withheld.count, 1);
    assert_true(WITHHELD("Allow All topic literal payments User:x"));
}

static void a_host_is_kept(void **state)
{
    struct acl acl = {ACL_TOPIC, ACL_LITERAL, NULL, NULL, NULL, ACL_READ, ACL_ALLOW};
    (void)state;
    acl.name = (char *)(uintptr_t)"payments";
    acl.principal = (char *)(uintptr_t)"User:x";
    acl.host = (char *)(uintptr_t)"10.0.0.1";
    acl_list_add(&source, &acl);
    assert_true(planned());
    assert_int_equal(plan.to_create.count, 1);
    assert_true(acl_equal(&plan.to_create.acls[0], &acl));
}

static void nothing_reaches_beyond_the_service(void **state)
{
    (void)state;
    put(&source, "Allow Read topic prefixed orders. User:inside");
    put(&source, "Allow Read topic prefixed orders.b User:narrower");
    put(&source, "Allow Read topic prefixed o User:wider");
    put(&source, "Allow Write topic literal * User:all");
    put(&source, "Allow Read topic prefixed x User:other");
    put(&source, "Allow Read topic literal shipments User:other");
    put(&source, "Allow Read topic literal ferry.control.s User:other");
    put(&source, "Allow Read group literal app-1 User:other");
    put(&source,
        "Allow Read topic literal orders.later User:early"); /* comes later, and is ours then */
    assert_true(planned());
    assert_true(OURS("Allow Read topic prefixed orders. User:inside"));
    assert_true(OURS("Allow Read topic prefixed orders.b User:narrower"));
    assert_true(OURS("Allow Read topic literal orders.a User:wider"));
    assert_true(OURS("Allow Read topic literal orders.b User:wider"));
    assert_true(OURS("Allow Read topic literal orders.later User:early"));
    assert_int_equal(plan.record.ours.count, 5);
    assert_int_equal(plan.record.withheld.count, 3);
    assert_true(WITHHELD("Allow Write topic literal payments User:all"));
    assert_int_equal(plan.found, 5);
}

static void what_is_excluded_or_reserved_narrows_a_prefix(void **state)
{
    (void)state;
    load("\"topics\": {\"include\": [\"*\"], \"exclude\": [\"payments\"]}" ON);
    put(&source, "Allow Read topic prefixed orders. User:x");
    put(&source, "Allow Read topic prefixed pay User:y");
    put(&source, "Allow Read topic literal payments User:z");
    assert_true(planned());
    assert_false(OURS("Allow Read topic prefixed orders. User:x"));
    assert_true(OURS("Allow Read topic literal orders.a User:x"));
    assert_false(OURS("Allow Read topic literal payments User:z"));
    acl_list_free(&source);
    load("\"topics\": {\"include\": [\"*\"]}" ON);
    put(&source, "Allow Read topic prefixed o User:x");
    put(&source, "Allow Read topic prefixed f User:x"); /* ferry.control.s begins so */
    put(&source, "Allow Read topic prefixed ferry.c User:x");
    put(&source, "Allow Read topic prefixed _ User:x");
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 1);
    assert_true(OURS("Allow Read topic prefixed o User:x"));
}

static void ferrys_own_and_the_excluded_are_never_copied(void **state)
{
    (void)state;
    load(TOPICS ", \"acl_sync\": {\"topics\": true, \"exclude\": [\"User:admin-*\"]}");
    put(&source, "Allow Read topic literal payments User:ferry");
    put(&source, "Deny Write topic literal payments User:oper");
    put(&source, "Allow All topic literal payments User:admin-1");
    put(&source, "Allow Read topic literal payments User:adm");
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 1);
    assert_int_equal(plan.record.withheld.count, 0);
    assert_left("Allow Read topic literal payments User:ferry", "Ferry's own");
    assert_left("Deny Write topic literal payments User:oper", "Ferry's own");
    assert_left("Allow All topic literal payments User:admin-1", "acl_sync.exclude");
}

static void a_denial_is_copied_before_what_it_bounds(void **state)
{
    (void)state;
    put(&source, "Allow Read topic prefixed orders. User:x");
    put(&source, "Deny Read topic literal orders.b User:x");
    put(&source, "Deny All topic literal orders.a User:y");
    put(&source, "Deny Write topic literal orders.a User:z");
    assert_true(planned());
    assert_int_equal(plan.to_create.count, 3);
    assert_int_equal(plan.to_create.acls[0].permission, ACL_DENY);
    assert_int_equal(plan.to_create.acls[1].permission, ACL_DENY);
    assert_true(OURS("Deny All topic literal orders.a User:y"));
    assert_true(WITHHELD("Deny Write topic literal orders.a User:z"));
}

/* DENY for User:* would deny Ferry; without it the ALLOWs would give more than they do at the source. */
static void a_denial_of_everybody_is_not_copied_nor_what_it_bounds(void **state)
{
    (void)state;
    put(&source, "Deny Read topic literal orders.b User:*");
    put(&source, "Allow Read topic prefixed orders. User:x");
    put(&source, "Allow Describe topic literal orders.b User:x");
    put(&source, "Allow Read topic literal payments User:x");
    assert_true(planned());
    assert_left("Deny Read topic literal orders.b User:*", "would stop Ferry too");
    assert_left("Allow Read topic literal orders.b User:x", "bounds it");
    assert_true(OURS("Allow Read topic literal orders.a User:x"));
    assert_true(OURS("Allow Describe topic literal orders.b User:x"));
    assert_true(OURS("Allow Read topic literal payments User:x"));
    assert_int_equal(plan.record.ours.count, 3);
}

static void an_excluded_denial_bounds_what_everybody_may(void **state)
{
    (void)state;
    load(TOPICS ", \"acl_sync\": {\"topics\": true, \"exclude\": [\"User:bad\"]}");
    put(&source, "Deny Read topic literal payments User:bad");
    put(&source, "Allow Read topic literal payments User:*");
    put(&source, "Allow Read topic literal payments User:x");
    assert_true(planned());
    assert_left("Allow Read topic literal payments User:*", "bounds it");
    assert_int_equal(plan.record.ours.count, 1);
}

static void what_others_made_is_never_ours(void **state)
{
    (void)state;
    put(&source, "Allow Read topic literal payments User:x");
    put(&source, "Allow Read topic literal payments User:y");
    put(&target, "Allow Read topic literal payments User:x");
    put(&target, "Allow Read topic literal payments User:stranger");
    assert_true(planned());
    assert_int_equal(plan.theirs.count, 1);
    assert_string_equal(plan.theirs.acls[0].principal, "User:x");
    assert_int_equal(plan.record.ours.count, 1);
    assert_int_equal(plan.to_create.count, 1);
    assert_int_equal(plan.to_delete.count, 0);
    /* Gone at the source: theirs stays, too. */
    acl_list_free(&source);
    put(&source, "Allow Read topic literal payments User:y");
    assert_true(planned());
    assert_int_equal(plan.to_delete.count, 0);
}

static void what_is_ours_goes_with_the_source(void **state)
{
    (void)state;
    put(&source, "Allow Read topic literal payments User:stays");
    put(&before.ours, "Allow Read topic literal payments User:stays");
    put(&before.ours, "Allow Read topic literal payments User:gone");
    put(&before.ours, "Deny Read topic literal payments User:gone");
    put(&before.ours, "Allow Read topic literal gone User:stays");
    put(&target, "Allow Read topic literal payments User:stays");
    put(&target, "Allow Read topic literal payments User:gone");
    assert_true(planned());
    assert_int_equal(plan.to_create.count, 0);
    assert_int_equal(plan.to_delete.count, 3);
    assert_int_equal(plan.to_delete.acls[2].permission, ACL_DENY); /* what it bounds goes first */
    assert_true(OURS("Allow Read topic literal payments User:stays"));
    /* Taken away by hand at the target: put right. */
    acl_list_free(&target);
    assert_true(planned());
    assert_int_equal(plan.to_create.count, 1);
}

static void a_source_without_any_takes_nothing_away(void **state)
{
    (void)state;
    put(&before.ours, "Allow Read topic literal payments User:x");
    put(&source, "Allow Read topic literal shipments User:x");
    assert_false(planned());
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.what, "1 are copied"));
    assert_non_null(strstr(err.hint, "ferry acls remove s"));
    acl_sync_record_done(&before);
    before = (struct acl_sync_record){.ours = {.acls = NULL}};
    assert_true(planned());
}

static void too_many_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i <= ACL_SYNC_MOST; i++) {
        char text[100];
        snprintf(text, sizeof(text), "Allow Read topic literal payments User:%d", i);
        put(&source, text);
    }
    assert_false(planned());
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.what, "more than 50000"));
}

/* allow.everyone.if.no.acl.found: the first entry about a topic takes it from everybody else. */
static void the_first_entry_about_a_topic_may_close_it(void **state)
{
    (void)state;
    first_closes = true;
    put(&source, "Allow Read topic literal payments User:x");
    put(&source, "Allow Read topic prefixed orders. User:x");
    put(&source, "Allow Read topic literal orders.a User:x");
    put(&target, "Allow Write topic literal orders.a User:ferry");
    assert_true(planned());
    assert_left("Allow Read topic literal payments User:x", "allow.everyone");
    assert_left("Allow Read topic prefixed orders. User:x", "allow.everyone");
    assert_int_equal(plan.record.ours.count, 1);
    assert_true(OURS("Allow Read topic literal orders.a User:x"));
    put(&target, "Allow Write topic prefixed o User:ferry");
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 2);
    put(&target, "Allow Write topic literal * User:ferry");
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 3);
}

static void groups_are_asked_for_by_themselves(void **state)
{
    (void)state;
    put(&source, "Allow Read topic literal payments User:x");
    put(&source, "Allow All group literal * User:x");
    put(&source, "Allow Read group prefixed app- User:x");
    put(&source, "Allow Delete group literal app-1 User:y");
    put(&source, "Allow Read group literal ferry-s-a-b User:x");
    load(TOPICS ", \"groups\": {\"include\": [\"app-*\"]}" ON);
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 1);
    load(TOPICS ", \"groups\": {\"include\": [\"app-*\"]}, \"acl_sync\": {\"groups\": true}");
    assert_true(planned());
    assert_int_equal(plan.record.ours.count, 3);
    assert_true(OURS("Allow Read group literal app-1 User:x"));
    assert_true(OURS("Allow Read group literal app-2 User:x"));
    assert_true(OURS("Allow Read group prefixed app- User:x"));
    assert_true(WITHHELD("Allow All group literal app-1 User:x"));
    assert_true(WITHHELD("Allow Delete group literal app-1 User:y"));
}

static void off_copies_nothing(void **state)
{
    (void)state;
    load(TOPICS);
    put(&source, "Allow Read topic literal payments User:x");
    put(&source, "Allow Read group literal app-1 User:x");
    assert_true(planned());
    assert_int_equal(plan.found, 0);
}

static void the_record_says_the_same_again(void **state)
{
    (void)state;
    put(&source, "Allow All topic literal payments User:x");
    put(&source, "Deny Read topic prefixed orders. User:y");
    assert_true(planned());
    json_t *record = json_pack("{sososs}", "ours", acl_sync_entries(&plan.record.ours), "withheld",
                               acl_sync_entries(&plan.record.withheld), "time", "T");
    char *text = json_dumps(record, 0);
    acl_sync_parse(text, &before);
    assert_int_equal(before.ours.count, 3);
    assert_int_equal(before.withheld.count, 1);
    assert_true(has(&before.ours, "Deny Read topic prefixed orders. User:y"));
    assert_true(has(&before.withheld, "Allow All topic literal payments User:x"));
    char line[ACL_SYNC_LINE_BYTES];
    assert_string_equal(acl_sync_line(text, line), "3 copied, 1 withheld; changed T");
    free(text);
    json_decref(record);
}

static void a_hostile_record_gives_no_entry(void **state)
{
    static const char *const texts[] = {
        "nothing",
        "{}",
        "{\"ours\": 7}",
        "{\"ours\": [7, [], [\"Allow\"], {\"a\": 1}]}",
        "{\"ours\": [[\"Maybe\",\"Read\",\"topic\",\"literal\",\"t\",\"User:x\",\"*\"]]}",
        "{\"ours\": [[\"Allow\",\"Fly\",\"topic\",\"literal\",\"t\",\"User:x\",\"*\"]]}",
        "{\"ours\": [[\"Allow\",\"Read\",\"topic\",\"any\",\"t\",\"User:x\",\"*\"]]}",
        "{\"ours\": [[\"Allow\",\"Read\",\"topic\",\"literal\",\"\",\"User:x\",\"*\"]]}",
        "{\"ours\": [[\"Allow\",\"Read\",\"topic\",\"literal\",\"t\",\"User:x\",null]]}",
    };
    char line[ACL_SYNC_LINE_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        acl_sync_parse(texts[i], &before);
        assert_int_equal(before.ours.count, 0);
        acl_sync_record_done(&before);
    }
    acl_sync_parse(NULL, &before);
    assert_int_equal(before.ours.count + before.withheld.count, 0);
    assert_string_equal(acl_sync_line(NULL, line), "");
    assert_string_equal(acl_sync_line("{\"ours\": 5}", line),
                        "0 copied, 0 withheld; changed at an unknown time");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_reads_is_copied_what_alters_is_withheld),
        TEST(of_all_only_what_reads),
        TEST(a_host_is_kept),
        TEST(nothing_reaches_beyond_the_service),
        TEST(what_is_excluded_or_reserved_narrows_a_prefix),
        TEST(ferrys_own_and_the_excluded_are_never_copied),
        TEST(a_denial_is_copied_before_what_it_bounds),
        TEST(a_denial_of_everybody_is_not_copied_nor_what_it_bounds),
        TEST(an_excluded_denial_bounds_what_everybody_may),
        TEST(what_others_made_is_never_ours),
        TEST(what_is_ours_goes_with_the_source),
        TEST(a_source_without_any_takes_nothing_away),
        TEST(too_many_are_refused),
        TEST(the_first_entry_about_a_topic_may_close_it),
        TEST(groups_are_asked_for_by_themselves),
        TEST(off_copies_nothing),
        TEST(the_record_says_the_same_again),
        TEST(a_hostile_record_gives_no_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
