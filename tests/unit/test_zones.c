/* Zones of DNS in a configuration: addresses, providers, names, and what is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "config/config.h"

#define SITES                                                                                    \
    "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": \"a:1\"}}, " \
    "\"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, \"services\": "
#define SERVICE(name, topic, cnames)                                                           \
    "\"" name "\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": [\"" topic \
    "\"]}, \"cname\": [" cnames "]}"
#define PLAIN                                                                         \
    "{" SERVICE("s", "t",                                                             \
                "{\"record\": \"k.example.com\", \"at\": {\"a\": \"a.example.com\", " \
                "\"b\": \"b.example.com\"}}") "}"
#define TSIG "\"tsig\": {\"name\": \"ferry\", \"secret\": {\"env\": \"X\"}}"

static struct err err;

static struct config *parse(const char *services, const char *dns)
{
    char text[4096];
    int len = snprintf(text, sizeof(text), SITES "%s, \"dns\": %s}", services, dns);
    err_clear(&err);
    return config_parse(text, (size_t)len, "f", &err);
}

static struct config *good(const char *services, const char *dns)
{
    struct config *config = parse(services, dns);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    return config;
}

static void refused(const char *services, const char *dns, const char *what)
{
    struct config *config = parse(services, dns);
    if (config != NULL || strstr(err.what, what) == NULL) {
        fail_msg("%s: %s", what, config != NULL ? "taken" : err.what);
    }
    assert_int_equal(err.kind, ERR_CONFIG);
}

static void a_zone_with_its_defaults(void **state)
{
    (void)state;
    struct config *config = good(
        PLAIN,
        "{\"example.com\": {\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.53\"], " TSIG "}}");
    const struct config_zone *zone = &config->zones[0];
    assert_int_equal(config->zones_count, 1);
    assert_string_equal(zone->name, "example.com");
    assert_int_equal(zone->timeout_ms, 2000);
    assert_int_equal(zone->settled_count, 0);
    assert_string_equal(zone->tsig_algorithm, "hmac-sha256");
    assert_string_equal(zone->tsig_secret->env, "X");
    assert_int_equal(config->services[0].cnames[0].ttl_s, 30);
    config_free(config);
}

static void addresses(void **state)
{
    static const struct {
        const char *text;
        const char *host;
        int port;
    } rows[] = {
        {"192.0.2.53",                                                                "192.0.2.53",  53  },
        {"192.0.2.53:5353",                                                           "192.0.2.53",  5353},
        {"2001:db8::1",                                                               "2001:db8::1", 53  },
        {"[2001:db8::1]",                                                             "2001:db8::1", 53  },
        {"[2001:db8::1]:5353",                                                        "2001:db8::1", 5353},
        {"ns.example.com",                                                            NULL,          0   },
        {"192.0.2.53:",                                                               NULL,          0   },
        {"192.0.2.53:0",                                                              NULL,          0   },
        {"192.0.2.53:65536",                                                          NULL,          0   },
        {"192.0.2.53:5x",                                                             NULL,          0   },
        {"[192.0.2.53]:53",                                                           NULL,          0   },
        {"[2001:db8::1",                                                              NULL,          0   },
        {"[2001:db8::1]5353",                                                         NULL,          0   },
        {"192.0.2.256",                                                               NULL,          0   },
        {"",                                                                          NULL,          0   },
        {"0123456789012345678901234567890123456789012345678901234567890123456789:53", NULL,          0   },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char dns[600];
        char host[INET6_ADDRSTRLEN] = "";
        snprintf(dns, sizeof(dns),
                 "{\"z\": {\"provider\": \"rfc2136\", \"servers\": [\"%s\"], " TSIG "}}",
                 rows[i].text);
        if (rows[i].host == NULL) {
            refused(PLAIN, dns, "is no ADDRESS");
            continue;
        }
        struct config *config = good(PLAIN, dns);
        const struct sockaddr_storage *at = &config->zones[0].servers.list[0].address;
        bool v6 = at->ss_family == AF_INET6;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)at;
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)at;
        inet_ntop(at->ss_family, v6 ? (const void *)&in6->sin6_addr : &in4->sin_addr, host,
                  sizeof(host));
        assert_string_equal(host, rows[i].host);
        assert_int_equal(ntohs(v6 ? in6->sin6_port : in4->sin_port), rows[i].port);
        config_free(config);
    }
}

static void what_a_provider_needs(void **state)
{
    (void)state;
    refused(PLAIN, "{\"z\": {\"provider\": \"rfc2136\", " TSIG "}}", "\"servers\" is needed");
    refused(PLAIN, "{\"z\": {\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.1\"]}}",
            "\"tsig\" is needed");
    refused(PLAIN, "{\"z\": {\"provider\": \"exec\"}}", "\"command\" is needed");
    refused(PLAIN, "{\"z\": {\"provider\": \"exec\", \"command\": [\"bin/x\"]}}",
            "no absolute path");
    refused(PLAIN, "{\"z\": {\"provider\": \"exec\", \"command\": []}}", "\"command\" is needed");
    refused(PLAIN,
            "{\"z\": {\"provider\": \"exec\", \"command\": [\"/x\"], \"environment\": [\"A=b\"]}}",
            "dns.z.environment.0");
    refused(PLAIN, "{\"z\": {\"provider\": \"route99\"}}", "rfc2136");
    refused(
        PLAIN,
        "{\"z\": {\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.1\"], \"tsig\": {\"name\": "
        "\"k\", \"algorithm\": \"hmac-md5\", \"secret\": {\"env\": \"X\"}}}}",
        "hmac-sha512");
}

#define SECRET     "\"secret\": {\"env\": \"X\"}"
#define CLOUDFLARE "\"provider\": \"cloudflare\", " SECRET ", \"id\": \"0a\""

static void what_a_provider_with_an_api_needs(void **state)
{
    static const char *const rows[][2] = {
        {"\"provider\": \"powerdns\", " SECRET,                                   "\"endpoint\" is needed"            },
        {"\"provider\": \"powerdns\"",                                            "\"secret\" is needed"              },
        {"\"provider\": \"route53\", " SECRET ", \"id\": \"Z1\"",                 "\"access_key\" is needed"          },
        {"\"provider\": \"route53\", " SECRET ", \"access_key\": \"A\"",          "\"id\" is needed"                  },
        {"\"provider\": \"cloudflare\", " SECRET ", \"id\": \"\"",                "\"id\" is needed"                  },
        {"\"provider\": \"alidns\", " SECRET,                                     "\"access_key\" is needed"          },
        {"\"provider\": \"google\", " SECRET ", \"id\": \"z\"",                   "\"project\" is needed"             },
        {"\"provider\": \"azure\", " SECRET ", \"tenant\": \"t\"",                "\"client\" is needed"              },
        {CLOUDFLARE ", \"endpoint\": \"http://api.test\"",                        "dns.z.endpoint"                    },
        {CLOUDFLARE ", \"endpoint\": \"https://me:pw@api.test\"",                 "dns.z.endpoint"                    },
        {CLOUDFLARE ", \"endpoint\": \"https:///x\"",                             "dns.z.endpoint"                    },
        {CLOUDFLARE ", \"endpoint\": \"https://a/?b\"",                           "dns.z.endpoint"                    },
        {"\"provider\": \"cloudflare\", " SECRET ", \"id\": \"a/../b\"",          "dns.z.id"                          },
        {"\"provider\": \"route53\", \"id\": \"Z1\", \"access_key\": \"A\", \"credentials\": "
         "\"instance\"",                                                 "and \"credentials\" says elsewhere"},
        {"\"provider\": \"route53\", \"credentials\": \"instance\"",              "\"id\" is needed"                  },
        {"\"provider\": \"route53\", \"id\": \"Z1\", \"credentials\": \"guess\"",
         "keys|environment"                                                                                           },
        {CLOUDFLARE ", \"also\": [{\"provider\": \"route53\"}]",
         "dns.z.also.0: \"secret\" is needed"                                                                         },
        {CLOUDFLARE ", \"also\": [{" CLOUDFLARE ", \"also\": []}]",               "dns.z.also.0.also"                 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char dns[900];
        snprintf(dns, sizeof(dns), "{\"z\": {%s}}", rows[i][0]);
        refused(PLAIN, dns, rows[i][1]);
    }
}

static void several_providers(void **state)
{
    (void)state;
    struct config *config =
        good(PLAIN, "{\"z\": {" CLOUDFLARE ", \"regions\": [\"r\"], \"also\": [{\"provider\": "
                    "\"powerdns\", \"endpoint\": \"http://10.0.0.1:8081/\", " SECRET "}, "
                    "{\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.1\"], " TSIG "}]}}");
    const struct config_zone *zone = &config->zones[0];
    assert_int_equal(zone->provider, PROVIDER_CLOUDFLARE);
    assert_int_equal(zone->request_timeout_ms, 10000);
    assert_int_equal(zone->also_count, 2);
    assert_int_equal(zone->also[0].provider, PROVIDER_POWERDNS);
    assert_string_equal(zone->also[0].endpoint, "http://10.0.0.1:8081");
    assert_string_equal(zone->also[0].name, "z");
    assert_string_equal(zone->also[0].secret->name, "dns.z.also.0.secret");
    assert_string_equal(zone->also[1].tsig_name, "ferry");
    char *text = config_show(config);
    assert_non_null(strstr(text, "\"also\""));
    assert_non_null(strstr(text, "http://10.0.0.1:8081"));
    free(text);
    config_free(config);
}

static void names_that_can_be_none(void **state)
{
    (void)state;
    refused(PLAIN, "{\"a..b\": {\"provider\": \"exec\", \"command\": [\"/x\"]}}",
            "is no name of DNS");
    refused("{" SERVICE("s", "t", "{\"record\": \"b\xc3\xbc.example\", \"at\": {}}") "}", "{}",
            "xn--");
    refused("{" SERVICE("s", "t", "{\"record\": \"k\", \"at\": {\"a\": \"x y\"}}") "}", "{}",
            "services.s.cname.0.at.a");
}

/* An alias has a hosted zone for each value, and for nothing else. */
static void aliases(void **state)
{
#define ALIASED(more) \
    "{" SERVICE("s", "t", "{\"record\": \"k\", \"at\": {\"a\": \"x\", \"b\": \"y\"}, " more "}") "}"
    (void)state;
    struct config *config = good(ALIASED("\"alias\": {\"b\": \"Z2\", \"a\": \"Z1\"}"), "{}");
    assert_string_equal(config->services[0].cnames[0].hosted_zones[0], "Z1");
    assert_string_equal(config->services[0].cnames[0].hosted_zones[1], "Z2");
    assert_false(config->services[0].cnames[0].evaluate_health);
    config_free(config);
    refused(ALIASED("\"alias\": {\"a\": \"Z1\"}"), "{}", "needed for site \"b\"");
    refused(ALIASED("\"alias\": {\"a\": \"Z1\", \"b\": \"<Z>\"}"), "{}", "letters and digits");
    refused(ALIASED("\"alias\": {\"a\": \"Z1\", \"b\": \"Z2\", \"c\": \"Z3\"}"), "{}",
            "\"at\" does not have");
}

/* Two services that move one name would move it away from each other. */
static void a_record_has_one_service(void **state)
{
    (void)state;
    refused("{" SERVICE("s", "t", "{\"record\": \"k.example.com\", \"at\": {}}") ", " SERVICE(
                "u", "v", "{\"record\": \"K.Example.com.\", \"at\": {}}") "}",
            "{}", "stands in service \"s\" already");
    refused("{" SERVICE("s", "t",
                        "{\"record\": \"k\", \"at\": {}}, {\"record\": \"k\", \"at\": {}}") "}",
            "{}", "stands in service \"s\" already");
}

/* What is shown can be read again, secrets by reference. */
static void what_is_shown(void **state)
{
    (void)state;
    struct config *config =
        good(PLAIN, "{\"z\": {\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.1\"], "
                    "\"resolvers\": [\"192.0.2.2:5353\"], " TSIG "}, \"y\": {\"provider\": "
                    "\"exec\", \"command\": [\"/x\", \"y\"], \"environment\": [\"T\"]}}");
    char *text = config_show(config);
    assert_non_null(strstr(text, "\"192.0.2.2:5353\""));
    assert_non_null(strstr(text, "\"env\": \"X\""));
    assert_non_null(strstr(text, "\"/x\""));
    assert_non_null(strstr(text, "\"ttl\": 30000"));
    free(text);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zone_with_its_defaults),
        cmocka_unit_test(addresses),
        cmocka_unit_test(what_a_provider_needs),
        cmocka_unit_test(names_that_can_be_none),
        cmocka_unit_test(aliases),
        cmocka_unit_test(a_record_has_one_service),
        cmocka_unit_test(what_is_shown),
        cmocka_unit_test(what_a_provider_with_an_api_needs),
        cmocka_unit_test(several_providers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
