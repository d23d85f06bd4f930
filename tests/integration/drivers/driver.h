/* What the drivers share: a client's settings from the command line, commands from stdin on the loop, answers as lines.
 *
 * A driver is a small program around one interface of kafka/ that a Python test tells what to do: `word word word` in,
 * `event key=value` out. The first words of a line are its name; tests wait for it.
 */
#ifndef FERRY_TESTS_DRIVER_H
#define FERRY_TESTS_DRIVER_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "config/config.h"

#define DRIVER_WORDS 64

static inline void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static inline void say_err(const char *event, const struct err *err)
{
    static const char *const kinds[] = {"none", "retry", "refused", "fatal", "config", "usage"};
    say("%s kind=%s code=%d what=%s hint=%s", event, kinds[err->kind], err->code, err->what,
        err->hint);
}

/* "bootstrap.servers" and NAME=VALUE of DRIVER_PROPERTIES, divided by blanks. */
static inline const struct config_client *driver_client(const char *bootstrap)
{
    static struct config_property properties[16];
    static struct config_client client = {.properties = properties};
    static char text[4096];
    const char *given = getenv("DRIVER_PROPERTIES");
    snprintf(text, sizeof(text), "%s", given ? given : "");
    char *rest = text;
    properties[client.properties_count++] =
        (struct config_property){"bootstrap.servers", bootstrap};
    for (char *word = strtok_r(rest, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        if (equals && client.properties_count < 16) {
            *equals = '\0';
            properties[client.properties_count++] = (struct config_property){word, equals + 1};
        }
    }
    if (getenv("DRIVER_DEBUG")) {
        log_set_level(LOG_DEBUG);
    }
    return &client;
}

static inline int driver_split(char *line, char **words)
{
    int count = 0;
    char *rest = line;
    for (char *word = strtok_r(line, " \n", &rest); word && count < DRIVER_WORDS;
         word = strtok_r(NULL, " \n", &rest)) {
        words[count++] = word;
    }
    return count;
}

/* Commands from stdin while the loop turns; stdin's end is "quit". */
struct driver_input {
    char bytes[1 << 16];
    size_t len;
    struct loop_fd *watch;
    void (*command)(int count, char **words);
};
static inline void driver_read(void *arg, int what)
{
    struct driver_input *input = arg;
    static char quit[] = "quit";
    char *only[] = {quit};
    (void)what;
    ssize_t got = read(0, input->bytes + input->len, sizeof(input->bytes) - 1 - input->len);
    if (got <= 0) {
        input->command(1, only);
        return;
    }
    input->len += (size_t)got;
    char *end;
    while ((end = memchr(input->bytes, '\n', input->len))) {
        char *words[DRIVER_WORDS];
        char line[sizeof(input->bytes)];
        size_t len = (size_t)(end - input->bytes);
        memcpy(line, input->bytes, len);
        line[len] = '\0';
        input->len -= len + 1;
        memmove(input->bytes, end + 1, input->len);
        int count = driver_split(line, words);
        if (count > 0) {
            input->command(count, words);
        }
    }
}

#endif
