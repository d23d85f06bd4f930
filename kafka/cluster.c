/* See cluster.h. Bootstrap names ("seeds") are brokers without an id, see lane.h.
 *
 * Metadata is asked through lane 0 of any broker, and through the seeds while no broker of the latest answer can be reached.
 * A cluster keeps the cluster id of its first answer: a name that later leads elsewhere (that is what a failover does
 * with names) never mixes two clusters.
 */
#include "kafka/cluster.h"

#include <assert.h>
#include <strings.h>

#include "base/heap.h"
#include "base/log.h"
#include "config/properties.h"
#include "kafka/lane.h"
#include "kafka/sign_in.h"
#include "kafka/tls.h"
#include "kafka/topic_map.h"

#define SEEDS_MAX           PROPERTY_SERVERS_MAX
#define BROKERS_MAX         4096 /* each is looked up in a list of them: 16 M steps an answer */
#define REFRESH_GAP_MS      200  /* at most five metadata requests a second */
#define LEADERLESS_MS       500  /* elections take some hundred milliseconds */
#define METADATA_TIMEOUT_MS 3000 /* what a broker that hangs costs, once; then another is asked */
#define CONNECT_TIMEOUT_MS  5000
#define BACKOFF_FIRST_MS    100
#define BACKOFF_CAP_MS      2000 /* a broker that is back is used within this and a connect */
#define DEFAULT_PORT        9092
#define REFUSED_MS          2000  /* a password that is put right meanwhile counts */
#define TELL_AGAIN_MS       30000 /* what stays wrong is said again */

struct cluster {
    struct loop *loop;
    struct cluster_options options;
    struct lane_owner lanes;
    struct tls_context *tls; /* or NULL */
    struct broker *seeds[SEEDS_MAX];
    int32_t seeds_count;
    struct broker **brokers;
    int32_t brokers_count;
    int32_t listed_count;
    int32_t turn; /* which broker is asked next */
    struct topic_map *topics;
    char id[64];
    char principal[ACL_PRINCIPAL_BYTES]; /* "" = not asked for yet */
    bool reachable;
    int64_t told_ms;    /* when it was logged that nobody is reached; 0 = not, or over */
    int64_t refused_ms; /* when it was logged that one broker refuses us */
    int64_t
        refusing_ms; /* since when nobody answers and whoever is tried refuses us; 0 = it is not so */
    struct err last_error;
    struct loop_timer *refresh;
    int64_t refresh_at_ms;
    int64_t asked_ms;     /* when the last request went; 0 = never */
    struct lane *asking;  /* whose answer we wait for */
    bool again;           /* asked for while one was in flight */
    bool waiting;         /* one is due as soon as a lane 0 is ready */
    struct backoff retry; /* of metadata requests that fail */
    void (*changed)(void *arg);
    void *changed_arg;
    void (*conn_changed)(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                         const struct err *lost);
    void *conn_changed_arg;
};

/* --- bootstrap.servers ----------------------------------------------------------------------------------------- */

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *find_text(const char *text, size_t len, const char *what)
{
    return memmem(text, len, what, strlen(what));
}

static bool parse_port(const char *text, size_t len, int32_t *out)
{
    int32_t port = 0;

    for (size_t i = 0; i < len && port <= 65535; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (text[i] - '0');
    }
    if (len == 0 || port < 1 || port > 65535) {
        return false;
    }
    *out = port;
    return true;
}

/* Where the host ends: at the bracket of an address, else at the last colon, unless there are several (a bare v6). */
static const char *host_end(const char *text, size_t len)
{
    const char *first = memchr(text, ':', len);

    if (text[0] == '[') {
        return memchr(text, ']', len);
    }
    if (first == NULL || memchr(first + 1, ':', len - (size_t)(first + 1 - text)) != NULL) {
        return text + len;
    }
    return first;
}

bool cluster_parse_server(const char *text, size_t len, char out_host[CLUSTER_HOST_BYTES],
                          int32_t *out_port)
{
    int32_t port = DEFAULT_PORT;
    const char *scheme = find_text(text, len, "://");
    const char *end = text + len;

    text = scheme == NULL ? text : scheme + 3;
    for (; text < end && blank(*text); text++) {
    }
    for (; text < end && blank(end[-1]); end--) {
    }
    if (text == end) {
        return false;
    }
    bool bracket = *text == '[';
    const char *stop = host_end(text, (size_t)(end - text));
    if (stop == NULL) {
        return false;
    }
    const char *host = bracket ? text + 1 : text;
    const char *rest = bracket ? stop + 1 : stop;
    size_t host_len = (size_t)(stop - host);
    if (rest < end && (*rest != ':' || !parse_port(rest + 1, (size_t)(end - rest) - 1, &port))) {
        return false;
    }
    if (host_len == 0 || host_len >= CLUSTER_HOST_BYTES) {
        return false;
    }
    memcpy(out_host, host, host_len);
    out_host[host_len] = '\0';
    *out_port = port;
    return true;
}

/* The configuration was checked when it was loaded; what is no address is left out here. */
static void parse_seeds(struct cluster *cluster, const char *servers)
{
    while (servers != NULL && cluster->seeds_count < SEEDS_MAX) {
        const char *comma = strchr(servers, ',');
        size_t len = comma == NULL ? strlen(servers) : (size_t)(comma - servers);
        struct broker *seed = broker_new(&cluster->lanes, -1);
        if (cluster_parse_server(servers, len, seed->host, &seed->port)) {
            seed->listed = true;
            cluster->seeds[cluster->seeds_count++] = seed;
        } else {
            free(seed);
        }
        servers = comma == NULL ? NULL : comma + 1;
    }
}

/* Earlier than what is planned, never more than five a second. */
static void refresh_in(struct cluster *cluster, int64_t delay_ms)
{
    int64_t now_ms = loop_now_ms(cluster->loop);
    int64_t at_ms = now_ms + delay_ms;

    if (cluster->asked_ms != 0 && at_ms < cluster->asked_ms + REFRESH_GAP_MS) {
        at_ms = cluster->asked_ms + REFRESH_GAP_MS;
    }
    if (loop_timer_pending(cluster->refresh) && cluster->refresh_at_ms <= at_ms) {
        return;
    }
    cluster->refresh_at_ms = at_ms;
    loop_timer_set(cluster->refresh, at_ms - now_ms);
}

/* --- lanes ----------------------------------------------------------------------------------------------------- */

/* A broker in turn; `idle`: nothing that was asked of it is unanswered. */
static struct lane *ready_in_turn(struct cluster *cluster, bool idle)
{
    struct lane *lane = NULL;

    for (int32_t i = 0; i < cluster->brokers_count && lane == NULL; i++) {
        cluster->turn = (cluster->turn + 1) % cluster->brokers_count;
        lane = lane_find_ready(cluster->brokers[cluster->turn], 0);
        if (lane != NULL && idle && conn_in_flight_count(lane->conn) > 0) {
            lane = NULL;
        }
    }
    return lane;
}

/* Brokers in turn, then the seeds. One that owes an answer may be one that hangs: the others come first. */
static struct lane *any_ready_lane(struct cluster *cluster)
{
    struct lane *lane = ready_in_turn(cluster, true);

    if (lane == NULL) {
        lane = ready_in_turn(cluster, false);
    }
    for (int32_t i = 0; i < cluster->seeds_count && lane == NULL; i++) {
        lane = lane_find_ready(cluster->seeds[i], 0);
    }
    return lane;
}

/* Ask for lane 0 of every broker of the latest answer; for the seeds when all of those have failed. */
static void want_any(struct cluster *cluster)
{
    bool hope = false;

    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        struct broker *broker = cluster->brokers[i];
        if (broker->listed) {
            lane_want(broker, 0);
            hope = hope || !lane_failing(broker, 0);
        }
    }
    for (int32_t i = 0; !hope && i < cluster->seeds_count; i++) {
        lane_want(cluster->seeds[i], 0);
    }
}

/* Seeds that nobody waits for (cluster_any_conn() gives them out, too). */
static void rest_seeds(struct cluster *cluster)
{
    for (int32_t i = 0; i < cluster->seeds_count; i++) {
        struct lane *lane = lane_find(cluster->seeds[i], 0);
        if (lane != NULL && !(lane->ready && conn_in_flight_count(lane->conn) > 0)) {
            lane_rest(lane);
        }
    }
}

static void tell_conn(struct cluster *cluster, struct lane *lane, const struct err *lost)
{
    if (cluster->conn_changed != NULL && lane->broker->id >= 0) {
        cluster->conn_changed(cluster->conn_changed_arg, lane->broker->id, lane->number, lane->conn,
                              lost);
    }
}

static void lane_ready(void *arg, struct lane *lane)
{
    struct cluster *cluster = arg;

    if (lane->number == 0 && cluster->waiting) {
        cluster->waiting = false;
        refresh_in(cluster, 0);
    }
    if (lane->number == 0 && lane->broker->id >= 0) {
        rest_seeds(cluster);
    }
    tell_conn(cluster, lane, NULL);
}

/* One broker among others that does not take us, or not again, would be seen by its partitions alone. What ended a session is
 * told with the first connection: those behind it are refused for another reason, as they begin. */
static void tell_refused(struct cluster *cluster, const struct lane *lane, const struct err *why)
{
    int64_t now_ms = loop_now_ms(cluster->loop);
    bool refuses = why->kind != ERR_RETRY || why->code == CONN_NOT_AGAIN;

    if (!refuses || !cluster->reachable ||
        (cluster->refused_ms != 0 && now_ms < cluster->refused_ms + TELL_AGAIN_MS)) {
        return;
    }
    cluster->refused_ms = now_ms;
    log_warn("cluster.refused", "site=%s broker=%d why=%s hint=%s doing=\"trying again\"",
             cluster->options.name, lane->broker->id, log_quote(why->what).text,
             log_quote(why->hint).text);
}

static void lane_lost(void *arg, struct lane *lane, bool was_ready, const struct err *why)
{
    struct cluster *cluster = arg;

    tell_refused(cluster, lane, why);

    if (lane->number == 0) {
        cluster->last_error = *why; /* unreachable only when a metadata request fails, too */
        if (why->kind == ERR_REFUSED && !cluster->reachable && cluster->refusing_ms == 0) {
            cluster->refusing_ms = loop_now_ms(cluster->loop);
        }
    }
    if (was_ready) {
        refresh_in(cluster, 0); /* leaders move when a broker goes */
        tell_conn(cluster, lane, why);
    }
}

/* --- brokers of an answer -------------------------------------------------------------------------------------- */

static struct broker *broker_find(const struct cluster *cluster, int32_t id)
{
    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        if (cluster->brokers[i]->id == id) {
            return cluster->brokers[i];
        }
    }
    return NULL;
}

/* An address that changed holds for the next connection: one that stands is to the broker that we know. */
static void take_broker(struct cluster *cluster, const struct metadata_broker *answer)
{
    struct broker *broker = broker_find(cluster, answer->id);

    if (broker == NULL) {
        broker = broker_new(&cluster->lanes, answer->id);
        cluster->brokers = must(realloc(cluster->brokers, ((size_t)cluster->brokers_count + 1) *
                                                              sizeof(struct broker *)));
        cluster->brokers[cluster->brokers_count++] = broker;
    }
    broker->listed = true;
    broker->port = answer->port;
    memcpy(broker->host, answer->host.data, (size_t)answer->host.len);
    broker->host[answer->host.len] = '\0';
}

/* A broker that the answer does not list keeps the connections it has (the answer may be from another moment); when
 * they are gone, so is it. */
static void take_brokers(struct cluster *cluster, const struct metadata *metadata)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        cluster->brokers[i]->listed = false;
    }
    for (int32_t i = 0; i < metadata->brokers_count; i++) {
        take_broker(cluster, &metadata->brokers[i]);
    }
    cluster->listed_count = metadata->brokers_count;
    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        struct broker *broker = cluster->brokers[i];
        if (broker->listed || !broker_idle(broker)) {
            cluster->brokers[kept++] = broker;
        } else {
            broker_free(broker);
        }
    }
    cluster->brokers_count = kept;
}

static bool check_broker(const struct metadata_broker *broker)
{
    return broker->id >= 0 && broker->host.len > 0 && broker->host.len < CLUSTER_HOST_BYTES &&
           memchr(broker->host.data, '\0', (size_t)broker->host.len) == NULL && broker->port > 0 &&
           broker->port <= 65535;
}

static bool check_brokers(const struct metadata *metadata, struct err *err)
{
    if (metadata->brokers_count == 0) {
        return err_set(err, ERR_RETRY, "metadata without brokers");
    }
    if (metadata->brokers_count > BROKERS_MAX) {
        return err_set(err, ERR_RETRY, "metadata with %d brokers; up to %d are taken",
                       metadata->brokers_count, BROKERS_MAX);
    }
    for (int32_t i = 0; i < metadata->brokers_count; i++) {
        if (!check_broker(&metadata->brokers[i])) {
            return err_set(err, ERR_RETRY, "metadata: broker %d has no usable address",
                           metadata->brokers[i].id);
        }
    }
    return true;
}

static bool check_cluster_id(const struct cluster *cluster, const struct metadata *metadata,
                             struct err *err)
{
    struct wire_string id = metadata->cluster_id;

    if (id.len < 1 || id.len >= (int32_t)sizeof(cluster->id) ||
        memchr(id.data, '\0', (size_t)id.len) != NULL) {
        return err_set(err, ERR_RETRY, "metadata: a cluster id of %d bytes", id.len);
    }
    if (cluster->id[0] != '\0' && (strlen(cluster->id) != (size_t)id.len ||
                                   memcmp(cluster->id, id.data, (size_t)id.len) != 0)) {
        err_set(err, ERR_REFUSED, "the address leads to cluster %.*s now, not to %s", id.len,
                id.data, cluster->id);
        return err_hint(err, "bootstrap.servers of site '%s' must name one cluster",
                        cluster->options.name);
    }
    return true;
}

/* --- metadata -------------------------------------------------------------------------------------------------- */

static void set_unreachable(struct cluster *cluster, const struct err *why)
{
    int64_t now_ms = loop_now_ms(cluster->loop);

    cluster->last_error = *why;
    if (cluster->reachable || cluster->told_ms == 0 || now_ms >= cluster->told_ms + TELL_AGAIN_MS) {
        cluster->told_ms = now_ms;
        log_warn("cluster.unreachable", "site=%s why=%s hint=%s doing=\"trying again\"",
                 cluster->options.name, log_quote(why->what).text, log_quote(why->hint).text);
    }
    cluster->reachable = false;
}

static void set_reachable(struct cluster *cluster)
{
    if (!cluster->reachable) {
        log_info("cluster.reachable", "site=%s cluster_id=%s brokers=%d", cluster->options.name,
                 cluster->id, cluster->listed_count);
    }
    cluster->reachable = true;
    cluster->refusing_ms = 0;
    cluster->told_ms = 0;
    err_clear(&cluster->last_error);
}

static bool take_metadata(struct cluster *cluster, const struct metadata *metadata, struct err *err)
{
    if (!check_brokers(metadata, err) || !check_cluster_id(cluster, metadata, err) ||
        !topic_map_take(cluster->topics, metadata, err)) {
        return false;
    }
    take_brokers(cluster, metadata);
    memcpy(cluster->id, metadata->cluster_id.data, (size_t)metadata->cluster_id.len);
    set_reachable(cluster);
    return true;
}

static void metadata_failed(struct cluster *cluster, const struct err *why)
{
    set_unreachable(cluster, why);
    refresh_in(cluster, backoff_next_ms(&cluster->retry));
}

static void plan_next(struct cluster *cluster)
{
    int64_t delay_ms = cluster->options.refresh_ms;

    if (topic_map_leaderless(cluster->topics) && delay_ms > LEADERLESS_MS) {
        delay_ms = LEADERLESS_MS;
    }
    refresh_in(cluster, cluster->again ? 0 : delay_ms);
    cluster->again = false;
}

static void metadata_answered(void *arg, struct reader *reader, struct buf *block,
                              const struct err *err)
{
    struct cluster *cluster = arg;
    struct lane *lane = cluster->asking;
    struct metadata metadata = {0};
    struct err why;

    (void)block;
    cluster->asking = NULL;
    if (cluster->lanes.closing) {
        return;
    }
    if (reader == NULL) {
        metadata_failed(cluster, err);
        return;
    }
    int16_t version = conn_versions(lane->conn)->version[API_METADATA];
    bool ok = proto_get_metadata(reader, version, &metadata, &why) &&
              take_metadata(cluster, &metadata, &why);
    metadata_done(&metadata);
    if (!ok) { /* this broker's word is not good: another one is asked */
        err_wrap(&why, "%s", conn_name(lane->conn));
        lane_drop(lane, &why);
        metadata_failed(cluster, &why);
        return;
    }
    backoff_reset(&cluster->retry);
    plan_next(cluster);
    if (lane->broker->id < 0) { /* from a seed: on to the brokers themselves */
        want_any(cluster);
    }
    if (cluster->changed != NULL) {
        cluster->changed(cluster->changed_arg);
    }
}

static void metadata_ask(struct cluster *cluster, struct lane *lane)
{
    struct writer writer;
    int32_t count;
    if (lane->broker->id >= 0) {
        rest_seeds(cluster);
    }
    const char *const *names = topic_map_followed(cluster->topics, &count);
    int16_t version = conn_versions(lane->conn)->version[API_METADATA];

    writer_init(&writer);
    proto_put_metadata(&writer, version, names, count);
    cluster->asking = lane;
    cluster->asked_ms = loop_now_ms(cluster->loop);
    conn_send(lane->conn, API_METADATA, version, &writer, NULL, 0, METADATA_TIMEOUT_MS,
              metadata_answered, cluster);
    writer_done(&writer);
}

static void refresh_due(void *arg)
{
    struct cluster *cluster = arg;

    if (cluster->asking != NULL) { /* the answer plans the next one */
        cluster->again = true;
        return;
    }
    struct lane *lane = any_ready_lane(cluster);
    if (lane != NULL) {
        metadata_ask(cluster, lane);
        return;
    }
    cluster->waiting = true;
    want_any(cluster);
    if (cluster->last_error.kind != ERR_NONE) {
        set_unreachable(cluster, &cluster->last_error);
    }
    refresh_in(cluster, LEADERLESS_MS); /* or as soon as a lane is ready */
}

/* --- what the owner calls -------------------------------------------------------------------------------------- */

/* Absent or no number = `fallback`. Ranges were checked with the configuration. */
static int32_t property_number(const struct config_client *client, const char *name,
                               int32_t fallback)
{
    const char *text = config_client_get(client, name);
    char *end = NULL;
    long value = text == NULL ? 0 : strtol(text, &end, 10);

    return text == NULL || *end != '\0' || value < 1 || value > INT32_MAX ? fallback
                                                                          : (int32_t)value;
}

/* Nothing is connected in the clear that was configured otherwise. */
static bool speaks_protocol(struct cluster *cluster)
{
    const char *protocol = config_client_get(cluster->options.client, "security.protocol");

    return protocol == NULL || strcasecmp(protocol, "plaintext") == 0 ||
           tls_wanted(cluster->options.client) || sign_in_wanted(cluster->options.client) ||
           err_set(&cluster->last_error, ERR_CONFIG, "security.protocol=%s is not spoken",
                   protocol);
}

static int address_family(const struct config_client *client)
{
    const char *family = config_client_get(client, "broker.address.family");

    if (family != NULL && strcasecmp(family, "v4") == 0) {
        return AF_INET;
    }
    return family != NULL && strcasecmp(family, "v6") == 0 ? AF_INET6 : AF_UNSPEC;
}

/* As client_conf_new(): of the pair the site may name one, and the other gives way. */
static void fill_backoff(struct lane_owner *lanes, const struct config_client *client)
{
    bool first_named = config_client_get(client, "reconnect.backoff.ms") != NULL;
    int32_t first_ms = property_number(client, "reconnect.backoff.ms", BACKOFF_FIRST_MS);
    int32_t cap_ms = property_number(client, "reconnect.backoff.max.ms", BACKOFF_CAP_MS);

    lanes->backoff_first_ms = first_named || first_ms < cap_ms ? first_ms : cap_ms;
    lanes->backoff_cap_ms = cap_ms > lanes->backoff_first_ms ? cap_ms : lanes->backoff_first_ms;
}

static void fill_lanes(struct cluster *cluster)
{
    const struct config_client *client = cluster->options.client;
    const char *client_id = config_client_get(client, "client.id");

    cluster->tls = tls_wanted(client) ? tls_context_new(client) : NULL;
    cluster->lanes = (struct lane_owner){
        .loop = cluster->loop,
        .options =
            {
                      .client_id = client_id == NULL ? "ferry" : client_id,
                      .connect_timeout_ms = property_number(client, "socket.connection.setup.timeout.ms",
                      CONNECT_TIMEOUT_MS),
                      .tcp_user_timeout_ms = cluster->options.tcp_user_timeout_ms,
                      .address_family = address_family(client),
                      .send_buffer_bytes = property_number(client, "socket.send.buffer.bytes", 0),
                      .receive_buffer_bytes = property_number(client, "socket.receive.buffer.bytes", 0),
                      .max_answer_bytes = cluster->options.max_answer_bytes,
                      .pool = cluster->options.pool,
                      .produce_until_ms = cluster->options.produce_until_ms,
                      .tls = cluster->tls,
                      .sign_in = sign_in_wanted(client) ? client : NULL,
                      },
        .random_state = (uint32_t)loop_now_ms(cluster->loop) ^ (uint32_t)(uintptr_t)cluster,
        .ready = lane_ready,
        .lost = lane_lost,
        .arg = cluster,
    };
    fill_backoff(&cluster->lanes, client);
}

struct cluster *cluster_new(struct loop *loop, const struct cluster_options *options)
{
    struct cluster *cluster = must(calloc(1, sizeof(*cluster)));

    cluster->loop = loop;
    cluster->options = *options;
    fill_lanes(cluster);
    backoff_init(&cluster->retry, cluster->lanes.backoff_first_ms, cluster->lanes.backoff_cap_ms,
                 cluster->lanes.random_state++);
    cluster->topics = topic_map_new();
    cluster->refresh = loop_timer_new(loop, refresh_due, cluster);
    if (speaks_protocol(cluster)) {
        parse_seeds(cluster, config_client_get(options->client, "bootstrap.servers"));
    }
    refresh_in(cluster, 0);
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    cluster->lanes.closing = true;
    for (int32_t i = 0; i < cluster->seeds_count; i++) {
        broker_free(cluster->seeds[i]);
    }
    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        broker_free(cluster->brokers[i]);
    }
    free(cluster->brokers);
    tls_context_free(cluster->tls);
    topic_map_free(cluster->topics);
    loop_timer_free(cluster->refresh);
    free(cluster);
}

const char *cluster_id(const struct cluster *cluster)
{
    return cluster->id;
}

bool cluster_reachable(const struct cluster *cluster)
{
    return cluster->reachable;
}

bool cluster_refuses(const struct cluster *cluster)
{
    return cluster->refusing_ms != 0 &&
           loop_now_ms(cluster->loop) - cluster->refusing_ms >= REFUSED_MS;
}

const char *cluster_last_error(const struct cluster *cluster)
{
    return cluster->last_error.what;
}

void cluster_follow(struct cluster *cluster, const char *const *topics, int32_t count)
{
    topic_map_follow(cluster->topics, topics, count);
    cluster_refresh(cluster);
}

void cluster_refresh(struct cluster *cluster)
{
    if (cluster->asking != NULL) {
        cluster->again = true;
    } else {
        refresh_in(cluster, 0);
    }
}

void cluster_on_change(struct cluster *cluster, void (*changed)(void *arg), void *arg)
{
    cluster->changed = changed;
    cluster->changed_arg = arg;
}

const struct cluster_topic *cluster_topic(struct cluster *cluster, const char *name)
{
    return topic_map_find(cluster->topics, name);
}

int16_t cluster_topic_error(const struct cluster *cluster, const char *name)
{
    return topic_map_error(cluster->topics, name);
}

bool cluster_denied(struct cluster *cluster, int16_t error, enum acl_operation operation,
                    enum acl_resource resource, const char *name, char out[ACL_LACKS_BYTES])
{
    if (!acl_refusal(error)) {
        return false;
    }
    if (cluster->principal[0] == '\0') { /* each refused request asks: read once */
        acl_principal(cluster->options.client, cluster->principal);
    }
    acl_lacks(cluster->principal, operation, resource, name, out);
    return true;
}

const struct cluster_topic *cluster_topic_at(struct cluster *cluster, int32_t index)
{
    return topic_map_at(cluster->topics, index);
}

struct cluster_leader cluster_leader(struct cluster *cluster, const char *topic, int32_t partition)
{
    return topic_map_leader(cluster->topics, topic, partition);
}

static int32_t ready_lanes(const struct broker *broker)
{
    int32_t count = 0;

    for (const struct lane *lane = broker->lanes; lane != NULL; lane = lane->next) {
        count += lane->ready;
    }
    return count;
}

int32_t cluster_conns_count(const struct cluster *cluster)
{
    int32_t count = 0;

    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        count += ready_lanes(cluster->brokers[i]);
    }
    for (int32_t i = 0; i < cluster->seeds_count; i++) {
        count += ready_lanes(cluster->seeds[i]);
    }
    return count;
}

int32_t cluster_brokers_count(const struct cluster *cluster)
{
    return cluster->listed_count;
}

int32_t cluster_broker_at(const struct cluster *cluster, int32_t index)
{
    for (int32_t i = 0; i < cluster->brokers_count; i++) {
        if (cluster->brokers[i]->listed && index-- == 0) {
            return cluster->brokers[i]->id;
        }
    }
    return -1;
}

struct conn *cluster_conn(struct cluster *cluster, int32_t broker, int32_t lane)
{
    struct broker *found = cluster->lanes.closing ? NULL : broker_find(cluster, broker);
    return found == NULL ? NULL : lane_want(found, lane);
}

void cluster_on_conn(struct cluster *cluster,
                     void (*changed)(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                                     const struct err *lost),
                     void *arg)
{
    cluster->conn_changed = changed;
    cluster->conn_changed_arg = arg;
}

struct conn *cluster_any_conn(struct cluster *cluster)
{
    struct lane *lane = cluster->lanes.closing ? NULL : any_ready_lane(cluster);

    if (lane == NULL && !cluster->lanes.closing) {
        want_any(cluster);
    }
    return lane == NULL ? NULL : lane->conn;
}

void cluster_drop_conn(struct cluster *cluster, int32_t broker, int32_t lane, const char *why)
{
    struct broker *found = cluster->lanes.closing ? NULL : broker_find(cluster, broker);
    struct lane *dropped = found == NULL ? NULL : lane_find(found, lane);
    struct err err;

    if (dropped != NULL) {
        err_set(&err, ERR_RETRY, "dropped: %s", why);
        lane_drop(dropped, &err);
    }
}
