#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"
#include "mirror/topic_sync_inside.h"

#define CREATE_AT_ONCE \
    50 /* a controller creates some 100 topics/s, so a request stays below its time limit */
#define REPLICAS_MAX 3
#define NEWS_MOST    100 /* of a turn; the log has all */
/* Of Kafka's protocol. */
#define CODE_INVALID_CONFIG   40
#define CODE_INVALID_REQUEST  42
#define CODE_POLICY_VIOLATION 44

/* ---- first the record -------------------------------------------------------------------------------------------- */

static bool alters(const struct work *work)
{
    return !work->create &&
           (topic_changes_any_set(&work->changes) || topic_changes_any_set(&work->follows));
}

bool turn_record_intent(struct turn *turn, struct err *err)
{
    bool any = false;
    struct topic_sync planned;
    turn_record(turn, &planned);
    for (size_t i = 0; i < turn->count; i++) {
        if (alters(&turn->works[i])) {
            any = true;
            if (!turn_stands(turn, i)) {
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

/* ---- create ------------------------------------------------------------------------------------------------------ */

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
            turn_trouble(turn, i, err);
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

bool turn_create(struct turn *turn, struct err *err)
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
    if (turn->created_count > 0 && !turn_list_again(turn, err)) {
        return false;
    }
    turn_note_planned(turn); /* again, under the new topics' ids */
    return true;
}

/* ---- grow -------------------------------------------------------------------------------------------------------- */

bool turn_grow(struct turn *turn, struct err *err)
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
            text_print(pair->warning, sizeof(pair->warning), "partitions %d to %d are missing: %s",
                       pair->target_partitions, pair->source_partitions - 1, why.what);
        }
    }
    return true;
}

/* ---- alter: what the path needs ---------------------------------------------------------------------------------- */

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
        turn_trouble(turn, i, &why);
        work->checked = false;
    }
    free(settings);
}

/* ---- alter: what follows the source ------------------------------------------------------------------------------ */

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
    text_print(why, sizeof(why), "%s%s",
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

bool turn_alter(struct turn *turn, struct err *err)
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
