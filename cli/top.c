#include "cli/top.h"

#include <stdlib.h>
#include <string.h>

#include "cli/beats.h"
#include "cli/context.h"

#define ROWS_MAX 100000 /* of all workers: what stands in Redis may be anything */

static int by_place(const void *a, const void *b)
{
    const struct top_row *left = a;
    const struct top_row *right = b;
    int order = strcmp(left->topic, right->topic);
    return order != 0 ? order
                      : (left->partition > right->partition) - (left->partition < right->partition);
}

/* What is not known first, then what is furthest behind. */
static int by_lag(const void *a, const void *b)
{
    const struct top_row *left = a;
    const struct top_row *right = b;
    bool left_unknown = left->lag_s < 0 || left->lag_records < 0;
    bool right_unknown = right->lag_s < 0 || right->lag_records < 0;
    if (left_unknown != right_unknown) {
        return left_unknown ? -1 : 1;
    }
    if (left->lag_s < right->lag_s || left->lag_s > right->lag_s) {
        return left->lag_s > right->lag_s ? -1 : 1;
    }
    if (left->lag_records != right->lag_records) {
        return left->lag_records > right->lag_records ? -1 : 1;
    }
    return by_place(a, b);
}

static int64_t whole(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    return number >= 0 ? number : -1;
}

static void add_row(struct top *top, const char *name, const json_t *worker, const json_t *part)
{
    const char *topic = beat_text(part, "topic");
    int64_t partition = whole(part, "partition");
    if (!context_topic_ok(topic) || partition < 0 || partition > INT32_MAX ||
        top->count == ROWS_MAX) {
        return;
    }
    top->rows[top->count++] = (struct top_row){.topic = topic,
                                               .partition = (int32_t)partition,
                                               .state = beat_text(part, "state"),
                                               .worker = name,
                                               .why = beat_text(part, "why"),
                                               .lag_records = whole(part, "lag_records"),
                                               .lag_s = beat_number(part, "lag_s"),
                                               .source_next = whole(part, "source_next"),
                                               .told_ms = whole(worker, "time_ms"),
                                               .records_per_s = -1};
}

static void add_rows(struct top *top)
{
    const char *name;
    json_t *worker;
    size_t most = 0;
    json_object_foreach (top->workers, name, worker) {
        most += json_array_size(json_object_get(worker, "partitions"));
    }
    top->rows = calloc(most + 1, sizeof(*top->rows));
    if (top->rows == NULL) {
        abort();
    }
    json_object_foreach (top->workers, name, worker) {
        size_t index;
        json_t *part;
        json_array_foreach (json_object_get(worker, "partitions"), index, part) {
            add_row(top, name, worker, part);
        }
    }
}

static double add_known(double sum, double value)
{
    return sum < 0 || value < 0 ? -1 : sum + value;
}

/* One unknown figure makes the sum unknown; without a worker nothing is known. */
static void sum_up(struct top *top)
{
    const char *name;
    json_t *worker;
    bool none = json_object_size(top->workers) == 0;
    top->records_per_s = top->bytes_per_s = none ? -1 : 0;
    top->lag_records = none ? -1 : 0;
    top->lag_s = none ? -1 : 0;
    json_object_foreach (top->workers, name, worker) {
        top->records_per_s = add_known(top->records_per_s, beat_number(worker, "records_per_s"));
        top->bytes_per_s = add_known(top->bytes_per_s, beat_number(worker, "bytes_per_s"));
    }
    for (size_t i = 0; i < top->count; i++) {
        const struct top_row *row = &top->rows[i];
        bool overflow = row->lag_records >= 0 && top->lag_records > INT64_MAX - row->lag_records;
        top->lag_records = top->lag_records < 0 || row->lag_records < 0 || overflow
                               ? -1
                               : top->lag_records + row->lag_records;
        top->lag_s = top->lag_s < 0 || row->lag_s < 0 ? -1
                     : row->lag_s > top->lag_s        ? row->lag_s
                                                      : top->lag_s;
    }
}

/* Both sorted by place. Another worker's heartbeat says nothing of a rate; one that did not move says what it said. */
static void set_rates(struct top *top, const struct top *before)
{
    size_t at = 0;
    for (size_t i = 0; i < top->count; i++) {
        struct top_row *row = &top->rows[i];
        while (at < before->count && by_place(&before->rows[at], row) < 0) {
            at++;
        }
        const struct top_row *old = at < before->count ? &before->rows[at] : NULL;
        if (old == NULL || by_place(old, row) != 0 || strcmp(old->worker, row->worker) != 0) {
            continue;
        }
        if (row->told_ms == old->told_ms) {
            row->records_per_s = old->records_per_s;
        } else if (old->told_ms >= 0 && row->told_ms > old->told_ms && old->source_next >= 0 &&
                   row->source_next >= old->source_next) {
            row->records_per_s = (double)(row->source_next - old->source_next) * 1000.0 /
                                 (double)(row->told_ms - old->told_ms);
        }
    }
}

void top_take(struct top *top, json_t *take_workers, const struct top *before)
{
    *top = (struct top){.workers = take_workers};
    add_rows(top);
    sum_up(top);
    qsort(top->rows, top->count, sizeof(*top->rows), by_place);
    if (before != NULL) {
        struct top sorted = {.count = before->count};
        sorted.rows = calloc(before->count + 1, sizeof(*sorted.rows));
        if (sorted.rows == NULL) {
            abort();
        }
        memcpy(sorted.rows, before->rows, before->count * sizeof(*sorted.rows));
        qsort(sorted.rows, sorted.count, sizeof(*sorted.rows), by_place);
        set_rates(top, &sorted);
        free(sorted.rows);
    }
    qsort(top->rows, top->count, sizeof(*top->rows), by_lag);
}

void top_done(struct top *top)
{
    json_decref(top->workers);
    free(top->rows);
    *top = (struct top){0};
}
