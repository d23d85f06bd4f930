#include "cli/status_operation.h"

#include <stdio.h>
#include <string.h>

#include "cli/beats.h"

#define STEP_MS_MAX 3600000 /* a step that took an hour was waited for by people */

/* "op/ID", and nothing behind it. */
static const char *id_of(const char *key)
{
    return strncmp(key, "op/", 3) == 0 && key[3] != '\0' && strchr(key + 3, '/') == NULL ? key + 3
                                                                                         : NULL;
}

static void take_text(const json_t *record, const char *key, char *out, size_t room)
{
    snprintf(out, room, "%s", beat_text(record, key));
}

bool status_operation_open(const json_t *operations, struct status_operation *out)
{
    const char *key;
    json_t *record;
    bool found = false;
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        const char *id = id_of(key);
        /* Ids begin with the time. */
        if (id == NULL || !json_is_true(json_object_get(record, "open")) ||
            (found && strcmp(id, out->id) <= 0)) {
            continue;
        }
        found = true;
        *out =
            (struct status_operation){.undoing = json_is_true(json_object_get(record, "undoing"))};
        snprintf(out->id, sizeof(out->id), "%s", id);
        take_text(record, "kind", out->kind, sizeof(out->kind));
        take_text(record, "step", out->step, sizeof(out->step));
        take_text(record, "to", out->to, sizeof(out->to));
        take_text(record, "by", out->by, sizeof(out->by));
        take_text(record, "began", out->began, sizeof(out->began));
    }
    return found;
}

/* -1 = none is known. What has no time is no step: the report. */
static int64_t steps_ms(const json_t *operations, const char *id)
{
    char prefix[100];
    const char *key;
    json_t *record;
    int64_t sum = 0;
    int64_t count = 0;
    size_t len = (size_t)snprintf(prefix, sizeof(prefix), "op/%.80s/", id);
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        /* op/ID/STEP; what is longer is a piece of evidence. */
        if (strncmp(key, prefix, len) != 0 || strchr(key + len, '/') != NULL) {
            continue;
        }
        const json_t *ms = json_object_get(record, "ms");
        if (strcmp(beat_text(record, "state"), "done") != 0 || !json_is_integer(ms)) {
            continue;
        }
        if (json_integer_value(ms) < 0 || json_integer_value(ms) > STEP_MS_MAX) {
            return -1;
        }
        sum += json_integer_value(ms);
        count++;
    }
    return count == 0 ? -1 : sum;
}

double status_operation_took(const json_t *operations, const char *to, char out_when[40])
{
    const char *key;
    json_t *record;
    const char *newest = "";
    int64_t took_ms = -1;
    out_when[0] = '\0';
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        const char *id = id_of(key);
        const char *outcome = beat_text(record, "state");
        if (id == NULL || !json_is_false(json_object_get(record, "open")) ||
            strcmp(beat_text(record, "to"), to) != 0 || strcmp(id, newest) <= 0 ||
            (strcmp(outcome, "done") != 0 && strcmp(outcome, "partly") != 0)) {
            continue;
        }
        int64_t ms = steps_ms(operations, id);
        if (ms >= 0) {
            newest = id;
            took_ms = ms;
            take_text(record, "began", out_when, 40);
        }
    }
    return took_ms < 0 ? -1 : (double)took_ms / 1000.0;
}

char *status_operation_command(const struct status_operation *operation, const char *service,
                               char out[STATUS_COMMAND_BYTES])
{
    bool known =
        strcmp(operation->kind, "failover") == 0 || strcmp(operation->kind, "switchover") == 0;
    if (known && operation->to[0] != '\0') {
        snprintf(out, STATUS_COMMAND_BYTES, "ferry %s %.64s --to %.100s", operation->kind, service,
                 operation->to);
    } else {
        snprintf(out, STATUS_COMMAND_BYTES, "ferry status %.64s", service);
    }
    return out;
}
