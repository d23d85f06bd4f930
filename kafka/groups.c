/* One call is some turns: each sends what is left to be asked, waits for all answers, and is followed by another one while a
 * coordinator says that it is elsewhere or loading. */
#include "kafka/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/loop.h"
#include "kafka/admin_inside.h"
#include "kafka/error.h"
#include "kafka/group_questions.h"
#include "kafka/groups_inside.h"

#define LANES \
    8 /* connections to a coordinator, side by side: a commit waits for its log (5 ms and more) */
#define ROWS_A_LANE         4          /* for fewer no further connection is made */
#define ANSWER_BYTES_MAX    (64 << 20) /* a place takes some 200 bytes */
#define REFRESH_MS          2000
#define TCP_USER_TIMEOUT_MS 3000
#define CONNECT_MS          3000 /* six round trips between the farthest regions take 1.8 s */
#define OPEN_MS             5    /* is the cluster there? asks nobody */
#define AGAIN_MS            50   /* a coordinator that moves is there within some of these */
#define NO_WORD             KAFKA_UNKNOWN_SERVER_ERROR

struct groups_door {
    struct admin *admin;
    struct loop *loop;
    struct cluster *cluster;
    struct broker_asks *asks;
    struct broker_asks *short_asks; /* that wait less for a connection */
    struct loop_timer *timer;
    int32_t waiting; /* answers */
    int32_t silent;  /* brokers that did not list their groups */
    int64_t until_ms;
    struct groups_list *list; /* of the call */
    bool (*wanted)(void *arg, const char *name);
    void *wanted_arg;
    struct err trouble; /* the first */
    size_t topic_at;    /* where the last name was found */
};

/* --- names of topics ---------------------------------------------------------------------------------------------- */

/* Names come topic by topic, in much the same order for each group. */
static const char *topic_name(struct groups_door *door, struct wire_string name)
{
    struct groups_list *list = door->list;
    const char *text = name.data == NULL ? "" : name.data;
    size_t len = name.data == NULL || name.len < 0 ? 0 : (size_t)name.len;
    for (size_t tries = 0; tries < list->topics_count; tries++) {
        size_t at = (door->topic_at + tries) % list->topics_count;
        if (strlen(list->topics[at]) == len && memcmp(list->topics[at], text, len) == 0) {
            door->topic_at = at;
            return list->topics[at];
        }
    }
    list->topics = must(reallocarray(list->topics, list->topics_count + 1, sizeof(char *)));
    list->topics[list->topics_count] = must(strndup(text, len));
    door->topic_at = list->topics_count;
    return list->topics[list->topics_count++];
}

/* --- the door ----------------------------------------------------------------------------------------------------- */

static void fired(void *arg)
{
    loop_stop(((struct groups_door *)arg)->loop);
}

struct groups_door *groups_door_new(struct admin *admin)
{
    struct groups_door *door = must(calloc(1, sizeof(*door)));
    const struct cluster_options options = {.name = admin->site,
                                            .client = admin->settings,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX};
    const struct broker_asks_options asks = {.wait_ms = admin->timeout_ms,
                                             .request_ms = admin->timeout_ms};
    const struct broker_asks_options soon = {
        .wait_ms = admin->timeout_ms < CONNECT_MS ? admin->timeout_ms : CONNECT_MS,
        .request_ms = admin->timeout_ms};
    static const char *const none[] = {NULL};
    door->admin = admin;
    door->loop = loop_new(clock_system());
    door->cluster = cluster_new(door->loop, &options);
    cluster_follow(door->cluster, none, 0); /* brokers alone */
    door->asks = broker_asks_new(door->loop, door->cluster, &asks);
    door->short_asks = broker_asks_new(door->loop, door->cluster, &soon);
    door->timer = loop_timer_new(door->loop, fired, door);
    return door;
}

void groups_door_free(struct groups_door *door)
{
    if (door == NULL) {
        return;
    }
    loop_timer_free(door->timer);
    broker_asks_free(door->asks);
    broker_asks_free(door->short_asks);
    cluster_free(door->cluster);
    loop_free(door->loop);
    free(door);
}

static int64_t left_ms(const struct groups_door *door)
{
    int64_t left = door->until_ms - loop_now_ms(door->loop);
    return left > 0 ? left : 0;
}

static void rest(struct groups_door *door, int64_t ms)
{
    int64_t left = left_ms(door);
    loop_timer_set(door->timer, ms < left ? ms : left);
    loop_run(door->loop);
}

static void note(struct groups_door *door, const struct err *err)
{
    if (door->trouble.kind == ERR_NONE) {
        door->trouble = *err;
    }
}

static void answered(struct groups_door *door, const struct err *err)
{
    if (err != NULL) {
        note(door, err);
    }
    if (--door->waiting == 0) {
        loop_stop(door->loop);
    }
}

/* Who hears of a question; the door waits for him. */
static struct group_asker asker(struct groups_door *door,
                                void (*done)(void *arg, const struct err *err), void *arg)
{
    door->waiting++;
    return (struct group_asker){.asks = door->asks, .done = done, .arg = arg};
}

/* Each ask has its own bound, the call's time limit: it ends. */
static void wait_answers(struct groups_door *door)
{
    if (door->waiting > 0) {
        loop_timer_cancel(door->timer);
        loop_run(door->loop);
    }
}

static bool begin(struct groups_door *door, struct groups_list *list, struct err *err)
{
    door->list = list;
    door->topic_at = 0;
    door->trouble = (struct err){0};
    door->until_ms = loop_now_ms(door->loop) + door->admin->timeout_ms;
    while (cluster_brokers_count(door->cluster) == 0 && left_ms(door) > 0 &&
           !cluster_refuses(door->cluster)) {
        rest(door, OPEN_MS);
    }
    if (cluster_brokers_count(door->cluster) == 0) {
        const char *why = cluster_last_error(door->cluster);
        return err_set(err, ERR_RETRY, "%s: not reached within %lld ms%s%s", door->admin->site,
                       (long long)(door->admin->timeout_ms - left_ms(door)),
                       why[0] == '\0' ? "" : ": ", why);
    }
    return true;
}

/* @param what  "read", "commit" */
static void row_failed(struct groups_door *door, struct groups_row *row, const char *what,
                       bool commit, int16_t error)
{
    char lacks[ACL_LACKS_BYTES];
    bool denied = cluster_denied(door->cluster, error, commit ? ACL_READ : ACL_DESCRIBE, ACL_GROUP,
                                 row->name, lacks);
    err_set_code(&row->err, group_error_passes(error) ? ERR_RETRY : ERR_REFUSED, error,
                 "%s: %s group '%.200s': %s", door->admin->site, what, row->name,
                 denied ? lacks : kafka_error_name(error));
}

/* --- which there are ---------------------------------------------------------------------------------------------- */

struct listing {
    struct groups_door *door;
    int32_t broker;
};

static void word(struct wire_string from, char out[32])
{
    bool fits = from.len > 0 && from.len < 32;
    snprintf(out, 32, "%.*s", fits ? (int)from.len : 0, fits ? from.data : "");
}

static void take_listed(void *arg, const struct listed_group *found)
{
    const struct listing *listing = arg;
    struct groups_door *door = listing->door;
    char name[512];
    if (found->group.len <= 0 || found->group.len >= (int32_t)sizeof(name) ||
        memchr(found->group.data, '\0', (size_t)found->group.len) != NULL) {
        return; /* longer than what we carry */
    }
    snprintf(name, sizeof(name), "%.*s", (int)found->group.len, found->group.data);
    if (!door->wanted(door->wanted_arg, name)) {
        return;
    }
    struct groups_row *row = groups_list_add(door->list, name);
    row->listed = true;
    row->coordinator = listing->broker;
    word(found->state, row->state);
    word(found->protocol_type, row->protocol_type);
    word(found->type, row->type);
    row->empty = group_state_is_empty(found->state);
}

static void listed(void *arg, const struct err *err)
{
    struct listing *listing = arg;
    struct groups_door *door = listing->door;
    door->silent += err == NULL ? 0 : 1;
    free(listing);
    answered(door, err);
}

/* While a group moves, two brokers may list it: the one that has members counts. */
static void only_once(struct groups_list *list)
{
    size_t kept = 0;
    groups_list_sort(list);
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && strcmp(list->rows[kept - 1].name, list->rows[i].name) == 0) {
            struct groups_row *first = &list->rows[kept - 1];
            struct groups_row *drop = first->empty ? first : &list->rows[i];
            free(drop->name);
            if (drop == first) {
                *first = list->rows[i];
            }
        } else {
            list->rows[kept++] = list->rows[i];
        }
    }
    list->count = kept;
}

/* Brokers before Kafka 2.6 list no states. */
static void ask_states(struct groups_door *door, struct groups_list *list);

/* Of brokers that answer. @return how many did not; -1: nobody can be asked */
static int32_t list_groups(struct groups_door *door, struct broker_asks *asks,
                           bool (*wanted)(void *arg, const char *name), void *arg,
                           struct groups_list *out, struct err *err)
{
    *out = (struct groups_list){0};
    door->wanted = wanted;
    door->wanted_arg = arg;
    door->silent = 0;
    if (!begin(door, out, err)) {
        return -1;
    }
    int32_t brokers_count = cluster_brokers_count(door->cluster);
    for (int32_t i = 0; i < brokers_count; i++) {
        struct listing *listing = must(calloc(1, sizeof(*listing)));
        *listing = (struct listing){door, cluster_broker_at(door->cluster, i)};
        struct group_asker who = asker(door, listed, listing);
        who.asks = asks;
        group_question_list(&who, listing->broker, take_listed);
    }
    wait_answers(door);
    only_once(out);
    ask_states(door, out);
    if (door->silent > 0) {
        *err = door->trouble;
        err_wrap(err, "%s: list groups", door->admin->site);
    }
    return door->silent == brokers_count ? -1 : door->silent;
}

bool groups_read(struct groups_door *door, bool (*wanted)(void *arg, const char *name), void *arg,
                 struct groups_list *out, struct err *err)
{
    if (list_groups(door, door->asks, wanted, arg, out, err) == 0) {
        return true;
    }
    groups_list_done(out);
    return false;
}

static bool is_in(void *arg, const char *name)
{
    return groups_list_find(arg, name) != NULL;
}

static void take_state(struct groups_row *row, const struct groups_row *now)
{
    row->listed = now != NULL;
    row->empty = now == NULL || now->empty;
    row->coordinator = now == NULL ? -1 : now->coordinator;
    snprintf(row->state, sizeof(row->state), "%s", now == NULL ? "" : now->state);
    snprintf(row->protocol_type, sizeof(row->protocol_type), "%s",
             now == NULL ? "" : now->protocol_type);
    snprintf(row->type, sizeof(row->type), "%s", now == NULL ? "" : now->type);
}

bool groups_states(struct groups_door *door, struct groups_list *list, struct err *out_partly,
                   struct err *err)
{
    struct groups_list found;
    struct err why = {0};
    int32_t silent = list_groups(door, out_partly == NULL ? door->asks : door->short_asks, is_in,
                                 list, &found, &why);
    if (silent < 0 || (silent > 0 && out_partly == NULL)) {
        groups_list_done(&found);
        *err = why;
        return false;
    }
    if (out_partly != NULL) {
        *out_partly = why;
    }
    for (size_t i = 0; i < list->count; i++) {
        take_state(&list->rows[i], groups_list_find(&found, list->rows[i].name));
    }
    groups_list_done(&found);
    return true;
}

/* --- some groups a request ---------------------------------------------------------------------------------------- */

struct some { /* one request */
    struct groups_door *door;
    struct groups_row **rows;
    int32_t count;
};

static struct some *some_new(struct groups_door *door, struct groups_row **rows, size_t count)
{
    struct some *some = must(calloc(1, sizeof(*some)));
    some->door = door;
    some->rows = must(calloc(count + 1, sizeof(struct groups_row *)));
    memcpy(some->rows, rows, count * sizeof(struct groups_row *));
    some->count = (int32_t)count;
    return some;
}

static void some_done(void *arg, const struct err *err)
{
    struct some *some = arg;
    struct groups_door *door = some->door;
    free(some->rows);
    free(some);
    answered(door, err);
}

static struct groups_row *row_of(const struct some *some, struct wire_string name)
{
    for (int32_t i = 0; i < some->count; i++) {
        struct groups_row *row = some->rows[i];
        if (name.len < 0 ? some->count == 1
                         : strlen(row->name) == (size_t)name.len &&
                               memcmp(row->name, name.data, (size_t)name.len) == 0) {
            return row;
        }
    }
    return NULL;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void take_coordinator(void *arg, const struct coordinator_row *found)
{
    const struct some *some = arg;
    struct groups_row *row = row_of(some, found->group);
    if (row != NULL && found->error == KAFKA_NONE) {
        row->coordinator = found->id;
    } else if (row != NULL) {
        row_failed(some->door, row, "find the coordinator of", false, found->error);
    }
}

static void take_places(struct groups_door *door, struct groups_row *row,
                        const struct offset_fetch_group *group)
{
    row->places = must(calloc((size_t)group->parts_count + 1, sizeof(*row->places)));
    struct wire_string last = {.data = NULL, .len = -1};
    const char *topic = NULL;
    for (int32_t i = 0; i < group->parts_count; i++) {
        const struct offset_fetch_part *part = &group->parts[i];
        if (part->topic.data != last.data || topic == NULL) {
            last = part->topic;
            topic = topic_name(door, part->topic);
        }
        struct groups_place *place = &row->places[row->places_count++];
        *place = (struct groups_place){.topic = topic,
                                       .partition = part->partition,
                                       .offset = part->offset < 0 ? -1 : part->offset,
                                       .error = part->error};
        if (part->metadata.len > 0) {
            place->metadata = must(strndup(part->metadata.data, (size_t)part->metadata.len));
        }
    }
    groups_places_sort(row);
}

static void take_fetched(void *arg, const struct offset_fetch_group *found)
{
    const struct some *some = arg;
    struct groups_row *row = row_of(some, found->group);
    if (row == NULL || row->places != NULL) { /* nobody asked for it, or twice */
        return;
    }
    if (found->error == KAFKA_NONE || found->error == KAFKA_GROUP_ID_NOT_FOUND) {
        err_clear(&row->err);
        take_places(some->door, row, found);
    } else {
        row_failed(some->door, row, "read what is committed of", false, found->error);
    }
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* Connections that so many rows of one coordinator are spread over. */
static size_t lanes_for(size_t rows_count)
{
    size_t lanes = (rows_count + ROWS_A_LANE - 1) / ROWS_A_LANE;
    return lanes < LANES ? lanes : LANES;
}

/* One question each for some of the rows; side by side on the coordinator's lanes. */
static void ask_some(struct groups_door *door, int32_t broker, enum api_key api,
                     struct groups_row **rows, size_t count)
{
    size_t most = group_questions_most(door->cluster, broker, api);
    size_t lanes = broker == BROKER_ANY ? 1 : lanes_for(count);
    size_t share = (count + lanes - 1) / lanes;
    const char **names = must(calloc(count + 1, sizeof(*names)));
    most = share < most ? share : most;
    for (size_t i = 0; i < count; i++) {
        names[i] = rows[i]->name;
    }
    for (size_t at = 0; at < count; at += most) {
        size_t few = count - at < most ? count - at : most;
        const struct group_asker who = asker(door, some_done, some_new(door, rows + at, few));
        if (api == API_FIND_COORDINATOR) {
            group_question_find(&who, names + at, (int32_t)few, take_coordinator);
        } else {
            group_question_fetch(&who, broker, (int32_t)(at / most % lanes), names + at,
                                 (int32_t)few, take_fetched);
        }
    }
    free(names);
}

/* Where a first connection is made its version is not known: it is waited for, but not so long that other brokers' groups are not
 * asked for any more. */
static bool connected(struct groups_door *door, int32_t broker)
{
    int64_t until_ms = loop_now_ms(door->loop) + CONNECT_MS;
    while (left_ms(door) > 0 && loop_now_ms(door->loop) < until_ms) {
        struct conn *conn = cluster_conn(door->cluster, broker, 0);
        if (conn != NULL && conn_is_ready(conn)) {
            return true;
        }
        rest(door, OPEN_MS);
    }
    return false;
}

/* --- who coordinates ---------------------------------------------------------------------------------------------- */

static void find_coordinators(struct groups_door *door, struct groups_row **rows, size_t count)
{
    struct groups_row **lost = must(calloc(count + 1, sizeof(struct groups_row *)));
    size_t lost_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (rows[i]->coordinator < 0) {
            lost[lost_count++] = rows[i];
        }
    }
    if (lost_count > 0) {
        ask_some(door, BROKER_ANY, API_FIND_COORDINATOR, lost, lost_count);
        wait_answers(door);
    }
    free(lost);
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

/* Rows of one coordinator together; a row without one is left. */
static void by_broker(struct groups_door *door, struct groups_row **rows, size_t count,
                      void (*send)(struct groups_door *door, int32_t broker,
                                   struct groups_row **rows, size_t count))
{
    struct groups_row **theirs = must(calloc(count + 1, sizeof(struct groups_row *)));
    for (int32_t i = 0; i < cluster_brokers_count(door->cluster); i++) {
        int32_t broker = cluster_broker_at(door->cluster, i);
        size_t theirs_count = 0;
        for (size_t j = 0; j < count; j++) {
            if (rows[j]->coordinator == broker) {
                theirs[theirs_count++] = rows[j];
            }
        }
        if (theirs_count > 0 && connected(door, broker)) {
            send(door, broker, theirs, theirs_count);
        }
    }
    free(theirs);
}

struct state_question {
    struct groups_door *door;
    struct groups_row *row;
};

/* What is not told is not known to be empty. */
static void take_described(void *arg, const struct describe_group_answer *answer)
{
    struct groups_row *row = ((const struct state_question *)arg)->row;
    if (answer->error == KAFKA_NONE) {
        word(answer->state, row->state);
        row->empty = group_state_is_empty(answer->state);
    }
}

static void state_told(void *arg, const struct err *err)
{
    struct groups_door *door = ((struct state_question *)arg)->door;
    free(arg);
    answered(door, err);
}

static void describe_some(struct groups_door *door, int32_t broker, struct groups_row **rows,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct state_question *question = must(calloc(1, sizeof(*question)));
        *question = (struct state_question){.door = door, .row = rows[i]};
        const struct group_asker who = asker(door, state_told, question);
        group_question_describe(&who, broker, rows[i]->name, false, take_described);
    }
}

static void ask_states(struct groups_door *door, struct groups_list *list)
{
    struct groups_row **rows = must(calloc(list->count + 1, sizeof(struct groups_row *)));
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i].state[0] == '\0') {
            rows[count++] = &list->rows[i];
        }
    }
    if (count > 0) {
        by_broker(door, rows, count, describe_some);
        wait_answers(door);
    }
    free(rows);
}

/* `left` says whether a row has still to be asked: after an error that passes, or no answer at all. */
static void turns(struct groups_door *door, bool (*left)(const struct groups_row *row),
                  void (*send)(struct groups_door *door, int32_t broker, struct groups_row **rows,
                               size_t count))
{
    struct groups_list *list = door->list;
    struct groups_row **rows = must(calloc(list->count + 1, sizeof(struct groups_row *)));
    while (true) {
        size_t count = 0;
        for (size_t i = 0; i < list->count; i++) {
            if (left(&list->rows[i])) {
                rows[count++] = &list->rows[i];
            }
        }
        if (count == 0 || left_ms(door) == 0) {
            break;
        }
        find_coordinators(door, rows, count);
        by_broker(door, rows, count, send);
        wait_answers(door);
        bool again = false;
        for (size_t i = 0; i < count; i++) {
            if (left(rows[i])) {
                rows[i]->coordinator = -1;
                again = true;
            }
        }
        if (again) {
            rest(door, AGAIN_MS);
        }
    }
    free(rows);
}

/* What was not answered until time was up says so. */
static void say_left(struct groups_door *door, bool (*left)(const struct groups_row *row))
{
    for (size_t i = 0; i < door->list->count; i++) {
        struct groups_row *row = &door->list->rows[i];
        if (left(row) && row->err.kind == ERR_NONE) {
            err_set(&row->err, ERR_RETRY, "%s: group '%.200s': %s", door->admin->site, row->name,
                    door->trouble.kind == ERR_NONE ? "no answer in time" : door->trouble.what);
        }
    }
}

/* --- what is committed -------------------------------------------------------------------------------------------- */

static void send_fetch(struct groups_door *door, int32_t broker, struct groups_row **rows,
                       size_t count)
{
    ask_some(door, broker, API_OFFSET_FETCH, rows, count);
}

static bool fetch_left(const struct groups_row *row)
{
    return row->places == NULL && (row->err.kind == ERR_NONE || row->err.kind == ERR_RETRY);
}

bool groups_fetch(struct groups_door *door, struct groups_list *list, struct err *err)
{
    if (!begin(door, list, err)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        groups_places_free(&list->rows[i]);
        err_clear(&list->rows[i].err);
    }
    turns(door, fetch_left, send_fetch);
    say_left(door, fetch_left);
    return true;
}

/* --- commits ------------------------------------------------------------------------------------------------------ */

#define TO_SEND INT16_MIN /* not answered yet */

static void take_committed(void *arg, const struct offset_commit_row *one)
{
    const struct some *some = arg;
    struct groups_row *row = some->rows[0];
    char topic[250];
    bool fits = one->topic.len > 0 && one->topic.len < (int32_t)sizeof(topic);
    snprintf(topic, sizeof(topic), "%.*s", fits ? (int)one->topic.len : 0,
             fits ? one->topic.data : "");
    struct groups_place *place = groups_row_place(row, topic, one->partition);
    if (place == NULL || place->error != TO_SEND) {
        return;
    }
    if (group_error_passes(one->error)) {
        row_failed(some->door, row, "commit for", true, one->error);
    } else {
        place->error = one->error;
        err_clear(&row->err);
    }
}

static void send_row(struct groups_door *door, int32_t broker, int32_t lane, struct groups_row *row)
{
    struct offset_commit_part *parts = must(calloc(row->places_count + 1, sizeof(*parts)));
    size_t bytes = 0;
    int32_t count = 0;
    for (size_t i = 0; i < row->places_count; i++) {
        const struct groups_place *place = &row->places[i];
        if (place->error == TO_SEND) {
            parts[count++] = (struct offset_commit_part){.topic = place->topic,
                                                         .partition = place->partition,
                                                         .offset = place->offset,
                                                         .metadata = place->metadata};
            bytes += place->metadata == NULL ? 0 : strlen(place->metadata);
        }
        bool full = count >= GROUPS_COMMIT_PARTS || bytes >= GROUPS_COMMIT_BYTES;
        bool last = i + 1 == row->places_count;
        if (count > 0 && (full || last)) {
            const struct group_asker who = asker(door, some_done, some_new(door, &row, 1));
            group_question_commit(&who, broker, lane, row->name, parts, count, take_committed);
            bytes = 0;
            count = 0;
        }
    }
    free(parts);
}

static void send_commit(struct groups_door *door, int32_t broker, struct groups_row **rows,
                        size_t count)
{
    size_t lanes = lanes_for(count);
    for (size_t i = 0; i < count; i++) {
        send_row(door, broker, (int32_t)(i % lanes), rows[i]);
    }
}

static bool commit_left(const struct groups_row *row)
{
    for (size_t i = 0; i < row->places_count; i++) {
        if (row->places[i].error == TO_SEND) {
            return true;
        }
    }
    return false;
}

bool groups_commit(struct groups_door *door, struct groups_list *list, struct err *err)
{
    if (!begin(door, list, err)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct groups_row *row = &list->rows[i];
        err_clear(&row->err);
        groups_places_sort(row);
        for (size_t j = 0; j < row->places_count; j++) {
            row->places[j].error = row->places[j].offset >= 0 ? TO_SEND : KAFKA_NONE;
        }
    }
    turns(door, commit_left, send_commit);
    say_left(door, commit_left);
    for (size_t i = 0; i < list->count; i++) {
        struct groups_row *row = &list->rows[i];
        for (size_t j = 0; j < row->places_count; j++) {
            row->places[j].error = row->places[j].error == TO_SEND ? NO_WORD : row->places[j].error;
        }
    }
    return true;
}
