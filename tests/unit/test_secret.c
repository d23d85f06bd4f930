/* config/secret: read by reference, refused when others may write it, never more than asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

static char path[64];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "%s", "/tmp/ferry-secret-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void file_holds(const char *text, size_t len, mode_t mode)
{
    assert_int_equal(chmod(path, 0600),
                     0); /* the last test's mode: who is not root may not write */
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void reads(const struct config_secret *secret, const char *expected)
{
    struct err err;
    char *text = config_secret_read(secret, &err);
    if (text == NULL) {
        fail_msg("%s", err.what);
    }
    assert_string_equal(text, expected);
    config_secret_free(text);
}

static void refuses(const struct config_secret *secret, const char *reason)
{
    struct err err;
    assert_null(config_secret_read(secret, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    if (strncmp(err.what, "secret sasl.password: ", 22) != 0 || strstr(err.what, reason) == NULL) {
        fail_msg("%s", err.what);
    }
}

static void a_file_is_read_without_its_last_newline(void **state)
{
    const struct config_secret secret = {.name = "sasl.password", .file = path};
    (void)state;
    file_holds("hunter2", 7, 0600);
    reads(&secret, "hunter2");
    file_holds("hunter2\n", 8, 0400);
    reads(&secret, "hunter2");
    file_holds(" two\nlines \r\n", 13, 0644);
    reads(&secret, " two\nlines ");
    config_secret_free(NULL);
}

static void what_is_no_secret(void **state)
{
    const struct config_secret secret = {.name = "sasl.password", .file = path};
    const struct config_secret gone = {.name = "sasl.password", .file = "/nonexistent/x"};
    const struct config_secret folder = {.name = "sasl.password", .file = "/"};
    char large[(64 << 10) + 1];
    (void)state;
    file_holds("", 0, 0600);
    refuses(&secret, "is empty");
    file_holds("\n\n", 2, 0600);
    refuses(&secret, "is empty");
    file_holds("a\0b", 3, 0600);
    refuses(&secret, "zero byte");
    memset(large, 'x', sizeof(large));
    file_holds(large, sizeof(large) - 1, 0600);
    reads(&secret, (large[sizeof(large) - 1] = '\0', large));
    large[sizeof(large) - 1] = 'x';
    file_holds(large, sizeof(large), 0600);
    refuses(&secret, "File too large");
    refuses(&gone, "No such file");
    refuses(&folder, "Is a directory");
}

static void a_file_that_others_may_write_is_refused(void **state)
{
    const struct config_secret secret = {.name = "sasl.password", .file = path};
    struct err err;
    (void)state;
    file_holds("hunter2", 7, 0620);
    refuses(&secret, "may be written by others");
    file_holds("hunter2", 7, 0602);
    refuses(&secret, "may be written by others");
    assert_null(config_secret_read(&secret, &err));
    assert_non_null(strstr(err.hint, "chmod go-w"));
    assert_null(strstr(err.what, "hunter2"));
}

static void the_environment(void **state)
{
    const struct config_secret secret = {.name = "sasl.password", .env = "FERRY_TEST_SECRET"};
    (void)state;
    unsetenv("FERRY_TEST_SECRET");
    refuses(&secret, "the environment has no FERRY_TEST_SECRET");
    setenv("FERRY_TEST_SECRET", "", 1);
    refuses(&secret, "is empty");
    setenv("FERRY_TEST_SECRET", "hunter2", 1);
    reads(&secret, "hunter2");
    reads(&secret, "hunter2"); /* what we wipe is our copy */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_without_its_last_newline),
        cmocka_unit_test(what_is_no_secret),
        cmocka_unit_test(a_file_that_others_may_write_is_refused),
        cmocka_unit_test(the_environment),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
