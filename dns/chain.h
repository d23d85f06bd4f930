/* Where a name leads: from alias to alias to an address, or nowhere. The deciding core of that walk, without I/O: who
 * asks gives each answer in. The record that is to be moved stands first in the chain, so that a way back to it is a loop.
 */
#ifndef FERRY_DNS_CHAIN_H
#define FERRY_DNS_CHAIN_H

#include "dns/message.h"

#define CHAIN_NAMES_MAX     16 /* resolvers give up at 8 to 16 */
#define CHAIN_ADDRESSES_MAX 8

struct chain {
    char names[CHAIN_NAMES_MAX][DNS_NAME_BYTES]; /* the last one is to be asked for */
    size_t count;
    char addresses[CHAIN_ADDRESSES_MAX][48]; /* as text */
    size_t addresses_count;
};

enum chain_step {
    CHAIN_ASK,     /* for chain_name(): a new one, or the answer did not say */
    CHAIN_ADDRESS, /* it has one */
    CHAIN_NOWHERE, /* the answer is that there is none of this type */
    CHAIN_LOOP,    /* a name comes again */
    CHAIN_LONG,    /* more names than anybody follows */
};

/* @param record  "" = the walk begins at `name` */
void chain_begin(struct chain *chain, const char *record, const char *name);
const char *chain_name(const struct chain *chain);

/* Take an answer to a question for addresses (A or AAAA) of chain_name(). One that is of another server's mind about a
 * part of the way is taken as far as it goes. @pre the step before was CHAIN_ASK or CHAIN_NOWHERE */
enum chain_step chain_follow(struct chain *chain, const struct message_answer *answer);

#endif
