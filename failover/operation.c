#include "failover/operation.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "failover/journal.h"

const char *operation_kind_name(enum operation_kind kind)
{
    return kind == OPERATION_SWITCHOVER ? "switchover" : "failover";
}

int32_t operation_left_ms(const struct operation *op)
{
    int64_t left = op->until_ms - clock_now_ms(op->clock);
    return left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : (int32_t)left;
}

static volatile sig_atomic_t interrupted;

void operation_interrupt(void)
{
    interrupted = 1;
}

bool operation_interrupted(void)
{
    return interrupted != 0;
}

char *operation_typed(const struct operation *op, char out[OPERATION_TYPED_BYTES])
{
    bool several = op->service->others_count > 1;
    snprintf(out, OPERATION_TYPED_BYTES, "%.70s%s%.70s", op->service->name, several ? " --to " : "",
             several ? op->to->name : "");
    return out;
}

bool operation_in_time(const struct operation *op, struct err *err)
{
    char typed[OPERATION_TYPED_BYTES];
    if (operation_interrupted()) {
        err_set(err, ERR_RETRY, "interrupted");
        return err_hint(err, "nothing runs any more; ferry %s %s goes on where it stands",
                        operation_kind_name(op->options.kind), operation_typed(op, typed));
    }
    if (clock_now_ms(op->clock) < op->until_ms) {
        return true;
    }
    err_set_code(err, ERR_RETRY, OPERATION_TIME_UP, "time is up (--timeout %lld s)",
                 (long long)(op->options.timeout_ms / 1000));
    return err_hint(err, "nothing runs any more; the same command again goes on");
}

/* --- evidence ----------------------------------------------------------------------------------------------------- */

bool operation_keep(struct operation *op, const char *step, json_t *take_evidence, struct err *err)
{
    json_object_set(op->evidence, step, take_evidence);
    if (op->journal == NULL) {
        json_decref(take_evidence);
        return true;
    }
    return journal_keep(op->journal, step, take_evidence, err);
}

void operation_note(struct operation *op, const char *step, json_t *take_evidence)
{
    json_object_set(op->evidence, step, take_evidence);
    if (op->journal == NULL) {
        json_decref(take_evidence);
    } else {
        journal_note(op->journal, step, take_evidence);
    }
}

json_t *operation_kept(const struct operation *op, const char *step)
{
    return json_object_get(op->evidence, step);
}

static void replace(char **text, const char *value)
{
    char *copy = value == NULL ? NULL : strdup(value);
    if (value != NULL && copy == NULL) {
        abort();
    }
    free(*text);
    *text = copy;
}

/* What we wrote is what stands: nobody else writes these keys now. */
static void remember(struct operation *op, const struct control_record *record)
{
    struct control_state *state = op->state;
    const struct {
        const char *key;
        char **text;
    } texts[] = {
        {"role",  &state->role_json },
        {"order", &state->order_json},
        {"fence", &state->fence_json},
        {"dns",   &state->dns_json  },
        {"acls",  &state->acls_json }
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(texts[i].key, record->key) == 0) {
            replace(texts[i].text, record->value);
        }
    }
    if (strcmp(record->key, "role") == 0 && record->value != NULL) {
        json_t *role = json_parse(record->value, strlen(record->value), "role", NULL);
        const char *primary = json_string_value(json_object_get(role, "primary"));
        state->role_epoch = json_integer_value(json_object_get(role, "epoch"));
        snprintf(state->primary, sizeof(state->primary), "%s", primary == NULL ? "" : primary);
        json_decref(role);
    }
}

bool operation_write(struct operation *op, const struct control_record *records, size_t count,
                     struct err *err)
{
    if (op->journal == NULL) {
        return err_set(err, ERR_FATAL, "a dry run writes nothing");
    }
    if (!journal_write(op->journal, records, count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        remember(op, &records[i]);
    }
    return true;
}

json_t *operation_sign(const struct operation *op, json_t *record)
{
    char when[CLOCK_TEXT_BYTES];
    json_object_set_new(record, "by", json_string(op->options.by));
    json_object_set_new(record, "reason", json_string(op->options.reason));
    json_object_set_new(record, "time", json_string(clock_rfc3339(clock_wall_ms(op->clock), when)));
    json_object_set_new(record, "operation", json_string(op->id));
    return record;
}

void operation_leave(struct operation *op, const char *step, const struct err *why, bool again)
{
    json_array_append_new(op->left, json_pack("{sssssssb}", "step", step, "what", why->what, "hint",
                                              why->hint, "again", again ? 1 : 0));
}

void operation_drop_redis(struct operation *op, const struct err *why)
{
    op->redis_err = *why;
    if (op->journal != NULL) {
        journal_drop_redis(op->journal);
    }
    redis_sync_free(op->redis);
    op->redis = NULL;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

void operation_say(struct operation *op, const char *format, ...)
{
    va_list args;
    char text[1200];
    if (op->options.quiet) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    text_safe(text); /* names come from brokers, too */
    fprintf(stderr, "  %-10s %s\n", op->step == NULL ? "" : op->step, text);
}

bool operation_forced(const struct operation *op, const char *check)
{
    for (size_t i = 0; i < op->options.forced_count; i++) {
        if (strcmp(op->options.forced[i], check) == 0) {
            return true;
        }
    }
    return false;
}

bool operation_own_check(const char *check)
{
    static const char *const own[] = {"primary-alive", "other-primary", "source", "fence"};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strcmp(own[i], check) == 0) {
            return true;
        }
    }
    return false;
}

static char *key_text(const struct operation *op, const char *link, const char *suffix)
{
    const char *prefix = op->to->redis == NULL ? "" : op->to->redis->prefix;
    char *text = NULL;
    if (asprintf(&text, "%s{%s}:%s%s", prefix, op->service->name, link, suffix) < 0) {
        abort();
    }
    return text;
}

char *operation_key(const struct operation *op, const char *suffix)
{
    return key_text(op, "", suffix);
}

char *operation_link_key(const struct operation *op, const char *suffix)
{
    char link[300];
    snprintf(link, sizeof(link), "%s>%s:", op->from->name, op->to->name);
    return key_text(op, link, suffix);
}

char *operation_group(const struct operation *op, char out[OPERATION_GROUP_BYTES])
{
    snprintf(out, OPERATION_GROUP_BYTES, "ferry-%s-%s-%s", op->service->name, op->from->name,
             op->to->name);
    return out;
}
