/* mirror/record_filter: which records belong, by key and by header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mirror/record_filter.h"
#include "tests/fake/batches.h"

struct judged {
    const struct config_filter *filter;
    enum record_verdict verdict;
};

static bool judge_one(void *arg, const struct record *record)
{
    struct judged *judged = arg;
    judged->verdict = record_filter_judge(judged->filter, record);
    return false;
}

static enum record_verdict judge(const struct config_filter *filter,
                                 const struct fake_record *record)
{
    struct fake_batch spec = {
        .last_offset_delta = -1, .base_timestamp = 1, .records = record, .count = 1};
    struct judged judged = {.filter = filter, .verdict = RECORD_VERDICTS_COUNT};
    struct writer writer;
    struct batch batch;
    struct err err;
    writer_init(&writer);
    fake_batch_write(&writer, &spec);
    assert_int_equal(batch_walk(writer.data, writer.len, &batch, &err), BATCH_WALK_ONE);
    assert_true(batch_each_record(&batch, 0, judge_one, &judged, &err));
    writer_done(&writer);
    return judged.verdict;
}

static enum record_verdict by_key(const struct config_filter *filter, const char *key)
{
    return judge(filter, &(struct fake_record){.key = key, .value = "v"});
}

static void without_a_filter_everything_belongs(void **state)
{
    (void)state;
    assert_int_equal(by_key(NULL, "a"), RECORD_KEPT);
    assert_int_equal(by_key(NULL, NULL), RECORD_KEPT);
}

static void exclude_wins_over_include(void **state)
{
    (void)state;
    struct config_pattern include[] = {{.text = "eu-*"}, {.text = "x?z"}};
    struct config_pattern exclude[] = {{.text = "*-tmp"}};
    const struct config_filter both = {
        .key = {include, 2, exclude, 1}
    };
    const struct config_filter only_exclude = {
        .key = {NULL, 0, exclude, 1}
    };
    assert_int_equal(by_key(&both, "eu-1"), RECORD_KEPT);
    assert_int_equal(by_key(&both, "eu-"), RECORD_KEPT);
    assert_int_equal(by_key(&both, "xyz"), RECORD_KEPT);
    assert_int_equal(by_key(&both, "xz"), RECORD_KEY);
    assert_int_equal(by_key(&both, "us-1"), RECORD_KEY);
    assert_int_equal(by_key(&both, "eu-1-tmp"), RECORD_KEY);
    assert_int_equal(by_key(&both, ""), RECORD_KEY);
    assert_int_equal(by_key(&both, NULL), RECORD_KEY); /* no name to be included by */
    assert_int_equal(by_key(&only_exclude, NULL), RECORD_KEPT);
    assert_int_equal(by_key(&only_exclude, "a"), RECORD_KEPT);
    assert_int_equal(by_key(&only_exclude, "a-tmp"), RECORD_KEY);
}

/* Keys are bytes: a zero does not end them, and 0xff is not a letter. */
static void globs_look_at_bytes(void **state)
{
    (void)state;
    struct config_pattern include[] = {{.text = "a*z"}};
    const struct config_filter filter = {
        .key = {.include = include, .include_count = 1}
    };
    static const char key[] = {'a', 0, (char)0xff, '*', 'z'};
    static const char other[] = {'a', 'z', 0};
    assert_int_equal(judge(&filter, &(struct fake_record){.key = key, .key_len = sizeof(key)}),
                     RECORD_KEPT);
    assert_int_equal(judge(&filter, &(struct fake_record){.key = other, .key_len = sizeof(other)}),
                     RECORD_KEY);
}

static void headers_have_to_pass_one_by_one(void **state)
{
    (void)state;
    struct config_pattern eu[] = {{.text = "eu*"}};
    struct config_pattern test[] = {{.text = "yes"}};
    struct config_header headers[] = {
        {.name = "region", .globs = {.include = eu, .include_count = 1}  },
        {.name = "test",   .globs = {.exclude = test, .exclude_count = 1}},
    };
    const struct config_filter filter = {.headers = headers, .headers_count = 2};
    static const struct fake_header good[] = {
        {"regio",  "us"  },
        {"region", "us"  },
        {"region", "eu-1"},
        {"test",   NULL  },
    };
    static const struct fake_header tested[] = {
        {"region", "eu" },
        {"test",   "yes"},
    };
    static const struct fake_header null_region[] = {
        {"region", NULL},
    };
    assert_int_equal(judge(&filter, &(struct fake_record){.headers = good, .headers_count = 4}),
                     RECORD_KEPT);
    assert_int_equal(judge(&filter, &(struct fake_record){.headers = good, .headers_count = 2}),
                     RECORD_HEADER);
    assert_int_equal(judge(&filter, &(struct fake_record){.headers = tested, .headers_count = 1}),
                     RECORD_KEPT);
    assert_int_equal(judge(&filter, &(struct fake_record){.headers = tested, .headers_count = 2}),
                     RECORD_HEADER);
    assert_int_equal(
        judge(&filter, &(struct fake_record){.headers = null_region, .headers_count = 1}),
        RECORD_HEADER);
    assert_int_equal(judge(&filter, &(struct fake_record){.value = "no headers"}), RECORD_HEADER);
    assert_string_equal(record_verdict_name(RECORD_KEY), "key");
    assert_string_equal(record_verdict_name(RECORD_HEADER), "header");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_filter_everything_belongs),
        cmocka_unit_test(exclude_wins_over_include),
        cmocka_unit_test(globs_look_at_bytes),
        cmocka_unit_test(headers_have_to_pass_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
