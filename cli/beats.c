#include "cli/beats.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/context.h"
#include "mirror/beat_rows.h"

/* A heartbeat comes each second. One whose time differs by more from ours is watched: the other host's clock may be
 * wrong. One that differs by more than ten minutes is of a worker that is gone. */
#define FRESH_MS  5000
#define GONE_MS   600000
#define RECENT_MS 86400000

json_t *beats_read(struct context *context, struct err *err)
{
    json_t *all = context_service_hash(context, "workers", err);
    const char *name;
    void *next;
    json_t *worker;
    json_object_foreach_safe(all, next, name, worker)
    {
        if (!beat_rows_unpack(worker)) {
            json_object_del(all, name);
        }
    }
    return all;
}

int64_t beat_ms(const json_t *worker)
{
    const char *text = json_string_value(json_object_get(worker, "time"));
    struct tm utc = {0};
    const char *rest = text == NULL ? NULL : strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL || (*rest != 'Z' && *rest != '.')) {
        return -1;
    }
    int64_t seconds = timegm(&utc);
    return seconds < 0 || seconds > INT64_MAX / 1000 ? -1 : seconds * 1000;
}

bool beat_of_link(const json_t *worker, const char *from, const char *to)
{
    char link[300];
    snprintf(link, sizeof(link), "%s>%s", from, to);
    return strcmp(beat_text(worker, "link"), link) == 0;
}

bool beat_in_doubt(const json_t *worker, int64_t now_ms)
{
    int64_t age_ms = now_ms - beat_ms(worker);
    age_ms = age_ms < 0 ? -age_ms : age_ms;
    return age_ms > FRESH_MS && age_ms < GONE_MS;
}

bool beat_alive(const json_t *worker, const json_t *before, int64_t now_ms)
{
    int64_t at_ms = beat_ms(worker);
    int64_t age_ms = now_ms - at_ms;
    bool moved = before != NULL && beat_ms(before) != at_ms;
    return moved || (at_ms >= 0 && age_ms <= FRESH_MS && age_ms >= -FRESH_MS);
}

bool beat_recent(const json_t *worker, int64_t now_ms)
{
    return now_ms - beat_ms(worker) < RECENT_MS;
}

const char *beat_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

double beat_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double number = json_is_number(value) ? json_number_value(value) : -1;
    return number >= 0 ? number : -1;
}
