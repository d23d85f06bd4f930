/* dns/message, dns/chain: any bytes are an answer, or none; what is taken of them is in bounds and ends. The first byte
 * picks what was asked, the next two are the id that was sent. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dns/chain.h"
#include "dns/message.h"
#include "dns/name.h"

static const struct message_key key = {"ferry", "hmac-sha256",
                                       "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="};

static struct message_query *asked(uint8_t choice)
{
    static struct message_query queries[3];
    static const struct dns_change change = {"a.dr.test", "b.dr.test", 30};
    struct err err;
    if (queries[0].wire == NULL &&
        (!message_ask(&queries[0], "kafka.dr.test", MESSAGE_CNAME, false, NULL, &err) ||
         !message_ask(&queries[1], "kafka.dr.test", MESSAGE_A, true, &key, &err) ||
         !message_update(&queries[2], "dr.test", "kafka.dr.test", &change, false, &key, &err))) {
        abort();
    }
    return &queries[choice % 3];
}

/* Names are of our form, or "?". */
static void look(const struct message_answer *answer)
{
    char name[DNS_NAME_BYTES];
    if (answer->answers_count > answer->authority_end ||
        answer->authority_end > answer->records_count ||
        answer->records_count > MESSAGE_RECORDS_MAX || answer->is_signed) {
        abort(); /* nobody here has the key */
    }
    for (size_t i = 0; i < answer->records_count; i++) {
        const struct message_record *record = &answer->records[i];
        bool address = record->type == MESSAGE_A || record->type == MESSAGE_AAAA;
        if (!dns_name(record->owner, name) || strcmp(name, record->owner) != 0 ||
            record->ttl_s < 0 ||
            (!address && strcmp(record->value, "?") != 0 && !dns_name(record->value, name))) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message_answer answer;
    struct dns_set set;
    struct err err = {0};
    if (size < 3) {
        return 0;
    }
    struct message_query *query = asked(data[0]);
    query->id = (uint16_t)(data[1] << 8 | data[2]);
    if (!message_read(query, data + 1, size - 1, &answer, &err)) {
        if (err.kind != ERR_RETRY) {
            abort();
        }
        return 0;
    }
    look(&answer);
    if (message_set(&answer, "kafka.dr.test", "dr.test", data[0] % 2 == 0, &set, &err) &&
        (set.kind == DNS_CNAME) != (set.ttl_s >= 0)) {
        abort();
    }
    struct chain chain;
    chain_begin(&chain, "kafka.dr.test", "b.dr.test");
    enum chain_step step = CHAIN_ASK;
    for (int turn = 0; step == CHAIN_ASK; turn++) {
        step = chain_follow(&chain, &answer);
        if (turn > CHAIN_NAMES_MAX) {
            abort();
        }
    }
    return 0;
}
