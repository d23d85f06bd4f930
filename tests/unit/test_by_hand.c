/* What is typed by hand when a provider cannot be reached: for each of them, as its own tools take it, without a secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/dns.h"

#define SITES                                                                                    \
    "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": \"a:1\"}}, " \
    "\"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, \"services\": {\"s\": {\"home\": "   \
    "\"a\", "                                                                                    \
    "\"others\": [\"b\"], \"topics\": {\"include\": [\"t\"]}, \"cname\": [{\"record\": "         \
    "\"kafka.dr.test\", \"at\": {\"a\": \"a.dr.test\", \"b\": \"b.dr.test\"}%s}]}}, "            \
    "\"dns\": {\"dr.test\": {%s}}}"
#define SECRET "\"secret\": {\"env\": \"FERRY_TEST_SECRET\"}"

/* Returns heap text. @param from  NULL = it is to be made */
static char *by_hand_of(const char *zone, const char *alias, const char *from)
{
    char text[4096];
    struct err err = {0};
    const struct dns_change change = {.from = from, .to = "b.dr.test", .ttl_s = 30};
    int len = snprintf(text, sizeof(text), SITES, alias, zone);
    struct config *config = config_parse(text, (size_t)len, "f", &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    struct dns *dns = dns_open(config, &config->services[0].cnames[0], &err);
    assert_non_null(dns);
    char *out = dns_by_hand(dns, &change);
    dns_close(dns);
    config_free(config);
    return out;
}

static char *by_hand(const char *zone, const char *from)
{
    return by_hand_of(zone, "", from);
}

static void an_alias(void **state)
{
    static const char *const wanted[] = {
        "{\"Action\": \"DELETE\", \"ResourceRecordSet\": {\"Name\": \"kafka.dr.test.\", \"Type\": "
        "\"A\", \"AliasTarget\": {\"HostedZoneId\": \"ZA\", \"DNSName\": \"a.dr.test.\", "
        "\"EvaluateTargetHealth\": true}}}",
        "{\"Action\": \"CREATE\", \"ResourceRecordSet\": {\"Name\": \"kafka.dr.test.\", \"Type\": "
        "\"A\", \"AliasTarget\": {\"HostedZoneId\": \"ZB\", \"DNSName\": \"b.dr.test.\"",
        "\"DELETE\", \"ResourceRecordSet\": {\"Name\": \"kafka.dr.test.\", \"Type\": \"AAAA\", "
        "\"AliasTarget\": {\"HostedZoneId\": \"ZA\", \"DNSName\": \"a.dr.test.\"",
        "\"CREATE\", \"ResourceRecordSet\": {\"Name\": \"kafka.dr.test.\", \"Type\": \"AAAA\", "
        "\"AliasTarget\": {\"HostedZoneId\": \"ZB\", \"DNSName\": \"b.dr.test.\"",
        "# its AAAA set; refused when it has none\n",
    };
    (void)state;
    char *text =
        by_hand_of("\"provider\": \"route53\", \"id\": \"Z1\", \"credentials\": \"instance\"",
                   ", \"evaluate_target_health\": true, \"alias\": {\"a\": \"ZA\", "
                   "\"b\": \"ZB\"}",
                   "a.dr.test");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (strstr(text, wanted[i]) == NULL) {
            fail_msg("%s\nwanted: %s", text, wanted[i]);
        }
    }
    assert_null(strstr(text, "TTL"));
    free(text);
}

static void each_provider(void **state)
{
    static const struct {
        const char *zone;
        const char *change; /* part of it */
        const char *make;
    } rows[] = {
        {"\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.53\"], \"tsig\": {\"name\": \"k\", "
         "\"secret\": {\"env\": \"FERRY_TEST_SECRET\"}}",                      "prereq yxrrset kafka.dr.test CNAME a.dr.test.", "prereq nxdomain kafka.dr.test"                                          },
        {"\"provider\": \"powerdns\", \"endpoint\": \"http://10.0.0.1:8081\", " SECRET,
         "http://10.0.0.1:8081/api/v1/servers/localhost/zones/dr.test. --data '{\"rrsets\": "
         "[{\"name\": \"kafka.dr.test.\", \"type\": \"CNAME\", \"ttl\": 30",                                                             "\"changetype\": \"REPLACE\""                                            },
        {"\"provider\": \"route53\", \"id\": \"Z1\", \"access_key\": \"AK\", " SECRET,
         "--hosted-zone-id Z1 --change-batch '{\"Changes\": [{\"Action\": \"DELETE\", "
         "\"ResourceRecordSet\": {\"Name\": \"kafka.dr.test.\", \"Type\": \"CNAME\", \"TTL\": 30, "
         "\"ResourceRecords\": [{\"Value\": \"a.dr.test.\"}]}}, {\"Action\": \"CREATE\"",                                                "[{\"Action\": \"CREATE\""                                               },
        {"\"provider\": \"cloudflare\", \"id\": \"0a\", " SECRET,
         "/zones/0a/dns_records/ID --data '{\"content\": \"b.dr.test\", \"ttl\": 30}'",                                                  "curl -X POST"                                                           },
        {"\"provider\": \"alidns\", \"access_key\": \"AK\", " SECRET,
         "aliyun alidns UpdateDomainRecord --RecordId ID --RR kafka --Type CNAME --Value b.dr.test "
         "--TTL 30",                                                                                                                     "aliyun alidns AddDomainRecord --DomainName dr.test --RR kafka"          },
        {"\"provider\": \"google\", \"project\": \"p\", \"id\": \"z\", " SECRET,
         "gcloud dns record-sets update kafka.dr.test. --project=p --zone=z --type=CNAME --ttl=30 "
         "--rrdatas=b.dr.test.",                                                                                                         "gcloud dns record-sets create"                                          },
        {"\"provider\": \"azure\", \"tenant\": \"t\", \"client\": \"c\", \"subscription\": \"s\", "
         "\"resource_group\": \"g\", " SECRET,
         "az network dns record-set cname update --subscription s -g g -z dr.test -n kafka --set "
         "TTL=30 CNAMERecord.cname=b.dr.test",                                                                                           "cname set-record --subscription s -g g -z dr.test -n kafka -c b.dr.test"},
        {"\"provider\": \"exec\", \"command\": [\"/x\"]",                               "kafka.dr.test CNAME b.dr.test, TTL 30",
         "kafka.dr.test CNAME b.dr.test, TTL 30"                                                                                                                                                                  },
    };
    (void)state;
    setenv("FERRY_TEST_SECRET", "hidden-hidden", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int make = 0; make < 2; make++) {
            const char *wanted = make ? rows[i].make : rows[i].change;
            char *text = by_hand(rows[i].zone, make ? NULL : "a.dr.test");
            if (strstr(text, wanted) == NULL || strstr(text, "hidden") != NULL ||
                strstr(text, "AAAA") != NULL || strstr(text, "b.dr.test") == NULL) {
                fail_msg("%s\nwanted: %s", text, wanted);
            }
            free(text);
        }
    }
}

static void every_provider_of_a_zone(void **state)
{
    (void)state;
    char *text = by_hand(
        "\"provider\": \"cloudflare\", \"id\": \"0a\", " SECRET
        ", \"also\": [{\"provider\": \"google\", \"project\": \"p\", \"id\": \"z\", " SECRET "}]",
        "a.dr.test");
    assert_non_null(strstr(text, "/zones/0a/dns_records/ID"));
    assert_non_null(strstr(text, "gcloud dns record-sets update"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_provider),
        cmocka_unit_test(an_alias),
        cmocka_unit_test(every_provider_of_a_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
