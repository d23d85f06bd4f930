/* Which path can carry the service, tried on a scratch topic at the target (kafka/path_probe.h): the one part of `ferry check` that
 * writes. What could not be tried for want of an ACL is a warning that names it: mirroring needs none of them.
 */
#include <string.h>

#include "cli/check.h"
#include "kafka/acl.h"
#include "kafka/path_probe.h"

#define CHECK_NAME "path"
#define ROOM_BYTES (PATH_PROBE_TEXT_BYTES + 400)

static const char *acl_hint(const struct check *check, char out[200])
{
    snprintf(out, 200, "ferry check %.80s --print-acls prints the lines",
             check->context->service->name);
    return out;
}

/* What is missing for a word, or that nobody answered. */
static void tell_unknown(struct check *check, const struct path_probe *probe, const char *evidence)
{
    char what[ROOM_BYTES];
    char next[200];
    bool lacks = strstr(evidence, " lacks ") != NULL;
    snprintf(what, sizeof(what), "%.100s: path %s could not be proven: %s",
             check->context->to->name, config_path_name(check->context->service->path), evidence);
    bool denied = lacks || acl_refusal(probe->made.code);
    check_found_as(check, CHECK_NAME, CHECK_WARNING, what,
                   denied ? acl_hint(check, next) : "the same again, when both clusters answer");
}

static void tell_taken(struct check *check, const struct path_probe *probe, enum config_path found,
                       const char *evidence)
{
    enum config_path wanted = check->context->service->path;
    char what[ROOM_BYTES];
    if (wanted == PATH_BATCHES && found != PATH_BATCHES) {
        snprintf(what, sizeof(what), "%.100s: path batches cannot work: %s",
                 check->context->to->name, evidence);
        check_found_as(check, CHECK_NAME, CHECK_REFUSED, what,
                       "\"path\": \"records\" in the service, or \"auto\" (docs/records.md)");
        return;
    }
    snprintf(what, sizeof(what), "%.100s: path %s%s%s: %s", check->context->to->name,
             config_path_name(wanted), wanted == found ? "" : ", ",
             wanted == found ? "" : "batches would do as well", evidence);
    check_found_as(check, CHECK_NAME, CHECK_OK, what, "");
    if (found == PATH_RECORDS && probe->facts[PROBE_IDEMPOTENT].word == PROBE_NO) {
        check_found_as(check, CHECK_NAME, CHECK_WARNING, probe->facts[PROBE_IDEMPOTENT].why,
                       "docs/records.md#limits: an answer that is lost repeats records");
    }
}

static void tell_left(struct check *check, const struct path_probe *probe)
{
    char what[ROOM_BYTES];
    char next[200];
    if (probe->deleted.kind != ERR_NONE) {
        snprintf(what, sizeof(what), "the scratch topic stays: %.500s", probe->deleted.what);
        check_found_as(check, CHECK_NAME, CHECK_WARNING, what,
                       acl_refusal(probe->deleted.code) ? acl_hint(check, next)
                                                        : "the next `ferry check` deletes it");
    }
}

void check_path(struct check *check)
{
    struct context *context = check->context;
    struct path_probe probe;
    enum config_path found;
    char evidence[PATH_PROBE_TEXT_BYTES];
    const struct path_probe_inputs inputs = {.service = context->service->name,
                                             .source_name = context->from->name,
                                             .target_name = context->to->name,
                                             .source = &context->from->kafka,
                                             .target = &context->to->kafka,
                                             .admin = context_target(context, NULL),
                                             .timeout_ms = context->timeout_ms};
    path_probe_run(&inputs, &probe);
    bool known = path_probe_result(&probe, &found);
    path_probe_text(&probe, evidence);
    if (known) {
        tell_taken(check, &probe, found, evidence);
    } else {
        tell_unknown(check, &probe, evidence);
    }
    tell_left(check, &probe);
}
