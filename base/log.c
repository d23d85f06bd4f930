#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* A pipe that is writable has room for PIPE_BUF bytes (pipe(7)), a socket for more: no wait, unless another process
 * that shares it is quicker. */
static void write_line(const char *line, size_t len)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&room, 1, 0) != 1 || write(STDERR_FILENO, line, len) != (ssize_t)len) {
        atomic_fetch_add(&dropped, 1);
    }
}

/* JOURNAL_STREAM names the journal's socket; it is inherited by who writes elsewhere, too. @see systemd.exec(5) */
static bool to_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device;
    unsigned long long inode;
    struct stat status;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
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
    const char *prefix = to_journal() ? journal_prefixes[level] : "";
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
