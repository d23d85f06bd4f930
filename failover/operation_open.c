/* See operation.h: doors, who is at work, becoming the one who is. */
#include <errno.h>
#include <hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "failover/journal.h"
#include "failover/names_elsewhere.h"
#include "failover/operation.h"
#include "failover/reach.h"
#include "kafka/control_reader.h"
#include "kafka/publish.h"

#define CALL_MS        10000 /* of each question to the target, and to the source in a switchover */
#define SOURCE_CALL_MS 3000  /* in a failover, once the primary answered the probe */
#define PROBE_MS       1000 /* for a TCP connection: two round trips between the farthest regions */
#define ANSWER_MS      2500 /* then for Kafka's answer: TLS, SASL, one question */
#define REDIS_MS       1000
#define WATCH_EVERY_MS 500
#define CODE_NO_TOPIC  3 /* UNKNOWN_TOPIC_OR_PARTITION */

/* --- the one probe of the primary --------------------------------------------------------------------------------- */

struct probe {
    const struct config_site *site;
    bool planned;
    struct admin *admin; /* NULL: it does not answer */
    struct err err;
    pthread_t thread;
    bool started;
};

static void *probe_thread(void *arg)
{
    struct probe *probe = arg;
    char id[64];
    int32_t brokers;
    const char *servers = config_client_get(&probe->site->kafka, "bootstrap.servers");
    int32_t reach_ms = probe->planned ? CALL_MS : PROBE_MS;
    if (servers == NULL || !reach_any(servers, reach_ms, &probe->err)) {
        err_wrap(&probe->err, "%s does not answer", probe->site->name);
        return NULL;
    }
    probe->admin = admin_new(probe->site->name, &probe->site->kafka,
                             probe->planned ? CALL_MS : ANSWER_MS, &probe->err);
    if (probe->admin != NULL && !admin_cluster_id(probe->admin, id, &brokers, &probe->err)) {
        admin_free(probe->admin);
        probe->admin = NULL;
    }
    return NULL;
}

static void probe_begin(struct probe *probe)
{
    probe->started = pthread_create(&probe->thread, NULL, probe_thread, probe) == 0;
    if (!probe->started) {
        probe_thread(probe);
    }
}

static void probe_end(struct probe *probe)
{
    if (probe->started) {
        pthread_join(probe->thread, NULL);
        probe->started = false;
    }
}

/* The handle that answered stays for what follows, under another time limit. */
static void take_source(struct operation *op, struct probe *probe)
{
    int32_t call_ms = op->planned ? CALL_MS : SOURCE_CALL_MS;
    struct err why = {0};
    probe_end(probe);
    op->source_err = probe->err;
    if (probe->admin == NULL) {
        return;
    }
    admin_free(probe->admin);
    op->source = admin_new(op->from->name, &op->from->kafka, call_ms, &op->source_err);
    if (op->source != NULL && op->from->operator_kafka != NULL) {
        op->source_operator = admin_new(op->from->name, op->from->operator_kafka, call_ms, &why);
    }
    op->source_operator = op->source_operator == NULL ? op->source : op->source_operator;
}

/* --- the target --------------------------------------------------------------------------------------------------- */

static const struct config_client *writer_of(const struct config_site *site)
{
    return site->operator_kafka != NULL ? site->operator_kafka : &site->kafka;
}

static bool open_target(struct operation *op, struct err *err)
{
    char id[64];
    int32_t brokers;
    op->target = admin_new(op->to->name, &op->to->kafka, CALL_MS, err);
    if (op->target == NULL || !admin_cluster_id(op->target, id, &brokers, err)) {
        return false;
    }
    op->target_operator = op->target;
    if (op->to->operator_kafka != NULL) {
        op->target_operator = admin_new(op->to->name, op->to->operator_kafka, CALL_MS, err);
    }
    return op->target_operator != NULL;
}

static void open_redis(struct operation *op)
{
    const struct config_redis *redis = op->to->redis;
    char *password = NULL;
    const char *ping[] = {"PING"};
    if (redis == NULL) {
        err_set(&op->redis_err, ERR_REFUSED, "site %s has no Redis", op->to->name);
        return;
    }
    if (redis->password != NULL) {
        password = config_secret_read(redis->password, &op->redis_err);
        if (password == NULL) {
            return;
        }
    }
    const struct redis_options options = {
        .url = redis->url,
        .username = redis->username,
        .password = password,
        .ca_file = redis->ca_file,
        .timeout_ms = redis->timeout_ms < REDIS_MS ? redis->timeout_ms : REDIS_MS};
    op->redis = redis_sync_new(&options, &op->redis_err);
    config_secret_free(password);
    if (op->redis == NULL) {
        return;
    }
    struct redisReply *reply = redis_sync_call(op->redis, 1, ping, NULL, &op->redis_err);
    if (reply == NULL) {
        redis_sync_free(op->redis);
        op->redis = NULL;
        return;
    }
    freeReplyObject(reply);
}

/* A broker that is lost, and not given up yet, is named as the controller by one metadata answer of some, and that costs a question
 * all its time: another one may go elsewhere. */
static bool read_patiently(struct operation *op, struct err *err)
{
    int64_t until_ms = clock_now_ms(op->clock) + CALL_MS;
    bool again = true;
    bool read = false;
    while (!read && again) {
        read = control_reader_read(op->reader, CALL_MS, NULL, err);
        again = !read && err->kind == ERR_RETRY && !admin_not_signed_in(err) &&
                clock_now_ms(op->clock) < until_ms;
    }
    return read;
}

/* Through one reader that goes on where it was: the second time costs a question, not the topic. */
static bool read_control(struct operation *op, struct err *err)
{
    struct err bad;
    if (op->reader == NULL) {
        op->reader = control_reader_new(&op->to->kafka, op->service->name, err);
        if (op->reader == NULL) {
            return false;
        }
        control_reader_keep(op->reader);
    }
    bool read = read_patiently(op, err);
    if (!read && err->kind == ERR_REFUSED && err->code == CODE_NO_TOPIC) {
        err_set_code(err, ERR_REFUSED, OPERATION_NO_ROLE,
                     "service %s has no control topic on %s: it is not mirrored there",
                     op->service->name, op->to->name);
        return err_hint(err, "ferry enable %s --to %s", op->service->name, op->to->name);
    }
    if (!read) {
        return false;
    }
    control_state_free(op->state);
    json_decref(op->operations);
    op->state = control_reader_state(op->reader, &bad);
    op->operations = json_deep_copy(control_reader_operations(op->reader));
    names_elsewhere_take(op);
    if (journal_open_operation(op->operations, op->open_id, sizeof(op->open_id)) == NULL &&
        !op->options.dry_run && strcmp(op->state->primary, op->to->name) == 0) {
        journal_left_operation(op->operations, operation_kind_name(op->options.kind), op->to->name,
                               op->state->role_epoch, op->open_id, sizeof(op->open_id));
    }
    return true;
}

static json_t *record_of(const struct operation *op, const char *id)
{
    char key[100];
    snprintf(key, sizeof(key), "op/%s", id);
    return json_object_get(op->operations, key);
}

/* Who is primary says which link it is. An operation that stands open has moved the role perhaps: its record counts. */
static bool take_from(struct operation *op, struct err *err)
{
    const json_t *open = record_of(op, op->open_id);
    const char *from = json_string_value(json_object_get(open, "from"));
    const char *primary = from != NULL ? from : op->state->primary;
    if (open == NULL && op->state->role_epoch == 0) {
        err_set_code(err, ERR_REFUSED, OPERATION_NO_ROLE, "no role epoch stands on %s",
                     op->to->name);
        return err_hint(err, "ferry enable %s --to %s", op->service->name, op->to->name);
    }
    if (open == NULL && strcmp(primary, op->to->name) == 0) {
        err_set_code(err, ERR_REFUSED, OPERATION_IS_THERE,
                     "%s is primary of %s already, since role epoch %lld", op->to->name,
                     op->service->name, (long long)op->state->role_epoch);
        return err_hint(err, "ferry status %s; ferry history %s", op->service->name,
                        op->service->name);
    }
    op->from = config_site(op->config, primary);
    if (op->from == NULL || op->from == op->to) {
        err_set(err, ERR_REFUSED,
                "the role epoch on %s names '%.100s' as primary, which is no site of %.150s",
                op->to->name, primary, op->config->file);
        return err_hint(err, "is this the newest configuration file?");
    }
    op->role_epoch = op->state->role_epoch;
    return true;
}

/* A site that a failover went to knows it alone: the other secondaries still mirror from the one before. */
static bool is_other_primary(const struct operation *op, const struct config_site *site,
                             const struct control_state *state, struct err *err)
{
    if (site == op->from || op->open_id[0] != '\0' || strcmp(state->primary, site->name) != 0 ||
        state->role_epoch <= op->state->role_epoch || operation_forced(op, "other-primary")) {
        return false;
    }
    err_set(
        err, ERR_REFUSED,
        "%s says that it is primary of %s, since role epoch %lld: what is written there is not at "
        "%s, which knows of %s alone",
        site->name, op->service->name, (long long)state->role_epoch, op->to->name, op->from->name);
    err_hint(err, "ferry history %s; go on all the same: --force other-primary", op->service->name);
    return true;
}

/* Another site may be made primary at this very moment: an operation stands open in its control topic then. It may also have the
 * newer record of the names. A failover asks the old primary nothing. */
bool operation_is_alone(struct operation *op, struct err *err)
{
    for (size_t i = 0; i <= op->service->others_count; i++) {
        const char *name = i == 0 ? op->service->home : op->service->others[i - 1];
        const struct config_site *site = config_site(op->config, name);
        const char *servers = config_client_get(&site->kafka, "bootstrap.servers");
        char id[OPERATION_ID_BYTES];
        json_t *operations = NULL;
        struct err why = {0};
        if (site == op->to || (site == op->from && !op->planned) || servers == NULL) {
            continue;
        }
        struct control_state *state = reach_any(servers, PROBE_MS, &why)
                                          ? control_read_operations(&site->kafka, op->service->name,
                                                                    ANSWER_MS, &operations, &why)
                                          : NULL;
        bool open = state != NULL && journal_open_operation(operations, id, sizeof(id)) != NULL;
        bool other = !open && state != NULL && is_other_primary(op, site, state, err);
        if (state != NULL) {
            names_elsewhere_seen(op, state->dns_json);
        }
        control_state_free(state);
        json_decref(operations);
        if (open) {
            err_set_code(err, ERR_REFUSED, OPERATION_BUSY, "operation %s to %s is open", id,
                         site->name);
            return err_hint(err, "go on with that: ferry history %s %s; --to %s", op->service->name,
                            id, site->name);
        }
        if (other) {
            return false;
        }
        if (state == NULL && why.code != CODE_NO_TOPIC) {
            operation_say(op, "whether an operation to %s is open is unknown: %.300s", site->name,
                          why.what);
        }
    }
    names_elsewhere_take(op);
    return true;
}

static void open_names(struct operation *op)
{
    op->names_count = op->service->cnames_count;
    op->names = calloc(op->names_count + 1, sizeof(struct dns *));
    if (op->names == NULL) {
        abort();
    }
    for (size_t i = 0; i < op->names_count; i++) {
        op->names[i] = dns_open(op->config, &op->service->cnames[i], &op->names_err);
    }
}

/* --- open --------------------------------------------------------------------------------------------------------- */

static const struct config_site *other_site(const struct config *config,
                                            const struct config_service *service)
{
    return config_site(config, service->others[0]);
}

/* What takes long to connect, while the primary is waited for: nobody is fenced and nothing is written. What is wrong is said
 * where it is needed, but for a writer that is not let in: he would be waited for at each step. */
static bool connect_writers(struct operation *op, struct err *err)
{
    struct err why = {0};
    if (op->options.dry_run) { /* `permissions` says it */
        return true;
    }
    op->publisher = publisher_new(writer_of(op->to), &why);
    op->writer = control_writer_prepare(writer_of(op->to), op->service->name, "op", &why);
    if (op->writer != NULL || !admin_not_signed_in(&why)) {
        return true;
    }
    *err = why;
    err->kind = ERR_REFUSED;
    return err_wrap(err, "%s does not let %s in", op->to->name,
                    op->to->operator_kafka != NULL ? "the operator" : "the mirror, who acts,");
}

/* Before the role is read home is the likely primary; where it is not, the probe is made again. */
static bool open_all(struct operation *op, struct err *err)
{
    const struct config_site *likely = config_site(op->config, op->service->home);
    struct probe probe = {.site = likely == op->to ? NULL : likely, .planned = op->planned};
    if (probe.site != NULL) {
        probe_begin(&probe);
    }
    bool ok = open_target(op, err);
    if (ok) {
        open_redis(op);
        ok = read_control(op, err) && take_from(op, err);
    }
    if (ok && probe.site != op->from) {
        probe_end(&probe);
        admin_free(probe.admin);
        probe = (struct probe){.site = op->from, .planned = op->planned};
        probe_begin(&probe);
    }
    ok = ok && operation_is_alone(op, err);
    ok = ok && connect_writers(op, err);
    if (ok) {
        open_names(op);
        take_source(op, &probe);
    } else {
        probe_end(&probe);
        admin_free(probe.admin);
    }
    return ok;
}

bool operation_open(struct operation *op, const struct config *config,
                    const struct config_service *service, const struct config_site *to,
                    const struct operation_options *options, struct err *err)
{
    *op = (struct operation){.options = *options,
                             .config = config,
                             .service = service,
                             .to = to == NULL ? other_site(config, service) : to,
                             .planned = options->kind == OPERATION_SWITCHOVER,
                             .clock = clock_system(),
                             .evidence = json_object(),
                             .left = json_array(),
                             .ended_ms = -1};
    op->until_ms = clock_now_ms(op->clock) + options->timeout_ms;
    if (to == NULL && service->others_count > 1) {
        err_set(err, ERR_USAGE, "service %s has %zu secondaries: which one?", service->name,
                service->others_count);
        return err_hint(err, "--to %s, ..", service->others[0]);
    }
    op->began_wall_ms = clock_wall_ms(op->clock);
    return open_all(op, err);
}

void operation_done(struct operation *op)
{
    journal_free(op->journal);
    control_writer_free(op->writer);
    publisher_free(op->publisher);
    control_reader_free(op->reader, 0);
    if (op->target_operator != op->target) {
        admin_free(op->target_operator);
    }
    if (op->source_operator != op->source) {
        admin_free(op->source_operator);
    }
    admin_free(op->target);
    admin_free(op->source);
    redis_sync_free(op->redis);
    for (size_t i = 0; i < op->names_count; i++) {
        dns_close(op->names[i]);
    }
    free(op->names);
    control_state_free(op->state);
    free(op->names_json);
    json_decref(op->operations);
    json_decref(op->evidence);
    json_decref(op->left);
    json_decref(op->order_before);
    free(op->forced_texts);
    *op = (struct operation){.journal = NULL};
}

/* --- who is at work ----------------------------------------------------------------------------------------------- */

static bool busy(const struct operation *op, const json_t *record, bool working, struct err *err)
{
    const char *kind = json_string_value(json_object_get(record, "kind"));
    const char *by = json_string_value(json_object_get(record, "by"));
    const char *since = json_string_value(json_object_get(record, "began"));
    const char *step = json_string_value(json_object_get(record, "step"));
    char typed[OPERATION_TYPED_BYTES];
    kind = kind == NULL ? "operation" : kind;
    err_set_code(err, ERR_REFUSED, OPERATION_BUSY, "%s %s by %.100s since %.40s %s at step %.40s",
                 kind, op->open_id, by == NULL ? "unknown" : by, since == NULL ? "unknown" : since,
                 working ? "is at work" : "was left", step == NULL ? "none" : step);
    return working ? err_hint(err, "follow it: ferry history %s %s", op->service->name, op->open_id)
                   : err_hint(err, "end it first: ferry %s %s", kind, operation_typed(op, typed));
}

/* Each write of an operation raises its beat; the steps go with it. */
static json_int_t beat_of(const json_t *operations, const char *id)
{
    char key[100];
    snprintf(key, sizeof(key), "op/%s", id);
    return json_integer_value(json_object_get(json_object_get(operations, key), "beat"));
}

/* Tests that kill an operation thirty times in a row wait less; never less than a beat. */
static int64_t watch_ms(void)
{
    const char *text = getenv("FERRY_WATCH_MS");
    long long ms = text == NULL ? JOURNAL_WATCH_MS : strtoll(text, NULL, 10);
    return ms > JOURNAL_BEAT_MS && ms < JOURNAL_WATCH_MS ? ms : JOURNAL_WATCH_MS;
}

/* false with ERR_NONE: nothing new came. */
static bool watch(struct operation *op, bool *out_working, struct err *err)
{
    int64_t until_ms = clock_now_ms(op->clock) + watch_ms();
    json_int_t before = beat_of(op->operations, op->open_id);
    bool ok = true;
    *out_working = false;
    while (ok && !*out_working && clock_now_ms(op->clock) < until_ms) {
        ok = control_reader_read(op->reader, CALL_MS, NULL, err);
        *out_working = ok && beat_of(control_reader_operations(op->reader), op->open_id) != before;
        if (ok && !*out_working) {
            control_reader_wait(op->reader, WATCH_EVERY_MS);
        }
    }
    return ok;
}

bool operation_find(struct operation *op, bool *out_resume, struct err *err)
{
    char id[OPERATION_ID_BYTES];
    bool working = false;
    *out_resume = false;
    const json_t *record = journal_open_operation(op->operations, id, sizeof(id));
    if (record == NULL && op->state->operation_open) {
        return err_set_code(err, ERR_REFUSED, OPERATION_BUSY,
                            "an operation of service %s is open whose record cannot be read",
                            op->service->name);
    }
    if (record == NULL) { /* it may have ended with something left */
        *out_resume = op->open_id[0] != '\0';
        return true;
    }
    if (!op->options.dry_run) {
        operation_say(
            op, "operation %s stands open: looking for up to %d s whether somebody is at work",
            op->open_id, JOURNAL_WATCH_MS / 1000);
        if (!watch(op, &working, err)) {
            return false;
        }
    }
    const char *kind = json_string_value(json_object_get(record, "kind"));
    const char *to = json_string_value(json_object_get(record, "to"));
    bool same = kind != NULL && to != NULL &&
                strcmp(kind, operation_kind_name(op->options.kind)) == 0 &&
                strcmp(to, op->to->name) == 0;
    if (working || !same) {
        return busy(op, record, working, err);
    }
    *out_resume = true;
    return true;
}

/* --- becoming the one who operates -------------------------------------------------------------------------------- */

static void make_id(struct operation *op)
{
    struct tm broken;
    char when[32];
    uint16_t random = 0;
    time_t seconds = (time_t)(op->began_wall_ms / 1000);
    gmtime_r(&seconds, &broken);
    strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &broken);
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        random = (uint16_t)getpid();
    }
    snprintf(op->id, sizeof(op->id), "%s-%s-%04x", when, operation_kind_name(op->options.kind),
             random);
}

static json_t *new_record(const struct operation *op)
{
    char when[CLOCK_TEXT_BYTES];
    json_t *forced = json_array();
    for (size_t i = 0; i < op->options.forced_count; i++) {
        json_array_append_new(forced, json_string(op->options.forced[i]));
    }
    return json_pack("{sssssssssssssssIs{sIsbso}sOs[]}", "kind",
                     operation_kind_name(op->options.kind), "service", op->service->name, "from",
                     op->from->name, "to", op->to->name, "by", op->options.by, "reason",
                     op->options.reason, "began", clock_rfc3339(op->began_wall_ms, when),
                     "role_epoch", (json_int_t)op->state->role_epoch, "options", "allow_loss",
                     (json_int_t)op->options.allow_loss, "dns_done", op->options.dns_done ? 1 : 0,
                     "forced", forced, "order_before",
                     op->order_before == NULL ? json_null() : op->order_before, "resumed_by");
}

static int64_t parse_time(const char *text)
{
    struct tm broken = {0};
    const char *rest = text == NULL ? NULL : strptime(text, "%Y-%m-%dT%H:%M:%S", &broken);
    return rest == NULL ? -1 : (int64_t)timegm(&broken) * 1000;
}

static bool is_among(const json_t *texts, const char *text)
{
    size_t index;
    json_t *one;
    json_array_foreach (texts, index, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), text) == 0) {
            return true;
        }
    }
    return false;
}

/* Checks that are forced now stand in the record as those of the beginning do. */
static void add_forced(const struct operation *op, json_t *forced)
{
    for (size_t i = 0; i < op->options.forced_count; i++) {
        if (!is_among(forced, op->options.forced[i])) {
            json_array_append_new(forced, json_string(op->options.forced[i]));
        }
    }
}

/* What was said when it began counts; what is said now about the names and checks is added. */
static json_t *resumed_record(struct operation *op)
{
    json_t *record = json_deep_copy(record_of(op, op->id));
    json_t *took = json_object_get(record, "rto_s");
    json_t *options = json_object_get(record, "options");
    json_t *forced = json_object_get(options, "forced");
    json_int_t epoch = json_integer_value(json_object_get(record, "role_epoch"));
    int64_t began = parse_time(json_string_value(json_object_get(record, "began")));
    op->role_epoch = epoch;
    op->began_wall_ms = began < 0 ? op->began_wall_ms : began;
    if (json_is_number(took)) { /* its time is that of the first end */
        op->ended_ms = op->began_wall_ms + (int64_t)(json_number_value(took) * 1000);
    }
    op->options.allow_loss = json_integer_value(json_object_get(options, "allow_loss"));
    op->options.dns_done =
        op->options.dns_done || json_is_true(json_object_get(options, "dns_done"));
    add_forced(op, forced);
    size_t count = json_array_size(forced);
    op->forced_texts = calloc(count + 1, sizeof(char *));
    if (op->forced_texts == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(forced, i));
        op->forced_texts[i] = name == NULL ? "" : name;
    }
    op->options.forced = op->forced_texts;
    op->options.forced_count = count;
    json_decref(op->order_before);
    op->order_before = json_incref(json_object_get(record, "order_before"));
    json_array_append_new(json_object_get(record, "resumed_by"), json_string(op->options.by));
    return record;
}

static bool door_write(void *arg, const struct control_record *records, size_t count,
                       struct err *err)
{
    const struct operation *op = arg;
    return control_write(op->writer, records, count, err);
}

/* Not through op->reader: the beat's thread may ask. */
static json_t *door_read(void *arg, struct err *err)
{
    const struct operation *op = arg;
    json_t *operations = NULL;
    struct control_state *state =
        control_read_operations(&op->to->kafka, op->service->name, ANSWER_MS, &operations, err);
    control_state_free(state);
    return operations;
}

static bool door_renew(void *arg, struct err *err)
{
    struct operation *op = arg;
    control_writer_free(op->writer);
    op->writer = control_writer_new(writer_of(op->to), op->service->name, "op", err);
    return op->writer != NULL;
}

static bool make_folder(const char *folder)
{
    char path[600];
    snprintf(path, sizeof(path), "%s", folder);
    for (char *at = path + 1; *at != '\0'; at++) {
        if (*at == '/') {
            *at = '\0';
            mkdir(path, 0750);
            *at = '/';
        }
    }
    return mkdir(path, 0750) == 0 || errno == EEXIST;
}

/* Where this host keeps its copy; an operator may have no place but home. */
static void copies(struct operation *op)
{
    char folder[600];
    char file[700];
    char suffix[100];
    const char *home = getenv("HOME");
    snprintf(folder, sizeof(folder), "%s/operations", op->config->state_dir);
    bool ok = make_folder(folder) && access(folder, W_OK) == 0;
    if (!ok && home != NULL) {
        snprintf(folder, sizeof(folder), "%.400s/.local/state/ferry/operations", home);
        ok = make_folder(folder) && access(folder, W_OK) == 0;
    }
    snprintf(file, sizeof(file), "%s/%s.jsonl", folder, op->id);
    snprintf(suffix, sizeof(suffix), "journal:%s", op->id);
    char *key = operation_key(op, suffix);
    const struct journal_copies where = {
        .redis = op->redis, .redis_key = key, .file = ok ? file : NULL};
    journal_copies(op->journal, &where);
    free(key);
}

/* What other steps did before us is ours to know. */
static void take_evidence(struct operation *op)
{
    char prefix[100];
    const char *key;
    json_t *record;
    size_t len = (size_t)snprintf(prefix, sizeof(prefix), "op/%s/", op->id);
    json_object_foreach (op->operations, key, record) {
        if (strncmp(key, prefix, len) == 0 && strchr(key + len, '/') == NULL) {
            json_t *evidence = journal_evidence(op->journal, key + len);
            if (evidence != NULL) {
                json_object_set(op->evidence, key + len, evidence);
            }
        }
    }
}

static bool begin(struct operation *op, struct err *err)
{
    const struct journal_door door = {
        .write = door_write, .read = door_read, .renew = door_renew, .arg = op};
    json_t *record;
    if (op->resumed) {
        snprintf(op->id, sizeof(op->id), "%s", op->open_id);
        record = resumed_record(op);
    } else {
        make_id(op);
        json_t *order =
            op->state->order_json == NULL
                ? NULL
                : json_parse(op->state->order_json, strlen(op->state->order_json), "order", NULL);
        op->order_before = order == NULL ? json_null() : order;
        record = new_record(op);
    }
    op->journal = journal_new(&door, op->clock, op->id, record, op->operations);
    take_evidence(op);
    copies(op);
    return journal_begin(op->journal, err);
}

bool operation_lock(struct operation *op, struct err *err)
{
    char before[OPERATION_ID_BYTES];
    int64_t role = op->state->role_epoch;
    json_int_t beat = beat_of(op->operations, op->open_id);
    memcpy(before, op->open_id, sizeof(before));
    if (op->writer == NULL) {
        op->writer = control_writer_prepare(writer_of(op->to), op->service->name, "op", err);
    }
    if (op->writer == NULL || !control_writer_begin(op->writer, err)) {
        err_wrap(err, "the control topic on %s cannot be written", op->to->name);
        err->kind = ERR_RETRY;
        return false;
    }
    if (!read_control(op, err)) {
        return false;
    }
    bool same = strcmp(before, op->open_id) == 0 && role == op->state->role_epoch &&
                beat == beat_of(op->operations, op->open_id);
    bool resume = op->open_id[0] != '\0';
    if (!same && resume) {
        /* Somebody began in the same moment. He is fenced now, and stops at his next record: then it is ours to go on with. */
        if (!operation_find(op, &resume, err)) {
            return false;
        }
    } else if (!same) {
        err_set_code(err, ERR_REFUSED, OPERATION_BUSY,
                     "somebody changed the role at the same moment");
        return err_hint(err, "ferry status %s", op->service->name);
    }
    op->resumed = resume;
    return begin(op, err);
}
