#include "dns/chain.h"

#include <assert.h>
#include <string.h>

static void push(struct chain *chain, const char *name)
{
    assert(chain->count < CHAIN_NAMES_MAX);
    snprintf(chain->names[chain->count++], DNS_NAME_BYTES, "%s", name);
}

void chain_begin(struct chain *chain, const char *record, const char *name)
{
    *chain = (struct chain){.count = 0};
    if (record[0] != '\0') {
        push(chain, record);
    }
    push(chain, name);
}

const char *chain_name(const struct chain *chain)
{
    return chain->names[chain->count - 1];
}

static bool seen(const struct chain *chain, const char *name)
{
    for (size_t i = 0; i < chain->count; i++) {
        if (strcmp(chain->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const struct message_record *alias_of(const struct message_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->answers_count; i++) {
        const struct message_record *record = &answer->records[i];
        if (record->type == MESSAGE_CNAME && strcmp(record->owner, name) == 0) {
            return record;
        }
    }
    return NULL;
}

static void take_addresses(struct chain *chain, const struct message_answer *answer)
{
    for (size_t i = 0; i < answer->answers_count; i++) {
        const struct message_record *record = &answer->records[i];
        bool address = record->type == MESSAGE_A || record->type == MESSAGE_AAAA;
        if (address && strcmp(record->owner, chain_name(chain)) == 0 &&
            chain->addresses_count < CHAIN_ADDRESSES_MAX) {
            snprintf(chain->addresses[chain->addresses_count++], sizeof(chain->addresses[0]),
                     "%.47s", record->value);
        }
    }
}

enum chain_step chain_follow(struct chain *chain, const struct message_answer *answer)
{
    size_t before = chain->count;
    const struct message_record *alias;
    /* Ends: each turn adds a name that was not there, and there is room for CHAIN_NAMES_MAX. */
    while ((alias = alias_of(answer, chain_name(chain))) != NULL) {
        if (seen(chain, alias->value)) {
            return CHAIN_LOOP;
        }
        if (chain->count == CHAIN_NAMES_MAX) {
            return CHAIN_LONG;
        }
        push(chain, alias->value);
    }
    take_addresses(chain, answer);
    if (chain->addresses_count > 0) {
        return CHAIN_ADDRESS;
    }
    /* The end of a way may lie with another server: it is asked for by its own name. */
    return chain->count > before ? CHAIN_ASK : CHAIN_NOWHERE;
}
