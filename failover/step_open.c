/* The target is writable: entries of the write fence go, what waited for the target to be primary is given, settings that only
 * a copy needs are given back. The point of no return.
 *
 * Each of the three is a record of the control topic that says what is ours; a record changes behind the cluster. What the fence
 * of the mirror's own principal denies stays: it is Ferry's, and goes with `ferry fence remove`.
 *
 * Evidence: {"denies_removed": N, "acls_given": N, "settings_given_back": N, "settings_left": [TEXT..]}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "failover/acl_sync.h"
#include "failover/fence.h"
#include "failover/steps.h"

#define SETTINGS_AT_ONCE 16 /* of one topic; topic_plan forces three */

#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */

struct pairs { /* name, value, .. of one topic; NULL behind the last */
    const char *texts[2 * SETTINGS_AT_ONCE + 1];
};

struct opening {
    struct operation *op;
    size_t denies;
    size_t given;
    size_t back;
    json_t *left; /* settings that somebody else changed */
};

static json_t *parse(const char *text, const char *name)
{
    return text == NULL ? NULL : json_parse(text, strlen(text), name, NULL);
}

static bool write_json(struct operation *op, const char *key, json_t *record, struct err *err)
{
    char *text = json_text(operation_sign(op, record));
    const struct control_record one = {.key = key, .value = text};
    bool ok = operation_write(op, &one, 1, err);
    free(text);
    return ok;
}

/* --- the write fence ---------------------------------------------------------------------------------------------- */

/* What remains denied is the mirror's own principal, where `fence` had to do that. */
static json_t *fence_after(const struct operation *op)
{
    static const char *const ours[] = {"topics", "before"};
    json_t *topics = json_object();
    const json_t *denied = json_object_get(operation_kept(op, "fence"), "denied");
    const char *principal = json_string_value(json_object_get(denied, "principal"));
    for (size_t i = 0; i < 2; i++) {
        size_t index;
        json_t *topic;
        json_array_foreach (json_object_get(denied, ours[i]), index, topic) {
            json_object_set_new(
                topics, json_string_value(topic),
                json_pack("{sss[s]s[]}", "state", "denied", "ours", principal, "theirs"));
        }
    }
    return topics;
}

static bool open_fence(struct opening *opening, struct err *err)
{
    struct operation *op = opening->op;
    struct acl_list all;
    struct acl_list stay;
    struct acl_list gone = {.acls = NULL};
    json_t *before = fence_topics_parse(op->state->fence_json);
    json_t *after = fence_after(op);
    fence_entries(before, &all);
    fence_entries(after, &stay);
    acl_list_missing(&all, &stay, &gone);
    bool ok = (gone.count == 0 || admin_acls_delete(op->target_operator, &gone, err)) &&
              (json_equal(before, after) || (before == NULL && json_object_size(after) == 0) ||
               write_json(op, "fence", json_pack("{sO}", "topics", after), err));
    opening->denies = gone.count;
    acl_list_free(&all);
    acl_list_free(&stay);
    acl_list_free(&gone);
    json_decref(before);
    json_decref(after);
    return ok;
}

/* --- what was withheld -------------------------------------------------------------------------------------------- */

static bool write_acls(struct operation *op, const struct acl_sync_record *record, bool given,
                       struct err *err)
{
    struct acl_list ours = {.acls = NULL};
    struct acl_list none = {.acls = NULL};
    for (size_t i = 0; i < record->ours.count; i++) {
        acl_list_add(&ours, &record->ours.acls[i]);
    }
    for (size_t i = 0; i < record->withheld.count; i++) {
        acl_list_add(&ours, &record->withheld.acls[i]);
    }
    acl_list_sort(&ours);
    json_t *json = json_pack("{soso}", "ours", acl_sync_entries(&ours), "withheld",
                             acl_sync_entries(given ? &none : &record->withheld));
    bool ok = write_json(op, "acls", json, err);
    json_decref(json);
    acl_list_free(&ours);
    return ok;
}

/* In the record as ours before they are on the cluster. */
static bool give_acls(struct opening *opening, struct err *err)
{
    struct operation *op = opening->op;
    struct acl_sync_record record;
    acl_sync_parse(op->state->acls_json, &record);
    opening->given = record.withheld.count;
    bool ok = record.withheld.count == 0 ||
              (write_acls(op, &record, false, err) &&
               admin_acls_create(op->target_operator, &record.withheld, err) &&
               write_acls(op, &record, true, err));
    acl_sync_record_done(&record);
    return ok;
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static const char *value_of(const struct admin_topic_config *config, const char *name)
{
    for (size_t i = 0; i < config->settings_count; i++) {
        if (strcmp(config->settings[i].name, name) == 0) {
            return config->settings[i].value;
        }
    }
    return NULL;
}

/* Only what is as we left it; what somebody changed since is his. Old values, or none: then it is the brokers' again. */
static size_t give_back_topic(struct opening *opening, const json_t *forced,
                              const struct admin_topic_config *config, struct pairs *pairs)
{
    const char *name;
    json_t *change;
    size_t count = 0;
    json_object_foreach ((json_t *)(uintptr_t)forced, name, change) {
        const char *ours = json_string_value(json_array_get(change, 1));
        const char *old = json_string_value(json_array_get(change, 0));
        const char *now = value_of(config, name);
        if (now == NULL || ours == NULL || count == SETTINGS_AT_ONCE) {
            continue;
        }
        if (strcmp(now, ours) == 0) {
            pairs->texts[2 * count] = name;
            pairs->texts[2 * count + 1] = old;
            count++;
        } else if (old == NULL || strcmp(now, old) != 0) {
            char text[500];
            snprintf(text, sizeof(text), "%.250s: %.100s is %.100s", config->topic, name, now);
            json_array_append_new(opening->left, json_string(text));
        }
    }
    pairs->texts[2 * count] = NULL;
    opening->back += count;
    return count;
}

/* A topic that is gone wants nothing. */
static bool judge(const struct err *why, struct err *err)
{
    if (why->kind == ERR_NONE || why->code == CODE_NO_TOPIC) {
        return true;
    }
    *err = *why;
    return false;
}

static bool alter_all(struct opening *opening, const struct admin_topic_config *configs,
                      const json_t *const *forced, size_t count, struct err *err)
{
    struct pairs *pairs = must(calloc(count + 1, sizeof(*pairs)));
    struct admin_topic_change *changes = must(calloc(count + 1, sizeof(*changes)));
    size_t changes_count = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = judge(&configs[i].err, err);
        struct pairs *mine = &pairs[changes_count];
        if (ok && configs[i].err.kind == ERR_NONE &&
            give_back_topic(opening, forced[i], &configs[i], mine) > 0) {
            changes[changes_count++] =
                (struct admin_topic_change){.topic = configs[i].topic, .settings = mine->texts};
        }
    }
    if (ok) {
        admin_alter_topics(opening->op->target, changes, changes_count);
    }
    for (size_t i = 0; ok && i < changes_count; i++) {
        ok = judge(&changes[i].err, err);
    }
    free(pairs);
    free(changes);
    return ok;
}

static bool give_back(struct opening *opening, struct err *err)
{
    struct operation *op = opening->op;
    json_t *record = parse(op->state->topics_json, "topics");
    json_t *topics = json_object_get(record, "topics");
    size_t count = json_array_size(topics);
    struct admin_topic_config *configs = must(calloc(count + 1, sizeof(*configs)));
    const json_t **forced = must(calloc(count + 1, sizeof(*forced)));
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *topic = json_array_get(topics, i);
        const json_t *settings = json_object_get(topic, "forced");
        const char *name = json_string_value(json_object_get(topic, "name"));
        if (name != NULL && json_object_size(settings) > 0) {
            forced[asked] = settings;
            configs[asked++].topic = name;
        }
    }
    admin_topics_settings(op->target, configs, asked);
    bool ok = alter_all(opening, configs, forced, asked, err);
    for (size_t i = 0; i < asked; i++) {
        admin_settings_free(configs[i].settings, configs[i].settings_count);
    }
    free(configs);
    free(forced);
    json_decref(record);
    return ok;
}

/* --- the row ------------------------------------------------------------------------------------------------------ */

static bool told(struct opening *opening)
{
    operation_say(opening->op, "%zu denials taken away, %zu ACLs given, %zu settings given back",
                  opening->denies, opening->given, opening->back);
    operation_note(opening->op, "open",
                   json_pack("{sIsIsIsO}", "denies_removed", (json_int_t)opening->denies,
                             "acls_given", (json_int_t)opening->given, "settings_given_back",
                             (json_int_t)opening->back, "settings_left", opening->left));
    return true;
}

bool step_open_done(struct operation *op, bool *out, struct err *err)
{
    (void)err;
    *out = operation_kept(op, "open") != NULL; /* kept behind all three */
    return true;
}

bool step_open_act(struct operation *op, struct err *err)
{
    struct opening opening = {.op = op, .left = json_array()};
    bool ok = open_fence(&opening, err) && give_acls(&opening, err) && give_back(&opening, err) &&
              told(&opening);
    json_decref(opening.left);
    return ok;
}

bool step_open_plan(struct operation *op, struct err *err)
{
    struct acl_list denies;
    struct acl_sync_record acls;
    json_t *fence = fence_topics_parse(op->state->fence_json);
    fence_entries(fence, &denies);
    acl_sync_parse(op->state->acls_json, &acls);
    operation_say(
        op, "%zu denials would be taken away, %zu ACLs given; behind this nothing is taken back",
        denies.count, acls.withheld.count);
    bool ok = operation_keep(op, "open",
                             json_pack("{sIsI}", "denies_removed", (json_int_t)denies.count,
                                       "acls_given", (json_int_t)acls.withheld.count),
                             err);
    acl_sync_record_done(&acls);
    acl_list_free(&denies);
    json_decref(fence);
    return ok;
}
