#include "cli/watch.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

void watch_run(struct context *context, int64_t every_ms, int64_t times, void (*show)(void *arg),
               void *arg)
{
    const struct timespec nap = {every_ms / 1000, every_ms % 1000 * 1000000L};
    bool clear = isatty(STDOUT_FILENO) != 0 && !context->json;
    for (int64_t round = 0; !ferror(stdout) && (times == 0 || round < times); round++) {
        if (round > 0) {
            fputs(clear || context->json ? "" : "\n", stdout);
            nanosleep(&nap, NULL);
        }
        fputs(clear ? "\033[H\033[2J" : "", stdout);
        show(arg);
        fflush(stdout);
        if (context->source.err.kind != ERR_NONE || context->target.err.kind != ERR_NONE ||
            context->redis_err.kind != ERR_NONE) {
            context_retry(context);
        }
    }
}
