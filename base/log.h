/* One line per event, for people and machines: `2026-11-25T03:00:07.123Z info link.state from=resuming to=mirroring`.
 *
 * Control characters in the text are escaped, so nothing that came from a socket can forge a line. Secrets are never
 * passed here. Lines go to stderr (journald prefixes <3>..<7> when JOURNAL_STREAM is set); a full pipe drops the line
 * and counts it: the data plane waits for no log line.
 */
#ifndef FERRY_BASE_LOG_H
#define FERRY_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Write one event. @param event "noun.happened"  @param format "key=%s key2=%lld ..."; quote free text with
 * log_quote().  @thread any */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_event(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_event(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)

struct log_quoted {
    char text[1024];
};

/* `text` in double quotes with quotes, backslashes and control characters escaped, cut to fit; use as
 * `log_info("x.y", "why=%s", log_quote(why).text)`. NULL gives "". */
struct log_quoted log_quote(const char *text);

/* Lines below `level` are dropped; default LOG_INFO. */
void log_set_level(enum log_level level);

/* Lines dropped since the start because stderr was full. */
uint64_t log_dropped_count(void);

#endif
