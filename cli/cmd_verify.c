/* Reads both sides and compares what a consumer sees (key, value, headers, timestamp) record by record at the offsets
 * that the map gives. Never better than the truth: what could not be read or is unmapped is said, and exit 4.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"

#define POLL_MS        500
#define IDLE_MS        10000 /* nothing comes for so long: that side cannot be read further */
#define PROGRESS_MS    1000
#define FINDINGS_SHOWN 20
#define QUEUE_KB       "65536"

struct finding {
    char kind[16];
    char topic[250];
    int32_t partition;
    int64_t source_offset;
    int64_t target_offset;
};

struct verify {
    struct context *context;
    rd_kafka_t *source;
    rd_kafka_t *target;
    const char *topic; /* NULL = all */
    int32_t partition; /* -1 = all */
    int64_t sample;    /* records a partition; 0 = no sampling */
    int64_t limit;     /* newest source offsets a partition; 0 = all */
    int64_t since_ms;  /* wall; -1 = all */
    uint64_t compared;
    uint64_t differing;
    uint64_t missing;  /* mapped on one side, not there */
    uint64_t unmapped; /* source offsets */
    uint64_t partitions;
    uint64_t unread; /* runs that could not be read to their end */
    struct finding findings[FINDINGS_SHOWN];
    size_t findings_count;
    int64_t began_ms;
    int64_t told_ms;
    uint64_t told_compared;
    struct err *err;
};

/* --- reading -------------------------------------------------------------------------------------------------------- */

static rd_kafka_t *consumer_new(const struct config_site *site, struct err *err)
{
    static const char *const extra[] = {"group.id",
                                        "ferry-verify",
                                        "enable.auto.commit",
                                        "false",
                                        "enable.auto.offset.store",
                                        "false",
                                        "auto.offset.reset",
                                        "error",
                                        "isolation.level",
                                        "read_committed",
                                        "check.crcs",
                                        "true",
                                        "queued.max.messages.kbytes",
                                        QUEUE_KB,
                                        "fetch.wait.max.ms",
                                        "50",
                                        "allow.auto.create.topics",
                                        "false",
                                        NULL,
                                        NULL};
    char why[512];
    rd_kafka_conf_t *conf = client_conf_new(&site->kafka, extra, err);
    if (conf == NULL) {
        return NULL;
    }
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (consumer == NULL) {
        rd_kafka_conf_destroy(conf);
        err_set(err, ERR_CONFIG, "site %s: %s", site->name, why);
        return NULL;
    }
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

static bool place(rd_kafka_t *consumer, const char *topic, int32_t partition, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* The next record, or NULL when none comes within IDLE_MS. */
static rd_kafka_message_t *next_record(rd_kafka_t *consumer)
{
    int64_t until = clock_now_ms(clock_system()) + IDLE_MS;
    while (clock_now_ms(clock_system()) < until) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, POLL_MS);
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return message;
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
    }
    return NULL;
}

static bool same_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return (a == NULL) == (b == NULL) && a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static bool same_headers(const rd_kafka_message_t *a, const rd_kafka_message_t *b)
{
    rd_kafka_headers_t *left = NULL;
    rd_kafka_headers_t *right = NULL;
    bool has_left = rd_kafka_message_headers(a, &left) == RD_KAFKA_RESP_ERR_NO_ERROR;
    bool has_right = rd_kafka_message_headers(b, &right) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (has_left != has_right) {
        return false;
    }
    for (size_t i = 0; has_left; i++) {
        const char *left_name;
        const char *right_name;
        const void *left_value;
        const void *right_value;
        size_t left_len;
        size_t right_len;
        bool more_left = rd_kafka_header_get_all(left, i, &left_name, &left_value, &left_len) == 0;
        bool more_right =
            rd_kafka_header_get_all(right, i, &right_name, &right_value, &right_len) == 0;
        if (!more_left && !more_right) {
            return true;
        }
        if (more_left != more_right || strcmp(left_name, right_name) != 0 ||
            !same_bytes(left_value, left_len, right_value, right_len)) {
            return false;
        }
    }
    return true;
}

static bool same_record(const rd_kafka_message_t *a, const rd_kafka_message_t *b)
{
    rd_kafka_timestamp_type_t type;
    return same_bytes(a->key, a->key_len, b->key, b->key_len) &&
           same_bytes(a->payload, a->len, b->payload, b->len) &&
           rd_kafka_message_timestamp(a, &type) == rd_kafka_message_timestamp(b, &type) &&
           same_headers(a, b);
}

/* --- comparing ------------------------------------------------------------------------------------------------------ */

static void add_finding(struct verify *verify, const char *kind, const char *topic,
                        int32_t partition, int64_t source, int64_t target)
{
    if (verify->findings_count == FINDINGS_SHOWN) {
        return;
    }
    struct finding *finding = &verify->findings[verify->findings_count++];
    *finding =
        (struct finding){.partition = partition, .source_offset = source, .target_offset = target};
    snprintf(finding->kind, sizeof(finding->kind), "%s", kind);
    snprintf(finding->topic, sizeof(finding->topic), "%s", topic);
}

static void tell_progress(struct verify *verify, const char *topic, int32_t partition)
{
    int64_t now_ms = clock_now_ms(clock_system());
    if (verify->context->quiet || !isatty(STDERR_FILENO) ||
        now_ms - verify->told_ms < PROGRESS_MS) {
        return;
    }
    double rate = (double)(verify->compared - verify->told_compared) * 1000.0 /
                  (double)(now_ms - verify->told_ms);
    fprintf(stderr, "\r%s:%d  %" PRIu64 " records compared, %.0f/s, %" PRIu64 " differ   ", topic,
            partition, verify->compared, rate, verify->differing + verify->missing);
    verify->told_ms = now_ms;
    verify->told_compared = verify->compared;
}

/* Both consumers stand at the beginning of the stretch. @return false: a side could not be read to its end */
static bool compare_stretch(struct verify *verify, const char *topic, int32_t partition,
                            struct offset_run run)
{
    bool whole = true;
    for (int64_t i = 0; whole && i < run.length; i++) {
        rd_kafka_message_t *left = next_record(verify->source);
        rd_kafka_message_t *right = next_record(verify->target);
        whole = left != NULL && right != NULL;
        if (whole &&
            (left->offset != run.source_first + i || right->offset != run.target_first + i)) {
            verify
                ->missing++; /* a record that the map names is not there (retention, compaction, damage) */
            add_finding(verify, "missing", topic, partition, run.source_first + i,
                        run.target_first + i);
            int64_t behind_left = left->offset - run.source_first;
            int64_t behind_right = right->offset - run.target_first;
            i = (behind_left > behind_right ? behind_left : behind_right) - 1;
            whole = i + 1 >= run.length ||
                    (place(verify->source, topic, partition, run.source_first + i + 1) &&
                     place(verify->target, topic, partition, run.target_first + i + 1));
        } else if (whole) {
            verify->compared++;
            if (!same_record(left, right)) {
                verify->differing++;
                add_finding(verify, "differing", topic, partition, left->offset, right->offset);
            }
        }
        if (left != NULL) {
            rd_kafka_message_destroy(left);
        }
        if (right != NULL) {
            rd_kafka_message_destroy(right);
        }
        tell_progress(verify, topic, partition);
    }
    return whole;
}

struct runs {
    struct offset_run *runs;
    size_t count;
    size_t capacity;
};

static bool keep_run(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct runs *runs = arg;
    (void)incarnation;
    if (runs->count == runs->capacity) {
        runs->capacity = runs->capacity == 0 ? 256 : runs->capacity * 2;
        runs->runs = realloc(runs->runs, runs->capacity * sizeof(*runs->runs));
        if (runs->runs == NULL) {
            abort();
        }
    }
    runs->runs[runs->count++] = *run;
    return true;
}

/* Cut the runs to the source offsets [from, ...). */
static void cut_runs(struct runs *runs, int64_t from)
{
    size_t kept = 0;
    for (size_t i = 0; i < runs->count; i++) {
        struct offset_run run = runs->runs[i];
        int64_t skip = from - run.source_first;
        if (skip > 0) {
            run.source_first += skip;
            run.target_first += skip;
            run.length -= skip;
        }
        if (run.length > 0) {
            runs->runs[kept++] = run;
        }
    }
    runs->count = kept;
}

/* One random record of the map, `sample` times. */
static void sample_runs(struct verify *verify, struct runs *runs)
{
    struct runs picked = {0};
    int64_t total = 0;
    for (size_t i = 0; i < runs->count; i++) {
        total += runs->runs[i].length;
    }
    for (int64_t n = 0; total > 0 && n < verify->sample; n++) {
        int64_t at = (int64_t)(((uint64_t)random() << 31 | (uint64_t)random()) % (uint64_t)total);
        size_t i = 0;
        while (at >= runs->runs[i].length) {
            at -= runs->runs[i++].length;
        }
        struct offset_run one = {runs->runs[i].source_first + at, runs->runs[i].target_first + at,
                                 1};
        keep_run(&picked, "", &one);
    }
    free(runs->runs);
    *runs = picked;
}

static bool begin_offset(struct verify *verify, const char *topic, int32_t partition,
                         int64_t source_next, int64_t *out)
{
    *out = verify->limit > 0 && source_next > verify->limit ? source_next - verify->limit : 0;
    if (verify->since_ms < 0) {
        return true;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = verify->since_ms;
    rd_kafka_resp_err_t code =
        rd_kafka_offsets_for_times(verify->source, list, verify->context->timeout_ms);
    int64_t found = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    *out = found < 0 ? source_next : found;
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void compare_runs(struct verify *verify, const char *topic, int32_t partition,
                         const struct runs *runs)
{
    for (size_t i = 0; i < runs->count; i++) {
        const struct offset_run *run = &runs->runs[i];
        /* Neighbours in the log follow by themselves: a seek costs a round trip. */
        bool follows = i > 0 && verify->sample == 0;
        if (!follows && !(place(verify->source, topic, partition, run->source_first) &&
                          place(verify->target, topic, partition, run->target_first))) {
            verify->unread++;
            return;
        }
        if (!compare_stretch(verify, topic, partition, *run)) {
            verify->unread++;
            return;
        }
    }
}

static bool verify_place(void *arg, const char *topic, int32_t partition,
                         const struct checkpoint *checkpoint)
{
    struct verify *verify = arg;
    struct runs runs = {0};
    int64_t from;
    if ((verify->topic != NULL && strcmp(verify->topic, topic) != 0) ||
        (verify->partition >= 0 && verify->partition != partition)) {
        return true;
    }
    verify->partitions++;
    if (!offset_view_each_run(verify->context->view, topic, partition, NULL, keep_run, &runs,
                              verify->err) ||
        !begin_offset(verify, topic, partition, checkpoint->source_next, &from)) {
        free(runs.runs);
        verify->unread++;
        return true;
    }
    cut_runs(&runs, from);
    if (verify->sample > 0) {
        sample_runs(verify, &runs);
    }
    compare_runs(verify, topic, partition, &runs);
    free(runs.runs);
    return true;
}

/* --- the result ----------------------------------------------------------------------------------------------------- */

static int result_code(const struct verify *verify)
{
    if (verify->differing > 0 || verify->missing > 0) {
        return EXIT_FAILED;
    }
    return verify->unread > 0 || verify->partitions == 0 ? EXIT_PARTLY : EXIT_DONE;
}

static void print_json(const struct verify *verify)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < verify->findings_count; i++) {
        const struct finding *finding = &verify->findings[i];
        json_array_append_new(findings,
                              json_pack("{sssssisIsI}", "kind", finding->kind, "topic",
                                        finding->topic, "partition", finding->partition,
                                        "source_offset", (json_int_t)finding->source_offset,
                                        "target_offset", (json_int_t)finding->target_offset));
    }
    render_json(json_pack("{sssIsIsIsIsIsbso}", "service", verify->context->service->name,
                          "partitions", (json_int_t)verify->partitions, "compared",
                          (json_int_t)verify->compared, "differing", (json_int_t)verify->differing,
                          "missing", (json_int_t)verify->missing, "unread",
                          (json_int_t)verify->unread, "verified",
                          result_code(verify) == EXIT_DONE ? 1 : 0, "findings", findings));
}

static void print_text(const struct verify *verify)
{
    char compared[RENDER_NUMBER_BYTES];
    if (isatty(STDERR_FILENO) && !verify->context->quiet) {
        fputc('\n', stderr);
    }
    for (size_t i = 0; i < verify->findings_count; i++) {
        const struct finding *finding = &verify->findings[i];
        printf("%s  %s:%d  source %" PRId64 "  target %" PRId64 "\n", finding->kind, finding->topic,
               finding->partition, finding->source_offset, finding->target_offset);
    }
    printf("%s records compared in %" PRIu64 " partitions: %" PRIu64 " differ, %" PRIu64
           " missing, %" PRIu64 " stretches could not be read\n",
           render_count((int64_t)verify->compared, compared), verify->partitions, verify->differing,
           verify->missing, verify->unread);
}

static bool parse_since(const char *text, int64_t *out, struct err *err)
{
    char *end;
    long value = strtol(text, &end, 10);
    int64_t unit = strcmp(end, "s") == 0   ? 1000
                   : strcmp(end, "m") == 0 ? 60000
                   : strcmp(end, "h") == 0 ? 3600000
                                           : 0;
    if (end == text || value <= 0 || unit == 0 || value > 1000000) {
        return err_set(err, ERR_USAGE, "--since takes a duration such as 90s, 15m or 2h, not '%s'",
                       text);
    }
    *out = clock_wall_ms(clock_system()) - value * unit;
    return true;
}

static bool parse_options(struct verify *verify, char topic[250], struct err *err)
{
    const struct command_line *line = verify->context->line;
    const char *where = command_get(line, "topic");
    const char *sample = command_get(line, "sample");
    const char *limit = command_get(line, "limit");
    const char *since = command_get(line, "since");
    verify->partition = -1;
    verify->since_ms = -1;
    if (where != NULL && strchr(where, ':') != NULL) {
        if (!context_place(where, topic, &verify->partition, err)) {
            return false;
        }
        verify->topic = topic;
    } else {
        verify->topic = where;
    }
    return (sample == NULL ||
            command_number(sample, "--sample", 1, INT32_MAX, &verify->sample, err)) &&
           (limit == NULL || command_number(limit, "--limit", 1, INT64_MAX, &verify->limit, err)) &&
           (since == NULL || parse_since(since, &verify->since_ms, err));
}

static bool open_both(struct verify *verify, struct err *err)
{
    verify->source = consumer_new(verify->context->from, err);
    verify->target = verify->source == NULL ? NULL : consumer_new(verify->context->to, err);
    return verify->target != NULL;
}

int cmd_verify(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    char topic[250];
    struct verify verify = {.context = &context, .err = &err};
    bool ok = context_open(&context, line, &err) && parse_options(&verify, topic, &err) &&
              context_view(&context, &err) && open_both(&verify, &err);
    verify.began_ms = verify.told_ms = clock_now_ms(clock_system());
    srandom((unsigned)verify.began_ms);
    ok = ok && offset_view_each_checkpoint(context.view, verify_place, &verify, &err);
    int code = ok ? result_code(&verify) : command_fail(&err);
    if (ok && context.json) {
        print_json(&verify);
    } else if (ok) {
        print_text(&verify);
    }
    if (verify.source != NULL) {
        rd_kafka_destroy_flags(verify.source, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    if (verify.target != NULL) {
        rd_kafka_destroy_flags(verify.target, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    context_close(&context);
    return code;
}
