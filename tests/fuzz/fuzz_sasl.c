/* kafka/sasl and kafka/sign_in: a broker may say anything, in any number of messages; only one that knows the password gets to
 * the end of a SCRAM, and fuzz does not. The first byte selects the mechanism, each message has its length before it. */
#include <stdlib.h>
#include <string.h>

#include "kafka/sasl.h"
#include "kafka/sign_in.h"

#define NONCE "rOprNGfwEbeRWgbNEkqO"

static void converse(const uint8_t *data, size_t size)
{
    enum sasl_mechanism mechanism = (enum sasl_mechanism)(data[0] % 4);
    struct sasl *sasl = mechanism == SASL_OAUTHBEARER
                            ? sasl_new_bearer("a.b.c", "k=v")
                            : sasl_new(mechanism, "user", "pencil", NONCE);
    struct reader reader = reader_over(data + 1, size - 1);
    struct writer out;
    struct err err;
    bool ok;

    writer_init(&out);
    ok = sasl_step(sasl, NULL, 0, &out, &err);
    while (ok && reader_left(&reader) > 0 && !sasl_is_done(sasl)) {
        size_t len = (uint8_t)reader_i8(&reader);
        len = len < reader_left(&reader) ? len : reader_left(&reader);
        ok = sasl_step(sasl, reader_bytes(&reader, len), len, &out, &err);
    }
    bool scram = mechanism == SASL_SCRAM_SHA_256 || mechanism == SASL_SCRAM_SHA_512;
    if (scram && sasl_is_done(sasl)) {
        abort();
    }
    writer_done(&out);
    sasl_free(sasl);
}

static void wrapped(const uint8_t *data, size_t size)
{
    struct config_property properties[] = {
        {"sasl.mechanism", data[0] & 1 ? "PLAIN" : "SCRAM-SHA-256"},
        {"sasl.username",  "user"                                 },
        {"sasl.password",  "pencil"                               }
    };
    const struct config_client client = {.properties = properties, .properties_count = 3};
    struct sign_in sign_in;
    struct reader reader = reader_over(data + 1, size - 1);
    struct writer out;
    struct err err;
    bool done = false;

    sign_in_init(&sign_in, &client);
    writer_init(&out);
    if (!sign_in_begin(&sign_in, &out, &err)) {
        abort();
    }
    if (data[0] & 2) {
        (void)!sign_in_agreed(&sign_in, &reader, &out, &err);
    } else if (sign_in_answered(&sign_in, &reader, &out, &done, &err)) {
        (void)sign_in_again_ms(&sign_in);
    }
    writer_done(&out);
    sign_in_done(&sign_in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        converse(data, size);
        wrapped(data, size);
    }
    return 0;
}
