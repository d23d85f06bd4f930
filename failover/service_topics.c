#include "failover/service_topics.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

static int compare_topics(const void *a, const void *b)
{
    const struct admin_topic *left = a;
    const struct admin_topic *right = b;
    return strcmp(left->name, right->name);
}

bool service_topics_list(const struct config_service *service, struct admin *admin,
                         struct service_topics *out, struct err *err)
{
    struct admin_topic *all = NULL;
    size_t count = 0;
    *out = (struct service_topics){.count = 0};
    if (!admin_list_topics(admin, &all, &count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (config_patterns_match(&service->topics, all[i].name)) {
            all[out->count++] = all[i];
        }
    }
    if (out->count > 0) {
        qsort(all, out->count, sizeof(*all), compare_topics);
    }
    out->list = all;
    out->names = must(calloc(out->count + 1, sizeof(*out->names)));
    for (size_t i = 0; i < out->count; i++) {
        out->names[i] = all[i].name;
    }
    return true;
}

void service_topics_done(struct service_topics *topics)
{
    free(topics->list);
    free(topics->names);
    *topics = (struct service_topics){.count = 0};
}

static size_t partitions_of(const struct service_topics *topics)
{
    size_t count = 0;
    for (size_t i = 0; i < topics->count; i++) {
        count += (size_t)topics->list[i].partitions_count;
    }
    return count;
}

static bool take_ends(const struct service_topics *topics, const struct admin_offset *offsets,
                      json_t *out, struct err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < topics->count; i++) {
        json_t *ends = json_array();
        json_object_set_new(out, topics->names[i], ends);
        for (int32_t part = 0; part < topics->list[i].partitions_count; part++, at++) {
            if (offsets[at].error != 0 || offsets[at].offset < 0) {
                return err_set_code(err, ERR_RETRY, offsets[at].error,
                                    "the end of %s:%d is unknown", topics->names[i], part);
            }
            json_array_append_new(ends, json_integer(offsets[at].offset));
        }
    }
    return true;
}

bool service_topics_ends(const struct service_topics *topics, struct admin *admin,
                         enum admin_offset_spec spec, json_t **out, struct err *err)
{
    size_t count = partitions_of(topics);
    struct admin_offset *offsets = must(calloc(count + 1, sizeof(*offsets)));
    size_t at = 0;
    for (size_t i = 0; i < topics->count; i++) {
        for (int32_t part = 0; part < topics->list[i].partitions_count; part++) {
            offsets[at++] =
                (struct admin_offset){.topic = topics->names[i], .partition = part, .offset = -1};
        }
    }
    json_t *ends = json_object();
    bool ok = (count == 0 || admin_list_offsets(admin, spec, offsets, count, err)) &&
              take_ends(topics, offsets, ends, err);
    free(offsets);
    if (!ok) {
        json_decref(ends);
        return false;
    }
    *out = ends;
    return true;
}
