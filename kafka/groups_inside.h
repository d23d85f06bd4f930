/* What the lists of kafka/groups.h and who fills them share. Private to kafka/groups*.c. */
#ifndef FERRY_KAFKA_GROUPS_INSIDE_H
#define FERRY_KAFKA_GROUPS_INSIDE_H

#include "kafka/groups.h"

void groups_places_free(struct groups_row *row);
/* By topic and partition, as groups_row_place() finds them. */
void groups_places_sort(struct groups_row *row);

#endif
