/* One partition of the engine: its end, what is told of it, and when that may be. See engine_inside.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "mirror/engine_inside.h"

#define LEADERLESS_MS 3000 /* a leader that moves is away for some hundred milliseconds */

struct task *task_ref(struct task *task)
{
    task->refs_count++;
    return task;
}

void task_unref(struct task *task)
{
    if (--task->refs_count > 0) {
        return;
    }
    partition_done(&task->core);
    free(task->topic);
    free(task);
}

/* --- news: told when nothing flies -------------------------------------------------------------------------------- */

static void tell_news(struct task *task)
{
    struct engine_callbacks *callbacks = &task->engine->callbacks;
    enum task_news news = task->news;
    task->news = NEWS_NONE;
    switch (news) {
    case NEWS_NONE:
        break;
    case NEWS_DOUBT:
        callbacks->doubt(callbacks->arg, task, &task->news_err);
        break;
    case NEWS_FAULT:
        callbacks->fault(callbacks->arg, task, task->news_fault, task->news_from, task->news_to,
                         &task->news_err);
        break;
    case NEWS_DRAINED:
        callbacks->drained(callbacks->arg, task);
        break;
    }
}

void task_look_at_rest(struct task *task)
{
    if (task->flying_count > 0 || task->mode == TASK_GONE) {
        return;
    }
    if (task->news != NEWS_NONE) {
        tell_news(task);
    } else if (task->resume_wanted) {
        task->resume_wanted = false;
        task->run = resume_run_new(task, &task->resume_options);
    }
}

void task_drop(struct task *task)
{
    task->ticket++;
    resume_run_free(task->proof);
    task->proof = NULL;
    partition_drop(&task->core);
}

static void set_news(struct task *task, enum task_news news, const struct err *why)
{
    if (task->mode != TASK_CARRYING && task->mode != TASK_DRAINING) {
        return; /* told already */
    }
    bool draining = task->mode == TASK_DRAINING;
    task_drop(task);
    task->mode = TASK_IDLE;
    task->news =
        draining ? NEWS_DRAINED : news; /* it is not ours any more: the next owner resumes */
    task->news_err = *why;
    task_ref(task);
    task_look_at_rest(task);
    task_unref(task);
}

void task_doubt(struct task *task, const struct err *why)
{
    task->engine->counters.doubts++;
    set_news(task, NEWS_DOUBT, why);
}

void task_fault(struct task *task, enum resume_fault kind, int64_t source_from, int64_t source_to,
                const struct err *why)
{
    task->news_fault = kind;
    task->news_from = source_from;
    task->news_to = source_to;
    set_news(task, NEWS_FAULT, why);
}

void task_look_at_drained(struct task *task)
{
    if (task->mode == TASK_DRAINING && partition_flight_count(&task->core) == 0) {
        struct err none = {0};
        set_news(task, NEWS_DRAINED, &none);
    }
}

void task_landed(struct task *task)
{
    assert(task->flying_count > 0);
    task->flying_count--;
    task_ref(task);
    task_look_at_drained(task);
    task_look_at_rest(task);
    task_unref(task);
}

void task_settle(struct task *task)
{
    struct ack ack;
    if (task->mode == TASK_CARRYING && partition_settle(&task->core, &ack)) {
        task->engine->callbacks.ack(task->engine->callbacks.arg, task, &ack);
    }
}

void task_trouble_is(struct task *task, const char *what)
{
    char shown[sizeof(task->trouble)];
    text_print(shown, sizeof(shown), "%s", what);
    if (strcmp(task->trouble, shown) != 0) {
        memcpy(task->trouble, shown, sizeof(shown));
        if (what[0] != '\0') {
            log_warn("source.trouble", "topic=%s partition=%d why=%s doing=\"asking again\"",
                     task->topic, task->index, log_quote(what).text);
        }
    }
    if (what[0] != '\0') {
        task->hold_until_ms = loop_now_ms(task->engine->loop) + TASK_HOLD_MS;
    }
}

void task_look_leaderless(struct task *task, int32_t leader)
{
    int64_t now_ms = loop_now_ms(task->engine->loop);
    if (leader >= 0) {
        task->leaderless_ms = 0;
        if (strcmp(task->trouble, NO_LEADER("source")) == 0) {
            task_trouble_is(task, "");
        }
    } else if (task->leaderless_ms == 0) {
        task->leaderless_ms = now_ms;
    } else if (now_ms - task->leaderless_ms >= LEADERLESS_MS &&
               cluster_topic(task->engine->source, task->topic) != NULL) {
        task_trouble_is(task, NO_LEADER("source"));
    }
}

/* --- what the link asks ------------------------------------------------------------------------------------------- */

void *task_owner(const struct task *task)
{
    return task->owner;
}
const char *task_topic(const struct task *task)
{
    return task->topic;
}
int32_t task_partition(const struct task *task)
{
    return task->index;
}
int64_t task_id_base(const struct task *task)
{
    return task->id_base;
}
const char *task_trouble(const struct task *task)
{
    return task->trouble;
}
const struct flow *task_flow(const struct task *task)
{
    return &task->flow;
}
bool task_is_slow(const struct task *task)
{
    return task->slow;
}

int64_t task_source_end(const struct task *task, int64_t *out_at_ms)
{
    *out_at_ms = task->source_end_at_ms;
    return task->source_end;
}
