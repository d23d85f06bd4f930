/* What the control topic's records of operations say to who looks at a service: is one open, where does it stand, what goes on
 * with it; how long did the last one take? Pure. Records are {KEY: record}: "op/ID" the operation, "op/ID/STEP" its steps
 * (failover/journal.h); what is not of its form is left out.
 */
#ifndef FERRY_CLI_STATUS_OPERATION_H
#define FERRY_CLI_STATUS_OPERATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct status_operation { /* texts are "" where the record lacks them */
    char id[80];
    char kind[32];
    char step[48];
    char to[128];
    char by[128];
    char began[40];
    bool undoing;
};

/* The newest that is open; false: none is, or it cannot be read. */
bool status_operation_open(const json_t *operations, struct status_operation *out);
/* Seconds that the newest one to this site took that is closed and was done, its steps together: nobody's thinking at a prompt
 * is in it. -1 = there is none. @param out_when  when it began, as it says; "" = unknown */
double status_operation_took(const json_t *operations, const char *to, char out_when[40]);

#define STATUS_COMMAND_BYTES 300
/* What to type to go on with it. Returns out. */
char *status_operation_command(const struct status_operation *operation, const char *service,
                               char out[STATUS_COMMAND_BYTES]);

#endif
