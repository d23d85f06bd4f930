/* What follows from the target's topics: are they all there, with leaders, with as many replicas in sync as a write needs?
 *
 * What has to be there is what the source shows now; when it is not asked, what the keeper wrote down last.
 */
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "failover/preflight_inside.h"
#include "kafka/admin.h"
#include "kafka/error.h"

static const char *to_name(const struct preflight *preflight)
{
    return preflight->in.to->name;
}

/* Told once, under `target`: the others that need it say only that it is unknown. */
static bool answers(const struct preflight *preflight, struct preflight_list *out,
                    enum preflight_check check)
{
    if (preflight->target == NULL) {
        preflight_late(preflight, out, check, to_name(preflight));
    } else if (!preflight->target->known) {
        preflight_unknown(out, check, to_name(preflight), &preflight->target->err);
    }
    return preflight->target != NULL && preflight->target->known;
}

void preflight_tell_target(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_cluster *target = preflight->target;
    const struct preflight_cluster *source = preflight->source;
    if (!answers(preflight, out,
                 PREFLIGHT_TARGET)) { /* nothing can be moved to where nobody answers */
        out->list[out->count - 1].level = PREFLIGHT_REFUSED;
        preflight_hint(out, "is it the network, or the site? ferry status %s",
                       preflight->in.service->name);
        return;
    }
    if (source != NULL && source->known && source->id[0] != '\0' &&
        strcmp(source->id, target->id) == 0) {
        preflight_tell(out, PREFLIGHT_TARGET, PREFLIGHT_REFUSED,
                       "sites %.100s and %.100s are one cluster: %s", preflight->in.from->name,
                       to_name(preflight), target->id);
        preflight_hint(out, "compare bootstrap.servers of both sites");
        return;
    }
    preflight_tell(out, PREFLIGHT_TARGET, PREFLIGHT_OK, "%.100s answers: cluster %s, %zu brokers",
                   to_name(preflight), target->id, target->brokers_count);
    if (preflight->in.planned && (source == NULL || !source->known)) {
        if (source == NULL) {
            preflight_late(preflight, out, PREFLIGHT_TARGET, preflight->in.from->name);
        } else {
            preflight_unknown(out, PREFLIGHT_TARGET, preflight->in.from->name, &source->err);
        }
        out->list[out->count - 1].level = PREFLIGHT_REFUSED;
        preflight_hint(out,
                       "a switchover needs both sites; when the primary is lost: ferry failover "
                       "%s",
                       preflight->in.service->name);
    }
}

/* --- topics --------------------------------------------------------------------------------------------------------- */

struct missing {
    struct preflight_names topics;
    struct preflight_names few; /* less partitions than the source has */
    struct preflight_names many;
    size_t expected;
    size_t partitions;
};

static void compare(const struct preflight_cluster *target, const char *name, int32_t wanted,
                    struct missing *missing)
{
    const struct preflight_topic *there = preflight_topic(target, name);
    missing->expected++;
    missing->partitions += wanted > 0 ? (size_t)wanted : 0;
    if (there == NULL || there->error == KAFKA_UNKNOWN_TOPIC_OR_PARTITION) {
        preflight_name_add(&missing->topics, "%.249s", name);
    } else if (there->parts_count < wanted) {
        preflight_name_add(&missing->few, "%.249s (%d of %d)", name, there->parts_count, wanted);
    } else if (there->parts_count > wanted) {
        preflight_name_add(&missing->many, "%.249s (%d, the source has %d)", name,
                           there->parts_count, wanted);
    }
}

/* @return false: nobody says what there should be */
static bool expected(const struct preflight *preflight, struct missing *missing)
{
    const struct preflight_cluster *source = preflight->source;
    const struct preflight_control *control = preflight->control;
    if (source != NULL && source->known) {
        for (size_t i = 0; i < source->topics_count; i++) {
            if (source->topics[i].error == KAFKA_NONE) {
                compare(preflight->target, source->topics[i].name, source->topics[i].parts_count,
                        missing);
            }
        }
        return true;
    }
    for (size_t i = 0; control != NULL && i < control->topics_count; i++) {
        compare(preflight->target, control->topics[i].topic, control->topics[i].partitions,
                missing);
    }
    return control != NULL && control->topics != NULL;
}

void preflight_tell_topics(const struct preflight *preflight, struct preflight_list *out)
{
    struct missing missing = {.expected = 0};
    const struct preflight_control *control = preflight->control;
    /* Before anybody enabled the service nobody has made them. */
    bool before = control != NULL && control->known && control->role_epoch == 0;
    enum preflight_level level = before ? PREFLIGHT_WARNING : PREFLIGHT_REFUSED;
    if (!answers(preflight, out, PREFLIGHT_TOPICS)) {
        return;
    }
    if (!expected(preflight, &missing)) {
        preflight_tell(out, PREFLIGHT_TOPICS, PREFLIGHT_UNKNOWN,
                       "which topics %.100s should have: the source is not asked, and no list of "
                       "them is in the control topic",
                       to_name(preflight));
        return;
    }
    if (missing.topics.count > 0) {
        preflight_tell(out, PREFLIGHT_TOPICS, level, "%.100s lacks %zu of %zu topics: %s",
                       to_name(preflight), missing.topics.count, missing.expected,
                       preflight_names_text(&missing.topics));
        preflight_hint(out, "the keeper creates them: ferry status %s says why it does not",
                       preflight->in.service->name);
    }
    if (missing.few.count > 0) {
        preflight_tell(out, PREFLIGHT_TOPICS, level,
                       "%.100s has fewer partitions than the source: %s", to_name(preflight),
                       preflight_names_text(&missing.few));
        preflight_hint(out, "the keeper adds them: ferry status %s says why it does not",
                       preflight->in.service->name);
    }
    if (missing.many.count > 0) {
        preflight_tell(out, PREFLIGHT_TOPICS, PREFLIGHT_WARNING,
                       "%.100s has more partitions than the source: keys that producers hash go "
                       "elsewhere after a failover: %s",
                       to_name(preflight), preflight_names_text(&missing.many));
        preflight_hint(out, "docs/check.md#topics");
    }
    if (missing.topics.count + missing.few.count + missing.many.count == 0) {
        preflight_tell(out, PREFLIGHT_TOPICS,
                       missing.expected > 0 ? PREFLIGHT_OK : PREFLIGHT_WARNING,
                       "%.100s has all %zu topics of the service, %zu partitions",
                       to_name(preflight), missing.expected, missing.partitions);
    }
}

/* --- leaders -------------------------------------------------------------------------------------------------------- */

void preflight_tell_leaders(const struct preflight *preflight, struct preflight_list *out)
{
    struct preflight_names names = {.count = 0};
    size_t partitions = 0;
    if (!answers(preflight, out, PREFLIGHT_LEADERS)) {
        return;
    }
    for (size_t i = 0; i < preflight->target->topics_count; i++) {
        const struct preflight_topic *topic = &preflight->target->topics[i];
        for (int32_t j = 0; j < topic->parts_count; j++) {
            partitions++;
            if (topic->parts[j].leader < 0) {
                preflight_name_add(&names, "%.249s:%d", topic->name, topic->parts[j].index);
            }
        }
    }
    if (names.count > 0) {
        preflight_tell(out, PREFLIGHT_LEADERS, PREFLIGHT_REFUSED,
                       "%.100s: %zu of %zu partitions have no leader: %s", to_name(preflight),
                       names.count, partitions, preflight_names_text(&names));
        preflight_hint(out, "the brokers that hold them are down: docs/check.md#leaders");
    } else {
        preflight_tell(out, PREFLIGHT_LEADERS, PREFLIGHT_OK,
                       "%.100s: all %zu partitions have a leader", to_name(preflight), partitions);
    }
}

/* --- replicas ------------------------------------------------------------------------------------------------------- */

static int32_t least_of(const struct preflight_settings *settings, const char *topic)
{
    for (size_t i = 0; settings != NULL && i < settings->count; i++) {
        if (strcmp(settings->list[i].topic, topic) == 0) {
            return settings->list[i].least;
        }
    }
    return 0;
}

struct replicas {
    struct preflight_names below; /* writes with acks=all are refused */
    struct preflight_names at;    /* one more broker less, and they would be */
    size_t lagging;
    size_t unknown; /* topics whose setting is not known */
    size_t partitions;
};

static void count_topic(const struct preflight_topic *topic, int32_t least,
                        struct replicas *replicas)
{
    replicas->unknown += least == 0 ? 1 : 0;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        const struct preflight_part *part = &topic->parts[i];
        bool out_of_sync = part->in_sync < part->replicas;
        replicas->partitions++;
        replicas->lagging += out_of_sync ? 1 : 0;
        if (part->in_sync < least) {
            preflight_name_add(&replicas->below, "%.249s:%d (%d in sync, %d needed)", topic->name,
                               part->index, part->in_sync, least);
        } else if (out_of_sync) {
            preflight_name_add(&replicas->at, "%.249s:%d (%d of %d in sync)", topic->name,
                               part->index, part->in_sync, part->replicas);
        }
    }
}

static void tell_unknown_least(const struct preflight *preflight, const struct replicas *replicas,
                               struct preflight_list *out)
{
    const struct preflight_settings *settings = preflight->settings;
    if (settings == NULL && preflight->in.target != NULL) {
        preflight_late(preflight, out, PREFLIGHT_REPLICAS, "min.insync.replicas");
    } else if (settings != NULL && settings->err.kind != ERR_NONE) {
        preflight_unknown(out, PREFLIGHT_REPLICAS, "min.insync.replicas", &settings->err);
    } else {
        preflight_tell(out, PREFLIGHT_REPLICAS, PREFLIGHT_UNKNOWN,
                       "%.100s does not say min.insync.replicas of %zu topics", to_name(preflight),
                       replicas->unknown);
    }
}

void preflight_tell_replicas(const struct preflight *preflight, struct preflight_list *out)
{
    struct replicas replicas = {.lagging = 0};
    if (!answers(preflight, out, PREFLIGHT_REPLICAS)) {
        return;
    }
    for (size_t i = 0; i < preflight->target->topics_count; i++) {
        const struct preflight_topic *topic = &preflight->target->topics[i];
        count_topic(topic, least_of(preflight->settings, topic->name), &replicas);
    }
    if (replicas.below.count > 0) {
        preflight_tell(out, PREFLIGHT_REPLICAS, PREFLIGHT_REFUSED,
                       "%.100s: %zu partitions take no writes with acks=all: %s",
                       to_name(preflight), replicas.below.count,
                       preflight_names_text(&replicas.below));
        preflight_hint(out, "bring the missing brokers back: docs/check.md#replicas");
    }
    if (replicas.at.count > 0) {
        preflight_tell(out, PREFLIGHT_REPLICAS, PREFLIGHT_WARNING,
                       "%.100s: %zu partitions have replicas that are not in sync: %s",
                       to_name(preflight), replicas.at.count, preflight_names_text(&replicas.at));
        preflight_hint(out, "one more broker less may stop their writers: docs/check.md#replicas");
    }
    if (replicas.unknown > 0) {
        tell_unknown_least(preflight, &replicas, out);
    } else if (replicas.lagging == 0 && replicas.below.count == 0) {
        preflight_tell(out, PREFLIGHT_REPLICAS, PREFLIGHT_OK,
                       "%.100s: every replica of %zu partitions is in sync", to_name(preflight),
                       replicas.partitions);
    }
}

/* --- min.insync.replicas --------------------------------------------------------------------------------------------- */

static void take_setting(struct preflight_settings *out, const struct admin_topic_config *config)
{
    struct preflight_least *row = &out->list[out->count];
    if (config->err.kind != ERR_NONE) {
        out->err = config->err;
        return;
    }
    for (size_t i = 0; i < config->settings_count; i++) {
        if (strcmp(config->settings[i].name, "min.insync.replicas") == 0 &&
            config->settings[i].value != NULL) {
            row->least = atoi(config->settings[i].value);
            snprintf(row->topic, sizeof(row->topic), "%s", config->topic);
            out->count++;
            return;
        }
    }
}

static void read_settings(struct admin *admin, const struct config_service *service,
                          struct preflight_settings *out)
{
    struct admin_topic *topics = NULL;
    size_t all = 0;
    size_t count = 0;
    if (!admin_list_topics(admin, &topics, &all, &out->err)) {
        return;
    }
    struct admin_topic_config *configs = must(calloc(all + 1, sizeof(*configs)));
    out->list = must(calloc(all + 1, sizeof(*out->list)));
    for (size_t i = 0; i < all; i++) {
        if (config_patterns_match(&service->topics, topics[i].name)) {
            configs[count++].topic = topics[i].name;
        }
    }
    admin_topics_settings(admin, configs, count);
    for (size_t i = 0; i < count; i++) {
        take_setting(out, &configs[i]);
        admin_settings_free(configs[i].settings, configs[i].settings_count);
    }
    free(configs);
    free(topics);
}

void preflight_ask_settings(struct preflight *preflight, size_t index)
{
    struct preflight_settings *out = must(calloc(1, sizeof(*out)));
    int32_t before_ms = admin_timeout(preflight->in.target, preflight_left_ms(preflight));
    (void)index;
    read_settings(preflight->in.target, preflight->in.service, out);
    admin_timeout(preflight->in.target, before_ms);
    preflight_publish(preflight, &preflight->settings, out, preflight_settings_free);
}

void preflight_settings_free(void *arg)
{
    struct preflight_settings *settings = arg;
    if (settings != NULL) {
        free(settings->list);
        free(settings);
    }
}
