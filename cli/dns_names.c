#include "cli/dns_names.h"

#include <stdlib.h>
#include <string.h>

#include "cli/render.h"

#define CELL_BYTES DNS_TEXT_BYTES

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool open_records(struct dns_names *names, struct err *err)
{
    const struct context *context = names->context;
    const struct config_service *service = context->service;
    names->list = calloc(service->cnames_count + 1, sizeof(*names->list));
    if (names->list == NULL) {
        abort();
    }
    if (service->cnames_count == 0) {
        err_set(err, ERR_REFUSED, "service %s has no record in %.200s", service->name,
                context->config->file);
        return err_hint(err, "add services.%s.cname and its zone: docs/dns.md", service->name);
    }
    for (size_t i = 0; i < service->cnames_count; i++) {
        names->list[i].dns = dns_open(context->config, &service->cnames[i], err);
        names->count += names->list[i].dns != NULL ? 1 : 0;
        if (names->list[i].dns == NULL) {
            return false;
        }
    }
    return true;
}

bool dns_names_open(struct dns_names *names, struct context *context, bool needed, struct err *err)
{
    struct err why = {0};
    *names = (struct dns_names){.context = context};
    if (!open_records(names, err)) {
        return false;
    }
    names->known = dns_sites_read(context, &names->sites, &why);
    if (names->known) {
        return true;
    }
    if (needed) {
        *err = why;
        return false;
    }
    fprintf(stderr, "ferry: warning: %s\n", render_safe(why.what).text);
    return true;
}

void dns_names_close(struct dns_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        dns_close(names->list[i].dns);
    }
    free(names->list);
    names->list = NULL;
    names->count = 0;
    dns_sites_close(&names->sites);
}

struct dns_entry *dns_names_entry(struct dns_names *names, const struct dns_named *named)
{
    return dns_recorded_find(&names->sites.now, dns_record(named->dns));
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

void dns_named_change(struct dns_named *named, const char *from, const char *to)
{
    const char *given[] = {from, to};
    const char **kept[] = {&named->from, &named->to};
    for (int i = 0; i < 2; i++) {
        snprintf(named->texts[i], sizeof(named->texts[i]), "%s", given[i] == NULL ? "" : given[i]);
        *kept[i] = given[i] == NULL ? NULL : named->texts[i];
    }
}

/* @param to  not NULL */
static void check_from(struct dns_named *named, const char *from, const char *to)
{
    struct dns_check *check = &named->check;
    dns_named_change(named, from, to);
    named->checked = dns_check(named->dns, named->from, named->to, check, &named->err);
    if (named->checked && check->refusals_count == 0 && check->set.kind == DNS_CNAME &&
        strcmp(check->set.value, named->texts[1]) == 0) {
        check->done = true; /* recorded and standing: there is nothing to be moved */
    }
}

void dns_names_check(struct dns_names *names, struct dns_named *named, const char *to)
{
    const struct dns_entry *entry = dns_names_entry(names, named);
    check_from(named, entry == NULL || entry->value[0] == '\0' ? NULL : entry->value, to);
    bool begun = named->checked && entry != NULL && entry->next[0] != '\0' &&
                 named->check.set.kind == DNS_CNAME &&
                 strcmp(named->check.set.value, entry->next) == 0;
    if (begun && named->check.refusals_count > 0 && entry->value[0] != '\0') {
        check_from(named, entry->next, to);
    }
}

void dns_names_check_new(struct dns_names *names, struct dns_named *named, const char *to)
{
    const struct dns_entry *entry = dns_names_entry(names, named);
    bool ours = entry != NULL && (strcmp(entry->next, to) == 0 || strcmp(entry->value, to) == 0);
    check_from(named, NULL, to);
    if (ours && named->checked && named->check.done) {
        named->check.refusals_count = 0;
    }
}

static bool refused(const struct dns_names *names, const struct dns_named *named, struct err *err)
{
    const char *service = names->context->service->name;
    enum dns_refusal refusal = named->check.refusals[0].refusal;
    err_set(err, ERR_REFUSED, "refused: %s: %s", dns_refusal_name(refusal),
            named->check.refusals[0].what);
    switch (refusal) {
    case DNS_REFUSED_EXISTS:
    case DNS_REFUSED_CHANGED:
        return err_hint(err, "who put it there? To take it as it is: ferry dns adopt %s", service);
    case DNS_REFUSED_MISSING:
        return err_hint(err, "ferry dns create %s", service);
    case DNS_REFUSED_NO_ADDRESS:
    case DNS_REFUSED_LOOP:
        return err_hint(err, "mend services.%s.cname in %.150s, or the zone", service,
                        names->context->config->file);
    case DNS_REFUSED_OUTSIDE:
        return err_hint(err, "configure the zone that has it: docs/dns.md#refusals");
    case DNS_REFUSED_NO_CNAME:
    case DNS_REFUSED_SEVERAL:
    case DNS_REFUSED_WEIGHTED:
    case DNS_REFUSED_DIFFERS:
    case DNS_REFUSED_BY_PROVIDER:
        break;
    }
    return err_hint(err, "docs/dns.md#refusals");
}

bool dns_names_allowed(const struct dns_names *names, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_named *named = &names->list[i];
        if (!named->checked) {
            *err = named->err;
            return false;
        }
    }
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_named *named = &names->list[i];
        if (named->check.refusals_count > 0) {
            return refused(names, named, err);
        }
    }
    return true;
}

/* --- for people --------------------------------------------------------------------------------------------------- */

static void ttl_text(int64_t ttl_s, char out[RENDER_NUMBER_BYTES])
{
    if (ttl_s < 0) {
        snprintf(out, RENDER_NUMBER_BYTES, "-");
    } else {
        snprintf(out, RENDER_NUMBER_BYTES, "%lld s", (long long)ttl_s);
    }
}

static const char *verdict(const struct dns_named *named)
{
    if (!named->checked) {
        return "unknown";
    }
    if (named->check.refusals_count > 0) {
        return "refused";
    }
    return named->check.done ? "stands already" : "ok";
}

/* A line of a finding: first what it is of. */
static void say(const char *record, const char *kind, const char *what)
{
    char line[1000];
    snprintf(line, sizeof(line), "%.253s: %s: %.600s", record, kind, what);
    struct render_safe safe = render_safe(line);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
}

/* "" = nothing to warn of */
static void ttl_warning(const struct dns_names *names, const struct dns_named *named, char *out,
                        size_t room)
{
    int64_t most = dns_ttl_s(named->dns);
    out[0] = '\0';
    if (named->checked && named->check.set.ttl_s > most) {
        snprintf(out, room,
                 "clients may keep an old answer for %lld s, wanted are %lld s: ferry dns prepare "
                 "%s --ttl %lld",
                 (long long)named->check.set.ttl_s, (long long)most, names->context->service->name,
                 (long long)most);
    }
}

static void print_findings(const struct dns_names *names, const struct dns_named *named)
{
    char warning[400];
    char kind[64];
    const char *record = dns_record(named->dns);
    if (!named->checked) {
        say(record, "unknown", named->err.what);
        return;
    }
    for (size_t i = 0; i < named->check.refusals_count; i++) {
        snprintf(kind, sizeof(kind), "refused: %s",
                 dns_refusal_name(named->check.refusals[i].refusal));
        say(record, kind, named->check.refusals[i].what);
    }
    if (named->check.address_unknown) {
        snprintf(warning, sizeof(warning), "whether %.100s has an address is not known: %.250s",
                 named->to, named->check.unknown_why);
        say(record, "warning", warning);
    }
    ttl_warning(names, named, warning, sizeof(warning));
    if (warning[0] != '\0') {
        say(record, "warning", warning);
    }
}

void dns_names_print(const struct dns_names *names)
{
    enum { COLUMNS = 5 };
    const char **cells = calloc((names->count + 1) * COLUMNS, sizeof(*cells));
    char(*texts)[2][CELL_BYTES] = calloc(names->count, sizeof(*texts));
    if (cells == NULL || texts == NULL) {
        abort();
    }
    const char *const head[COLUMNS] = {"RECORD", "STANDS", "WOULD BE", "TTL", "CHECKS"};
    memcpy(cells, head, sizeof(head));
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_named *named = &names->list[i];
        const char **row = &cells[(i + 1) * COLUMNS];
        row[0] = dns_record(named->dns);
        row[1] = named->checked ? dns_set_text(&named->check.set, texts[i][0]) : "unknown";
        row[2] = named->to == NULL ? "-" : named->to;
        ttl_text(named->checked ? named->check.set.ttl_s : -1, texts[i][1]);
        row[3] = texts[i][1];
        row[4] = verdict(named);
    }
    render_table(stdout, cells, COLUMNS, (int)names->count + 1);
    free(texts);
    free(cells);
    for (size_t i = 0; i < names->count; i++) {
        print_findings(names, &names->list[i]);
    }
}

void dns_views_print(const struct dns_views *views, const char *value)
{
    enum { COLUMNS = 4 };
    const char **cells = calloc((views->count + 1) * COLUMNS, sizeof(*cells));
    char(*texts)[2][CELL_BYTES] = calloc(views->count + 1, sizeof(*texts));
    if (cells == NULL || texts == NULL) {
        abort();
    }
    const char *const head[COLUMNS] = {"  SERVER", "KIND", "TTL", "ANSWERS"};
    memcpy(cells, head, sizeof(head));
    for (size_t i = 0; i < views->count; i++) {
        const struct dns_view *view = &views->list[i];
        const char **row = &cells[(i + 1) * COLUMNS];
        char(*text)[CELL_BYTES] = texts[i];
        snprintf(text[0], CELL_BYTES, "  %s", view->server);
        row[0] = text[0];
        row[1] = view->resolver ? "resolver" : "authoritative";
        ttl_text(view->answered ? view->set.ttl_s : -1, text[1]);
        row[2] = text[1];
        row[3] = "no answer";
    }
    char(*answers)[CELL_BYTES] = calloc(views->count + 1, sizeof(*answers));
    if (answers == NULL) {
        abort();
    }
    for (size_t i = 0; i < views->count; i++) {
        const struct dns_view *view = &views->list[i];
        if (view->answered) {
            cells[(i + 1) * COLUMNS + 3] = dns_set_text(&view->set, answers[i]);
        } else {
            snprintf(answers[i], CELL_BYTES, "no answer: %.200s", render_safe(view->why).text);
            cells[(i + 1) * COLUMNS + 3] = answers[i];
        }
    }
    render_table(stdout, cells, COLUMNS, (int)views->count + 1);
    free(answers);
    free(texts);
    free(cells);
    if (value != NULL) {
        printf("  %zu of %zu authoritative servers (%zu needed) and %zu of %zu resolvers say %s: "
               "%s%s\n",
               views->agree, views->servers, views->enough, views->resolvers_agree,
               views->resolvers, value, views->settled ? "settled" : "not settled",
               views->provider ? "" : "; the provider does not call it done");
    }
}

/* --- for programs ------------------------------------------------------------------------------------------------- */

static json_t *check_json(const struct dns_named *named)
{
    json_t *refusals = json_array();
    for (size_t i = 0; i < named->check.refusals_count; i++) {
        json_array_append_new(refusals,
                              json_pack("{ssso}", "refusal",
                                        dns_refusal_name(named->check.refusals[i].refusal), "what",
                                        render_string(named->check.refusals[i].what)));
    }
    return refusals;
}

static json_t *views_json(const struct dns_views *views)
{
    json_t *list = json_array();
    for (size_t i = 0; i < views->count; i++) {
        const struct dns_view *view = &views->list[i];
        char text[DNS_TEXT_BYTES];
        json_array_append_new(
            list,
            json_pack("{sssssososo}", "server", view->server, "kind",
                      view->resolver ? "resolver" : "authoritative", "answer",
                      view->answered ? render_string(dns_set_text(&view->set, text)) : json_null(),
                      "ttl", render_int_or_null(view->answered ? view->set.ttl_s : -1), "why",
                      render_string(view->answered ? NULL : view->why)));
    }
    return json_pack("{sososisisisisisb}", "servers", list, "provider",
                     json_boolean(views->provider), "agree", (int)views->agree, "of",
                     (int)views->servers, "needed", (int)views->enough, "resolvers_agree",
                     (int)views->resolvers_agree, "resolvers", (int)views->resolvers, "settled",
                     views->settled ? 1 : 0);
}

static json_t *entry_json(const struct dns_entry *entry)
{
    return json_pack(
        "{sosososo}", "value", entry->value[0] == '\0' ? json_null() : json_string(entry->value),
        "next", entry->next[0] == '\0' ? json_null() : json_string(entry->next), "ttl",
        render_int_or_null(entry->ttl_s), "ttl_before", render_int_or_null(entry->ttl_before_s));
}

static json_t *named_json(const struct dns_names *names, const struct dns_named *named)
{
    char text[DNS_TEXT_BYTES];
    char warning[400];
    const struct dns_entry *entry = dns_recorded_find(
        (struct dns_recorded *)(uintptr_t)&names->sites.now, dns_record(named->dns));
    json_t *out = json_pack(
        "{sssssssoso}", "record", dns_record(named->dns), "zone", dns_zone(named->dns)->name,
        "provider", config_provider_name(dns_zone(named->dns)->provider), "recorded",
        entry == NULL ? json_null() : entry_json(entry), "to", render_string(named->to));
    if (named->checked) {
        ttl_warning(names, named, warning, sizeof(warning));
        json_object_set_new(out, "stands", render_string(dns_set_text(&named->check.set, text)));
        json_object_set_new(out, "ttl", render_int_or_null(named->check.set.ttl_s));
        json_object_set_new(out, "refusals", check_json(named));
        json_object_set_new(out, "done", json_boolean(named->check.done));
        json_object_set_new(out, "ttl_warning", render_string(warning[0] == '\0' ? NULL : warning));
        json_object_set_new(out, "address_known", json_boolean(!named->check.address_unknown));
    } else if (named->err.kind != ERR_NONE) {
        json_object_set_new(out, "stands", json_null());
        json_object_set_new(out, "error", render_string(named->err.what));
    }
    if (named->looked) {
        json_object_set_new(out, "seen", views_json(&named->views));
    }
    json_object_set_new(out, "moved", json_boolean(named->moved));
    return out;
}

json_t *dns_names_json(const struct dns_names *names)
{
    json_t *list = json_array();
    json_t *behind = json_array();
    for (size_t i = 0; i < names->count; i++) {
        json_array_append_new(list, named_json(names, &names->list[i]));
    }
    for (size_t i = 0; i < names->sites.count; i++) {
        const struct dns_site *site = &names->sites.list[i];
        if ((!site->home || site->topic) && !site->written) {
            json_array_append_new(behind, json_string(site->site->name));
        }
    }
    return json_pack("{sssososososo}", "service", names->context->service->name, "epoch",
                     render_int_or_null(names->known ? names->sites.now.epoch : -1), "records",
                     list, "sites_behind", behind, "primary",
                     render_string(names->known ? names->sites.primary : NULL), "recorded_known",
                     json_boolean(names->known));
}
