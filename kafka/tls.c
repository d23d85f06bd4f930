/* See tls.h: one connection's session. */
#include "kafka/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tls_peer.h"
#include "kafka/tls_inside.h"

struct tls {
    SSL *ssl;
    char host[256];
    char certificate[320]; /* of the one that was not accepted: names, end; "" = none */
    int verify_error;      /* X509_V_..., of that one */
    struct err why;        /* of EPROTO */
    int broken;            /* what recv says from here on: errno, or BROKEN_END; 0 = it works */
    bool filled;           /* the last read ended because its buffer was full */
    bool read_waits;
    size_t retry_len;                  /* offered to OpenSSL, not gone yet */
    uint8_t staging[TLS_RECORD_BYTES]; /* a record whose bytes come from several places */
};

#define BROKEN_END (-1) /* the broker has said goodbye */

/* --- whose certificate it is ----------------------------------------------------------------------------------- */

static void add_text(char *out, size_t out_bytes, const char *text, int len)
{
    size_t used = strlen(out);

    for (int i = 0; i < len && used + 1 < out_bytes; i++) {
        out[used++] = text[i] > ' ' && text[i] <= '~' ? text[i] : '?';
    }
    out[used] = '\0';
}

static void add_name(char *out, size_t out_bytes, const GENERAL_NAME *name)
{
    char text[64];

    add_text(out, out_bytes, out[0] == '\0' ? "" : ",", out[0] == '\0' ? 0 : 1);
    if (name->type == GEN_DNS) {
        const char *dns = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
        add_text(out, out_bytes, dns, ASN1_STRING_length(name->d.dNSName));
    } else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 4) {
        const unsigned char *ip = ASN1_STRING_get0_data(name->d.iPAddress);
        int len = snprintf(text, sizeof(text), "%d.%d.%d.%d", ip[0], ip[1], ip[2], ip[3]);
        add_text(out, out_bytes, text, len);
    } else {
        add_text(out, out_bytes, "(other)", 7);
    }
}

static void certificate_names(const X509 *certificate, char *out, size_t out_bytes)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names);

    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        add_name(out, out_bytes, sk_GENERAL_NAME_value(names, i));
    }
    GENERAL_NAMES_free(names);
    if (count == 0) { /* an authority has a subject only */
        X509_NAME_oneline(X509_get_subject_name(certificate), out, (int)out_bytes);
    }
}

static void certificate_end(const X509 *certificate, char *out, size_t out_bytes)
{
    struct tm when;

    out[0] = '\0';
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) == 1) {
        strftime(out, out_bytes, "%Y-%m-%dT%H:%M:%SZ", &when);
    }
}

/* Keeps what is wrong with which certificate: when the handshake has failed OpenSSL knows the first half alone. */
static int verified(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);

    if (ok == 1 || tls->verify_error != X509_V_OK) {
        return ok;
    }
    tls->verify_error = X509_STORE_CTX_get_error(store);
    if (certificate != NULL) {
        char names[224];
        char end[32];
        certificate_names(certificate, names, sizeof(names));
        certificate_end(certificate, end, sizeof(end));
        snprintf(tls->certificate, sizeof(tls->certificate), "%s, valid until %s", names, end);
    }
    return ok;
}

/* --- what went wrong ------------------------------------------------------------------------------------------- */

static void say_not_accepted(struct tls *tls)
{
    err_set(&tls->why, ERR_REFUSED, "TLS: the certificate of %s is not accepted: %s (%s)",
            tls->host, X509_verify_cert_error_string(tls->verify_error), tls->certificate);
    switch (tls->verify_error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        err_hint(&tls->why,
                 "connect by a name that stands in the certificate, or have %s added to "
                 "it; docs/faults.md#tls",
                 tls->host);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        err_hint(&tls->why, "renew the broker's certificate, or look at this machine's clock; "
                            "docs/faults.md#tls");
        break;
    default:
        err_hint(&tls->why, "ssl.ca.location of this site must hold the authority that signed it; "
                            "docs/faults.md#tls");
        break;
    }
}

/* Whether the broker speaks TLS at all, or did not like ours. */
static bool is_refusal(unsigned long error)
{
    int reason = ERR_GET_REASON(error);

    if (ERR_GET_LIB(error) != ERR_LIB_SSL) {
        return false;
    }
    return reason >= SSL_AD_REASON_OFFSET || reason == SSL_R_WRONG_VERSION_NUMBER ||
           reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_PROTOCOLS_AVAILABLE ||
           reason == SSL_R_PACKET_LENGTH_TOO_LONG || reason == SSL_R_NO_CIPHERS_AVAILABLE ||
           reason == SSL_R_WRONG_SIGNATURE_TYPE || reason == SSL_R_WRONG_CURVE;
}

static const char *hint_for(unsigned long error)
{
    switch (ERR_GET_REASON(error)) {
    case SSL_AD_REASON_OFFSET + TLS13_AD_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        return "the broker wants a client certificate: ssl.certificate.location and "
               "ssl.key.location of this site; docs/faults.md#tls";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the broker does not accept our client certificate: renew it (it is read anew at "
               "each "
               "attempt) or have its authority trusted there; docs/faults.md#tls";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return "nobody speaks TLS at this port: compare security.protocol of this site with the "
               "listener's";
    default:
        return "docs/faults.md#tls";
    }
}

static void say_error(struct tls *tls)
{
    unsigned long error = ERR_peek_error();

    if (tls->verify_error != X509_V_OK && SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE) {
        say_not_accepted(tls);
        ERR_clear_error();
        return;
    }
    err_set(&tls->why, is_refusal(error) ? ERR_REFUSED : ERR_RETRY, "TLS with %s: %s", tls->host,
            tls_openssl_reason());
    err_hint(&tls->why, "%s", hint_for(error));
}

void tls_error(const struct tls *tls, struct err *out)
{
    *out = tls->why;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

struct tls *tls_new(struct tls_context *context, const char *host, int fd, struct err *err)
{
    SSL_CTX *ctx = tls_context_now(context, err);

    if (ctx == NULL) {
        return NULL;
    }
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL || (tls->ssl = SSL_new(ctx)) == NULL) {
        abort();
    }
    SSL_CTX_free(ctx); /* the session's now */
    snprintf(tls->host, sizeof(tls->host), "%s", host);
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_verify(tls->ssl, SSL_get_verify_mode(tls->ssl), verified);
    if (!tls_peer_expect(tls->ssl, host, tls_context_checks_name(context)) ||
        SSL_set_fd(tls->ssl, fd) != 1) {
        err_set(err, ERR_CONFIG, "TLS: '%s' is no name that a certificate can be for", host);
        tls_free(tls);
        return NULL;
    }
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL) {
        return;
    }
    if (tls->broken == 0 && tls->why.kind == ERR_NONE && tls->retry_len == 0 &&
        SSL_is_init_finished(tls->ssl)) {
        SSL_shutdown(tls->ssl);
    }
    ERR_clear_error();
    SSL_free(tls->ssl);
    free(tls);
}

enum tls_progress tls_handshake(struct tls *tls, struct err *err)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(tls->ssl);
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_NONE:
        return TLS_DONE;
    case SSL_ERROR_WANT_READ:
        return TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANTS_WRITE;
    case SSL_ERROR_SSL:
        say_error(tls);
        break;
    default: /* the socket's end, or its error */
        err_set_code(&tls->why, ERR_RETRY, errno, "TLS with %s: %s during the handshake", tls->host,
                     errno != 0 ? strerror(errno) : "closed by the broker");
        err_hint(&tls->why,
                 "a listener without TLS does so: compare security.protocol of this site "
                 "with the listener's");
        break;
    }
    *err = tls->why;
    return TLS_FAILED;
}

bool tls_made_for(const struct tls *tls, const char *host)
{
    X509 *certificate = SSL_get1_peer_certificate(tls->ssl);
    bool fits =
        certificate != NULL &&
        (X509_check_host(certificate, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1 ||
         X509_check_ip_asc(certificate, host, 0) == 1);
    X509_free(certificate);
    ERR_clear_error();
    return fits;
}

int64_t tls_end_ms(const struct tls *tls)
{
    X509 *certificate = SSL_get1_peer_certificate(tls->ssl);
    struct tm when;
    int64_t end_ms = -1;
    if (certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) == 1) {
        end_ms = (int64_t)timegm(&when) * 1000;
    }
    X509_free(certificate);
    return end_ms;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

/* What a failed SSL_read means. @return errno, BROKEN_END, or 0 = nothing is there now */
static int read_error(struct tls *tls)
{
    int error = errno;

    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_WANT_WRITE:
        tls->read_waits = true;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return BROKEN_END;
    case SSL_ERROR_SSL:
        say_error(tls);
        return EPROTO;
    default:
        return error != 0 ? error : BROKEN_END;
    }
}

ssize_t tls_recv(void *arg, int fd, void *data, size_t len)
{
    struct tls *tls = arg;
    size_t total = 0;

    (void)fd;
    tls->read_waits = false;
    while (total < len && tls->broken == 0) {
        size_t got = 0;
        ERR_clear_error();
        errno = 0;
        if (SSL_read_ex(tls->ssl, (uint8_t *)data + total, len - total, &got) == 1) {
            total += got;
            continue;
        }
        tls->broken = read_error(tls);
        if (tls->broken == 0) {
            break;
        }
    }
    tls->filled = total == len;
    if (total > 0) {
        return (ssize_t)total; /* what broke it is told by the next call */
    }
    if (tls->broken == BROKEN_END) {
        return 0;
    }
    errno = tls->broken != 0 ? tls->broken : EAGAIN;
    return -1;
}

bool tls_pending(const void *arg)
{
    const struct tls *tls = arg;

    return tls->broken != 0 || (tls->filled && SSL_has_pending(tls->ssl) == 1);
}

bool tls_read_waits(const struct tls *tls)
{
    return tls->read_waits;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

struct cursor { /* over what is offered */
    const struct iovec *at;
    size_t left; /* segments, the one we are in included */
    size_t done; /* of the one we are in */
};

static size_t copy_out(struct cursor cursor, uint8_t *out, size_t most)
{
    size_t len = 0;

    for (; cursor.left > 0 && len < most; cursor.at++, cursor.left--, cursor.done = 0) {
        size_t part = cursor.at->iov_len - cursor.done;
        part = part < most - len ? part : most - len;
        memcpy(out + len, (const uint8_t *)cursor.at->iov_base + cursor.done, part);
        len += part;
    }
    return len;
}

static void advance(struct cursor *cursor, size_t bytes)
{
    while (cursor->left > 0 && bytes >= cursor->at->iov_len - cursor->done) {
        bytes -= cursor->at->iov_len - cursor->done;
        cursor->at++;
        cursor->left--;
        cursor->done = 0;
    }
    cursor->done += bytes;
    assert(cursor->left > 0 || bytes == 0);
}

/* The next record's bytes, from where they stand when they stand together. After EAGAIN the same as before: OpenSSL holds
 * that record encrypted, and asks for it again to know that we speak of the same. @return their number */
static size_t next_record(struct tls *tls, const struct cursor *cursor, const uint8_t **out)
{
    size_t most = tls->retry_len > 0 ? tls->retry_len : TLS_RECORD_BYTES;

    if (cursor->left > 0 && cursor->at->iov_len - cursor->done >= most) {
        *out = (const uint8_t *)cursor->at->iov_base + cursor->done;
        return most;
    }
    *out = tls->staging;
    return copy_out(*cursor, tls->staging, most);
}

/* @return errno */
static int write_error(struct tls *tls, size_t offered)
{
    int error = errno;

    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        tls->retry_len = offered;
        return EAGAIN;
    case SSL_ERROR_SSL:
        say_error(tls);
        return EPROTO;
    default:
        return error != 0 ? error : EPIPE;
    }
}

ssize_t tls_sendmsg(void *arg, int fd, const struct msghdr *message)
{
    struct tls *tls = arg;
    struct cursor cursor = {.at = message->msg_iov, .left = message->msg_iovlen};
    size_t total = 0;

    (void)fd;
    for (;;) {
        const uint8_t *data;
        size_t written = 0;
        size_t len = next_record(tls, &cursor, &data);
        if (len == 0) {
            return (ssize_t)total;
        }
        assert(tls->retry_len == 0 || tls->retry_len == len);
        ERR_clear_error();
        errno = 0;
        if (SSL_write_ex(tls->ssl, data, len, &written) != 1) {
            int error = write_error(tls, len);
            if (total > 0 && error == EAGAIN) {
                return (ssize_t)total;
            }
            errno = error;
            return -1;
        }
        tls->retry_len = 0;
        total += written;
        advance(&cursor, written);
    }
}
