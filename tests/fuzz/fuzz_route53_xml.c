/* dns/route53_xml: any bytes are an answer, or none; what is taken of them is in bounds, and names are names. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dns/name.h"
#include "dns/route53_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct route53_answer answer;
    char name[DNS_NAME_BYTES];
    if (!route53_parse((const char *)data, size, "kafka.dr.test", &answer)) {
        return 0;
    }
    const struct route53_sets *sets = &answer.sets;
    for (size_t i = 0; i < sets->aliases_count; i++) {
        const struct route53_alias *alias = &sets->aliases[i];
        if (strpbrk(alias->hosted_zone, "<>&\"") != NULL ||
            (strcmp(alias->type, "A") != 0 && strcmp(alias->type, "AAAA") != 0) ||
            (alias->target[0] != '\0' && !dns_name(alias->target, name))) {
            abort();
        }
    }
    if (sets->ttl_s < -1 || sets->ttl_s > INT32_MAX ||
        (sets->value[0] != '\0' &&
         (!dns_name(sets->value, name) || strcmp(name, sets->value) != 0)) ||
        strnlen(answer.message, sizeof(answer.message)) == sizeof(answer.message) ||
        strnlen(answer.id, sizeof(answer.id)) == sizeof(answer.id) ||
        strnlen(answer.status, sizeof(answer.status)) == sizeof(answer.status) ||
        strnlen(answer.code, sizeof(answer.code)) == sizeof(answer.code)) {
        abort();
    }
    return 0;
}
