/* What an operation did, measured: the JSON of `-o json` and of step `report`. docs/failover.md has its keys. */
#ifndef FERRY_FAILOVER_REPORT_H
#define FERRY_FAILOVER_REPORT_H

#include "failover/loss.h"
#include "failover/step.h"

enum report_state {
    REPORT_DONE,
    REPORT_PARTLY,
    REPORT_UNDONE,
    REPORT_OPEN,
    REPORT_LOST,
    REPORT_DRY,
    REPORT_REFUSED
};
const char *report_state_name(enum report_state state);

struct report_end {
    enum report_state state;
    int exit;
    const char *step;        /* where it stands; NULL = behind the last one */
    const struct err *err;   /* NULL = none */
    const struct loss *loss; /* NULL = not measured */
    int64_t ended_ms;        /* wall clock; -1 = not ended */
};

/* New reference. */
json_t *report_json(const struct operation *op, const struct plan *plan,
                    const struct report_end *end);
/* As it is kept as evidence of `report`: without what `freeze` keeps, which may be megabytes. New reference. */
json_t *report_to_keep(const json_t *report);
/* A report that was kept, whole again, out of the records of the control topic; new reference, NULL = none. */
json_t *report_kept(const json_t *operations, const char *id);

#endif
