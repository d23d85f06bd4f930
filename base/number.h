/* Arithmetic of offsets and counts that does not wrap. */
#ifndef FERRY_BASE_NUMBER_H
#define FERRY_BASE_NUMBER_H

#include <stdint.h>

static inline int64_t number_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t number_most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of two that are not negative; INT64_MAX where it does not fit. */
static inline int64_t number_sum(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

#endif
