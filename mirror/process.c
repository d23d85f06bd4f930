#include "mirror/process.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "ferry_version.h"

#define STATE_DIR_DEFAULT "/var/lib/ferry"
#define BEAT_MS           1000
#define PROBE_MS          100 /* how late the loop is: a tenth of a percent of a core at most */
#define FDS_EVERY         10  /* beats: counting 10,000 descriptors takes some 5 ms */

void process_harden(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); /* handles of librdkafka may outlive main */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* ---- state directory and lock ---------------------------------------------------------------------------------- */

struct process_lock {
    int fd;
    char *path;
};

/* mkdir -p; each new one for ourselves only (umask). */
static bool make_dirs(const char *path)
{
    char *part = strdup(path);
    assert(part);
    bool ok = true;
    for (char *at = part + 1; ok && *at; at++) {
        if (*at == '/') {
            *at = '\0';
            ok = mkdir(part, 0700) == 0 || errno == EEXIST || errno == EROFS || errno == EACCES;
            *at = '/';
        }
    }
    ok = ok && (mkdir(part, 0700) == 0 || errno == EEXIST);
    free(part);
    return ok;
}

char *process_state_dir(const char *configured)
{
    bool is_default = strcmp(configured, STATE_DIR_DEFAULT) == 0;
    const char *state_home = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    int len = -1;
    if (!is_default || geteuid() == 0 || access(configured, W_OK) == 0 || (!state_home && !home)) {
        len = asprintf(&path, "%s", configured);
    } else if (state_home && state_home[0] == '/') { /* a relative one is to be ignored, says XDG */
        len = asprintf(&path, "%s/ferry", state_home);
    } else {
        len = asprintf(&path, "%s/.local/state/ferry", home ? home : "");
    }
    assert(len >= 0);
    (void)len;
    return path;
}

/* Who holds it, as far as the file says. */
static bool set_held(int fd, const char *path, const char *worker, struct err *err)
{
    char pid[24] = "";
    ssize_t len = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[len > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    err_set(err, ERR_REFUSED, "another ferryd named '%s' runs on this host: process %s holds %s",
            worker, pid[0] ? pid : "(unknown)", path);
    return err_hint(err, "give this one another --worker NAME, or stop the other first");
}

static bool lock_open(struct process_lock *lock, const char *worker, struct err *err)
{
    lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->fd < 0) {
        err_set_code(err, ERR_CONFIG, errno, "state_dir: open %s: %s", lock->path, strerror(errno));
        return err_hint(err, "set \"state_dir\" to a directory that this user may write");
    }
    if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? set_held(lock->fd, lock->path, worker, err)
                                    : err_set_code(err, ERR_CONFIG, errno, "lock %s: %s",
                                                   lock->path, strerror(errno));
    }
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(lock->fd, 0) != 0 || pwrite(lock->fd, pid, (size_t)len, 0) != len) {
        return err_set_code(err, ERR_CONFIG, errno, "write %s: %s", lock->path, strerror(errno));
    }
    return true;
}

struct process_lock *process_lock_new(const char *state_dir, const char *worker, struct err *err)
{
    if (!make_dirs(state_dir)) {
        err_set_code(err, ERR_CONFIG, errno, "state_dir %s cannot be made: %s", state_dir,
                     strerror(errno));
        err_hint(err, "set \"state_dir\" to a directory that this user may write");
        return NULL;
    }
    struct process_lock *lock = calloc(1, sizeof(*lock));
    assert(lock);
    lock->fd = -1;
    int len = asprintf(&lock->path, "%s/%s.lock", state_dir, worker);
    assert(len > 0);
    (void)len;
    if (!lock_open(lock, worker, err)) {
        process_lock_free(lock);
        return NULL;
    }
    return lock;
}

void process_lock_free(struct process_lock *lock)
{
    if (!lock) {
        return;
    }
    if (lock->fd >= 0) {
        close(lock->fd); /* the file stays: removing it would let two hold "the" lock */
    }
    free(lock->path);
    free(lock);
}

/* ---- metrics --------------------------------------------------------------------------------------------------- */

struct process_metrics {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_timer *probe;
    int64_t due_ms; /* the probe */
    uint64_t beats_count;
    double cpu_seconds; /* as shown */
    struct series *resident;
    struct series *cpu;
    struct series *fds;
    struct series *lag;
    struct series *log_dropped;
};

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long size = 0;
    unsigned long resident = 0;
    bool ok = file && fscanf(file, "%lu %lu", &size, &resident) == 2;
    if (file) {
        fclose(file);
    }
    return ok ? (double)resident * (double)sysconf(_SC_PAGESIZE) : -1;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return -1;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return -1;
    }
    double count = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count - 1; /* the directory itself */
}

static void set_or_unknown(struct series *series, double value)
{
    if (value < 0) {
        series_set_unknown(series);
    } else {
        series_set(series, value);
    }
}

static void beat(void *arg)
{
    struct process_metrics *process = arg;
    set_or_unknown(process->resident, resident_bytes());
    double cpu = cpu_seconds();
    if (cpu > process->cpu_seconds) {
        series_add(process->cpu, cpu - process->cpu_seconds);
        process->cpu_seconds = cpu;
    }
    if (process->beats_count++ % FDS_EVERY == 0) {
        set_or_unknown(process->fds, open_fds());
    }
    series_add(process->log_dropped,
               (double)log_dropped_count() - series_value(process->log_dropped));
    loop_timer_set(process->timer, BEAT_MS);
}

static void probe(void *arg)
{
    struct process_metrics *process = arg;
    int64_t late_ms = loop_now_ms(process->loop) - process->due_ms;
    series_observe(process->lag, late_ms > 0 ? (double)late_ms / 1e3 : 0);
    process->due_ms = loop_now_ms(process->loop) + PROBE_MS;
    loop_timer_set(process->probe, PROBE_MS);
}

static struct series *plain(struct metrics *metrics, enum metric_type type, const char *name,
                            const char *help)
{
    return metric_series(metrics_add(metrics, type, name, help, NULL), NULL);
}

struct process_metrics *process_metrics_new(struct loop *loop, struct metrics *metrics,
                                            const char *worker)
{
    struct process_metrics *process = calloc(1, sizeof(*process));
    assert(process);
    process->loop = loop;
    static const char *const build_labels[] = {"version", "worker", NULL};
    const char *const build_values[] = {FERRY_VERSION, worker};
    series_set(metric_series(
                   metrics_add(metrics, METRIC_GAUGE, "ferry_build_info",
                               "Which ferryd this is, and the name it has in the group; always 1.",
                               build_labels),
                   build_values),
               1);
    series_set(plain(metrics, METRIC_GAUGE, "process_start_time_seconds",
                     "Start time of the process since the Unix epoch in seconds."),
               (double)clock_wall_ms(loop_clock(loop)) / 1e3);
    process->resident = plain(metrics, METRIC_GAUGE, "process_resident_memory_bytes",
                              "Resident memory size in bytes.");
    process->cpu = plain(metrics, METRIC_COUNTER, "process_cpu_seconds_total",
                         "Total user and system CPU time spent in seconds.");
    process->fds =
        plain(metrics, METRIC_GAUGE, "process_open_fds", "Number of open file descriptors.");
    process->lag = plain(metrics, METRIC_HISTOGRAM, "ferry_loop_lag_seconds",
                         "How late the event loop runs a timer, ten times a second.");
    process->log_dropped = plain(metrics, METRIC_COUNTER, "ferry_log_lines_dropped_total",
                                 "Log lines dropped because standard error was full.");
    process->timer = loop_timer_new(loop, beat, process);
    process->probe = loop_timer_new(loop, probe, process);
    process->due_ms = loop_now_ms(loop);
    beat(process);
    probe(process);
    return process;
}

void process_metrics_free(struct process_metrics *process)
{
    if (process) {
        loop_timer_free(process->timer);
        loop_timer_free(process->probe);
        free(process);
    }
}
