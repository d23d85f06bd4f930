/* The names of one service on their way through `ferry dns`: opened, checked against what is recorded, looked at, shown.
 * Printing and gathering; what may be swapped is decided in dns/. */
#ifndef FERRY_CLI_DNS_NAMES_H
#define FERRY_CLI_DNS_NAMES_H

#include "cli/dns_sites.h"

struct dns_named { /* one record of the service */
    struct dns *dns;
    const char
        *from;      /* what must stand there: recorded, or a swap to it had begun; NULL = nothing */
    const char *to; /* what shall; NULL = not asked for */
    char texts[2][DNS_NAME_BYTES]; /* of both: what is recorded changes under them */
    struct dns_check check;
    bool checked;
    struct err err; /* why it is not */
    struct dns_views views;
    bool looked;
    bool moved; /* by this command */
};

struct dns_names {
    struct context *context;
    struct dns_sites sites;
    bool known; /* what is recorded was read */
    struct dns_named *list;
    size_t count;
};

/* Records of the service opened, and what is recorded read. Valid to close in any case. ERR_REFUSED: it has no record,
 * or one lies outside every zone; ERR_RETRY: no site says what is recorded.
 * @param needed  false: without what is recorded it goes on, with a warning */
MUST_CHECK
bool dns_names_open(struct dns_names *names, struct context *context, bool needed, struct err *err);
void dns_names_close(struct dns_names *names);

/* The entry of a record, or NULL. */
struct dns_entry *dns_names_entry(struct dns_names *names, const struct dns_named *named);

/* Fill from and to with copies; NULL stays NULL. */
void dns_named_change(struct dns_named *named, const char *from, const char *to);

/* Check the change from what is recorded (NULL entry: from nothing) to `to`. A swap that was begun counts as recorded
 * where its value stands. Fills from, to, check, checked, err. */
void dns_names_check(struct dns_names *names, struct dns_named *named, const char *to);

/* The same of a record that is to be made: whatever stands there is refused, unless it is `to` and recorded: it was made
 * here before. */
void dns_names_check_new(struct dns_names *names, struct dns_named *named, const char *to);

/* false with the first error or refusal of all, after dns_names_print(). */
MUST_CHECK
bool dns_names_allowed(const struct dns_names *names, struct err *err);

/* What would change and what speaks against it; for people. */
void dns_names_print(const struct dns_names *names);
void dns_views_print(const struct dns_views *views, const char *value);
json_t *dns_names_json(const struct dns_names *names);

#endif
