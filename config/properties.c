#include "config/properties.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "config/words.h"

#define DAY_MS 86400000
/* Of rare and slow things: the wire client has its own. */
#define TOKENS     "docs/sign-in.md#tokens"
#define DOORS_ONLY "librdkafka only: admin, membership, control topic"

/* clang-format off */
const struct property properties[] = {
    {.name = "bootstrap.servers", .type = PROPERTY_SERVERS},
    {.name = "client.id", .type = PROPERTY_TEXT, .longest = 255},
    {.name = "client.dns.lookup", .type = PROPERTY_CHOICE, .choices = "use_all_dns_ips"},
    {.name = "security.protocol", .type = PROPERTY_CHOICE, .choices = "PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL"},
    {.name = "sasl.mechanism", .type = PROPERTY_CHOICE, .choices = "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER|GSSAPI"},
    {.name = "sasl.username", .type = PROPERTY_TEXT},
    {.name = "sasl.password", .type = PROPERTY_TEXT, .secret = true},
    {.name = "sasl.oauthbearer.method", .type = PROPERTY_CHOICE, .choices = "oidc", .note = TOKENS},
    {.name = "sasl.oauthbearer.token.endpoint.url", .type = PROPERTY_URL, .longest = 1000, .note = TOKENS},
    {.name = "sasl.oauthbearer.client.id", .type = PROPERTY_TEXT, .note = TOKENS},
    {.name = "sasl.oauthbearer.client.secret", .type = PROPERTY_TEXT, .secret = true, .note = TOKENS},
    {.name = "sasl.oauthbearer.scope", .type = PROPERTY_TEXT, .longest = 1000, .note = TOKENS},
    {.name = "sasl.oauthbearer.extensions", .type = PROPERTY_PAIRS, .longest = 1000, .note = TOKENS},
    {.name = "https.ca.location", .type = PROPERTY_TEXT, .note = "of the token endpoint; default: the system's"},
    {.name = "sasl.kerberos.service.name", .type = PROPERTY_TEXT, .longest = 60},
    {.name = "sasl.kerberos.principal", .type = PROPERTY_TEXT, .longest = 200, .note = "of whom the ticket must be; default: whoever it is of"},
    {.name = "sasl.kerberos.keytab", .type = PROPERTY_TEXT, .note = "no kinit is run: Kerberos' own library gets tickets from it. Default: the ticket cache of who runs the program"},
    {.name = "ssl.ca.location", .type = PROPERTY_TEXT},
    {.name = "ssl.ca.pem", .type = PROPERTY_TEXT},
    {.name = "ssl.certificate.location", .type = PROPERTY_TEXT},
    {.name = "ssl.certificate.pem", .type = PROPERTY_TEXT},
    {.name = "ssl.key.location", .type = PROPERTY_TEXT},
    {.name = "ssl.key.pem", .type = PROPERTY_TEXT, .secret = true},
    {.name = "ssl.key.password", .type = PROPERTY_TEXT, .secret = true},
    {.name = "ssl.keystore.location", .type = PROPERTY_TEXT},
    {.name = "ssl.keystore.password", .type = PROPERTY_TEXT, .secret = true},
    {.name = "ssl.crl.location", .type = PROPERTY_TEXT},
    {.name = "ssl.cipher.suites", .type = PROPERTY_TEXT, .note = "of TLS 1.2; TLS 1.3 has its own, all good"},
    {.name = "ssl.curves.list", .type = PROPERTY_TEXT},
    {.name = "ssl.sigalgs.list", .type = PROPERTY_TEXT},
    {.name = "ssl.endpoint.identification.algorithm", .type = PROPERTY_CHOICE, .choices = "https|none"},
    {.name = "enable.ssl.certificate.verification", .type = PROPERTY_BOOL},
    {.name = "broker.address.family", .type = PROPERTY_CHOICE, .choices = "any|v4|v6"},
    {.name = "broker.address.ttl", .type = PROPERTY_NUMBER, .least = 0, .most = DAY_MS, .note = "librdkafka only: the wire client looks up at each connect"},
    {.name = "socket.connection.setup.timeout.ms", .type = PROPERTY_NUMBER, .least = 1000, .most = INT32_MAX},
    {.name = "socket.timeout.ms", .type = PROPERTY_NUMBER, .least = 10, .most = 300000, .note = DOORS_ONLY},
    {.name = "socket.keepalive.enable", .type = PROPERTY_CHOICE, .choices = "true"},
    {.name = "socket.nagle.disable", .type = PROPERTY_CHOICE, .choices = "true"},
    {.name = "socket.send.buffer.bytes", .type = PROPERTY_NUMBER, .least = 0, .most = 100000000},
    {.name = "socket.receive.buffer.bytes", .type = PROPERTY_NUMBER, .least = 0, .most = 100000000},
    {.name = "connections.max.idle.ms", .type = PROPERTY_NUMBER, .least = 0, .most = INT32_MAX, .note = "librdkafka only: the wire client keeps its connections, and probes idle ones each minute"},
    {.name = "reconnect.backoff.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 3600000},
    {.name = "reconnect.backoff.max.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 3600000},
    {.name = "retry.backoff.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 300000, .note = DOORS_ONLY},
    {.name = "retry.backoff.max.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 300000, .note = DOORS_ONLY},
    {.name = "metadata.max.age.ms", .type = PROPERTY_NUMBER, .least = 1, .most = DAY_MS, .note = DOORS_ONLY},
    {.name = "topic.metadata.refresh.interval.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 3600000, .note = DOORS_ONLY},
    {.name = "topic.metadata.refresh.fast.interval.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 60000, .note = DOORS_ONLY},
    {.name = "topic.metadata.refresh.sparse", .type = PROPERTY_BOOL, .note = DOORS_ONLY},
    {.name = "topic.metadata.propagation.max.ms", .type = PROPERTY_NUMBER, .least = 0, .most = 3600000, .note = DOORS_ONLY},
    {.name = "api.version.request.timeout.ms", .type = PROPERTY_NUMBER, .least = 1, .most = 300000, .note = DOORS_ONLY},
};
const size_t properties_count = sizeof(properties) / sizeof(properties[0]);

#define WRITING "how records are written is what Ferry promises, not a setting"
#define READING "how records are read and shared out is what Ferry promises, not a setting; see \"mirror\""
#define KINIT   "no program is run: write sasl.kerberos.keytab, or keep the ticket cache filled from outside (docs/sign-in.md#kerberos)"
#define TOKEN   "tokens are asked for with sasl.oauthbearer.token.endpoint.url, .client.id and the secret .client.secret (docs/sign-in.md#tokens)"
#define BROKERS "Ferry speaks with brokers from 2.2 on, which tell their versions"
#define TALK    "what Ferry logs and measures is its own"

/* What people bring along from other clients' files. A name that ends in a dot or dash is a beginning. */
static const struct {
    const char *name;
    const char *why;
} refused[] = {
    {"metadata.broker.list", "an alias: write bootstrap.servers"},
    {"sasl.mechanisms", "an alias: write sasl.mechanism"},
    {"sasl.oauthbearer.client.credentials.client.id", "an alias: write sasl.oauthbearer.client.id"},
    {"sasl.oauthbearer.client.credentials.client.secret", "an alias: write sasl.oauthbearer.client.secret"},
    {"sasl.kerberos.", KINIT}, {"sasl.oauthbearer.", TOKEN}, {"enable.sasl.oauthbearer.", TOKEN}, {"https.", "write https.ca.location"},
    {"sasl.jaas.config", "of the Java client: write sasl.username, and sasl.password under secrets"},
    {"ssl.truststore.", "of the Java client: write ssl.ca.location"},
    {"ssl.engine.", "the wire client uses OpenSSL's default provider"}, {"ssl.providers", "the wire client uses OpenSSL's default provider"},
    {"ssl.ca.certificate.stores", "of Windows: write ssl.ca.location"},
    {"client.rack", "Ferry fetches from leaders"},
    {"api.version.request", BROKERS}, {"api.version.fallback.ms", BROKERS}, {"broker.version.fallback", BROKERS},
    {"acks", WRITING}, {"request.required.acks", WRITING}, {"request.timeout.ms", WRITING}, {"delivery.timeout.ms", WRITING},
    {"enable.idempotence", WRITING}, {"enable.gapless.guarantee", WRITING}, {"linger.ms", WRITING}, {"batch.", WRITING},
    {"compression.", WRITING}, {"message.", WRITING}, {"max.in.flight", WRITING}, {"max.in.flight.requests.per.connection", WRITING},
    {"queue.buffering.", WRITING}, {"partitioner", WRITING}, {"transactional.id", WRITING}, {"transaction.timeout.ms", WRITING},
    {"retries", WRITING}, {"message.send.max.retries", WRITING}, {"sticky.partitioning.linger.ms", WRITING},
    {"allow.auto.create.topics", WRITING}, {"produce.offset.report", WRITING},
    {"group.", READING}, {"session.timeout.ms", READING}, {"heartbeat.interval.ms", READING}, {"max.poll.", READING},
    {"max.partition.fetch.bytes", READING}, {"enable.auto.commit", READING}, {"enable.auto.offset.store", READING}, {"auto.", READING},
    {"fetch.", READING}, {"isolation.level", READING}, {"check.crcs", READING}, {"partition.assignment.strategy", READING},
    {"enable.partition.eof", READING}, {"queued.", READING}, {"offset.store.", READING}, {"coordinator.query.interval.ms", READING},
    {"debug", TALK}, {"log_level", TALK}, {"log.", TALK}, {"statistics.interval.ms", TALK}, {"enable.metrics.push", TALK},
    {"plugin.library.paths", "no foreign code is loaded"},
};
/* clang-format on */

const struct property *property_find(const char *name)
{
    for (size_t i = 0; i < properties_count; i++) {
        if (strcmp(properties[i].name, name) == 0) {
            return &properties[i];
        }
    }
    return NULL;
}

static bool is_named(const char *row, const char *name)
{
    size_t len = strlen(row);

    return row[len - 1] == '.' ? strncmp(row, name, len) == 0 : strcmp(row, name) == 0;
}

void property_why_not(const char *name, char *out, size_t out_bytes)
{
    const char *best = NULL;
    size_t best_distance = WORDS_NEAR;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (is_named(refused[i].name, name)) {
            snprintf(out, out_bytes, "this property is not the user's: %s", refused[i].why);
            return;
        }
    }
    for (size_t i = 0; i < properties_count; i++) {
        size_t distance = words_distance(name, properties[i].name);
        if (distance < best_distance) {
            best = properties[i].name;
            best_distance = distance;
        }
    }
    snprintf(out, out_bytes, "no property that Ferry knows%s%s%s",
             best == NULL ? "" : "; did you mean \"", best == NULL ? "" : best,
             best == NULL ? "" : "\"?");
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static bool number_ok(const struct property *property, const char *value, char *out,
                      size_t out_bytes)
{
    char *end;
    long long number = strtoll(value, &end, 10);
    bool digits =
        value[0] == '-' ? isdigit((unsigned char)value[1]) : isdigit((unsigned char)value[0]);

    if (!digits || *end != '\0' || number < property->least || number > property->most) {
        snprintf(out, out_bytes, "expected a whole number in %lld..%lld",
                 (long long)property->least, (long long)property->most);
        return false;
    }
    return true;
}

static bool port_ok(const char *text, size_t len)
{
    long port = 0;

    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]) || port > 65535) {
            return false;
        }
        port = port * 10 + (text[i] - '0');
    }
    return port > 0 && port <= 65535;
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT, with or without PROTOCOL:// before it. */
static bool server_ok(const char *text, size_t len)
{
    const char *scheme = memmem(text, len, "://", 3);
    const char *end = text + len;
    const char *host = scheme == NULL ? text : scheme + 3;

    if (host == end || memchr(text, '@', len) != NULL) {
        return false;
    }
    const char *host_end = *host == '[' ? memchr(host, ']', (size_t)(end - host))
                                        : memchr(host, ':', (size_t)(end - host));
    if (*host == '[') {
        if (host_end == NULL) {
            return false;
        }
        host++;
    }
    const char *rest = host_end == NULL ? end : host_end + (*host_end == ']');
    host_end = host_end == NULL ? end : host_end;
    for (const char *byte = host; byte < host_end; byte++) {
        if (!isalnum((unsigned char)*byte) && strchr("._-:%", *byte) == NULL) {
            return false;
        }
    }
    return host_end > host && host_end - host < 256 &&
           (rest == end || (*rest == ':' && port_ok(rest + 1, (size_t)(end - rest) - 1)));
}

/* The next of them, without the blanks around it; *at moves behind it, to NULL at the end. */
static const char *next_server(const char **at, size_t *out_len)
{
    const char *begin = *at + strspn(*at, " ");
    size_t len = strcspn(begin, ",");

    *at = begin[len] == '\0' ? NULL : begin + len + 1;
    for (; len > 0 && begin[len - 1] == ' '; len--) {
    }
    *out_len = len;
    return begin;
}

static bool servers_ok(const char *value, char *out, size_t out_bytes)
{
    int count = 0;

    snprintf(out, out_bytes, "expected HOST:PORT, and more of them behind commas");
    for (const char *at = value; at != NULL; count++) {
        size_t len;
        const char *server = next_server(&at, &len);
        if (!server_ok(server, len)) {
            return false;
        }
    }
    snprintf(out, out_bytes, "%d of them; up to %d are tried: any broker tells of all others",
             count, PROPERTY_SERVERS_MAX);
    return count <= PROPERTY_SERVERS_MAX;
}

bool property_servers_speak(const char *servers, const char *protocol)
{
    for (const char *at = servers; at != NULL;) {
        size_t len;
        const char *server = next_server(&at, &len);
        const char *scheme = memmem(server, len, "://", 3);
        size_t scheme_len = scheme == NULL ? 0 : (size_t)(scheme - server);
        if (scheme != NULL &&
            (scheme_len != strlen(protocol) || strncasecmp(server, protocol, scheme_len) != 0)) {
            return false;
        }
    }
    return true;
}

/* Printable, without blanks, nobody's name and password in it: those would be logged. */
static bool url_ok(const char *value)
{
    const char *host = strstr(value, "://");
    size_t scheme_len = host == NULL ? 0 : (size_t)(host - value);

    for (const char *at = value; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return false;
        }
    }
    return host != NULL && host[3] != '\0' && host[3] != '/' && strchr(value, '@') == NULL &&
           ((scheme_len == 5 && strncmp(value, "https", 5) == 0) ||
            (scheme_len == 4 && strncmp(value, "http", 4) == 0));
}

static bool pair_ok(const char *text, size_t len)
{
    const char *equals = memchr(text, '=', len);
    size_t key_len = equals == NULL ? 0 : (size_t)(equals - text);

    for (size_t i = 0; i < len; i++) {
        bool letter = isalpha((unsigned char)text[i]) != 0;
        if (i < key_len ? !letter : text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return key_len > 0 && !(key_len == 4 && strncmp(text, "auth", 4) == 0);
}

/* Up to 16 of them, each once written into a message of our own (RFC 7628): nothing in them may end a field. */
static bool pairs_ok(const char *value)
{
    int count = 0;

    for (const char *at = value; at != NULL; count++) {
        size_t len = strcspn(at, ",");
        if (!pair_ok(at, len) || count == PROPERTY_PAIRS_MAX) {
            return false;
        }
        at = at[len] == '\0' ? NULL : at + len + 1;
    }
    return true;
}

bool property_value_ok(const struct property *property, const char *value, char *out,
                       size_t out_bytes)
{
    bool ok = true;

    if (property->longest > 0 && strlen(value) > (size_t)property->longest) {
        snprintf(out, out_bytes, "is longer than %d bytes", property->longest);
        return false;
    }
    switch (property->type) {
    case PROPERTY_TEXT:
        ok = value[0] != '\0';
        snprintf(out, out_bytes, "is empty");
        break;
    case PROPERTY_NUMBER:
        return number_ok(property, value, out, out_bytes);
    case PROPERTY_BOOL:
        ok = words_choice("true|false", value);
        snprintf(out, out_bytes, "expected true or false");
        break;
    case PROPERTY_CHOICE:
        ok = words_choice(property->choices, value);
        snprintf(out, out_bytes, "expected one of %s", property->choices);
        break;
    case PROPERTY_SERVERS:
        return servers_ok(value, out, out_bytes);
    case PROPERTY_URL:
        ok = url_ok(value);
        snprintf(out, out_bytes, "expected https://HOST[:PORT]/PATH without a user in it");
        break;
    case PROPERTY_PAIRS:
        ok = pairs_ok(value);
        snprintf(out, out_bytes,
                 "expected up to %d of KEY=VALUE, behind commas; a key is letters, not \"auth\"",
                 PROPERTY_PAIRS_MAX);
        break;
    }
    return ok;
}

const char *config_client_get(const struct config_client *client, const char *property)
{
    for (size_t i = 0; i < client->properties_count; i++) {
        if (strcmp(client->properties[i].name, property) == 0) {
            return client->properties[i].value;
        }
    }
    return NULL;
}
