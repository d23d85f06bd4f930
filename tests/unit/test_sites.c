/* config/sites: clients, secrets, Redis, the operator; one thing wrong at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

/* A file whose second line is the site's. */
static struct config *with_site(const char *name, const char *site, struct err *err)
{
    char text[4096];
    int len = snprintf(text, sizeof(text),
                       "{\"deployment\": \"d\", \"sites\": {\n\"%s\": {%s},\n"
                       "\"other\": {\"kafka\": {\"bootstrap.servers\": \"o:1\"}}},"
                       "\"services\": {\"s\": {\"home\": \"other\", \"others\": [\"%s\"], "
                       "\"topics\": {\"include\": [\"t\"]}}}}",
                       name, site, name);
    assert_true(len < (int)sizeof(text));
    err_clear(err);
    return config_parse(text, (size_t)len, "f", err);
}

static struct config *accepted(const char *site)
{
    struct err err;
    struct config *config = with_site("a", site, &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    return config;
}

static void refused(const char *site, const char *what)
{
    struct err err;
    struct config *config = with_site("a", site, &err);
    assert_null(config);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_null(strstr(err.what, "hunter2"));
    assert_string_equal(err.what, what);
}

#define KAFKA "\"kafka\": {\"bootstrap.servers\": \"h:1\"}"

static void a_client_has_its_properties(void **state)
{
    (void)state;
    struct config *config = accepted(
        "\"region\": \"r\", \"zone\": \"\", \"kafka\": {\"bootstrap.servers\": \"h:1, i:2\", "
        "\"socket.timeout.ms\": 5000, \"socket.keepalive.enable\": true, \"sasl.mechanism\": "
        "\"PLAIN\","
        "\"security.protocol\": \"sasl_ssl\"}, \"secrets\": {\"sasl.password\": {\"env\": \"E\"}, "
        "\"sasl.username\": {\"file\": \"/run/u\"}}");
    const struct config_site *site = config_site(config, "a");
    assert_string_equal(site->region, "r");
    assert_null(site->zone);
    assert_string_equal(config_client_get(&site->kafka, "bootstrap.servers"), "h:1, i:2");
    assert_string_equal(config_client_get(&site->kafka, "socket.timeout.ms"), "5000");
    assert_string_equal(config_client_get(&site->kafka, "socket.keepalive.enable"), "true");
    assert_null(config_client_get(&site->kafka, "sasl.password"));
    assert_int_equal(site->kafka.properties_count, 5);
    assert_int_equal(site->kafka.secrets_count, 2);
    assert_string_equal(site->kafka.secrets[0].name, "sasl.password");
    assert_string_equal(site->kafka.secrets[0].env, "E");
    assert_null(site->kafka.secrets[0].file);
    assert_string_equal(site->kafka.secrets[1].file, "/run/u"); /* need not be there yet */
    assert_null(site->operator_kafka);
    assert_null(site->redis);
    config_free(config);
}

static void properties_are_checked_where_they_stand(void **state)
{
    (void)state;
    refused("\"kafka\": {\"client.id\": \"x\"}",
            "f:2:7: sites.a.kafka: \"bootstrap.servers\" is missing");
    refused("\"kafka\": {\"bootstrap.servers\": \"h:x\"}",
            "f:2:17: sites.a.kafka.bootstrap.servers: expected HOST:PORT, and more of them behind "
            "commas");
    refused("\"kafka\": {\"bootstrap.servers\": \"me:hunter2@h:1\"}",
            "f:2:17: sites.a.kafka.bootstrap.servers: expected HOST:PORT, and more of them behind "
            "commas");
    refused("\"kafka\": {\"linger.ms\": 5}",
            "f:2:17: sites.a.kafka.linger.ms: this property is not the user's: how "
            "records are written is what Ferry promises, not a setting");
    refused("\"kafka\": {\"bootstrap.server\": \"h:1\"}",
            "f:2:17: sites.a.kafka.bootstrap.server: no property that "
            "Ferry knows; did you mean \"bootstrap.servers\"?");
    refused("\"kafka\": {\"sasl.password\": \"hunter2\"}",
            "f:2:17: sites.a.kafka.sasl.password: a secret does not stand in this file: move it to "
            "\"secrets\", as "
            "{\"file\": \"...\"} or {\"env\": \"...\"}");
    refused("\"kafka\": {\"socket.timeout.ms\": 1.5}",
            "f:2:17: sites.a.kafka.socket.timeout.ms: expected a whole number in 10..300000");
}

static void properties_fit_together(void **state)
{
    (void)state;
    refused("\"kafka\": {\"bootstrap.servers\": \"PLAINTEXT://h:1\", \"security.protocol\": "
            "\"SSL\"}",
            "f:2:17: sites.a.kafka.bootstrap.servers: names another protocol than "
            "security.protocol, SSL");
    refused("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"ssl.ca.location\": \"/a\", "
            "\"ssl.ca.pem\": \"b\"}",
            "f:2:70: sites.a.kafka.ssl.ca.pem: stands beside ssl.ca.location: write one of them");
    refused("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"reconnect.backoff.ms\": 200, "
            "\"reconnect.backoff.max.ms\": 100}",
            "f:2:45: sites.a.kafka.reconnect.backoff.ms: is above reconnect.backoff.max.ms");
    config_free(accepted("\"kafka\": {\"bootstrap.servers\": \"plaintext://h:1\", "
                         "\"reconnect.backoff.ms\": 100, \"reconnect.backoff.max.ms\": 100}"));
}

static void a_sign_in_is_whole(void **state)
{
    (void)state;
    refused("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"security.protocol\": \"SASL_SSL\"}",
            "f:2:45: sites.a.kafka.security.protocol: needs sasl.mechanism beside it");
    refused("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"sasl.mechanism\": \"PLAIN\"}",
            "f:2:45: sites.a.kafka.sasl.mechanism: is of no use: security.protocol is PLAINTEXT");
    refused("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"security.protocol\": \"SASL_SSL\", "
            "\"sasl.mechanism\": \"OAUTHBEARER\", \"sasl.oauthbearer.client.id\": \"c\"}",
            "f:2:78: sites.a.kafka.sasl.mechanism: OAUTHBEARER needs "
            "sasl.oauthbearer.token.endpoint.url");
    refused("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"security.protocol\": \"SASL_SSL\", "
            "\"sasl.mechanism\": \"oauthbearer\", \"sasl.oauthbearer.client.id\": \"c\", "
            "\"sasl.oauthbearer.token.endpoint.url\": \"https://t\"}",
            "f:2:78: sites.a.kafka.sasl.mechanism: OAUTHBEARER needs "
            "sasl.oauthbearer.client.secret under \"secrets\"");
}

static size_t weaknesses(const char *kafka, const char *first)
{
    char site[700];
    snprintf(site, sizeof(site), "\"kafka\": {\"bootstrap.servers\": \"h:1\", %s}", kafka);
    struct config *config = accepted(site);
    const struct config_client *client = &config_site(config, "a")->kafka;
    size_t count = 0;
    for (; config_client_weakness(client, count) != NULL; count++) {
    }
    if (first != NULL) {
        assert_non_null(strstr(config_client_weakness(client, 0), first));
    }
    config_free(config);
    return count;
}

static void what_a_site_leaves_open_is_named(void **state)
{
    (void)state;
    assert_int_equal(weaknesses("\"security.protocol\": \"SSL\"", NULL), 0);
    assert_int_equal(weaknesses("\"security.protocol\": \"ssl\", "
                                "\"enable.ssl.certificate.verification\": false",
                                "verification is false"),
                     1);
    assert_int_equal(weaknesses("\"security.protocol\": \"SASL_SSL\", \"sasl.mechanism\": "
                                "\"PLAIN\", \"enable.ssl.certificate.verification\": \"FALSE\", "
                                "\"ssl.endpoint.identification.algorithm\": \"None\"",
                                "verification is false"),
                     2);
    assert_int_equal(weaknesses("\"security.protocol\": \"SASL_PLAINTEXT\", "
                                "\"sasl.mechanism\": \"PLAIN\"",
                                "in the clear"),
                     1);
    assert_int_equal(weaknesses("\"security.protocol\": \"SASL_PLAINTEXT\", "
                                "\"sasl.mechanism\": \"SCRAM-SHA-256\"",
                                NULL),
                     0);
    assert_int_equal(
        weaknesses(
            "\"security.protocol\": \"SASL_PLAINTEXT\", \"sasl.mechanism\": \"OAUTHBEARER\", "
            "\"sasl.oauthbearer.client.id\": \"c\", "
            "\"sasl.oauthbearer.token.endpoint.url\": \"http://t\"}, "
            "\"secrets\": {\"sasl.oauthbearer.client.secret\": {\"env\": \"E\"}",
            "the token goes over the line in the clear"),
        2);
}

static void secrets_are_properties(void **state)
{
    (void)state;
    refused(KAFKA ", \"secrets\": {\"sasl.pasword\": {\"env\": \"E\"}}",
            "f:2:58: sites.a.secrets.sasl.pasword: no property that Ferry knows; did you mean "
            "\"sasl.password\"?");
    refused("\"kafka\": {\"sasl.username\": \"u\", \"bootstrap.servers\": \"h:1\"},\"secrets\": "
            "{\"sasl.username\": "
            "{\"env\": \"E\"}}",
            "f:2:79: sites.a.secrets.sasl.username: stands under \"kafka\" too");
}

static void a_file_that_others_may_write_is_refused(void **state)
{
    char file[] = "/tmp/ferry-secret-XXXXXX";
    char site[512];
    char what[256];
    struct err err;
    (void)state;
    int fd = mkstemp(file);
    assert_int_equal(fchmod(fd, 0622), 0);
    snprintf(site, sizeof(site), KAFKA ", \"secrets\": {\"sasl.password\": {\"file\": \"%s\"}}",
             file);
    snprintf(what, sizeof(what),
             "f:2:58: sites.a.secrets.sasl.password: %s may be written by others: chmod go-w",
             file);
    refused(site, what);
    snprintf(site, sizeof(site),
             KAFKA ", \"redis\": {\"url\": \"redis://h\", \"password\": {\"file\": \"%s\"}}", file);
    assert_null(with_site("a", site, &err));
    assert_non_null(strstr(err.what, "sites.a.redis.password: "));
    fchmod(fd, 0640);
    config_free(accepted(site));
    close(fd);
    unlink(file);
}

static void redis_beside_a_site(void **state)
{
    (void)state;
    struct config *config =
        accepted(KAFKA ", \"redis\": {\"url\": \"rediss://[::1]:6380/2\", \"username\": \"u\", "
                       "\"password\": {\"env\": \"P\"}, "
                       "\"ca_file\": \"/ca\", \"prefix\": \"x:\", \"timeout\": \"2s\"}");
    const struct config_redis *redis = config_site(config, "a")->redis;
    assert_string_equal(redis->url, "rediss://[::1]:6380/2");
    assert_string_equal(redis->username, "u");
    assert_string_equal(redis->password->env, "P");
    assert_string_equal(redis->ca_file, "/ca");
    assert_string_equal(redis->prefix, "x:");
    assert_int_equal(redis->timeout_ms, 2000);
    config_free(config);
    config = accepted(KAFKA ", \"redis\": {\"url\": \"redis://h\"}");
    redis = config_site(config, "a")->redis;
    assert_string_equal(redis->prefix, "");
    assert_int_equal(redis->timeout_ms, 1000);
    assert_null(redis->password);
    config_free(config);
    refused(KAFKA ",\"redis\": {\"url\": \"redis://u:hunter2@h:1\"}",
            "f:2:55: sites.a.redis.url: no user or password inside a URL: there are keys for them, "
            "and secrets are "
            "{\"file\": \"...\"} or {\"env\": \"...\"}");
    refused(KAFKA ",\"redis\": {\"url\": \"http://h:1\"}",
            "f:2:55: sites.a.redis.url: 'http://h:1' is no redis:// or rediss:// URL");
    refused(KAFKA ",\"redis\": {\"url\": \"redis://h:x\"}",
            "f:2:55: sites.a.redis.url: 'redis://h:x' is not redis://HOST:PORT/DB");
    refused(KAFKA ",\"redis\": {\"url\": \"\"}", "f:2:55: sites.a.redis.url: is empty");
    refused(KAFKA ",\"redis\": {\"prefix\": \"{x}\", \"url\": \"redis://h\"}",
            "f:2:55: sites.a.redis.prefix: has a brace: they mark the hash slot");
    refused(KAFKA ",\"redis\": {\"ca_file\": \"/ca\", \"url\": \"redis://h\"}",
            "f:2:55: sites.a.redis.ca_file: is of no use without rediss:// in the url");
    refused(KAFKA ",\"redis\": {\"username\": \"u\", \"url\": \"redis://h\"}",
            "f:2:55: sites.a.redis.username: has no \"password\" beside it");
}

static void the_operator_differs_in_what_it_says(void **state)
{
    (void)state;
    struct config *config = accepted("\"kafka\": {\"bootstrap.servers\": \"h:1\", \"client.id\": "
                                     "\"c\", \"sasl.username\": \"ferry\"}, "
                                     "\"secrets\": {\"sasl.password\": {\"env\": \"E\"}}, "
                                     "\"operator\": {\"kafka\": {\"client.id\": \"op\"}, "
                                     "\"secrets\": {\"sasl.username\": {\"env\": \"U\"}}}");
    const struct config_client *client = config_site(config, "a")->operator_kafka;
    assert_string_equal(config_client_get(client, "bootstrap.servers"), "h:1");
    assert_string_equal(config_client_get(client, "client.id"), "op");
    assert_null(config_client_get(client, "sasl.username")); /* it reads that one */
    assert_int_equal(client->secrets_count, 2);
    assert_string_equal(config_client_get(&config_site(config, "a")->kafka, "client.id"), "c");
    config_free(config);
    refused(KAFKA ", \"operator\": {\"kafka\": {\"acks\": \"1\"}}",
            "f:2:69: sites.a.operator.kafka.acks: this property is not the user's: how records are "
            "written is what "
            "Ferry promises, not a setting");
    refused(KAFKA ", \"operator\": {\"kafka\": {\"security.protocol\": \"SASL_SSL\"}}",
            "f:2:69: sites.a.operator.kafka.security.protocol: needs sasl.mechanism beside it");
}

static void site_names_are_names(void **state)
{
    static const char *const bad[] = {
        "a/b",
        "a b",
        "a>b",
        "a:b",
        "\xc3\xa9",
        "a{b}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(with_site(bad[i], KAFKA, &err));
        assert_non_null(strstr(err.what, " is no name: 1 to 64 letters"));
        assert_int_equal(strncmp(err.what, "f:2:1: sites.", 13), 0);
    }
    struct config *config = with_site("A.b_c-9", KAFKA, &err);
    assert_non_null(config_site(config, "A.b_c-9"));
    assert_null(config_site(config, "x"));
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_has_its_properties),
        cmocka_unit_test(properties_are_checked_where_they_stand),
        cmocka_unit_test(properties_fit_together),
        cmocka_unit_test(a_sign_in_is_whole),
        cmocka_unit_test(what_a_site_leaves_open_is_named),
        cmocka_unit_test(secrets_are_properties),
        cmocka_unit_test(a_file_that_others_may_write_is_refused),
        cmocka_unit_test(redis_beside_a_site),
        cmocka_unit_test(the_operator_differs_in_what_it_says),
        cmocka_unit_test(site_names_are_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
