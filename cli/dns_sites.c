#include "cli/dns_sites.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/render.h"

#define CODE_NO_TOPIC 3    /* UNKNOWN_TOPIC_OR_PARTITION */
#define READ_MS       8000 /* a dead site holds up nobody for longer */

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct reading {
    const struct context *context;
    struct dns_site *site;
    struct dns_recorded recorded;
    pthread_t thread;
    bool started;
};

static void take_state(struct reading *reading, const struct control_state *state)
{
    struct dns_site *site = reading->site;
    site->topic = true;
    site->known = dns_recorded_parse(state->dns_json, &reading->recorded, &site->err);
    site->epoch = reading->recorded.epoch;
    site->role_epoch = state->role_epoch;
    snprintf(site->primary, sizeof(site->primary), "%s", state->primary);
    site->operation_open = state->operation_open;
}

static void *read_site(void *arg)
{
    struct reading *reading = arg;
    struct dns_site *site = reading->site;
    const struct context *context = reading->context;
    int32_t timeout_ms = context->timeout_ms < READ_MS ? context->timeout_ms : READ_MS;
    struct control_state *state =
        control_read(&site->site->kafka, context->service->name, timeout_ms, &site->err);
    if (state != NULL) {
        take_state(reading, state);
    } else if (site->err.kind == ERR_REFUSED && site->err.code == CODE_NO_TOPIC) {
        err_clear(&site->err);
        site->known = true;
    }
    control_state_free(state);
    return NULL;
}

static void read_all(struct dns_sites *sites, struct reading *readings)
{
    for (size_t i = 0; i < sites->count; i++) {
        readings[i].context = sites->context;
        readings[i].site = &sites->list[i];
        readings[i].started =
            pthread_create(&readings[i].thread, NULL, read_site, &readings[i]) == 0;
        if (!readings[i].started) {
            read_site(&readings[i]);
        }
    }
    for (size_t i = 0; i < sites->count; i++) {
        if (readings[i].started) {
            pthread_join(readings[i].thread, NULL);
        }
    }
}

static void name_sites(struct dns_sites *sites)
{
    const struct config_service *service = sites->context->service;
    sites->count = service->others_count + 1;
    sites->list = calloc(sites->count, sizeof(*sites->list));
    if (sites->list == NULL) {
        abort();
    }
    for (size_t i = 0; i < sites->count; i++) {
        bool home = i == service->others_count;
        sites->list[i].home = home;
        sites->list[i].site =
            config_site(sites->context->config, home ? service->home : service->others[i]);
    }
}

/* The newest of what was read. */
static void choose(struct dns_sites *sites, const struct reading *readings)
{
    sites->primary = sites->context->service->home;
    for (size_t i = 0; i < sites->count; i++) {
        const struct dns_site *site = &sites->list[i];
        if (site->known && site->epoch > sites->now.epoch) {
            sites->now = readings[i].recorded;
        }
        if (site->known && site->role_epoch > sites->role_epoch) {
            sites->role_epoch = site->role_epoch;
            sites->primary = site->primary;
        }
    }
    for (size_t i = 0; i < sites->count; i++) {
        struct dns_site *site = &sites->list[i];
        site->written = site->known && sites->now.epoch > 0 && site->epoch == sites->now.epoch;
    }
}

/* Of the others: home alone knows nothing before it was a target. */
static const struct dns_site *first_unknown(const struct dns_sites *sites, bool *out_any_known)
{
    const struct dns_site *unknown = NULL;
    *out_any_known = false;
    for (size_t i = 0; i < sites->count; i++) {
        const struct dns_site *site = &sites->list[i];
        *out_any_known = *out_any_known || (site->known && (!site->home || site->topic));
        unknown = unknown == NULL && !site->known ? site : unknown;
    }
    return unknown;
}

bool dns_sites_read(struct context *context, struct dns_sites *out, struct err *err)
{
    bool any_known = false;
    *out = (struct dns_sites){.context = context};
    name_sites(out);
    struct reading *readings = calloc(out->count, sizeof(*readings));
    if (readings == NULL) {
        abort();
    }
    read_all(out, readings);
    choose(out, readings);
    free(readings);
    const struct dns_site *unknown = first_unknown(out, &any_known);
    if (any_known) {
        return true;
    }
    if (unknown != NULL && err != NULL) {
        *err = unknown->err;
    }
    return err_wrap(err, "what is recorded of the names of %s is not known",
                    context->service->name);
}

void dns_sites_close(struct dns_sites *sites)
{
    for (size_t i = 0; i < sites->count; i++) {
        control_writer_free(sites->list[i].writer);
    }
    free(sites->list);
    sites->list = NULL;
    sites->count = 0;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bool belongs(const struct dns_site *site)
{
    return !site->home || site->topic;
}

bool dns_sites_behind(const struct dns_sites *sites)
{
    for (size_t i = 0; i < sites->count; i++) {
        if (belongs(&sites->list[i]) && !sites->list[i].written) {
            return true;
        }
    }
    return false;
}

static const struct config_client *client_of(const struct dns_site *site)
{
    return site->site->operator_kafka != NULL ? site->site->operator_kafka : &site->site->kafka;
}

/* Behind the fence: is it still what was read? */
static bool still_so(const struct context *context, const struct dns_site *site, struct err *err)
{
    struct dns_recorded recorded;
    struct control_state *state =
        control_read(&site->site->kafka, context->service->name, context->timeout_ms, err);
    bool ok = state != NULL && dns_recorded_parse(state->dns_json, &recorded, NULL);
    if (state != NULL && (!ok || recorded.epoch != site->epoch)) {
        ok = site->known ? err_set(err, ERR_REFUSED,
                                   "somebody else changed what is recorded of the names meanwhile")
                         : true; /* it could not be read before: it is mended now */
        err_hint(err, "ferry dns show %s; then again", context->service->name);
    }
    if (ok && state->operation_open) {
        ok =
            err_set(err, ERR_REFUSED, "an operation on service %s is open", context->service->name);
        err_hint(err, "ferry status %s", context->service->name);
    }
    control_state_free(state);
    return ok;
}

static bool open_writer(const struct context *context, struct dns_site *site, struct err *err)
{
    const char *service = context->service->name;
    if (site->writer != NULL) {
        return true;
    }
    if (!control_create(client_of(site), service, err)) {
        return false;
    }
    site->writer = context_op_writer(context, site->site, client_of(site), err);
    if (site->writer != NULL && !still_so(context, site, err)) {
        control_writer_free(site->writer);
        site->writer = NULL;
    }
    return site->writer != NULL;
}

static char *record_text(const struct dns_sites *sites)
{
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    const char *reason = command_reason(sites->context->line);
    json_t *record = dns_recorded_json(&sites->now);
    json_object_set_new(record, "by", render_string(context_who(who)));
    json_object_set_new(record, "reason", json_string(reason));
    json_object_set_new(record, "time",
                        json_string(clock_rfc3339(clock_wall_ms(clock_system()), when)));
    char *text = json_text(record);
    json_decref(record);
    return text;
}

/* An answer that is lost is asked for once more: the record is the same. */
static bool write_site(const struct context *context, struct dns_site *site, const char *text,
                       struct err *err)
{
    const struct control_record record = {.key = "dns", .value = text};
    return open_writer(context, site, err) &&
           (control_write(site->writer, &record, 1, err) ||
            (control_write_unknown(site->writer) && control_write_again(site->writer, err)));
}

bool dns_sites_write(struct dns_sites *sites, const char *needed, struct err *err)
{
    const struct context *context = sites->context;
    struct err first = {0};
    bool any = false;
    bool missed = false;
    sites->now.epoch++;
    char *text = record_text(sites);
    for (size_t i = 0; i < sites->count && first.kind != ERR_REFUSED; i++) {
        struct dns_site *site = &sites->list[i];
        struct err why = {0};
        if (!belongs(site)) {
            continue;
        }
        /* One that did not answer is not waited for again. */
        bool dead = !site->known && site->err.kind == ERR_RETRY;
        why = dead ? site->err : why;
        site->written = !dead && write_site(context, site, text, &why);
        site->epoch = site->written ? sites->now.epoch : site->epoch;
        any = any || site->written;
        if (!site->written) {
            err_wrap(&why, "site %s", site->site->name);
            missed = missed || (needed != NULL && strcmp(needed, site->site->name) == 0);
            first = first.kind == ERR_NONE ? why : first;
        }
    }
    free(text);
    bool ok = any && !missed && first.kind != ERR_REFUSED;
    if (ok && first.kind != ERR_NONE) {
        fprintf(stderr, "ferry: warning: not recorded everywhere: %s\n",
                render_safe(first.what).text);
    }
    if (!ok && err != NULL) {
        *err = first;
    }
    return ok || err_wrap(err, "record of the names of %s", context->service->name);
}
