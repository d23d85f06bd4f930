/* What Redis holds of partitions that are on neither side any more: found, and taken away. Loop side, beside offset_store. */
#ifndef FERRY_OFFSETS_OFFSET_FORGET_H
#define FERRY_OFFSETS_OFFSET_FORGET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "offsets/offset_store.h"

/* Checkpoints of the topics that `wanted` picks, {TOPIC: {"TOPIC:PARTITION": TEXT}}; NULL = Redis does not say. What cannot be read
 * is not among them. `done` is called once, possibly from within; its JSON is a new reference. */
void offset_forget_list(struct offset_store *store, bool (*wanted)(void *arg, const char *topic),
                        void (*done)(void *arg, json_t *take_rows), void *arg);
/* One of them: checkpoint, maps, what is unmapped and what was rebuilt. Nothing, when its checkpoint is another by now. What it
 * counts as repeated stays. @param field, text  as listed; done: it is gone by that, called once, possibly from within */
void offset_forget(struct offset_store *store, const char *field, const char *text,
                   void (*done)(void *arg, bool gone), void *arg);

#endif
