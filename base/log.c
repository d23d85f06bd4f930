#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_BYTES 4096 /* PIPE_BUF: one write of a line is not torn apart by another's */

static _Atomic int least_level = LOG_INFO;
static _Atomic uint64_t dropped;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const journal_prefixes[] = {"<7>", "<6>", "<4>", "<3>"}; /* sd-daemon(3) */

/* Nothing that came from a socket may forge a line. */
static size_t put_escaped(char *out, size_t room, const char *text)
{
    size_t used = 0;
    for (; *text != '\0' && used + 5 < room; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f) {
            used += (size_t)snprintf(out + used, room - used, "\\x%02x", byte);
        } else {
            out[used++] = (char)byte;
        }
    }
    out[used] = '\0';
    return used;
}

static void write_line(const char *line, size_t len)
{
    ssize_t written = write(STDERR_FILENO, line, len);
    if (written != (ssize_t)len) {
        atomic_fetch_add(&dropped, 1);
    }
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    if ((int)level < atomic_load(&least_level)) {
        return;
    }
    char raw[LINE_BYTES - 256];
    char line[LINE_BYTES];
    char when[CLOCK_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof(raw), format, args);
    va_end(args);
    const char *prefix = getenv("JOURNAL_STREAM") != NULL ? journal_prefixes[level] : "";
    int used =
        snprintf(line, sizeof(line), "%s%s %s %s ", prefix,
                 clock_rfc3339(clock_wall_ms(clock_system()), when), level_names[level], event);
    size_t len = (size_t)used;
    len += put_escaped(line + len, sizeof(line) - len - 1, raw);
    line[len++] = '\n';
    write_line(line, len);
}

struct log_quoted log_quote(const char *text)
{
    struct log_quoted quoted;
    size_t used = 0;
    quoted.text[used++] = '"';
    for (; text != NULL && *text != '\0' && used + 6 < sizeof(quoted.text); text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            quoted.text[used++] = '\\';
            quoted.text[used++] = (char)byte;
        } else if (byte < 0x20 || byte == 0x7f) {
            used +=
                (size_t)snprintf(quoted.text + used, sizeof(quoted.text) - used, "\\x%02x", byte);
        } else {
            quoted.text[used++] = (char)byte;
        }
    }
    quoted.text[used++] = '"';
    quoted.text[used] = '\0';
    return quoted;
}

void log_set_level(enum log_level level)
{
    atomic_store(&least_level, (int)level);
}

uint64_t log_dropped_count(void)
{
    return atomic_load(&dropped);
}
