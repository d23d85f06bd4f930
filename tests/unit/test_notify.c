#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/notify.h"

/* A manager that listens on an abstract address of its own choice. */
static int manager_new(char name[64])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    int len = snprintf(name, 64, "@ferry-notify-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    return fd;
}

static void the_manager_gets_the_state(void **state)
{
    (void)state;
    char name[64];
    char got[64] = "";
    int fd = manager_new(name);
    setenv("NOTIFY_SOCKET", name, 1);
    assert_true(notify_send("READY=1\nSTATUS=2 links"));
    assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), 22);
    assert_string_equal(got, "READY=1\nSTATUS=2 links");
    char began[64] = "";
    assert_true(notify_reloading());
    assert_true(recv(fd, began, sizeof(began) - 1, MSG_DONTWAIT) > 0);
    assert_ptr_equal(strstr(began, "RELOADING=1\nMONOTONIC_USEC="), began);
    assert_true(atoll(strchr(strchr(began, '=') + 1, '=') + 1) > 0);
    close(fd);
    assert_false(notify_send("READY=1")); /* the manager is gone: no signal, no wait */
}

static void without_a_manager_nothing_is_sent(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_send("READY=1"));
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_false(notify_send("READY=1"));
    char longer[200];
    memset(longer, 'x', sizeof(longer));
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    setenv("NOTIFY_SOCKET", longer, 1);
    assert_false(notify_send("READY=1"));
}

static void the_watchdog_is_asked_for_by_the_manager(void **state)
{
    (void)state;
    char pid[16];
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    assert_int_equal(notify_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(notify_watchdog_ms(), 30000);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_ms(), 0);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_ms(), 30000);
    setenv("WATCHDOG_USEC", "12x", 1);
    assert_int_equal(notify_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "-5", 1);
    assert_int_equal(notify_watchdog_ms(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manager_gets_the_state),
        cmocka_unit_test(without_a_manager_nothing_is_sent),
        cmocka_unit_test(the_watchdog_is_asked_for_by_the_manager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
