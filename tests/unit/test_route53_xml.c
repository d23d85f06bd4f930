/* Answers of Route 53 as its documentation has them, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/route53_xml.h"

#define HEAD "<?xml version=\"1.0\"?>"
#define LIST(sets)                                                                \
    HEAD "<ListResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/" \
         "doc/2013-04-01/\"><ResourceRecordSets>" sets                            \
         "</ResourceRecordSets><IsTruncated>false</IsTruncated>"                  \
         "</ListResourceRecordSetsResponse>"
#define SET(name, type, more)                                                         \
    "<ResourceRecordSet><Name>" name "</Name><Type>" type "</Type><TTL>30</TTL>" more \
    "</ResourceRecordSet>"
#define VALUE(value) \
    "<ResourceRecords><ResourceRecord><Value>" value "</Value></ResourceRecord></ResourceRecords>"

static struct route53_answer answer;

static bool parse(const char *text)
{
    return route53_parse(text, strlen(text), "kafka.dr.test", &answer);
}

static void sets_of_the_name(void **state)
{
    (void)state;
    assert_true(parse(LIST(SET("kafka.dr.test.", "CNAME", VALUE("A.dr.test."))
                               SET("kafkb.dr.test.", "CNAME", VALUE("b.dr.test.")))));
    assert_string_equal(answer.root, "ListResourceRecordSetsResponse");
    assert_int_equal(answer.sets.cnames, 1);
    assert_int_equal(answer.sets.others, 0);
    assert_int_equal(answer.sets.ttl_s, 30);
    assert_string_equal(answer.sets.value, "a.dr.test");
    assert_true(parse(LIST(SET("kafka.dr.test.", "A", VALUE("192.0.2.1")))));
    assert_int_equal(answer.sets.others, 1);
    assert_int_equal(answer.sets.cnames, 0);
    assert_true(parse(LIST(SET("kafka.dr.test.", "CNAME",
                               "<SetIdentifier>x</SetIdentifier><Weight>1</Weight>" VALUE("a.")))));
    assert_true(answer.sets.chosen);
    assert_true(
        parse(LIST("<ResourceRecordSet><Name>kafka.dr.test.</Name><Type>CNAME</Type>"
                   "<AliasTarget><HostedZoneId>Z</HostedZoneId><DNSName>a.dr.test.</DNSName>"
                   "</AliasTarget></ResourceRecordSet>")));
    assert_true(answer.sets.alias);
    assert_int_equal(answer.sets.ttl_s, -1);
    assert_true(parse(LIST(SET("\\052.dr.test.", "CNAME", VALUE("a.dr.test.")))));
    assert_int_equal(answer.sets.cnames, 0);
    assert_true(parse(LIST("")));
    assert_int_equal(answer.sets.cnames + answer.sets.others, 0);
}

#define ALIAS(type, more)                                                                   \
    "<ResourceRecordSet><Name>kafka.dr.test.</Name><Type>" type "</Type><AliasTarget>" more \
    "</AliasTarget></ResourceRecordSet>"

static void aliases_of_the_name(void **state)
{
    const struct route53_alias *aliases = answer.sets.aliases;
    (void)state;
    assert_true(parse(LIST(
        ALIAS("A", "<HostedZoneId>Z1</HostedZoneId><DNSName>LB.dr.test.</DNSName>"
                   "<EvaluateTargetHealth>true</EvaluateTargetHealth>")
            ALIAS("AAAA", "<HostedZoneId>Z2</HostedZoneId><DNSName>lb.dr.test.</DNSName>")
                SET("kafka.dr.test.", "TXT", VALUE("x")) SET("kafka.dr.test.", "A", VALUE("x")))));
    assert_int_equal(answer.sets.aliases_count, 2);
    assert_string_equal(aliases[0].type, "A");
    assert_string_equal(aliases[0].hosted_zone, "Z1");
    assert_string_equal(aliases[0].target, "lb.dr.test");
    assert_true(aliases[0].evaluate_health);
    assert_string_equal(aliases[1].type, "AAAA");
    assert_string_equal(aliases[1].hosted_zone, "Z2");
    assert_false(aliases[1].evaluate_health);
    assert_int_equal(answer.sets.addresses, 1);
    assert_int_equal(answer.sets.others, 4);
    /* more than there can be are none of ours; what would end an element is no id */
    assert_true(parse(LIST(ALIAS("A", "") ALIAS("A", "<DNSName>a b</DNSName>")
                               ALIAS("A", "<HostedZoneId>Z&lt;/x&gt;</HostedZoneId>"))));
    assert_int_equal(answer.sets.aliases_count, 2);
    assert_int_equal(answer.sets.addresses, 1);
    assert_string_equal(aliases[1].target, "");
    assert_true(parse(LIST(ALIAS("A", "<HostedZoneId>Z&lt;/x&gt;</HostedZoneId>"))));
    assert_string_equal(aliases[0].hosted_zone, "");
}

static void changes_and_errors(void **state)
{
    (void)state;
    assert_true(parse(HEAD
                      "<GetChangeResponse><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status>"
                      "</ChangeInfo></GetChangeResponse>"));
    assert_string_equal(answer.id, "/change/C1");
    assert_string_equal(answer.status, "PENDING");
    assert_true(parse(HEAD
                      "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidChangeBatch</Code>"
                      "<Message>[not &amp; so]</Message></Error></ErrorResponse>"));
    assert_string_equal(answer.code, "InvalidChangeBatch");
    assert_string_equal(answer.message, "[not & so]");
}

static void what_is_no_answer(void **state)
{
    char deep[2000] = "";
    char longer[3000];
    (void)state;
    assert_false(parse(""));
    assert_false(parse("{\"json\": true}"));
    assert_false(parse("<a><b></a>"));
    assert_false(parse("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"));
    assert_false(parse("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>"));
    for (int i = 0; i < 40; i++) {
        memcpy(deep + 3 * i, "<a>", 4);
    }
    assert_false(parse(deep));
    memset(longer, 'x', sizeof(longer));
    memcpy(longer, "<a><Code>", 9);
    memcpy(longer + sizeof(longer) - 12, "</Code></a>", 12);
    assert_false(parse(longer));
    assert_true(parse("<html><body>200</body></html>")); /* XML, and of another kind */
    assert_string_equal(answer.root, "html");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_the_name),
        cmocka_unit_test(aliases_of_the_name),
        cmocka_unit_test(changes_and_errors),
        cmocka_unit_test(what_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
