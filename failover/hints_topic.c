#include "failover/hints_topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "offsets/checkpoint.h"

#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */
#define PLACES_A_RECORD \
    100 /* of a group that is too large for one: 200 runs of 25 bytes each make 0.5 MB */

char *hints_topic(const char *service, char out[HINTS_TOPIC_BYTES])
{
    snprintf(out, HINTS_TOPIC_BYTES, "ferry.hints.%s", service);
    return out;
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

void hints_texts_of(const struct cut *cut, const struct cut_options *options,
                    struct hints_texts *out)
{
    *out = (struct hints_texts){.groups = must(calloc(cut->groups_count + 1, sizeof(char *))),
                                .texts = must(calloc(cut->groups_count + 1, sizeof(char *)))};
    for (size_t i = 0; i < cut->groups_count; i++) {
        out->groups[out->count] = must(strdup(cut->groups[i].name));
        out->texts[out->count++] = cut_hints(cut, &cut->groups[i], options);
    }
}

void hints_texts_done(struct hints_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->groups[i]);
        free(texts->texts[i]);
    }
    free(texts->groups);
    free(texts->texts);
    *texts = (struct hints_texts){0};
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

struct records {
    struct publish_record *rows;
    size_t count;
};

static void add(struct records *records, char *take_key, char *take_value)
{
    records->rows =
        must(reallocarray(records->rows, records->count + 1, sizeof(struct publish_record)));
    records->rows[records->count++] = (struct publish_record){.key = take_key, .value = take_value};
}

static char *key_of(size_t part, const char *group)
{
    char *key = NULL;
    if (asprintf(&key, "%zu/%s", part, group) < 0) {
        abort();
    }
    return key;
}

static void add_in_parts(struct records *records, const char *group, const char *text)
{
    json_t *whole = json_parse(text, strlen(text), "hints", NULL);
    const json_t *places = json_object_get(whole, "places");
    size_t count = json_array_size(places);
    size_t parts = (count + PLACES_A_RECORD - 1) / PLACES_A_RECORD;
    for (size_t part = 0; part < parts; part++) {
        json_t *one = json_copy(whole); /* shallow */
        json_t *some = json_array();
        for (size_t i = part * PLACES_A_RECORD; i < count && i < (part + 1) * PLACES_A_RECORD;
             i++) {
            json_array_append(some, json_array_get(places, i));
        }
        json_object_set_new(one, "places", some);
        json_object_set_new(one, "parts", json_integer((json_int_t)parts));
        add(records, key_of(part, group), must(json_text(one)));
        json_decref(one);
    }
    json_decref(whole);
}

static bool write_records(struct publisher *publisher, struct admin *admin, const char *service,
                          struct records *take_records, int32_t timeout_ms, struct err *err)
{
    char topic[HINTS_TOPIC_BYTES];
    bool ok = take_records->count == 0 ||
              publish(publisher, admin, hints_topic(service, topic), take_records->rows,
                      take_records->count, timeout_ms, err);
    for (size_t i = 0; i < take_records->count; i++) {
        free((char *)(uintptr_t)take_records->rows[i].key);
        free((char *)(uintptr_t)take_records->rows[i].value);
    }
    free(take_records->rows);
    return ok;
}

bool hints_topic_write(struct publisher *publisher, struct admin *admin, const char *service,
                       const struct hints_texts *texts, int32_t timeout_ms, struct err *err)
{
    struct records records = {0};
    for (size_t i = 0; i < texts->count; i++) {
        if (strlen(texts->texts[i]) <= PUBLISH_VALUE_BYTES) {
            add(&records, key_of(0, texts->groups[i]), must(strdup(texts->texts[i])));
        } else {
            add_in_parts(&records, texts->groups[i], texts->texts[i]);
        }
    }
    return write_records(publisher, admin, service, &records, timeout_ms, err);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The newest record of each key: {KEY: JSON}. What cannot be read, or was taken back, is not there. */
static void take(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
    json_t *newest = arg;
    json_object_deln(newest, key, key_len);
    json_t *parsed = value == NULL || memchr(key, '\0', key_len) != NULL
                         ? NULL
                         : json_parse(value, value_len, "hints", NULL);
    if (parsed != NULL) {
        json_object_setn_new(newest, key, key_len, parsed);
    }
}

/* Appends what other parts have. false: one is missing, or of another operation. */
static bool join(const json_t *newest, const char *group, json_t *first)
{
    json_int_t parts = json_integer_value(json_object_get(first, "parts"));
    json_t *places = json_object_get(first, "places");
    for (json_int_t part = 1; part < parts; part++) {
        char *key = key_of((size_t)part, group);
        const json_t *one = json_object_get(newest, key);
        free(key);
        if (one == NULL ||
            !json_equal(json_object_get(one, "operation"), json_object_get(first, "operation")) ||
            json_array_extend(places, json_object_get(one, "places")) != 0) {
            return false;
        }
    }
    json_object_del(first, "parts");
    return true;
}

json_t *hints_topic_read(const struct config_client *client, const char *service,
                         int32_t timeout_ms, struct err *err)
{
    char topic[HINTS_TOPIC_BYTES];
    json_t *newest = json_object();
    json_t *out = NULL;
    if (publish_read(client, hints_topic(service, topic), timeout_ms, take, newest, err)) {
        const char *key;
        json_t *value;
        out = json_object();
        json_object_foreach (newest, key, value) {
            if (strncmp(key, "0/", 2) == 0 && json_is_object(value) &&
                join(newest, key + 2, value)) {
                json_object_set(out, key + 2, value);
            }
        }
    }
    json_decref(newest);
    return out;
}

/* --- taking back -------------------------------------------------------------------------------------------------- */

struct past {
    const char *operation;
    json_t *ours;   /* {KEY: true}: the newest record names the operation */
    json_t *before; /* {KEY: TEXT} of the newest record that does not */
};

static void take_past(void *arg, const char *key, size_t key_len, const char *value,
                      size_t value_len)
{
    struct past *past = arg;
    if (memchr(key, '\0', key_len) != NULL) {
        return;
    }
    json_t *parsed = value == NULL ? NULL : json_parse(value, value_len, "hints", NULL);
    const char *operation = json_string_value(json_object_get(parsed, "operation"));
    bool ours = operation != NULL && strcmp(operation, past->operation) == 0;
    json_decref(parsed);
    if (ours) {
        json_object_setn_new(past->ours, key, key_len, json_true());
        return;
    }
    json_object_deln(past->ours, key, key_len);
    json_object_deln(past->before, key, key_len);
    json_t *text = value == NULL ? NULL : json_stringn(value, value_len);
    if (text != NULL) {
        json_object_setn_new(past->before, key, key_len, text);
    }
}

bool hints_topic_restore(const struct config_client *client, struct publisher *publisher,
                         struct admin *admin, const char *service, const char *operation,
                         int32_t timeout_ms, struct err *err)
{
    char topic[HINTS_TOPIC_BYTES];
    struct past past = {.operation = operation, .ours = json_object(), .before = json_object()};
    struct records records = {0};
    struct err why = {0};
    const char *key;
    json_t *unused;
    bool read =
        publish_read(client, hints_topic(service, topic), timeout_ms, take_past, &past, &why);
    json_object_foreach (past.ours, key, unused) {
        const char *before = json_string_value(json_object_get(past.before, key));
        add(&records, must(strdup(key)), before == NULL ? NULL : must(strdup(before)));
    }
    json_decref(past.ours);
    json_decref(past.before);
    bool ok = write_records(publisher, admin, service, &records, timeout_ms, err);
    if (!read && why.code != CODE_NO_TOPIC) {
        *err = why;
        ok = false;
    }
    return ok;
}
