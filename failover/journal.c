#include "failover/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

#define KEY_BYTES     170
#define REDIS_MOST    (64 << 10) /* of a copy; larger evidence stands in the control topic alone */
#define STEPS_REMOVED 2000       /* keys in one transaction; the rest goes at the next close */
#define STEPS_AT_ONCE 2          /* one that is done, the next */
#define NO_CHUNK      SIZE_MAX   /* the step's own record */

struct journal {
    struct journal_door door;
    const struct clock *clock;
    char id[65];
    json_t *record; /* op/ID */
    json_t *steps;  /* {STEP: {"state", "began", "ended", "ms", "evidence"}} */
    json_t *others; /* operations as they were read: what is deleted at the end */
    json_t *
        chunks; /* {STEP: how many its evidence stands in, 0 = in its head}: to be known without making the text again */
    json_t *noted; /* {STEP: true}: evidence that is not written yet */
    struct redis_sync *redis;
    char *redis_key;
    int file;
    pthread_mutex_t mutex; /* the door and the record: the beat writes too */
    pthread_cond_t changed;
    pthread_t thread;
    bool beating;
    bool stop;
    bool lost;
    bool wrote; /* op/ID stands as we have it: until then it may be another's */
    json_int_t acked_beat;
    struct err lost_err;
    int64_t written_ms;
};

/* --- what stands in the control topic ----------------------------------------------------------------------------- */

static char *step_key(const char *id, const char *step, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "op/%s/%s", id, step);
    return out;
}

json_t *journal_read_evidence(const json_t *operations, const char *id, const char *step)
{
    char key[KEY_BYTES];
    char part[KEY_BYTES + 16];
    json_t *record = json_object_get(operations, step_key(id, step, key));
    json_t *evidence = json_object_get(record, "evidence");
    json_int_t chunks = json_integer_value(json_object_get(record, "chunks"));
    if (evidence != NULL) {
        return json_incref(evidence);
    }
    if (chunks < 1 || chunks > JOURNAL_CHUNKS_MAX) {
        return NULL;
    }
    char *text = must(calloc((size_t)chunks, JOURNAL_CHUNK_BYTES + 1));
    size_t len = 0;
    for (json_int_t i = 0; i < chunks; i++) {
        snprintf(part, sizeof(part), "%s/%d", key, (int)i);
        const char *some =
            json_string_value(json_object_get(json_object_get(operations, part), "text"));
        size_t more = some == NULL ? 0 : strlen(some);
        if (more == 0 || more > JOURNAL_CHUNK_BYTES) {
            free(text);
            return NULL;
        }
        memcpy(text + len, some, more);
        len += more;
    }
    evidence =
        json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL); /* may be beyond base/json's 16 MiB */
    free(text);
    return evidence;
}

/* "op/ID": the id; NULL for steps. */
static const char *id_of(const char *key)
{
    return strncmp(key, "op/", 3) == 0 && strchr(key + 3, '/') == NULL ? key + 3 : NULL;
}

const json_t *journal_open_operation(const json_t *operations, char *out_id, size_t room)
{
    const char *key;
    json_t *record;
    const json_t *found = NULL;
    out_id[0] = '\0';
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        const char *id = id_of(key);
        if (id != NULL && json_is_true(json_object_get(record, "open")) && strlen(id) < room &&
            strcmp(id, out_id) > 0) { /* ids begin with their time */
            snprintf(out_id, room, "%s", id);
            found = record;
        }
    }
    return found;
}

static bool is_text(const json_t *record, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(record, key));
    return text != NULL && strcmp(text, wanted) == 0;
}

const json_t *journal_left_again(const json_t *left)
{
    size_t index;
    json_t *row;
    json_array_foreach (left, index, row) {
        if (json_is_true(json_object_get(row, "again"))) {
            return row;
        }
    }
    return NULL;
}

const json_t *journal_left_operation(const json_t *operations, const char *kind, const char *to,
                                     int64_t role_epoch, char *out_id, size_t room)
{
    const char *key;
    json_t *record;
    const json_t *found = NULL;
    out_id[0] = '\0';
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        const char *id = id_of(key);
        json_t *made = json_object_get(record, "made_epoch");
        if (id != NULL && json_is_false(json_object_get(record, "open")) && strlen(id) < room &&
            strcmp(id, out_id) > 0 && is_text(record, "kind", kind) && is_text(record, "to", to) &&
            json_is_integer(made) && json_integer_value(made) == role_epoch &&
            journal_left_again(json_object_get(record, "left")) != NULL) {
            snprintf(out_id, room, "%s", id);
            found = record;
        }
    }
    return found;
}

static void take_steps(struct journal *journal, const json_t *operations)
{
    char prefix[KEY_BYTES];
    const char *key;
    json_t *record;
    size_t len = (size_t)snprintf(prefix, sizeof(prefix), "op/%s/", journal->id);
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        const char *step = key + len;
        if (strncmp(key, prefix, len) != 0 || strchr(step, '/') != NULL) {
            continue;
        }
        json_t *mine = json_copy(record);
        json_t *evidence = journal_read_evidence(operations, journal->id, step);
        json_object_set_new(journal->chunks, step,
                            json_integer(json_integer_value(json_object_get(mine, "chunks"))));
        json_object_del(mine, "chunks");
        if (evidence != NULL) {
            json_object_set_new(mine, "evidence", evidence);
        }
        json_object_set_new(journal->steps, step, mine);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct journal *journal_new(const struct journal_door *door, const struct clock *clock,
                            const char *id, json_t *take_record, const json_t *operations)
{
    pthread_condattr_t attributes;
    struct journal *journal = must(calloc(1, sizeof(*journal)));
    journal->door = *door;
    journal->clock = clock;
    journal->file = -1;
    snprintf(journal->id, sizeof(journal->id), "%s", id);
    journal->record = take_record;
    journal->steps = json_object();
    journal->chunks = json_object();
    journal->noted = json_object();
    journal->others = operations == NULL ? json_object() : json_deep_copy(operations);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&journal->mutex, NULL);
    pthread_cond_init(&journal->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    take_steps(journal, operations);
    return journal;
}

static void beat_end(struct journal *journal)
{
    if (!journal->beating) {
        return;
    }
    pthread_mutex_lock(&journal->mutex);
    journal->stop = true;
    pthread_cond_broadcast(&journal->changed);
    pthread_mutex_unlock(&journal->mutex);
    pthread_join(journal->thread, NULL);
    journal->beating = false;
}

void journal_free(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    beat_end(journal);
    if (journal->file >= 0) {
        close(journal->file);
    }
    json_decref(journal->chunks);
    json_decref(journal->noted);
    free(journal->redis_key);
    json_decref(journal->record);
    json_decref(journal->steps);
    json_decref(journal->others);
    pthread_cond_destroy(&journal->changed);
    pthread_mutex_destroy(&journal->mutex);
    free(journal);
}

void journal_copies(struct journal *journal, const struct journal_copies *copies)
{
    journal->redis = copies->redis;
    journal->redis_key = copies->redis_key == NULL ? NULL : must(strdup(copies->redis_key));
    if (copies->file != NULL) {
        journal->file = open(copies->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (journal->file < 0) {
            log_warn("journal.no_copy",
                     "file=%s why=\"%s\" doing=\"going on: the control topic has it\"",
                     copies->file, strerror(errno));
        }
    }
}

void journal_drop_redis(struct journal *journal)
{
    journal->redis = NULL;
}

/* --- copies ------------------------------------------------------------------------------------------------------- */

static void copy_to_file(struct journal *journal, const char *key, const char *text)
{
    if (journal->file < 0) {
        return;
    }
    size_t len = strlen(text);
    if (dprintf(journal->file, "{\"key\": \"%s\", \"record\": %s}\n", key, text) <
        (int)(len & 0xffff)) {
        log_warn("journal.copy_ended", "why=\"%s\"", strerror(errno));
        close(journal->file);
        journal->file = -1;
    }
}

static void copy_to_redis(struct journal *journal, const char *key, const char *text)
{
    struct err err = {0};
    if (journal->redis == NULL) {
        return;
    }
    const char *argv[] = {"XADD",   journal->redis_key,
                          "MAXLEN", "~",
                          "1000",   "*",
                          "key",    key,
                          "record", strlen(text) > REDIS_MOST ? "in the control topic" : text};
    redisReply *reply = redis_sync_call(journal->redis, 10, argv, NULL, &err);
    if (reply == NULL) {
        journal->redis = NULL; /* not waited for again */
    } else {
        freeReplyObject(reply);
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static json_int_t beat_in(const json_t *record)
{
    return json_integer_value(json_object_get(record, "beat"));
}

/* Does op/ID stand as we wrote it last? The write that was refused may be there too: its answer was lost then. Who resumes an
 * operation raises the beat as well, and adds himself to resumed_by. */
static bool still_ours(const struct journal *journal, struct err *err)
{
    char key[KEY_BYTES];
    json_t *operations = journal->door.read(journal->door.arg, err);
    snprintf(key, sizeof(key), "op/%s", journal->id);
    const json_t *there = json_object_get(operations, key);
    json_int_t beat = beat_in(there);
    bool ours = json_is_true(json_object_get(there, "open")) &&
                (beat == journal->acked_beat || beat == beat_in(journal->record)) &&
                json_equal(json_object_get(there, "resumed_by"),
                           json_object_get(journal->record, "resumed_by"));
    json_decref(operations);
    return ours;
}

/* The end, whose answer was lost: whoever is the writer since found nothing open. Letter by letter: who took it over wrote another
 * beat, himself, or another end. It is the last record of its transaction, so that the others stand, too. */
static bool end_stands(const struct journal *journal)
{
    char key[KEY_BYTES];
    struct err why = {0};
    bool ended = json_is_false(json_object_get(journal->record, "open"));
    json_t *operations =
        ended && journal->door.read != NULL ? journal->door.read(journal->door.arg, &why) : NULL;
    snprintf(key, sizeof(key), "op/%s", journal->id);
    bool stands =
        operations != NULL && json_equal(json_object_get(operations, key), journal->record);
    json_decref(operations);
    return stands;
}

/* With the mutex. Looked at before, so that nobody who took it over is fenced, and behind: he may have done so in between. */
static bool taken_for_a_moment(struct journal *journal)
{
    struct err why = {0};
    bool again = journal->door.read != NULL && journal->door.renew != NULL && journal->wrote &&
                 still_ours(journal, &why) && journal->door.renew(journal->door.arg, &why) &&
                 still_ours(journal, &why);
    if (again) {
        log_warn("journal.taken",
                 "operation=%s doing=\"another command was the writer for a moment; going on\"",
                 journal->id);
    }
    return again;
}

/* With the mutex. An answer that was lost is asked for by writing again: every record is the whole of its key. */
static bool write_now(struct journal *journal, const struct control_record *records, size_t count,
                      struct err *err)
{
    struct err why = {0};
    if (journal->lost) {
        *err = journal->lost_err;
        return false;
    }
    bool ok = journal->door.write(journal->door.arg, records, count, &why);
    if (!ok && why.kind == ERR_RETRY) {
        ok = journal->door.write(journal->door.arg, records, count, &why);
    }
    if (!ok && why.kind == ERR_FATAL && taken_for_a_moment(journal)) {
        ok = journal->door.write(journal->door.arg, records, count, &why);
    }
    ok = ok || (why.kind == ERR_FATAL && end_stands(journal));
    if (ok) {
        journal->written_ms = clock_now_ms(journal->clock);
        journal->acked_beat = beat_in(journal->record);
        return true;
    }
    if (why.kind == ERR_FATAL) {
        err_wrap(&why, "another operator took operation %s over", journal->id);
        err_hint(&why, "this one does nothing more; who has it, and how far: ferry history");
        journal->lost = true;
        journal->lost_err = why;
    }
    *err = why;
    return false;
}

/* With the mutex. New text. */
static char *operation_text(struct journal *journal, bool open)
{
    json_int_t beat = json_integer_value(json_object_get(journal->record, "beat"));
    char when[CLOCK_TEXT_BYTES];
    json_object_set_new(journal->record, "open", json_boolean(open));
    json_object_set_new(journal->record, "beat", json_integer(beat + 1));
    json_object_set_new(journal->record, "time",
                        json_string(clock_rfc3339(clock_wall_ms(journal->clock), when)));
    return json_text(journal->record);
}

static char *operation_key_of(const struct journal *journal, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "op/%s", journal->id);
    return out;
}

/* With the mutex. */
static bool write_operation(struct journal *journal, struct err *err)
{
    char key[KEY_BYTES];
    char *text = operation_text(journal, true);
    const struct control_record record = {.key = operation_key_of(journal, key), .value = text};
    bool ok = write_now(journal, &record, 1, err);
    free(text);
    return ok;
}

static void *beat_thread(void *arg)
{
    struct journal *journal = arg;
    pthread_mutex_lock(&journal->mutex);
    while (!journal->stop && !journal->lost) {
        int64_t left = journal->written_ms + JOURNAL_BEAT_MS - clock_now_ms(journal->clock);
        if (left <= 0) {
            struct err err = {0};
            if (!write_operation(journal, &err)) {
                journal->written_ms = clock_now_ms(journal->clock); /* told by the next step */
            }
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + (left % 1000) * 1000000;
        until.tv_sec += left / 1000 + ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        pthread_cond_timedwait(&journal->changed, &journal->mutex, &until);
    }
    pthread_mutex_unlock(&journal->mutex);
    return NULL;
}

bool journal_begin(struct journal *journal, struct err *err)
{
    pthread_mutex_lock(&journal->mutex);
    bool ok = write_operation(journal, err);
    journal->wrote = ok;
    pthread_mutex_unlock(&journal->mutex);
    if (ok && pthread_create(&journal->thread, NULL, beat_thread, journal) == 0) {
        journal->beating = true;
    }
    return ok;
}

bool journal_write(struct journal *journal, const struct control_record *records, size_t count,
                   struct err *err)
{
    pthread_mutex_lock(&journal->mutex);
    bool ok = write_now(journal, records, count, err);
    pthread_mutex_unlock(&journal->mutex);
    for (size_t i = 0; ok && i < count; i++) {
        copy_to_file(journal, records[i].key, records[i].value == NULL ? "null" : records[i].value);
    }
    return ok;
}

bool journal_set(struct journal *journal, const char *key, json_t *take_value, struct err *err)
{
    pthread_mutex_lock(&journal->mutex);
    json_object_set_new(journal->record, key, take_value);
    bool ok = write_operation(journal, err);
    pthread_mutex_unlock(&journal->mutex);
    return ok;
}

json_t *journal_member(struct journal *journal, const char *key)
{
    pthread_mutex_lock(&journal->mutex);
    json_t *value = json_deep_copy(json_object_get(journal->record, key));
    pthread_mutex_unlock(&journal->mutex);
    return value;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static const char *const states[] = {"", "began", "done", "undone"};

enum journal_state journal_state(const struct journal *journal, const char *step)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(journal->steps, step), "state"));
    for (int i = JOURNAL_BEGAN; text != NULL && i <= JOURNAL_UNDONE; i++) {
        if (strcmp(text, states[i]) == 0) {
            return (enum journal_state)i;
        }
    }
    return JOURNAL_NOTHING;
}

json_t *journal_evidence(const struct journal *journal, const char *step)
{
    return json_object_get(json_object_get(journal->steps, step), "evidence");
}

int64_t journal_ms(const struct journal *journal, const char *step)
{
    json_t *ms = json_object_get(json_object_get(journal->steps, step), "ms");
    return json_is_integer(ms) ? json_integer_value(ms) : -1;
}

int64_t journal_ended_ms(const struct journal *journal, const char *step)
{
    const json_t *entry = json_object_get(journal->steps, step);
    json_t *began = json_object_get(entry, "began_ms");
    int64_t ms = journal_ms(journal, step);
    return ms < 0 || !json_is_integer(began) ? -1 : json_integer_value(began) + ms;
}

struct pieces { /* the records of one transaction */
    struct control_record *records;
    size_t count;
    size_t heads[STEPS_AT_ONCE]; /* where the steps' own are */
    size_t heads_count;
};

static void add_piece(struct pieces *pieces, char *take_key, char *take_text)
{
    pieces->records =
        must(reallocarray(pieces->records, pieces->count + 1, sizeof(*pieces->records)));
    pieces->records[pieces->count++] =
        (struct control_record){.key = must(take_key), .value = must(take_text)};
}

static void pieces_done(struct pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        free((char *)(uintptr_t)pieces->records[i].key);
        free((char *)(uintptr_t)pieces->records[i].value);
    }
    free(pieces->records);
}

static char *key_of(const struct journal *journal, const char *step, size_t chunk)
{
    char *key = NULL;
    int len = chunk == NO_CHUNK ? asprintf(&key, "op/%s/%s", journal->id, step)
                                : asprintf(&key, "op/%s/%s/%zu", journal->id, step, chunk);
    return len < 0 ? NULL : key;
}

/* {"text": "part"}; 7 MB of them are in the way of every failover of 80,000 places. */
static char *chunk_text(const char *part, size_t len)
{
    struct text text = {0};
    text_puts(&text, "{\"text\":\"");
    text_escaped(&text, part, len);
    text_puts(&text, "\"}");
    return text_take(&text);
}

static bool cut_evidence(const struct journal *journal, const char *step, const char *text,
                         struct pieces *pieces, struct err *err)
{
    size_t len = strlen(text);
    if (len > (size_t)JOURNAL_CHUNKS_MAX * JOURNAL_CHUNK_BYTES) {
        return err_set(err, ERR_REFUSED, "evidence of %s: %zu bytes, more than can be kept", step,
                       len);
    }
    for (size_t at = 0; at < len; at += JOURNAL_CHUNK_BYTES) {
        size_t some = len - at < JOURNAL_CHUNK_BYTES ? len - at : JOURNAL_CHUNK_BYTES;
        add_piece(pieces, key_of(journal, step, at / JOURNAL_CHUNK_BYTES),
                  chunk_text(text + at, some));
    }
    return true;
}

/* Evidence as it stands behind this transaction: `whole` where it changed, else in as many pieces as before. */
static bool put_evidence(struct journal *journal, const char *step, json_t *evidence, bool whole,
                         struct pieces *pieces, struct err *err)
{
    /* ASCII alone: it may be cut anywhere */
    char *text =
        whole ? json_dumps(evidence, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII) : NULL;
    bool ok = true;
    if (text != NULL) {
        size_t len = strlen(text);
        size_t chunks = len > JOURNAL_CHUNK_BYTES ? (len - 1) / JOURNAL_CHUNK_BYTES + 1 : 0;
        json_object_set_new(journal->chunks, step, json_integer((json_int_t)chunks));
        ok = chunks == 0 || cut_evidence(journal, step, text, pieces, err);
    }
    free(text);
    return ok;
}

/* Its head goes behind its pieces. */
static bool step_pieces(struct journal *journal, const char *step, bool whole,
                        struct pieces *pieces, struct err *err)
{
    json_t *entry = json_object_get(journal->steps, step);
    json_t *evidence = json_object_get(entry, "evidence");
    if (evidence != NULL && !put_evidence(journal, step, evidence, whole, pieces, err)) {
        return false;
    }
    json_int_t chunks = json_integer_value(json_object_get(journal->chunks, step));
    json_t *head = json_copy(entry);
    if (evidence != NULL && chunks > 0) {
        json_object_del(head, "evidence");
        json_object_set_new(head, "chunks", json_integer(chunks));
    }
    pieces->heads[pieces->heads_count++] = pieces->count;
    add_piece(pieces, key_of(journal, step, NO_CHUNK), json_text(head));
    json_decref(head);
    return true;
}

/* The operation's own record goes along: it says where it stands, at the last of these steps. What was noted of them, too. */
static bool write_steps(struct journal *journal, const char *const *steps, size_t count,
                        struct err *err)
{
    struct pieces pieces = {0};
    char key[KEY_BYTES];
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        bool whole = json_object_get(journal->noted, steps[i]) != NULL;
        ok = step_pieces(journal, steps[i], whole, &pieces, err);
    }
    pthread_mutex_lock(&journal->mutex);
    json_object_set_new(journal->record, "step", json_string(steps[count - 1]));
    add_piece(&pieces, strdup(operation_key_of(journal, key)), operation_text(journal, true));
    ok = ok && write_now(journal, pieces.records, pieces.count, err);
    pthread_mutex_unlock(&journal->mutex);
    for (size_t i = 0; ok && i < count; i++) {
        const struct control_record *head = &pieces.records[pieces.heads[i]];
        json_object_del(journal->noted, steps[i]);
        copy_to_file(journal, head->key, head->value);
        copy_to_redis(journal, head->key, head->value);
    }
    pieces_done(&pieces);
    return ok;
}

static bool write_step(struct journal *journal, const char *step, struct err *err)
{
    return write_steps(journal, &step, 1, err);
}

static json_t *entry_of(struct journal *journal, const char *step)
{
    if (json_object_get(journal->steps, step) == NULL) {
        json_object_set_new(journal->steps, step, json_object());
    }
    return json_object_get(journal->steps, step);
}

static void mark(struct journal *journal, const char *step, enum journal_state state)
{
    char when[CLOCK_TEXT_BYTES];
    json_t *entry = entry_of(journal, step);
    json_t *ended = journal_member(journal, "ended");
    int64_t now_ms = clock_wall_ms(journal->clock);
    clock_rfc3339(now_ms, when);
    assert(state != JOURNAL_NOTHING);
    json_object_set_new(entry, "state", json_string(states[state]));
    if (state == JOURNAL_BEGAN) {
        /* one that is tried again when the operation had ended did not take all the time between */
        if (json_object_get(entry, "began") == NULL || ended != NULL) {
            json_object_set_new(entry, "began", json_string(when));
            json_object_set_new(entry, "began_ms", json_integer(now_ms));
        }
        json_object_del(entry, "ended");
    } else {
        json_t *began = json_object_get(entry, "began_ms");
        json_object_set_new(entry, "ended", json_string(when));
        if (state == JOURNAL_DONE) {
            json_object_set_new(
                entry, "ms",
                json_integer(json_is_integer(began) ? now_ms - json_integer_value(began) : 0));
        }
    }
    json_decref(ended);
}

bool journal_step(struct journal *journal, const char *step, enum journal_state state,
                  struct err *err)
{
    mark(journal, step, state);
    return write_step(journal, step, err);
}

bool journal_step_on(struct journal *journal, const char *step, const char *next, struct err *err)
{
    const char *const both[STEPS_AT_ONCE] = {step, next};
    mark(journal, step, JOURNAL_DONE);
    mark(journal, next, JOURNAL_BEGAN);
    return write_steps(journal, both, STEPS_AT_ONCE, err);
}

void journal_note(struct journal *journal, const char *step, json_t *take_evidence)
{
    json_object_set_new(entry_of(journal, step), "evidence", take_evidence);
    json_object_set_new(journal->noted, step, json_true());
}

bool journal_keep(struct journal *journal, const char *step, json_t *take_evidence, struct err *err)
{
    journal_note(journal, step, take_evidence);
    return write_step(journal, step, err);
}

bool journal_flush(struct journal *journal, struct err *err)
{
    const char *step;
    json_t *value;
    void *next;
    json_object_foreach_safe(journal->noted, next, step, value)
    { /* one at most */
        char name[KEY_BYTES];
        snprintf(name, sizeof(name), "%s", step);
        if (!write_step(journal, name, err)) {
            return false;
        }
    }
    return true;
}

bool journal_lost(struct journal *journal)
{
    pthread_mutex_lock(&journal->mutex);
    bool lost = journal->lost;
    pthread_mutex_unlock(&journal->mutex);
    return lost;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static int newer_first(const void *a, const void *b)
{
    return strcmp(*(const char *const *)b, *(const char *const *)a);
}

/* Orders to single partitions stand under op/ too, and are no operations with steps. */
static bool is_move(const json_t *record)
{
    const char *kind = json_string_value(json_object_get(record, "kind"));
    return kind != NULL && (strcmp(kind, "failover") == 0 || strcmp(kind, "switchover") == 0);
}

/* Of the operations that are old enough: keys of their steps. They point into journal->others. */
static size_t old_steps(const struct journal *journal, struct control_record *out, size_t room)
{
    const char *key;
    json_t *record;
    size_t ids_count = 0;
    size_t count = 0;
    const char **ids = must(calloc(json_object_size(journal->others) + 1, sizeof(*ids)));
    json_object_foreach (journal->others, key, record) {
        if (id_of(key) != NULL && strcmp(id_of(key), journal->id) != 0 && is_move(record)) {
            ids[ids_count++] = id_of(key);
        }
    }
    qsort(ids, ids_count, sizeof(*ids), newer_first);
    json_object_foreach (journal->others, key, record) {
        const char *slash = id_of(key) == NULL ? strchr(key + 3, '/') : NULL;
        bool old = false;
        for (size_t i = JOURNAL_KEPT - 1; slash != NULL && !old && i < ids_count; i++) {
            old = strlen(ids[i]) == (size_t)(slash - key - 3) &&
                  strncmp(ids[i], key + 3, strlen(ids[i])) == 0;
        }
        if (old && count < room) {
            out[count++] = (struct control_record){.key = key};
        }
    }
    free(ids);
    return count;
}

bool journal_close(struct journal *journal, json_t *take_members,
                   const struct control_record *records, size_t count, struct err *err)
{
    char key[KEY_BYTES];
    struct control_record *all = must(calloc(count + STEPS_REMOVED + 1, sizeof(*all)));
    size_t all_count = 0;
    for (; all_count < count; all_count++) {
        all[all_count] = records[all_count];
    }
    all_count += old_steps(journal, all + all_count, STEPS_REMOVED);
    pthread_mutex_lock(&journal->mutex);
    json_object_update(journal->record, take_members);
    char *text = operation_text(journal, false);
    all[all_count++] =
        (struct control_record){.key = operation_key_of(journal, key), .value = text};
    bool ok = write_now(journal, all, all_count, err);
    journal->stop = true;
    pthread_cond_broadcast(&journal->changed);
    pthread_mutex_unlock(&journal->mutex);
    if (ok) {
        copy_to_file(journal, key, text);
        copy_to_redis(journal, key, text);
    }
    json_decref(take_members);
    free(text);
    free(all);
    return ok;
}
