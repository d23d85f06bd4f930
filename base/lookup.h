/* Addresses of a host name, without blocking the loop: getaddrinfo() in a thread of its own, as long as it takes. */
#ifndef FERRY_BASE_LOOKUP_H
#define FERRY_BASE_LOOKUP_H

#include <netdb.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct lookup;

/* Begin; `done` is called once, in a later turn of the loop, unless lookup_free() comes first. `addresses` is the
 * callee's, freeaddrinfo(); NULL = failed, see err (ERR_RETRY, code EAI_...). The lookup is freed by lookup_free() only, which may be
 * called in `done`. NULL when out of file descriptors.
 *
 * @param host    name or address, no brackets
 * @param family  AF_UNSPEC, or the only one that is asked for */
struct lookup *
lookup_new(struct loop *loop, const char *host, int32_t port, int family,
           void (*done)(void *arg, struct addrinfo *addresses, const struct err *err), void *arg);
void lookup_free(
    struct lookup
        *lookup); /* NULL is fine; the thread ends by itself later and touches nothing of ours */

#endif
