/* What is recorded of a service's names: record `dns` of the control topic, as text and back. No I/O. */
#include <string.h>

#include "base/json.h"
#include "dns/name.h"

static bool wrong(struct err *err, const char *what)
{
    err_set(err, ERR_REFUSED, "record 'dns' of the control topic cannot be read: %s", what);
    return err_hint(err, "see who writes to the topic besides ferry; ferry dns adopt records anew");
}

struct dns_entry *dns_recorded_find(struct dns_recorded *recorded, const char *name)
{
    for (size_t i = 0; i < recorded->count; i++) {
        if (strcmp(recorded->entries[i].name, name) == 0) {
            return &recorded->entries[i];
        }
    }
    return NULL;
}

struct dns_entry *dns_recorded_at(struct dns_recorded *recorded, const char *name)
{
    struct dns_entry *entry = dns_recorded_find(recorded, name);
    if (entry == NULL && recorded->count < DNS_ENTRIES_MAX) {
        entry = &recorded->entries[recorded->count++];
        *entry = (struct dns_entry){.ttl_before_s = -1};
        snprintf(entry->name, sizeof(entry->name), "%s", name);
    }
    return entry;
}

/* A name, null or not there; the last two are "". */
static bool get_name(const json_t *object, const char *key, char out[DNS_NAME_BYTES])
{
    const json_t *value = json_object_get(object, key);
    out[0] = '\0';
    return value == NULL || json_is_null(value) ||
           (json_is_string(value) && dns_name(json_string_value(value), out));
}

static bool get_seconds(const json_t *object, const char *key, int64_t *out)
{
    const json_t *value = json_object_get(object, key);
    *out = json_is_integer(value) ? json_integer_value(value) : -1;
    return value == NULL || (*out >= 0 && *out <= INT32_MAX);
}

static bool parse_entry(struct dns_recorded *out, const char *key, const json_t *value,
                        struct err *err)
{
    char name[DNS_NAME_BYTES];
    if (!dns_name(key, name) || dns_recorded_find(out, name) != NULL) {
        return wrong(err, "records: not the name of a record, or one that stands there twice");
    }
    struct dns_entry *entry = dns_recorded_at(out, name);
    if (entry == NULL) {
        return wrong(err, "records: more than there can be");
    }
    return (json_is_object(value) && get_name(value, "value", entry->value) &&
            get_name(value, "next", entry->next) && get_seconds(value, "ttl", &entry->ttl_s) &&
            get_seconds(value, "ttl_before", &entry->ttl_before_s)) ||
           wrong(err, "records: expected value, next, ttl, ttl_before");
}

static bool parse(const json_t *tree, struct dns_recorded *out, struct err *err)
{
    const char *name;
    json_t *value;
    json_t *records = json_object_get(tree, "records");
    int64_t epoch = json_integer_value(json_object_get(tree, "epoch"));
    if (!json_is_object(records) || epoch < 1) {
        return wrong(err, "expected epoch and records");
    }
    json_object_foreach (records, name, value) {
        if (!parse_entry(out, name, value, err)) {
            return false;
        }
    }
    out->epoch = epoch;
    return true;
}

bool dns_recorded_parse(const char *json, struct dns_recorded *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    if (json == NULL) {
        return true;
    }
    json_t *tree = json_parse(json, strlen(json), "dns", NULL);
    bool ok = tree != NULL ? parse(tree, out, err) : wrong(err, "no JSON");
    json_decref(tree);
    if (!ok) {
        memset(out, 0, sizeof(*out));
    }
    return ok;
}

json_t *dns_recorded_json(const struct dns_recorded *recorded)
{
    json_t *records = json_object();
    for (size_t i = 0; i < recorded->count; i++) {
        const struct dns_entry *entry = &recorded->entries[i];
        json_t *value = json_pack("{sosI}", "value",
                                  entry->value[0] == '\0' ? json_null() : json_string(entry->value),
                                  "ttl", (json_int_t)entry->ttl_s);
        if (entry->next[0] != '\0') {
            json_object_set_new(value, "next", json_string(entry->next));
        }
        if (entry->ttl_before_s >= 0) {
            json_object_set_new(value, "ttl_before", json_integer(entry->ttl_before_s));
        }
        json_object_set_new(records, entry->name, value);
    }
    return json_pack("{sIso}", "epoch", (json_int_t)recorded->epoch, "records", records);
}
