/* Reads both sides and compares what a consumer sees (key, value, headers, timestamp) record by record at the offsets
 * that the map gives. Never better than the truth: what could not be read, is unmapped or not mirrored at all is counted,
 * and exit 4.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/compare.h"
#include "cli/context.h"
#include "failover/positions.h"
#include "cli/log_reader.h"
#include "cli/render.h"
#include "cli/verify.h"
#include "kafka/control.h"
#include "mirror/record_filter.h"

#define PROGRESS_MS  1000
#define FINDINGS_MAX 1000 /* ranges kept for the result, 300 bytes each; all are counted */

struct finding {
    char topic[CONTEXT_TOPIC_BYTES];
    int32_t partition;
    struct compare_finding range;
};

struct verify {
    struct context *context;
    struct positions positions;
    struct log_reader *source;
    struct log_reader *target;
    char topic[CONTEXT_TOPIC_BYTES]; /* "" = all */
    int32_t partition;               /* -1 = all */
    int64_t sample;                  /* records a partition; 0 = no sampling */
    int64_t limit;                   /* newest source offsets a partition; 0 = all */
    int64_t since_ms;                /* wall; -1 = all */
    json_t *adopted;                 /* {TOPIC: [[PARTITION, END], ..]} of the role; NULL = none */
    bool filter_known;               /* the workers' is this configuration's */
    int32_t filter_generation;       /* streams of a lower one passed another */
    struct writer headers;           /* of the record that is judged */
    char compacted_topic[CONTEXT_TOPIC_BYTES];
    bool compacted;               /* of the topic above */
    struct compare *compare;      /* of the partition that is read */
    const struct position *row;   /* it */
    struct compare_counts counts; /* of all partitions before it */
    uint64_t partitions;
    uint64_t unmirrored;   /* source offsets of partitions without a map */
    uint64_t unread;       /* partitions that could not be read to their end */
    struct err unread_err; /* the first */
    struct finding *findings;
    size_t findings_count;
    uint64_t findings_more; /* ranges that are not kept */
    int64_t total;          /* source offsets to read, about */
    int64_t began_ms;
    int64_t told_ms;
    bool told;
};

/* --- progress ----------------------------------------------------------------------------------------------------- */

static uint64_t wrong_count(const struct compare_counts *counts)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < COMPARE_KINDS; kind++) {
        sum += counts->wrong[kind];
    }
    return sum;
}

static void tell_progress(struct verify *verify)
{
    int64_t now_ms = clock_now_ms(clock_system());
    if (verify->context->quiet || now_ms - verify->told_ms < PROGRESS_MS ||
        isatty(STDERR_FILENO) == 0) {
        return;
    }
    char left[RENDER_NUMBER_BYTES];
    char compared[RENDER_NUMBER_BYTES];
    char share[RENDER_NUMBER_BYTES];
    double seconds = (double)(now_ms - verify->began_ms) / 1000.0;
    uint64_t count = verify->counts.compared + verify->compare->counts.compared;
    uint64_t wrong = wrong_count(&verify->counts) + wrong_count(&verify->compare->counts);
    double rate = (double)count / seconds;
    int64_t rest = verify->total - (int64_t)count;
    fprintf(stderr, "\r\033[K%s records compared, %s, %.0f/s, %s left, %" PRIu64 " wrong",
            render_count((int64_t)count, compared),
            render_share((int64_t)count, verify->total, share), rate,
            render_seconds(rate > 0 && rest > 0 ? (double)rest / rate : 0, left), wrong);
    fflush(stderr);
    verify->told_ms = now_ms;
    verify->told = true;
}

/* --- what the comparison asks ------------------------------------------------------------------------------------- */

static bool same(void *arg, const void *source, const void *target)
{
    tell_progress(arg);
    return log_reader_same(source, target);
}

static bool translate(void *arg, int64_t offset, bool from_target, struct translation *out,
                      struct err *err)
{
    struct verify *verify = arg;
    return offset_view_translate(verify->context->view, verify->row->topic, verify->row->partition,
                                 offset, from_target, out, err) ||
           context_redis_failed(verify->context, err);
}

static bool belongs(void *arg, const void *source)
{
    struct verify *verify = arg;
    struct record record = log_reader_record(source, &verify->headers);
    return record_filter_judge(verify->context->service->filter, &record) == RECORD_KEPT;
}

static void found(void *arg, const struct compare_finding *range)
{
    struct verify *verify = arg;
    if (verify->findings_count == FINDINGS_MAX) {
        verify->findings_more++;
        return;
    }
    struct finding *finding = &verify->findings[verify->findings_count++];
    *finding = (struct finding){.partition = verify->row->partition, .range = *range};
    snprintf(finding->topic, sizeof(finding->topic), "%s", verify->row->topic);
}

/* --- one partition: what to read ---------------------------------------------------------------------------------- */

struct runs {
    struct offset_run *runs;
    size_t count;
};

static bool keep_run(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct runs *runs = arg;
    (void)incarnation;
    if ((runs->count & (runs->count - 1)) == 0) { /* full: a power of two, or nothing */
        size_t room = runs->count == 0 ? 1 : runs->count * 2;
        runs->runs = realloc(runs->runs, room * sizeof(*runs->runs));
        if (runs->runs == NULL) {
            abort();
        }
    }
    runs->runs[runs->count++] = *run;
    return true;
}

static bool is_compacted(struct verify *verify, const char *topic)
{
    struct admin_setting *settings = NULL;
    size_t count = 0;
    struct admin *source = context_source(verify->context, NULL);
    if (strcmp(verify->compacted_topic, topic) == 0) {
        return verify->compacted;
    }
    snprintf(verify->compacted_topic, sizeof(verify->compacted_topic), "%s", topic);
    verify->compacted = false;
    if (source != NULL && admin_topic_settings(source, topic, &settings, &count, NULL)) {
        for (size_t i = 0; i < count; i++) {
            bool policy = strcmp(settings[i].name, "cleanup.policy") == 0;
            verify->compacted = verify->compacted || (policy && settings[i].value != NULL &&
                                                      strstr(settings[i].value, "compact") != NULL);
        }
        admin_settings_free(settings, count);
    }
    return verify->compacted;
}

/* Target offsets below were there before the service was enabled. */
static int64_t adopted_end(const struct verify *verify)
{
    size_t index;
    json_t *pair;
    json_array_foreach (json_object_get(verify->adopted, verify->row->topic), index, pair) {
        if (json_integer_value(json_array_get(pair, 0)) == verify->row->partition) {
            return json_integer_value(json_array_get(pair, 1));
        }
    }
    return 0;
}

struct bounds {
    int64_t source_begin; /* logs, as they are now */
    int64_t source_end;
    int64_t target_begin;
    int64_t target_end;
    int64_t source_from; /* what is compared */
    int64_t target_from;
    struct checkpoint at;
};

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The target's place where a comparison from `source_from` on begins; its beginning when that is not mapped. */
static bool target_from(struct verify *verify, struct bounds *bounds, struct err *err)
{
    struct translation found;
    int64_t least = larger(bounds->target_begin, adopted_end(verify));
    bounds->target_from = least;
    if (bounds->source_from <= bounds->source_begin && verify->limit == 0 && verify->since_ms < 0) {
        return true; /* all of it: what stands before the first record is looked at too */
    }
    if (!translate(verify, bounds->source_from, false, &found, err)) {
        return false;
    }
    bounds->target_from = larger(least, found.target_offset);
    return true;
}

static bool source_from(struct verify *verify, struct bounds *bounds, struct err *err)
{
    int64_t since = 0;
    if (verify->since_ms >= 0 &&
        !log_reader_since(verify->source, verify->row->topic, verify->row->partition,
                          verify->since_ms, &since, err)) {
        return false;
    }
    since = since < 0 ? bounds->at.source_next : since; /* nothing is as young */
    int64_t limited = verify->limit > 0 ? bounds->at.source_next - verify->limit : 0;
    bounds->source_from = larger(bounds->source_begin, larger(since, limited));
    if (bounds->source_from > bounds->at.source_next) {
        bounds->source_from = bounds->at.source_next;
    }
    return true;
}

/* The target's end is read first, the checkpoint after it: where nothing is wrong the checkpoint mostly covers that end. */
static bool find_bounds(struct verify *verify, struct bounds *bounds, struct err *err)
{
    const struct position *row = verify->row;
    return log_reader_bounds(verify->target, row->topic, row->partition, &bounds->target_begin,
                             &bounds->target_end, err) &&
           (offset_view_checkpoint(verify->context->view, row->topic, row->partition, &bounds->at,
                                   err) ||
            context_redis_failed(verify->context, err)) &&
           log_reader_bounds(verify->source, row->topic, row->partition, &bounds->source_begin,
                             &bounds->source_end, err) &&
           source_from(verify, bounds, err) && target_from(verify, bounds, err);
}

/* From which source offset on the mirror had the filter that is judged by; INT64_MAX = it has another one now. */
static bool find_filter(struct verify *verify, const struct checkpoint *at, struct err *err)
{
    struct compare *compare = verify->compare;
    compare->belongs = verify->context->service->filter == NULL ? NULL : belongs;
    compare->filter_from = 0;
    if (!verify->filter_known || at->generation < verify->filter_generation) {
        compare->filter_from = INT64_MAX;
        return true;
    }
    return verify->filter_generation == 0 ||
           offset_view_generation_from(verify->context->view, verify->row->topic,
                                       verify->row->partition, at, verify->filter_generation,
                                       &compare->filter_from, err) ||
           context_redis_failed(verify->context, err);
}

/* --- one partition: reading --------------------------------------------------------------------------------------- */

static bool start_both(struct verify *verify, const struct bounds *bounds, int64_t source_end,
                       int64_t target_end, struct err *err)
{
    const struct position *row = verify->row;
    /* A log that ends before its checkpoint was truncated: read from its end, it shows that it has no more. */
    int64_t source =
        bounds->source_from < bounds->source_end ? bounds->source_from : bounds->source_end;
    int64_t target =
        bounds->target_from < bounds->target_end ? bounds->target_from : bounds->target_end;
    return log_reader_start(verify->source, row->topic, row->partition, source, source_end, err) &&
           log_reader_start(verify->target, row->topic, row->partition, target, target_end, err);
}

static bool compare_all(struct verify *verify, const struct bounds *bounds, struct err *err)
{
    if (!start_both(verify, bounds, bounds->at.source_next, bounds->at.target_next, err) ||
        !compare_run(verify->compare, err)) {
        return false;
    }
    if (bounds->target_end <= bounds->at.target_next || verify->compare->compacted) {
        return true; /* compaction may have taken what would be looked for */
    }
    if (verify->compare->filter_from == INT64_MAX) { /* which of the source's come next? */
        verify->compare->counts.unjudged += (uint64_t)(bounds->target_end - bounds->at.target_next);
        return true;
    }
    log_reader_extend(verify->target, bounds->target_end);
    log_reader_extend(verify->source, INT64_MAX);
    return compare_tail(verify->compare, err);
}

static uint64_t random_below(uint64_t limit)
{
    uint64_t word = 0;
    if (getrandom(&word, sizeof(word), 0) != (ssize_t)sizeof(word)) {
        word = (uint64_t)clock_now_ms(clock_system()); /* a sample needs no secret */
    }
    return word % limit;
}

/* The record at a distance from the first one that is compared; runs are cut to that. */
static struct offset_run pick(const struct runs *runs, uint64_t at)
{
    size_t i = 0;
    while (at >= (uint64_t)runs->runs[i].length) {
        at -= (uint64_t)runs->runs[i++].length;
    }
    return (struct offset_run){runs->runs[i].source_first + (int64_t)at,
                               runs->runs[i].target_first + (int64_t)at, 1};
}

static bool compare_sample(struct verify *verify, const struct runs *runs, struct bounds bounds,
                           struct err *err)
{
    uint64_t total = 0;
    for (size_t i = 0; i < runs->count; i++) {
        total += (uint64_t)runs->runs[i].length;
    }
    bool ok = true;
    for (int64_t n = 0; ok && total > 0 && n < verify->sample; n++) {
        struct offset_run one = pick(runs, random_below(total));
        verify->compare->runs = &one;
        verify->compare->runs_count = 1;
        verify->compare->source_run = verify->compare->target_run = 0;
        bounds.source_from = one.source_first;
        bounds.target_from = larger(one.target_first, bounds.target_begin);
        ok = start_both(verify, &bounds, one.source_first + 1, one.target_first + 1, err) &&
             compare_run(verify->compare, err);
    }
    return ok;
}

static bool compare_place(struct verify *verify, struct err *err)
{
    const struct position *row = verify->row;
    struct bounds bounds;
    struct runs runs = {.runs = NULL};
    struct compare compare = {.source = log_reader_side(verify->source),
                              .target = log_reader_side(verify->target),
                              .same = same,
                              .translate = translate,
                              .found = found,
                              .arg = verify,
                              .compacted = is_compacted(verify, row->topic)};
    verify->compare = &compare;
    bool ok = find_bounds(verify, &bounds, err) && find_filter(verify, &bounds.at, err) &&
              (offset_view_each_run(verify->context->view, row->topic, row->partition, NULL,
                                    keep_run, &runs, err) ||
               context_redis_failed(verify->context, err));
    if (ok) {
        runs.count =
            verify_cut_runs(runs.runs, runs.count, bounds.source_from, bounds.at.source_next);
        compare.runs = runs.runs;
        compare.runs_count = runs.count;
        compare.source_begin = bounds.source_begin;
        compare.target_begin = bounds.target_begin;
        ok = verify->sample > 0 ? compare_sample(verify, &runs, bounds, err)
                                : compare_all(verify, &bounds, err);
    }
    log_reader_stop(verify->source);
    log_reader_stop(verify->target);
    compare_done(&compare);
    verify_add_counts(&verify->counts, &compare.counts);
    verify->compare = NULL;
    free(runs.runs);
    return ok;
}

/* --- all partitions ----------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct verify *verify, const struct position *row)
{
    return (verify->topic[0] == '\0' || strcmp(verify->topic, row->topic) == 0) &&
           (verify->partition < 0 || verify->partition == row->partition);
}

static bool has_map(const struct position *row)
{
    return row->placed && strcmp(row->origin, "redis") == 0;
}

static int64_t row_total(const struct verify *verify, const struct position *row)
{
    int64_t begin = row->source_begin < 0 ? 0 : row->source_begin;
    int64_t all = row->placed && row->at.source_next > begin ? row->at.source_next - begin : 0;
    all = verify->limit > 0 && verify->limit < all ? verify->limit : all;
    return verify->sample > 0 && verify->sample < all ? verify->sample : all;
}

static void unread(struct verify *verify, const struct err *err)
{
    if (verify->unread++ == 0) {
        verify->unread_err = *err;
    }
}

static void verify_row(struct verify *verify, const struct position *row)
{
    struct err err = {0};
    verify->partitions++;
    verify->row = row;
    if (!has_map(row)) {
        int64_t held = position_held(row);
        verify->unmirrored += held > 0 ? (uint64_t)held : 0;
        return;
    }
    if (verify->unread_err.kind == ERR_RETRY) {
        verify->unread++; /* a side is away: each further partition would wait for it again */
    } else if (!compare_place(verify, &err)) {
        unread(verify, &err);
    }
}

static bool verify_all(struct verify *verify, struct err *err)
{
    const struct positions *positions = &verify->positions;
    for (size_t i = 0; i < positions->count; i++) {
        if (is_wanted(verify, &positions->rows[i])) {
            verify->total += row_total(verify, &positions->rows[i]);
        }
    }
    for (size_t i = 0; i < positions->count; i++) {
        if (is_wanted(verify, &positions->rows[i])) {
            verify_row(verify, &positions->rows[i]);
        }
    }
    if (verify->partitions > 0) {
        return true;
    }
    return verify->topic[0] == '\0'
               ? err_set(err, ERR_REFUSED, "%s has no topic of service %s",
                         verify->context->from->name, verify->context->service->name)
               : err_set(err, ERR_REFUSED, "%s is no partition of service %s on %s",
                         command_get(verify->context->line, "topic"),
                         verify->context->service->name, verify->context->from->name);
}

/* --- the result --------------------------------------------------------------------------------------------------- */

static int result_code(const struct verify *verify)
{
    const struct compare_counts *counts = &verify->counts;
    if (wrong_count(counts) > 0) {
        return EXIT_FAILED;
    }
    if (verify->unread > 0 && counts->compared == 0) {
        return command_exit(&verify->unread_err);
    }
    bool part = verify->unread > 0 || verify->unmirrored > 0 || counts->unmapped > 0 ||
                counts->expired > 0 || counts->compacted > 0 || counts->unjudged > 0;
    return part ? EXIT_PARTLY : EXIT_DONE;
}

static json_t *finding_json(const struct finding *finding)
{
    const struct compare_finding *range = &finding->range;
    return json_pack("{sssssisososI}", "kind", compare_kind_text(range->kind), "topic",
                     finding->topic, "partition", finding->partition, "source_offset",
                     render_int_or_null(range->source_offset), "target_offset",
                     render_int_or_null(range->target_offset), "count", (json_int_t)range->count);
}

static void print_json(const struct verify *verify)
{
    const struct compare_counts *counts = &verify->counts;
    json_t *findings = json_array();
    json_t *out = json_object();
    for (size_t i = 0; i < verify->findings_count; i++) {
        json_array_append_new(findings, finding_json(&verify->findings[i]));
    }
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"partitions",        verify->partitions              },
        {"compared",          counts->compared                },
        {"lost",              counts->wrong[COMPARE_LOST]     },
        {"doubled",           counts->wrong[COMPARE_DOUBLED]  },
        {"differing",         counts->wrong[COMPARE_DIFFERING]},
        {"foreign",           counts->wrong[COMPARE_FOREIGN]  },
        {"expired",           counts->expired                 },
        {"unmapped",          counts->unmapped                },
        {"compacted",         counts->compacted               },
        {"forgotten",         counts->forgotten               },
        {"filtered",          counts->filtered                },
        {"unjudged",          counts->unjudged                },
        {"behind_checkpoint", counts->behind                  },
        {"unmirrored",        verify->unmirrored              },
        {"unread_partitions", verify->unread                  },
        {"findings_more",     verify->findings_more           },
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        json_object_set_new(out, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    }
    json_object_set_new(out, "service", json_string(verify->context->service->name));
    json_object_set_new(out, "from", json_string(verify->context->from->name));
    json_object_set_new(out, "to", json_string(verify->context->to->name));
    json_object_set_new(out, "verified", json_boolean(result_code(verify) == EXIT_DONE));
    json_object_set_new(out, "sampled", json_boolean(verify->sample > 0));
    json_object_set_new(out, "findings", findings);
    json_object_set_new(out, "unread_why",
                        verify->unread == 0 ? json_null() : render_string(verify->unread_err.what));
    json_object_set_new(
        out, "seconds",
        json_real((double)(clock_now_ms(clock_system()) - verify->began_ms) / 1000.0));
    render_json(out);
}

static void print_finding(const struct finding *finding)
{
    const struct compare_finding *range = &finding->range;
    printf("%s%s%s  %s:%d", render_color(COLOR_BAD), compare_kind_text(range->kind),
           render_color(COLOR_NONE), finding->topic, finding->partition);
    if (range->source_offset >= 0) {
        printf("  source %" PRId64, range->source_offset);
    }
    if (range->target_offset >= 0) {
        printf("  target %" PRId64, range->target_offset);
    }
    if (range->count > 1) {
        printf("  and %" PRId64 " behind it", range->count - 1);
    }
    putchar('\n');
}

static void print_part(uint64_t count, const char *what)
{
    char number[RENDER_NUMBER_BYTES];
    if (count > 0) {
        int used = printf("  %s ", render_count((int64_t)count, number));
        render_wrapped(stdout, what, RENDER_WIDTH, used, 4);
    }
}

static void print_parts(const struct verify *verify)
{
    const struct compare_counts *counts = &verify->counts;
    print_part(verify->unread, "partitions could not be read to their end");
    if (verify->unread > 0) {
        struct render_safe safe = render_safe(verify->unread_err.what);
        printf("    ");
        render_wrapped(stdout, safe.text, RENDER_WIDTH, 4, 4);
    }
    print_part(verify->unmirrored, "source offsets in partitions without a map");
    print_part(counts->unmapped, "records in stretches that the map does not hold");
    print_part(counts->expired, "records that the target's retention deleted and the source has");
    print_part(counts->compacted, "records that compaction took from the target first");
    print_part(counts->forgotten, "records on the target that the source does not hold any more");
    print_part(counts->filtered, "records of the source that the service's filter leaves out");
    print_part(counts->unjudged,
               "records that are not on the target, from when the mirror had another filter than "
               "this configuration's: filtered or lost");
    print_part(counts->behind, "records behind the checkpoint, in the source's order");
}

static void print_verdict(const struct verify *verify)
{
    int code = result_code(verify);
    enum render_color color = code == EXIT_DONE     ? COLOR_GOOD
                              : code == EXIT_FAILED ? COLOR_BAD
                                                    : COLOR_WARN;
    const char *words = code == EXIT_DONE     ? "verified"
                        : code == EXIT_FAILED ? "not verified: something is wrong"
                        : verify->counts.compared > 0
                            ? "not verified: a part could not be compared, the rest is right"
                            : "not verified: nothing could be compared";
    printf("%s%s%s\n", render_color(color), words, render_color(COLOR_NONE));
}

static void print_text(const struct verify *verify)
{
    const struct compare_counts *counts = &verify->counts;
    char compared[RENDER_NUMBER_BYTES];
    for (size_t i = 0; i < verify->findings_count; i++) {
        print_finding(&verify->findings[i]);
    }
    if (verify->findings_more > 0) {
        printf("and %" PRIu64 " more\n", verify->findings_more);
    }
    printf("%s records compared in %" PRIu64 " partitions%s: %" PRIu64 " lost, %" PRIu64
           " doubled,\n%" PRIu64 " differing, %" PRIu64 " foreign\n",
           render_count((int64_t)counts->compared, compared), verify->partitions,
           verify->sample > 0 ? ", a sample" : "", counts->wrong[COMPARE_LOST],
           counts->wrong[COMPARE_DOUBLED], counts->wrong[COMPARE_DIFFERING],
           counts->wrong[COMPARE_FOREIGN]);
    print_parts(verify);
    print_verdict(verify);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static bool parse_options(struct verify *verify, struct err *err)
{
    const struct command_line *line = verify->context->line;
    const char *where = command_get(line, "topic");
    const char *since = command_get(line, "since");
    bool several =
        command_has(line, "sample") + command_has(line, "since") + command_has(line, "limit") > 1;
    verify->partition = -1;
    verify->since_ms = -1;
    if (several) {
        return err_set(err, ERR_USAGE, "--sample, --since and --limit: give one of them");
    }
    return (where == NULL || context_place(where, verify->topic, &verify->partition, err)) &&
           command_option_number(line, "sample", 1, INT32_MAX, &verify->sample, err) &&
           command_option_number(line, "limit", 1, INT64_MAX, &verify->limit, err) &&
           (since == NULL ||
            verify_since(since, clock_wall_ms(clock_system()), &verify->since_ms, err));
}

/* What the target held before the service was enabled is no stranger; whose filter the workers have. */
static bool ask_control(struct verify *verify, struct err *err)
{
    struct context *context = verify->context;
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL) {
        return false;
    }
    json_t *role = state->role_json == NULL
                       ? NULL
                       : json_parse(state->role_json, strlen(state->role_json), "role", NULL);
    verify->adopted = json_incref(json_object_get(role, "adopt"));
    verify->filter_known =
        state->streams_epoch == 0 || state->streams_filter == config_filter_hash(context->service);
    verify->filter_generation = state->streams_generation;
    json_decref(role);
    control_state_free(state);
    return true;
}

static bool read_positions(struct verify *verify, struct err *err)
{
    context_positions(verify->context, &verify->positions);
    const struct positions *positions = &verify->positions;
    const struct err *bad = positions->source_err.kind != ERR_NONE  ? &positions->source_err
                            : positions->redis_err.kind != ERR_NONE ? &positions->redis_err
                                                                    : NULL;
    if (bad != NULL) {
        *err = *bad;
    }
    return bad == NULL;
}

static bool open_both(struct verify *verify, struct err *err)
{
    struct context *context = verify->context;
    verify->source = log_reader_new(context->from, context->timeout_ms, err);
    verify->target =
        verify->source == NULL ? NULL : log_reader_new(context->to, context->timeout_ms, err);
    return verify->target != NULL;
}

static void verify_done(struct verify *verify)
{
    log_reader_free(verify->source);
    log_reader_free(verify->target);
    positions_free(&verify->positions);
    json_decref(verify->adopted);
    writer_done(&verify->headers);
    free(verify->findings);
}

static void print_result(struct verify *verify)
{
    if (verify->told) {
        fputs("\r\033[K", stderr);
    }
    (verify->context->json ? print_json : print_text)(verify);
    if (result_code(verify) == EXIT_FAILED && !verify->context->quiet) {
        fprintf(stderr, "  next: keep both logs; ferry status %s\n",
                verify->context->service->name);
    }
}

int cmd_verify(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    struct verify verify = {.context = &context};
    verify.findings = calloc(FINDINGS_MAX, sizeof(*verify.findings));
    if (verify.findings == NULL) {
        abort();
    }
    writer_init(&verify.headers);
    verify.began_ms = verify.told_ms = clock_now_ms(clock_system());
    bool ok = context_open(&context, line, &err) && parse_options(&verify, &err) &&
              context_view(&context, &err) && read_positions(&verify, &err) &&
              ask_control(&verify, &err) && open_both(&verify, &err) && verify_all(&verify, &err);
    if (ok) {
        print_result(&verify);
    }
    int code = ok ? result_code(&verify) : command_fail(line, &err);
    verify_done(&verify);
    context_close(&context);
    return code;
}
