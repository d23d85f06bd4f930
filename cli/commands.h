/* The tree of ferry's commands, and what each leaf of it runs: options in, one job, exit code. */
#ifndef FERRY_CLI_COMMANDS_H
#define FERRY_CLI_COMMANDS_H

#include "cli/command.h"

extern const struct command ferry_commands;

int cmd_enable(const struct command_line *line);
int cmd_failover(const struct command_line *line);
int cmd_switchover(const struct command_line *line);
int cmd_pause(const struct command_line *line);
int cmd_resume(const struct command_line *line);
int cmd_history(const struct command_line *line);
int cmd_stragglers(const struct command_line *line);
int cmd_top(const struct command_line *line);
int cmd_status(const struct command_line *line);
int cmd_offsets_translate(const struct command_line *line);
int cmd_offsets_show(const struct command_line *line);
int cmd_offsets_map(const struct command_line *line);
int cmd_offsets_reset(const struct command_line *line);
int cmd_hints(const struct command_line *line);
int cmd_hints_seen(const struct command_line *line);
int cmd_verify(const struct command_line *line);
int cmd_check(const struct command_line *line);
int cmd_acls_show(const struct command_line *line);
int cmd_acls_sync(const struct command_line *line);
int cmd_acls_remove(const struct command_line *line);
int cmd_fence_show(const struct command_line *line);
int cmd_fence_sync(const struct command_line *line);
int cmd_fence_remove(const struct command_line *line);
int cmd_dns_show(const struct command_line *line);
int cmd_dns_create(const struct command_line *line);
int cmd_dns_adopt(const struct command_line *line);
int cmd_dns_plan(const struct command_line *line);
int cmd_dns_swap(const struct command_line *line);
int cmd_dns_prepare(const struct command_line *line);
int cmd_fault_list(const struct command_line *line);
int cmd_fault_retry(const struct command_line *line);
int cmd_fault_accept(const struct command_line *line);
int cmd_fault_resync(const struct command_line *line);
int cmd_config_check(const struct command_line *line);
int cmd_config_show(const struct command_line *line);
int cmd_config_reference(const struct command_line *line);
int cmd_version(const struct command_line *line);
int cmd_help(const struct command_line *line);

#endif
