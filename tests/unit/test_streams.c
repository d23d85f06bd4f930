#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mirror/streams.h"
#include "offsets/checkpoint.h"

static void the_first_configuration_is_epoch_1(void **state)
{
    (void)state;
    struct control_state control = {0};
    assert_int_equal(streams_judge(&control, 0xabc), STREAMS_WRITE);
    char *record = streams_advance(&control, 0xabc, PATH_BATCHES, 0);
    assert_string_equal(
        record, "{\"epoch\":1,\"hash\":\"0000000000000abc\",\"path\":\"batches\",\"previous\":[]}");
    assert_int_equal(streams_judge(&control, 0xabc), STREAMS_OURS);
    free(record);
}

static void a_hash_never_seen_is_the_newest(void **state)
{
    (void)state;
    struct control_state control = {.streams_epoch = 4, .streams_hash = 1};
    assert_int_equal(streams_judge(&control, 2), STREAMS_WRITE);
    char *record = streams_advance(&control, 2, PATH_BATCHES, 0);
    assert_string_equal(
        record, "{\"epoch\":5,\"hash\":\"0000000000000002\",\"path\":\"batches\",\"previous\":"
                "[\"0000000000000001\"]}");
    free(record);
    assert_int_equal(streams_judge(&control, 1), STREAMS_OLDER);
}

/* Another filter is another stream; anything else that changes the hash is not. */
static void a_changed_filter_raises_the_least_generation(void **state)
{
    (void)state;
    struct control_state control = {0};
    free(streams_advance(&control, 1, PATH_BATCHES, 0xf));
    assert_int_equal(control.streams_generation, 0); /* nothing was mirrored before */
    free(streams_advance(&control, 2, PATH_BATCHES, 0xf));
    assert_int_equal(control.streams_generation, 0);
    char *record = streams_advance(&control, 3, PATH_BATCHES, 0xe);
    assert_int_equal(control.streams_generation, GENERATIONS_A_FILTER);
    assert_non_null(strstr(record, "\"filter\":\"000000000000000e\""));
    assert_non_null(strstr(record, "\"generation\":256"));
    free(record);
    record = streams_advance(&control, 4, PATH_BATCHES, 0); /* no filter any more */
    assert_int_equal(control.streams_generation, 2 * GENERATIONS_A_FILTER);
    assert_non_null(strstr(record, "\"generation\":512"));
    free(record);
}

/* The record stays one that readers take; the partitions say that there is no generation left. */
static void after_the_last_filter_the_generations_have_run_out(void **state)
{
    (void)state;
    struct control_state control = {0};
    for (uint64_t filter = 1; filter < 200; filter++) {
        free(streams_advance(&control, filter, PATH_BATCHES, filter));
        assert_true(control.streams_generation <= GENERATION_MAX || filter > 127);
    }
    assert_int_equal(control.streams_generation, GENERATION_MAX + 1);
}

/* Two workers, one not restarted yet, or a file that was put back: they must not take turns. */
static void a_replaced_hash_never_wins_again(void **state)
{
    (void)state;
    struct control_state control = {.streams_epoch = 1, .streams_hash = 1};
    for (uint64_t hash = 2; hash <= 17; hash++) {
        free(streams_advance(&control, hash, PATH_BATCHES, 0));
    }
    assert_int_equal(control.streams_epoch, 17);
    assert_int_equal(control.streams_previous_count, STREAMS_PREVIOUS_MAX);
    for (uint64_t hash = 1; hash <= 16; hash++) {
        assert_int_equal(streams_judge(&control, hash), STREAMS_OLDER);
    }
    assert_int_equal(streams_judge(&control, 17), STREAMS_OURS);
}

static void the_oldest_is_forgotten_first(void **state)
{
    (void)state;
    struct control_state control = {.streams_epoch = 1, .streams_hash = 1};
    for (uint64_t hash = 2; hash <= 18; hash++) {
        free(streams_advance(&control, hash, PATH_BATCHES, 0));
    }
    assert_int_equal(control.streams_previous_count, STREAMS_PREVIOUS_MAX);
    assert_int_equal(control.streams_previous[0], 2);
    assert_int_equal(control.streams_previous[15], 17);
    assert_int_equal(streams_judge(&control, 1), STREAMS_WRITE);
}

static struct config *service_of(const char *path)
{
    char text[500];
    struct err err = {0};
    snprintf(
        text, sizeof(text),
        "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": \"h:1\"}}, "
        "\"b\": {\"kafka\": {\"bootstrap.servers\": \"h:2\"}}}, \"services\": {\"s\": {\"home\": "
        "\"a\", "
        "\"others\": [\"b\"], \"path\": \"%s\", \"topics\": {\"include\": [\"t\"]}}}}",
        path);
    struct config *config = config_parse(text, strlen(text), "test", &err);
    assert_string_equal(err.what, "");
    return config;
}

/* What the streams were written with comes before what was once chosen, and before nothing at all. */
static void a_service_that_runs_keeps_its_path(void **state)
{
    (void)state;
    struct config *config = service_of("auto");
    const struct config_service *service = config_service(config, "s");
    struct control_state control = {0};
    assert_int_equal(streams_path(&control, service), PATH_AUTO);
    control.path = PATH_BATCHES;
    assert_int_equal(streams_path(&control, service), PATH_BATCHES);
    free(streams_advance(&control, config_streams_hash(service, PATH_RECORDS), PATH_RECORDS, 0));
    assert_int_equal(streams_path(&control, service), PATH_RECORDS);
    config_free(config);
}

/* A record that was written before it said so is known by its hash. */
static void an_old_record_says_it_by_its_hash(void **state)
{
    (void)state;
    struct config *config = service_of("auto");
    const struct config_service *service = config_service(config, "s");
    struct control_state control = {.streams_epoch = 3, .path = PATH_BATCHES};
    control.streams_hash = config_streams_hash(service, PATH_RECORDS);
    assert_int_equal(streams_path(&control, service), PATH_RECORDS);
    control.streams_hash = 77; /* of another configuration: then the choice */
    assert_int_equal(streams_path(&control, service), PATH_BATCHES);
    control.path = PATH_AUTO;
    assert_int_equal(streams_path(&control, service), PATH_AUTO);
    config_free(config);
}

/* A named path is the configuration's to say; a worker that says another one has another hash. */
static void a_named_path_is_what_the_file_says(void **state)
{
    (void)state;
    struct config *config = service_of("records");
    const struct config_service *service = config_service(config, "s");
    struct control_state control = {
        .streams_epoch = 3, .streams_path = PATH_BATCHES, .path = PATH_BATCHES};
    assert_int_equal(streams_path(&control, service), PATH_RECORDS);
    assert_true(config_streams_hash(service, PATH_RECORDS) !=
                config_streams_hash(service, PATH_BATCHES));
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_configuration_is_epoch_1),
        cmocka_unit_test(a_service_that_runs_keeps_its_path),
        cmocka_unit_test(an_old_record_says_it_by_its_hash),
        cmocka_unit_test(a_named_path_is_what_the_file_says),
        cmocka_unit_test(a_hash_never_seen_is_the_newest),
        cmocka_unit_test(a_changed_filter_raises_the_least_generation),
        cmocka_unit_test(after_the_last_filter_the_generations_have_run_out),
        cmocka_unit_test(a_replaced_hash_never_wins_again),
        cmocka_unit_test(the_oldest_is_forgotten_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
