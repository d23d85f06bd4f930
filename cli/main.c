#include <locale.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "cli/commands.h"

static const struct command_option link_options[] = {
    {"to", "SITE", "which of the service's other sites; default the first"},
    {NULL, NULL,   NULL                                                   },
};

static const struct command_option enable_options[] = {
    {"to",     "SITE", "only this site; default all others of the service"},
    {"adopt",  NULL,   "take over target topics that hold records already"},
    {"yes",    NULL,   "do not ask"                                       },
    {"reason", "TEXT", "recorded with the role epoch"                     },
    {NULL,     NULL,   NULL                                               },
};

static const struct command_option status_options[] = {
    {"to",    "SITE", "which of the service's other sites; default the first"},
    {"watch", NULL,   "again every two seconds until interrupted"            },
    {"check", NULL,   "one line and 0, 1, 2 or 3 as a monitoring plugin"     },
    {NULL,    NULL,   NULL                                                   },
};

static const struct command_option translate_options[] = {
    {"to",          "SITE", "which of the service's other sites; default the first"},
    {"from-target", NULL,   "OFFSET is the target's; find the source's"            },
    {NULL,          NULL,   NULL                                                   },
};

static const struct command_option map_options[] = {
    {"to",    "SITE", "which of the service's other sites; default the first"},
    {"limit", "RUNS", "newest runs only; default 1000, 0 = all"              },
    {NULL,    NULL,   NULL                                                   },
};

static const struct command_option verify_options[] = {
    {"to",     "SITE",              "which of the service's other sites; default the first"            },
    {"topic",  "TOPIC[:PARTITION]", "only this one"                                                    },
    {"sample", "RECORDS",           "so many records at random places of each partition instead of all"},
    {"since",  "DURATION",          "records of the last so long (90s, 15m, 2h)"                       },
    {"limit",  "RECORDS",           "the newest so many records of each partition"                     },
    {NULL,     NULL,                NULL                                                               },
};

static const struct command_option retry_options[] = {
    {"to",    "SITE",  "which of the service's other sites; default the first"},
    {"all",   NULL,    "every faulted partition"                              },
    {"depth", "BYTES", "read back so much at most"                            },
    {NULL,    NULL,    NULL                                                   },
};

static const struct command offsets_commands[] = {
    {.name = "translate",
     .args = "SERVICE TOPIC PARTITION OFFSET",
     .args_least = 4,
     .args_most = 4,
     .summary = "where a record of one side stands on the other",
     .text = "Verdicts: exact (the very same record), rounded (OFFSET lies in a hole: the next "
             "mirrored record),\n"
             "ahead (past what is mirrored), unmapped (the stretch could not be kept).\n", .options = translate_options,
     .run = cmd_offsets_translate},
    {.name = "map",
     .args = "SERVICE [TOPIC[:PARTITION]]",
     .args_least = 1,
     .args_most = 2,
     .summary = "the runs of the map: stretches where target offset = source offset + constant",
     .options = map_options,
     .run = cmd_offsets_map},
    {0},
};

static const struct command fault_commands[] = {
    {.name = "list",
     .args = "[SERVICE]",
     .args_most = 1,
     .summary = "partitions that stopped, with their evidence",
     .options = link_options,
     .run = cmd_fault_list},
    {.name = "retry",
     .args = "SERVICE [TOPIC:PARTITION]",
     .args_least = 1,
     .args_most = 2,
     .summary = "look again: the resume procedure from its beginning",
     .text =
         "A retry never skips, repeats or rewrites anything. Every kind of fault: docs/faults.md\n", .options = retry_options,
     .run = cmd_fault_retry},
    {0},
};

static const struct command config_commands[] = {
    {.name = "check",
     .args = "",
     .summary = "is the configuration right? FILE:LINE:COLUMN when not",
     .run = cmd_config_check},
    {.name = "show",
     .args = "",
     .summary = "what is in force, defaults included, secrets by reference",
     .run = cmd_config_show},
    {.name = "reference",
     .args = "",
     .summary = "every key, as a table",
     .run = cmd_config_reference},
    {0},
};

static const struct command commands[] = {
    {.name = "enable",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "write the first role epoch: from then on the service is mirrored",
     .text = "Refused while a topic of the target holds a record, unless --adopt is given.\n",
     .options = enable_options,
     .run = cmd_enable},
    {.name = "status",
     .args = "[SERVICE]",
     .args_most = 1,
     .summary = "what a failover would cost now; links, lag, faults",
     .options = status_options,
     .run = cmd_status},
    {.name = "offsets",
     .args = "",
     .summary = "the map of source and target offsets",
     .children = offsets_commands},
    {.name = "verify",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "read both sides and compare record by record at the mapped offsets",
     .text = "Exit 0: everything that was read is the same. 1: something differs. 4: a part could "
             "not be compared.\n", .options = verify_options,
     .run = cmd_verify},
    {.name = "fault",
     .args = "",
     .summary = "partitions that stopped because going on would be a guess",
     .children = fault_commands},
    {.name = "config", .args = "", .summary = "the configuration", .children = config_commands},
    {.name = "version", .args = "", .summary = "of ferry and its libraries", .run = cmd_version},
    {.name = "man", .args = "", .summary = "the manual page, as roff", .run = cmd_man},
    {0},
};

const struct command ferry_commands = {
    .name = "ferry",
    .args = "",
    .summary = "mirrors Kafka topics to other regions and knows where every offset went",
    .children = commands};

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
