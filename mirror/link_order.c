/* An operator's word about a partition, as it stands in Redis: it is carried out by whoever has the partition. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "mirror/link_inside.h"

static void take_retry(struct link_part *part, const json_t *order)
{
    int64_t depth = json_integer_value(json_object_get(order, "depth"));
    int64_t least = part->link->config->limits.resume_read_bytes;
    part->resume_depth = depth > least ? depth : least;
    if (part->fault == FAULT_FOREIGN_WRITE) { /* these; what comes behind them is another fault */
        part->foreign_seen_end = part->fault_target_to;
    }
    if (part->fault == FAULT_NONE &&
        part->state != PART_STALLED) { /* there is none, whatever Redis says */
        link_report_fault(part);
    }
    part_event(part, PART_EV_RETRY, "an operator asked for it");
}

/* The order is about the fault that stands, not about one that was there when somebody looked. */
static bool is_about(const struct link_part *part, const json_t *order)
{
    const char *kind = json_string_value(json_object_get(order, "kind"));
    return part->state == PART_FAULTED && kind != NULL &&
           strcmp(kind, resume_fault_name(part->fault)) == 0;
}

static bool take_accept(struct link_part *part, const json_t *order)
{
    int64_t from = json_integer_value(json_object_get(order, "source_from"));
    int64_t to = json_integer_value(json_object_get(order, "source_to"));
    bool can = part->fault == FAULT_GAP || part->fault == FAULT_BATCH_REFUSED;
    if (!can || !is_about(part, order) || from != part->fault_source_from ||
        to != part->fault_source_to || from >= to) {
        return false;
    }
    part_record_event(part, "fault.accepted", json_deep_copy(order));
    part->accept_from = from;
    part->accept_to = to;
    part_event(part, PART_EV_RETRY, "an operator leaves out what stopped it");
    return true;
}

static bool take_resync(struct link_part *part, const json_t *order)
{
    const json_t *from = json_object_get(order, "from");
    if (!is_about(part, order) || part->fault == FAULT_GARBAGE) {
        return false;
    }
    part_record_event(part, "fault.resync", json_deep_copy(order));
    part->resync = true;
    part->resync_from = json_is_integer(from) ? json_integer_value(from) : -1;
    part_event(part, PART_EV_RETRY, "an operator has it mirrored anew");
    return true;
}

/* The order stands in Redis until the partition has its position: when it is taken from us before, its next owner
 * carries it out. */
static bool decision(struct link_part *part, const char *what, const json_t *order)
{
    const char *id = json_string_value(json_object_get(order, "id"));
    id = id == NULL ? "-" : id;
    if (strncmp(part->order_id, id, sizeof(part->order_id) - 1) == 0) {
        part->order_id[0] = '\0'; /* carried out, or faulted again */
        return true;
    }
    if (strcmp(what, "accept") == 0 ? take_accept(part, order) : take_resync(part, order)) {
        snprintf(part->order_id, sizeof(part->order_id), "%s", id);
        return false;
    }
    log_warn("order.outdated",
             "topic=%s partition=%d order=%s doing=\"nothing: another fault stands there, or "
             "none\"",
             part->topic, part->partition, what);
    return true;
}

/* What an order is about shows when it was looked for. */
static bool knows_its_fault(const struct link_part *part)
{
    return part->state == PART_FAULTED || part->state == PART_PLACED ||
           part->state == PART_MIRRORING;
}

bool part_order(struct link_part *part, const json_t *order)
{
    const char *what = json_string_value(json_object_get(order, "order"));
    bool retries = what != NULL && strcmp(what, "retry") == 0;
    if (!retries &&
        (what == NULL || (strcmp(what, "accept") != 0 && strcmp(what, "resync") != 0))) {
        log_warn("order.unknown",
                 "topic=%s partition=%d order=%s doing=\"deleted; is ferry newer than ferryd?\"",
                 part->topic, part->partition, log_quote(what == NULL ? "" : what).text);
        return true;
    }
    if (!knows_its_fault(part) && !(retries && part->state == PART_STALLED)) {
        return false;
    }
    if (!retries) {
        return decision(part, what, order);
    }
    take_retry(part, order);
    return true;
}
