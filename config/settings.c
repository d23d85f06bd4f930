/* Which settings of a topic go with it to another cluster. One table, for the check of topic_config.always and for
 * mirror/, so that nobody asks for what is never done. Reasons: docs/topics.md.
 */
#include <stdio.h>
#include <string.h>

#include "config/build.h"

/* What is not named here follows. A name that ends in a dot is a prefix. */
static const struct setting_row {
    const char *name;
    enum config_setting_rule rule;
} rows[] = {
    {"compression.type",                        SETTING_FORCED   },
    {"max.message.bytes",                       SETTING_FORCED   },
    {"message.timestamp.type",                  SETTING_FORCED   },
    {"message.timestamp.after.max.ms",          SETTING_FORCED   },
    {"message.timestamp.before.max.ms",         SETTING_FORCED   },
    {"message.timestamp.difference.max.ms",     SETTING_FORCED   },
    {"min.insync.replicas",                     SETTING_SAFE_SIDE},
    {"unclean.leader.election.enable",          SETTING_SAFE_SIDE},
    {"local.retention.",                        SETTING_ASKED    },
    {"remote.",                                 SETTING_ASKED    },
    {"leader.replication.throttled.replicas",   SETTING_NEVER    },
    {"follower.replication.throttled.replicas", SETTING_NEVER    },
    {"confluent.",                              SETTING_NEVER    },
    {"internal.",                               SETTING_NEVER    },
    {"message.format.version",                  SETTING_NEVER    },
    {"message.downconversion.enable",           SETTING_NEVER    },
};

enum config_setting_rule config_setting_rule(const char *name)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].name);
        bool prefix = rows[i].name[len - 1] == '.';
        if (prefix ? strncmp(name, rows[i].name, len) == 0 : strcmp(name, rows[i].name) == 0) {
            return rows[i].rule;
        }
    }
    return SETTING_FOLLOWS;
}

bool config_setting_always(const struct config_service *service, const char *name)
{
    return build_pattern_any(service->topic_config.include, service->topic_config.include_count,
                             name);
}

bool config_setting_excluded(const struct config_service *service, const char *name)
{
    return build_pattern_any(service->topic_config.exclude, service->topic_config.exclude_count,
                             name);
}

/* A glob that matches such a name beside others is fine: it means the others. */
static bool always_ok(const struct build *build, const struct config_pattern *pattern,
                      const char *path)
{
    enum config_setting_rule rule =
        pattern->kind == PATTERN_GLOB ? config_setting_rule(pattern->text) : SETTING_FOLLOWS;
    if (rule != SETTING_FORCED && rule != SETTING_NEVER) {
        return true;
    }
    return parse_error(build->file, build->err, path, "%s never follows the source: %s",
                       pattern->text,
                       rule == SETTING_FORCED ? "the copy needs a value of its own"
                                              : "it means nothing at another cluster");
}

bool build_topic_config(const struct build *build, struct config_patterns *patterns,
                        const char *path, const json_t *tree)
{
    char always[BUILD_PATH_BYTES];
    char exclude[BUILD_PATH_BYTES];
    char item[BUILD_PATH_BYTES];

    snprintf(always, sizeof(always), "%.900s.always", path);
    snprintf(exclude, sizeof(exclude), "%.900s.exclude", path);
    if (!build_pattern_list(build, &patterns->include, &patterns->include_count, always,
                            json_object_get(tree, "always"), false) ||
        !build_pattern_list(build, &patterns->exclude, &patterns->exclude_count, exclude,
                            json_object_get(tree, "exclude"), false)) {
        return false;
    }
    for (size_t i = 0; i < patterns->include_count; i++) {
        snprintf(item, sizeof(item), "%.900s.%zu", always, i);
        if (!always_ok(build, &patterns->include[i], item)) {
            return false;
        }
    }
    return true;
}
