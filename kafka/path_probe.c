/* See path_probe.h. The steps at the target, each after the one before it was answered:
 *
 *   first      one record as producer ID (never given out) at sequence S   taken
 *   gap        another at S + 7                                            refused, 45
 *   repeat     the first once more                                         taken for it: its offset
 *   producers  DescribeProducers                                           ID stands at S
 */
#include "kafka/path_probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/heap.h"
#include "kafka/acl.h"
#include "kafka/admin_inside.h"
#include "kafka/batch_build.h"
#include "kafka/broker_ask.h"
#include "kafka/error.h"
#include "kafka/path_probe_inside.h"
#include "kafka/proto.h"

#define REFRESH_MS          500
#define TCP_USER_TIMEOUT_MS 3000
#define LOOK_MS             10
#define AGAIN_MS            100 /* a leader that does not know it yet */
#define ANSWER_BYTES_MAX    (16 << 20)
#define FETCH_VERSION       12 /* what `batches` needs: fenced by epochs, or by topic ids */
#define METADATA_VERSION    10 /* topic ids */
#define SEQUENCE            4711
#define GAP                 7
#define ID_LEAST            ((int64_t)1 << 62) /* no broker has counted so far */

static const char *const texts[PROBE_WHATS_COUNT] = {
    [PROBE_SOURCE] = "Ferry's own connections sign in at the source",
    [PROBE_TARGET] = "and at the target",
    [PROBE_CHOSEN_ID] = "a producer id of Ferry's choosing is taken",
    [PROBE_SEQUENCE] = "its sequence is kept (a gap is refused, a repeat answered with its offset)",
    [PROBE_PRODUCERS] = "DescribeProducers tells it",
    [PROBE_IDEMPOTENT] = "an idempotent producer may write",
};

const char *probe_what_text(enum probe_what what)
{
    return texts[what];
}

char *path_probe_topic(const char *service, char out[PATH_PROBE_TOPIC_BYTES])
{
    snprintf(out, PATH_PROBE_TOPIC_BYTES, "ferry.probe.%s", service);
    return out;
}

static void fact(struct path_probe *probe, enum probe_what what, enum probe_word word,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
static void fact(struct path_probe *probe, enum probe_what what, enum probe_word word,
                 const char *format, ...)
{
    va_list args;
    va_start(args, format);
    probe->facts[what].word = word;
    vsnprintf(probe->facts[what].why, sizeof(probe->facts[what].why), format, args);
    va_end(args);
}

static void yes(struct path_probe *probe, enum probe_what what)
{
    fact(probe, what, PROBE_YES, "%s", "");
}

/* --- the target, over our own wire ----------------------------------------------------------------------------------- */

enum step { STEP_FIRST, STEP_GAP, STEP_REPEAT, STEP_PRODUCERS };

struct probing {
    struct loop *loop;
    struct cluster *cluster;
    struct broker_asks *asks;
    struct loop_timer *look;
    const char *topic;
    struct path_probe *out;
    int64_t until_ms;
    enum step step;
    int64_t producer_id;
    int64_t base_offset;  /* of the first record */
    struct uuid topic_id; /* of the topic that it was sent to */
    char no
        [200]; /* the step's refusal, until it is known that the topic is the same one; "" = none */
};

#define ANOTHER    "another check was at work on the scratch topic: ferry check again"
#define CONFIRM_MS 1000 /* for that, when the time is up */

static enum probe_what step_about(enum step step)
{
    return step == STEP_FIRST       ? PROBE_CHOSEN_ID
           : step == STEP_PRODUCERS ? PROBE_PRODUCERS
                                    : PROBE_SEQUENCE;
}

static void end_step(struct probing *probing, enum probe_word word, const char *why)
{
    fact(probing->out, step_about(probing->step), word, "%s", why);
    loop_stop(probing->loop);
}

static void next_step(struct probing *probing)
{
    probing->step++;
    loop_timer_set(probing->look, 0);
}

/* Deleted, and perhaps made again, under us: its log is another one, and knows nothing of the first record. */
static bool is_another(struct probing *probing)
{
    const struct cluster_topic *topic = cluster_topic(probing->cluster, probing->topic);
    return topic == NULL || !uuid_equal(&topic->id, &probing->topic_id);
}

/* Of an answer that is a no only if the log is the one that the first record went to: metadata decides that is asked for now. */
static void refuse_if_same(struct probing *probing, const char *why)
{
    int64_t left_ms = probing->until_ms - loop_now_ms(probing->loop);
    snprintf(probing->no, sizeof(probing->no), "%s", why);
    cluster_refresh(probing->cluster);
    loop_timer_set(probing->look, left_ms > CONFIRM_MS ? left_ms : CONFIRM_MS);
}

static void metadata_came(void *arg)
{
    struct probing *probing = arg;
    if (probing->no[0] != '\0') {
        bool another = is_another(probing);
        end_step(probing, another ? PROBE_UNKNOWN : PROBE_NO, another ? ANOTHER : probing->no);
    }
}

static struct buf *one_record(void)
{
    struct batch_build build;
    static const uint8_t no_headers[] = {0};
    const struct record record = {.timestamp = clock_wall_ms(clock_system()),
                                  .key = (const uint8_t *)"ferry",
                                  .key_len = 5,
                                  .value_len = -1,
                                  .headers = no_headers,
                                  .headers_len = sizeof(no_headers)};
    batch_build_init(&build);
    batch_build_add(&build, &record);
    struct buf *block = batch_build_block(&build, -1, NULL);
    batch_build_done(&build);
    return block;
}

/* A gap is another record; the repeat must be the first, and the broker knows it by its sequences alone. */
static void put_produce(void *arg, struct writer *writer, int16_t version)
{
    const struct probing *probing = arg;
    const struct cluster_topic *topic = cluster_topic(probing->cluster, probing->topic);
    struct batch batch;
    struct err err;
    struct writer framing;
    size_t cuts[2] = {0};
    struct buf *block = one_record();
    struct produce_part part = {.topic = probing->topic,
                                .topic_id = topic != NULL ? topic->id : (struct uuid){{0}},
                                .records = block->data + BATCH_HEADER_BYTES,
                                .records_len = block->len - BATCH_HEADER_BYTES};
    if (batch_walk(block->data, block->len, &batch, &err) == BATCH_WALK_ONE) {
        batch_patch_header(&batch, probing->producer_id,
                           SEQUENCE + (probing->step == STEP_GAP ? GAP : 0), part.header);
    }
    writer_init(&framing);
    proto_put_produce(&framing, version, 2000, &part, 1, cuts);
    writer_bytes(writer, framing.data, cuts[0]);
    writer_bytes(writer, part.records, part.records_len);
    writer_bytes(writer, framing.data + cuts[0], framing.len - cuts[0]);
    writer_done(&framing);
    buf_unref(block);
}

/* Does the code say that what was sent is not taken, as it is and by this broker? What is recorded for good follows from that: all
 * else (replicas, leaders, disks, quotas, what we do not know) may be another one in a minute. */
static bool is_a_no(int16_t error)
{
    static const int16_t noes[] = {
        KAFKA_CORRUPT_MESSAGE,     /* the batch's form or its sum is not liked */
        KAFKA_MESSAGE_TOO_LARGE,   /* of some 70 bytes */
        KAFKA_UNSUPPORTED_VERSION, /* of a version that it offered */
        KAFKA_INVALID_REQUEST,
        KAFKA_UNSUPPORTED_FOR_MESSAGE_FORMAT, /* producer ids in a log of an old format */
        KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER,   /* a new id must begin at 0; a repeat is not known */
        KAFKA_DUPLICATE_SEQUENCE_NUMBER,      /* a repeat is known, its offset is not */
        KAFKA_INVALID_PRODUCER_EPOCH,
        KAFKA_INVALID_TXN_STATE,
        KAFKA_INVALID_PRODUCER_ID_MAPPING, /* it was never given out */
        KAFKA_UNKNOWN_PRODUCER_ID,         /* likewise */
        KAFKA_INVALID_RECORD,
    };
    bool found = false;
    for (size_t i = 0; i < sizeof(noes) / sizeof(noes[0]); i++) {
        found = found || noes[i] == error;
    }
    return found;
}

static enum probe_word word_of(int16_t error)
{
    return is_a_no(error) ? PROBE_NO : PROBE_UNKNOWN;
}

/* The leader is new at it, the answer came from somebody who is not, or replicas are away: once more. */
static bool passes_by(struct probing *probing, int16_t error)
{
    const struct kafka_error_info *info = kafka_error_info(error);
    bool again = (info->leader_moved || info->produce == PRODUCE_UNKNOWN ||
                  error == KAFKA_NOT_ENOUGH_REPLICAS) &&
                 !is_a_no(error) && loop_now_ms(probing->loop) < probing->until_ms;
    if (again) {
        cluster_refresh(probing->cluster);
        loop_timer_set(probing->look, AGAIN_MS);
    }
    return again;
}

static bool denied(struct probing *probing, int16_t error, enum acl_operation operation)
{
    char lacks[ACL_LACKS_BYTES];
    if (!cluster_denied(probing->cluster, error, operation, ACL_TOPIC, probing->topic, lacks)) {
        return false;
    }
    end_step(probing, PROBE_UNKNOWN, lacks);
    return true;
}

static void take_first(struct probing *probing, const struct produce_answer_part *part)
{
    char why[200];
    if (part->error == KAFKA_NONE) {
        yes(probing->out, PROBE_CHOSEN_ID);
        probing->base_offset = part->base_offset;
        next_step(probing);
    } else {
        snprintf(why, sizeof(why), "a producer id of Ferry's choosing is %s: %s",
                 is_a_no(part->error) ? "refused" : "not taken so far",
                 kafka_error_name(part->error));
        end_step(probing, word_of(part->error), why);
    }
}

static void take_second(struct probing *probing, const struct produce_answer_part *part)
{
    char why[200];
    bool gap = probing->step == STEP_GAP;
    bool good = gap ? part->error == KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER
                    : (part->error == KAFKA_NONE && part->base_offset == probing->base_offset);
    if (good) {
        if (!gap) {
            yes(probing->out, PROBE_SEQUENCE);
        }
        next_step(probing);
        return;
    }
    snprintf(why, sizeof(why), "%s is answered with %s, offset %lld",
             gap ? "a gap in the sequence" : "a batch that is sent again",
             part->error == KAFKA_NONE ? "success" : kafka_error_name(part->error),
             (long long)part->base_offset);
    if (part->error == KAFKA_NONE || is_a_no(part->error)) {
        refuse_if_same(probing, why);
    } else {
        end_step(probing, PROBE_UNKNOWN, why);
    }
}

static void take_part(struct probing *probing, const struct produce_answer_part *part)
{
    if (denied(probing, part->error, ACL_WRITE) || passes_by(probing, part->error)) {
        return;
    }
    if (probing->step == STEP_FIRST) {
        take_first(probing, part);
    } else {
        take_second(probing, part);
    }
}

static bool produce_answered(void *arg, struct reader *reader, int16_t version,
                             const struct err *err)
{
    struct probing *probing = arg;
    struct produce_answer answer;
    struct err why;
    if (reader == NULL) {
        end_step(probing, err->kind == ERR_REFUSED ? PROBE_NO : PROBE_UNKNOWN, err->what);
        return true;
    }
    if (!proto_get_produce(reader, version, &answer, &why)) {
        end_step(probing, PROBE_UNKNOWN, why.what);
        return false;
    }
    if (answer.parts_count == 1) {
        take_part(probing, &answer.parts[0]);
    } else {
        end_step(probing, PROBE_UNKNOWN, "the answer is not about the one batch that was sent");
    }
    produce_answer_done(&answer);
    return true;
}

static void put_producers(void *arg, struct writer *writer, int16_t version)
{
    const struct probing *probing = arg;
    (void)version;
    proto_put_describe_producers(writer, probing->topic, 0);
}

static void take_producers(struct probing *probing, const struct describe_producers_answer *answer)
{
    char why[200];
    for (int32_t i = 0; answer->error == KAFKA_NONE && i < answer->producers_count; i++) {
        const struct producer_state *producer = &answer->producers[i];
        if (producer->producer_id == probing->producer_id && producer->last_sequence == SEQUENCE) {
            end_step(probing, PROBE_YES, "");
            return;
        }
    }
    snprintf(why, sizeof(why), "DescribeProducers does not tell the last sequence of the id%s%s",
             answer->error != KAFKA_NONE ? ": " : "",
             answer->error != KAFKA_NONE ? kafka_error_name(answer->error) : "");
    if (answer->error == KAFKA_NONE) {
        refuse_if_same(probing, why);
    } else {
        end_step(probing, PROBE_UNKNOWN, why);
    }
}

static bool producers_answered(void *arg, struct reader *reader, int16_t version,
                               const struct err *err)
{
    struct probing *probing = arg;
    struct describe_producers_answer answer;
    struct err why;
    (void)version;
    if (reader == NULL) {
        end_step(probing, err->kind == ERR_REFUSED ? PROBE_NO : PROBE_UNKNOWN, err->what);
        return true;
    }
    if (!proto_get_describe_producers(reader, &answer, &why)) {
        end_step(probing, PROBE_UNKNOWN, why.what);
        return false;
    }
    if (!denied(probing, answer.error, ACL_READ) &&
        (answer.error == KAFKA_NONE || !passes_by(probing, answer.error))) {
        take_producers(probing, &answer);
    }
    describe_producers_answer_done(&answer);
    return true;
}

static void ask_leader(struct probing *probing, int32_t broker)
{
    bool producers = probing->step == STEP_PRODUCERS;
    const struct broker_ask what = {.broker = broker,
                                    .api = producers ? API_DESCRIBE_PRODUCERS : API_PRODUCE,
                                    .put = producers ? put_producers : put_produce,
                                    .answer = producers ? producers_answered : produce_answered,
                                    .arg = probing};
    yes(probing->out, PROBE_TARGET);
    broker_ask(probing->asks, &what);
}

static void look(void *arg)
{
    struct probing *probing = arg;
    struct cluster *cluster = probing->cluster;
    const struct cluster_topic *topic = cluster_topic(cluster, probing->topic);
    int32_t broker = topic != NULL ? cluster_leader(cluster, probing->topic, 0).broker : -1;
    if (broker >= 0 && probing->step == STEP_FIRST) {
        probing->topic_id = topic->id;
    }
    if (probing->no[0] != '\0') {
        end_step(probing, PROBE_UNKNOWN,
                 "metadata did not come: is the scratch topic the same one?");
    } else if (broker >= 0 && is_another(probing)) {
        end_step(probing, PROBE_UNKNOWN, ANOTHER);
    } else if (broker >= 0) {
        ask_leader(probing, broker);
    } else if (loop_now_ms(probing->loop) < probing->until_ms) {
        loop_timer_set(probing->look, LOOK_MS);
    } else if (!cluster_reachable(cluster)) {
        fact(probing->out, PROBE_TARGET, PROBE_UNKNOWN, "the target is not reached: %.300s",
             cluster_last_error(cluster));
        loop_stop(probing->loop);
    } else {
        end_step(probing, PROBE_UNKNOWN, "the scratch topic has no leader");
    }
}

static int64_t chosen_id(void)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), 0) < 0) {
        random = (uint32_t)clock_wall_ms(clock_system());
    }
    return ID_LEAST + ((int64_t)random << 15);
}

void path_probe_wire(struct loop *loop, struct cluster *cluster, const char *topic,
                     int32_t timeout_ms, struct path_probe *out)
{
    struct probing probing = {.loop = loop,
                              .cluster = cluster,
                              .topic = topic,
                              .out = out,
                              .until_ms = loop_now_ms(loop) + timeout_ms,
                              .producer_id = chosen_id()};
    const struct broker_asks_options options = {.wait_ms = timeout_ms, .request_ms = timeout_ms};
    probing.asks = broker_asks_new(loop, cluster, &options);
    probing.look = loop_timer_new(loop, look, &probing);
    cluster_on_change(cluster, metadata_came, &probing);
    cluster_follow(cluster, &topic, 1);
    loop_timer_set(probing.look, 0);
    loop_run(loop);
    cluster_on_change(cluster, NULL, NULL);
    loop_timer_free(probing.look);
    broker_asks_free(probing.asks);
}

/* --- the source ------------------------------------------------------------------------------------------------------ */

struct sourcing {
    struct loop *loop;
    struct cluster *cluster;
    struct loop_timer *look;
    struct path_probe *out;
    int64_t until_ms;
};

static void look_at_source(void *arg)
{
    struct sourcing *sourcing = arg;
    struct conn *conn =
        cluster_reachable(sourcing->cluster) ? cluster_any_conn(sourcing->cluster) : NULL;
    if (conn != NULL && conn_is_ready(conn)) {
        const struct api_versions *versions = conn_versions(conn);
        if (versions->version[API_FETCH] >= FETCH_VERSION &&
            versions->version[API_METADATA] >= METADATA_VERSION) {
            yes(sourcing->out, PROBE_SOURCE);
        } else {
            fact(sourcing->out, PROBE_SOURCE, PROBE_NO,
                 "the source speaks Fetch %d and Metadata %d, batches needs %d and %d (Kafka 2.8)",
                 versions->version[API_FETCH], versions->version[API_METADATA], FETCH_VERSION,
                 METADATA_VERSION);
        }
    } else if (loop_now_ms(sourcing->loop) < sourcing->until_ms) {
        loop_timer_set(sourcing->look, LOOK_MS);
        return;
    } else {
        fact(sourcing->out, PROBE_SOURCE, PROBE_UNKNOWN, "the source is not reached: %.300s",
             cluster_last_error(sourcing->cluster));
    }
    loop_stop(sourcing->loop);
}

void path_probe_source(struct loop *loop, struct cluster *cluster, int32_t timeout_ms,
                       struct path_probe *out)
{
    static const char *const none[] = {NULL};
    struct sourcing sourcing = {
        .loop = loop, .cluster = cluster, .out = out, .until_ms = loop_now_ms(loop) + timeout_ms};
    sourcing.look = loop_timer_new(loop, look_at_source, &sourcing);
    cluster_follow(cluster, none, 0);
    loop_timer_set(sourcing.look, 0);
    loop_run(loop);
    loop_timer_free(sourcing.look);
}

/* --- an idempotent producer of librdkafka ---------------------------------------------------------------------------- */

bool path_probe_refuses_idempotence(int code)
{
    return code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ||
           code == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
}

/* The report of the one record, or why the producer is of no use any more. */
static rd_kafka_resp_err_t wait_report(rd_kafka_t *rk, int64_t until_ms, char why[300])
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    bool told = false;
    while (!told && client_now_ms() < until_ms) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, LOOK_MS);
        const rd_kafka_message_t *message =
            event != NULL ? rd_kafka_event_message_next(event) : NULL;
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(rk, why, 300);
        told = message != NULL || fatal != RD_KAFKA_RESP_ERR_NO_ERROR;
        code = fatal != RD_KAFKA_RESP_ERR_NO_ERROR ? fatal : message != NULL ? message->err : code;
        if (event != NULL) {
            rd_kafka_event_destroy(event);
        }
    }
    rd_kafka_queue_destroy(queue);
    return code;
}

static void tell_idempotent(struct client *producer, const char *topic, rd_kafka_resp_err_t code,
                            const char *fatal, struct path_probe *out)
{
    char lacks[ACL_LACKS_BYTES];
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        yes(out, PROBE_IDEMPOTENT);
    } else if (path_probe_refuses_idempotence(code)) {
        fact(out, PROBE_IDEMPOTENT, PROBE_NO, "an idempotent producer is refused: %.200s", fatal);
    } else {
        fact(
            out, PROBE_IDEMPOTENT, PROBE_UNKNOWN, "%.390s",
            client_why(producer, code, rd_kafka_err2str(code), ACL_WRITE, ACL_TOPIC, topic, lacks));
    }
}

static void probe_idempotent(const struct path_probe_inputs *inputs, const char *topic,
                             struct path_probe *out)
{
    static const char *const extra[] = {"enable.idempotence", "true", "acks", "all",
                                        "linger.ms",          "0",    NULL};
    char why[300] = "";
    struct err err;
    int64_t until_ms = client_now_ms() + inputs->timeout_ms;
    struct client *producer =
        client_new(RD_KAFKA_PRODUCER, inputs->target, extra, RD_KAFKA_EVENT_DR, &err);
    if (producer == NULL) {
        fact(out, PROBE_IDEMPOTENT, PROBE_UNKNOWN, "%.390s", err.what);
        return;
    }
    rd_kafka_t *rk = client_handle(producer);
    rd_kafka_resp_err_t code =
        rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                          RD_KAFKA_V_KEY("ferry", 5), RD_KAFKA_V_END);
    code = code != RD_KAFKA_RESP_ERR_NO_ERROR ? code : wait_report(rk, until_ms, why);
    tell_idempotent(producer, topic, code, why, out);
    client_free(producer, CLIENT_END_MS);
}

/* --- all of it ------------------------------------------------------------------------------------------------------- */

static struct cluster *open_cluster(struct loop *loop, const char *site,
                                    const struct config_client *client)
{
    const struct cluster_options options = {.name = site,
                                            .client = client,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX};
    return cluster_new(loop, &options);
}

/* Replicas as the topics of ours have them: a managed cluster may refuse one alone. */
static bool make_topic(const struct path_probe_inputs *inputs, const char *topic, struct err *err)
{
    char id[64];
    int32_t brokers_count = 0;
    if (!admin_cluster_id(inputs->admin, id, &brokers_count, err)) {
        return false;
    }
    int32_t copies = brokers_count < 3 ? (brokers_count > 0 ? brokers_count : 1) : 3;
    return admin_create_topic(inputs->admin, topic, 1, copies, NULL, err);
}

static void run_wire(const struct path_probe_inputs *inputs, const char *topic,
                     struct path_probe *out)
{
    struct loop *loop = loop_new(clock_system());
    struct cluster *cluster = topic != NULL
                                  ? open_cluster(loop, inputs->target_name, inputs->target)
                                  : open_cluster(loop, inputs->source_name, inputs->source);
    if (topic != NULL) {
        path_probe_wire(loop, cluster, topic, inputs->timeout_ms, out);
    } else {
        path_probe_source(loop, cluster, inputs->timeout_ms, out);
    }
    cluster_free(cluster);
    loop_free(loop);
}

void path_probe_run(const struct path_probe_inputs *inputs, struct path_probe *out)
{
    char topic[PATH_PROBE_TOPIC_BYTES];
    *out = (struct path_probe){0};
    path_probe_topic(inputs->service, topic);
    run_wire(inputs, NULL, out);
    if (!make_topic(inputs, topic, &out->made)) {
        return;
    }
    run_wire(inputs, topic, out);
    probe_idempotent(inputs, topic, out);
    if (!admin_delete_topic(inputs->admin, topic, &out->deleted) &&
        out->deleted.code == KAFKA_UNKNOWN_TOPIC_OR_PARTITION) {
        out->deleted = (struct err){0}; /* another one was quicker */
    }
}

/* --- what follows ---------------------------------------------------------------------------------------------------- */

#define NEEDED_COUNT PROBE_IDEMPOTENT /* all before it are what `batches` needs */

static bool any_fact(const struct path_probe *probe, enum probe_word word)
{
    bool any = false;
    for (int what = 0; what < NEEDED_COUNT; what++) {
        any = any || probe->facts[what].word == word;
    }
    return any;
}

bool path_probe_result(const struct path_probe *probe, enum config_path *out)
{
    bool refused = any_fact(probe, PROBE_NO);
    *out = refused ? PATH_RECORDS : PATH_BATCHES;
    return refused || !any_fact(probe, PROBE_UNKNOWN);
}

/* Those of a kind, one after the other. */
static void list_facts(const struct path_probe *probe, enum probe_word word, FILE *out)
{
    const char *between = "";
    for (int what = 0; what < PROBE_WHATS_COUNT; what++) {
        const struct probe_fact *one = &probe->facts[what];
        const char *text = word == PROBE_YES ? texts[what] : one->why;
        if (one->word == word && text[0] != '\0') {
            fprintf(out, "%s%s", between, text);
            between = ", ";
        }
    }
}

char *path_probe_text(const struct path_probe *probe, char out[PATH_PROBE_TEXT_BYTES])
{
    enum config_path path;
    bool known = path_probe_result(probe, &path);
    FILE *stream = must(fmemopen(out, PATH_PROBE_TEXT_BYTES, "w"));
    if (!known && probe->made.kind != ERR_NONE) {
        fprintf(stream, "%s", probe->made.what);
    } else {
        list_facts(probe,
                   !known                 ? PROBE_UNKNOWN
                   : path == PATH_RECORDS ? PROBE_NO
                                          : PROBE_YES,
                   stream);
    }
    fclose(stream);
    out[PATH_PROBE_TEXT_BYTES - 1] = '\0';
    return out;
}
