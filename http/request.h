/* What is asked, from the bytes that came: no allocation, no state, the same bytes give the same answer. */
#ifndef FERRY_HTTP_REQUEST_H
#define FERRY_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum http_status {
    HTTP_NOT_YET = 0, /* the request is not whole */
    HTTP_OK = 200,
    HTTP_BAD_REQUEST = 400,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_TOO_LARGE = 431,
    HTTP_UNAVAILABLE = 503,
    HTTP_VERSION = 505,
};

struct http_request {
    bool head; /* HEAD: headers alone are answered */
    char path[64];
};

/* @return HTTP_OK with *out filled: a request to be served; HTTP_NOT_YET: read more; else what to answer (*out.head is
 * set even so). A path that does not fit is HTTP_NOT_FOUND: we have none that long. */
enum http_status http_request_parse(const char *bytes, size_t len, size_t most,
                                    struct http_request *out);

#endif
