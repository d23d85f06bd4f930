#include "mirror/streams.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "offsets/checkpoint.h"

enum streams_verdict streams_judge(const struct control_state *state, uint64_t hash)
{
    if (state->streams_epoch == 0) {
        return STREAMS_WRITE;
    }
    if (state->streams_hash == hash) {
        return STREAMS_OURS;
    }
    for (size_t i = 0; i < state->streams_previous_count; i++) {
        if (state->streams_previous[i] == hash) {
            return STREAMS_OLDER;
        }
    }
    return STREAMS_WRITE;
}

enum config_path streams_path(const struct control_state *state,
                              const struct config_service *service)
{
    if (service->path != PATH_AUTO) {
        return service->path;
    }
    if (state->streams_epoch == 0) {
        return state->path;
    }
    if (state->streams_path != PATH_AUTO) {
        return state->streams_path;
    }
    for (int path = PATH_BATCHES; path <= PATH_RECORDS; path++) {
        if (config_streams_hash(service, (enum config_path)path) == state->streams_hash) {
            return (enum config_path)path;
        }
    }
    return state->path;
}

/* Newest last; the oldest is forgotten. */
static void previous_push(struct control_state *state, uint64_t hash)
{
    if (state->streams_previous_count == STREAMS_PREVIOUS_MAX) {
        memmove(state->streams_previous, state->streams_previous + 1,
                (STREAMS_PREVIOUS_MAX - 1) * sizeof(state->streams_previous[0]));
        state->streams_previous_count--;
    }
    state->streams_previous[state->streams_previous_count++] = hash;
}

static json_t *hash_json(uint64_t hash)
{
    char hex[17];
    snprintf(hex, sizeof(hex), "%016" PRIx64, hash);
    return json_string(hex);
}

/* Above all that streams of the filter before could be raised to; one beyond the last when there is none. */
static int32_t generation_of_next_filter(int32_t least)
{
    int32_t next = (least / GENERATIONS_A_FILTER + 1) * GENERATIONS_A_FILTER;
    return next > GENERATION_MAX ? GENERATION_MAX + 1 : next;
}

char *streams_advance(struct control_state *state, uint64_t hash, enum config_path path,
                      uint64_t filter)
{
    static_assert(sizeof(state->streams_previous) / sizeof(state->streams_previous[0]) ==
                      STREAMS_PREVIOUS_MAX,
                  "the record holds what the state can");
    assert(streams_judge(state, hash) == STREAMS_WRITE);
    if (state->streams_epoch > 0) {
        previous_push(state, state->streams_hash);
        if (filter != state->streams_filter) {
            state->streams_generation = generation_of_next_filter(state->streams_generation);
        }
    }
    state->streams_filter = filter;
    state->streams_path = path;
    state->streams_epoch++;
    state->streams_hash = hash;
    json_t *previous = json_array();
    for (size_t i = 0; i < state->streams_previous_count; i++) {
        json_array_append_new(previous, hash_json(state->streams_previous[i]));
    }
    json_t *record =
        json_pack("{s:I, s:o, s:o, s:s}", "epoch", (json_int_t)state->streams_epoch, "hash",
                  hash_json(hash), "previous", previous, "path", config_path_name(path));
    if (filter != 0 || state->streams_generation > 0) { /* there is, or was, a filter */
        json_object_set_new(record, "filter", hash_json(filter));
        json_object_set_new(record, "generation", json_integer(state->streams_generation));
    }
    char *text = json_text(record);
    json_decref(record);
    return text;
}
