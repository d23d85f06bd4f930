/* Programs of the operator: what goes in and comes out, and what they may not do to us. Real programs, sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"

static struct child_result result;
static struct err err;

static int tear_down(void **state)
{
    (void)state;
    child_result_done(&result);
    return 0;
}

static void run(const char *script, const char *in, int32_t timeout_ms)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", "ONE=1", NULL};
    const struct child_options options = {argv, env, in, timeout_ms};
    memset(&result, 0, sizeof(result));
    if (!child_run(&options, &result, &err)) {
        fail_msg("%s", err.what);
    }
}

static void text_in_text_out(void **state)
{
    (void)state;
    run("cat; echo for people >&2; exit 3", "hello", 5000);
    assert_int_equal(result.code, 3);
    assert_string_equal(result.out, "hello");
    assert_string_equal(result.said, "for people\n");
    assert_false(result.out_cut);
}

static void a_clean_environment(void **state)
{
    (void)state;
    setenv("FERRY_TEST_CHILD", "leaks", 1);
    run("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort", "", 5000);
    assert_string_equal(result.out, "ONE=1\nPATH=/usr/bin:/bin\n");
}

/* Neither descriptors nor an ignored signal of ours go along. */
static void nothing_of_ours_goes_along(void **state)
{
    (void)state;
    int fd = dup(2); /* without CLOEXEC, as a library may have one */
    signal(SIGPIPE, SIG_IGN);
    run("ls /proc/self/fd | wc -l; yes | head -n 1; "
        "echo $((0x$(grep SigIgn /proc/self/status | cut -f2) & 0x1000))", /* SIGPIPE */
        "", 5000);
    close(fd);
    assert_string_equal(result.out, "4\ny\n0\n"); /* 0, 1, 2, and ls's own */
}

static void time_is_bounded(void **state)
{
    int64_t began = clock_now_ms(clock_system());
    (void)state;
    run("echo begun; trap '' TERM; sleep 30 & sleep 30; wait", "", 300);
    assert_true(result.time_up);
    assert_int_equal(result.code, -1);
    assert_string_equal(result.out, "begun\n");
    assert_true(clock_now_ms(clock_system()) - began < 5000);
}

/* Its end is its end, also when it left somebody behind who holds the pipes. */
static void what_it_leaves_behind_is_ended(void **state)
{
    int64_t began = clock_now_ms(clock_system());
    (void)state;
    run("sleep 30 & echo $!", "", 10000);
    assert_int_equal(result.code, 0);
    assert_true(clock_now_ms(clock_system()) - began < 5000);
    pid_t left = atoi(result.out);
    for (int i = 0; i < 200 && kill(left, 0) == 0; i++) { /* until init has reaped it */
        char path[64];
        char state_of[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)left);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, state_of, sizeof(state_of) - 1);
        if (fd >= 0) {
            close(fd);
        }
        if (got <= 0 || strstr(state_of, ") Z") != NULL) {
            return;
        }
        usleep(10000);
    }
    assert_int_not_equal(kill(left, 0), 0);
}

static void output_is_bounded(void **state)
{
    (void)state;
    run("head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero >&2", "", 20000);
    assert_int_equal(result.code, 0);
    assert_true(result.out_cut);
    assert_int_equal(result.out_len, CHILD_OUT_BYTES);
}

static void one_that_reads_nothing(void **state)
{
    char *much = calloc(1, 1 << 20);
    (void)state;
    memset(much, 'x', (1 << 20) - 1);
    run("exec <&-; sleep 0.1; exit 0", much, 5000);
    assert_int_equal(result.code, 0);
    free(much);
}

static void ended_by_a_signal(void **state)
{
    (void)state;
    run("kill -SEGV $$", "", 5000);
    assert_int_equal(result.code, -1);
    assert_int_equal(result.signal, SIGSEGV);
    assert_false(result.time_up);
}

static void what_is_no_program(void **state)
{
    char path[] = "/tmp/ferry-test-child-XXXXXX";
    const char *argv[] = {"sh", NULL};
    const struct child_options options = {argv, argv + 1, "", 1000};
    (void)state;
    assert_false(child_run(&options, &result, &err)); /* no absolute path */
    assert_int_equal(err.kind, ERR_CONFIG);
    argv[0] = "/bin";
    assert_false(child_run(&options, &result, &err));
    int fd = mkstemp(path);
    assert_int_equal(fchmod(fd, 0775), 0);
    close(fd);
    argv[0] = path;
    assert_false(child_run(&options, &result, &err));
    assert_non_null(strstr(err.what, "may be written by others"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(text_in_text_out, tear_down),
        cmocka_unit_test_teardown(a_clean_environment, tear_down),
        cmocka_unit_test_teardown(nothing_of_ours_goes_along, tear_down),
        cmocka_unit_test_teardown(time_is_bounded, tear_down),
        cmocka_unit_test_teardown(what_it_leaves_behind_is_ended, tear_down),
        cmocka_unit_test_teardown(output_is_bounded, tear_down),
        cmocka_unit_test_teardown(one_that_reads_nothing, tear_down),
        cmocka_unit_test_teardown(ended_by_a_signal, tear_down),
        cmocka_unit_test(what_is_no_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
