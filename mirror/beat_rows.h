/* Partitions of a heartbeat as they stand in Redis. A row is some 350 bytes, each second: of 10,000 partitions 3.5 MB/s. Many rows
 * are therefore one member `partitions_zstd`, base64 of a zstd frame of their JSON, in place of `partitions`; the rest stays as it
 * is, for whoever looks by hand, and whoever asks only that. It is one field of a hash all the same: it is there whole, or not.
 */
#ifndef FERRY_MIRROR_BEAT_ROWS_H
#define FERRY_MIRROR_BEAT_ROWS_H

#include <jansson.h>
#include <stdbool.h>

#define BEAT_ROWS_PLAIN 32 /* so many stay readable: some 11 KB */
#define BEAT_ROWS_BYTES_MAX \
    (16 << 20) /* of JSON, what json_parse() takes: 45,000 partitions of one worker */

/* `partitions` becomes `partitions_zstd` where there are many. */
void beat_rows_pack(json_t *beat);
/* And back. The beat comes from Redis: hostile.
 *
 * @return false: its rows are none, nothing is changed; such a beat counts for nothing    @thread any */
bool beat_rows_unpack(json_t *beat);

#endif
