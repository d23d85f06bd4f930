/* What becomes of memory that cannot be had. Every size that comes from outside has a bound where it is asked for, so a
 * process that gets none is beyond mending: it ends, and whoever goes on resumes from what is durable.
 */
#ifndef FERRY_BASE_HEAP_H
#define FERRY_BASE_HEAP_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* @param memory  what malloc(), calloc(), realloc() or strdup() gave
 * @return the same, never NULL: the process aborts instead
 * @thread any */
static inline void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* Room for one more behind the last of a list that grows by this call alone (it may shrink). The room doubles at each power
 * of two, so nobody needs to remember it, and growing by one does not copy all each time.
 *
 * @param list     what this call gave for the item before, NULL for none
 * @param count    items in it
 * @param size     bytes of an item
 * @return the list, the caller's to free; never NULL
 * @thread any */
static inline void *must_grow(void *list, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0; /* none, or a power of two */
    return full ? must(reallocarray(list, count == 0 ? 1 : 2 * count, size)) : list;
}

/* @return a copy of a text, the caller's to free; NULL of NULL
 * @thread any */
static inline char *must_copy(const char *text)
{
    return text == NULL ? NULL : (char *)must(strdup(text));
}

#endif
