#include "http/request.h"

#include <string.h>

/* Length of the head with its empty line, 0 = not whole. Bare newlines are taken, too (RFC 9112, 2.2). */
static size_t head_len(const char *bytes, size_t len)
{
    const char *end = bytes + len;

    for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) {
        const char *next = at + 1;
        next += next < end && *next == '\r' ? 1 : 0;
        if (next < end && *next == '\n') {
            return (size_t)(next - bytes) + 1;
        }
    }
    return 0;
}

/* A word up to a space; false when there is none or it is empty. */
static bool take_word(const char **at, const char *end, const char **out, size_t *out_len)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));

    if (space == NULL || space == *at) {
        return false;
    }
    *out = *at;
    *out_len = (size_t)(space - *at);
    *at = space + 1;
    return true;
}

static bool is(const char *word, size_t len, const char *expected)
{
    return len == strlen(expected) && memcmp(word, expected, len) == 0;
}

static bool printable(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)bytes[i] <= 0x20 || (unsigned char)bytes[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* "/path?query" or "http://host/path": the path. */
static enum http_status path_of(const char *target, size_t len, struct http_request *out)
{
    const char *end = target + len;

    if (!printable(target, len)) {
        return HTTP_BAD_REQUEST;
    }
    if (len > 7 && memcmp(target, "http://", 7) == 0) {
        target = memchr(target + 7, '/', len - 7);
    }
    if (target == NULL || *target != '/') {
        return HTTP_BAD_REQUEST;
    }
    const char *query = memchr(target, '?', (size_t)(end - target));
    size_t path_len = (size_t)((query == NULL ? end : query) - target);
    if (path_len >= sizeof(out->path)) {
        return HTTP_NOT_FOUND;
    }
    memcpy(out->path, target, path_len);
    out->path[path_len] = '\0';
    return HTTP_OK;
}

static enum http_status parse_line(const char *line, const char *end, struct http_request *out)
{
    const char *method;
    const char *target;
    size_t method_len;
    size_t target_len;

    if (!take_word(&line, end, &method, &method_len) ||
        !take_word(&line, end, &target, &target_len) || !printable(method, method_len)) {
        return HTTP_BAD_REQUEST;
    }
    size_t version_len = (size_t)(end - line);
    if (version_len != 8 || memcmp(line, "HTTP/", 5) != 0) {
        return HTTP_BAD_REQUEST;
    }
    if (!is(line, 8, "HTTP/1.1") && !is(line, 8, "HTTP/1.0")) {
        return HTTP_VERSION;
    }
    out->head = is(method, method_len, "HEAD");
    if (!out->head && !is(method, method_len, "GET")) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    return path_of(target, target_len, out);
}

enum http_status http_request_parse(const char *bytes, size_t len, size_t most,
                                    struct http_request *out)
{
    *out = (struct http_request){.head = false};
    /* an empty line before a request is left over from the one before, on other servers */
    for (; len > 0 && (*bytes == '\r' || *bytes == '\n'); bytes++, len--, most--) {
    }
    size_t head = head_len(bytes, len);
    if (head == 0) {
        return len >= most ? HTTP_TOO_LARGE : HTTP_NOT_YET;
    }
    const char *end = memchr(bytes, '\n', head);
    end -= end > bytes && end[-1] == '\r' ? 1 : 0;
    return parse_line(bytes, end, out);
}
