/* Kafka's words for permissions, who we are, and what is said when one is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "kafka/acl.h"
#include "kafka/admin_acls.h"

static struct config *config_of(const char *kafka, const char *secrets)
{
    char text[2000];
    struct err err = {0};
    snprintf(text, sizeof(text),
             "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": "
             "\"h:1\"%s}%s}, \"b\": {\"kafka\": {\"bootstrap.servers\": \"h:2\"}}}, \"services\": "
             "{\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"t\"]}}}}",
             kafka, secrets);
    struct config *config = config_parse(text, strlen(text), "test", &err);
    assert_string_equal(err.what, "");
    assert_non_null(config);
    return config;
}

static void assert_principal(const char *kafka, const char *secrets, bool known,
                             const char *expected)
{
    char name[ACL_PRINCIPAL_BYTES];
    struct config *config = config_of(kafka, secrets);
    assert_int_equal(acl_principal(&config_site(config, "a")->kafka, name), known);
    assert_string_equal(name, expected);
    config_free(config);
}

#define SASL ", \"security.protocol\": \"SASL_PLAINTEXT\", \"sasl.mechanism\": \"PLAIN\""

static void we_are_whom_we_sign_in_as(void **state)
{
    (void)state;
    assert_principal("", "", true, "User:ANONYMOUS");
    assert_principal(", \"security.protocol\": \"SSL\"", "", true, "User:ANONYMOUS");
    assert_principal(SASL ", \"sasl.username\": \"ferry\"", "", true, "User:ferry");
    assert_principal(SASL, "", false, "User:?");
    assert_principal(", \"security.protocol\": \"SSL\", \"ssl.certificate.location\": "
                     "\"/nowhere.pem\", \"ssl.key.location\": \"/nowhere.key\"",
                     "", false, "User:?");
}

static void names_go_both_ways(void **state)
{
    (void)state;
    enum acl_operation operation;
    enum acl_resource resource;
    enum acl_pattern pattern;
    for (int i = ACL_ALL; i <= ACL_IDEMPOTENT_WRITE; i++) {
        assert_true(acl_operation_parse(acl_operation_name((enum acl_operation)i), &operation));
        assert_int_equal(operation, i);
    }
    assert_true(acl_resource_parse("transactional-id", &resource));
    assert_int_equal(resource, ACL_TRANSACTIONAL_ID);
    assert_true(acl_pattern_parse("PREFIXED", &pattern));
    assert_int_equal(pattern, ACL_PREFIXED);
    assert_false(acl_operation_parse("unknown", &operation));
    assert_false(acl_resource_parse(NULL, &resource));
    assert_string_equal(acl_operation_name((enum acl_operation)99), "unknown");
}

static void some_operations_include_others(void **state)
{
    (void)state;
    assert_true(acl_includes(ACL_ALL, ACL_CREATE));
    assert_true(acl_includes(ACL_READ, ACL_DESCRIBE));
    assert_true(acl_includes(ACL_ALTER, ACL_DESCRIBE));
    assert_true(acl_includes(ACL_ALTER_CONFIGS, ACL_DESCRIBE_CONFIGS));
    assert_false(acl_includes(ACL_DESCRIBE_CONFIGS, ACL_DESCRIBE));
    assert_false(acl_includes(ACL_CREATE, ACL_DESCRIBE));
    assert_false(acl_includes(ACL_READ, ACL_WRITE));
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    char text[ACL_LACKS_BYTES];
    assert_string_equal(acl_lacks("User:m", ACL_WRITE, ACL_TOPIC, "t", text),
                        "User:m lacks Write on topic 't'");
    assert_string_equal(acl_lacks("User:m", ACL_WRITE, ACL_TRANSACTIONAL_ID, "w", text),
                        "User:m lacks Write on transactional-id 'w'");
    assert_string_equal(acl_lacks("User:m", ACL_ALTER, ACL_CLUSTER, ACL_CLUSTER_NAME, text),
                        "User:m lacks Alter on the cluster");
    assert_string_equal(acl_lacks("User:m", ACL_DESCRIBE, ACL_TOPIC, "t", text),
                        "User:m lacks Read on topic 't', or even Describe");
    assert_true(acl_refusal(29) && acl_refusal(30) && acl_refusal(31) && acl_refusal(53));
    assert_false(acl_refusal(0) || acl_refusal(3) || acl_refusal(58));
}

static void patterns_concern_topics(void **state)
{
    (void)state;
    struct acl acl = {.resource = ACL_TOPIC, .pattern = ACL_PREFIXED, .name = (char[]){"ord"}};
    assert_true(acl_concerns(&acl, ACL_TOPIC, "orders"));
    assert_false(acl_concerns(&acl, ACL_GROUP, "orders"));
    assert_false(acl_concerns(&acl, ACL_TOPIC, "or"));
    acl.pattern = ACL_LITERAL;
    assert_false(acl_concerns(&acl, ACL_TOPIC, "orders"));
    acl.name = (char[]){"*"};
    assert_true(acl_concerns(&acl, ACL_TOPIC, "orders"));
    acl.pattern = ACL_PREFIXED; /* a name that begins with a star is none */
    assert_false(acl_concerns(&acl, ACL_TOPIC, "orders"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(we_are_whom_we_sign_in_as),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(some_operations_include_others),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(patterns_concern_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
