#include <locale.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/aside.h"
#include "base/log.h"
#include "cli/commands.h"

int main(int argc, char **argv)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none); /* a core would hold passwords */
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); /* handles of librdkafka may outlive main */
    setlocale(LC_CTYPE, "");
    log_set_level(LOG_ERROR); /* what the command has to say it says itself */
    int code = command_main(&ferry_commands, argc, argv);
    if (aside_busy()) {
        fflush(NULL);
        _exit(code);
    }
    return code;
}
