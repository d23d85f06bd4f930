/* See oidc.h. */
#include "kafka/oidc.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/https.h"
#include "base/json.h"
#include "base/log.h"

#define KEY(name)     "sasl.oauthbearer." name
#define URL_KEY       KEY("token.endpoint.url")
#define ID_KEY        KEY("client.id")
#define SECRET_KEY    KEY("client.secret")
#define SCOPE_KEY     KEY("scope")
#define EXTENSION_KEY KEY("extensions")
#define CA_KEY        "https.ca.location"
#define LASTS_S       300 /* where the answer does not say; RFC 6749 only recommends that it does */
#define AGAIN_MS      1000 /* after a failure: who waited for that question gets its answer */
#define STILL_MS \
    10000 /* likewise, while the old token lasts: no connection waits for a server that is away */
#define REFUSED_MS   5000  /* the least life of a token that brokers refuse */
#define SAY_MS       30000 /* how often a renewal that fails is said */
#define CLAIMS_BYTES 8192
#define NEVER_MS     (INT64_MIN / 2)

static const char *const keys[] = {URL_KEY, ID_KEY, SECRET_KEY, SCOPE_KEY, EXTENSION_KEY, CA_KEY};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

struct oidc {
    struct oidc *next;
    int number;
    struct config_client client; /* of its properties and secrets, those that are named above */
    pthread_mutex_t asking;      /* held while the server is asked */
    pthread_mutex_t mutex;       /* guards what follows; never held while somebody is asked */
    struct oidc_token token;     /* lasts_ms: of its whole life */
    int64_t came_ms;
    struct err failed; /* the last question, if it failed */
    int64_t failed_ms;
    bool is_asked; /* just now */
    int64_t said_ms;
};

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct oidc *list;

static int64_t now_ms(void)
{
    return clock_now_ms(clock_system());
}

void oidc_token_done(struct oidc_token *token)
{
    config_secret_free(token->text);
    *token = (struct oidc_token){.text = NULL};
}

/* --- whose tokens ------------------------------------------------------------------------------------------------ */

static const struct config_secret *secret_of(const struct config_client *client, const char *name)
{
    for (size_t i = 0; i < client->secrets_count; i++) {
        if (strcmp(client->secrets[i].name, name) == 0) {
            return &client->secrets[i];
        }
    }
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same(const struct config_client *a, const struct config_client *b)
{
    static const struct config_secret none;

    for (size_t i = 0; i < KEYS; i++) {
        const struct config_secret *here = secret_of(a, keys[i]);
        const struct config_secret *there = secret_of(b, keys[i]);
        here = here == NULL ? &none : here;
        there = there == NULL ? &none : there;
        if (!same_text(config_client_get(a, keys[i]), config_client_get(b, keys[i])) ||
            !same_text(here->file, there->file) || !same_text(here->env, there->env)) {
            return false;
        }
    }
    return true;
}

static struct oidc *oidc_new(const struct config_client *client)
{
    struct oidc *oidc = must(calloc(1, sizeof(*oidc)));
    struct config_client *own = &oidc->client;

    own->properties = must(calloc(KEYS, sizeof(*own->properties)));
    own->secrets = must(calloc(KEYS, sizeof(*own->secrets)));
    for (size_t i = 0; i < KEYS; i++) {
        const char *value = config_client_get(client, keys[i]);
        const struct config_secret *secret = secret_of(client, keys[i]);
        if (value != NULL) {
            own->properties[own->properties_count++] =
                (struct config_property){keys[i], must_copy(value)};
        }
        if (secret != NULL) {
            own->secrets[own->secrets_count++] =
                (struct config_secret){keys[i], must_copy(secret->file), must_copy(secret->env)};
        }
    }
    pthread_mutex_init(&oidc->asking, NULL);
    pthread_mutex_init(&oidc->mutex, NULL);
    oidc->failed_ms = oidc->said_ms = NEVER_MS;
    return oidc;
}

struct oidc *oidc_of(const struct config_client *client)
{
    const char *mechanism = config_client_get(client, "sasl.mechanism");

    if (mechanism == NULL || strcasecmp(mechanism, "OAUTHBEARER") != 0) {
        return NULL;
    }
    pthread_mutex_lock(&list_mutex);
    struct oidc *oidc = list;
    while (oidc != NULL && !same(&oidc->client, client)) {
        oidc = oidc->next;
    }
    if (oidc == NULL) {
        oidc = oidc_new(client);
        oidc->next = list;
        oidc->number = list == NULL ? 1 : list->number + 1;
        list = oidc;
    }
    pthread_mutex_unlock(&list_mutex);
    return oidc;
}

int oidc_number(const struct oidc *oidc)
{
    return oidc->number;
}

struct oidc *oidc_numbered(int number)
{
    pthread_mutex_lock(&list_mutex);
    struct oidc *oidc = list;
    while (oidc != NULL && oidc->number != number) {
        oidc = oidc->next;
    }
    pthread_mutex_unlock(&list_mutex);
    return oidc;
}

const char *oidc_client_id(const struct oidc *oidc)
{
    const char *id = config_client_get(&oidc->client, ID_KEY);
    return id == NULL ? "" : id;
}

const char *oidc_extensions(const struct oidc *oidc)
{
    return config_client_get(&oidc->client, EXTENSION_KEY);
}

/* --- what the server says ---------------------------------------------------------------------------------------- */

/* One line of visible characters: what ends a header or RFC 7628's fields ends a token, too. */
static bool token_ok(const char *token)
{
    size_t len = token == NULL ? 0 : strlen(token);

    for (size_t i = 0; i < len; i++) {
        if (token[i] <= ' ' || token[i] > '~') {
            return false;
        }
    }
    return len > 0 && len <= OIDC_TOKEN_BYTES;
}

/* Seconds of life; 0 = what is said is none. */
static int64_t lasts_s(const json_t *value)
{
    if (value == NULL) {
        return LASTS_S;
    }
    int64_t seconds = json_is_string(value) ? atoll(json_string_value(value))
                                            : (int64_t)json_integer_value(value);
    return seconds > 0 && seconds <= INT32_MAX ? seconds : 0;
}

/* The middle part of a JWT, as text; 0 = it is none, or longer than anybody's. */
static size_t claims_of(const char *token, char out[CLAIMS_BYTES])
{
    const char *from = strchr(token, '.');
    size_t len = from == NULL ? 0 : strcspn(from + 1, ".");
    unsigned char text[CLAIMS_BYTES];

    if (len == 0 || from[1 + len] != '.' || len + 4 > sizeof(text)) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        char c = from[1 + i];
        text[i] = (unsigned char)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    size_t padding = (4 - len % 4) % 4;
    memset(text + len, '=', padding);
    int got = EVP_DecodeBlock((unsigned char *)out, text, (int)(len + padding));
    return got < (int)padding ? 0 : (size_t)got - padding;
}

/* Whom the token speaks of, as far as that can be read and shown. */
static void name_of(const char *token, char out[OIDC_NAME_BYTES])
{
    char claims[CLAIMS_BYTES];
    size_t len = claims_of(token, claims);
    json_t *tree = len == 0 ? NULL : json_parse(claims, len, "claims", NULL);
    const char *subject = json_string_value(json_object_get(tree, "sub"));

    out[0] = '\0';
    if (token_ok(subject) && strlen(subject) < OIDC_NAME_BYTES) {
        snprintf(out, OIDC_NAME_BYTES, "%s", subject);
    }
    json_decref(tree);
}

static bool unfit(const char *name, const char *what, struct err *err)
{
    err_set(err, ERR_REFUSED, "the token endpoint at %.200s answers %s", name, what);
    return err_hint(err, "is that where tokens are given? " URL_KEY);
}

bool oidc_read(const char *name, const char *body, size_t len, struct oidc_token *out,
               struct err *err)
{
    json_t *tree = json_parse(body, len, name, NULL); /* its words would quote the token */
    const char *text = json_string_value(json_object_get(tree, "access_token"));
    const json_t *type = json_object_get(tree, "token_type");
    int64_t seconds = lasts_s(json_object_get(tree, "expires_in"));
    bool bearer = type == NULL ||
                  (json_is_string(type) && strcasecmp(json_string_value(type), "bearer") == 0);
    bool ok = false;

    if (!json_is_object(tree)) {
        unfit(name, "what is no JSON object", err);
    } else if (text == NULL) {
        unfit(name, "without an access_token", err);
    } else if (!token_ok(text)) {
        unfit(name, "an access_token that is none", err);
    } else if (!bearer) {
        unfit(name, "a token of another type than Bearer", err);
    } else if (seconds == 0) {
        unfit(name, "an expires_in that is no number of seconds", err);
    } else {
        *out = (struct oidc_token){.text = must_copy(text), .lasts_ms = seconds * 1000};
        name_of(text, out->name);
        ok = true;
    }
    json_decref(tree);
    return ok;
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void host_of(const char *url, char *out, size_t room)
{
    const char *from = strstr(url, "://");
    from = from == NULL ? url : from + 3;
    snprintf(out, room, "%.*s", (int)strcspn(from, "/?"), from);
}

/* "Authorization: Basic ..", as librdkafka and the Java client write it: neither part is percent-encoded. */
static char *basic(const char *id, const char *secret)
{
    static const char before[] = "Authorization: Basic ";
    size_t room = strlen(id) + strlen(secret) + 2;
    char *both = must(calloc(1, room));
    char *header = must(calloc(1, sizeof(before) + 4 * ((room + 2) / 3)));
    int len = snprintf(both, room, "%s:%s", id, secret);

    memcpy(header, before, sizeof(before));
    EVP_EncodeBlock((unsigned char *)header + sizeof(before) - 1, (const unsigned char *)both, len);
    config_secret_free(both);
    return header;
}

/* Why not, in the server's words (RFC 6749, 5.2). */
static bool refused(struct https *https, const char *host, const struct https_answer *answer,
                    struct err *err)
{
    json_t *tree = json_parse(answer->body, answer->len, host, NULL);
    const char *code = json_string_value(json_object_get(tree, "error"));
    const char *more = json_string_value(json_object_get(tree, "error_description"));
    bool known = answer->status >= 400 && answer->status < 500 && answer->status != 429;
    char words[2][HTTPS_WORDS_BYTES] = {"", ""};

    https_words(https, code == NULL ? "" : code, words[0]);
    https_words(https, more == NULL ? "" : more, words[1]);
    err_set_code(err, known ? ERR_REFUSED : ERR_RETRY, (int)answer->status,
                 "the token endpoint at %.200s answers HTTP %ld%s%.100s%s%s", host, answer->status,
                 words[0][0] == '\0' ? "" : ", ", words[0], words[1][0] == '\0' ? "" : ": ",
                 words[1]);
    if (answer->status >= 300 && answer->status < 400) {
        err_hint(err, "no redirect is followed; where it leads to: " URL_KEY);
    } else if (known) {
        err_hint(err, "compare " ID_KEY ", the secret " SECRET_KEY
                      " and ..scope with what the server has; they are read anew at each attempt");
    }
    json_decref(tree);
    return false;
}

static char *form_of(const char *scope)
{
    size_t room = 3 * strlen(scope == NULL ? "" : scope) + 64;
    char *form = must(calloc(1, room));

    snprintf(form, room, "grant_type=client_credentials%s", scope == NULL ? "" : "&scope=");
    if (scope != NULL && !https_encode(form, room, scope)) {
        abort(); /* there is room for three bytes each */
    }
    return form;
}

static bool ask(const char *url, const char *ca, const char *form, char *header, const char *secret,
                struct oidc_token *out, struct err *err)
{
    char host[200];
    struct https_answer answer = {.status = 0};
    struct https *https = https_new(&(struct https_options){
        .ca = ca, .timeout_ms = OIDC_TIMEOUT_MS, .ca_key = CA_KEY, .address_key = URL_KEY});
    const struct https_ask question = {
        .method = "POST",
        .url = url,
        .headers = {"Content-Type: application/x-www-form-urlencoded", "Accept: application/json",
                    header},
        .body = form,
    };

    host_of(url, host, sizeof(host));
    https_hide(https, secret);
    https_hide(https, strrchr(header, ' ') + 1);
    bool ok = https_ask(https, &question, &answer, err);
    if (!ok) {
        err_wrap(err, "the token endpoint");
    } else if (answer.status == 200) {
        ok = oidc_read(host, answer.body, answer.len, out, err);
    } else {
        ok = refused(https, host, &answer, err);
    }
    https_answer_done(&answer);
    https_free(https);
    return ok;
}

static bool fetch(const struct config_client *client, struct oidc_token *out, struct err *err)
{
    const char *url = config_client_get(client, URL_KEY);
    char *form = form_of(config_client_get(client, SCOPE_KEY));
    char *id = NULL;
    char *secret = NULL;
    bool ok = config_client_read(client, ID_KEY, &id, err) &&
              config_client_read(client, SECRET_KEY, &secret, err);

    if (ok && url != NULL && id != NULL && secret != NULL) {
        char *header = basic(id, secret);
        ok = ask(url, config_client_get(client, CA_KEY), form, header, secret, out, err);
        config_secret_free(header);
    } else if (ok) { /* config_load() lets none of them be missing */
        ok = err_set(err, ERR_CONFIG, "sign-in: the site has not all of %s, %s and the secret %s",
                     URL_KEY, ID_KEY, SECRET_KEY);
    }
    if (ok && out->name[0] == '\0') {
        snprintf(out->name, sizeof(out->name), "%s", id);
    }
    config_secret_free(id);
    config_secret_free(secret);
    free(form);
    return ok;
}

/* --- one for all ------------------------------------------------------------------------------------------------- */

static int64_t left_ms(const struct oidc *oidc)
{
    return oidc->token.text == NULL ? 0 : oidc->came_ms + oidc->token.lasts_ms - now_ms();
}

static bool give(const struct oidc *oidc, struct oidc_token *out)
{
    int64_t left = left_ms(oidc);

    if (left <= 0) {
        return false;
    }
    *out = oidc->token;
    out->text = must_copy(oidc->token.text);
    out->lasts_ms = left;
    return true;
}

/* What is known without asking. true: that is the answer, *ok says which. */
static bool known(struct oidc *oidc, bool *ok, struct oidc_token *out, struct err *err)
{
    int64_t left = left_ms(oidc);
    int64_t since_ms = now_ms() - oidc->failed_ms;
    bool fresh = left > oidc->token.lasts_ms * (100 - OIDC_RENEW_PERCENT) / 100;

    if (fresh || (left > 0 && since_ms < STILL_MS)) {
        *ok = give(oidc, out);
        return *ok;
    }
    if (left <= 0 && since_ms < AGAIN_MS) {
        if (err != NULL) {
            *err = oidc->failed;
        }
        *ok = false;
        return true;
    }
    return false;
}

/* Its life began when it was asked for, or later. */
static void keep(struct oidc *oidc, const struct oidc_token *taken, int64_t asked_ms)
{
    uint64_t serial = oidc->token.serial + 1;

    oidc_token_done(&oidc->token);
    oidc->token = *taken;
    oidc->token.serial = serial;
    oidc->came_ms = asked_ms;
    oidc->failed_ms = NEVER_MS;
}

/* The old one is used while it lasts; what could not be done is said before it ends. */
static bool failed(struct oidc *oidc, const struct err *why, struct oidc_token *out,
                   struct err *err)
{
    oidc->failed = *why;
    oidc->failed_ms = now_ms();
    if (give(oidc, out)) {
        if (oidc->failed_ms - oidc->said_ms >= SAY_MS) {
            oidc->said_ms = oidc->failed_ms;
            log_warn("token.not_renewed", "lasts_ms=%lld why=%s", (long long)out->lasts_ms,
                     log_quote(why->what).text);
        }
        return true;
    }
    if (err != NULL) {
        *err = *why;
    }
    return false;
}

static bool renew(struct oidc *oidc, struct oidc_token *out, struct err *err)
{
    struct oidc_token fresh = {.text = NULL};
    struct err why = {0};
    int64_t asked_ms = now_ms();

    pthread_mutex_lock(&oidc->mutex);
    oidc->is_asked = true;
    pthread_mutex_unlock(&oidc->mutex);
    bool ok = fetch(&oidc->client, &fresh, &why);
    pthread_mutex_lock(&oidc->mutex);
    oidc->is_asked = false;
    if (ok) {
        keep(oidc, &fresh, asked_ms);
        ok = give(oidc, out);
        if (!ok) {
            err_set(err, ERR_RETRY, "the token is over before it came");
        }
    } else {
        ok = failed(oidc, &why, out, err);
    }
    pthread_mutex_unlock(&oidc->mutex);
    return ok;
}

static bool known_now(struct oidc *oidc, bool *ok, struct oidc_token *out, struct err *err)
{
    pthread_mutex_lock(&oidc->mutex);
    bool is_known = known(oidc, ok, out, err);
    pthread_mutex_unlock(&oidc->mutex);
    return is_known;
}

bool oidc_token(struct oidc *oidc, struct oidc_token *out, struct err *err)
{
    bool ok = false;

    if (known_now(oidc, &ok, out, err)) {
        return ok;
    }
    pthread_mutex_lock(&oidc->asking);
    if (!known_now(oidc, &ok, out, err)) { /* nobody has asked while we waited for our turn */
        ok = renew(oidc, out, err);
    }
    pthread_mutex_unlock(&oidc->asking);
    return ok;
}

bool oidc_kept(struct oidc *oidc, struct oidc_token *out)
{
    pthread_mutex_lock(&oidc->mutex);
    bool ok = give(oidc, out);
    pthread_mutex_unlock(&oidc->mutex);
    return ok;
}

static void not_yet(const struct oidc *oidc, struct err *out)
{
    char host[200];
    const char *url = config_client_get(&oidc->client, URL_KEY);
    host_of(url == NULL ? "" : url, host, sizeof(host));
    err_set(out, ERR_RETRY, "the token endpoint: %s has not answered yet", host);
    err_hint(out, "reachable from this host? curl -v https://%.100s", host);
}

bool oidc_failed(struct oidc *oidc, struct err *out)
{
    pthread_mutex_lock(&oidc->mutex);
    bool is_missing = left_ms(oidc) <= 0;
    bool has_failed = oidc->failed_ms != NEVER_MS;
    if (is_missing && has_failed) {
        *out = oidc->failed;
    } else if (is_missing && oidc->is_asked) {
        not_yet(oidc, out);
    }
    bool yes = is_missing && (has_failed || oidc->is_asked);
    pthread_mutex_unlock(&oidc->mutex);
    return yes;
}

void oidc_refused(struct oidc *oidc, uint64_t serial)
{
    pthread_mutex_lock(&oidc->mutex);
    if (oidc->token.serial == serial && now_ms() - oidc->came_ms >= REFUSED_MS) {
        config_secret_free(oidc->token.text);
        oidc->token.text = NULL;
    }
    pthread_mutex_unlock(&oidc->mutex);
}
