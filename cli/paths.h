/* The path that carries a link: what both clusters can do, tried now, and what was chosen for "path": "auto" (record `path` of the
 * target's control topic). For `ferry check`, `ferry enable` and `ferry status`.
 */
#ifndef FERRY_CLI_PATHS_H
#define FERRY_CLI_PATHS_H

#include "cli/context.h"
#include "kafka/path_probe.h"

/* Ask both clusters as the mirror. @pre both doors of the context open */
void paths_probe(struct context *context, struct path_probe *out);

/* What to do about evidence that is missing; `out` is 200 bytes. */
const char *paths_missing_hint(const struct context *context, const struct path_probe *probe,
                               const char *evidence, char out[200]);

struct paths_choice {
    enum config_path path; /* PATH_AUTO = none */
    char why[PATH_PROBE_TEXT_BYTES];
};
/* Probe and choose. false with ERR_REFUSED or ERR_RETRY: what decides is not known, by name. */
MUST_CHECK
bool paths_choose(struct context *context, struct paths_choice *out, struct err *err);
/* The record's value; heap. */
char *paths_record(const struct paths_choice *choice);
/* What a record says of the reason, "" when nothing. */
void paths_why(const char *path_json, char out[PATH_PROBE_TEXT_BYTES]);

#endif
