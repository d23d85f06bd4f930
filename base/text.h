/* Text that grows while it is appended to, and numbers as text. For what is written by the ten thousand: a field takes some 10 ns,
 * where printf takes 100 and a tree of JSON values 300.
 *
 *   struct text text = {0};
 *   text_puts(&text, "{\"from\":");
 *   text_number(&text, 17);
 *   char *whole = text_take(&text);
 */
#ifndef FERRY_BASE_TEXT_H
#define FERRY_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {   /* {0} is an empty one */
    char *data; /* heap; no end is kept behind it before text_take() */
    size_t len;
    size_t room;
};
void text_put(struct text *text, const char *bytes, size_t len);
void text_puts(struct text *text, const char *string);
void text_number(struct text *text, int64_t value);
/* As a JSON string, quotes around it. What is no UTF-8 becomes "?". */
void text_quoted(struct text *text, const char *string);
/* The inside of a JSON string. @param bytes  printable ASCII alone */
void text_escaped(struct text *text, const char *bytes, size_t len);
/* In place: what is no UTF-8 becomes "?". JSON takes nothing else, and what others say may be cut anywhere. */
void text_clean(char *string);
/* As snprintf(), and then clean: what others say is cut between two characters, or ends in "?". */
void text_print(char *out, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* In place: clean, and what a terminal obeys (U+0000 to 001F, 007F to 009F) becomes "?". */
void text_safe(char *string);
/* Heap, ended by NUL, free() by the caller; the text is empty again. */
char *text_take(struct text *text);

#define TEXT_NUMBER_BYTES 20 /* -9223372036854775808 */
/* Decimal digits to where at least TEXT_NUMBER_BYTES have room, without an end. Returns behind the last one. */
char *text_digits(char *at, int64_t value);

#endif
