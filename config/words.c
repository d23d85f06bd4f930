#include "config/words.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define WORD_BYTES_MAX 64

bool words_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || strchr(text, '|') != NULL) {
        return false;
    }
    for (const char *word = choices; word != NULL; word = strchr(word, '|')) {
        word += *word == '|';
        if (strncasecmp(word, text, len) == 0 && (word[len] == '|' || word[len] == '\0')) {
            return true;
        }
    }
    return false;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance, one row of the matrix at a time. */
size_t words_distance(const char *a, const char *b)
{
    size_t row[WORD_BYTES_MAX + 1];
    size_t len = strlen(b);

    if (len > WORD_BYTES_MAX || strlen(a) > WORD_BYTES_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= len; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < len; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = least_of(replaced, least_of(row[j], row[j + 1]) + 1);
        }
    }
    return row[len];
}
