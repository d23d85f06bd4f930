/* See membership_committed(): OffsetFetch at the group's coordinator, on our own connections.
 *
 * RequireStable is false. Consumers ask for true, so as to wait for offsets that a transaction has yet to decide. Ferry's
 * group is committed to by its members, with their generation, never within a transaction: there is nothing to wait for,
 * and a transaction that a stranger opened on our group and left open would keep us from going on.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/group_ask.h"
#include "kafka/membership_inside.h"
#include "kafka/proto.h"

#define COMMITTED_MS 5000

struct committed {
    LIST_ENTRY(committed) entry;
    const char *group; /* the membership's */
    struct group_ask *ask;
    struct membership_commit *wants; /* the caller's; its topics may be gone before the answer */
    char **texts;                    /* metadata that was found, ours */
    size_t count;
    struct topic_partition
        *parts;     /* our copy of which partitions, sorted; a topic's name is there once */
    size_t *places; /* of parts[i] in `wants` */
    void (*done)(void *arg, const struct membership_commit *found, size_t count,
                 const struct err *err);
    void *arg;
};

/* ---- which partitions ---- */

struct want {
    struct topic_partition part;
    size_t place;
};

static int compare(const void *a, const void *b)
{
    const struct want *left = a;
    const struct want *right = b;
    int order = strcmp(left->part.topic, right->part.topic);
    if (order != 0) {
        return order;
    }
    return (left->part.partition > right->part.partition) -
           (left->part.partition < right->part.partition);
}

static void copy_parts(struct committed *committed)
{
    size_t count = committed->count;
    struct want *sorted = must(calloc(count, sizeof(*sorted)));
    for (size_t i = 0; i < count; i++) {
        const struct membership_commit *want = &committed->wants[i];
        sorted[i] = (struct want){
            {want->topic, want->partition},
            i
        };
    }
    qsort(sorted, count, sizeof(*sorted), compare);
    for (size_t i = 0; i < count; i++) {
        const char *name = sorted[i].part.topic;
        bool same = i > 0 && strcmp(name, committed->parts[i - 1].topic) == 0;
        committed->parts[i].topic = same ? committed->parts[i - 1].topic : must(strdup(name));
        committed->parts[i].partition = sorted[i].part.partition;
        committed->places[i] = sorted[i].place;
    }
    free(sorted);
}

static void free_parts(struct committed *committed)
{
    const char *last = NULL;
    for (size_t i = 0; i < committed->count; i++) {
        if (committed->parts[i].topic != last) {
            last = committed->parts[i].topic;
            free((void *)(uintptr_t)last);
        }
    }
    free(committed->parts);
    free(committed->places);
}

static int compare_found(const struct topic_partition *part, const struct offset_fetch_part *found)
{
    size_t len = strlen(part->topic);
    size_t other = found->topic.len > 0 ? (size_t)found->topic.len : 0;
    int order = other == 0 ? 1 : memcmp(part->topic, found->topic.data, len < other ? len : other);
    if (order == 0) {
        order = (len > other) - (len < other);
    }
    return order != 0 ? order
                      : (part->partition > found->partition) - (part->partition < found->partition);
}

/* ---- the answer ---- */

static void take_one(struct committed *committed, size_t place,
                     const struct offset_fetch_part *found)
{
    struct membership_commit *want = &committed->wants[place];
    bool there = found->error == KAFKA_NONE && found->offset >= 0;
    want->error = found->error;
    want->offset = there ? found->offset : -1;
    free(committed->texts[place]); /* a broker may say a partition twice */
    committed->texts[place] = there && found->metadata.len > 0
                                  ? must(strndup(found->metadata.data, (size_t)found->metadata.len))
                                  : NULL;
    want->metadata = committed->texts[place];
}

static void take_part(struct committed *committed, const struct offset_fetch_part *found)
{
    size_t low = 0;
    size_t high = committed->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_found(&committed->parts[middle], found) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < committed->count && compare_found(&committed->parts[low], found) == 0; low++) {
        take_one(committed, committed->places[low], found);
    }
}

static void put(void *arg, struct writer *writer, int16_t version)
{
    const struct committed *committed = arg;
    const struct offset_fetch_want want = {.group = committed->group,
                                           .parts = committed->parts,
                                           .parts_count = (int32_t)committed->count};
    proto_put_offset_fetch(writer, version, false, &want, 1);
}

/* What was said of no partition is not "nothing committed": it stays an error. */
static bool get(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                struct err *err)
{
    struct committed *committed = arg;
    struct offset_fetch_answer answer;
    if (!proto_get_offset_fetch_of_one(reader, version, &answer, err)) {
        return err_wrap(err, "group '%s'", committed->group);
    }
    *out_error = answer.groups[0].error;
    for (int32_t i = 0; *out_error == KAFKA_NONE && i < answer.groups[0].parts_count; i++) {
        take_part(committed, &answer.groups[0].parts[i]);
    }
    offset_fetch_answer_done(&answer);
    return true;
}

/* ---- its life ---- */

void committed_refuse(struct membership_commit *take_wants, size_t count,
                      void (*done)(void *arg, const struct membership_commit *found, size_t count,
                                   const struct err *err),
                      void *arg, const struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        take_wants[i].error = (int16_t)(err->code ? err->code : KAFKA_UNKNOWN_SERVER_ERROR);
        take_wants[i].offset = -1;
        take_wants[i].metadata = NULL;
    }
    done(arg, take_wants, count, err);
    free(take_wants);
}

/* Answer and free: no list holds it any more, so the answer may ask again. */
static void end(void *arg, const struct err *err)
{
    struct committed *committed = arg;
    LIST_REMOVE(committed, entry);
    group_ask_free(committed->ask);
    if (err) {
        committed_refuse(committed->wants, committed->count, committed->done, committed->arg, err);
    } else {
        committed->done(committed->arg, committed->wants, committed->count, NULL);
        free(committed->wants);
    }
    for (size_t i = 0; i < committed->count; i++) {
        free(committed->texts[i]);
    }
    free(committed->texts);
    free_parts(committed);
    free(committed);
}

void committed_ask(struct committeds *all, struct loop *loop, struct cluster *target,
                   const char *group, struct membership_commit *take_wants, size_t count,
                   void (*done)(void *arg, const struct membership_commit *found, size_t count,
                                const struct err *err),
                   void *arg)
{
    struct committed *committed = must(calloc(1, sizeof(*committed)));
    committed->group = group;
    committed->wants = take_wants;
    committed->count = count;
    committed->done = done;
    committed->arg = arg;
    committed->texts = must(calloc(count, sizeof(*committed->texts)));
    committed->parts = must(calloc(count, sizeof(*committed->parts)));
    committed->places = must(calloc(count, sizeof(*committed->places)));
    copy_parts(committed);
    for (size_t i = 0; i < count; i++) {
        take_wants[i].error = KAFKA_UNKNOWN_SERVER_ERROR;
        take_wants[i].offset = -1;
        take_wants[i].metadata = NULL;
    }
    LIST_INSERT_HEAD(all, committed, entry);
    const struct group_ask_what what = {.group = group,
                                        .api = API_OFFSET_FETCH,
                                        .timeout_ms = COMMITTED_MS,
                                        .put = put,
                                        .get = get,
                                        .done = end,
                                        .arg = committed};
    committed->ask = group_ask_new(loop, target, &what);
}

void committed_end_all(struct committeds *all, const struct err *err)
{
    struct committed *first = LIST_FIRST(all);
    while (first) {
        end(first, err);
        first = LIST_FIRST(all);
    }
}
