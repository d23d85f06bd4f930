/* kafka/sasl: the example of RFC 7677, what a false or broken server may say, PLAIN, OAUTHBEARER as Kafka's own client writes it;
 * kafka/sign_in: what is told to people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/error.h"
#include "kafka/sasl.h"
#include "kafka/sign_in.h"
#include "tests/unit/vectors/sasl_vectors.h"

#define NONCE        "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SALT         "W22ZaJ0SNY7soEsUEjb6gQ=="
#define SERVER_FIRST "r=" SERVER_NONCE ",s=" SALT ",i=4096"
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

struct talk {
    struct sasl *sasl;
    struct writer out;
    struct err err;
};

static struct talk talk_as(enum sasl_mechanism mechanism, const char *user, const char *password)
{
    struct talk talk = {.sasl = sasl_new(mechanism, user, password, NONCE)};

    writer_init(&talk.out);
    return talk;
}

static bool hear(struct talk *talk, const char *message)
{
    writer_done(&talk->out);
    return sasl_step(talk->sasl, message, strlen(message), &talk->out, &talk->err);
}

static void assert_said(const struct talk *talk, const char *text)
{
    assert_int_equal(talk->out.len, strlen(text));
    assert_memory_equal(talk->out.data, text, strlen(text));
}

static void talk_over(struct talk *talk)
{
    writer_done(&talk->out);
    sasl_free(talk->sasl);
}

static void the_rfcs_example(void **state)
{
    struct talk talk = talk_as(SASL_SCRAM_SHA_256, "user", "pencil");

    (void)state;
    assert_true(hear(&talk, ""));
    assert_said(&talk, "n,,n=user,r=" NONCE);
    assert_true(hear(&talk, SERVER_FIRST));
    assert_said(&talk, "c=biws,r=" SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_false(sasl_is_done(talk.sasl));
    assert_true(hear(&talk, SERVER_FINAL));
    assert_true(sasl_is_done(talk.sasl));
    assert_int_equal(talk.out.len, 0);
    assert_false(hear(&talk, SERVER_FINAL));
    talk_over(&talk);
}

static void names_are_escaped(void **state)
{
    struct talk talk = talk_as(SASL_SCRAM_SHA_512, "a,b=c", "x");

    (void)state;
    assert_true(hear(&talk, ""));
    assert_said(&talk, "n,,n=a=2Cb=3Dc,r=" NONCE);
    talk_over(&talk);
}

static void refused_first(const char *message, const char *why)
{
    struct talk talk = talk_as(SASL_SCRAM_SHA_256, "user", "pencil");

    assert_true(hear(&talk, ""));
    if (hear(&talk, message)) {
        fail_msg("taken: %s", message);
    }
    assert_int_equal(talk.err.kind, ERR_REFUSED);
    if (strstr(talk.err.what, why) == NULL) {
        fail_msg("%s: %s", message, talk.err.what);
    }
    assert_int_equal(talk.out.len, 0); /* no proof for who asks like that */
    assert_false(hear(&talk, SERVER_FIRST));
    talk_over(&talk);
}

static void a_servers_first_message_is_checked(void **state)
{
    char *long_one = calloc(1, 8000);

    (void)state;
    refused_first("", "not r=");
    refused_first("hello", "not r=");
    refused_first("m=x," SERVER_FIRST, "not r=");
    refused_first("r=" SERVER_NONCE, "not r=");
    refused_first("r=" SERVER_NONCE ",i=4096,s=" SALT, "not r=");
    refused_first("r=" NONCE ",s=" SALT ",i=4096", "nonce");
    refused_first("r=other" SERVER_NONCE ",s=" SALT ",i=4096", "nonce");
    refused_first("r=" NONCE "\x01,s=" SALT ",i=4096", "nonce");
    refused_first("r=" SERVER_NONCE ",s=,i=4096", "salt");
    refused_first("r=" SERVER_NONCE ",s=W22Z=J0S,i=4096", "salt");
    refused_first("r=" SERVER_NONCE ",s=W22,i=4096", "salt");
    refused_first("r=" SERVER_NONCE ",s=====,i=4096", "salt");
    refused_first("r=" SERVER_NONCE ",s=" SALT ",i=4095", "iterations");
    refused_first("r=" SERVER_NONCE ",s=" SALT ",i=200001", "iterations");
    refused_first("r=" SERVER_NONCE ",s=" SALT ",i=99999999999999999999", "iterations");
    refused_first("r=" SERVER_NONCE ",s=" SALT ",i=-4096", "iterations");
    refused_first("r=" SERVER_NONCE ",s=" SALT ",i=", "iterations");
    refused_first("r=" SERVER_NONCE ",s=" SALT ",i=0x1000", "iterations");
    memset(long_one, 'a', 7999);
    memcpy(long_one, "r=" NONCE, strlen("r=" NONCE));
    refused_first(long_one, "too long");
    long_one[4000] = '\0'; /* below the message's bound, above the nonce's */
    memcpy(long_one + 3900, ",s=" SALT ",i=4096", strlen(",s=" SALT ",i=4096") + 1);
    refused_first(long_one, "nonce");
    free(long_one);
}

static void refused_final(const char *message, const char *why)
{
    struct talk talk = talk_as(SASL_SCRAM_SHA_256, "user", "pencil");

    assert_true(hear(&talk, ""));
    assert_true(hear(&talk, SERVER_FIRST));
    assert_false(hear(&talk, message));
    assert_false(sasl_is_done(talk.sasl));
    if (strstr(talk.err.what, why) == NULL) {
        fail_msg("%s: %s", message, talk.err.what);
    }
    talk_over(&talk);
}

static void a_server_must_know_the_password(void **state)
{
    (void)state;
    refused_final("", "no signature");
    refused_final("v=", "no signature");
    refused_final("v=AAAA", "no signature");
    refused_final("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "wrong signature");
    refused_final("e=invalid-proof", "does not accept");
    refused_final(SERVER_FIRST, "no signature");
}

static void another_password_makes_another_proof(void **state)
{
    struct talk talk = talk_as(SASL_SCRAM_SHA_256, "user", "pencil2");

    (void)state;
    assert_true(hear(&talk, ""));
    assert_true(hear(&talk, SERVER_FIRST));
    assert_false(hear(&talk, SERVER_FINAL)); /* and so is the server's signature */
    talk_over(&talk);
}

static void nonces_are_random(void **state)
{
    struct sasl *one = sasl_new(SASL_SCRAM_SHA_256, "u", "p", NULL);
    struct sasl *two = sasl_new(SASL_SCRAM_SHA_256, "u", "p", NULL);
    struct writer first;
    struct writer second;

    (void)state;
    writer_init(&first);
    writer_init(&second);
    assert_true(sasl_step(one, NULL, 0, &first, NULL));
    assert_true(sasl_step(two, NULL, 0, &second, NULL));
    assert_int_equal(first.len, strlen("n,,n=u,r=") + 32);
    assert_memory_not_equal(first.data, second.data, first.len);
    writer_done(&first);
    writer_done(&second);
    sasl_free(one);
    sasl_free(two);
}

static void plain(void **state)
{
    struct talk talk = talk_as(SASL_PLAIN, "user", "pencil");

    (void)state;
    assert_true(hear(&talk, ""));
    assert_int_equal(talk.out.len, 12);
    assert_memory_equal(talk.out.data, "\0user\0pencil", 12);
    assert_false(sasl_is_done(talk.sasl));
    assert_true(hear(&talk, ""));
    assert_true(sasl_is_done(talk.sasl));
    talk_over(&talk);
}

static struct talk talk_by_token(const char *extensions)
{
    struct talk talk = {.sasl = sasl_new_bearer("abc.def-_.ghi", extensions)};

    writer_init(&talk.out);
    return talk;
}

static void a_token_as_kafkas_own_client_says_it(void **state)
{
    struct talk talk = talk_by_token(NULL);

    (void)state;
    assert_true(hear(&talk, ""));
    assert_int_equal(talk.out.len, sizeof(bearer_alone));
    assert_memory_equal(talk.out.data, bearer_alone, sizeof(bearer_alone));
    assert_false(sasl_is_done(talk.sasl));
    assert_true(hear(&talk, ""));
    assert_true(sasl_is_done(talk.sasl));
    assert_false(hear(&talk, ""));
    talk_over(&talk);
    talk = talk_by_token("pool=a b,logicalCluster=one");
    assert_true(hear(&talk, ""));
    assert_int_equal(talk.out.len, sizeof(bearer_with_extensions));
    assert_memory_equal(talk.out.data, bearer_with_extensions, sizeof(bearer_with_extensions));
    talk_over(&talk);
}

/* RFC 7628, 3.2.3: the reason is answered by a lone separator, and the server then says it with a code. */
static void a_token_that_is_not_taken(void **state)
{
    struct talk talk = talk_by_token(NULL);

    (void)state;
    assert_true(hear(&talk, ""));
    assert_true(hear(&talk, "{\"status\":\"invalid_token\"}"));
    assert_said(&talk, "\x01");
    assert_false(sasl_is_done(talk.sasl));
    assert_false(hear(&talk, "")); /* a yes behind a no is none */
    assert_false(sasl_is_done(talk.sasl));
    talk_over(&talk);
}

static void mechanisms_have_names(void **state)
{
    enum sasl_mechanism mechanism;
    struct err err;

    (void)state;
    assert_true(sasl_mechanism_parse("scram-sha-512", &mechanism, &err));
    assert_int_equal(mechanism, SASL_SCRAM_SHA_512);
    assert_string_equal(sasl_mechanism_name(SASL_SCRAM_SHA_256), "SCRAM-SHA-256");
    assert_true(sasl_mechanism_parse("oauthbearer", &mechanism, &err));
    assert_string_equal(sasl_mechanism_name(mechanism), "OAUTHBEARER");
    assert_true(sasl_mechanism_parse("GSSAPI", &mechanism, &err));
    assert_int_equal(mechanism, SASL_GSSAPI);
    assert_false(sasl_mechanism_parse("DIGEST-MD5", &mechanism, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.what, "DIGEST-MD5"));
}

/* --- what people read ------------------------------------------------------------------------------------------ */

static struct config_property properties[] = {
    {"security.protocol", "SASL_SSL"     },
    {"sasl.mechanism",    "SCRAM-SHA-256"},
    {"sasl.username",     "ferry"        }
};
static struct config_secret secrets[] = {
    {.name = "sasl.password", .env = "TEST_SASL_PASSWORD"}
};
static const struct config_client client = {
    .properties = properties, .properties_count = 3, .secrets = secrets, .secrets_count = 1};

static void begin(struct sign_in *sign_in, struct writer *writer)
{
    struct err err;

    setenv("TEST_SASL_PASSWORD", "pencil", 1);
    sign_in_init(sign_in, &client);
    writer_init(writer);
    assert_true(sign_in_begin(sign_in, writer, &err));
    writer_done(writer);
}

static void a_wrong_password_says_who_and_how(void **state)
{
    struct sign_in sign_in;
    struct writer writer;
    struct writer answer;
    struct err err;
    bool done = false;

    (void)state;
    begin(&sign_in, &writer);
    writer_init(&answer);
    writer_i16(&answer, KAFKA_SASL_AUTHENTICATION_FAILED);
    wire_put_compact_string(&answer, "bad\n credentials");
    wire_put_uvarint(&answer, 1);
    writer_i64(&answer, 0);
    wire_put_no_tags(&answer);
    struct reader reader = reader_over(answer.data, answer.len);
    assert_false(sign_in_answered(&sign_in, &reader, &writer, &done, &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(err.code, KAFKA_SASL_AUTHENTICATION_FAILED);
    assert_string_equal(err.what, "sign-in as 'ferry' by SCRAM-SHA-256: refused: bad? credentials");
    assert_non_null(strstr(err.hint, "sasl.password"));
    assert_null(strstr(err.what, "pencil"));
    writer_done(&answer);
    writer_done(&writer);
    sign_in_done(&sign_in);
}

static void a_mechanism_that_is_not_taken_says_which_are(void **state)
{
    struct sign_in sign_in;
    struct writer writer;
    struct writer answer;
    struct err err;

    (void)state;
    begin(&sign_in, &writer);
    writer_init(&answer);
    writer_i16(&answer, KAFKA_UNSUPPORTED_SASL_MECHANISM);
    writer_i32(&answer, 2);
    wire_put_string(&answer, "GSSAPI");
    wire_put_string(&answer, "PLAIN");
    struct reader reader = reader_over(answer.data, answer.len);
    assert_false(sign_in_agreed(&sign_in, &reader, &writer, &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.what, "it takes GSSAPI, PLAIN"));
    writer_done(&answer);
    writer_done(&writer);
    sign_in_done(&sign_in);
}

static void a_secret_that_is_gone_is_said(void **state)
{
    struct sign_in sign_in;
    struct writer writer;
    struct err err;

    (void)state;
    unsetenv("TEST_SASL_PASSWORD");
    sign_in_init(&sign_in, &client);
    writer_init(&writer);
    assert_false(sign_in_begin(&sign_in, &writer, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.what, "TEST_SASL_PASSWORD"));
    writer_done(&writer);
    sign_in_done(&sign_in);
}

static struct config_property ticket_properties[] = {
    {"security.protocol",          "SASL_SSL"      },
    {"sasl.mechanism",             "GSSAPI"        },
    {"sasl.kerberos.service.name", "nobody"        },
    {"sasl.kerberos.principal",    "ferry@RIG.TEST"}
};
static const struct config_client ticket_client = {.properties = ticket_properties,
                                                   .properties_count = 4};

/* Without gssapi_prepare() Cyrus SASL is not ready: whatever goes wrong aside is said with who, how and for what. */
static void what_goes_wrong_aside_is_said(void **state)
{
    struct sign_in sign_in;
    struct err err;

    (void)state;
    sign_in_init(&sign_in, &ticket_client);
    assert_true(sign_in_asks(&sign_in));
    void *question = sign_in_question(&sign_in, "broker.example.com");
    sign_in_asking.run(question);
    assert_false(sign_in_prepare(&sign_in, question, &err));
    sign_in_asking.drop(question);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.what, "sign-in as 'ferry@RIG.TEST' by GSSAPI: Kerberos, for "
                                     "nobody/broker.example.com: "));
    question = sign_in_question(&sign_in, "b");
    sign_in_asking.busy(question);
    assert_false(sign_in_prepare(&sign_in, question, &err));
    sign_in_asking.drop(question);
    assert_int_equal(err.kind, ERR_RETRY);
    sign_in_init(&sign_in, &client);
    assert_false(sign_in_asks(&sign_in));
}

static void it_is_time_again_before_the_end(void **state)
{
    struct sign_in sign_in = {0};

    (void)state;
    assert_int_equal(sign_in_again_ms(&sign_in), -1);
    sign_in.lifetime_ms = 3600000;
    assert_int_equal(sign_in_again_ms(&sign_in), 2880000);
    sign_in.lifetime_ms = 100; /* brokers refuse it within a second */
    assert_true(sign_in_again_ms(&sign_in) > 1000);
    sign_in.lifetime_ms = INT64_MAX;
    assert_int_equal(sign_in_again_ms(&sign_in), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfcs_example),
        cmocka_unit_test(names_are_escaped),
        cmocka_unit_test(a_servers_first_message_is_checked),
        cmocka_unit_test(a_server_must_know_the_password),
        cmocka_unit_test(another_password_makes_another_proof),
        cmocka_unit_test(nonces_are_random),
        cmocka_unit_test(plain),
        cmocka_unit_test(a_token_as_kafkas_own_client_says_it),
        cmocka_unit_test(a_token_that_is_not_taken),
        cmocka_unit_test(mechanisms_have_names),
        cmocka_unit_test(a_wrong_password_says_who_and_how),
        cmocka_unit_test(a_mechanism_that_is_not_taken_says_which_are),
        cmocka_unit_test(a_secret_that_is_gone_is_said),
        cmocka_unit_test(what_goes_wrong_aside_is_said),
        cmocka_unit_test(it_is_time_again_before_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
