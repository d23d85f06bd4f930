#include "base/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds; a latency of a mirror lies between a millisecond and a minute. */
static const double buckets[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
                                 0.5,   1,     2,     5,    10,   30,   60};
#define BUCKETS_COUNT (sizeof(buckets) / sizeof(buckets[0]))

struct series {
    struct metric *metric;
    char *labels; /* rendered: a="b",c="d" */
    double value;
    uint64_t counts[BUCKETS_COUNT];
    uint64_t count;
    struct series *next;
};

struct metric {
    enum metric_type type;
    char *name;
    char *help;
    char *labels[METRIC_LABELS_MAX];
    int labels_count;
    struct series *series;
    struct metric *next;
};

struct metrics {
    struct metric *first;
    struct metric *last;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

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
        while (metric->series != NULL) {
            struct series *series = metric->series;
            metric->series = series->next;
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

static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"') {
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
        put_escaped(out, values[i]);
        fputc('"', out);
    }
    fclose(out);
    return text;
}

struct series *metric_series(struct metric *metric, const char *const *values)
{
    char *labels = render_labels(metric, values);
    for (struct series *series = metric->series; series != NULL; series = series->next) {
        if (strcmp(series->labels, labels) == 0) {
            free(labels);
            return series;
        }
    }
    struct series *series = must(calloc(1, sizeof(*series)));
    series->metric = metric;
    series->labels = labels;
    series->next = metric->series;
    metric->series = series;
    return series;
}

void series_remove(struct series *series)
{
    struct series **link = &series->metric->series;
    while (*link != series) {
        link = &(*link)->next;
    }
    *link = series->next;
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
    if (isnan(value)) {
        fputs("NaN\n", out);
    } else {
        fprintf(out, "%.17g\n", value);
    }
}

static void put_histogram(FILE *out, const struct series *series)
{
    const char *name = series->metric->name;
    const char *comma = series->labels[0] == '\0' ? "" : ",";
    for (size_t i = 0; i < BUCKETS_COUNT; i++) {
        fprintf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, series->labels, comma, buckets[i],
                (unsigned long long)series->counts[i]);
    }
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, series->labels, comma,
            (unsigned long long)series->count);
    fprintf(out, "%s_sum{%s} ", name, series->labels);
    put_number(out, series->value);
    fprintf(out, "%s_count{%s} %llu\n", name, series->labels, (unsigned long long)series->count);
}

static void put_series(FILE *out, const struct series *series)
{
    if (series->metric->type == METRIC_HISTOGRAM) {
        put_histogram(out, series);
        return;
    }
    fputs(series->metric->name, out);
    if (series->labels[0] != '\0') {
        fprintf(out, "{%s}", series->labels);
    }
    fputc(' ', out);
    put_number(out, series->value);
}

char *metrics_text(const struct metrics *metrics, size_t *out_len)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    FILE *out = must(open_memstream(&text, out_len));
    for (const struct metric *metric = metrics->first; metric != NULL; metric = metric->next) {
        fprintf(out, "# HELP %s ", metric->name);
        put_escaped(out, metric->help);
        fprintf(out, "\n# TYPE %s %s\n", metric->name, types[metric->type]);
        for (const struct series *series = metric->series; series != NULL; series = series->next) {
            put_series(out, series);
        }
    }
    fclose(out);
    return text;
}
