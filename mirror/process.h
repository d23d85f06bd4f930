/* What ferryd does as a process: it keeps its memory to itself, is alone under its name, and shows its cost.
 */
#ifndef FERRY_MIRROR_PROCESS_H
#define FERRY_MIRROR_PROCESS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/metrics.h"

/* No core dumps and no ptrace by others of our user (both would show secrets), files for ourselves only, a broken pipe is
 * an error and no signal, and as many descriptors as the system lets us have. Before any secret is read. */
void process_harden(void);

/* The one ferryd of this name on this host. The lock is the kernel's: it ends with the process, however that ends. */
struct process_lock;
/* Make `state_dir` where it is missing and lock WORKER.lock in it. ERR_REFUSED when another process holds it (its id in
 * `what`), ERR_CONFIG when the directory cannot be used. */
struct process_lock *process_lock_new(const char *state_dir, const char *worker, struct err *err);
void process_lock_free(struct process_lock *lock);
/* Where state goes: `configured`, or $XDG_STATE_HOME/ferry or ~/.local/state/ferry when that is the built-in default and
 * only root could write there. Heap. */
char *process_state_dir(const char *configured);

/* ferry_build_info, process_* as Prometheus' clients name them, ferry_loop_lag_seconds; renewed each second. */
struct process_metrics;
struct process_metrics *process_metrics_new(struct loop *loop, struct metrics *metrics,
                                            const char *worker);
void process_metrics_free(struct process_metrics *process);

#endif
