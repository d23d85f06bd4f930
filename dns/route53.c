/* Amazon Route 53. A change batch is all or nothing, and its DELETE has to name what stands there exactly: with CREATE in
 * one batch that is a compare-and-swap. Signed by libcurl (AWS Signature Version 4). XML by expat, without any entity.
 *
 * https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
 */
#include <stdlib.h>
#include <string.h>

#include "dns/api.h"
#include "dns/aws_keys.h"
#include "dns/name.h"
#include "dns/route53_xml.h"

#define NAMESPACE "https://route53.amazonaws.com/doc/2013-04-01/"
#define TEXT_BYTES \
    1100 /* of one element: the longest we look at is a name with \ooo escapes, or a message */
#define DEPTH_MAX  16
#define SETS_ASKED "20" /* types of one name: A, AAAA, CNAME.. and a few weighted */
#define ALIAS_TTL_S \
    60 /* an alias has none of its own: what clients are given with a load balancer's addresses */

struct route53 {
    struct api api; /* first */
    char sigv4[80]; /* "aws:amz:REGION:route53" */
    struct aws_keys keys;
    const struct config_cname *cname; /* of an alias, else NULL */
    struct dns_set found;             /* by the last read: what a DELETE has to name */
    struct route53_alias aliases[ROUTE53_ALIASES_MAX]; /* likewise */
    size_t aliases_count;
    char change_id[80]; /* of the last change; "" = none of ours */
};

/* --- asking ------------------------------------------------------------------------------------------------------- */

static bool throttled(const struct https_answer *answer)
{
    return answer->status >= 400 && answer->body != NULL &&
           (strstr(answer->body, "<Code>Throttling") != NULL ||
            strstr(answer->body, "<Code>PriorRequestNotComplete") != NULL);
}

struct call {
    const char *method;
    const char *path;
    const char *body;
    const char *doing; /* for errors */
    const char *root;  /* element of the answer that is wanted */
    const char *name;  /* whose sets count */
};

/* @param out  API_DONE: what was read */
static enum api_got ask(struct route53 *self, const struct call *call, struct route53_answer *out,
                        struct err *err)
{
    struct api *api = &self->api;
    char url[HTTPS_URL_BYTES];
    char words[ROUTE53_TEXT_BYTES + 100];
    struct https_answer answer;
    if (!aws_keys_have(&self->keys, api->https, api->zone, err)) {
        err_wrap(err, "route53, %s", call->doing);
        return API_REFUSED;
    }
    const struct https_ask request = {
        .method = call->method,
        .url = url,
        .headers = {"Content-Type: application/xml", self->keys.token_header},
        .body = call->body,
        .sigv4 = self->sigv4,
        .user = self->keys.access_key,
        .password = self->keys.secret,
        .throttled = throttled,
    };
    snprintf(url, sizeof(url), "%s/2013-04-01%s", api->endpoint, call->path);
    if (!https_ask(api->https, &request, &answer, err)) {
        err_wrap(err, "route53, %s", call->doing);
        return answer.maybe_sent ? API_UNKNOWN : API_REFUSED;
    }
    bool xml = route53_parse(answer.body, answer.len, call->name, out);
    snprintf(words, sizeof(words), "%s%s%s", xml ? out->code : "",
             xml && out->code[0] != '\0' ? ": " : "", xml ? out->message : "");
    enum api_got got = api_judge(api, &request, call->doing, &answer, words, err);
    if (got == API_DONE && (!xml || strcmp(out->root, call->root) != 0)) {
        api_unfit(api, call->doing, xml ? "other XML" : "no XML", err);
        got = API_UNKNOWN;
    }
    /* "..it was not found", "..values provided do not match the current values": the comparison said no */
    if (got == API_REFUSED && xml && strcmp(out->code, "InvalidChangeBatch") == 0) {
        got = API_MISMATCH;
    }
    https_answer_done(&answer);
    return got;
}

/* --- read --------------------------------------------------------------------------------------------------------- */

static bool take(const struct api *api, const struct route53_sets *found, const char *doing,
                 struct dns_set *out, struct err *err)
{
    struct dns_set set = {.kind = DNS_NOTHING, .ttl_s = -1};
    if (found->chosen) {
        set.kind = DNS_WEIGHTED;
    } else if (found->cnames > 1 || found->values > 1) {
        set.kind = DNS_SEVERAL;
    } else if (found->alias || (found->cnames == 0 && found->others > 0)) {
        set.kind = DNS_OTHER;
    } else if (found->cnames == 1 && !api_cname(found->value, found->ttl_s, &set)) {
        return api_unfit(api, doing, "a CNAME without value or TTL", err);
    }
    *out = set;
    return true;
}

/* An alias is one value, and no CNAME: what else is at the name (its apex has NS and SOA) is not ours to look at. */
static bool take_alias(const struct api *api, const struct route53_sets *found, const char *doing,
                       struct dns_set *out, struct err *err)
{
    struct dns_set set = {.kind = DNS_NOTHING, .ttl_s = -1};
    const struct route53_alias *first = &found->aliases[0];
    const struct route53_alias *last = &found->aliases[found->aliases_count > 1 ? 1 : 0];
    if (found->chosen) {
        set.kind = DNS_WEIGHTED;
    } else if (found->cnames > 0 || found->addresses > 0) {
        set.kind = DNS_OTHER;
    } else if (found->aliases_count > 0 && strcmp(first->target, last->target) != 0) {
        set.kind = DNS_SEVERAL;
    } else if (found->aliases_count > 0 &&
               (first->hosted_zone[0] == '\0' || last->hosted_zone[0] == '\0' ||
                !api_cname(first->target, ALIAS_TTL_S, &set))) {
        return api_unfit(api, doing, "an alias without a target", err);
    }
    *out = set;
    return true;
}

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct route53 *self = (struct route53 *)api;
    char path[DNS_NAME_BYTES + 300];
    char doing[DNS_NAME_BYTES + 20];
    struct route53_answer reader;
    snprintf(doing, sizeof(doing), "reading %s", name);
    /* in the order that they are signed in */
    snprintf(path, sizeof(path), "/hostedzone/%s/rrset?maxitems=" SETS_ASKED "&name=%s.",
             api->zone->id, name);
    const struct call call = {"GET", path, NULL, doing, "ListResourceRecordSetsResponse", name};
    if (ask(self, &call, &reader, err) != API_DONE ||
        !(self->cname == NULL ? take : take_alias)(api, &reader.sets, doing, out, err)) {
        return false;
    }
    self->found = *out;
    self->aliases_count = reader.sets.aliases_count;
    memcpy(self->aliases, reader.sets.aliases, sizeof(self->aliases));
    return true;
}

/* --- write -------------------------------------------------------------------------------------------------------- */

/* Names of ours need no escapes. Returns out. */
#define CHANGE_BYTES (2 * DNS_NAME_BYTES + 500)
static char *change_xml(const char *action, const char *name, const char *value, int64_t ttl_s,
                        char out[CHANGE_BYTES])
{
    snprintf(out, CHANGE_BYTES,
             "<Change><Action>%s</Action><ResourceRecordSet><Name>%s.</Name><Type>CNAME</Type>"
             "<TTL>%lld</TTL><ResourceRecords><ResourceRecord><Value>%s.</Value></ResourceRecord>"
             "</ResourceRecords></ResourceRecordSet></Change>",
             action, name, (long long)ttl_s, value);
    return out;
}

static char *alias_xml(const char *action, const char *name, const struct route53_alias *alias,
                       char out[CHANGE_BYTES])
{
    snprintf(out, CHANGE_BYTES,
             "<Change><Action>%s</Action><ResourceRecordSet><Name>%s.</Name><Type>%s</Type>"
             "<AliasTarget><HostedZoneId>%s</HostedZoneId><DNSName>%s.</DNSName>"
             "<EvaluateTargetHealth>%s</EvaluateTargetHealth></AliasTarget>"
             "</ResourceRecordSet></Change>",
             action, name, alias->type, alias->hosted_zone, alias->target,
             alias->evaluate_health ? "true" : "false");
    return out;
}

/* The new target as the configuration has it. */
static bool alias_to(const struct route53 *self, const char *to, struct route53_alias *out,
                     struct err *err)
{
    const struct config_cname *cname = self->cname;
    char value[DNS_NAME_BYTES];
    for (size_t i = 0; i < cname->at_count; i++) {
        if (dns_name(cname->at[i].value, value) && strcmp(value, to) == 0) {
            *out = (struct route53_alias){.type = "A", .evaluate_health = cname->evaluate_health};
            snprintf(out->hosted_zone, sizeof(out->hosted_zone), "%.39s", cname->hosted_zones[i]);
            snprintf(out->target, sizeof(out->target), "%s", to);
            return true;
        }
    }
    err_set(err, ERR_REFUSED, "the hosted zone of %s is not known", to);
    return err_hint(err, "add it to `at` and `alias` of the record: docs/dns.md#alias-records");
}

#define CHANGES_BYTES (2 * ROUTE53_ALIASES_MAX * CHANGE_BYTES)

/* Each of the sets that were found, A and AAAA, in exchange for one that leads to the new target. */
static bool alias_changes(const struct route53 *self, const char *name,
                          const struct dns_change *change, char out[CHANGES_BYTES], struct err *err)
{
    struct route53_alias to = {.evaluate_health = false};
    char old[CHANGE_BYTES] = "";
    char fresh[CHANGE_BYTES];
    size_t len = 0;
    size_t sets = change->from == NULL ? 1 : self->aliases_count;
    if (!alias_to(self, change->to, &to, err)) {
        return false;
    }
    for (size_t i = 0; i < sets; i++) {
        if (change->from != NULL) {
            memcpy(to.type, self->aliases[i].type, sizeof(to.type));
            alias_xml("DELETE", name, &self->aliases[i], old);
        }
        len += (size_t)snprintf(out + len, CHANGES_BYTES - len, "%s%s", old,
                                alias_xml("CREATE", name, &to, fresh));
    }
    return true;
}

static bool changes_xml(const struct route53 *self, const char *name,
                        const struct dns_change *change, char out[CHANGES_BYTES], struct err *err)
{
    char old[CHANGE_BYTES] = "";
    char fresh[CHANGE_BYTES];
    if (self->cname != NULL) {
        return alias_changes(self, name, change, out, err);
    }
    if (change->from != NULL) {
        change_xml("DELETE", name, self->found.value, self->found.ttl_s, old);
    }
    snprintf(out, CHANGES_BYTES, "%s%s", old,
             change_xml("CREATE", name, change->to, change->ttl_s, fresh));
    return true;
}

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    struct route53 *self = (struct route53 *)api;
    char path[200];
    char doing[DNS_NAME_BYTES + 20];
    char changes[CHANGES_BYTES];
    char body[CHANGES_BYTES + 300];
    struct route53_answer reader;
    if (!changes_xml(self, name, change, changes, err)) {
        return API_REFUSED;
    }
    snprintf(path, sizeof(path), "/hostedzone/%s/rrset", api->zone->id);
    snprintf(doing, sizeof(doing), "changing %s", name);
    snprintf(body, sizeof(body),
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ChangeResourceRecordSetsRequest "
             "xmlns=\"" NAMESPACE "\"><ChangeBatch><Comment>ferry</Comment><Changes>%s</Changes>"
             "</ChangeBatch></ChangeResourceRecordSetsRequest>",
             changes);
    const struct call call = {"POST", path, body, doing, "ChangeResourceRecordSetsResponse", ""};
    enum api_got got = ask(self, &call, &reader, err);
    if (got == API_DONE && reader.id[0] == '\0') {
        api_unfit(api, doing, "no id of the change", err);
        return API_UNKNOWN;
    }
    if (got == API_DONE) {
        memcpy(self->change_id, reader.id, sizeof(self->change_id));
    }
    return got;
}

/* PENDING until all of its servers have it. A change of another process has no id here: its servers are asked then. */
static bool settled(struct api *api, bool *out, struct err *err)
{
    struct route53 *self = (struct route53 *)api;
    char path[120];
    struct route53_answer reader;
    const char *id = self->change_id;
    if (id[0] == '\0') {
        return true;
    }
    id = strrchr(id, '/') == NULL ? id : strrchr(id, '/') + 1;
    if (strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") !=
        strlen(id)) {
        return api_unfit(api, "the change", "an id that is none", err);
    }
    snprintf(path, sizeof(path), "/change/%s", id);
    const struct call call = {"GET", path, NULL, "asking for the change", "GetChangeResponse", ""};
    if (ask(self, &call, &reader, err) != API_DONE) {
        return false;
    }
    *out = strcmp(reader.status, "INSYNC") == 0;
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void done(struct api *api)
{
    aws_keys_done(&((struct route53 *)api)->keys);
}

static void set_alias(struct dns_provider *provider, const struct config_cname *cname)
{
    ((struct route53 *)provider)->cname = cname;
}

struct dns_provider *route53_new(const struct config_zone *zone, struct err *err)
{
    static const struct api_calls calls = {
        .read = read_name, .write = write_name, .settled = settled, .done = done, .compares = true};
    struct route53 *self = calloc(1, sizeof(*self));
    const char *region = zone->region == NULL ? "us-east-1" : zone->region;
    if (self == NULL) {
        abort();
    }
    snprintf(self->sigv4, sizeof(self->sigv4), "aws:amz:%.40s:route53", region);
    const char *endpoint = strncmp(region, "cn-", 3) == 0 ? "https://route53.amazonaws.com.cn"
                                                          : "https://route53.amazonaws.com";
    if (!api_init(&self->api, zone, &calls, endpoint, err)) {
        api_free(&self->api.provider);
        return NULL;
    }
    self->api.provider.alias = set_alias;
    return &self->api.provider;
}
