/* What of one partition's map is unmapped, and what was rebuilt from the two logs, in the store's Redis. The worker that owns
 * the partition rebuilds; two at once are arbitrated by compare-and-swap. Loop thread only.
 */
#ifndef FERRY_OFFSETS_OFFSET_REBUILD_H
#define FERRY_OFFSETS_OFFSET_REBUILD_H

#include "offsets/offset_piece.h"
#include "offsets/offset_store.h"

#define OFFSET_OPEN_MAX 1024 /* stretches of a partition that are looked at; the newest */

/* A stretch that is recorded as unmapped. Pieces reach from its end down to `top`: [begin, top) is left. */
struct offset_open {
    struct offset_stretch stretch;
    struct offset_place top;
};
static inline bool offset_open_done(const struct offset_open *open)
{
    return open->top.source <= open->stretch.begin.source;
}

enum offset_unmapped_what {
    UNMAPPED_KNOWN,
    UNMAPPED_FLUSHED, /* there is no checkpoint of the incarnation, so nothing is recorded either */
    UNMAPPED_AWAY,    /* not known now: `err` */
};

/* Stretches of `at`'s incarnation, newest first, those without a rest too. `open` is valid in the call only. May call back at once.
 * ERR_REFUSED: what is stored is nothing that ferry writes */
void offset_store_unmapped(struct offset_store *store, const char *topic, int32_t partition,
                           const struct checkpoint *at,
                           void (*done)(void *arg, enum offset_unmapped_what what,
                                        const struct offset_open *open, size_t count,
                                        const struct err *err),
                           void *arg);

/* Store pieces that follow one another, oldest first, and end where open->top is. ERR_RETRY: what is stored is not what
 * `open` says, or Redis is away: ask again. May call back at once. */
void offset_store_rebuilt(struct offset_store *store, const char *topic, int32_t partition,
                          const struct checkpoint *at, const struct offset_open *open,
                          const struct offset_piece *pieces, size_t count,
                          void (*done)(void *arg, const struct err *err), void *arg);

#endif
