/* See topic_map.h. Entries stand sorted by name; a take appends what is new, sorts, and drops what is gone. */
#include "kafka/topic_map.h"

#include <assert.h>

#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/topic_id.h"

#if defined(__GNUC__) && !defined(__clang__)
/* The analyzer loses sight of what an array of pointers holds, and calls it leaked; the tests run with leak checks. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define TOPIC_NAME_MAX 249 /* Kafka's own limit */
#define CLUSTER_ID_MAX 64  /* as kafka/cluster takes it */

struct topic {
    struct cluster_topic pub; /* pub.name is `name` */
    char *name;
    int16_t error;
    bool seen; /* in the answer that is being taken */
    struct cluster_leader *leaders;
};

struct topic_map {
    struct topic **topics;
    int32_t topics_count;
    int32_t topics_capacity;
    int32_t errors_count;
    char **followed; /* sorted; NULL = all */
    int32_t followed_count;
};

struct topic_map *topic_map_new(void)
{
    return must(calloc(1, sizeof(struct topic_map)));
}

static void topic_free(struct topic *topic)
{
    free(topic->name);
    free(topic->leaders);
    free(topic);
}

static void unfollow(struct topic_map *map)
{
    for (int32_t i = 0; i < map->followed_count; i++) {
        free(map->followed[i]);
    }
    free(map->followed);
    map->followed = NULL;
    map->followed_count = 0;
}

void topic_map_free(struct topic_map *map)
{
    if (map == NULL) {
        return;
    }
    for (int32_t i = 0; i < map->topics_count; i++) {
        topic_free(map->topics[i]);
    }
    free(map->topics);
    unfollow(map);
    free(map);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_topics(const void *a, const void *b)
{
    return strcmp((*(struct topic *const *)a)->name, (*(struct topic *const *)b)->name);
}

static bool followed(const struct topic_map *map, const char *name)
{
    return map->followed == NULL || bsearch(&name, map->followed, (size_t)map->followed_count,
                                            sizeof(char *), compare_texts) != NULL;
}

/* Drop the entries for which `keep` says no; the order stays. */
static void sweep(struct topic_map *map,
                  bool (*keep)(const struct topic_map *map, const struct topic *topic))
{
    int32_t kept = 0;

    for (int32_t i = 0; i < map->topics_count; i++) {
        struct topic *topic = map->topics[i];
        if (keep(map, topic)) {
            map->topics[kept++] = topic;
        } else {
            topic_free(topic);
        }
    }
    map->topics_count = kept;
}

static bool keep_followed(const struct topic_map *map, const struct topic *topic)
{
    return followed(map, topic->name);
}

static bool keep_seen(const struct topic_map *map, const struct topic *topic)
{
    return map->followed != NULL || topic->seen;
}

void topic_map_follow(struct topic_map *map, const char *const *names, int32_t count)
{
    char **copies = NULL;

    if (names != NULL) {
        copies = must(calloc((size_t)count + 1, sizeof(char *)));
        for (int32_t i = 0; i < count; i++) {
            copies[i] = must(strdup(names[i]));
        }
        qsort(copies, (size_t)count, sizeof(char *), compare_texts);
    }
    unfollow(map);
    map->followed = copies;
    map->followed_count = names == NULL ? 0 : count;
    sweep(map, keep_followed);
}

const char *const *topic_map_followed(const struct topic_map *map, int32_t *out_count)
{
    *out_count = map->followed_count;
    return (const char *const *)map->followed;
}

/* --- taking an answer ------------------------------------------------------------------------------------------ */

static bool check_topic(const struct metadata_topic *topic, struct err *err)
{
    if (topic->name.len < 1 || topic->name.len > TOPIC_NAME_MAX ||
        memchr(topic->name.data, '\0', (size_t)topic->name.len) != NULL) {
        return err_set(err, ERR_RETRY, "metadata: a topic with a name of %d bytes",
                       topic->name.len);
    }
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        int32_t index = topic->partitions[i].index;
        if (index < 0 || index >= topic->partitions_count) {
            return err_set(err, ERR_RETRY, "metadata: partition %d among %d of topic '%.*s'", index,
                           topic->partitions_count, topic->name.len, topic->name.data);
        }
    }
    return true;
}

/* Among the first `count`, which are sorted. */
static struct topic *find(const struct topic_map *map, int32_t count, const char *name)
{
    int32_t low = 0;
    int32_t high = count;

    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = strcmp(map->topics[middle]->name, name);
        if (order == 0) {
            return map->topics[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static struct topic *append(struct topic_map *map, const char *name)
{
    struct topic *topic = must(calloc(1, sizeof(*topic)));

    if (map->topics_count == map->topics_capacity) {
        map->topics_capacity = map->topics_capacity == 0 ? 64 : 2 * map->topics_capacity;
        map->topics =
            must(realloc(map->topics, (size_t)map->topics_capacity * sizeof(struct topic *)));
    }
    topic->name = must(strdup(name));
    topic->pub.name = topic->name;
    map->topics[map->topics_count++] = topic;
    return topic;
}

static void resize(struct topic *topic, int32_t count)
{
    int32_t had = topic->pub.partitions_count;

    if (count <= had) {
        return;
    }
    topic->leaders = must(realloc(topic->leaders, (size_t)count * sizeof(*topic->leaders)));
    for (int32_t i = had; i < count; i++) {
        topic->leaders[i] = (struct cluster_leader){.broker = -1, .epoch = -1};
    }
    topic->pub.partitions_count = count;
}

/* Epoch -1 = the answer does not know it: taken as it is. Without an id of its own (`by_name`) the topic may have been
 * created again, and its epochs begin anew: an older answer costs a refused request. */
static void take_leader(struct cluster_leader *leader, const struct metadata_partition *partition,
                        bool by_name)
{
    if (partition->leader_epoch != -1 && partition->leader_epoch < leader->epoch && !by_name) {
        return; /* from before what we know */
    }
    leader->broker = partition->leader < 0 ? -1 : partition->leader;
    leader->replicas_count = partition->replicas_count;
    if (partition->leader_epoch != -1) {
        leader->epoch = partition->leader_epoch;
    }
}

static struct uuid id_of(const struct topic *topic, const struct uuid *told, const char *cluster_id)
{
    bool known = !uuid_is_zero(&topic->pub.id);
    if (!uuid_is_zero(told)) {
        return *told;
    }
    return known ? topic->pub.id : topic_id_of_name(cluster_id, topic->name);
}

static void take_topic(struct topic *topic, const struct metadata_topic *answer,
                       const char *cluster_id)
{
    topic->seen = true;
    topic->error = answer->error;
    if (answer->error != KAFKA_NONE) {
        return; /* what is known of its leaders stays: it may be another moment's answer */
    }
    struct uuid id = id_of(topic, &answer->id, cluster_id);
    if (topic_id_other(&topic->pub.id, &id)) { /* created again: nothing of before counts */
        topic->pub.partitions_count = 0;
    }
    topic->pub.id = id;
    resize(topic, answer->partitions_count);
    for (int32_t i = 0; i < answer->partitions_count; i++) {
        take_leader(&topic->leaders[answer->partitions[i].index], &answer->partitions[i],
                    topic_id_is_of_name(&id));
    }
}

/* Sorted again, each name once (a broker that lists a topic twice is not worth a second entry). */
static void settle(struct topic_map *map)
{
    int32_t kept = 0;

    sweep(map, keep_seen);
    if (map->topics_count > 0) {
        qsort(map->topics, (size_t)map->topics_count, sizeof(struct topic *), compare_topics);
    }
    map->errors_count = 0;
    for (int32_t i = 0; i < map->topics_count; i++) {
        struct topic *topic = map->topics[i];
        if (kept > 0 && strcmp(map->topics[kept - 1]->name, topic->name) == 0) {
            topic_free(topic);
            continue;
        }
        if (!topic->seen) {
            topic->error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        }
        map->errors_count += topic->error != KAFKA_NONE;
        map->topics[kept++] = topic;
    }
    map->topics_count = kept;
}

bool topic_map_take(struct topic_map *map, const struct metadata *metadata, struct err *err)
{
    int32_t sorted_count = map->topics_count;
    char cluster_id[CLUSTER_ID_MAX];

    snprintf(cluster_id, sizeof(cluster_id), "%.*s",
             metadata->cluster_id.len < 0 ? 0 : metadata->cluster_id.len,
             metadata->cluster_id.len < 0 ? "" : metadata->cluster_id.data);
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        if (!check_topic(&metadata->topics[i], err)) {
            return false;
        }
    }
    for (int32_t i = 0; i < map->topics_count; i++) {
        map->topics[i]->seen = false;
    }
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        const struct metadata_topic *answer = &metadata->topics[i];
        char name[TOPIC_NAME_MAX + 1];
        memcpy(name, answer->name.data, (size_t)answer->name.len);
        name[answer->name.len] = '\0';
        if (followed(map, name)) {
            struct topic *topic = find(map, sorted_count, name);
            take_topic(topic != NULL ? topic : append(map, name), answer, cluster_id);
        }
    }
    settle(map);
    return true;
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

const struct cluster_topic *topic_map_find(const struct topic_map *map, const char *name)
{
    const struct topic *topic = find(map, map->topics_count, name);
    return topic == NULL || topic->error != KAFKA_NONE ? NULL : &topic->pub;
}

const struct cluster_topic *topic_map_at(const struct topic_map *map, int32_t index)
{
    if (map->errors_count == 0) { /* the usual case; a walk over all topics stays linear */
        return index >= 0 && index < map->topics_count ? &map->topics[index]->pub : NULL;
    }
    for (int32_t i = 0; i < map->topics_count; i++) {
        if (map->topics[i]->error == KAFKA_NONE && index-- == 0) {
            return &map->topics[i]->pub;
        }
    }
    return NULL;
}

struct cluster_leader topic_map_leader(const struct topic_map *map, const char *name,
                                       int32_t partition)
{
    const struct topic *topic = find(map, map->topics_count, name);

    if (topic == NULL || topic->error != KAFKA_NONE || partition < 0 ||
        partition >= topic->pub.partitions_count) {
        return (struct cluster_leader){.broker = -1, .epoch = -1};
    }
    return topic->leaders[partition];
}

int16_t topic_map_error(const struct topic_map *map, const char *name)
{
    const struct topic *topic = find(map, map->topics_count, name);
    return topic == NULL ? KAFKA_NONE : topic->error;
}

bool topic_map_leaderless(const struct topic_map *map)
{
    for (int32_t i = 0; i < map->topics_count; i++) {
        const struct topic *topic = map->topics[i];
        for (int32_t k = 0; topic->error == KAFKA_NONE && k < topic->pub.partitions_count; k++) {
            if (topic->leaders[k].broker < 0) {
                return true;
            }
        }
    }
    return false;
}
