/* The wire client by hand, for tests/integration/test_wire.py: one command, JSON lines on stdout.
 *
 *   wire_probe BOOTSTRAP versions
 *   wire_probe BOOTSTRAP metadata [TOPIC...]
 *   wire_probe BOOTSTRAP fetch TOPIC PARTITION OFFSET committed|uncommitted [VERSION [EPOCH LAST_EPOCH]]
 *   wire_probe BOOTSTRAP offset TOPIC PARTITION earliest|latest|committed
 *   wire_probe BOOTSTRAP epoch TOPIC PARTITION EPOCH
 *   wire_probe BOOTSTRAP producers TOPIC PARTITION
 *   wire_probe BOOTSTRAP coordinator GROUP
 *   wire_probe BOOTSTRAP leave GROUP INSTANCE
 *   wire_probe BOOTSTRAP copy TOPIC PARTITION TARGET_BOOTSTRAP TARGET_TOPIC TARGET_PARTITION PRODUCER_ID VERSION
 *
 * copy passes every committed batch, patched, with sequences from 0: what a mirror does, without its care.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/batch.h"
#include "kafka/cluster.h"
#include "kafka/error.h"

#define TIMEOUT_MS  10000
#define IN_FLIGHT   8
#define FETCH_BYTES (1 << 20)
#define ABORTED_MAX 1024

struct probe {
    struct loop *loop;
    struct buf_pool *pool;
    struct cluster *cluster;
    struct config_property properties[2];
    struct config_client client;
    bool changed;
};

struct answer {
    bool done;
    struct reader reader;
    struct buf *block; /* ours */
    struct err err;
};

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "wire_probe: %s: %s\n", what, err == NULL ? "" : err->what);
    exit(1);
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct answer *answer = arg;

    answer->done = true;
    if (reader == NULL) {
        answer->err = *err;
    } else {
        answer->reader = *reader;
        answer->block = buf_ref(block);
    }
}

static void wait_for(struct probe *probe, struct answer *answer, const char *what)
{
    while (!answer->done) {
        loop_run_once(probe->loop, 100);
    }
    if (answer->block == NULL) {
        die(what, &answer->err);
    }
}

static void ask(struct probe *probe, struct conn *conn, enum api_key api, int16_t version,
                struct writer *writer, struct answer *answer)
{
    *answer = (struct answer){.done = false};
    conn_send(conn, api, version, writer, NULL, 0, TIMEOUT_MS, answered, answer);
    writer_done(writer);
    wait_for(probe, answer, api_name(api));
}

static struct conn *leader_conn(struct probe *probe, const char *topic, int32_t partition)
{
    for (int i = 0; i < 500; i++) {
        struct cluster_leader leader = cluster_leader(probe->cluster, topic, partition);
        struct conn *conn =
            leader.broker < 0 ? NULL : cluster_conn(probe->cluster, leader.broker, 1);
        if (conn != NULL) {
            return conn;
        }
        loop_run_once(probe->loop, 20);
    }
    die("no leader", NULL);
    return NULL;
}

/* Anew for each request: a connection may go in any turn of the loop. */
static struct conn *any_conn(struct probe *probe)
{
    struct conn *conn = NULL;

    while ((conn = cluster_any_conn(probe->cluster)) == NULL) {
        loop_run_once(probe->loop, 20);
    }
    return conn;
}

static int16_t version_of(struct conn *conn, enum api_key api)
{
    return conn_versions(conn)->version[api];
}

/* --- small commands -------------------------------------------------------------------------------------------- */

static void versions(struct probe *probe)
{
    struct conn *conn = any_conn(probe);

    for (int key = 0; key < 62; key++) {
        int16_t version = conn_versions(conn)->version[key];
        if (version >= 0) {
            printf("{\"api\": \"%s\", \"version\": %d}\n", api_name((enum api_key)key), version);
        }
    }
}

static void metadata(struct probe *probe)
{
    char id[UUID_TEXT_BYTES];
    const struct cluster_topic *topic;

    printf("{\"cluster_id\": \"%s\", \"brokers\": %d}\n", cluster_id(probe->cluster),
           cluster_brokers_count(probe->cluster));
    for (int32_t i = 0; (topic = cluster_topic_at(probe->cluster, i)) != NULL; i++) {
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            struct cluster_leader leader = cluster_leader(probe->cluster, topic->name, p);
            printf("{\"topic\": \"%s\", \"id\": \"%s\", \"partition\": %d, \"leader\": %d, "
                   "\"epoch\": %d}\n",
                   topic->name, uuid_hex(&topic->id, id), p, leader.broker, leader.epoch);
        }
    }
}

static void offset(struct probe *probe, const char *topic, int32_t partition, const char *which)
{
    struct conn *conn = leader_conn(probe, topic, partition);
    struct topic_partition want = {topic, partition};
    int16_t version = version_of(conn, API_LIST_OFFSETS);
    struct list_offsets_answer got;
    struct answer answer;
    struct writer writer;
    struct err err;

    writer_init(&writer);
    proto_put_list_offsets(
        &writer, version, strcmp(which, "committed") == 0,
        strcmp(which, "earliest") == 0 ? LIST_OFFSETS_EARLIEST : LIST_OFFSETS_LATEST, &want, 1);
    ask(probe, conn, API_LIST_OFFSETS, version, &writer, &answer);
    if (!proto_get_list_offsets(&answer.reader, version, &got, &err)) {
        die("decode", &err);
    }
    printf("{\"error\": %d, \"offset\": %lld, \"epoch\": %d}\n", got.parts[0].error,
           (long long)got.parts[0].offset, got.parts[0].leader_epoch);
    list_offsets_answer_done(&got);
    buf_unref(answer.block);
}

static void epoch(struct probe *probe, const char *topic, int32_t partition, int32_t of)
{
    struct conn *conn = leader_conn(probe, topic, partition);
    int16_t version = conn_versions(conn)->version[API_OFFSET_FOR_LEADER_EPOCH];
    struct epoch_end_answer got;
    struct answer answer;
    struct writer writer;
    struct err err;

    writer_init(&writer);
    proto_put_epoch_end(&writer, version, topic, partition,
                        cluster_leader(probe->cluster, topic, partition).epoch, of);
    ask(probe, conn, API_OFFSET_FOR_LEADER_EPOCH, version, &writer, &answer);
    if (!proto_get_epoch_end(&answer.reader, version, &got, &err)) {
        die("decode", &err);
    }
    printf("{\"error\": %d, \"epoch\": %d, \"end\": %lld}\n", got.error, got.leader_epoch,
           (long long)got.end_offset);
    buf_unref(answer.block);
}

static void producers(struct probe *probe, const char *topic, int32_t partition)
{
    struct conn *conn = leader_conn(probe, topic, partition);
    struct describe_producers_answer got;
    struct answer answer;
    struct writer writer;
    struct err err;

    writer_init(&writer);
    proto_put_describe_producers(&writer, topic, partition);
    ask(probe, conn, API_DESCRIBE_PRODUCERS, 0, &writer, &answer);
    if (!proto_get_describe_producers(&answer.reader, &got, &err)) {
        die("decode", &err);
    }
    for (int32_t i = 0; i < got.producers_count; i++) {
        printf("{\"producer_id\": %lld, \"epoch\": %d, \"last_sequence\": %d, \"last_timestamp\": "
               "%lld}\n",
               (long long)got.producers[i].producer_id, got.producers[i].producer_epoch,
               got.producers[i].last_sequence, (long long)got.producers[i].last_timestamp);
    }
    describe_producers_answer_done(&got);
    buf_unref(answer.block);
}

static void coordinator(struct probe *probe, const char *group, const char *leave_instance)
{
    struct conn *conn = any_conn(probe);
    struct find_coordinator_answer found;
    struct answer answer;
    struct writer writer;
    struct err err;
    int16_t error;

    for (int16_t version = 3; version <= version_of(conn, API_FIND_COORDINATOR); version++) {
        writer_init(&writer);
        proto_put_find_coordinator(&writer, version, false, group);
        ask(probe, conn, API_FIND_COORDINATOR, version, &writer, &answer);
        if (!proto_get_find_coordinator(&answer.reader, version, &found, &err)) {
            die("decode", &err);
        }
        printf(
            "{\"version\": %d, \"error\": %d, \"broker\": %d, \"host\": \"%.*s\", \"port\": %d}\n",
            version, found.error, found.id, found.host.len, found.host.data, found.port);
        buf_unref(answer.block);
        conn = any_conn(probe);
    }
    if (leave_instance == NULL) {
        return;
    }
    while ((conn = cluster_conn(probe->cluster, found.id, 0)) == NULL) {
        loop_run_once(probe->loop, 20);
    }
    int16_t version = version_of(conn, API_LEAVE_GROUP);
    writer_init(&writer);
    proto_put_leave_group(&writer, version, group, NULL, leave_instance, "a test");
    ask(probe, conn, API_LEAVE_GROUP, version, &writer, &answer);
    if (!proto_get_leave_group(&answer.reader, version, &error, &err)) {
        die("decode", &err);
    }
    printf("{\"left\": \"%s\"}\n", kafka_error_name(error));
    buf_unref(answer.block);
}

/* --- fetch ----------------------------------------------------------------------------------------------------- */

struct position {
    const char *topic;
    int32_t partition;
    int64_t offset;
    bool committed;
    int16_t version; /* 0 = the highest */
    int32_t epoch;
    int32_t last_epoch;
};

static void fetch_one(struct probe *probe, const struct position *at, struct answer *answer,
                      struct fetch_answer *got)
{
    struct conn *conn = leader_conn(probe, at->topic, at->partition);
    int16_t version = at->version > 0 ? at->version : version_of(conn, API_FETCH);
    struct fetch_want want = {.topic = at->topic,
                              .topic_id = cluster_topic(probe->cluster, at->topic)->id,
                              .partition = at->partition,
                              .current_leader_epoch = at->epoch,
                              .offset = at->offset,
                              .last_fetched_epoch = at->last_epoch,
                              .max_bytes = FETCH_BYTES};
    struct writer writer;
    struct err err;

    writer_init(&writer);
    proto_put_fetch(&writer, version, 100, 1, FETCH_BYTES, at->committed, &want, 1);
    ask(probe, conn, API_FETCH, version, &writer, answer);
    if (!proto_get_fetch(&answer->reader, version, got, &err)) {
        die("decode", &err);
    }
    if (got->error != KAFKA_NONE || got->partitions_count != 1) {
        die(kafka_error_name(got->error), NULL);
    }
}

static bool count_record(void *arg, const struct record *record)
{
    uint64_t *sum = arg;
    *sum = *sum * 31 + record_hash(record);
    return true;
}

static void print_batch(const struct batch *batch)
{
    uint64_t sum = 0;
    struct err err;

    if (!batch_each_record(batch, 64 << 20, count_record, &sum, &err)) {
        die("records", &err);
    }
    printf("{\"base_offset\": %lld, \"next_offset\": %lld, \"count\": %d, \"attributes\": %d, "
           "\"producer_id\": %lld, "
           "\"producer_epoch\": %d, \"base_sequence\": %d, \"leader_epoch\": %d, "
           "\"base_timestamp\": %lld, "
           "\"max_timestamp\": %lld, \"bytes\": %zu, \"crc_ok\": %s, \"records_crc\": %u, "
           "\"hash\": \"%016llx\"}\n",
           (long long)batch->base_offset, (long long)batch_next_offset(batch), batch->count,
           batch->attributes, (long long)batch->producer_id, batch->producer_epoch,
           batch->base_sequence, batch->leader_epoch, (long long)batch->base_timestamp,
           (long long)batch->max_timestamp, batch->len, batch_crc_ok(batch) ? "true" : "false",
           batch_records_crc(batch), (unsigned long long)sum);
}

static void fetch(struct probe *probe, const struct position *at)
{
    struct fetch_answer got;
    struct answer answer;
    struct batch batch;
    struct err err;

    fetch_one(probe, at, &answer, &got);
    struct fetch_partition *p = &got.partitions[0];
    printf("{\"error\": %d, \"high_watermark\": %lld, \"last_stable\": %lld, \"log_start\": %lld, "
           "\"diverging\": %s, "
           "\"diverging_epoch\": %d, \"diverging_end\": %lld, \"aborted\": [",
           p->error, (long long)p->high_watermark, (long long)p->last_stable_offset,
           (long long)p->log_start_offset, p->diverging ? "true" : "false", p->diverging_epoch,
           (long long)p->diverging_end_offset);
    for (int32_t i = 0; i < p->aborted_count; i++) {
        printf("%s[%lld, %lld]", i == 0 ? "" : ", ", (long long)p->aborted[i].producer_id,
               (long long)p->aborted[i].first_offset);
    }
    printf("]}\n");
    for (size_t at_byte = 0;
         batch_walk(p->records + at_byte, p->records_len - at_byte, &batch, &err) == BATCH_WALK_ONE;
         at_byte += batch.len) {
        print_batch(&batch);
    }
    fetch_answer_done(&got);
    buf_unref(answer.block);
}

/* --- copy ------------------------------------------------------------------------------------------------------ */

struct copy {
    struct probe *probe;
    struct probe *target;
    struct position from;
    const char *topic;
    int32_t partition;
    int64_t producer_id;
    int16_t version;
    int32_t sequence;
    int64_t aborted[ABORTED_MAX]; /* producer ids with an open, later aborted transaction */
    int32_t aborted_count;
    int32_t in_flight;
    int32_t acked;
};

static void drop_aborted(struct copy *copy, int64_t producer_id)
{
    for (int32_t i = 0; i < copy->aborted_count; i++) {
        if (copy->aborted[i] == producer_id) {
            copy->aborted[i] = copy->aborted[--copy->aborted_count];
            return;
        }
    }
}

static bool is_aborted(const struct copy *copy, int64_t producer_id)
{
    for (int32_t i = 0; i < copy->aborted_count; i++) {
        if (copy->aborted[i] == producer_id) {
            return true;
        }
    }
    return false;
}

static bool passes(struct copy *copy, struct fetch_partition *p, const struct batch *batch)
{
    for (int32_t i = 0; i < p->aborted_count; i++) {
        struct fetch_aborted *one = &p->aborted[i];
        if (one->producer_id >= 0 && one->first_offset < batch_next_offset(batch) &&
            copy->aborted_count < ABORTED_MAX) {
            copy->aborted[copy->aborted_count++] = one->producer_id;
            one->producer_id = -1;
        }
    }
    if (batch_is_control(batch)) {
        drop_aborted(copy, batch->producer_id);
        return false;
    }
    return !(batch_is_transactional(batch) && is_aborted(copy, batch->producer_id));
}

/* Answers come in the order of the requests, and we are the only writer: each begins where the one before ended. */
struct sent {
    struct copy *copy;
    int64_t expected;
};

static void acked(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct sent *sent = arg;
    struct copy *copy = sent->copy;
    struct produce_answer got;
    struct err why;

    (void)block;
    copy->in_flight--;
    if (reader == NULL) {
        die("produce", err);
    }
    if (!proto_get_produce(reader, copy->version, &got, &why)) {
        die("decode", &why);
    }
    struct produce_answer_part *part = &got.parts[0];
    if (part->error != KAFKA_NONE || part->base_offset != sent->expected) {
        fprintf(stderr, "produce: %s %.*s, offset %lld, expected %lld\n",
                kafka_error_name(part->error), part->message.len < 0 ? 0 : part->message.len,
                part->message.data == NULL ? "" : part->message.data, (long long)part->base_offset,
                (long long)sent->expected);
        exit(1);
    }
    copy->acked++;
    produce_answer_done(&got);
    free(sent);
}

static void send_batch(struct copy *copy, const struct batch *batch, struct buf *block)
{
    struct conn *conn = leader_conn(copy->target, copy->topic, copy->partition);
    struct produce_part part = {.topic = copy->topic,
                                .topic_id = cluster_topic(copy->target->cluster, copy->topic)->id,
                                .partition = copy->partition,
                                .block = block,
                                .records = batch->data + BATCH_HEADER_BYTES,
                                .records_len = batch->len - BATCH_HEADER_BYTES};
    struct conn_piece piece = {.block = block, .data = part.records, .len = part.records_len};
    struct sent *sent = calloc(1, sizeof(*sent));
    struct writer writer;

    *sent = (struct sent){.copy = copy, .expected = copy->sequence};
    batch_patch_header(batch, copy->producer_id, copy->sequence, part.header);
    writer_init(&writer);
    proto_put_produce(&writer, copy->version, 5000, &part, 1, &piece.cut);
    while (copy->in_flight > 0 && (copy->acked == 0 || copy->in_flight >= IN_FLIGHT)) {
        loop_run_once(copy->target->loop,
                      100); /* one until the first ack: it has no order protection */
    }
    conn_send(conn, API_PRODUCE, copy->version, &writer, &piece, 1, TIMEOUT_MS, acked, sent);
    writer_done(&writer);
    copy->in_flight++;
    copy->sequence += batch->count;
}

static bool copy_answer(struct copy *copy)
{
    struct fetch_answer got;
    struct answer answer;
    struct batch batch;
    struct err err;
    size_t at = 0;

    fetch_one(copy->probe, &copy->from, &answer, &got);
    struct fetch_partition *p = &got.partitions[0];
    bool more = p->error == KAFKA_NONE && copy->from.offset < p->last_stable_offset;
    copy->aborted_count = 0; /* the list of an answer is complete */
    while (more &&
           batch_walk(p->records + at, p->records_len - at, &batch, &err) == BATCH_WALK_ONE) {
        if (passes(copy, p, &batch) && batch_next_offset(&batch) > copy->from.offset) {
            if (batch_verdict(&batch, INT64_MAX, INT64_MAX) != BATCH_PASSES) {
                die(batch_verdict_text(batch_verdict(&batch, INT64_MAX, INT64_MAX)), NULL);
            }
            send_batch(copy, &batch, answer.block);
        }
        copy->from.offset = batch_next_offset(&batch);
        at += batch.len;
    }
    fetch_answer_done(&got);
    buf_unref(answer.block);
    return more;
}

static void probe_open(struct probe *probe, struct loop *loop, struct buf_pool *pool,
                       char *bootstrap);
static void probe_close(struct probe *probe);

static void copy_all(struct probe *probe, char **argv)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    struct probe *target = calloc(1, sizeof(*target));

    probe_open(target, probe->loop, probe->pool, argv[5]);
    copy->probe = probe;
    copy->target = target;
    copy->from = (struct position){.topic = argv[3],
                                   .partition = atoi(argv[4]),
                                   .committed = true,
                                   .epoch = -1,
                                   .last_epoch = -1};
    copy->topic = argv[6];
    copy->partition = atoi(argv[7]);
    copy->producer_id = strtoll(argv[8], NULL, 0);
    copy->version = (int16_t)atoi(argv[9]);
    while (copy_answer(copy)) {
    }
    while (copy->in_flight > 0) {
        loop_run_once(probe->loop, 100);
    }
    printf("{\"batches\": %d, \"records\": %d, \"next\": %lld}\n", copy->acked, copy->sequence,
           (long long)copy->from.offset);
    probe_close(target);
    free(target);
    free(copy);
}

/* --- main ------------------------------------------------------------------------------------------------------ */

static void on_change(void *arg)
{
    struct probe *probe = arg;
    probe->changed = true;
}

static void run(struct probe *probe, int argc, char **argv)
{
    const char *command = argv[2];
    int32_t partition = argc > 4 ? atoi(argv[4]) : 0;

    if (strcmp(command, "versions") == 0) {
        versions(probe);
    } else if (strcmp(command, "metadata") == 0) {
        metadata(probe);
    } else if (strcmp(command, "offset") == 0 && argc == 6) {
        offset(probe, argv[3], partition, argv[5]);
    } else if (strcmp(command, "epoch") == 0 && argc == 6) {
        epoch(probe, argv[3], partition, atoi(argv[5]));
    } else if (strcmp(command, "producers") == 0 && argc == 5) {
        producers(probe, argv[3], partition);
    } else if (strcmp(command, "coordinator") == 0 && argc == 4) {
        coordinator(probe, argv[3], NULL);
    } else if (strcmp(command, "leave") == 0 && argc == 5) {
        coordinator(probe, argv[3], argv[4]);
    } else if (strcmp(command, "copy") == 0 && argc == 10) {
        copy_all(probe, argv);
    } else if (strcmp(command, "fetch") == 0 && argc >= 7) {
        struct position at = {.topic = argv[3],
                              .partition = partition,
                              .offset = atoll(argv[5]),
                              .committed = strcmp(argv[6], "committed") == 0,
                              .version = (int16_t)(argc > 7 ? atoi(argv[7]) : 0),
                              .epoch = argc > 9 ? atoi(argv[8]) : -1,
                              .last_epoch = argc > 9 ? atoi(argv[9]) : -1};
        fetch(probe, &at);
    } else {
        die("unknown command", NULL);
    }
}

static void probe_open(struct probe *probe, struct loop *loop, struct buf_pool *pool,
                       char *bootstrap)
{
    probe->loop = loop;
    probe->pool = pool;
    probe->properties[0] = (struct config_property){"bootstrap.servers", bootstrap};
    probe->properties[1] = (struct config_property){"client.id", "wire-probe"};
    probe->client = (struct config_client){.properties = probe->properties, .properties_count = 2};
    struct cluster_options options = {.name = "probe",
                                      .client = &probe->client,
                                      .pool = pool,
                                      .refresh_ms = 2000,
                                      .tcp_user_timeout_ms = 3000,
                                      .max_answer_bytes = 64 << 20};
    probe->cluster = cluster_new(loop, &options);
    cluster_on_change(probe->cluster, on_change, probe);
    for (int i = 0; i < 500 && !probe->changed; i++) {
        loop_run_once(loop, 20);
    }
    if (!probe->changed) {
        fprintf(stderr, "wire_probe: %s\n", cluster_last_error(probe->cluster));
        exit(1);
    }
}

static void probe_close(struct probe *probe)
{
    cluster_free(probe->cluster);
}

int main(int argc, char **argv)
{
    struct loop *loop = loop_new(clock_system());
    struct buf_pool *pool = buf_pool_new(8 << 20);
    struct probe probe = {0};

    if (argc < 3) {
        die("usage: wire_probe BOOTSTRAP COMMAND ...", NULL);
    }
    probe_open(&probe, loop, pool, argv[1]);
    run(&probe, argc, argv);
    probe_close(&probe);
    loop_free(loop);
    buf_pool_free(pool);
    return 0;
}
