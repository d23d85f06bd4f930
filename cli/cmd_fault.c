/* Partitions that stopped: what stopped them, and the orders to look again, to go on without it, or to begin anew. */
#include <hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/context.h"
#include "cli/render.h"
#include "config/keys.h"
#include "kafka/control.h"

#define LOOK_MS   200  /* between two looks at what became of an order; workers look each second */
#define STABLE_MS 1000 /* a beat: a fault that a worker takes away is gone by then */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

/* --- list ----------------------------------------------------------------------------------------------------------- */

/* What comes from Redis is printed through here. */
static void print_line(const char *begin, const char *text)
{
    struct render_safe safe = render_safe(text);
    int len = (int)strlen(begin);
    fputs(begin, stdout);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, len, 6);
}

static void print_range(const json_t *fault, const char *side)
{
    char key[32];
    snprintf(key, sizeof(key), "%s_from", side);
    const json_t *from = json_object_get(fault, key);
    snprintf(key, sizeof(key), "%s_to", side);
    const json_t *to = json_object_get(fault, key);
    if (!json_is_integer(from) && !json_is_integer(to)) {
        return;
    }
    printf("    %s offsets from ", side);
    if (json_is_integer(from)) {
        printf("%lld", (long long)json_integer_value(from));
    } else {
        fputs("unknown", stdout);
    }
    if (json_is_integer(to)) {
        printf(" to below %lld", (long long)json_integer_value(to));
    }
    putchar('\n');
}

static void print_fault(const char *place, const json_t *fault)
{
    char head[700];
    snprintf(head, sizeof(head), "%s  %s  since %s  seen by %s", place, text_of(fault, "kind"),
             text_of(fault, "time"), text_of(fault, "worker"));
    print_line("", head);
    print_line("    ", text_of(fault, "what"));
    print_range(fault, "source");
    print_range(fault, "target");
    const json_t *evidence = json_object_get(fault, "evidence");
    if (json_is_object(evidence)) {
        char *text = json_text(evidence);
        print_line("    evidence: ", text);
        free(text);
    }
    if (text_of(fault, "hint")[0] != '\0') {
        print_line("    next: ", text_of(fault, "hint"));
    }
}

static void print_faults(const struct context *context, json_t *faults)
{
    const char *place;
    json_t *fault;
    printf("%s  %s > %s: ", context->service->name, context->from->name, context->to->name);
    if (json_object_size(faults) == 0) {
        puts("no faults");
        return;
    }
    printf("%zu faults\n", json_object_size(faults));
    json_object_foreach (faults, place, fault) {
        print_fault(place, fault);
    }
}

static bool list_link(struct context *context, json_t *links, struct err *err)
{
    json_t *faults = context_link_hash(context, "faults", err);
    if (faults == NULL) {
        return false;
    }
    if (!context->json) {
        print_faults(context, faults);
    }
    json_array_append_new(links, json_pack("{sssssssO}", "service", context->service->name, "from",
                                           context->from->name, "to", context->to->name, "faults",
                                           faults));
    json_decref(faults);
    return true;
}

static bool list_service(struct context *context, const struct config_service *service,
                         json_t *links, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < service->others_count; i++) {
        context_link(context, service, config_site(context->config, service->home),
                     config_site(context->config, service->others[i]));
        ok = list_link(context, links, err);
    }
    return ok;
}

static bool list(struct context *context, json_t *links, struct err *err)
{
    const struct command_line *line = context->line;
    bool one = command_has(line, "link") || command_has(line, "to");
    if (one || line->args_count > 0) {
        return context_open(context, line, err) &&
               (one ? list_link(context, links, err)
                    : list_service(context, context->service, links, err));
    }
    bool ok = context_config(context, line, err);
    for (size_t i = 0; ok && i < context->config->services_count; i++) {
        ok = list_service(context, &context->config->services[i], links, err);
    }
    return ok;
}

int cmd_fault_list(const struct command_line *line)
{
    struct context context = {.line = line};
    struct err err = {0};
    int code = EXIT_DONE;
    json_t *links = json_array();
    bool ok = list(&context, links, &err);
    if (!ok) {
        code = command_fail(line, &err);
    } else if (context.json) {
        render_json(json_pack("{sO}", "links", links));
    }
    json_decref(links);
    context_close(&context);
    return code;
}

/* --- retry ---------------------------------------------------------------------------------------------------------- */

struct retry {
    struct context *context;
    enum order_kind { ORDER_RETRY, ORDER_ACCEPT, ORDER_RESYNC } kind;
    int64_t depth;  /* 0 = as configured */
    int64_t from;   /* source offset that a resync begins at; -1 = the log's beginning */
    json_t *wanted; /* TOPIC:PARTITION -> the fault as it was */
    json_t *
        again; /* TOPIC:PARTITION -> {"fault": .., "since": ms}: another one, may be on its way out */
    json_t *results; /* TOPIC:PARTITION -> {"result": .., "fault": ..} */
    size_t open;
    bool given; /* an order, or a decision in the control topic, was written, or may have been */
};

/* What may be written beside another operator's order: the id says whose it was. */
static bool order_id(char out[17], struct err *err)
{
    uint64_t id;
    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id)) {
        return err_set(err, ERR_FATAL, "no random numbers to be had");
    }
    snprintf(out, 17, "%016llx", (unsigned long long)id);
    return true;
}

/* What a worker is told to do with a partition; new reference or NULL with err. */
static json_t *order_json(const struct retry *retry, const char *place, struct err *err)
{
    static const char *const names[] = {"retry", "accept", "resync"};
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    char id[17];
    if (!order_id(id, err)) {
        return NULL;
    }
    json_t *order = json_pack("{sssssosIss}", "order", names[retry->kind], "id", id, "by",
                              render_string(context_who(who)), "depth", (json_int_t)retry->depth,
                              "time", clock_rfc3339(clock_wall_ms(clock_system()), when));
    if (retry->kind == ORDER_RESYNC && retry->from >= 0) {
        json_object_set_new(order, "from", json_integer(retry->from));
    }
    if (retry->kind != ORDER_RETRY) { /* about what was seen, nothing else */
        const char *reason = command_reason(retry->context->line);
        json_t *fault = json_object_get(retry->wanted, place);
        json_object_set_new(order, "reason", json_string(reason));
        json_object_set(order, "kind", json_object_get(fault, "kind"));
        json_object_set(order, "source_from", json_object_get(fault, "source_from"));
        json_object_set(order, "source_to", json_object_get(fault, "source_to"));
    }
    return order;
}

/* Durable before anything is done: who gave which part of the log up, and why. */
static bool journal(struct retry *retry, const char *place, const json_t *order, struct err *err)
{
    struct context *context = retry->context;
    char key[64];
    json_t *record = json_deep_copy(order);
    struct control_writer *writer =
        context_op_writer(context, context->to, &context->to->kafka, err);
    snprintf(key, sizeof(key), "op/%s", json_string_value(json_object_get(order, "id")));
    json_object_set_new(record, "open", json_false());
    json_object_set_new(record, "partition", json_string(place));
    char *text = json_text(record);
    const struct control_record records[] = {
        {.key = key, .value = text}
    };
    bool ok =
        writer != NULL && (control_write(writer, records, 1, err) ||
                           (control_write_unknown(writer) && control_write_again(writer, err)));
    retry->given = retry->given || ok || (writer != NULL && control_write_unknown(writer));
    control_writer_free(writer);
    free(text);
    json_decref(record);
    return ok || err_wrap(err, "record the decision in the control topic on %s", context->to->name);
}

static bool give_order(struct retry *retry, const char *place, const json_t *order, struct err *err)
{
    struct context *context = retry->context;
    char *text = json_text(order);
    char *key = context_link_key(context, "orders");
    const char *argv[] = {"HSET", key, place, text};
    struct redisReply *reply = redis_sync_call(context->redis, 4, argv, NULL, err);
    bool ok = reply != NULL;
    retry->given = retry->given || ok || err->kind == ERR_RETRY; /* lost, before or behind it */
    freeReplyObject(reply);                                      /* NULL is fine */
    free(key);
    free(text);
    return ok || context_redis_failed(context, err);
}

static bool send_order(struct retry *retry, const char *place, struct err *err)
{
    json_t *order = order_json(retry, place, err);
    bool ok = order != NULL && (retry->kind == ORDER_RETRY || journal(retry, place, order, err)) &&
              give_order(retry, place, order, err);
    json_decref(order);
    return ok;
}

static void print_result(const struct context *context, const char *place, bool goes_on,
                         const json_t *fault)
{
    struct render_safe safe = render_safe(place);
    if (context->json) {
        return;
    }
    if (goes_on) {
        printf("%s: goes on\n", safe.text);
    } else {
        printf("%s: faulted again\n", safe.text);
        print_fault(place, fault);
    }
    fflush(stdout);
}

static void settle(struct retry *retry, const char *place, const char *result, json_t *fault)
{
    json_object_set_new(
        retry->results, place,
        json_pack("{sssO}", "result", result, "fault", fault == NULL ? json_null() : fault));
    retry->open--;
}

/* A fault that is told while the order waits is told again when it is carried out, or taken away: it counts when it was
 * the same for a while. */
static bool is_stable(struct retry *retry, const char *place, json_t *now)
{
    int64_t now_ms = clock_now_ms(clock_system());
    const json_t *seen = json_object_get(retry->again, place);
    if (!json_equal(json_object_get(seen, "fault"), now)) {
        json_object_set_new(retry->again, place,
                            json_pack("{sOsI}", "fault", now, "since", (json_int_t)now_ms));
        return false;
    }
    return now_ms - json_integer_value(json_object_get(seen, "since")) >= STABLE_MS;
}

/* A worker took the order when its field is gone; then the fault goes, or comes anew with another time. */
static void look_at(struct retry *retry, const char *place, const json_t *before,
                    const json_t *orders, const json_t *faults)
{
    json_t *now = json_object_get(faults, place);
    if (json_object_get(retry->results, place) != NULL || json_object_get(orders, place) != NULL) {
        return;
    }
    if (now == NULL) {
        settle(retry, place, "goes on", NULL);
        print_result(retry->context, place, true, NULL);
    } else if (!json_equal(now, before) && is_stable(retry, place, now)) {
        settle(retry, place, "faulted again", now);
        print_result(retry->context, place, false, now);
    }
}

static bool look(struct retry *retry, struct err *err)
{
    const char *place;
    json_t *before;
    /* In this order: a fault seen beside an order was there before it was taken. */
    json_t *faults = context_link_hash(retry->context, "faults", err);
    json_t *orders = faults == NULL ? NULL : context_link_hash(retry->context, "orders", err);
    if (orders != NULL) {
        json_object_foreach (retry->wanted, place, before) {
            look_at(retry, place, before, orders, faults);
        }
    }
    bool ok = orders != NULL;
    json_decref(orders);
    json_decref(faults);
    return ok;
}

/* What was not answered in time: taken or not, that is said. */
static void settle_rest(struct retry *retry)
{
    const char *place;
    json_t *before;
    json_t *orders = context_link_hash(retry->context, "orders", NULL);
    json_object_foreach (retry->wanted, place, before) {
        if (json_object_get(retry->results, place) != NULL) {
            continue;
        }
        const char *result = orders == NULL                           ? "unknown"
                             : json_object_get(orders, place) == NULL ? "taken, and still looking"
                             : retry->kind == ORDER_RETRY
                                 ? "no worker took the order; it stands in Redis"
                                 : "no worker took the order, or carried it out yet; it stands in "
                                   "Redis";
        struct render_safe safe = render_safe(place);
        settle(retry, place, result, NULL);
        if (!retry->context->json) {
            printf("%s: %s\n", safe.text, result);
        }
    }
    json_decref(orders);
}

static bool follow(struct retry *retry, struct err *err)
{
    const struct timespec nap = {.tv_nsec = LOOK_MS * 1000000L};
    int64_t until_ms = clock_now_ms(clock_system()) + retry->context->timeout_ms;
    while (retry->open > 0 && clock_now_ms(clock_system()) < until_ms) {
        nanosleep(&nap, NULL);
        if (!look(retry, err)) {
            return false;
        }
    }
    return true;
}

static bool order_all(struct retry *retry, struct err *err)
{
    const char *place;
    json_t *fault;
    json_object_foreach (retry->wanted, place, fault) {
        if (!send_order(retry, place, err)) {
            return false;
        }
        retry->open++;
    }
    return true;
}

static bool choose(struct retry *retry, struct err *err)
{
    struct context *context = retry->context;
    const char *place = context->line->args_count > 1 ? context->line->args[1] : NULL;
    json_t *faults = context_link_hash(context, "faults", err);
    if (faults == NULL) {
        return false;
    }
    if (place == NULL) {
        retry->wanted = faults;
        return true;
    }
    json_t *fault = json_object_get(faults, place);
    retry->wanted = json_object();
    json_object_set(retry->wanted, place, fault);
    bool ok = fault != NULL;
    if (!ok) {
        err_set(err, ERR_REFUSED, "%s is not faulted", place);
        err_hint(err, "ferry fault list %s", context->service->name);
    }
    json_decref(faults);
    return ok;
}

static int retry_code(const struct retry *retry, size_t waiting)
{
    const char *place;
    json_t *result;
    int code = waiting > 0 ? EXIT_TIME : EXIT_DONE;
    json_object_foreach (retry->results, place, result) {
        if (strcmp(text_of(result, "result"), "faulted again") == 0) {
            code = EXIT_REFUSED;
        }
    }
    return code;
}

static void print_next(const struct retry *retry, int code)
{
    if (code == EXIT_DONE || retry->context->quiet) {
        return;
    }
    fprintf(stderr, "  next: ferry %s %s\n", code == EXIT_TIME ? "status" : "fault list",
            retry->context->service->name);
}

/* --- accept --------------------------------------------------------------------------------------------------------- */

/* Only these two say exactly which records the target will never have. */
static bool may_be_accepted(const json_t *fault)
{
    const char *kind = text_of(fault, "kind");
    const json_t *from = json_object_get(fault, "source_from");
    const json_t *to = json_object_get(fault, "source_to");
    return (strcmp(kind, "gap") == 0 || strcmp(kind, "batch-refused") == 0) &&
           json_is_integer(from) && json_is_integer(to) &&
           json_integer_value(from) < json_integer_value(to);
}

static bool confirm_accept(struct retry *retry, struct err *err)
{
    const struct context *context = retry->context;
    const char *place = context->line->args[1];
    const json_t *fault = json_object_get(retry->wanted, place);
    char question[700];
    if (!may_be_accepted(fault)) {
        err_set(err, ERR_REFUSED,
                "a fault of kind '%s' cannot be accepted: it does not say which "
                "records would be left out",
                text_of(fault, "kind"));
        return err_hint(err, "docs/faults.md#%s", text_of(fault, "kind"));
    }
    int64_t from = json_integer_value(json_object_get(fault, "source_from"));
    int64_t to = json_integer_value(json_object_get(fault, "source_to"));
    snprintf(question, sizeof(question),
             "%.260s: source offsets %lld..%lld (%lld) will never stand on %s. Groups that have "
             "not read them go on behind them there. This cannot be undone.",
             place, (long long)from, (long long)to - 1, (long long)(to - from), context->to->name);
    struct render_safe safe = render_safe(question);
    return confirm(context->line, safe.text, context->service->name, err);
}

static bool confirm_resync(struct retry *retry, struct err *err)
{
    const struct context *context = retry->context;
    const char *place = context->line->args[1];
    const json_t *fault = json_object_get(retry->wanted, place);
    char from[64] = "the beginning of the source's log";
    char question[800];
    if (strcmp(text_of(fault, "kind"), "garbage") == 0) {
        err_set(err, ERR_REFUSED, "what is stored cannot be read, and nothing is written over it");
        return err_hint(err, "docs/faults.md#garbage");
    }
    if (retry->from >= 0) {
        snprintf(from, sizeof(from), "source offset %lld", (long long)retry->from);
    }
    snprintf(question, sizeof(question),
             "%.260s is mirrored anew from %s, behind what %s holds. Records that stand there "
             "already will stand there twice: for an empty copy, delete the target's records "
             "first. Groups keep their offsets there.",
             place, from, context->to->name);
    struct render_safe safe = render_safe(question);
    return confirm(context->line, safe.text, context->service->name, err);
}

static bool confirmed(struct retry *retry, struct err *err)
{
    switch (retry->kind) {
    case ORDER_ACCEPT:
        return confirm_accept(retry, err);
    case ORDER_RESYNC:
        return confirm_resync(retry, err);
    case ORDER_RETRY:
        break;
    }
    return true;
}

static bool parse_retry(struct retry *retry, struct err *err)
{
    const struct command_line *line = retry->context->line;
    const char *depth = command_get(line, "depth");
    char topic[CONTEXT_TOPIC_BYTES];
    int32_t partition = -1;
    if ((line->args_count > 1) == command_has(line, "all")) {
        return err_set(err, ERR_USAGE, "name TOPIC:PARTITION, or give --all");
    }
    if (line->args_count > 1 && !context_place(line->args[1], topic, &partition, err)) {
        return false;
    }
    if (line->args_count > 1 && partition < 0) {
        return err_set(err, ERR_USAGE, "'%s' names no partition: TOPIC:PARTITION", line->args[1]);
    }
    if (depth != NULL && (!keys_number(KEY_BYTES, depth, &retry->depth) || retry->depth < 1)) {
        return err_set(err, ERR_USAGE, "--depth: '%.100s' is no size such as 4GiB", depth);
    }
    return command_option_number(line, "from", 0, INT64_MAX, &retry->from, err);
}

static int run_retry(struct retry *retry, struct err *err)
{
    struct context *context = retry->context;
    retry->results = json_object();
    retry->again = json_object();
    if (!choose(retry, err) || !confirmed(retry, err) || !order_all(retry, err) ||
        !follow(retry, err)) {
        if (retry->given) {
            err_hint(err, "orders were given, or may have been: ferry fault list %s, then again",
                     context->service->name);
        }
        int failed = command_fail(context->line, err);
        return retry->given ? EXIT_PARTLY : failed;
    }
    size_t waiting = retry->open;
    settle_rest(retry);
    int code = retry_code(retry, waiting);
    if (context->json) {
        render_json(
            json_pack("{sssO}", "service", context->service->name, "partitions", retry->results));
    } else if (json_object_size(retry->wanted) == 0) {
        puts("no faults");
    }
    print_next(retry, code);
    return code;
}

static int run_order(const struct command_line *line, enum order_kind kind)
{
    struct context context;
    struct err err = {0};
    struct retry retry = {.context = &context, .kind = kind, .from = -1};
    bool ok = context_open(&context, line, &err) && parse_retry(&retry, &err);
    int code = ok ? run_retry(&retry, &err) : command_fail(line, &err);
    json_decref(retry.wanted);
    json_decref(retry.results);
    json_decref(retry.again);
    context_close(&context);
    return code;
}

int cmd_fault_retry(const struct command_line *line)
{
    return run_order(line, ORDER_RETRY);
}

int cmd_fault_accept(const struct command_line *line)
{
    return run_order(line, ORDER_ACCEPT);
}

int cmd_fault_resync(const struct command_line *line)
{
    return run_order(line, ORDER_RESYNC);
}
