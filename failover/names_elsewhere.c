#include "failover/names_elsewhere.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "dns/dns.h"
#include "failover/reach.h"

#define PROBE_MS      1000
#define READ_MS       2500
#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */

/* 0 = none, or not of its form: whoever needs it says so. */
static int64_t epoch_of(const char *dns_json)
{
    struct dns_recorded *recorded = must(calloc(1, sizeof(*recorded)));
    bool ok = dns_recorded_parse(dns_json, recorded, NULL);
    int64_t epoch = ok ? recorded->epoch : 0;
    free(recorded);
    return epoch;
}

void names_elsewhere_seen(struct operation *op, const char *dns_json)
{
    if (epoch_of(dns_json) > epoch_of(op->names_json)) {
        free(op->names_json);
        op->names_json = must(strdup(dns_json));
    }
}

void names_elsewhere_take(struct operation *op)
{
    if (epoch_of(op->names_json) > epoch_of(op->state->dns_json)) {
        free(op->state->dns_json);
        op->state->dns_json = must(strdup(op->names_json));
    }
}

static const struct config_client *writer_of(const struct config_site *site)
{
    return site->operator_kafka != NULL ? site->operator_kafka : &site->kafka;
}

/* Is it to be written there? false with ERR_NONE: it stands there, or there is no control topic. */
static bool is_behind(const struct operation *op, const struct config_site *site, bool *out_known,
                      struct err *err)
{
    struct control_state *state = control_read(&site->kafka, op->service->name, READ_MS, err);
    *out_known = state != NULL;
    if (state == NULL) {
        if (err->code == CODE_NO_TOPIC) {
            err_clear(err);
        }
        return false;
    }
    int64_t ours = epoch_of(op->state->dns_json);
    int64_t there = epoch_of(state->dns_json);
    bool behind = there < ours;
    if (behind && state->operation_open) {
        behind = err_set(err, ERR_REFUSED, "an operation is open there");
    } else if (there > ours) {
        err_set(err, ERR_REFUSED, "what is recorded there is newer");
    }
    control_state_free(state);
    return behind;
}

/* Looked at once more behind the fence of its writer, as whoever writes a control topic does. */
static bool tell_site(const struct operation *op, const struct config_site *site, bool *out_known,
                      struct err *err)
{
    const char *servers = config_client_get(&site->kafka, "bootstrap.servers");
    const struct control_record record = {.key = "dns", .value = op->state->dns_json};
    *out_known = true;
    if (servers == NULL || !reach_any(servers, PROBE_MS, err)) {
        return false;
    }
    if (!is_behind(op, site, out_known, err)) {
        return err->kind == ERR_NONE;
    }
    struct control_writer *writer =
        control_writer_new(writer_of(site), op->service->name, "op", err);
    bool ok = writer != NULL &&
              (is_behind(op, site, out_known, err) ? control_write(writer, &record, 1, err)
                                                   : err->kind == ERR_NONE);
    control_writer_free(writer);
    return ok;
}

json_t *names_elsewhere_tell(const struct operation *op)
{
    json_t *out = json_object();
    for (size_t i = 0; op->state->dns_json != NULL && i <= op->service->others_count; i++) {
        const char *name = i == 0 ? op->service->home : op->service->others[i - 1];
        const struct config_site *site = config_site(op->config, name);
        bool known = false;
        struct err why = {0};
        if (site == op->to || (site == op->from && op->source == NULL)) {
            continue;
        }
        bool told = tell_site(op, site, &known, &why);
        if (known) {
            json_object_set_new(out, name, json_string(told ? "written" : why.what));
        }
    }
    return out;
}
