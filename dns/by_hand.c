/* What a person types when a provider cannot be reached from here: its own tool, or curl, with the change spelled out and no
 * secret. What is in capitals the person has. No I/O.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "dns/dns.h"

#define TEXT_BYTES \
    16384 /* four providers at most, each with a few names of 253 bytes and an address of 400 */

struct text {
    char bytes[TEXT_BYTES];
    size_t len;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text->bytes + text->len, sizeof(text->bytes) - text->len, format, args);
    va_end(args);
    text->len += (size_t)len;
    text->len = text->len < sizeof(text->bytes) ? text->len : sizeof(text->bytes) - 1;
}

struct hand {
    const struct dns *dns;
    const struct config_zone *zone;
    const char *record;
    const char *from; /* NULL = it is to be made */
    const char *to;
    long long ttl_s;
    char relative[DNS_NAME_BYTES]; /* the record's name without the zone's */
};

static void by_nsupdate(struct text *out, const struct hand *hand)
{
    add(out, "nsupdate -k KEYFILE\n  server %s\n  zone %s\n", hand->zone->servers.list[0].text,
        hand->zone->name);
    if (hand->from == NULL) {
        add(out, "  prereq nxdomain %s\n", hand->record);
    } else {
        add(out, "  prereq yxrrset %s CNAME %s.\n  update delete %s CNAME\n", hand->record,
            hand->from, hand->record);
    }
    add(out, "  update add %s %lld CNAME %s.\n  send\n", hand->record, hand->ttl_s, hand->to);
}

static void by_powerdns(struct text *out, const struct hand *hand)
{
    add(out,
        "curl -X PATCH -H 'X-API-Key: KEY' %s/api/v1/servers/%s/zones/%s. --data '{\"rrsets\": "
        "[{\"name\": \"%s.\", \"type\": \"CNAME\", \"ttl\": %lld, \"changetype\": \"REPLACE\", "
        "\"records\": [{\"content\": \"%s.\", \"disabled\": false}]}]}'\n",
        hand->zone->endpoint, hand->zone->id == NULL ? "localhost" : hand->zone->id,
        hand->zone->name, hand->record, hand->ttl_s, hand->to);
}

/* @param type  "A" or "AAAA" of an alias, else "CNAME" */
static void add_change(struct text *out, const char *action, const char *type,
                       const struct hand *hand, const char *value)
{
    if (dns_is_alias(hand->dns)) {
        const char *zone = dns_hosted_zone_of(hand->dns, value);
        add(out,
            "{\"Action\": \"%s\", \"ResourceRecordSet\": {\"Name\": \"%s.\", \"Type\": \"%s\", "
            "\"AliasTarget\": {\"HostedZoneId\": \"%s\", \"DNSName\": \"%s.\", "
            "\"EvaluateTargetHealth\": %s}}}",
            action, hand->record, type, zone == NULL ? "ITS-HOSTED-ZONE" : zone, value,
            dns_evaluates_health(hand->dns) ? "true" : "false");
        return;
    }
    add(out,
        "{\"Action\": \"%s\", \"ResourceRecordSet\": {\"Name\": \"%s.\", \"Type\": \"%s\", "
        "\"TTL\": %lld, \"ResourceRecords\": [{\"Value\": \"%s.\"}]}}",
        action, hand->record, type, hand->ttl_s, value);
}

static void add_batch(struct text *out, const char *type, const struct hand *hand)
{
    add(out,
        "aws route53 change-resource-record-sets --hosted-zone-id %s --change-batch '{\"Changes\": "
        "[",
        hand->zone->id);
    if (hand->from != NULL) {
        add_change(out, "DELETE", type, hand, hand->from);
        add(out, ", ");
    }
    add_change(out, "CREATE", type, hand, hand->to);
    add(out, "]}'");
}

/* Whether an alias has an AAAA set beside it is not known from here, and a batch with one DELETE too many changes nothing: so
 * it has a line of its own, which says that it is refused where there is none. */
static void by_aws(struct text *out, const struct hand *hand)
{
    bool is_alias = dns_is_alias(hand->dns);
    add_batch(out, is_alias ? "A" : "CNAME", hand);
    add(out, "\n");
    if (is_alias) {
        add_batch(out, "AAAA", hand);
        add(out, "   # %s\n",
            hand->from != NULL ? "its AAAA set; refused when it has none"
                               : "an AAAA set, if it is to have one");
    }
}

static void by_cloudflare(struct text *out, const struct hand *hand)
{
    const char *api = hand->zone->endpoint == NULL ? "https://api.cloudflare.com/client/v4"
                                                   : hand->zone->endpoint;
    if (hand->from == NULL) {
        add(out,
            "curl -X POST -H 'Authorization: Bearer TOKEN' %s/zones/%s/dns_records --data "
            "'{\"type\": \"CNAME\", \"name\": \"%s\", \"content\": \"%s\", \"ttl\": %lld, "
            "\"proxied\": false}'\n",
            api, hand->zone->id, hand->record, hand->to, hand->ttl_s);
        return;
    }
    add(out,
        "curl -H 'Authorization: Bearer TOKEN' '%s/zones/%s/dns_records?name.exact=%s'   # its ID\n"
        "curl -X PATCH -H 'Authorization: Bearer TOKEN' %s/zones/%s/dns_records/ID --data "
        "'{\"content\": \"%s\", \"ttl\": %lld}'\n",
        api, hand->zone->id, hand->record, api, hand->zone->id, hand->to, hand->ttl_s);
}

static void by_aliyun(struct text *out, const struct hand *hand)
{
    if (hand->from == NULL) {
        add(out,
            "aliyun alidns AddDomainRecord --DomainName %s --RR %s --Type CNAME --Value %s --TTL "
            "%lld\n",
            hand->zone->name, hand->relative, hand->to, hand->ttl_s);
        return;
    }
    add(out,
        "aliyun alidns DescribeSubDomainRecords --SubDomain %s   # its RecordId\n"
        "aliyun alidns UpdateDomainRecord --RecordId ID --RR %s --Type CNAME --Value %s --TTL "
        "%lld\n",
        hand->record, hand->relative, hand->to, hand->ttl_s);
}

static void by_gcloud(struct text *out, const struct hand *hand)
{
    add(out,
        "gcloud dns record-sets %s %s. --project=%s --zone=%s --type=CNAME --ttl=%lld "
        "--rrdatas=%s.\n",
        hand->from == NULL ? "create" : "update", hand->record, hand->zone->project, hand->zone->id,
        hand->ttl_s, hand->to);
}

static void by_az(struct text *out, const struct hand *hand)
{
    const char *verb = hand->from == NULL ? "create" : "update";
    add(out, "az network dns record-set cname %s --subscription %s -g %s -z %s -n %s", verb,
        hand->zone->subscription, hand->zone->resource_group, hand->zone->name, hand->relative);
    if (hand->from != NULL) {
        add(out, " --set TTL=%lld CNAMERecord.cname=%s\n", hand->ttl_s, hand->to);
        return;
    }
    add(out, " --ttl %lld\n", hand->ttl_s);
    add(out,
        "az network dns record-set cname set-record --subscription %s -g %s -z %s -n %s -c %s\n",
        hand->zone->subscription, hand->zone->resource_group, hand->zone->name, hand->relative,
        hand->to);
}

static void by_itself(struct text *out, const struct hand *hand)
{
    add(out, "%s CNAME %s, TTL %lld\n", hand->record, hand->to, hand->ttl_s);
}

char *dns_by_hand(const struct dns *dns, const struct dns_change *change)
{
    static void (*const ways[])(struct text *, const struct hand *) = {
        [PROVIDER_RFC2136] = by_nsupdate, [PROVIDER_POWERDNS] = by_powerdns,
        [PROVIDER_ROUTE53] = by_aws,      [PROVIDER_CLOUDFLARE] = by_cloudflare,
        [PROVIDER_ALIDNS] = by_aliyun,    [PROVIDER_GOOGLE] = by_gcloud,
        [PROVIDER_AZURE] = by_az,         [PROVIDER_EXEC] = by_itself,
    };
    const struct config_zone *zone = dns_zone(dns);
    const char *record = dns_record(dns);
    size_t len = strlen(record);
    size_t zone_len = strlen(zone->name) - (zone->name[strlen(zone->name) - 1] == '.' ? 1 : 0);
    struct text *out = calloc(1, sizeof(*out));
    if (out == NULL) {
        abort();
    }
    for (size_t i = 0; i <= zone->also_count; i++) {
        struct hand hand = {.dns = dns,
                            .zone = i == 0 ? zone : &zone->also[i - 1],
                            .record = record,
                            .from = change->from,
                            .to = change->to,
                            .ttl_s = change->ttl_s};
        snprintf(hand.relative, sizeof(hand.relative), "%.*s",
                 len > zone_len ? (int)(len - zone_len - 1) : 1, len > zone_len ? record : "@");
        ways[hand.zone->provider](out, &hand);
    }
    char *text = strdup(out->bytes);
    free(out);
    if (text == NULL) {
        abort();
    }
    return text;
}
