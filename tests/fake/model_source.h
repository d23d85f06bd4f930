/* A model of a source partition as the broker keeps it: batches, transactions with markers, compaction, retention,
 * truncation with a new leader epoch. Its Fetch answers are real bytes. Every record has a number of its own (uid), so
 * that a test can tell what became of it, and a content that others may share.
 */
#ifndef FERRY_TESTS_FAKE_MODEL_SOURCE_H
#define FERRY_TESTS_FAKE_MODEL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "kafka/proto.h"

#define MODEL_RECORDS_MAX 4 /* a batch */
#define MODEL_PIDS        3 /* transactional producers of the source */

enum model_kind { MODEL_DATA, MODEL_TX, MODEL_ABORT, MODEL_COMMIT };
enum model_outcome { MODEL_OPEN, MODEL_COMMITTED, MODEL_ABORTED };

struct model_batch {
    int64_t base;
    int64_t next;
    int32_t epoch;
    int32_t pid; /* of a transaction; -1 = none */
    enum model_kind kind;
    enum model_outcome outcome;
    bool removed;      /* by compaction, nothing is left */
    bool clean_before; /* no transaction was open where it begins */
    int32_t count;     /* as written */
    bool gone[MODEL_RECORDS_MAX];
    int64_t uid; /* of its first record */
    int64_t content[MODEL_RECORDS_MAX];
    int64_t timestamp;
    uint8_t *data;
    size_t len;
};

struct model_source {
    bool
        append_time; /* LogAppendTime: readers see the time of the append, producers wrote another one */
    struct model_batch *batches;
    int32_t count;
    int32_t capacity;
    int64_t log_start;
    int64_t end;
    int32_t epoch;
    struct {
        int32_t epoch;
        int64_t start;
    } epochs[64];
    int32_t epochs_count;
    int64_t open_first[MODEL_PIDS]; /* -1 = no transaction */
    struct {
        int32_t pid;
        int64_t first;
        int64_t last;
    } *aborted;
    int32_t aborted_count;
    int64_t uids_count;
    int64_t contents_count;
};

void model_source_init(struct model_source *source);
void model_source_done(struct model_source *source);
/* @param pid   -1 = no transaction
 * @param twin  the same records at the same time as the last batch that had some */
void model_source_append(struct model_source *source, int32_t count, int32_t pid, bool twin);
void model_source_end_transaction(struct model_source *source, int32_t pid, bool commit);
int64_t model_source_stable_end(const struct model_source *source);
/* Cut at the newest place at or below `offset` where no transaction was open; the next batches have a new epoch. */
void model_source_truncate(struct model_source *source, int64_t offset);
/* As if its last batches had never been: no new leader tells. */
void model_source_forget(struct model_source *source, int32_t batches);
void model_source_delete_before(struct model_source *source, int64_t offset);
/* Take the records of one batch away: all of it (a hole, or its header alone), or one record. */
void model_source_compact(struct model_source *source, int32_t at, bool whole, bool keep_header,
                          int32_t record);
/* OffsetForLeaderEpoch. */
void model_source_epoch_end(const struct model_source *source, int32_t epoch, int32_t *out_epoch,
                            int64_t *out_end);
/* A read_committed Fetch of at most `batches` batches. false: out of range. The aborted list is the caller's. */
bool model_source_fetch(const struct model_source *source, int64_t offset, int32_t batches,
                        struct fetch_partition *out, struct buf **out_block);
/* The batch that holds this offset, or NULL. */
const struct model_batch *model_source_at(const struct model_source *source, int64_t offset);
/* Does it hold records that a reader of committed data sees? */
bool model_batch_visible(const struct model_batch *batch);

#endif
