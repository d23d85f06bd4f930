#include "mirror/topic_sync.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "kafka/error.h"
#include "kafka/topic_id.h"
#include "mirror/topic_sync_inside.h"

/* A setting that changes is followed within 7 s; with more than 250 topics later, since a turn of 2 s takes one request of
 * 512 KiB a side at most: 5,000 topics take 100 s. */
#define RECHECK_MS       5000
#define RECHECKS_AT_ONCE ADMIN_SETTINGS_TOPICS
#define UNLISTED_ASKED   16 /* one describe each, ~5 ms; the others wait for the next turn */

/* ---- one turn ---------------------------------------------------------------------------------------------------- */

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
        text_print(out->warning, sizeof(out->warning), "the source does not list it: %s", err.what);
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
        bool ours =
            before && before->listed && !topic_id_other(&before->target_id, &pair->target_id);
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

bool turn_stands(const struct turn *turn, size_t i)
{
    const struct remembered *before = turn->works[i].before;
    return before && before->checked_ms >= 0 && before->listed &&
           !topic_id_other(&before->target_id, &turn->pairs[i].target_id);
}

void turn_trouble(struct turn *turn, size_t i, const struct err *err)
{
    struct topic_pair *pair = &turn->pairs[i];
    char *text = turn_stands(turn, i) ? pair->warning : pair->problem;
    text_print(text, sizeof(pair->problem), "%s", err->what);
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

static void plan_creation(struct turn *turn, size_t i)
{
    struct work *work = &turn->works[i];
    struct topic_settings source = settings_of(&work->source);
    if (!source.list) {
        /* Created without them, a compacted topic would be deleted from by time. */
        err_wrap(&work->source.err, "not created, the source topic's settings cannot be read");
        turn_trouble(turn, i, &work->source.err);
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
        turn_trouble(turn, i, &work->target.err);
        return;
    }
    if (work->source.err.kind != ERR_NONE) {
        text_print(pair->warning, sizeof(pair->warning),
                   "max.message.bytes is not compared, the source's settings cannot be read: %s",
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
        turn_trouble(turn, i, &err);
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

void turn_note_planned(struct turn *turn)
{
    for (size_t i = 0; i < turn->count; i++) {
        const struct topic_pair *pair = &turn->pairs[i];
        topic_memory_note(turn->memory, pair->name, &pair->target_id, &turn->works[i].changes);
        topic_memory_note(turn->memory, pair->name, &pair->target_id, &turn->works[i].follows);
    }
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

bool turn_list_again(struct turn *turn, struct err *err)
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
        turn_note_planned(&turn);
    }
    ok = ok && turn_record_intent(&turn, err) && turn_create(&turn, err) && turn_grow(&turn, err) &&
         turn_alter(&turn, err);
    if (ok) {
        hold_unchecked(&turn);
        remember(&turn);
        remember_drifts(&turn);
        turn_outcome(&turn, out);
    }
    turn_done(&turn);
    return ok;
}
