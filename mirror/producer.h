/* Under which producer id a partition's batches go, and for how long under this one. Pure.
 *
 * Over the path `records` ids are given out by the target: a sequence of one begins at 0, and says which record it means as
 * long as nobody counts anew. Under one id the broker refuses what does not follow, and answers what it has with success:
 * so an id is kept through everything that says nothing of it, and never through what makes a sequence mean another record.
 */
#ifndef FERRY_MIRROR_PRODUCER_H
#define FERRY_MIRROR_PRODUCER_H

#include <stdbool.h>
#include <stdint.h>

#include "mirror/partition.h"
#include "mirror/resume.h"
#include "offsets/checkpoint.h"

struct producer {
    int64_t id;             /* BATCH_NO_PRODUCER = nobody's */
    int64_t sequence_first; /* of the partition's counter, what is 0 under that id */
    int32_t generation;     /* that it was given for */
    int32_t source_epoch;   /* of the source's leader then; -1 = unknown */
    int64_t sequence_sent;  /* of the partition's counter, behind all that was sent under it */
    int64_t run_first;      /* of that, from here on no offset of the source is missing */
    int64_t run_apart;      /* source offset less sequence, there */
    bool spent;             /* another one for the next start */
};

void producer_init(struct producer *producer);
/* Batches from here on go under it. */
void producer_give(struct producer *producer, int64_t id, const struct checkpoint *at,
                   int32_t source_epoch);
/* May a partition go on under the id that it has? Not from another leader of the source: that one may have lost records, and
 * have others in their places; of those that are on their way or not replicated yet no resume knows. */
bool producer_goes_on(const struct producer *producer, const struct checkpoint *at,
                      int32_t source_epoch);
/* Its partition's next batch goes out now. */
void producer_sent(struct producer *producer, const struct parcel *parcel);
/* Is what goes out next new, or sure to be what its sequence meant before? Compaction takes records out between two readings: a
 * batch of others with equal bounds would be answered as a repeat, and be lost. */
bool producer_same_again(const struct producer *producer, const struct parcel *next);
/* A batch that should have come to `expected` was answered otherwise: does that contradict its sequence? */
void producer_doubted(struct producer *producer, int16_t error, int64_t base_offset,
                      int64_t expected);
/* A resume found a position: is its sequence still counted as before? */
void producer_resumed(struct producer *producer, const struct resume_event *event);

#endif
