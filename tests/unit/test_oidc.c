/* kafka/oidc: what a token endpoint may answer; who has a token in common. Asking: tests/integration/test_tokens.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/oidc.h"

/* {"sub":"alice"}, and the same behind a name that is none: a line end */
#define JWT      "e30.eyJzdWIiOiJhbGljZSJ9.sig"
#define JWT_LINE "e30.eyJzdWIiOiJhXG5iIn0.sig"

static void refused(const char *body, const char *why)
{
    struct oidc_token token = {.text = NULL};
    struct err err = {0};

    assert_false(oidc_read("host", body, strlen(body), &token, &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    if (strstr(err.what, why) == NULL || strstr(err.what, "sesame") != NULL) {
        fail_msg("%s: %s", body, err.what);
    }
    assert_null(token.text);
}

static void accepted(const char *body, int64_t lasts_ms, const char *name)
{
    struct oidc_token token;
    struct err err;

    assert_true(oidc_read("host", body, strlen(body), &token, &err));
    assert_int_equal(token.lasts_ms, lasts_ms);
    assert_string_equal(token.name, name);
    oidc_token_done(&token);
    assert_null(token.text);
}

static void answers_that_are_none(void **state)
{
    (void)state;
    refused("", "no JSON object");
    refused("<html>sesame", "no JSON object");
    refused("[\"sesame\"]", "no JSON object");
    refused("{\"access_token\": \"sesame\"", "no JSON object");
    refused("{\"access_token\": \"sesame\", \"access_token\": \"b\"}", "no JSON object");
    refused("{}", "without an access_token");
    refused("{\"access_token\": 7}", "without an access_token");
    refused("{\"access_token\": \"\"}", "that is none");
    refused("{\"access_token\": \"sesame \"}", "that is none");
    refused("{\"access_token\": \"sesame\\r\\n\"}", "that is none");
    refused("{\"access_token\": \"s\\u00e9same\"}", "that is none");
    refused("{\"access_token\": \"sesame\", \"token_type\": \"mac\"}", "another type");
    refused("{\"access_token\": \"sesame\", \"token_type\": 1}", "another type");
    refused("{\"access_token\": \"sesame\", \"expires_in\": 0}", "expires_in");
    refused("{\"access_token\": \"sesame\", \"expires_in\": -1}", "expires_in");
    refused("{\"access_token\": \"sesame\", \"expires_in\": null}", "expires_in");
    refused("{\"access_token\": \"sesame\", \"expires_in\": \"\"}", "expires_in");
    refused("{\"access_token\": \"sesame\", \"expires_in\": 2147483648}", "expires_in");
}

static void answers(void **state)
{
    (void)state;
    accepted("{\"access_token\": \"sesame\", \"expires_in\": 60, \"token_type\": \"bearer\"}",
             60000, "");
    accepted("{\"access_token\": \"" JWT "\", \"expires_in\": \"3600\"}", 3600000, "alice");
    accepted("{\"access_token\": \"" JWT_LINE "\"}", 300000, ""); /* for people: not a line end */
    accepted("{\"access_token\": \"a.!!.c\"}", 300000, "");
    accepted("{\"access_token\": \"a..c\"}", 300000, "");
    accepted("{\"access_token\": \"a.b\"}", 300000, "");
    accepted("{\"access_token\": \".e30.\"}", 300000, "");
}

static void a_token_as_long_as_any(void **state)
{
    size_t room = OIDC_TOKEN_BYTES + 100;
    char *body = calloc(1, room);
    char *token = calloc(1, OIDC_TOKEN_BYTES + 2);

    (void)state;
    memset(token, 'a', OIDC_TOKEN_BYTES);
    token[10] = '.';
    token[OIDC_TOKEN_BYTES - 10] = '.';
    snprintf(body, room, "{\"access_token\": \"%s\"}", token);
    accepted(body, 300000, ""); /* its claims are longer than we look at */
    token[OIDC_TOKEN_BYTES] = 'a';
    snprintf(body, room, "{\"access_token\": \"%s\"}", token);
    refused(body, "that is none");
    free(body);
    free(token);
}

/* --- whose tokens ------------------------------------------------------------------------------------------------ */

struct settings {
    struct config_property properties[5];
    struct config_secret secrets[1];
    struct config_client client;
};

static struct config_client *settings(struct settings *out, const char *mechanism,
                                      const char *scope, const char *file)
{
    *out = (struct settings){
        .properties = {{"bootstrap.servers", "h:1"},
                       {"sasl.mechanism", mechanism},
                       {"sasl.oauthbearer.token.endpoint.url", "https://t"},
                       {"sasl.oauthbearer.client.id", "id"},
                       {"sasl.oauthbearer.scope", scope}},
        .secrets = {{.name = "sasl.oauthbearer.client.secret", .file = file}},
    };
    out->client = (struct config_client){.properties = out->properties,
                                         .properties_count = 5,
                                         .secrets = out->secrets,
                                         .secrets_count = 1};
    return &out->client;
}

static void equal_settings_have_one(void **state)
{
    struct settings one;
    struct settings other;
    struct oidc_token token;

    (void)state;
    assert_null(oidc_of(settings(&one, "PLAIN", "s", "/f")));
    struct oidc *oidc = oidc_of(settings(&one, "OAUTHBEARER", "s", "/f"));
    assert_non_null(oidc);
    assert_ptr_equal(oidc_of(settings(&other, "oauthbearer", "s", "/f")), oidc);
    assert_ptr_not_equal(oidc_of(settings(&other, "OAUTHBEARER", "t", "/f")), oidc);
    assert_ptr_not_equal(oidc_of(settings(&other, "OAUTHBEARER", "s", "/g")), oidc);
    assert_ptr_equal(oidc_numbered(oidc_number(oidc)), oidc);
    assert_null(oidc_numbered(0));
    assert_string_equal(oidc_client_id(oidc), "id");
    assert_null(oidc_extensions(oidc));
    assert_false(oidc_kept(oidc, &token));
    oidc_refused(oidc, 0);
}

static void a_secret_that_is_gone_is_said(void **state)
{
    struct settings one;
    struct oidc_token token;
    struct err err = {0};

    (void)state;
    assert_false(oidc_token(oidc_of(settings(&one, "OAUTHBEARER", "s", "/nonexistent/secret")),
                            &token, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.what, "/nonexistent/secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_are_none),         cmocka_unit_test(answers),
        cmocka_unit_test(a_token_as_long_as_any),        cmocka_unit_test(equal_settings_have_one),
        cmocka_unit_test(a_secret_that_is_gone_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
