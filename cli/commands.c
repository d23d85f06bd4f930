#include "cli/commands.h"

#include <string.h>

#include "failover/runbook.h"

#define TO_OPTION     \
    {.name = "to",    \
     .value = "SITE", \
     .help = "the link from home to this site; default the first of others"}
#define LINK_OPTION      \
    {.name = "link",     \
     .value = "FROM:TO", \
     .help = "the link between these sites; default from home to the first of others"}
#define NO_OPTION {.name = NULL}

static const struct command_option link_options[] = {LINK_OPTION, TO_OPTION, NO_OPTION};

static const struct command_option check_options[] = {
    {.name = "print-acls",
     .help = "instead: the kafka-acls lines and the Redis user that the service needs, to be run "
             "by somebody who may alter ACLs"},
    {.name = "principal",
     .value = "NAME",
     .help = "--print-acls: the mirror's principal; default as the sites sign in"},
    {.name = "operator-principal",
     .value = "NAME",
     .help = "--print-acls: the operator's; default as sites.*.operator signs in"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option enable_options[] = {
    {.name = "to",
     .value = "SITE",
     .help = "only to this site; default to all others of the service"},
    {.name = "adopt", .help = "take over target topics that hold records already"},
    {.name = "no-fence", .help = "do not deny others to write to the target's topics"},
    {.name = "reason", .value = "TEXT", .help = "recorded with the role epoch"},
    {.name = "yes", .help = "do not ask"},
    NO_OPTION,
};

#define MOVE_OPTIONS                                                                        \
    {.name = "to", .value = "SITE", .help = "needed where there are several others"},       \
        {.name = "dry-run", .help = "say what would be done; nothing is written anywhere"}, \
        {.name = "yes", .help = "do not ask"},                                              \
        {.name = "reason", .value = "TEXT", .help = "recorded with the operation"},         \
        {.name = "force",                                                                   \
         .value = "CHECK,..",                                                               \
         .help = "checks that may refuse and are gone past; each is recorded"},             \
        {.name = "dns-done",                                                                \
         .help = "the names were moved by hand: look whether they were, and go on"},        \
        {.name = "topic",                                                                   \
         .value = "TOPIC",                                                                  \
         .help = "refused: a service moves whole",                                          \
         .hidden = true},                                                                   \
    {                                                                                       \
        .name = "group", .value = "GROUP", .help = "refused: a service moves whole",        \
        .hidden = true                                                                      \
    }

static const struct command_option failover_options[] = {
    MOVE_OPTIONS,
    {.name = "allow-loss",
      .value = "N|unknown",
      .help = "records that may be lost, with --yes; default services.*.max_loss"},
    NO_OPTION,
};

static const struct command_option switchover_options[] = {MOVE_OPTIONS, NO_OPTION};

static const struct command_option pause_options[] = {
    {.name = "reason", .value = "TEXT", .help = "recorded with the order"},
    {.name = "yes", .help = "do not ask"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option stragglers_options[] = {
    {.name = "watch",
     .help = "again every two seconds until interrupted; with -o json one line each"},
    NO_OPTION,
};

static const struct command_option status_options[] = {
    {.name = "link", .value = "FROM:TO", .help = "only this link; default all of the service"},
    {.name = "watch",
     .help = "again every two seconds until interrupted; with -o json one line each"},
    {.name = "check", .help = "one line a link, and 0, 1, 2 or 3 as a monitoring plugin"},
    {.name = "warning",
     .value = "SECONDS",
     .help = "--check: lag that is worth a look; default 10"},
    {.name = "critical", .value = "SECONDS", .help = "--check: lag that is an alarm; default 60"},
    NO_OPTION,
};

static const struct command_option top_options[] = {
    {.name = "link", .value = "FROM:TO", .help = "only this link; default all of the service"   },
    {.name = "n",    .value = "TIMES",   .help = "so often, then end; default until interrupted"},
    {.name = "rows",
     .value = "PARTITIONS",
     .help = "so many partitions of each link; default what fits the terminal, else 20"         },
    NO_OPTION,
};

static const struct command_option translate_options[] = {
    {.name = "from-target", .help = "OFFSET is the target's; find the source's"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option map_options[] = {
    {.name = "limit",
     .value = "RUNS",
     .help = "the newest so many runs of each partition; default 1000, 0 = all"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option hints_options[] = {
    {.name = "now", .help = "not what was published: as it would be if the mirror were cut now"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option reset_options[] = {
    {.name = "group", .value = "GROUP", .help = "this group"},
    {.name = "all", .help = "every group of the service"},
    {.name = "topic", .value = "TOPIC[:PARTITION]", .help = "only here; default everywhere"},
    {.name = "to",
     .value = "WHERE",
     .help = "translated (where the source's commit is at the target), earliest, latest, "
             "time=TIME (a duration back from now, or RFC 3339), source-offset=N (with --topic "
             "TOPIC:PARTITION)"},
    {.name = "stop-members",
     .value = "GROUP",
     .help = "remove this group's members at the target first; asks for the group's name"},
    {.name = "dry-run", .help = "only show what would be done"},
    {.name = "reason", .value = "TEXT", .help = "recorded with it"},
    {.name = "yes", .help = "do not ask"},
    LINK_OPTION,
    NO_OPTION,
};

static const struct command_option verify_options[] = {
    {.name = "topic",  .value = "TOPIC[:PARTITION]", .help = "only this one"    },
    {.name = "sample",
     .value = "RECORDS",
     .help = "so many records at random places of each partition instead of all"},
    {.name = "since",
     .value = "TIME",
     .help = "records from then on: a duration (90s, 15m, 2h, 7d) back from now, or RFC 3339 "
             "(2026-11-25T03:00:00Z)"                                           },
    {.name = "limit",
     .value = "RECORDS",
     .help = "the newest so many source offsets of each partition"              },
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option retry_options[] = {
    {.name = "all", .help = "every faulted partition"},
    {.name = "depth",
     .value = "BYTES",
     .help = "read back so much at most, for example 4GiB; default mirror.resume_read_bytes"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option accept_options[] = {
    {.name = "reason", .value = "TEXT", .help = "recorded with the decision"},
    {.name = "yes", .help = "do not ask"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option resync_options[] = {
    {.name = "from",
     .value = "OFFSET",
     .help = "source offset to begin at; default where the source's log begins"},
    {.name = "reason", .value = "TEXT", .help = "recorded with the decision"},
    {.name = "yes", .help = "do not ask"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

#define REASON_OPTION {.name = "reason", .value = "TEXT", .help = "recorded with it"}
static const struct command_option fence_sync_options[] = {
    {.name = "dry-run", .help = "only show what would be done"},
    {.name = "principal",
     .value = "NAME",
     .help = "the mirror's principal on the target, where brokers map names; it is never denied"},
    REASON_OPTION,
    {.name = "yes", .help = "do not ask"},
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

static const struct command_option fence_remove_options[] = {
    REASON_OPTION, {.name = "yes", .help = "do not ask"},
     LINK_OPTION, TO_OPTION, NO_OPTION
};

static const struct command_option acls_sync_options[] = {
    {.name = "dry-run", .help = "only show what would be done"},
    REASON_OPTION,
    {.name = "yes",     .help = "do not ask"                  },
    LINK_OPTION,
    TO_OPTION,
    NO_OPTION,
};

#define DNS_YES    {.name = "yes", .help = "do not ask"}
#define DNS_REASON {.name = "reason", .value = "TEXT", .help = "recorded with it"}
#define DNS_WAIT         \
    {.name = "wait",     \
     .value = "SECONDS", \
     .help = "until it is settled; then exit 5; default 60, 0 = look once"}
static const struct command_option dns_create_options[] = {
    {.name = "at",
     .value = "SITE",
     .help = "with the names of this site; default the primary, before `ferry enable` home"},
    {.name = "ttl",
     .value = "SECONDS",
     .help = "time to live; default services.*.cname.[].ttl of the first record"           },
    DNS_WAIT,
    DNS_REASON,
    DNS_YES,
    NO_OPTION,
};
static const struct command_option dns_adopt_options[] = {DNS_REASON, DNS_YES, NO_OPTION};
static const struct command_option dns_plan_options[] = {
    {.name = "to", .value = "SITE", .help = "the site whose names they would get; needed"},
    NO_OPTION,
};
static const struct command_option dns_swap_options[] = {
    {.name = "to", .value = "SITE", .help = "the site whose names they get; needed"},
    {.name = "dns-done",
     .help =
         "they were moved by hand: look whether the authoritative servers say so, and record it"},
    DNS_WAIT,
    DNS_REASON,
    DNS_YES,
    NO_OPTION,
};
static const struct command_option dns_prepare_options[] = {
    {.name = "ttl",
     .value = "SECONDS",
     .help = "time to live; default services.*.cname.[].ttl of the first record"},
    DNS_WAIT,
    DNS_REASON,
    DNS_YES,
    NO_OPTION,
};

static const struct command_option help_options[] = {
    {.name = "man",        .help = "the manual page, as roff",        .hidden = true                  },
    {.name = "runbook",    .help = "docs/runbook.md, from the steps", .hidden = true                  },
    {.name = "completion", .value = "bash|zsh",                       .help = "completions of a shell"},
    NO_OPTION,
};

static const struct command offsets_commands[] = {
    {.name = "translate",
     .args = "SERVICE TOPIC PARTITION OFFSET",
     .args_least = 4,
     .args_most = 4,
     .summary = "where a record of one side stands on the other",
     .text =
         "Verdicts: exact (the very same record), rounded (nothing is mirrored at OFFSET: the next "
         "mirrored record), ahead (past what is mirrored: the mirrored end, and by how much), lost "
         "(the target's log begins behind it: its beginning), unmapped (the stretch could not be "
         "kept: no "
         "answer, exit 4).", .options = translate_options,
     .run = cmd_offsets_translate},
    {.name = "show",
     .args = "SERVICE [GROUP]",
     .args_least = 1,
     .args_most = 2,
     .summary = "groups: what they have committed at the source, where that is at the target",
     .text = "As the keeper left it in Redis. Verdicts as of `translate`, with how many records a "
             "group is ahead of the mirror or has lost. At the target: committed, or what holds it "
             "back: members (the group has some there), foreign (somebody else committed since), "
             "past (a commit there is past the translation), refused, off (docs/groups.md). Again, "
             "at most: records that it would read twice if the service failed over now, as far as "
             "rates tell and for certain not more (docs/hints.md). Exit 4 when some place is "
             "unmapped.", .options = link_options,
     .run = cmd_offsets_show},
    {.name = "reset",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "move groups without members at the target: shown first, done when confirmed",
     .text =
         "Shows for each place where the group stands, where it would stand, and how many "
         "records it would read again or skip. Asks for the service's name. Groups with "
         "members are refused by name, unless --stop-members GROUP removes these. What was done is "
         "recorded in the control topic, with a hint in the commit's metadata where the group "
         "has none of its own (docs/hints.md). Exit 4: not every group could be moved.", .options = reset_options,
     .run = cmd_offsets_reset},
    {.name = "map",
     .args = "SERVICE [TOPIC[:PARTITION]]",
     .args_least = 1,
     .args_most = 2,
     .summary = "the runs of the map: stretches where target offset = source offset + constant",
     .options = map_options,
     .run = cmd_offsets_map},
    {.name = NULL},
};

static const struct command hints_commands[] = {
    {.name = "seen",
     .args = "SERVICE TOPIC PARTITION TARGET_OFFSET",
     .args_least = 4,
     .args_most = 4,
     .summary = "may groups have processed this record of the target already?",
     .text = "For each group: committed (it has, before it came here), likely, possible, no (it "
             "cannot have). With the record's place at the source.", .options = hints_options,
     .run = cmd_hints_seen},
    {.name = NULL},
};

static const struct command fault_commands[] = {
    {.name = "list",
     .args = "[SERVICE]",
     .args_most = 1,
     .summary = "partitions that stopped, with their evidence",
     .text = "Every kind of fault and what to do about it: docs/faults.md",
     .options = link_options,
     .run = cmd_fault_list},
    {.name = "retry",
     .args = "SERVICE [TOPIC:PARTITION]",
     .args_least = 1,
     .args_most = 2,
     .summary = "look again: the resume procedure from its beginning",
     .text = "Waits until a worker took the order and the partition goes on (exit 0) or faulted "
             "again (exit "
             "3). A retry never skips, repeats or rewrites anything.", .options = retry_options,
     .run = cmd_fault_retry},
    {.name = "accept",
     .args = "SERVICE TOPIC:PARTITION",
     .args_least = 2,
     .args_most = 2,
     .summary = "go on without the records that the fault names: they are left out for good",
     .text = "For faults of kind gap and batch-refused. Asks for the service's name first. Who "
             "accepted what, when and why is recorded in the control topic before, and with the "
             "exact range in Redis's events. The fault must still be the one that was shown; what "
             "the source's retention has deleted beyond it meanwhile is left out too.", .options = accept_options,
     .run = cmd_fault_accept},
    {.name = "resync",
     .args = "SERVICE TOPIC:PARTITION",
     .args_least = 2,
     .args_most = 2,
     .summary = "mirror a faulted partition anew, behind what the target holds",
     .text = "Asks for the service's name first; recorded as `accept` is. The generation is "
             "raised and the map begins anew. Nothing is deleted: records that stand on the target "
             "already stand there twice then.", .options = resync_options,
     .run = cmd_fault_resync},
    {.name = NULL},
};

static const struct command fence_commands[] = {
    {.name = "show",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "which topics of the target nobody else may write to, by which entries",
     .text = "As recorded, and what has changed since: principals that hold an ALLOW Write and are "
             "not denied it. `none` and why where it cannot be.", .options = link_options,
     .run = cmd_fence_show},
    {.name = "sync",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary =
         "deny Write on the target's topics to every principal that was allowed it, but Ferry", .text = "Signs in as sites.*.operator, which needs Alter on the cluster. One DENY Write for "
             "each principal that holds an ALLOW Write on the topic (literal, prefixed, wildcard); "
             "recorded in the control topic, so that exactly these are taken away again. Asks for "
             "the service's name first. Again after new topics or new principals.", .options = fence_sync_options,
     .run = cmd_fence_sync},
    {.name = "remove",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "take away the entries that are recorded as ours, and no other",
     .text = "Asks for the service's name first. Whoever was allowed to write may write again.",
     .options = fence_remove_options,
     .run = cmd_fence_remove},
    {.name = NULL},
};

static const struct command acls_commands[] = {
    {.name = "show",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "which ACLs of the source are copied, which are withheld, what has changed since",
     .text = "As recorded, and compared with both clusters: entries that are not copied yet, that "
             "are gone at the source, that stand at the target already and are somebody else's, "
             "and those that are never copied, each with the reason.", .options = link_options,
     .run = cmd_acls_show},
    {.name = "sync",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "copy the ACLs of the service's topics and groups, but what writes",
     .text = "What services.*.acl_sync asks for. Reads the source as the mirror, which needs "
             "Describe on the cluster there, and changes the target as sites.*.operator, which "
             "needs Alter. Write, All and what else alters is withheld and remembered until the "
             "target is the primary. Adds what is missing, takes away what Ferry copied and the "
             "source has no more, and touches nothing else; never copies Ferry's own. Asks for "
             "the service's name first. Again whenever the source's ACLs change; where nothing "
             "did, nothing is written.", .options = acls_sync_options,
     .run = cmd_acls_sync},
    {.name = "remove",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "take away the entries that are recorded as copied, and no other",
     .text = "Asks for the service's name first. What is withheld is forgotten.",
     .options = fence_remove_options,
     .run = cmd_acls_remove},
    {.name = NULL},
};

static const struct command dns_commands[] = {
    {.name = "show",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "what is recorded, what each authoritative server and resolver answers, TTLs",
     .text =
         "Changes nothing, and works without any cluster: what is recorded is unknown then. Exit "
         "6 when no server answers.", .run = cmd_dns_show},
    {.name = "adopt",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "take the service's records as they stand: their values are recorded",
     .text =
         "Changes nothing in the zone. Asks for the service's name first. Refused where a record "
         "could not be swapped: docs/dns.md. Again after somebody else changed a record.", .options = dns_adopt_options,
     .run = cmd_dns_adopt},
    {.name = "create",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "make the service's records, and record their values",
     .text = "Asks for the service's name first. A name that exists is refused: see adopt.",
     .options = dns_create_options,
     .run = cmd_dns_create},
    {.name = "plan",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "what a swap would change, and what speaks against it",
     .text = "Reads, and asks the provider for a change that changes nothing: key, permission and "
             "value are tried as a swap would. Exit 3: it would be refused.", .options = dns_plan_options,
     .run = cmd_dns_plan},
    {.name = "swap",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "move the service's records to another site's names, and nothing else",
     .text =
         "Compare-and-swap from what is recorded; asks for the service's name first. No fence, no "
         "offsets, no role: a failover does those, too. Waits until k of n authoritative servers "
         "(dns.*.settled) and every resolver of the configuration say so. Exit 3: refused, nothing "
         "was changed; 4: not all of it, or it is not known; 5: done, and not settled in time. The "
         "same command again goes on from there. When a provider cannot be reached it prints what "
         "to "
         "type by hand; after that --dns-done asks no provider, but the authoritative servers.", .options = dns_swap_options,
     .run = cmd_dns_swap},
    {.name = "prepare",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "lower the records' time to live, so that a swap is seen soon",
     .text =
         "Compare-and-swap as well; no value changes. Asks for the service's name first. What "
         "clients have cached lives on for the old time: prepare so long before. The old time is "
         "recorded, `ferry dns show` has it; the same command gives it back.", .options = dns_prepare_options,
     .run = cmd_dns_prepare},
    {.name = NULL},
};

static const struct command config_commands[] = {
    {.name = "check",
     .args = "",
     .summary = "is the configuration right? FILE:LINE:COLUMN when not",
     .run = cmd_config_check},
    {.name = "show",
     .args = "",
     .summary = "what is in force as JSON, defaults included, secrets by reference",
     .run = cmd_config_show},
    {.name = "reference",
     .args = "",
     .summary = "every key, as a table",
     .run = cmd_config_reference},
    {.name = NULL},
};

static const struct command commands[] = {
    {.name = "enable",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "write the first role epoch: from then on the service is mirrored",
     .text = "Asks for the service's name first. Refused when both sites are one cluster, when "
             "another site is "
             "primary already, and while a topic of the target holds a record, unless --adopt is "
             "given. Where "
             "it was done before nothing is done. Of \"path\": \"auto\" it tries which path both "
             "clusters can do, and records it (docs/records.md).\n"
             "With sites.*.operator configured it sets the write fence of the target, too: see "
             "`ferry fence sync`.", .options = enable_options,
     .run = cmd_enable},
    {.name = "failover",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "move the service: its primary is lost",
     .text =
         "Fences the mirror, raises the role epoch, puts every group where it has to go on, opens "
         "the target's topics and "
         "moves the names. Needs nothing from the primary and does not wait for it. Says first "
         "what may be lost: on "
         "a terminal the service's name is typed, without one --yes and --allow-loss are given.\n"
         "It can be killed anywhere: the same command again goes on, from any host. On a primary "
         "that answers it is "
         "refused without --force primary-alive. --timeout is the whole's (default 300 s). Steps, "
         "evidence, exit codes: "
         "docs/failover.md.", .options = failover_options,
     .run = cmd_failover},
    {.name = "switchover",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "move the service while both sides are healthy, without loss",
     .text = "Stops the source's writers, mirrors what is left, then does what `ferry failover` "
             "does. What fails before the "
             "target is opened takes everything back. --timeout is the whole's (default 900 s).", .options = switchover_options,
     .run = cmd_switchover},
    {.name = "pause",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "stop mirroring by an order to every worker",
     .options = pause_options,
     .run = cmd_pause},
    {.name = "resume",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "take that order back",
     .options = pause_options,
     .run = cmd_resume},
    {.name = "history",
     .args = "SERVICE [OPERATION]",
     .args_least = 1,
     .args_most = 2,
     .summary = "failovers and switchovers of the service, by whom and how long; one of them with "
                "its report", .run = cmd_history},
    {.name = "stragglers",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "after a move: who is at the old primary still, who has arrived",
     .text =
         "Members of groups by client id and host on both sides, records that were written at the "
         "old primary behind the cut, and the producers that it remembers of them. Expected are "
         "the groups that had members at the cut. --timeout waits until nobody is on the way; "
         "without it one look is taken. The old primary is asked for 1 s a look.\n"
         "Exit 0: everybody who was expected has arrived, and nothing is known to be left. 4: "
         "somebody, or records, are at the old primary, or a group is at neither side. 5: not "
         "known, the old primary does not answer.", .options = stragglers_options,
     .run = cmd_stragglers},
    {.name = "status",
     .args = "[SERVICE]",
     .args_most = 1,
     .summary = "what a failover would cost now; links, workers, lag, faults",
     .text =
         "First line: what would be lost and read again if you failed over now, and how long it "
         "would take (as measured by the last one, else estimated); while an operation is open: "
         "its step, and the command that goes on with it; after a failover: unprotected since "
         "when. Of a group that reads on, what it can read until its next commit counts as read "
         "again (docs/groups.md). "
         "Works when every ferryd, Redis or the source is dead, and says what is unknown then. "
         "Lag is "
         "in source offsets: so many records or less. Exit 3 while the service has no role, 6 "
         "when the "
         "target does not say. Topics that are not mirrored, that the source deleted, or whose "
         "settings "
         "differ at the target are named with the reason, as the keeper tells them.", .options = status_options,
     .run = cmd_status},
    {.name = "top",
     .args = "[SERVICE]",
     .args_most = 1,
     .summary = "links and partitions as they run: rates, lag, states, once a second",
     .text = "What the workers tell through the target's Redis each second; partitions that are "
             "furthest behind stand first, those whose lag is not known before all. On a terminal "
             "the picture is renewed until interrupted; elsewhere it is printed plainly, again and "
             "again, or -n times.", .options = top_options,
     .run = cmd_top},
    {.name = "check",
     .args = "[SERVICE]",
     .args_most = 1,
     .summary = "can the service be mirrored as it stands, and failed over now?",
     .text =
         "Both clusters and Redis answer, what the topics' settings promise about acknowledged "
         "records, which ACLs are missing, which path can carry the service: tried on a scratch "
         "topic at the target, ferry.probe.SERVICE, which is deleted; all else only reads. And "
         "what a failover asks first: topics, leaders and "
         "replicas at the target, room, groups with members there, certificates for the records' "
         "names, advertised names, records and their time to live, name servers, Redis, clocks, "
         "places, what would be lost and read again; docs/check.md has each check by its name. "
         "Exit 3: something cannot work, or the target may lose what it acknowledged; 6: something "
         "does not answer. Warnings, and what cannot be known, do not change the exit code.\n"
         "--print-acls prints what each principal must be allowed, as narrow as the configuration "
         "permits; docs/permissions.md says what for.", .options = check_options,
     .run = cmd_check},
    {.name = "offsets",
     .args = "",
     .summary = "the map of source and target offsets",
     .children = offsets_commands},
    {.name = "hints",
     .args = "SERVICE [GROUP]",
     .args_least = 1,
     .args_most = 2,
     .summary = "which records groups may read again after a failover",
     .text = "For each place: where the group goes on, until where it likely and until where it "
             "possibly has processed records already; behind that nothing is a repeat "
             "(docs/hints.md). As the last operation published it.", .options = hints_options,
     .run = cmd_hints,
     .children = hints_commands},
    {.name = "verify",
     .args = "SERVICE",
     .args_least = 1,
     .args_most = 1,
     .summary = "read both sides and compare record by record at the mapped offsets",
     .text = "Compares key, value, headers and timestamp of everything below the checkpoint that "
             "both logs hold, "
             "and looks at what the target holds behind it. Finds records that are lost, doubled, "
             "differing or "
             "foreign, with their offsets. What the service's filter leaves out is counted apart.\n"
             "Exit 0: verified. 1: something is wrong. 4: a part could not be compared, and "
             "nothing wrong was "
             "found. 6: a side cannot be read.", .options = verify_options,
     .run = cmd_verify},
    {.name = "fault",
     .args = "",
     .summary = "partitions that stopped because going on would be a guess",
     .children = fault_commands},
    {.name = "fence",
     .args = "",
     .summary = "who may write to the target's topics while they are mirrored",
     .children = fence_commands},
    {.name = "acls",
     .args = "",
     .summary = "the source's ACLs at the target, what writes withheld",
     .children = acls_commands},
    {.name = "dns",
     .args = "",
     .summary = "the names that clients reach the service by",
     .children = dns_commands},
    {.name = "config", .args = "", .summary = "the configuration", .children = config_commands},
    {.name = "version", .args = "", .summary = "of ferry and its libraries", .run = cmd_version},
    {.name = "help",
     .args = "[COMMAND...]",
     .args_most = COMMAND_DEPTH_MAX - 1,
     .summary = "what a command does",
     .options = help_options,
     .run = cmd_help},
    {.name = NULL},
};

const struct command ferry_commands = {
    .name = "ferry",
    .args = "",
    .summary = "mirrors Kafka topics to other regions and knows where every offset went",
    .text = "Results go to standard output, talk and errors to standard error; an error ends with "
            "the next "
            "command to type. What is unknown is printed as unknown, in JSON as null. Times are "
            "RFC 3339 UTC. "
            "Common options may stand before the command.",
    .children = commands};

int cmd_help(const struct command_line *line)
{
    struct command_line named;
    struct err err = {0};
    char help[] = "--help";
    char *argv[COMMAND_DEPTH_MAX + 2] = {line->argv[0], help};
    if (command_has(line, "man")) {
        command_man(&ferry_commands, stdout);
        return EXIT_DONE;
    }
    if (command_has(line, "runbook")) {
        runbook_print(&plan_failover, stdout);
        return EXIT_DONE;
    }
    if (command_has(line, "completion")) {
        return command_completion(&ferry_commands, command_get(line, "completion"), stdout)
                   ? EXIT_DONE
                   : EXIT_USAGE;
    }
    for (int i = 0; i < line->args_count; i++) {
        argv[i + 2] = (char *)(uintptr_t)line->args[i];
    }
    if (!command_parse(&ferry_commands, line->args_count + 2, argv, &named, &err)) {
        return command_fail(&named, &err);
    }
    command_help(&named, stdout);
    return EXIT_DONE;
}
