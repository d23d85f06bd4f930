#include "mirror/topic_sync.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "kafka/error.h"
#include "mirror/topic_follow.h"
#include "mirror/topic_memory.h"

/* A setting that changes is followed within 7 s; with more than 250 topics later, since a turn of 2 s takes one request of
 * 512 KiB a side at most: 5,000 topics take 100 s. */
#define RECHECK_MS       5000
#define RECHECKS_AT_ONCE ADMIN_SETTINGS_TOPICS
#define CREATE_AT_ONCE \
    50 /* a controller creates some 100 topics/s, so a request stays below its time limit */
#define UNLISTED_ASKED 16 /* one describe each, ~5 ms; the others wait for the next turn */
#define REPLICAS_MAX   3
#define NEWS_MOST      100 /* of a turn; the log has all */
/* Of Kafka's protocol. */
#define CODE_INVALID_CONFIG   40
#define CODE_INVALID_REQUEST  42
#define CODE_POLICY_VIOLATION 44

/* ---- one turn ----------------------------------------------------------------------------------------------- */

struct work { /* beside each pair */
    const struct remembered *before;
    bool create;
    bool check;
    bool checked; /* now */
    struct admin_topic_config source;
    struct admin_topic_config target;
    struct topic_changes changes; /* forced; of a creation: all */
    struct topic_changes follows;
    json_t *drifts; /* of this check; NULL = not checked */
    bool bare;      /* the target did not take it with the source's settings: created without */
};

struct turn {
    const struct config_service *service;
    struct admin *source;
    struct admin *target;
    struct topic_memory *memory;
    const struct topic_hooks *hooks;
    int64_t now_ms;
    struct admin_topic *source_topics;
    size_t source_count;
    struct admin_topic *target_topics;
    size_t target_count;
    struct topic_pair *pairs;
    struct work *works;
    size_t count;
    size_t created_count;
};

static void turn_done(struct turn *turn)
{
    for (size_t i = 0; turn->works && i < turn->count; i++) {
        admin_settings_free(turn->works[i].source.settings, turn->works[i].source.settings_count);
        admin_settings_free(turn->works[i].target.settings, turn->works[i].target.settings_count);
        topic_changes_done(&turn->works[i].changes);
        topic_changes_done(&turn->works[i].follows);
        json_decref(turn->works[i].drifts);
    }
    free(turn->works);
    free(turn->pairs);
    free(turn->source_topics);
    free(turn->target_topics);
}

static int topic_by_name(const void *a, const void *b)
{
    return strcmp(((const struct admin_topic *)a)->name, ((const struct admin_topic *)b)->name);
}

static int pair_by_name(const void *a, const void *b)
{
    return strcmp(((const struct topic_pair *)a)->name, ((const struct topic_pair *)b)->name);
}

static const struct admin_topic *target_find(const struct turn *turn, const char *name)
{
    struct admin_topic key = {0};
    snprintf(key.name, sizeof(key.name), "%s", name);
    return turn->target_count == 0 ? NULL
                                   : bsearch(&key, turn->target_topics, turn->target_count,
                                             sizeof(*turn->target_topics), topic_by_name);
}

static bool pair_exists(const struct turn *turn, const char *name)
{
    struct topic_pair key = {0};
    snprintf(key.name, sizeof(key.name), "%s", name);
    return turn->count > 0 &&
           bsearch(&key, turn->pairs, turn->count, sizeof(*turn->pairs), pair_by_name);
}

/* ---- what the source does not list any more ------------------------------------------------------------------ */

/* Its copy stays, and is named until it goes, too, or the source has such a topic again. */
static void note_gone(struct turn *turn, const struct remembered *before)
{
    const struct admin_topic *twin = target_find(turn, before->name);
    char since[CLOCK_TEXT_BYTES];
    char source_id[UUID_TEXT_BYTES];
    char target_id[UUID_TEXT_BYTES];
    log_warn("topic.source_deleted",
             "topic=%s why=\"the source has no such topic any more\" doing=%s", before->name,
             twin ? "\"its copy stays, nothing is mirrored into it any more\"" : "nothing");
    if (twin) {
        clock_rfc3339(clock_wall_ms(clock_system()), since);
        json_object_set_new(turn->memory->gone, before->name,
                            json_pack("{s:s, s:s, s:s}", "source_id",
                                      uuid_hex(&before->source_id, source_id), "target_id",
                                      uuid_hex(&twin->id, target_id), "since", since));
    }
}

/* Access that was taken away also hides topics from the list, and so may a broker that has just started: only the
 * source's word about this very name ends its mirroring, two turns in a row: a topic that is being created again keeps
 * its place, and its partitions their owners. */
static bool unlisted_is_gone(struct turn *turn, const struct remembered *before, bool may_ask,
                             struct topic_pair *out)
{
    *out = (struct topic_pair){.source_id = before->source_id,
                               .source_partitions = before->partitions};
    memcpy(out->name, before->name, sizeof(out->name));
    struct admin_topic topic;
    struct err err = {0};
    if (may_ask && !admin_describe_topic(turn->source, before->name, &topic, &err)) {
        out->gone_once = err.kind == ERR_REFUSED && err.code == KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        if (out->gone_once && before->gone_once) {
            note_gone(turn, before);
            return true;
        }
        snprintf(out->warning, sizeof(out->warning), "the source does not list it: %.200s",
                 err.what);
    }
    const struct admin_topic *twin = target_find(turn, before->name);
    if (twin) {
        out->target_id = twin->id;
        out->target_partitions = twin->partitions_count;
        out->target_replicas = twin->replication_factor;
    }
    return !twin; /* gone on both sides, or never there: nothing to keep */
}

static void keep_unlisted(struct turn *turn)
{
    const struct topic_memory *memory = turn->memory;
    struct topic_pair *pairs =
        realloc(turn->pairs, (turn->count + memory->topics_count + 1) * sizeof(*pairs));
    assert(pairs);
    turn->pairs = pairs;
    size_t count = turn->count; /* pair_exists() looks at the sorted part only */
    size_t asked_count = 0;
    for (size_t i = 0; i < memory->topics_count; i++) {
        const struct remembered *before = &memory->topics[i];
        if (!before->listed || pair_exists(turn, before->name) ||
            !config_patterns_match(&turn->service->topics, before->name)) {
            continue;
        }
        if (!unlisted_is_gone(turn, before, asked_count++ < UNLISTED_ASKED, &pairs[count])) {
            count++;
        }
    }
    turn->count = count;
    if (count > 0) {
        qsort(pairs, count, sizeof(*pairs), pair_by_name);
    }
}

/* ---- what is to be done -------------------------------------------------------------------------------------- */

static const struct uuid *target_id(void *arg, const char *topic)
{
    const struct admin_topic *there = target_find(arg, topic);
    return there ? &there->id : NULL;
}

/* What was forced on a topic that is not there any more is nothing to give back. */
static void drop_stale(struct turn *turn)
{
    const char *name;
    void *next;
    json_t *entry;
    topic_memory_drop_stale(turn->memory, target_id, turn);
    json_object_foreach_safe(turn->memory->gone, next, name, entry)
    {
        if (pair_exists(turn, name) || !config_patterns_match(&turn->service->topics, name)) {
            json_object_del(turn->memory->gone, name);
        }
    }
}

/* Two services would write it twice. One that mirrors it already goes on: a new service must not stop an old one. */
static void refuse_shared(const struct turn *turn, const struct remembered *before,
                          struct topic_pair *pair)
{
    const char *rival = config_service_rival(turn->service, pair->name);
    if (rival) {
        bool ours = before && before->listed && uuid_equal(&before->target_id, &pair->target_id);
        snprintf(
            ours ? pair->warning : pair->problem, sizeof(pair->problem),
            "service \"%.100s\" takes it too and has a site in common: exclude it in one of them",
            rival);
    }
}

static int oldest_first(const void *a, const void *b)
{
    int64_t left = (*(struct work *const *)a)->before->checked_ms;
    int64_t right = (*(struct work *const *)b)->before->checked_ms;
    return left < right ? -1 : left > right;
}

/* Of those that were checked before and are due again, the oldest. */
static void decide_rechecks(struct turn *turn)
{
    struct work **due = calloc(turn->count + 1, sizeof(struct work *));
    size_t count = 0;
    assert(due);
    for (size_t i = 0; i < turn->count; i++) {
        struct work *work = &turn->works[i];
        if (!work->create && !work->check && !turn->pairs[i].problem[0] &&
            turn->now_ms - work->before->checked_ms >= RECHECK_MS) {
            due[count++] = work;
        }
    }
    qsort(due, count, sizeof(struct work *), oldest_first);
    for (size_t i = 0; i < count && i < RECHECKS_AT_ONCE; i++) {
        due[i]->check = true;
    }
    free(due);
}

static void decide(struct turn *turn)
{
    turn->works = calloc(turn->count + 1, sizeof(*turn->works));
    assert(turn->works);
    for (size_t i = 0; i < turn->count; i++) {
        struct topic_pair *pair = &turn->pairs[i];
        struct work *work = &turn->works[i];
        const struct remembered *before = topic_memory_find(turn->memory, pair->name);
        bool same = topic_memory_same(before, pair);
        refuse_shared(turn, before, pair);
        work->before = before;
        work->create = uuid_is_zero(&pair->target_id) && !pair->problem[0];
        work->check = !work->create && !pair->problem[0] && (!same || before->checked_ms < 0);
    }
    decide_rechecks(turn);
}

/* Was its first check passed already? Then it goes on through what may fail now. */
static bool stands(const struct turn *turn, size_t i)
{
    const struct remembered *before = turn->works[i].before;
    return before && before->checked_ms >= 0 && before->listed &&
           uuid_equal(&before->target_id, &turn->pairs[i].target_id);
}

static void trouble(struct turn *turn, size_t i, const struct err *err)
{
    struct topic_pair *pair = &turn->pairs[i];
    char *text = stands(turn, i) ? pair->warning : pair->problem;
    snprintf(text, sizeof(pair->problem), "%.255s", err->what);
}

/* ---- settings ----------------------------------------------------------------------------------------------- */

/* Read the settings of those that `wanted` picks, in few requests, into each work's config. */
static void read_settings(struct turn *turn, bool of_source)
{
    struct admin_topic_config *configs = calloc(turn->count + 1, sizeof(*configs));
    assert(configs);
    size_t count = 0;
    for (size_t i = 0; i < turn->count; i++) {
        const struct work *work = &turn->works[i];
        if (work->check || (of_source && work->create)) {
            configs[count++].topic = turn->pairs[i].name;
        }
    }
    if (count > 0) {
        admin_topics_settings(of_source ? turn->source : turn->target, configs, count);
    }
    size_t next = 0;
    for (size_t i = 0; i < turn->count; i++) {
        struct work *work = &turn->works[i];
        if (work->check || (of_source && work->create)) {
            *(of_source ? &work->source : &work->target) = configs[next++];
        }
    }
    free(configs);
}

/* Which names the target knows: asked of any topic there (the control topic, at least), once. */
static void learn_known(struct turn *turn)
{
    struct topic_memory *memory = turn->memory;
    if (memory->known || turn->target_count == 0) {
        return;
    }
    struct err err = {0};
    if (!admin_topic_settings(turn->target, turn->target_topics[0].name, &memory->known,
                              &memory->known_count, &err)) {
        log_debug("topic.names_unknown", "topic=%s why=%s", turn->target_topics[0].name,
                  log_quote(err.what).text);
    }
}

static struct topic_settings settings_of(const struct admin_topic_config *config)
{
    bool there = config->err.kind == ERR_NONE && config->settings;
    return (struct topic_settings){there ? config->settings : NULL,
                                   there ? config->settings_count : 0};
}

static void plan_creation(struct turn *turn, size_t i)
{
    struct work *work = &turn->works[i];
    struct topic_settings source = settings_of(&work->source);
    if (!source.list) {
        /* Created without them, a compacted topic would be deleted from by time. */
        err_wrap(&work->source.err, "not created, the source topic's settings cannot be read");
        trouble(turn, i, &work->source.err);
        work->create = false;
        return;
    }
    const struct topic_memory *memory = turn->memory;
    topic_plan_creation(turn->service, source,
                        (struct topic_settings){memory->known, memory->known_count},
                        &work->changes);
}

static void plan_follow(struct turn *turn, size_t i)
{
    struct work *work = &turn->works[i];
    const char *name = turn->pairs[i].name;
    const struct topic_follow follow = {
        .service = turn->service,
        .source = settings_of(&work->source),
        .target = settings_of(&work->target),
        .target_replicas = turn->pairs[i].target_replicas,
        .ours = topic_plan_looks_ours(settings_of(&work->target),
                                      topic_memory_forced(turn->memory, name)),
        .forced = topic_memory_forced(turn->memory, name),
        .synced = topic_memory_synced(turn->memory, name),
        .refused = topic_memory_refused(turn->memory, name, turn->now_ms)};
    /* Before a term nothing is recorded, so nothing is changed. */
    if (turn->hooks->record && follow.source.list) {
        topic_follow_plan(&follow, &work->follows, &work->drifts);
    }
}

static void plan_check(struct turn *turn, size_t i)
{
    struct topic_pair *pair = &turn->pairs[i];
    struct work *work = &turn->works[i];
    struct topic_settings target = settings_of(&work->target);
    if (!target.list) {
        err_wrap(&work->target.err, "the target topic's settings cannot be read");
        trouble(turn, i, &work->target.err);
        return;
    }
    if (work->source.err.kind != ERR_NONE) {
        snprintf(pair->warning, sizeof(pair->warning),
                 "max.message.bytes is not compared, the source's settings cannot be read: %.150s",
                 work->source.err.what);
    }
    plan_follow(turn, i);
    topic_plan_existing(settings_of(&work->source), target,
                        topic_memory_forced(turn->memory, pair->name), &work->changes);
    work->checked = true;
    if (topic_changes_any_set(&work->changes) && !turn->hooks->record) {
        struct err err = {0};
        err_set(&err, ERR_REFUSED, "its settings at the target are not forced yet (%s=%s, ...)",
                work->changes.list[0].name, work->changes.list[0].value);
        trouble(turn, i, &err);
        topic_changes_done(&work->changes);
        work->checked = false;
    }
}

static void plan(struct turn *turn)
{
    bool any_create = false;
    for (size_t i = 0; i < turn->count; i++) {
        any_create |= turn->works[i].create;
    }
    if (any_create) {
        learn_known(turn);
    }
    for (size_t i = 0; i < turn->count; i++) {
        if (turn->works[i].create) {
            plan_creation(turn, i);
        } else if (turn->works[i].check) {
            plan_check(turn, i);
        }
    }
}

/* Into memory, from where the records are built. */
static void note_planned(struct turn *turn)
{
    for (size_t i = 0; i < turn->count; i++) {
        const struct topic_pair *pair = &turn->pairs[i];
        topic_memory_note(turn->memory, pair->name, &pair->target_id, &turn->works[i].changes);
        topic_memory_note(turn->memory, pair->name, &pair->target_id, &turn->works[i].follows);
    }
}

/* ---- the outcome -------------------------------------------------------------------------------------------- */

static void put_known(json_t *of_topics, const char *topic, json_t *settings)
{
    if (settings) {
        json_object_set(of_topics, topic, settings);
    }
}

/* What is recorded. */
static void build(const struct turn *turn, struct topic_sync *out)
{
    *out = (struct topic_sync){.pairs_count = turn->count};
    out->pairs = calloc(turn->count + 1, sizeof(*out->pairs));
    assert(out->pairs);
    if (turn->count > 0) {
        memcpy(out->pairs, turn->pairs, turn->count * sizeof(*out->pairs));
    }
    json_t *forced = json_object();
    json_t *synced = json_object();
    json_t *ids = json_object();
    const char *name;
    json_t *entry;
    json_object_foreach (turn->memory->kept, name, entry) {
        put_known(forced, name, json_object_get(entry, "forced"));
        put_known(synced, name, json_object_get(entry, "synced"));
        json_object_set(ids, name, json_object_get(entry, "target_id"));
    }
    out->forced_json = json_text(forced);
    out->synced_json = json_text(synced);
    out->target_ids_json = json_text(ids);
    out->gone_json = json_text(turn->memory->gone);
    json_decref(forced);
    json_decref(synced);
    json_decref(ids);
}

/* ---- what stays different ------------------------------------------------------------------------------------ */

static void add_drift(struct topic_sync *out, const char *topic, json_t *row)
{
    out->drifts_count++;
    if (json_array_size(out->drifts) < TOPIC_ROWS_MOST) {
        json_t *copy = json_deep_copy(row); /* it goes to another thread */
        json_object_set_new(copy, "topic", json_string(topic));
        json_array_append_new(out->drifts, copy);
    }
}

static void add_partitions_drift(struct topic_sync *out, const struct topic_pair *pair)
{
    char source[16];
    char target[16];
    snprintf(source, sizeof(source), "%d", pair->source_partitions);
    snprintf(target, sizeof(target), "%d", pair->target_partitions);
    json_t *row =
        topic_drift("partitions", source, target, pair->problem[0] ? pair->problem : pair->warning);
    add_drift(out, pair->name, row);
    json_decref(row);
}

static void build_drifts(const struct turn *turn, struct topic_sync *out)
{
    out->drifts = json_array();
    for (size_t i = 0; i < turn->count; i++) {
        const struct topic_pair *pair = &turn->pairs[i];
        int64_t before = out->drifts_count;
        size_t at;
        json_t *row;
        if (!uuid_is_zero(&pair->target_id) && pair->source_partitions != pair->target_partitions) {
            add_partitions_drift(out, pair);
        }
        json_array_foreach (json_object_get(turn->memory->drifts, pair->name), at, row) {
            add_drift(out, pair->name, row);
        }
        out->drifted_count += out->drifts_count > before;
    }
}

/* News is told once. */
static void build_outcome(struct turn *turn, struct topic_sync *out)
{
    build(turn, out);
    build_drifts(turn, out);
    out->news = turn->memory->news;
    turn->memory->news = json_array();
}

/* ---- acts --------------------------------------------------------------------------------------------------- */

static bool alters(const struct work *work)
{
    return !work->create &&
           (topic_changes_any_set(&work->changes) || topic_changes_any_set(&work->follows));
}

/* Topics that were not mirrored yet stay out of the record until their settings are forced. */
static bool record_intent(struct turn *turn, struct err *err)
{
    bool any = false;
    struct topic_sync planned;
    build(turn, &planned);
    for (size_t i = 0; i < turn->count; i++) {
        if (alters(&turn->works[i])) {
            any = true;
            if (!stands(turn, i)) {
                snprintf(planned.pairs[i].problem, sizeof(planned.pairs[i].problem),
                         "being set up");
            }
        }
    }
    bool ok = !any || (turn->hooks->may_act(turn->hooks->arg, err) &&
                       turn->hooks->record(turn->hooks->arg, &planned, err));
    topic_sync_done(&planned);
    return ok;
}

/* A value, a policy of the target's operator, or two settings that exclude each other; not the name, not our rights. */
static bool refuses_settings(const struct err *err)
{
    return err->code == CODE_INVALID_CONFIG || err->code == CODE_INVALID_REQUEST ||
           err->code == CODE_POLICY_VIOLATION;
}

static void create_told(struct turn *turn, size_t i, const struct err *err)
{
    struct topic_pair *pair = &turn->pairs[i];
    struct work *work = &turn->works[i];
    if (err->kind != ERR_NONE) {
        topic_memory_drop(turn->memory, pair->name);
        work->bare = !work->bare && refuses_settings(err);
        if (work->bare) { /* once more without; the next turn finds out which one it was */
            topic_changes_keep_forced(&work->changes);
        } else {
            trouble(turn, i, err);
            topic_changes_done(&work->changes);
        }
        return;
    }
    turn->created_count++;
    /* Else the next turn looks what it got. */
    work->checked = turn->memory->known != NULL && !work->bare;
    log_info("topic.created", "topic=%s partitions=%d", pair->name, pair->source_partitions);
}

/* Pairs [*next..) as far as one request goes. @param bare  those that were refused with the source's settings */
static bool create_some(struct turn *turn, bool bare, size_t *next, int32_t replicas,
                        struct err *err)
{
    struct admin_new_topic wants[CREATE_AT_ONCE];
    const char **settings[CREATE_AT_ONCE];
    size_t who[CREATE_AT_ONCE];
    struct err errs[CREATE_AT_ONCE];
    size_t count = 0;
    for (; *next < turn->count && count < CREATE_AT_ONCE; (*next)++) {
        if (!turn->works[*next].create || turn->works[*next].bare != bare) {
            continue;
        }
        settings[count] = topic_changes_pairs(&turn->works[*next].changes);
        wants[count] =
            (struct admin_new_topic){turn->pairs[*next].name, turn->pairs[*next].source_partitions,
                                     replicas, settings[count]};
        errs[count] = (struct err){0};
        who[count++] = *next;
    }
    bool ok = count == 0 || turn->hooks->may_act(turn->hooks->arg, err);
    if (ok && count > 0) {
        admin_create_topics(turn->target, wants, count, errs);
    }
    for (size_t i = 0; i < count; i++) {
        if (ok) {
            create_told(turn, who[i], &errs[i]);
        }
        free(settings[i]);
    }
    return ok;
}

static bool create_all(struct turn *turn, bool bare, int32_t replicas, struct err *err)
{
    size_t next = 0;
    while (next < turn->count) {
        if (!create_some(turn, bare, &next, replicas, err)) {
            return false;
        }
    }
    return true;
}

/* The new topics' ids, and what others made of them. */
static bool relist(struct turn *turn, struct err *err)
{
    free(turn->target_topics);
    turn->target_topics = NULL;
    turn->target_count = 0;
    if (!admin_list_topics(turn->target, &turn->target_topics, &turn->target_count, err)) {
        return false;
    }
    if (turn->target_count > 0) {
        qsort(turn->target_topics, turn->target_count, sizeof(*turn->target_topics), topic_by_name);
    }
    for (size_t i = 0; i < turn->count; i++) {
        struct topic_pair *pair = &turn->pairs[i];
        const struct admin_topic *twin = target_find(turn, pair->name);
        if (turn->works[i].create && twin) {
            pair->target_id = twin->id;
            pair->target_partitions = twin->partitions_count;
            pair->target_replicas = twin->replication_factor;
            topic_pair_judge(pair);
        }
    }
    return true;
}

static bool create(struct turn *turn, struct err *err)
{
    size_t next = 0;
    while (next < turn->count && !turn->works[next].create) {
        next++;
    }
    if (next == turn->count) {
        return true;
    }
    char cluster_id[64];
    int32_t brokers_count = 0;
    if (!admin_cluster_id(turn->target, cluster_id, &brokers_count, err)) {
        return false;
    }
    int32_t replicas = brokers_count < REPLICAS_MAX ? brokers_count : REPLICAS_MAX;
    if (!create_all(turn, false, replicas > 0 ? replicas : 1, err) ||
        !create_all(turn, true, replicas > 0 ? replicas : 1, err)) {
        return false;
    }
    if (turn->created_count > 0 && !relist(turn, err)) {
        return false;
    }
    note_planned(turn); /* again, under the new topics' ids */
    return true;
}

static bool grow(struct turn *turn, struct err *err)
{
    for (size_t i = 0; i < turn->count; i++) {
        struct topic_pair *pair = &turn->pairs[i];
        if (pair->problem[0] || uuid_is_zero(&pair->target_id) ||
            pair->target_partitions >= pair->source_partitions) {
            continue;
        }
        if (!turn->hooks->may_act(turn->hooks->arg, err)) {
            return false;
        }
        struct err why = {0};
        if (admin_grow_topic(turn->target, pair->name, pair->source_partitions, &why)) {
            log_info("topic.grown", "topic=%s partitions=%d before=%d", pair->name,
                     pair->source_partitions, pair->target_partitions);
            pair->target_partitions = pair->source_partitions;
        } else { /* those that are there go on */
            snprintf(pair->warning, sizeof(pair->warning),
                     "partitions %d to %d are missing: %.200s", pair->target_partitions,
                     pair->source_partitions - 1, why.what);
        }
    }
    return true;
}

static void force_one(struct turn *turn, size_t i)
{
    struct work *work = &turn->works[i];
    const char **settings = topic_changes_pairs(&work->changes);
    struct err why = {0};
    if (admin_alter_topic(turn->target, turn->pairs[i].name, settings, &why)) {
        for (size_t at = 0; settings[at]; at += 2) {
            log_info("topic.forced", "topic=%s setting=%s value=%s", turn->pairs[i].name,
                     settings[at], log_quote(settings[at + 1]).text);
        }
    } else {
        err_wrap(&why, "its settings cannot be forced");
        trouble(turn, i, &why);
        work->checked = false;
    }
    free(settings);
}

/* ---- acts: what follows the source --------------------------------------------------------------------------- */

static void followed(struct turn *turn, size_t i, const struct topic_change *change)
{
    const char *topic = turn->pairs[i].name;
    const char *before = topic_setting_own(settings_of(&turn->works[i].target), change->name);
    if (change->ends) {
        topic_memory_unnote(turn->memory, topic, change->name);
    }
    if (!change->set) {
        return;
    }
    log_info("topic.setting", "topic=%s setting=%s value=%s before=%s why=%s", topic, change->name,
             log_quote(change->value ? change->value : "").text,
             log_quote(before ? before : "").text,
             change->ends ? "\"the source's topic has none any more\""
                          : "\"the source's topic has it\"");
    json_t *news = json_pack("{s:s, s:s, s:s?, s:s?}", "topic", topic, "setting", change->name,
                             "before", before, "after", change->value);
    if (news && json_array_size(turn->memory->news) < NEWS_MOST) {
        json_array_append(turn->memory->news, news);
    }
    json_decref(news);
}

static void not_followed(struct turn *turn, size_t i, const struct topic_change *change,
                         const struct err *err)
{
    const char *topic = turn->pairs[i].name;
    struct work *work = &turn->works[i];
    const struct admin_setting *there = topic_setting(settings_of(&work->target), change->name);
    char why[320];
    bool refused = refuses_settings(err);
    snprintf(why, sizeof(why), "%s%.280s",
             refused ? "the target refuses it: " : "not changed: ", err->what);
    if (change->first) {
        topic_memory_unnote(turn->memory, topic, change->name);
    }
    if (refused && change->value) {
        topic_memory_refuse(turn->memory, topic, change->name, change->value, why, turn->now_ms);
    }
    log_warn("topic.setting_differs", "topic=%s setting=%s value=%s why=%s then=\"tried again\"",
             topic, change->name, log_quote(change->value ? change->value : "").text,
             log_quote(why).text);
    json_array_append_new(
        work->drifts, topic_drift(change->name, change->value, there ? there->value : NULL, why));
}

/* The first `count` of these changes in one request. */
static bool try_changes(struct turn *turn, size_t i, struct topic_change *changes, size_t count,
                        struct err *why)
{
    struct topic_changes some = {changes, count};
    const char **settings = topic_changes_pairs(&some);
    bool ok = !settings[0] || admin_alter_topic(turn->target, turn->pairs[i].name, settings, why);
    free(settings);
    return ok;
}

/* All at once; when the target does not take that, one by one, so that one stops no other. */
static bool follow_one(struct turn *turn, size_t i, struct err *err)
{
    struct topic_changes *follows = &turn->works[i].follows;
    struct err why = {0};
    bool whole = try_changes(turn, i, follows->list, follows->count, &why);
    bool each = !whole && refuses_settings(&why);
    for (size_t at = 0; at < follows->count; at++) {
        struct topic_change *change = &follows->list[at];
        bool done = whole || !change->set;
        if (each && change->set) {
            why = (struct err){0};
            if (!turn->hooks->may_act(turn->hooks->arg, err)) {
                return false;
            }
            done = try_changes(turn, i, change, 1, &why);
        }
        if (done) {
            followed(turn, i, change);
        } else {
            not_followed(turn, i, change, &why);
        }
    }
    return true;
}

static bool alter_one(struct turn *turn, size_t i, struct err *err)
{
    if (topic_changes_any_set(&turn->works[i].changes)) {
        force_one(turn, i);
    }
    return turn->pairs[i].problem[0] || follow_one(turn, i, err);
}

static bool alter(struct turn *turn, struct err *err)
{
    for (size_t i = 0; i < turn->count; i++) {
        const struct work *work = &turn->works[i];
        if (work->create || turn->pairs[i].problem[0] ||
            work->changes.count + work->follows.count == 0) {
            continue;
        }
        if ((alters(work) && !turn->hooks->may_act(turn->hooks->arg, err)) ||
            !alter_one(turn, i, err)) {
            return false;
        }
    }
    return true;
}

/* ---- afterwards --------------------------------------------------------------------------------------------- */

static uint32_t told_hash(const struct topic_pair *pair)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *text = pair->problem; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    }
    for (const char *text = pair->warning; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    }
    return hash;
}

/* Each trouble once, not each two seconds. */
static void tell(const struct topic_pair *pair, const struct remembered *before, uint32_t hash)
{
    if (before ? before->told_hash == hash : !pair->problem[0] && !pair->warning[0]) {
        return;
    }
    if (pair->problem[0]) {
        log_warn("topic.not_mirrored", "topic=%s why=%s then=\"looked at again each turn\"",
                 pair->name, log_quote(pair->problem).text);
    } else if (pair->warning[0]) {
        log_warn("topic.incomplete", "topic=%s why=%s then=\"mirrored as it is\"", pair->name,
                 log_quote(pair->warning).text);
    } else {
        log_info("topic.fine", "topic=%s", pair->name);
    }
}

/* Those of topics that were not checked now are as they were. */
static void remember_drifts(struct turn *turn)
{
    json_t *drifts = json_object();
    for (size_t i = 0; i < turn->count; i++) {
        const char *name = turn->pairs[i].name;
        json_t *rows = turn->works[i].drifts ? turn->works[i].drifts
                                             : json_object_get(turn->memory->drifts, name);
        if (json_array_size(rows) > 0) {
            json_object_set(drifts, name, rows);
        }
    }
    json_decref(turn->memory->drifts);
    turn->memory->drifts = drifts;
}

static void remember(struct turn *turn)
{
    struct remembered *topics = calloc(turn->count + 1, sizeof(*topics));
    assert(topics);
    for (size_t i = 0; i < turn->count; i++) {
        const struct topic_pair *pair = &turn->pairs[i];
        const struct work *work = &turn->works[i];
        struct remembered *now = &topics[i];
        memcpy(now->name, pair->name, sizeof(now->name));
        now->source_id = pair->source_id;
        now->target_id = pair->target_id;
        now->partitions = pair->source_partitions;
        now->listed = !pair->problem[0] && !uuid_is_zero(&pair->target_id);
        bool same = topic_memory_same(work->before, pair);
        now->checked_ms = work->checked ? turn->now_ms : same ? work->before->checked_ms : -1;
        now->gone_once = pair->gone_once;
        now->told_hash = told_hash(pair);
        tell(pair, work->before, now->told_hash);
    }
    free(turn->memory->topics);
    turn->memory->topics = topics;
    turn->memory->topics_count = turn->count;
}

/* A created topic whose settings could not be chosen by the target's names waits for its check. */
static void hold_unchecked(struct turn *turn)
{
    for (size_t i = 0; i < turn->count; i++) {
        struct topic_pair *pair = &turn->pairs[i];
        const struct work *work = &turn->works[i];
        if (work->create && !work->checked && !pair->problem[0]) {
            snprintf(pair->problem, sizeof(pair->problem),
                     "just created, checked at the next turn");
        }
    }
}

static bool list(struct turn *turn, struct err *err)
{
    if (!admin_list_topics(turn->source, &turn->source_topics, &turn->source_count, err) ||
        !admin_list_topics(turn->target, &turn->target_topics, &turn->target_count, err)) {
        return false;
    }
    topic_plan_pairs(&turn->service->topics, turn->source_topics, turn->source_count,
                     turn->target_topics, turn->target_count, &turn->pairs, &turn->count);
    keep_unlisted(turn);
    drop_stale(turn);
    decide(turn);
    return true;
}

bool topic_sync_run(const struct config_service *service, struct admin *source,
                    struct admin *target, struct topic_memory *memory,
                    const struct topic_hooks *hooks, int64_t now_ms, struct topic_sync *out,
                    struct err *err)
{
    struct turn turn = {.service = service,
                        .source = source,
                        .target = target,
                        .memory = memory,
                        .hooks = hooks,
                        .now_ms = now_ms};
    bool ok = list(&turn, err);
    if (ok) {
        read_settings(&turn, true);
        read_settings(&turn, false);
        plan(&turn);
        note_planned(&turn);
    }
    ok = ok && record_intent(&turn, err) && create(&turn, err) && grow(&turn, err) &&
         alter(&turn, err);
    if (ok) {
        hold_unchecked(&turn);
        remember(&turn);
        remember_drifts(&turn);
        build_outcome(&turn, out);
    }
    turn_done(&turn);
    return ok;
}
