#include "cli/left.h"

#include <stdio.h>
#include <string.h>

#include "cli/render.h"
#include "failover/journal.h"

static void leave(struct operation *op, const char *step, const char *what, const char *hint)
{
    struct err why = {0};
    err_set(&why, ERR_REFUSED, "%s", what);
    err_hint(&why, "%s", hint);
    operation_leave(op, step, &why, false);
}

static void leave_groups(struct operation *op)
{
    char hint[300];
    const json_t *kept = operation_kept(op, "offsets");
    const char *why = json_string_value(json_object_get(kept, "why"));
    if (json_integer_value(json_object_get(kept, "unresolved")) > 0) {
        snprintf(hint, sizeof(hint), "ferry offsets reset %.100s --group GROUP --to translated",
                 op->service->name);
        leave(op, "offsets", why == NULL ? "groups are not where they should be" : why, hint);
    }
}

static void leave_stragglers(struct operation *op)
{
    char what[300];
    char count[RENDER_NUMBER_BYTES];
    json_t *records = json_object_get(operation_kept(op, "stragglers"), "records");
    bool unknown = op->planned && !json_is_integer(records);
    if (unknown || json_integer_value(records) > 0) {
        snprintf(what, sizeof(what), "%s records at %.100s behind the cut are not mirrored",
                 render_count(unknown ? -1 : json_integer_value(records), count), op->from->name);
        leave(op, "stragglers", what, "where: evidence.stragglers.topics in -o json");
    }
}

static bool is_proven(const struct operation *op)
{
    const char *proof = json_string_value(json_object_get(operation_kept(op, "fence"), "proof"));
    return proof != NULL && strcmp(proof, "none") != 0;
}

void left_take(struct operation *op)
{
    char hint[300];
    if (!is_proven(op)) {
        snprintf(hint, sizeof(hint), "see that no ferryd of %.100s mirrors to %.100s any more",
                 op->service->name, op->to->name);
        leave(op, "fence", "the mirror's workers are not proven to have stopped", hint);
    }
    leave_groups(op);
    leave_stragglers(op);
}

static void say_again(const struct operation *op, const json_t *row, struct err *err)
{
    char typed[OPERATION_TYPED_BYTES];
    err_set(err, ERR_RETRY, "moved, and %s could not do all: %s",
            json_string_value(json_object_get(row, "step")),
            json_string_value(json_object_get(row, "what")));
    err_hint(err, "ferry %s %s", operation_kind_name(op->options.kind), operation_typed(op, typed));
}

void left_say(const struct operation *op, struct err *err)
{
    const char *service = op->service->name;
    const json_t *again = journal_left_again(op->left);
    json_int_t groups =
        json_integer_value(json_object_get(operation_kept(op, "offsets"), "unresolved"));
    const json_t *late = json_object_get(operation_kept(op, "stragglers"), "records");
    if (!is_proven(op)) {
        err_set(err, ERR_REFUSED, "moved, and the mirror's workers are not proven to have stopped");
        err_hint(err, "systemctl stop ferryd where they run; ferry history %s %s", service, op->id);
    } else if (groups > 0) {
        err_set(err, ERR_REFUSED, "moved, and %lld %s not where they have to go on",
                (long long)groups, groups == 1 ? "group is" : "groups are");
        err_hint(err, "ferry offsets show %s; ferry hints %s", service, service);
    } else if (json_integer_value(late) > 0) {
        err_set(err, ERR_REFUSED, "moved, and %lld records were written at %s behind the cut",
                (long long)json_integer_value(late), op->from->name);
        err_hint(err, "ferry stragglers %s", service);
    } else if (again != NULL) {
        say_again(op, again, err);
    } else {
        err_set(err, ERR_RETRY, "moved, and what is written at %s behind the cut is not known",
                op->from->name);
        err_hint(err, "ferry stragglers %s --timeout 300", service);
    }
    if (json_array_size(op->left) > 1) {
        err_wrap(err, "%zu things are left, the first", json_array_size(op->left));
    }
}
