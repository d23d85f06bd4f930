/* Where the resume procedures ask: one desk for each connection to a broker. So many questions are under way there at a time;
 * who comes then waits in order. No I/O.
 *
 * A broker serves one request of a connection at a time. Ten thousand partitions that all ask at once have answers that come
 * after their time limit, which ends the connection, and all of them ask again; metadata, which is asked over the same
 * connection, comes late as well. A desk for each broker: one that hangs holds up nobody but its own.
 */
#ifndef FERRY_MIRROR_DESK_H
#define FERRY_MIRROR_DESK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct desk;

struct desks { /* zeroed: none yet */
    struct desk **list;
    size_t count;
};

struct desk_place { /* of one who asks; zeroed: waits nowhere */
    TAILQ_ENTRY(desk_place) entry;
    struct desk *desk; /* where it waits; NULL: it does not */
};

void desks_done(struct desks *desks); /* @pre nobody waits */
/* Made when it is asked for first.
 *
 * @param most  questions under way at a time, >= 1; counts when the desk is made */
struct desk *desk_of(struct desks *desks, bool of_source, int32_t broker, int32_t lane,
                     int32_t most);
/* @return true: ask now, desk_answered() comes with the answer; false: `place` waits for desk_next() */
bool desk_ask(struct desk *desk, struct desk_place *place);
/* One question less is under way. */
void desk_answered(struct desk *desk);
/* Who may ask now; it waits no more, and asks by desk_ask(). NULL: nobody.
 *
 * @param all  the connection is gone: everybody, in turn, whatever is under way */
struct desk_place *desk_next(struct desk *desk, bool all);
/* It waits no more; nothing happens when it does not. */
void desk_leave(struct desk_place *place);

#endif
