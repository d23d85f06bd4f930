/* Which records of a topic belong: by key and by header, globs over bytes. Pure.
 *
 * A function of the record alone, so that every worker that reads the log again gives the same sequence number to the
 * same record. A filter that changes is another stream: see config_streams_hash().
 */
#ifndef FERRY_MIRROR_RECORD_FILTER_H
#define FERRY_MIRROR_RECORD_FILTER_H

#include "config/config.h"
#include "kafka/batch.h"

enum record_verdict { RECORD_KEPT, RECORD_KEY, RECORD_HEADER, RECORD_VERDICTS_COUNT };

/* @param filter  NULL = everything belongs
 * @return RECORD_KEPT, or what it fails by: its key, one of its headers    @thread any */
enum record_verdict record_filter_judge(const struct config_filter *filter,
                                        const struct record *record);
const char *record_verdict_name(enum record_verdict verdict); /* "key", "header" */

#endif
