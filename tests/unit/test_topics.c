/* What the keeper says of topics, for people: bounded, and hostile until checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/topics.h"

static json_t *json(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

/* What is printed; wrapped lines are put together again. */
static char *printed(const json_t *report)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    topics_print(out, report);
    fclose(out);
    for (char *at = text; (at = strstr(at, "\n    "));) {
        *at = ' ';
        memmove(at + 1, at + 5, strlen(at + 5) + 1);
    }
    return text;
}

static void the_newest_keeper_is_heard(void **state)
{
    (void)state;
    json_t *workers = json("{\"w1\": {\"time\": \"2025-11-25T03:00:06Z\", \"topics\": {\"a\": 1}},"
                           " \"w2\": {\"time\": \"2025-11-25T03:00:07Z\", \"topics\": {\"a\": 2}},"
                           " \"w3\": {\"time\": \"2025-11-25T03:00:08Z\"},"
                           " \"w4\": {\"time\": \"2025-11-25T03:00:09Z\", \"topics\": []}}");
    assert_int_equal(json_integer_value(json_object_get(topics_report(workers), "a")), 2);
    json_decref(workers);
    assert_null(topics_report(NULL));
    assert_int_equal(topics_count(NULL, "not_mirrored_count"), -1);
}

static void each_kind_is_said_by_name(void **state)
{
    (void)state;
    json_t *report = json(
        "{\"not_mirrored\": [{\"topic\": \"few\", \"why\": \"the target has 3 partitions\"}], "
        "\"not_mirrored_count\": 1, \"source_deleted\": [{\"topic\": \"old\", \"since\": "
        "\"2025-11-25T03:00:06Z\"}], \"source_deleted_count\": 1, \"incomplete\": [{\"topic\": "
        "\"half\", \"why\": \"partitions 2 to 3 are missing\"}], \"incomplete_count\": 1, "
        "\"drift\": [{\"topic\": \"t\", \"setting\": \"retention.ms\", \"source\": \"5\", "
        "\"target\": null, \"why\": \"the target refuses it\"}], \"drift_count\": 1}");
    char *text = printed(report);
    assert_non_null(strstr(text, "topic few is not mirrored: the target has 3 partitions\n"));
    assert_non_null(strstr(text, "topic old was deleted at the source (seen 2025-11-25T03:00:06Z): "
                                 "its copy stays"));
    assert_non_null(strstr(text, "topic half: partitions 2 to 3 are missing\n"));
    assert_non_null(strstr(text, "topic t: retention.ms is 5 at the source, nothing at the target: "
                                 "the target refuses it\n"));
    free(text);
    json_decref(report);
}

static void many_are_counted(void **state)
{
    (void)state;
    json_t *rows = json_array();
    for (int i = 0; i < 50; i++) {
        json_array_append_new(rows, json_pack("{s:s, s:s}", "topic", "t", "why", "w"));
    }
    json_t *report = json_pack("{s:o, s:i}", "not_mirrored", rows, "not_mirrored_count", 5000);
    char *text = printed(report);
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++) {
        lines++;
    }
    assert_int_equal(lines, TOPICS_SHOWN + 1);
    assert_non_null(strstr(text, "and 4992 more topics that are not mirrored\n"));
    free(text);
    json_decref(report);
}

static void what_is_not_of_its_form_breaks_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "{\"drift\": 5, \"drift_count\": \"x\"}",
        "{\"drift\": [1, null, {\"topic\": 4}], \"drift_count\": -7}",
        "{\"not_mirrored\": [{\"topic\": \"a\\u001b[31m\"}], \"not_mirrored_count\": 1}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *report = json(texts[i]);
        char *text = printed(report);
        assert_null(strchr(text, '\033'));
        free(text);
        json_decref(report);
    }
    char *text = printed(NULL);
    assert_string_equal(text, "");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_keeper_is_heard),
        cmocka_unit_test(each_kind_is_said_by_name),
        cmocka_unit_test(many_are_counted),
        cmocka_unit_test(what_is_not_of_its_form_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
