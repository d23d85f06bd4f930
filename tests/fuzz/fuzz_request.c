/* http/request: any bytes are a request, part of one, or a refusal; a part never becomes another verdict's beginning. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request request;
    struct http_request again;
    const char *bytes = (const char *)data;
    enum http_status status = http_request_parse(bytes, size, 8192, &request);

    if (memchr(request.path, '\0', sizeof(request.path)) == NULL ||
        (status == HTTP_OK && request.path[0] != '/')) {
        abort();
    }
    /* What was whole stays what it was, whatever comes behind it: the server reads in pieces. */
    if (status == HTTP_NOT_YET || size == 0) {
        return 0;
    }
    char *more = malloc(size + 3);
    if (more == NULL) {
        return 0;
    }
    memcpy(more, data, size);
    memcpy(more + size, "\n\nx", 3);
    if (status != HTTP_TOO_LARGE && (http_request_parse(more, size + 3, 8192, &again) != status ||
                                     strcmp(again.path, request.path) != 0)) {
        abort();
    }
    free(more);
    return 0;
}
