/* What jobs find out comes together here: until when, into which slot, and what one job waits for of another. See
 * preflight_inside.h.
 */
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "failover/preflight_inside.h"

int32_t preflight_left_ms(const struct preflight *preflight)
{
    int64_t left_ms = preflight->until_ms - clock_now_ms(clock_system());
    return left_ms < 1 ? 1 : (int32_t)left_ms;
}

void preflight_publish(struct preflight *preflight, void *slot, void *take_result,
                       void (*free_result)(void *result))
{
    pthread_mutex_lock(&preflight->lock);
    bool late = preflight->over;
    if (!late) {
        *(void **)slot = take_result;
        pthread_cond_broadcast(&preflight->changed);
    }
    pthread_mutex_unlock(&preflight->lock);
    if (late) {
        free_result(take_result);
    }
}

struct timespec preflight_until(const struct preflight *preflight)
{
    struct timespec when;
    int64_t left_ms = preflight_left_ms(preflight);
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_sec += left_ms / 1000;
    when.tv_nsec += (long)(left_ms % 1000) * 1000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_sec++;
        when.tv_nsec -= 1000000000;
    }
    return when;
}

bool preflight_recorded(struct preflight *preflight, struct dns_recorded *out, struct err *err)
{
    const struct timespec when = preflight_until(preflight);
    bool ok = false;
    int rc = 0;
    pthread_mutex_lock(&preflight->lock);
    while (preflight->control == NULL && !preflight->over && rc == 0) {
        rc = pthread_cond_timedwait(&preflight->changed, &preflight->lock, &when);
    }
    const struct preflight_control *control = preflight->over ? NULL : preflight->control;
    if (control == NULL) {
        err_set(err, ERR_RETRY, "the control topic did not answer in time");
    } else if (!control->known || control->dns_err.kind != ERR_NONE) {
        *err = control->known ? control->dns_err : control->err;
    } else {
        *out = control->dns;
        ok = true;
    }
    pthread_mutex_unlock(&preflight->lock);
    return ok;
}
