/* config/services: sites, patterns, names, and two services beside each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

/* Three sites; services from the second line on. */
static struct config *with_services(const char *services, struct err *err)
{
    char text[4096];
    int len =
        snprintf(text, sizeof(text),
                 "{\"deployment\": \"d\", \"sites\": {"
                 "\"a\": {\"kafka\": {\"bootstrap.servers\": \"a:1\"}},"
                 "\"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}},"
                 "\"c\": {\"kafka\": {\"bootstrap.servers\": \"c:1\"}},"
                 "\"d\": {\"kafka\": {\"bootstrap.servers\": \"d:1\"}}}, \"services\": {\n%s}}",
                 services);
    assert_true(len < (int)sizeof(text));
    err_clear(err);
    return config_parse(text, (size_t)len, "f", err);
}

static struct config *accepted(const char *services)
{
    struct err err;
    struct config *config = with_services(services, &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    return config;
}

static void refused(const char *services, const char *what)
{
    struct err err;
    assert_null(with_services(services, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_string_equal(err.what, what);
}

#define TOPICS ", \"topics\": {\"include\": [\"t\"]}"

static void a_service_and_its_defaults(void **state)
{
    (void)state;
    struct config *config = accepted(
        "\"s\": {\"home\": \"a\", \"others\": [\"c\", \"b\"], \"path\": \"batches\", \"names\": "
        "\"identity\", "
        "\"start\": \"latest\", \"revision\": 3, \"rto\": \"90s\", \"on_truncation\": \"fault\", "
        "\"on_foreign_write\": \"fault\", "
        "\"topics\": {\"include\": [\"x*\", {\"regex\": \"y+\"}], \"exclude\": [\"*z\"]}, "
        "\"groups\": {\"include\": [\"*\"]}, "
        "\"cname\": [{\"record\": \"k.example.com\", \"at\": {\"a\": \"ka\", \"c\": \"kc\"}}]},"
        "\"plain\": {\"home\": \"d\", \"others\": [\"b\"]" TOPICS "}");
    const struct config_service *service = config_service(config, "s");
    assert_string_equal(service->home, "a");
    assert_int_equal(service->others_count, 2);
    assert_string_equal(service->others[0], "c");
    assert_string_equal(service->others[1], "b");
    assert_int_equal(service->start, START_LATEST);
    assert_int_equal(service->revision, 3);
    assert_int_equal(service->rto_s, 90);
    assert_int_equal(service->on_truncation, POLICY_FAULT);
    assert_int_equal(service->on_foreign_write, POLICY_FAULT);
    assert_true(config_patterns_match(&service->topics, "x1"));
    assert_true(config_patterns_match(&service->topics, "yy"));
    assert_false(config_patterns_match(&service->topics, "xz"));
    assert_true(config_patterns_match(&service->groups, "g"));
    assert_string_equal(service->cnames[0].record, "k.example.com");
    assert_string_equal(service->cnames[0].at[1].name, "c");
    assert_string_equal(service->cnames[0].at[1].value, "kc");
    service = config_service(config, "plain");
    assert_int_equal(service->path, PATH_BATCHES);
    assert_string_equal(service->names, "identity");
    assert_int_equal(service->start, START_EARLIEST);
    assert_int_equal(service->revision, 0);
    assert_int_equal(service->rto_s, 60);
    assert_int_equal(service->on_truncation, POLICY_CONTINUE);
    assert_int_equal(service->on_foreign_write, POLICY_CONTINUE);
    assert_false(config_patterns_match(&service->groups, "g"));
    assert_null(config_service(config, "gone"));
    config_free(config);
}

static void settings_of_topics_have_three_lists(void **state)
{
    (void)state;
    struct config *config =
        accepted("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
                 ", \"on_source_deleted\": \"keep\", \"topic_config\": {\"sync\": false, "
                 "\"always\": [\"remote.*\"], \"exclude\": [\"retention.*\", {\"regex\": "
                 "\"flush[.]ms\"}]}},"
                 "\"plain\": {\"home\": \"c\", \"others\": [\"d\"]" TOPICS "}");
    const struct config_service *service = config_service(config, "s");
    uint64_t hash = config_streams_hash(service, PATH_BATCHES);
    assert_false(service->topic_config_sync);
    assert_true(config_setting_always(service, "remote.storage.enable"));
    assert_false(config_setting_always(service, "retention.ms"));
    assert_true(config_setting_excluded(service, "retention.ms"));
    assert_true(config_setting_excluded(service, "flush.ms"));
    assert_false(config_setting_excluded(service, "flush.messages"));
    service = config_service(config, "plain");
    assert_true(service->topic_config_sync);
    assert_false(config_setting_always(service, "remote.storage.enable"));
    assert_false(config_setting_excluded(service, "retention.ms"));
    config_free(config);
    /* It does not determine the streams: workers that differ in it go on together. */
    config = accepted("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS "}");
    assert_true(config_streams_hash(config_service(config, "s"), PATH_BATCHES) == hash);
    config_free(config);
}

static void acls_are_not_copied_unless_asked_for(void **state)
{
    (void)state;
    struct config *config =
        accepted("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
                 ", \"acl_sync\": {\"topics\": true, \"exclude\": [\"User:admin-*\", "
                 "{\"regex\": \"User:CN=.*,OU=ops\"}]}},"
                 "\"plain\": {\"home\": \"c\", \"others\": [\"d\"]" TOPICS "}");
    const struct config_service *service = config_service(config, "s");
    assert_true(service->acl_topics);
    assert_false(service->acl_groups);
    assert_true(config_principal_excluded(service, "User:admin-1"));
    assert_true(config_principal_excluded(service, "User:CN=a,OU=ops"));
    assert_false(config_principal_excluded(service, "User:app"));
    service = config_service(config, "plain");
    assert_false(service->acl_topics);
    assert_false(service->acl_groups);
    assert_false(config_principal_excluded(service, "User:app"));
    config_free(config);
}

static void what_can_never_follow_is_refused_by_name(void **state)
{
    (void)state;
#define ALWAYS(what)                                      \
    "\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS \
    ",\n\"topic_config\": {\"always\": [" what "]}}"
    refused(ALWAYS("\"segment.ms\", \"compression.type\""),
            "f:3:43: services.s.topic_config.always.1: compression.type never follows the source: "
            "the copy needs a value of its own");
    refused(ALWAYS("\"leader.replication.throttled.replicas\""),
            "f:3:29: services.s.topic_config.always.0: leader.replication.throttled.replicas never "
            "follows the source: it means nothing at another cluster");
    refused(ALWAYS("5"), "f:3:29: services.s.topic_config.always.0: expected a glob, or "
                         "{\"regex\": \"...\"}, found an integer");
    assert_int_equal(config_setting_rule("remote.storage.enable"), SETTING_ASKED);
    assert_int_equal(config_setting_rule("remotely"), SETTING_FOLLOWS);
    assert_int_equal(config_setting_rule("min.insync.replicas"), SETTING_SAFE_SIDE);
    assert_int_equal(config_setting_rule("max.message.bytes"), SETTING_FORCED);
    assert_int_equal(config_setting_rule("confluent.tier.enable"), SETTING_NEVER);
}

static void filters_and_codecs(void **state)
{
    (void)state;
    struct config *config = accepted(
        "\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
        ", \"compression\": \"zstd\", \"merge\": false, "
        "\"filter\": {\"key\": {\"include\": [\"__k*\", \"[\"]}, "
        "\"headers\": {\"a.b\": {\"exclude\": [\"x\"]}}}},"
        "\"plain\": {\"home\": \"d\", \"others\": [\"b\"], \"topics\": {\"include\": [\"u\"]}}");
    const struct config_service *service = config_service(config, "s");
    assert_int_equal(service->compression, COMPRESSION_ZSTD);
    assert_false(service->merge);
    assert_int_equal(service->filter->key.include_count, 2); /* no name of a key is reserved */
    assert_string_equal(service->filter->key.include[0].text, "__k*");
    assert_int_equal(service->filter->headers_count, 1);
    assert_string_equal(service->filter->headers[0].name, "a.b");
    assert_string_equal(service->filter->headers[0].globs.exclude[0].text, "x");
    assert_true(config_filter_hash(service) != 0);
    service = config_service(config, "plain");
    assert_int_equal(service->compression, COMPRESSION_SOURCE);
    assert_true(service->merge);
    assert_null(service->filter);
    assert_int_equal(config_filter_hash(service), 0);
    config_free(config);
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS ",\n\"filter\": {}}",
            "f:3:1: services.s.filter: filters nothing: leave it out");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
            ",\n\"filter\": {\"key\": {\"include\": []}}}",
            "f:3:20: services.s.filter.key.include: names nothing: no record would be mirrored");
}

static void sites_must_be_defined(void **state)
{
    (void)state;
    refused("\"s\": {\"home\": \"x\", \"others\": [\"b\"]" TOPICS "}",
            "f:2:7: services.s.home: there is no site \"x\"");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\", \"x\"]" TOPICS "}",
            "f:2:36: services.s.others.1: there is no site \"x\"");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\", \"a\"]" TOPICS "}",
            "f:2:36: services.s.others.1: \"a\" is the home site");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\", \"b\"]" TOPICS "}",
            "f:2:36: services.s.others.1: \"b\" stands here twice");
    refused("\"s\": {\"home\": \"a\", \"others\": []" TOPICS "}",
            "f:2:20: services.s.others: names no site: nothing would be mirrored");
}

static void names_of_clients(void **state)
{
    (void)state;
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
            ",\n\"cname\": [{\"record\": \"r\", \"at\": {\"a\": \"x\", \"q\": \"y\"}}]}",
            "f:3:44: services.s.cname.0.at.q: there is no site \"q\"");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
            ",\n\"cname\": [{\"record\": \"r\", \"at\": {\"a\": \"x\", \"c\": \"y\"}}]}",
            "f:3:44: services.s.cname.0.at.c: \"c\" is no site of this service");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
            ",\n\"cname\": [{\"record\": \"r\", \"at\": {\"a\": \"\"}}]}",
            "f:3:34: services.s.cname.0.at.a: \"\" is no name of DNS: labels of 1 to 63 letters, "
            "digits, dashes and underscores; others as xn--...");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
            ",\n\"cname\": [{\"record\": \"\", \"at\": {\"a\": \"x\"}}]}",
            "f:3:12: services.s.cname.0.record: \"\" is no name of DNS: labels of 1 to 63 letters, "
            "digits, dashes and underscores; others as xn--...");
}

static void names_and_patterns(void **state)
{
    (void)state;
    refused("\"s/t\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS "}",
            "f:2:1: services.s/t: \"s/t\" is no name: 1 to 64 letters, digits, dots, underscores, "
            "dashes");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"],\n\"topics\": {\"include\": [\"a\", "
            "\"ferry.control.s\"]}}",
            "f:3:29: services.s.topics.include.1: names that begin with ferry., ferry- or __ are "
            "reserved and never "
            "mirrored");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"],\n\"topics\": {\"include\": [\"a\"], "
            "\"exclude\": [\"[\"]}}",
            "f:3:42: services.s.topics.exclude.0: '[' stands in no topic name; a regular "
            "expression is written "
            "{\"regex\": \"...\"}");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"],\n\"topics\": {\"include\": []}}",
            "f:3:12: services.s.topics.include: names no topic: nothing would be mirrored");
    config_free(accepted("\"s\": {\"home\": \"a\", \"others\": [\"b\"]" TOPICS
                         ", \"groups\": {\"include\": [\"my group\"]}}"));
}

/* A topic has one service at a site. */
static void one_topic_one_service(void **state)
{
    (void)state;
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"x\", "
            "\"t\"]}},\n"
            "\"u\": {\"home\": \"b\", \"others\": [\"c\"], \"topics\": {\"include\": [\"t*\"]}}",
            "f:2:65: services.s.topics.include.1: \"t\" belongs to service \"u\" too, which has a "
            "site in common");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"t*\"]}},\n"
            "\"u\": {\"home\": \"c\", \"others\": [\"d\", \"a\"], \"topics\": {\"include\": "
            "[\"x*\", \"t\"]}}",
            "f:3:71: services.u.topics.include.1: \"t\" belongs to service \"s\" too, which has a "
            "site in common");
    refused("\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [{\"regex\": "
            "\"t.*\"}]}},\n"
            "\"u\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [{\"regex\": "
            "\"t.*\"}]}}",
            "f:2:60: services.s.topics.include.0: \"t.*\" belongs to service \"u\" too, which has "
            "a site in common");
    /* no site in common; taken out by an exclude; patterns that only topics can tell apart */
    config_free(accepted(
        "\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"t\"]}},"
        "\"u\": {\"home\": \"c\", \"others\": [\"d\"], \"topics\": {\"include\": [\"t\"]}}"));
    config_free(accepted(
        "\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"t\"]}},"
        "\"u\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"*\"], "
        "\"exclude\": [\"t\"]}}"));
    config_free(accepted(
        "\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"t*\"]}},"
        "\"u\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"*t\"]}}"));
    config_free(accepted("\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": "
                         "[\"*\"], \"exclude\": [\"a*\"]}},"
                         "\"u\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": "
                         "[\"*\"], \"exclude\": [\"b*\"]}}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_of_topics_have_three_lists),
        cmocka_unit_test(acls_are_not_copied_unless_asked_for),
        cmocka_unit_test(what_can_never_follow_is_refused_by_name),
        cmocka_unit_test(a_service_and_its_defaults),
        cmocka_unit_test(filters_and_codecs),
        cmocka_unit_test(sites_must_be_defined),
        cmocka_unit_test(names_of_clients),
        cmocka_unit_test(names_and_patterns),
        cmocka_unit_test(one_topic_one_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
