#include <locale.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "cli/commands.h"

int main(int argc, char **argv)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none); /* a core would hold passwords */
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "");
    log_set_level(LOG_ERROR); /* what the command has to say it says itself */
    return command_main(&ferry_commands, argc, argv);
}
