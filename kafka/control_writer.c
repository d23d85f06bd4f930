/* See control.h: the fenced writers of the control topic.
 *
 * A transactional id belongs to who called init_transactions last: everybody before is refused by the coordinator for
 * good, and what they left open is aborted. So a new keeper ends the old one, and an operation ends the keeper: else a
 * keeper killed in mid-transaction would hide the operation's records until its transaction timed out.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"
#include "kafka/client.h"
#include "kafka/control.h"
#include "kafka/control_inside.h"
#include "kafka/control_single.h"

/* For everything that one call does; the on-call waits for it. Two fences take 0.6 s on a healthy cluster. */
#define CALL_MS 10000
/* Behind them: does a cluster that did not fence answer at all? */
#define ANSWERS_MS 1000
/* After that brokers abort what a dead writer left open. */
#define TRANSACTION_MS "10000"
/* librdkafka takes no longer one than the transaction's; a site's shorter one counts. */
#define SOCKET_MS  9900
#define STRING_(x) #x
#define STRING(x)  STRING_(x)
/* One record's way to the broker; below the transaction's. */
#define MESSAGE_MS "8000"
/* As the topic takes them, and base/json. */
#define MESSAGE_BYTES "16777216"

#define WRITER_ID_BYTES 320

/* A transaction whose end did not answer in time is ended before the next begins. */
enum open_end { OPEN_NONE, OPEN_COMMIT, OPEN_ABORT };

struct control_writer {
    struct control_single
        *single; /* a cluster without transactions: what follows is not used, but names */
    struct client *client;
    struct client *keeper; /* of an operation that has not begun: whom it fences first; else NULL */
    char service[WRITER_ID_BYTES];
    char role[16];
    char topic[CONTROL_TOPIC_BYTES];
    char id[WRITER_ID_BYTES]; /* transactional.id */
    enum open_end open;
    bool stuck; /* a whole call did not end what is open */
};

static int32_t left_ms(int64_t until_ms)
{
    int64_t left = until_ms - client_now_ms();
    return left > 1 ? (int32_t)left : 1;
}

static char *writer_id(const char *role, const char *service, char out[WRITER_ID_BYTES])
{
    snprintf(out, WRITER_ID_BYTES, "ferry-%s-%s", role, service);
    return out;
}

/* The resource whose ACL a refusal is about follows from its code. Takes the error. */
static bool failed(struct client *client, const char *id, const char *topic,
                   rd_kafka_error_t *take_error, const char *what, struct err *err)
{
    char lacks[ACL_LACKS_BYTES];
    int code = rd_kafka_error_code(take_error);
    bool of_id = code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    bool fatal = rd_kafka_error_is_fatal(take_error) != 0 && !acl_refusal(code);
    bool passing = rd_kafka_error_is_retriable(take_error) != 0;
    client_err(client, err, code, "%s: %s", what,
               client_why(client, code, rd_kafka_error_string(take_error), ACL_WRITE,
                          of_id ? ACL_TRANSACTIONAL_ID : ACL_TOPIC, of_id ? id : topic, lacks));
    if (err && fatal) {
        err->kind = ERR_FATAL;
    } else if (err && passing && err->kind == ERR_REFUSED) {
        err->kind = ERR_RETRY;
    }
    rd_kafka_error_destroy(take_error);
    return false;
}

/* ---- begin: fence who was there ---- */

struct client *control_writer_client(const struct config_client *settings, const char *role,
                                     const char *service, struct err *err)
{
    char id[WRITER_ID_BYTES];
    writer_id(role, service, id);
    const char *socket_ms = config_client_get(settings, "socket.timeout.ms");
    bool longer = socket_ms != NULL && atoi(socket_ms) > SOCKET_MS;
    /* clang-format off */
    const char *const extra[] = {
        "transactional.id", id,
        "transaction.timeout.ms", TRANSACTION_MS,
        "message.timeout.ms", MESSAGE_MS,
        "message.max.bytes", MESSAGE_BYTES,
        "compression.type", "lz4", /* a list of topics is half its size */
        "linger.ms", "0",
        "acks", "all",
        longer ? "socket.timeout.ms" : NULL, STRING(SOCKET_MS),
        NULL};
    /* clang-format on */
    return client_new(RD_KAFKA_PRODUCER, settings, extra, RD_KAFKA_EVENT_ERROR, err);
}

/* A producer's question for an unknown topic may create it, with the brokers' settings: ask as an admin first. */
static bool topic_exists(struct client *client, const char *topic, int64_t until_ms,
                         struct err *err)
{
    struct admin admin = {
        .site = "control topic", .client = client, .timeout_ms = left_ms(until_ms)};
    struct admin_topic found;
    return admin_describe_topic(&admin, topic, &found, err);
}

/* A cluster that answers everything else, and no init_transactions in its time, has no coordinator of them: only then is it told
 * what such a cluster wants. */
static bool fence(struct client *client, const char *role, const char *service, int64_t until_ms,
                  struct err *err)
{
    char what[400];
    char id[WRITER_ID_BYTES];
    char topic[CONTROL_TOPIC_BYTES];
    control_topic_name(service, topic);
    writer_id(role, service, id);
    snprintf(what, sizeof(what), "begin as writer '%s' of service '%s'", role, service);
    rd_kafka_error_t *error = rd_kafka_init_transactions(client_handle(client), left_ms(until_ms));
    if (!error) {
        return true;
    }
    failed(client, id, topic, error, what, err);
    if (err && err->code == RD_KAFKA_RESP_ERR__TIMED_OUT && err->hint[0] == '\0' &&
        topic_exists(client, topic, client_now_ms() + ANSWERS_MS, NULL)) {
        err_hint(err, "a cluster that takes no transactions wants \"control\": \"single-writer\" "
                      "(docs/control.md)");
    }
    return false;
}

/* Once a broker has answered, init_transactions takes some 10 ms; before, librdkafka looks for one each half second. */
static struct client *connected(const struct config_client *settings, const char *role,
                                const char *service, int64_t until_ms, struct err *err)
{
    char topic[CONTROL_TOPIC_BYTES];
    struct client *client = control_writer_client(settings, role, service, err);
    if (client && !topic_exists(client, control_topic_name(service, topic), until_ms, err)) {
        client_free(client, CLIENT_END_MS);
        return NULL;
    }
    return client;
}

static struct control_writer *named(const char *service, const char *role)
{
    struct control_writer *writer = must(calloc(1, sizeof(*writer)));
    writer_id(role, service, writer->id);
    control_topic_name(service, writer->topic);
    snprintf(writer->service, sizeof(writer->service), "%s", service);
    snprintf(writer->role, sizeof(writer->role), "%s", role);
    return writer;
}

static struct control_writer *prepare_single(const struct config_client *client,
                                             const char *service, const char *role,
                                             int64_t until_ms, struct err *err)
{
    char topic[CONTROL_TOPIC_BYTES];
    struct control_single *single =
        control_single_new(client, control_topic_name(service, topic), err);
    if (single == NULL || !control_single_find(single, until_ms, err)) {
        control_single_free(single);
        return NULL;
    }
    struct control_writer *writer = named(service, role);
    writer->single = single;
    return writer;
}

static struct control_writer *prepare(const struct config_client *client, const char *service,
                                      const char *role, int64_t until_ms, struct err *err)
{
    bool operation = strcmp(role, "op") == 0;
    assert(operation || strcmp(role, "keeper") == 0);
    if (client->single_writer) {
        return prepare_single(client, service, role, until_ms, err);
    }
    struct client *made = connected(client, role, service, until_ms, err);
    struct client *keeper =
        made && operation ? connected(client, "keeper", service, until_ms, err) : NULL;
    if (!made || (operation && !keeper)) {
        client_free(made, CLIENT_END_MS);
        return NULL;
    }
    struct control_writer *writer = named(service, role);
    writer->client = made;
    writer->keeper = keeper;
    return writer;
}

static bool begin(struct control_writer *writer, int64_t until_ms, struct err *err)
{
    if (writer->single) {
        return control_single_begin(writer->single, until_ms, err);
    }
    client_refresh(writer->client);
    client_drop_events(writer->client);
    if (writer->keeper) {
        client_refresh(writer->keeper);
        bool fenced = fence(writer->keeper, "keeper", writer->service, until_ms, err);
        client_free(writer->keeper, CLIENT_END_MS);
        writer->keeper = NULL;
        if (!fenced) {
            return false;
        }
    }
    return fence(writer->client, writer->role, writer->service, until_ms, err);
}

struct control_writer *control_writer_prepare(const struct config_client *client,
                                              const char *service, const char *role,
                                              struct err *err)
{
    return prepare(client, service, role, client_now_ms() + CALL_MS, err);
}

bool control_writer_begin(struct control_writer *writer, struct err *err)
{
    return begin(writer, client_now_ms() + CALL_MS, err);
}

struct control_writer *control_writer_new(const struct config_client *client, const char *service,
                                          const char *role, struct err *err)
{
    int64_t until_ms = client_now_ms() + CALL_MS;
    struct control_writer *writer = prepare(client, service, role, until_ms, err);
    if (writer && !begin(writer, until_ms, err)) {
        control_writer_free(writer);
        return NULL;
    }
    return writer;
}

void control_writer_free(struct control_writer *writer)
{
    if (writer) {
        control_single_free(writer->single);
        client_free(writer->keeper, CLIENT_END_MS);
        client_free(writer->client, CLIENT_END_MS);
        free(writer);
    }
}

/* ---- write ---- */

/* The broker aborts by itself what we cannot: then our next call is refused or resumes this. */
static void abort_open(struct control_writer *writer, int64_t until_ms)
{
    rd_kafka_error_t *error =
        rd_kafka_abort_transaction(client_handle(writer->client), left_ms(until_ms));
    writer->open = error && rd_kafka_error_is_retriable(error) ? OPEN_ABORT : OPEN_NONE;
    if (error) {
        rd_kafka_error_destroy(error);
    }
}

static bool commit_open(struct control_writer *writer, int64_t until_ms, struct err *err)
{
    rd_kafka_error_t *error =
        rd_kafka_commit_transaction(client_handle(writer->client), left_ms(until_ms));
    if (!error) {
        writer->open = OPEN_NONE;
        return true;
    }
    bool must_abort = rd_kafka_error_txn_requires_abort(error) != 0;
    writer->open = rd_kafka_error_is_retriable(error) ? OPEN_COMMIT : OPEN_NONE;
    failed(writer->client, writer->id, writer->topic, error, "commit to the control topic", err);
    if (must_abort) {
        abort_open(writer, until_ms);
        if (err && err->kind == ERR_REFUSED) {
            err->kind = ERR_RETRY; /* nothing was written */
        }
    }
    return false;
}

static bool end_open(struct control_writer *writer, int64_t until_ms, struct err *err)
{
    switch (writer->open) {
    case OPEN_NONE:
        break;
    case OPEN_COMMIT:
        return commit_open(writer, until_ms, err);
    case OPEN_ABORT:
        abort_open(writer, until_ms);
        break;
    }
    return writer->open == OPEN_NONE ||
           err_set(err, ERR_RETRY, "control topic: the last transaction is still open");
}

static bool put(struct control_writer *writer, const struct control_record *record, struct err *err)
{
    size_t value_len = record->value ? strlen(record->value) : 0;
    rd_kafka_resp_err_t code = rd_kafka_producev(
        client_handle(writer->client), RD_KAFKA_V_TOPIC(writer->topic), RD_KAFKA_V_PARTITION(0),
        RD_KAFKA_V_KEY((void *)(uintptr_t)record->key, strlen(record->key)),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value, value_len),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    return !code || client_err(writer->client, err, code, "write '%s' to '%s': %s", record->key,
                               writer->topic, rd_kafka_err2str(code));
}

bool control_write_unknown(const struct control_writer *writer)
{
    return writer->single ? control_single_unsure(writer->single) : writer->open == OPEN_COMMIT;
}

bool control_write_again(struct control_writer *writer, struct err *err)
{
    if (writer->single) {
        return err_set(err, ERR_RETRY, "'%s': whether it was written is not known", writer->topic);
    }
    assert(writer->open == OPEN_COMMIT);
    return commit_open(writer, client_now_ms() + CALL_MS, err);
}

bool control_writer_is_old(struct control_writer *writer)
{
    return writer->single ? control_single_is_old(writer->single)
                          : writer->stuck || client_is_old(writer->client);
}

bool control_write(struct control_writer *writer, const struct control_record *records,
                   size_t count, struct err *err)
{
    int64_t until_ms = client_now_ms() + CALL_MS;
    if (writer->single) {
        return control_single_write(writer->single, records, count, until_ms, err);
    }
    client_refresh(writer->client);
    client_drop_events(writer->client);
    if (!end_open(writer, until_ms, err)) {
        writer->stuck = writer->open != OPEN_NONE;
        return false;
    }
    rd_kafka_error_t *error = rd_kafka_begin_transaction(client_handle(writer->client));
    if (error) {
        return failed(writer->client, writer->id, writer->topic, error,
                      "begin a transaction of the control topic", err);
    }
    for (size_t i = 0; i < count; i++) {
        if (!put(writer, &records[i], err)) {
            abort_open(writer, until_ms);
            return false;
        }
    }
    return commit_open(writer, until_ms, err);
}
