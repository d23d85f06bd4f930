/* config/properties: what a site may say to its client, and why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/properties.h"

static void accepted(const char *name, const char *value)
{
    char why[256] = "";
    const struct property *property = property_find(name);
    assert_non_null(property);
    if (!property_value_ok(property, value, why, sizeof(why))) {
        fail_msg("%s=%s: %s", name, value, why);
    }
}

static void refused(const char *name, const char *value, const char *reason)
{
    char why[256] = "";
    const struct property *property = property_find(name);
    assert_non_null(property);
    if (property_value_ok(property, value, why, sizeof(why)) || strstr(why, reason) == NULL) {
        fail_msg("%s=%s: %s", name, value, why);
    }
}

static void values_are_checked(void **state)
{
    (void)state;
    accepted("security.protocol", "plaintext"); /* as librdkafka: in any case */
    accepted("security.protocol", "SASL_SSL");
    refused("security.protocol", "TLS", "PLAINTEXT");
    accepted("sasl.mechanism", "SCRAM-SHA-512");
    accepted("sasl.mechanism", "GSSAPI");
    accepted("sasl.mechanism", "oauthbearer");
    refused("sasl.mechanism", "DIGEST-MD5", "SCRAM-SHA-256");
    accepted("socket.timeout.ms", "10");
    accepted("socket.timeout.ms", "300000");
    refused("socket.timeout.ms", "9", "10..300000");
    refused("socket.timeout.ms", "300001", "10..300000");
    refused("socket.timeout.ms", "1e3", "whole number");
    refused("socket.timeout.ms", "", "whole number");
    refused("socket.timeout.ms", " 20", "whole number");
    refused("socket.timeout.ms", "99999999999999999999", "whole number");
    refused("topic.metadata.refresh.interval.ms", "-1", "1..3600000"); /* never: leaders move */
    refused("topic.metadata.refresh.interval.ms", "-", "whole number");
    accepted("socket.keepalive.enable", "true");
    refused("socket.keepalive.enable", "false", "one of true");
    refused("socket.nagle.disable", "false", "one of true");
    refused("client.dns.lookup", "resolve_canonical_bootstrap_servers_only", "use_all_dns_ips");
    accepted("topic.metadata.refresh.sparse", "false");
    refused("topic.metadata.refresh.sparse", "yes", "true or false");
    refused("reconnect.backoff.ms", "0", "1..");
    refused("client.id", "", "empty");
    accepted("ssl.endpoint.identification.algorithm", "none");
}

static void tokens_come_from_a_url(void **state)
{
    static const char *const bad[] = {"",
                                      "tokens.example.com",
                                      "ftp://a/b",
                                      "https://",
                                      "https:///path",
                                      "https://user:secret@a/b",
                                      "https://a/b c",
                                      "https://a/\x7f",
                                      "file:///etc/passwd"};
    (void)state;
    accepted("sasl.oauthbearer.token.endpoint.url", "https://a.example.com/oauth2/token?x=y");
    accepted("sasl.oauthbearer.token.endpoint.url", "http://localhost:8080/token");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused("sasl.oauthbearer.token.endpoint.url", bad[i], "https://HOST");
    }
}

/* They stand in a message of ours between bytes 1. */
static void extensions_are_pairs(void **state)
{
    static const char *const bad[] = {"",       "a",      "a=b,",       ",a=b",  "=b",      "a1=b",
                                      "auth=x", "a=\x01", "a=b,auth=c", "a.b=c", "a=b,,c=d"};
    char many[17 * 4] = "";
    (void)state;
    accepted("sasl.oauthbearer.extensions", "logicalCluster=lkc-1,identityPoolId=a b=c");
    accepted("sasl.oauthbearer.extensions", "a=");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused("sasl.oauthbearer.extensions", bad[i], "KEY=VALUE");
    }
    for (int i = 0; i < 17; i++) {
        memcpy(many + (ptrdiff_t)4 * i, "a=b,", 4);
    }
    many[16 * 4 - 1] = '\0';
    accepted("sasl.oauthbearer.extensions", many);
    many[16 * 4 - 1] = ',';
    many[17 * 4 - 1] = '\0';
    refused("sasl.oauthbearer.extensions", many, "16");
}

static void texts_have_a_bound(void **state)
{
    char name[257] = "";
    char servers[33 * 4 + 1] = "";
    (void)state;
    memset(name, 'n', 255);
    accepted("client.id", name);
    name[255] = 'n';
    refused("client.id", name, "255");
    for (int i = 0; i < 33; i++) {
        memcpy(servers + (ptrdiff_t)4 * i, "a:1,", 4);
    }
    servers[32 * 4 - 1] = '\0';
    accepted("bootstrap.servers", servers);
    servers[32 * 4 - 1] = ',';
    servers[33 * 4 - 1] = '\0';
    refused("bootstrap.servers", servers, "33 of them");
}

static void a_protocol_before_a_server_is_the_sites(void **state)
{
    (void)state;
    assert_true(property_servers_speak("a:1, b", "SSL"));
    assert_true(property_servers_speak("ssl://a:1, SSL://b", "SSL"));
    assert_false(property_servers_speak("a:1, PLAINTEXT://b", "SSL"));
    assert_false(property_servers_speak("SASL_SSL://a", "SSL"));
    assert_false(property_servers_speak("://a", "SSL"));
}

static void servers_are_addresses(void **state)
{
    static const char *const good[] = {"a:9092",
                                       "a",
                                       "10.0.0.1:1,b.example.com:65535",
                                       "[::1]:9092",
                                       "[fe80::1%eth0]",
                                       "a:1, b:2",
                                       " a:1 ,b:2 ",
                                       "PLAINTEXT://a:1",
                                       "SSL://[::1]:2"};
    static const char *const bad[] = {"",
                                      ",",
                                      "a:1,",
                                      ",a:1",
                                      "a:",
                                      "a:0",
                                      "a:65536",
                                      "a:x",
                                      ":9092",
                                      "a:1:2",
                                      "::1",
                                      "[::1",
                                      "[]:1",
                                      "[::1]x",
                                      "user:pw@a:1",
                                      "SSL://user:pw@a:1",
                                      "a b:1",
                                      "a/b:1",
                                      "a:99999999999999999999",
                                      "SSL://"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        accepted("bootstrap.servers", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused("bootstrap.servers", bad[i], "HOST:PORT");
    }
}

static void why_not(const char *name, const char *expected)
{
    char why[256];
    assert_null(property_find(name));
    property_why_not(name, why, sizeof(why));
    if (strstr(why, expected) == NULL) {
        fail_msg("%s: %s", name, why);
    }
}

static void others_are_refused_by_name(void **state)
{
    (void)state;
    why_not("acks", "how records are written");
    why_not("linger.ms", "how records are written");
    why_not("compression.type", "how records are written");
    why_not("batch.num.messages", "how records are written");
    why_not("group.id", "how records are read");
    why_not("fetch.min.bytes", "how records are read");
    why_not("isolation.level", "how records are read");
    why_not("session.timeout.ms", "mirror");
    why_not("metadata.broker.list", "bootstrap.servers");
    why_not("sasl.mechanisms", "sasl.mechanism");
    why_not("sasl.kerberos.kinit.cmd", "no program is run");
    why_not("sasl.kerberos.min.time.before.relogin", "sasl.kerberos.keytab");
    why_not("sasl.oauthbearer.config", "token.endpoint.url");
    why_not("sasl.oauthbearer.client.credentials.client.secret", "an alias");
    why_not("enable.sasl.oauthbearer.unsecure.jwt", "token.endpoint.url");
    why_not("https.ca.pem", "https.ca.location");
    why_not("sasl.jaas.config", "sasl.username");
    why_not("ssl.truststore.location", "ssl.ca.location");
    why_not("client.rack", "leaders");
    why_not("debug", "Ferry");
    why_not("sasl.usrname", "did you mean \"sasl.username\"?");
    why_not("bootstrap.server", "did you mean \"bootstrap.servers\"?");
    why_not("something.else", "no property that Ferry knows");
    why_not("", "no property that Ferry knows");
}

/* A secret's name is in the table, so that a misspelt one is found under `secrets` too. */
static void the_table_is_sound(void **state)
{
    int secrets = 0;
    (void)state;
    for (size_t i = 0; i < properties_count; i++) {
        const struct property *property = &properties[i];
        assert_ptr_equal(property_find(property->name), property);
        assert_true((property->type == PROPERTY_NUMBER) == (property->most != 0));
        assert_true((property->type == PROPERTY_CHOICE) == (property->choices != NULL));
        secrets += property->secret;
        if (strstr(property->name, "password") != NULL) {
            assert_true(property->secret);
        }
    }
    assert_int_equal(secrets, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(tokens_come_from_a_url),
        cmocka_unit_test(extensions_are_pairs),
        cmocka_unit_test(texts_have_a_bound),
        cmocka_unit_test(a_protocol_before_a_server_is_the_sites),
        cmocka_unit_test(servers_are_addresses),
        cmocka_unit_test(others_are_refused_by_name),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
