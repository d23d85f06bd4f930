/* A walk over text that a parser has read already (or has read up to an error): it checks nothing, and must end on any
 * text: each turn of a loop moves `pos`, and depth is bounded. */
#include "base/json_place.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct walk {
    const char *pos;
    const char *end;
    const char *line_begin;
    int line;
    int depth;
    size_t path_len;
    char path[JSON_PATH_BYTES];
    /* what is looked for: the longest beginning of `wanted`, or the last member before `before` */
    const char *wanted;
    const char *before;
    size_t found_len;
    const char *found_at;
    const char
        *found_line_begin; /* the column is counted once, at the end: a file may be one line */
    struct json_place *out;
};

static bool has(const struct walk *walk, char byte)
{
    return walk->pos < walk->end && *walk->pos == byte;
}

static void skip_space(struct walk *walk)
{
    for (; walk->pos < walk->end && memchr(" \t\r\n", *walk->pos, 4) != NULL; walk->pos++) {
        if (*walk->pos == '\n' && walk->line < INT_MAX) {
            walk->line++;
            walk->line_begin = walk->pos + 1;
        }
    }
}

static void skip(struct walk *walk, char byte)
{
    skip_space(walk);
    walk->pos += has(walk, byte) ? 1 : 0;
    skip_space(walk);
}

static void skip_string(struct walk *walk)
{
    for (walk->pos++; walk->pos < walk->end && *walk->pos != '"'; walk->pos++) {
        walk->pos += *walk->pos == '\\' && walk->pos + 1 < walk->end ? 1 : 0;
    }
    walk->pos += walk->pos < walk->end ? 1 : 0;
}

static bool is_wanted(const struct walk *walk, const char *at)
{
    if (walk->wanted == NULL) {
        return at < walk->before;
    }
    size_t len = walk->path_len;
    return len >= walk->found_len && strncmp(walk->path, walk->wanted, len) == 0 &&
           (walk->wanted[len] == '\0' || walk->wanted[len] == '.');
}

static void visit(struct walk *walk, const char *at)
{
    if (is_wanted(walk, at)) {
        walk->found_len = walk->path_len;
        walk->found_at = at;
        walk->found_line_begin = walk->line_begin;
        walk->out->line = walk->line;
        memcpy(walk->out->path, walk->path, walk->path_len + 1);
    }
}

static void walk_value(struct walk *walk);

/* Put a name on the path; false when the path is full: it stays as it is. */
static bool path_push(struct walk *walk, const char *name, size_t name_len)
{
    size_t used = walk->path_len;

    if (used + name_len + 2 > sizeof(walk->path)) {
        return false;
    }
    if (used > 0) {
        walk->path[used++] = '.';
    }
    memcpy(walk->path + used, name, name_len);
    walk->path_len = used + name_len;
    walk->path[walk->path_len] = '\0';
    return true;
}

static void path_pop(struct walk *walk, size_t len)
{
    walk->path_len = len;
    walk->path[len] = '\0';
}

static void walk_object(struct walk *walk)
{
    size_t path_len = walk->path_len;

    for (skip(walk, '{'); has(walk, '"'); skip(walk, ',')) {
        const char *at = walk->pos;
        skip_string(walk); /* no line ends inside */
        size_t quoted = (size_t)(walk->pos - at);
        if (path_push(walk, at + 1, quoted - (quoted > 1 ? 2 : 1))) {
            visit(walk, at);
        }
        skip(walk, ':');
        walk_value(walk);
        path_pop(walk, path_len);
    }
    skip(walk, '}');
}

static void walk_array(struct walk *walk)
{
    size_t path_len = walk->path_len;
    size_t index = 0;

    for (skip(walk, '['); walk->pos < walk->end && *walk->pos != ']'; skip(walk, ',')) {
        char name[24];
        const char *at = walk->pos;
        int len = snprintf(name, sizeof(name), "%zu", index++);
        if (path_push(walk, name, (size_t)len)) {
            visit(walk, at);
        }
        walk_value(walk);
        path_pop(walk, path_len);
        if (walk->pos == at) {
            return; /* no value and no end: no JSON */
        }
    }
    skip(walk, ']');
}

static void walk_value(struct walk *walk)
{
    if (walk->depth >= JSON_DEPTH_MAX) {
        walk->pos = walk->end;
        return;
    }
    walk->depth++;
    if (has(walk, '{')) {
        walk_object(walk);
    } else if (has(walk, '[')) {
        walk_array(walk);
    } else if (has(walk, '"')) {
        skip_string(walk);
    } else {
        while (walk->pos < walk->end && memchr(",:]}[{\" \t\r\n", *walk->pos, 11) == NULL) {
            walk->pos++;
        }
    }
    walk->depth--;
}

static void walk_all(struct walk *walk, const char *text, size_t len)
{
    walk->pos = walk->line_begin = text;
    walk->end = text + len;
    walk->line = 1;
    *walk->out = (struct json_place){.line = 1, .column = 1};
    skip_space(walk);
    walk_value(walk);
    for (const char *byte = walk->found_line_begin; byte < walk->found_at; byte++) {
        walk->out->column += ((unsigned char)*byte & 0xc0) != 0x80; /* not inside a character */
    }
}

void json_place_find(const char *text, size_t len, const char *path, struct json_place *out)
{
    struct walk walk = {.wanted = path, .out = out};

    walk_all(&walk, text, len);
}

void json_place_before(const char *text, size_t len, size_t offset, struct json_place *out)
{
    struct walk walk = {.before = text + (offset < len ? offset : len), .out = out};

    walk_all(&walk, text, len);
}

int json_depth(const char *text, size_t len)
{
    struct walk walk = {.pos = text, .end = text + len};
    int depth = 0;
    int deepest = 0;

    while (walk.pos < walk.end) {
        if (*walk.pos == '"') {
            skip_string(&walk);
            continue;
        }
        if (*walk.pos == '{' || *walk.pos == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (*walk.pos == '}' || *walk.pos == ']') {
            depth--;
        }
        walk.pos++;
    }
    return deepest;
}
