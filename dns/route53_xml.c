#include "dns/route53_xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "dns/name.h"

#define DEPTH_MAX    16
#define ZONE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

struct reader {
    XML_Parser parser;
    const char *name; /* whose sets count */
    struct route53_answer *out;
    size_t depth;
    char text[ROUTE53_TEXT_BYTES]; /* of the element that is read */
    size_t text_len;
    bool bad;
    /* the set that is read */
    char set_name[DNS_NAME_BYTES];
    char set_type[16];
    struct route53_sets set;
    struct route53_alias alias;
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
        copy(reader->out->root, sizeof(reader->out->root), element);
    }
    reader->text_len = 0;
    reader->text[0] = '\0';
    if (++reader->depth > DEPTH_MAX) {
        reader->bad = true;
        XML_StopParser(reader->parser, XML_FALSE);
    }
    if (strcmp(element, "ResourceRecordSet") == 0) {
        reader->set = (struct route53_sets){.ttl_s = -1};
        reader->alias = (struct route53_alias){.evaluate_health = false};
        reader->set_name[0] = reader->set_type[0] = '\0';
    }
}

static void take_text(void *arg, const XML_Char *bytes, int len)
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

static void take_address(struct reader *reader)
{
    struct route53_sets *total = &reader->out->sets;
    if (!reader->set.alias || total->aliases_count == ROUTE53_ALIASES_MAX) {
        total->addresses++;
        return;
    }
    struct route53_alias *alias = &total->aliases[total->aliases_count++];
    *alias = reader->alias;
    copy(alias->type, sizeof(alias->type), reader->set_type);
}

static void end_set(struct reader *reader)
{
    struct route53_sets *total = &reader->out->sets;
    if (strcmp(reader->set_name, reader->name) != 0) {
        return;
    }
    total->chosen = total->chosen || reader->set.chosen;
    if (strcmp(reader->set_type, "CNAME") != 0) {
        total->others++;
        if (strcmp(reader->set_type, "A") == 0 || strcmp(reader->set_type, "AAAA") == 0) {
            take_address(reader);
        }
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
    } else if (strcmp(element, "HostedZoneId") == 0) {
        bool plain = strspn(value, ZONE_LETTERS) == strlen(value);
        copy(reader->alias.hosted_zone, sizeof(reader->alias.hosted_zone), plain ? value : "");
    } else if (strcmp(element, "DNSName") == 0) {
        (void)dns_name(value, reader->alias.target);
    } else if (strcmp(element, "EvaluateTargetHealth") == 0) {
        reader->alias.evaluate_health = strcmp(value, "true") == 0;
    } else if (strcmp(element, "Id") == 0) {
        copy(reader->out->id, sizeof(reader->out->id), value);
    } else if (strcmp(element, "Status") == 0) {
        copy(reader->out->status, sizeof(reader->out->status), value);
    } else if (strcmp(element, "Code") == 0) {
        copy(reader->out->code, sizeof(reader->out->code), value);
    } else if (strcmp(element, "Message") == 0) {
        copy(reader->out->message, sizeof(reader->out->message), value);
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

bool route53_parse(const char *text, size_t len, const char *name, struct route53_answer *out)
{
    struct reader reader = {.name = name, .out = out, .parser = XML_ParserCreate(NULL)};
    *out = (struct route53_answer){.sets = {.ttl_s = -1}};
    if (reader.parser == NULL) {
        abort();
    }
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, start, end);
    XML_SetCharacterDataHandler(reader.parser, take_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, doctype);
    enum XML_Status status =
        len > INT32_MAX ? XML_STATUS_ERROR : XML_Parse(reader.parser, text, (int)len, XML_TRUE);
    XML_ParserFree(reader.parser);
    return status == XML_STATUS_OK && !reader.bad;
}
