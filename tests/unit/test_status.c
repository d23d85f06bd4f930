/* What is said about a link: never better than what is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/beats.h"
#include "cli/status.h"

#define NOW 1764039607000 /* 2025-11-25T03:00:07Z */

static struct position *rows;

/* Two partitions of 100 records, 90 and 100 of them mirrored; one worker has both. */
static struct status healthy(void)
{
    struct status status = {.service = "orders",
                            .from = "a",
                            .to = "b",
                            .now_ms = NOW,
                            .role_epoch = 1,
                            .role_ms = NOW - 3600000,
                            .measured_s = -1,
                            .primary = "a",
                            .has_redis = true};
    rows = calloc(2, sizeof(*rows));
    for (int32_t i = 0; i < 2; i++) {
        rows[i] =
            (struct position){.topic = "t", .partition = i, .placed = true, .source_end = 100};
        rows[i].at.source_next = 90 + 10 * i;
        rows[i].at.time_ms = NOW - 1000;
    }
    status.positions.rows = rows;
    status.positions.count = 2;
    status.workers = json_loads("{\"w1\": {\"time\": \"2025-11-25T03:00:06.500Z\", \"link\": "
                                "\"a>b\", \"state\": \"running\","
                                " \"records_per_s\": 50.5, \"partitions\": ["
                                "  {\"topic\": \"t\", \"partition\": 0, \"state\": \"mirroring\", "
                                "\"lag_s\": 1.25, \"lag_records\": 10},"
                                "  {\"topic\": \"t\", \"partition\": 1, \"state\": \"mirroring\", "
                                "\"lag_s\": 0, \"lag_records\": 0}]}}",
                                0, NULL);
    assert_non_null(status.workers);
    status.gone = json_object();
    status.faults = json_object();
    return status;
}

static json_t *worker(struct status *status)
{
    return json_object_get(status->workers, "w1");
}

static json_t *part(struct status *status, size_t at)
{
    return json_array_get(json_object_get(worker(status), "partitions"), at);
}

static const char *line_of(const struct status *status)
{
    static char line[STATUS_LINE_BYTES];
    return status_first_line(status, line);
}

static enum status_verdict check(const struct status *status)
{
    char why[STATUS_WHY_BYTES];
    return status_check(status, 10, 60, why);
}

/* Before it is summed up again. */
static void status_done_sums(struct status *status)
{
    free(status->parts);
    status->parts = NULL;
}

static void all_is_well(void **state)
{
    (void)state;
    struct status status = healthy();
    status_sum(&status);
    assert_string_equal(line_of(&status),
                        "if you failed over now: lose at most 10 records (1.2 s), groups unknown "
                        "(not synced yet), time unknown");
    assert_string_equal(status_state(&status), "running");
    assert_int_equal(status_idle_count(&status), 0);
    assert_true(status.records_per_s == 50.5);
    assert_int_equal(check(&status), STATUS_OK);
    status_done(&status);
}

/* The keeper's word of 12 groups in 40 places, two of which would read something again. */
static json_t *groups_of(struct status *status)
{
    json_t *groups =
        json_pack("{s:i, s:f, s:{s:i, s:i}, s:{s:i, s:i}, s:{s:i, s:i, s:i}}", "groups", 12,
                  "age_s", 1.4, "held", "members", 0, "foreign", 0, "verdicts", "exact", 40,
                  "unmapped", 0, "reread", "groups", 2, "records", 340, "unknown_places", 0);
    json_object_set_new(worker(status), "groups", groups);
    return groups;
}

static void assert_not_carried(const struct status *status, const char *expected)
{
    char *line = status_not_carried(status);
    assert_string_equal(line, expected);
    free(line);
}

static void groups_that_are_not_carried_are_named(void **state)
{
    (void)state;
    struct status status = healthy();
    assert_not_carried(&status, ""); /* no keeper says */
    json_t *groups = groups_of(&status);
    assert_not_carried(&status, "");
    json_t *none = json_array();
    for (int i = 0; i < 6; i++) {
        char name[20];
        snprintf(name, sizeof(name), "g%d", i);
        json_array_append_new(none, json_pack("{ssss}", "group", name, "kind", "share"));
    }
    json_object_set_new(groups, "notes",
                        json_pack("{sos[{ssss}]}", "not_carried", none, "offsets_alone", "group",
                                  "app", "kind", "streams"));
    assert_not_carried(&status,
                       "groups that are not carried: g0 (share), g1 (share), g2 (share), g3 "
                       "(share), and 2 more; with their offsets alone: app (streams)");
    json_array_clear(none);
    assert_not_carried(&status, "with their offsets alone: app (streams)");
    json_object_set_new(json_object_get(groups, "notes"), "offsets_alone", json_integer(7));
    assert_not_carried(&status, ""); /* hostile */
    status_done(&status);
}

static void the_keeper_tells_of_groups(void **state)
{
    (void)state;
    struct status status = healthy();
    json_t *groups = groups_of(&status);
    status_sum(&status);
    assert_string_equal(line_of(&status),
                        "if you failed over now: lose at most 10 records (1.2 s), 2 of 12 groups "
                        "re-read at most 340 records, about 4.0 s (estimated)");
    json_object_set_new(json_object_get(groups, "held"), "members", json_integer(2));
    json_object_set_new(json_object_get(groups, "verdicts"), "unmapped", json_integer(1));
    json_object_set_new(json_object_get(groups, "reread"), "unknown_places", json_integer(1));
    status_done_sums(&status);
    status_sum(&status);
    assert_string_equal(
        line_of(&status),
        "if you failed over now: lose at most 10 records (1.2 s), what 12 groups "
        "re-read is unknown (synced 1.4 s ago) (3 offsets not carried), about 4.0 s "
        "(estimated)");
    json_object_set_new(json_object_get(groups, "reread"), "unknown_places", json_integer(0));
    json_object_set_new(groups, "age_s", json_real(61)); /* they read on meanwhile */
    status_done_sums(&status);
    status_sum(&status);
    assert_true(status.reread_records == -1);
    assert_int_equal(check(&status), STATUS_WARNING);
    json_object_set_new(groups, "age_s", json_null()); /* it never succeeded */
    status_done_sums(&status);
    status_sum(&status);
    assert_string_equal(line_of(&status),
                        "if you failed over now: lose at most 10 records (1.2 s), groups unknown "
                        "(not synced yet), time unknown");
    status_done(&status);
}

static void what_was_measured_beats_the_estimate(void **state)
{
    (void)state;
    struct status status = healthy();
    groups_of(&status);
    status.measured_s = 3.25;
    snprintf(status.measured_when, sizeof(status.measured_when), "2025-11-01T00:00:00Z");
    status_sum(&status);
    assert_non_null(strstr(line_of(&status), "about 3.2 s (as measured 2025-11-01T00:00:00Z)"));
    status_done(&status);
}

static void an_open_operation_is_all_that_counts(void **state)
{
    (void)state;
    struct status status = healthy();
    status.operation_open = true;
    status_sum(&status);
    assert_non_null(strstr(line_of(&status), "operation open, do not move clients by hand"));
    snprintf(status.operation.id, sizeof(status.operation.id), "x");
    snprintf(status.operation.kind, sizeof(status.operation.kind), "failover");
    snprintf(status.operation.to, sizeof(status.operation.to), "b");
    snprintf(status.operation.step, sizeof(status.operation.step), "offsets");
    assert_string_equal(line_of(&status),
                        "operation open at offsets, do not move clients by hand; ferry failover "
                        "orders --to b");
    assert_int_equal(check(&status), STATUS_WARNING);
    status.role_epoch = 2; /* raised already, by its step `role` */
    snprintf(status.primary, sizeof(status.primary), "b");
    assert_non_null(strstr(line_of(&status), "operation open at offsets"));
    status.operation.undoing = true;
    assert_non_null(strstr(line_of(&status), "operation open at undoing offsets"));
    status_done(&status);
}

static void topics_that_are_not_mirrored_are_a_warning(void **state)
{
    (void)state;
    struct status status = healthy();
    status_sum(&status);
    json_object_set_new(worker(&status), "topics", json_pack("{s:i}", "not_mirrored_count", 0));
    assert_int_equal(check(&status), STATUS_OK);
    json_object_set_new(worker(&status), "topics", json_pack("{s:i}", "not_mirrored_count", 1));
    assert_int_equal(check(&status), STATUS_WARNING);
    status_done(&status);
}

static void the_source_is_gone(void **state)
{
    (void)state;
    struct status status = healthy();
    err_set(&status.positions.source_err, ERR_RETRY, "a: no answer");
    rows[0].source_end = rows[1].source_end = -1;
    status_sum(&status);
    assert_int_equal(status.lag_records, -1);
    assert_true(status.lag_s < 0);
    assert_int_equal(status_idle_count(&status), -1);
    assert_non_null(strstr(line_of(&status),
                           "records lost unknown (10 behind when last seen, 2025-11-25T03:00:06Z"));
    assert_int_equal(check(&status), STATUS_UNKNOWN);
    status_done(&status);
}

static void one_unknown_partition_makes_the_sum_unknown(void **state)
{
    (void)state;
    struct status status = healthy();
    rows[0].source_end = -1;
    status_sum(&status);
    assert_int_equal(status.lag_records, -1);
    assert_true(status.lag_s == 1.25); /* the worker saw its end */
    assert_null(strstr(line_of(&status), "lose at most"));
    json_object_set_new(part(&status, 0), "lag_s", json_null());
    free(status.parts);
    status_sum(&status);
    assert_true(status.lag_s < 0);
    status_done(&status);
}

static void what_the_source_hides_is_unknown(void **state)
{
    (void)state;
    char why[STATUS_WHY_BYTES];
    struct status status = healthy();
    rows[1].hidden = true; /* the worker's last word, a second ago, was "nothing behind" */
    rows[1].source_end = -1;
    err_set(&status.positions.hidden_err, ERR_REFUSED, "User:m lacks Read on topic 't'");
    status_sum(&status);
    assert_int_equal(status.lag_records, -1);
    assert_true(status.lag_s < 0);
    assert_null(strstr(line_of(&status), "lose at most"));
    assert_non_null(strstr(status_why(&status, why), "lacks Read on topic 't'"));
    status.positions.count = 0; /* nothing is shown at all */
    free(status.parts);
    status_sum(&status);
    assert_int_equal(status.lag_records, -1);
    status.positions.count = 2;
    status_done(&status);
}

static void trouble_is_not_mirroring(void **state)
{
    (void)state;
    struct status status = healthy();
    json_object_set_new(part(&status, 1), "trouble", json_string("User:m lacks Read on topic 't'"));
    status_sum(&status);
    assert_int_equal(status_idle_count(&status), 1);
    assert_int_equal(check(&status), STATUS_WARNING);
    status_done(&status);
}

static void seconds_are_unknown_without_a_worker(void **state)
{
    (void)state;
    struct status status = healthy();
    json_array_remove(json_object_get(worker(&status), "partitions"), 0);
    status_sum(&status);
    assert_int_equal(status.lag_records, 10);
    assert_true(status.lag_s < 0);
    assert_non_null(strstr(line_of(&status), "lose at most 10 records (seconds unknown)"));
    assert_int_equal(status_idle_count(&status), 1);
    assert_int_equal(check(&status), STATUS_WARNING);
    status_done(&status);
}

static void everything_mirrored_is_no_seconds_behind(void **state)
{
    (void)state;
    struct status status = healthy();
    rows[0].at.source_next = 100;
    json_object_clear(status.workers); /* all workers are dead, and nothing new came */
    status_sum(&status);
    assert_int_equal(status.lag_records, 0);
    assert_true(status.lag_s == 0);
    assert_string_equal(status_state(&status), "no worker");
    assert_int_equal(check(&status), STATUS_CRITICAL);
    status_done(&status);
}

static void a_topic_that_nobody_mirrored_counts(void **state)
{
    (void)state;
    struct status status = healthy();
    rows[1].placed = false;
    status_sum(&status);
    assert_int_equal(status.lag_records, 110);
    status_done(&status);
}

static void no_role_names_the_command(void **state)
{
    (void)state;
    struct status status = healthy();
    status.role_epoch = 0;
    status_sum(&status);
    assert_string_equal(line_of(&status),
                        "no role: orders is not mirrored to b; next: ferry enable orders");
    assert_string_equal(status_state(&status), "no role");
    assert_int_equal(check(&status), STATUS_UNKNOWN);
    status_done(&status);
}

static void an_unknown_role_is_not_a_missing_one(void **state)
{
    (void)state;
    struct status status = healthy();
    status.role_epoch = -1;
    status_sum(&status);
    assert_null(strstr(line_of(&status), "enable"));
    assert_string_equal(line_of(&status),
                        "b does not say its role: no failover to it now; else: lose at "
                        "most 10 records (1.2 s)");
    assert_string_equal(status_state(&status), "unknown");
    assert_int_equal(check(&status), STATUS_UNKNOWN);
    status_done(&status);
}

static void another_site_is_primary(void **state)
{
    (void)state;
    struct status status = healthy();
    status.role_epoch = 2;
    snprintf(status.primary, sizeof(status.primary), "b");
    status_sum(&status);
    assert_null(strstr(line_of(&status), "lose at most"));
    assert_non_null(strstr(line_of(&status), "unprotected since 2025-11-25T02:00:07Z"));
    assert_non_null(strstr(line_of(&status), "b is primary by role epoch 2"));
    assert_string_equal(status_state(&status), "not primary");
    assert_int_equal(check(&status), STATUS_WARNING);
    snprintf(status.primary, sizeof(status.primary), "c"); /* what c has may be mirrored */
    assert_null(strstr(line_of(&status), "unprotected"));
    status_done(&status);
}

static void redis_is_away(void **state)
{
    (void)state;
    struct status status = healthy();
    json_decref(status.workers);
    json_decref(status.faults);
    status.workers = status.faults = NULL;
    err_set(&status.redis_err, ERR_RETRY, "Redis: connection refused");
    status_sum(&status);
    assert_int_equal(status.lag_records, 10); /* the group's commits say so */
    assert_true(status.lag_s < 0);
    assert_true(status.records_per_s < 0);
    assert_int_equal(status_fault_count(&status), -1);
    assert_int_equal(status_idle_count(&status), -1);
    assert_string_equal(status_state(&status), "unknown");
    assert_int_equal(check(&status), STATUS_WARNING);
    status_done(&status);
}

static void verdicts(void **state)
{
    (void)state;
    struct status status = healthy();
    status_sum(&status);
    status.lag_s = 10.5;
    assert_int_equal(check(&status), STATUS_WARNING);
    status.lag_s = 60.5;
    assert_int_equal(check(&status), STATUS_CRITICAL);
    status.lag_s = 0;
    status.paused = true;
    assert_int_equal(check(&status), STATUS_WARNING);
    json_object_set_new(status.faults, "t:0", json_object());
    assert_int_equal(check(&status), STATUS_CRITICAL);
    status.lag_records = -1; /* what is known to be bad comes first */
    assert_int_equal(check(&status), STATUS_CRITICAL);
    status_done(&status);
}

static void a_partition_that_moves_belongs_to_who_mirrors(void **state)
{
    (void)state;
    struct status status = healthy();
    json_t *other = json_deep_copy(worker(&status));
    json_object_set_new(status.workers, "w0", other);
    json_object_set_new(json_array_get(json_object_get(other, "partitions"), 0), "state",
                        json_string("draining"));
    status_sum(&status);
    assert_string_equal(status.parts[0].worker, "w1");
    assert_int_equal(status_idle_count(&status), 0);
    status_done(&status);
}

static void hostile_heartbeats(void **state)
{
    (void)state;
    struct status status = healthy();
    json_object_set_new(part(&status, 0), "partition", json_integer(-1));
    json_object_set_new(part(&status, 1), "partition", json_integer(INT64_MAX));
    json_object_set_new(worker(&status), "records_per_s", json_string("many"));
    json_array_append_new(json_object_get(worker(&status), "partitions"), json_string("x"));
    json_object_set_new(status.workers, "w2", json_object());
    json_object_set_new(worker(&status), "time", json_string("yesterday"));
    for (size_t i = 0; i < 2; i++) {
        json_object_set_new(part(&status, i), "lag_records", json_integer(INT64_MAX));
    }
    status_sum(&status);
    assert_true(status.seen_lag == INT64_MAX);
    assert_null(status.parts[0].worker);
    assert_null(status.parts[1].worker);
    assert_true(status.records_per_s < 0);
    assert_int_equal(beat_ms(worker(&status)), -1);
    status_done(&status);
}

static void times_of_heartbeats(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t expected;
    } cases[] = {
        {"2025-11-25T03:00:07Z",      NOW},
        {"2025-11-25T03:00:07.999Z",  NOW},
        {"2025-11-25T03:00:07+01:00", -1 },
        {"2025-11-25",                -1 },
        {"1960-01-01T00:00:00Z",      -1 },
        {"",                          -1 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *beat = json_pack("{ss}", "time", cases[i].text);
        assert_true(beat_ms(beat) == cases[i].expected);
        json_decref(beat);
    }
    assert_true(beat_ms(NULL) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(groups_that_are_not_carried_are_named),
        cmocka_unit_test(the_keeper_tells_of_groups),
        cmocka_unit_test(what_was_measured_beats_the_estimate),
        cmocka_unit_test(an_open_operation_is_all_that_counts),
        cmocka_unit_test(topics_that_are_not_mirrored_are_a_warning),
        cmocka_unit_test(the_source_is_gone),
        cmocka_unit_test(one_unknown_partition_makes_the_sum_unknown),
        cmocka_unit_test(what_the_source_hides_is_unknown),
        cmocka_unit_test(trouble_is_not_mirroring),
        cmocka_unit_test(seconds_are_unknown_without_a_worker),
        cmocka_unit_test(everything_mirrored_is_no_seconds_behind),
        cmocka_unit_test(a_topic_that_nobody_mirrored_counts),
        cmocka_unit_test(no_role_names_the_command),
        cmocka_unit_test(an_unknown_role_is_not_a_missing_one),
        cmocka_unit_test(another_site_is_primary),
        cmocka_unit_test(redis_is_away),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(a_partition_that_moves_belongs_to_who_mirrors),
        cmocka_unit_test(hostile_heartbeats),
        cmocka_unit_test(times_of_heartbeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
