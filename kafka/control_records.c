#include "kafka/control_records.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"

#ifndef __clang__
/* gcc's analyzer forgets what was stored under an index that it cannot compute, and calls it a leak; the tests run with
 * leak checks. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* Longest key: "op/" + id (64) + "/" + step (64). */
#define KEY_BYTES      160
#define TOPIC_NAME_MAX 249
#define PARTITIONS_MAX 1000000
#define TOPICS_MAX     100000 /* of one service; a record of 16 MiB holds fewer */
#define PREVIOUS_MAX   16
/* Operations are one at a time; an operator cannot leave so many open, a broken writer can. */
#define OPERATIONS_MAX   256
#define OPERATION_ID_MAX 64

struct operation { /* one that is open, or whose record cannot be read: then it counts as open */
    char id[OPERATION_ID_MAX + 1];
    struct operation *next;
};

enum slot {
    SLOT_ROLE,
    SLOT_STREAMS,
    SLOT_TOPICS,
    SLOT_KEEPER,
    SLOT_ORDER,
    SLOT_FENCE,
    SLOT_DNS,
    SLOT_ACLS,
    SLOT_PATH,
    SLOT_OPERATION,
    SLOTS
};

struct control_records {
    struct control_state now; /* its topics and texts are ours */
    struct operation *operations;
    size_t operations_count;
    struct err bad[SLOTS];                    /* ERR_NONE = none */
    char bad_operation[OPERATION_ID_MAX + 1]; /* whose error stands in bad[SLOT_OPERATION] */
    json_t *kept;                             /* NULL = operations are not kept */
    bool evidence;                            /* and theirs is */
};

/* ---- pieces ---- */

static bool wrong(struct err *err, const char *what)
{
    return err_set(err, ERR_REFUSED, "%s", what);
}

static bool get_epoch(const json_t *record, int64_t *out, struct err *err)
{
    int64_t epoch;
    if (!json_get_int(record, "epoch", &epoch, err)) {
        return false;
    }
    if (epoch < 1 || epoch == INT64_MAX) { /* the next one must exist */
        return wrong(err, "epoch: out of range");
    }
    *out = epoch;
    return true;
}

static bool get_name(const json_t *record, const char *key, char *out, size_t size, struct err *err)
{
    const char *text;
    if (!json_get_string(record, key, &text, err)) {
        return false;
    }
    if (text[0] == '\0' || strlen(text) >= size) {
        return err_set(err, ERR_REFUSED, "%s: empty or too long", key);
    }
    snprintf(out, size, "%s", text);
    return true;
}

static bool parse_hash(const json_t *value, uint64_t *out)
{
    const char *text = json_string_value(value);
    uint64_t hash = 0;
    if (!text || strlen(text) != 16) {
        return false;
    }
    for (int i = 0; i < 16; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = strchr(digits, text[i]);
        if (!digit) {
            return false;
        }
        hash = hash << 4 | (uint64_t)(digit - digits);
    }
    *out = hash;
    return true;
}

static bool get_uuid(const json_t *record, const char *key, struct uuid *out, struct err *err)
{
    const char *text;
    if (!json_get_string(record, key, &text, err)) {
        return false;
    }
    return uuid_parse_hex(text, out) ||
           err_set(err, ERR_REFUSED, "%s: expected 32 hex digits", key);
}

static bool is_topic_name(const char *name)
{
    size_t len = strlen(name);
    bool legal =
        len > 0 && len <= TOPIC_NAME_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    return legal && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789._-") == len;
}

static void replace_text(char **text, const char *value, size_t len)
{
    free(*text);
    *text = value ? must(strndup(value, len)) : NULL;
}

/* ---- role, streams, keeper, order ---- */

/* What a record is read into before any of it counts. */
struct parsed {
    const json_t *record;
    const char *text;
    size_t len;
};

static bool take_role(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    int64_t epoch = 0;
    char primary[sizeof(now->primary)] = "";
    if (parsed && (!get_epoch(parsed->record, &epoch, err) ||
                   !get_name(parsed->record, "primary", primary, sizeof(primary), err))) {
        return false;
    }
    now->role_epoch = epoch;
    memcpy(now->primary, primary, sizeof(primary));
    replace_text(&now->role_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

static bool get_previous(const json_t *record, uint64_t *out, size_t *out_count, struct err *err)
{
    const json_t *previous = json_object_get(record, "previous");
    size_t count = json_array_size(previous);
    if (previous && !json_is_array(previous)) {
        return wrong(err, "previous: expected an array");
    }
    if (count > PREVIOUS_MAX) {
        return wrong(err, "previous: too many");
    }
    for (size_t i = 0; i < count; i++) {
        if (!parse_hash(json_array_get(previous, i), &out[i])) {
            return wrong(err, "previous: expected 16 hex digits each");
        }
    }
    *out_count = count;
    return true;
}

/* Both came later than the record: without them there was no filter yet. */
static bool get_filter(const json_t *record, uint64_t *out_filter, int32_t *out_generation,
                       struct err *err)
{
    const json_t *filter = json_object_get(record, "filter");
    const json_t *generation = json_object_get(record, "generation");
    if (filter && !parse_hash(filter, out_filter)) {
        return wrong(err, "filter: expected 16 hex digits");
    }
    json_int_t value = json_integer_value(generation);
    /* One beyond the last generation: they have run out. */
    if (generation && (!json_is_integer(generation) || value < 0 || value > INT16_MAX + 1)) {
        return wrong(err, "generation: out of range");
    }
    *out_generation = (int32_t)value;
    return true;
}

/* One of the two that carry data; a record without one says nothing. */
static bool get_path(const json_t *record, bool needed, enum config_path *out, struct err *err)
{
    const json_t *value = json_object_get(record, "path");
    const char *text = json_string_value(value);
    if (!value && !needed) {
        return true;
    }
    for (int path = PATH_BATCHES; text && path <= PATH_RECORDS; path++) {
        if (strcmp(text, config_path_name((enum config_path)path)) == 0) {
            *out = (enum config_path)path;
            return true;
        }
    }
    return wrong(err, "path: expected batches or records");
}

static bool take_streams(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    int64_t epoch = 0;
    uint64_t hash = 0;
    uint64_t previous[PREVIOUS_MAX] = {0};
    size_t count = 0;
    uint64_t filter = 0;
    int32_t generation = 0;
    enum config_path path = PATH_AUTO;
    if (parsed) {
        if (!get_epoch(parsed->record, &epoch, err) ||
            !get_path(parsed->record, false, &path, err)) {
            return false;
        }
        if (!get_filter(parsed->record, &filter, &generation, err)) {
            return false;
        }
        if (!parse_hash(json_object_get(parsed->record, "hash"), &hash)) {
            return wrong(err, "hash: expected 16 hex digits");
        }
        if (!get_previous(parsed->record, previous, &count, err)) {
            return false;
        }
    }
    now->streams_epoch = epoch;
    now->streams_hash = hash;
    memcpy(now->streams_previous, previous, sizeof(previous));
    now->streams_previous_count = count;
    now->streams_filter = filter;
    now->streams_generation = generation;
    now->streams_path = path;
    return true;
}
_Static_assert(sizeof(((struct control_state *)0)->streams_previous) / sizeof(uint64_t) ==
                   PREVIOUS_MAX,
               "the state holds what a record may");

static bool take_keeper(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    char keeper[sizeof(now->keeper)] = "";
    if (parsed && !get_name(parsed->record, "worker", keeper, sizeof(keeper), err)) {
        return false;
    }
    memcpy(now->keeper, keeper, sizeof(keeper));
    return true;
}

static bool take_order(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    const char *state = "run";
    char operation[sizeof(now->fence_operation)] = "";
    if (parsed && !json_get_string(parsed->record, "state", &state, err)) {
        return false;
    }
    bool fenced = strcmp(state, "fence") == 0;
    if (strcmp(state, "run") != 0 && strcmp(state, "pause") != 0 && !fenced) {
        return wrong(err, "state: expected run, pause or fence");
    }
    if (fenced && !get_name(parsed->record, "operation", operation, sizeof(operation), err)) {
        return false;
    }
    now->paused = strcmp(state, "pause") == 0;
    memcpy(now->fence_operation, operation, sizeof(operation));
    replace_text(&now->order_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

static bool take_fence(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    if (parsed && !json_is_object(json_object_get(parsed->record, "topics"))) {
        return wrong(err, "topics: expected an object");
    }
    replace_text(&now->fence_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

static bool take_dns(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    if (parsed && !json_is_object(json_object_get(parsed->record, "records"))) {
        return wrong(err, "records: expected an object");
    }
    replace_text(&now->dns_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

static bool take_acls(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    if (parsed && !json_is_array(json_object_get(parsed->record, "ours"))) {
        return wrong(err, "ours: expected an array");
    }
    replace_text(&now->acls_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

static bool take_path(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    enum config_path path = PATH_AUTO;
    if (parsed && !get_path(parsed->record, true, &path, err)) {
        return false;
    }
    now->path = path;
    replace_text(&now->path_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

/* ---- topics ---- */

static void topics_free(struct control_topic *topics, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(topics[i].name);
    }
    free(topics);
}

static bool parse_topic(const json_t *entry, struct control_topic *out, struct err *err)
{
    const char *name;
    int64_t partitions;
    if (!json_get_string(entry, "name", &name, err) ||
        !get_uuid(entry, "source_id", &out->source_id, err) ||
        !get_uuid(entry, "target_id", &out->target_id, err) ||
        !json_get_int(entry, "partitions", &partitions, err)) {
        return false;
    }
    if (!is_topic_name(name)) {
        return wrong(err, "name: not the name of a topic");
    }
    if (partitions < 1 || partitions > PARTITIONS_MAX) {
        return wrong(err, "partitions: out of range");
    }
    out->partitions_count = (int32_t)partitions;
    out->name = must(strdup(name));
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool any_twice(const struct control_topic *topics, size_t count)
{
    char **names = must(calloc(count + 1, sizeof(*names)));
    bool twice = false;
    for (size_t i = 0; i < count; i++) {
        names[i] = topics[i].name;
    }
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 1; i < count; i++) {
        twice = twice || strcmp(names[i - 1], names[i]) == 0;
    }
    free(names);
    return twice;
}

static bool parse_topics(const json_t *list, struct control_topic **out, size_t *out_count,
                         struct err *err)
{
    size_t count = json_array_size(list);
    size_t done = 0;
    if (!json_is_array(list) || count > TOPICS_MAX) {
        return wrong(err, "topics: expected an array of at most 100000");
    }
    struct control_topic *topics = must(calloc(count + 1, sizeof(*topics)));
    bool ok = true;
    for (; ok && done < count; done += ok) {
        ok = parse_topic(json_array_get(list, done), &topics[done], err) ||
             err_wrap(err, "topics[%zu]", done);
    }
    if (ok && any_twice(topics, count)) {
        ok = wrong(err, "topics: a name stands there twice");
    }
    if (!ok) {
        topics_free(topics, done);
        return false;
    }
    *out = topics;
    *out_count = count;
    return true;
}

static bool take_topics(struct control_state *now, const struct parsed *parsed, struct err *err)
{
    int64_t epoch = 0;
    struct control_topic *topics = NULL;
    size_t count = 0;
    if (parsed &&
        (!get_epoch(parsed->record, &epoch, err) ||
         !parse_topics(json_object_get(parsed->record, "topics"), &topics, &count, err))) {
        return false;
    }
    topics_free(now->topics, now->topics_count);
    now->topics = topics;
    now->topics_count = count;
    now->topics_epoch = epoch;
    now->has_topics = parsed != NULL;
    replace_text(&now->topics_json, parsed ? parsed->text : NULL, parsed ? parsed->len : 0);
    return true;
}

/* ---- operations ---- */

static void copy_id(char out[OPERATION_ID_MAX + 1], const char *id)
{
    size_t len = strlen(id);
    assert(len <= OPERATION_ID_MAX); /* operation_of() */
    memcpy(out, id, len + 1);
}

static struct operation **operation_at(struct control_records *records, const char *id)
{
    struct operation **at = &records->operations;
    while (*at && strcmp((*at)->id, id) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static bool operation_open(struct control_records *records, const char *id, struct err *err)
{
    struct operation **at = operation_at(records, id);
    if (*at) {
        return true;
    }
    if (records->operations_count == OPERATIONS_MAX) {
        return wrong(err, "more operations open than there can be");
    }
    *at = must(calloc(1, sizeof(**at)));
    copy_id((*at)->id, id);
    records->operations_count++;
    return true;
}

static void operation_close(struct control_records *records, const char *id)
{
    struct operation **at = operation_at(records, id);
    struct operation *closed = *at;
    if (closed) {
        *at = closed->next;
        free(closed);
        records->operations_count--;
    }
}

/* A record that cannot be read counts as an open operation: whoever else acts must wait for a person to look. */
static bool take_operation(struct control_records *records, const char *id,
                           const struct parsed *parsed, struct err *err)
{
    bool open = false;
    if (parsed && !json_get_bool(parsed->record, "open", &open, err)) {
        return false;
    }
    if (open) {
        return operation_open(records, id, err);
    }
    operation_close(records, id);
    return true;
}

static void operation_unreadable(struct control_records *records, const char *id)
{
    if (operation_open(records, id, NULL)) {
        copy_id(records->bad_operation, id);
    }
}

/* ---- a record in its turn ---- */

static const struct slot_form {
    const char *key;
    enum slot slot;
    bool (*take)(struct control_state *now, const struct parsed *parsed, struct err *err);
} forms[] = {
    {"role",    SLOT_ROLE,    take_role   },
    {"streams", SLOT_STREAMS, take_streams},
    {"topics",  SLOT_TOPICS,  take_topics },
    {"keeper",  SLOT_KEEPER,  take_keeper },
    {"order",   SLOT_ORDER,   take_order  },
    {"fence",   SLOT_FENCE,   take_fence  },
    {"dns",     SLOT_DNS,     take_dns    },
    {"acls",    SLOT_ACLS,    take_acls   },
    {"path",    SLOT_PATH,    take_path   },
};

static const struct slot_form *form_of(const char *key)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(forms[i].key, key) == 0) {
            return &forms[i];
        }
    }
    return NULL;
}

/* "op/ID": the id. NULL for its steps ("op/ID/STEP") and everything else. */
static const char *operation_of(const char *key)
{
    if (strncmp(key, "op/", 3) != 0 || strchr(key + 3, '/') != NULL) {
        return NULL;
    }
    size_t len = strlen(key + 3);
    return len > 0 && len <= OPERATION_ID_MAX ? key + 3 : NULL;
}

static bool take(struct control_records *records, const struct slot_form *form, const char *id,
                 const struct parsed *parsed, struct err *err)
{
    if (parsed && !json_is_object(parsed->record)) {
        return wrong(err, "expected an object");
    }
    return form ? form->take(&records->now, parsed, err) : take_operation(records, id, parsed, err);
}

static bool put(struct control_records *records, const struct slot_form *form, const char *id,
                const char *key, const char *value, size_t value_len, struct err *err)
{
    if (!value) {
        return take(records, form, id, NULL, err);
    }
    json_t *record = json_parse(value, value_len, key, err);
    if (!record) {
        return false;
    }
    const struct parsed parsed = {record, value, value_len};
    bool ok = take(records, form, id, &parsed, err);
    json_decref(record);
    return ok;
}

static void mark_good(struct control_records *records, enum slot slot, const char *id)
{
    bool another = id && strcmp(records->bad_operation, id) != 0;
    if (!another) {
        records->bad[slot] = (struct err){0};
    }
}

/* "op/ID/STEP/N": a piece of a step's evidence. */
static bool is_piece(const char *key)
{
    size_t slashes = 0;
    for (; *key != '\0'; key++) {
        slashes += *key == '/' ? 1 : 0;
    }
    return slashes > 2;
}

/* What cannot be read is not kept: an operation is then open by its key alone. */
static void keep(struct control_records *records, const char *key, const char *value,
                 size_t value_len)
{
    if (!records->kept || strncmp(key, "op/", 3) != 0) {
        return;
    }
    if (!records->evidence && is_piece(key)) {
        return;
    }
    json_t *record = value ? json_parse(value, value_len, key, NULL) : NULL;
    if (json_is_object(record)) {
        if (!records->evidence) {
            json_object_del(record, "evidence");
        }
        json_object_set(records->kept, key, record);
    } else {
        json_object_del(records->kept, key);
    }
    json_decref(record);
}

bool control_records_put(struct control_records *records, const char *key, size_t key_len,
                         const char *value, size_t value_len, struct err *err)
{
    char name[KEY_BYTES];
    struct err why = {0};
    if (!key || key_len == 0 || key_len >= sizeof(name) || memchr(key, '\0', key_len)) {
        return true; /* none of ours */
    }
    memcpy(name, key, key_len);
    name[key_len] = '\0';
    keep(records, name, value, value_len);
    const struct slot_form *form = form_of(name);
    const char *id = form ? NULL : operation_of(name);
    if (!form && !id) {
        return true;
    }
    enum slot slot = form ? form->slot : SLOT_OPERATION;
    if (put(records, form, id, name, value, value_len, &why)) {
        mark_good(records, slot, id);
        return true;
    }
    if (id) {
        operation_unreadable(records, id);
    }
    why.kind = ERR_REFUSED;
    err_wrap(&why, "record '%s' of the control topic cannot be read", name);
    err_hint(&why, "what stood there before counts; see who writes to the topic besides ferry");
    records->bad[slot] = why;
    if (err) {
        *err = why;
    }
    return false;
}

const struct err *control_records_bad(const struct control_records *records)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (records->bad[i].kind != ERR_NONE) {
            return &records->bad[i];
        }
    }
    return NULL;
}

/* ---- life ---- */

struct control_records *control_records_new(void)
{
    return must(calloc(1, sizeof(struct control_records)));
}

void control_records_keep(struct control_records *records, bool evidence)
{
    records->kept = records->kept ? records->kept : json_object();
    records->evidence = evidence;
}

const json_t *control_records_operations(const struct control_records *records)
{
    return records->kept;
}

static void state_done(struct control_state *state)
{
    topics_free(state->topics, state->topics_count);
    free(state->topics_json);
    free(state->role_json);
    free(state->order_json);
    free(state->fence_json);
    free(state->dns_json);
    free(state->acls_json);
    free(state->path_json);
}

void control_records_free(struct control_records *records)
{
    if (!records) {
        return;
    }
    while (records->operations) {
        operation_close(records, records->operations->id);
    }
    state_done(&records->now);
    json_decref(records->kept);
    free(records);
}

struct control_state *control_records_state(const struct control_records *records)
{
    struct control_state *state = must(malloc(sizeof(*state)));
    *state = records->now;
    state->operation_open = records->operations != NULL;
    state->role_json = must_copy(state->role_json);
    state->order_json = must_copy(state->order_json);
    state->topics_json = must_copy(state->topics_json);
    state->fence_json = must_copy(state->fence_json);
    state->dns_json = must_copy(state->dns_json);
    state->acls_json = must_copy(state->acls_json);
    state->path_json = must_copy(state->path_json);
    state->topics = must(calloc(state->topics_count + 1, sizeof(*state->topics)));
    for (size_t i = 0; i < state->topics_count; i++) {
        state->topics[i] = records->now.topics[i];
        state->topics[i].name = must(strdup(records->now.topics[i].name));
    }
    return state;
}

void control_state_free(struct control_state *state)
{
    if (state) {
        state_done(state);
        free(state);
    }
}
