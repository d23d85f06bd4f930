#include "mirror/sequence.h"

#include <openssl/evp.h>
#include <string.h>

#define GENERATION_BITS 15
#define WIRE_SPAN       ((int64_t)1 << 31)

static void hash_text(EVP_MD_CTX *hash, const char *text)
{
    /* With its terminator, so that "ab","c" and "a","bc" differ. */
    EVP_DigestUpdate(hash, text, strlen(text) + 1);
}

int64_t sequence_id_base(const char *deployment, const char *service, const char *source_cluster_id,
                         const char *target_cluster_id, const struct uuid *source_topic_id)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    hash_text(hash, deployment);
    hash_text(hash, service);
    hash_text(hash, source_cluster_id);
    hash_text(hash, target_cluster_id);
    EVP_DigestUpdate(hash, source_topic_id->bytes, sizeof(source_topic_id->bytes));
    EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    uint64_t hash32 = (uint64_t)digest[0] << 24 | (uint64_t)digest[1] << 16 |
                      (uint64_t)digest[2] << 8 | (uint64_t)digest[3];
    return (int64_t)((uint64_t)SEQUENCE_ID_PREFIX << 47 | hash32 << GENERATION_BITS);
}

bool sequence_id_ours(int64_t id_base, int64_t producer_id, int32_t *out_generation)
{
    if (producer_id < id_base || producer_id - id_base > GENERATION_MAX) {
        return false;
    }
    *out_generation = (int32_t)(producer_id - id_base);
    return true;
}

int64_t sequence_widen(int32_t wire, int64_t near)
{
    int64_t below = sequence_widen_below(wire, near);
    if (below < 0) {
        return wire;
    }
    int64_t above = below + WIRE_SPAN;
    return near - below <= above - near ? below : above;
}

int64_t sequence_widen_below(int32_t wire, int64_t most)
{
    if (most < wire) {
        return -1;
    }
    return most - (most - wire) % WIRE_SPAN;
}
