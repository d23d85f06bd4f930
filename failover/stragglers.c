#include "failover/stragglers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "failover/cut.h"
#include "failover/service_topics.h"
#include "kafka/attached.h"
#include "kafka/groups.h"

/* --- what is gathered --------------------------------------------------------------------------------------------- */

struct side { /* the groups of the service that have members on one cluster */
    bool known;
    struct groups_list list; /* all of the service's groups there */
    struct attached_group *groups;
    size_t count;
};

struct look {
    const struct stragglers_ask *ask;
    struct cut cut;
    bool has_cut; /* else the operation never came to `freeze` */
    struct side old;
    struct side new;
    struct err old_err; /* it stopped answering on the way; ERR_NONE = it did not */
    struct service_topics topics;
    json_t *ends; /* of the old primary; NULL = unknown */
};

static bool of_service(void *arg, const char *name)
{
    const struct config_service *service = arg;
    return config_patterns_match(&service->groups, name);
}

/* Of other types nobody but their own requests tells the members. */
static bool is_described(const struct groups_row *row)
{
    return row->type[0] == '\0' || strcmp(row->type, "classic") == 0 ||
           strcmp(row->type, "consumer") == 0;
}

static bool read_side(struct side *side, struct admin *admin, const struct config_service *service,
                      struct err *err)
{
    struct groups_door *door = groups_door_new(admin);
    side->known = groups_read(door, of_service, (void *)(uintptr_t)service, &side->list, err);
    groups_door_free(door);
    if (!side->known) {
        return false;
    }
    struct attached_group *ask = must(calloc(side->list.count + 1, sizeof(*ask)));
    for (size_t i = 0; i < side->list.count; i++) {
        const struct groups_row *row = &side->list.rows[i];
        if (row->listed && !row->empty && is_described(row)) {
            ask[side->count++] =
                (struct attached_group){.name = row->name,
                                        .coordinator = row->coordinator,
                                        .consumer_protocol = strcmp(row->type, "consumer") == 0};
        }
    }
    attached_members(admin, ask, side->count);
    side->groups = ask;
    return true;
}

static void side_done(struct side *side)
{
    attached_groups_done(side->groups, side->count);
    free(side->groups);
    groups_list_done(&side->list);
}

static const struct attached_group *members_of(const struct side *side, const char *name)
{
    for (size_t i = 0; i < side->count; i++) {
        if (strcmp(side->groups[i].name, name) == 0) {
            return &side->groups[i];
        }
    }
    return NULL;
}

static bool has_members(const struct side *side, const char *name)
{
    const struct groups_row *row = groups_list_find(&side->list, name);
    return row != NULL && row->listed && !row->empty;
}

/* What the journal has of the cut but for the groups' places, which may be 80,000: where the mirror was, and who had members. Without
 * Redis, which has no more than the hints' runs. */
static void read_cut(struct look *look)
{
    const struct stragglers_ask *ask = look->ask;
    if (json_object_get(ask->freeze, "groups") == NULL) {
        return; /* a dry run's, or it never came so far */
    }
    const struct cut_options options = {.config = ask->config,
                                        .service = ask->service,
                                        .from = ask->from,
                                        .to = ask->to,
                                        .operation = "none"};
    struct err why;
    json_t *brief = json_copy((json_t *)(uintptr_t)ask->freeze);
    json_object_set_new(brief, "groups", json_object());
    look->has_cut = cut_parse(brief, &options, &look->cut, &why);
    json_decref(brief);
}

/* A name that leads to another cluster by now says nothing of the old primary. */
static bool same_cluster(const struct look *look, struct err *err)
{
    char id[64];
    int32_t brokers;
    const char *was = look->has_cut ? look->cut.origin.cluster : "";
    if (!admin_cluster_id(look->ask->old, id, &brokers, err)) {
        return false;
    }
    return was[0] == '\0' || strcmp(was, id) == 0 ||
           err_set(err, ERR_REFUSED, "%s answers as cluster %s, the old primary was %s",
                   look->ask->from->name, id, was);
}

/* One answer that does not come is the last one that is waited for. */
static void read_old(struct look *look)
{
    const struct stragglers_ask *ask = look->ask;
    struct err *err = &look->old_err;
    if (ask->old == NULL) {
        return;
    }
    if (same_cluster(look, err) && read_side(&look->old, ask->old, ask->service, err) &&
        service_topics_list(ask->service, ask->old, &look->topics, err)) {
        (void)!service_topics_ends(&look->topics, ask->old, OFFSET_SPEC_LATEST, &look->ends, err);
    }
}

static bool answers(const struct look *look)
{
    return look->ask->old != NULL && look->old_err.kind == ERR_NONE;
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

static const json_t *were_members(const struct look *look)
{
    return look->has_cut ? look->cut.members : NULL;
}

/* Who had members at the cut is known, or there is nobody to be known. */
static bool knows_members(const struct look *look)
{
    return were_members(look) != NULL || look->ask->service->groups.include_count == 0;
}

/* 1 it had members at the cut, 0 it had none, -1 nobody knows. */
static int expected(const struct look *look, const char *name)
{
    const json_t *members = were_members(look);
    size_t index;
    json_t *member;
    json_array_foreach (members, index, member) {
        if (json_is_string(member) && strcmp(json_string_value(member), name) == 0) {
            return 1;
        }
    }
    return knows_members(look) ? 0 : -1;
}

static json_t *text_json(const char *text)
{
    json_t *value = text == NULL ? json_null() : json_string(text);
    return value == NULL ? json_string("?") : value; /* no UTF-8 */
}

static json_t *members_json(const struct attached_group *group)
{
    json_t *out = json_array();
    for (size_t i = 0; group != NULL && i < group->count && i < STRAGGLERS_MEMBERS_TOLD; i++) {
        const struct attached_member *member = &group->members[i];
        json_t *row = json_object();
        json_object_set_new(row, "client_id", text_json(member->client_id));
        json_object_set_new(row, "host", text_json(member->host));
        json_object_set_new(row, "instance_id", text_json(member->instance_id));
        json_array_append_new(out, row);
    }
    return out;
}

static const char *where(const struct look *look, bool at_old, bool at_new)
{
    if (at_old) {
        return at_new ? "both" : "old";
    }
    return at_new ? "new" : answers(look) ? "neither" : "unknown";
}

static json_t *group_json(const struct look *look, const char *name)
{
    int was = expected(look, name);
    const struct attached_group *old = members_of(&look->old, name);
    const struct attached_group *new = members_of(&look->new, name);
    const struct err *why = old != NULL && old->err.kind != ERR_NONE  ? &old->err
                            : new != NULL &&new->err.kind != ERR_NONE ? &new->err
                                                                      : NULL;
    json_t *row = json_object();
    json_object_set_new(row, "group", text_json(name));
    json_object_set_new(row, "expected", was < 0 ? json_null() : json_boolean(was));
    json_object_set_new(
        row, "where",
        json_string(where(look, has_members(&look->old, name), has_members(&look->new, name))));
    json_object_set_new(row, "why", text_json(why == NULL ? "" : why->what));
    json_object_set_new(row, "old", members_json(old));
    json_object_set_new(row, "old_count", json_integer(old == NULL ? 0 : (json_int_t)old->count));
    json_object_set_new(row, "new", members_json(new));
    json_object_set_new(row, "new_count", json_integer(new == NULL ? 0 : (json_int_t) new->count));
    return row;
}

/* Everybody who was expected, and everybody who is somewhere. */
static void name_groups(const struct look *look, struct groups_list *out)
{
    const struct groups_list *lists[] = {&look->old.list, &look->new.list};
    *out = (struct groups_list){0};
    for (size_t i = 0; i < json_array_size(were_members(look)); i++) {
        const char *name = json_string_value(json_array_get(were_members(look), i));
        if (name != NULL && of_service((void *)(uintptr_t)look->ask->service, name)) {
            groups_list_add(out, name);
        }
    }
    groups_list_sort(out);
    for (size_t side = 0; side < 2; side++) {
        size_t known = out->count;
        for (size_t i = 0; i < lists[side]->count; i++) {
            const struct groups_row *row = &lists[side]->rows[i];
            const struct groups_list seen = {.rows = out->rows, .count = known};
            if (row->listed && !row->empty && groups_list_find(&seen, row->name) == NULL) {
                groups_list_add(out, row->name);
            }
        }
        groups_list_sort(out);
    }
}

static void put_groups(const struct look *look, json_t *out)
{
    struct groups_list names;
    json_t *rows = json_array();
    int64_t were = 0;
    int64_t arrived = 0;
    int64_t at_old = 0;
    int64_t missing = 0;
    bool known = knows_members(look);
    name_groups(look, &names);
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.rows[i].name;
        bool is = expected(look, name) == 1;
        bool old = has_members(&look->old, name);
        bool new = has_members(&look->new, name);
        were += is ? 1 : 0;
        arrived += new && !old && (is || !known) ? 1 : 0;
        at_old += old ? 1 : 0;
        missing += is && !old && !new ? 1 : 0;
        json_array_append_new(rows, group_json(look, name));
    }
    groups_list_done(&names);
    json_object_set_new(out, "expected", known ? json_integer(were) : json_null());
    json_object_set_new(out, "expected_why",
                        known           ? json_string("")
                        : look->has_cut ? text_json(look->cut.why_not)
                                        : json_string("the operation has no recovery point"));
    json_object_set_new(out, "arrived", json_integer(arrived));
    json_object_set_new(out, "at_old", answers(look) ? json_integer(at_old) : json_null());
    json_object_set_new(out, "missing", known ? json_integer(missing) : json_null());
    json_object_set_new(out, "groups", rows);
}

/* --- records ------------------------------------------------------------------------------------------------------ */

struct behind { /* of one partition of the old primary */
    const char *topic;
    int32_t partition;
    int64_t from; /* the mirror's end */
    int64_t end;
    int64_t records; /* written behind the cut; -1 = its end then is unknown */
    int64_t at_risk;
};

static int64_t mirrored_end(const struct look *look, const char *topic, int32_t partition)
{
    const struct cut_part *part =
        look->has_cut ? cut_part_find(&look->cut, topic, partition) : NULL;
    return part == NULL ? 0 : part->at.source_next; /* nobody mirrored it: all of it */
}

/* @param proven  ends at the cut; a topic that came later counts whole */
static struct behind behind_of(const struct look *look, const json_t *proven, const char *topic,
                               int32_t partition, int64_t end)
{
    struct behind out = {.topic = topic, .partition = partition, .end = end, .records = -1};
    out.from = mirrored_end(look, topic, partition);
    out.at_risk = end > out.from ? end - out.from : 0;
    if (json_object_size(proven) > 0) {
        int64_t then =
            json_integer_value(json_array_get(json_object_get(proven, topic), (size_t)partition));
        out.records = end > then ? end - then : 0;
    }
    return out;
}

static json_t *behind_json(const struct behind *row)
{
    return json_pack("{sssisIsIsosI}", "topic", row->topic, "partition", row->partition, "from",
                     (json_int_t)row->from, "end", (json_int_t)row->end, "records",
                     row->records < 0 ? json_null() : json_integer(row->records), "at_risk",
                     (json_int_t)row->at_risk);
}

/* Those with something behind the cut or the mirror's end; heap, in the order of topics. */
static struct behind *find_behind(const struct look *look, size_t *out_count, int64_t *out_ends)
{
    const json_t *proven = json_object_get(look->ask->prove, "ends");
    const char *topic;
    json_t *ends;
    struct behind *rows = NULL;
    size_t count = 0;
    size_t room = 0;
    *out_ends = 0;
    json_object_foreach (look->ends, topic, ends) {
        for (size_t i = 0; i < json_array_size(ends); i++) {
            int64_t end = json_integer_value(json_array_get(ends, i));
            struct behind row = behind_of(look, proven, topic, (int32_t)i, end);
            *out_ends += end;
            if (row.at_risk == 0 && row.records <= 0) {
                continue;
            }
            if (count == room) {
                room = room == 0 ? 64 : room * 2;
                rows = must(reallocarray(rows, room, sizeof(*rows)));
            }
            rows[count++] = row;
        }
    }
    *out_count = count;
    return rows;
}

static void put_time(json_t *object, const char *key, int64_t wall_ms)
{
    char text[CLOCK_TEXT_BYTES];
    json_object_set_new(object, key,
                        wall_ms < 0 ? json_null() : json_string(clock_rfc3339(wall_ms, text)));
}

static json_t *producer_row(json_t *rows, int64_t id)
{
    size_t index;
    json_t *row;
    json_array_foreach (rows, index, row) {
        if (json_integer_value(json_object_get(row, "producer_id")) == id) {
            return row;
        }
    }
    return NULL;
}

static void take_producer(json_t *rows, const struct attached_part *part,
                          const struct attached_producer *producer)
{
    json_t *row = producer_row(rows, producer->id);
    if (row != NULL) {
        json_t *count = json_object_get(row, "partitions");
        json_integer_set(count, json_integer_value(count) + 1);
        return;
    }
    row =
        json_pack("{sIsisisssi}", "producer_id", (json_int_t)producer->id, "epoch", producer->epoch,
                  "partitions", 1, "topic", part->topic, "partition", part->partition);
    put_time(row, "last_wrote", producer->last_ms);
    json_array_append_new(rows, row);
}

/* Who wrote behind the cut, of those that a partition remembers. null: not every leader says. */
static json_t *producers_json(const struct look *look, const struct behind *rows, size_t count)
{
    int64_t cut_ms = look->has_cut ? look->cut.origin.cut_ms : 0;
    json_t *out = json_array();
    bool known = true;
    count = count < STRAGGLERS_PARTITIONS_TOLD ? count : STRAGGLERS_PARTITIONS_TOLD;
    struct attached_part *parts = must(calloc(count + 1, sizeof(*parts)));
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct attached_part){.topic = rows[i].topic, .partition = rows[i].partition};
    }
    attached_producers(look->ask->old, parts, count);
    for (size_t i = 0; i < count; i++) {
        known = known && parts[i].err.kind == ERR_NONE;
        for (size_t j = 0; j < parts[i].count; j++) {
            if (parts[i].producers[j].last_ms >= cut_ms) {
                take_producer(out, &parts[i], &parts[i].producers[j]);
            }
        }
    }
    attached_parts_done(parts, count);
    free(parts);
    if (!known) {
        json_decref(out);
        return json_null();
    }
    return out;
}

static void add_topic(json_t *topics, const struct behind *row)
{
    int64_t records = row->records >= 0 ? row->records : row->at_risk;
    int64_t before = json_integer_value(json_object_get(topics, row->topic));
    if (records > 0) {
        json_object_set_new(topics, row->topic, json_integer(before + records));
    }
}

static void put_records(const struct look *look, const json_t *before, json_t *out)
{
    int64_t ends = 0;
    int64_t records = 0;
    int64_t at_risk = 0;
    size_t count = 0;
    bool counted = json_object_size(json_object_get(look->ask->prove, "ends")) > 0;
    json_t *topics = json_object();
    json_t *parts = json_array();
    struct behind *rows = answers(look) ? find_behind(look, &count, &ends) : NULL;
    for (size_t i = 0; i < count; i++) {
        records += rows[i].records > 0 ? rows[i].records : 0;
        at_risk += rows[i].at_risk;
        add_topic(topics, &rows[i]);
        if (i < STRAGGLERS_PARTITIONS_TOLD) {
            json_array_append_new(parts, behind_json(&rows[i]));
        }
    }
    bool known = answers(look);
    const json_t *then = json_object_get(before, "ends");
    int64_t written = ends - json_integer_value(then);
    json_object_set_new(out, "records", known && counted ? json_integer(records) : json_null());
    json_object_set_new(out, "at_risk",
                        known && look->has_cut ? json_integer(at_risk) : json_null());
    json_object_set_new(out, "ends", known ? json_integer(ends) : json_null());
    json_object_set_new(out, "written",
                        known && json_is_integer(then) ? json_integer(written < 0 ? 0 : written)
                                                       : json_null());
    json_object_set_new(out, "topics", topics);
    json_object_set_new(out, "partitions", parts);
    json_object_set_new(out, "producers", known ? producers_json(look, rows, count) : json_null());
    free(rows);
}

/* --- what follows ------------------------------------------------------------------------------------------------- */

static int64_t count_of(const json_t *look, const char *key)
{
    const json_t *value = json_object_get(look, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static bool old_answers(const json_t *look)
{
    return json_is_true(json_object_get(json_object_get(look, "old"), "answers"));
}

bool stragglers_settled(const json_t *look)
{
    if (!old_answers(look)) {
        return count_of(look, "missing") == 0;
    }
    return count_of(look, "at_old") == 0 && count_of(look, "missing") <= 0 &&
           count_of(look, "written") == 0;
}

enum stragglers_state stragglers_state(const json_t *look)
{
    if (!old_answers(look)) {
        return count_of(look, "missing") == 0 ? STRAGGLERS_DONE : STRAGGLERS_UNKNOWN;
    }
    bool left = count_of(look, "at_old") > 0 || count_of(look, "missing") > 0 ||
                count_of(look, "records") > 0 || count_of(look, "at_risk") > 0 ||
                count_of(look, "written") > 0;
    return left ? STRAGGLERS_LEFT : STRAGGLERS_DONE;
}

static const char *state_name(enum stragglers_state state)
{
    static const char *const names[] = {"done", "left", "unknown"};
    return names[state];
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

char *stragglers_line(const json_t *look)
{
    char *line = NULL;
    char was[40] = "";
    int64_t expects = count_of(look, "expected");
    int64_t at_old = count_of(look, "at_old");
    int64_t missing = count_of(look, "missing");
    const char *from = text_of(json_object_get(look, "old"), "site");
    const char *to = text_of(json_object_get(look, "new"), "site");
    char left[300];
    if (expects >= 0) {
        snprintf(was, sizeof(was), " of %" PRId64, expects);
    }
    if (at_old < 0) {
        snprintf(left, sizeof(left), "who is at %.100s is unknown: it does not answer", from);
    } else {
        snprintf(left, sizeof(left), "%" PRId64 " at %.100s still%s", at_old, from,
                 expects < 0 ? "; how many there were is unknown" : "");
    }
    char nowhere[100] = "";
    if (missing > 0 && at_old >= 0) {
        snprintf(nowhere, sizeof(nowhere), ", %" PRId64 " at neither side", missing);
    }
    if (asprintf(&line, "%" PRId64 "%s groups are at %.100s, %s%s", count_of(look, "arrived"), was,
                 to, left, nowhere) < 0) {
        abort();
    }
    return line;
}

static void add_next(json_t *next, char *take_line)
{
    json_array_append_new(next, text_json(take_line));
    free(take_line);
}

#define LINE(...)                                \
    do {                                         \
        char *line_ = NULL;                      \
        if (asprintf(&line_, __VA_ARGS__) < 0) { \
            abort();                             \
        }                                        \
        add_next(next, line_);                   \
    } while (0)

static void next_of_clients(const struct look *look, json_t *next)
{
    const struct stragglers_ask *ask = look->ask;
    const char *servers = config_client_get(&ask->to->kafka, "bootstrap.servers");
    if (ask->service->cnames_count > 0) {
        LINE("restart the clients that are at %s: the name %s leads to %s", ask->from->name,
             ask->service->cnames[0].record, ask->to->name);
    } else {
        LINE("restart the clients that are at %s, with bootstrap.servers=%s", ask->from->name,
             servers == NULL ? "of the new primary" : servers);
    }
}

static void next_of_records(const struct look *look, const json_t *out, json_t *next)
{
    const struct stragglers_ask *ask = look->ask;
    const char *servers = config_client_get(&ask->from->kafka, "bootstrap.servers");
    const json_t *row = json_array_get(json_object_get(out, "partitions"), 0);
    if (row == NULL) {
        return;
    }
    LINE("stop who writes at %s: kafka-acls.sh --bootstrap-server %s --add --deny-principal "
         "User:NAME --operation Write --topic %s",
         ask->from->name, servers == NULL ? "" : servers, text_of(row, "topic"));
    LINE("read what is there alone: kafka-console-consumer.sh --bootstrap-server %s --topic %s "
         "--partition %" JSON_INTEGER_FORMAT " --offset %" JSON_INTEGER_FORMAT
         " --max-messages %" JSON_INTEGER_FORMAT,
         servers == NULL ? "" : servers, text_of(row, "topic"),
         json_integer_value(json_object_get(row, "partition")),
         json_integer_value(json_object_get(row, "from")),
         json_integer_value(json_object_get(row, "at_risk")));
}

static void put_next(const struct look *look, json_t *out)
{
    const char *service = look->ask->service->name;
    json_t *next = json_array();
    if (count_of(out, "at_old") > 0 || count_of(out, "written") > 0) {
        next_of_clients(look, next);
    }
    if (count_of(out, "missing") > 0 && old_answers(out)) {
        LINE("start the groups that are at neither side");
    }
    if (count_of(out, "records") > 0 || count_of(out, "at_risk") > 0) {
        next_of_records(look, out, next);
    }
    if (stragglers_state(out) != STRAGGLERS_DONE) {
        LINE("ferry stragglers %s --timeout 300", service);
    }
    json_object_set_new(out, "next", next);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static json_t *look_json(const struct look *look, const json_t *before)
{
    const struct stragglers_ask *ask = look->ask;
    json_t *out = json_object();
    const char *why = ask->old == NULL                 ? ask->old_why
                      : look->old_err.kind == ERR_NONE ? ""
                                                       : look->old_err.what;
    json_t *old = json_pack("{sssb}", "site", ask->from->name, "answers", answers(look) ? 1 : 0);
    json_object_set_new(old, "why", text_json(why));
    json_object_set_new(out, "old", old);
    json_object_set_new(out, "new", json_pack("{ss}", "site", ask->to->name));
    put_time(out, "looked", clock_wall_ms(clock_system()));
    put_time(out, "cut", look->has_cut ? look->cut.origin.cut_ms : -1);
    put_groups(look, out);
    put_records(look, before, out);
    json_object_set_new(out, "why", text_json(why));
    json_object_set_new(out, "state", json_string(state_name(stragglers_state(out))));
    put_next(look, out);
    return out;
}

json_t *stragglers_look(const struct stragglers_ask *ask, const json_t *before, struct err *err)
{
    struct look look = {.ask = ask};
    json_t *out = NULL;
    read_cut(&look);
    if (read_side(&look.new, ask->target, ask->service, err)) {
        read_old(&look);
        out = look_json(&look, before);
    }
    side_done(&look.new);
    side_done(&look.old);
    service_topics_done(&look.topics);
    json_decref(look.ends);
    if (look.has_cut) {
        cut_done(&look.cut);
    }
    return out;
}
