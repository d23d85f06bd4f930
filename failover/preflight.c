/* See preflight.h: the table of checks, who asks what side by side, and what is told in which order. */
#include "failover/preflight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/heap.h"
#include "failover/preflight_inside.h"

#define ANSWER_MS \
    20000 /* of everything, when there is time: name servers are asked one after the other */

static const struct check_row {
    const char *name;
    bool forcible;
    preflight_tell_fn *tell;
    const char *about;
} checks[PREFLIGHT_CHECKS_COUNT] = {
    [PREFLIGHT_TARGET] = {"target",       false, preflight_tell_target,
                          "the target answers, and is another cluster than the source"             },
    [PREFLIGHT_CONTROL] = {"control",      false, preflight_tell_control,
                          "its control topic can be read, there is a role, no operation is open"   },
    [PREFLIGHT_TOPICS] =
        {"topics",       true,  preflight_tell_topics,
                          "every mirrored topic is there with as many partitions as the source has"},
    [PREFLIGHT_LEADERS] = {"leaders",      true,  preflight_tell_leaders,
                          "every mirrored partition has a leader"                                  },
    [PREFLIGHT_REPLICAS] = {"replicas",     true,  preflight_tell_replicas,
                          "as many replicas are in sync as a write needs"                          },
    [PREFLIGHT_CAPACITY] = {"capacity",     true,  preflight_tell_capacity,
                          "brokers, room in their log directories, partitions for each broker"     },
    [PREFLIGHT_GROUPS] = {"groups",       true,  preflight_tell_groups,
                          "groups of the service that have members at the target"                  },
    [PREFLIGHT_PERMISSIONS] = {"permissions",  true,  preflight_tell_permissions,
                          "what an operation needs at the target may be done"                      },
    [PREFLIGHT_CERTIFICATE] =
        {"certificate",  true,  preflight_tell_certificates,
                          "the target's certificates fit the records' names, and do not end soon"  },
    [PREFLIGHT_ADVERTISED] = {"advertised",   true,  preflight_tell_advertised,
                          "the names that brokers send clients to have addresses"                  },
    [PREFLIGHT_DNS] = {"dns",          true,  preflight_tell_dns,
                          "records stand as recorded, and the change would be taken"               },
    [PREFLIGHT_TTL] = {"ttl",          true,  preflight_tell_ttl,
                          "old answers are forgotten within the service's rto"                     },
    [PREFLIGHT_NAME_SERVERS] = {"name-servers", true,  preflight_tell_name_servers,
                          "name servers of the records are not all in one place"                   },
    [PREFLIGHT_REDIS] = {"redis",        true,  preflight_tell_redis,
                          "the target's Redis answers, and evicts nothing"                         },
    [PREFLIGHT_CLOCK] = {"clock",        true,  preflight_tell_clock,
                          "the clocks of this host and of Redis agree"                             },
    [PREFLIGHT_PLACE] = {"place",        true,  preflight_tell_place,
                          "the sites are not in one region or zone"                                },
    [PREFLIGHT_COST] = {"cost",         true,  preflight_tell_cost,
                          "what would be lost, and read again, if it were done now"                },
};

const char *preflight_name(enum preflight_check check)
{
    return checks[check].name;
}

bool preflight_parse(const char *name, enum preflight_check *out)
{
    for (int i = 0; i < PREFLIGHT_CHECKS_COUNT; i++) {
        if (strcmp(checks[i].name, name) == 0) {
            *out = (enum preflight_check)i;
            return true;
        }
    }
    return false;
}

bool preflight_forcible(enum preflight_check check)
{
    return checks[check].forcible;
}

bool preflight_force(const char *const *names, size_t count, uint32_t *out, struct err *err)
{
    enum preflight_check check;
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (!preflight_parse(names[i], &check)) {
            err_set(err, ERR_USAGE, "there is no check '%.60s'", names[i]);
            return err_hint(err, "docs/check.md names them all");
        }
        if (!checks[check].forcible) {
            err_set(err, ERR_USAGE, "check '%s' cannot be forced: %s", names[i],
                    "what it refuses would fail");
            return err_hint(err, "docs/check.md#%s", names[i]);
        }
        *out |= 1u << check;
    }
    return true;
}

const char *preflight_about(enum preflight_check check)
{
    return checks[check].about;
}

const char *preflight_level_name(enum preflight_level level)
{
    static const char *const names[] = {"ok", "warning", "unknown", "refused"};
    return names[level];
}

/* --- jobs ---------------------------------------------------------------------------------------------------------- */

static void facts_free(struct preflight *preflight)
{
    preflight_cluster_free(preflight->target);
    preflight_cluster_free(preflight->source);
    preflight_settings_free(preflight->settings);
    preflight_control_free(preflight->control);
    free(preflight->redis);
    free(preflight->permissions);
    for (size_t i = 0; i < preflight->certificates_count; i++) {
        preflight_certificates_free(preflight->certificates[i]);
    }
    for (size_t i = 0; i < preflight->in.service->cnames_count; i++) {
        free(preflight->records[i]);
        free(preflight->servers[i]);
    }
    free(preflight->certificates);
    free(preflight->records);
    free(preflight->servers);
}

/* The lock is held; it is not afterwards. */
static void unref(struct preflight *preflight)
{
    bool last = --preflight->refs == 0;
    pthread_mutex_unlock(&preflight->lock);
    if (last) {
        facts_free(preflight);
        pthread_cond_destroy(&preflight->changed);
        pthread_mutex_destroy(&preflight->lock);
        config_free(preflight->in.config);
        free(preflight->jobs);
        free(preflight);
    }
}

static void *run_job(void *arg)
{
    struct preflight_job *job = arg;
    struct preflight *preflight = job->of;
    job->run(preflight, job->index);
    pthread_mutex_lock(&preflight->lock);
    job->done = true;
    pthread_cond_broadcast(&preflight->changed);
    unref(preflight);
    return NULL;
}

static void add_job(struct preflight *preflight, preflight_job_fn *run, size_t index, bool borrows)
{
    preflight->jobs[preflight->jobs_count++] =
        (struct preflight_job){.of = preflight, .run = run, .index = index, .borrows = borrows};
}

static bool wanted(const struct preflight *preflight, enum preflight_check check)
{
    return (preflight->in.skip >> check & 1u) == 0;
}

static bool any_wanted(const struct preflight *preflight, const enum preflight_check *list,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (wanted(preflight, list[i])) {
            return true;
        }
    }
    return false;
}

/* Who is asked: nobody whose answer no check looks at. */
static void choose_jobs(struct preflight *preflight)
{
    static const enum preflight_check names[] = {PREFLIGHT_DNS, PREFLIGHT_TTL};
    static const enum preflight_check cluster[] = {
        PREFLIGHT_TARGET,   PREFLIGHT_TOPICS, PREFLIGHT_CAPACITY,  PREFLIGHT_LEADERS,
        PREFLIGHT_REPLICAS, PREFLIGHT_GROUPS, PREFLIGHT_ADVERTISED};
    static const enum preflight_check control[] = {PREFLIGHT_CONTROL, PREFLIGHT_TOPICS,
                                                   PREFLIGHT_DNS, PREFLIGHT_TTL};
    static const enum preflight_check memory[] = {PREFLIGHT_REDIS, PREFLIGHT_CLOCK};
    const struct preflight_inputs *in = &preflight->in;
    preflight->certificates_count =
        wanted(preflight, PREFLIGHT_CERTIFICATE) ? preflight_certificates_count(preflight) : 0;
    size_t most = 6 + preflight->certificates_count + 2 * in->service->cnames_count;
    preflight->jobs = must(calloc(most, sizeof(*preflight->jobs)));
    preflight->certificates =
        must(calloc(preflight->certificates_count + 1, sizeof(struct preflight_certificates *)));
    preflight->records =
        must(calloc(in->service->cnames_count + 1, sizeof(struct preflight_record *)));
    preflight->servers =
        must(calloc(in->service->cnames_count + 1, sizeof(struct preflight_servers *)));
    if (any_wanted(preflight, cluster, sizeof(cluster) / sizeof(cluster[0]))) {
        add_job(preflight, preflight_ask_target, 0, false);
    }
    if (in->control == NULL &&
        any_wanted(preflight, control, sizeof(control) / sizeof(control[0]))) {
        add_job(preflight, preflight_ask_control, 0, false);
    }
    if (in->source != NULL && any_wanted(preflight, cluster, 3)) {
        add_job(preflight, preflight_ask_source, 0, false);
    }
    if (in->target != NULL && wanted(preflight, PREFLIGHT_REPLICAS)) {
        add_job(preflight, preflight_ask_settings, 0, true);
    }
    if (in->redis != NULL && any_wanted(preflight, memory, 2)) {
        add_job(preflight, preflight_ask_redis, 0, true);
    }
    if (wanted(preflight, PREFLIGHT_PERMISSIONS)) {
        add_job(preflight, preflight_ask_permissions, 0, false);
    }
    for (size_t i = 0; i < preflight->certificates_count; i++) {
        add_job(preflight, preflight_ask_certificates, i, false);
    }
    for (size_t i = 0; i < in->service->cnames_count; i++) {
        if (any_wanted(preflight, names, 2)) {
            add_job(preflight, preflight_ask_record, i, false);
        }
        if (wanted(preflight, PREFLIGHT_NAME_SERVERS)) {
            add_job(preflight, preflight_ask_servers, i, false);
        }
    }
}

static void start_jobs(struct preflight *preflight)
{
    for (size_t i = 0; i < preflight->jobs_count; i++) {
        struct preflight_job *job = &preflight->jobs[i];
        pthread_mutex_lock(&preflight->lock);
        preflight->refs++;
        pthread_mutex_unlock(&preflight->lock);
        job->started = pthread_create(&job->thread, NULL, run_job, job) == 0;
        if (!job->started) { /* no thread is to be had: nobody waits for it */
            pthread_mutex_lock(&preflight->lock);
            job->done = true;
            unref(preflight);
        } else if (!job->borrows) {
            pthread_detach(job->thread);
        }
    }
}

static bool all_done(const struct preflight *preflight)
{
    for (size_t i = 0; i < preflight->jobs_count; i++) {
        if (!preflight->jobs[i].done) {
            return false;
        }
    }
    return true;
}

/* Until all have answered or time is up; then for those that use what is lent, which end by themselves. */
static void wait_jobs(struct preflight *preflight)
{
    const struct timespec when = preflight_until(preflight);
    int rc = 0;
    pthread_mutex_lock(&preflight->lock);
    while (!all_done(preflight) && rc == 0) {
        rc = pthread_cond_timedwait(&preflight->changed, &preflight->lock, &when);
    }
    pthread_mutex_unlock(&preflight->lock);
    for (size_t i = 0; i < preflight->jobs_count; i++) {
        if (preflight->jobs[i].borrows && preflight->jobs[i].started) {
            pthread_join(preflight->jobs[i].thread, NULL);
        }
    }
    pthread_mutex_lock(&preflight->lock);
    preflight->over = true;
    pthread_mutex_unlock(&preflight->lock);
}

/* --- the whole ----------------------------------------------------------------------------------------------------- */

static struct preflight *begin(const struct preflight_inputs *inputs)
{
    struct preflight *preflight = must(calloc(1, sizeof(*preflight)));
    pthread_condattr_t attributes;
    preflight->in = *inputs;
    preflight->in.config = config_ref(inputs->config);
    preflight->writer =
        inputs->to->operator_kafka != NULL ? inputs->to->operator_kafka : &inputs->to->kafka;
    preflight->limit_ms = inputs->quick ? PREFLIGHT_QUICK_MS : ANSWER_MS;
    if (!inputs->quick && inputs->timeout_ms > 0 && inputs->timeout_ms < ANSWER_MS) {
        preflight->limit_ms = inputs->timeout_ms;
    }
    preflight->until_ms = clock_now_ms(clock_system()) + preflight->limit_ms;
    preflight->now_ms = clock_wall_ms(clock_system());
    preflight->refs = 1;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&preflight->lock, NULL);
    pthread_cond_init(&preflight->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (inputs->control != NULL) {
        preflight->control = preflight_control_of(inputs->control);
    }
    return preflight;
}

static void hand_over(struct preflight *preflight, struct preflight_finding *finding,
                      preflight_fn *each, void *arg, struct preflight_result *out)
{
    bool forced = preflight->in.forced >> finding->check & 1u;
    if (finding->level == PREFLIGHT_REFUSED && forced && checks[finding->check].forcible) {
        finding->level = PREFLIGHT_WARNING;
        finding->forced = true;
        out->forced++;
    }
    out->counts[finding->level]++;
    if (each != NULL) {
        each(arg, finding);
    }
}

static void tell_all(struct preflight *preflight, preflight_fn *each, void *arg,
                     struct preflight_result *out)
{
    for (int check = 0; check < PREFLIGHT_CHECKS_COUNT; check++) {
        struct preflight_list list = {NULL, 0};
        if (wanted(preflight, (enum preflight_check)check)) {
            checks[check].tell(preflight, &list);
        }
        for (size_t i = 0; i < list.count; i++) {
            hand_over(preflight, &list.list[i], each, arg, out);
        }
        free(list.list);
    }
}

void preflight_ask(const struct preflight_inputs *inputs, preflight_fn *each, void *arg,
                   struct preflight_result *out)
{
    int64_t began_ms = clock_now_ms(clock_system());
    struct preflight *preflight = begin(inputs);
    *out = (struct preflight_result){0};
    choose_jobs(preflight);
    start_jobs(preflight);
    wait_jobs(preflight);
    out->target_answers = preflight->target != NULL && preflight->target->known;
    tell_all(preflight, each, arg, out);
    out->took_ms = clock_now_ms(clock_system()) - began_ms;
    pthread_mutex_lock(&preflight->lock);
    unref(preflight);
}
