/* kafka/control. usage: control_driver BOOTSTRAP SERVICE watch|write ROLE|hang ROLE|read|create
 *
 * watch: one line a snapshot; poke, quit from stdin.
 * write: "put KEY VALUE" adds a record, "del KEY" a tombstone, "write" writes them; quit
 * hang:  writes a record in a transaction that is never ended, says so, waits to be killed
 */
#include <librdkafka/rdkafka.h>

#include "kafka/admin.h"
#include "kafka/control.h"
#include "tests/integration/drivers/driver.h"

static struct loop *loop;
static struct control *control;
static struct control_writer *writer;
static struct control_record records[1000];
static size_t records_count;

static void say_state(const char *event, const struct control_state *state, const struct err *err)
{
    char id[UUID_TEXT_BYTES];
    if (!state) {
        say("%s none=1 code=%d why=%s", event, err ? err->code : 0, err ? err->what : "-");
        return;
    }
    say("%s age_ms=%lld id=%s end=%lld role=%lld primary=%s streams=%lld hash=%016llx topics=%zu "
        "epoch=%lld keeper=%s paused=%d open=%d code=%d why=%s",
        event, (long long)(clock_now_ms(clock_system()) - state->read_ms),
        uuid_hex(&state->topic_id, id), (long long)state->end_offset, (long long)state->role_epoch,
        state->primary[0] ? state->primary : "-", (long long)state->streams_epoch,
        (unsigned long long)state->streams_hash, state->topics_count,
        (long long)state->topics_epoch, state->keeper[0] ? state->keeper : "-", state->paused,
        state->operation_open, err ? err->code : 0, err ? err->what : "-");
}

static void changed(void *arg, const struct control_state *state, const struct err *err)
{
    (void)arg;
    say_state("state", state, err);
}

static void watch_command(int count, char **words)
{
    (void)count;
    if (strcmp(words[0], "poke") == 0) {
        control_poke(control);
    } else {
        loop_stop(loop);
    }
}

static int watch(const struct config_client *client, const char *service)
{
    static struct driver_input input = {.command = watch_command};
    const struct control_callbacks callbacks = {changed, NULL};
    struct err err;
    loop = loop_new(clock_system());
    control = control_new(loop, client, service, &callbacks, &err);
    if (!control) {
        say_err("failed", &err);
        return 1;
    }
    input.watch = loop_fd_new(loop, 0, LOOP_READ, driver_read, &input);
    loop_run(loop);
    int64_t began_ms = loop_now_ms(loop);
    control_free(control);
    say("freed ms=%lld", (long long)(loop_now_ms(loop) - began_ms));
    loop_fd_free(input.watch);
    loop_free(loop);
    return 0;
}

/* As the keeper does. */
static void renew(const struct config_client *client, const char *service, const char *role,
                  struct err *err)
{
    if (writer != NULL && control_writer_is_old(writer)) {
        say("renewed");
        control_writer_free(writer);
        writer = NULL;
    }
    if (writer == NULL) {
        writer = control_writer_new(client, service, role, err);
    }
}

static void write_all(const struct config_client *client, const char *service, const char *role)
{
    struct err err;
    int64_t began_ms = clock_now_ms(clock_system());
    renew(client, service, role, &err);
    if (writer != NULL && control_write(writer, records, records_count, &err)) {
        say("written count=%zu ms=%lld", records_count,
            (long long)(clock_now_ms(clock_system()) - began_ms));
    } else {
        say_err("write", &err);
    }
    for (size_t i = 0; i < records_count; i++) {
        free((void *)(uintptr_t)records[i].key);
        free((void *)(uintptr_t)records[i].value);
    }
    records_count = 0;
}

static int write_records(const struct config_client *client, const char *service, const char *role)
{
    struct err err;
    char line[1 << 16];
    char *words[DRIVER_WORDS];
    int64_t began_ms = clock_now_ms(clock_system());
    writer = control_writer_new(client, service, role, &err);
    long long took_ms = (long long)(clock_now_ms(clock_system()) - began_ms);
    if (!writer) {
        say_err("failed", &err);
        say("took ms=%lld", took_ms);
        return 1;
    }
    say("ready ms=%lld", took_ms);
    while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0) {
        int count = driver_split(line, words);
        if (count >= 3 && strcmp(words[0], "put") == 0) {
            records[records_count++] = (struct control_record){strdup(words[1]), strdup(words[2])};
        } else if (count == 2 && strcmp(words[0], "del") == 0) {
            records[records_count++] = (struct control_record){strdup(words[1]), NULL};
        } else if (count == 1) {
            write_all(client, service, role);
        }
    }
    control_writer_free(writer);
    return 0;
}

/* What a writer leaves that is killed between its record and its commit. */
static int hang(const struct config_client *client, const char *service, const char *role)
{
    char id[300];
    char topic[CONTROL_TOPIC_BYTES];
    char why[256];
    struct err err;
    snprintf(id, sizeof(id), "ferry-%s-%s", role, service);
    const char *const extra[] = {"transactional.id", id, "transaction.timeout.ms", "60000", NULL};
    rd_kafka_conf_t *conf = client_conf_new(client, extra, &err);
    rd_kafka_t *rk = conf ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why)) : NULL;
    if (!rk || rd_kafka_init_transactions(rk, 10000) || rd_kafka_begin_transaction(rk)) {
        say("failed");
        return 1;
    }
    rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(control_topic_name(service, topic)),
                      RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("keeper", 6),
                      RD_KAFKA_V_VALUE("{\"worker\":\"hung\"}", 17), RD_KAFKA_V_END);
    rd_kafka_flush(rk, 5000);
    say("hanging");
    pause();
    return 0;
}

static int once(const struct config_client *client, const char *service, bool create)
{
    struct err err;
    int64_t began_ms = clock_now_ms(clock_system());
    if (create) {
        bool ok = control_create(client, service, &err);
        say("%s", ok ? "created" : err.what);
        return ok ? 0 : 1;
    }
    struct control_state *state = control_read(client, service, 5000, &err);
    say_state("read", state, state ? NULL : &err);
    say("took ms=%lld", (long long)(clock_now_ms(clock_system()) - began_ms));
    control_state_free(state);
    return state ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        return 2;
    }
    const struct config_client *client = driver_client(argv[1]);
    if (strcmp(argv[3], "watch") == 0) {
        return watch(client, argv[2]);
    }
    if (strcmp(argv[3], "write") == 0) {
        return write_records(client, argv[2], argv[4]);
    }
    if (strcmp(argv[3], "hang") == 0) {
        return hang(client, argv[2], argv[4]);
    }
    return once(client, argv[2], strcmp(argv[3], "create") == 0);
}
