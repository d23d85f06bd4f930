/* The service's names move to the target: each swapped from the value that is recorded for it and from no other. What is begun is
 * recorded before the provider is asked, what came of it behind; the same again after a crash finds out which stands.
 *
 * `dns`     {"records": [{"record", "from", "to", "moved": bool}..], "by_hand": bool}
 * `verify`  {"records": [{"record", "value", "agree": K, "servers": N, "enough": N, "resolvers", "resolvers_agree", "settled": bool}..],
 *            "bootstrap": {"name", "cluster": ID|null, "is": "target"|"other"|"unknown", "why"}, "recorded": names_elsewhere_tell()}
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "failover/names_elsewhere.h"
#include "failover/reach.h"
#include "failover/steps.h"

#define SETTLE_MS    60000
#define BOOTSTRAP_MS 1000

static const char *target_value(const struct operation *op, size_t i)
{
    return dns_value_at(op->names[i], op->to->name);
}

static bool names_ok(const struct operation *op, struct err *err)
{
    for (size_t i = 0; i < op->names_count; i++) {
        if (op->names[i] == NULL) {
            *err = op->names_err;
            return false;
        }
        if (target_value(op, i) == NULL) {
            err_set(err, ERR_REFUSED, "%s has no value at site %s", dns_record(op->names[i]),
                    op->to->name);
            return err_hint(err, "add it: services.%s.cname, at.%s, in %.150s", op->service->name,
                            op->to->name, op->config->file);
        }
    }
    return true;
}

static bool recorded(const struct operation *op, struct dns_recorded *out, struct err *err)
{
    if (!dns_recorded_parse(op->state->dns_json, out, err)) {
        return err_hint(err, "ferry dns adopt %s", op->service->name);
    }
    for (size_t i = 0; i < op->names_count; i++) {
        struct dns_entry *entry = dns_recorded_find(out, dns_record(op->names[i]));
        if (entry == NULL || (entry->value[0] == '\0' && entry->next[0] == '\0')) {
            err_set(err, ERR_REFUSED, "what stands at %s is not recorded on %s",
                    dns_record(op->names[i]), op->to->name);
            return err_hint(err, "ferry dns adopt %s, or ferry dns create %s", op->service->name,
                            op->service->name);
        }
    }
    return true;
}

static bool write_recorded(struct operation *op, struct dns_recorded *now, struct err *err)
{
    now->epoch++;
    json_t *record = operation_sign(op, dns_recorded_json(now));
    char *text = json_text(record);
    const struct control_record one = {.key = "dns", .value = text};
    bool ok = operation_write(op, &one, 1, err);
    free(text);
    json_decref(record);
    return ok;
}

/* --- moving ------------------------------------------------------------------------------------------------------- */

static bool intend(struct operation *op, struct dns_recorded *now, struct err *err)
{
    bool news = false;
    for (size_t i = 0; i < op->names_count; i++) {
        struct dns_entry *entry = dns_recorded_find(now, dns_record(op->names[i]));
        const char *to = target_value(op, i);
        if (strcmp(entry->value, to) != 0 && strcmp(entry->next, to) != 0) {
            snprintf(entry->next, sizeof(entry->next), "%s", to);
            news = true;
        }
    }
    return !news || write_recorded(op, now, err);
}

/* What a person types when the provider does not do it. */
static bool by_hand(struct operation *op, const struct dns *dns, const struct dns_change *change,
                    struct err *err)
{
    char *text = dns_by_hand(dns, change);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        operation_say(op, "by hand: %s", line);
    }
    free(text);
    char typed[OPERATION_TYPED_BYTES];
    err_wrap(err, "%s", dns_record(dns));
    return err_hint(err, "set %.50s CNAME %.50s by hand, then: ferry %s %.100s --dns-done",
                    dns_record(dns), change->to, operation_kind_name(op->options.kind),
                    operation_typed(op, typed));
}

/* --dns-done: the authoritative servers say whether a hand did it; the provider may be what is away. */
static bool done_by_hand(struct operation *op, struct dns *dns, const char *to, struct err *err)
{
    struct dns_views *views = calloc(1, sizeof(*views));
    if (views == NULL) {
        abort();
    }
    bool ok = dns_look(dns, to, -1, views, err);
    if (ok) {
        operation_say(op, "%s: %zu of %zu name servers say %s", dns_record(dns), views->agree,
                      views->servers, to);
        ok = views->authoritative;
        if (!ok) {
            err_set(err, ERR_RETRY, "--dns-done, and %zu of %zu name servers say %s (%zu needed)",
                    views->agree, views->servers, to, views->enough);
        }
    }
    free(views);
    return ok;
}

static void settle_entry(struct operation *op, const struct dns *dns, struct dns_entry *entry,
                         const char *to)
{
    snprintf(entry->value, sizeof(entry->value), "%s", to);
    entry->next[0] = '\0';
    operation_say(op, "%s is %s", dns_record(dns), to);
}

static bool move_one(struct operation *op, struct dns *dns, struct dns_entry *entry, const char *to,
                     bool *out_moved, struct err *err)
{
    struct dns_set set = {.ttl_s = -1};
    struct dns_change change = {
        .from = entry->value[0] == '\0' ? NULL : entry->value, .to = to, .ttl_s = dns_ttl_s(dns)};
    bool there = false;
    *out_moved = false;
    if (op->options.dns_done) {
        if (!done_by_hand(op, dns, to, err)) {
            return by_hand(op, dns, &change, err);
        }
        settle_entry(op, dns, entry, to);
        return true;
    }
    /* of several providers one may be away: the others are moved */
    if (!dns_stands(dns, to, &there, &set, err) && dns_zone(dns)->also_count == 0) {
        return by_hand(op, dns, &change, err);
    }
    change.ttl_s = set.ttl_s > 0 ? set.ttl_s : change.ttl_s;
    if (!there) {
        err_clear(err);
        if (!dns_swap(dns, &change, err)) {
            return by_hand(op, dns, &change, err);
        }
        *out_moved = true;
        entry->ttl_s = change.ttl_s;
    }
    settle_entry(op, dns, entry, to);
    return true;
}

static bool move_all(struct operation *op, struct dns_recorded *now, json_t *rows, struct err *err)
{
    for (size_t i = 0; i < op->names_count; i++) {
        struct dns_entry *entry = dns_recorded_find(now, dns_record(op->names[i]));
        const char *to = target_value(op, i);
        char from[DNS_NAME_BYTES];
        bool moved = false;
        memcpy(from, entry->value, sizeof(from));
        if (!move_one(op, op->names[i], entry, to, &moved, err)) {
            return false;
        }
        json_array_append_new(rows, json_pack("{sssssssb}", "record", dns_record(op->names[i]),
                                              "from", from, "to", to, "moved", moved ? 1 : 0));
    }
    return true;
}

/* The record says that every name is the target's, and nothing is begun. */
bool step_dns_done(struct operation *op, bool *out, struct err *err)
{
    struct dns_recorded now;
    *out = false;
    if (op->names_count == 0) {
        *out = operation_kept(op, "dns") != NULL;
        return true;
    }
    if (!names_ok(op, err) || !recorded(op, &now, err)) {
        return false;
    }
    bool all = operation_kept(op, "dns") != NULL;
    for (size_t i = 0; i < op->names_count; i++) {
        const struct dns_entry *entry = dns_recorded_find(&now, dns_record(op->names[i]));
        all = all && entry->next[0] == '\0' && strcmp(entry->value, target_value(op, i)) == 0;
    }
    *out = all;
    return true;
}

bool step_dns_act(struct operation *op, struct err *err)
{
    struct dns_recorded now;
    struct err why = {0};
    json_t *rows = json_array();
    if (op->names_count == 0) {
        operation_say(op, "no name is configured: clients get a new bootstrap.servers");
        json_decref(rows);
        return operation_keep(op, "dns", json_pack("{s[]}", "records"), err);
    }
    if (!names_ok(op, err) || !recorded(op, &now, err) || !intend(op, &now, err)) {
        json_decref(rows);
        return false;
    }
    bool ok = move_all(op, &now, rows, err);
    /* evidence first: `done` wants both */
    bool kept =
        operation_keep(
            op, "dns",
            json_pack("{sosb}", "records", rows, "by_hand", op->options.dns_done ? 1 : 0), &why) &&
        write_recorded(op, &now, &why);
    if (ok && !kept) {
        *err = why;
    }
    return ok && kept;
}

bool step_dns_plan(struct operation *op, struct err *err)
{
    struct dns_recorded now;
    json_t *rows = json_array();
    bool ok = op->names_count == 0 || (names_ok(op, err) && recorded(op, &now, err));
    for (size_t i = 0; ok && i < op->names_count; i++) {
        struct dns_entry *entry = dns_recorded_find(&now, dns_record(op->names[i]));
        operation_say(op, "%s: %s would be %s", dns_record(op->names[i]), entry->value,
                      target_value(op, i));
        json_array_append_new(rows, json_pack("{ssssss}", "record", dns_record(op->names[i]),
                                              "from", entry->value, "to", target_value(op, i)));
    }
    if (op->names_count == 0) {
        operation_say(op, "no name is configured: clients get a new bootstrap.servers");
    }
    if (!ok) {
        json_decref(rows);
        return false;
    }
    return operation_keep(op, "dns", json_pack("{so}", "records", rows), err);
}

/* --- who says so -------------------------------------------------------------------------------------------------- */

struct watcher {
    struct operation *op;
    const char *record;
};

static void progress(void *arg, const struct dns_views *views)
{
    const struct watcher *watcher = arg;
    operation_say(watcher->op, "%s: %zu of %zu name servers say so, %zu of %zu resolvers",
                  watcher->record, views->agree, views->servers, views->resolvers_agree,
                  views->resolvers);
}

/* The port that clients of the site use. */
static void port_of(const struct config_site *site, char out[16])
{
    const char *servers = config_client_get(&site->kafka, "bootstrap.servers");
    size_t len = servers == NULL ? 0 : strcspn(servers, ",");
    const char *colon = servers == NULL ? NULL : memrchr(servers, ':', len);
    size_t digits = colon == NULL ? 0 : (size_t)(servers + len - colon - 1);
    bool good = digits > 0 && digits < 6 && strspn(colon + 1, "0123456789") >= digits;
    snprintf(out, 16, "%.*s", good ? (int)digits : 4, good ? colon + 1 : "9092");
}

/* The same settings by the service's own name: which cluster answers there, from this host? */
static char *cluster_at(const struct operation *op, const char *name, struct err *err)
{
    char port[16];
    char servers[300];
    char id[64] = "";
    int32_t brokers;
    struct config_client client = op->to->kafka;
    struct config_property *copy = calloc(client.properties_count + 1, sizeof(*copy));
    if (copy == NULL) {
        abort();
    }
    port_of(op->to, port);
    snprintf(servers, sizeof(servers), "%s:%s", name, port);
    for (size_t i = 0; i < client.properties_count; i++) {
        copy[i] = client.properties[i];
        if (strcmp(copy[i].name, "bootstrap.servers") == 0) {
            copy[i].value = servers;
        }
    }
    client.properties = copy;
    struct admin *admin =
        reach_any(servers, BOOTSTRAP_MS, err) ? admin_new(name, &client, BOOTSTRAP_MS, err) : NULL;
    bool ok = admin != NULL && admin_cluster_id(admin, id, &brokers, err);
    admin_free(admin);
    free(copy);
    return ok ? strdup(id) : NULL;
}

/* Asked beside the name servers: it may have to wait for an address that nobody answers at. */
struct bootstrap {
    struct operation *op;
    char wanted[64]; /* the target's cluster id */
    char *found;
    json_t *recorded; /* on the other sites; NULL = not asked */
    struct err why;
    pthread_t thread;
    bool started;
};

static void *bootstrap_thread(void *arg)
{
    struct bootstrap *ask = arg;
    ask->found = cluster_at(ask->op, dns_record(ask->op->names[0]), &ask->why);
    ask->recorded = names_elsewhere_tell(ask->op);
    return NULL;
}

static void bootstrap_begin(struct bootstrap *ask)
{
    int32_t brokers;
    if (ask->op->names_count == 0 ||
        !admin_cluster_id(ask->op->target, ask->wanted, &brokers, &ask->why)) {
        return;
    }
    ask->started = pthread_create(&ask->thread, NULL, bootstrap_thread, ask) == 0;
}

static json_t *bootstrap_end(struct bootstrap *ask)
{
    struct operation *op = ask->op;
    if (op->names_count == 0) {
        return json_null();
    }
    if (ask->started) {
        pthread_join(ask->thread, NULL);
    }
    const char *name = dns_record(op->names[0]);
    const char *found = ask->found;
    const char *is = found == NULL                     ? "unknown"
                     : strcmp(found, ask->wanted) == 0 ? "target"
                                                       : "other";
    if (found == NULL) {
        operation_say(op, "where %s leads this host is unknown: %.300s", name, ask->why.what);
    } else {
        operation_say(op, "%s leads this host to %s", name,
                      strcmp(is, "target") == 0 ? op->to->name
                                                : "another cluster: an old answer lives on here");
    }
    json_t *out =
        json_pack("{sssossss}", "name", name, "cluster",
                  found == NULL ? json_null() : json_string(found), "is", is, "why", ask->why.what);
    free(ask->found);
    return out;
}

static json_t *view_json(const struct dns *dns, const char *value, const struct dns_views *views)
{
    return json_pack("{sssssIsIsIsIsIsb}", "record", dns_record(dns), "value", value, "agree",
                     (json_int_t)views->agree, "servers", (json_int_t)views->servers, "enough",
                     (json_int_t)views->enough, "resolvers", (json_int_t)views->resolvers,
                     "resolvers_agree", (json_int_t)views->resolvers_agree, "settled",
                     views->settled ? 1 : 0);
}

bool step_verify_act(struct operation *op, struct err *err)
{
    json_t *rows = json_array();
    struct bootstrap ask = {.op = op};
    bool asked = true;
    bool settled = true;
    bootstrap_begin(&ask);
    int64_t until = clock_now_ms(op->clock) + SETTLE_MS;
    until = until < op->until_ms ? until : op->until_ms;
    for (size_t i = 0; asked && i < op->names_count; i++) {
        struct dns_views *views = calloc(1, sizeof(*views));
        struct watcher watcher = {op, dns_record(op->names[i])};
        int64_t left = until - clock_now_ms(op->clock);
        if (views == NULL) {
            abort();
        }
        asked = dns_settle(op->names[i], target_value(op, i), -1, left > 0 ? left : 0, progress,
                           &watcher, views, err);
        if (asked) {
            settled = settled && views->settled;
            json_array_append_new(rows, view_json(op->names[i], target_value(op, i), views));
        }
        free(views);
    }
    json_t *evidence = json_pack("{soso}", "records", rows, "bootstrap", bootstrap_end(&ask));
    json_object_set_new(evidence, "recorded", ask.recorded == NULL ? json_null() : ask.recorded);
    struct err why = {0};
    if (!operation_keep(op, "verify", evidence, &why)) {
        *err = why;
        return false;
    }
    if (asked && !settled) {
        err_set_code(err, ERR_RETRY, OPERATION_TIME_UP,
                     "not every name server says so yet: the change stands, and propagates");
        return err_hint(err, "the same command again waits on; ferry dns show %s",
                        op->service->name);
    }
    return asked;
}
