#include "cli/confirm.h"

#include <string.h>
#include <unistd.h>

#include "cli/render.h"

/* Longer than any name of the configuration (64 bytes): a longer line is no name. */
#define TYPED_BYTES 256

bool confirm_with(const struct command_line *line, const char *question, const char *name,
                  bool terminal, FILE *in, FILE *out, struct err *err)
{
    char typed[TYPED_BYTES] = "";
    if (command_has(line, "yes")) {
        return true;
    }
    if (!terminal) {
        err_set_code(err, ERR_USAGE, EXIT_UNCONFIRMED, "not confirmed: no terminal, and no --yes");
        return err_hint(err, "run it on a terminal, or add --yes");
    }
    render_wrapped(out, question, RENDER_WIDTH, 0, 0);
    fprintf(out, "Type %s to go on: ", name);
    fflush(out);
    if (fgets(typed, sizeof(typed), in) == NULL) {
        typed[0] = '\0';
        fputc('\n', out); /* the cursor stands behind the question */
    }
    typed[strcspn(typed, "\r\n")] = '\0';
    return strcmp(typed, name) == 0 ||
           err_set_code(err, ERR_USAGE, EXIT_UNCONFIRMED,
                        "not confirmed: '%s' was not typed, nothing was changed", name);
}

bool confirm(const struct command_line *line, const char *question, const char *name,
             struct err *err)
{
    bool terminal = isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0;
    return confirm_with(line, question, name, terminal, stdin, stderr, err);
}
