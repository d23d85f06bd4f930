/* One question to one broker at a time; what goes wrong ends the run, which has no state worth keeping but its block. */
#include "mirror/rebuild_io.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/proto.h"
#include "kafka/topic_id.h"
#include "mirror/place_answer.h"
#include "mirror/transfer.h"

#define LANE_REBUILD \
    11 /* the engine's are those below: nothing of the mirror waits behind a read of ours */
#define READ_BYTES      (1 << 20)
#define READ_WAIT_MS    100
#define READ_TIMEOUT_MS 15000
#define AGAIN_MS        50  /* no connection yet, or an answer without bytes */
#define AGAIN_TRIES     200 /* 10 s of it */
#define EMPTY_END       3 /* so many empty answers, and the log goes further: nothing is left there */
#define NO_ROOM_MS      100

enum run_stage { RUN_SOURCE_START, RUN_TARGET_START, RUN_READ_TARGET, RUN_READ_SOURCE };

struct rebuild_run {
    struct rebuild_run_options options;
    rebuild_run_fn *done;
    void *arg;
    char topic[250];
    enum run_stage stage;
    int64_t source_start;
    struct rebuild core;
    bool core_begun;
    int64_t position; /* of the read that is under way */
    int32_t tries_count;
    int32_t empty_count;
    struct loop_timer *timer;
    int32_t refs_count; /* the owner's and one for each question */
    bool dead;
};

struct rebuild_question {
    struct rebuild_run *run;
    int16_t version;
    int32_t broker;
};

static void run_unref(struct rebuild_run *run)
{
    if (--run->refs_count > 0) {
        return;
    }
    if (run->core_begun) {
        rebuild_done(&run->core);
    }
    free(run);
}

void rebuild_run_free(struct rebuild_run *run)
{
    if (run == NULL) {
        return;
    }
    assert(!run->dead);
    run->dead = true;
    loop_timer_free(run->timer);
    run_unref(run);
}

static void fail(struct rebuild_run *run, const struct err *why)
{
    struct err copy = *why;
    run->done(run->arg, REBUILD_STOP, NULL, &copy);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void step(void *arg);
static void take(struct rebuild_run *run, const struct rebuild_question *question,
                 struct reader *reader);

static bool asks_source(const struct rebuild_run *run)
{
    return run->stage == RUN_SOURCE_START || run->stage == RUN_READ_SOURCE;
}

static bool reads(const struct rebuild_run *run)
{
    return run->stage == RUN_READ_SOURCE || run->stage == RUN_READ_TARGET;
}

static struct cluster *cluster_of(const struct rebuild_run *run)
{
    return asks_source(run) ? run->options.source : run->options.target;
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct rebuild_question *question = arg;
    struct rebuild_run *run = question->run;
    (void)block;
    if (!run->dead && reader == NULL) {
        fail(run, err);
    } else if (!run->dead) {
        take(run, question, reader);
    }
    run_unref(run);
    free(question);
}

static void again(struct rebuild_run *run, const char *what)
{
    struct err why = {0};
    if (++run->tries_count <= AGAIN_TRIES) {
        loop_timer_set(run->timer, AGAIN_MS);
        return;
    }
    err_set(&why, ERR_RETRY, "%s: %s", asks_source(run) ? "source" : "target", what);
    fail(run, &why);
}

static const struct uuid *topic_id(const struct rebuild_run *run)
{
    return asks_source(run) ? &run->options.source_topic_id : &run->options.target_topic_id;
}

static void put_question(const struct rebuild_run *run, int16_t version, int32_t epoch,
                         struct writer *writer)
{
    const struct rebuild_run_options *options = &run->options;
    if (!reads(run)) {
        struct topic_partition place = {.topic = run->topic, .partition = options->partition};
        proto_put_list_offsets(writer, version, false, LIST_OFFSETS_EARLIEST, &place, 1);
        return;
    }
    struct fetch_want want = {.topic = run->topic,
                              .topic_id = *topic_id(run),
                              .partition = options->partition,
                              .current_leader_epoch = epoch,
                              .offset = run->position,
                              .last_fetched_epoch = -1,
                              .max_bytes = READ_BYTES};
    proto_put_fetch(writer, version, READ_WAIT_MS, 1, READ_BYTES, asks_source(run), &want, 1);
}

static void send_question(struct rebuild_run *run, struct conn *conn,
                          const struct cluster_leader *leader)
{
    struct writer writer;
    struct rebuild_question *question = must(calloc(1, sizeof(*question)));
    writer_init(&writer);
    enum api_key api = reads(run) ? API_FETCH : API_LIST_OFFSETS;
    int16_t version = conn_versions(conn)->version[api];
    if (reads(run)) {
        version = topic_id_version(version, FETCH_BY_ID, topic_id(run));
    }
    put_question(run, version, leader->epoch, &writer);
    *question = (struct rebuild_question){.run = run, .version = version, .broker = leader->broker};
    run->refs_count++;
    conn_send(conn, api, version, &writer, NULL, 0, READ_TIMEOUT_MS, answered, question);
}

/* Ask the leader what the stage wants to know. */
static void step(void *arg)
{
    struct rebuild_run *run = arg;
    struct cluster *cluster = cluster_of(run);
    if (reads(run) && throttle_room(run->options.throttle, loop_now_ms(run->options.loop)) <= 0) {
        loop_timer_set(run->timer, NO_ROOM_MS);
        return;
    }
    struct cluster_leader leader = cluster_leader(cluster, run->topic, run->options.partition);
    if (leader.broker < 0) {
        cluster_refresh(cluster);
        again(run, "the partition has no leader");
        return;
    }
    struct conn *conn = cluster_conn(cluster, leader.broker, LANE_REBUILD);
    if (conn == NULL) {
        again(run, cluster_last_error(cluster));
        return;
    }
    if (conn_versions(conn)->version[reads(run) ? API_FETCH : API_LIST_OFFSETS] < 0) {
        again(run, "the broker does not speak Fetch or ListOffsets as we do");
        return;
    }
    send_question(run, conn, &leader);
}

static void follow(struct rebuild_run *run, enum rebuild_need need)
{
    if (need == REBUILD_STORE || need == REBUILD_STOP) {
        run->done(run->arg, need, &run->core, NULL);
        return;
    }
    run->stage = need == REBUILD_READ_TARGET ? RUN_READ_TARGET : RUN_READ_SOURCE;
    run->position = run->core.ask_from;
    run->tries_count = run->empty_count = 0;
    step(run);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* A Kafka error in an answer: metadata may be old, the log may begin elsewhere by now. */
static void refused(struct rebuild_run *run, const char *what, int16_t error)
{
    struct err why = {0};
    cluster_refresh(cluster_of(run));
    err_set_code(&why, ERR_RETRY, error, "%s %s: %s", asks_source(run) ? "source" : "target", what,
                 kafka_error_name(error));
    fail(run, &why);
}

static void broken(struct rebuild_run *run, const struct rebuild_question *question,
                   const struct err *err)
{
    cluster_drop_conn(cluster_of(run), question->broker, LANE_REBUILD, err->what);
    if (!run->dead) {
        fail(run, err);
    }
}

static void take_start(struct rebuild_run *run, const struct rebuild_question *question,
                       struct reader *reader)
{
    int64_t offset;
    int16_t error;
    struct err err = {0};
    if (!place_answer_offset(reader, question->version, &offset, &error, &err)) {
        broken(run, question, &err);
    } else if (error != KAFKA_NONE) {
        refused(run, "ListOffsets", error);
    } else if (run->stage == RUN_SOURCE_START) {
        run->source_start = offset;
        run->stage = RUN_TARGET_START;
        run->tries_count = 0;
        step(run);
    } else {
        run->core_begun = true;
        follow(run, rebuild_begin(&run->core, &run->options.core, run->options.pace,
                                  &run->options.open, run->source_start, offset));
    }
}

static bool feed_one(struct rebuild_run *run, struct transfer_filter *filter,
                     const struct batch *batch, struct err *err)
{
    const struct transfer_limits no_limits = {.max_message_bytes = INT64_MAX,
                                              .max_timestamp = INT64_MAX};
    enum transfer_what what;
    enum batch_verdict verdict;
    if (run->stage == RUN_READ_TARGET) {
        return rebuild_target_batch(&run->core, batch, err);
    }
    return transfer_decide(filter, batch, run->position, &no_limits, &what, &verdict, err) &&
           (what == TRANSFER_BEFORE ||
            rebuild_source_batch(&run->core, batch, what != TRANSFER_SKIP, err));
}

/* The batches of an answer, up to the end of what was asked for. */
static bool feed(struct rebuild_run *run, struct fetch_partition *fetched, struct err *err)
{
    const uint8_t *data = fetched->records;
    size_t left = fetched->records_len;
    struct transfer_filter filter;
    struct batch batch;
    struct err partial;
    bool ok = true;
    transfer_filter_init(&filter, fetched);
    while (ok && run->position < run->core.ask_to &&
           batch_walk(data, left, &batch, &partial) == BATCH_WALK_ONE) {
        ok = feed_one(run, &filter, &batch, err);
        int64_t next = batch_next_offset(&batch);
        run->position = next > run->position ? next : run->position;
        data += batch.len;
        left -= batch.len;
    }
    transfer_filter_done(&filter);
    return ok;
}

/* Compaction may have removed all that stood before an end. A broker that lags would say a lower end. */
static bool nothing_left(struct rebuild_run *run, const struct fetch_partition *fetched)
{
    int64_t log_end =
        run->stage == RUN_READ_TARGET ? fetched->high_watermark : fetched->last_stable_offset;
    bool empty = fetched->records_len == 0 && log_end >= run->core.ask_to;
    run->empty_count = empty ? run->empty_count + 1 : 0;
    return run->empty_count >= EMPTY_END;
}

static void take_read(struct rebuild_run *run, struct fetch_partition *fetched)
{
    struct err err = {0};
    int64_t before = run->position;
    if (!feed(run, fetched, &err)) {
        err_wrap(&err, "%s", asks_source(run) ? "source" : "target");
        fail(run, &err);
    } else if (run->position >= run->core.ask_to || nothing_left(run, fetched)) {
        follow(run, rebuild_read_end(&run->core, run->stage == RUN_READ_TARGET));
    } else if (run->position > before) {
        run->tries_count = 0;
        step(run);
    } else {
        again(run, "a Fetch gives nothing");
    }
}

static void take_fetch(struct rebuild_run *run, const struct rebuild_question *question,
                       struct reader *reader)
{
    struct fetch_answer answer;
    int16_t error;
    struct err err = {0};
    if (!place_answer_fetch(reader, question->version, &answer, &error, &err)) {
        broken(run, question, &err);
        return;
    }
    if (error != KAFKA_NONE) {
        refused(run, "Fetch", error);
    } else {
        throttle_take(run->options.throttle, (int64_t)answer.partitions[0].records_len);
        *run->options.bytes += answer.partitions[0].records_len;
        take_read(run, &answer.partitions[0]);
    }
    fetch_answer_done(&answer);
}

static void take(struct rebuild_run *run, const struct rebuild_question *question,
                 struct reader *reader)
{
    if (reads(run)) {
        take_fetch(run, question, reader);
    } else {
        take_start(run, question, reader);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* Everything begins on a later turn of the loop: the owner has the run when it is called back first. */
struct rebuild_run *rebuild_run_new(const struct rebuild_run_options *options, rebuild_run_fn *done,
                                    void *arg)
{
    struct rebuild_run *run = must(calloc(1, sizeof(*run)));
    run->options = *options;
    run->done = done;
    run->arg = arg;
    run->refs_count = 1;
    run->stage = RUN_SOURCE_START;
    snprintf(run->topic, sizeof(run->topic), "%s", options->topic);
    run->timer = loop_timer_new(options->loop, step, run);
    loop_timer_set(run->timer, 0);
    return run;
}
