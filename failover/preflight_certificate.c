/* What a client would meet that reaches the target under a record's name: does a broker's certificate fit that name, and when
 * does it end? Each bootstrap server is connected to as such a client does (SNI is the record's name), and left behind the
 * handshake. Authorities are those of the site's own settings: clients may have others.
 *
 * A broker that wants a client certificate shows its own first; that it refuses ours later is told elsewhere.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/heap.h"
#include "failover/preflight_inside.h"
#include "kafka/cluster.h"
#include "kafka/tls.h"

#define SOON_MS ((int64_t)14 * 86400 * 1000) /* as alert FerryCertificateEnds */

/* --- asking ---------------------------------------------------------------------------------------------------------- */

static const char *servers_of(const struct preflight *preflight)
{
    const char *servers = config_client_get(&preflight->in.to->kafka, "bootstrap.servers");
    return servers == NULL ? "" : servers;
}

size_t preflight_certificates_count(const struct preflight *preflight)
{
    size_t count = 1;
    if (!tls_wanted(&preflight->in.to->kafka) || preflight->in.service->cnames_count == 0) {
        return 0;
    }
    for (const char *c = servers_of(preflight); *c != '\0'; c++) {
        count += *c == ',' ? 1 : 0;
    }
    return count < PREFLIGHT_SERVERS_MAX ? count : PREFLIGHT_SERVERS_MAX;
}

static bool server_at(const struct preflight *preflight, size_t index,
                      char host[CLUSTER_HOST_BYTES], int32_t *out_port)
{
    const char *from = servers_of(preflight);
    for (size_t i = 0; i < index && from != NULL; i++) {
        from = strchr(from, ',');
        from = from == NULL ? NULL : from + 1;
    }
    return from != NULL && cluster_parse_server(from, strcspn(from, ","), host, out_port);
}

static bool wait_socket(const struct preflight *preflight, int fd, short what, struct err *err)
{
    struct pollfd watch = {.fd = fd, .events = what};
    int rc;
    do {
        rc = poll(&watch, 1, preflight_left_ms(preflight));
    } while (rc < 0 && errno == EINTR);
    return rc > 0 || err_set(err, ERR_RETRY, "no answer in time");
}

static int connect_one(const struct preflight *preflight, const struct addrinfo *address,
                       struct err *err)
{
    int error = 0;
    socklen_t len = sizeof(error);
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_set_code(err, ERR_RETRY, errno, "socket: %s", strerror(errno));
        return -1;
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        error = errno == EINPROGRESS ? 0 : errno;
        if (error == 0 && !wait_socket(preflight, fd, POLLOUT, err)) {
            close(fd);
            return -1;
        }
        if (error == 0) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
        }
    }
    if (error != 0) {
        err_set_code(err, ERR_RETRY, error, "%s", strerror(error));
        close(fd);
        return -1;
    }
    return fd;
}

static bool shake_hands(const struct preflight *preflight, struct tls *tls, int fd, struct err *err)
{
    enum tls_progress progress;
    while ((progress = tls_handshake(tls, err)) != TLS_DONE) {
        if (progress == TLS_FAILED ||
            !wait_socket(preflight, fd, progress == TLS_WANTS_WRITE ? POLLOUT : POLLIN, err)) {
            return false;
        }
    }
    return true;
}

static void look_at(const struct preflight *preflight, struct tls_context *context,
                    const struct addrinfo *address, const char *record, struct preflight_shown *out)
{
    int fd = connect_one(preflight, address, &out->err);
    struct tls *tls = fd < 0 ? NULL : tls_new(context, record, fd, &out->err);
    out->ends_ms = -1;
    if (tls != NULL) {
        out->fits = shake_hands(preflight, tls, fd, &out->err) && tls_made_for(tls, record);
        out->answered = out->fits || out->err.kind != ERR_RETRY;
        out->ends_ms = tls_end_ms(tls);
        if (!out->fits && out->err.kind == ERR_NONE) {
            err_set(&out->err, ERR_REFUSED, "its certificate is not made for %.253s", record);
        }
    }
    tls_free(tls);
    if (fd >= 0) {
        close(fd);
    }
}

static void ask_server(const struct preflight *preflight, size_t index,
                       struct preflight_certificates *out)
{
    char host[CLUSTER_HOST_BYTES];
    char service[16];
    int32_t port = 0;
    const struct config_service *of = preflight->in.service;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *addresses = NULL;
    struct err err = {0};
    if (!server_at(preflight, index, host, &port)) {
        err_set(&err, ERR_CONFIG, "bootstrap.servers: entry %zu is no server", index + 1);
        snprintf(host, sizeof(host), "?");
    } else {
        snprintf(service, sizeof(service), "%d", port);
        int rc = getaddrinfo(host, service, &hints, &addresses);
        if (rc != 0) {
            err_set(&err, ERR_RETRY, "look up '%s': %s", host, gai_strerror(rc));
        }
    }
    snprintf(out->server, sizeof(out->server), "%s:%d", host, port);
    struct tls_context *context = tls_context_new(&preflight->in.to->kafka);
    for (size_t i = 0; i < of->cnames_count; i++) {
        out->records[i].err = err;
        out->records[i].ends_ms = -1;
        if (addresses != NULL) {
            look_at(preflight, context, addresses, of->cnames[i].record, &out->records[i]);
        }
    }
    tls_context_free(context);
    if (addresses != NULL) {
        freeaddrinfo(addresses);
    }
}

void preflight_ask_certificates(struct preflight *preflight, size_t index)
{
    struct preflight_certificates *out = must(calloc(1, sizeof(*out)));
    out->records = must(calloc(preflight->in.service->cnames_count + 1, sizeof(*out->records)));
    ask_server(preflight, index, out);
    preflight_publish(preflight, &preflight->certificates[index], out, preflight_certificates_free);
}

void preflight_certificates_free(void *arg)
{
    struct preflight_certificates *certificates = arg;
    if (certificates != NULL) {
        free(certificates->records);
        free(certificates);
    }
}

/* --- what follows ---------------------------------------------------------------------------------------------------- */

static void tell_shown(const struct preflight *preflight, const char *server, const char *record,
                       const struct preflight_shown *shown, struct preflight_list *out)
{
    char what[700];
    char when[CLOCK_TEXT_BYTES];
    snprintf(what, sizeof(what), "certificate of %.290s for %.253s", server, record);
    if (!shown->answered) {
        preflight_unknown(out, PREFLIGHT_CERTIFICATE, what, &shown->err);
    } else if (!shown->fits) {
        preflight_tell(out, PREFLIGHT_CERTIFICATE, PREFLIGHT_REFUSED,
                       "clients that know it as %.253s would not accept %.290s: %.400s", record,
                       server, shown->err.what);
        preflight_hint(out,
                       "have the record's name added to the certificates of %.100s: "
                       "docs/check.md#certificate",
                       preflight->in.to->name);
    } else if (shown->ends_ms >= 0 && shown->ends_ms - preflight->now_ms < SOON_MS) {
        preflight_tell(out, PREFLIGHT_CERTIFICATE, PREFLIGHT_WARNING,
                       "the certificate of %.290s ends at %s", server,
                       clock_rfc3339(shown->ends_ms, when));
        preflight_hint(out, "renew it: docs/check.md#certificate");
    }
}

void preflight_tell_certificates(const struct preflight *preflight, struct preflight_list *out)
{
    const struct config_service *service = preflight->in.service;
    for (size_t i = 0; i < preflight->certificates_count; i++) {
        const struct preflight_certificates *server = preflight->certificates[i];
        if (server == NULL) {
            preflight_late(preflight, out, PREFLIGHT_CERTIFICATE,
                           "certificate of a bootstrap server");
            continue;
        }
        for (size_t j = 0; j < service->cnames_count; j++) {
            tell_shown(preflight, server->server, service->cnames[j].record, &server->records[j],
                       out);
        }
    }
    if (preflight->certificates_count == 0) {
        preflight_tell(out, PREFLIGHT_CERTIFICATE, PREFLIGHT_OK, "%s",
                       service->cnames_count == 0
                           ? "the service has no records: no certificate has to fit one"
                           : "the target is reached without TLS: there is no certificate");
    } else if (out->count == 0) {
        preflight_tell(out, PREFLIGHT_CERTIFICATE, PREFLIGHT_OK,
                       "certificates of %zu bootstrap servers fit all %zu records",
                       preflight->certificates_count, service->cnames_count);
    }
}
