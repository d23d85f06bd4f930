/* Questions and answers of DNS as bytes: what fits, what is signed, what it means. Answers are made with ldns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ldns/ldns.h>

#include "dns/message.h"

#define SECRET  "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" /* 32 bytes */
#define ANOTHER "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="

static const struct message_key key = {"ferry", "hmac-sha256", SECRET};
static struct message_query query;
static struct message_answer answer;
static struct err err;

static int tear_down(void **state)
{
    (void)state;
    message_query_done(&query);
    memset(&query, 0, sizeof(query));
    return 0;
}

static ldns_rr *rr(const char *text)
{
    ldns_rr *out = NULL;
    assert_int_equal(ldns_rr_new_frm_str(&out, text, 0, NULL, NULL), LDNS_STATUS_OK);
    return out;
}

/* The query turned into an answer without records. */
static ldns_pkt *reply(int rcode)
{
    ldns_pkt *packet = NULL;
    assert_int_equal(ldns_wire2pkt(&packet, query.wire, query.len), LDNS_STATUS_OK);
    ldns_rr_free(ldns_pkt_tsig(packet));
    ldns_pkt_set_tsig(packet, NULL);
    ldns_pkt_set_arcount(packet, 0);
    ldns_pkt_set_qr(packet, true);
    ldns_pkt_set_aa(packet, true);
    ldns_pkt_set_rcode(packet, (uint8_t)rcode);
    return packet;
}

static void add(ldns_pkt *packet, ldns_pkt_section section, const char *text)
{
    assert_true(ldns_pkt_push_rr(packet, section, rr(text)));
}

/* @param with  NULL = unsigned */
static bool read_reply(ldns_pkt *take_packet, const struct message_key *with)
{
    uint8_t *wire = NULL;
    size_t len = 0;
    if (with != NULL) {
        assert_int_equal(ldns_pkt_tsig_sign(take_packet, with->name, with->secret, 300,
                                            with->algorithm, query.mac),
                         LDNS_STATUS_OK);
    }
    assert_int_equal(ldns_pkt2wire(&wire, take_packet, &len), LDNS_STATUS_OK);
    ldns_pkt_free(take_packet);
    err_clear(&err);
    memset(&answer, 0, sizeof(answer));
    bool ok = message_read(&query, wire, len, &answer, &err);
    free(wire);
    return ok;
}

static void ask(const struct message_key *with)
{
    assert_true(message_ask(&query, "kafka.example.com", MESSAGE_CNAME, false, with, &err));
}

static struct dns_set meaning(void)
{
    struct dns_set set = {.ttl_s = -2};
    if (!message_set(&answer, "kafka.example.com", "example.com", true, &set, &err)) {
        fail_msg("%s", err.what);
    }
    return set;
}

static void one_value(void **state)
{
    (void)state;
    ask(NULL);
    ldns_pkt *packet = reply(0);
    add(packet, LDNS_SECTION_ANSWER, "Kafka.Example.COM. 30 IN CNAME A.example.com.");
    add(packet, LDNS_SECTION_ANSWER, "a.example.com. 60 IN A 192.0.2.1");
    assert_true(read_reply(packet, NULL));
    struct dns_set set = meaning();
    assert_int_equal(set.kind, DNS_CNAME);
    assert_string_equal(set.value, "a.example.com");
    assert_int_equal(set.ttl_s, 30);
    assert_string_equal(answer.records[1].value, "192.0.2.1");
}

static void what_else_may_stand_there(void **state)
{
    (void)state;
    ask(NULL);
    assert_true(read_reply(reply(3), NULL));
    assert_int_equal(meaning().kind, DNS_NOTHING);
    assert_true(read_reply(reply(0), NULL)); /* the name is there, a CNAME is not */
    assert_int_equal(meaning().kind, DNS_OTHER);
    ldns_pkt *packet = reply(0);
    add(packet, LDNS_SECTION_ANSWER, "kafka.example.com. 30 IN CNAME a.example.com.");
    add(packet, LDNS_SECTION_ANSWER, "kafka.example.com. 30 IN CNAME b.example.com.");
    assert_true(read_reply(packet, NULL));
    assert_int_equal(meaning().kind, DNS_SEVERAL);
    packet = reply(0);
    ldns_pkt_set_aa(packet, false);
    add(packet, LDNS_SECTION_AUTHORITY, "kafka.example.com. 30 IN NS ns.kafka.example.com.");
    assert_true(read_reply(packet, NULL));
    struct dns_set set = meaning();
    assert_int_equal(set.kind, DNS_ELSEWHERE);
    assert_string_equal(set.value, "kafka.example.com");
}

/* The zone's own NS and SOA are no cut. */
static void the_zone_itself_is_no_cut(void **state)
{
    (void)state;
    ask(NULL);
    ldns_pkt *packet = reply(0);
    add(packet, LDNS_SECTION_ANSWER, "kafka.example.com. 30 IN CNAME a.example.com.");
    add(packet, LDNS_SECTION_AUTHORITY, "example.com. 30 IN NS ns.example.com.");
    assert_true(read_reply(packet, NULL));
    assert_int_equal(meaning().kind, DNS_CNAME);
    packet = reply(3);
    add(packet, LDNS_SECTION_AUTHORITY,
        "sub.kafka.example.com. 30 IN SOA ns.example.com. h.example.com. 1 2 3 4 5");
    assert_true(read_reply(packet, NULL));
    assert_int_equal(meaning().kind, DNS_NOTHING); /* below the name, not above */
}

static void servers_that_do_not_know(void **state)
{
    struct dns_set set;
    (void)state;
    ask(NULL);
    ldns_pkt *packet = reply(0);
    ldns_pkt_set_aa(packet, false);
    add(packet, LDNS_SECTION_ANSWER, "kafka.example.com. 30 IN CNAME a.example.com.");
    assert_true(read_reply(packet, NULL));
    assert_false(message_set(&answer, "kafka.example.com", "example.com", true, &set, &err));
    assert_true(message_set(&answer, "kafka.example.com", "example.com", false, &set, &err));
    assert_true(read_reply(reply(5), NULL));
    assert_false(message_set(&answer, "kafka.example.com", "example.com", false, &set, &err));
    assert_non_null(strstr(err.what, "REFUSED"));
}

/* Code 0: go on waiting for the right one. */
static void answers_to_something_else(void **state)
{
    (void)state;
    ask(NULL);
    ldns_pkt *packet = reply(0);
    ldns_pkt_set_id(packet, (uint16_t)(query.id + 1));
    assert_false(read_reply(packet, NULL));
    assert_int_equal(err.code, 0);
    packet = reply(0);
    ldns_pkt_set_qr(packet, false);
    assert_false(read_reply(packet, NULL));
    assert_int_equal(err.code, 0);
    struct message_query another;
    assert_true(message_ask(&another, "other.example.com", MESSAGE_CNAME, false, NULL, &err));
    another.wire[0] = query.wire[0];
    another.wire[1] = query.wire[1];
    another.wire[2] |= 0x80;
    assert_false(message_read(&query, another.wire, another.len, &answer, &err));
    assert_int_equal(err.code, 0);
    message_query_done(&another);
    const uint8_t cut[] = {query.wire[0], query.wire[1], 0x80, 0, 0, 1, 0, 9, 0, 0, 0, 0, 1};
    assert_false(message_read(&query, cut, sizeof(cut), &answer, &err));
    assert_int_equal(err.code, 1); /* ours, and cannot be read */
    assert_false(message_read(&query, cut, 5, &answer, &err));
}

static void too_many_records(void **state)
{
    char text[100];
    (void)state;
    ask(NULL);
    ldns_pkt *packet = reply(0);
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof(text), "kafka.example.com. 30 IN CNAME a%d.example.com.", i);
        add(packet, LDNS_SECTION_ANSWER, text);
    }
    assert_false(read_reply(packet, NULL));
    assert_int_equal(err.code, 1);
}

static void signatures(void **state)
{
    const struct message_key another = {"ferry", "hmac-sha256", ANOTHER};
    const struct message_key weaker = {"ferry", "hmac-md5.sig-alg.reg.int", SECRET};
    (void)state;
    ask(&key);
    assert_true(read_reply(reply(0), &key));
    assert_true(answer.is_signed);
    assert_true(read_reply(reply(0), NULL));
    assert_false(answer.is_signed);
    assert_true(read_reply(reply(0), &another));
    assert_false(answer.is_signed);
    assert_true(
        read_reply(reply(0), &weaker)); /* the right secret, and an algorithm that is not ours */
    assert_false(answer.is_signed);
}

/* A signature over another question's does not fit: an answer cannot be played back. */
static void signatures_are_of_one_question(void **state)
{
    struct message_query first;
    (void)state;
    ask(&key);
    first = query;
    ask(&key);
    void *mac = query.mac;
    query.mac = first.mac; /* signed as an answer to the first */
    ldns_pkt *packet = reply(0);
    assert_int_equal(
        ldns_pkt_tsig_sign(packet, key.name, key.secret, 300, key.algorithm, query.mac),
        LDNS_STATUS_OK);
    query.mac = mac;
    assert_true(read_reply(packet, NULL));
    assert_false(answer.is_signed);
    message_query_done(&first);
}

static ldns_pkt *parse_query(void)
{
    ldns_pkt *packet = NULL;
    assert_int_equal(ldns_wire2pkt(&packet, query.wire, query.len), LDNS_STATUS_OK);
    return packet;
}

static void assert_rr(const ldns_rr_list *list, size_t index, const char *text)
{
    char *found = ldns_rr2str(ldns_rr_list_rr(list, index));
    assert_string_equal(found, text);
    free(found);
}

static void an_update_is_a_compare_and_swap(void **state)
{
    const struct dns_change change = {"a.example.com", "b.example.com", 30};
    (void)state;
    assert_true(
        message_update(&query, "example.com", "kafka.example.com", &change, false, &key, &err));
    ldns_pkt *packet = parse_query();
    assert_int_equal(ldns_pkt_get_opcode(packet), LDNS_PACKET_UPDATE);
    assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_answer(packet)), 1);
    assert_rr(ldns_pkt_answer(packet), 0, "kafka.example.com.\t0\tIN\tCNAME\ta.example.com.\n");
    assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_authority(packet)), 2);
    assert_rr(ldns_pkt_authority(packet), 0, "kafka.example.com.\t0\tANY\tCNAME\t\\# 0\n");
    assert_rr(ldns_pkt_authority(packet), 1, "kafka.example.com.\t30\tIN\tCNAME\tb.example.com.\n");
    assert_non_null(ldns_pkt_tsig(packet));
    ldns_pkt_free(packet);
    /* its answer may come without the question */
    packet = reply(8);
    assert_true(read_reply(packet, &key));
    assert_int_equal(answer.rcode, 8);
    assert_true(answer.is_signed);
}

static void a_check_changes_nothing(void **state)
{
    const struct dns_change create = {NULL, "b.example.com", 30};
    (void)state;
    assert_true(
        message_update(&query, "example.com", "kafka.example.com", &create, true, &key, &err));
    ldns_pkt *packet = parse_query();
    assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_answer(packet)), 1);
    const ldns_rr *prerequisite = ldns_rr_list_rr(ldns_pkt_answer(packet), 0);
    assert_int_equal(ldns_rr_get_class(prerequisite), LDNS_RR_CLASS_NONE); /* name is not in use */
    assert_int_equal(ldns_rr_get_type(prerequisite), LDNS_RR_TYPE_ANY);
    assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_authority(packet)), 1);
    const ldns_rr *taken = ldns_rr_list_rr(ldns_pkt_authority(packet), 0);
    assert_int_equal(ldns_rr_get_class(taken), LDNS_RR_CLASS_NONE); /* delete one value .. */
    char *value = ldns_rdf2str(ldns_rr_rdf(taken, 0));
    assert_string_equal(value, "kafka.example.com."); /* .. that no server holds there */
    free(value);
    ldns_pkt_free(packet);
}

static void secrets_that_are_none(void **state)
{
    const struct message_key none[] = {
        {"k", "hmac-sha256", "not base64!"},
        {"k", "hmac-sha256", "MDEy"       },
        {"k", "hmac-sha256", ""           }
    };
    (void)state;
    assert_true(message_key_ok(&key, &err));
    for (size_t i = 0; i < 3; i++) {
        assert_false(message_key_ok(&none[i], &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
}

/* A name server that signs twice costs no memory and is not believed. */
static void two_signatures(void **state)
{
    uint8_t *bare = NULL;
    uint8_t *wire = NULL;
    size_t bare_len = 0;
    size_t len = 0;
    (void)state;
    ask(&key);
    ldns_pkt *packet = reply(LDNS_RCODE_NOERROR);
    add(packet, LDNS_SECTION_ANSWER, "kafka.example.com. 30 IN CNAME a.example.com.");
    assert_int_equal(ldns_pkt2wire(&bare, packet, &bare_len), LDNS_STATUS_OK);
    assert_int_equal(
        ldns_pkt_tsig_sign(packet, key.name, key.secret, 300, key.algorithm, query.mac),
        LDNS_STATUS_OK);
    assert_int_equal(ldns_pkt2wire(&wire, packet, &len), LDNS_STATUS_OK);
    size_t signature_len = len - bare_len; /* it stands last */
    uint8_t *twice = malloc(len + signature_len);
    assert_non_null(twice);
    memcpy(twice, wire, len);
    memcpy(twice + len, wire + bare_len, signature_len);
    err_clear(&err);
    assert_true(message_read(&query, twice, len, &answer, &err));
    twice[11] = 2; /* records of the additional section */
    assert_false(message_read(&query, twice, len + signature_len, &answer, &err));
    free(twice);
    free(wire);
    free(bare);
    ldns_pkt_free(packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_value, tear_down),
        cmocka_unit_test_teardown(what_else_may_stand_there, tear_down),
        cmocka_unit_test_teardown(the_zone_itself_is_no_cut, tear_down),
        cmocka_unit_test_teardown(servers_that_do_not_know, tear_down),
        cmocka_unit_test_teardown(answers_to_something_else, tear_down),
        cmocka_unit_test_teardown(too_many_records, tear_down),
        cmocka_unit_test_teardown(signatures, tear_down),
        cmocka_unit_test_teardown(two_signatures, tear_down),
        cmocka_unit_test_teardown(signatures_are_of_one_question, tear_down),
        cmocka_unit_test_teardown(an_update_is_a_compare_and_swap, tear_down),
        cmocka_unit_test_teardown(a_check_changes_nothing, tear_down),
        cmocka_unit_test_teardown(secrets_that_are_none, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
