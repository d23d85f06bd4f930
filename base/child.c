#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"

#define GRACE_MS 500 /* from SIGTERM to SIGKILL */

enum { IN, OUT, SAID, PIPES };

struct run {
    struct loop *loop;
    struct child_result *result;
    const char *in;
    size_t in_len;
    size_t in_sent;
    size_t said_len;
    int ours[PIPES]; /* -1 = closed */
    struct loop_fd *watches[PIPES];
    pid_t pid;
    struct loop_timer *timer;
};

static void close_pipe(struct run *run, int which)
{
    loop_fd_free(run->watches[which]);
    run->watches[which] = NULL;
    if (run->ours[which] >= 0) {
        close(run->ours[which]);
        run->ours[which] = -1;
    }
}

/* --- pipes -------------------------------------------------------------------------------------------------------- */

static void in_ready(void *arg, int what)
{
    struct run *run = arg;
    (void)what;
    ssize_t sent = write(run->ours[IN], run->in + run->in_sent, run->in_len - run->in_sent);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    run->in_sent += sent > 0 ? (size_t)sent : 0;
    if (sent < 0 || run->in_sent == run->in_len) {
        close_pipe(run, IN); /* one that reads nothing is no error */
    }
}

/* Keep what fits. */
static void keep(struct run *run, int which, const char *bytes, size_t len)
{
    bool out = which == OUT;
    char *to = out ? run->result->out : run->result->said;
    size_t *used = out ? &run->result->out_len : &run->said_len;
    size_t room = (out ? CHILD_OUT_BYTES : sizeof(run->result->said) - 1) - *used;
    size_t kept = len < room ? len : room;
    memcpy(to + *used, bytes, kept);
    *used += kept;
    to[*used] = '\0';
    run->result->out_cut = run->result->out_cut || (out && kept < len);
}

static bool read_some(struct run *run, int which)
{
    char bytes[4096];
    ssize_t got = run->ours[which] < 0 ? 0 : read(run->ours[which], bytes, sizeof(bytes));
    if (got > 0) {
        keep(run, which, bytes, (size_t)got);
        return true;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_pipe(run, which);
    }
    return false;
}

static void out_ready(void *arg, int what)
{
    (void)what;
    read_some(arg, OUT);
}

static void said_ready(void *arg, int what)
{
    (void)what;
    read_some(arg, SAID);
}

/* --- its end ------------------------------------------------------------------------------------------------------ */

static void over(void *arg, int what)
{
    struct run *run = arg;
    (void)what;
    loop_stop(run->loop);
}

static void time_is_up(void *arg)
{
    struct run *run = arg;
    kill(-run->pid, run->result->time_up ? SIGKILL : SIGTERM);
    run->result->time_up = true;
    loop_timer_set(run->timer, GRACE_MS);
}

/* What it wrote before its end is in the pipes; whoever it left behind holds them open, and is ended too. */
static void reap(struct run *run)
{
    int status = 0;
    kill(-run->pid, SIGKILL);
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR) {
    }
    for (int which = OUT; which <= SAID; which++) {
        for (size_t i = 0; i < 2 * CHILD_OUT_BYTES / 4096 && read_some(run, which); i++) {
        }
    }
    run->result->code = WIFEXITED(status) && !run->result->time_up ? WEXITSTATUS(status) : -1;
    run->result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool watch(struct run *run, int32_t timeout_ms, struct err *err)
{
    static void (*const readies[])(void *, int) = {in_ready, out_ready, said_ready};
    int pidfd = pidfd_open(run->pid, 0);
    if (pidfd < 0) {
        err_set_code(err, ERR_RETRY, errno, "cannot watch it: %s", strerror(errno));
        reap(run);
        return false;
    }
    struct loop_fd *end = loop_fd_new(run->loop, pidfd, LOOP_READ, over, run);
    run->timer = loop_timer_new(run->loop, time_is_up, run);
    loop_timer_set(run->timer, timeout_ms);
    for (int which = 0; which < PIPES; which++) {
        run->watches[which] = loop_fd_new(
            run->loop, run->ours[which], which == IN ? LOOP_WRITE : LOOP_READ, readies[which], run);
    }
    if (run->in_len == 0) {
        close_pipe(run, IN);
    }
    loop_run(run->loop);
    loop_timer_free(run->timer);
    loop_fd_free(end);
    close(pidfd);
    reap(run);
    return true;
}

/* --- its beginning ------------------------------------------------------------------------------------------------ */

static bool program_ok(const char *path, struct err *err)
{
    struct stat status;
    if (path[0] != '/' || stat(path, &status) != 0 || !S_ISREG(status.st_mode) ||
        access(path, X_OK) != 0) {
        return err_set_code(err, ERR_CONFIG, errno, "%.300s is no program that can be run", path);
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        err_set(err, ERR_CONFIG, "%.300s may be written by others", path);
        return err_hint(err, "chmod go-w %.200s", path);
    }
    return true;
}

/* The write end of the first and the read ends of the others are ours. */
static bool open_pipes(int ours[PIPES], int theirs[PIPES])
{
    for (int which = 0; which < PIPES; which++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) {
            return false;
        }
        ours[which] = ends[which == IN ? 1 : 0];
        theirs[which] = ends[which == IN ? 0 : 1];
        fcntl(ours[which], F_SETFL, O_NONBLOCK);
    }
    return true;
}

static int spawn(const struct child_options *options, const int theirs[PIPES], pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t signals;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    for (int which = 0; which < PIPES; which++) {
        posix_spawn_file_actions_adddup2(&actions, theirs[which], which);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, PIPES);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    /* They are not const for reasons of history; nobody changes them. */
    int error = posix_spawn(out_pid, options->argv[0], &actions, &attributes,
                            (char *const *)(uintptr_t)options->argv,
                            (char *const *)(uintptr_t)options->env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

static bool start(struct run *run, const struct child_options *options, struct err *err)
{
    int theirs[PIPES] = {-1, -1, -1};
    int error = open_pipes(run->ours, theirs) ? spawn(options, theirs, &run->pid) : errno;
    for (int which = 0; which < PIPES; which++) {
        if (theirs[which] >= 0) {
            close(theirs[which]);
        }
    }
    return error == 0 || err_set_code(err, ERR_RETRY, error, "%.300s cannot be run: %s",
                                      options->argv[0], strerror(error));
}

bool child_run(const struct child_options *options, struct child_result *out, struct err *err)
{
    struct child_result result = {.code = -1};
    struct run run = {
        .result = &result, .in = options->in, .in_len = strlen(options->in), .ours = {-1, -1, -1}
    };
    if (!program_ok(options->argv[0], err)) {
        return false;
    }
    run.loop = loop_new(clock_system());
    result.out = calloc(1, CHILD_OUT_BYTES + 1);
    if (run.loop == NULL || result.out == NULL) {
        abort();
    }
    bool ok = start(&run, options, err) && watch(&run, options->timeout_ms, err);
    for (int which = 0; which < PIPES; which++) {
        close_pipe(&run, which);
    }
    loop_free(run.loop);
    if (ok) {
        *out = result;
    } else {
        child_result_done(&result);
    }
    return ok;
}

void child_result_done(struct child_result *result)
{
    free(result->out);
    result->out = NULL;
}
