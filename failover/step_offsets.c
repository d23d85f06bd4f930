/* See step_offsets.h. The cut is gathered by `freeze` and stands in the journal; the same process keeps it for the two rows behind,
 * another one makes it from there. What is done is seen at the target: the hint names the operation.
 *
 * Evidence. freeze: cut_json(); in a dry run {"origin","groups_count","partitions_count"}. offsets: {"groups": N, "places":
 * {VERDICT: N}, "moved": {GROUP: {TOPIC: {PARTITION: what stood there}}}, "hinted": likewise, earlier hints, "unresolved": N groups, "why"},
 * kept before the first commit; "unresolved" and "why" behind it, when nothing more is tried. hints: {"published", "topic", "redis": "written"|why not, "in_redis": groups that were written there, "reread_likely", "reread_most", "groups":
 * cut_report(), "left": why hints that were taken back are in Redis still}.
 */
#include "failover/step_offsets.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/text.h"
#include "failover/cut.h"
#include "failover/hints_topic.h"
#include "failover/journal.h"
#include "kafka/group_questions.h"

#define FREEZE        "freeze"
#define OFFSETS       "offsets"
#define HINTS         "hints"
#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */
#define COMMIT_ROUNDS 3 /* the second for coordinators that take shorter metadata alone */
#define PUBLISH_MS    10000
#define SOURCE_MS     5000 /* each of two questions to a source that answered a moment ago */

struct session { /* of the operation that this process runs */
    char id[OPERATION_ID_BYTES];
    struct groups_door *door;
    struct groups_door *source; /* of a switchover; NULL: nobody waits for it */
    bool has_cut;
    bool decided;
    bool tried; /* commits may have been sent */
    struct cut cut;
    json_t *hinted; /* see all_hinted() */
};
static struct session session;

/* --- the cut ------------------------------------------------------------------------------------------------------ */

static void begin(struct operation *op)
{
    if (session.door != NULL && strcmp(session.id, op->id) == 0) { /* "" in a dry run */
        return;
    }
    groups_door_free(session.door);
    groups_door_free(session.source);
    if (session.has_cut) {
        cut_done(&session.cut);
    }
    json_decref(session.hinted);
    session = (struct session){.door = groups_door_new(op->target)};
    if (op->planned && op->source != NULL) {
        int32_t before_ms = admin_timeout(op->source, SOURCE_MS);
        session.source = groups_door_new(op->source);
        admin_timeout(op->source, before_ms);
    }
    snprintf(session.id, sizeof(session.id), "%s", op->id);
}

static struct cut_options options_of(const struct operation *op)
{
    return (struct cut_options){.target = op->target,
                                .groups = session.door,
                                .source = session.source,
                                .redis = op->redis,
                                .redis_err = &op->redis_err,
                                .config = op->config,
                                .service = op->service,
                                .from = op->from,
                                .to = op->to,
                                .operation =
                                    op->id[0] == '\0' ? "none" : op->id, /* a dry run has none */
                                .now_ms = clock_wall_ms(op->clock)};
}

static bool read_cut(struct operation *op, struct err *err)
{
    begin(op);
    if (session.has_cut) {
        return true;
    }
    const struct cut_options options = options_of(op);
    const json_t *kept = operation_kept(op, FREEZE);
    bool made = kept != NULL && json_object_get(kept, "groups") != NULL;
    int32_t before_ms = options.source == NULL ? 0 : admin_timeout(op->source, SOURCE_MS);
    session.has_cut =
        made ? cut_parse(kept, &options, &session.cut, err) : cut_read(&options, &session.cut, err);
    if (options.source != NULL) {
        admin_timeout(op->source, before_ms);
    }
    session.decided = false;
    return session.has_cut || err_wrap(err, "where groups stand");
}

static void put(json_t *out, const char *group, const struct cut_part *part, json_t *take_value)
{
    char partition[16];
    snprintf(partition, sizeof(partition), "%" PRId32, part->partition);
    if (json_object_get(out, group) == NULL) {
        json_object_set_new(out, group, json_object());
    }
    json_t *topics = json_object_get(out, group);
    if (json_object_get(topics, part->topic) == NULL) {
        json_object_set_new(topics, part->topic, json_object());
    }
    json_object_set_new(json_object_get(topics, part->topic), partition, take_value);
}

static const json_t *find(const json_t *rows, const char *group, const struct cut_part *part)
{
    char partition[16];
    snprintf(partition, sizeof(partition), "%" PRId32, part->partition);
    return json_object_get(json_object_get(json_object_get(rows, group), part->topic), partition);
}

/* Hints of an earlier operation that stand where this one commits. */
static void take_hinted(const struct groups_list *list)
{
    json_decref(session.hinted);
    session.hinted = json_object();
    for (size_t i = 0; i < session.cut.groups_count; i++) {
        const struct cut_group *group = &session.cut.groups[i];
        const struct groups_row *row = groups_list_find(list, group->name);
        for (size_t j = 0; row != NULL && j < group->count; j++) {
            const struct cut_place *place = &group->places[j];
            const struct groups_place *there =
                place->verdict == CUT_DUE && place->metadata == NULL
                    ? groups_row_place(row, place->part->topic, place->part->partition)
                    : NULL;
            const char *text = there == NULL ? NULL : there->metadata;
            if (text != NULL && hint_is(text, strlen(text))) {
                put(session.hinted, group->name, place->part, json_string(text));
            }
        }
    }
}

/* What the target has of them now. */
static bool look(struct operation *op, struct err *err)
{
    struct groups_list list;
    struct err partly;
    if (!read_cut(op, err)) {
        return false;
    }
    session.decided = false;
    cut_list(&session.cut, &list);
    bool ok =
        groups_states(session.door, &list, &partly, err) && groups_fetch(session.door, &list, err);
    if (ok && partly.kind != ERR_NONE) {
        operation_say(op, "members of some groups at %s are not known: %s", op->to->name,
                      partly.what);
    }
    if (ok) {
        cut_decide(&session.cut, &list);
        session.decided = true;
        if (op->planned) { /* else nothing is taken back because of what comes behind */
            take_hinted(&list);
        }
    }
    groups_list_done(&list);
    return ok;
}

static size_t count_of(const struct cut *cut, enum cut_verdict verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < cut->groups_count; i++) {
        struct cut_counts counts;
        cut_count(&cut->groups[i], &counts);
        count += counts.verdicts[verdict];
    }
    return count;
}

/* Groups with a place that somebody has to do something about, or that could not be asked. */
static size_t open_groups(const struct cut *cut, const struct cut_group **out_first)
{
    size_t open = 0;
    for (size_t i = 0; i < cut->groups_count; i++) {
        const struct cut_group *group = &cut->groups[i];
        bool is = group->count == 0 && group->why[0] != '\0';
        for (size_t j = 0; j < group->count && !is; j++) {
            is = cut_verdict_open(group->places[j].verdict);
        }
        if (is && open++ == 0) {
            *out_first = group;
        }
    }
    return open;
}

/* --- freeze ------------------------------------------------------------------------------------------------------- */

static void say_cut(struct operation *op)
{
    const struct cut *cut = &session.cut;
    char time[CLOCK_TEXT_BYTES];
    int64_t age_ms = cut->alive_ms < 0 ? -1 : cut->origin.cut_ms - cut->alive_ms;
    if (cut->why_old[0] != '\0') {
        operation_say(op, "some commits at %s are as the keeper saw them: %s", op->from->name,
                      cut->why_old);
    }
    if (cut->of_redis) {
        operation_say(op, "%zu groups in %zu partitions; the source's commits were read last at %s",
                      cut->groups_count, cut->parts_count, clock_rfc3339(cut->looked_ms, time));
        return;
    }
    operation_say(op, "Redis has no groups (%s): as they were committed at the target",
                  cut->why_not);
    if (age_ms < 0) {
        operation_say(op, "%zu groups in %zu partitions; how old their offsets are is not known",
                      cut->groups_count, cut->parts_count);
    } else {
        operation_say(op,
                      "%zu groups in %zu partitions; their offsets are of %s (%" PRId64
                      " s ago) or older: the mirror's last commit",
                      cut->groups_count, cut->parts_count, clock_rfc3339(cut->alive_ms, time),
                      age_ms / 1000);
    }
}

bool step_freeze_done(struct operation *op, bool *out, struct err *err)
{
    (void)err;
    *out = operation_kept(op, FREEZE) != NULL;
    return true;
}

bool step_freeze_act(struct operation *op, struct err *err)
{
    if (!read_cut(op, err)) {
        return false;
    }
    say_cut(op);
    operation_note(op, FREEZE,
                   cut_json(&session.cut)); /* nothing follows from it before the row is done */
    return true;
}

bool step_freeze_plan(struct operation *op, struct err *err)
{
    if (!read_cut(op, err)) {
        return false;
    }
    say_cut(op);
    const struct cut *cut = &session.cut;
    json_t *brief =
        json_pack("{sssIsI}", "origin", cut->of_redis ? "redis" : "target", "groups_count",
                  (json_int_t)cut->groups_count, "partitions_count", (json_int_t)cut->parts_count);
    return operation_keep(op, FREEZE, brief, err);
}

bool step_freeze_undo(struct operation *op, struct err *err)
{
    (void)op; /* it is a picture: nothing was changed */
    (void)err;
    return true;
}

/* --- offsets ------------------------------------------------------------------------------------------------------ */

/* {GROUP: {TOPIC: {PARTITION: what stood there}}} where a commit moves it: for undo. */
static json_t *moved(const struct cut *cut)
{
    json_t *out = json_object();
    for (size_t i = 0; i < cut->groups_count; i++) {
        const struct cut_group *group = &cut->groups[i];
        for (size_t j = 0; j < group->count; j++) {
            const struct cut_place *place = &group->places[j];
            if (place->verdict == CUT_DUE && place->stood != place->facts.target_offset) {
                put(out, group->name, place->part, json_integer(place->stood));
            }
        }
    }
    return out;
}

/* What an earlier run moved counts: it saw what stood there before. */
static json_t *all_moved(struct operation *op, const struct cut *cut)
{
    json_t *out = moved(cut);
    const json_t *before = json_object_get(operation_kept(op, OFFSETS), "moved");
    if (json_is_object(before)) {
        json_object_update_recursive(out, (json_t *)(uintptr_t)before);
    }
    return out;
}

/* {GROUP: {TOPIC: {PARTITION: TEXT}}}: hints of an earlier operation that a commit replaces; NULL = none. For undo. */
static json_t *all_hinted(struct operation *op)
{
    json_t *out = session.hinted == NULL ? json_object() : json_deep_copy(session.hinted);
    const json_t *before = json_object_get(operation_kept(op, OFFSETS), "hinted");
    if (json_is_object(before)) {
        json_object_update_recursive(out, (json_t *)(uintptr_t)before);
    }
    if (json_object_size(out) == 0) {
        json_decref(out);
        out = NULL;
    }
    return out;
}

/* @param why  NULL: more is tried */
static json_t *offsets_evidence(struct operation *op, json_t *take_moved, const char *why)
{
    const struct cut_group *first;
    const struct cut *cut = &session.cut;
    json_t *out = json_object();
    json_t *verdicts = json_object();
    for (int i = 0; session.decided && i < CUT_VERDICTS_COUNT; i++) {
        json_object_set_new(verdicts, cut_verdict_text((enum cut_verdict)i),
                            json_integer((json_int_t)count_of(cut, (enum cut_verdict)i)));
    }
    json_object_set_new(out, "groups", json_integer((json_int_t)cut->groups_count));
    json_object_set_new(out, "places", verdicts);
    json_object_set_new(out, "moved", take_moved);
    json_t *hinted = all_hinted(op);
    if (hinted != NULL) {
        json_object_set_new(out, "hinted", hinted);
    }
    if (why != NULL) {
        size_t open = session.decided ? open_groups(cut, &first) : cut->groups_count;
        json_object_set_new(out, "unresolved", json_integer((json_int_t)open));
        json_object_set_new(out, "why", json_string(why));
    }
    return out;
}

static bool commit_due(struct err *err)
{
    for (int round = 0; round < COMMIT_ROUNDS; round++) {
        struct groups_list commits;
        cut_commits(&session.cut, &commits);
        bool ok = commits.count == 0 || groups_commit(session.door, &commits, err);
        bool again = ok && commits.count > 0 && cut_committed(&session.cut, &commits);
        groups_list_done(&commits);
        if (!ok || !again) {
            return ok;
        }
    }
    return true;
}

static void say_open(struct operation *op)
{
    const struct cut *cut = &session.cut;
    for (size_t i = 0; i < cut->groups_count; i++) {
        const struct cut_group *group = &cut->groups[i];
        const struct cut_place *first = NULL;
        size_t count = 0;
        for (size_t j = 0; j < group->count; j++) {
            bool is =
                group->places[j].verdict != CUT_COMMITTED && group->places[j].verdict != CUT_DUE;
            first = is && first == NULL ? &group->places[j] : first;
            count += is ? 1 : 0;
        }
        if (first != NULL) {
            operation_say(op,
                          "group %s: %s in %zu of %zu partitions; %s:%" PRId32 " stands at %" PRId64
                          ", translated %" PRId64 "%s%s",
                          group->name, cut_verdict_text(first->verdict), count, group->count,
                          first->part->topic, first->part->partition, first->stood,
                          first->facts.target_offset, group->why[0] == '\0' ? "" : ": ",
                          group->why);
        }
    }
}

static bool all_resolved(const struct operation *op, struct err *err)
{
    const struct cut_group *first = NULL;
    size_t open = open_groups(&session.cut, &first);
    if (open == 0) {
        return true;
    }
    err_set(err, ERR_REFUSED, "%zu of %zu groups do not stand where they should at %s: %.200s%s",
            open, session.cut.groups_count, op->to->name, first->name,
            open > 1 ? " and others" : "");
    return err_hint(
        err,
        op->planned
            ? "end their members there, then again; or `ferry offsets reset %.60s --group ...`"
            : "each by hand, when its members have ended: `ferry offsets reset %.60s --group ...`",
        op->service->name);
}

/* What is left is recorded and nothing more is tried: a failover does not wait for groups, and who resumes it has no other means. */
static bool given_up(const struct operation *op)
{
    return json_is_integer(json_object_get(operation_kept(op, OFFSETS), "unresolved"));
}

static bool opened(const struct operation *op)
{
    return journal_state(op->journal, "open") != JOURNAL_NOTHING;
}

bool step_offsets_done(struct operation *op, bool *out, struct err *err)
{
    const struct cut_group *first;
    struct err why = {0};
    *out = given_up(op);
    begin(op);
    if (*out ||
        (!op->resumed && !session.tried)) { /* nothing of this operation can stand there yet */
        return true;
    }
    if (look(op, &why)) {
        *out = open_groups(&session.cut, &first) == 0;
        return true;
    }
    if (!opened(op)) { /* else `act` records it */
        *err = why;
        return false;
    }
    return true;
}

static bool commit_all(struct operation *op, struct err *err)
{
    if (!look(op, err) ||
        !operation_keep(op, OFFSETS, offsets_evidence(op, all_moved(op, &session.cut), NULL),
                        err)) {
        return false;
    }
    session.tried = true;
    return commit_due(err);
}

static void give_up(struct operation *op, const struct err *why)
{
    json_t *before = json_object_get(operation_kept(op, OFFSETS), "moved");
    before = before == NULL ? json_object() : json_incref(before);
    operation_say(op, "%s%s%s", why->what, why->hint[0] == '\0' ? "" : "; ", why->hint);
    operation_note(op, OFFSETS, offsets_evidence(op, before, why->what));
}

bool step_offsets_act(struct operation *op, struct err *err)
{
    struct err why = {0};
    if (!commit_all(op, &why)) {
        /* Behind `open` the clients are there: an operation that never ends would keep their groups from being moved by hand. */
        if (!opened(op) || why.kind == ERR_FATAL || !session.has_cut) {
            *err = why;
            return false;
        }
        give_up(op, &why);
        return true;
    }
    say_open(op);
    operation_say(op, "%zu places committed", count_of(&session.cut, CUT_COMMITTED));
    if (all_resolved(op, &why)) {
        json_t *before = json_incref(json_object_get(operation_kept(op, OFFSETS), "moved"));
        operation_note(op, OFFSETS, offsets_evidence(op, before, NULL));
        return true;
    }
    if (op->planned && !opened(op)) {
        *err = why;
        return false;
    }
    give_up(op, &why);
    return true;
}

bool step_offsets_plan(struct operation *op, struct err *err)
{
    if (!look(op, err)) {
        return false;
    }
    say_open(op);
    operation_say(op, "%zu places would be committed", count_of(&session.cut, CUT_DUE));
    return operation_keep(op, OFFSETS, offsets_evidence(op, moved(&session.cut), NULL), err);
}

static int64_t stood_before(const json_t *moved_rows, const struct cut_group *group,
                            const struct cut_place *place)
{
    const json_t *stood = find(moved_rows, group->name, place->part);
    return json_is_integer(stood) ? json_integer_value(stood) : place->facts.target_offset;
}

static char *text_before(const struct operation *op, const struct cut_group *group,
                         const struct cut_place *place)
{
    const json_t *hinted = json_object_get(operation_kept(op, OFFSETS), "hinted");
    const char *text = place->metadata != NULL
                           ? place->metadata
                           : json_string_value(find(hinted, group->name, place->part));
    return text == NULL ? NULL : must(strdup(text));
}

/* Of this group, what is ours to take back: hints of this operation, and what it moved. Where nothing stood before the offset
 * stays, without the hint: it is the translation. */
static void undo_group(const struct operation *op, const struct cut_group *group,
                       const struct groups_row *found, struct groups_list *out)
{
    const json_t *moved_rows = json_object_get(operation_kept(op, OFFSETS), "moved");
    struct groups_row *row = NULL;
    for (size_t i = 0; i < group->count; i++) {
        const struct cut_place *place = &group->places[i];
        const struct groups_place *there =
            groups_row_place(found, place->part->topic, place->part->partition);
        const char *text = there == NULL ? NULL : there->metadata;
        int64_t before = stood_before(moved_rows, group, place);
        bool hint = text != NULL && hint_is_of(text, strlen(text), op->id);
        bool moved_it = place->metadata != NULL && there != NULL &&
                        there->offset == place->facts.target_offset && before != there->offset;
        if (!hint && !moved_it) {
            continue;
        }
        if (row == NULL) {
            row = groups_list_add(out, group->name);
            row->places = must(calloc(group->count, sizeof(*row->places)));
        }
        row->places[row->places_count++] =
            (struct groups_place){.topic = place->part->topic,
                                  .partition = place->part->partition,
                                  .offset = before >= 0 ? before : there->offset,
                                  .metadata = text_before(op, group, place)};
    }
}

static bool undone(const struct groups_list *list, struct err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < list->rows[i].places_count; j++) {
            int16_t error = list->rows[i].places[j].error;
            if (error != 0 && !group_error_is_members(error)) { /* members commit over it */
                return err_set_code(err, ERR_RETRY, error, "group '%.200s': Kafka error %d",
                                    list->rows[i].name, error);
            }
        }
    }
    return true;
}

bool step_offsets_undo(struct operation *op, struct err *err)
{
    struct groups_list list;
    struct groups_list commits = {0};
    if (operation_kept(op, OFFSETS) == NULL) { /* kept before the first commit */
        return true;
    }
    if (!read_cut(op, err)) {
        return false;
    }
    cut_list(&session.cut, &list);
    bool ok = groups_fetch(session.door, &list, err);
    for (size_t i = 0; ok && i < session.cut.groups_count; i++) {
        const struct cut_group *group = &session.cut.groups[i];
        const struct groups_row *found = groups_list_find(&list, group->name);
        if (found->err.kind != ERR_NONE) {
            *err = found->err;
            ok = false;
        } else {
            undo_group(op, group, found, &commits);
        }
    }
    groups_list_sort(&commits);
    ok = ok && (commits.count == 0 ||
                (groups_commit(session.door, &commits, err) && undone(&commits, err)));
    groups_list_done(&commits);
    groups_list_done(&list);
    session.decided = false;
    return ok;
}

/* --- hints -------------------------------------------------------------------------------------------------------- */

bool step_hints_done(struct operation *op, bool *out, struct err *err)
{
    (void)err;
    *out = json_is_true(json_object_get(operation_kept(op, HINTS), "published"));
    return true;
}

static bool decided(struct operation *op, struct err *err)
{
    begin(op);
    return (session.has_cut && session.decided) || look(op, err);
}

static bool to_redis(struct operation *op, const char *group, const char *text, struct err *err)
{
    char *suffix = NULL;
    if (op->redis == NULL) {
        *err = op->redis_err;
        return false;
    }
    if (asprintf(&suffix, "hints:%s", group) < 0) {
        abort();
    }
    char *key = operation_key(op, suffix);
    const char *argv[] = {text == NULL ? "DEL" : "SET", key, text};
    redisReply *reply = redis_sync_call(op->redis, text == NULL ? 2 : 3, argv, NULL, err);
    bool ok = reply != NULL;
    freeReplyObject(reply);
    free(key);
    free(suffix);
    return ok;
}

static json_t *hints_evidence(const struct cut *cut, bool published, const struct err *redis_err,
                              size_t in_redis, const char *topic)
{
    int64_t likely = 0;
    int64_t most = 0;
    for (size_t i = 0; i < cut->groups_count; i++) {
        struct cut_counts counts;
        cut_count(&cut->groups[i], &counts);
        likely += counts.likely;
        most += counts.most;
    }
    json_t *out = json_object();
    json_object_set_new(out, "published", json_boolean(published));
    json_object_set_new(out, "topic", json_string(topic));
    json_object_set_new(out, "redis",
                        redis_err->kind == ERR_NONE ? json_string("written")
                                                    : json_string(redis_err->what));
    json_object_set_new(out, "in_redis", json_integer((json_int_t)in_redis));
    json_object_set_new(out, "reread_likely", json_integer(likely));
    json_object_set_new(out, "reread_most", json_integer(most));
    json_object_set_new(out, "groups", cut_report(cut));
    return out;
}

static const struct config_client *writer_of(const struct operation *op)
{
    return op->to->operator_kafka != NULL ? op->to->operator_kafka : &op->to->kafka;
}

/* Connected since the doors were opened, where that worked. */
static struct publisher *publisher_of(struct operation *op, struct err *err)
{
    if (op->publisher == NULL) {
        op->publisher = publisher_new(writer_of(op), err);
    }
    return op->publisher;
}

/* One that failed is of no use, and a row is the last one that writes there. */
static void end_publisher(struct operation *op)
{
    publisher_free(op->publisher);
    op->publisher = NULL;
}

/* One that fails says why for all: the others are not waited for. @return so many were sent: the last one may have failed */
static size_t all_to_redis(struct operation *op, const struct hints_texts *texts, struct err *out)
{
    size_t sent = 0;
    for (; sent < texts->count && out->kind == ERR_NONE; sent++) {
        to_redis(op, texts->groups[sent], texts->texts[sent], out);
    }
    return op->redis == NULL ? 0 : sent;
}

bool step_hints_act(struct operation *op, struct err *err)
{
    struct err redis_err = {0};
    char topic[HINTS_TOPIC_BYTES];
    if (!decided(op, err)) {
        return false;
    }
    const struct cut_options options = options_of(op);
    struct hints_texts texts;
    json_t *begun = json_pack("{sb}", "published", 0); /* from here on there is something to undo */
    if (!operation_keep(op, HINTS, begun, err)) {
        return false;
    }
    hints_texts_of(&session.cut, &options, &texts);
    size_t in_redis = all_to_redis(op, &texts, &redis_err);
    struct publisher *publisher = publisher_of(op, err);
    bool ok = publisher != NULL && hints_topic_write(publisher, op->target_operator,
                                                     op->service->name, &texts, PUBLISH_MS, err);
    end_publisher(op);
    hints_texts_done(&texts);
    if (redis_err.kind != ERR_NONE) {
        operation_say(op, "hints are not in Redis: %s", redis_err.what);
    }
    operation_note(op, HINTS,
                   hints_evidence(&session.cut, ok, &redis_err, in_redis,
                                  hints_topic(op->service->name, topic)));
    if (!ok) {
        err_wrap(err, "hints are not in %s, but in the groups' metadata", topic);
        return err_hint(err, "the same command writes them again; ferry hints %s",
                        op->service->name);
    }
    operation_say(op, "hints of %zu groups in %s", session.cut.groups_count, topic);
    return true;
}

bool step_hints_plan(struct operation *op, struct err *err)
{
    const struct err none = {0};
    char topic[HINTS_TOPIC_BYTES];
    if (!decided(op, err)) {
        return false;
    }
    return operation_keep(
        op, HINTS,
        hints_evidence(&session.cut, false, &none, 0, hints_topic(op->service->name, topic)), err);
}

/* Neither a Redis nor a topic that refuses stops anybody: hints there name an operation that was taken back (exit 4). */
static bool leave_hints(struct operation *op, const char *where, const struct err *why,
                        struct err *err)
{
    char text[700];
    json_t *evidence = json_deep_copy(operation_kept(op, HINTS));
    const char *before = json_string_value(json_object_get(evidence, "left"));
    text_print(text, sizeof(text), "%.300s%s%s: %.300s", before == NULL ? "" : before,
               before == NULL ? "" : "; ", where, why->what);
    operation_say(op, "hints of what was taken back are left in %s: %s", where, why->what);
    json_object_set_new(evidence, "left", json_string(text));
    return operation_keep(op, HINTS, evidence, err);
}

/* What stood in Redis before stands in the topic, too: the same texts. */
static void redis_as_before(struct operation *op, const json_t *before, struct err *out)
{
    for (size_t i = 0; i < session.cut.groups_count && out->kind == ERR_NONE; i++) {
        const char *group = session.cut.groups[i].name;
        const json_t *earlier = json_object_get(before, group);
        char *text = earlier == NULL ? NULL : must(json_dumps(earlier, JSON_COMPACT));
        to_redis(op, group, text, out);
        free(text);
    }
}

/* Was nothing of it in Redis? Killed in the midst nobody knows. */
static bool not_in_redis(const struct operation *op)
{
    const json_t *count = json_object_get(operation_kept(op, HINTS), "in_redis");
    return op->to->redis == NULL || (json_is_integer(count) && json_integer_value(count) == 0);
}

bool step_hints_undo(struct operation *op, struct err *err)
{
    struct err topic_err = {0};
    struct err redis_err = {0};
    char topic[HINTS_TOPIC_BYTES];
    json_t *before = NULL;
    if (operation_kept(op, HINTS) == NULL) {
        return true;
    }
    if (!read_cut(op, err)) {
        return false;
    }
    struct publisher *publisher = publisher_of(op, &topic_err);
    if (publisher != NULL &&
        hints_topic_restore(writer_of(op), publisher, op->target_operator, op->service->name,
                            op->id, PUBLISH_MS, &topic_err)) {
        before = hints_topic_read(writer_of(op), op->service->name, PUBLISH_MS, &topic_err);
    }
    end_publisher(op);
    if (topic_err.code == CODE_NO_TOPIC) { /* nothing stood there */
        err_clear(&topic_err);
    }
    if (!not_in_redis(op)) {
        redis_as_before(op, before, &redis_err);
    }
    json_decref(before);
    return (topic_err.kind == ERR_NONE ||
            leave_hints(op, hints_topic(op->service->name, topic), &topic_err, err)) &&
           (redis_err.kind == ERR_NONE || leave_hints(op, "Redis", &redis_err, err));
}
