#include "mirror/link_fsm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

#define NO (-1)

/* clang-format off */
static const struct fsm_edge link_edges[] = {
    /* from          event             to              why: logged, drawn in the docs */
    {LINK_NO_ROLE,   LINK_EV_ROLE,     LINK_JOINING,   "the role epoch says that we mirror"},
    {LINK_NO_ROLE,   LINK_EV_NO_ROLE,  NO,             "there is none yet"},
    {LINK_NO_ROLE,   LINK_EV_JOINED,   NO,             "nobody joins without a role"},
    {LINK_NO_ROLE,   LINK_EV_STOP,     LINK_STOPPED,   "nothing was begun"},
    {LINK_NO_ROLE,   LINK_EV_DRAINED,  NO,             "nothing flies"},
    {LINK_NO_ROLE,   LINK_EV_FENCED,   LINK_STOPPED,   "a newcomer has our name"},
    {LINK_NO_ROLE,   LINK_EV_RETREAT,  NO,             "nothing flies"},
    {LINK_JOINING,   LINK_EV_ROLE,     NO,             "joining already"},
    {LINK_JOINING,   LINK_EV_NO_ROLE,  LINK_NO_ROLE,   "the role went away"},
    {LINK_JOINING,   LINK_EV_JOINED,   LINK_RUNNING,   "the group gave its assignment"},
    {LINK_JOINING,   LINK_EV_STOP,     LINK_DRAINING,  "asked to stop"},
    {LINK_JOINING,   LINK_EV_DRAINED,  NO,             "nothing flies"},
    {LINK_JOINING,   LINK_EV_FENCED,   LINK_STOPPED,   "a newcomer has our name"},
    {LINK_JOINING,   LINK_EV_RETREAT,  LINK_RETREATING, "an operation fences us"},
    {LINK_RUNNING,   LINK_EV_ROLE,     NO,             "running already"},
    {LINK_RUNNING,   LINK_EV_NO_ROLE,  LINK_NO_ROLE,   "the role went away: nothing more is sent"},
    {LINK_RUNNING,   LINK_EV_JOINED,   NO,             "a later assignment"},
    {LINK_RUNNING,   LINK_EV_STOP,     LINK_DRAINING,  "asked to stop"},
    {LINK_RUNNING,   LINK_EV_DRAINED,  NO,             "nobody asked for it"},
    {LINK_RUNNING,   LINK_EV_FENCED,   LINK_STOPPED,   "a newcomer has our name"},
    {LINK_RUNNING,   LINK_EV_RETREAT,  LINK_RETREATING, "an operation fences us"},
    {LINK_DRAINING,  LINK_EV_ROLE,     NO,             "stopping"},
    {LINK_DRAINING,  LINK_EV_NO_ROLE,  NO,             "stopping anyway; the gate is closed"},
    {LINK_DRAINING,  LINK_EV_JOINED,   NO,             "stopping"},
    {LINK_DRAINING,  LINK_EV_STOP,     NO,             "stopping already"},
    {LINK_DRAINING,  LINK_EV_DRAINED,  LINK_STOPPED,   "every window is empty and committed"},
    {LINK_DRAINING,  LINK_EV_FENCED,   LINK_STOPPED,   "a newcomer has our name"},
    {LINK_DRAINING,  LINK_EV_RETREAT,  NO,             "stopping"},
    {LINK_STOPPED,   LINK_EV_ROLE,     NO,             "stopped"},
    {LINK_STOPPED,   LINK_EV_NO_ROLE,  NO,             "stopped"},
    {LINK_STOPPED,   LINK_EV_JOINED,   NO,             "stopped"},
    {LINK_STOPPED,   LINK_EV_STOP,     NO,             "stopped"},
    {LINK_STOPPED,   LINK_EV_DRAINED,  NO,             "stopped"},
    {LINK_STOPPED,   LINK_EV_FENCED,   NO,             "stopped"},
    {LINK_STOPPED,   LINK_EV_RETREAT,  NO,             "stopped"},
    {LINK_RETREATING, LINK_EV_ROLE,    NO,             "it leaves first"},
    {LINK_RETREATING, LINK_EV_NO_ROLE, NO,             "it leaves anyway"},
    {LINK_RETREATING, LINK_EV_JOINED,  NO,             "it leaves"},
    {LINK_RETREATING, LINK_EV_STOP,    NO,             "it leaves first"},
    {LINK_RETREATING, LINK_EV_DRAINED, LINK_NO_ROLE,   "nothing of ours flies, and we left the group"},
    {LINK_RETREATING, LINK_EV_FENCED,  LINK_STOPPED,   "a newcomer has our name"},
    {LINK_RETREATING, LINK_EV_RETREAT, NO,             "it leaves already"},
};

static const struct fsm_edge part_edges[] = {
    {PART_WAITING,   PART_EV_READY,     PART_RESUMING,  "both topic ids are known"},
    {PART_WAITING,   PART_EV_PLACED,    NO,             "nothing resumes"},
    {PART_WAITING,   PART_EV_COMMITTED, NO,             "nothing was placed"},
    {PART_WAITING,   PART_EV_DOUBT,     NO,             "nothing flies"},
    {PART_WAITING,   PART_EV_WAIT,      NO,             "it waits already"},
    {PART_WAITING,   PART_EV_BACK,      NO,             "nothing was put off"},
    {PART_WAITING,   PART_EV_FAULT,     NO,             "nothing was read"},
    {PART_WAITING,   PART_EV_RETRY,     NO,             "metadata is what is missing"},
    {PART_WAITING,   PART_EV_REVOKED,   PART_DRAINING,  "another worker goes on"},
    {PART_WAITING,   PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_WAITING,   PART_EV_EMPTY,     NO,             "nobody asked for it"},
    {PART_RESUMING,  PART_EV_READY,     NO,             "it resumes already"},
    {PART_RESUMING,  PART_EV_PLACED,    PART_PLACED,    "the position is proven"},
    {PART_RESUMING,  PART_EV_COMMITTED, NO,             "an older position's commit"},
    {PART_RESUMING,  PART_EV_DOUBT,     NO,             "it resumes already"},
    {PART_RESUMING,  PART_EV_WAIT,      PART_STALLED,   "the world has to change first"},
    {PART_RESUMING,  PART_EV_BACK,      NO,             "nothing was put off"},
    {PART_RESUMING,  PART_EV_FAULT,     PART_FAULTED,   "going on would be a guess"},
    {PART_RESUMING,  PART_EV_RETRY,     NO,             "it resumes already"},
    {PART_RESUMING,  PART_EV_REVOKED,   PART_DRAINING,  "another worker goes on"},
    {PART_RESUMING,  PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_RESUMING,  PART_EV_EMPTY,     NO,             "nobody asked for it"},
    {PART_PLACED,    PART_EV_READY,     NO,             "it is placed"},
    {PART_PLACED,    PART_EV_PLACED,    NO,             "it is placed"},
    {PART_PLACED,    PART_EV_COMMITTED, PART_MIRRORING, "the position stands in the group"},
    {PART_PLACED,    PART_EV_DOUBT,     PART_RESUMING,  "another worker wrote"},
    {PART_PLACED,    PART_EV_WAIT,      PART_STALLED,   "the world has to change first"},
    {PART_PLACED,    PART_EV_BACK,      NO,             "nothing was put off"},
    {PART_PLACED,    PART_EV_FAULT,     PART_FAULTED,   "going on would be a guess"},
    {PART_PLACED,    PART_EV_RETRY,     NO,             "it goes on by itself"},
    {PART_PLACED,    PART_EV_REVOKED,   PART_DRAINING,  "another worker goes on"},
    {PART_PLACED,    PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_PLACED,    PART_EV_EMPTY,     NO,             "nobody asked for it"},
    {PART_MIRRORING, PART_EV_READY,     NO,             "it mirrors"},
    {PART_MIRRORING, PART_EV_PLACED,    NO,             "it mirrors"},
    {PART_MIRRORING, PART_EV_COMMITTED, NO,             "a later commit"},
    {PART_MIRRORING, PART_EV_DOUBT,     PART_RESUMING,  "the outcome of a batch is unknown"},
    {PART_MIRRORING, PART_EV_WAIT,      PART_STALLED,   "no batch was taken since the last resume: back off first"},
    {PART_MIRRORING, PART_EV_BACK,      NO,             "nothing was put off"},
    {PART_MIRRORING, PART_EV_FAULT,     PART_FAULTED,   "a batch that may not pass"},
    {PART_MIRRORING, PART_EV_RETRY,     NO,             "it mirrors"},
    {PART_MIRRORING, PART_EV_REVOKED,   PART_DRAINING,  "another worker goes on, or we stop"},
    {PART_MIRRORING, PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_MIRRORING, PART_EV_EMPTY,     NO,             "nobody asked for it"},
    {PART_STALLED,   PART_EV_READY,     NO,             "it has its ids"},
    {PART_STALLED,   PART_EV_PLACED,    NO,             "nothing resumes"},
    {PART_STALLED,   PART_EV_COMMITTED, NO,             "an older position's commit"},
    {PART_STALLED,   PART_EV_DOUBT,     NO,             "nothing flies"},
    {PART_STALLED,   PART_EV_WAIT,      NO,             "it waits already"},
    {PART_STALLED,   PART_EV_BACK,      PART_RESUMING,  "the wait is over"},
    {PART_STALLED,   PART_EV_FAULT,     PART_FAULTED,   "going on would be a guess"},
    {PART_STALLED,   PART_EV_RETRY,     PART_RESUMING,  "an operator asked for it"},
    {PART_STALLED,   PART_EV_REVOKED,   PART_DRAINING,  "another worker goes on"},
    {PART_STALLED,   PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_STALLED,   PART_EV_EMPTY,     NO,             "nobody asked for it"},
    {PART_FAULTED,   PART_EV_READY,     NO,             "a fault has its own ways out"},
    {PART_FAULTED,   PART_EV_PLACED,    NO,             "nothing resumes"},
    {PART_FAULTED,   PART_EV_COMMITTED, NO,             "an older position's commit"},
    {PART_FAULTED,   PART_EV_DOUBT,     NO,             "nothing flies"},
    {PART_FAULTED,   PART_EV_WAIT,      NO,             "nothing is tried"},
    {PART_FAULTED,   PART_EV_BACK,      NO,             "nothing was put off"},
    {PART_FAULTED,   PART_EV_FAULT,     NO,             "it is faulted"},
    {PART_FAULTED,   PART_EV_RETRY,     PART_RESUMING,  "an operator asked for it"},
    {PART_FAULTED,   PART_EV_REVOKED,   PART_DRAINING,  "another worker looks at it"},
    {PART_FAULTED,   PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_FAULTED,   PART_EV_EMPTY,     NO,             "nobody asked for it"},
    {PART_DRAINING,  PART_EV_READY,     NO,             "it goes"},
    {PART_DRAINING,  PART_EV_PLACED,    NO,             "it goes"},
    {PART_DRAINING,  PART_EV_COMMITTED, NO,             "it goes"},
    {PART_DRAINING,  PART_EV_DOUBT,     NO,             "the next owner resumes"},
    {PART_DRAINING,  PART_EV_WAIT,      NO,             "it goes"},
    {PART_DRAINING,  PART_EV_BACK,      NO,             "it goes"},
    {PART_DRAINING,  PART_EV_FAULT,     NO,             "the next owner finds it too"},
    {PART_DRAINING,  PART_EV_RETRY,     NO,             "it goes"},
    {PART_DRAINING,  PART_EV_REVOKED,   NO,             "it goes already"},
    {PART_DRAINING,  PART_EV_LOST,      PART_GONE,      "the session is over"},
    {PART_DRAINING,  PART_EV_EMPTY,     PART_GONE,      "nothing flies any more"},
    {PART_GONE,      PART_EV_READY,     NO,             "gone"},
    {PART_GONE,      PART_EV_PLACED,    NO,             "gone"},
    {PART_GONE,      PART_EV_COMMITTED, NO,             "gone"},
    {PART_GONE,      PART_EV_DOUBT,     NO,             "gone"},
    {PART_GONE,      PART_EV_WAIT,      NO,             "gone"},
    {PART_GONE,      PART_EV_BACK,      NO,             "gone"},
    {PART_GONE,      PART_EV_FAULT,     NO,             "gone"},
    {PART_GONE,      PART_EV_RETRY,     NO,             "gone"},
    {PART_GONE,      PART_EV_REVOKED,   NO,             "gone"},
    {PART_GONE,      PART_EV_LOST,      NO,             "gone"},
    {PART_GONE,      PART_EV_EMPTY,     NO,             "gone"},
};
/* clang-format on */

static const char *const link_states[LINK_STATES_COUNT] = {"no role",  "joining", "running",
                                                           "draining", "stopped", "retreating"};
static const char *const link_events[LINK_EVENTS_COUNT] = {"role",    "no-role", "joined", "stop",
                                                           "drained", "fenced",  "retreat"};
static const char *const part_states[PART_STATES_COUNT] = {
    "waiting", "resuming", "placed", "mirroring", "stalled", "faulted", "draining", "gone"};
static const char *const part_events[PART_EVENTS_COUNT] = {
    "ready", "placed", "committed", "doubt", "wait", "back",
    "fault", "retry",  "revoked",   "lost",  "empty"};

static const struct fsm_edge *find(const struct fsm_edge *edges, size_t count, int from, int event)
{
    for (size_t i = 0; i < count; i++) {
        if (edges[i].from == from && edges[i].event == event) {
            return &edges[i];
        }
    }
    assert(false); /* the test walks every pair */
    abort();
}

const struct fsm_edge *link_edge(enum link_state from, enum link_event event)
{
    return find(link_edges, sizeof(link_edges) / sizeof(link_edges[0]), (int)from, (int)event);
}

const struct fsm_edge *part_edge(enum part_state from, enum part_event event)
{
    return find(part_edges, sizeof(part_edges) / sizeof(part_edges[0]), (int)from, (int)event);
}

const char *link_state_name(enum link_state state)
{
    return link_states[state];
}
const char *link_event_name(enum link_event event)
{
    return link_events[event];
}
const char *part_state_name(enum part_state state)
{
    return part_states[state];
}
const char *part_event_name(enum part_event event)
{
    return part_events[event];
}

/* Mermaid ends a name at a space and a description at a semicolon; a colon begins it. */
static void put_word(FILE *out, const char *word)
{
    for (; *word != '\0'; word++) {
        fputc(*word == ' ' ? '_' : *word, out);
    }
}

static void put_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        fputc(*text == ':' || *text == ';' ? ',' : *text, out);
    }
}

/* A fenced block for each table: mermaid draws one diagram a block. */
static void draw(FILE *out, const char *title, const struct fsm_edge *edges, size_t count,
                 const char *const *states, const char *const *events)
{
    fprintf(out, "```mermaid\n%%%% %s\nstateDiagram-v2\n", title);
    for (size_t i = 0; i < count; i++) {
        if (edges[i].to >= 0) {
            fputs("    ", out);
            put_word(out, states[edges[i].from]);
            fputs(" --> ", out);
            put_word(out, states[edges[i].to]);
            fprintf(out, ": %s (", events[edges[i].event]);
            put_text(out, edges[i].why);
            fputs(")\n", out);
        }
    }
    fputs("```\n", out);
}

char *link_fsm_diagram(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = must(open_memstream(&text, &len));
    draw(out, "link", link_edges, sizeof(link_edges) / sizeof(link_edges[0]), link_states,
         link_events);
    draw(out, "partition", part_edges, sizeof(part_edges) / sizeof(part_edges[0]), part_states,
         part_events);
    fclose(out);
    return text;
}
