/* An application that finds its cluster by a name: a group's consumer with a name server of its own, and a ledger.
 *
 * usage: cname_consumer BOOTSTRAP GROUP NAMESERVER:PORT|- TOPIC...        DRIVER_PROPERTIES: more of librdkafka's
 * It is an ordinary consumer: it subscribes, processes, and commits each second what it has processed. Whatever it
 * needs an address for it asks that name server, so it follows a CNAME without root and without touching the
 * machine's resolver; `-` asks the machine's, as it is in a namespace of its own.
 *
 * A consumer that lives on goes on at its position in memory, which is the old cluster's, until it notices that its
 * group does not know it any more: what it reads in between is at any offset. So an application that follows a name
 * makes a new consumer, which asks for committed(), when all brokers are gone or the cluster is another one. FOLLOW=no
 * leaves that out, to show it.
 *
 * SIGTERM: commits, leaves the group, ends. SIGUSR1: processes nothing more, but stays.
 * out: `read TOPIC PARTITION OFFSET CLUSTER VALUE` of each record: it counts as processed when the line is out;
 *      `commit TOPIC PARTITION OFFSET` of what the group's coordinator took; assigned, revoked, resolved, anew, trouble
 */
#include <ldns/ldns.h>
#include <librdkafka/rdkafka.h>
#include <netdb.h>
#include <signal.h>
#include <time.h>

#include "tests/integration/drivers/driver.h"

#define COMMIT_EVERY_MS 1000

static char nameserver[64];
static uint16_t nameserver_port;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static ldns_resolver *resolver_new(void)
{
    ldns_resolver *resolver = ldns_resolver_new();
    ldns_rdf *address = NULL;
    struct timeval limit = {.tv_sec = 2};
    if (!resolver || ldns_str2rdf_a(&address, nameserver) != LDNS_STATUS_OK) {
        ldns_resolver_deep_free(resolver);
        return NULL;
    }
    ldns_resolver_push_nameserver(resolver, address);
    ldns_rdf_deep_free(address);
    ldns_resolver_set_port(resolver, nameserver_port);
    ldns_resolver_set_timeout(resolver, limit);
    ldns_resolver_set_retry(resolver, 1);
    return resolver;
}

/* The A record that a name leads to, as text; the server adds what its CNAME leads to in the same zone. */
static bool ask(const char *name, char out[64])
{
    ldns_resolver *resolver = resolver_new();
    ldns_rdf *wanted = ldns_dname_new_frm_str(name);
    ldns_pkt *answer = NULL;
    bool found = false;
    if (resolver && wanted) {
        answer = ldns_resolver_query(resolver, wanted, LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN, LDNS_RD);
    }
    const ldns_rr_list *rrs = answer ? ldns_pkt_answer(answer) : NULL;
    for (size_t i = 0; rrs && i < ldns_rr_list_rr_count(rrs) && !found; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(rrs, i);
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_A && ldns_rr_rd_count(rr) == 1) {
            char *text = ldns_rdf2str(ldns_rr_rdf(rr, 0));
            snprintf(out, 64, "%s", text ? text : "");
            free(text);
            found = true;
        }
    }
    ldns_pkt_free(answer);
    ldns_rdf_deep_free(wanted);
    ldns_resolver_deep_free(resolver);
    return found;
}

static void tell_resolved(const char *name, const char *address)
{
    static char last[64];
    if (strcmp(last, address) != 0) {
        snprintf(last, sizeof(last), "%s", address);
        say("resolved name=%s address=%s", name, address);
    }
}

/* librdkafka's: as getaddrinfo; without names it frees. */
static int resolve(const char *node, const char *service, const struct addrinfo *hints,
                   struct addrinfo **res, void *opaque)
{
    char address[64];
    (void)opaque;
    if (!node && !service) {
        freeaddrinfo(*res);
        return 0;
    }
    struct addrinfo numeric = hints ? *hints : (struct addrinfo){0};
    numeric.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(node, service, &numeric, res) == 0) {
        return 0;
    }
    if (!ask(node, address)) {
        return EAI_AGAIN;
    }
    tell_resolved(node, address);
    return getaddrinfo(address, service, &numeric, res);
}

/* --- the group ---------------------------------------------------------------------------------------------------- */

static void say_parts(const char *event, const rd_kafka_topic_partition_list_t *parts)
{
    printf("%s count=%d parts=", event, parts ? parts->cnt : 0);
    for (int i = 0; parts && i < parts->cnt; i++) {
        printf("%s%s:%d", i ? "," : "", parts->elems[i].topic, parts->elems[i].partition);
    }
    say("%s", "");
}

static void rebalanced(rd_kafka_t *consumer, rd_kafka_resp_err_t why,
                       rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    (void)opaque;
    if (why == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        say_parts("assigned", parts);
        rd_kafka_assign(consumer, parts);
        return;
    }
    say_parts(rd_kafka_assignment_lost(consumer) ? "lost" : "revoked", parts);
    if (!rd_kafka_assignment_lost(consumer)) {
        rd_kafka_commit(consumer, NULL, 0);
    }
    rd_kafka_assign(consumer, NULL);
}

static void committed(rd_kafka_t *consumer, rd_kafka_resp_err_t err,
                      rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    (void)consumer, (void)opaque;
    for (int i = 0; parts && !err && i < parts->cnt; i++) {
        if (!parts->elems[i].err && parts->elems[i].offset >= 0) {
            say("commit %s %d %lld", parts->elems[i].topic, parts->elems[i].partition,
                (long long)parts->elems[i].offset);
        }
    }
    if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        say("trouble what=commit: %s", rd_kafka_err2name(err));
    }
}

static bool all_down;

static void troubled(rd_kafka_t *consumer, int err, const char *reason, void *opaque)
{
    (void)consumer, (void)opaque;
    all_down = all_down || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    say("trouble what=%s: %s", rd_kafka_err2name(err), reason);
}

static void silent(const rd_kafka_t *consumer, int level, const char *facility, const char *text)
{
    (void)consumer;
    if (getenv("DRIVER_DEBUG")) {
        fprintf(stderr, "%lld %d %s %s\n", (long long)now_ms(), level, facility, text);
    }
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        say("failed what=%s", why);
        exit(1);
    }
}

/* What an application sets that wants to follow a name: docs/failover.md, "Clients". */
static const char *const followers[][2] = {
    {"session.timeout.ms",                       "6000"          },
    {"metadata.recovery.strategy",               "rebootstrap"   },
    {"metadata.recovery.rebootstrap.trigger.ms", "5000"          },
    {"socket.connection.setup.timeout.ms",       "2000"          },
    {"socket.timeout.ms",                        "10000"         },
    {"reconnect.backoff.max.ms",                 "500"           },
    {"broker.address.ttl",                       "500"           },
    {"isolation.level",                          "read_committed"},
    {"auto.offset.reset",                        "earliest"      },
    {"enable.auto.commit",                       "false"         },
    {"enable.auto.offset.store",                 "false"         },
};

static rd_kafka_t *consumer_new(char **argv)
{
    char why[256];
    const struct config_client *client = driver_client(argv[1]);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "group.id", argv[2]);
    for (size_t i = 0; i < sizeof(followers) / sizeof(followers[0]); i++) {
        set(conf, followers[i][0], followers[i][1]);
    }
    for (size_t i = 0; i < client->properties_count; i++) {
        set(conf, client->properties[i].name, client->properties[i].value);
    }
    if (nameserver_port) {
        rd_kafka_conf_set_resolve_cb(conf, resolve);
    }
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    rd_kafka_conf_set_offset_commit_cb(conf, committed);
    rd_kafka_conf_set_error_cb(conf, troubled);
    rd_kafka_conf_set_log_cb(conf, silent);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (!consumer) {
        say("failed what=%s", why);
        exit(1);
    }
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

static void subscribe(rd_kafka_t *consumer, char **topics)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (; *topics; topics++) {
        rd_kafka_topic_partition_list_add(list, *topics, RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t err = rd_kafka_subscribe(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (err) {
        say("failed what=%s", rd_kafka_err2name(err));
        exit(1);
    }
}

/* --- an application's loop ---------------------------------------------------------------------------------------- */

struct application {
    char **argv;
    rd_kafka_t *consumer;
    char cluster[64]; /* the first that it saw; empty before */
    int64_t commit_ms;
    bool follows;
};

static void begin(struct application *app)
{
    app->consumer = consumer_new(app->argv);
    app->cluster[0] = '\0';
    app->commit_ms = now_ms() + COMMIT_EVERY_MS;
    all_down = false;
    subscribe(app->consumer, app->argv + 4);
}

/* Without a word to anybody: what it would say goodbye to is gone, or never knew it. */
static void begin_anew(struct application *app, const char *why)
{
    say("anew why=%s", why);
    rd_kafka_destroy_flags(app->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    begin(app);
}

static bool same_cluster(struct application *app)
{
    char *cluster = rd_kafka_clusterid(app->consumer, 0);
    bool same = app->cluster[0] == '\0' || !cluster || strcmp(app->cluster, cluster) == 0;
    if (cluster && app->cluster[0] == '\0') {
        all_down = false; /* until it had a cluster it could not lose one */
    }
    if (cluster && (app->cluster[0] == '\0' || !app->follows)) {
        snprintf(app->cluster, sizeof(app->cluster), "%s", cluster);
    }
    if (cluster) {
        rd_kafka_mem_free(app->consumer, cluster);
    }
    return same || !app->follows;
}

/* Processing is writing the line; only then does the offset become one to commit. The value's first word is who the
 * record is. */
static void process(struct application *app, rd_kafka_message_t *message)
{
    if (message->err) {
        say("trouble what=%s: %s", rd_kafka_err2name(message->err),
            rd_kafka_message_errstr(message));
        return;
    }
    size_t head = 0;
    const char *value = message->payload;
    while (head < message->len && value[head] != ' ') {
        head++;
    }
    printf("read %s %d %lld %s %.*s\n", rd_kafka_topic_name(message->rkt), message->partition,
           (long long)message->offset, app->cluster[0] ? app->cluster : "-", (int)head, value);
    rd_kafka_error_destroy(rd_kafka_offset_store_message(message));
}

static void turn(struct application *app, bool stands)
{
    rd_kafka_message_t *message = stands ? NULL : rd_kafka_consumer_poll(app->consumer, 50);
    bool same = same_cluster(app);
    if (message && same) {
        process(app, message);
    }
    if (message) {
        rd_kafka_message_destroy(message);
    }
    if (!same || (all_down && app->follows && app->cluster[0])) {
        begin_anew(app, same ? "all-down" : "other-cluster");
    }
    if (stands) {
        usleep(50000);
    }
    if (!message) {
        fflush(stdout);
    }
    if (now_ms() >= app->commit_ms) {
        fflush(stdout); /* what is committed was processed */
        rd_kafka_commit(app->consumer, NULL, 1);
        app->commit_ms = now_ms() + COMMIT_EVERY_MS;
    }
}

static volatile sig_atomic_t leave, stand;

static void told(int number)
{
    if (number == SIGTERM) {
        leave = 1;
    } else {
        stand = 1;
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: cname_consumer BOOTSTRAP GROUP NAMESERVER:PORT|- TOPIC...\n");
        return 2;
    }
    unsigned port = 0;
    if (sscanf(argv[3], "%63[^:]:%u", nameserver, &port) == 2) {
        nameserver_port = (uint16_t)port;
    }
    const char *follow = getenv("FOLLOW");
    struct application app = {.argv = argv, .follows = !follow || strcmp(follow, "no") != 0};
    signal(SIGTERM, told);
    signal(SIGUSR1, told);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    begin(&app);
    say("ready");
    while (!leave) {
        turn(&app, stand != 0);
    }
    rd_kafka_consumer_close(app.consumer);
    rd_kafka_destroy(app.consumer);
    say("closed");
    return 0;
}
