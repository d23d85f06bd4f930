#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mirror/process.h"

static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/ferry-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static void clean(const char *path)
{
    char file[256];
    snprintf(file, sizeof(file), "%s/w1.lock", path);
    unlink(file);
    rmdir(path);
}

static int teardown(void **state)
{
    (void)state;
    char deep[128];
    snprintf(deep, sizeof(deep), "%s/a/b", dir);
    clean(deep);
    snprintf(deep, sizeof(deep), "%s/a", dir);
    clean(deep);
    clean(dir);
    return 0;
}

static void the_directory_is_made_for_ourselves_only(void **state)
{
    (void)state;
    char deep[128];
    struct err err;
    struct stat stat_of;
    snprintf(deep, sizeof(deep), "%s/a/b", dir);
    struct process_lock *lock = process_lock_new(deep, "w1", &err);
    assert_non_null(lock);
    assert_int_equal(stat(deep, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0700);
    process_lock_free(lock);
}

static void a_second_holder_is_told_who_has_it(void **state)
{
    (void)state;
    struct err err = {0};
    char pid[32];
    struct process_lock *lock = process_lock_new(dir, "w1", &err);
    assert_non_null(lock);
    assert_null(process_lock_new(dir, "w1", &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    snprintf(pid, sizeof(pid), "process %d ", (int)getpid());
    assert_non_null(strstr(err.what, "named 'w1'"));
    assert_non_null(strstr(err.what, pid));
    process_lock_free(lock);
    lock = process_lock_new(dir, "w1", &err);
    assert_non_null(lock);
    process_lock_free(lock);
}

static void the_lock_ends_with_its_process(void **state)
{
    (void)state;
    struct err err;
    pid_t child = fork();
    if (child == 0) {
        _exit(process_lock_new(dir, "w1", &err) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    struct process_lock *lock = process_lock_new(dir, "w1", &err);
    assert_non_null(lock);
    process_lock_free(lock);
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
    (void)state;
    struct err err;
    assert_null(process_lock_new("/dev/null/ferry", "w1", &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.what, "/dev/null/ferry"));
    assert_non_null(strstr(err.hint, "state_dir"));
}

static void a_link_in_the_locks_place_is_refused(void **state)
{
    (void)state;
    char path[128];
    struct err err;
    snprintf(path, sizeof(path), "%s/w1.lock", dir);
    assert_int_equal(symlink("/tmp/ferry-test-elsewhere", path), 0);
    assert_null(process_lock_new(dir, "w1", &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

static void a_configured_directory_is_taken_as_it_is(void **state)
{
    (void)state;
    char *path = process_state_dir("/srv/ferry");
    assert_string_equal(path, "/srv/ferry");
    free(path);
}

static void metrics_show_the_process(void **state)
{
    (void)state;
    static const char *const names[] = {
        "worker=\"w1\"} 1",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "ferry_loop_lag_seconds_count 1",
        "process_start_time_seconds ",
        "ferry_log_lines_dropped_total ",
    };
    struct loop *loop = loop_new(clock_system());
    struct metrics *metrics = metrics_new();
    struct process_metrics *process = process_metrics_new(loop, metrics, "w1");
    size_t len;
    char *text = metrics_text(metrics, &len);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strstr(text, names[i])) {
            print_error("%s is not in:\n%s", names[i], text);
        }
        assert_non_null(strstr(text, names[i]));
    }
    free(text);
    process_metrics_free(process);
    metrics_free(metrics);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_directory_is_made_for_ourselves_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_holder_is_told_who_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lock_ends_with_its_process, setup, teardown),
        cmocka_unit_test(a_directory_that_cannot_be_made_is_named),
        cmocka_unit_test_setup_teardown(a_link_in_the_locks_place_is_refused, setup, teardown),
        cmocka_unit_test(a_configured_directory_is_taken_as_it_is),
        cmocka_unit_test(metrics_show_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
