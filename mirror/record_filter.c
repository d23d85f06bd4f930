#include "mirror/record_filter.h"

#include <string.h>

#include "base/buf.h"
#include "kafka/wire.h"

struct bytes { /* NULL = null */
    const uint8_t *data;
    size_t len;
};

/* As for names of topics, over bytes: on a mismatch only the last star is tried again one byte further. */
static bool glob_match(const char *glob, struct bytes text)
{
    const char *star = NULL;
    size_t back = 0;
    size_t at = 0;

    while (at < text.len) {
        if (*glob == '*') {
            star = glob++;
            back = at;
        } else if (*glob != '\0' && (*glob == '?' || (uint8_t)*glob == text.data[at])) {
            glob++;
            at++;
        } else if (star != NULL) {
            glob = star + 1;
            at = ++back;
        } else {
            return false;
        }
    }
    return glob[strspn(glob, "*")] == '\0';
}

static bool any_match(const struct config_pattern *patterns, size_t count, struct bytes text)
{
    for (size_t i = 0; i < count; i++) {
        if (text.data != NULL && glob_match(patterns[i].text, text)) {
            return true;
        }
    }
    return false;
}

static bool key_belongs(const struct config_patterns *globs, struct bytes key)
{
    return !any_match(globs->exclude, globs->exclude_count, key) &&
           (globs->include_count == 0 || any_match(globs->include, globs->include_count, key));
}

static struct bytes read_bytes(struct reader *reader)
{
    int64_t len = wire_varlong(reader);
    if (len < 0) {
        return (struct bytes){0};
    }
    return (struct bytes){.data = reader_bytes(reader, (size_t)len), .len = (size_t)len};
}

/* One header of that name has to match `include`, when there is one; none may match `exclude`. */
static bool header_belongs(const struct config_header *wanted, const struct record *record)
{
    struct reader reader = reader_over(record->headers, record->headers_len);
    size_t name_len = strlen(wanted->name);
    bool included = wanted->globs.include_count == 0;

    for (int64_t left = wire_varlong(&reader); left > 0 && !reader.bad; left--) {
        struct bytes name = read_bytes(&reader);
        struct bytes value = read_bytes(&reader);
        if (reader.bad || name.data == NULL || name.len != name_len ||
            memcmp(name.data, wanted->name, name_len) != 0) {
            continue;
        }
        if (any_match(wanted->globs.exclude, wanted->globs.exclude_count, value)) {
            return false;
        }
        included = included || any_match(wanted->globs.include, wanted->globs.include_count, value);
    }
    return included;
}

enum record_verdict record_filter_judge(const struct config_filter *filter,
                                        const struct record *record)
{
    if (filter == NULL) {
        return RECORD_KEPT;
    }
    struct bytes key = {.data = record->key,
                        .len = record->key_len > 0 ? (size_t)record->key_len : 0};
    if (!key_belongs(&filter->key, key)) {
        return RECORD_KEY;
    }
    for (size_t i = 0; i < filter->headers_count; i++) {
        if (!header_belongs(&filter->headers[i], record)) {
            return RECORD_HEADER;
        }
    }
    return RECORD_KEPT;
}

const char *record_verdict_name(enum record_verdict verdict)
{
    switch (verdict) {
    case RECORD_KEPT:
        return "kept";
    case RECORD_KEY:
        return "key";
    case RECORD_HEADER:
        return "header";
    case RECORD_VERDICTS_COUNT:
        break;
    }
    return "unknown";
}
