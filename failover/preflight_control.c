/* What the target's control topic says, and what follows from the configuration and from what the caller measured. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/heap.h"
#include "failover/preflight_inside.h"

#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */

/* --- asking ---------------------------------------------------------------------------------------------------------- */

struct preflight_control *preflight_control_of(const struct control_state *state)
{
    struct preflight_control *out = must(calloc(1, sizeof(*out)));
    out->known = true;
    out->role_epoch = state->role_epoch;
    out->operation_open = state->operation_open;
    snprintf(out->primary, sizeof(out->primary), "%s", state->primary);
    if (state->has_topics) {
        out->topics = must(calloc(state->topics_count + 1, sizeof(*out->topics)));
    }
    for (size_t i = 0; state->has_topics && i < state->topics_count; i++) {
        struct preflight_expected *topic = &out->topics[out->topics_count++];
        snprintf(topic->topic, sizeof(topic->topic), "%s", state->topics[i].name);
        topic->partitions = state->topics[i].partitions_count;
    }
    if (!dns_recorded_parse(state->dns_json, &out->dns, &out->dns_err)) {
        out->dns = (struct dns_recorded){0};
    }
    return out;
}

void preflight_ask_control(struct preflight *preflight, size_t index)
{
    struct preflight_control *out = NULL;
    struct err err = {0};
    (void)index;
    struct control_state *state = control_read(
        &preflight->in.to->kafka, preflight->in.service->name, preflight_left_ms(preflight), &err);
    if (state != NULL) {
        out = preflight_control_of(state);
        control_state_free(state);
    } else {
        out = must(calloc(1, sizeof(*out)));
        out->no_topic = err.kind == ERR_REFUSED && err.code == CODE_NO_TOPIC;
        out->known = out->no_topic;
        out->err = err;
    }
    preflight_publish(preflight, &preflight->control, out, preflight_control_free);
}

void preflight_control_free(void *arg)
{
    struct preflight_control *control = arg;
    if (control != NULL) {
        free(control->topics);
        free(control);
    }
}

/* --- the role --------------------------------------------------------------------------------------------------------- */

/* `ferry check` comes before `ferry enable`: what is not there yet is no refusal then. */
static enum preflight_level when_acting(const struct preflight *preflight)
{
    return preflight->in.acting ? PREFLIGHT_REFUSED : PREFLIGHT_WARNING;
}

static void tell_role(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_control *control = preflight->control;
    const struct preflight_inputs *in = &preflight->in;
    if (control->operation_open && in->operation_id == NULL) {
        preflight_tell(out, PREFLIGHT_CONTROL, when_acting(preflight),
                       "an operation on %s is open: nothing else may be begun", in->service->name);
        preflight_hint(out, "ferry status %s says where it stands and how it goes on",
                       in->service->name);
    } else if (control->role_epoch == 0) {
        preflight_tell(out, PREFLIGHT_CONTROL, when_acting(preflight),
                       "%s has no role: it is not mirrored to %s", in->service->name, in->to->name);
        preflight_hint(out, "ferry enable %s", in->service->name);
    } else if (strcmp(control->primary, in->to->name) == 0 && in->operation_id == NULL) {
        preflight_tell(out, PREFLIGHT_CONTROL, when_acting(preflight),
                       "%s is primary already, by role epoch %lld", in->to->name,
                       (long long)control->role_epoch);
        preflight_hint(out, "ferry status %s", in->service->name);
    } else {
        preflight_tell(out, PREFLIGHT_CONTROL, PREFLIGHT_OK,
                       "the control topic can be read: %s is primary, role epoch %lld",
                       control->primary, (long long)control->role_epoch);
    }
}

void preflight_tell_control(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_control *control = preflight->control;
    if (control == NULL) {
        preflight_late(preflight, out, PREFLIGHT_CONTROL, "the control topic");
    } else if (!control->known && control->err.kind == ERR_RETRY) {
        preflight_unknown(out, PREFLIGHT_CONTROL, "the control topic", &control->err);
    } else if (!control->known) {
        preflight_tell(out, PREFLIGHT_CONTROL, PREFLIGHT_REFUSED, "the control topic: %s",
                       control->err.what);
        preflight_hint(out, "%s", control->err.hint);
    } else {
        tell_role(preflight, out);
    }
}

/* --- place ------------------------------------------------------------------------------------------------------------ */

void preflight_tell_place(const struct preflight *preflight, struct preflight_list *out)
{
    const struct config_site *from = preflight->in.from;
    const struct config_site *to = preflight->in.to;
    if (from->region == NULL || to->region == NULL) {
        preflight_tell(out, PREFLIGHT_PLACE, PREFLIGHT_UNKNOWN,
                       "whether both sites may be lost together: %.100s has no region",
                       from->region == NULL ? from->name : to->name);
        preflight_hint(out, "sites.%.100s.region, and zone",
                       from->region == NULL ? from->name : to->name);
    } else if (strcasecmp(from->region, to->region) != 0) {
        preflight_tell(out, PREFLIGHT_PLACE, PREFLIGHT_OK, "the sites are in two regions");
    } else if (from->zone != NULL && to->zone != NULL && strcasecmp(from->zone, to->zone) == 0) {
        preflight_tell(out, PREFLIGHT_PLACE, PREFLIGHT_WARNING,
                       "both sites are in region %.100s and zone %.100s: they may be lost together",
                       from->region, from->zone);
    } else {
        preflight_tell(out, PREFLIGHT_PLACE, PREFLIGHT_WARNING,
                       "both sites are in region %.100s: they may be lost together", from->region);
    }
}

/* --- cost ------------------------------------------------------------------------------------------------------------- */

/* "12 records (0.4 s)", "unknown records". */
static void loss_text(const struct preflight_cost *cost, char *out, size_t room)
{
    if (cost->lag_records < 0) {
        snprintf(out, room, "an unknown number of records");
    } else if (cost->lag_s < 0) {
        snprintf(out, room, "at most %lld records", (long long)cost->lag_records);
    } else {
        snprintf(out, room, "at most %lld records (%.1f s)", (long long)cost->lag_records,
                 cost->lag_s);
    }
}

static void reread_text(const struct preflight_cost *cost, char *out, size_t room)
{
    if (cost->groups < 0 || cost->reread_records < 0) {
        snprintf(out, room, "how much groups would read again is unknown");
    } else {
        snprintf(out, room, "%lld groups would read at most %lld records again",
                 (long long)cost->groups, (long long)cost->reread_records);
    }
}

void preflight_tell_cost(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_cost *cost = preflight->in.cost;
    char loss[160];
    char reread[160];
    if (cost == NULL) {
        preflight_tell(out, PREFLIGHT_COST, PREFLIGHT_UNKNOWN,
                       "what would be lost and read again: it was not measured");
        preflight_hint(out, "ferry status %s", preflight->in.service->name);
        return;
    }
    loss_text(cost, loss, sizeof(loss));
    reread_text(cost, reread, sizeof(reread));
    bool known = cost->lag_records >= 0 && cost->groups >= 0 && cost->reread_records >= 0;
    preflight_tell(out, PREFLIGHT_COST, known ? PREFLIGHT_OK : PREFLIGHT_UNKNOWN,
                   "if it were done now: %s would be lost, %s", loss, reread);
}
