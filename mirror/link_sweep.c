/* What Redis holds of topics that neither side has any more: checkpoint and map would stay for good. The keeper's work, and slow: what
 * is not mirrored and stands there unchanged from one look to the next is asked for by name at both clusters, and goes when both say
 * that there is no such topic. A topic that one side still has keeps its map, as does all that an operation or another role may need:
 * then nobody is the keeper.
 */
#include "base/log.h"
#include "mirror/link_inside.h"
#include "offsets/offset_forget.h"

#define SWEEP_MS 600000 /* two looks, so that every worker has long let go of it */

static bool may(const struct link *link)
{
    return link->control_ours && link->has_list && link->store != NULL && link_may_send(link);
}

/* --- what stands there -------------------------------------------------------------------------------------------- */

static bool unlisted(void *arg, const char *topic)
{
    const struct link *link = arg;
    return json_object_get(link->sweep.mirrored, topic) == NULL;
}

/* Some of them, others each time: those that the target still has would be in the way of the rest. */
static void ask(struct link *link, const json_t *still)
{
    size_t count = json_array_size(still);
    json_t *names = json_array();
    for (size_t i = 0; i < count && i < KEEPER_ASKED_MOST; i++) {
        json_array_append(names, json_array_get(still, (link->sweep.turn + i) % count));
    }
    link->sweep.turn += KEEPER_ASKED_MOST;
    if (count > 0 && link->keeper != NULL) {
        keeper_ask(link->keeper, names);
    } else {
        json_decref(names);
    }
}

static void listed(void *arg, json_t *take_rows)
{
    struct link *link = arg;
    const char *topic;
    json_t *rows;
    json_t *still = json_array();
    json_object_foreach (take_rows, topic, rows) {
        if (json_equal(rows, json_object_get(link->sweep.rows, topic))) {
            json_array_append_new(still, json_string(topic));
        }
    }
    json_decref(link->sweep.rows);
    link->sweep.rows = take_rows;
    json_decref(link->sweep.mirrored);
    link->sweep.mirrored = NULL;
    ask(link, still);
    json_decref(still);
}

static void look(void *arg)
{
    struct link *link = arg;
    loop_timer_set(link->sweep.timer, SWEEP_MS);
    if (!may(link)) {
        json_decref(link->sweep.rows); /* another may have been the keeper in between */
        link->sweep.rows = NULL;
        return;
    }
    if (link->sweep.mirrored != NULL) {
        return; /* Redis has not answered yet */
    }
    link->sweep.mirrored = json_object();
    for (size_t i = 0; i < link->topics_count; i++) {
        json_object_set_new(link->sweep.mirrored, link->topics[i], json_true());
    }
    offset_forget_list(link->store, unlisted, listed, link);
}

/* --- what goes ---------------------------------------------------------------------------------------------------- */

static void forgotten(void *arg, bool gone)
{
    (void)arg; /* what is left is found again */
    (void)gone;
}

void link_sweep_gone(void *arg, const json_t *topics)
{
    struct link *link = arg;
    const char *topic;
    const char *field;
    json_t *word;
    json_t *text;
    if (!may(link)) {
        return;
    }
    json_object_foreach ((json_t *)(uintptr_t)topics, topic, word) {
        json_t *rows = json_object_get(link->sweep.rows, topic);
        json_object_foreach (rows, field, text) {
            offset_forget(link->store, field, json_string_value(text), forgotten, link);
        }
        if (rows != NULL) {
            log_info("map.forgotten",
                     "link=%s>%s topic=%s partitions=%zu why=\"neither side has the topic\"",
                     link->from->name, link->to->name, topic, json_object_size(rows));
        }
        json_object_del(link->sweep.rows, topic);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void link_sweep_start(struct link *link)
{
    link->sweep.timer = loop_timer_new(link->loop, look, link);
    loop_timer_set(link->sweep.timer, SWEEP_MS);
}

void link_sweep_done(struct link *link)
{
    loop_timer_free(link->sweep.timer);
    json_decref(link->sweep.rows);
    json_decref(link->sweep.mirrored);
}
