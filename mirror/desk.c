#include "mirror/desk.h"

#include <assert.h>
#include <stdlib.h>

#include "base/heap.h"

struct desk {
    bool of_source;
    int32_t broker;
    int32_t lane;
    int32_t most;
    int32_t asked_count;
    TAILQ_HEAD(desk_places, desk_place) waiting;
};

void desks_done(struct desks *desks)
{
    for (size_t i = 0; i < desks->count; i++) {
        assert(TAILQ_EMPTY(&desks->list[i]->waiting));
        free(desks->list[i]);
    }
    free(desks->list);
    *desks = (struct desks){0};
}

struct desk *desk_of(struct desks *desks, bool of_source, int32_t broker, int32_t lane,
                     int32_t most)
{
    for (size_t i = 0; i < desks->count; i++) {
        struct desk *desk = desks->list[i];
        if (desk->broker == broker && desk->lane == lane && desk->of_source == of_source) {
            return desk;
        }
    }
    struct desk *made = must(calloc(1, sizeof(*made)));
    *made = (struct desk){.of_source = of_source, .broker = broker, .lane = lane, .most = most};
    TAILQ_INIT(&made->waiting);
    desks->list = must_grow(desks->list, desks->count, sizeof(struct desk *));
    desks->list[desks->count++] = made;
    return made;
}

bool desk_ask(struct desk *desk, struct desk_place *place)
{
    assert(place->desk == NULL);
    if (desk->asked_count < desk->most) {
        desk->asked_count++;
        return true;
    }
    place->desk = desk;
    TAILQ_INSERT_TAIL(&desk->waiting, place, entry);
    return false;
}

void desk_answered(struct desk *desk)
{
    assert(desk->asked_count > 0);
    desk->asked_count--;
}

struct desk_place *desk_next(struct desk *desk, bool all)
{
    struct desk_place *place = TAILQ_FIRST(&desk->waiting);
    if (place == NULL || (!all && desk->asked_count >= desk->most)) {
        return NULL;
    }
    desk_leave(place);
    return place;
}

void desk_leave(struct desk_place *place)
{
    if (place->desk != NULL) {
        TAILQ_REMOVE(&place->desk->waiting, place, entry);
        place->desk = NULL;
    }
}
