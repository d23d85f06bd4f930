/* config/config: a whole file, limits, what workers must agree on, reading from disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

/* Two sites, one service, and one line for what is tested. */
static struct config *with_line(const char *line, struct err *err)
{
    char text[4096];
    int len = snprintf(text, sizeof(text),
                       "{%s\n\"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": \"a:1\"}}, "
                       "\"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, "
                       "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": "
                       "{\"include\": [\"t\"]}}}}",
                       line);
    assert_true(len < (int)sizeof(text));
    err_clear(err);
    return config_parse(text, (size_t)len, "f", err);
}

static struct config *accepted(const char *line)
{
    struct err err;
    struct config *config = with_line(line, &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    return config;
}

static void refused(const char *line, const char *what)
{
    struct err err;
    assert_null(with_line(line, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_string_equal(err.what, what);
}

static void defaults(void **state)
{
    char host[256] = "";
    (void)state;
    unsetenv("STATE_DIRECTORY");
    struct config *config = accepted("\"deployment\": \"d\",");
    gethostname(host, sizeof(host) - 1);
    assert_string_equal(config->file, "f");
    assert_string_equal(config->deployment, "d");
    assert_string_equal(config->worker, host);
    assert_string_equal(config->state_dir, "/var/lib/ferry");
    assert_string_equal(config->http_listen, "127.0.0.1:9464");
    assert_int_equal(config->limits.partition_window_bytes, 4 << 20);
    assert_int_equal(config->limits.link_window_bytes, 128 << 20);
    assert_int_equal(config->limits.fetch_bytes, 4 << 20);
    assert_int_equal(config->limits.partition_fetch_bytes, 1 << 20);
    assert_int_equal(config->limits.map_memory_bytes, 64 << 20);
    assert_int_equal(config->limits.resume_read_bytes, 1 << 30);
    assert_int_equal(config->limits.produce_timeout_ms, 2000);
    assert_int_equal(config->limits.checkpoint_interval_ms, 250);
    assert_int_equal(config->limits.session_timeout_ms, 10000);
    assert_int_equal(config->limits.tcp_user_timeout_ms, 3000);
    assert_int_equal(config->limits.connections_per_broker, 2);
    assert_int_equal(config->limits.drain_timeout_ms, 10000);
    config_free(config);
    config_free(NULL);
    setenv("STATE_DIRECTORY", "/state", 1);
    config = accepted("\"deployment\": \"d\", \"worker\": \"w\", \"http\": {\"listen\": \"off\"}, "
                      "\"mirror\": {\"fetch\": \"2MiB\", \"session_timeout\": \"45s\"},");
    assert_string_equal(config->worker, "w");
    assert_string_equal(config->state_dir, "/state");
    assert_string_equal(config->http_listen, "off");
    assert_int_equal(config->limits.fetch_bytes, 2 << 20);
    assert_int_equal(config->limits.session_timeout_ms, 45000);
    config_free(config);
    config = accepted("\"deployment\": \"d\", \"state_dir\": \"/mine\",");
    assert_string_equal(config->state_dir, "/mine");
    config_free(config);
}

static void what_the_top_refuses(void **state)
{
    (void)state;
    refused(
        "\"deployment\": \"\",",
        "f:1:2: deployment: \"\" is no name: 1 to 64 letters, digits, dots, underscores, dashes");
    refused(
        "\"deployment\": \"d\", \"worker\": \"a b\",",
        "f:1:21: worker: \"a b\" is no name: 1 to 64 letters, digits, dots, underscores, dashes");
    refused("\"deployment\": \"d\", \"mirror\": {\"session_timeout\": \"6s\", "
            "\"tcp_user_timeout\": \"3500ms\"},",
            "f:1:32: mirror.session_timeout: must be at least 3 s longer than tcp_user_timeout: "
            "what lies between is "
            "the time to send");
    refused("\"deployment\": \"d\", \"mirror\": {\"fetch\": \"4MiB\", \"link_window\": \"4MiB\"},",
            "f:1:49: mirror.link_window: must hold at least two fetches");
}

static void addresses_to_listen_on(void **state)
{
    static const char *const good[] = {"off", "127.0.0.1:0", "[::1]:9464", "localhost:65535",
                                       "0.0.0.0:1"};
    static const char *const bad[] = {
        "9464",          ":9464", "h:",     "h:65536",        "h:x",
        "h:1x",          "h:-1",  "on",     "h:999999999999", "example.com:1",
        "[127.0.0.1]:1", "::1:1", "[::1:1", "1.2.3:4"};
    char line[256];
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(line, sizeof(line), "\"deployment\": \"d\", \"http\": {\"listen\": \"%s\"},",
                 good[i]);
        struct config *config = accepted(line);
        assert_string_equal(config->http_listen, good[i]);
        config_free(config);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "\"deployment\": \"d\", \"http\": {\"listen\": \"%s\"},",
                 bad[i]);
        refused(line,
                "f:1:30: http.listen: expected ADDR:PORT, ADDR a number or localhost, or \"off\"");
    }
}

/* The example of the documentation, as people will paste it. */
static const char example[] =
    "{\n"
    "  \"deployment\": \"prod-eu\",\n"
    "  \"sites\": {\n"
    "    \"hangzhou\": {\"region\": \"cn-hangzhou\", \"zone\": \"h\", \"redis\": {\"url\": "
    "\"redis://10.0.0.5:6379/0\"},\n"
    "      \"kafka\": {\"bootstrap.servers\": \"kafka.hz.example.com:9092\", "
    "\"security.protocol\": \"SASL_SSL\",\n"
    "        \"sasl.mechanism\": \"SCRAM-SHA-512\", \"sasl.username\": \"ferry\"},\n"
    "      \"secrets\": {\"sasl.password\": {\"file\": \"/run/secrets/hz\"}}},\n"
    "    \"shanghai\": {\"region\": \"cn-shanghai\", \"zone\": \"b\", \"redis\": {\"url\": "
    "\"redis://10.1.0.5:6379/0\"},\n"
    "      \"kafka\": {\"bootstrap.servers\": \"kafka.sh.example.com:9092\"}}\n"
    "  },\n"
    "  \"services\": {\n"
    "    \"orders\": {\n"
    "      \"home\": \"hangzhou\", \"others\": [\"shanghai\"], \"path\": \"batches\", \"names\": "
    "\"identity\", "
    "\"start\": \"earliest\",\n"
    "      \"topics\": {\"include\": [\"orders.*\", \"payments\"], \"exclude\": [\"*.tmp\"]},\n"
    "      \"groups\": {\"include\": [\"*\"]},\n"
    "      \"cname\": [{\"record\": \"kafka.example.com\", \"at\": {\"hangzhou\": "
    "\"kafka.hz.example.com\", "
    "\"shanghai\": \"kafka.sh.example.com\"}}]\n"
    "    }\n"
    "  },\n"
    "  \"dns\":  {\"example.com\": {\"provider\": \"rfc2136\", \"servers\": [\"192.0.2.53\"], "
    "\"tsig\": {\"name\": \"ferry\", "
    "\"algorithm\": \"hmac-sha256\", \"secret\": {\"file\": \"/run/secrets/tsig\"}}}},\n"
    "  \"http\": {\"listen\": \"127.0.0.1:9464\"}\n"
    "}\n";

static void the_example(void **state)
{
    struct err err;
    (void)state;
    struct config *config = config_parse(example, sizeof(example) - 1, "example", &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(config->sites_count, 2);
    assert_string_equal(config->sites[0].name, "hangzhou"); /* in the file's order */
    assert_int_equal(config->services_count, 1);
    /* Its hash is a promise: workers of two versions must agree on it. */
    assert_int_equal(config_streams_hash(&config->services[0], PATH_BATCHES), 0x4cafc552622436d6);
    config_free(config);
}

static uint64_t hash_of(const char *service)
{
    char text[2048];
    struct err err;
    int len = snprintf(
        text, sizeof(text),
        "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": \"a:1\"}}, "
        "\"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, \"services\": {\"s\": {%s}}}",
        service);
    struct config *config = config_parse(text, (size_t)len, "f", &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    uint64_t hash = config_streams_hash(&config->services[0], PATH_BATCHES);
    config_free(config);
    return hash;
}

static void what_workers_must_agree_on(void **state)
{
#define TWO_SITES "\"home\": \"a\", \"others\": [\"b\"], "
    static const char *const different[] = {
        (TWO_SITES "\"topics\": {\"include\": [\"t\"]}"),
        (TWO_SITES "\"topics\": {\"include\": [\"t\", \"u\"]}"),
        (TWO_SITES "\"topics\": {\"include\": [\"tu\"]}"),
        (TWO_SITES "\"topics\": {\"include\": [\"t\"], \"exclude\": [\"u\"]}"),
        (TWO_SITES "\"topics\": {\"include\": [{\"regex\": \"t\"}]}"),
        (TWO_SITES "\"topics\": {\"include\": [\"t\"]}, \"revision\": 1"),
        (TWO_SITES
         "\"topics\": {\"include\": [\"t\"]}, \"filter\": {\"key\": {\"include\": [\"k\"]}}"),
        (TWO_SITES
         "\"topics\": {\"include\": [\"t\"]}, \"filter\": {\"key\": {\"exclude\": [\"k\"]}}"),
        (TWO_SITES
         "\"topics\": {\"include\": [\"t\"]}, \"filter\": {\"headers\": {\"k\": {\"exclude\": "
         "[\"k\"]}}}"),
        (TWO_SITES
         "\"topics\": {\"include\": [\"t\"]}, \"filter\": {\"headers\": {\"k\": {\"include\": "
         "[\"k\"]}}}"),
    };
    static const char *const same[] = {
        ("\"home\": \"b\", \"others\": [\"a\"], \"topics\": {\"include\": [\"t\"]}"),
        (TWO_SITES "\"topics\": {\"include\": [\"t\"]}, \"groups\": {\"include\": [\"*\"]}"),
        (TWO_SITES "\"topics\": {\"include\": [\"t\"]}, \"start\": \"latest\""),
        (TWO_SITES "\"topics\": {\"exclude\": [], \"include\": [\"t\"]}, \"path\": \"batches\""),
        (TWO_SITES
         "\"topics\": {\"include\": [\"t\"]}, \"compression\": \"zstd\", \"merge\": false"),
    };
    uint64_t hashes[sizeof(different) / sizeof(different[0])];
    (void)state;
    for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
        hashes[i] = hash_of(different[i]);
        for (size_t j = 0; j < i; j++) {
            assert_true(hashes[i] != hashes[j]);
        }
    }
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_true(hash_of(same[i]) == hashes[0]);
    }
}

static void from_disk(void **state)
{
    char file[] = "/tmp/ferry-config-XXXXXX";
    struct err err;
    char expected[256];
    (void)state;
    int fd = mkstemp(file);
    assert_int_equal(write(fd, example, sizeof(example) - 1), sizeof(example) - 1);
    struct config *config = config_load(file, &err);
    assert_non_null(config);
    assert_string_equal(config->file, file);
    config_free(config);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_null(config_load(file, &err));
    snprintf(expected, sizeof(expected), "%s:22:1: ", file);
    if (strncmp(err.what, expected, strlen(expected)) != 0) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
    assert_null(config_load(file, &err));
    assert_non_null(strstr(err.what, "File too large"));
    close(fd);
    unlink(file);
    assert_null(config_load(file, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.what, "No such file"));
    assert_non_null(strstr(err.hint, "--config"));
    assert_null(config_load("/", &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(what_the_top_refuses),
        cmocka_unit_test(addresses_to_listen_on),
        cmocka_unit_test(the_example),
        cmocka_unit_test(what_workers_must_agree_on),
        cmocka_unit_test(from_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
