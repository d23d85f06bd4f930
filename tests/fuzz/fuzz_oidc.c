/* kafka/oidc: what a token endpoint answers is read whole or refused; a token that is taken ends no header and no field. */
#include <stdlib.h>
#include <string.h>

#include "kafka/oidc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oidc_token token;
    struct err err;
    char *body = malloc(size + 1);

    if (body == NULL) {
        return 0;
    }
    memcpy(body, data, size);
    body[size] = '\0';
    if (oidc_read("host", body, size, &token, &err)) {
        if (token.lasts_ms <= 0 || strpbrk(token.text, "\r\n\x01 ") != NULL ||
            strpbrk(token.name, "\r\n\x01 ") != NULL) {
            abort();
        }
        oidc_token_done(&token);
    }
    free(body);
    return 0;
}
