/* The second checkpoint: each partition's position as commit of ferry's own group on the target, with the whole
 * checkpoint as metadata; and the send deadline, which only a commit that the group took can move.
 */
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "mirror/link_inside.h"

#define COMMIT_SOON_MS       5    /* gathers the positions of parts that were placed together */
#define COMMIT_RENEW_MS      1000 /* one partition each second renews the session */
#define COMMIT_EVERY_MS      5000 /* a moved position, at most so often ... */
#define COMMIT_EVERY_BYTES   (64 << 20) /* ... or so many bytes */
#define COMMIT_RETRY_MS      200
#define COMMIT_TELL_AGAIN_MS 60000

struct commit_call {
    struct link *link;
    int32_t generation; /* of the group, when it was sent */
    size_t count;
    uint64_t ids[MEMBERSHIP_COMMIT_MAX];        /* parts; 0 = the control topic's partition */
    uint64_t placements[MEMBERSHIP_COMMIT_MAX]; /* of each part, when it was sent */
    char *texts[MEMBERSHIP_COMMIT_MAX];         /* metadata; freed with the answer */
};

void link_commit_soon(struct link *link)
{
    if (!link->commit_flying) {
        loop_timer_set(link->commit_timer, COMMIT_SOON_MS);
    }
}

/* Not ahead of what Redis holds: who begins behind it would never see the runs between, and the map had a hole. */
static const struct checkpoint *successor_place(const struct link_part *part,
                                                struct checkpoint *out)
{
    if (!offset_track_stored(part->track, out)) {
        *out = part->at;
    }
    return out;
}

static bool due(const struct link_part *part, int64_t now_ms)
{
    if (part->track == NULL || part->commit_flying) {
        return false;
    }
    if (part->commit_wanted) {
        return true;
    }
    struct checkpoint safe;
    bool moved = successor_place(part, &safe)->target_next != part->committed_target_next;
    return moved && (now_ms - part->committed_ms >= COMMIT_EVERY_MS ||
                     part->bytes_since_commit >= COMMIT_EVERY_BYTES);
}

static void add(struct commit_call *call, struct membership_commit *commits, const char *topic,
                int32_t partition, int64_t offset, char *take_metadata, uint64_t id)
{
    call->ids[call->count] = id;
    call->texts[call->count] = take_metadata;
    commits[call->count++] = (struct membership_commit){
        .topic = topic, .partition = partition, .offset = offset, .metadata = take_metadata};
}

static void add_part(struct commit_call *call, struct membership_commit *commits,
                     struct link_part *part)
{
    struct checkpoint safe;
    char *text = must(malloc(CHECKPOINT_TEXT_BYTES));
    successor_place(part, &safe);
    call->placements[call->count] = part->placements;
    add(call, commits, part->topic, part->partition, safe.target_next, checkpoint_text(&safe, text),
        part->id);
    part->commit_flying = true;
    part->commit_wanted = false;
    part->committed_target_next = safe.target_next;
    part->bytes_since_commit = 0;
}

static void add_control(struct commit_call *call, struct membership_commit *commits)
{
    char *text = strdup("");
    add(call, commits, call->link->control_topic, 0, call->link->control_end, text, 0);
}

/* Nothing is due, but the session wants its proof of life: the next of our partitions in turn. */
static void add_one(struct commit_call *call, struct membership_commit *commits)
{
    struct link *link = call->link;
    size_t places = link->parts_count + 1;
    for (size_t tries = 0; tries < places; tries++) {
        size_t at = link->commit_turn++ % places;
        if (at == link->parts_count) {
            if (link->control_ours) {
                add_control(call, commits);
                return;
            }
        } else if (link->parts[at]->track != NULL && !link->parts[at]->commit_flying) {
            add_part(call, commits, link->parts[at]);
            return;
        }
    }
}

/* @param placement  that the commit was of: an older one starts nothing, the raised generation stands nowhere yet */
static void part_answered(struct link_part *part, uint64_t placement, bool ok, int64_t now_ms)
{
    part->commit_flying = false;
    if (!ok) {
        part->commit_wanted = true;
        return;
    }
    part->committed_ms = now_ms;
    if (placement == part->placements) {
        part_committed(part);
    }
}

/* A missing ACL is told once a minute; what else fails is over, or another thing, the next time. */
static bool told_lately(struct link *link, const struct err *err, int64_t now_ms)
{
    if (err == NULL || !acl_refusal(err->code)) {
        return false;
    }
    link_note_denied(link->group_denied, err);
    bool lately =
        link->commit_trouble_ms > 0 && now_ms - link->commit_trouble_ms < COMMIT_TELL_AGAIN_MS;
    link->commit_trouble_ms = lately ? link->commit_trouble_ms : now_ms;
    return lately;
}

static void answered(void *arg, const struct membership_commit *commits, size_t count,
                     int64_t sent_ms, const struct err *err)
{
    struct commit_call *call = arg;
    struct link *link = call->link;
    int64_t now_ms = loop_now_ms(link->loop);
    bool same_group =
        link->membership != NULL && membership_generation(link->membership) == call->generation;
    bool any_ok = false;
    bool all_ok = true;
    link->commit_flying = false;
    for (size_t i = 0; i < count; i++) {
        bool ok = commits[i].error == KAFKA_NONE && same_group;
        any_ok = any_ok || ok;
        all_ok = all_ok && ok;
        free(call->texts[i]);
    }
    if (any_ok) {
        deadline_renew(&link->deadline,
                       sent_ms); /* before the parts start: they may send from here on */
        link->commit_last_ms = now_ms;
    }
    for (size_t i = 0; i < count; i++) {
        bool ok = commits[i].error == KAFKA_NONE && same_group;
        struct link_part *part = call->ids[i] == 0 ? NULL : part_by_id(link, call->ids[i]);
        if (call->ids[i] == 0) {
            link->control_committed = link->control_committed || ok;
        } else if (part != NULL) {
            part_answered(part, call->placements[i], ok, now_ms);
        }
    }
    if (all_ok) {
        link->group_denied[0] = '\0';
        link->commit_trouble_ms = 0;
    } else if (!told_lately(link, err, now_ms)) {
        log_warn("commit.failed",
                 "link=%s>%s why=%s doing=\"trying again; the old deadline counts on\"",
                 link->from->name, link->to->name,
                 log_quote(err != NULL ? err->what : "the group's generation changed").text);
    }
    if (link->control_ours && link->control_committed) {
        keeper_act(link->keeper, link->deadline.until_ms);
        if (link->groups != NULL) {
            group_sync_act(link->groups, link->deadline.until_ms);
        }
    }
    free(call);
    link_look_at_leaving(link);
    if (link->commit_timer != NULL) {
        loop_timer_set(link->commit_timer, all_ok ? COMMIT_SOON_MS : COMMIT_RETRY_MS);
    }
    engine_pump(link->engine);
}

static void hand_over(struct commit_call *call, struct membership_commit *commits)
{
    struct link *link = call->link;
    link->commit_flying = true;
    call->generation = membership_generation(link->membership);
    membership_commit(link->membership, commits, call->count, answered, call);
}

void link_commit(void *arg)
{
    struct link *link = arg;
    int64_t now_ms = loop_now_ms(link->loop);
    if (link->membership == NULL || link->commit_flying) {
        return;
    }
    struct commit_call *call = calloc(1, sizeof(*call));
    struct membership_commit *commits = calloc(MEMBERSHIP_COMMIT_MAX, sizeof(*commits));
    if (call == NULL || commits == NULL) {
        abort();
    }
    call->link = link;
    for (size_t i = 0; i < link->parts_count && call->count + 1 < MEMBERSHIP_COMMIT_MAX; i++) {
        if (due(link->parts[i], now_ms)) {
            add_part(call, commits, link->parts[i]);
        }
    }
    if (link->control_ours && !link->control_committed) {
        add_control(call, commits);
    }
    if (call->count == 0 && now_ms - link->commit_last_ms >= COMMIT_RENEW_MS) {
        add_one(call, commits);
    }
    if (call->count == 0) {
        free(commits);
        free(call);
        loop_timer_set(link->commit_timer, 100);
        return;
    }
    hand_over(call, commits);
}
