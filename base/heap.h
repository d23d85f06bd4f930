/* What becomes of memory that cannot be had. Every size that comes from outside has a bound where it is asked for, so a
 * process that gets none is beyond mending: it ends, and whoever goes on resumes from what is durable.
 */
#ifndef FERRY_BASE_HEAP_H
#define FERRY_BASE_HEAP_H

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

/* @return a copy of a text, the caller's to free; NULL of NULL
 * @thread any */
static inline char *must_copy(const char *text)
{
    return text == NULL ? NULL : (char *)must(strdup(text));
}

#endif
