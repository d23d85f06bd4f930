/* http/request: what is asked, from bytes that may be anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/request.h"

#define MOST 100

static void gives(const char *text, enum http_status status, const char *path, bool head)
{
    struct http_request request;
    enum http_status got = http_request_parse(text, strlen(text), MOST, &request);
    if (got != status || strcmp(request.path, path) != 0 || request.head != head) {
        fail_msg("%s: %d %s %d", text, (int)got, request.path, request.head);
    }
}

static void requests(void **state)
{
    (void)state;
    gives("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_OK, "/metrics", false);
    gives("HEAD /metrics HTTP/1.0\r\n\r\n", HTTP_OK, "/metrics", true);
    gives("GET /metrics?x=y&z HTTP/1.1\r\n\r\n", HTTP_OK, "/metrics", false);
    gives("GET http://host:1/readyz HTTP/1.1\r\n\r\n", HTTP_OK, "/readyz", false);
    gives("GET / HTTP/1.1\n\n", HTTP_OK, "/", false);
    gives("\r\n\r\nGET / HTTP/1.1\r\n\r\n", HTTP_OK, "/", false);
    gives("GET / HTTP/1.1\r\n\r\nGET /more", HTTP_OK, "/", false);
}

static void not_whole(void **state)
{
    static const char whole[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    struct http_request request;
    (void)state;
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        char *part = malloc(len + 1); /* the sanitizer sees a byte too far */
        memcpy(part, whole, len);
        assert_int_equal(http_request_parse(part, len, MOST, &request), HTTP_NOT_YET);
        free(part);
    }
    assert_int_equal(http_request_parse(whole, sizeof(whole) - 1, MOST, &request), HTTP_OK);
}

static void refusals(void **state)
{
    char text[MOST + 1];
    struct http_request request;
    (void)state;
    gives("POST /metrics HTTP/1.1\r\n\r\n", HTTP_METHOD_NOT_ALLOWED, "", false);
    gives("get /metrics HTTP/1.1\r\n\r\n", HTTP_METHOD_NOT_ALLOWED, "", false);
    gives("GETX /metrics HTTP/1.1\r\n\r\n", HTTP_METHOD_NOT_ALLOWED, "", false);
    gives("GET /metrics HTTP/2.0\r\n\r\n", HTTP_VERSION, "", false);
    gives("GET /metrics\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET  /metrics HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET /a b HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives(" /metrics HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET metrics HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET http://host HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET * HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET /\x01 HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("GET /\xc3\xa9 HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, "", false);
    gives("\x16\x03\x01 TLS hello\n\n", HTTP_BAD_REQUEST, "", false);
    gives("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
          "HTTP/1.1\r\n\r\n",
          HTTP_NOT_FOUND, "", false);
    memset(text, 'x', sizeof(text));
    assert_int_equal(http_request_parse(text, MOST - 1, MOST, &request), HTTP_NOT_YET);
    assert_int_equal(http_request_parse(text, MOST, MOST, &request), HTTP_TOO_LARGE);
    memset(text, '\n', sizeof(text));
    assert_int_equal(http_request_parse(text, MOST, MOST, &request), HTTP_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(not_whole),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
