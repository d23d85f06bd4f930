/* The mirror's own workers stop, proven on the target.
 *
 * Order `fence` goes to the control topic; a worker that reads it lets land what flies, leaves ferry's group and says so in
 * Redis. Whoever does not (dead, stopped, cut off) is proven silent by what fence_proof.h says, or is denied Write where the
 * target has an authorizer and Ferry's operator is another principal than its mirror.
 *
 * Evidence: {"proof": NAME, "why": TEXT, "waited_ms": N, "group": GROUP, "workers": {NAME: TEXT}, "denied": {"principal", "topics": [..],
 * "before": [..], "theirs": [..]}|null}   topics: entries that this operation makes, and takes away when it is taken back; before: of
 * an earlier one, as record `fence` has them; theirs: somebody else's, never touched
 */
#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "failover/fence.h"
#include "failover/fence_proof.h"
#include "failover/service_topics.h"
#include "failover/steps.h"
#include "kafka/admin_acls.h"

#define WAIT_MS     15000
#define LOOK_MS     100
#define DENY_MS     600 /* workers that live are gone by then */
#define WORKERS_MAX 256

/* One clock for both: Redis's. */
static struct redis_script look_script = {
    .name = "fence_look",
    .text = "local t = redis.call('TIME')\n"
            "return {string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)),\n"
            "        redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}\n",
};

struct fencing {
    struct operation *op;
    struct fence_look look;
    struct fence_worker workers[WORKERS_MAX];
    char names[WORKERS_MAX][128];
    int64_t began_ms;
    bool deny_tried;
    struct err why; /* why it is not proven yet */
};

static int64_t now_ms(const struct fencing *fencing)
{
    return clock_now_ms(fencing->op->clock);
}

/* --- the order ---------------------------------------------------------------------------------------------------- */

static bool order_stands(const struct operation *op)
{
    const char *text = op->state->order_json;
    json_t *order = text == NULL ? NULL : json_parse(text, strlen(text), "order", NULL);
    const char *state = json_string_value(json_object_get(order, "state"));
    const char *id = json_string_value(json_object_get(order, "operation"));
    bool stands =
        state != NULL && id != NULL && strcmp(state, "fence") == 0 && strcmp(id, op->id) == 0;
    json_decref(order);
    return stands;
}

static bool give_order(struct operation *op, struct err *err)
{
    if (order_stands(op)) {
        return true;
    }
    json_t *order = operation_sign(op, json_pack("{ss}", "state", "fence"));
    char *text = json_text(order);
    const struct control_record record = {.key = "order", .value = text};
    bool ok = operation_write(op, &record, 1, err);
    free(text);
    json_decref(order);
    return ok;
}

static bool take_order_back(struct operation *op, struct err *err)
{
    if (!order_stands(op)) {
        return true;
    }
    bool none = !json_is_object(op->order_before);
    char *text = none ? NULL : json_text(op->order_before);
    const struct control_record record = {.key = "order",
                                          .value = none ? "{\"state\":\"run\"}" : text};
    bool ok = operation_write(op, &record, 1, err);
    free(text);
    return ok;
}

/* --- what Redis saw ----------------------------------------------------------------------------------------------- */

static bool acknowledged(const redisReply *workers, const char *name, const char *id)
{
    bool acked = false;
    for (size_t i = 0; i + 1 < workers->elements; i += 2) {
        const redisReply *field = workers->element[i];
        const redisReply *value = workers->element[i + 1];
        if (field->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
            strcmp(field->str, name) == 0) {
            json_t *worker = json_parse(value->str, value->len, "worker", NULL);
            const char *fenced = json_string_value(json_object_get(worker, "fenced"));
            acked = fenced != NULL && strcmp(fenced, id) == 0;
            json_decref(worker);
        }
    }
    return acked;
}

static void take_worker(struct fencing *fencing, const redisReply *name, const redisReply *seen,
                        const redisReply *workers)
{
    struct fence_look *look = &fencing->look;
    if (name->type != REDIS_REPLY_STRING || seen->type != REDIS_REPLY_STRING) {
        return;
    }
    long long at = strtoll(seen->str, NULL, 10);
    snprintf(fencing->names[look->count], sizeof(fencing->names[0]), "%s", name->str);
    fencing->workers[look->count++] =
        (struct fence_worker){.seen_ms = at < 0 ? -at : at,
                              .left = at < 0,
                              .acked = acknowledged(workers, name->str, fencing->op->id)};
}

static bool is_array(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY || reply->type == REDIS_REPLY_MAP;
}

static void ask_redis(struct fencing *fencing)
{
    struct operation *op = fencing->op;
    struct fence_look *look = &fencing->look;
    struct err err = {0};
    look->redis = false;
    look->count = 0;
    if (op->redis == NULL) {
        return;
    }
    char *beats = operation_link_key(op, "beats");
    char *workers = operation_key(op, "workers");
    const char *argv[] = {beats, workers};
    redisReply *reply = redis_sync_script(op->redis, &look_script, 2, 2, argv, NULL, &err);
    free(beats);
    free(workers);
    if (reply == NULL) {
        operation_drop_redis(op, &err);
        return;
    }
    bool good = is_array(reply) && reply->elements == 3 &&
                reply->element[0]->type == REDIS_REPLY_STRING && is_array(reply->element[1]) &&
                is_array(reply->element[2]) && reply->element[1]->elements / 2 <= WORKERS_MAX;
    if (good) {
        look->redis = true;
        look->redis_ms = strtoll(reply->element[0]->str, NULL, 10);
        for (size_t i = 0; i + 1 < reply->element[1]->elements; i += 2) {
            take_worker(fencing, reply->element[1]->element[i], reply->element[1]->element[i + 1],
                        reply->element[2]);
        }
    }
    freeReplyObject(reply);
}

static json_t *workers_json(const struct fencing *fencing)
{
    const struct fence_look *look = &fencing->look;
    json_t *out = json_object();
    for (size_t i = 0; look->redis && i < look->count; i++) {
        const struct fence_worker *worker = &look->workers[i];
        char text[100];
        snprintf(text, sizeof(text), "%s, heard of %lld ms ago",
                 worker->acked  ? "acknowledged"
                 : worker->left ? "left in order"
                                : "silent",
                 (long long)(look->redis_ms - worker->seen_ms));
        json_object_set_new(out, fencing->names[i], json_string(text));
    }
    return out;
}

/* --- Write denied ------------------------------------------------------------------------------------------------- */

static void deny_entries(const json_t *denied, struct acl_list *out)
{
    const char *principal = json_string_value(json_object_get(denied, "principal"));
    size_t index;
    json_t *topic;
    json_array_foreach (json_object_get(denied, "topics"), index, topic) {
        const char *name = json_string_value(topic);
        if (principal != NULL && name != NULL) {
            const struct acl acl = {.resource = ACL_TOPIC,
                                    .pattern = ACL_LITERAL,
                                    .name = (char *)(uintptr_t)name,
                                    .principal = (char *)(uintptr_t)principal,
                                    .host = (char *)(uintptr_t)"*",
                                    .operation = ACL_WRITE,
                                    .permission = ACL_DENY};
            acl_list_add(out, &acl);
        }
    }
}

/* May the mirror be denied without denying the operator, who writes the journal? */
static bool mirror_principal(const struct operation *op, char out[ACL_PRINCIPAL_BYTES + 8])
{
    char mirror[ACL_PRINCIPAL_BYTES];
    char other[ACL_PRINCIPAL_BYTES];
    if (op->to->operator_kafka == NULL || !acl_principal(&op->to->kafka, mirror) ||
        !acl_principal(op->to->operator_kafka, other) || strcmp(mirror, other) == 0) {
        return false;
    }
    snprintf(out, ACL_PRINCIPAL_BYTES + 8, "%s%s", strchr(mirror, ':') == NULL ? "User:" : "",
             mirror);
    return true;
}

static json_t *evidence_of(const struct fencing *fencing, json_t *take_denied)
{
    char group[OPERATION_GROUP_BYTES];
    return json_pack("{sssoso}", "group", operation_group(fencing->op, group), "workers",
                     workers_json(fencing), "denied", take_denied);
}

static bool has_entry(const struct acl_list *list, const char *principal, const char *topic)
{
    struct acl_list one = {.acls = NULL};
    json_t *denied = json_pack("{sss[s]}", "principal", principal, "topics", topic);
    deny_entries(denied, &one);
    bool has = acl_list_has(list, &one.acls[0]);
    acl_list_free(&one);
    json_decref(denied);
    return has;
}

/* Whose is which? What stands there and is in no record of ours is somebody else's. */
static bool plan_denied(struct operation *op, const struct service_topics *topics,
                        const char *principal, json_t **out, struct err *err)
{
    struct acl_list there = {.acls = NULL};
    struct acl_list made = {.acls = NULL}; /* by this operation, before it was killed */
    struct acl_list before = {.acls = NULL};
    if (!admin_acls(op->target_operator, ACL_TOPIC, &there, err)) {
        return false;
    }
    json_t *record = fence_topics_parse(op->state->fence_json);
    deny_entries(json_object_get(operation_kept(op, "fence"), "denied"), &made);
    fence_entries(record, &before);
    json_t *lists[3] = {json_array(), json_array(), json_array()};
    for (size_t i = 0; i < topics->count; i++) {
        const char *topic = topics->names[i];
        bool ours = has_entry(&made, principal, topic) || !has_entry(&there, principal, topic);
        int which = ours ? 0 : has_entry(&before, principal, topic) ? 1 : 2;
        json_array_append_new(lists[which], json_string(topic));
    }
    *out = json_pack("{sssososo}", "principal", principal, "topics", lists[0], "before", lists[1],
                     "theirs", lists[2]);
    acl_list_free(&there);
    acl_list_free(&made);
    acl_list_free(&before);
    json_decref(record);
    return true;
}

static bool deny_topics(struct fencing *fencing, const struct service_topics *topics,
                        const char *principal, struct err *err)
{
    struct operation *op = fencing->op;
    struct acl_list entries = {.acls = NULL};
    struct write_probe probe = {0};
    json_t *denied = NULL;
    if (!plan_denied(op, topics, principal, &denied, err)) {
        return false;
    }
    deny_entries(denied, &entries);
    /* in the journal before they are on the cluster */
    bool ok = operation_keep(op, "fence", evidence_of(fencing, denied), err) &&
              (entries.count == 0 || admin_acls_create(op->target_operator, &entries, err));
    acl_list_free(&entries);
    while (ok && !fencing->look.denied && now_ms(fencing) - fencing->began_ms < WAIT_MS) {
        ok = admin_probe_write(op->target, topics->names, topics->count, &probe, err);
        fencing->look.denied = ok && probe.asked > 0 && probe.refused == probe.asked;
        if (ok && !fencing->look.denied) {
            usleep(LOOK_MS * 1000);
        }
    }
    return ok;
}

/* @return false: it cannot be denied; the other proofs remain */
static bool deny(struct fencing *fencing, struct err *err)
{
    struct operation *op = fencing->op;
    char principal[ACL_PRINCIPAL_BYTES + 8];
    struct service_topics topics = {.count = 0};
    struct admin_authorizer authorizer;
    if (!mirror_principal(op, principal)) {
        return err_set(err, ERR_REFUSED, "Write cannot be denied to the mirror alone");
    }
    bool ok = admin_authorizer(op->target_operator, &authorizer, err) &&
              (!authorizer.known || authorizer.exists ||
               err_set(err, ERR_REFUSED, "%s has no authorizer", op->to->name)) &&
              service_topics_list(op->service, op->target, &topics, err) && topics.count > 0 &&
              deny_topics(fencing, &topics, principal, err);
    service_topics_done(&topics);
    return ok;
}

/* --- until it is proven ------------------------------------------------------------------------------------------- */

static enum fence_proof look_once(struct fencing *fencing)
{
    struct operation *op = fencing->op;
    char group[OPERATION_GROUP_BYTES];
    struct err err = {0};
    if (!fencing->look.denied) {
        ask_redis(fencing);
        if (!admin_group_presence(op->target, operation_group(op, group), &fencing->look.group,
                                  &err)) {
            fencing->look.group = GROUP_UNKNOWN;
            fencing->why = err;
        }
        fencing->look.order_ms = now_ms(fencing) - fencing->began_ms;
    }
    return fence_judge(&fencing->look);
}

static bool not_proven(struct fencing *fencing, struct err *err)
{
    const struct fence_look *look = &fencing->look;
    char who[300] = "";
    size_t used = 0;
    for (size_t i = 0; look->redis && i < look->count && used < sizeof(who) - 1; i++) {
        const struct fence_worker *worker = &look->workers[i];
        if (!worker->acked && !worker->left) {
            used += (size_t)snprintf(who + used, sizeof(who) - used, "%s%s", used == 0 ? "" : ", ",
                                     fencing->names[i]);
        }
    }
    err_set(err, ERR_REFUSED,
            "the mirror's workers are not proven to have stopped: after %d s somebody is in their "
            "group, or "
            "it cannot be asked%s%s%s%s",
            WAIT_MS / 1000, who[0] == '\0' ? "" : "; no word of ", who,
            fencing->why.what[0] == '\0' ? "" : "; ", fencing->why.what);
    return err_hint(err, "stop them (systemctl stop ferryd) and run it again; or --force fence");
}

static const char *why_text(const struct fencing *fencing, enum fence_proof proof, char *out,
                            size_t room)
{
    const struct fence_look *look = &fencing->look;
    switch (proof) {
    case PROOF_DENIED:
        snprintf(out, room, "every leader refuses a write of the mirror's principal");
        break;
    case PROOF_LEFT:
        snprintf(out, room, "every worker acknowledged the order and left, the group is empty");
        break;
    case PROOF_SILENT:
        snprintf(out, room, "the group is empty, and no worker was heard of for %lld s",
                 (long long)(fence_silent_ms(look) / 1000));
        break;
    case PROOF_TIME:
        snprintf(out, room, "the group is empty, and the order stands for %lld s",
                 (long long)(fence_order_ms(look) / 1000));
        break;
    case PROOF_NONE:
        snprintf(out, room, "not proven: --force fence");
        break;
    }
    return out;
}

static void note_proof(struct fencing *fencing, enum fence_proof proof)
{
    struct operation *op = fencing->op;
    char why[200];
    json_t *denied = json_object_get(operation_kept(op, "fence"), "denied");
    json_t *evidence = evidence_of(fencing, denied == NULL ? json_null() : json_incref(denied));
    why_text(fencing, proof, why, sizeof(why));
    json_object_set_new(evidence, "proof", json_string(fence_proof_name(proof)));
    json_object_set_new(evidence, "why", json_string(why));
    json_object_set_new(evidence, "waited_ms", json_integer(now_ms(fencing) - fencing->began_ms));
    operation_say(op, "%s", why);
    operation_note(op, "fence", evidence);
}

bool step_fence_done(struct operation *op, bool *out, struct err *err)
{
    (void)err;
    *out =
        json_is_string(json_object_get(operation_kept(op, "fence"), "proof")) && order_stands(op);
    return true;
}

bool step_fence_act(struct operation *op, struct err *err)
{
    enum fence_proof proof = PROOF_NONE;
    struct fencing *fencing = calloc(1, sizeof(*fencing));
    if (fencing == NULL) {
        abort();
    }
    fencing->op = op;
    fencing->look.workers = fencing->workers;
    fencing->look.session_ms = op->config->limits.session_timeout_ms;
    fencing->look.tcp_user_timeout_ms = op->config->limits.tcp_user_timeout_ms;
    bool ok = give_order(op, err);
    fencing->began_ms = now_ms(fencing);
    while (ok && (proof = look_once(fencing)) == PROOF_NONE &&
           now_ms(fencing) - fencing->began_ms < WAIT_MS && operation_in_time(op, NULL)) {
        if (!fencing->deny_tried && now_ms(fencing) - fencing->began_ms >= DENY_MS) {
            fencing->deny_tried = true;
            struct err why = {0};
            if (!deny(fencing, &why)) {
                operation_say(op, "%s; waiting for the workers", why.what);
            }
            if (why.kind == ERR_FATAL) {
                *err = why;
                ok = false;
            }
            continue;
        }
        usleep(LOOK_MS * 1000);
    }
    ok = ok && (proof != PROOF_NONE || operation_forced(op, "fence") || not_proven(fencing, err));
    if (ok) {
        note_proof(fencing, proof);
    }
    free(fencing);
    return ok;
}

bool step_fence_undo(struct operation *op, struct err *err)
{
    struct acl_list entries = {.acls = NULL};
    deny_entries(json_object_get(operation_kept(op, "fence"), "denied"), &entries);
    bool ok = (entries.count == 0 || admin_acls_delete(op->target_operator, &entries, err)) &&
              take_order_back(op, err);
    acl_list_free(&entries);
    return ok;
}

bool step_fence_plan(struct operation *op, struct err *err)
{
    char principal[ACL_PRINCIPAL_BYTES + 8];
    char group[OPERATION_GROUP_BYTES];
    enum group_presence presence = GROUP_UNKNOWN;
    if (!admin_group_presence(op->target, operation_group(op, group), &presence, err)) {
        return false;
    }
    bool deniable = mirror_principal(op, principal);
    operation_say(op, "%s is %s%s", group,
                  presence == GROUP_MEMBERS   ? "at work"
                  : presence == GROUP_UNKNOWN ? "unknown"
                                              : "empty",
                  deniable ? "; who does not answer is denied Write" : "");
    return operation_keep(op, "fence",
                          json_pack("{sssbsb}", "group", group, "members",
                                    presence == GROUP_MEMBERS ? 1 : 0, "deniable",
                                    deniable ? 1 : 0),
                          err);
}
