#include "kafka/acl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "kafka/error.h"
#include "kafka/oidc.h"
#include "kafka/sign_in.h"
#include "kafka/tls.h"

struct word {
    int value;
    const char *name;
};
static const struct word resources[] = {
    {ACL_TOPIC,            "topic"           },
    {ACL_GROUP,            "group"           },
    {ACL_CLUSTER,          "cluster"         },
    {ACL_TRANSACTIONAL_ID, "transactional-id"},
    {0,                    NULL              },
};
static const struct word operations[] = {
    {ACL_ALL,              "All"            },
    {ACL_READ,             "Read"           },
    {ACL_WRITE,            "Write"          },
    {ACL_CREATE,           "Create"         },
    {ACL_DELETE,           "Delete"         },
    {ACL_ALTER,            "Alter"          },
    {ACL_DESCRIBE,         "Describe"       },
    {ACL_CLUSTER_ACTION,   "ClusterAction"  },
    {ACL_DESCRIBE_CONFIGS, "DescribeConfigs"},
    {ACL_ALTER_CONFIGS,    "AlterConfigs"   },
    {ACL_IDEMPOTENT_WRITE, "IdempotentWrite"},
    {0,                    NULL             },
};
static const struct word patterns[] = {
    {ACL_LITERAL,  "literal" },
    {ACL_PREFIXED, "prefixed"},
    {0,            NULL      },
};

static const char *word_of(const struct word *words, int value)
{
    while (words->name != NULL && words->value != value) {
        words++;
    }
    return words->name == NULL ? "unknown" : words->name;
}

static int value_of(const struct word *words, const char *name)
{
    while (name != NULL && words->name != NULL && strcasecmp(words->name, name) != 0) {
        words++;
    }
    return name == NULL ? 0 : words->value;
}

const char *acl_resource_name(enum acl_resource resource)
{
    return word_of(resources, (int)resource);
}

const char *acl_operation_name(enum acl_operation operation)
{
    return word_of(operations, (int)operation);
}

const char *acl_pattern_name(enum acl_pattern pattern)
{
    return word_of(patterns, (int)pattern);
}

bool acl_resource_parse(const char *name, enum acl_resource *out)
{
    int value = value_of(resources, name);
    if (value != 0) {
        *out = (enum acl_resource)value;
    }
    return value != 0;
}

bool acl_operation_parse(const char *name, enum acl_operation *out)
{
    int value = value_of(operations, name);
    if (value != 0) {
        *out = (enum acl_operation)value;
    }
    return value != 0;
}

bool acl_pattern_parse(const char *name, enum acl_pattern *out)
{
    int value = value_of(patterns, name);
    if (value != 0) {
        *out = (enum acl_pattern)value;
    }
    return value != 0;
}

bool acl_includes(enum acl_operation has, enum acl_operation wanted)
{
    if (has == wanted || has == ACL_ALL) {
        return true;
    }
    if (wanted == ACL_DESCRIBE) {
        return has == ACL_READ || has == ACL_WRITE || has == ACL_DELETE || has == ACL_ALTER;
    }
    return wanted == ACL_DESCRIBE_CONFIGS && has == ACL_ALTER_CONFIGS;
}

/* --- who we are --------------------------------------------------------------------------------------------------- */

/* As brokers take it that map nothing: "sub" of the token; before there is one, nobody knows. */
static bool subject_of_token(struct oidc *oidc, char out[ACL_PRINCIPAL_BYTES])
{
    struct oidc_token token;
    bool ok = oidc_kept(oidc, &token);
    if (ok) {
        snprintf(out, ACL_PRINCIPAL_BYTES, "User:%.240s", token.name);
        oidc_token_done(&token);
    }
    return ok;
}

/* Likewise: "ferry" of ferry/host@REALM. */
static bool short_name(const char *principal, char out[ACL_PRINCIPAL_BYTES])
{
    if (principal != NULL) {
        snprintf(out, ACL_PRINCIPAL_BYTES, "User:%.*s", (int)strcspn(principal, "/@"), principal);
    }
    return principal != NULL;
}

static bool user_name(const struct config_client *client, char out[ACL_PRINCIPAL_BYTES])
{
    const char *mechanism = config_client_get(client, "sasl.mechanism");
    struct oidc *oidc = oidc_of(client);
    if (oidc != NULL) {
        return subject_of_token(oidc, out);
    }
    if (mechanism != NULL && strcasecmp(mechanism, "GSSAPI") == 0) {
        return short_name(config_client_get(client, "sasl.kerberos.principal"), out);
    }
    char *user = NULL;
    struct err err;
    bool ok = config_client_read(client, "sasl.username", &user, &err) && user != NULL;
    if (ok) {
        snprintf(out, ACL_PRINCIPAL_BYTES, "User:%s", user);
    }
    config_secret_free(user);
    return ok;
}

static X509 *own_certificate(const struct config_client *client)
{
    const char *file = config_client_get(client, "ssl.certificate.location");
    char *text = NULL;
    struct err err;
    BIO *bio = NULL;
    if (file != NULL) {
        bio = BIO_new_file(file, "r");
    } else if (config_client_read(client, "ssl.certificate.pem", &text, &err) && text != NULL) {
        bio = BIO_new_mem_buf(text, -1);
    }
    X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    config_secret_free(text);
    return certificate;
}

static bool subject_name(const struct config_client *client, char out[ACL_PRINCIPAL_BYTES])
{
    X509 *certificate = own_certificate(client);
    BIO *text = certificate == NULL ? NULL : BIO_new(BIO_s_mem());
    bool ok = text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
                                                 XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) > 0;
    if (ok) {
        char *bytes = NULL;
        long len = BIO_get_mem_data(text, &bytes);
        snprintf(out, ACL_PRINCIPAL_BYTES, "User:%.*s", (int)len, bytes);
    }
    BIO_free(text);
    X509_free(certificate);
    return ok;
}

static bool has_certificate(const struct config_client *client)
{
    static const char *const names[] = {"ssl.certificate.location", "ssl.certificate.pem"};
    for (size_t i = 0; i < client->secrets_count; i++) {
        if (strcmp(client->secrets[i].name, names[1]) == 0) {
            return true;
        }
    }
    return config_client_get(client, names[0]) != NULL ||
           config_client_get(client, names[1]) != NULL;
}

bool acl_principal(const struct config_client *client, char out[ACL_PRINCIPAL_BYTES])
{
    snprintf(out, ACL_PRINCIPAL_BYTES, "User:?");
    if (sign_in_wanted(client)) {
        return user_name(client, out);
    }
    if (tls_wanted(client) && has_certificate(client)) {
        return subject_name(client, out);
    }
    snprintf(out, ACL_PRINCIPAL_BYTES, "User:ANONYMOUS");
    return true;
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

bool acl_refusal(int code)
{
    return code == KAFKA_TOPIC_AUTHORIZATION_FAILED || code == KAFKA_GROUP_AUTHORIZATION_FAILED ||
           code == KAFKA_CLUSTER_AUTHORIZATION_FAILED ||
           code == KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

char *acl_lacks(const char *principal, enum acl_operation operation, enum acl_resource resource,
                const char *name, char out[ACL_LACKS_BYTES])
{
    if (resource == ACL_CLUSTER) {
        snprintf(out, ACL_LACKS_BYTES, "%s lacks %s on the cluster", principal,
                 acl_operation_name(operation));
    } else if (operation == ACL_DESCRIBE &&
               resource == ACL_TOPIC) { /* what Ferry asks to be allowed is more */
        snprintf(out, ACL_LACKS_BYTES, "%s lacks Read on topic '%.260s', or even Describe",
                 principal, name);
    } else {
        snprintf(out, ACL_LACKS_BYTES, "%s lacks %s on %s '%.260s'", principal,
                 acl_operation_name(operation), acl_resource_name(resource), name);
    }
    return out;
}
