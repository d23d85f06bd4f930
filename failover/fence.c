#include "failover/fence.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define WHY_BYTES 400

/* --- who may write ------------------------------------------------------------------------------------------------ */

static bool allows_write(const struct acl *acl, const char *topic)
{
    return acl->permission == ACL_ALLOW &&
           (acl->operation == ACL_WRITE || acl->operation == ACL_ALL) &&
           acl_concerns(acl, ACL_TOPIC, topic);
}

static bool is_own(const struct fence_facts *facts, const char *principal)
{
    for (size_t i = 0; i < facts->own_count; i++) {
        if (strcmp(facts->own[i], principal) == 0) {
            return true;
        }
    }
    return false;
}

static struct acl deny(const char *topic, const char *principal)
{
    return (struct acl){.resource = ACL_TOPIC,
                        .pattern = ACL_LITERAL,
                        .name = (char *)(uintptr_t)topic,
                        .principal = (char *)(uintptr_t)principal,
                        .host = (char *)(uintptr_t)"*",
                        .operation = ACL_WRITE,
                        .permission = ACL_DENY};
}

static bool lists(const json_t *names, const char *name)
{
    size_t index;
    json_t *value;
    json_array_foreach (names, index, value) {
        const char *text = json_string_value(value);
        if (text != NULL && strcmp(text, name) == 0) {
            return true;
        }
    }
    return false;
}

static void add_name(json_t *names, const char *name)
{
    if (!lists(names, name)) {
        json_array_append_new(names, json_string(name));
    }
}

/* --- one topic ---------------------------------------------------------------------------------------------------- */

static void deny_holder(const struct fence_facts *facts, const struct acl *holder,
                        const char *topic, json_t *ours, json_t *theirs)
{
    const struct acl entry = deny(topic, holder->principal);
    if (!lists(ours, holder->principal) && acl_list_has(facts->acls, &entry)) {
        add_name(theirs, holder->principal); /* somebody else's: it stays when ours goes */
    } else {
        add_name(ours, holder->principal);
    }
}

/* Does anything concern it? Else allow.everyone.if.no.acl.found decides. */
static bool any_entry(const struct fence_facts *facts, const char *topic)
{
    for (size_t i = 0; i < facts->acls->count; i++) {
        if (acl_concerns(&facts->acls->acls[i], ACL_TOPIC, topic)) {
            return true;
        }
    }
    return false;
}

static void why_none(const struct fence_facts *facts, const char *topic, char why[WHY_BYTES])
{
    const struct acl_list *acls = facts->acls;
    why[0] = '\0';
    for (size_t i = 0; i < acls->count; i++) {
        const struct acl *acl = &acls->acls[i];
        if (allows_write(acl, topic) && strcmp(acl->principal, "User:*") == 0) {
            snprintf(why, WHY_BYTES,
                     "User:* may %s on the %s topic '%.260s': to deny it would stop Ferry too",
                     acl_operation_name(acl->operation), acl_pattern_name(acl->pattern), acl->name);
            return;
        }
    }
    if (!any_entry(facts, topic) && !facts->authorizer->known) {
        snprintf(why, WHY_BYTES,
                 "no ACL concerns it, and whether that lets everybody write is "
                 "not known: the operator lacks DescribeConfigs on the cluster");
    } else if (!any_entry(facts, topic) && facts->authorizer->everyone) {
        snprintf(why, WHY_BYTES,
                 "no ACL concerns it, and allow.everyone.if.no.acl.found may let "
                 "everybody write");
    }
}

static json_t *plan_topic(const struct fence_facts *facts, const char *topic, const json_t *before)
{
    char why[WHY_BYTES] = "";
    json_t *ours = json_array();
    json_t *theirs = json_array();
    size_t index;
    json_t *name;
    json_array_foreach (json_object_get(before, "ours"), index, name) {
        /* An operation denied it to the mirror of then: what is mirrored to again is written to by the mirror. */
        if (json_is_string(name) && !is_own(facts, json_string_value(name))) {
            add_name(ours, json_string_value(name));
        }
    }
    if (facts->unset != NULL) {
        text_print(why, sizeof(why), "%s", facts->unset);
    } else {
        why_none(facts, topic, why);
    }
    for (size_t i = 0; why[0] == '\0' && i < facts->acls->count; i++) {
        const struct acl *acl = &facts->acls->acls[i];
        if (allows_write(acl, topic) && !is_own(facts, acl->principal)) {
            deny_holder(facts, acl, topic, ours, theirs);
        }
    }
    const char *state = why[0] != '\0'                                         ? "none"
                        : json_array_size(ours) + json_array_size(theirs) == 0 ? "nobody"
                                                                               : "denied";
    return json_pack("{sssososs}", "state", state, "ours", ours, "theirs", theirs, "why", why);
}

json_t *fence_plan(const char *const *topics, size_t count, const struct fence_facts *facts,
                   const json_t *before)
{
    json_t *out = json_object();
    for (size_t i = 0; i < count; i++) {
        json_object_set_new(out, topics[i],
                            plan_topic(facts, topics[i], json_object_get(before, topics[i])));
    }
    return out;
}

/* --- the record --------------------------------------------------------------------------------------------------- */

json_t *fence_topics_parse(const char *record_json)
{
    json_t *record =
        record_json == NULL ? NULL : json_parse(record_json, strlen(record_json), "fence", NULL);
    json_t *topics = json_object_get(record, "topics");
    topics = json_is_object(topics) ? json_incref(topics) : NULL;
    json_decref(record);
    return topics;
}

void fence_entries(const json_t *topics, struct acl_list *out)
{
    const char *topic;
    json_t *entry;
    *out = (struct acl_list){0};
    json_object_foreach ((json_t *)(uintptr_t)topics, topic, entry) {
        size_t index;
        json_t *name;
        json_array_foreach (json_object_get(entry, "ours"), index, name) {
            if (json_is_string(name)) {
                const struct acl acl = deny(topic, json_string_value(name));
                acl_list_add(out, &acl);
            }
        }
    }
}

json_t *fence_union(const json_t *before, const json_t *after)
{
    json_t *out = json_deep_copy(after);
    const char *topic;
    json_t *entry;
    json_object_foreach ((json_t *)(uintptr_t)before, topic, entry) {
        json_t *there = json_object_get(out, topic);
        size_t index;
        json_t *name;
        if (there == NULL) {
            json_object_set_new(out, topic, json_deep_copy(entry));
            continue;
        }
        json_array_foreach (json_object_get(entry, "ours"), index, name) {
            if (json_is_string(name)) {
                add_name(json_object_get(there, "ours"), json_string_value(name));
            }
        }
    }
    return out;
}

char *fence_line(const json_t *topics, char out[FENCE_LINE_BYTES])
{
    const char *topic;
    json_t *entry;
    const char *why = "";
    size_t none = 0;
    size_t all = json_object_size(topics);
    json_object_foreach ((json_t *)(uintptr_t)topics, topic, entry) {
        const char *state = json_string_value(json_object_get(entry, "state"));
        if (state == NULL || (strcmp(state, "denied") != 0 && strcmp(state, "nobody") != 0)) {
            const char *text = json_string_value(json_object_get(entry, "why"));
            why = none++ == 0 && text != NULL ? text : why;
        }
    }
    if (all == 0) {
        snprintf(out, FENCE_LINE_BYTES, "none: none was set");
    } else if (none == all) {
        snprintf(out, FENCE_LINE_BYTES, "none: %.400s", why);
    } else if (none > 0) {
        snprintf(out, FENCE_LINE_BYTES, "%zu topics, %zu without: %.400s", all - none, none, why);
    } else {
        snprintf(out, FENCE_LINE_BYTES, "%zu topics", all);
    }
    return out;
}
