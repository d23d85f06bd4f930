#include "mirror/producer.h"

#include "kafka/error.h"

void producer_init(struct producer *producer)
{
    *producer = (struct producer){.id = BATCH_NO_PRODUCER};
}

void producer_give(struct producer *producer, int64_t id, const struct checkpoint *at,
                   int32_t source_epoch)
{
    *producer = (struct producer){.id = id,
                                  .sequence_first = at->sequence_next,
                                  .sequence_sent = at->sequence_next,
                                  .run_first = at->sequence_next,
                                  .run_apart = at->source_next - at->sequence_next,
                                  .generation = at->generation,
                                  .source_epoch = source_epoch};
}

bool producer_goes_on(const struct producer *producer, const struct checkpoint *at,
                      int32_t source_epoch)
{
    return producer->id > BATCH_NO_PRODUCER && !producer->spent &&
           producer->source_epoch == source_epoch && producer->generation == at->generation &&
           at->sequence_next >= producer->sequence_first;
}

static bool is_run(const struct parcel *parcel)
{
    return parcel->runs == NULL && parcel->source_next - parcel->source_first == parcel->count;
}

static bool goes_on_with_run(const struct producer *producer, const struct parcel *parcel)
{
    return is_run(parcel) && parcel->source_first - parcel->sequence == producer->run_apart;
}

void producer_sent(struct producer *producer, const struct parcel *parcel)
{
    int64_t behind = parcel->sequence + parcel->count;
    if (!goes_on_with_run(producer, parcel)) {
        producer->run_first = is_run(parcel) ? parcel->sequence : behind;
        producer->run_apart = parcel->source_next - behind;
    }
    if (behind > producer->sequence_sent) {
        producer->sequence_sent = behind;
    }
}

bool producer_same_again(const struct producer *producer, const struct parcel *next)
{
    bool again = next->sequence >= producer->run_first && goes_on_with_run(producer, next);
    return again || producer->id == BATCH_NO_PRODUCER || next->sequence >= producer->sequence_sent;
}

/* The broker says nothing of what it knows of the id. */
static bool about_the_way(int16_t error)
{
    return kafka_error_info(error)->leader_moved || error == KAFKA_REQUEST_TIMED_OUT ||
           error == KAFKA_NOT_ENOUGH_REPLICAS || error == KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND ||
           error == KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

void producer_doubted(struct producer *producer, int16_t error, int64_t base_offset,
                      int64_t expected)
{
    /* Others' records stand before it: its own sequence was taken. Before that place it would be a repeat of another. */
    bool further_on = error == KAFKA_NONE && base_offset > expected;
    producer->spent = producer->spent || !(further_on || about_the_way(error));
}

void producer_resumed(struct producer *producer, const struct resume_event *event)
{
    bool counted_anew = event->target_truncated || event->source_truncated ||
                        (event->without_checkpoint && !event->began);
    producer->spent = producer->spent || counted_anew;
}
