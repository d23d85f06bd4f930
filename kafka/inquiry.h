/* Questions to the brokers of a cluster, side by side, on a loop of their own that stands as long as one call: what a blocking
 * call of this folder is made of. Private to kafka/: attached, log_ends.
 */
#ifndef FERRY_KAFKA_INQUIRY_H
#define FERRY_KAFKA_INQUIRY_H

#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "kafka/admin.h"
#include "kafka/broker_ask.h"

struct inquiry {
    struct admin *admin;
    struct loop *loop;
    struct cluster *cluster;
    struct broker_asks *asks;
    struct loop_timer *timer;
    int32_t waiting; /* answers */
};

/* @param topics  whose leaders are followed; count 0 = none
 * @param admin   names the cluster, its settings and the time limit of each question; borrowed until inquiry_end() */
void inquiry_begin(struct inquiry *inquiry, struct admin *admin, const char *const *topics,
                   size_t count);
void inquiry_end(struct inquiry *inquiry);

/* Let the loop turn for so long: metadata may come. */
void inquiry_rest(struct inquiry *inquiry, int64_t ms);
void inquiry_ask(struct inquiry *inquiry, const struct broker_ask *what);
/* Of a question that is asked on `asks` by other means: its answer is waited for, too. */
void inquiry_expect(struct inquiry *inquiry);
/* Said by each question's answer, once. */
void inquiry_answered(struct inquiry *inquiry);
/* Until all are; each has its own bound. */
void inquiry_wait(struct inquiry *inquiry);

#endif
