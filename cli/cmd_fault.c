#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"

static json_t *faults_of(struct context *context, struct err *err)
{
    char *key = context_link_key(context, "faults");
    json_t *faults = context_hash(context, key, err);
    free(key);
    return faults;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static void print_range(const json_t *fault, const char *side)
{
    char from_key[32];
    char to_key[32];
    snprintf(from_key, sizeof(from_key), "%s_from", side);
    snprintf(to_key, sizeof(to_key), "%s_to", side);
    const json_t *from = json_object_get(fault, from_key);
    const json_t *to = json_object_get(fault, to_key);
    if (json_is_integer(from) || json_is_integer(to)) {
        printf("    %s offsets %lld", side, (long long)json_integer_value(from));
        if (json_is_integer(to)) {
            printf(" .. %lld", (long long)json_integer_value(to) - 1);
        }
        putchar('\n');
    }
}

static void print_faults(json_t *faults)
{
    const char *place;
    json_t *fault;
    if (json_object_size(faults) == 0) {
        puts("no faults");
    }
    json_object_foreach (faults, place, fault) {
        printf("%s  %s  since %s\n    %s\n", place, text_of(fault, "kind"), text_of(fault, "time"),
               text_of(fault, "what"));
        print_range(fault, "source");
        print_range(fault, "target");
        if (text_of(fault, "hint")[0] != '\0') {
            printf("    next: %s\n", text_of(fault, "hint"));
        }
    }
}

int cmd_fault_list(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int code = EXIT_DONE;
    json_t *faults = context_open(&context, line, &err) ? faults_of(&context, &err) : NULL;
    if (faults == NULL) {
        code = command_fail(&err);
    } else if (context.json) {
        render_json(json_pack("{sssO}", "service", context.service->name, "faults", faults));
    } else {
        print_faults(faults);
    }
    json_decref(faults);
    context_close(&context);
    return code;
}

/* --- retry ---------------------------------------------------------------------------------------------------------- */

static bool order_retry(struct context *context, const char *place, int64_t depth, struct err *err)
{
    char who[320];
    char when[CLOCK_TEXT_BYTES];
    context_who(who);
    json_t *order = json_pack("{sssIsssIss}", "order", "retry", "id",
                              (json_int_t)(clock_wall_ms(clock_system()) * 1000 + getpid() % 1000),
                              "by", who, "depth", (json_int_t)depth, "time",
                              clock_rfc3339(clock_wall_ms(clock_system()), when));
    char *text = json_text(order);
    char *key = context_link_key(context, "orders");
    const char *argv[] = {"HSET", key, place, text};
    struct redisReply *reply = redis_sync_call(context->redis, 4, argv, NULL, err);
    bool ok = reply != NULL;
    if (ok) {
        freeReplyObject(reply);
    }
    free(key);
    free(text);
    json_decref(order);
    return ok;
}

/* Wait until the worker took the order and the fault went or came anew. */
static int follow_retry(struct context *context, const char *place, const json_t *before,
                        struct err *err)
{
    int64_t until = clock_now_ms(clock_system()) + context->timeout_ms;
    char *orders_key = context_link_key(context, "orders");
    int code = EXIT_TIME;
    while (code == EXIT_TIME && clock_now_ms(clock_system()) < until) {
        const struct timespec nap = {.tv_nsec = 200000000};
        nanosleep(&nap, NULL);
        json_t *orders = context_hash(context, orders_key, err);
        json_t *faults = faults_of(context, err);
        const json_t *now = json_object_get(faults, place);
        bool taken = orders != NULL && json_object_get(orders, place) == NULL;
        if (taken && faults != NULL && now == NULL) {
            printf("%s: goes on\n", place);
            code = EXIT_DONE;
        } else if (taken && now != NULL && !json_equal(now, before)) {
            printf("%s: faulted again: %s: %s\n", place, text_of(now, "kind"),
                   text_of(now, "what"));
            code = EXIT_REFUSED;
        }
        json_decref(orders);
        json_decref(faults);
    }
    free(orders_key);
    if (code == EXIT_TIME) {
        fprintf(stderr,
                "ferry: %s: no worker took the order yet; it stands in Redis\n  next: ferry status "
                "%s\n",
                place, context->service->name);
    }
    return code;
}

static int retry_one(struct context *context, const char *place, const json_t *faults,
                     int64_t depth)
{
    struct err err = {0};
    const json_t *fault = json_object_get(faults, place);
    if (fault == NULL) {
        err_set(&err, ERR_REFUSED, "%s is not faulted", place);
        err_hint(&err, "ferry fault list %s", context->service->name);
        return command_fail(&err);
    }
    if (!order_retry(context, place, depth, &err)) {
        return command_fail(&err);
    }
    return follow_retry(context, place, fault, &err);
}

static int retry(struct context *context, int64_t depth)
{
    struct err err = {0};
    int code = EXIT_DONE;
    json_t *faults = faults_of(context, &err);
    if (faults == NULL) {
        return command_fail(&err);
    }
    if (context->line->args_count > 1) {
        code = retry_one(context, context->line->args[1], faults, depth);
    } else {
        const char *place;
        json_t *fault;
        json_object_foreach (faults, place, fault) {
            int one = retry_one(context, place, faults, depth);
            code = one > code ? one : code;
        }
    }
    json_decref(faults);
    return code;
}

int cmd_fault_retry(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int64_t depth = 0;
    const char *depth_text = command_get(line, "depth");
    bool ok =
        context_open(&context, line, &err) &&
        (depth_text == NULL || command_number(depth_text, "--depth", 1, INT64_MAX, &depth, &err));
    if (ok && (line->args_count > 1) == command_has(line, "all")) {
        ok = err_set(&err, ERR_USAGE, "name TOPIC:PARTITION, or give --all");
    }
    int code = ok ? retry(&context, depth) : command_fail(&err);
    context_close(&context);
    return code;
}
