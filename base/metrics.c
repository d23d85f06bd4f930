#include "base/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

/* Seconds; a latency of a mirror lies between a millisecond and a minute. */
static const double buckets[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
                                 0.5,   1,     2,     5,    10,   30,   60};
#define BUCKETS_COUNT (sizeof(buckets) / sizeof(buckets[0]))

/* 8,192 partitions of a worker are 32 a slot: found with as many comparisons, once. */
#define SLOTS_COUNT 256

struct series {
    struct metric *metric;
    char *labels; /* rendered: a="b",c="d" */
    struct series *next_in_slot;
    double value;
    uint64_t counts[BUCKETS_COUNT];
    uint64_t count;
    struct series *previous; /* in the order they were made */
    struct series *next;
};

struct metric {
    enum metric_type type;
    char *name;
    char *help;
    char *labels[METRIC_LABELS_MAX];
    int labels_count;
    struct series *first;
    struct series *last;
    struct series *slots[SLOTS_COUNT]; /* by labels */
    struct metric *next;
};

struct metrics {
    struct metric *first;
    struct metric *last;
};

struct metrics *metrics_new(void)
{
    return must(calloc(1, sizeof(struct metrics)));
}

static void series_free(struct series *series)
{
    free(series->labels);
    free(series);
}

void metrics_free(struct metrics *metrics)
{
    while (metrics != NULL && metrics->first != NULL) {
        struct metric *metric = metrics->first;
        metrics->first = metric->next;
        while (metric->first != NULL) {
            struct series *series = metric->first;
            metric->first = series->next;
            series_free(series);
        }
        for (int i = 0; i < metric->labels_count; i++) {
            free(metric->labels[i]);
        }
        free(metric->name);
        free(metric->help);
        free(metric);
    }
    free(metrics);
}

struct metric *metrics_add(struct metrics *metrics, enum metric_type type, const char *name,
                           const char *help, const char *const *labels)
{
    for (struct metric *metric = metrics->first; metric != NULL; metric = metric->next) {
        if (strcmp(metric->name, name) == 0) {
            assert(metric->type == type);
            return metric;
        }
    }
    struct metric *metric = must(calloc(1, sizeof(*metric)));
    metric->type = type;
    metric->name = must(strdup(name));
    metric->help = must(strdup(help));
    for (; labels != NULL && labels[metric->labels_count] != NULL; metric->labels_count++) {
        assert(metric->labels_count < METRIC_LABELS_MAX);
        metric->labels[metric->labels_count] = must(strdup(labels[metric->labels_count]));
    }
    if (metrics->last == NULL) {
        metrics->first = metric;
    } else {
        metrics->last->next = metric;
    }
    metrics->last = metric;
    return metric;
}

/* @param quotes  whether quotes are escaped: in values, not in help */
static void put_escaped(FILE *out, const char *text, bool quotes)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || (*text == '"' && quotes)) {
            fputc('\\', out);
            fputc(*text, out);
        } else if (*text == '\n') {
            fputs("\\n", out);
        } else {
            fputc(*text, out);
        }
    }
}

static char *render_labels(const struct metric *metric, const char *const *values)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = must(open_memstream(&text, &len));
    for (int i = 0; i < metric->labels_count; i++) {
        fprintf(out, "%s%s=\"", i == 0 ? "" : ",", metric->labels[i]);
        put_escaped(out, values[i], true);
        fputc('"', out);
    }
    fclose(out);
    return text;
}

static struct series **slot_of(struct metric *metric, const char *labels)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *labels != '\0'; labels++) {
        hash = (hash ^ (unsigned char)*labels) * 16777619u;
    }
    return &metric->slots[hash % SLOTS_COUNT];
}

static void series_link(struct metric *metric, struct series *series, struct series **slot)
{
    series->metric = metric;
    series->next_in_slot = *slot;
    *slot = series;
    series->previous = metric->last;
    if (metric->last == NULL) {
        metric->first = series;
    } else {
        metric->last->next = series;
    }
    metric->last = series;
}

struct series *metric_series(struct metric *metric, const char *const *values)
{
    char *labels = render_labels(metric, values);
    struct series **slot = slot_of(metric, labels);

    for (struct series *series = *slot; series != NULL; series = series->next_in_slot) {
        if (strcmp(series->labels, labels) == 0) {
            free(labels);
            return series;
        }
    }
    struct series *series = must(calloc(1, sizeof(*series)));
    series->labels = labels;
    series->value = metric->type == METRIC_GAUGE ? NAN : 0;
    series_link(metric, series, slot);
    return series;
}

void series_remove(struct series *series)
{
    struct metric *metric = series->metric;
    struct series **link = slot_of(metric, series->labels);

    while (*link != series) {
        link = &(*link)->next_in_slot;
    }
    *link = series->next_in_slot;
    *(series->previous == NULL ? &metric->first : &series->previous->next) = series->next;
    *(series->next == NULL ? &metric->last : &series->next->previous) = series->previous;
    series_free(series);
}

void series_add(struct series *series, double amount)
{
    series->value += amount;
}
void series_set(struct series *series, double value)
{
    series->value = value;
}
void series_set_unknown(struct series *series)
{
    series->value = NAN;
}
double series_value(const struct series *series)
{
    return series->value;
}

void series_observe(struct series *series, double seconds)
{
    for (size_t i = 0; i < BUCKETS_COUNT; i++) {
        series->counts[i] += seconds <= buckets[i];
    }
    series->count++;
    series->value += seconds;
}

static void put_number(FILE *out, double value)
{
    if (isinf(value)) {
        fputs(value < 0 ? "-Inf\n" : "+Inf\n", out);
    } else {
        fprintf(out, fabs(value) < 1e15 && value == floor(value) ? "%.0f\n" : "%.17g\n", value);
    }
}

/* A name with its labels, and one more that histograms have. */
static void put_name(FILE *out, const struct series *series, const char *suffix, const char *more)
{
    const char *comma = series->labels[0] == '\0' || more[0] == '\0' ? "" : ",";
    bool bare = series->labels[0] == '\0' && more[0] == '\0';

    fprintf(out, "%s%s%s%s%s%s%s ", series->metric->name, suffix, bare ? "" : "{", series->labels,
            comma, more, bare ? "" : "}");
}

static void put_histogram(FILE *out, const struct series *series)
{
    char le[32];

    for (size_t i = 0; i < BUCKETS_COUNT; i++) {
        snprintf(le, sizeof(le), "le=\"%g\"", buckets[i]);
        put_name(out, series, "_bucket", le);
        fprintf(out, "%llu\n", (unsigned long long)series->counts[i]);
    }
    put_name(out, series, "_bucket", "le=\"+Inf\"");
    fprintf(out, "%llu\n", (unsigned long long)series->count);
    put_name(out, series, "_sum", "");
    put_number(out, series->value);
    put_name(out, series, "_count", "");
    fprintf(out, "%llu\n", (unsigned long long)series->count);
}

static void put_series(FILE *out, const struct series *series)
{
    if (series->metric->type == METRIC_HISTOGRAM) {
        put_histogram(out, series);
        return;
    }
    if (!isnan(series->value)) {
        put_name(out, series, "", "");
        put_number(out, series->value);
    }
}

char *metrics_text(const struct metrics *metrics, size_t *out_len)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    FILE *out = must(open_memstream(&text, out_len));
    for (const struct metric *metric = metrics->first; metric != NULL; metric = metric->next) {
        fprintf(out, "# HELP %s ", metric->name);
        put_escaped(out, metric->help, false);
        fprintf(out, "\n# TYPE %s %s\n", metric->name, types[metric->type]);
        for (const struct series *series = metric->first; series != NULL; series = series->next) {
            put_series(out, series);
        }
    }
    fclose(out);
    return text;
}
