/* The `streams` record of the control topic: whose configuration decides what the streams hold (ADR 0003).
 *
 * Workers whose hash is not the record's write nothing. A hash that was never there is a newer configuration: the keeper
 * that has it writes the next epoch and keeps the one before among `previous`. A hash among `previous` is a worker that
 * was not restarted yet, or a configuration that was put back: it never wins by itself, or two workers would take turns.
 */
#ifndef FERRY_MIRROR_STREAMS_H
#define FERRY_MIRROR_STREAMS_H

#include <stdint.h>

#include "kafka/control.h"

#define STREAMS_PREVIOUS_MAX \
    16 /* changes of filters between the oldest and the newest worker of a service */

enum streams_verdict {
    STREAMS_OURS,  /* the record is ours: produce */
    STREAMS_WRITE, /* no record, or ours was never there: the keeper writes it */
    STREAMS_OLDER, /* ours was replaced: produce nothing */
};
enum streams_verdict streams_judge(const struct control_state *state, uint64_t hash);

/* The path that the service is carried by. Of "path": "auto" that is what the record says, or says by its hash; before there is
 * one, what `ferry enable` chose; PATH_AUTO = nobody has chosen. A service that runs never changes its path by itself. */
enum config_path streams_path(const struct control_state *state,
                              const struct config_service *service);

/* The record that makes `hash` the newest, after STREAMS_WRITE; the state is changed to what it will say. Another filter
 * makes another function of "sequence -> record": streams that began before go on in a higher generation. Heap.
 * @param path    part of `hash`
 * @param filter  config_filter_hash(), likewise */
char *streams_advance(struct control_state *state, uint64_t hash, enum config_path path,
                      uint64_t filter);

#endif
