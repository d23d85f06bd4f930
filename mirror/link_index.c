/* Finding one part among ten thousand. Each answer of Redis and of the group finds its part by id, each assignment by place. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "mirror/link_inside.h"

static int by_place(const void *a, const void *b)
{
    const struct link_part *left = a;
    const struct link_part *right = b;
    if (left->partition != right->partition) {
        return left->partition < right->partition ? -1 : 1;
    }
    return strcmp(left->topic, right->topic);
}

/* `parts` stands in the order of ids: new ones have the highest. @return where it stands, or would */
static size_t index_of(const struct link *link, uint64_t id)
{
    size_t low = 0;
    size_t high = link->parts_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (link->parts[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void link_index_add(struct link_part *part)
{
    struct link *link = part->link;
    part->id = ++link->ids_count;
    link->parts = must_grow(link->parts, link->parts_count, sizeof(struct link_part *));
    link->parts[link->parts_count++] = part;
    must(tsearch(part, &link->parts_by_place, by_place));
}

void link_index_remove(struct link_part *part)
{
    struct link *link = part->link;
    size_t at = index_of(link, part->id);
    link->parts_count--;
    memmove(&link->parts[at], &link->parts[at + 1],
            (link->parts_count - at) * sizeof(struct link_part *));
    tdelete(part, &link->parts_by_place, by_place);
}

struct link_part *part_find(struct link *link, const char *topic, int32_t partition)
{
    struct link_part key = {.partition = partition};
    if (strlen(topic) >= sizeof(key.topic)) {
        return NULL;
    }
    memcpy(key.topic, topic, strlen(topic) + 1);
    struct link_part *const *found = tfind(&key, &link->parts_by_place, by_place);
    return found == NULL ? NULL : *found;
}

struct link_part *part_by_id(struct link *link, uint64_t id)
{
    size_t at = index_of(link, id);
    return at < link->parts_count && link->parts[at]->id == id ? link->parts[at] : NULL;
}
