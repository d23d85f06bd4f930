/* Questions to name servers and their answers, side by side, each within its time. Blocks; on a loop of its own.
 *
 * Promises: what comes back is an answer to what was asked, from where it was asked (connected sockets, random ids and
 * ports; message_read()), or there is none; at most 64 KiB are held for each; nothing outlives the call.
 */
#ifndef FERRY_DNS_EXCHANGE_H
#define FERRY_DNS_EXCHANGE_H

#include <sys/socket.h>

#include "dns/message.h"

struct exchange {
    const struct message_query *query; /* borrowed */
    const struct sockaddr_storage *to; /* borrowed */
    bool
        tcp; /* from the beginning; else UDP, asked again at half time, and TCP where the answer says so */
    /* afterwards */
    bool answered;
    bool sent; /* some of it may have arrived: an update may count although there is no answer */
    struct message_answer answer;
    struct err why; /* ERR_RETRY when not answered */
};

void exchange_all(struct exchange *list, size_t count, int32_t timeout_ms);

/* "192.0.2.53", "192.0.2.53:5353", "[2001:db8::1]:53"; the port only where it is not 53. Returns out. */
#define EXCHANGE_SERVER_BYTES 80
char *exchange_server(const struct sockaddr_storage *address, char out[EXCHANGE_SERVER_BYTES]);

#endif
