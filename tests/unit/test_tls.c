/* kafka/tls against a server of OpenSSL's on a socket pair: whose certificate is taken, what is said of one that is not, bytes in
 * both directions through full sockets and changed keys, files that are renewed, and a server that sends anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka/conn.h"
#include "kafka/tls.h"

#define DAY_S (24 * 3600)

/* --- certificates ---------------------------------------------------------------------------------------------- */

struct pair {
    X509 *certificate;
    EVP_PKEY *key;
};

static char folder[64];

static char *path_of(const char *name)
{
    static char paths[8][160];
    static int next;

    next = (next + 1) % 8;
    snprintf(paths[next], sizeof(paths[next]), "%s/%s", folder, name);
    return paths[next];
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Signed by `by`, or by itself; ends `valid_s` from now. */
static struct pair certify(const char *subject, const char *names, long valid_s,
                           const struct pair *by)
{
    static long serial = 1;
    struct pair made = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
    X509_NAME *name = X509_get_subject_name(made.certificate);

    X509_set_version(made.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), -30 * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), valid_s);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0);
    X509_set_issuer_name(made.certificate,
                         by == NULL ? name : X509_get_subject_name(by->certificate));
    X509_set_pubkey(made.certificate, made.key);
    add_extension(made.certificate, NID_basic_constraints, by == NULL ? "CA:TRUE" : "CA:FALSE");
    if (names != NULL) {
        add_extension(made.certificate, NID_subject_alt_name, names);
    }
    assert_true(X509_sign(made.certificate, by == NULL ? made.key : by->key, EVP_sha256()) > 0);
    return made;
}

static void pair_free(struct pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
    *pair = (struct pair){0};
}

static void write_certificate(const struct pair *pair, const char *name)
{
    FILE *out = fopen(path_of(name), "w");

    assert_non_null(out);
    assert_int_equal(PEM_write_X509(out, pair->certificate), 1);
    fclose(out);
}

static void write_key(const struct pair *pair, const char *name, const char *password)
{
    FILE *out = fopen(path_of(name), "w");

    assert_non_null(out);
    assert_int_equal(PEM_write_PKCS8PrivateKey(
                         out, pair->key, password == NULL ? NULL : EVP_aes_128_cbc(), password,
                         password == NULL ? 0 : (int)strlen(password), NULL, NULL),
                     1);
    fclose(out);
}

/* --- both ends ------------------------------------------------------------------------------------------------- */

struct fixture {
    struct config_property properties[12];
    struct config_secret secrets[2];
    struct config_client client;
    struct tls_context *context;
    struct pair ca;
    struct pair server;
    SSL_CTX *server_ctx;
    SSL *peer;
    struct tls *tls;
    int fds[2]; /* ours, the server's */
    struct err err;
};

static void set_property(struct fixture *f, const char *name, const char *value)
{
    f->properties[f->client.properties_count++] = (struct config_property){name, value};
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    snprintf(folder, sizeof(folder), "/tmp/ferry-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
    f->fds[0] = f->fds[1] = -1;
    f->client.properties = f->properties;
    f->client.secrets = f->secrets;
    f->ca = certify("test authority", NULL, DAY_S, NULL);
    f->server = certify("broker", "DNS:kafka.example.com,IP:127.0.0.1", DAY_S, &f->ca);
    write_certificate(&f->ca, "ca.pem");
    set_property(f, "security.protocol", "SSL");
    set_property(f, "ssl.ca.location", strdup(path_of("ca.pem")));
    f->context = tls_context_new(&f->client);
    *state = f;
    return 0;
}

static void hang_up(struct fixture *f)
{
    tls_free(f->tls);
    SSL_free(f->peer);
    f->tls = NULL;
    f->peer = NULL;
    for (int i = 0; i < 2; i++) {
        if (f->fds[i] >= 0) {
            close(f->fds[i]);
        }
        f->fds[i] = -1;
    }
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];

    hang_up(f);
    tls_context_free(f->context);
    SSL_CTX_free(f->server_ctx);
    pair_free(&f->ca);
    pair_free(&f->server);
    free((char *)(uintptr_t)f->properties[1].value);
    free(f);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void make_server(struct fixture *f)
{
    SSL_CTX_free(f->server_ctx);
    f->server_ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(f->server_ctx, f->server.certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(f->server_ctx, f->server.key), 1);
    SSL_CTX_set_mode(f->server_ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static void wants_client_certificate(struct fixture *f)
{
    SSL_CTX_set_verify(f->server_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(f->server_ctx), f->ca.certificate),
                     1);
}

static void connect_pair(struct fixture *f)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f->fds), 0);
}

/* A connection of both; the handshake is not done yet. */
static bool dial(struct fixture *f, const char *host)
{
    hang_up(f);
    connect_pair(f);
    if (f->server_ctx == NULL) {
        make_server(f);
    }
    f->peer = SSL_new(f->server_ctx);
    SSL_set_fd(f->peer, f->fds[1]);
    SSL_set_accept_state(f->peer);
    f->tls = tls_new(f->context, host, f->fds[0], &f->err);
    return f->tls != NULL;
}

static enum tls_progress shake(struct fixture *f)
{
    enum tls_progress progress = TLS_WANTS_READ;
    bool theirs = false;

    for (int i = 0; i < 100 && progress != TLS_FAILED && (progress != TLS_DONE || !theirs); i++) {
        if (progress != TLS_DONE) {
            progress = tls_handshake(f->tls, &f->err);
        }
        theirs = theirs || SSL_do_handshake(f->peer) == 1;
        ERR_clear_error();
    }
    return progress;
}

static void refused(struct fixture *f, const char *host, const char *why, const char *hint)
{
    assert_true(dial(f, host));
    assert_int_equal(shake(f), TLS_FAILED);
    assert_int_equal(f->err.kind, ERR_REFUSED);
    if (strstr(f->err.what, why) == NULL || strstr(f->err.hint, hint) == NULL) {
        fail_msg("%s; %s", f->err.what, f->err.hint);
    }
    assert_non_null(strstr(f->err.what, host));
}

/* --- whose certificate ----------------------------------------------------------------------------------------- */

static void a_name_and_an_address_that_it_is_for(void **state)
{
    struct fixture *f = *state;

    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(shake(f), TLS_DONE);
    assert_string_equal(SSL_get_servername(f->peer, TLSEXT_NAMETYPE_host_name),
                        "kafka.example.com");
    assert_true(dial(f, "127.0.0.1"));
    assert_int_equal(shake(f), TLS_DONE);
    assert_null(SSL_get_servername(f->peer, TLSEXT_NAMETYPE_host_name));
}

static void another_name_is_refused_with_those_it_is_for(void **state)
{
    struct fixture *f = *state;

    refused(f, "kafka.example.org", "ostname mismatch", "have kafka.example.org added");
    assert_non_null(strstr(f->err.what, "kafka.example.com,127.0.0.1"));
    refused(f, "127.0.0.2", "IP address mismatch", "have 127.0.0.2 added");
    set_property(f, "ssl.endpoint.identification.algorithm", "none");
    assert_true(dial(f, "kafka.example.org"));
    assert_int_equal(shake(f), TLS_DONE);
}

static void an_authority_that_nobody_knows_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pair other = certify("other authority", NULL, DAY_S, NULL);

    pair_free(&f->server);
    f->server = certify("broker", "DNS:kafka.example.com", DAY_S, &other);
    refused(f, "kafka.example.com", "issuer", "ssl.ca.location");
    set_property(f, "enable.ssl.certificate.verification", "false");
    tls_context_free(f->context);
    f->context = tls_context_new(&f->client);
    assert_true(dial(f, "whatever.example.com"));
    assert_int_equal(shake(f), TLS_DONE);
    pair_free(&other);
}

static void one_that_has_ended_is_refused_with_its_end(void **state)
{
    struct fixture *f = *state;

    pair_free(&f->server);
    f->server = certify("broker", "DNS:kafka.example.com", -3600, &f->ca);
    refused(f, "kafka.example.com", "expired", "renew");
    assert_non_null(strstr(f->err.what, "valid until 20"));
}

static void old_versions_are_refused(void **state)
{
    struct fixture *f = *state;

    make_server(f);
    SSL_CTX_set_security_level(f->server_ctx, 0);
    SSL_CTX_set_min_proto_version(f->server_ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(f->server_ctx, TLS1_1_VERSION);
    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(shake(f), TLS_FAILED);
    assert_int_equal(f->err.kind, ERR_REFUSED);
}

/* --- our own certificate --------------------------------------------------------------------------------------- */

/* Since TLS 1.3 a client learns behind its own handshake that the server does not want it. */
static bool server_takes_us(struct fixture *f)
{
    char byte = 0;

    if (!dial(f, "kafka.example.com") || shake(f) != TLS_DONE) {
        return false;
    }
    if (SSL_write(f->peer, "x", 1) != 1) {
        ERR_clear_error();
    }
    if (tls_recv(f->tls, f->fds[0], &byte, 1) == 1) {
        return true;
    }
    assert_int_equal(errno, EPROTO);
    tls_error(f->tls, &f->err);
    return false;
}

static void a_client_certificate_that_is_wanted(void **state)
{
    struct fixture *f = *state;
    struct pair client = certify("ferry", NULL, DAY_S, &f->ca);
    struct pair other = certify("ferry", NULL, DAY_S, &f->ca);

    make_server(f);
    wants_client_certificate(f);
    assert_false(server_takes_us(f));
    assert_int_equal(f->err.kind, ERR_REFUSED);
    assert_non_null(strstr(f->err.what, "certificate required"));
    assert_non_null(strstr(f->err.hint, "ssl.certificate.location"));

    set_property(f, "ssl.certificate.location", path_of("client.pem"));
    assert_false(dial(f, "kafka.example.com")); /* no such file */
    assert_int_equal(f->err.kind, ERR_CONFIG);
    assert_non_null(strstr(f->err.what, "ssl.certificate.location"));
    assert_non_null(strstr(f->err.what, "client.pem"));

    write_certificate(&client, "client.pem");
    assert_false(dial(f, "kafka.example.com")); /* half of it */
    assert_non_null(strstr(f->err.what, "without a key"));

    set_property(f, "ssl.key.location", path_of("client.key"));
    write_key(&other, "client.key", NULL);
    assert_false(dial(f, "kafka.example.com")); /* somebody else's */
    assert_non_null(strstr(f->err.what, "client.key"));

    write_key(&client, "client.key", NULL);
    assert_true(server_takes_us(f));
    pair_free(&client);
    pair_free(&other);
}

static void a_key_with_a_password(void **state)
{
    struct fixture *f = *state;
    struct pair client = certify("ferry", NULL, DAY_S, &f->ca);

    make_server(f);
    wants_client_certificate(f);
    write_certificate(&client, "client.pem");
    write_key(&client, "client.key", "sesame");
    set_property(f, "ssl.certificate.location", path_of("client.pem"));
    set_property(f, "ssl.key.location", path_of("client.key"));
    f->secrets[0] = (struct config_secret){.name = "ssl.key.password", .env = "TEST_KEY_PASSWORD"};
    f->client.secrets_count = 1;
    setenv("TEST_KEY_PASSWORD", "wrong", 1);
    assert_false(dial(f, "kafka.example.com"));
    assert_non_null(strstr(f->err.what, "ssl.key.location"));
    setenv("TEST_KEY_PASSWORD", "sesame", 1);
    assert_true(server_takes_us(f));
    pair_free(&client);
}

static void renewed_files_count_from_the_next_connection(void **state)
{
    struct fixture *f = *state;
    struct pair other = certify("other authority", NULL, DAY_S, NULL);
    uint8_t before[TLS_MATERIAL_BYTES];
    uint8_t after[TLS_MATERIAL_BYTES];

    assert_true(tls_material(&f->client, before));
    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(shake(f), TLS_DONE);
    write_certificate(&other, "ca.pem");
    refused(f, "kafka.example.com", "issuer", "ssl.ca.location");
    assert_true(tls_material(&f->client, after));
    assert_memory_not_equal(before, after, sizeof(before));
    unlink(path_of("ca.pem"));
    assert_false(dial(f, "kafka.example.com"));
    assert_non_null(strstr(f->err.what, "ca.pem"));
    write_certificate(&f->ca, "ca.pem");
    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(shake(f), TLS_DONE);
    pair_free(&other);
}

static void lists_that_openssl_does_not_know_are_refused(void **state)
{
    struct fixture *f = *state;

    set_property(f, "ssl.cipher.suites", "NO-SUCH-CIPHER");
    assert_false(dial(f, "kafka.example.com"));
    assert_int_equal(f->err.kind, ERR_CONFIG);
    assert_non_null(strstr(f->err.what, "ssl.cipher.suites: NO-SUCH-CIPHER"));
    f->properties[2] = (struct config_property){"ssl.curves.list", "no-such-curve"};
    f->properties[3].value = NULL;
    assert_false(dial(f, "kafka.example.com"));
    assert_non_null(strstr(f->err.what, "ssl.curves.list"));
    f->properties[2] = (struct config_property){"ssl.sigalgs.list", "no-such"};
    assert_false(dial(f, "kafka.example.com"));
    assert_non_null(strstr(f->err.what, "ssl.sigalgs.list"));
}

/* --- bytes ----------------------------------------------------------------------------------------------------- */

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 2654435761U >> 13);
}

static void pour(const struct fixture *f, uint8_t *data, size_t len)
{
    (void)f;
    for (size_t i = 0; i < len; i++) {
        data[i] = byte_at(i);
    }
}

/* What is unsent is offered again from its first byte, in other pieces than before: as kafka/conn does. */
static ssize_t offer(struct fixture *f, const uint8_t *data, size_t len, int *full)
{
    struct iovec pieces[64];
    struct msghdr message = {.msg_iov = pieces};
    size_t at = 0;

    while (at < len && message.msg_iovlen < 64) {
        size_t piece = 1 + (size_t)rand() % (rand() % 4 == 0 ? 60000 : 3000);
        piece = piece < len - at ? piece : len - at;
        pieces[message.msg_iovlen++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)(data + at), .iov_len = piece};
        at += piece;
    }
    ssize_t sent = tls_sendmsg(f->tls, f->fds[0], &message);
    *full += sent < (ssize_t)at; /* a record stands encrypted and half sent */
    return sent;
}

/* 8 MiB out and 8 MiB in at once through small sockets, keys changed on the way by both. */
static void bytes_go_both_ways(void **state)
{
    struct fixture *f = *state;
    size_t total = (size_t)8 << 20;
    uint8_t *data = malloc(total);
    uint8_t *chunk = malloc(300000);
    size_t sent = 0;
    size_t heard = 0; /* by the server */
    size_t told = 0;  /* by the server */
    size_t received = 0;
    int small = 8192;
    int full = 0;

    assert_true(dial(f, "kafka.example.com"));
    setsockopt(f->fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(f->fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(shake(f), TLS_DONE);
    pour(f, data, total);
    for (int turn = 0; heard < total || received < total; turn++) {
        assert_true(turn < 1000000);
        ssize_t done = sent < total ? offer(f, data + sent, total - sent, &full) : 0;
        if (done < 0) {
            assert_int_equal(errno, EAGAIN);
        }
        sent += done > 0 ? (size_t)done : 0;
        size_t got = 0;
        ERR_clear_error();
        while (SSL_read_ex(f->peer, chunk, 1 + (size_t)rand() % 40000, &got) == 1) {
            assert_memory_equal(chunk, data + heard, got);
            heard += got;
        }
        ERR_clear_error();
        if (told < total && SSL_write_ex(f->peer, data + told, total - told, &got) == 1) {
            told += got;
        }
        if (turn % 50 == 49 && heard < total) {
            SSL_key_update(f->peer, SSL_KEY_UPDATE_REQUESTED);
        }
        done = tls_recv(f->tls, f->fds[0], chunk, 1 + (size_t)rand() % 300000);
        if (done > 0) {
            assert_memory_equal(chunk, data + received, (size_t)done);
            received += (size_t)done;
        } else {
            assert_int_equal(done, -1);
            assert_int_equal(errno, EAGAIN);
        }
    }
    assert_int_equal(sent, total);
    assert_true(full > 100);
    free(data);
    free(chunk);
}

/* Three records in the socket: what was decrypted and not asked for is told of, what is not there is not. */
static void pending_tells_of_what_no_socket_tells(void **state)
{
    struct fixture *f = *state;
    uint8_t data[3000];
    size_t got;

    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(shake(f), TLS_DONE);
    assert_false(tls_pending(f->tls));
    memset(data, 7, sizeof(data));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SSL_write_ex(f->peer, data, 1000, &got), 1);
    }
    assert_int_equal(tls_recv(f->tls, f->fds[0], data, 500), 500);
    assert_true(tls_pending(f->tls));
    assert_int_equal(tls_recv(f->tls, f->fds[0], data, 2000), 2000); /* over the ends of records */
    assert_true(tls_pending(f->tls));
    assert_int_equal(tls_recv(f->tls, f->fds[0], data, 3000), 500);
    assert_false(tls_pending(f->tls));
    assert_int_equal(tls_recv(f->tls, f->fds[0], data, 1), -1);
    assert_int_equal(errno, EAGAIN);
    SSL_write_ex(f->peer, data, 10, &got);
    SSL_shutdown(f->peer);
    assert_int_equal(tls_recv(f->tls, f->fds[0], data, 100), 10);
    assert_true(tls_pending(f->tls)); /* the goodbye, and no socket that tells of it again */
    assert_int_equal(tls_recv(f->tls, f->fds[0], data, 100), 0);
}

/* --- servers that are none ------------------------------------------------------------------------------------- */

static void a_server_without_tls_is_named(void **state)
{
    struct fixture *f = *state;
    static const char hello[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(tls_handshake(f->tls, &f->err), TLS_WANTS_READ);
    assert_true(write(f->fds[1], hello, strlen(hello)) > 0);
    assert_int_equal(tls_handshake(f->tls, &f->err), TLS_FAILED);
    assert_int_equal(f->err.kind, ERR_REFUSED);
    assert_non_null(strstr(f->err.hint, "security.protocol"));

    assert_true(dial(f, "kafka.example.com"));
    assert_int_equal(tls_handshake(f->tls, &f->err), TLS_WANTS_READ);
    close(f->fds[1]);
    f->fds[1] = -1;
    assert_int_equal(tls_handshake(f->tls, &f->err), TLS_FAILED);
    assert_int_equal(f->err.kind, ERR_RETRY);
    assert_non_null(strstr(f->err.hint, "security.protocol"));
}

/* Random bytes, in the handshake and behind it, costs the session and nothing else. */
static void hostile_bytes_cost_the_session(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[512];

    for (int round = 0; round < 400; round++) {
        bool behind = round % 2 == 1;
        enum tls_progress progress = TLS_WANTS_READ;
        assert_true(dial(f, "kafka.example.com"));
        if (behind) {
            assert_int_equal(shake(f), TLS_DONE);
        } else {
            progress = tls_handshake(f->tls, &f->err);
        }
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)rand();
        }
        if (round % 3 != 0) { /* as a record that says what it is */
            memcpy(bytes, (const uint8_t[]){(uint8_t)(20 + round % 5), 3, 3, 0, 100}, 5);
        }
        assert_int_equal(write(f->fds[1], bytes, sizeof(bytes)), sizeof(bytes));
        shutdown(f->fds[1], SHUT_WR);
        for (int i = 0; i < 20 && !behind && progress != TLS_FAILED; i++) {
            progress = tls_handshake(f->tls, &f->err);
        }
        if (behind) {
            ssize_t got = tls_recv(f->tls, f->fds[0], bytes, sizeof(bytes));
            assert_true(got <= 0);
        } else {
            assert_int_equal(progress, TLS_FAILED);
        }
    }
}

/* --- under a connection ---------------------------------------------------------------------------------------- */

struct broker { /* speaks TLS into memory, so that the test decides when which byte goes out */
    struct loop *loop;
    int listener;
    int port;
    int fd;
    SSL *ssl;
    BIO *in;
    BIO *out;
    struct conn *conn;
    bool ready;
    bool closed;
    bool answered;
    size_t answer_len;
};

static void broker_listen(struct broker *broker)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    broker->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(broker->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(broker->listener, 1), 0);
    getsockname(broker->listener, (struct sockaddr *)&address, &len);
    broker->port = ntohs(address.sin_port);
    broker->fd = -1;
}

/* So many bytes of what waits go out. */
static void broker_send(struct broker *broker, size_t most)
{
    uint8_t bytes[65536];
    int len = BIO_read(broker->out, bytes, (int)(most < sizeof(bytes) ? most : sizeof(bytes)));

    if (len > 0) {
        assert_int_equal(write(broker->fd, bytes, (size_t)len), len);
    }
}

static void broker_turn(struct broker *broker)
{
    uint8_t bytes[4096];
    ssize_t got;

    loop_run_once(broker->loop, 5);
    if (broker->fd < 0) {
        broker->fd = accept(broker->listener, NULL, NULL);
        if (broker->fd < 0) {
            return;
        }
        fcntl(broker->fd, F_SETFL, O_NONBLOCK);
    }
    while ((got = read(broker->fd, bytes, sizeof(bytes))) > 0) {
        BIO_write(broker->in, bytes, (int)got);
    }
    if (SSL_do_handshake(broker->ssl) != 1) {
        ERR_clear_error();
    }
    broker_send(broker, sizeof(bytes) * 4);
}

/* The next request's correlation id. */
static int32_t broker_read(struct broker *broker)
{
    uint8_t frame[512];
    size_t got = 0;

    for (int i = 0; i < 400; i++) {
        broker_turn(broker);
        ERR_clear_error();
        if (SSL_read_ex(broker->ssl, frame, sizeof(frame), &got) == 1) {
            struct reader reader = reader_over(frame + 8, got - 8);
            return reader_i32(&reader);
        }
    }
    fail_msg("no request came");
    return -1;
}

/* A frame of `len` bytes behind the correlation id, encrypted and not sent. */
static void broker_answer(struct broker *broker, int32_t correlation, const void *body, size_t len)
{
    struct writer frame;
    size_t written = 0;

    writer_init(&frame);
    writer_i32(&frame, (int32_t)len + 4);
    writer_i32(&frame, correlation);
    writer_bytes(&frame, body, len);
    for (size_t at = 0; at < frame.len; at += written) {
        assert_int_equal(SSL_write_ex(broker->ssl, frame.data + at, frame.len - at, &written), 1);
    }
    writer_done(&frame);
}

static void broker_versions(struct broker *broker, int32_t correlation)
{
    struct writer body;

    writer_init(&body);
    writer_i16(&body, 0);
    wire_put_compact_array(&body, 3);
    for (int16_t api = API_PRODUCE; api <= API_METADATA;
         api = api == API_FETCH ? API_METADATA : (int16_t)(api + 1)) {
        writer_i16(&body, api);
        writer_i16(&body, 0);
        writer_i16(&body, 99);
        wire_put_no_tags(&body);
    }
    writer_i32(&body, 0);
    wire_put_no_tags(&body);
    broker_answer(broker, correlation, body.data, body.len);
    broker_send(broker, 65536);
    writer_done(&body);
}

static void conn_ready(void *arg, struct conn *conn)
{
    (void)conn;
    ((struct broker *)arg)->ready = true;
}

static void conn_closed(void *arg, struct conn *conn, const struct err *why)
{
    (void)conn;
    print_message("%s\n", why->what);
    ((struct broker *)arg)->closed = true;
}

static void conn_answered(void *arg, struct reader *reader, struct buf *block,
                          const struct err *err)
{
    struct broker *broker = arg;

    (void)block;
    (void)err;
    broker->answered = reader != NULL;
    broker->answer_len = reader == NULL ? 0 : reader_left(reader);
}

static void broker_open(struct broker *broker, struct fixture *f)
{
    const struct conn_callbacks callbacks = {conn_ready, conn_closed, broker};

    make_server(f);
    SSL_CTX_clear_mode(f->server_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
    broker->loop = loop_new(clock_system());
    broker_listen(broker);
    broker->ssl = SSL_new(f->server_ctx);
    broker->in = BIO_new(BIO_s_mem());
    broker->out = BIO_new(BIO_s_mem());
    SSL_set_bio(broker->ssl, broker->in, broker->out);
    SSL_set_accept_state(broker->ssl);
    const struct conn_options options = {.host = "127.0.0.1",
                                         .port = broker->port,
                                         .client_id = "t",
                                         .connect_timeout_ms = 2000,
                                         .max_answer_bytes = 1 << 20,
                                         .tls = f->context};
    broker->conn = conn_new(broker->loop, &options, &callbacks);
    broker_versions(broker, broker_read(broker));
    for (int i = 0; i < 400 && !broker->ready; i++) {
        broker_turn(broker);
    }
    assert_true(broker->ready);
}

static void broker_close(struct broker *broker)
{
    conn_free(broker->conn);
    SSL_free(broker->ssl);
    close(broker->fd);
    close(broker->listener);
    loop_free(broker->loop);
}

/* The last record of a long frame comes in two parts: all but its last bytes stand inside OpenSSL when the kernel is told how
 * much is missing. The rest must wake us, however little it is. */
static void the_rest_of_a_record_wakes(void **state)
{
    struct fixture *f = *state;
    struct broker broker = {0};
    size_t len = 60000;
    uint8_t *body = calloc(1, len);
    struct writer writer;

    broker_open(&broker, f);
    for (size_t missing = 1; missing < 20000; missing = missing * 3 + 7) {
        broker.answered = false;
        writer_init(&writer);
        conn_send(broker.conn, API_FETCH, 16, &writer, NULL, 0, 60000, conn_answered, &broker);
        broker_answer(&broker, broker_read(&broker), body, len);
        broker_send(&broker, BIO_ctrl_pending(broker.out) - missing);
        for (int i = 0; i < 10; i++) {
            loop_run_once(broker.loop, 5);
        }
        assert_false(broker.answered);
        broker_send(&broker, missing);
        for (int i = 0; i < 200 && !broker.answered; i++) {
            loop_run_once(broker.loop, 5);
        }
        if (!broker.answered) {
            fail_msg("%zu bytes came and woke nobody", missing);
        }
        assert_int_equal(broker.answer_len, len - 1); /* no tags */
        writer_done(&writer);
    }
    assert_false(broker.closed);
    broker_close(&broker);
    free(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_and_an_address_that_it_is_for),
        TEST(another_name_is_refused_with_those_it_is_for),
        TEST(an_authority_that_nobody_knows_is_refused),
        TEST(one_that_has_ended_is_refused_with_its_end),
        TEST(old_versions_are_refused),
        TEST(a_client_certificate_that_is_wanted),
        TEST(a_key_with_a_password),
        TEST(renewed_files_count_from_the_next_connection),
        TEST(lists_that_openssl_does_not_know_are_refused),
        TEST(bytes_go_both_ways),
        TEST(pending_tells_of_what_no_socket_tells),
        TEST(the_rest_of_a_record_wakes),
        TEST(a_server_without_tls_is_named),
        TEST(hostile_bytes_cost_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
