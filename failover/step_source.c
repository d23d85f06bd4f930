/* The source's side: its writers are stopped, its ends stand still, everything is mirrored.
 *
 * `source`     {"method": "acl"|"hook"|"none"|"unreachable", "why": TEXT, "topics": as failover/fence.h, "left": TEXT}   left: it could
 *              not be taken back, why
 * `prove`      {"ends": {TOPIC: [END..]}, "still": true|false|null, "looks": N, "seen": see loss.h}   null: it does not answer
 * `count`      {"records": N|null} that are lost, as far as the source says
 * `drain`      {"partitions": N, "records": N mirrored meanwhile}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "failover/fence.h"
#include "failover/hooks.h"
#include "failover/loss.h"
#include "failover/service_topics.h"
#include "failover/steps.h"

#define OWN_MAX        3
#define STILL_EVERY_MS 500
#define STILL_LOOKS \
    4 /* 2 s apart from the first to the last: an idle producer's linger, and its retries */
#define STILL_TRIES    24
#define DRAIN_EVERY_MS 300
#define DRAIN_STUCK_MS 60000 /* nothing was mirrored for so long */

/* --- the source's writers ----------------------------------------------------------------------------------------- */

struct source_fence {
    struct operation *op;
    struct service_topics topics;
    struct acl_list acls;
    struct admin_authorizer authorizer;
    char own[OWN_MAX][ACL_PRINCIPAL_BYTES + 8];
    size_t own_count;
    char unset[400];
};

static void add_own(struct source_fence *fence, const struct config_client *client)
{
    char name[ACL_PRINCIPAL_BYTES];
    if (client != NULL && acl_principal(client, name)) {
        snprintf(fence->own[fence->own_count++], sizeof(fence->own[0]), "%s%s",
                 strchr(name, ':') == NULL ? "User:" : "", name);
    }
}

/* false: the source cannot be asked. */
static bool gather(struct source_fence *fence, struct err *err)
{
    struct operation *op = fence->op;
    struct err why = {0};
    if (op->from->operator_kafka == NULL) {
        snprintf(fence->unset, sizeof(fence->unset), "sites.%.100s.operator is not configured",
                 op->from->name);
    } else if (!admin_acls(op->source_operator, ACL_TOPIC, &fence->acls, &why) ||
               !admin_authorizer(op->source_operator, &fence->authorizer, &why)) {
        if (why.code != ACL_NO_AUTHORIZER && !acl_refusal(why.code)) {
            *err = why;
            return false;
        }
        snprintf(fence->unset, sizeof(fence->unset), "%.390s",
                 why.code == ACL_NO_AUTHORIZER ? "the source has no authorizer: everybody may write"
                                               : why.what);
    }
    add_own(fence, &op->from->kafka);
    add_own(fence, op->from->operator_kafka);
    return service_topics_list(op->service, op->source, &fence->topics, err);
}

static json_t *plan_topics(struct source_fence *fence)
{
    const char *own[OWN_MAX];
    json_t *before = json_object_get(operation_kept(fence->op, "source"), "topics");
    for (size_t i = 0; i < fence->own_count; i++) {
        own[i] = fence->own[i];
    }
    const struct fence_facts facts = {.unset = fence->unset[0] == '\0' ? NULL : fence->unset,
                                      .acls = &fence->acls,
                                      .own = own,
                                      .own_count = fence->own_count,
                                      .authorizer = &fence->authorizer};
    return fence_plan(fence->topics.names, fence->topics.count, &facts, before);
}

/* Topics that anybody may write to all the same. */
static size_t open_topics(const json_t *topics, const char **out_example, const char **out_why)
{
    const char *topic;
    json_t *entry;
    size_t count = 0;
    json_object_foreach ((json_t *)(uintptr_t)topics, topic, entry) {
        const char *state = json_string_value(json_object_get(entry, "state"));
        if (state != NULL && strcmp(state, "none") == 0) {
            *out_example = topic;
            *out_why = json_string_value(json_object_get(entry, "why"));
            count++;
        }
    }
    return count;
}

static bool set_entries(struct operation *op, const json_t *topics, bool remove, struct err *err)
{
    struct acl_list entries;
    fence_entries(topics, &entries);
    bool ok = entries.count == 0 ||
              (op->source_operator == NULL
                   ? err_set(err, ERR_RETRY, "%s does not answer", op->from->name)
                   : (remove ? admin_acls_delete : admin_acls_create)(op->source_operator, &entries,
                                                                      err));
    acl_list_free(&entries);
    return ok;
}

/* @param topics  borrowed; NULL = none */
static bool keep_method(struct operation *op, const char *method, const char *why, json_t *topics,
                        struct err *err)
{
    json_t *evidence = json_pack("{ssss}", "method", method, "why", why);
    if (topics != NULL) {
        json_object_set(evidence, "topics", topics);
    }
    operation_say(op, "%s: %s", method, why);
    return operation_keep(op, "source", evidence, err);
}

/* Kept before they are set; an entry that may stand is never forgotten. */
static bool fence_by_acl(struct source_fence *fence, bool *out_whole, struct err *err)
{
    struct operation *op = fence->op;
    const char *example = "";
    const char *why = NULL;
    json_t *topics = plan_topics(fence);
    size_t open = open_topics(topics, &example, &why);
    char text[600];
    text_print(text, sizeof(text),
               open == 0 ? "who had Write is denied it on %zu topics"
                         : "%zu topics are open, as %.250s: %.250s",
               open == 0 ? fence->topics.count : open, example, why == NULL ? "" : why);
    *out_whole = open == 0;
    bool ok = keep_method(op, *out_whole ? "acl" : "none", text, topics, err) &&
              set_entries(op, topics, false, err);
    json_decref(topics);
    return ok;
}

static bool not_whole(const struct operation *op, struct err *err)
{
    char typed[OPERATION_TYPED_BYTES];
    const char *why = json_string_value(json_object_get(operation_kept(op, "source"), "why"));
    if (!op->planned || operation_forced(op, "source")) {
        return true;
    }
    err_set(err, ERR_REFUSED, "nothing stops the writers at %s: %.400s", op->from->name,
            why == NULL ? "" : why);
    return err_hint(err,
                    "sites.%s.operator or hooks.fence; you stopped them yourself: ferry switchover "
                    "%s --force source",
                    op->from->name, operation_typed(op, typed));
}

static bool unreachable(struct operation *op, struct err *err)
{
    if (op->planned) {
        *err = op->source_err;
        return err_wrap(err, "%s is needed for a switchover", op->from->name);
    }
    return keep_method(op, "unreachable", op->source_err.what, NULL, err);
}

static bool source_act(struct operation *op, struct err *err)
{
    struct source_fence fence = {.op = op};
    bool whole = false;
    if (hook_is_set(op, HOOK_FENCE)) {
        return keep_method(op, "hook", "hooks.fence stops them", NULL, err) &&
               hook_run(op, HOOK_FENCE, "fence", err);
    }
    bool ok =
        gather(&fence, err) && fence_by_acl(&fence, &whole, err) && (whole || not_whole(op, err));
    service_topics_done(&fence.topics);
    acl_list_free(&fence.acls);
    return ok;
}

bool step_source_act(struct operation *op, struct err *err)
{
    struct err why = {0};
    if (op->source == NULL && !(hook_is_set(op, HOOK_FENCE) && !op->planned)) {
        return unreachable(op, err);
    }
    if (source_act(op, &why)) {
        return true;
    }
    if (why.kind == ERR_FATAL || (op->planned && !operation_forced(op, "source"))) {
        *err = why;
        if (op->planned && why.kind != ERR_FATAL) {
            char typed[OPERATION_TYPED_BYTES];
            err_hint(err, "you stopped the writers yourself: ferry switchover %s --force source",
                     operation_typed(op, typed));
        }
        return false;
    }
    /* A primary that is half dead stops nobody's failover, nor does a program that cannot reach it. */
    json_t *topics = json_object_get(operation_kept(op, "source"), "topics");
    return keep_method(op, "none", why.what, topics, err);
}

/* A primary that does not answer stops nobody: what it keeps stands in the journal, for whoever mends it (exit 4). */
static bool leave_it(struct operation *op, const struct err *why, struct err *err)
{
    json_t *evidence = json_deep_copy(operation_kept(op, "source"));
    json_object_set_new(evidence, "left", json_string(why->what));
    operation_say(op, "left at %s as it is: %s", op->from->name, why->what);
    return operation_keep(op, "source", evidence, err);
}

bool step_source_undo(struct operation *op, struct err *err)
{
    struct err why = {0};
    const json_t *kept = operation_kept(op, "source");
    const char *method = json_string_value(json_object_get(kept, "method"));
    if (kept == NULL) {
        return true; /* it never came so far */
    }
    bool hook = method != NULL && strcmp(method, "hook") == 0;
    if (hook ? hook_run(op, HOOK_FENCE, "unfence", &why)
             : set_entries(op, json_object_get(kept, "topics"), true, &why)) {
        return true;
    }
    if (op->source == NULL || !op->planned || operation_forced(op, "source")) {
        return leave_it(op, &why, err);
    }
    char typed[OPERATION_TYPED_BYTES];
    *err = why;
    return err_hint(err,
                    "the same command again takes it back; leave it so: ferry %s %s --force source",
                    operation_kind_name(op->options.kind), operation_typed(op, typed));
}

bool step_source_plan(struct operation *op, struct err *err)
{
    struct source_fence fence = {.op = op};
    const char *example = "";
    const char *why = NULL;
    if (hook_is_set(op, HOOK_FENCE)) {
        return keep_method(op, "hook", "hooks.fence would stop them", NULL, err);
    }
    if (op->source == NULL) {
        return unreachable(op, err);
    }
    bool ok = gather(&fence, err);
    json_t *topics = ok ? plan_topics(&fence) : NULL;
    if (ok) {
        size_t open = open_topics(topics, &example, &why);
        ok = keep_method(op, open == 0 ? "acl" : "none",
                         open == 0     ? "who has Write would be denied it"
                         : why == NULL ? ""
                                       : why,
                         topics, err) &&
             (open == 0 || not_whole(op, err));
    }
    json_decref(topics);
    service_topics_done(&fence.topics);
    acl_list_free(&fence.acls);
    return ok;
}

/* --- do the ends stand still -------------------------------------------------------------------------------------- */

static const char *moved(const json_t *before, const json_t *after)
{
    const char *topic;
    json_t *ends;
    json_object_foreach ((json_t *)(uintptr_t)after, topic, ends) {
        if (!json_equal(ends, json_object_get(before, topic))) {
            return topic;
        }
    }
    return NULL;
}

static void note_ends(struct operation *op, json_t *take_ends, json_t *take_still, int looks)
{
    operation_note(op, "prove",
                   json_pack("{sososiso}", "ends", take_ends, "still", take_still, "looks", looks,
                             "seen", loss_seen(op)));
}

static bool stand_still(struct operation *op, const struct service_topics *topics, struct err *err)
{
    json_t *ends = NULL;
    const char *topic = NULL;
    int looks = 0;
    if (!service_topics_ends(topics, op->source, OFFSET_SPEC_LATEST, &ends, err)) {
        return false;
    }
    for (int tries = 0; looks < STILL_LOOKS && tries < STILL_TRIES; tries++) {
        json_t *now = NULL;
        usleep(STILL_EVERY_MS * 1000);
        if (!service_topics_ends(topics, op->source, OFFSET_SPEC_LATEST, &now, err)) {
            json_decref(ends);
            return false;
        }
        topic = moved(ends, now);
        looks = topic == NULL ? looks + 1 : 0;
        json_decref(ends);
        ends = now;
    }
    if (looks < STILL_LOOKS) {
        err_set(err, ERR_REFUSED, "somebody still writes at %s, as to %.250s", op->from->name,
                topic == NULL ? "" : topic);
        err_hint(err, "who: kafka-acls.sh --list, super users are bound by none; sites.%s.operator",
                 op->from->name);
        json_decref(ends);
        return false;
    }
    operation_say(op, "the ends of %zu topics stand still", topics->count);
    note_ends(op, ends, json_true(), looks);
    return true;
}

/* One look: a failover does not wait for a primary's writers. */
static void look_once(struct operation *op, const struct service_topics *topics)
{
    json_t *ends = NULL;
    struct err why = {0};
    if (!service_topics_ends(topics, op->source, OFFSET_SPEC_LATEST, &ends, &why)) {
        operation_say(op, "unknown: %s", why.what);
        note_ends(op, json_object(), json_null(), 0);
        return;
    }
    note_ends(op, ends, json_null(), 1);
}

bool step_prove_act(struct operation *op, struct err *err)
{
    struct service_topics topics = {.count = 0};
    struct err why = {0};
    bool listed = op->source != NULL && service_topics_list(op->service, op->source, &topics, &why);
    bool ok = true;
    if (!op->planned) {
        look_once(op, &topics);
        if (!listed) {
            operation_say(op, "the primary does not answer: what it holds is unknown");
        }
    } else if (listed) {
        ok = stand_still(op, &topics, err);
    } else {
        *err = op->source == NULL ? op->source_err : why;
        ok = false;
    }
    service_topics_done(&topics);
    return ok;
}

bool step_prove_plan(struct operation *op, struct err *err)
{
    (void)op;
    (void)err;
    return true;
}

/* --- did anybody write meanwhile ---------------------------------------------------------------------------------- */

/* Behind the fence of the mirror: what was written since `prove` is not mirrored, and would be lost with the role. */
static bool nobody_wrote(struct operation *op, json_t **out_ends, struct err *err)
{
    struct service_topics topics = {.count = 0};
    const json_t *proven = json_object_get(operation_kept(op, "prove"), "ends");
    if (op->source == NULL) {
        *err = op->source_err;
        return err_wrap(err, "did anybody write at %s meanwhile", op->from->name);
    }
    bool ok = service_topics_list(op->service, op->source, &topics, err) &&
              service_topics_ends(&topics, op->source, OFFSET_SPEC_LATEST, out_ends, err);
    const char *topic = ok ? moved(proven, *out_ends) : NULL;
    service_topics_done(&topics);
    if (topic == NULL) {
        return ok;
    }
    err_set(err, ERR_REFUSED, "somebody still writes at %s, as to %.250s", op->from->name, topic);
    return err_hint(err,
                    "who: kafka-acls.sh --list, super users are bound by none; sites.%s.operator",
                    op->from->name);
}

static bool loss_still_allowed(struct operation *op, int64_t *out_records, struct err *err)
{
    struct loss loss;
    char text[LOSS_TEXT_BYTES];
    char typed[OPERATION_TYPED_BYTES];
    int64_t allowed = op->options.allow_loss;
    loss_read(op, &loss);
    *out_records = loss.at_most;
    if (op->source == NULL || allowed < 0 || (loss.at_most >= 0 && loss.at_most <= allowed)) {
        return true; /* nothing was promised, or nothing more is known than when it was */
    }
    err_set(err, ERR_REFUSED, "more than --allow-loss or max_loss allows now: %.380s",
            loss_text(&loss, text));
    return err_hint(err, "ferry switchover %s loses nothing", operation_typed(op, typed));
}

bool step_count_act(struct operation *op, struct err *err)
{
    int64_t records = 0;
    json_t *ends = NULL;
    bool ok = op->planned ? nobody_wrote(op, &ends, err) : loss_still_allowed(op, &records, err);
    json_decref(ends);
    if (ok) {
        operation_note(
            op, "count",
            json_pack("{so}", "records", records < 0 ? json_null() : json_integer(records)));
    }
    return ok;
}

/* --- is everything mirrored --------------------------------------------------------------------------------------- */

/* Records to go, -1 = unknown; a partition that is the furthest behind. */
static int64_t to_go(const struct positions *positions, const struct position **out_worst)
{
    int64_t sum = 0;
    int64_t most = -1;
    *out_worst = NULL;
    for (size_t i = 0; i < positions->count; i++) {
        int64_t lag = position_to_go(&positions->rows[i]);
        if (lag < 0) {
            *out_worst = &positions->rows[i];
            return -1;
        }
        sum += lag;
        if (lag > most) {
            most = lag;
            *out_worst = &positions->rows[i];
        }
    }
    return sum;
}

static bool stuck(const struct operation *op, const struct positions *positions,
                  const struct position *worst, int64_t left, struct err *err)
{
    const struct err *why = positions->source_err.kind != ERR_NONE   ? &positions->source_err
                            : positions->hidden_err.kind != ERR_NONE ? &positions->hidden_err
                            : positions->group_err.kind != ERR_NONE  ? &positions->group_err
                                                                     : NULL;
    err_set(err, ERR_RETRY,
            "the mirror does not get to the end: %s%lld records to go, most in %.250s:%d%s%.200s",
            left < 0 ? "at least " : "", (long long)(left < 0 ? 0 : left),
            worst == NULL ? "" : worst->topic, worst == NULL ? 0 : worst->partition,
            why == NULL ? "" : "; ", why == NULL ? "" : why->what);
    return err_hint(err, "ferry status %s; ferry fault list %s", op->service->name,
                    op->service->name);
}

/* What stands in an open transaction is below the end and not stable: it can never be mirrored while that is open. */
static bool nothing_open(struct operation *op, const struct positions *positions, struct err *err)
{
    const json_t *ends = json_object_get(operation_kept(op, "prove"), "ends");
    for (size_t i = 0; i < positions->count; i++) {
        const struct position *row = &positions->rows[i];
        json_t *end = json_array_get(json_object_get(ends, row->topic), (size_t)row->partition);
        if (json_is_integer(end) && row->source_stable < json_integer_value(end)) {
            err_set(err, ERR_REFUSED,
                    "a transaction is open at %s in %s:%d: from offset %lld on nothing is stable",
                    op->from->name, row->topic, row->partition, (long long)row->source_stable);
            return err_hint(
                err, "kafka-transactions.sh find-hanging; it ends by its time-out at the latest");
        }
    }
    return true;
}

bool step_drain_act(struct operation *op, struct err *err)
{
    int64_t first = -1;
    int64_t least = INT64_MAX;
    int64_t moved_ms = clock_now_ms(op->clock);
    for (;;) {
        struct positions positions;
        const struct position *worst = NULL;
        loss_positions(op, &positions);
        int64_t left = to_go(&positions, &worst);
        int64_t now = clock_now_ms(op->clock);
        first = first < 0 ? left : first;
        bool known = positions.source_err.kind == ERR_NONE && positions.hidden_err.kind == ERR_NONE;
        if (left == 0 && known) {
            bool ok = nothing_open(op, &positions, err);
            size_t count = positions.count;
            positions_free(&positions);
            if (ok) {
                operation_say(op, "everything is mirrored: %zu partitions", count);
            }
            return ok && operation_keep(op, "drain",
                                        json_pack("{sIsI}", "partitions", (json_int_t)count,
                                                  "records", (json_int_t)(first < 0 ? 0 : first)),
                                        err);
        }
        if (left >= 0 && left < least) {
            least = left;
            moved_ms = now;
            operation_say(op, "%lld records to go", (long long)left);
        }
        bool give_up = now - moved_ms >= DRAIN_STUCK_MS;
        if (give_up) {
            stuck(op, &positions, worst, left, err);
        }
        positions_free(&positions);
        if (give_up || !operation_in_time(op, err)) {
            return false;
        }
        usleep(DRAIN_EVERY_MS * 1000);
    }
}

bool step_drain_plan(struct operation *op, struct err *err)
{
    struct positions positions;
    const struct position *worst = NULL;
    loss_positions(op, &positions);
    int64_t left = to_go(&positions, &worst);
    size_t count = positions.count;
    positions_free(&positions);
    operation_say(op, left < 0 ? "how much is to go is unknown" : "%lld records to go now",
                  (long long)left);
    return operation_keep(op, "drain",
                          json_pack("{sIso}", "partitions", (json_int_t)count, "records_now",
                                    left < 0 ? json_null() : json_integer(left)),
                          err);
}
