#include "mirror/topic_sync.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "kafka/error.h"
#include "mirror/topic_memory.h"

#define RECHECK_MS \
    60000 /* settings drift rarely; 5,000 topics * 2 KiB of answer a minute are 170 KiB/s */
#define CREATE_AT_ONCE \
    50 /* a controller creates some 100 topics/s, so a request stays below its time limit */
#define UNLISTED_ASKED 16 /* one describe each, ~5 ms; the others wait for the next turn */
#define REPLICAS_MAX   3

/* ---- one turn ----------------------------------------------------------------------------------------------- */

struct work { /* beside each pair */
    const struct remembered *before;
    bool create;
    bool check;
    bool checked; /* now */
    struct admin_topic_config source;
    struct admin_topic_config target;
    struct topic_changes changes;
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
            log_info("topic.gone", "topic=%s why=\"the source has no such topic any more\"",
                     before->name);
            return true;
        }
        snprintf(out->warning, sizeof(out->warning), "the source does not list it: %.200s",
                 err.what);
    }
    const struct admin_topic *twin = target_find(turn, before->name);
    if (twin) {
        out->target_id = twin->id;
        out->target_partitions = twin->partitions_count;
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

/* What was forced on a topic that is not there any more is nothing to give back. */
static void forced_drop_stale(struct turn *turn)
{
    const char *name;
    void *next;
    json_t *entry;
    json_object_foreach_safe(turn->memory->forced, next, name, entry)
    {
        const struct admin_topic *there = target_find(turn, name);
        struct uuid id = {0};
        bool sane = uuid_parse_hex(json_string_value(json_object_get(entry, "target_id")), &id);
        if (!there || !sane || (!uuid_is_zero(&id) && !uuid_equal(&id, &there->id))) {
            json_object_del(turn->memory->forced, name);
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
        work->check =
            !work->create && !pair->problem[0] &&
            (!same || before->checked_ms < 0 || turn->now_ms - before->checked_ms >= RECHECK_MS);
    }
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
    topic_plan_creation(source, (struct topic_settings){memory->known, memory->known_count},
                        &work->changes);
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
static void remember_forced(struct turn *turn)
{
    for (size_t i = 0; i < turn->count; i++) {
        topic_memory_force(turn->memory, turn->pairs[i].name, &turn->pairs[i].target_id,
                           &turn->works[i].changes);
    }
}

/* ---- the outcome -------------------------------------------------------------------------------------------- */

static void build(const struct turn *turn, struct topic_sync *out)
{
    *out = (struct topic_sync){.pairs_count = turn->count};
    out->pairs = calloc(turn->count + 1, sizeof(*out->pairs));
    assert(out->pairs);
    if (turn->count > 0) {
        memcpy(out->pairs, turn->pairs, turn->count * sizeof(*out->pairs));
    }
    json_t *forced = json_object();
    json_t *ids = json_object();
    const char *name;
    json_t *entry;
    json_object_foreach (turn->memory->forced, name, entry) {
        json_object_set(forced, name, json_object_get(entry, "forced"));
        json_object_set(ids, name, json_object_get(entry, "target_id"));
    }
    out->forced_json = json_text(forced);
    out->target_ids_json = json_text(ids);
    json_decref(forced);
    json_decref(ids);
}

void topic_sync_done(struct topic_sync *sync)
{
    free(sync->pairs);
    free(sync->forced_json);
    free(sync->target_ids_json);
    *sync = (struct topic_sync){0};
}

static json_t *parse_own(const char *text)
{
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    return value ? value : json_object();
}

static json_t *record_topic(const struct topic_pair *pair, json_t *forced)
{
    char source_id[UUID_TEXT_BYTES];
    char target_id[UUID_TEXT_BYTES];
    int32_t partitions = pair->source_partitions < pair->target_partitions
                             ? pair->source_partitions
                             : pair->target_partitions;
    json_t *topic = json_pack("{s:s, s:s, s:s, s:i}", "name", pair->name, "source_id",
                              uuid_hex(&pair->source_id, source_id), "target_id",
                              uuid_hex(&pair->target_id, target_id), "partitions", partitions);
    if (forced) {
        json_object_set(topic, "forced", forced);
    }
    return topic;
}

char *topic_sync_record(const struct topic_sync *sync, int64_t epoch)
{
    json_t *kept = json_object();
    json_t *forced = parse_own(sync->forced_json);
    json_t *ids = parse_own(sync->target_ids_json);
    json_t *topics = json_array();
    for (size_t i = 0; i < sync->pairs_count; i++) {
        const struct topic_pair *pair = &sync->pairs[i];
        if (!pair->problem[0] && !uuid_is_zero(&pair->target_id)) {
            json_array_append_new(topics, record_topic(pair, json_object_get(forced, pair->name)));
            json_object_del(forced, pair->name);
        }
    }
    const char *name;
    json_t *settings;
    json_object_foreach (forced, name, settings) {
        json_object_set_new(
            kept, name,
            json_pack("{s:O, s:O}", "target_id", json_object_get(ids, name), "forced", settings));
    }
    json_t *record = json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "topics", topics);
    if (json_object_size(kept) > 0) {
        json_object_set(record, "kept", kept);
    }
    char *text = json_text(record);
    json_decref(record);
    json_decref(kept);
    json_decref(forced);
    json_decref(ids);
    return text;
}

/* ---- acts --------------------------------------------------------------------------------------------------- */

static bool alters(const struct work *work)
{
    return !work->create && topic_changes_any_set(&work->changes);
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

static void create_told(struct turn *turn, size_t i, const struct err *err)
{
    struct topic_pair *pair = &turn->pairs[i];
    if (err->kind != ERR_NONE) {
        trouble(turn, i, err);
        topic_changes_done(&turn->works[i].changes);
        json_object_del(turn->memory->forced, pair->name);
        return;
    }
    turn->created_count++;
    turn->works[i].checked = turn->memory->known != NULL; /* else the next turn looks what it got */
    log_info("topic.created", "topic=%s partitions=%d", pair->name, pair->source_partitions);
}

/* Pairs [*next..) as far as one request goes. */
static bool create_some(struct turn *turn, size_t *next, int32_t replicas, struct err *err)
{
    struct admin_new_topic wants[CREATE_AT_ONCE];
    const char **settings[CREATE_AT_ONCE];
    size_t who[CREATE_AT_ONCE];
    struct err errs[CREATE_AT_ONCE];
    size_t count = 0;
    for (; *next < turn->count && count < CREATE_AT_ONCE; (*next)++) {
        if (!turn->works[*next].create) {
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
    while (next < turn->count) {
        if (!create_some(turn, &next, replicas > 0 ? replicas : 1, err)) {
            return false;
        }
    }
    if (turn->created_count > 0 && !relist(turn, err)) {
        return false;
    }
    remember_forced(turn); /* again, under the new topics' ids */
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

static void alter_one(struct turn *turn, size_t i)
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

static bool alter(struct turn *turn, struct err *err)
{
    for (size_t i = 0; i < turn->count; i++) {
        if (!alters(&turn->works[i]) || turn->pairs[i].problem[0]) {
            continue;
        }
        if (!turn->hooks->may_act(turn->hooks->arg, err)) {
            return false;
        }
        alter_one(turn, i);
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
    forced_drop_stale(turn);
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
        remember_forced(&turn);
    }
    ok = ok && record_intent(&turn, err) && create(&turn, err) && grow(&turn, err) &&
         alter(&turn, err);
    if (ok) {
        hold_unchecked(&turn);
        remember(&turn);
        build(&turn, out);
    }
    turn_done(&turn);
    return ok;
}
