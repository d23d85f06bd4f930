#include "base/text.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

#define FIRST_BYTES 256

static char *room_for(struct text *text, size_t more)
{
    if (text->room - text->len < more) {
        size_t room = text->room == 0 ? FIRST_BYTES : text->room;
        while (room - text->len < more) {
            room *= 2;
        }
        text->data = must(realloc(text->data, room));
        text->room = room;
    }
    return text->data + text->len;
}

void text_put(struct text *text, const char *bytes, size_t len)
{
    if (len > 0) {
        memcpy(room_for(text, len), bytes, len);
        text->len += len;
    }
}

void text_puts(struct text *text, const char *string)
{
    text_put(text, string, strlen(string));
}

char *text_digits(char *at, int64_t value)
{
    char digits[TEXT_NUMBER_BYTES];
    size_t count = 0;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        *at++ = '-';
    }
    while (count > 0) {
        *at++ = digits[--count];
    }
    return at;
}

void text_number(struct text *text, int64_t value)
{
    const char *end = text_digits(room_for(text, TEXT_NUMBER_BYTES), value);
    text->len = (size_t)(end - text->data);
}

/* So many bytes are one character, RFC 3629; 0: none begins here. */
static size_t utf8_len(const unsigned char *at)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    bool good = at[0] <= 0xf4;
    for (size_t i = 1; good && i < len; i++) { /* a text's end is none either */
        good = (at[i] & 0xc0) == 0x80;
    }
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool beyond = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return good && !overlong && !beyond ? len : 0;
}

void text_clean(char *string)
{
    while (*string != '\0') {
        size_t len = utf8_len((const unsigned char *)string);
        if (len == 0) {
            *string = '?';
        }
        string += len == 0 ? 1 : len;
    }
}

void text_print(char *out, size_t room, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(out, room, format, args);
    va_end(args);
    text_clean(out);
}

void text_safe(char *string)
{
    text_clean(string);
    for (unsigned char *at = (unsigned char *)string; *at != '\0'; at++) {
        if (at[0] == 0xc2 && at[1] < 0xa0) { /* U+0080 to 009F: CSI is one of them */
            at[0] = at[1] = '?';
        }
        if (*at < ' ' || *at == 0x7f) {
            *at = '?';
        }
    }
}

void text_quoted(struct text *text, const char *string)
{
    json_t *value = json_string(string);
    char *quoted = value == NULL ? NULL : json_dumps(value, JSON_ENCODE_ANY);
    text_puts(text, quoted == NULL ? "\"?\"" : quoted);
    free(quoted);
    json_decref(value);
}

void text_escaped(struct text *text, const char *bytes, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\') {
            text_put(text, bytes + from, i - from);
            text_put(text, "\\", 1);
            from = i;
        }
    }
    text_put(text, bytes + from, len - from);
}

char *text_take(struct text *text)
{
    *room_for(text, 1) = '\0';
    char *whole = text->data;
    *text = (struct text){0};
    return whole;
}
