/* Records of a control topic, as anybody may write them: key length, key, value length, value, again and again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "kafka/control_records.h"

static const uint8_t *take(const uint8_t **data, size_t *left, size_t len)
{
    const uint8_t *at = *data;
    *data += len;
    *left -= len;
    return at;
}

/* The first byte picks one of our keys or the fuzzer's own bytes, so that it need not find the keys by luck. */
static const char *pick(uint8_t choice)
{
    static const char *const keys[] = {"role", "streams", "topics", "keeper", "order",
                                       "op/1", "op/2",    "dns",    "path"};
    return choice < sizeof(keys) / sizeof(keys[0]) ? keys[choice] : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    struct control_records *records = control_records_new();
    while (size >= 3) {
        const uint8_t *head = take(&data, &size, 3);
        const char *known = pick(head[0]);
        size_t key_len = known ? strlen(known) : head[0] % (size + 1);
        const void *key = known ? (const void *)known : take(&data, &size, key_len);
        size_t value_len = (size_t)(head[1] << 8 | head[2]) % (size + 1);
        const uint8_t *value = take(&data, &size, value_len);
        bool tombstone = value_len == 0 && head[1] == 0xff;
        bool ok = control_records_put(records, key, key_len, tombstone ? NULL : (const char *)value,
                                      value_len, &err);
        if (!ok && (err.kind != ERR_REFUSED || control_records_bad(records) == NULL)) {
            abort();
        }
    }
    struct control_state *state = control_records_state(records);
    if ((state->role_epoch > 0) != (state->role_json != NULL) ||
        (state->path_json != NULL) != (state->path != PATH_AUTO) ||
        (state->has_topics && state->topics_epoch < 1)) {
        abort();
    }
    control_state_free(state);
    control_records_free(records);
    return 0;
}
