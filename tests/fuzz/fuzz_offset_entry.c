/* An entry of the map's stream as Redis gives it: ID, then bytes. What is taken must pack into the same bytes again, and
 * its runs must not overlap. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "offsets/offset_map.h"

static int64_t take_number(const uint8_t *data)
{
    int64_t number;
    memcpy(&number, data, sizeof(number));
    return number;
}

static void check_order(const struct offset_run *runs, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++) {
        if (runs[i].length <= 0 ||
            runs[i + 1].source_first - runs[i].source_first < runs[i].length ||
            runs[i + 1].target_first - runs[i].target_first < runs[i].length) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct offset_run runs[OFFSET_MAP_PACK];
    struct offset_entry again;
    struct err err = {0};
    size_t count = 0;
    int64_t source_gap = 0;
    int64_t target_gap = 0;
    if (size < 16) {
        return 0;
    }
    size_t len = size - 16;
    uint8_t *packed =
        malloc(len + (len == 0)); /* as long as it is, so that a read beyond is seen */
    memcpy(packed, data + 16, len);
    if (offset_entry_unpack(take_number(data), take_number(data + 8), packed, len, runs, &count,
                            &source_gap, &target_gap, &err)) {
        if (count == 0 || count > OFFSET_MAP_PACK || runs[count - 1].length != 0) {
            abort();
        }
        check_order(runs, count);
        offset_entry_pack(&again, runs[0].source_first - source_gap,
                          runs[0].target_first - target_gap, runs, count);
        if (again.packed_len != len || memcmp(again.packed, packed, len) != 0 ||
            again.id_source != take_number(data) || again.id_target != take_number(data + 8)) {
            abort();
        }
    } else if (err.kind != ERR_REFUSED) {
        abort();
    }
    free(packed);
    return 0;
}
