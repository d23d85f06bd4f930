/* The names of a service by hand: shown, recorded, made, moved. A failover does the same with steps of its own; here
 * nothing else happens: no fence, no offsets, no role.
 *
 * A swap is recorded before it is done (`next`) and after it (`value`): whatever was interrupted, the same command again
 * ends it.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/dns_names.h"
#include "cli/render.h"

#define WAIT_S     60
#define WAIT_S_MAX 3600
#define TTL_S_MAX  86400

typedef bool work_fn(struct dns_names *names, int *out_code, struct err *err);

/* --- what they share ---------------------------------------------------------------------------------------------- */

static const struct command_line *line_of(const struct dns_names *names)
{
    return names->context->line;
}

/* The site of an option. */
static bool site_option(const struct dns_names *names, const char *option, const char **out,
                        struct err *err)
{
    const struct config_service *service = names->context->service;
    const char *name = command_get(line_of(names), option);
    if (name == NULL) {
        return err_set(err, ERR_USAGE, "--%s SITE is needed", option);
    }
    for (size_t i = 0; i <= service->others_count; i++) {
        const char *site = i == 0 ? service->home : service->others[i - 1];
        if (strcmp(site, name) == 0) {
            *out = site;
            return true;
        }
    }
    err_set(err, ERR_USAGE, "service %s has no site '%.100s'", service->name, name);
    return err_hint(err, "its sites: %s, %s, ..: ferry config show", service->home,
                    service->others[0]);
}

/* Somebody moves the service, and the names with it. */
static bool nobody_operates(const struct dns_names *names, struct err *err)
{
    for (size_t i = 0; i < names->sites.count; i++) {
        if (names->sites.list[i].operation_open) {
            err_set(err, ERR_REFUSED, "an operation on service %s is open: its names are its own",
                    names->context->service->name);
            return err_hint(err, "ferry status %s", names->context->service->name);
        }
    }
    return true;
}

static bool all_recorded(struct dns_names *names, struct err *err)
{
    const char *service = names->context->service->name;
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_entry *entry = dns_names_entry(names, &names->list[i]);
        if (entry == NULL || entry->value[0] == '\0') {
            err_set(err, ERR_REFUSED, "what stands at %s is not recorded yet",
                    dns_record(names->list[i].dns));
            return err_hint(err, "it exists: ferry dns adopt %s; it does not: ferry dns create %s",
                            service, service);
        }
    }
    return true;
}

/* Every record against its value at a site; print what is found. @param check  dns_names_check(), or _new() */
static bool check_all(struct dns_names *names, const char *site,
                      void (*check)(struct dns_names *, struct dns_named *, const char *),
                      struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const char *to = dns_value_at(names->list[i].dns, site);
        if (to == NULL) {
            err_set(err, ERR_REFUSED, "%s has no value at site %s", dns_record(names->list[i].dns),
                    site);
            return err_hint(err, "add it: services.%s.cname, at.%s, in %.150s",
                            names->context->service->name, site, names->context->config->file);
        }
        check(names, &names->list[i], to);
    }
    if (!names->context->json) {
        dns_names_print(names);
    }
    return true;
}

static size_t to_do(const struct dns_names *names)
{
    size_t count = 0;
    for (size_t i = 0; i < names->count; i++) {
        count += names->list[i].check.done ? 0 : 1;
    }
    return count;
}

/* "1 record", "3 records" that are to be changed. Returns out. */
#define COUNTED_BYTES 40
static const char *counted(const struct dns_names *names, char out[COUNTED_BYTES])
{
    size_t count = to_do(names);
    snprintf(out, COUNTED_BYTES, "%zu record%s", count, count == 1 ? "" : "s");
    return out;
}

/* --- until it is settled ------------------------------------------------------------------------------------------ */

struct watcher {
    const struct dns_names *names;
    const char *record;
};

static void progress(void *arg, const struct dns_views *views)
{
    const struct watcher *watcher = arg;
    if (!watcher->names->context->quiet) {
        fprintf(
            stderr,
            "  %s: %zu of %zu authoritative servers say so (%zu needed), %zu of %zu resolvers\n",
            watcher->record, views->agree, views->servers, views->enough, views->resolvers_agree,
            views->resolvers);
    }
}

/* @param ttl_s  -1 = it does not matter. *out_code: EXIT_TIME when it is not settled, told on stderr. */
static bool settle_all(struct dns_names *names, int64_t ttl_s, int *out_code, struct err *err)
{
    int64_t wait_s = WAIT_S;
    const struct clock *clock = clock_system();
    if (!command_option_number(line_of(names), "wait", 0, WAIT_S_MAX, &wait_s, err)) {
        return false;
    }
    int64_t until = clock_now_ms(clock) + wait_s * 1000;
    for (size_t i = 0; i < names->count; i++) {
        struct dns_named *named = &names->list[i];
        struct watcher watcher = {names, dns_record(named->dns)};
        int64_t left = until - clock_now_ms(clock);
        named->looked = dns_settle(named->dns, named->to, ttl_s, left > 0 ? left : 0, progress,
                                   &watcher, &named->views, err);
        if (!named->looked) {
            return false;
        }
        if (!names->context->json) {
            printf("%s\n", dns_record(named->dns));
            dns_views_print(&named->views, named->to);
        }
        *out_code = named->views.settled ? *out_code : EXIT_TIME;
    }
    if (*out_code == EXIT_TIME) {
        struct err late = {0};
        err_set(&late, ERR_RETRY,
                "not settled within %lld s: the change stands, not everybody says so",
                (long long)wait_s);
        err_hint(&late, "the same command again waits on; ferry dns show %s",
                 names->context->service->name);
        command_fail(line_of(names), &late);
    }
    return true;
}

/* --- the change itself -------------------------------------------------------------------------------------------- */

/* What a person types when the provider does not do it for us; the command again takes what stands there. */
static void print_by_hand(const struct dns_named *named, const struct dns_change *change)
{
    char *text = dns_by_hand(named->dns, change);
    char *rest = NULL;
    fprintf(stderr, "  by hand:\n");
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        fprintf(stderr, "    %s\n", line);
    }
    free(text);
}

/* Before: a swap to `to` begins. */
static bool record_intent(struct dns_names *names, const char *site, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_named *named = &names->list[i];
        struct dns_entry *entry = dns_recorded_at(&names->sites.now, dns_record(named->dns));
        if (entry == NULL) {
            return err_set(err, ERR_REFUSED, "more records than can be recorded");
        }
        if (!named->check.done) {
            snprintf(entry->value, sizeof(entry->value), "%s",
                     named->from == NULL ? "" : named->from);
            snprintf(entry->next, sizeof(entry->next), "%s", named->to);
        }
    }
    return dns_sites_write(&names->sites, site, err);
}

/* After: what was moved, or stood there already, is what stands.
 * @param sure  the others were not changed: nothing is begun any more */
static bool record_outcome(struct dns_names *names, int64_t ttl_s, bool sure, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_named *named = &names->list[i];
        struct dns_entry *entry = dns_recorded_at(&names->sites.now, dns_record(named->dns));
        if (entry != NULL && (named->moved || named->check.done)) {
            snprintf(entry->value, sizeof(entry->value), "%s", named->to);
            entry->next[0] = '\0';
            entry->ttl_s = ttl_s >= 0 ? ttl_s : named->check.set.ttl_s;
        } else if (entry != NULL && sure) {
            entry->next[0] = '\0';
        }
    }
    return dns_sites_write(&names->sites, NULL, err);
}

static void tell_change(const struct dns_named *named, const struct dns_change *change)
{
    if (change->from != NULL && strcmp(change->from, change->to) == 0) {
        printf("%s: TTL is %lld s now\n", dns_record(named->dns), (long long)change->ttl_s);
    } else {
        printf("%s: is %s now\n", dns_record(named->dns), change->to);
    }
}

/* @param ttl_s  of what is created; -1 = as it stands. Stops at the first that fails; *out_moved has how many did not. */
static bool change_all(struct dns_names *names, int64_t ttl_s, size_t *out_moved, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct dns_named *named = &names->list[i];
        const struct dns_change change = {
            .from = named->from,
            .to = named->to,
            .ttl_s = ttl_s >= 0 ? ttl_s : named->check.set.ttl_s,
        };
        if (named->check.done) {
            continue;
        }
        named->moved = dns_swap(named->dns, &change, err);
        if (!named->moved) {
            print_by_hand(named, &change);
            return false;
        }
        *out_moved += 1;
        if (!names->context->json) {
            tell_change(named, &change);
        }
    }
    return true;
}

/* Intent, change, outcome. *out_code: EXIT_PARTLY when something stands that is not recorded, or only a part moved. */
static bool carry_out(struct dns_names *names, const char *site, int64_t ttl_s, int *out_code,
                      struct err *err)
{
    struct err why = {0};
    size_t moved = 0;
    if (!record_intent(names, site, err)) {
        return false;
    }
    bool ok = change_all(names, ttl_s, &moved, err);
    if (!record_outcome(names, ttl_s, ok || err->kind == ERR_REFUSED, &why)) {
        if (ok) {
            *err = why;
            err_wrap(err, "moved, and not recorded");
            err_hint(err, "the same command again records it");
        }
        *out_code = EXIT_PARTLY;
        return false;
    }
    *out_code = !ok && (moved > 0 || err->kind == ERR_RETRY) ? EXIT_PARTLY : *out_code;
    return ok;
}

/* Does what is recorded say what stands, everywhere, and nothing begun? */
static bool recorded_so(struct dns_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_entry *entry = dns_names_entry(names, &names->list[i]);
        if (entry == NULL || entry->next[0] != '\0' ||
            strcmp(entry->value, names->list[i].to) != 0) {
            return false;
        }
    }
    return !dns_sites_behind(&names->sites);
}

/* --- show --------------------------------------------------------------------------------------------------------- */

static void print_recorded(struct dns_names *names, const struct dns_named *named)
{
    const struct dns_entry *entry = dns_names_entry(names, named);
    const char *record = dns_record(named->dns);
    const char *site = entry == NULL ? NULL : dns_site_of(named->dns, entry->value);
    if (entry == NULL) {
        printf("%s  %s\n", record, names->known ? "not recorded" : "what is recorded is unknown");
    } else {
        printf("%s  recorded %s%s%s%s, TTL %lld s", record,
               entry->value[0] == '\0' ? "nothing" : entry->value, site == NULL ? "" : " (",
               site == NULL ? "" : site, site == NULL ? "" : ")", (long long)entry->ttl_s);
        if (entry->ttl_before_s >= 0) {
            printf(", before `prepare` %lld s", (long long)entry->ttl_before_s);
        }
        puts("");
    }
    if (entry != NULL && entry->next[0] != '\0') {
        printf("  a swap to %s was begun: the same command again ends it\n", entry->next);
    }
}

static bool show(struct dns_names *names, int *out_code, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct dns_named *named = &names->list[i];
        const struct dns_entry *entry = dns_names_entry(names, named);
        const char *value = entry == NULL || entry->value[0] == '\0' ? NULL : entry->value;
        size_t answered = 0;
        named->looked = dns_look(named->dns, value, -1, &named->views, err);
        if (!named->looked) {
            return false;
        }
        for (size_t j = 0; j < named->views.count; j++) {
            answered += named->views.list[j].answered ? 1 : 0;
        }
        *out_code = answered == 0 ? EXIT_UNREACHABLE : *out_code;
        if (!names->context->json) {
            print_recorded(names, named);
            dns_views_print(&named->views, value);
        }
    }
    return true;
}

/* --- adopt, create ------------------------------------------------------------------------------------------------ */

/* As it stands, if the provider would change it from there. */
static bool look_as_it_stands(struct dns_named *named, struct err *err)
{
    struct dns_set set;
    if (!dns_get(named->dns, &set, err)) {
        return false;
    }
    /* what is no CNAME is refused by the check, whatever the value */
    const char *value = set.kind == DNS_CNAME ? set.value : dns_record(named->dns);
    dns_named_change(named, value, value);
    named->checked = dns_check(named->dns, value, value, &named->check, &named->err);
    return true;
}

static bool ask_adopt(const struct dns_names *names, struct err *err)
{
    char question[1200];
    size_t used = (size_t)snprintf(question, sizeof(question),
                                   "From now on these values count as recorded, and Ferry swaps "
                                   "from them and from nothing else:");
    for (size_t i = 0; i < names->count && used < sizeof(question) - 1; i++) {
        const struct dns_named *named = &names->list[i];
        const char *site = dns_site_of(named->dns, named->to);
        used += (size_t)snprintf(
            question + used, sizeof(question) - used, "%s %.200s is %.200s (%s)", i == 0 ? "" : ",",
            dns_record(named->dns), named->to, site == NULL ? "no site's value" : site);
    }
    return confirm(line_of(names), question, names->context->service->name, err);
}

static bool adopt(struct dns_names *names, int *out_code, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!look_as_it_stands(&names->list[i], err)) {
            return false;
        }
        names->list[i].check.done = true; /* nothing is to be changed there */
    }
    if (!names->context->json) {
        dns_names_print(names);
    }
    if (!dns_names_allowed(names, err) || !nobody_operates(names, err)) {
        return false;
    }
    if (!recorded_so(names) && (!ask_adopt(names, err) || !record_outcome(names, -1, true, err))) {
        return false;
    }
    if (dns_sites_behind(&names->sites)) {
        *out_code = EXIT_PARTLY;
        fprintf(stderr, "  next: ferry dns show %s; then the same command again\n",
                names->context->service->name);
    }
    for (size_t i = 0; !names->context->json && i < names->count; i++) {
        printf("%s: recorded is %s\n", dns_record(names->list[i].dns), names->list[i].to);
    }
    return true;
}

static bool create(struct dns_names *names, int *out_code, struct err *err)
{
    char question[600];
    char count[COUNTED_BYTES];
    const char *site = names->sites.primary;
    int64_t ttl_s = names->count > 0 ? dns_ttl_s(names->list[0].dns) : 0;
    if ((command_has(line_of(names), "at") && !site_option(names, "at", &site, err)) ||
        !command_option_number(line_of(names), "ttl", 1, TTL_S_MAX, &ttl_s, err) ||
        !nobody_operates(names, err) || !check_all(names, site, dns_names_check_new, err) ||
        !dns_names_allowed(names, err)) {
        return false;
    }
    snprintf(question, sizeof(question),
             "To be created for service %s: %s, TTL %lld s, with the names of site %.100s.",
             names->context->service->name, counted(names, count), (long long)ttl_s, site);
    if (to_do(names) > 0 &&
        (!confirm(line_of(names), question, names->context->service->name, err) ||
         !carry_out(names, NULL, ttl_s, out_code, err))) {
        return false;
    }
    if (!recorded_so(names) && !record_outcome(names, -1, true, err)) {
        *out_code = EXIT_PARTLY;
        return false;
    }
    return settle_all(names, -1, out_code, err);
}

/* --- plan, swap --------------------------------------------------------------------------------------------------- */

static bool plan(struct dns_names *names, int *out_code, struct err *err)
{
    const char *site = NULL;
    (void)out_code;
    return site_option(names, "to", &site, err) && all_recorded(names, err) &&
           check_all(names, site, dns_names_check, err) && dns_names_allowed(names, err) &&
           nobody_operates(names, err);
}

static bool ask_swap(const struct dns_names *names, const char *site, struct err *err)
{
    char question[1100];
    char count[COUNTED_BYTES];
    snprintf(question, sizeof(question),
             "To be moved of service %s: %s, to site %.100s: %.200s from %.200s to %.200s%s. New "
             "connections go there from then on. Nothing else is done: no fence, no offsets of "
             "groups, no role.",
             names->context->service->name, counted(names, count), site,
             dns_record(names->list[0].dns),
             names->list[0].from == NULL ? "nothing" : names->list[0].from, names->list[0].to,
             names->count > 1 ? ", and so on" : "");
    return confirm(line_of(names), question, names->context->service->name, err);
}

/* Do the authoritative servers say what a hand was to put there? Asked until they do or --wait is over. */
static bool wait_for_hand(struct dns_names *names, struct dns_named *named, const char *to,
                          struct err *err)
{
    const struct clock *clock = clock_system();
    const struct timespec pause = {.tv_nsec = 500 * 1000000};
    int64_t wait_s = WAIT_S;
    if (!command_option_number(line_of(names), "wait", 0, WAIT_S_MAX, &wait_s, err)) {
        return false;
    }
    int64_t until = clock_now_ms(clock) + wait_s * 1000;
    named->looked = dns_look(named->dns, to, -1, &named->views, err);
    while (named->looked && !named->views.authoritative && clock_now_ms(clock) < until) {
        nanosleep(&pause, NULL);
        named->looked = dns_look(named->dns, to, -1, &named->views, err);
    }
    if (named->looked && !named->views.authoritative) {
        err_set(err, ERR_RETRY,
                "--dns-done, and %zu of %zu authoritative servers of %s say %s (%zu needed)",
                named->views.agree, named->views.servers, dns_record(named->dns), to,
                named->views.enough);
        err_hint(err, "ferry dns show %s; the same command again waits on",
                 names->context->service->name);
    }
    return named->looked && named->views.authoritative;
}

/* A provider could not be asked: a person can do what Ferry would. */
static void tell_by_hand(struct dns_names *names, const char *site)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_named *named = &names->list[i];
        const struct dns_entry *entry = dns_names_entry(names, named);
        if (!named->checked && named->err.kind == ERR_RETRY && entry != NULL) {
            const struct dns_change change = {
                .from = entry->value, .to = named->to, .ttl_s = entry->ttl_s};
            print_by_hand(named, &change);
            fprintf(stderr, "    then: ferry dns swap %s --to %s --dns-done\n",
                    names->context->service->name, site);
        }
    }
}

/* What the servers say, else what is recorded. */
static int64_t ttl_of(struct dns_names *names, const struct dns_named *named)
{
    const struct dns_entry *entry = dns_names_entry(names, named);
    for (size_t i = 0; i < named->views.count; i++) {
        const struct dns_view *view = &named->views.list[i];
        if (!view->resolver && view->answered && view->set.kind == DNS_CNAME &&
            strcmp(view->set.value, named->to) == 0) {
            return view->set.ttl_s;
        }
    }
    return entry == NULL ? -1 : entry->ttl_s;
}

/* The provider is not asked at all: it may be what is away. */
static bool take_by_hand(struct dns_names *names, const char *site, int *out_code, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct dns_named *named = &names->list[i];
        const char *to = dns_value_at(named->dns, site);
        if (to == NULL) {
            return err_set(err, ERR_REFUSED, "%s has no value at site %s", dns_record(named->dns),
                           site);
        }
        dns_named_change(named, to, to);
        if (!wait_for_hand(names, named, to, err)) {
            *out_code = named->looked ? EXIT_TIME : *out_code;
            return false;
        }
        named->check.set.ttl_s = ttl_of(names, named);
        named->check.done = true;
        if (!names->context->json) {
            printf("%s\n", dns_record(named->dns));
            dns_views_print(&named->views, to);
        }
    }
    return recorded_so(names) || record_outcome(names, -1, true, err);
}

static bool swap(struct dns_names *names, int *out_code, struct err *err)
{
    const char *site = NULL;
    if (command_has(line_of(names), "dns-done")) {
        return site_option(names, "to", &site, err) && all_recorded(names, err) &&
               nobody_operates(names, err) && take_by_hand(names, site, out_code, err);
    }
    if (!site_option(names, "to", &site, err) || !all_recorded(names, err) ||
        !nobody_operates(names, err) || !check_all(names, site, dns_names_check, err)) {
        return false;
    }
    if (!dns_names_allowed(names, err)) {
        tell_by_hand(names, site);
        return false;
    }
    if (to_do(names) > 0 &&
        (!ask_swap(names, site, err) || !carry_out(names, site, -1, out_code, err))) {
        return false;
    }
    if (to_do(names) == 0 && !recorded_so(names) && !record_outcome(names, -1, true, err)) {
        *out_code = EXIT_PARTLY;
        return false;
    }
    return settle_all(names, -1, out_code, err);
}

/* --- prepare ------------------------------------------------------------------------------------------------------ */

static void remember_ttl(struct dns_names *names, const struct dns_named *named, int64_t ttl_s)
{
    struct dns_entry *entry = dns_names_entry(names, named);
    int64_t before = named->check.set.ttl_s;
    if (entry->ttl_before_s < 0 && ttl_s < before) {
        entry->ttl_before_s = before;
    } else if (ttl_s >= entry->ttl_before_s) {
        entry->ttl_before_s = -1; /* given back */
    }
}

static void check_ttl(struct dns_names *names, int64_t ttl_s)
{
    for (size_t i = 0; i < names->count; i++) {
        struct dns_named *named = &names->list[i];
        const struct dns_entry *entry = dns_names_entry(names, named);
        dns_named_change(named, entry->value, entry->value);
        named->checked = dns_check(named->dns, named->from, named->to, &named->check, &named->err);
        named->check.done =
            named->checked && named->check.refusals_count == 0 && named->check.set.ttl_s == ttl_s;
    }
    if (!names->context->json) {
        dns_names_print(names);
    }
}

static bool ask_prepare(const struct dns_names *names, int64_t ttl_s, struct err *err)
{
    char question[500];
    char count[COUNTED_BYTES];
    int64_t longest = 0;
    for (size_t i = 0; i < names->count; i++) {
        int64_t now = names->list[i].check.set.ttl_s;
        longest = now > longest ? now : longest;
    }
    snprintf(
        question, sizeof(question),
        "To be changed of service %s: %s, to TTL %lld s; no value changes. Answers that clients "
        "have already live on for up to %lld s: a swap is quick only then.",
        names->context->service->name, counted(names, count), (long long)ttl_s, (long long)longest);
    return confirm(line_of(names), question, names->context->service->name, err);
}

static bool set_ttls(struct dns_names *names, int64_t ttl_s, int *out_code, struct err *err)
{
    size_t moved = 0;
    struct err why = {0};
    bool ok = change_all(names, ttl_s, &moved, err);
    for (size_t i = 0; i < names->count; i++) {
        if (names->list[i].moved) {
            remember_ttl(names, &names->list[i], ttl_s);
        }
    }
    *out_code = !ok && moved > 0 ? EXIT_PARTLY : *out_code;
    if (moved > 0 && !record_outcome(names, ttl_s, true, &why)) {
        *out_code = EXIT_PARTLY;
        *err = ok ? why : *err;
        ok = false;
    }
    return ok;
}

static bool nothing_begun(struct dns_names *names, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct dns_entry *entry = dns_names_entry(names, &names->list[i]);
        if (entry->next[0] != '\0') {
            err_set(err, ERR_REFUSED, "a swap of %s to %s was begun and not ended",
                    dns_record(names->list[i].dns), entry->next);
            return err_hint(err, "end it first: ferry dns swap %s --to SITE",
                            names->context->service->name);
        }
    }
    return true;
}

static bool have_ttls(const struct dns_names *names, struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (dns_is_alias(names->list[i].dns)) {
            err_set(err, ERR_REFUSED, "%s is an alias: its time to live is its target's",
                    dns_record(names->list[i].dns));
            return err_hint(err, "lower that of the target where it is made: "
                                 "docs/dns.md#alias-records");
        }
    }
    return true;
}

static bool prepare(struct dns_names *names, int *out_code, struct err *err)
{
    int64_t ttl_s = names->count > 0 ? dns_ttl_s(names->list[0].dns) : 0;
    if (!command_option_number(line_of(names), "ttl", 1, TTL_S_MAX, &ttl_s, err) ||
        !have_ttls(names, err) || !all_recorded(names, err) || !nothing_begun(names, err) ||
        !nobody_operates(names, err)) {
        return false;
    }
    check_ttl(names, ttl_s);
    if (!dns_names_allowed(names, err)) {
        return false;
    }
    if (to_do(names) > 0 &&
        (!ask_prepare(names, ttl_s, err) || !set_ttls(names, ttl_s, out_code, err))) {
        return false;
    }
    return settle_all(names, ttl_s, out_code, err);
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

static int dns_command(const struct command_line *line, bool needed, work_fn *work)
{
    struct context context;
    struct dns_names names = {.count = 0};
    struct err err = {0};
    int code = EXIT_DONE;
    bool ok =
        context_service(&context, line, &err) && dns_names_open(&names, &context, needed, &err);
    bool opened = ok;
    ok = ok && work(&names, &code, &err);
    if (opened && context.json && (ok || err.kind != ERR_USAGE)) {
        render_json(dns_names_json(&names));
    }
    if (!ok) {
        int failed = command_fail(line, &err);
        code = code == EXIT_DONE ? failed : code;
    }
    dns_names_close(&names);
    context_close(&context);
    return code;
}

int cmd_dns_show(const struct command_line *line)
{
    return dns_command(line, false, show);
}

int cmd_dns_create(const struct command_line *line)
{
    return dns_command(line, true, create);
}

int cmd_dns_adopt(const struct command_line *line)
{
    return dns_command(line, true, adopt);
}

int cmd_dns_plan(const struct command_line *line)
{
    return dns_command(line, true, plan);
}

int cmd_dns_swap(const struct command_line *line)
{
    return dns_command(line, true, swap);
}

int cmd_dns_prepare(const struct command_line *line)
{
    return dns_command(line, true, prepare);
}
