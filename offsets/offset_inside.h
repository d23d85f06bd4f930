/* What offset_store.c, offset_track.c and offset_cut.c share; nobody else includes it. */
#ifndef FERRY_OFFSETS_OFFSET_INSIDE_H
#define FERRY_OFFSETS_OFFSET_INSIDE_H

#include "offsets/offset_backlog.h"
#include "offsets/offset_script.h"
#include "offsets/offset_store.h"

struct offset_track {
    struct offset_store *store;
    char *topic;
    int32_t partition;
    void *owner;
    char incarnation[INCARNATION_BYTES];
    struct offset_backlog backlog;
    bool looked;     /* reconciled with what Redis holds since the last doubt */
    bool busy;       /* a call is under way */
    bool dead;       /* freed by the owner; stays until what it holds is stored, or is of no use */
    bool parted;     /* another worker wrote, or the map was cut: nothing is stored any more */
    int64_t dead_ms; /* since when */
    int64_t refused_until_ms; /* what Redis holds is no map; looked at again then */
    int64_t all_ms;           /* when everything was stored last */
    struct offset_letter letter;
    struct offset_letter sent; /* in flight; its index is Redis's to say */
    bool has_stored;
    struct checkpoint stored;
};

struct offset_store {
    struct loop *loop;
    struct redis *redis; /* NULL = a site without Redis */
    struct offset_store_options options;
    struct offset_store_callbacks callbacks;
    char *base;
    char *meta_key;
    char *events_key;
    struct offset_totals totals;
    struct offset_counters counters;
    struct offset_track **tracks;
    size_t tracks_count;
    size_t dead_count; /* of them, given up by their owners and not stored yet */
    bool ready;
    bool greeting; /* asked whose Redis it is, and what it does when it is full */
    int64_t greeted_ms;
    bool policy_hidden; /* said once */
    struct err refused; /* ERR_NONE = is not */
    struct err
        refused_now; /* Redis answers, and does nothing for us at the moment; ERR_NONE = does */
    struct loop_timer *tick;
    struct loop_timer *flush_timer;
    void (*flushed)(void *arg, bool all);
    void *flushed_arg;
    bool closing;
};

/* May it be asked? false with ERR_RETRY or the reason of the refusal. */
MUST_CHECK
bool offset_store_usable(const struct offset_store *store, struct err *err);
void offset_store_call(struct offset_store *store, struct redis_script *script, int keys_count,
                       struct script_arguments *take_arguments, redis_reply_fn *done, void *arg);
/* Ask whose Redis it is, unless that is being asked. */
void offset_store_greet(struct offset_store *store);
/* A track came to rest: is the flush over? */
void offset_store_look_at_flush(struct offset_store *store);

/* Send what there is to send; `all` = what waits for more runs too. */
void offset_track_step(struct offset_track *track, bool all);
/* Connection or Redis changed: what it holds may be another copy. */
void offset_track_doubt(struct offset_track *track);
bool offset_track_waits(const struct offset_track *track); /* holds what may still be stored */
/* Free the dead that have nothing to do any more. Never below a callback of a track. */
void offset_tracks_sweep(struct offset_store *store);
void offset_tracks_destroy(struct offset_store *store);
/* The stored map of a partition is cut: the dead write no more. */
void offset_tracks_part(struct offset_store *store, const char *topic, int32_t partition);

#endif
