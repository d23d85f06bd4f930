/* mirror/partition and mirror/resume in a world that fails: a model of both logs, of Redis, of the group's commit, of
 * the network (answers lost, bytes that arrive late), and one to three workers that are killed, paused and forced onto
 * one partition. A seed is a world; SIM_SEEDS=N runs N of them (from SIM_FROM on), SIM_SEED=S one with its steps printed,
 * SIM_KIND=batches|records|cleaner those of one kind.
 *
 * Checked: I1 no loss, I2 no duplicate a generation, I3 order, I4 every run that is told maps to the same content, I8
 * sequences without a gap; no beginning while anything of ours is on the target; no fault that the world does not
 * justify; once the world is calm everything is copied.
 *
 * Over the path `records` ids are the target's to give, or there are none: at least once. I3 is
 * kept by what stands there first, and I2 where nobody dies, nothing is lost and nothing is late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mirror/partition.h"
#include "mirror/producer.h"
#include "mirror/recode.h"
#include "mirror/resume.h"
#include "mirror/sequence.h"
#include "tests/fake/model_source.h"
#include "tests/fake/model_target.h"

#define WORKERS_MAX  3
#define FLIGHTS_MAX  256
#define UIDS_MAX     8192
#define STEPS_WILD   400
#define STEPS_CALM   6000
#define WINDOW_BYTES 700 /* four or five batches: the queue is full often */
#define WINDOW_COUNT 12  /* records of it in flight */
#define ID_BASE      ((int64_t)0x4659 << 47 | (int64_t)77 << 15)
#define WIDE_SEQUENCES \
    ((int64_t)0x7fffffff - 40) /* log start of worlds whose sequences wrap soon */

enum { /* what a world can do */
       W_TRANSACTIONS = 1 << 0,
       W_TWINS = 1 << 1, /* byte-identical batches */
       W_KILLS = 1 << 2,
       W_RIVALS = 1 << 3, /* several workers write at once */
       W_LOST_ANSWERS = 1 << 4,
       W_SLOW_REPLICAS = 1 << 5, /* the watermark stays behind */
       W_REDIS = 1 << 6,         /* away, older, flushed */
       W_GROUP = 1 << 7,         /* commit lost or older */
       W_FOREIGN = 1 << 8,
       W_SOURCE_CUT = 1 << 9,  /* unclean election at the source */
       W_TARGET_CUT = 1 << 10, /* ... at the target */
       W_SOURCE_RETENTION = 1 << 11,
       W_TARGET_RETENTION = 1 << 12,
       W_COMPACTION = 1 << 13, /* whole batches at the source vanish */
       W_INNER_COMPACTION = 1 << 14,
       W_EXPIRY = 1 << 15,
       W_KINDS = 16,
       W_ALL_CUT =
           1
           << 16, /* nothing of a generation was left on the target: its first batch has no order protection */
       W_FITTED =
           1 << 17, /* a batch of another reading, late, went just behind one of a later reading */
};

enum kind { KIND_BATCHES, KIND_RECORDS, KIND_CLEANER };
static const struct {
    const char *name;
    uint64_t seeds;
} kinds[] = {
    [KIND_BATCHES] = {"batches", 6000},
    [KIND_RECORDS] = {"records", 3000},
    [KIND_CLEANER] = {"cleaner", 3000},
};

enum where { W_IDLE, W_RESUME, W_PLACED, W_CARRY, W_FAULTED };

struct flight { /* a Produce request on its way */
    bool used;
    int32_t worker;
    int32_t life; /* of the worker: answers to the dead are nobody's */
    uint32_t ticket;
    int64_t reading;
    bool listens; /* its connection lives */
    bool arrived;
    int16_t error;
    int64_t offset;
    int64_t until; /* log end that has to be replicated before the answer */
    uint8_t *data;
    size_t len;
    int64_t source_first, source_next;
    struct model_record *records; /* one for each in it */
    int32_t generation;
};

struct worker {
    enum where where;
    bool alive;
    bool paused;
    int32_t life;
    uint32_t ticket;
    int32_t flying;
    int64_t reading; /* of the source: a number for each, from a position on */
    bool unproven;   /* its oldest batch is to be read back */
    struct partition core;
    bool resuming;
    struct resume resume;
    enum resume_need need;
    int64_t position;
    enum resume_fault fault;
    bool saw_ours; /* on the target, when it asked */
    /* path `records` alone */
    struct producer producer;
    int64_t appended_end;
    int64_t fell_to;
    int32_t source_epoch; /* that the position was found at */
};

struct store {
    bool away;
    bool has;
    struct checkpoint at;
    bool has_older;
    struct checkpoint older;
};

struct world {
    uint64_t random;
    uint32_t can;
    uint32_t ever; /* could */
    bool loud;
    bool records; /* the path */
    bool cleaner; /* compacts often, between two readings of workers that die */
    bool no_ids;  /* over it: the target gives none out */
    int64_t ids_count;
    struct model_source source;
    struct model_target target;
    struct recode *recode; /* of all workers: holds nothing between two calls */
    struct worker workers[WORKERS_MAX];
    int32_t workers_count;
    int32_t owner;
    struct flight flights[FLIGHTS_MAX];
    int32_t flights_first; /* the oldest in use, about */
    struct store redis;
    struct store group;
    int64_t readings_count;
    int64_t newest_reading; /* of what stands on the target */
    int64_t begin_offset;
    bool began;
    uint32_t did; /* W_: what happened, to justify faults */
    bool broken;
    char why[256];
    int64_t steps;
    int32_t fetches_count; /* since the calm */
};

/* --- chance ------------------------------------------------------------------------------------------------------- */

static uint64_t next_random(struct world *world)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random * 0x2545f4914f6cdd1dull;
}
static int32_t pick(struct world *world, int32_t below)
{
    return (int32_t)((next_random(world) >> 33) % (uint64_t)below);
}
static bool chance(struct world *world, int32_t percent)
{
    return pick(world, 100) < percent;
}

__attribute__((format(printf, 2, 3))) static void say(struct world *world, const char *format, ...)
{
    if (world->loud) {
        va_list args;
        va_start(args, format);
        printf("%6lld ", (long long)world->steps);
        vprintf(format, args);
        printf("\n");
        va_end(args);
    }
}

__attribute__((format(printf, 2, 3))) static void wrong(struct world *world, const char *format,
                                                        ...)
{
    if (world->broken) {
        return;
    }
    va_list args;
    va_start(args, format);
    world->broken = true;
    vsnprintf(world->why, sizeof(world->why), format, args);
    va_end(args);
    say(world, "WRONG: %s", world->why);
}

/* --- what is true ------------------------------------------------------------------------------------------------- */

static const struct model_entry *entry_at(const struct world *world, int64_t offset)
{
    for (int32_t i = world->target.count; i-- > 0;) {
        const struct model_entry *entry = &world->target.entries[i];
        if (entry->base <= offset && offset < entry->next) {
            return entry;
        }
    }
    return NULL;
}

/* The bytes of the value of a record decide. */
struct content {
    int64_t offset;
    bool found;
    uint64_t hash;
};
static bool see_record(void *arg, const struct record *record)
{
    struct content *content = arg;
    if (record->offset == content->offset) {
        content->found = true;
        content->hash = record_hash(record);
    }
    return true;
}
static struct content content_of(const uint8_t *data, size_t len, int64_t offset)
{
    struct content content = {.offset = offset};
    struct batch batch;
    struct err err;
    if (batch_walk(data, len, &batch, &err) == BATCH_WALK_ONE) {
        assert_true(batch_each_record(&batch, 1 << 20, see_record, &content, &err));
    }
    return content;
}

/* I4: each record of the run is the same on both sides (as far as both still have it). */
static void check_run(struct world *world, const struct offset_run *run)
{
    for (int64_t i = 0; i < run->length; i++) {
        const struct model_entry *entry = entry_at(world, run->target_first + i);
        const struct model_batch *batch = model_source_at(&world->source, run->source_first + i);
        if (entry == NULL || batch == NULL || entry->generation < 0) {
            if (!(world->did & (W_SOURCE_CUT | W_TARGET_CUT))) {
                wrong(world, "run maps source %lld to target %lld, where none of ours stands",
                      (long long)(run->source_first + i), (long long)(run->target_first + i));
            }
            continue;
        }
        struct content left = content_of(batch->data, batch->len, run->source_first + i);
        struct content right = content_of(entry->data, entry->len, run->target_first + i);
        if (left.found && right.found && left.hash != right.hash && !(world->did & W_SOURCE_CUT)) {
            wrong(world, "source %lld and target %lld hold different records",
                  (long long)(run->source_first + i), (long long)(run->target_first + i));
        }
    }
}

static bool gone_at_source(const struct world *world, int64_t offset)
{
    const struct model_batch *batch = model_source_at(&world->source, offset);
    return batch == NULL || batch->removed || batch->gone[offset - batch->base];
}

/* I3 by records: what stands there again was in its place before. (Unless compaction took it from all who read later, and a
 * dead worker's batch that holds it came late.) */
static void check_first_places(struct world *world)
{
    static uint8_t seen[MODEL_GENERATIONS][UIDS_MAX];
    int64_t last[MODEL_GENERATIONS];
    memset(seen, 0, sizeof(seen));
    for (int32_t i = 0; i < MODEL_GENERATIONS; i++) {
        last[i] = -1;
    }
    for (int32_t i = 0; i < world->target.count; i++) {
        const struct model_entry *entry = &world->target.entries[i];
        int32_t generation = entry->generation;
        for (int64_t at = 0; generation >= 0 && at < entry->next - entry->base; at++) {
            const struct model_record *record = &entry->records[at];
            bool first = !seen[generation][record->uid];
            seen[generation][record->uid] = 1;
            if (first && record->source < last[generation] &&
                !gone_at_source(world, record->source) &&
                !(world->did & (W_SOURCE_CUT | W_TWINS))) {
                wrong(world, "source %lld stands at target %lld, behind %lld (generation %d)",
                      (long long)record->source, (long long)(entry->base + at),
                      (long long)last[generation], generation);
            }
            last[generation] = first ? record->source : last[generation];
        }
    }
}

/* I2, I3, I8 over the whole target. */
static void check_target(struct world *world)
{
    int64_t source_next[MODEL_GENERATIONS];
    int32_t wire_next[MODEL_GENERATIONS];
    if (world->records) {
        check_first_places(world);
        return;
    }
    for (int32_t i = 0; i < MODEL_GENERATIONS; i++) {
        source_next[i] = wire_next[i] = -1;
    }
    for (int32_t i = 0; i < world->target.count; i++) {
        const struct model_entry *entry = &world->target.entries[i];
        int32_t generation = entry->generation;
        /* A generation of which nothing is left anywhere (log, broker, checkpoints) may be used again. */
        if (generation < 0 || (entry->removed && world->can & W_EXPIRY)) {
            continue;
        }
        if (entry->source_first < source_next[generation] &&
            !(world->did & W_SOURCE_CUT &&
              world->did & W_TWINS)) { /* what is lost grows again elsewhere */
            wrong(world, "source %lld stands at target %lld again or out of order (generation %d)",
                  (long long)entry->source_first, (long long)entry->base, generation);
        }
        if (wire_next[generation] >= 0 && entry->wire != wire_next[generation]) {
            wrong(world, "sequence %d at target %lld, %d expected (generation %d)", entry->wire,
                  (long long)entry->base, wire_next[generation], generation);
        }
        source_next[generation] = entry->source_next;
        wire_next[generation] = sequence_wire((int64_t)entry->wire + (entry->next - entry->base));
    }
}

/* Compaction left one of several records with the same bytes, or the log grew again with the bytes that it had lost: any
 * of them on the target is it. */
static bool same_bytes_seen(const struct world *world, const struct model_batch *batch,
                            int32_t record)
{
    uint64_t hash = content_of(batch->data, batch->len, batch->base + record).hash;
    if (!(world->did & (W_COMPACTION | W_INNER_COMPACTION | W_SOURCE_CUT) || world->records) ||
        !(world->did & W_TWINS)) {
        return false;
    }
    if (world->did & (W_COMPACTION | W_INNER_COMPACTION)) {
        return true;
    }
    for (int32_t i = 0; i < world->target.count; i++) {
        const struct model_entry *entry = &world->target.entries[i];
        for (int64_t at = entry->base; entry->generation >= 0 && at < entry->next; at++) {
            if (content_of(entry->data, entry->len, at).hash == hash) {
                return true;
            }
        }
    }
    return false;
}

/* What an answer that did not come, or came late, is reason for. */
static bool repeats_allowed(const struct world *world)
{
    return world->records && world->ever & (W_KILLS | W_RIVALS | W_LOST_ANSWERS | W_SLOW_REPLICAS |
                                            W_TARGET_CUT | W_REDIS | W_GROUP | W_EXPIRY);
}

/* I1, and I2 across generations when no truncation excuses it. */
static void check_copied(struct world *world, int64_t until)
{
    static uint8_t seen[UIDS_MAX];
    memset(seen, 0, sizeof(seen));
    for (int32_t i = 0; i < world->target.count; i++) {
        const struct model_entry *entry = &world->target.entries[i];
        for (int64_t at = 0; entry->generation >= 0 && at < entry->next - entry->base; at++) {
            const struct model_record *record = &entry->records[at];
            if (seen[record->uid] && until > 0 && !(world->did & (W_SOURCE_CUT | W_FITTED)) &&
                !repeats_allowed(world)) {
                wrong(world, "source %lld was copied twice", (long long)record->source);
            }
            seen[record->uid] = 1;
        }
    }
    for (int32_t i = 0; i < world->source.count; i++) {
        const struct model_batch *batch = &world->source.batches[i];
        for (int32_t at = 0; model_batch_visible(batch) && at < batch->count; at++) {
            int64_t offset = batch->base + at;
            if (!batch->gone[at] && offset >= world->begin_offset &&
                offset >= world->source.log_start && offset < until && !seen[batch->uid + at] &&
                !same_bytes_seen(world, batch, at)) {
                wrong(world, "source %lld is lost", (long long)offset);
            }
        }
    }
}

/* --- the network -------------------------------------------------------------------------------------------------- */

static void flight_free(struct flight *flight)
{
    free(flight->data);
    free(flight->records);
    *flight = (struct flight){0};
}

/* Compaction lies between two readings that count alike just there: none can tell before. */
static void note_fit(struct world *world, const struct flight *flight)
{
    bool before = flight->reading < world->newest_reading;
    if (before && world->did & (W_COMPACTION | W_INNER_COMPACTION)) {
        world->did |= W_FITTED;
    }
    world->newest_reading = before ? world->newest_reading : flight->reading;
}

static void arrive(struct world *world, struct flight *flight)
{
    int64_t end = world->target.end;
    flight->arrived = true;
    flight->error =
        model_target_append(&world->target, flight->data, flight->len, flight->source_first,
                            flight->source_next, flight->records, &flight->offset);
    if (flight->error == KAFKA_NONE && world->target.end > end) {
        world->target.entries[world->target.count - 1].generation = flight->generation;
        note_fit(world, flight);
    }
    flight->until = world->target.end;
    say(world, "  request of worker %d source %lld..%lld arrives: error %d offset %lld",
        flight->worker, (long long)flight->source_first, (long long)flight->source_next - 1,
        flight->error, (long long)flight->offset);
    if (!(world->can & W_SLOW_REPLICAS)) {
        world->target.watermark = world->target.end;
    }
    if (!flight->listens) {
        flight_free(flight);
    }
}

/* The oldest request of a worker that has not arrived: a connection keeps its order. */
static struct flight *oldest(struct world *world, int32_t worker, bool arrived)
{
    for (int32_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *flight = &world->flights[(world->flights_first + i) % FLIGHTS_MAX];
        if (flight->used && flight->worker == worker && (arrived || !flight->arrived)) {
            return flight;
        }
    }
    return NULL;
}

/* Nothing of it counts any more. */
static void drop(struct worker *worker)
{
    worker->ticket++;
    worker->unproven = false;
    partition_drop(&worker->core);
}

static void go_idle(struct world *world, struct worker *worker, const char *why)
{
    say(world, "worker %d: doubt: %s", (int)(worker - world->workers), why);
    drop(worker);
    worker->where = W_IDLE;
}

/* Its connection breaks: what has not arrived may still arrive, or only its beginning. */
static void break_connection(struct world *world, int32_t index, bool rest_is_lost)
{
    struct worker *worker = &world->workers[index];
    for (int32_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *flight = &world->flights[(world->flights_first + i) % FLIGHTS_MAX];
        if (!flight->used || flight->worker != index) {
            continue;
        }
        flight->listens = false;
        rest_is_lost = rest_is_lost || chance(world, 30);
        if (flight->arrived || rest_is_lost) {
            flight_free(flight);
        }
    }
    bool flew = worker->flying > 0;
    worker->flying = 0;
    if (worker->where == W_CARRY && flew) {
        go_idle(world, worker, "connection lost");
    } else if (worker->where == W_CARRY) {
        partition_reopen(&worker->core);
    }
}

/* Bytes of a log that the source has lost since reach the broker before another reading of it begins: the send
 * deadline and the rest before every resume promise it. */
static void settle_flights(struct world *world)
{
    int32_t first = world->flights_first;
    bool late = false;
    for (int32_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *flight = &world->flights[(first + i) % FLIGHTS_MAX];
        if (flight->used && !flight->arrived) {
            late = late || !flight->listens;
            arrive(world, flight);
        }
    }
    for (int32_t i = 0; late && i < world->workers_count; i++) {
        struct worker *worker = &world->workers[i];
        if (worker->where != W_FAULTED && worker->flying == 0) {
            go_idle(world, worker, "what it read is older than what arrived");
        }
    }
}

/* Which records are in it, by the runs that it names. */
static struct model_record *records_of(const struct world *world, const struct parcel *parcel)
{
    struct model_record *records = calloc((size_t)parcel->count, sizeof(*records));
    assert_non_null(records);
    struct recode_run whole = {.source_first = parcel->source_first, .count = parcel->count};
    const struct recode_run *runs = parcel->runs == NULL ? &whole : parcel->runs;
    size_t runs_count = parcel->runs == NULL ? 1 : parcel->runs_count;
    int32_t at = 0;
    for (size_t run = 0; run < runs_count; run++) {
        for (int32_t i = 0; i < runs[run].count; i++, at++) {
            int64_t source = runs[run].source_first + i;
            const struct model_batch *from = model_source_at(&world->source, source);
            assert_true(at < parcel->count);
            records[at].source = source;
            records[at].uid = /* or cut off at the source since */
                from == NULL ? UIDS_MAX - 1 : from->uid + source - from->base;
        }
    }
    assert_int_equal(at, parcel->count);
    return records;
}

static const struct partition_bounds bounds = {
    .window_bytes = WINDOW_BYTES, .queue_bytes = WINDOW_BYTES, .window_records = WINDOW_COUNT};

/* As mirror/records has it, or mirror/batches. */
static void name(struct world *world, struct worker *worker)
{
    const struct checkpoint *at = &worker->core.at;
    if (!world->records) {
        worker->producer = (struct producer){.id = sequence_id(ID_BASE, at->generation)};
    } else if (world->no_ids) {
        producer_give(&worker->producer, BATCH_NO_PRODUCER, at, worker->source_epoch);
    } else if (!producer_goes_on(&worker->producer, at, worker->source_epoch)) {
        assert_true(world->ids_count < MODEL_GIVEN);
        producer_give(&worker->producer, world->ids_count++, at, worker->source_epoch);
    }
    worker->core.alone = world->no_ids;
}

static bool may_go(struct world *world, struct worker *worker, const struct parcel *parcel)
{
    if (producer_same_again(&worker->producer, parcel)) {
        return true;
    }
    if (partition_flight_count(&worker->core) > 0) {
        return false;
    }
    worker->producer.spent = true;
    partition_reopen(&worker->core);
    name(world, worker);
    return true;
}

static void send_one(struct world *world, int32_t index)
{
    struct worker *worker = &world->workers[index];
    struct parcel *parcel = partition_peek(&worker->core, &bounds);
    if (parcel == NULL || (world->records && !may_go(world, worker, parcel))) {
        return;
    }
    int32_t at = world->flights_first;
    for (int32_t i = 0; i < FLIGHTS_MAX; i++) { /* behind the youngest */
        if (world->flights[(world->flights_first + i) % FLIGHTS_MAX].used) {
            at = (world->flights_first + i + 1) % FLIGHTS_MAX;
        }
    }
    struct flight *flight = &world->flights[at];
    if (flight->used) {
        return; /* full */
    }
    struct batch batch;
    struct err err;
    assert_int_equal(batch_walk(parcel->data, parcel->len, &batch, &err), BATCH_WALK_ONE);
    *flight = (struct flight){.used = true,
                              .worker = index,
                              .life = worker->life,
                              .ticket = worker->ticket,
                              .reading = worker->reading,
                              .listens = true,
                              .data = malloc(parcel->len),
                              .len = parcel->len,
                              .source_first = parcel->source_first,
                              .source_next = parcel->source_next,
                              .generation = worker->core.at.generation,
                              .records = records_of(world, parcel)};
    memcpy(flight->data, parcel->data, parcel->len);
    batch_patch_header(&batch, worker->producer.id,
                       sequence_wire(parcel->sequence - worker->producer.sequence_first),
                       flight->data);
    producer_sent(&worker->producer, parcel);
    partition_sent(&worker->core, world->steps);
    worker->flying++;
    say(world, "worker %d sends source %lld..%lld sequence %lld generation %d for target %lld",
        index, (long long)parcel->source_first, (long long)parcel->source_next - 1,
        (long long)parcel->sequence, worker->core.at.generation, (long long)parcel->target_first);
}

/* As mirror/sink has it. */
static void doubted(struct worker *worker, int16_t error, int64_t offset)
{
    const struct parcel *parcel = partition_oldest(&worker->core);
    producer_doubted(&worker->producer, error, offset, parcel->target_first);
    worker->fell_to = error == KAFKA_NONE && offset < parcel->target_first ? offset : -1;
    if (error == KAFKA_REQUEST_TIMED_OUT) {
        worker->appended_end = parcel->target_first + parcel->count;
    }
}

static void advanced(struct world *world, struct worker *worker, struct ack *ack)
{
    do {
        check_run(world, &ack->run);
    } while (partition_more(&worker->core, ack));
    assert_true(ack->last);
}

/* What the target's log holds at the place of the batch that was answered. */
static void read_back(struct world *world, struct worker *worker)
{
    const struct model_entry *entry =
        entry_at(world, partition_oldest(&worker->core)->target_first);
    struct batch found;
    struct ack ack;
    struct err err = {0};
    bool there = entry != NULL && !entry->removed;
    worker->unproven = false;
    if (there) {
        assert_int_equal(batch_walk(entry->data, entry->len, &found, &err), BATCH_WALK_ONE);
    }
    if (!there || !partition_same(&worker->core, &found, &err)) {
        go_idle(world, worker, there ? err.what : "nothing to read back");
        return;
    }
    partition_proven(&worker->core, &ack);
    advanced(world, worker, &ack);
}

static void answer_one(struct world *world, int32_t index)
{
    struct worker *worker = &world->workers[index];
    struct flight *flight = oldest(world, index, true);
    if (flight == NULL || !flight->arrived || !flight->listens) {
        return;
    }
    int16_t error = flight->error;
    int64_t offset = flight->offset;
    if (error == 0 && world->target.watermark < flight->until) {
        if (!chance(world, 10)) {
            return;
        }
        error = KAFKA_REQUEST_TIMED_OUT;
    }
    bool current = flight->ticket == worker->ticket && worker->where == W_CARRY;
    flight_free(flight);
    worker->flying--;
    if (!current) {
        return;
    }
    struct ack ack;
    struct err err;
    switch (partition_answer(&worker->core, error, offset, &ack, &err)) {
    case ANSWERED_ADVANCED:
        advanced(world, worker, &ack);
        break;
    case ANSWERED_UNPROVEN:
        worker->unproven = true;
        break;
    case ANSWERED_DOUBT:
        doubted(worker, error, offset);
        go_idle(world, worker, err.what);
        break;
    case ANSWERED_REFUSED:
        wrong(world, "refused: %s", err.what);
        break;
    }
}

/* --- a worker ----------------------------------------------------------------------------------------------------- */

static bool owns(const struct world *world, int32_t index)
{
    return (world->can & W_RIVALS) || world->owner == index;
}

static enum resume_found look(const struct store *store)
{
    return store->away ? CHECKPOINT_AWAY : store->has ? CHECKPOINT_FOUND : CHECKPOINT_NONE;
}

static void keep(struct store *store, const struct checkpoint *at)
{
    if (store->has) {
        store->older = store->at;
        store->has_older = true;
    }
    store->at = *at;
    store->has = true;
}

static void begin_resume(struct world *world, struct worker *worker)
{
    struct resume_options options = {.id_base = ID_BASE,
                                     .start = START_EARLIEST,
                                     .on_truncation = POLICY_CONTINUE,
                                     .on_foreign_write = POLICY_CONTINUE,
                                     .adopt_end = -1,
                                     .by_content = world->records,
                                     .before_span = 2 * WINDOW_COUNT,
                                     .appended_end = worker->appended_end,
                                     .fell_to = worker->fell_to,
                                     .read_bytes = 1 << 20};
    memset(&options.source_topic_id, 1, sizeof(options.source_topic_id));
    memset(&options.target_topic_id, 2, sizeof(options.target_topic_id));
    if (worker->resuming) {
        resume_done(&worker->resume);
    }
    if (world->did & W_SOURCE_CUT) {
        settle_flights(world);
    }
    resume_init(&worker->resume, &options);
    worker->resuming = true;
    worker->need = resume_start(&worker->resume);
    worker->position = -1;
    worker->where = W_RESUME;
}

static bool ours_on_target(const struct world *world)
{
    for (int32_t i = 0; i < world->target.count; i++) {
        if (world->target.entries[i].generation >= 0 && !world->target.entries[i].removed &&
            world->target.entries[i].next <= world->target.watermark) {
            return true;
        }
    }
    return false;
}

static enum resume_need need_source(struct world *world, struct worker *worker)
{
    worker->source_epoch = world->source.epoch;
    struct resume_source source = {.log_start = world->source.log_start,
                                   .stable_end = model_source_stable_end(&world->source),
                                   .epoch = -1,
                                   .epoch_end = -1};
    if (worker->resume.ask_epoch >= 0) {
        source.epoch_known = true;
        model_source_epoch_end(&world->source, worker->resume.ask_epoch, &source.epoch,
                               &source.epoch_end);
    }
    return resume_give_source(&worker->resume, &source);
}

static enum resume_need need_target(struct world *world, struct worker *worker)
{
    struct resume_target target;
    worker->saw_ours = ours_on_target(world);
    model_target_describe(&world->target, &target);
    return resume_give_target(&worker->resume, &target);
}

/* What the map has of it: records that stand side by side on both sides. */
static struct offset_run run_around(const struct model_entry *entry, int64_t offset)
{
    int64_t count = entry->next - entry->base;
    int64_t first = offset - entry->base;
    int64_t last = first;
    const struct model_record *records = entry->records;
    while (first > 0 && records[first - 1].source == records[first].source - 1) {
        first--;
    }
    while (last + 1 < count && records[last + 1].source == records[last].source + 1) {
        last++;
    }
    return (struct offset_run){records[first].source, entry->base + first, last - first + 1};
}

static enum resume_need need_floor(struct world *world, struct worker *worker)
{
    int64_t offset = worker->resume.ask_from;
    const struct model_entry *entry = entry_at(world, offset);
    struct offset_run run = {0};
    bool found = entry != NULL && entry->generation == worker->resume.runs_from.generation &&
                 entry->source_next <= worker->resume.runs_from.source_next && !world->redis.away &&
                 world->redis.has && chance(world, 70);
    if (found) {
        run = run_around(entry, offset);
    }
    return resume_give_floor(&worker->resume, found, run);
}

static enum resume_need need_cut(struct world *world, struct worker *worker)
{
    world->redis.at = worker->resume.at;
    world->redis.has = !world->redis.away;
    return resume_give_cut(&worker->resume);
}

/* A chunk of the target's log. RESUME_WAIT with position -2: out of range. */
static bool read_target(struct world *world, struct worker *worker, enum resume_need *out)
{
    struct resume *resume = &worker->resume;
    int32_t batches = 1 + pick(world, 6);
    if (worker->position < 0) {
        worker->position = resume->ask_from;
    }
    if (worker->position < world->target.log_start || worker->position > world->target.end) {
        return false;
    }
    for (int32_t i = 0; i < world->target.count && batches > 0; i++) {
        const struct model_entry *entry = &world->target.entries[i];
        struct batch batch;
        struct err err;
        if (entry->removed || entry->next <= worker->position ||
            entry->next > world->target.watermark) {
            continue;
        }
        assert_int_equal(batch_walk(entry->data, entry->len, &batch, &err), BATCH_WALK_ONE);
        if (batch.base_offset >= resume->ask_to) {
            worker->position = resume->ask_to;
            break;
        }
        batches--;
        if (!resume_target_batch(resume, &batch)) {
            worker->position = -1;
            *out = resume_target_end(resume);
            return true;
        }
        worker->position = batch_next_offset(&batch);
    }
    if (worker->position >= resume->ask_to) {
        worker->position = -1;
        *out = resume_target_end(resume);
        return true;
    }
    *out = NEED_READ_TARGET;
    return world->target.watermark >= resume->ask_to; /* else it was cut meanwhile */
}

static bool feed_source(struct worker *worker, struct fetch_partition *fetched)
{
    const struct transfer_limits limits = {.max_message_bytes = INT64_MAX,
                                           .max_timestamp = INT64_MAX};
    struct transfer_filter filter;
    const uint8_t *data = fetched->records;
    size_t left = fetched->records_len;
    struct batch batch;
    struct err err;
    bool go_on = true;
    transfer_filter_init(&filter, fetched);
    while (go_on && batch_walk(data, left, &batch, &err) == BATCH_WALK_ONE) {
        enum transfer_what what;
        enum batch_verdict verdict;
        assert_true(
            transfer_decide(&filter, &batch, worker->position, &limits, &what, &verdict, &err));
        if (what != TRANSFER_BEFORE) {
            go_on = resume_source_batch(&worker->resume, &batch, what != TRANSFER_SKIP);
            worker->position = batch_next_offset(&batch);
        }
        data += batch.len;
        left -= batch.len;
    }
    transfer_filter_done(&filter);
    return go_on;
}

static bool read_source(struct world *world, struct worker *worker, enum resume_need *out)
{
    struct fetch_partition fetched;
    struct buf *block;
    if (world->source.epoch != worker->source_epoch) {
        return false;
    }
    if (worker->position < 0) {
        worker->position = worker->resume.ask_from;
    }
    if (!model_source_fetch(&world->source, worker->position, 1 + pick(world, 6), &fetched,
                            &block)) {
        return false;
    }
    bool go_on = feed_source(worker, &fetched);
    /* A hole at the end is passed, as the broker's answer is empty below the stable end. */
    if (fetched.records_len == 0) {
        worker->position = fetched.last_stable_offset > worker->position
                               ? fetched.last_stable_offset
                               : worker->position;
    }
    bool at_end = worker->position >= fetched.last_stable_offset;
    *out = NEED_READ_SOURCE;
    if (!go_on || at_end || resume_source_enough(&worker->resume)) {
        int64_t next = worker->position;
        worker->position = -1;
        *out = resume_source_end(&worker->resume, next, at_end);
    }
    free(fetched.aborted);
    buf_unref(block);
    return true;
}

static void resumed(struct world *world, struct worker *worker)
{
    const struct resume *resume = &worker->resume;
    say(world,
        "worker %d placed: source %lld target %lld sequence %lld generation %d epoch %d%s%s%s%s",
        (int)(worker - world->workers), (long long)resume->at.source_next,
        (long long)resume->at.target_next, (long long)resume->at.sequence_next,
        resume->at.generation, resume->at.leader_epoch, resume->event.began ? " began" : "",
        resume->event.source_truncated ? " source-truncated" : "",
        resume->event.target_truncated ? " target-truncated" : "",
        resume->event.by_count ? " by-count" : "");
    if (resume->event.began) {
        if (worker->saw_ours) {
            wrong(world, "began at start although records of ours are on the target");
        }
        if (!world->began) {
            world->begin_offset = resume->at.source_next;
        }
        world->began = true;
    }
    for (size_t i = 0; i < resume->runs.runs_count; i++) {
        check_run(world, &resume->runs.runs[i]);
    }
    if (resume->at.sequence_next < 0 || resume->at.source_next < 0) {
        wrong(world, "a negative position");
    }
    partition_place(&worker->core, &resume->at, resume->compacted);
    producer_resumed(&worker->producer, &resume->event);
    worker->reading = ++world->readings_count;
    worker->where = W_PLACED;
}

/* Over the path `records` no sequence need stand on the target that a batch from before a cut could contradict. */
static bool unguarded_cut(const struct world *world)
{
    return world->records && world->did & W_TARGET_CUT;
}

/* Which faults the world has given a reason for. */
static bool justified(const struct world *world, const struct resume *resume)
{
    switch (resume->fault) {
    case FAULT_GAP:
        return world->did & W_SOURCE_RETENTION || unguarded_cut(world) ||
               (world->did & W_TARGET_CUT && world->did & W_FOREIGN);
    case FAULT_TAIL_GONE:
        return world->did & W_TARGET_RETENTION;
    case FAULT_NO_CHECKPOINT:
        return (world->did & (W_TARGET_CUT | W_TARGET_RETENTION | W_SOURCE_RETENTION |
                              W_INNER_COMPACTION | W_COMPACTION | W_SOURCE_CUT)) != 0 ||
               /* others' records at its end, or repeats, are not told from ours */
               (world->records && !resume->has_checkpoint);
    case FAULT_SOURCE_TRUNCATED:
        return world->did & W_SOURCE_CUT;
    case FAULT_STRANGER:
    case FAULT_HOLE:
    case FAULT_ORDER:
        return unguarded_cut(world) || world->did & (W_SOURCE_CUT | W_ALL_CUT | W_FITTED) ||
               (world->did & W_TARGET_CUT && world->did & W_FOREIGN) ||
               /* what compaction emptied before the position, retention took then */
               (world->did & (W_COMPACTION | W_INNER_COMPACTION) &&
                world->did & W_SOURCE_RETENTION) ||
               /* a count that fits although it were others' records that vanished: told at the first answer */
               (world->did & W_TARGET_RETENTION && world->did & W_FOREIGN) ||
               (world->did & (W_COMPACTION | W_INNER_COMPACTION) && world->did & W_TWINS);
    case FAULT_SEQUENCE:
        return unguarded_cut(world) || world->did & W_ALL_CUT ||
               (world->did & W_TARGET_CUT &&
                (world->did & (W_FOREIGN | W_SOURCE_CUT) || world->ever & W_RIVALS));
    case FAULT_NOT_EMPTY:
        return world->did & W_FOREIGN;
    case FAULT_GENERATIONS:
    case FAULT_TOO_DEEP:
    case FAULT_BATCH_REFUSED:
    case FAULT_GARBAGE:
    case FAULT_NONE:
    case FAULT_SOURCE_RECREATED:
    case FAULT_TARGET_RECREATED:
    case FAULT_FOREIGN_WRITE:
    case FAULT_KINDS_COUNT:
        break;
    }
    return false;
}

static void faulted(struct world *world, struct worker *worker)
{
    const struct resume *resume = &worker->resume;
    say(world, "worker %d faults: %s: %s", (int)(worker - world->workers),
        resume_fault_name(resume->fault), resume->err.what);
    worker->where = W_FAULTED;
    worker->fault = resume->fault;
    if (!justified(world, resume)) {
        wrong(world, "unjustified fault %s: %s", resume_fault_name(resume->fault),
              resume->err.what);
    }
}

static void step_resume(struct world *world, struct worker *worker)
{
    struct resume *resume = &worker->resume;
    bool ok = true;
    switch (worker->need) {
    case NEED_CHECKPOINTS:
        worker->need = resume_give_checkpoints(resume, look(&world->redis), &world->redis.at,
                                               look(&world->group), &world->group.at, NULL);
        break;
    case NEED_SOURCE:
        worker->need = need_source(world, worker);
        break;
    case NEED_TARGET:
        worker->need = need_target(world, worker);
        break;
    case NEED_READ_TARGET:
        ok = read_target(world, worker, &worker->need);
        break;
    case NEED_READ_SOURCE:
        ok = read_source(world, worker, &worker->need);
        break;
    case NEED_FLOOR:
        worker->need = need_floor(world, worker);
        break;
    case NEED_CUT:
        worker->need = need_cut(world, worker);
        break;
    case RESUME_WAIT:
        if (resume->stalled) {
            ok = false;
            break;
        }
        say(world, "worker %d waits: %s", (int)(worker - world->workers), resume->err.what);
        worker->position = -1;
        worker->need = resume_again(resume, resume->ask_wait_ms * 5); /* steps are fewer than ms */
        break;
    case RESUME_DONE:
        resumed(world, worker);
        break;
    case RESUME_FAULT:
        faulted(world, worker);
        break;
    case RESUME_BROKEN: /* the log was cut and grew again while it was read */
        ok = false;
        break;
    }
    if (!ok) {
        say(world, "worker %d begins anew (need %d at %lld)", (int)(worker - world->workers),
            (int)worker->need, (long long)worker->position);
        worker->where = W_IDLE; /* out of range, or stalled */
    }
}

static void commit(struct world *world, struct worker *worker)
{
    int32_t index = (int32_t)(worker - world->workers);
    if (world->group.away || !owns(world, index)) {
        return;
    }
    keep(&world->group, &worker->core.at);
    if (worker->where == W_PLACED) {
        worker->where = W_CARRY;
        worker->appended_end = 0;
        worker->fell_to = -1;
        name(world, worker);
    }
}

static void advance_redis(struct world *world, struct worker *worker)
{
    struct store *redis = &world->redis;
    if (redis->away) {
        return;
    }
    if (redis->has && checkpoint_newer(&redis->at, &worker->core.at)) {
        go_idle(world, worker, "another worker's checkpoint stands in Redis");
        return;
    }
    keep(redis, &worker->core.at);
}

static void fetch(struct world *world, struct worker *worker)
{
    struct partition *core = &worker->core;
    if (!partition_wants(core, &bounds)) {
        return;
    }
    world->fetches_count++;
    int32_t epoch;
    int64_t end;
    model_source_epoch_end(&world->source, core->fetch_epoch, &epoch, &end);
    if (core->fetch_epoch >= 0 && (epoch != core->fetch_epoch || end < core->fetch_next)) {
        go_idle(world, worker, "diverging epoch");
        return;
    }
    struct fetch_partition fetched;
    struct buf *block;
    if (!model_source_fetch(&world->source, core->fetch_next, 1 + pick(world, 5), &fetched,
                            &block)) {
        go_idle(world, worker, "out of range");
        return;
    }
    const struct transfer_limits limits = {.max_message_bytes = INT64_MAX,
                                           .max_timestamp = INT64_MAX};
    struct partition_refusal refusal;
    struct err err;
    struct ack ack;
    switch (partition_take(core, &fetched, block, &limits, &bounds, &refusal, &err)) {
    case TOOK_OK:
        if (partition_settle(core, &ack)) {
            say(world, "worker %d settles at %lld", (int)(worker - world->workers),
                (long long)core->at.source_next);
        }
        break;
    case TOOK_REFUSED:
        if (partition_flight_count(core) + partition_queued_count(core) == 0) {
            worker->where = W_FAULTED;
            worker->fault = FAULT_BATCH_REFUSED;
            say(world, "worker %d: may not pass: %s", (int)(worker - world->workers),
                batch_verdict_text(refusal.verdict));
            wrong(world, "unjustified refusal: %s", batch_verdict_text(refusal.verdict));
        }
        break;
    case TOOK_BAD:
    case TOOK_BACK:
    case TOOK_FULL:
        wrong(world, "take: %s", err.what);
        break;
    }
    free(fetched.aborted);
    buf_unref(block);
}

static void step_carry(struct world *world, int32_t index)
{
    struct worker *worker = &world->workers[index];
    switch (pick(world, 10)) {
    case 0:
    case 1:
    case 2:
        fetch(world, worker);
        break;
    case 3:
        commit(world, worker);
        break;
    case 4:
        advance_redis(world, worker);
        break;
    case 5:
    case 6:
        if (worker->unproven) {
            read_back(world, worker);
        } else if (owns(world, index)) {
            send_one(world, index);
        }
        break;
    default:
        if (owns(world, index)) {
            send_one(world, index);
        }
        break;
    }
}

static void step_worker(struct world *world, int32_t index)
{
    struct worker *worker = &world->workers[index];
    if (!worker->alive || worker->paused) {
        return;
    }
    switch (worker->where) {
    case W_IDLE:
        if (worker->flying == 0 && owns(world, index)) {
            begin_resume(world, worker);
        }
        break;
    case W_RESUME:
        step_resume(world, worker);
        break;
    case W_PLACED:
        commit(world, worker);
        break;
    case W_CARRY:
        step_carry(world, index);
        break;
    case W_FAULTED:
        break;
    }
}

/* The partition is not its own any more: an id of its own neither. */
static void forget(struct worker *worker)
{
    producer_init(&worker->producer);
    worker->appended_end = 0;
    worker->fell_to = -1;
}

static void kill_worker(struct world *world, int32_t index)
{
    struct worker *worker = &world->workers[index];
    say(world, "worker %d is killed", index);
    break_connection(world, index, false);
    drop(worker);
    worker->where = W_IDLE;
    worker->paused = false;
    worker->life++;
    forget(worker);
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static void change_source(struct world *world)
{
    struct model_source *source = &world->source;
    if (source->uids_count > UIDS_MAX - 64) {
        return;
    }
    int32_t pid = world->can & W_TRANSACTIONS && chance(world, 40) ? pick(world, MODEL_PIDS) : -1;
    if (pid >= 0 && chance(world, 40)) {
        model_source_end_transaction(source, pid, chance(world, 60));
        return;
    }
    bool twin = world->can & W_TWINS && chance(world, 50);
    world->did |= twin ? W_TWINS : 0;
    model_source_append(source, 1 + pick(world, MODEL_RECORDS_MAX), pid, twin);
}

static bool hits(struct world *world, uint32_t what, int32_t per_mille)
{
    return world->can & what && pick(world, 1000) < per_mille;
}

/* What is on its way arrives, and everybody begins anew. */
static void all_anew(struct world *world, const char *why)
{
    settle_flights(world);
    for (int32_t i = 0; i < world->workers_count; i++) {
        break_connection(world, i, true);
        if (world->workers[i].where != W_FAULTED) {
            go_idle(world, &world->workers[i], why);
        }
    }
}

static void harm_source(struct world *world)
{
    struct model_source *source = &world->source;
    if (hits(world, W_SOURCE_CUT, 8) && source->end > 0) {
        int64_t offset = source->end - pick(world, 30);
        /* Late bytes of the lost records, taken as equal bounds later: the send deadline keeps them away, not the core. */
        if (world->can & (W_KILLS | W_LOST_ANSWERS | W_SLOW_REPLICAS)) {
            all_anew(world, "source cut");
        } else {
            settle_flights(world);
        }
        model_source_truncate(source, offset < 0 ? 0 : offset);
        world->did |= W_SOURCE_CUT;
        say(world, "source truncated to %lld, epoch %d", (long long)source->end, source->epoch);
    }
    if (hits(world, W_SOURCE_RETENTION, 5)) {
        int64_t offset = source->log_start + pick(world, 40);
        int64_t most = chance(world, 90) ? world->group.at.source_next : source->end;
        model_source_delete_before(source, offset < most ? offset : most);
        world->did |= W_SOURCE_RETENTION;
        say(world, "source log start %lld", (long long)source->log_start);
    }
    if (source->count > 0 && hits(world, W_COMPACTION, world->cleaner ? 40 : 10)) {
        bool header = chance(world, 50);
        int32_t at = pick(world, source->count);
        model_source_compact(source, at, true, header, 0);
        world->did |= W_COMPACTION;
        say(world, "source batch at %lld is compacted away%s", (long long)source->batches[at].base,
            header ? ", its header stays" : "");
    }
    if (source->count > 0 && hits(world, W_INNER_COMPACTION, world->cleaner ? 60 : 10)) {
        int32_t at = pick(world, source->count);
        model_source_compact(source, at, false, chance(world, 50), pick(world, 8));
        world->did |= W_INNER_COMPACTION;
        say(world, "source batch at %lld loses a record", (long long)source->batches[at].base);
    }
}

/* Is somebody at work in a generation of which the broker holds nothing? */
static bool any_unguarded(const struct world *world)
{
    const struct model_producer *producers = world->target.producers;
    for (int32_t i = 0; i < world->workers_count; i++) {
        if (!producers[world->workers[i].core.at.generation].known) {
            return true;
        }
    }
    return (world->group.has && !producers[world->group.at.generation].known) ||
           (world->redis.has && !producers[world->redis.at.generation].known);
}

static void harm_target(struct world *world)
{
    struct model_target *target = &world->target;
    if (hits(world, W_SLOW_REPLICAS, 60) && target->watermark < target->end) {
        /* watermarks stop at batch ends */
        for (int32_t i = 0; i < target->count; i++) {
            if (target->entries[i].next > target->watermark && chance(world, 50)) {
                target->watermark = target->entries[i].next;
                break;
            }
        }
    }
    if (hits(world, W_FOREIGN, 8)) {
        model_target_foreign(target, 1 + pick(world, 3), chance(world, 20));
        world->did |= W_FOREIGN;
        say(world, "foreign write, target ends at %lld", (long long)target->end);
        if (!(world->can & W_SLOW_REPLICAS)) {
            target->watermark = target->end;
        }
    }
    if (hits(world, W_TARGET_CUT, 5) && target->end > target->log_start) {
        int64_t offset = target->end - pick(world, 25);
        if (chance(world, 95) && target->count > 0 && offset < target->entries[0].next) {
            offset = target->entries[0].next;
        }
        for (int32_t i = 0; i < world->workers_count;
             i++) { /* what is on its way to the old leader dies with it */
            break_connection(world, i, true);
        }
        model_target_truncate(target, offset < target->log_start ? target->log_start : offset);
        world->did |= W_TARGET_CUT | (!world->records && any_unguarded(world) ? W_ALL_CUT : 0);
        /* A copy of Redis from before the cut that comes back is newer than the truth: not handled (see the report). */
        world->redis.has_older = false;
        world->redis.has = world->redis.has && !world->redis.away;
        say(world, "target truncated to %lld", (long long)target->end);
    }
    if (hits(world, W_TARGET_RETENTION, 5)) {
        int64_t offset = target->log_start + pick(world, 40);
        model_target_delete_before(target, offset > target->watermark ? target->watermark : offset);
        world->did |= W_TARGET_RETENTION;
        say(world, "target log start %lld", (long long)target->log_start);
    }
    /* Nor unreplicated: a tail that nobody can see of an id that the broker forgot is sent again, base_offset tells, and
     * the partition faults. The design says so. */
    if (hits(world, W_EXPIRY, 8) && target->watermark == target->end) {
        all_anew(world, "expiry"); /* nothing old may be on its way: the deadline's part */
        target->watermark = target->end;
        model_target_forget_producers(target);
        say(world, "producer state expired");
    }
}

static void harm_stores(struct world *world)
{
    if (hits(world, W_REDIS, 10)) {
        struct store *redis = &world->redis;
        switch (pick(world, 3)) {
        case 0:
            redis->away = !redis->away;
            break;
        case 1:
            redis->has = false;
            redis->has_older = false;
            break;
        default:
            redis->at = redis->has_older ? redis->older : redis->at;
            break;
        }
        say(world, "redis: %s %s", redis->away ? "away" : "there", redis->has ? "" : "flushed");
    }
    if (hits(world, W_GROUP, 6)) {
        struct store *group = &world->group;
        if (chance(world, 50)) {
            group->has = false;
            group->has_older = false;
        } else if (chance(world, 50)) {
            group->away = !group->away;
        }
        say(world, "group: %s %s", group->away ? "away" : "there", group->has ? "" : "deleted");
    }
}

static void harm_workers(struct world *world)
{
    int32_t index = pick(world, world->workers_count);
    if (hits(world, W_KILLS, 20)) {
        kill_worker(world, index);
    }
    if (hits(world, W_KILLS, 20)) {
        world->workers[index].paused = !world->workers[index].paused;
    }
    if (hits(world, W_LOST_ANSWERS, 20)) {
        break_connection(world, index, false);
    }
    if (hits(world, W_KILLS, 10) && world->owner != index) {
        say(world, "worker %d takes over from %d", index, world->owner);
        if (!(world->can & W_RIVALS)) {
            struct worker *old = &world->workers[world->owner];
            if (old->where != W_FAULTED) { /* revoked: what flies may land, late */
                break_connection(world, world->owner, false);
                drop(old);
                old->where = W_IDLE;
                forget(old);
            }
        }
        world->owner = index;
    }
}

static bool all_rest(const struct world *world)
{
    for (int32_t i = 0; i < FLIGHTS_MAX; i++) {
        if (world->flights[i].used) {
            return false;
        }
    }
    return true;
}

static void network(struct world *world, bool always)
{
    int32_t index = pick(world, world->workers_count);
    struct flight *flight = oldest(world, index, false);
    if (flight != NULL && (always || chance(world, 60))) {
        arrive(world, flight);
    }
    if (always || chance(world, 60)) {
        answer_one(world, index);
    }
    while (!world->flights[world->flights_first].used &&
           world->flights_first != (world->flights_first + 1) % FLIGHTS_MAX && !all_rest(world)) {
        world->flights_first = (world->flights_first + 1) % FLIGHTS_MAX;
    }
}

static bool any_faulted(const struct world *world)
{
    for (int32_t i = 0; i < world->workers_count; i++) {
        if (world->workers[i].where == W_FAULTED) {
            return true;
        }
    }
    return false;
}

static void wild(struct world *world)
{
    for (int32_t i = 0; i < STEPS_WILD && !world->broken && !any_faulted(world); i++) {
        world->steps++;
        if (chance(world, 25)) {
            change_source(world);
        }
        harm_source(world);
        harm_target(world);
        harm_stores(world);
        harm_workers(world);
        network(world, false);
        step_worker(world, pick(world, world->workers_count));
        step_worker(world, world->owner);
    }
}

static bool copied_all(const struct world *world)
{
    const struct worker *worker = &world->workers[world->owner];
    return worker->where == W_CARRY && worker->flying == 0 && world->fetches_count > 1 &&
           partition_queued_count(&worker->core) == 0 &&
           worker->core.at.source_next == model_source_stable_end(&world->source) &&
           all_rest(world);
}

/* The world is healthy, one worker goes on: everything has to be copied. */
static void calm(struct world *world)
{
    say(world, "calm");
    for (int32_t pid = 0; pid < MODEL_PIDS; pid++) {
        model_source_end_transaction(&world->source, pid, pid != 1);
    }
    model_source_append(&world->source, 1, -1, false); /* what is compacted away is not the end */
    world->can &= ~(uint32_t)(W_SLOW_REPLICAS | W_RIVALS);
    world->target.watermark = world->target.end;
    world->fetches_count = 0;
    world->redis.away = world->group.away = false;
    for (int32_t i = 0; i < world->workers_count; i++) {
        world->workers[i].paused = false;
        if (i != world->owner) {
            kill_worker(world, i);
            world->workers[i].alive = false;
        }
    }
    for (int32_t i = 0; i < STEPS_CALM && !world->broken && !any_faulted(world); i++) {
        world->steps++;
        network(world, true);
        step_worker(world, world->owner);
        if (copied_all(world)) {
            return;
        }
    }
    if (!world->broken && !any_faulted(world)) {
        wrong(world, "not copied in time: worker %d in state %d (need %d) at source %lld of %lld",
              world->owner, (int)world->workers[world->owner].where,
              (int)world->workers[world->owner].need,
              (long long)world->workers[world->owner].core.at.source_next,
              (long long)model_source_stable_end(&world->source));
    }
}

static void world_init(struct world *world, uint64_t seed, enum kind kind, bool loud)
{
    bool records = kind == KIND_RECORDS;
    *world = (struct world){.random = seed * 0x9e3779b97f4a7c15ull + 1,
                            .records = records,
                            .cleaner = kind == KIND_CLEANER,
                            .loud = loud};
    for (int i = 0; i < 4; i++) {
        next_random(world);
    }
    model_source_init(&world->source);
    model_target_init(&world->target, ID_BASE);
    for (uint32_t i = 0; i < W_KINDS; i++) {
        world->can |= chance(world, 35) ? 1u << i : 0;
    }
    if (world->cleaner) {
        world->can |= W_COMPACTION | W_INNER_COMPACTION | W_KILLS;
        /* What the target lost is sent again by another function, and a checkpoint from before fits it: a cleaner and an
         * unclean election between two looks are not told apart. */
        world->can &= ~(uint32_t)(W_SOURCE_CUT | W_TARGET_CUT | W_TWINS);
    }
    if (world->can &
        W_SOURCE_CUT) { /* a record that is gone and one that was lost look alike where offsets are empty */
        world->can &= ~(uint32_t)(W_COMPACTION | W_INNER_COMPACTION);
    }
    if (world->can &
        W_SOURCE_CUT) { /* one function for all writers is what the deadline keeps, not the broker */
        world->can &= ~(uint32_t)W_RIVALS;
    }
    if (world->can & (W_EXPIRY | W_COMPACTION | W_INNER_COMPACTION)) {
        world->can &= ~(uint32_t)W_RIVALS;
    }
    if (records &&
        world->can & W_TARGET_CUT) { /* no id tells that another worker has filled it again */
        world->can &= ~(uint32_t)W_RIVALS;
    }
    if (world->can &
        W_EXPIRY) { /* a log that lost everything, and a broker that forgot: nothing is left to tell by */
        world->can &= ~(uint32_t)W_TARGET_CUT;
    }
    if (world->can &
        W_SOURCE_RETENTION) { /* a copy that is not told from one that was just deleted */
        world->can &= ~(uint32_t)W_TWINS;
    }
    if (chance(world, 20)) {
        world->source.end = world->source.log_start = world->source.epochs[0].start =
            WIDE_SEQUENCES;
    }
    world->source.append_time = chance(world, 15);
    const struct recode_options recode = {.plain_bytes_max = 1 << 20, .merge = chance(world, 60)};
    world->recode = recode_new(&recode);
    size_t cut = chance(world, 40) ? 100 + (size_t)pick(world, 300) : 0;
    world->workers_count = 1 + pick(world, WORKERS_MAX);
    world->no_ids = records && chance(world, 30);
    world->ever = world->can;
    for (int32_t i = 0; i < world->workers_count; i++) {
        world->workers[i].alive = true;
        forget(&world->workers[i]);
        partition_init(&world->workers[i].core);
        world->workers[i].core.recode = world->recode;
        world->workers[i].core.unsure_records = records ? 0 : WINDOW_COUNT;
        world->workers[i].core.recode_bytes_max = cut;
    }
}

static void world_done(struct world *world)
{
    for (int32_t i = 0; i < world->workers_count; i++) {
        partition_done(&world->workers[i].core);
        if (world->workers[i].resuming) {
            resume_done(&world->workers[i].resume);
        }
    }
    for (int32_t i = 0; i < FLIGHTS_MAX; i++) {
        free(world->flights[i].data);
        free(world->flights[i].records);
    }
    recode_free(world->recode);
    model_source_done(&world->source);
    model_target_done(&world->target);
}

struct tally {
    int64_t worlds;
    int64_t copied;
    int64_t faults[FAULT_KINDS_COUNT];
};

static bool run_world(uint64_t seed, enum kind kind, bool loud, struct tally *tally)
{
    static struct world world;
    world_init(&world, seed, kind, loud);
    say(&world, "world %llu can %x, %d workers%s", (unsigned long long)seed, world.can,
        world.workers_count, world.no_ids ? ", no ids" : "");
    uint32_t can = world.can;
    wild(&world);
    if (!world.broken && !any_faulted(&world)) {
        calm(&world);
    }
    /* Everything of ours was cut, and others' records stand there, or no checkpoint remembers that there was more. */
    bool hidden = world.did & W_ALL_CUT && (world.did & W_FOREIGN || can & W_GROUP);
    /* Filled again to just where it was, unseen: by others, or by batches whose answers were lost. */
    hidden = hidden || (unguarded_cut(&world) &&
                        can & (W_FOREIGN | W_LOST_ANSWERS | W_KILLS | W_SLOW_REPLICAS));
    if (!hidden && !(world.did & W_FITTED) && !(world.did & W_ALL_CUT && any_faulted(&world))) {
        check_target(&world);
    }
    int64_t until = 0;
    for (int32_t i = 0; i < world.workers_count; i++) {
        if (world.workers[i].where == W_CARRY && i == world.owner) {
            until = world.workers[i].core.at.source_next;
        }
        if (world.workers[i].where == W_FAULTED) {
            tally->faults[world.workers[i].fault]++;
        }
    }
    /* Whoever had copied what was cut since learns it at his next doubt; that one faulted, nobody goes on. */
    check_copied(&world, hidden || (any_faulted(&world) && world.did & W_TARGET_CUT) ? 0 : until);
    tally->worlds++;
    tally->copied += copied_all(&world);
    bool ok = !world.broken;
    world.can = can;
    if (!ok) {
        print_message("%s, seed %llu (can %x, %d workers%s, step %lld): %s\n", kinds[kind].name,
                      (unsigned long long)seed, world.can, world.workers_count,
                      world.no_ids ? ", no ids" : "", (long long)world.steps, world.why);
    }
    world_done(&world);
    return ok;
}

/* SIM_KIND=NAME with SIM_SEED. */
static void run_worlds(enum kind kind)
{
    struct tally tally = {0};
    const char *one = getenv("SIM_SEED");
    const char *many = getenv("SIM_SEEDS");
    const char *from = getenv("SIM_FROM");
    const char *only = getenv("SIM_KIND");
    uint64_t first = from == NULL ? 1 : strtoull(from, NULL, 10);
    if (only != NULL && strcmp(only, kinds[kind].name) != 0) {
        return;
    }
    if (one != NULL) {
        assert_true(run_world(strtoull(one, NULL, 10), kind, true, &tally));
        return;
    }
    uint64_t seeds = many == NULL ? kinds[kind].seeds : strtoull(many, NULL, 10);
    int32_t failed = 0;
    for (uint64_t seed = first; seed < first + seeds && failed < 20; seed++) {
        failed += !run_world(seed, kind, false, &tally);
    }
    print_message("%lld worlds, %lld copied to their end\n", (long long)tally.worlds,
                  (long long)tally.copied);
    for (int i = 1; i < FAULT_KINDS_COUNT; i++) {
        if (tally.faults[i] > 0) {
            print_message("  %6lld %s\n", (long long)tally.faults[i],
                          resume_fault_name((enum resume_fault)i));
        }
    }
    assert_int_equal(failed, 0);
}

static void worlds_keep_the_promises(void **state)
{
    (void)state;
    run_worlds(KIND_BATCHES);
}

static void over_records_too(void **state)
{
    (void)state;
    run_worlds(KIND_RECORDS);
}

static void with_a_cleaner_between_two_readings(void **state)
{
    (void)state;
    run_worlds(KIND_CLEANER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worlds_keep_the_promises),
        cmocka_unit_test(over_records_too),
        cmocka_unit_test(with_a_cleaner_between_two_readings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
