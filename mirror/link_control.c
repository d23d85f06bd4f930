#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "kafka/topic_id.h"
#include "mirror/link_inside.h"
#include "mirror/streams.h"

#define PREPARE_RETRY_MS 500
#define TROUBLE_AGAIN_MS 60000

/* --- topics ------------------------------------------------------------------------------------------------------- */

void link_topics_clear(struct link *link)
{
    for (size_t i = 0; i < link->topics_count; i++) {
        free(link->topics[i]);
    }
    free(link->topics);
    link->topics = NULL;
    link->topics_count = 0;
}

static void topics_add(struct link *link, const char *name)
{
    link->topics = must(realloc(link->topics, (link->topics_count + 1) * sizeof(char *)));
    link->topics[link->topics_count++] = must_copy(name);
}

void link_follow_topics(struct link *link)
{
    static const char *const none[] = {
        NULL}; /* no topics: brokers and cluster id only; NULL would ask for all */
    const char *const *names = link->topics_count == 0 ? none : (const char *const *)link->topics;
    cluster_follow(link->source, names, (int32_t)link->topics_count);
    cluster_follow(link->target, names, (int32_t)link->topics_count);
}

void link_tell_groups(struct link *link)
{
    if (link->groups != NULL) {
        group_sync_topics(link->groups, (const char *const *)link->topics, link->topics_count);
    }
}

/* --- the role ----------------------------------------------------------------------------------------------------- */

static json_t *adopted_in(const char *role_json)
{
    struct err err;
    json_t *role =
        role_json == NULL ? NULL : json_parse(role_json, strlen(role_json), "role", &err);
    json_t *adopt = json_object_get(role, "adopt");
    json_t *adopted = json_is_object(adopt) ? json_incref(adopt) : NULL;
    json_decref(role);
    return adopted;
}

int64_t link_adopted_end(const struct link *link, const char *topic, int32_t partition)
{
    int64_t adopted = -1;
    json_t *pairs = json_object_get(link->adopted, topic);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        json_t *pair = json_array_get(pairs, i);
        if (json_integer_value(json_array_get(pair, 0)) == partition &&
            json_is_integer(json_array_get(pair, 1))) {
            adopted = json_integer_value(json_array_get(pair, 1));
        }
    }
    return adopted;
}

/* NULL = it may be believed. */
static const char *control_wrong(const struct link *link, const struct control_state *state)
{
    const struct heartbeat_role *witness = &link->witness;
    bool has_topic = !uuid_is_zero(&state->topic_id);
    if (has_topic && !uuid_is_zero(&link->control_topic_id) &&
        topic_id_other(&link->control_topic_id, &state->topic_id)) {
        return "was deleted and created again";
    }
    if (state->role_epoch < link->role_epoch) {
        return "shows an older role epoch than before";
    }
    if (state->role_epoch < witness->epoch) {
        return "shows an older role epoch than Redis remembers";
    }
    if (has_topic && state->role_epoch == witness->epoch && witness->epoch > 0 &&
        topic_id_other(&witness->topic_id, &state->topic_id)) {
        return "is another topic than the one that Redis remembers";
    }
    return NULL;
}

/* The topic was made anew or an older epoch stands there: not a beginning, a fault of the service. */
static bool control_trusted(struct link *link, const struct control_state *state)
{
    const char *wrong = control_wrong(link, state);
    if (wrong == NULL) {
        link->distrusted = false;
        return true;
    }
    text_print(link->why, sizeof(link->why), "the control topic on %s %s", link->to->name, wrong);
    if (!link->distrusted) {
        log_error(
            "control.distrusted",
            "service=%s link=%s>%s epoch=%lld remembered=%lld why=%s doing=\"writing nothing\" "
            "hint=\"ferry status %s; docs/faults.md#control\"",
            link->service->name, link->from->name, link->to->name, (long long)state->role_epoch,
            (long long)link->witness.epoch, log_quote(link->why).text, link->service->name);
    }
    link->distrusted = true;
    return false;
}

/* Of "path": "auto": once it is known it is this worker's until it ends. */
static void take_path(struct link *link, const struct control_state *state)
{
    enum config_path path = streams_path(state, link->service);
    if (link->engine != NULL) {
        return;
    }
    link->path_unchosen = path == PATH_AUTO;
    if (link->path_unchosen) {
        text_print(link->why, sizeof(link->why),
                   "path auto: nobody has chosen yet (ferry enable %s)", link->service->name);
    } else {
        link_take_path(link, path);
        log_info("link.path", "service=%s link=%s>%s path=%s configured=auto record=%s",
                 link->service->name, link->from->name, link->to->name, config_path_name(path),
                 log_quote(state->path_json == NULL ? "" : state->path_json).text);
        link_streams_compare(link);
        engine_metadata(link->engine);
    }
}

static void take_role(struct link *link, const struct control_state *state)
{
    bool trusted = control_trusted(link, state);
    bool named = trusted && state->role_epoch > 0 && strcmp(state->primary, link->from->name) == 0;
    if (named) {
        take_path(link, state);
    }
    bool ours = named && link->fence[0] == '\0' && link->engine != NULL;
    if (trusted) {
        link->control_topic_id = state->topic_id;
        link->role_epoch = state->role_epoch;
        link->operation_open = state->operation_open;
        link->source_is_primary = named;
        link->target_is_primary =
            state->role_epoch > 0 && strcmp(state->primary, link->to->name) == 0;
    }
    if (ours && link->adopted == NULL) {
        link->adopted = adopted_in(state->role_json);
    }
    if (ours == link->role_ours) {
        return;
    }
    link->role_ours = ours;
    if (named && !ours) {
        link_event(link, LINK_EV_RETREAT, "an operation fences us");
    } else if (!ours) {
        link_event(link, LINK_EV_NO_ROLE,
                   trusted ? "the role epoch names another primary, or none" : link->why);
    }
}

/* --- the list of topics ------------------------------------------------------------------------------------------- */

static bool list_changed(const struct link *link, const struct control_state *state)
{
    if (!link->has_list || state->topics_count != link->topics_count) {
        return true;
    }
    for (size_t i = 0; i < state->topics_count; i++) {
        if (strcmp(state->topics[i].name, link->topics[i]) != 0) {
            return true;
        }
    }
    return false;
}

static void count_partitions(struct link *link, const struct control_state *state)
{
    link->partitions_listed = state->has_topics ? 0 : -1;
    for (size_t i = 0; state->has_topics && i < state->topics_count; i++) {
        link->partitions_listed += state->topics[i].partitions_count;
    }
}

static void take_list(struct link *link, const struct control_state *state)
{
    count_partitions(link, state);
    if (!state->has_topics || !list_changed(link, state)) {
        return;
    }
    bool first = !link->has_list;
    link_topics_clear(link);
    for (size_t i = 0; i < state->topics_count; i++) {
        topics_add(link, state->topics[i].name);
    }
    link->has_list = true;
    link->list_epoch = state->topics_epoch;
    link_tell_groups(link);
    if (link->membership == NULL) {
        return;
    }
    log_info("link.topics", "service=%s link=%s>%s topics=%zu", link->service->name,
             link->from->name, link->to->name, link->topics_count);
    link_follow_topics(link);
    if (link->subscribed_all || first) {
        link_subscribe(link, true);
    }
}

/* --- the streams -------------------------------------------------------------------------------------------------- */

static void streams_see(struct link *link, const struct control_state *state)
{
    struct control_state *seen = &link->streams_seen;
    seen->streams_epoch = state->streams_epoch;
    seen->streams_hash = state->streams_hash;
    seen->streams_previous_count = state->streams_previous_count;
    memcpy(seen->streams_previous, state->streams_previous, sizeof(seen->streams_previous));
}

void link_streams_compare(struct link *link)
{
    const struct control_state *seen = &link->streams_seen;
    if (link->streams_pending && streams_judge(seen, link->streams_next) == STREAMS_OURS) {
        link->streams_pending = false;
        link->streams_hash = link->streams_next;
        log_info("link.streams", "service=%s link=%s>%s epoch=%lld hash=%016llx",
                 link->service->name, link->from->name, link->to->name,
                 (long long)seen->streams_epoch, (unsigned long long)link->streams_hash);
    }
    bool match = streams_judge(seen, link->streams_hash) == STREAMS_OURS;
    if (link->engine == NULL) {
        return; /* there is no hash yet */
    }
    if (seen->streams_epoch > 0 && !match && link->streams_match) {
        log_error("link.streams_differ",
                  "service=%s link=%s>%s doing=\"writing nothing\" hint=\"this worker's "
                  "configuration of the service is not the newest: compare `ferry config show` on "
                  "all workers, reload those with the old file\"",
                  link->service->name, link->from->name, link->to->name);
    }
    link->streams_match = match;
}

/* The filter of the records changed: what is mirrored from now on is another stream. */
static void take_generation(struct link *link, int32_t least)
{
    if (least <= link->streams_generation) {
        return;
    }
    link->streams_generation = least;
    for (size_t i = 0; i < link->parts_count; i++) {
        part_refilter(link->parts[i]);
    }
}

/* --- read again --------------------------------------------------------------------------------------------------- */

/* Read each second: a trouble that stays is told once a minute, another one at once. */
static void control_trouble(struct link *link, const struct err *why)
{
    link_note_denied(link->control_denied, why);
    int64_t now_ms = loop_now_ms(link->loop);
    bool again = link->control_trouble_ms > 0 && link->control_trouble_code == why->code &&
                 now_ms - link->control_trouble_ms < TROUBLE_AGAIN_MS;
    if (again) {
        return;
    }
    link->control_trouble_ms = now_ms;
    link->control_trouble_code = why->code;
    log_warn("control.trouble", "service=%s link=%s>%s why=%s doing=\"reading again\"",
             link->service->name, link->from->name, link->to->name, log_quote(why->what).text);
}

void link_control_changed(void *arg, const struct control_state *state, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        control_trouble(link, err);
    } else {
        link->control_trouble_ms = 0;
        link->control_denied[0] = '\0';
    }
    if (state == NULL) {
        return;
    }
    link->control_read_ms = state->read_ms;
    link->control_end = state->end_offset;
    link->paused = state->paused;
    memcpy(link->fence, state->fence_operation, sizeof(link->fence));
    streams_see(link, state);
    link_streams_compare(link);
    take_generation(link,
                    link->streams_match ? state->streams_generation : link->streams_generation);
    take_role(link, state);
    link_look_at_fence(link);
    take_list(link, state);
    if (link->keeper != NULL) {
        keeper_control(link->keeper, state);
    }
    if (link->groups != NULL) {
        group_sync_control(link->groups, state->read_ms,
                           link->role_ours && link->streams_match && !state->operation_open);
    }
    link_step(link);
}

/* --- what our keeper did ------------------------------------------------------------------------------------------ */

static int64_t count_in(const json_t *report, const char *key)
{
    return json_integer_value(json_object_get(report, key));
}

/* For status and metrics; what the keeper changed, for the events. */
static void take_topics_report(struct link *link, const struct topic_sync *sync)
{
    size_t index;
    json_t *change;
    json_decref(link->topics_report);
    link->topics_report = topic_sync_report(sync);
    link->drifted_topics = count_in(link->topics_report, "drifted_topics");
    link->not_mirrored_topics = count_in(link->topics_report, "not_mirrored_count");
    link->source_deleted_topics = count_in(link->topics_report, "source_deleted_count");
    json_array_foreach (sync->news, index, change) {
        link->topic_changes++;
        if (link->store != NULL) {
            char *text = json_text(change);
            offset_store_event(link->store, "topic.setting",
                               json_string_value(json_object_get(change, "topic")), -1, text);
            free(text);
        }
    }
}

void link_keeper_synced(void *arg, const struct topic_sync *sync, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        log_warn("keeper.sync_failed",
                 "service=%s link=%s>%s why=%s hint=%s doing=\"trying again\"", link->service->name,
                 link->from->name, link->to->name, log_quote(err->what).text,
                 log_quote(err->hint).text);
    }
    if (sync != NULL) {
        take_topics_report(link, sync);
    }
    if (link->state != LINK_JOINING || link->membership != NULL || link->stopping) {
        control_poke(link->control); /* the list may have changed */
        return;
    }
    if (sync == NULL) {
        loop_timer_set(link->prepare_timer, PREPARE_RETRY_MS);
        return;
    }
    if (!link->has_list) {
        link_topics_clear(link);
        for (size_t i = 0; i < sync->pairs_count; i++) {
            if (sync->pairs[i].problem[0] == '\0') {
                topics_add(link, sync->pairs[i].name);
            }
        }
    }
    link_join(link);
}

void link_keeper_trouble(void *arg, const struct err *err)
{
    struct link *link = arg;
    log_warn("keeper.fenced",
             "service=%s link=%s>%s why=%s doing=\"acting again when no operation is open\"",
             link->service->name, link->from->name, link->to->name, log_quote(err->what).text);
}
