#include "failover/report.h"

#include <string.h>

#include "failover/journal.h"

const char *report_state_name(enum report_state state)
{
    static const char *const names[] = {"done", "partly",  "undone", "open",
                                        "lost", "dry-run", "refused"};
    return names[state];
}

static json_t *time_json(int64_t wall_ms)
{
    char text[CLOCK_TEXT_BYTES];
    return wall_ms < 0 ? json_null() : json_string(clock_rfc3339(wall_ms, text));
}

static json_t *get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return value == NULL ? json_null() : json_incref(value);
}

/* --- RTO by step -------------------------------------------------------------------------------------------------- */

static json_t *step_json(const struct operation *op, const struct step *step)
{
    static const char *const states[] = {"not begun", "began", "done", "undone"};
    enum journal_state state =
        op->journal == NULL ? JOURNAL_NOTHING : journal_state(op->journal, step->name);
    int64_t ms = op->journal == NULL ? -1 : journal_ms(op->journal, step->name);
    return json_pack("{ssssso}", "step", step->name, "state", states[state], "seconds",
                     ms < 0 ? json_null() : json_real((double)ms / 1000));
}

static json_t *rto_json(const struct operation *op, const struct plan *plan, int64_t ended_ms)
{
    json_t *steps = json_array();
    unsigned other = op->planned ? STEP_UNPLANNED : STEP_PLANNED;
    for (size_t i = 0; i < plan->count; i++) {
        if ((plan->steps[i].flags & other) == 0) {
            json_array_append_new(steps, step_json(op, &plan->steps[i]));
        }
    }
    return json_pack("{soso}", "seconds",
                     ended_ms < 0 ? json_null()
                                  : json_real((double)(ended_ms - op->began_wall_ms) / 1000),
                     "steps", steps);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static const json_t *row_of(const json_t *rows, const char *record)
{
    size_t index;
    json_t *row;
    json_array_foreach (rows, index, row) {
        const char *name = json_string_value(json_object_get(row, "record"));
        if (name != NULL && strcmp(name, record) == 0) {
            return row;
        }
    }
    return NULL;
}

static json_t *dns_json(const struct operation *op)
{
    json_t *out = json_array();
    const json_t *moved = json_object_get(operation_kept(op, "dns"), "records");
    const json_t *looked = json_object_get(operation_kept(op, "verify"), "records");
    for (size_t i = 0; i < op->names_count; i++) {
        const char *name = op->service->cnames[i].record;
        const char *record = op->names[i] == NULL ? name : dns_record(op->names[i]);
        const json_t *row = row_of(moved, record);
        const json_t *view = row_of(looked, record);
        json_array_append_new(out, json_pack("{sssosososososo}", "record", record, "from",
                                             get(row, "from"), "to", get(row, "to"), "agree",
                                             get(view, "agree"), "servers", get(view, "servers"),
                                             "enough", get(view, "enough"), "settled",
                                             get(view, "settled")));
    }
    return out;
}

/* What clients are configured with where no name moves. */
static json_t *client_json(const struct operation *op)
{
    const char *servers = config_client_get(&op->to->kafka, "bootstrap.servers");
    if (op->names_count > 0 || servers == NULL) {
        return json_null();
    }
    return json_pack("{ss}", "bootstrap.servers", servers);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static json_t *error_json(const struct err *err)
{
    return err == NULL || err->kind == ERR_NONE
               ? json_null()
               : json_pack("{ssss}", "what", err->what, "hint", err->hint);
}

/* Groups, when the operation ended: clients follow a name only behind that. */
static json_t *arrivals_json(const struct operation *op)
{
    const json_t *look = operation_kept(op, "stragglers");
    return look == NULL ? json_null()
                        : json_pack("{sosososo}", "expected", get(look, "expected"), "arrived",
                                    get(look, "arrived"), "at_old", get(look, "at_old"), "missing",
                                    get(look, "missing"));
}

/* From the cut on nobody mirrors the new primary. */
static json_t *unprotected(const struct operation *op)
{
    bool moved = op->state != NULL && strcmp(op->state->primary, op->to->name) == 0;
    return !moved || op->journal == NULL ? json_null()
                                         : time_json(journal_ended_ms(op->journal, "role"));
}

json_t *report_json(const struct operation *op, const struct plan *plan,
                    const struct report_end *end)
{
    json_t *out = json_object();
    json_object_set_new(out, "operation", op->id[0] == '\0' ? json_null() : json_string(op->id));
    json_object_set_new(out, "kind", json_string(operation_kind_name(op->options.kind)));
    json_object_set_new(out, "service", json_string(op->service->name));
    json_object_set_new(out, "from", op->from == NULL ? json_null() : json_string(op->from->name));
    json_object_set_new(out, "to", json_string(op->to->name));
    json_object_set_new(out, "by", json_string(op->options.by));
    json_object_set_new(out, "reason", json_string(op->options.reason));
    json_object_set_new(out, "dry_run", json_boolean(op->options.dry_run));
    json_object_set_new(out, "resumed", json_boolean(op->resumed));
    json_object_set_new(out, "state", json_string(report_state_name(end->state)));
    json_object_set_new(out, "exit", json_integer(end->exit));
    json_object_set_new(out, "step", end->step == NULL ? json_null() : json_string(end->step));
    json_object_set_new(out, "error", error_json(end->err));
    json_object_set_new(out, "began", time_json(op->began_wall_ms));
    json_object_set_new(out, "ended", time_json(end->ended_ms));
    json_object_set_new(out, "role_epoch",
                        op->state == NULL ? json_null() : json_integer(op->state->role_epoch));
    json_object_set_new(out, "rto", rto_json(op, plan, end->ended_ms));
    json_object_set_new(out, "rpo", end->loss == NULL ? json_null() : loss_json(end->loss));
    json_object_set_new(out, "fence", get(op->evidence, "fence"));
    json_object_set_new(out, "groups", get(op->evidence, "hints"));
    json_object_set_new(out, "dns", dns_json(op));
    json_object_set_new(out, "client", client_json(op));
    json_object_set_new(out, "must_restart", get(operation_kept(op, "evict"), "must_restart"));
    json_object_set_new(out, "unprotected_since", unprotected(op));
    json_object_set_new(out, "stragglers", get(operation_kept(op, "stragglers"), "records"));
    json_object_set_new(out, "arrivals", arrivals_json(op));
    json_object_set(out, "left", op->left);
    json_t *evidence = json_copy(op->evidence);
    json_object_del(evidence, "report");
    json_object_set_new(out, "evidence", evidence);
    return out;
}

/* --- kept --------------------------------------------------------------------------------------------------------- */

#define BULKY "freeze"

json_t *report_to_keep(const json_t *report)
{
    json_t *out = json_copy((json_t *)(uintptr_t)report);
    json_t *evidence = json_copy(json_object_get(report, "evidence"));
    json_object_del(evidence, BULKY);
    json_object_set_new(out, "evidence", evidence);
    return out;
}

json_t *report_kept(const json_t *operations, const char *id)
{
    json_t *report = journal_read_evidence(operations, id, "report");
    json_t *evidence = json_object_get(report, "evidence");
    json_t *bulky = journal_read_evidence(operations, id, BULKY);
    if (bulky != NULL && json_object_get(evidence, BULKY) == NULL) {
        json_object_set(evidence, BULKY, bulky);
    }
    json_decref(bulky);
    return report;
}
