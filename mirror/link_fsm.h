/* States of a link and of each partition of it, their events and edges: two tables, one interpreter.
 *
 * Link:       no role -> joining -> running -> draining -> stopped, and retreating back to no role
 * Partition:  waiting -> resuming -> mirroring, with stalled and faulted beside
 *
 * Invariants: a batch is sent only in PART_MIRRORING, and only while every gate of the link is open (role, control topic
 * fresh, streams hash, send deadline). A partition leaves PART_RESUMING only with a position that the resume
 * procedure proved. Every pair of state and event has an edge or is refused (an assertion in debug, a logged
 * event.refused in production): the test walks all of them.
 */
#ifndef FERRY_MIRROR_LINK_FSM_H
#define FERRY_MIRROR_LINK_FSM_H

#include <stdbool.h>
#include <stddef.h>

enum link_state {
    LINK_NO_ROLE,
    LINK_JOINING,
    LINK_RUNNING,
    LINK_DRAINING,
    LINK_STOPPED,
    LINK_RETREATING, /* an operation's order: what flies lands, then we leave the group */
    LINK_STATES_COUNT
};
enum link_event {
    LINK_EV_ROLE,    /* the target's role epoch says that we mirror */
    LINK_EV_NO_ROLE, /* it does not, or is not readable any more */
    LINK_EV_JOINED,  /* the group gave its first assignment, maybe empty */
    LINK_EV_STOP,    /* SIGTERM */
    LINK_EV_DRAINED, /* every window is empty and committed, or the time is up */
    LINK_EV_FENCED,  /* a newcomer with our name */
    LINK_EV_RETREAT, /* an operation fences us */
    LINK_EVENTS_COUNT,
};
enum part_state {
    PART_WAITING, /* ours, but a leader, topic ids or a gate is missing */
    PART_RESUMING,
    PART_PLACED, /* the position is proven; its commit is on the way: nothing is sent before it is taken */
    PART_MIRRORING,
    PART_STALLED,  /* backs off before the next resume: something at the target does not go on */
    PART_FAULTED,  /* going on would be a guess */
    PART_DRAINING, /* taken from us: what flies may land, nothing new is sent */
    PART_GONE,
    PART_STATES_COUNT,
};
enum part_event {
    PART_EV_READY,     /* topic ids and gates are there: resume */
    PART_EV_PLACED,    /* resume is done */
    PART_EV_COMMITTED, /* the group took the position */
    PART_EV_DOUBT,     /* unknown outcome, 45, another base offset, lost connection, leader moved */
    PART_EV_WAIT,      /* resume waits for the world */
    PART_EV_BACK,      /* the wait is over */
    PART_EV_FAULT,
    PART_EV_RETRY, /* the operator's order */
    PART_EV_REVOKED,
    PART_EV_LOST,  /* the session is over */
    PART_EV_EMPTY, /* draining and nothing flies any more */
    PART_EVENTS_COUNT,
};

struct fsm_edge {
    int from;
    int event;
    int to; /* -1: refused, and `why` says why it cannot or must not happen */
    const char *why;
};

/* The edge, never NULL. */
const struct fsm_edge *link_edge(enum link_state from, enum link_event event);
const struct fsm_edge *part_edge(enum part_state from, enum part_event event);
const char *link_state_name(enum link_state state);
const char *link_event_name(enum link_event event);
const char *part_state_name(enum part_state state);
const char *part_event_name(enum part_event event);
/* Both tables as Markdown for the docs, a mermaid block each; heap. */
char *link_fsm_diagram(void);

#endif
