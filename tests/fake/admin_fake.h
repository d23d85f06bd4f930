/* A Kafka cluster's topics in memory behind the calls of kafka/admin.h, for one test program: include it once. It defines
 * those functions itself, so the archive's are not linked.
 */
#ifndef FERRY_TESTS_FAKE_ADMIN_FAKE_H
#define FERRY_TESTS_FAKE_ADMIN_FAKE_H

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka/admin.h"

#define FAKE_TOPICS   160
#define FAKE_SETTINGS 16

struct fake_setting {
    char name[128];
    char value[64];
};
struct fake_topic {
    char name[250];
    uint8_t id;
    int32_t partitions;
    int32_t replicas;
    bool hidden; /* not listed; describe says "not authorized" */
    struct fake_setting own[FAKE_SETTINGS];
    size_t own_count;
};
struct admin {
    struct fake_topic topics[FAKE_TOPICS];
    size_t topics_count;
    uint8_t next_id;
    int32_t brokers_count;
    const struct fake_setting *defaults;
    size_t defaults_count;
    bool away;                 /* lists fail */
    int slow_ms;               /* lists take so long */
    const char *fail_settings; /* of this topic */
    const char *fail_create;
    const char *fail_alter;
    const char *fail_grow;
    const char *refuse_setting; /* INVALID_CONFIG for whatever sets it */
    int lists_count;
    int settings_topics_count; /* topics whose settings were read */
    int creates_count;         /* requests */
    int alters_count;
    int grows_count;
};

/* Taken by each call; a test whose code under test has a thread takes it around what it does to a cluster. */
static pthread_mutex_t fake_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static inline void fake_unlock(int *unused)
{
    (void)unused;
    pthread_mutex_unlock(&fake_mutex);
}
/* Until the end of the block. */
#define FAKE_LOCKED                                                                          \
    int fake_locked __attribute__((cleanup(fake_unlock))) = pthread_mutex_lock(&fake_mutex); \
    (void)fake_locked

static inline void fake_init(struct admin *cluster, uint8_t first_id,
                             const struct fake_setting *defaults, size_t defaults_count)
{
    *cluster = (struct admin){.next_id = first_id,
                              .brokers_count = 1,
                              .defaults = defaults,
                              .defaults_count = defaults_count};
}

static inline struct fake_topic *fake_find(struct admin *cluster, const char *name)
{
    for (size_t i = 0; i < cluster->topics_count; i++) {
        if (strcmp(cluster->topics[i].name, name) == 0) {
            return &cluster->topics[i];
        }
    }
    return NULL;
}

static inline struct fake_topic *fake_add(struct admin *cluster, const char *name,
                                          int32_t partitions)
{
    assert(cluster->topics_count < FAKE_TOPICS);
    struct fake_topic *topic = &cluster->topics[cluster->topics_count++];
    *topic = (struct fake_topic){.id = cluster->next_id++, .partitions = partitions, .replicas = 1};
    snprintf(topic->name, sizeof(topic->name), "%s", name);
    return topic;
}

static inline void fake_remove(struct admin *cluster, const char *name)
{
    struct fake_topic *topic = fake_find(cluster, name);
    assert(topic);
    *topic = cluster->topics[--cluster->topics_count];
}

/* value NULL: the topic follows the broker again */
static inline void fake_set(struct fake_topic *topic, const char *name, const char *value)
{
    size_t at = 0;
    while (at < topic->own_count && strcmp(topic->own[at].name, name) != 0) {
        at++;
    }
    if (!value) {
        if (at < topic->own_count) {
            topic->own[at] = topic->own[--topic->own_count];
        }
        return;
    }
    assert(at < FAKE_SETTINGS);
    topic->own_count = at == topic->own_count ? at + 1 : topic->own_count;
    snprintf(topic->own[at].name, sizeof(topic->own[at].name), "%s", name);
    snprintf(topic->own[at].value, sizeof(topic->own[at].value), "%s", value);
}

static inline const char *fake_own(const struct fake_topic *topic, const char *name)
{
    for (size_t i = 0; i < topic->own_count; i++) {
        if (strcmp(topic->own[i].name, name) == 0) {
            return topic->own[i].value;
        }
    }
    return NULL;
}

static inline struct admin_topic fake_view(const struct fake_topic *topic)
{
    struct admin_topic view = {.partitions_count = topic->partitions,
                               .replication_factor = topic->replicas};
    memcpy(view.name, topic->name, sizeof(view.name));
    view.id.bytes[15] = topic->id;
    return view;
}

static inline bool fake_refuses(const struct admin *cluster, const char *const *settings,
                                struct err *err)
{
    for (const char *const *pair = settings; cluster->refuse_setting && *pair; pair += 2) {
        if (pair[1] && strcmp(pair[0], cluster->refuse_setting) == 0) {
            err_set_code(err, ERR_REFUSED, 40, "%s cannot be set here", pair[0]);
            return true;
        }
    }
    return false;
}

/* ---- kafka/admin.h ---- */

bool admin_cluster_id(struct admin *admin, char out[64], int32_t *out_brokers_count,
                      struct err *err)
{
    FAKE_LOCKED;
    (void)err;
    snprintf(out, 64, "fake");
    *out_brokers_count = admin->brokers_count;
    return true;
}

bool admin_list_topics(struct admin *admin, struct admin_topic **out, size_t *out_count,
                       struct err *err)
{
    usleep((useconds_t)admin->slow_ms * 1000);
    FAKE_LOCKED;
    admin->lists_count++;
    if (admin->away) {
        return err_set(err, ERR_RETRY, "list topics: time is up");
    }
    struct admin_topic *topics = calloc(admin->topics_count + 1, sizeof(*topics));
    size_t count = 0;
    for (size_t i = 0; i < admin->topics_count; i++) {
        if (!admin->topics[i].hidden) {
            topics[count++] = fake_view(&admin->topics[i]);
        }
    }
    *out = topics;
    *out_count = count;
    return true;
}

bool admin_describe_topic(struct admin *admin, const char *topic, struct admin_topic *out,
                          struct err *err)
{
    FAKE_LOCKED;
    struct fake_topic *found = fake_find(admin, topic);
    if (!found) {
        return err_set_code(err, ERR_REFUSED, 3, "topic '%s' does not exist", topic);
    }
    if (found->hidden) {
        return err_set_code(err, ERR_REFUSED, 29, "topic '%s': not authorized", topic);
    }
    *out = fake_view(found);
    return true;
}

static inline void fake_put(struct admin_setting *setting, const char *name, const char *value,
                            bool is_default)
{
    snprintf(setting->name, sizeof(setting->name), "%s", name);
    setting->value = strdup(value);
    setting->is_default = is_default;
}

bool admin_topic_settings(struct admin *admin, const char *topic, struct admin_setting **out,
                          size_t *out_count, struct err *err)
{
    FAKE_LOCKED;
    admin->settings_topics_count++;
    struct fake_topic *found = fake_find(admin, topic);
    if (!found || (admin->fail_settings && strcmp(admin->fail_settings, topic) == 0)) {
        return err_set_code(err, ERR_REFUSED, 29, "settings of '%s': not authorized", topic);
    }
    struct admin_setting *settings =
        calloc(found->own_count + admin->defaults_count + 1, sizeof(*settings));
    size_t count = 0;
    for (size_t i = 0; i < found->own_count; i++) {
        fake_put(&settings[count++], found->own[i].name, found->own[i].value, false);
    }
    for (size_t i = 0; i < admin->defaults_count; i++) {
        if (!fake_own(found, admin->defaults[i].name)) {
            fake_put(&settings[count++], admin->defaults[i].name, admin->defaults[i].value, true);
        }
    }
    *out = settings;
    *out_count = count;
    return true;
}

void admin_topics_settings(struct admin *admin, struct admin_topic_config *configs, size_t count)
{
    FAKE_LOCKED;
    for (size_t i = 0; i < count; i++) {
        configs[i].err = (struct err){0};
        if (!admin_topic_settings(admin, configs[i].topic, &configs[i].settings,
                                  &configs[i].settings_count, &configs[i].err)) {
            configs[i].settings = NULL;
        }
    }
}

void admin_settings_free(struct admin_setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(settings[i].value);
    }
    free(settings);
}

void admin_create_topics(struct admin *admin, const struct admin_new_topic *topics, size_t count,
                         struct err *out_errs)
{
    FAKE_LOCKED;
    admin->creates_count++;
    for (size_t i = 0; i < count; i++) {
        out_errs[i] = (struct err){0};
        if (admin->fail_create && strcmp(admin->fail_create, topics[i].name) == 0) {
            err_set_code(&out_errs[i], ERR_REFUSED, 29, "create '%s': not authorized",
                         topics[i].name);
            continue;
        }
        if (fake_refuses(admin, topics[i].settings, &out_errs[i])) {
            continue;
        }
        struct fake_topic *topic = fake_add(admin, topics[i].name, topics[i].partitions_count);
        topic->replicas = topics[i].replication_factor;
        for (const char *const *pair = topics[i].settings; *pair; pair += 2) {
            fake_set(topic, pair[0], pair[1]);
        }
    }
}

bool admin_grow_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                      struct err *err)
{
    FAKE_LOCKED;
    admin->grows_count++;
    if (admin->fail_grow && strcmp(admin->fail_grow, topic) == 0) {
        return err_set_code(err, ERR_REFUSED, 29, "grow '%s': not authorized", topic);
    }
    fake_find(admin, topic)->partitions = partitions_count;
    return true;
}

bool admin_alter_topic(struct admin *admin, const char *topic, const char *const *settings,
                       struct err *err)
{
    FAKE_LOCKED;
    admin->alters_count++;
    if (admin->fail_alter && strcmp(admin->fail_alter, topic) == 0) {
        return err_set_code(err, ERR_REFUSED, 29, "alter '%s': not authorized", topic);
    }
    if (fake_refuses(admin, settings, err)) {
        return false;
    }
    for (const char *const *pair = settings; *pair; pair += 2) {
        fake_set(fake_find(admin, topic), pair[0], pair[1]);
    }
    return true;
}

#endif
