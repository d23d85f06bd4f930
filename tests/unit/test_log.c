/* base/log: one line an event, nothing forges a line, a full pipe costs lines and no time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* stderr as a pipe that we read. */
struct capture {
    int saved;
    int read_fd;
    char text[8192];
};

static void capture_begin(struct capture *capture, int fds[2])
{
    capture->saved = dup(STDERR_FILENO);
    capture->read_fd = fds[0];
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
}

static void capture_pipe(struct capture *capture)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    capture_begin(capture, fds);
}

static const char *capture_end(struct capture *capture)
{
    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    fcntl(capture->read_fd, F_SETFL, O_NONBLOCK);
    ssize_t len = read(capture->read_fd, capture->text, sizeof(capture->text) - 1);
    capture->text[len < 0 ? 0 : len] = '\0';
    close(capture->read_fd);
    return capture->text;
}

static void a_line_has_time_level_event_and_pairs(void **state)
{
    struct capture capture;
    (void)state;
    capture_pipe(&capture);
    log_warn("link.state", "from=%s to=%s", "resuming", "mirroring");
    const char *line = capture_end(&capture);
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " warn link.state from=resuming to=mirroring\n");
}

static void nothing_forges_a_line(void **state)
{
    struct capture capture;
    (void)state;
    capture_pipe(&capture);
    log_info("a.b", "why=%s", "x\n2026 error forged.line\r\x1b[31m\x7f");
    const char *line = capture_end(&capture);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "why=x\\x0a2026 error forged.line\\x0d\\x1b[31m\\x7f\n"));
}

static void quoted_text_can_be_read_back(void **state)
{
    (void)state;
    assert_string_equal(log_quote("a \"b\" \\c\n").text, "\"a \\\"b\\\" \\\\c\\x0a\"");
    assert_string_equal(log_quote(NULL).text, "\"\"");
    char longer[5000];
    memset(longer, '"', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    struct log_quoted quoted = log_quote(longer);
    size_t len = strlen(quoted.text);
    assert_true(len < sizeof(quoted.text) && len > 1000);
    assert_int_equal(quoted.text[len - 1], '"');
    assert_int_equal(len % 2, 0); /* no half of an escape */
}

static void lines_below_the_level_are_not_written(void **state)
{
    struct capture capture;
    (void)state;
    capture_pipe(&capture);
    log_debug("not.shown", "a=%d", 1);
    log_set_level(LOG_ERROR);
    log_warn("not.shown", "a=%d", 2);
    log_error("is.shown", "a=%d", 3);
    log_set_level(LOG_INFO);
    const char *text = capture_end(&capture);
    assert_null(strstr(text, "not.shown"));
    assert_non_null(strstr(text, " error is.shown a=3\n"));
}

static void a_long_line_is_cut_and_ends(void **state)
{
    struct capture capture;
    char longer[20000];
    (void)state;
    memset(longer, '\n', sizeof(longer)); /* each becomes four */
    longer[sizeof(longer) - 1] = '\0';
    capture_pipe(&capture);
    log_info("a.b", "%s", longer);
    const char *text = capture_end(&capture);
    assert_in_range(strlen(text), 3000, 4096);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

/* S7: whoever reads the log stands still. */
static void a_full_pipe_costs_lines_and_no_time(void **state)
{
    struct capture capture;
    uint64_t before = log_dropped_count();
    (void)state;
    capture_pipe(&capture);
    assert_true(fcntl(STDERR_FILENO, F_SETPIPE_SZ, 4096) > 0);
    alarm(5); /* a write that waits would wait for ever */
    for (int i = 0; i < 1000; i++) {
        log_info("a.b", "number=%d", i);
    }
    alarm(0);
    const char *text = capture_end(&capture);
    assert_non_null(strstr(text, "number=0\n"));
    assert_true(log_dropped_count() - before > 900);
}

/* The journal is known by its socket, not by the variable alone: that is inherited. */
static void the_journal_gets_priorities(void **state)
{
    struct capture capture;
    struct stat status;
    char stream[64];
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fstat(fds[1], &status);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    capture_begin(&capture, fds);
    log_error("a.b", "c=%d", 1);
    const char *text = capture_end(&capture);
    assert_int_equal(strncmp(text, "<3>20", 5), 0);
    capture_pipe(&capture);
    log_error("a.b", "c=%d", 1);
    text = capture_end(&capture);
    assert_int_equal(strncmp(text, "20", 2), 0);
    unsetenv("JOURNAL_STREAM");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_and_pairs),
        cmocka_unit_test(nothing_forges_a_line),
        cmocka_unit_test(quoted_text_can_be_read_back),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(a_long_line_is_cut_and_ends),
        cmocka_unit_test(a_full_pipe_costs_lines_and_no_time),
        cmocka_unit_test(the_journal_gets_priorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
