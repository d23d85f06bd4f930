/* What follows from the target's brokers: room, number, names; and from groups that have members there. */
#include <string.h>

#include "failover/preflight_inside.h"
#include "kafka/error.h"

#define ROOM_LEAST_BYTES   ((int64_t)256 << 20) /* below it a segment of 1 GiB does not end */
#define ROOM_LEAST_PERCENT 10
/* What Apache Kafka's own operators advise for a broker; more makes elections and restarts slow. */
#define PARTITIONS_A_BROKER 4000

/* Of the group's leader among the workers, when another one joins: its CPU time grows with the square of the partitions, and it
 * sends no heartbeat meanwhile (kafka/README.md). 13 s of 10,000 on a busy machine. */
#define SESSION_MOST_S       300 /* of mirror.session_timeout */
#define ASSIGN_S(partitions) (13.0 * (double)(partitions) * (double)(partitions) / 1e8)

static const char *to_name(const struct preflight *preflight)
{
    return preflight->in.to->name;
}

/* The target did not answer: told under its own name already. */
static bool silent(const struct preflight *preflight, struct preflight_list *out,
                   enum preflight_check check)
{
    if (preflight->target != NULL && preflight->target->known) {
        return false;
    }
    if (preflight->target == NULL) {
        preflight_late(preflight, out, check, to_name(preflight));
    } else {
        preflight_unknown(out, check, to_name(preflight), &preflight->target->err);
    }
    return true;
}

static double gib(int64_t bytes)
{
    return (double)bytes / (double)((int64_t)1 << 30);
}

/* --- room ----------------------------------------------------------------------------------------------------------- */

struct room {
    struct preflight_names full;
    struct preflight_names little;
    struct preflight_names offline;
    int64_t least_bytes; /* -1 = nobody said */
    int64_t least_total;
    size_t silent;
};

static void count_dir(const struct preflight_dir *dir, struct room *room)
{
    if (dir->error != KAFKA_NONE) {
        preflight_name_add(&room->offline, "broker %d: %.199s (%s)", dir->broker, dir->path,
                           kafka_error_name(dir->error));
        return;
    }
    if (dir->usable_bytes < 0 || dir->total_bytes <= 0) {
        room->silent++;
        return;
    }
    if (room->least_bytes < 0 || dir->usable_bytes < room->least_bytes) {
        room->least_bytes = dir->usable_bytes;
        room->least_total = dir->total_bytes;
    }
    if (dir->usable_bytes < ROOM_LEAST_BYTES) {
        preflight_name_add(&room->full, "broker %d: %.199s (%.2f GiB)", dir->broker, dir->path,
                           gib(dir->usable_bytes));
    } else if (dir->usable_bytes < dir->total_bytes / 100 * ROOM_LEAST_PERCENT) {
        preflight_name_add(&room->little, "broker %d: %.199s (%.1f GiB of %.1f)", dir->broker,
                           dir->path, gib(dir->usable_bytes), gib(dir->total_bytes));
    }
}

static void tell_room(const struct preflight *preflight, struct room *room,
                      struct preflight_list *out)
{
    if (room->full.count > 0) {
        preflight_tell(out, PREFLIGHT_CAPACITY, PREFLIGHT_REFUSED,
                       "%.100s: log directories without room for what clients write: %s",
                       to_name(preflight), preflight_names_text(&room->full));
        preflight_hint(out, "make room, or shorten retention there: docs/check.md#capacity");
    }
    if (room->offline.count > 0) {
        preflight_tell(out, PREFLIGHT_CAPACITY, PREFLIGHT_WARNING,
                       "%.100s: log directories that are offline: %s", to_name(preflight),
                       preflight_names_text(&room->offline));
        preflight_hint(out, "what they held lacks a replica: docs/check.md#capacity");
    }
    if (room->little.count > 0) {
        preflight_tell(out, PREFLIGHT_CAPACITY, PREFLIGHT_WARNING,
                       "%.100s: log directories with less than %d %% free: %s", to_name(preflight),
                       ROOM_LEAST_PERCENT, preflight_names_text(&room->little));
        preflight_hint(out, "docs/check.md#capacity");
    }
    if (preflight->target->dirs_err.kind != ERR_NONE) {
        preflight_unknown(out, PREFLIGHT_CAPACITY, "room in the target's log directories",
                          &preflight->target->dirs_err);
    } else if (room->silent > 0) {
        preflight_tell(out, PREFLIGHT_CAPACITY, PREFLIGHT_UNKNOWN,
                       "room in %zu log directories of %.100s: its brokers do not say (Kafka "
                       "before 3.3)",
                       room->silent, to_name(preflight));
    } else if (room->full.count + room->offline.count + room->little.count == 0) {
        preflight_tell(out, PREFLIGHT_CAPACITY, PREFLIGHT_OK,
                       "%.100s: at least %.1f of %.1f GiB free in each of %zu log directories",
                       to_name(preflight), gib(room->least_bytes), gib(room->least_total),
                       preflight->target->dirs_count);
    }
}

static void tell_brokers(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_cluster *target = preflight->target;
    const struct preflight_cluster *source = preflight->source;
    size_t brokers = target->brokers_count;
    if (brokers > 0 && target->replicas_count / (int64_t)brokers > PARTITIONS_A_BROKER) {
        preflight_tell(
            out, PREFLIGHT_CAPACITY, PREFLIGHT_WARNING,
            "%.100s: %lld partitions a broker, replicas included; advised are %d at most",
            to_name(preflight), (long long)(target->replicas_count / (int64_t)brokers),
            PARTITIONS_A_BROKER);
        preflight_hint(out, "docs/check.md#capacity");
    }
    if (source != NULL && source->known && brokers < source->brokers_count) {
        preflight_tell(out, PREFLIGHT_CAPACITY, PREFLIGHT_WARNING,
                       "%.100s has %zu brokers, %.100s has %zu: can it take all of the load?",
                       to_name(preflight), brokers, preflight->in.from->name,
                       source->brokers_count);
        preflight_hint(out, "docs/check.md#capacity");
    }
}

static int64_t partitions_of(const struct preflight_cluster *cluster)
{
    int64_t count = 0;
    for (size_t i = 0; cluster != NULL && cluster->known && i < cluster->topics_count; i++) {
        count += cluster->topics[i].parts_count;
    }
    return count;
}

/* Twice what the assignment takes, and what the send deadline is earlier than the end of the session. */
static int64_t session_for(int64_t partitions, const struct config_limits *limits)
{
    int64_t needed_ms = (int64_t)(2000 * ASSIGN_S(partitions)) + limits->tcp_user_timeout_ms + 2000;
    return (needed_ms + 999) / 1000;
}

/* While the leader assigns it is silent: past its send deadline it writes nothing, past its session it begins anew. */
static void tell_assignment(const struct preflight *preflight, struct preflight_list *out)
{
    const struct config_limits *limits = &preflight->in.config->limits;
    int64_t of_source = partitions_of(preflight->source);
    int64_t of_target = partitions_of(preflight->target);
    int64_t partitions = of_source > of_target ? of_source : of_target;
    int64_t session_s = session_for(partitions, limits);
    if (session_s * 1000 <= limits->session_timeout_ms) {
        return;
    }
    preflight_tell(
        out, PREFLIGHT_CAPACITY, PREFLIGHT_WARNING,
        "%lld partitions in one service: each worker that joins stops one of the others for about "
        "%.0f s, and mirror.session_timeout is %.0f s",
        (long long)partitions, ASSIGN_S(partitions), (double)limits->session_timeout_ms / 1e3);
    if (session_s > SESSION_MOST_S) {
        preflight_hint(out, "divide the service: docs/check.md#capacity");
    } else {
        preflight_hint(out,
                       "\"mirror\": {\"session_timeout\": \"%llds\"}, or divide the service: "
                       "docs/check.md#capacity",
                       (long long)session_s);
    }
}

void preflight_tell_capacity(const struct preflight *preflight, struct preflight_list *out)
{
    struct room room = {.least_bytes = -1};
    if (silent(preflight, out, PREFLIGHT_CAPACITY)) {
        return;
    }
    for (size_t i = 0; i < preflight->target->dirs_count; i++) {
        count_dir(&preflight->target->dirs[i], &room);
    }
    tell_brokers(preflight, out);
    tell_assignment(preflight, out);
    tell_room(preflight, &room, out);
}

/* --- names ---------------------------------------------------------------------------------------------------------- */

void preflight_tell_advertised(const struct preflight *preflight, struct preflight_list *out)
{
    struct preflight_names nowhere = {.count = 0};
    struct preflight_names unknown = {.count = 0};
    const char *why = "no answer in time";
    if (silent(preflight, out, PREFLIGHT_ADVERTISED)) {
        return;
    }
    for (size_t i = 0; i < preflight->target->brokers_count; i++) {
        const struct preflight_broker *broker = &preflight->target->brokers[i];
        if (broker->looked && broker->resolves) {
            continue;
        }
        if (broker->looked && broker->nowhere) {
            preflight_name_add(&nowhere, "%.255s (broker %d)", broker->host, broker->id);
        } else {
            preflight_name_add(&unknown, "%.255s (broker %d)", broker->host, broker->id);
            why = broker->looked ? broker->why : why;
        }
    }
    if (nowhere.count > 0) {
        preflight_tell(out, PREFLIGHT_ADVERTISED, PREFLIGHT_REFUSED,
                       "%.100s sends clients to names without an address: %s", to_name(preflight),
                       preflight_names_text(&nowhere));
        preflight_hint(out, "advertised.listeners of these brokers, or the zone: "
                            "docs/check.md#advertised");
    }
    if (unknown.count > 0) {
        preflight_tell(out, PREFLIGHT_ADVERTISED, PREFLIGHT_UNKNOWN,
                       "addresses of names that %.100s sends clients to: %s: %s",
                       to_name(preflight), preflight_names_text(&unknown), why);
        out->list[out->count - 1].unreachable = true;
    }
    if (nowhere.count + unknown.count == 0) {
        preflight_tell(out, PREFLIGHT_ADVERTISED, PREFLIGHT_OK,
                       "%.100s: all %zu brokers have addresses, seen from here", to_name(preflight),
                       preflight->target->brokers_count);
    }
}

/* --- groups --------------------------------------------------------------------------------------------------------- */

/* Without Describe on the cluster only those are listed that we may describe; for which there is an ACL where their commits are
 * carried (its lack is told as such). */
static bool hidden(const struct preflight *preflight)
{
    return preflight->target->dirs_err.kind == ERR_REFUSED && !preflight->in.service->groups_commit;
}

void preflight_tell_groups(const struct preflight *preflight, struct preflight_list *out)
{
    struct preflight_names names = {.count = 0};
    const char *service = preflight->in.service->name;
    if (silent(preflight, out, PREFLIGHT_GROUPS)) {
        return;
    }
    for (size_t i = 0; i < preflight->target->groups_count; i++) {
        const struct preflight_group *group = &preflight->target->groups[i];
        /* One of which nothing is known may be ours. */
        if (group->concerns || group->commits == 0) {
            preflight_name_add(&names, "%.255s (%.31s)", group->name, group->state);
        }
    }
    if (names.count > 0) {
        preflight_tell(out, PREFLIGHT_GROUPS, PREFLIGHT_WARNING,
                       "%zu groups have members at %.100s: they stay where they are, nothing is "
                       "committed for them: %s",
                       names.count, to_name(preflight), preflight_names_text(&names));
        preflight_hint(out, "stop their members there, or leave them: ferry offsets show %s",
                       service);
    }
    if (preflight->target->groups_err.kind != ERR_NONE) {
        preflight_unknown(out, PREFLIGHT_GROUPS, "groups with members at the target",
                          &preflight->target->groups_err);
    } else if (names.count == 0 && hidden(preflight)) {
        preflight_tell(
            out, PREFLIGHT_GROUPS, PREFLIGHT_UNKNOWN,
            "groups with members at %.100s: those that exist are not shown to us: %.200s",
            to_name(preflight), preflight->target->dirs_err.what);
        preflight_hint(out, "%s", preflight->target->dirs_err.hint);
    } else if (names.count == 0) {
        preflight_tell(out, PREFLIGHT_GROUPS, PREFLIGHT_OK,
                       "no group of the service has members at %.100s", to_name(preflight));
    }
}
