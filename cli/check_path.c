/* Which path can carry the service, tried on a scratch topic at the target (kafka/path_probe.h): the one part of `ferry check` that
 * writes. What could not be tried for want of an ACL is a warning that names it: mirroring needs none of them.
 */
#include <string.h>

#include "cli/check.h"
#include "cli/paths.h"
#include "kafka/acl.h"
#include "mirror/streams.h"

#define CHECK_NAME "path"
#define ROOM_BYTES (PATH_PROBE_TEXT_BYTES + 500)

static void tell_unknown(struct check *check, const struct path_probe *probe, const char *evidence)
{
    char what[ROOM_BYTES];
    char next[200];
    snprintf(what, sizeof(what), "%.100s: path %s could not be proven: %s",
             check->context->to->name, config_path_name(check->context->service->path), evidence);
    check_found_as(check, CHECK_NAME, CHECK_WARNING, what,
                   paths_missing_hint(check->context, probe, evidence, next));
}

/* What carries the service now, where that is the control topic's to say. PATH_AUTO: nothing yet, or not known. */
static enum config_path chosen_path(struct check *check)
{
    struct context *context = check->context;
    if (context->service->path != PATH_AUTO) {
        return PATH_AUTO;
    }
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, NULL);
    enum config_path path = state != NULL ? streams_path(state, context->service) : PATH_AUTO;
    control_state_free(state);
    return path;
}

static void tell_taken(struct check *check, enum config_path found, const char *evidence)
{
    enum config_path wanted = check->context->service->path;
    enum config_path chosen = chosen_path(check);
    const char *site = check->context->to->name;
    char what[ROOM_BYTES];
    if (chosen != PATH_AUTO) {
        wanted = chosen; /* a running service keeps its path, whatever is found today */
    }
    if (wanted == PATH_BATCHES && found == PATH_RECORDS) {
        snprintf(what, sizeof(what), "%.100s: path batches%s cannot work: %s", site,
                 chosen != PATH_AUTO ? ", chosen earlier," : "", evidence);
        check_found_as(
            check, CHECK_NAME, CHECK_REFUSED, what,
            chosen != PATH_AUTO
                ? "\"path\": \"records\" in the service, at all workers (docs/records.md)"
                : "\"path\": \"records\" in the service, or \"auto\" (docs/records.md)");
        return;
    }
    snprintf(what, sizeof(what), "%.100s: path %s%s%s: %s", site,
             wanted == PATH_AUTO ? "auto will be " : "",
             config_path_name(wanted == PATH_AUTO ? found : wanted),
             wanted == PATH_RECORDS && found == PATH_BATCHES ? ", batches would do as well" : "",
             evidence);
    check_found_as(check, CHECK_NAME, CHECK_OK, what, "");
}

static void tell_idempotence(struct check *check, const struct path_probe *probe)
{
    const struct probe_fact *fact = &probe->facts[PROBE_IDEMPOTENT];
    if (fact->word == PROBE_NO) {
        check_found_as(check, CHECK_NAME, CHECK_WARNING, fact->why,
                       "over path records an answer that is lost repeats records: "
                       "docs/records.md#limits");
    }
}

static void tell_left(struct check *check, const struct path_probe *probe)
{
    char what[ROOM_BYTES];
    char next[200];
    const struct err *err = &probe->deleted;
    if (err->kind != ERR_NONE) {
        snprintf(what, sizeof(what), "%.500s: the scratch topic stays until a check may delete it",
                 err->what);
        check_found_as(check, CHECK_NAME, CHECK_WARNING, what,
                       paths_missing_hint(check->context, probe, err->what, next));
    }
}

void check_path(struct check *check)
{
    struct path_probe probe;
    enum config_path found;
    char evidence[PATH_PROBE_TEXT_BYTES];
    paths_probe(check->context, &probe);
    bool known = path_probe_result(&probe, &found);
    path_probe_text(&probe, evidence);
    if (known) {
        tell_taken(check, found, evidence);
    } else {
        tell_unknown(check, &probe, evidence);
    }
    tell_idempotence(check, &probe);
    tell_left(check, &probe);
}
