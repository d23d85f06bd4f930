#include "cli/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool confirm(const struct command_line *line, const char *question, const char *name,
             struct err *err)
{
    char typed[300] = "";
    if (command_has(line, "yes")) {
        return true;
    }
    if (!isatty(STDIN_FILENO)) {
        err_set_code(err, ERR_USAGE, EXIT_UNCONFIRMED, "not confirmed: no terminal, and no --yes");
        return err_hint(err, "run it on a terminal, or add --yes");
    }
    fprintf(stderr, "%s\nType the service's name (%s) to go on: ", question, name);
    if (fgets(typed, sizeof(typed), stdin) == NULL) {
        typed[0] = '\0';
    }
    typed[strcspn(typed, "\r\n")] = '\0';
    if (strcmp(typed, name) != 0) {
        return err_set_code(err, ERR_USAGE, EXIT_UNCONFIRMED, "not confirmed: nothing was changed");
    }
    return true;
}
