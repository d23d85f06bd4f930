#include "kafka/inquiry.h"

#include "kafka/admin_inside.h"

#define ANSWER_BYTES_MAX    (16 << 20) /* a group of 10,000 members with 1 KiB each */
#define REFRESH_MS          500
#define TCP_USER_TIMEOUT_MS 3000

static void stop(void *arg)
{
    loop_stop(((struct inquiry *)arg)->loop);
}

void inquiry_begin(struct inquiry *inquiry, struct admin *admin, const char *const *topics,
                   size_t count)
{
    const struct cluster_options options = {.name = admin->site,
                                            .client = admin->settings,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX};
    const struct broker_asks_options asks = {.wait_ms = admin->timeout_ms,
                                             .request_ms = admin->timeout_ms};
    static const char *const none[] = {NULL};
    *inquiry = (struct inquiry){.admin = admin, .loop = loop_new(clock_system())};
    inquiry->cluster = cluster_new(inquiry->loop, &options);
    cluster_follow(inquiry->cluster, count == 0 ? none : topics, (int32_t)count);
    inquiry->asks = broker_asks_new(inquiry->loop, inquiry->cluster, &asks);
    inquiry->timer = loop_timer_new(inquiry->loop, stop, inquiry);
}

void inquiry_end(struct inquiry *inquiry)
{
    loop_timer_free(inquiry->timer);
    broker_asks_free(inquiry->asks);
    cluster_free(inquiry->cluster);
    loop_free(inquiry->loop);
}

void inquiry_rest(struct inquiry *inquiry, int64_t ms)
{
    loop_timer_set(inquiry->timer, ms);
    loop_run(inquiry->loop);
}

void inquiry_expect(struct inquiry *inquiry)
{
    inquiry->waiting++;
}

void inquiry_ask(struct inquiry *inquiry, const struct broker_ask *what)
{
    inquiry_expect(inquiry);
    broker_ask(inquiry->asks, what);
}

void inquiry_answered(struct inquiry *inquiry)
{
    if (--inquiry->waiting == 0) {
        loop_stop(inquiry->loop);
    }
}

void inquiry_wait(struct inquiry *inquiry)
{
    if (inquiry->waiting > 0) {
        loop_timer_cancel(inquiry->timer);
        loop_run(inquiry->loop);
    }
}
