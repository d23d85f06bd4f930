/* Counters, gauges and histograms; text exposition for Prometheus (version 0.0.4).
 *
 * A metric is registered once with name, help and label names; a series is found once by its label values and kept.
 * Counters and histograms begin at 0, gauges unknown.
 * Loop thread only, except metrics_text() which renders a snapshot there too.
 */
#ifndef FERRY_BASE_METRICS_H
#define FERRY_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metrics;
struct metric;
struct series;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_LABELS_MAX 6

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* Register; the same name again returns the same metric. Names carry unit and `_total` as Prometheus asks.
 * labels: NULL-terminated array of names, or NULL. */
struct metric *metrics_add(struct metrics *metrics, enum metric_type type, const char *name,
                           const char *help, const char *const *labels);
/* Find or make the series with these label values (as many as the metric has labels). */
struct series *metric_series(struct metric *metric, const char *const *values);
void series_remove(struct series *series); /* a partition that is not ours any more shows nothing */

void series_add(struct series *series, double amount);
void series_set(struct series *series, double value);
/* An unknown gauge has no sample: never 0, and nothing that a rule could compare. As it is before it was set first. */
void series_set_unknown(struct series *series);
/* Observe into buckets 1 ms .. 60 s (seconds, log spaced). */
void series_observe(struct series *series, double seconds);
double series_value(const struct series *series);

/* Whole exposition as heap text, free() by the caller; label values escaped. */
char *metrics_text(const struct metrics *metrics, size_t *out_len);

#endif
