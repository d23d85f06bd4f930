#include "failover/positions.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/acl.h"
#include "kafka/topic_id.h"
#include "offsets/offset_store.h"

#define HIDDEN_ASKED 32  /* one question each; the others stay unknown */
#define GROUP_BYTES  256 /* "ferry-" and three names of 64 bytes at most */

/* --- rows --------------------------------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const struct position *left = a;
    const struct position *right = b;
    int order = strcmp(left->topic, right->topic);
    return order != 0 ? order
                      : (left->partition > right->partition) - (left->partition < right->partition);
}

static struct position *add_row(struct positions *positions, const char *topic, int32_t partition)
{
    if (positions->count == positions->room) {
        positions->room = positions->room == 0 ? 64 : positions->room * 2;
        positions->rows =
            must(reallocarray(positions->rows, positions->room, sizeof(*positions->rows)));
    }
    struct position *row = &positions->rows[positions->count++];
    *row = (struct position){
        .partition = partition, .source_begin = -1, .source_end = -1, .source_stable = -1};
    snprintf(row->topic, sizeof(row->topic), "%s", topic);
    return row;
}

void positions_settle(struct positions *positions)
{
    size_t kept = 0;
    if (positions->count > 0) {
        qsort(positions->rows, positions->count, sizeof(*positions->rows), compare_places);
    }
    for (size_t i = 0; i < positions->count; i++) {
        struct position *row = &positions->rows[i];
        struct position *last = kept == 0 ? NULL : &positions->rows[kept - 1];
        if (last == NULL || compare_places(last, row) != 0) {
            positions->rows[kept++] = *row;
        } else if (row->placed && (!last->placed || checkpoint_newer(&row->at, &last->at))) {
            *last = *row;
        }
    }
    positions->count = kept;
}

struct position *positions_find(const struct positions *positions, const char *topic,
                                int32_t partition)
{
    struct position key = {.partition = partition};
    snprintf(key.topic, sizeof(key.topic), "%s", topic);
    return positions->count == 0 ? NULL
                                 : bsearch(&key, positions->rows, positions->count,
                                           sizeof(*positions->rows), compare_places);
}

void positions_free(struct positions *positions)
{
    free(positions->rows);
    positions->rows = NULL;
    positions->count = positions->room = 0;
}

int64_t position_held(const struct position *position)
{
    bool known = position->source_begin >= 0 && position->source_end >= position->source_begin;
    return known ? position->source_end - position->source_begin : -1;
}

int64_t position_to_go(const struct position *position)
{
    if (!position->placed) {
        bool known = position->source_begin >= 0 && position->source_stable >= 0;
        return known ? position->source_stable - position->source_begin : -1;
    }
    bool known = position->source_stable >= position->at.source_next;
    return known ? position->source_stable - position->at.source_next : -1;
}

int64_t position_held_back(const struct position *position)
{
    bool known = position->placed && position->source_stable >= 0 &&
                 position->source_end > position->source_stable;
    bool at_it = known && position->at.source_next >= position->source_stable;
    return at_it ? position->source_end - position->at.source_next : 0;
}

int64_t position_lag(const struct position *position)
{
    if (!position->placed) {
        return position_held(position); /* all of it, if nobody knows better */
    }
    /* A mirror ahead of its source: the source lost records, and what it got since is not counted by offsets. */
    bool known = position->source_end >= position->at.source_next;
    return known ? position->source_end - position->at.source_next : -1;
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* May it be a topic's name? What is none does not come from Kafka. */
static bool topic_ok(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    return len > 0 && len < POSITION_TOPIC_BYTES && strspn(name, letters) == len;
}

struct collect {
    struct positions *positions;
    const struct config_service *service;
};

static void collect_one(struct positions *positions, const struct config_service *service,
                        const char *origin, const char *topic, int32_t partition,
                        const struct checkpoint *at)
{
    /* A topic that the patterns named before a change of the configuration is not ours any more. */
    if (partition >= 0 && topic_ok(topic) && config_patterns_match(&service->topics, topic)) {
        struct position *row = add_row(positions, topic, partition);
        row->placed = true;
        row->at = *at;
        row->origin = origin;
    }
}

static bool from_redis(void *arg, const char *topic, int32_t partition,
                       const struct checkpoint *checkpoint)
{
    struct collect *collect = arg;
    collect_one(collect->positions, collect->service, "redis", topic, partition, checkpoint);
    return true;
}

static void ask_redis(struct positions *positions, const struct positions_doors *doors)
{
    struct collect collect = {positions, doors->service};
    struct err *err = &positions->redis_err;
    if (doors->redis == NULL) {
        *err = doors->redis_err;
        return;
    }
    struct offset_view *view =
        offset_view_new(doors->redis, doors->to->redis->prefix, doors->service->name,
                        doors->from->name, doors->to->name);
    if (offset_view_each_checkpoint(view, from_redis, &collect, err)) {
        err_clear(err); /* a value of one field that is none says nothing about Redis */
    }
    offset_view_free(view);
}

static void ask_group(struct positions *positions, const struct positions_doors *doors)
{
    struct err *err = &positions->group_err;
    char group[GROUP_BYTES];
    struct admin_group_offset *offsets = NULL;
    size_t count = 0;
    snprintf(group, sizeof(group), "ferry-%s-%s-%s", doors->service->name, doors->from->name,
             doors->to->name);
    if (doors->target == NULL) {
        *err = doors->target_err;
        return;
    }
    if (!admin_group_offsets(doors->target, group, &offsets, &count, err)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = offsets[i].metadata;
        struct checkpoint at;
        if (text != NULL && checkpoint_parse(text, strlen(text), &at, NULL)) {
            collect_one(positions, doors->service, "group", offsets[i].topic, offsets[i].partition,
                        &at);
        }
    }
    admin_group_offsets_free(offsets, count);
}

/* --- the source --------------------------------------------------------------------------------------------------- */

static void add_topic(struct positions *positions, const struct positions *placed,
                      const struct admin_topic *topic)
{
    for (int32_t partition = 0; partition < topic->partitions_count; partition++) {
        struct position *row = add_row(positions, topic->name, partition);
        const struct position *known = positions_find(placed, topic->name, partition);
        if (known == NULL) {
            continue;
        }
        row->of_other_topic = topic_id_other(&topic->id, &known->at.source_topic_id);
        row->placed = !row->of_other_topic;
        row->at = known->at;
        row->origin = known->origin;
    }
}

static bool is_listed(const struct admin_topic *topics, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(topics[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Is it gone? Only the source's own word about this very name says so. */
static bool is_gone(struct positions *all, struct admin *source, const char *name)
{
    struct admin_topic topic;
    struct err err = {0};
    if (!admin_describe_topic(source, name, &topic, &err)) {
        bool unknown = err.kind == ERR_REFUSED && err.code == 3; /* UNKNOWN_TOPIC_OR_PARTITION */
        all->hidden_err = unknown ? all->hidden_err : err;
        return unknown;
    }
    return false; /* made this moment: unknown is right until the next look */
}

/* `placed` is sorted, so one question a topic. */
static void keep_hidden(struct positions *all, const struct positions *placed, struct admin *source,
                        const struct admin_topic *topics, size_t count)
{
    const char *asked = "";
    bool gone = false;
    size_t asked_count = 0;
    for (size_t i = 0; i < placed->count; i++) {
        const struct position *row = &placed->rows[i];
        if (is_listed(topics, count, row->topic)) {
            continue;
        }
        if (strcmp(asked, row->topic) != 0) {
            asked = row->topic;
            gone = asked_count++ < HIDDEN_ASKED && is_gone(all, source, row->topic);
        }
        if (!gone) {
            struct position *kept = add_row(all, row->topic, row->partition);
            *kept = *row;
            kept->source_begin = kept->source_end = kept->source_stable = -1;
            kept->hidden = true;
        }
    }
}

static bool ask_topics(struct positions *positions, const struct positions_doors *doors,
                       struct err *err)
{
    struct admin_topic *topics = NULL;
    size_t count = 0;
    struct admin *source = doors->source;
    if (source == NULL) {
        *err = doors->source_err;
        return false;
    }
    if (!admin_list_topics(source, &topics, &count, err)) {
        return false;
    }
    struct positions all = {.rows = NULL};
    for (size_t i = 0; i < count; i++) {
        if (config_patterns_match(&doors->service->topics, topics[i].name)) {
            add_topic(&all, positions, &topics[i]);
        }
    }
    keep_hidden(&all, positions, source, topics, count);
    positions->hidden_err = all.hidden_err;
    free(topics);
    positions_free(positions);
    positions->rows = all.rows;
    positions->count = all.count;
    positions->room = all.room;
    positions_settle(positions);
    return true;
}

static void take_offsets(struct positions *positions, enum admin_offset_spec spec,
                         const struct admin_offset *offsets)
{
    size_t next = 0;
    for (size_t i = 0; i < positions->count; i++) {
        struct position *row = &positions->rows[i];
        if (row->hidden) {
            continue;
        }
        int64_t offset = offsets[next].error == 0 ? offsets[next].offset : -1;
        *(spec == OFFSET_SPEC_EARLIEST ? &row->source_begin
          : spec == OFFSET_SPEC_STABLE ? &row->source_stable
                                       : &row->source_end) = offset;
        next++;
    }
}

static bool ask_offsets(struct positions *positions, struct admin *source,
                        enum admin_offset_spec spec, struct err *err)
{
    struct admin_offset *offsets = must(calloc(positions->count + 1, sizeof(*offsets)));
    size_t count = 0;
    for (size_t i = 0; i < positions->count; i++) {
        const struct position *row = &positions->rows[i];
        if (!row->hidden) {
            offsets[count++] = (struct admin_offset){
                .topic = row->topic, .partition = row->partition, .offset = -1};
        }
    }
    bool ok = admin_list_offsets(source, spec, offsets, count, err);
    if (ok) {
        take_offsets(positions, spec, offsets);
    }
    free(offsets);
    return ok;
}

/* A source that shows nothing of the service may have nothing, or hide it: which of both is not known. */
static void doubt_nothing(struct positions *positions, const struct positions_doors *doors)
{
    char principal[ACL_PRINCIPAL_BYTES];
    char pattern[256];
    char text[ACL_LACKS_BYTES];
    if (positions->count > 0 || positions->source_err.kind != ERR_NONE) {
        return;
    }
    snprintf(pattern, sizeof(pattern), "%s", doors->service->topics.include[0].text);
    if (pattern[0] != '*') {
        pattern[strcspn(pattern, "*")] = '\0'; /* as its ACL is named */
    }
    acl_principal(&doors->from->kafka, principal);
    err_set(&positions->hidden_err, ERR_REFUSED,
            "%s shows no topic of the service: there is none, or %.500s", doors->from->name,
            acl_lacks(principal, ACL_READ, ACL_TOPIC, pattern, text));
}

void positions_read(struct positions *positions, const struct positions_doors *doors)
{
    struct err *err = &positions->source_err;
    *positions = (struct positions){.rows = NULL};
    ask_redis(positions, doors);
    ask_group(positions, doors);
    positions_settle(positions);
    if (ask_topics(positions, doors, err) &&
        ask_offsets(positions, doors->source, OFFSET_SPEC_EARLIEST, err) &&
        ask_offsets(positions, doors->source, OFFSET_SPEC_STABLE, err)) {
        /* Last, so that the lag is never below the truth. */
        ask_offsets(positions, doors->source, OFFSET_SPEC_LATEST, err);
    }
    doubt_nothing(positions, doors);
}
