/* Can this service be mirrored as it stands, what would make its promises a lie, and could it be failed over now? Reads only,
 * but for a scratch topic of ours at the target (check_path.c); every finding says what, where, and the next step. Refused (exit 3): what cannot work, or loses acknowledged records at the
 * target. Unreachable (exit 6): who did not answer. The rest is a warning, or unknown.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "cli/commands.h"
#include "cli/render.h"
#include "kafka/admin_probe.h"
#include "kafka/control.h"
#include "kafka/error.h"
#include "kafka/proto.h"
#include "mirror/link.h"

/* --- clusters ------------------------------------------------------------------------------------------------------- */

static bool check_cluster(struct check *check, bool of_source)
{
    struct context *context = check->context;
    const struct config_site *site = of_source ? context->from : context->to;
    char *id = of_source ? check->source_id : check->target_id;
    char what[400];
    int32_t brokers = 0;
    struct err err = {0};
    struct admin *admin = of_source ? context_source(context, &err) : context_target(context, &err);
    if (admin == NULL || !admin_cluster_id(admin, id, &brokers, &err)) {
        check_failed(check, &err);
        return false;
    }
    snprintf(what, sizeof(what), "%.100s answers: cluster %s, %d brokers", site->name, id, brokers);
    if (of_source) { /* the target's is the preflight's to tell */
        check_found(check, CHECK_OK, what, "");
    }
    return true;
}

/* What a cluster's age forbids, by name. */
static void check_age(struct check *check, bool of_source)
{
    struct context *context = check->context;
    const struct config_site *site = of_source ? context->from : context->to;
    struct admin *admin = of_source ? context_source(context, NULL) : context_target(context, NULL);
    char what[400];
    struct err err = {0};
    int16_t metadata = 0;
    if (!admin_metadata_version(admin, &metadata, &err)) {
        check_failed(check, &err);
    } else if (metadata < METADATA_STATIC_MEMBERS && !of_source) {
        snprintf(what, sizeof(what),
                 "%.100s is older than Kafka 2.3: its groups know no static members, so it cannot "
                 "be a target",
                 site->name);
        check_found(check, CHECK_REFUSED, what, "docs/records.md#old-kafka");
    } else if (metadata < METADATA_IDS && context->service->path == PATH_BATCHES) {
        snprintf(what, sizeof(what),
                 "%.100s is older than Kafka 2.8: path batches does not serve it", site->name);
        check_found(check, CHECK_REFUSED, what,
                    "set \"path\": \"records\" in the service: docs/records.md");
    } else if (metadata < METADATA_IDS) {
        snprintf(what, sizeof(what),
                 "%.100s is older than Kafka 2.8: its topics have no ids, one that is made again "
                 "is known by its records",
                 site->name);
        check_found(check, CHECK_OK, what, "");
    }
}

static void check_weakness(struct check *check, const struct config_site *site, bool of_operator)
{
    const struct config_client *client = of_operator ? site->operator_kafka : &site->kafka;
    const char *weak;
    char what[400];
    for (size_t i = 0; client != NULL && (weak = config_client_weakness(client, i)) != NULL; i++) {
        snprintf(what, sizeof(what), "site %.100s%s: %s", site->name,
                 of_operator ? ", operator" : "", weak);
        check_found(check, CHECK_WARNING, what, "https identification, SASL_SSL or SCRAM");
    }
}

/* Would the target take the control topic as it is to be written there? One that cannot be asked is another row's. */
static void check_control(struct check *check)
{
    struct context *context = check->context;
    struct err err = {0};
    struct admin *admin = context_target(context, NULL);
    if (admin == NULL || control_may_create(admin, context->service->name, &err) ||
        err.code != KAFKA_POLICY_VIOLATION) {
        return;
    }
    check_found(check, CHECK_REFUSED, err.what, err.hint);
}

static void check_sites(struct check *check)
{
    const struct config_site *from = check->context->from;
    const struct config_site *to = check->context->to;
    char what[300];
    if (to->kafka.single_writer) {
        snprintf(what, sizeof(what),
                 "%.100s: operations are not fenced by the broker (control: single-writer)",
                 to->name);
        check_found(check, CHECK_WARNING, what, "docs/control.md says what that can mean");
    }
    for (int of_operator = 0; of_operator < 2; of_operator++) {
        check_weakness(check, from, of_operator == 1);
        check_weakness(check, to, of_operator == 1);
    }
}

/* --- durability ----------------------------------------------------------------------------------------------------- */

static const char *setting(const struct admin_topic_config *config, const char *name)
{
    for (size_t i = 0; i < config->settings_count; i++) {
        if (strcmp(config->settings[i].name, name) == 0) {
            return config->settings[i].value;
        }
    }
    return "";
}

/* What a topic's records survive; "" = the loss of a broker, and nothing acknowledged is lost. */
static const char *weakness(const struct admin_topic *topic,
                            const struct admin_topic_config *config, char out[200])
{
    int least = atoi(setting(config, "min.insync.replicas"));
    out[0] = '\0';
    if (topic->replication_factor < 2) {
        snprintf(out, 200, "one replica: a lost disk loses its records");
    } else if (least == 1) {
        snprintf(out, 200,
                 "min.insync.replicas 1 with %d replicas: a record that one broker holds alone is "
                 "acknowledged",
                 topic->replication_factor);
    } else if (strcmp(setting(config, "unclean.leader.election.enable"), "true") == 0) {
        snprintf(out, 200,
                 "unclean.leader.election.enable: a leader that lags may forget acknowledged "
                 "records");
    }
    return out;
}

static void check_durability(struct check *check, bool of_source, struct admin_topic *topics,
                             struct admin_topic_config *configs, size_t count)
{
    const struct config_site *site = of_source ? check->context->from : check->context->to;
    char what[700];
    char weak[200];
    for (size_t i = 0; i < count; i++) {
        if (configs[i].err.kind != ERR_NONE) {
            check_failed(check, &configs[i].err);
        } else if (weakness(&topics[i], &configs[i], weak)[0] != '\0') {
            snprintf(what, sizeof(what), "%.100s: topic %s has %s", site->name, topics[i].name,
                     weak);
            /* At the source the records are the customer's; at the target they are our promise. */
            check_found(check, of_source ? CHECK_WARNING : CHECK_REFUSED, what,
                        of_source ? ""
                                  : "three replicas, min.insync.replicas 2, no unclean elections");
        }
    }
}

/* A batch is fetched whole, however large: one that no answer may be as long as would never arrive. */
static void check_sizes(struct check *check, const struct admin_topic_config *configs, size_t count)
{
    long long most = check->context->config->limits.fetch_bytes + LINK_ANSWER_SLACK_BYTES;
    char what[500];
    for (size_t i = 0; i < count; i++) {
        long long largest = atoll(setting(&configs[i], "max.message.bytes"));
        if (largest > most) {
            snprintf(what, sizeof(what),
                     "%.100s: topic %.249s takes batches of %lld bytes; ferryd takes %lld at once",
                     check->context->from->name, configs[i].topic, largest, most);
            check_found(check, CHECK_REFUSED, what,
                        "raise mirror.fetch, or lower max.message.bytes");
        }
    }
}

static void check_topics(struct check *check, bool of_source)
{
    struct context *context = check->context;
    struct admin *admin = of_source ? context_source(context, NULL) : context_target(context, NULL);
    struct admin_topic *topics = NULL;
    size_t all = 0;
    size_t count = 0;
    char what[300];
    struct err err = {0};
    if (admin == NULL || !admin_list_topics(admin, &topics, &all, &err)) {
        if (admin != NULL) {
            check_failed(check, &err);
        }
        return;
    }
    for (size_t i = 0; i < all; i++) {
        if (config_patterns_match(&context->service->topics, topics[i].name)) {
            topics[count++] = topics[i];
        }
    }
    struct admin_topic_config *configs = calloc(count + 1, sizeof(*configs));
    if (configs == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        configs[i].topic = topics[i].name;
    }
    admin_topics_settings(admin, configs, count);
    snprintf(what, sizeof(what), "%.100s: %zu topics of the service, settings readable",
             of_source ? context->from->name : context->to->name, count);
    check_found(
        check, count > 0 || !of_source ? CHECK_OK : CHECK_WARNING, what,
        count > 0 || !of_source
            ? ""
            : "no topic matches the service's patterns, or they are hidden from us: see below");
    check_durability(check, of_source, topics, configs, count);
    if (of_source) {
        check_sizes(check, configs, count);
    }
    for (size_t i = 0; i < count; i++) {
        admin_settings_free(configs[i].settings, configs[i].settings_count);
    }
    free(configs);
    free(topics);
}

/* --- permissions ---------------------------------------------------------------------------------------------------- */

static void check_group(struct check *check)
{
    struct context *context = check->context;
    struct admin *admin = context_target(context, NULL);
    struct admin_group_offset *offsets = NULL;
    size_t count = 0;
    char group[300];
    struct err err = {0};
    snprintf(group, sizeof(group), "ferry-%s-%s-%s", context->service->name, context->from->name,
             context->to->name);
    if (admin == NULL) {
        return;
    }
    if (!admin_group_offsets(admin, group, &offsets, &count, &err)) {
        check_failed(check, &err);
        return;
    }
    admin_group_offsets_free(offsets, count);
    check_found(check, CHECK_OK, "ferry's group on the target can be read", "");
}

/* --- Redis ---------------------------------------------------------------------------------------------------------- */

/* What it answers and keeps is the preflight's to tell. */
static void check_redis(struct check *check)
{
    if (check->context->to->redis != NULL && context_redis(check->context, NULL)) {
        check_redis_permissions(check);
    }
}

/* --- the command ------------------------------------------------------------------------------------------------------ */

static void check_link(struct check *check)
{
    struct context *context = check->context;
    if (!context->json) {
        printf("%s  %s > %s\n", context->service->name, context->from->name, context->to->name);
    }
    bool source = check->source_answers = check_cluster(check, true);
    bool target = check->target_answers = check_cluster(check, false);
    check_sites(check);
    if (source) {
        check_age(check, true);
        check_topics(check, true);
    }
    if (target) {
        check_age(check, false);
        check_control(check);
        check_topics(check, false);
        check_group(check);
    }
    check_permissions(check);
    if (source && target) {
        check_path(check);
    }
    check_redis(check);
    check_preflight(check);
}

static json_t *link_json(struct check *check)
{
    const struct context *context = check->context;
    return json_pack("{sssssssO}", "from", context->from->name, "to", context->to->name, "result",
                     check_level_name(check->worst), "findings", check->findings);
}

static enum check_level check_one(struct context *context, json_t *links)
{
    struct check check = {.context = context, .findings = json_array()};
    check_link(&check);
    json_array_append_new(links, link_json(&check));
    json_decref(check.findings);
    return check.worst;
}

int cmd_check(const struct command_line *line)
{
    static const int codes[] = {EXIT_DONE, EXIT_DONE, EXIT_DONE, EXIT_REFUSED, EXIT_UNREACHABLE};
    struct context context;
    struct err err = {0};
    if (!context_open(&context, line, &err)) {
        int code = command_fail(line, &err);
        context_close(&context);
        return code;
    }
    const struct config_service *service = context.service;
    bool one = command_has(line, "link") || command_has(line, "to");
    enum check_level worst = CHECK_OK;
    json_t *links = json_array();
    for (size_t i = 0; i < (one ? 1 : service->others_count); i++) {
        if (!one) {
            context_link(&context, service, config_site(context.config, service->home),
                         config_site(context.config, service->others[i]));
        }
        if (command_has(line, "print-acls")) {
            print_acls(&context, links);
        } else {
            enum check_level found = check_one(&context, links);
            worst = found > worst ? found : worst;
        }
    }
    if (context.json) {
        render_json(json_pack("{sssssO}", "service", service->name, "result",
                              check_level_name(worst), "links", links));
    }
    json_decref(links);
    context_close(&context);
    return codes[worst];
}
