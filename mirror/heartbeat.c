#include "mirror/heartbeat.h"

#include <assert.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <hiredis.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "mirror/beat_rows.h"
#include "offsets/checkpoint.h"

#define BEAT_MS         1000
#define FAULT_REPEAT_MS 30000 /* Redis may have been flushed: what it took is told again */
#define ORDERS_A_BEAT \
    256 /* of a hash that anybody may have filled; the next beat goes on behind them */
#define ORDER_BYTES  4096
#define ORDERS_TAKEN 64 /* taken, but their deletion was not confirmed: not handed out twice */
#define KEY_BYTES \
    1024 /* prefix + service + two sites, each a short name; longer ones are cut by nobody: assert */

/* Delete only what was read: the operator may have given another order meanwhile. */
static struct redis_script order_delete_script = {
    .name = "order_delete",
    .text = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then\n"
            "  return redis.call('HDEL', KEYS[1], ARGV[1])\n"
            "end\n"
            "return 0\n",
};

/* On Redis's clock, so that whoever looks compares with the same one. */
static struct redis_script beat_seen_script = {
    .name = "beat_seen",
    .text = "local t = redis.call('TIME')\n"
            "local ms = t[1] * 1000 + math.floor(t[2] / 1000)\n"
            "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. string.format('%.0f', ms))\n"
            "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
            "return 1\n",
};
#define SEEN_KEPT_MS "604800000" /* a week without any worker */

struct fault {
    char topic[250];
    int32_t partition;
    json_t *json; /* NULL: to be cleared */
    uint64_t
        version; /* of all changes of all faults: the answer to an older one confirms nothing */
    bool in_flight;
    uint64_t sent;   /* the version that is in flight, or was last */
    int64_t told_ms; /* 0 = Redis has not taken this version */
    TAILQ_ENTRY(fault) entry;
};

struct heartbeat {
    struct loop *loop;
    struct redis *redis;
    struct heartbeat_callbacks callbacks;
    char *worker;
    char workers_key[KEY_BYTES];
    char faults_key[KEY_BYTES];
    char orders_key[KEY_BYTES];
    char roles_key[KEY_BYTES];
    char beats_key[KEY_BYTES];
    char *to;
    struct loop_timer *timer;
    TAILQ_HEAD(fault_list, fault) faults;
    void *faults_by_place; /* of tsearch(); each partition that begins clears its own */
    uint64_t versions_count;
    uint64_t taken[ORDERS_TAKEN]; /* hashes of (field, value); 0 = free */
    size_t taken_next;
    size_t orders_next; /* where the next beat begins in the hash */
    bool beat_in_flight;
    bool orders_in_flight;
    bool role_in_flight;
    bool closed;
    int32_t refs_count; /* the owner and each call under way */
};

/* ---- calls --------------------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct fault *left = a;
    const struct fault *right = b;
    if (left->partition != right->partition) {
        return left->partition < right->partition ? -1 : 1;
    }
    return strcmp(left->topic, right->topic);
}

static void fault_free(struct heartbeat *heartbeat, struct fault *fault)
{
    TAILQ_REMOVE(&heartbeat->faults, fault, entry);
    tdelete(fault, &heartbeat->faults_by_place, by_place);
    json_decref(fault->json);
    free(fault);
}

static void heartbeat_unref(struct heartbeat *heartbeat)
{
    if (--heartbeat->refs_count > 0) {
        return;
    }
    while (!TAILQ_EMPTY(&heartbeat->faults)) {
        fault_free(heartbeat, TAILQ_FIRST(&heartbeat->faults));
    }
    free(heartbeat->worker);
    free(heartbeat->to);
    free(heartbeat);
}

struct call {
    struct heartbeat *heartbeat;
    void (*done)(struct heartbeat *heartbeat, struct call *call, const struct redisReply *reply);
    char topic[250]; /* of a fault */
    int32_t partition;
    uint64_t version;
    uint64_t taken_hash; /* of an order */
};

static void call_done(void *arg, const struct redisReply *reply, const struct err *err)
{
    struct call *call = arg;
    (void)
        err; /* the door's owner logs what is wrong with Redis; here it is tried again at the next beat */
    call->done(call->heartbeat, call, reply);
    heartbeat_unref(call->heartbeat);
    free(call);
}

static struct call *call_new(struct heartbeat *heartbeat,
                             void (*done)(struct heartbeat *, struct call *,
                                          const struct redisReply *))
{
    struct call *call = calloc(1, sizeof(*call));
    assert(call);
    call->heartbeat = heartbeat;
    call->done = done;
    heartbeat->refs_count++;
    return call;
}

static void call_send(struct call *call, int argc, const char **argv)
{
    size_t lens[4];
    assert((size_t)argc <= sizeof(lens) / sizeof(lens[0]));
    for (int i = 0; i < argc; i++) {
        lens[i] = strlen(argv[i]);
    }
    redis_call(call->heartbeat->redis, argc, argv, lens, call_done, call);
}

/* ---- the worker's line ---------------------------------------------------------------------------------------- */

static void beat_done(struct heartbeat *heartbeat, struct call *call,
                      const struct redisReply *reply)
{
    (void)call;
    (void)reply;
    heartbeat->beat_in_flight = false;
}

static void seen_done(struct heartbeat *heartbeat, struct call *call,
                      const struct redisReply *reply)
{
    (void)heartbeat;
    (void)call;
    (void)reply;
}

/* @param sign  "" = at work, "-" = left in order */
static void send_seen(struct heartbeat *heartbeat, const char *sign)
{
    const char *argv[] = {heartbeat->beats_key, heartbeat->worker, sign, SEEN_KEPT_MS};
    const size_t lens[] = {strlen(argv[0]), strlen(argv[1]), strlen(argv[2]), strlen(argv[3])};
    redis_call_script(heartbeat->redis, &beat_seen_script, 1, 4, argv, lens, call_done,
                      call_new(heartbeat, seen_done));
}

static void send_beat(struct heartbeat *heartbeat)
{
    if (heartbeat->beat_in_flight) {
        return;
    }
    json_t *report = heartbeat->callbacks.report(heartbeat->callbacks.arg);
    if (!json_is_object(report)) {
        json_decref(report);
        return;
    }
    /* On our clock, so that `status` can tell how old the line is even when the worker is gone. */
    json_object_set_new(report, "time_ms",
                        json_integer(clock_wall_ms(loop_clock(heartbeat->loop))));
    beat_rows_pack(report);
    char *text = json_text(report);
    json_decref(report);
    const char *argv[] = {"HSET", heartbeat->workers_key, heartbeat->worker, text};
    heartbeat->beat_in_flight = true;
    call_send(call_new(heartbeat, beat_done), 4, argv);
    free(text);
    send_seen(heartbeat, "");
}

/* ---- faults --------------------------------------------------------------------------------------------------- */

/* NULL = none. */
static struct fault *fault_find(struct heartbeat *heartbeat, const char *topic, int32_t partition)
{
    struct fault key = {.partition = partition};
    snprintf(key.topic, sizeof(key.topic), "%s", topic);
    struct fault *const *found = tfind(&key, &heartbeat->faults_by_place, by_place);
    return found ? *found : NULL;
}

static void fault_done(struct heartbeat *heartbeat, struct call *call,
                       const struct redisReply *reply)
{
    struct fault *fault = fault_find(heartbeat, call->topic, call->partition);
    if (!fault || fault->sent != call->version) {
        return; /* of one that was forgotten meanwhile */
    }
    fault->in_flight = false;
    if (!reply || fault->version != call->version) {
        return; /* again at the next beat */
    }
    fault->told_ms = loop_now_ms(heartbeat->loop);
    if (!fault->json) {
        fault_free(heartbeat, fault);
    }
}

static void send_fault(struct heartbeat *heartbeat, struct fault *fault)
{
    char field[sizeof(fault->topic) + 16];
    snprintf(field, sizeof(field), "%s:%d", fault->topic, fault->partition);
    struct call *call = call_new(heartbeat, fault_done);
    memcpy(call->topic, fault->topic, sizeof(call->topic));
    call->partition = fault->partition;
    call->version = fault->sent = fault->version;
    fault->in_flight = true;
    if (fault->json) {
        char *text = json_text(fault->json);
        const char *argv[] = {"HSET", heartbeat->faults_key, field, text};
        call_send(call, 4, argv);
        free(text);
    } else {
        const char *argv[] = {"HDEL", heartbeat->faults_key, field};
        call_send(call, 3, argv);
    }
}

static void send_faults(struct heartbeat *heartbeat)
{
    int64_t now_ms = loop_now_ms(heartbeat->loop);
    struct fault *next;
    for (struct fault *fault = TAILQ_FIRST(&heartbeat->faults); fault; fault = next) {
        next =
            TAILQ_NEXT(fault, entry); /* an answer may come at once: a cleared fault goes with it */
        bool due = fault->told_ms == 0 || now_ms - fault->told_ms >= FAULT_REPEAT_MS;
        if (due && !fault->in_flight) {
            send_fault(heartbeat, fault);
        }
    }
}

static struct fault *fault_new(struct heartbeat *heartbeat, const char *topic, int32_t partition)
{
    struct fault *fault = must(calloc(1, sizeof(*fault)));
    snprintf(fault->topic, sizeof(fault->topic), "%s", topic);
    fault->partition = partition;
    TAILQ_INSERT_HEAD(&heartbeat->faults, fault, entry);
    must(tsearch(fault, &heartbeat->faults_by_place, by_place));
    return fault;
}

void heartbeat_fault(struct heartbeat *heartbeat, const char *topic, int32_t partition,
                     json_t *take_fault)
{
    struct fault *fault = fault_find(heartbeat, topic, partition);
    if (!fault) {
        fault = fault_new(heartbeat, topic, partition);
    }
    json_decref(fault->json);
    fault->json = take_fault;
    fault->version = ++heartbeat->versions_count;
    fault->told_ms = 0;
    if (!fault->in_flight && redis_state(heartbeat->redis) == REDIS_READY) {
        send_fault(heartbeat, fault);
    }
}

void heartbeat_forget(struct heartbeat *heartbeat, const char *topic, int32_t partition)
{
    struct fault *fault = fault_find(heartbeat, topic, partition);
    if (fault) {
        fault_free(heartbeat, fault);
    }
}

/* ---- orders --------------------------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)text[i]) * 1099511628211u; /* FNV-1a */
    }
    return hash;
}

static uint64_t order_hash(const char *field, size_t field_len, const char *value, size_t value_len)
{
    uint64_t hash = hash_text(14695981039346656037u, field, field_len);
    hash = hash_text(hash_text(hash, "", 1), value, value_len);
    return hash == 0 ? 1 : hash;
}

static uint64_t *taken_find(struct heartbeat *heartbeat, uint64_t hash)
{
    for (size_t i = 0; i < ORDERS_TAKEN; i++) {
        if (heartbeat->taken[i] == hash) {
            return &heartbeat->taken[i];
        }
    }
    return NULL;
}

static void delete_done(struct heartbeat *heartbeat, struct call *call,
                        const struct redisReply *reply)
{
    uint64_t *taken = taken_find(heartbeat, call->taken_hash);
    if (reply && taken) {
        *taken = 0; /* gone, or replaced: either way it is not seen again */
    }
}

static void order_delete(struct heartbeat *heartbeat, const char *field, size_t field_len,
                         const char *value, size_t value_len, uint64_t hash)
{
    struct call *call = call_new(heartbeat, delete_done);
    call->taken_hash = hash;
    const char *argv[] = {heartbeat->orders_key, field, value};
    size_t lens[] = {strlen(heartbeat->orders_key), field_len, value_len};
    redis_call_script(heartbeat->redis, &order_delete_script, 1, 3, argv, lens, call_done, call);
}

/* true: handed over, or garbage that nobody can take; delete it. */
static bool order_take(struct heartbeat *heartbeat, const char *field, size_t field_len,
                       const char *value, size_t value_len)
{
    char topic[TOPIC_NAME_BYTES];
    int32_t partition = 0;
    struct err err = {0};
    json_t *order = NULL;
    if (!place_parse(field, field_len, topic, &partition)) {
        err_set(&err, ERR_REFUSED, "the field is not TOPIC:PARTITION");
    } else if (value_len > ORDER_BYTES) {
        err_set(&err, ERR_REFUSED, "longer than %d bytes", ORDER_BYTES);
    } else {
        order = json_parse(value, value_len, "order", &err);
        if (order != NULL && !json_is_object(order)) {
            err_set(&err, ERR_REFUSED, "not an object");
        }
    }
    bool taken = true;
    if (err.kind != ERR_NONE) {
        log_warn("order.refused", "key=%s why=%s then=\"deleted\"", heartbeat->orders_key,
                 log_quote(err.what).text);
    } else {
        taken = heartbeat->callbacks.order(heartbeat->callbacks.arg, topic, partition, order);
    }
    json_decref(order);
    return taken;
}

static void order_arrived(struct heartbeat *heartbeat, const struct redisReply *field,
                          const struct redisReply *value)
{
    if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
        return;
    }
    uint64_t hash = order_hash(field->str, field->len, value->str, value->len);
    if (!taken_find(heartbeat, hash)) {
        if (!order_take(heartbeat, field->str, field->len, value->str, value->len)) {
            return; /* another worker's */
        }
        heartbeat->taken[heartbeat->taken_next++ % ORDERS_TAKEN] = hash;
    }
    order_delete(heartbeat, field->str, field->len, value->str, value->len, hash);
}

static void orders_done(struct heartbeat *heartbeat, struct call *call,
                        const struct redisReply *reply)
{
    (void)call;
    heartbeat->orders_in_flight = false;
    if (heartbeat->closed || !reply ||
        (reply->type != REDIS_REPLY_ARRAY && reply->type != REDIS_REPLY_MAP)) {
        return;
    }
    size_t count = reply->elements / 2;
    for (size_t i = 0; i < count && i < ORDERS_A_BEAT && !heartbeat->closed; i++) {
        size_t at = heartbeat->orders_next++ % count;
        order_arrived(heartbeat, reply->element[2 * at], reply->element[2 * at + 1]);
    }
}

static void ask_orders(struct heartbeat *heartbeat)
{
    if (heartbeat->orders_in_flight) {
        return;
    }
    const char *argv[] = {"HGETALL", heartbeat->orders_key};
    heartbeat->orders_in_flight = true;
    call_send(call_new(heartbeat, orders_done), 2, argv);
}

/* ---- the witness of roles ------------------------------------------------------------------------------------- */

static bool role_parse(const struct redisReply *reply, struct heartbeat_role *out)
{
    struct err err;
    if (reply->type != REDIS_REPLY_STRING || reply->len > ORDER_BYTES) {
        return false;
    }
    json_t *json = json_parse(reply->str, reply->len, "roles", &err);
    const char *topic_id = json_string_value(json_object_get(json, "topic_id"));
    struct heartbeat_role role = {.epoch = json_integer_value(json_object_get(json, "epoch"))};
    bool ok = role.epoch > 0 && topic_id && uuid_parse_hex(topic_id, &role.topic_id);
    json_decref(json);
    if (ok) {
        *out = role;
    }
    return ok;
}

static void role_told(struct heartbeat *heartbeat, struct call *call,
                      const struct redisReply *reply)
{
    (void)call;
    (void)reply;
    heartbeat->role_in_flight = false;
}

static void tell_role(struct heartbeat *heartbeat, const struct heartbeat_role *role)
{
    char text[200];
    char id[UUID_TEXT_BYTES];
    snprintf(text, sizeof(text), "{\"epoch\": %lld, \"topic_id\": \"%s\"}", (long long)role->epoch,
             uuid_hex(&role->topic_id, id));
    const char *argv[] = {"HSET", heartbeat->roles_key, heartbeat->to, text};
    heartbeat->role_in_flight = true;
    call_send(call_new(heartbeat, role_told), 4, argv);
}

static void role_arrived(struct heartbeat *heartbeat, struct call *call,
                         const struct redisReply *reply)
{
    struct heartbeat_role seen = {0};
    struct heartbeat_role ours;
    (void)call;
    heartbeat->role_in_flight = false;
    if (heartbeat->closed || !reply || reply->type == REDIS_REPLY_ERROR) {
        return;
    }
    if (role_parse(reply, &seen)) {
        heartbeat->callbacks.role_seen(heartbeat->callbacks.arg, &seen);
    }
    if (heartbeat->callbacks.role(heartbeat->callbacks.arg, &ours) && ours.epoch > seen.epoch) {
        tell_role(heartbeat, &ours);
    }
}

static void ask_role(struct heartbeat *heartbeat)
{
    if (heartbeat->role_in_flight) {
        return;
    }
    const char *argv[] = {"HGET", heartbeat->roles_key, heartbeat->to};
    heartbeat->role_in_flight = true;
    call_send(call_new(heartbeat, role_arrived), 3, argv);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void beat(void *arg)
{
    struct heartbeat *heartbeat = arg;
    loop_timer_set(heartbeat->timer, BEAT_MS);
    if (redis_state(heartbeat->redis) != REDIS_READY) {
        return;
    }
    heartbeat->refs_count++; /* an order's callback may free us */
    send_beat(heartbeat);
    send_faults(heartbeat);
    ask_role(heartbeat);
    ask_orders(heartbeat);
    heartbeat_unref(heartbeat);
}

static void key_make(char out[KEY_BYTES], const struct heartbeat_options *options, bool of_link,
                     const char *what)
{
    int len = of_link
                  ? snprintf(out, KEY_BYTES, "%s{%s}:%s>%s:%s", options->prefix, options->service,
                             options->from, options->to, what)
                  : snprintf(out, KEY_BYTES, "%s{%s}:%s", options->prefix, options->service, what);
    assert(len > 0 && len < KEY_BYTES); /* config bounds each name */
    (void)len;
}

struct heartbeat *heartbeat_new(struct loop *loop, struct redis *redis,
                                const struct heartbeat_options *options,
                                const struct heartbeat_callbacks *callbacks)
{
    struct heartbeat *heartbeat = calloc(1, sizeof(*heartbeat));
    assert(heartbeat && redis);
    heartbeat->loop = loop;
    heartbeat->redis = redis;
    heartbeat->callbacks = *callbacks;
    heartbeat->worker = strdup(options->worker);
    heartbeat->to = strdup(options->to);
    assert(heartbeat->worker && heartbeat->to);
    heartbeat->refs_count = 1;
    TAILQ_INIT(&heartbeat->faults);
    key_make(heartbeat->workers_key, options, false, "workers");
    key_make(heartbeat->faults_key, options, true, "faults");
    key_make(heartbeat->orders_key, options, true, "orders");
    key_make(heartbeat->roles_key, options, false, "roles");
    key_make(heartbeat->beats_key, options, true, "beats");
    heartbeat->timer = loop_timer_new(loop, beat, heartbeat);
    loop_timer_set(heartbeat->timer, 0);
    return heartbeat;
}

void heartbeat_free(struct heartbeat *heartbeat)
{
    if (!heartbeat) {
        return;
    }
    heartbeat->closed = true;
    loop_timer_free(heartbeat->timer);
    heartbeat->timer = NULL;
    heartbeat_unref(heartbeat);
}

void heartbeat_now(struct heartbeat *heartbeat)
{
    loop_timer_set(heartbeat->timer, 0);
}

void heartbeat_leave(struct heartbeat *heartbeat)
{
    loop_timer_cancel(heartbeat->timer);
    heartbeat->closed = true;
    send_seen(heartbeat, "-");
    const char *argv[] = {"HDEL", heartbeat->workers_key, heartbeat->worker};
    call_send(call_new(heartbeat, beat_done), 3, argv);
}
