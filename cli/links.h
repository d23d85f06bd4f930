/* Commands about links: one that is named, or each of the service's from its home. */
#ifndef FERRY_CLI_LINKS_H
#define FERRY_CLI_LINKS_H

#include "cli/context.h"

/* One link; appends what it says to `links` (-o json). */
typedef bool links_fn(struct context *context, json_t *links, struct err *err);
/* Open a context and run for the link that --link or --to names, else for each from home. Prints the JSON.
 * @return the exit code: 4 when a link failed after something was appended */
int links_command(const struct command_line *line, links_fn *run);

#endif
