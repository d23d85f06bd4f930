/* A program of the operator's changes the records: for providers that Ferry does not speak. docs/dns.md#exec is its
 * contract; here it is kept, and nothing that the program says is believed without reading back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "base/json.h"
#include "dns/name.h"
#include "dns/provider.h"

#define EXIT_NOT_DONE 3 /* the program's: refused, nothing was changed */
#define VALUES_MAX    64

struct exec {
    struct dns_provider provider; /* first: it is what callers hold */
    const struct config_zone *zone;
    char **env; /* "NAME=value", NULL behind it */
};

/* --- one call ----------------------------------------------------------------------------------------------------- */

static void name_program(const struct exec *self, const char *call, struct err *err)
{
    err_wrap(err, "program %.200s, call %s", self->zone->command[0], call);
}

/* How it ended, in words; `said` is what it wrote for people. */
static void ended(const struct child_result *result, const struct exec *self, char *out,
                  size_t room)
{
    const char *said = result->said[0] == '\0' ? "it says nothing" : result->said;
    if (result->time_up) {
        snprintf(out, room, "was ended after %.1f s (dns.%s.command_timeout): %s",
                 self->zone->command_timeout_ms / 1000.0, self->zone->name, said);
    } else if (result->signal != 0) {
        snprintf(out, room, "was ended by signal %d: %s", result->signal, said);
    } else {
        snprintf(out, room, "exit code %d: %s", result->code, said);
    }
}

/* @param out_answer  its standard output as an object; NULL when it exits with another code than 0
 * @param out_code    its exit code, -1 = it was ended */
static bool call(const struct exec *self, const char *name, json_t *take_request,
                 json_t **out_answer, int *out_code, struct err *err)
{
    char how[CHILD_SAID_BYTES + 200];
    struct child_result result = {.out = NULL};
    const char *verb = json_string_value(json_object_get(take_request, "call"));
    json_object_set_new(take_request, "version", json_integer(1));
    json_object_set_new(take_request, "zone", json_string(self->zone->name));
    json_object_set_new(take_request, "record", json_string(name));
    char *in = json_text(take_request);
    const struct child_options options = {.argv = self->zone->command,
                                          .env = (const char *const *)self->env,
                                          .in = in,
                                          .timeout_ms = self->zone->command_timeout_ms};
    bool ok = child_run(&options, &result, err);
    *out_answer = NULL;
    if (ok) {
        *out_code = result.code;
        ended(&result, self, how, sizeof(how));
        err_set_code(err, ERR_RETRY, result.code, "%s", how);
        err_hint(err, "run it by hand: docs/dns.md#exec");
    }
    if (ok && result.code == 0 && !result.out_cut) {
        *out_answer = json_parse(result.out, result.out_len, "its output", NULL);
    }
    if (ok && result.code == 0 && !json_is_object(*out_answer)) {
        json_decref(*out_answer);
        *out_answer = NULL;
        err_set(err, ERR_RETRY, "its output is no JSON object of at most 64 KiB");
        err_hint(err, "run it by hand: docs/dns.md#exec");
    }
    if (!ok || *out_answer == NULL) {
        name_program(self, verb, err);
    }
    free(in);
    json_decref(take_request);
    child_result_done(&result);
    return ok;
}

/* A question. @return the answer, an object; NULL with err filled: there is none */
static json_t *ask(const struct exec *self, const char *name, json_t *take_request, int *out_code,
                   struct err *err)
{
    json_t *answer;
    return call(self, name, take_request, &answer, out_code, err) ? answer : NULL;
}

/* --- get ---------------------------------------------------------------------------------------------------------- */

static bool not_of_form(const struct exec *self, struct err *err)
{
    err_set(err, ERR_RETRY, "expected {\"values\": [NAME..], \"ttl\": SECONDS}");
    err_hint(err, "run it by hand: docs/dns.md#exec");
    name_program(self, "get", err);
    return false;
}

static bool take_set(const struct exec *self, const json_t *answer, struct dns_set *out,
                     struct err *err)
{
    struct dns_set set = {.kind = DNS_NOTHING, .ttl_s = -1};
    const json_t *values = json_object_get(answer, "values");
    const json_t *ttl = json_object_get(answer, "ttl");
    size_t count = json_array_size(values);
    const char *value = json_string_value(json_array_get(values, 0));
    if (!json_is_array(values) || count > VALUES_MAX) {
        return not_of_form(self, err);
    }
    if (json_is_true(json_object_get(answer, "weighted"))) {
        set.kind = DNS_WEIGHTED;
    } else if (count > 1) {
        set.kind = DNS_SEVERAL;
    } else if (json_is_true(json_object_get(answer, "other"))) {
        set.kind = DNS_OTHER;
    } else if (count == 1) {
        set.kind = DNS_CNAME;
        set.ttl_s = json_is_integer(ttl) ? json_integer_value(ttl) : -1;
        if (value == NULL || !dns_name(value, set.value) || set.ttl_s < 0 ||
            set.ttl_s > INT32_MAX) {
            return not_of_form(self, err);
        }
    }
    *out = set;
    return true;
}

static bool get(struct dns_provider *provider, const char *name, struct dns_set *out,
                struct err *err)
{
    const struct exec *self = (const struct exec *)provider;
    struct err own = {0};
    int code = -1;
    err = err == NULL ? &own : err;
    json_t *answer = ask(self, name, json_pack("{ss}", "call", "get"), &code, err);
    bool ok = answer != NULL && take_set(self, answer, out, err);
    json_decref(answer);
    if (!ok && code == EXIT_NOT_DONE) {
        err->kind = ERR_REFUSED;
    }
    return ok;
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

static bool verify(struct exec *self, const char *name, const struct dns_change *change, bool done,
                   struct err *err)
{
    struct dns_set set;
    struct err why = *err; /* how the program ended */
    bool unchanged = false;
    if (!get(&self->provider, name, &set, err)) {
        err->kind = ERR_RETRY;
        return err_wrap(err, "whether %s was changed is not known", name);
    }
    if (provider_outcome(name, change, &set, &unchanged, err)) {
        return true;
    }
    if (unchanged && done) {
        char text[DNS_TEXT_BYTES];
        err_set(err, ERR_RETRY, "it says done, and %s holds %s", name, dns_set_text(&set, text));
        err_hint(err, "the same command again finds out; its contract: docs/dns.md#exec");
        name_program(self, "swap", err);
    } else if (unchanged) {
        *err = why;
    }
    return false;
}

static bool swap(struct dns_provider *provider, const char *name, const struct dns_change *change,
                 bool only_check, struct err *err)
{
    struct exec *self = (struct exec *)provider;
    struct err own = {0};
    json_t *answer;
    int code = -1;
    json_t *request = json_pack("{sssssIsb}", "call", "swap", "to", change->to, "ttl",
                                (json_int_t)change->ttl_s, "check", only_check ? 1 : 0);
    err = err == NULL ? &own : err;
    json_object_set_new(request, "from",
                        change->from == NULL ? json_null() : json_string(change->from));
    if (!call(self, name, request, &answer, &code, err)) {
        return false;
    }
    json_decref(answer); /* {}: what it did is read back */
    if (code == EXIT_NOT_DONE) {
        err->kind = ERR_REFUSED;
    }
    if (only_check) {
        return code == 0;
    }
    return verify(self, name, change, code == 0, err);
}

static bool settled(struct dns_provider *provider, const char *name, const char *value, bool *out,
                    struct err *err)
{
    const struct exec *self = (const struct exec *)provider;
    struct err own = {0};
    int code = -1;
    json_t *request = json_pack("{ssss}", "call", "settled", "to", value);
    json_t *answer = ask(self, name, request, &code, err == NULL ? &own : err);
    if (answer == NULL) {
        return false;
    }
    *out = json_is_true(json_object_get(answer, "settled"));
    json_decref(answer);
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void release(struct dns_provider *provider)
{
    struct exec *self = (struct exec *)provider;
    for (char **at = self->env; at != NULL && *at != NULL; at++) {
        config_secret_free(*at); /* it may hold one */
    }
    free(self->env);
    free(self);
}

static char *variable(const char *name, const char *value)
{
    char *text = NULL;
    if (asprintf(&text, "%s=%s", name, value) < 0) {
        abort();
    }
    return text;
}

/* PATH and LANG of our own, and what the configuration names. */
static char **environment(const struct config_zone *zone)
{
    char **env = calloc(zone->environment_count + 3, sizeof(*env));
    size_t count = 0;
    if (env == NULL) {
        abort();
    }
    env[count++] = variable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    env[count++] = variable("LANG", "C.UTF-8");
    for (size_t i = 0; i < zone->environment_count; i++) {
        const char *value = getenv(zone->environment[i]);
        if (value != NULL) {
            env[count++] = variable(zone->environment[i], value);
        }
    }
    return env;
}

struct dns_provider *exec_new(const struct config_zone *zone, struct err *err)
{
    struct exec *self = calloc(1, sizeof(*self));
    (void)err;
    if (self == NULL) {
        abort();
    }
    self->provider = (struct dns_provider){get, swap, settled, release, NULL};
    self->zone = zone;
    self->env = environment(zone);
    return (struct dns_provider *)self;
}
