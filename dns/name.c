#include "dns/name.h"

#include <ctype.h>
#include <string.h>

#define LABEL_MAX 63

static bool letter_ok(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '-' ||
           letter == '_';
}

bool dns_name(const char *text, char out[DNS_NAME_BYTES])
{
    size_t len = strnlen(text, DNS_NAME_BYTES + 1);
    size_t label = 0;
    size_t at = 0;
    out[0] = '\0';
    len -= len > 0 && text[len - 1] == '.' ? 1 : 0;
    if (len == 0 || len >= DNS_NAME_BYTES) {
        return false;
    }
    for (; at < len; at++) {
        char letter = (char)tolower((unsigned char)text[at]);
        if ((letter == '.' && label == 0) || (letter != '.' && !letter_ok(letter)) ||
            label > LABEL_MAX) {
            break;
        }
        label = letter == '.' ? 0 : label + 1;
        out[at] = letter;
    }
    if (at < len || label == 0 || label > LABEL_MAX) {
        out[0] = '\0';
        return false;
    }
    out[len] = '\0';
    return true;
}

bool dns_name_below(const char *name, const char *zone)
{
    size_t len = strlen(name);
    size_t zone_len = strlen(zone);
    return len >= zone_len && strcmp(name + len - zone_len, zone) == 0 &&
           (len == zone_len || name[len - zone_len - 1] == '.');
}

const struct config_zone *dns_zone_of(const struct config *config, const char *name)
{
    const struct config_zone *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < config->zones_count; i++) {
        char zone[DNS_NAME_BYTES];
        if (dns_name(config->zones[i].name, zone) && dns_name_below(name, zone) &&
            strlen(zone) > best_len) {
            best = &config->zones[i];
            best_len = strlen(zone);
        }
    }
    return best;
}
