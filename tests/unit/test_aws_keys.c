/* dns/aws_keys: who gives them is away, or says something else. That they are right: tests/integration/test_providers.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "dns/aws_keys.h"

#define KEYS                                                                 \
    "{\"AccessKeyId\": \"AK\", \"SecretAccessKey\": \"sesame\", \"Token\": " \
    "\"t\", \"Expiration\": \"%s\"}"

/* A metadata service: any token, and what the test has it say then. */
struct service {
    pthread_t thread;
    int fd;
    pthread_mutex_t mutex; /* of what it says */
    int status;
    char body[300];
};

static void says(struct service *service, int status, const char *body)
{
    pthread_mutex_lock(&service->mutex);
    service->status = status;
    snprintf(service->body, sizeof(service->body), "%s", body);
    pthread_mutex_unlock(&service->mutex);
}

static void says_keys(struct service *service, int status, const char *ends)
{
    char body[300];
    snprintf(body, sizeof(body), KEYS, ends);
    says(service, status, body);
}

static void *serve(void *arg)
{
    struct service *service = arg;
    char question[4096];
    char body[300];
    int fd;
    while ((fd = accept(service->fd, NULL, NULL)) >= 0) {
        ssize_t len = read(fd, question, sizeof(question) - 1);
        bool is_put = len > 0 && question[0] == 'P';
        pthread_mutex_lock(&service->mutex);
        int status = is_put ? 200 : service->status;
        snprintf(body, sizeof(body), "%s", is_put ? "token" : service->body);
        pthread_mutex_unlock(&service->mutex);
        dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
                strlen(body), body);
        close(fd);
    }
    return NULL;
}

static void begin(struct service *service, const char *variable, const char *path)
{
    char url[100];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    service->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(0, bind(service->fd, (struct sockaddr *)&address, len));
    assert_int_equal(0, getsockname(service->fd, (struct sockaddr *)&address, &len));
    assert_int_equal(0, listen(service->fd, 5));
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", ntohs(address.sin_port), path);
    setenv(variable, url, 1);
    assert_int_equal(0, pthread_create(&service->thread, NULL, serve, service));
}

static void end(struct service *service)
{
    shutdown(service->fd, SHUT_RDWR);
    pthread_join(service->thread, NULL);
    close(service->fd);
}

static struct https *client(void)
{
    return https_new(
        &(struct https_options){.timeout_ms = 1000, .ca_key = "ca", .address_key = "endpoint"});
}

static void keys_that_hold_are_kept(void **state)
{
    const struct config_zone zone = {.name = (char *)(uintptr_t)"dr.test",
                                     .credentials = CREDENTIALS_CONTAINER};
    struct service service = {.mutex = PTHREAD_MUTEX_INITIALIZER, .status = 200};
    struct https *https = client();
    struct aws_keys keys = {.access_key = NULL};
    struct err err = {0};
    (void)state;
    says_keys(&service, 200, "2036-01-01T00:00:00Z");
    begin(&service, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "/keys");
    assert_true(aws_keys_have(&keys, https, &zone, &err));
    assert_true(keys.ends_ms > clock_now_ms(clock_system()) + INT64_C(86400000));

    says(&service, 503, ""); /* it is busy */
    keys.until_ms = 0;
    assert_true(aws_keys_have(&keys, https, &zone, &err));
    assert_string_equal(keys.secret, "sesame");
    assert_true(keys.until_ms > clock_now_ms(clock_system())); /* and not asked for each request */

    says(&service, 403, ""); /* it knows us no more */
    keys.until_ms = 0;
    assert_false(aws_keys_have(&keys, https, &zone, &err));
    assert_int_equal(err.kind, ERR_REFUSED);

    end(&service); /* it is away */
    assert_true(aws_keys_have(&keys, https, &zone, &err));
    keys.until_ms = 0;
    keys.ends_ms = clock_now_ms(clock_system());
    assert_false(aws_keys_have(&keys, https, &zone, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    aws_keys_done(&keys);
    https_free(https);
}

static void an_end_that_is_none(void **state)
{
    static const char *const ends[] = {"", "tomorrow", "2036-01-01", "2036-01-01T00:00:00+02"};
    const struct config_zone zone = {.name = (char *)(uintptr_t)"dr.test",
                                     .credentials = CREDENTIALS_CONTAINER};
    struct service service = {.mutex = PTHREAD_MUTEX_INITIALIZER, .status = 200};
    struct https *https = client();
    struct err err = {0};
    (void)state;
    begin(&service, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "/keys");
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct aws_keys keys = {.access_key = NULL};
        says_keys(&service, 200, ends[i]);
        assert_true(aws_keys_have(&keys, https, &zone, &err));
        assert_int_equal(keys.ends_ms, 0);
        aws_keys_done(&keys);
    }
    end(&service);
    https_free(https);
}

static void no_role_is_told_from_a_failure(void **state)
{
    static const struct {
        int status;
        const char *body;
        const char *what;
    } rows[] = {
        {404, "",       "the instance has no role"},
        {200, "<html>", "the instance has no role"},
        {500, "",       "HTTP 500"                },
        {401, "",       "HTTP 401"                },
    };
    const struct config_zone zone = {.name = (char *)(uintptr_t)"dr.test",
                                     .credentials = CREDENTIALS_INSTANCE};
    struct service service = {.mutex = PTHREAD_MUTEX_INITIALIZER, .status = 200};
    struct https *https = client();
    struct aws_keys keys = {.access_key = NULL};
    (void)state;
    begin(&service, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err = {0};
        says(&service, rows[i].status, rows[i].body);
        assert_false(aws_keys_have(&keys, https, &zone, &err));
        if (strstr(err.what, rows[i].what) == NULL) {
            fail_msg("%d: %s", rows[i].status, err.what);
        }
    }
    end(&service);
    https_free(https);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_hold_are_kept),
        cmocka_unit_test(an_end_that_is_none),
        cmocka_unit_test(no_role_is_told_from_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
