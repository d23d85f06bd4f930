/* failover/loss: what workers told of a primary that is gone, out of Redis, where anybody may have written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis.h>

#include "base/heap.h"
#include "base/json.h"
#include "failover/loss.h"
#include "mirror/beat_rows.h"

/* ---- doors ---- */

static redisReply *answer; /* of HGETALL workers */

redisReply *redis_sync_call(struct redis_sync *redis, int argc, const char **argv,
                            const size_t *argv_len, struct err *err)
{
    (void)redis;
    (void)argv_len;
    (void)err;
    assert_int_equal(argc, 2);
    assert_string_equal(argv[1], "p:{orders}:workers");
    redisReply *given = answer;
    answer = NULL;
    return given;
}

char *operation_key(const struct operation *op, const char *suffix)
{
    (void)op;
    char *key = NULL;
    assert_true(asprintf(&key, "p:{orders}:%s", suffix) > 0);
    return key;
}

void operation_drop_redis(struct operation *op, const struct err *why)
{
    (void)why;
    op->redis = NULL;
}

json_t *operation_kept(const struct operation *op, const char *step)
{
    (void)op;
    (void)step;
    return NULL;
}

void positions_read(struct positions *out, const struct positions_doors *doors)
{
    (void)doors;
    *out = (struct positions){0};
}

void positions_free(struct positions *positions)
{
    (void)positions;
}

int64_t position_lag(const struct position *position)
{
    (void)position;
    return -1;
}

/* ---- what they told ---- */

static json_t *beat_of(const char *link, int from, int rows_count)
{
    json_t *rows = json_array();
    for (int i = from; i < from + rows_count; i++) {
        json_array_append_new(rows,
                              json_pack("{sssisIsI}", "topic", "t", "partition", i, "seen_end",
                                        (json_int_t)100 + i, "seen_ms", (json_int_t)5000 + i));
    }
    return json_pack("{sssfso}", "link", link, "seen_records_per_s", 10.5, "partitions", rows);
}

/* Adds one worker's heartbeat as it stands there. */
static void tell(const char *name, json_t *take_beat)
{
    answer = answer == NULL ? must(calloc(1, sizeof(*answer))) : answer;
    answer->type = REDIS_REPLY_ARRAY;
    answer->element =
        must(reallocarray(answer->element, answer->elements + 2, sizeof(redisReply *)));
    char *text = json_text(take_beat);
    const char *words[] = {name, text};
    for (int i = 0; i < 2; i++) {
        redisReply *one = must(calloc(1, sizeof(*one)));
        one->type = REDIS_REPLY_STRING;
        one->str = must_copy(words[i]);
        one->len = strlen(words[i]);
        answer->element[answer->elements++] = one;
    }
    free(text);
    json_decref(take_beat);
}

static void what_workers_saw_is_added_up_however_many_partitions_they_have(void **state)
{
    (void)state;
    struct config_site a = {.name = "a"};
    struct config_site b = {.name = "b"};
    struct operation op = {.from = &a, .to = &b, .redis = (struct redis_sync *)&a};
    json_t *many = beat_of("a>b", 1, 200);
    beat_rows_pack(many);
    assert_null(json_object_get(many, "partitions"));
    json_t *half = beat_of("a>b", 500, 200);
    beat_rows_pack(half);
    const char *rows = json_string_value(json_object_get(half, "partitions_zstd"));
    json_object_set_new(half, "partitions_zstd", json_stringn(rows, strlen(rows) / 8 * 4));
    tell("w1", many);
    tell("w2", beat_of("a>b", 0, 1));
    tell("w3", half); /* not whole: not believed */
    tell("w4", beat_of("b>a", 900, 1));
    json_t *seen = loss_seen(&op);
    json_t *ends = json_object_get(seen, "ends");
    assert_int_equal(json_object_size(ends), 201);
    assert_int_equal(json_integer_value(json_object_get(ends, "t:200")), 300);
    assert_int_equal(json_integer_value(json_object_get(seen, "last_seen_ms")), 5200);
    assert_true(json_number_value(json_object_get(seen, "records_per_s")) == 21);
    json_decref(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_workers_saw_is_added_up_however_many_partitions_they_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
