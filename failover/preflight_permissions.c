/* May whoever acts at the target (sites.X.operator, else the mirror) do what an operation does? Asked so that nothing is
 * changed, on a handle of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "failover/preflight_inside.h"
#include "kafka/admin_acls.h"

/* --- asking ---------------------------------------------------------------------------------------------------------- */

struct asking {
    struct preflight *preflight;
    struct preflight_permissions *out;
    struct admin *admin;
    char principal[ACL_PRINCIPAL_BYTES];
};

static void lacks(struct asking *asking, enum acl_operation operation, enum acl_resource resource,
                  const char *name)
{
    char text[ACL_LACKS_BYTES];
    struct preflight_permissions *out = asking->out;
    if (out->lacks_count < PREFLIGHT_RIGHTS_MAX) {
        snprintf(out->lacks[out->lacks_count++], sizeof(out->lacks[0]), "%.600s",
                 acl_lacks(asking->principal, operation, resource, name, text));
    }
}

/* Nothing else is asked then: each question would be waited for. */
static bool is_let_in(const struct asking *asking)
{
    return asking->out->unknown.kind == ERR_NONE || !admin_not_signed_in(&asking->out->unknown);
}

static void unknown(struct asking *asking, const struct err *err)
{
    if (asking->out->unknown.kind == ERR_NONE) {
        asking->out->unknown = *err;
    }
}

/* A question went wrong: for want of an ACL, or otherwise. */
static void failed(struct asking *asking, const struct err *err, enum acl_operation operation,
                   enum acl_resource resource, const char *name)
{
    if (acl_refusal(err->code)) {
        lacks(asking, operation, resource, name);
    } else {
        unknown(asking, err);
    }
}

static void ask_control_topic(struct asking *asking)
{
    char name[CONTROL_TOPIC_BYTES];
    struct err err = {0};
    struct admin_rights rights = {
        .topic = control_topic_name(asking->preflight->in.service->name, name)};
    if (!admin_topic_rights(asking->admin, &rights, 1, &err)) {
        unknown(asking, &err);
    } else if (acl_refusal(rights.err.code)) {
        lacks(asking, ACL_WRITE, ACL_TOPIC, name);
    } else if (rights.err.kind == ERR_NONE && rights.told &&
               !acl_may(rights.operations, ACL_WRITE)) {
        lacks(asking, ACL_WRITE, ACL_TOPIC, name);
    } /* without a topic (code 3) there is no role either: told under that name */
}

static void ask_writers(struct asking *asking)
{
    static const char *const roles[] = {"keeper", "op"};
    char id[320];
    bool fenced = !asking->preflight->writer->single_writer; /* else there are no transactions */
    for (size_t i = 0; i < 2 && fenced && is_let_in(asking); i++) {
        struct err err = {0};
        snprintf(id, sizeof(id), "ferry-%s-%s", roles[i], asking->preflight->in.service->name);
        if (!admin_writer_allowed(asking->admin, id, &err)) {
            failed(asking, &err, ACL_WRITE, ACL_TRANSACTIONAL_ID, id);
        }
    }
}

/* The write fence is taken away by whoever may alter ACLs; without an operator there is none. */
static void ask_cluster(struct asking *asking)
{
    uint32_t operations = 0;
    struct err err = {0};
    if (asking->preflight->in.to->operator_kafka == NULL || !is_let_in(asking)) {
        return;
    }
    if (!admin_cluster_rights(asking->admin, &operations, &err)) {
        unknown(asking, &err);
    } else if (!acl_may(operations, ACL_ALTER)) {
        lacks(asking, ACL_ALTER, ACL_CLUSTER, ACL_CLUSTER_NAME);
    }
}

void preflight_ask_permissions(struct preflight *preflight, size_t index)
{
    struct preflight_permissions *out = must(calloc(1, sizeof(*out)));
    struct asking asking = {.preflight = preflight, .out = out};
    struct err err = {0};
    (void)index;
    acl_principal(preflight->writer, asking.principal);
    asking.admin =
        admin_new(preflight->in.to->name, preflight->writer, preflight_left_ms(preflight), &err);
    if (asking.admin == NULL) {
        unknown(&asking, &err);
    } else {
        ask_control_topic(&asking);
        admin_timeout(asking.admin, preflight_left_ms(preflight));
        ask_writers(&asking);
        admin_timeout(asking.admin, preflight_left_ms(preflight));
        ask_cluster(&asking);
        admin_free(asking.admin);
    }
    preflight_publish(preflight, &preflight->permissions, out, free);
}

/* --- what follows ---------------------------------------------------------------------------------------------------- */

void preflight_tell_permissions(const struct preflight *preflight, struct preflight_list *out)
{
    const struct preflight_permissions *facts = preflight->permissions;
    const char *who =
        preflight->in.to->operator_kafka != NULL ? "the operator" : "the mirror, who acts";
    char what[200];
    snprintf(what, sizeof(what), "%.100s: what %s may do", preflight->in.to->name, who);
    if (facts == NULL) {
        preflight_late(preflight, out, PREFLIGHT_PERMISSIONS, what);
        return;
    }
    for (size_t i = 0; i < facts->lacks_count; i++) {
        preflight_tell(out, PREFLIGHT_PERMISSIONS, PREFLIGHT_REFUSED, "%.100s: %.500s",
                       preflight->in.to->name, facts->lacks[i]);
        preflight_hint(out, "ferry check %s --print-acls", preflight->in.service->name);
    }
    if (facts->unknown.kind != ERR_NONE && admin_not_signed_in(&facts->unknown)) {
        preflight_tell(out, PREFLIGHT_PERMISSIONS, PREFLIGHT_REFUSED,
                       "%.100s does not let %s in: %.500s", preflight->in.to->name, who,
                       facts->unknown.what);
        preflight_hint(out, "the credentials of sites.%.100s%s; then: ferry check %s",
                       preflight->in.to->name,
                       preflight->in.to->operator_kafka != NULL ? ".operator" : "",
                       preflight->in.service->name);
    } else if (facts->unknown.kind != ERR_NONE) {
        preflight_unknown(out, PREFLIGHT_PERMISSIONS, what, &facts->unknown);
    } else if (facts->lacks_count == 0) {
        preflight_tell(out, PREFLIGHT_PERMISSIONS, PREFLIGHT_OK,
                       "%.100s: %s has every ACL that an operation needs", preflight->in.to->name,
                       who);
    }
}
