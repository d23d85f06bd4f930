/* Words of a small set: is one of them, is nearly one of them. */
#ifndef FERRY_CONFIG_WORDS_H
#define FERRY_CONFIG_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Is `text` one of "a|b|c"? In any case of letters. */
bool words_choice(const char *choices, const char *text);

#define WORDS_NEAR 3 /* so many changed letters are another word */

/* Letters to insert, delete or replace to come from `a` to `b`; SIZE_MAX when one is longer than 64. */
size_t words_distance(const char *a, const char *b);

#endif
