/* ferryd: one link for each service and each other site than its home, on one loop, until it is told to stop.
 *
 * Exit codes: 0 stopped as asked, 1 failed (also a secret that cannot be read now) or not drained in time, 2 usage,
 * 3 refused by a check, 7 configuration, or a reason that a restart would not mend (a newcomer of our name took over):
 * the unit does not restart on 2, 3 and 7.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/aside.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/notify.h"
#include "config/config.h"
#include "ferry_version.h"
#include "http/server.h"
#include "kafka/gssapi.h"
#include "mirror/certificates.h"
#include "mirror/link.h"
#include "mirror/options.h"
#include "mirror/process.h"
#include "mirror/reload.h"

#define EXIT_FAILED  1
#define EXIT_USAGE   2
#define EXIT_REFUSED 3
#define EXIT_CONFIG  7

#define GRACE_MS \
    5000 /* on top of the drain: the last commit, LeaveGroup, the threads' ends (1 s each) */
#define FAREWELL_MS \
    50 /* what the links wrote last (Redis: this worker is gone) leaves its buffers */
#define HTTP_RETRY_MS 10000 /* a port that is taken by a ferryd before us is free soon */

struct daemon_link {
    struct link *link;
    char name[400]; /* SERVICE FROM>TO */
    bool stopped;
};

struct daemon {
    struct config *config; /* that it began with: sites and everything that a restart takes over */
    const struct config *running; /* read last: services; the limits of `config` follow it */
    const struct options *options;
    struct loop *loop;
    struct metrics *metrics;
    struct process_metrics *process;
    struct certificates *certificates;
    struct process_lock *lock;
    struct reload_metrics reloads;
    struct http_server *http;
    struct loop_timer *http_timer;
    struct loop_timer *watchdog;
    struct loop_timer *grace;
    struct loop_timer *farewell;
    struct loop_signal *signals[3];
    struct daemon_link *links;
    size_t links_count;
    int stop_signals_count;
    bool stopping;
    int exit_code;
};

static void complain(const struct err *err)
{
    fprintf(stderr, "ferryd: %s\n", err->what);
    if (err->hint[0]) {
        fprintf(stderr, "ferryd: hint: %s\n", err->hint);
    }
}

/* A file that was read whole is right: what a link finds wrong later (a secret that is not mounted yet, a certificate
 * whose new key is still on its way) passes by itself, and the unit tries again. */
static int exit_code_of(const struct daemon *daemon, const struct err *err)
{
    if (err->kind == ERR_CONFIG && daemon->lock != NULL) {
        return EXIT_FAILED;
    }
    switch (err->kind) {
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_REFUSED:
        return EXIT_REFUSED;
    case ERR_CONFIG:
    case ERR_FATAL:
        return EXIT_CONFIG;
    case ERR_NONE:
    case ERR_RETRY:
        break;
    }
    return EXIT_FAILED;
}

/* ---- stopping -------------------------------------------------------------------------------------------------- */

static void stop_if_done(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->links_count; i++) {
        if (!daemon->links[i].stopped) {
            return;
        }
    }
    loop_timer_set(daemon->farewell, FAREWELL_MS);
}

static void on_farewell_over(void *arg)
{
    struct daemon *daemon = arg;
    loop_stop(daemon->loop);
}

static void stop_all(struct daemon *daemon)
{
    if (daemon->stopping) {
        return;
    }
    daemon->stopping = true;
    notify_send("STOPPING=1\nSTATUS=draining");
    loop_timer_set(daemon->grace, daemon->config->limits.drain_timeout_ms + GRACE_MS);
    for (size_t i = 0; i < daemon->links_count; i++) {
        if (!daemon->links[i].stopped) {
            link_stop(daemon->links[i].link);
        }
    }
    stop_if_done(daemon);
}

static void on_stop_signal(void *arg)
{
    struct daemon *daemon = arg;
    if (++daemon->stop_signals_count > 1) {
        log_warn("ferryd.killed", "why=\"a second signal\" then=\"nothing is drained\"");
        _exit(EXIT_FAILED);
    }
    log_info("ferryd.stopping", "links=%zu drain_timeout_ms=%d", daemon->links_count,
             daemon->config->limits.drain_timeout_ms);
    stop_all(daemon);
}

/* ---- reading the configuration again ------------------------------------------------------------------------------ */

static bool all_reloadable(const struct daemon *daemon, const struct config *fresh, struct err *err)
{
    for (size_t i = 0; i < daemon->links_count; i++) {
        if (!daemon->links[i].stopped && !link_reloadable(daemon->links[i].link, fresh, err)) {
            return err_wrap(err, "link %s", daemon->links[i].name);
        }
    }
    return true;
}

static void take_over(struct daemon *daemon, const struct config *take_fresh)
{
    const struct config *before = daemon->running;
    daemon->running = take_fresh;
    daemon->config->limits = take_fresh->limits; /* links and engines look at these */
    if (!daemon->options->log_level_given) {
        log_set_level(take_fresh->log_level);
    }
    for (size_t i = 0; i < daemon->links_count; i++) {
        if (!daemon->links[i].stopped) {
            link_reload(daemon->links[i].link, take_fresh);
        }
    }
    config_free(before);
}

static bool reload(struct daemon *daemon, struct err *err)
{
    const struct options *options = daemon->options;
    struct config *fresh = reload_read(daemon->running, options->worker, options->http, err);
    if (!fresh || !all_reloadable(daemon, fresh, err)) {
        config_free(fresh);
        return false;
    }
    size_t count = reload_tell(daemon->running, fresh);
    take_over(daemon, fresh);
    log_info("ferryd.reloaded", "config=%s changes=%zu", log_quote(fresh->file).text, count);
    return true;
}

static void say_ready(const struct daemon *daemon, const char *more)
{
    char text[400];
    snprintf(text, sizeof(text), "READY=1\nSTATUS=%zu links%.300s", daemon->links_count, more);
    notify_send(text);
}

static void on_hangup(void *arg)
{
    struct daemon *daemon = arg;
    struct err err = {0};
    if (daemon->stopping) {
        return;
    }
    notify_reloading();
    bool ok = reload(daemon, &err);
    if (!ok) {
        log_error("ferryd.not_reloaded",
                  "why=%s hint=%s then=\"goes on with the configuration before\"",
                  log_quote(err.what).text, log_quote(err.hint).text);
    }
    reload_metrics_show(&daemon->reloads, ok, clock_wall_ms(loop_clock(daemon->loop)));
    say_ready(daemon, ok ? "" : "; the last reload was refused, see the log");
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void on_grace_over(void *arg)
{
    struct daemon *daemon = arg;
    for (size_t i = 0; i < daemon->links_count; i++) {
        if (!daemon->links[i].stopped) {
            log_error("ferryd.not_drained", "link=%s then=\"resumes from its checkpoint\"",
                      log_quote(daemon->links[i].name).text);
        }
    }
    daemon->exit_code = daemon->exit_code ? daemon->exit_code : EXIT_FAILED;
    loop_stop(daemon->loop);
}

/* Any link that cannot go on ends the process in order: half a worker would look like a whole one. */
static void on_link_stopped(void *arg, struct link *link, const struct err *why)
{
    struct daemon *daemon = arg;
    for (size_t i = 0; i < daemon->links_count; i++) {
        if (daemon->links[i].link != link) {
            continue;
        }
        daemon->links[i].stopped = true;
        if (why) {
            log_error("ferryd.link_stopped", "link=%s why=%s hint=%s",
                      log_quote(daemon->links[i].name).text, log_quote(why->what).text,
                      log_quote(why->hint).text);
            daemon->exit_code = exit_code_of(daemon, why);
        }
    }
    stop_all(daemon);
    stop_if_done(daemon);
}

/* ---- http, watchdog ---------------------------------------------------------------------------------------------- */

/* The loop turns, or nobody would have called. */
static bool is_healthy(void *arg)
{
    (void)arg;
    return true;
}

/* Every link can do what it is here for, or rightly stands by; how far behind is a metric. */
static bool is_ready(void *arg, FILE *out)
{
    const struct daemon *daemon = arg;
    bool ready = !daemon->stopping;
    for (size_t i = 0; i < daemon->links_count; i++) {
        char why[LINK_READY_BYTES];
        bool one = link_ready(daemon->links[i].link, why);
        ready = ready && one;
        fprintf(out, "%s: %s%s\n", daemon->links[i].name, one ? "" : "not ready: ", why);
    }
    return ready;
}

/* Mirroring does not depend on it: what fails is tried again. */
static void http_open(void *arg)
{
    struct daemon *daemon = arg;
    struct err err = {0};
    const char *listen = daemon->config->http_listen;
    if (strcmp(listen, "off") == 0) {
        return;
    }
    daemon->http =
        http_server_new(daemon->loop, listen, daemon->metrics, is_healthy, is_ready, daemon, &err);
    if (!daemon->http) {
        log_warn("http.failed", "listen=%s why=%s then=\"tried again in %d s\"",
                 log_quote(listen).text, log_quote(err.what).text, HTTP_RETRY_MS / 1000);
        loop_timer_set(daemon->http_timer, HTTP_RETRY_MS);
        return;
    }
    log_info("http.listening", "listen=%s port=%d", log_quote(listen).text,
             http_server_port(daemon->http));
}

static void watchdog_fired(void *arg)
{
    struct daemon *daemon = arg;
    notify_send("WATCHDOG=1");
    loop_timer_set(daemon->watchdog, notify_watchdog_ms() / 2);
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static size_t count_links(const struct config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->services_count; i++) {
        count += config->services[i].others_count;
    }
    return count;
}

static bool start_link(struct daemon *daemon, const struct config_service *service,
                       const char *other, struct err *err)
{
    const struct config_site *from = config_site(daemon->config, service->home);
    const struct config_site *to = config_site(daemon->config, other);
    assert(from && to); /* config_load() has checked the names */
    struct link_callbacks callbacks = {.stopped = on_link_stopped, .arg = daemon};
    struct daemon_link *slot = &daemon->links[daemon->links_count];
    snprintf(slot->name, sizeof(slot->name), "%s %s>%s", service->name, from->name, to->name);
    slot->link =
        link_new(daemon->loop, daemon->config, service, from, to, daemon->metrics, &callbacks, err);
    if (!slot->link) {
        return err_wrap(err, "link %s", slot->name);
    }
    daemon->links_count++;
    return true;
}

static bool start_links(struct daemon *daemon, struct err *err)
{
    daemon->links = calloc(count_links(daemon->config) + 1, sizeof(*daemon->links));
    assert(daemon->links);
    for (size_t i = 0; i < daemon->config->services_count; i++) {
        const struct config_service *service = &daemon->config->services[i];
        for (size_t other = 0; other < service->others_count; other++) {
            if (!start_link(daemon, service, service->others[other], err)) {
                return false;
            }
        }
    }
    return true;
}

static bool take_lock(struct daemon *daemon, struct err *err)
{
    char *state_dir = process_state_dir(daemon->config->state_dir);
    daemon->lock = process_lock_new(state_dir, daemon->config->worker, err);
    free(state_dir);
    return daemon->lock != NULL;
}

static void watch_signals(struct daemon *daemon)
{
    daemon->signals[0] = loop_signal_new(daemon->loop, SIGTERM, on_stop_signal, daemon);
    daemon->signals[1] = loop_signal_new(daemon->loop, SIGINT, on_stop_signal, daemon);
    daemon->signals[2] = loop_signal_new(daemon->loop, SIGHUP, on_hangup, daemon);
}

/* Chosen by the site, perhaps for an hour, perhaps forgotten: said at every start. */
static void tell_weakness(const struct config *config)
{
    for (size_t i = 0; i < config->sites_count; i++) {
        const struct config_site *site = &config->sites[i];
        const char *weak;
        for (size_t n = 0; (weak = config_client_weakness(&site->kafka, n)) != NULL; n++) {
            log_warn("site.weak", "site=%s why=%s doing=\"as configured\"", site->name,
                     log_quote(weak).text);
        }
    }
}

static bool start(struct daemon *daemon, struct err *err)
{
    if (!take_lock(daemon, err)) {
        return false;
    }
    daemon->loop = loop_new(clock_system());
    daemon->metrics = metrics_new();
    daemon->process = process_metrics_new(daemon->loop, daemon->metrics, daemon->config->worker);
    daemon->certificates = certificates_new(daemon->loop, daemon->metrics, daemon->config);
    reload_metrics_init(&daemon->reloads, daemon->metrics, clock_wall_ms(loop_clock(daemon->loop)));
    daemon->grace = loop_timer_new(daemon->loop, on_grace_over, daemon);
    daemon->farewell = loop_timer_new(daemon->loop, on_farewell_over, daemon);
    daemon->http_timer = loop_timer_new(daemon->loop, http_open, daemon);
    daemon->watchdog = loop_timer_new(daemon->loop, watchdog_fired, daemon);
    watch_signals(daemon);
    if (!start_links(daemon, err)) {
        return false;
    }
    http_open(daemon);
    if (notify_watchdog_ms() > 0) {
        watchdog_fired(daemon);
    }
    say_ready(daemon, "");
    tell_weakness(daemon->config);
    log_info("ferryd.started", "version=%s worker=%s config=%s links=%zu", FERRY_VERSION,
             daemon->config->worker, log_quote(daemon->config->file).text, daemon->links_count);
    return true;
}

static void finish(struct daemon *daemon)
{
    /* First: threads may be in a call that takes seconds, and a second signal still ends us at once. */
    for (size_t i = 0; i < sizeof(daemon->signals) / sizeof(daemon->signals[0]); i++) {
        loop_signal_free(daemon->signals[i]);
    }
    for (size_t i = 0; i < daemon->links_count; i++) {
        link_free(daemon->links[i].link);
    }
    free(daemon->links);
    http_server_free(daemon->http);
    loop_timer_free(daemon->grace);
    loop_timer_free(daemon->farewell);
    loop_timer_free(daemon->http_timer);
    loop_timer_free(daemon->watchdog);
    process_metrics_free(daemon->process);
    certificates_free(daemon->certificates);
    if (daemon->metrics) {
        metrics_free(daemon->metrics);
    }
    if (daemon->loop) {
        loop_free(daemon->loop);
    }
    process_lock_free(daemon->lock);
    config_free(daemon->running);
}

static int run(struct daemon *daemon)
{
    struct err err = {0};
    daemon->running = config_ref(daemon->config);
    if (!start(daemon, &err)) {
        complain(&err);
        daemon->exit_code = exit_code_of(daemon, &err);
    } else {
        loop_run(daemon->loop);
        log_info("ferryd.stopped", "exit=%d", daemon->exit_code);
    }
    finish(daemon);
    return daemon->exit_code;
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int say_ok(const struct config *config)
{
    printf("%s: ok: %zu sites, %zu services, %zu links\n", config->file, config->sites_count,
           config->services_count, count_links(config));
    return 0;
}

static int run_configured(const struct options *options)
{
    struct err err = {0};
    struct config *config = config_load(options->config, &err);
    if (!config || !gssapi_prepare(config, &err)) {
        complain(&err);
        config_free(config);
        return EXIT_CONFIG;
    }
    config_override(config, options->worker, options->http);
    log_set_level(options->log_level_given ? options->log_level : config->log_level);
    struct daemon daemon = {.config = config, .options = options};
    int code = 0;
    if (!options_worker_valid(config->worker)) {
        fprintf(stderr, "ferryd: worker '%s' is not a name: letters, digits, '.', '_', '-'\n",
                config->worker);
        code = EXIT_CONFIG;
    } else {
        code = options->check ? say_ok(config) : run(&daemon);
    }
    config_free(config);
    return code;
}

/* getenv() without its char *. */
static const char *environment(const char *name)
{
    return getenv(name);
}

int main(int argc, char **argv)
{
    struct options options;
    struct err err = {0};
    if (!options_parse(argc, argv, environment, &options, &err)) {
        complain(&err);
        return EXIT_USAGE;
    }
    if (options.help) {
        char *help = options_help();
        fputs(help, stdout);
        free(help);
        return 0;
    }
    if (options.version) {
        printf("ferryd %s\n", FERRY_VERSION);
        return 0;
    }
    process_harden();
    log_set_level(options.log_level);
    int code = run_configured(&options);
    if (aside_busy()) {
        fflush(NULL);
        _exit(code);
    }
    return code;
}
