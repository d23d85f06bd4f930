/* Amazon Route 53. A change batch is all or nothing, and its DELETE has to name what stands there exactly: with CREATE in
 * one batch that is a compare-and-swap. Signed by libcurl (AWS Signature Version 4). XML by expat, without any entity.
 *
 * https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
 */
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "dns/api.h"
#include "dns/name.h"

#define NAMESPACE "https://route53.amazonaws.com/doc/2013-04-01/"
#define TEXT_BYTES \
    1100 /* of one element: the longest we look at is a name with \ooo escapes, or a message */
#define DEPTH_MAX  16
#define SETS_ASKED "20" /* types of one name: A, AAAA, CNAME.. and a few weighted */

struct found { /* of the sets at the name */
    size_t cnames;
    size_t others;
    size_t values;
    bool chosen; /* SetIdentifier: one of a set */
    bool alias;
    char value[DNS_NAME_BYTES];
    int64_t ttl_s;
};

struct route53 {
    struct api api;     /* first */
    char sigv4[80];     /* "aws:amz:REGION:route53" */
    char *token_header; /* or NULL */
    char *token;
    struct dns_set found; /* by the last read: what a DELETE has to name */
    char change_id[80];   /* of the last change; "" = none of ours */
};

/* --- XML ---------------------------------------------------------------------------------------------------------- */

struct reader {
    XML_Parser parser;
    const char *name; /* whose sets count */
    size_t depth;
    char text[TEXT_BYTES];
    size_t text_len;
    bool bad;
    /* the set that is being read */
    char set_name[DNS_NAME_BYTES];
    char set_type[16];
    struct found set;
    struct found total;
    /* elsewhere in an answer */
    char id[80];
    char status[16];
    char code[80];
    char message[TEXT_BYTES];
    char root[48];
};

static void copy(char *out, size_t room, const char *value)
{
    size_t len = strlen(value);
    memcpy(out, value, len < room ? len : 0);
    out[len < room ? len : 0] = '\0';
}

static void start(void *arg, const XML_Char *element, const XML_Char **attributes)
{
    struct reader *reader = arg;
    (void)attributes;
    if (reader->depth == 0) {
        copy(reader->root, sizeof(reader->root), element);
    }
    reader->text_len = 0;
    reader->text[0] = '\0';
    if (++reader->depth > DEPTH_MAX) {
        reader->bad = true;
        XML_StopParser(reader->parser, XML_FALSE);
    }
    if (strcmp(element, "ResourceRecordSet") == 0) {
        reader->set = (struct found){.ttl_s = -1};
        reader->set_name[0] = reader->set_type[0] = '\0';
    }
}

static void text(void *arg, const XML_Char *bytes, int len)
{
    struct reader *reader = arg;
    if ((size_t)len >= sizeof(reader->text) - reader->text_len) {
        reader->bad = true;
        XML_StopParser(reader->parser, XML_FALSE);
        return;
    }
    memcpy(reader->text + reader->text_len, bytes, (size_t)len);
    reader->text_len += (size_t)len;
    reader->text[reader->text_len] = '\0';
}

static void end_set(struct reader *reader)
{
    struct found *total = &reader->total;
    if (strcmp(reader->set_name, reader->name) != 0) {
        return;
    }
    total->chosen = total->chosen || reader->set.chosen;
    if (strcmp(reader->set_type, "CNAME") != 0) {
        total->others++;
        return;
    }
    total->cnames++;
    total->values += reader->set.values;
    total->alias = total->alias || reader->set.alias;
    total->ttl_s = reader->set.ttl_s;
    memcpy(total->value, reader->set.value, sizeof(total->value));
}

static int64_t seconds(const char *value)
{
    char *end;
    long long number = strtoll(value, &end, 10);
    return *end == '\0' && value[0] != '\0' && number >= 0 && number <= INT32_MAX ? number : -1;
}

static void end(void *arg, const XML_Char *element)
{
    struct reader *reader = arg;
    const char *value = reader->text;
    reader->depth--;
    if (strcmp(element, "ResourceRecordSet") == 0) {
        end_set(reader);
    } else if (strcmp(element, "Name") == 0) {
        (void)dns_name(value, reader->set_name); /* one with escapes is nobody's of ours */
    } else if (strcmp(element, "Type") == 0) {
        copy(reader->set_type, sizeof(reader->set_type), value);
    } else if (strcmp(element, "TTL") == 0) {
        reader->set.ttl_s = seconds(value);
    } else if (strcmp(element, "Value") == 0) {
        reader->set.values++;
        (void)dns_name(value, reader->set.value);
    } else if (strcmp(element, "SetIdentifier") == 0) {
        reader->set.chosen = true;
    } else if (strcmp(element, "AliasTarget") == 0) {
        reader->set.alias = true;
    } else if (strcmp(element, "Id") == 0) {
        copy(reader->id, sizeof(reader->id), value);
    } else if (strcmp(element, "Status") == 0) {
        copy(reader->status, sizeof(reader->status), value);
    } else if (strcmp(element, "Code") == 0) {
        copy(reader->code, sizeof(reader->code), value);
    } else if (strcmp(element, "Message") == 0) {
        copy(reader->message, sizeof(reader->message), value);
    }
    reader->text_len = 0;
    reader->text[0] = '\0';
}

/* A document type may define entities: no answer of theirs has one. */
static void doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public,
                    int has_subset)
{
    struct reader *reader = arg;
    (void)name;
    (void)system;
    (void)public;
    (void)has_subset;
    reader->bad = true;
    XML_StopParser(reader->parser, XML_FALSE);
}

/* @param name  whose sets count; "" = nobody's. false: it is no XML, or has a document type */
static bool parse(const struct https_answer *answer, const char *name, struct reader *out)
{
    *out = (struct reader){.name = name, .parser = XML_ParserCreate(NULL)};
    if (out->parser == NULL) {
        abort();
    }
    XML_SetUserData(out->parser, out);
    XML_SetElementHandler(out->parser, start, end);
    XML_SetCharacterDataHandler(out->parser, text);
    XML_SetStartDoctypeDeclHandler(out->parser, doctype);
    enum XML_Status status = XML_Parse(out->parser, answer->body, (int)answer->len, XML_TRUE);
    XML_ParserFree(out->parser);
    out->parser = NULL;
    return status == XML_STATUS_OK && !out->bad;
}

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
static enum api_got ask(struct route53 *self, const struct call *call, struct reader *out,
                        struct err *err)
{
    struct api *api = &self->api;
    char url[HTTPS_URL_BYTES];
    char words[TEXT_BYTES + 100];
    struct https_answer answer;
    const struct https_ask request = {
        .method = call->method,
        .url = url,
        .headers = {"Content-Type: application/xml", self->token_header},
        .body = call->body,
        .sigv4 = self->sigv4,
        .user = api->zone->access_key,
        .password = api->secret,
        .throttled = throttled,
    };
    snprintf(url, sizeof(url), "%s/2013-04-01%s", api->endpoint, call->path);
    if (!https_ask(api->https, &request, &answer, err)) {
        err_wrap(err, "route53, %s", call->doing);
        return answer.maybe_sent ? API_UNKNOWN : API_REFUSED;
    }
    bool xml = parse(&answer, call->name, out);
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

static bool take(const struct api *api, const struct found *found, const char *doing,
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

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct route53 *self = (struct route53 *)api;
    char path[DNS_NAME_BYTES + 300];
    char doing[DNS_NAME_BYTES + 20];
    struct reader reader;
    snprintf(doing, sizeof(doing), "reading %s", name);
    /* in the order that they are signed in */
    snprintf(path, sizeof(path), "/hostedzone/%s/rrset?maxitems=" SETS_ASKED "&name=%s.",
             api->zone->id, name);
    const struct call call = {"GET", path, NULL, doing, "ListResourceRecordSetsResponse", name};
    if (ask(self, &call, &reader, err) != API_DONE || !take(api, &reader.total, doing, out, err)) {
        return false;
    }
    self->found = *out;
    return true;
}

/* --- write -------------------------------------------------------------------------------------------------------- */

/* Names of ours need no escapes. Returns out. */
#define CHANGE_BYTES (2 * DNS_NAME_BYTES + 400)
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

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    struct route53 *self = (struct route53 *)api;
    char path[200];
    char doing[DNS_NAME_BYTES + 20];
    char old[CHANGE_BYTES] = "";
    char fresh[CHANGE_BYTES];
    char body[2 * CHANGE_BYTES + 300];
    struct reader reader;
    if (change->from != NULL) {
        change_xml("DELETE", name, self->found.value, self->found.ttl_s, old);
    }
    snprintf(path, sizeof(path), "/hostedzone/%s/rrset", api->zone->id);
    snprintf(doing, sizeof(doing), "changing %s", name);
    snprintf(body, sizeof(body),
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ChangeResourceRecordSetsRequest "
             "xmlns=\"" NAMESPACE "\"><ChangeBatch><Comment>ferry</Comment><Changes>%s%s</Changes>"
             "</ChangeBatch></ChangeResourceRecordSetsRequest>",
             old, change_xml("CREATE", name, change->to, change->ttl_s, fresh));
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
    struct reader reader;
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
    struct route53 *self = (struct route53 *)api;
    config_secret_free(self->token);
    config_secret_free(self->token_header);
}

static bool read_token(struct route53 *self, struct err *err)
{
    if (self->api.zone->session_token == NULL) {
        return true;
    }
    self->token = config_secret_read(self->api.zone->session_token, err);
    https_hide(self->api.https, self->token);
    return self->token != NULL &&
           asprintf(&self->token_header, "X-Amz-Security-Token: %s", self->token) > 0;
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
    if (!api_init(&self->api, zone, &calls, endpoint, err) || !read_token(self, err)) {
        api_free(&self->api.provider);
        return NULL;
    }
    return &self->api.provider;
}
