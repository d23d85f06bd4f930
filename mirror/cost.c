#include "mirror/cost.h"

/* Cold process: doors to cluster and Redis, checks, the journal's dozen transactions, the fence seen by workers that read the
 * control topic each second, the swap and the look behind it. */
#define FIXED_S 4.0
/* A partition is asked for its end and our sequence; a place is committed once: both far slower than a broker can. */
#define PARTITIONS_PER_S 2000.0
#define PLACES_PER_S     20000.0

double cost_failover_s(int64_t partitions, int64_t places)
{
    if (partitions < 0 || places < 0) {
        return -1;
    }
    return FIXED_S + (double)partitions / PARTITIONS_PER_S + (double)places / PLACES_PER_S;
}
