/* See topic_id.h. */
#include "kafka/topic_id.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] = "name"; /* the last four bytes */

struct uuid topic_id_of_name(const char *cluster_id, const char *name)
{
    struct uuid id;
    uint8_t hash[32];
    struct writer writer;

    writer_init(&writer);
    wire_put_string(&writer, cluster_id); /* with its length: no two pairs look alike */
    wire_put_string(&writer, name);
    if (EVP_Digest(writer.data, writer.len, hash, NULL, EVP_sha256(), NULL) != 1) {
        abort(); /* no memory */
    }
    writer_done(&writer);
    memcpy(id.bytes, hash, sizeof(id.bytes));
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x80); /* version 8 */
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80); /* variant 2 */
    memcpy(id.bytes + 12, mark, 4);
    return id;
}

bool topic_id_is_of_name(const struct uuid *id)
{
    return (id->bytes[6] & 0xf0) == 0x80 && (id->bytes[8] & 0xc0) == 0x80 &&
           memcmp(id->bytes + 12, mark, 4) == 0;
}

bool topic_id_other(const struct uuid *a, const struct uuid *b)
{
    return !uuid_equal(a, b) && topic_id_is_of_name(a) == topic_id_is_of_name(b);
}

int16_t topic_id_version(int16_t version, int16_t by_id, const struct uuid *id)
{
    return version >= by_id && topic_id_is_of_name(id) ? (int16_t)(by_id - 1) : version;
}
