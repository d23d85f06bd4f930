/* What is recorded of a service's names, in the control topic of each of its sites: read side by side, the highest epoch
 * counts; written to all that can be written (docs/adr/0012).
 *
 * Home has a control topic only once it was a target: it is written there when there is one, and never made.
 */
#ifndef FERRY_CLI_DNS_SITES_H
#define FERRY_CLI_DNS_SITES_H

#include "cli/context.h"
#include "dns/dns.h"
#include "kafka/control.h"

struct dns_site {
    const struct config_site *site;
    bool home;
    bool topic;     /* it has a control topic */
    bool known;     /* what follows is; else see err */
    struct err err; /* why it is not */
    int64_t role_epoch;
    char primary[128];
    bool operation_open;
    int64_t epoch; /* of its record; 0 = none */
    bool written;  /* it has what `now` says */
    struct control_writer *writer;
};

struct dns_sites {
    struct context *context;
    struct dns_site *list;
    size_t count;
    struct dns_recorded now; /* the record that counts; changed, then written */
    int64_t role_epoch;      /* the highest role that was read, 0 = none */
    const char *primary;     /* its primary; home without one */
};

/* @return false: no site says. Valid to close in any case. */
MUST_CHECK
bool dns_sites_read(struct context *context, struct dns_sites *out, struct err *err);
void dns_sites_close(struct dns_sites *sites);

/* Is a site without the record that counts, although it has or should have one? */
bool dns_sites_behind(const struct dns_sites *sites);

/* Write `now` under the next epoch. Behind the writer's fence it is looked whether a site's record is still what was read.
 * Sites that cannot be written are told of on stderr, and are behind.
 * @param needed  a site that has to be among them when it is one of the others; NULL = any will do
 * @return false: nothing was written, or not where it is needed; ERR_REFUSED: somebody else wrote meanwhile */
MUST_CHECK
bool dns_sites_write(struct dns_sites *sites, const char *needed, struct err *err);

#endif
