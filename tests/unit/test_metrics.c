/* base/metrics: the exposition that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"

static void shows(const struct metrics *metrics, const char *expected)
{
    size_t len = 0;
    char *text = metrics_text(metrics, &len);
    assert_string_equal(text, expected);
    assert_int_equal(strlen(text), len);
    free(text);
}

static void counters_and_gauges(void **state)
{
    static const char *const labels[] = {"link", "topic", NULL};
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metric *records =
        metrics_add(metrics, METRIC_COUNTER, "ferry_records_total", "Records.", labels);
    struct metric *up =
        metrics_add(metrics, METRIC_GAUGE, "ferry_up", "1 while\nit \"is\" \\ up.", NULL);
    assert_ptr_equal(metrics_add(metrics, METRIC_COUNTER, "ferry_records_total", "", labels),
                     records);
    struct series *a = metric_series(records, (const char *const[]){"x", "a\"b\\c\nd"});
    struct series *b = metric_series(records, (const char *const[]){"x", "plain"});
    assert_ptr_equal(metric_series(records, (const char *const[]){"x", "plain"}), b);
    series_add(a, 1);
    series_add(a, 2);
    series_add(b, 123456789012.0);
    series_set(metric_series(up, NULL), 0.1);
    assert_true(series_value(a) == 3);
    shows(metrics, "# HELP ferry_records_total Records.\n# TYPE ferry_records_total counter\n"
                   "ferry_records_total{link=\"x\",topic=\"a\\\"b\\\\c\\nd\"} 3\n"
                   "ferry_records_total{link=\"x\",topic=\"plain\"} 123456789012\n"
                   "# HELP ferry_up 1 while\\nit \"is\" \\\\ up.\n# TYPE ferry_up gauge\n"
                   "ferry_up 0.10000000000000001\n");
    metrics_free(metrics);
    metrics_free(NULL);
}

/* P6: unknown is shown as unknown. */
static void unknown_is_not_zero(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct series *lag =
        metric_series(metrics_add(metrics, METRIC_GAUGE, "lag", "Lag.", NULL), NULL);
    series_set_unknown(lag);
    shows(metrics, "# HELP lag Lag.\n# TYPE lag gauge\n");
    series_set(lag, -5);
    shows(metrics, "# HELP lag Lag.\n# TYPE lag gauge\nlag -5\n");
    series_set(lag, 1.0 / 0.0);
    shows(metrics, "# HELP lag Lag.\n# TYPE lag gauge\nlag +Inf\n");
    metrics_free(metrics);
}

static void histograms_are_cumulative(void **state)
{
    static const char *const labels[] = {"x", NULL};
    struct metrics *metrics = metrics_new();
    size_t len;
    (void)state;
    struct metric *metric = metrics_add(metrics, METRIC_HISTOGRAM, "h", "H.", labels);
    struct series *series = metric_series(metric, (const char *const[]){"y"});
    series_observe(series, 0.001); /* a bound is in its bucket */
    series_observe(series, 0.25);
    series_observe(series, 100);
    char *text = metrics_text(metrics, &len);
    assert_non_null(strstr(text, "h_bucket{x=\"y\",le=\"0.001\"} 1\n"));
    assert_non_null(strstr(text, "h_bucket{x=\"y\",le=\"0.2\"} 1\n"));
    assert_non_null(strstr(text, "h_bucket{x=\"y\",le=\"0.5\"} 2\n"));
    assert_non_null(strstr(text, "h_bucket{x=\"y\",le=\"60\"} 2\n"));
    assert_non_null(strstr(text, "h_bucket{x=\"y\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "h_sum{x=\"y\"} 100.25"));
    assert_non_null(strstr(text, "h_count{x=\"y\"} 3\n"));
    free(text);
    metric = metrics_add(metrics, METRIC_HISTOGRAM, "bare", "B.", NULL);
    series_observe(metric_series(metric, NULL), 1);
    text = metrics_text(metrics, &len);
    assert_non_null(strstr(text, "bare_bucket{le=\"1\"} 1\n"));
    assert_non_null(strstr(text, "bare_sum 1\nbare_count 1\n"));
    free(text);
    metrics_free(metrics);
}

static void removed_series_show_nothing(void **state)
{
    static const char *const labels[] = {"p", NULL};
    struct metrics *metrics = metrics_new();
    struct series *series[3];
    (void)state;
    struct metric *metric = metrics_add(metrics, METRIC_GAUGE, "g", "G.", labels);
    for (int round = 0; round < 3; round++) { /* first, middle, last goes away */
        for (int i = 0; i < 3; i++) {
            char name[2] = {(char)('0' + i), '\0'};
            series[i] = metric_series(metric, (const char *const[]){name});
        }
        series_remove(series[round]);
        char name[2] = {(char)('0' + round), '\0'};
        size_t len;
        char *text = metrics_text(metrics, &len);
        char line[32];
        snprintf(line, sizeof(line), "g{p=\"%s\"} 0\n", name);
        assert_null(strstr(text, line));
        free(text);
    }
    metrics_free(metrics);
}

/* Series of 8,192 partitions are made, found and removed in no time, and shown in the order they were made. */
static void many_series(void **state)
{
    static const char *const labels[] = {"partition", NULL};
    struct metrics *metrics = metrics_new();
    struct series *series[8192];
    char name[16];
    size_t len;
    (void)state;
    struct metric *metric = metrics_add(metrics, METRIC_COUNTER, "c", "C.", labels);
    for (int i = 0; i < 8192; i++) {
        snprintf(name, sizeof(name), "%d", i);
        series[i] = metric_series(metric, (const char *const[]){name});
        series_add(series[i], i);
    }
    for (int i = 0; i < 8192; i += 2) {
        series_remove(series[i]);
    }
    snprintf(name, sizeof(name), "%d", 4097);
    assert_ptr_equal(metric_series(metric, (const char *const[]){name}), series[4097]);
    char *text = metrics_text(metrics, &len);
    char *at = strstr(text, "c{partition=\"1\"} 1\nc{partition=\"3\"} 3\n");
    assert_non_null(at);
    assert_non_null(strstr(at, "c{partition=\"8191\"} 8191\n"));
    assert_null(strstr(text, "c{partition=\"2\"}"));
    free(text);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges),
        cmocka_unit_test(unknown_is_not_zero),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(removed_series_show_nothing),
        cmocka_unit_test(many_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
