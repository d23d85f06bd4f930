/* The target's Redis: does it answer, does it take writes, may it forget, does its clock agree with ours? It is never waited for in an operation:
 * offsets stand in Kafka too, as old as the last round.
 */
#include <hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "failover/preflight_inside.h"

/* Times in reports and events are each host's own; nothing is decided by comparing them. */
#define CLOCK_APART_MS 5000

/* --- asking ---------------------------------------------------------------------------------------------------------- */

static void take_policy(struct preflight_redis *out, const struct redisReply *reply)
{
    static const char field[] = "maxmemory_policy:";
    const char *policy = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, field) : NULL;
    if (policy != NULL) {
        policy += strlen(field);
        snprintf(out->policy, sizeof(out->policy), "%.*s", (int)strcspn(policy, "\r\n"), policy);
    }
}

static void take_clock(struct preflight_redis *out, const struct redisReply *reply, int64_t sent_ms)
{
    bool time = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                reply->element[0]->type == REDIS_REPLY_STRING &&
                reply->element[1]->type == REDIS_REPLY_STRING;
    if (!time) {
        return;
    }
    int64_t theirs_ms = strtoll(reply->element[0]->str, NULL, 10);
    int64_t us = strtoll(reply->element[1]->str, NULL, 10);
    int64_t now_ms = clock_wall_ms(clock_system());
    if (theirs_ms > 0 && theirs_ms < INT64_MAX / 2000 && us >= 0 && us < 1000000) {
        theirs_ms = theirs_ms * 1000 + us / 1000;
        out->apart_ms = (sent_ms + now_ms) / 2 - theirs_ms;
        out->clock_known = true;
    }
}

/* What workers and failovers write, it would refuse as well. */
static void try_write(const struct preflight *preflight, struct preflight_redis *out)
{
    char *key = NULL;
    if (asprintf(&key, "%s{%s}:status", preflight->in.to->redis->prefix,
                 preflight->in.service->name) < 0) {
        abort();
    }
    (void)!redis_sync_takes_writes(preflight->in.redis, key, &out->err);
    free(key);
}

void preflight_ask_redis(struct preflight *preflight, size_t index)
{
    static const char *memory[] = {"INFO", "memory"};
    static const char *time[] = {"TIME"};
    struct preflight_redis *out = must(calloc(1, sizeof(*out)));
    struct redisReply *reply;
    (void)index;
    if ((reply = redis_sync_call(preflight->in.redis, 2, memory, NULL, &out->err)) != NULL) {
        take_policy(out, reply);
        freeReplyObject(reply);
    }
    int64_t sent_ms = clock_wall_ms(clock_system());
    if (out->err.kind == ERR_NONE &&
        (reply = redis_sync_call(preflight->in.redis, 1, time, NULL, &out->err)) != NULL) {
        take_clock(out, reply, sent_ms);
        freeReplyObject(reply);
        try_write(preflight, out);
    }
    preflight_publish(preflight, &preflight->redis, out, free);
}

/* --- what follows ---------------------------------------------------------------------------------------------------- */

static void tell_away(struct preflight_list *out, const struct err *err)
{
    preflight_unknown(out, PREFLIGHT_REDIS,
                      "Redis: a failover goes on without it, from the offsets that stand at the "
                      "target",
                      err);
}

void preflight_tell_redis(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_redis *redis = preflight->redis;
    if (preflight->in.to->redis == NULL) {
        preflight_tell(out, PREFLIGHT_REDIS, PREFLIGHT_WARNING,
                       "the target's site has no Redis: no offset is translated, no group is moved "
                       "exactly");
        preflight_hint(out, "sites.%.100s.redis", preflight->in.to->name);
    } else if (preflight->in.redis == NULL && preflight->in.redis_err != NULL) {
        tell_away(out, preflight->in.redis_err);
    } else if (redis == NULL) {
        preflight_late(preflight, out, PREFLIGHT_REDIS, "Redis");
    } else if (redis->err.kind != ERR_NONE) {
        tell_away(out, &redis->err);
    } else if (strncmp(redis->policy, "allkeys-", 8) == 0) {
        preflight_tell(out, PREFLIGHT_REDIS, PREFLIGHT_REFUSED,
                       "Redis may evict keys (%s): a map with holes would be wrong", redis->policy);
        preflight_hint(out, "CONFIG SET maxmemory-policy noeviction");
    } else if (redis->policy[0] == '\0') {
        preflight_tell(out, PREFLIGHT_REDIS, PREFLIGHT_UNKNOWN,
                       "Redis answers, and does not say whether it evicts keys");
    } else {
        preflight_tell(out, PREFLIGHT_REDIS, PREFLIGHT_OK,
                       "Redis answers, takes writes, and evicts nothing of ours");
    }
}

/* Brokers tell their time to nobody. */
void preflight_tell_clock(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_redis *redis = preflight->redis;
    if (redis == NULL || !redis->clock_known) {
        preflight_tell(out, PREFLIGHT_CLOCK, PREFLIGHT_UNKNOWN,
                       "whether this host's clock is right: %s",
                       preflight->in.to->redis == NULL ? "there is no Redis to compare it with"
                                                       : "Redis did not tell its time");
        return;
    }
    double apart_s = (double)redis->apart_ms / 1000.0;
    if (redis->apart_ms > CLOCK_APART_MS || redis->apart_ms < -CLOCK_APART_MS) {
        preflight_tell(out, PREFLIGHT_CLOCK, PREFLIGHT_WARNING,
                       "this host's clock and Redis's are %.0f s apart: times in reports mislead, "
                       "signatures of name servers may be refused",
                       apart_s);
        preflight_hint(out, "see to time synchronisation on both hosts");
    } else {
        preflight_tell(out, PREFLIGHT_CLOCK, PREFLIGHT_OK,
                       "this host's clock and Redis's agree (%.1f s apart)", apart_s);
    }
}
