#include "cli/paths.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/render.h"
#include "kafka/acl.h"

void paths_probe(struct context *context, struct path_probe *out)
{
    const struct path_probe_inputs inputs = {.service = context->service->name,
                                             .source_name = context->from->name,
                                             .target_name = context->to->name,
                                             .source = &context->from->kafka,
                                             .target = &context->to->kafka,
                                             .admin = context_target(context, NULL),
                                             .timeout_ms = context->timeout_ms};
    path_probe_run(&inputs, out);
}

static bool denied(const struct path_probe *probe, const char *evidence)
{
    return acl_refusal(probe->made.code) || strstr(evidence, " lacks ") != NULL;
}

const char *paths_missing_hint(const struct context *context, const struct path_probe *probe,
                               const char *evidence, char out[200])
{
    snprintf(out, 200, "ferry check %.80s%s", context->service->name,
             denied(probe, evidence) ? " --print-acls prints the lines" : "");
    return out;
}

bool paths_choose(struct context *context, struct paths_choice *out, struct err *err)
{
    struct path_probe probe;
    char hint[200];
    paths_probe(context, &probe);
    bool known = path_probe_result(&probe, &out->path);
    path_probe_text(&probe, out->why);
    if (known) {
        return true;
    }
    err_set(err, denied(&probe, out->why) ? ERR_REFUSED : ERR_RETRY,
            "path auto of %s: no path is proven: %.700s", context->service->name, out->why);
    return err_hint(err, "%s; or say \"path\" in the service",
                    paths_missing_hint(context, &probe, out->why, hint));
}

char *paths_record(const struct paths_choice *choice)
{
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    json_t *record = json_pack("{sssososs}", "path", config_path_name(choice->path), "why",
                               render_string(choice->why), "by", render_string(context_who(who)),
                               "time", clock_rfc3339(clock_wall_ms(clock_system()), when));
    char *text = json_text(record);
    json_decref(record);
    return text;
}

void paths_why(const char *path_json, char out[PATH_PROBE_TEXT_BYTES])
{
    json_t *record =
        path_json == NULL ? NULL : json_parse(path_json, strlen(path_json), "path", NULL);
    const char *why = json_string_value(json_object_get(record, "why"));
    snprintf(out, PATH_PROBE_TEXT_BYTES, "%s", why == NULL ? "" : why);
    json_decref(record);
}
