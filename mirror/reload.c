#include "mirror/reload.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define NAMED_MAX 4   /* keys in one sentence; the log has all of them */
#define TOLD_MAX  100 /* keys in the log */

struct told {
    size_t count;
    size_t named_bytes;
    char named[400];
};

static void name_restart(void *arg, const struct config_change *change)
{
    struct told *told = arg;
    size_t room = sizeof(told->named) - told->named_bytes;
    if (!change->restart) {
        return;
    }
    if (told->count++ < NAMED_MAX) {
        int len = snprintf(told->named + told->named_bytes, room, "%s%.90s",
                           told->named_bytes == 0 ? "" : ", ", change->path);
        told->named_bytes += (size_t)len < room ? (size_t)len : room - 1;
    }
    log_warn("config.needs_restart", "key=%s from=%s to=%s", log_quote(change->path).text,
             log_quote(change->before).text, log_quote(change->after).text);
}

struct config *reload_read(const struct config *running, const char *options_worker,
                           const char *options_http, struct err *err)
{
    struct told told = {0};
    struct config *fresh = config_load(running->file, err);
    if (fresh == NULL) {
        return NULL;
    }
    config_override(fresh, options_worker, options_http);
    config_diff(running, fresh, name_restart, &told);
    if (told.count == 0) {
        return fresh;
    }
    err_set(err, ERR_REFUSED, "%s%s changed, and only a restart takes that over", told.named,
            told.count > NAMED_MAX ? " and more" : "");
    err_hint(err, "restart ferryd, or take that change back and reload again");
    config_free(fresh);
    return NULL;
}

static void tell(void *arg, const struct config_change *change)
{
    size_t *count = arg;
    if (++*count <= TOLD_MAX) {
        log_info("config.changed", "key=%s from=%s to=%s", log_quote(change->path).text,
                 log_quote(change->before).text, log_quote(change->after).text);
    }
}

size_t reload_tell(const struct config *before, const struct config *after)
{
    size_t count = 0;
    config_diff(before, after, tell, &count);
    if (count > TOLD_MAX) {
        log_info("config.changed", "more=%zu", count - TOLD_MAX);
    }
    return count;
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

void reload_metrics_init(struct reload_metrics *shown, struct metrics *metrics, int64_t now_ms)
{
    static const char *const labels[] = {"result", NULL};
    struct metric *reloads = metrics_add(metrics, METRIC_COUNTER, "ferry_config_reloads_total",
                                         "Times the configuration was read again.", labels);
    shown->taken = metric_series(reloads, (const char *const[]){"taken"});
    shown->refused = metric_series(reloads, (const char *const[]){"refused"});
    shown->ok =
        metric_series(metrics_add(metrics, METRIC_GAUGE, "ferry_config_last_reload_successful",
                                  "1 when the file that was read last is in force.", NULL),
                      NULL);
    shown->time = metric_series(
        metrics_add(metrics, METRIC_GAUGE, "ferry_config_last_reload_success_timestamp_seconds",
                    "When the configuration in force was read, since the Unix epoch.", NULL),
        NULL);
    series_set(shown->ok, 1);
    series_set(shown->time, (double)now_ms / 1e3);
}

void reload_metrics_show(struct reload_metrics *shown, bool ok, int64_t now_ms)
{
    series_add(ok ? shown->taken : shown->refused, 1);
    series_set(shown->ok, ok ? 1 : 0);
    if (ok) {
        series_set(shown->time, (double)now_ms / 1e3);
    }
}
