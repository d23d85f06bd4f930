/* kafka/gssapi: what is said when Cyrus SASL fails. Cyrus SASL is a door here; the real one is test_kerberos.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sasl/sasl.h>

#include "kafka/gssapi.h"

/* ---- doors ---- */

static struct {
    int new_code;
    int start_code;
    int step_code;
    const char *detail;
    const char *user; /* NULL = it does not say */
    int conns_count;
} sasl;

int sasl_client_new(const char *service, const char *host, const char *local, const char *remote,
                    const sasl_callback_t *callbacks, unsigned flags, sasl_conn_t **out)
{
    (void)local;
    (void)remote;
    (void)callbacks;
    (void)flags;
    assert_string_equal(service, "kafka");
    assert_string_equal(host, "broker");
    if (sasl.new_code == SASL_OK) {
        *out = (sasl_conn_t *)(void *)&sasl;
        sasl.conns_count++;
    }
    return sasl.new_code;
}
void sasl_dispose(sasl_conn_t **conn)
{
    *conn = NULL;
    sasl.conns_count--;
}
int sasl_setprop(sasl_conn_t *conn, int property, const void *value)
{
    (void)conn;
    (void)value;
    assert_int_equal(property, SASL_SEC_PROPS);
    return SASL_OK;
}
int sasl_getprop(sasl_conn_t *conn, int property, const void **out)
{
    (void)conn;
    assert_int_equal(property, SASL_AUTHUSER);
    *out = sasl.user;
    return SASL_OK;
}
int sasl_client_start(sasl_conn_t *conn, const char *mechanisms, sasl_interact_t **need,
                      const char **out, unsigned *out_len, const char **mechanism)
{
    (void)conn;
    (void)need;
    (void)mechanism;
    assert_string_equal(mechanisms, "GSSAPI");
    *out = "first";
    *out_len = 5;
    return sasl.start_code;
}
int sasl_client_step(sasl_conn_t *conn, const char *message, unsigned len, sasl_interact_t **need,
                     const char **out, unsigned *out_len)
{
    (void)conn;
    (void)message;
    (void)len;
    (void)need;
    *out = "next";
    *out_len = 4;
    return sasl.step_code;
}
const char *sasl_errdetail(sasl_conn_t *conn)
{
    assert_non_null(conn);
    return sasl.detail;
}
const char *sasl_errstring(int code, const char *languages, const char **out_language)
{
    (void)languages;
    (void)out_language;
    return code == SASL_NOMEM ? "no memory available" : "no mechanism available";
}

/* ---- tests ---- */

static void begins_with(const char *detail, int code, const char *what)
{
    struct err err = {0};
    struct writer out;
    struct gssapi *gssapi = gssapi_new("kafka", "broker", NULL);
    writer_init(&out);
    sasl = (typeof(sasl)){.start_code = code, .detail = detail};
    assert_false(gssapi_begin(gssapi, &out, &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_string_equal(err.what, what);
    assert_non_null(strstr(err.hint, code == SASL_NOMECH ? "libsasl2-modules-gssapi-mit"
                                                         : "docs/sign-in.md#kerberos"));
    assert_int_equal(out.len, 0);
    writer_done(&out);
    gssapi_free(gssapi);
    assert_int_equal(sasl.conns_count, 0);
}

/* Cyrus SASL tells a major status and a minor one; which of them says something depends. */
static void what_it_comes_down_to_is_said(void **state)
{
    (void)state;
    begins_with("SASL(-1): generic failure: GSSAPI Error: Unspecified GSS failure.  Minor code may "
                "provide more information (Ticket expired)",
                SASL_FAIL, "Kerberos, for kafka/broker: Ticket expired");
    begins_with("SASL(-1): generic failure: GSSAPI Error: Unspecified GSS failure.  Minor code may "
                "provide more information (Server kafka/broker@R (a host) not found)",
                SASL_FAIL, "Kerberos, for kafka/broker: Server kafka/broker@R (a host) not found");
    /* A ticket that ends in the middle of it: the minor status is that nothing is wrong. */
    begins_with("SASL(-1): generic failure: GSSAPI Error: The context has expired (Success)",
                SASL_FAIL,
                "Kerberos, for kafka/broker: SASL(-1): generic failure: GSSAPI Error: The context "
                "has expired (Success)");
    begins_with("SASL(-1): generic failure: GSSAPI Error: A token was invalid", SASL_FAIL,
                "Kerberos, for kafka/broker: SASL(-1): generic failure: GSSAPI Error: A token was "
                "invalid");
    begins_with("SASL(-4): no mechanism available: (none)", SASL_NOMECH,
                "Kerberos, for kafka/broker: SASL(-4): no mechanism available: (none)");
    begins_with("", SASL_NOMECH, "Kerberos, for kafka/broker: no mechanism available");
}

static void without_a_conversation_the_code_is_said(void **state)
{
    struct err err = {0};
    struct writer out;
    struct gssapi *gssapi = gssapi_new("kafka", "broker", NULL);
    (void)state;
    writer_init(&out);
    sasl = (typeof(sasl)){.new_code = SASL_NOMEM};
    assert_false(gssapi_begin(gssapi, &out, &err));
    assert_string_equal(err.what, "Kerberos, for kafka/broker: no memory available");
    writer_done(&out);
    gssapi_free(gssapi);
}

static bool hear(const char *principal, const char *user, int code, struct err *err)
{
    struct writer out;
    bool last = false;
    struct gssapi *gssapi = gssapi_new("kafka", "broker", principal);
    writer_init(&out);
    *err = (struct err){0};
    sasl = (typeof(sasl)){.start_code = SASL_CONTINUE,
                          .step_code = code,
                          .detail = "SASL(-1): generic failure: GSSAPI Error: x (Clock skew)",
                          .user = user};
    assert_true(gssapi_begin(gssapi, &out, err));
    bool ok = gssapi_hear(gssapi, "answer", 6, &out, &last, err);
    assert_int_equal(out.len, ok ? 9 : 5);
    assert_int_equal(last, ok && code == SASL_OK);
    writer_done(&out);
    gssapi_free(gssapi);
    return ok;
}

static void a_ticket_of_another_is_refused(void **state)
{
    struct err err;
    (void)state;
    assert_true(hear(NULL, "who@R", SASL_OK, &err));
    assert_true(hear("ferry@R", NULL, SASL_OK, &err));
    assert_true(hear("ferry@R", "ferry@R", SASL_OK, &err));
    assert_true(hear("ferry", "ferry@R", SASL_OK, &err));
    assert_true(hear("ferry", "other@R", SASL_CONTINUE, &err)); /* not at the end yet */
    assert_false(hear("ferry", "ferry2@R", SASL_OK, &err));
    assert_false(hear("ferry@R", "ferry@S", SASL_OK, &err));
    assert_string_equal(err.what,
                        "Kerberos: the ticket is of ferry@S, sasl.kerberos.principal is ferry@R");
    assert_false(hear(NULL, "who@R", SASL_BADAUTH, &err));
    assert_string_equal(err.what, "Kerberos, for kafka/broker: Clock skew");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_comes_down_to_is_said),
        cmocka_unit_test(without_a_conversation_the_code_is_said),
        cmocka_unit_test(a_ticket_of_another_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
