/* kafka/codec: the first byte selects the codec, the second the bound; never more than the bound comes out. */
#include <stdint.h>

#include "kafka/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *out = NULL;
    size_t out_len = 0;
    struct err err;

    if (size < 2) {
        return 0;
    }
    size_t bound = (size_t)1 << data[1] % 21; /* 1 B to 1 MiB */
    if (codec_decompress((enum batch_codec)(data[0] % 6), data + 2, size - 2, bound, &out, &out_len,
                         &err)) {
        if (out == NULL || out_len > bound) {
            abort();
        }
        free(out);
    } else if (err.what[0] == '\0' || out != NULL) {
        abort();
    }
    return 0;
}
