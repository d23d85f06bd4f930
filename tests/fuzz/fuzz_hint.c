/* A hint as a commit's metadata or JSON has it: what is taken comes back as the same text, and answers every question. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "offsets/hint.h"

static void ask(const struct hint *hint)
{
    int64_t source;
    for (int64_t i = 0; i < 4 && i <= INT64_MAX - hint->from; i++) {
        int64_t at = hint->from + i;
        if (hint_source(hint, at, &source) && source < 0) {
            abort();
        }
        hint_seen(hint, at);
    }
    if (hint->mapped_until > hint->from && !hint_source(hint, hint->mapped_until - 1, &source)) {
        abort();
    }
    if (hint_source(hint, hint->until, &source)) {
        abort();
    }
}

static void try_text(const char *text, size_t size)
{
    struct hint hint;
    struct hint_origin origin;
    struct err err = {0};
    char again[HINT_TEXT_BYTES];
    hint_is(text, size);
    if (!hint_parse(text, size, &origin, &hint, &err)) {
        if (err.kind != ERR_REFUSED || err.what[0] == '\0') {
            abort();
        }
        return;
    }
    if (!hint_is_of(text, size, origin.operation)) {
        abort();
    }
    ask(&hint);
    hint_text(&origin, &hint, SIZE_MAX, again);
    /* Longer runs than we write may not fit again. */
    size_t len = strlen(again);
    if (size < HINT_TEXT_BYTES / 2 && (len != size || memcmp(again, text, len) != 0)) {
        abort();
    }
    hint_done(&hint);
}

static void try_json(const char *text, size_t size)
{
    struct hint hint;
    json_t *value = json_parse(text, size, "hint", NULL);
    if (value != NULL && hint_json_parse(value, &hint, NULL)) {
        ask(&hint);
        json_t *again = hint_json(&hint);
        struct hint twice;
        if (!hint_json_parse(again, &twice, NULL)) {
            abort();
        }
        hint_done(&twice);
        json_decref(again);
        hint_done(&hint);
    }
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* as long as it is, so that a read beyond is seen */
    memcpy(text, data, size);
    try_json(text, size);
    char *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, data, size);
    try_text(exact, size);
    free(exact);
    free(text);
    return 0;
}
