/* A consumer that does nothing twice through a failover: it keeps what it has done under each record's name at the source, and
 * reads the hint that Ferry leaves in its own group's commit to know that name where the record is a copy (docs/hints.md).
 *
 *   cc hints_consumer.c -lrdkafka -o hints_consumer
 *   ./hints_consumer BOOTSTRAP GROUP TOPIC DONE_FILE COMMIT_EVERY IDLE_SECONDS
 *
 * DONE_FILE stands for the application's own store; the work and its entry there belong into one transaction.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTITIONS_MAX 1000
#define RUNS_MAX       200
#define NAME_BYTES     512

struct hint { /* as docs/hints.md has its text */
    int64_t from, until, mapped;
    char cluster[64];
    int64_t targets[RUNS_MAX], sources[RUNS_MAX];
    int runs_count;
    char text[1024];
};

static struct hint *hints[PARTITIONS_MAX]; /* by partition; NULL = none */
static void *names;                        /* tree of what is done */
static FILE *done;
static char *our_cluster;
static int skipped;

/* --- the hint ----------------------------------------------------------------------------------------------------- */

/* librdkafka gives metadata without an end, and its size. NULL: it is no hint, or of a version that this consumer does not know. */
static struct hint *hint_parse(const char *metadata, size_t size)
{
    const char *end = metadata == NULL ? NULL : memchr(metadata, '!', size);
    struct hint *hint = calloc(1, sizeof(*hint));
    size_t len = end == NULL ? 0 : (size_t)(end + 1 - metadata);
    if (len == 0 || len >= sizeof(hint->text)) {
        free(hint);
        return NULL;
    }
    memcpy(hint->text, metadata, len);
    char *runs = strstr(hint->text, " runs=");
    if (runs == NULL || sscanf(hint->text,
                               "ferry1 op=%*s from=%" SCNd64 " likely=%*d until=%" SCNd64
                               " cluster=%63s read=%*d cut=%*d mapped=%" SCNd64,
                               &hint->from, &hint->until, hint->cluster, &hint->mapped) != 4) {
        free(hint);
        return NULL;
    }
    runs += strlen(" runs=");
    int used = 0;
    while (hint->runs_count < RUNS_MAX &&
           sscanf(runs, "%" SCNd64 ":%" SCNd64 "%n", &hint->targets[hint->runs_count],
                  &hint->sources[hint->runs_count], &used) == 2) {
        hint->runs_count++;
        runs += used;
        runs += *runs == ',' ? 1 : 0;
    }
    return hint;
}

/* The record's name at the source; 0 where the hint does not tell. */
static int hint_name(const struct hint *hint, const char *topic, int32_t partition, int64_t offset,
                     char out[NAME_BYTES])
{
    int run = hint->runs_count - 1;
    if (offset < hint->from || offset >= hint->mapped) {
        return 0;
    }
    while (run > 0 && hint->targets[run] > offset) {
        run--;
    }
    snprintf(out, NAME_BYTES, "%s/%s/%" PRId32 "/%" PRId64, hint->cluster, topic, partition,
             hint->sources[run] + offset - hint->targets[run]);
    return 1;
}

/* --- what is done ------------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* 1: it is done already. */
static int remember(const char *name)
{
    if (tfind(name, &names, by_text) != NULL) {
        return 1;
    }
    tsearch(strdup(name), &names, by_text);
    return 0;
}

static void open_done(const char *path)
{
    char *line = NULL;
    size_t room = 0;
    done = fopen(path, "a+");
    while (getline(&line, &room, done) > 0) {
        line[strcspn(line, "\t")] = '\0';
        remember(line);
    }
    free(line);
}

/* --- consuming ---------------------------------------------------------------------------------------------------- */

/* Before the first record of a partition: what does our own commit say? */
static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                       rd_kafka_topic_partition_list_t *partitions, void *arg)
{
    (void)arg;
    if (what != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        rd_kafka_assign(rk, NULL);
        return;
    }
    rd_kafka_topic_partition_list_t *commits = rd_kafka_topic_partition_list_copy(partitions);
    if (rd_kafka_committed(rk, commits, 20000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < commits->cnt; i++) {
            rd_kafka_topic_partition_t *commit = &commits->elems[i];
            free(hints[commit->partition]);
            hints[commit->partition] = hint_parse(commit->metadata, commit->metadata_size);
        }
    }
    rd_kafka_topic_partition_list_destroy(commits);
    rd_kafka_assign(rk, partitions);
}

static void to_commit(rd_kafka_topic_partition_list_t *commits, const char *topic,
                      int32_t partition, int64_t next)
{
    const struct hint *hint = hints[partition];
    rd_kafka_topic_partition_t *commit =
        rd_kafka_topic_partition_list_find(commits, topic, partition);
    if (commit == NULL) {
        commit = rd_kafka_topic_partition_list_add(commits, topic, partition);
    }
    commit->offset = next;
    free(commit->metadata);
    commit->metadata = NULL;
    commit->metadata_size = 0;
    /* The hint is carried along as long as it says something: a restart in the midst of it reads it again. */
    if (hint != NULL && next < hint->until) {
        commit->metadata = strdup(hint->text);
        commit->metadata_size = strlen(hint->text);
    }
}

static void handle(const rd_kafka_message_t *message)
{
    char name[NAME_BYTES];
    const char *topic = rd_kafka_topic_name(message->rkt);
    const struct hint *hint = hints[message->partition];
    if (hint == NULL || !hint_name(hint, topic, message->partition, message->offset, name)) {
        snprintf(name, sizeof(name), "%s/%s/%" PRId32 "/%" PRId64, our_cluster, topic,
                 message->partition, message->offset); /* of this cluster itself */
    }
    if (remember(name)) {
        skipped++;
    } else {
        fprintf(done, "%s\t%.*s\n", name, (int)message->len, (const char *)message->payload);
        fflush(done);
    }
}

static rd_kafka_t *consumer_new(const char *bootstrap, const char *group)
{
    char why[512];
    const char *settings[][2] = {
        {"bootstrap.servers",  bootstrap       },
        {"group.id",           group           },
        {"enable.auto.commit", "false"         },
        {"auto.offset.reset",  "earliest"      },
        {"isolation.level",    "read_committed"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why));
    }
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        return 2;
    }
    rd_kafka_t *rk = consumer_new(argv[1], argv[2]);
    int commit_every = atoi(argv[5]);
    int handled = 0;
    time_t last = time(NULL);
    open_done(argv[4]);
    our_cluster = rd_kafka_clusterid(rk, 20000);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_t *commits = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, argv[3], RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(rk, topics);
    while (time(NULL) - last < atoi(argv[6])) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 200);
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
            message->partition < PARTITIONS_MAX) {
            handle(message);
            to_commit(commits, rd_kafka_topic_name(message->rkt), message->partition,
                      message->offset + 1);
            last = time(NULL);
            if (++handled % commit_every == 0) {
                rd_kafka_commit(rk, commits, 0);
            }
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
    }
    if (commits->cnt > 0) {
        rd_kafka_commit(rk, commits, 0);
    }
    printf("skipped %d\n", skipped);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_topic_partition_list_destroy(commits);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return 0;
}
