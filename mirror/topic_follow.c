#include "mirror/topic_follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/heap.h"
#include "base/text.h"

#define VALUE_SHOWN 100 /* a list of throttled replicas may have megabytes */
#define WHY_SHOWN   250

/* What is wanted at the target; value NULL: nothing of the source's. why: it is not as the source has it. */
struct wish {
    const char *value;
    const char *why;
};

/* ---- what stays different ------------------------------------------------------------------------------------ */

/* Cut; bytes that are no text are no JSON either. */
static json_t *shown(const char *value, int most)
{
    char cut[WHY_SHOWN + 4];
    if (!value) {
        return json_null();
    }
    if (strlen(value) > (size_t)most) {
        text_print(cut, sizeof(cut), "%.*s...", most, value);
        value = cut;
    }
    json_t *text = json_string(value);
    return text ? text : json_string("(not text)");
}

json_t *topic_drift(const char *setting, const char *source, const char *target, const char *why)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "setting", shown(setting, VALUE_SHOWN), "source",
                     shown(source, VALUE_SHOWN), "target", shown(target, VALUE_SHOWN), "why",
                     shown(why, WHY_SHOWN));
}

/* ---- rules --------------------------------------------------------------------------------------------------- */

static bool is_set(const char *value, const char *word)
{
    return value && strstr(value, word) != NULL;
}

/* Less than the source keeps; -1 and what is no number: without end. */
static bool keeps_less(const struct topic_follow *follow, const char *name)
{
    /* The source's own value is carried beside: then both are the same. */
    if (topic_setting_own(follow->source, name) &&
        !config_setting_excluded(follow->service, name)) {
        return false;
    }
    int64_t source = topic_setting_number(topic_setting(follow->source, name));
    int64_t target = topic_setting_number(topic_setting(follow->target, name));
    return target >= 0 && (source < 0 || target < source);
}

/* From compacted only to deleted by age or size: with a target that keeps less, records would go that the source has. */
static const char *policy_trouble(const struct topic_follow *follow, const char *value,
                                  const char *there)
{
    bool begins = is_set(value, "delete") && !is_set(there, "delete");
    return begins && (keeps_less(follow, "retention.ms") || keeps_less(follow, "retention.bytes"))
               ? "the target keeps less (retention.ms, retention.bytes): it would delete what the "
                 "source holds"
               : NULL;
}

/* Never more than lets writes go on when one replica is away, never less than stands there without us. */
static struct wish min_insync(const struct topic_follow *follow,
                              const struct admin_setting *setting,
                              const struct admin_setting *there, char text[32])
{
    int64_t wanted = topic_setting_number(setting);
    int64_t most = follow->target_replicas > 1 ? follow->target_replicas - 1 : 1;
    struct wish wish = {0};
    if (wanted > most) {
        wanted = most;
        wish.why = "one less than the target's replicas is the most: a broker may be away";
    }
    if (wanted >= topic_setting_number(there)) {
        snprintf(text, 32, "%lld", (long long)wanted);
        wish.value = text;
    }
    return wish;
}

static struct wish safe_side(const struct topic_follow *follow, const struct admin_setting *setting,
                             const struct admin_setting *there, char text[32])
{
    if (strcmp(setting->name, "min.insync.replicas") == 0) {
        return min_insync(follow, setting, there, text);
    }
    if (strcasecmp(setting->value, "false") == 0) { /* unclean.leader.election.enable */
        return (struct wish){setting->value, NULL};
    }
    return (struct wish){NULL,
                         "only followed to the safe side, unless topic_config.always names it"};
}

static struct wish wish_of(const struct topic_follow *follow, const struct admin_setting *setting,
                           const struct admin_setting *there, char text[32])
{
    const char *name = setting->name;
    enum config_setting_rule rule = config_setting_rule(name);
    bool always = config_setting_always(follow->service, name);
    if (!always && rule == SETTING_ASKED) {
        return (struct wish){NULL, "not carried unless topic_config.always names it"};
    }
    if (!always && config_setting_excluded(follow->service, name)) {
        return (struct wish){NULL, "topic_config.exclude names it"};
    }
    if (!always && rule == SETTING_SAFE_SIDE) {
        return safe_side(follow, setting, there, text);
    }
    const char *trouble = strcmp(name, "cleanup.policy") == 0
                              ? policy_trouble(follow, setting->value, there->value)
                              : NULL;
    return (struct wish){trouble ? NULL : setting->value, trouble};
}

/* ---- one setting --------------------------------------------------------------------------------------------- */

static struct topic_change *add(struct topic_changes *out, const char *name, const char *value)
{
    struct topic_change *change = topic_changes_add(out, name, value);
    change->follows = change->recorded = true;
    return change;
}

/* What we put there and nobody changed since goes; what stood there before us comes back. */
static void take_back(const struct topic_follow *follow, const char *name,
                      struct topic_changes *out)
{
    const char *old;
    const char *ours;
    const char *own = topic_setting_own(follow->target, name);
    if (!topic_recorded(follow->synced, name, &old, &ours)) {
        return;
    }
    struct topic_change *change = add(out, name, old);
    change->recorded = false;
    change->ends = true;
    change->set = own && strcmp(own, ours) == 0 && (!old || strcmp(old, own) != 0);
}

/* Its policy would become the brokers' again, which most delete by: as policy_trouble(). */
static bool take_back_waits(const struct topic_follow *follow, const char *name, json_t *drifts)
{
    const char *old = NULL;
    const char *ours;
    const char *own = topic_setting_own(follow->target, name);
    const struct admin_setting *source = topic_setting(follow->source, name);
    if (strcmp(name, "cleanup.policy") != 0 || !topic_recorded(follow->synced, name, &old, &ours) ||
        !own || strcmp(own, ours) != 0) {
        return false;
    }
    const char *trouble = policy_trouble(follow, old ? old : "delete", own);
    if (trouble) {
        json_array_append_new(drifts,
                              topic_drift(name, source ? source->value : NULL, own, trouble));
    }
    return trouble != NULL;
}

static void give(const struct topic_follow *follow, const char *name, const char *value,
                 const struct admin_setting *there, struct topic_changes *out)
{
    const char *old = topic_setting_own(follow->target, name);
    const char *ours;
    bool recorded = topic_recorded(follow->synced, name, &old, &ours);
    bool same = there->value && strcmp(there->value, value) == 0;
    /* The record was lost with the keeper that created the topic. */
    bool lost = same && !recorded && follow->ours && !there->is_default;
    /* The source went on to what stood there, or somebody set it by hand: still what follows. */
    bool newer = same && recorded && strcmp(ours, value) != 0;
    if (!same || lost || newer) {
        struct topic_change *change = add(out, name, value);
        change->old = must_copy(lost ? NULL : old);
        change->set = !same;
        change->first = !recorded;
    }
}

static const char *refused_why(const struct topic_follow *follow, const char *name,
                               const char *value)
{
    const json_t *refused = json_object_get(follow->refused, name);
    const char *tried = json_string_value(json_object_get(refused, "value"));
    return tried && strcmp(tried, value) == 0 ? json_string_value(json_object_get(refused, "why"))
                                              : NULL;
}

static void follow_one(const struct topic_follow *follow, const struct admin_setting *setting,
                       struct topic_changes *out, json_t *drifts)
{
    const char *name = setting->name;
    const struct admin_setting *there = topic_setting(follow->target, name);
    enum config_setting_rule rule = config_setting_rule(name);
    char text[32];
    if (rule == SETTING_FORCED || rule == SETTING_NEVER) {
        return;
    }
    if (!there) {
        if (rule != SETTING_ASKED || config_setting_always(follow->service, name)) {
            json_array_append_new(drifts, topic_drift(name, setting->value, NULL,
                                                      "the target does not know this setting"));
        }
        return;
    }
    struct wish wish = wish_of(follow, setting, there, text);
    const char *refused = wish.value ? refused_why(follow, name, wish.value) : NULL;
    wish.why = refused ? refused : wish.why;
    if (wish.value && !refused) {
        give(follow, name, wish.value, there, out);
    } else if (rule == SETTING_SAFE_SIDE && !wish.value) {
        take_back(follow, name, out);
    }
    const char *then = wish.value && !refused ? wish.value : there->value;
    if (wish.why && (!then || strcmp(then, setting->value) != 0)) {
        json_array_append_new(drifts, topic_drift(name, setting->value, then, wish.why));
    }
}

/* What a forced setting is given back to, noted; what it is stays. */
static void note_give_back(const char *name, const char *old, struct topic_changes *out)
{
    struct topic_change *change = topic_changes_add(out, name, topic_plan_forced_value(name));
    change->old = must_copy(old);
    change->set = false;
    change->recorded = true;
}

/* A setting that is forced meanwhile follows in what it is given back to when the target becomes the primary. */
static void follow_forced(const struct topic_follow *follow, const struct admin_setting *there,
                          struct topic_changes *out)
{
    const char *name = there->name;
    const char *value = topic_plan_forced_value(name);
    const char *source = topic_setting_own(follow->source, name);
    const char *gives = topic_setting_own(follow->target, name);
    const char *before = NULL;
    const char *text;
    if (!value || config_setting_excluded(follow->service, name)) {
        return;
    }
    bool forced = topic_recorded(follow->forced, name, &gives, &text);
    bool synced = topic_recorded(follow->synced, name, &before, &text);
    if (!source && synced) {
        note_give_back(name, before, out);
        struct topic_change *change = add(out, name, NULL);
        change->set = change->recorded = false;
        change->ends = true;
    } else if (source && (synced ? strcmp(text, source) != 0
                                 : forced || follow->ours || strcmp(source, value) != 0)) {
        note_give_back(name, source, out);
        struct topic_change *change = add(out, name, source);
        change->old = must_copy(synced ? before : follow->ours ? NULL : gives);
        change->set = false;
    }
}

/* What brokers decide is not carried, but here it decides what is kept. */
static void compare_default(const struct topic_follow *follow, const char *name, json_t *drifts)
{
    const struct admin_setting *source = topic_setting(follow->source, name);
    const struct admin_setting *target = topic_setting(follow->target, name);
    if (source && target && source->is_default && target->is_default && source->value &&
        target->value && strcmp(source->value, target->value) != 0 &&
        !config_setting_excluded(follow->service, name)) {
        json_array_append_new(
            drifts, topic_drift(name, source->value, target->value,
                                "defaults of the brokers: set it on the source's topic, or make "
                                "them the same"));
    }
}

void topic_follow_plan(const struct topic_follow *follow, struct topic_changes *out,
                       json_t **out_drifts)
{
    static const char *const kept_by[] = {"cleanup.policy", "retention.bytes", "retention.ms"};
    const char *name;
    json_t *entry;
    topic_changes_init(out, follow->source.count + json_object_size(follow->synced) +
                                2 * follow->target.count + 1);
    *out_drifts = json_array();
    if (!follow->service->topic_config_sync) {
        return;
    }
    for (size_t i = 0; i < follow->source.count; i++) {
        const struct admin_setting *setting = &follow->source.list[i];
        if (!setting->is_default && setting->value) {
            follow_one(follow, setting, out, *out_drifts);
        }
    }
    json_object_foreach ((json_t *)(uintptr_t)follow->synced, name, entry) {
        if (!topic_setting_own(follow->source, name) && !topic_plan_forced_value(name) &&
            (config_setting_always(follow->service, name) ||
             !config_setting_excluded(follow->service, name)) &&
            !take_back_waits(follow, name, *out_drifts)) {
            take_back(follow, name, out);
        }
    }
    for (size_t i = 0; i < follow->target.count; i++) {
        follow_forced(follow, &follow->target.list[i], out);
    }
    for (size_t i = 0; i < sizeof(kept_by) / sizeof(kept_by[0]); i++) {
        compare_default(follow, kept_by[i], *out_drifts);
    }
}
