/* mirror/partition: order, window, what an answer moves and what it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mirror/partition.h"
#include "mirror/recode.h"
#include "tests/fake/batches.h"
#include "tests/fake/model_source.h"

static const struct transfer_limits no_limits = {.max_message_bytes = INT64_MAX,
                                                 .max_timestamp = INT64_MAX};
static const struct partition_bounds wide = {
    .window_bytes = 1 << 20, .queue_bytes = 1 << 20, .window_records = 1 << 20};

struct bench {
    struct model_source source;
    struct partition core;
    struct partition_bounds bounds;
    struct partition_refusal refusal;
    struct ack ack;
    struct err err;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    model_source_init(&bench->source);
    partition_init(&bench->core);
    bench->bounds = wide;
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    partition_done(&bench->core);
    model_source_done(&bench->source);
    free(bench);
    return 0;
}

static void place(struct bench *bench, int64_t source_next, int64_t target_next, int64_t sequence)
{
    const struct checkpoint at = {.source_next = source_next,
                                  .target_next = target_next,
                                  .sequence_next = sequence,
                                  .leader_epoch = -1};
    partition_place(&bench->core, &at, false);
}

static enum partition_took take(struct bench *bench, int64_t from, int32_t batches)
{
    struct fetch_partition fetched;
    struct buf *block;
    assert_true(model_source_fetch(&bench->source, from, batches, &fetched, &block));
    enum partition_took took = partition_take(&bench->core, &fetched, block, &no_limits,
                                              &bench->bounds, &bench->refusal, &bench->err);
    free(fetched.aborted);
    buf_unref(block);
    return took;
}

static struct parcel *send_next(struct bench *bench)
{
    struct parcel *parcel = partition_peek(&bench->core, &wide);
    assert_non_null(parcel);
    partition_sent(&bench->core, 1);
    return parcel;
}

static enum partition_answered answer(struct bench *bench, int16_t error, int64_t offset)
{
    return partition_answer(&bench->core, error, offset, &bench->ack, &bench->err);
}

static void another_base_offset_moves_nothing(void **state)
{
    struct bench *bench = *state;
    model_source_append(&bench->source, 3, -1, false);
    place(bench, 0, 100, 0);
    assert_int_equal(take(bench, 0, 5), TOOK_OK);
    send_next(bench);
    assert_int_equal(answer(bench, 0, 101), ANSWERED_DOUBT);
    assert_int_equal(bench->core.at.source_next, 0);
    assert_int_equal(bench->core.at.target_next, 100);
    partition_drop(&bench->core);
    assert_int_equal(partition_flight_count(&bench->core), 0);
    assert_int_equal(partition_queued_count(&bench->core), 0);
}

static void errors_are_doubt_or_refusal(void **state)
{
    struct bench *bench = *state;
    const struct {
        int16_t error;
        enum partition_answered answered;
    } rows[] = {
        {KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER,     ANSWERED_DOUBT  },
        {KAFKA_REQUEST_TIMED_OUT,                ANSWERED_DOUBT  },
        {KAFKA_NOT_LEADER_OR_FOLLOWER,           ANSWERED_DOUBT  },
        {KAFKA_UNKNOWN_TOPIC_OR_PARTITION,       ANSWERED_DOUBT  },
        {KAFKA_NOT_ENOUGH_REPLICAS,              ANSWERED_DOUBT  },
        {KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ANSWERED_DOUBT  },
        {KAFKA_UNKNOWN_SERVER_ERROR,             ANSWERED_DOUBT  },
        {12345,                                  ANSWERED_DOUBT  },
        {KAFKA_MESSAGE_TOO_LARGE,                ANSWERED_REFUSED},
        {KAFKA_INVALID_RECORD,                   ANSWERED_REFUSED},
        {KAFKA_INVALID_TIMESTAMP,                ANSWERED_REFUSED},
    };
    model_source_append(&bench->source, 3, -1, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        place(bench, 0, 0, 0);
        assert_int_equal(take(bench, 0, 5), TOOK_OK);
        send_next(bench);
        assert_int_equal(answer(bench, rows[i].error, 0), rows[i].answered);
        assert_int_equal(bench->core.at.source_next, 0);
        partition_drop(&bench->core);
    }
}

static void offsets_that_go_back_are_refused(void **state)
{
    struct bench *bench = *state;
    struct writer writer;
    writer_init(&writer);
    fake_batch_plain(&writer, 10, 3, 4, CODEC_NONE);
    fake_batch_plain(&writer, 12, 3, 4, CODEC_NONE);
    struct buf *block = writer_take(&writer);
    struct fetch_partition fetched = {.records = block->data, .records_len = block->len};
    place(bench, 10, 0, 0);
    assert_int_equal(partition_take(&bench->core, &fetched, block, &no_limits, &bench->bounds,
                                    &bench->refusal, &bench->err),
                     TOOK_BACK);
    assert_int_equal(partition_queued_count(&bench->core),
                     1); /* what stood before it is in order */
    buf_unref(block);
}

static void bytes_that_no_broker_sends_are_refused(void **state)
{
    struct bench *bench = *state;
    struct writer writer;
    writer_init(&writer);
    fake_batch_plain(&writer, 0, 3, 4, CODEC_NONE);
    writer.data[16] = 9; /* magic */
    struct buf *block = writer_take(&writer);
    struct fetch_partition fetched = {.records = block->data, .records_len = block->len};
    place(bench, 0, 0, 0);
    assert_int_equal(partition_take(&bench->core, &fetched, block, &no_limits, &bench->bounds,
                                    &bench->refusal, &bench->err),
                     TOOK_BAD);
    buf_unref(block);
}

static void a_batch_that_may_not_pass_stops_behind_the_others(void **state)
{
    struct bench *bench = *state;
    model_source_append(&bench->source, 2, -1, false);
    model_source_append(&bench->source, 3, -1, false);
    model_source_append(&bench->source, 2, -1, false);
    model_source_compact(&bench->source, 1, false, false, 1);
    place(bench, 0, 0, 0);
    assert_int_equal(take(bench, 0, 5), TOOK_REFUSED);
    assert_int_equal(bench->refusal.verdict, BATCH_INNER_HOLES);
    assert_int_equal(bench->refusal.source_first, 2);
    assert_int_equal(bench->refusal.source_next, 5);
    assert_int_equal(partition_queued_count(&bench->core), 1);
    assert_int_equal(bench->core.fetch_next, 2);
}

/* Before the first answer a later batch could be taken without the one before it. */
static void one_flies_until_the_first_answer(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < 4; i++) {
        model_source_append(&bench->source, 2, -1, false);
    }
    place(bench, 0, 0, 0);
    assert_int_equal(take(bench, 0, 9), TOOK_OK);
    send_next(bench);
    assert_null(partition_peek(&bench->core, &wide));
    assert_int_equal(answer(bench, 0, 0), ANSWERED_ADVANCED);
    send_next(bench);
    send_next(bench);
    assert_int_equal(partition_flight_count(&bench->core), 2);
    assert_int_equal(answer(bench, 0, 2), ANSWERED_ADVANCED);
    assert_int_equal(answer(bench, 0, 4), ANSWERED_ADVANCED);
    partition_reopen(&bench->core); /* another connection */
    send_next(bench);
    assert_null(partition_peek(&bench->core, &wide));
}

static void the_window_bounds_what_flies_and_what_is_fetched(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < 8; i++) {
        model_source_append(&bench->source, 2, -1, false);
    }
    place(bench, 0, 0, 0);
    struct partition_bounds bounds = {
        .window_bytes = 1, .queue_bytes = 1 << 20, .window_records = 1 << 20};
    const struct partition_bounds short_queue = {.window_bytes = 1 << 20, .queue_bytes = 1};
    assert_true(partition_wants(&bench->core, &bounds));
    assert_int_equal(take(bench, 0, 9), TOOK_OK);
    assert_false(partition_wants(&bench->core, &bounds));
    assert_true(partition_wants(&bench->core, &wide));
    assert_false(partition_wants(&bench->core, &short_queue));
    send_next(bench);
    assert_int_equal(answer(bench, 0, 0), ANSWERED_ADVANCED);
    assert_non_null(partition_peek(&bench->core, &bounds));
    partition_sent(&bench->core, 2);
    assert_null(partition_peek(&bench->core, &bounds));
    assert_non_null(partition_peek(&bench->core, &wide));
}

static void sequences_count_records_and_offsets_do_not(void **state)
{
    struct bench *bench = *state;
    struct model_source *source = &bench->source;
    model_source_append(source, 2, -1, false);      /* 0, 1 */
    model_source_append(source, 3, 0, false);       /* 2..4, aborted */
    model_source_end_transaction(source, 0, false); /* 5 */
    model_source_append(source, 1, 1, false);       /* 6 */
    model_source_end_transaction(source, 1, true);  /* 7 */
    place(bench, 0, 40, 0x7fffffff - 1);
    assert_int_equal(take(bench, 0, 9), TOOK_OK);
    const struct parcel *parcel = send_next(bench);
    assert_int_equal(parcel->sequence, 0x7fffffff - 1);
    assert_int_equal(parcel->target_first, 40);
    assert_int_equal(answer(bench, 0, 40), ANSWERED_ADVANCED);
    parcel = send_next(bench);
    assert_int_equal(parcel->source_first, 6);
    assert_int_equal(parcel->sequence, (int64_t)0x7fffffff + 1); /* 64 bits go on */
    assert_int_equal(parcel->target_first, 42);
    assert_int_equal(answer(bench, 0, 42), ANSWERED_ADVANCED);
    assert_int_equal(bench->ack.run.source_first, 6);
    assert_int_equal(bench->ack.run.target_first, 42);
    assert_int_equal(bench->ack.run.length, 1);
    assert_int_equal(bench->ack.at.source_next, 7);
    assert_int_equal(bench->ack.at.sequence_next, (int64_t)0x7fffffff + 2);
    assert_true(partition_settle(&bench->core, &bench->ack)); /* over the marker */
    assert_int_equal(bench->ack.run.length, 0);
    assert_int_equal(bench->core.at.source_next, 8);
    assert_int_equal(bench->core.at.target_next, 43);
    assert_false(partition_settle(&bench->core, &bench->ack));
}

static void a_hole_is_not_settled_while_something_is_in_the_window(void **state)
{
    struct bench *bench = *state;
    model_source_append(&bench->source, 2, -1, false);
    model_source_append(&bench->source, 1, 0, false);
    model_source_end_transaction(&bench->source, 0, false);
    place(bench, 0, 0, 0);
    assert_int_equal(take(bench, 0, 9), TOOK_OK);
    assert_false(partition_settle(&bench->core, &bench->ack));
    send_next(bench);
    assert_false(partition_settle(&bench->core, &bench->ack));
    assert_int_equal(answer(bench, 0, 0), ANSWERED_ADVANCED);
    assert_true(partition_settle(&bench->core, &bench->ack));
    assert_int_equal(bench->core.at.source_next, 4);
}

/* Indices wrap, the ring grows while it is not at its beginning. */
/* Batches of 3, 3 (which compaction takes), 2, 2 and 2 records, behind a resume. */
static void take_with_a_hole(struct bench *bench, int64_t unsure_records)
{
    const int32_t counts[] = {3, 3, 2, 2, 2};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        model_source_append(&bench->source, counts[i], -1, false);
    }
    model_source_compact(&bench->source, 1, true, false, 0);
    bench->core.unsure_records = unsure_records;
    place(bench, 0, 100, 0);
    assert_int_equal(take(bench, 0, 9), TOOK_OK);
}

/* As the target holds it. */
static struct batch at_target(const struct parcel *parcel)
{
    struct batch batch;
    struct err err;
    assert_int_equal(batch_walk(parcel->data, parcel->len, &batch, &err), BATCH_WALK_ONE);
    batch.base_offset = parcel->target_first;
    return batch;
}

static void behind_a_hole_it_counts_when_it_was_read_back(void **state)
{
    struct bench *bench = *state;
    take_with_a_hole(bench, 6);
    assert_false(send_next(bench)->read_back); /* all readers counted so far alike */
    assert_int_equal(answer(bench, 0, 100), ANSWERED_ADVANCED);
    struct parcel *parcel = send_next(bench);
    assert_true(parcel->read_back);
    parcel_release(parcel);
    assert_null(partition_peek(&bench->core, &wide)); /* it flies alone */
    assert_int_equal(answer(bench, 0, 103), ANSWERED_UNPROVEN);
    assert_null(partition_peek(&bench->core, &wide));
    assert_int_equal(bench->core.at.source_next, 3);
    struct batch found = at_target(parcel);
    assert_true(partition_same(&bench->core, &found, &bench->err));
    partition_proven(&bench->core, &bench->ack);
    assert_int_equal(bench->ack.run.source_first, 6);
    assert_int_equal(bench->core.at.source_next, 8);
    /* What a dead worker can have sent ends with sequence 5: this one begins there. */
    assert_true(send_next(bench)->read_back);
    assert_int_equal(answer(bench, 0, 105), ANSWERED_UNPROVEN);
    partition_proven(&bench->core, &bench->ack);
    assert_false(send_next(bench)->read_back);
    assert_int_equal(answer(bench, 0, 107), ANSWERED_ADVANCED);
    assert_int_equal(bench->core.at.source_next, 12);
}

static void empty_offsets_are_passed_with_the_next_record(void **state)
{
    struct bench *bench = *state;
    bench->core.unsure_records = 6;
    model_source_append(&bench->source, 3, -1, false);
    model_source_append(&bench->source, 2, -1, false);
    model_source_append(&bench->source, 2, -1, false);
    model_source_compact(&bench->source, 1, true, true, 0);
    place(bench, 0, 100, 0);
    assert_int_equal(take(bench, 0, 2), TOOK_OK);
    send_next(bench);
    assert_int_equal(answer(bench, 0, 100), ANSWERED_ADVANCED);
    assert_false(partition_settle(&bench->core, &bench->ack));
    assert_int_equal(bench->core.at.source_next, 3);
    partition_sure(&bench->core);
    assert_true(partition_settle(&bench->core, &bench->ack));
    assert_int_equal(bench->core.at.source_next, 5);
    place(bench, 0, 100, 0);
    assert_int_equal(take(bench, 0, 3), TOOK_OK); /* the record behind them, too */
    send_next(bench);
    assert_int_equal(answer(bench, 0, 100), ANSWERED_ADVANCED);
    send_next(bench);
    assert_int_equal(answer(bench, 0, 103), ANSWERED_UNPROVEN);
    partition_proven(&bench->core, &bench->ack);
    assert_int_equal(bench->core.at.source_next, 7);
}

static void another_batch_in_its_place_is_told(void **state)
{
    struct bench *bench = *state;
    take_with_a_hole(bench, 100);
    send_next(bench);
    assert_int_equal(answer(bench, 0, 100), ANSWERED_ADVANCED);
    send_next(bench);
    const struct parcel *next = partition_oldest(&bench->core) + 1; /* as many records */
    assert_int_equal(answer(bench, 0, 103), ANSWERED_UNPROVEN);
    struct batch other = at_target(next);
    other.base_offset = 103;
    assert_false(partition_same(&bench->core, &other, &bench->err));
    assert_non_null(strstr(bench->err.what, "target offset 103 holds other records"));
    assert_non_null(strstr(bench->err.what, "source offsets 6..7"));
    partition_drop(&bench->core);
}

static void nothing_is_read_back_without_holes_or_of_ids_that_nobody_had(void **state)
{
    struct bench *bench = *state;
    take_with_a_hole(bench, 0);
    for (int64_t at = 100; at < 109; at = bench->core.at.target_next) {
        assert_false(send_next(bench)->read_back);
        assert_int_equal(answer(bench, 0, at), ANSWERED_ADVANCED);
    }
    bench->core.unsure_records = 100;
    model_source_append(&bench->source, 2, -1, false);
    place(bench, 12, 109, 9);
    assert_int_equal(take(bench, 12, 9), TOOK_OK);
    assert_false(send_next(bench)->read_back);
    partition_drop(&bench->core);
    partition_place(&bench->core, &bench->core.at, true); /* the stretch before had some */
    assert_int_equal(take(bench, 12, 9), TOOK_OK);
    assert_true(send_next(bench)->read_back);
    partition_drop(&bench->core);
}

static void the_ring_grows_in_any_state(void **state)
{
    struct bench *bench = *state;
    struct partition *core = &bench->core;
    core->head = core->next = core->tail = UINT32_MAX - 20;
    for (int i = 0; i < 300; i++) {
        model_source_append(&bench->source, 1, -1, false);
    }
    place(bench, 0, 0, 0);
    int64_t acked = 0;
    int64_t sent = 0;
    for (int round = 0; acked < 300; round++) {
        if (core->fetch_next < 300) {
            assert_int_equal(take(bench, core->fetch_next, 17), TOOK_OK);
        }
        for (int i = 0; i < 7 && sent < core->fetch_next && (core->opened || sent == acked); i++) {
            assert_int_equal(send_next(bench)->source_first, sent);
            sent++;
        }
        for (int i = 0; i < 6 && acked < sent; i++) {
            assert_int_equal(answer(bench, 0, acked), ANSWERED_ADVANCED);
            acked++;
            assert_int_equal(core->at.source_next, acked);
        }
    }
    assert_int_equal(core->flight_bytes + core->queued_bytes, 0);
    assert_int_equal(partition_oldest_sent_ms(core), -1);
}

/* --- re-encoding -------------------------------------------------------------------------------------------------- */

static struct recode *with_recode(struct bench *bench, int64_t window_bytes, bool merge)
{
    const struct recode_options options = {.plain_bytes_max = 1 << 20, .merge = merge};
    bench->bounds.window_bytes = window_bytes;
    bench->core.recode = recode_new(&options);
    return bench->core.recode;
}

static void without_recode(struct bench *bench)
{
    partition_drop(&bench->core);
    recode_free(bench->core.recode);
    bench->core.recode = NULL;
}

static void holes_are_told_run_by_run_and_the_position_moves_once(void **state)
{
    struct bench *bench = *state;
    with_recode(bench, 1 << 20, false);
    model_source_append(&bench->source, 4, -1, false);
    model_source_append(&bench->source, 2, -1, false);
    model_source_compact(&bench->source, 0, false, true, 1);
    place(bench, 0, 50, 7);
    assert_int_equal(take(bench, 0, 5), TOOK_OK);
    assert_int_equal(partition_queued_count(&bench->core), 2);
    struct parcel *parcel = send_next(bench);
    assert_int_equal(parcel->count, 3);
    assert_int_equal(parcel->sequence, 7);
    assert_int_equal(parcel->source_next, 4);
    assert_int_equal(answer(bench, 0, 50), ANSWERED_ADVANCED);
    assert_int_equal(bench->ack.run.source_first, 0);
    assert_int_equal(bench->ack.run.length, 1);
    assert_false(bench->ack.last);
    assert_true(partition_more(&bench->core, &bench->ack));
    assert_int_equal(bench->ack.run.source_first, 2);
    assert_int_equal(bench->ack.run.target_first, 51);
    assert_int_equal(bench->ack.run.length, 2);
    assert_true(bench->ack.last);
    assert_int_equal(bench->ack.at.source_next, 4);
    assert_int_equal(bench->ack.at.target_next, 53);
    assert_int_equal(bench->ack.at.sequence_next, 10);
    assert_false(partition_more(&bench->core, &bench->ack));
    send_next(bench); /* the other batch stands behind it */
    assert_int_equal(answer(bench, 0, 53), ANSWERED_ADVANCED);
    assert_int_equal(bench->ack.run.source_first, 4);
    assert_true(bench->ack.last);
    assert_int_equal(bench->core.flight_bytes, 0);
    without_recode(bench);
}

static void enough_small_neighbours_become_one(void **state)
{
    struct bench *bench = *state;
    with_recode(bench, 1 << 20, true);
    for (int i = 0; i < 8; i++) {
        model_source_append(&bench->source, 2, -1, false);
    }
    place(bench, 0, 0, 0);
    assert_int_equal(take(bench, 0, 3), TOOK_OK);
    assert_int_equal(partition_queued_count(&bench->core), 3); /* too few to be worth it */
    assert_null(partition_peek(&bench->core, &wide)->runs);
    assert_int_equal(take(bench, 6, 5), TOOK_OK);
    assert_int_equal(partition_queued_count(&bench->core), 4);
    assert_int_equal(bench->core.fetch_next, 16);
    assert_int_equal(bench->core.sequence_tail, 16);
    without_recode(bench);
}

static void markers_between_them_are_a_hole_in_the_map(void **state)
{
    struct bench *bench = *state;
    with_recode(bench, 1 << 20, true);
    for (int i = 0; i < 4; i++) {
        model_source_append(&bench->source, 1, 0, false);
        model_source_end_transaction(&bench->source, 0, i != 2);
    }
    place(bench, 0, 0, 0);
    model_source_append(&bench->source, 1, -1, false);
    assert_int_equal(take(bench, 0, 20), TOOK_OK);
    assert_int_equal(partition_queued_count(&bench->core), 1);
    struct parcel *parcel = send_next(bench);
    assert_int_equal(parcel->count, 4); /* the third was aborted */
    assert_int_equal(parcel->runs_count, 4);
    assert_int_equal(parcel->runs[2].source_first, 6);
    assert_int_equal(answer(bench, 0, 0), ANSWERED_ADVANCED);
    while (partition_more(&bench->core, &bench->ack)) {
    }
    assert_int_equal(bench->core.at.source_next, 9);
    without_recode(bench);
}

static void beyond_the_window_nothing_more_is_re_encoded(void **state)
{
    struct bench *bench = *state;
    with_recode(bench, 10, false);
    for (int i = 0; i < 4; i++) {
        model_source_append(&bench->source, 3, -1, false);
        model_source_compact(&bench->source, i, false, true, 1);
        bench->source.epoch++; /* which keeps neighbours apart */
    }
    place(bench, 0, 0, 0);
    assert_int_equal(take(bench, 0, 5), TOOK_OK);
    assert_true(partition_queued_count(&bench->core) < 3);
    int64_t stopped = bench->core.fetch_next;
    assert_true(stopped < 9);
    assert_int_equal(take(bench, stopped, 5), TOOK_OK);
    assert_int_equal(bench->core.fetch_next, stopped);
    bench->bounds.window_bytes = 1 << 20; /* the configuration was read again: it counts at once */
    assert_true(partition_wants(&bench->core, &bench->bounds));
    assert_int_equal(take(bench, stopped, 1), TOOK_OK);
    assert_true(bench->core.fetch_next > stopped);
    stopped = bench->core.fetch_next;
    bench->bounds.window_bytes = 10;
    while (partition_peek(&bench->core, &wide) != NULL) {
        int64_t at = bench->core.at.target_next;
        send_next(bench);
        assert_int_equal(answer(bench, 0, at), ANSWERED_ADVANCED);
        while (partition_more(&bench->core, &bench->ack)) {
        }
    }
    assert_int_equal(bench->core.at.source_next, stopped);
    assert_int_equal(take(bench, stopped, 5), TOOK_OK);
    assert_true(bench->core.fetch_next > stopped);
    without_recode(bench);
}

static void a_position_inside_a_batch_takes_the_rest_of_it(void **state)
{
    struct bench *bench = *state;
    with_recode(bench, 1 << 20, false);
    model_source_append(&bench->source, 4, -1, false);
    place(bench, 3, 10, 3);
    assert_int_equal(take(bench, 3, 5), TOOK_OK);
    struct parcel *parcel = send_next(bench);
    assert_int_equal(parcel->count, 1);
    assert_int_equal(parcel->source_first, 3);
    assert_int_equal(parcel->source_next, 4);
    without_recode(bench);
}

static void a_broken_neighbour_is_refused_behind_what_is_good(void **state)
{
    struct bench *bench = *state;
    with_recode(bench, 1 << 20, true);
    for (int i = 0; i < 6; i++) {
        model_source_append(&bench->source, 2, -1, false);
    }
    bench->source.batches[4].data[bench->source.batches[4].len - 2] ^= 8;
    place(bench, 0, 0, 0);
    assert_int_equal(take(bench, 0, 20), TOOK_REFUSED);
    assert_int_equal(bench->refusal.verdict, BATCH_CORRUPT);
    assert_int_equal(bench->refusal.source_first, 8);
    assert_int_equal(bench->refusal.source_next, 10);
    assert_int_equal(bench->core.fetch_next, 8);
    assert_int_equal(partition_queued_count(&bench->core), 1);
    assert_int_equal(partition_peek(&bench->core, &wide)->count, 8);
    without_recode(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holes_are_told_run_by_run_and_the_position_moves_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(enough_small_neighbours_become_one, setup, teardown),
        cmocka_unit_test_setup_teardown(markers_between_them_are_a_hole_in_the_map, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(beyond_the_window_nothing_more_is_re_encoded, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_position_inside_a_batch_takes_the_rest_of_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_broken_neighbour_is_refused_behind_what_is_good, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_base_offset_moves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_are_doubt_or_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_that_go_back_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_that_no_broker_sends_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_may_not_pass_stops_behind_the_others, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_flies_until_the_first_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(the_window_bounds_what_flies_and_what_is_fetched, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sequences_count_records_and_offsets_do_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_hole_is_not_settled_while_something_is_in_the_window,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(behind_a_hole_it_counts_when_it_was_read_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(empty_offsets_are_passed_with_the_next_record, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_batch_in_its_place_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(
            nothing_is_read_back_without_holes_or_of_ids_that_nobody_had, setup, teardown),
        cmocka_unit_test_setup_teardown(the_ring_grows_in_any_state, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
