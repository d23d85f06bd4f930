/* What is to be allowed, as narrow as the configuration permits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/permissions.h"

static struct config *config_of(const char *topics, const char *operator_section)
{
    char text[2000];
    struct err err = {0};
    snprintf(text, sizeof(text),
             "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": "
             "\"h:1\"}}, \"b\": {\"kafka\": {\"bootstrap.servers\": \"h:2\"}%s}}, \"services\": "
             "{\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": %s}}}",
             operator_section, topics);
    struct config *config = config_parse(text, strlen(text), "test", &err);
    assert_string_equal(err.what, "");
    assert_non_null(config);
    return config;
}

#define OPERATOR ", \"operator\": {\"kafka\": {\"client.id\": \"o\"}}"

static struct permissions list_of(const char *topics, const char *operator_section)
{
    static const char *const names[] = {"orders.eu", "orders.us", "x-orders", "orders.tmp"};
    struct permissions out;
    struct config *config = config_of(topics, operator_section);
    permissions_list(&out, config_service(config, "s"), config_site(config, "a"),
                     config_site(config, "b"), names, 4);
    config_free(config);
    return out;
}

/* "role pattern name operation" of every row about topics of the service, each on a line. */
static char *text_of(const struct permissions *all, enum permission_role role,
                     enum acl_resource resource)
{
    char *out = NULL;
    size_t room;
    FILE *stream = open_memstream(&out, &room);
    for (size_t i = 0; i < all->count; i++) {
        const struct permission *row = &all->rows[i];
        if (row->role == role && row->resource == resource) {
            fprintf(stream, "%s %s %s\n", acl_pattern_name(row->pattern), row->name,
                    acl_operation_name(row->operation));
        }
    }
    fclose(stream);
    return out;
}

static void assert_source(const char *topics, const char *expected, size_t notes)
{
    struct permissions all = list_of(topics, OPERATOR);
    char *text = text_of(&all, PERMISSION_SOURCE, ACL_TOPIC);
    assert_string_equal(text, expected);
    assert_int_equal(json_array_size(all.notes), notes);
    free(text);
    permissions_free(&all);
}

static void patterns_become_resources(void **state)
{
    (void)state;
    assert_source("{\"include\": [\"payments\"]}",
                  "literal payments Read\nliteral payments DescribeConfigs\n", 0);
    assert_source("{\"include\": [\"orders.*\", \"orders.*\"]}",
                  "prefixed orders. Read\nprefixed orders. DescribeConfigs\n", 0);
    assert_source("{\"include\": [\"orders.*\"], \"exclude\": [\"*.tmp\"]}",
                  "prefixed orders. Read\nprefixed orders. DescribeConfigs\n", 1);
    assert_source("{\"include\": [\"*\"]}", "literal * Read\nliteral * DescribeConfigs\n", 1);
    assert_source("{\"include\": [\"*orders*\"], \"exclude\": [\"*.tmp\", \"orders.*\"]}",
                  "literal x-orders Read\nliteral x-orders DescribeConfigs\n", 1);
    assert_source("{\"include\": [{\"regex\": \"orders\\\\.(eu|us)\"}]}",
                  "literal orders.eu Read\nliteral orders.eu DescribeConfigs\n"
                  "literal orders.us Read\nliteral orders.us DescribeConfigs\n",
                  1);
}

static void the_source_is_only_read(void **state)
{
    (void)state;
    struct permissions all = list_of("{\"include\": [\"orders.*\"]}", OPERATOR);
    for (size_t i = 0; i < all.count; i++) {
        if (all.rows[i].role == PERMISSION_SOURCE) {
            assert_true(all.rows[i].operation == ACL_READ ||
                        all.rows[i].operation == ACL_DESCRIBE_CONFIGS);
        }
    }
    permissions_free(&all);
}

static void who_copies_acls_reads_them_at_the_source(void **state)
{
    (void)state;
    struct permissions all =
        list_of("{\"include\": [\"t\"]}, \"acl_sync\": {\"topics\": true}", OPERATOR);
    char *text = text_of(&all, PERMISSION_SOURCE, ACL_CLUSTER);
    assert_string_equal(text, "literal kafka-cluster Describe\n");
    free(text);
    permissions_free(&all);
    all = list_of("{\"include\": [\"t\"]}", OPERATOR);
    text = text_of(&all, PERMISSION_SOURCE, ACL_CLUSTER);
    assert_string_equal(text, "");
    free(text);
    permissions_free(&all);
}

static void only_an_operator_alters_acls(void **state)
{
    (void)state;
    struct permissions all = list_of("{\"include\": [\"t\"]}", OPERATOR);
    char *text = text_of(&all, PERMISSION_OPERATOR, ACL_CLUSTER);
    assert_string_equal(text,
                        "literal kafka-cluster Alter\nliteral kafka-cluster DescribeConfigs\n");
    free(text);
    text = text_of(&all, PERMISSION_TARGET, ACL_CLUSTER);
    assert_string_equal(text, "");
    free(text);
    permissions_free(&all);
    all = list_of("{\"include\": [\"t\"]}", "");
    text = text_of(&all, PERMISSION_OPERATOR, ACL_TOPIC);
    assert_string_equal(text, "");
    free(text);
    text = text_of(&all, PERMISSION_TARGET, ACL_TRANSACTIONAL_ID);
    assert_string_equal(text, "literal ferry-keeper-s Write\nliteral ferry-op-s Write\n");
    free(text);
    assert_int_equal(json_array_size(all.notes), 1); /* no fence */
    permissions_free(&all);
}

/* A cluster that takes no transactions has nobody to be allowed to begin one. */
static void without_transactions_no_ids(void **state)
{
    (void)state;
    for (int with_operator = 0; with_operator < 2; with_operator++) {
        struct permissions all = list_of("{\"include\": [\"t\"]}",
                                         with_operator ? OPERATOR ", \"control\": \"single-writer\""
                                                       : ", \"control\": \"single-writer\"");
        for (size_t i = 0; i < all.count; i++) {
            assert_int_not_equal(all.rows[i].resource, ACL_TRANSACTIONAL_ID);
        }
        permissions_free(&all);
    }
}

/* `ferry check` makes a scratch topic, uses and deletes it: as the mirror, who is the one to be proven. */
static void the_scratch_topic_is_the_mirrors(void **state)
{
    (void)state;
    struct permissions all = list_of("{\"include\": [\"t\"]}", OPERATOR);
    char *text = text_of(&all, PERMISSION_TARGET, ACL_TOPIC);
    assert_non_null(strstr(text, "literal ferry.probe.s Create\nliteral ferry.probe.s Write\n"
                                 "literal ferry.probe.s Read\nliteral ferry.probe.s Delete\n"));
    free(text);
    text = text_of(&all, PERMISSION_OPERATOR, ACL_TOPIC);
    assert_null(strstr(text, "ferry.probe"));
    free(text);
    permissions_free(&all);
}

static void assert_quoted(const char *text, const char *expected)
{
    char *quoted = permissions_quote(text);
    assert_string_equal(quoted, expected);
    free(quoted);
}

static void a_shell_takes_them_as_they_are(void **state)
{
    (void)state;
    assert_quoted("orders.eu", "orders.eu");
    assert_quoted("*", "'*'");
    assert_quoted("", "''");
    assert_quoted("User:CN=a b,O=it's", "'User:CN=a b,O=it'\\''s'");
}

static void the_redis_user_has_its_keys_alone(void **state)
{
    (void)state;
    const struct config_redis redis = {.prefix = "a*:", .username = "m"};
    char *line = permissions_redis_line(&redis, "orders");
    assert_memory_equal(line, "ACL SETUSER m on '>PASSWORD' -@all +", 36);
    assert_non_null(strstr(line, " '~a\\*:{orders}:*'"));
    assert_null(strstr(line, "+@"));
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_become_resources),
        cmocka_unit_test(the_source_is_only_read),
        cmocka_unit_test(who_copies_acls_reads_them_at_the_source),
        cmocka_unit_test(only_an_operator_alters_acls),
        cmocka_unit_test(without_transactions_no_ids),
        cmocka_unit_test(the_scratch_topic_is_the_mirrors),
        cmocka_unit_test(a_shell_takes_them_as_they_are),
        cmocka_unit_test(the_redis_user_has_its_keys_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
