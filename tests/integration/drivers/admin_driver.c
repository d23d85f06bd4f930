/* kafka/admin, one call a line from stdin. usage: admin_driver BOOTSTRAP TIMEOUT_MS
 *
 * in:  cluster | topics | describe T | settings T [NAME] | many T.. | create T PARTITIONS COPIES [NAME VALUE].. |
 *      create_all COUNT | grow T N | alter T NAME VALUE|- | offsets earliest|latest|stable T.. | group G
 * out: lines of what was found, then `done ms=` or `error ...`
 */
#include "kafka/admin.h"
#include "tests/integration/drivers/driver.h"

static struct admin *admin;

static void say_topic(const struct admin_topic *topic)
{
    char id[UUID_TEXT_BYTES];
    say("topic name=%s id=%s partitions=%d copies=%d", topic->name, uuid_hex(&topic->id, id),
        topic->partitions_count, topic->replication_factor);
}

static bool topics(struct err *err)
{
    struct admin_topic *list;
    size_t count;
    if (!admin_list_topics(admin, &list, &count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        say_topic(&list[i]);
    }
    free(list);
    return true;
}

static bool settings(const char *topic, const char *only, struct err *err)
{
    struct admin_setting *list;
    size_t count;
    if (!admin_topic_settings(admin, topic, &list, &count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!only || strcmp(only, list[i].name) == 0) {
            say("setting name=%s value=%s default=%d", list[i].name, list[i].value,
                list[i].is_default);
        }
    }
    admin_settings_free(list, count);
    return true;
}

static bool many_settings(int count, char **names)
{
    struct admin_topic_config *configs = calloc((size_t)count, sizeof(*configs));
    for (int i = 0; i < count; i++) {
        configs[i].topic = names[i];
    }
    admin_topics_settings(admin, configs, (size_t)count);
    for (int i = 0; i < count; i++) {
        say("config topic=%s settings=%zu code=%d", configs[i].topic, configs[i].settings_count,
            configs[i].err.code);
        admin_settings_free(configs[i].settings, configs[i].settings_count);
    }
    free(configs);
    return true;
}

static bool create_all(int count, struct err *err)
{
    struct admin_new_topic *wants = calloc((size_t)count, sizeof(*wants));
    struct err *errs = calloc((size_t)count, sizeof(*errs));
    bool ok = true;
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "all-%d", i);
        /* the last one cannot be: a broker that is not there */
        wants[i] = (struct admin_new_topic){strdup(name), 1, i + 1 == count ? 9 : 1, NULL};
    }
    admin_create_topics(admin, wants, (size_t)count, errs);
    for (int i = 0; i < count; i++) {
        say("created topic=%s code=%d", wants[i].name, errs[i].code);
        *err = errs[i].kind != ERR_NONE ? errs[i] : *err;
        free((void *)(uintptr_t)wants[i].name);
    }
    free(wants);
    free(errs);
    return ok;
}

static bool offsets(const char *spec, int count, char **names, struct err *err)
{
    struct admin_offset *list = calloc((size_t)count, sizeof(*list));
    for (int i = 0; i < count; i++) {
        list[i].topic = names[i];
    }
    bool ok = admin_list_offsets(admin,
                                 spec[0] == 'e'   ? OFFSET_SPEC_EARLIEST
                                 : spec[0] == 'l' ? OFFSET_SPEC_LATEST
                                                  : OFFSET_SPEC_STABLE,
                                 list, (size_t)count, err);
    for (int i = 0; ok && i < count; i++) {
        say("offset topic=%s offset=%lld error=%d", list[i].topic, (long long)list[i].offset,
            list[i].error);
    }
    free(list);
    return ok;
}

static bool group(const char *name, struct err *err)
{
    struct admin_group_offset *list;
    size_t count;
    if (!admin_group_offsets(admin, name, &list, &count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        say("group topic=%s partition=%d offset=%lld metadata=%s", list[i].topic, list[i].partition,
            (long long)list[i].offset, list[i].metadata ? list[i].metadata : "-");
    }
    admin_group_offsets_free(list, count);
    return true;
}

static bool cluster(struct err *err)
{
    char id[64];
    int32_t brokers_count;
    if (!admin_cluster_id(admin, id, &brokers_count, err)) {
        return false;
    }
    say("cluster id=%s brokers=%d", id, brokers_count);
    return true;
}

static bool describe(const char *name, struct err *err)
{
    struct admin_topic topic;
    if (!admin_describe_topic(admin, name, &topic, err)) {
        return false;
    }
    say_topic(&topic);
    return true;
}

static bool command(int count, char **words, struct err *err)
{
    const char *what = words[0];
    if (strcmp(what, "cluster") == 0) {
        return cluster(err);
    }
    if (strcmp(what, "topics") == 0) {
        return topics(err);
    }
    if (strcmp(what, "describe") == 0) {
        return describe(words[1], err);
    }
    if (strcmp(what, "settings") == 0) {
        return settings(words[1], count > 2 ? words[2] : NULL, err);
    }
    if (strcmp(what, "many") == 0) {
        return many_settings(count - 1, words + 1);
    }
    if (strcmp(what, "create") == 0) {
        words[count] = NULL;
        return admin_create_topic(admin, words[1], atoi(words[2]), atoi(words[3]),
                                  (const char *const *)words + 4, err);
    }
    if (strcmp(what, "create_all") == 0) {
        return create_all(atoi(words[1]), err);
    }
    if (strcmp(what, "grow") == 0) {
        return admin_grow_topic(admin, words[1], atoi(words[2]), err);
    }
    if (strcmp(what, "alter") == 0) {
        const char *pairs[] = {words[2], words[3][0] == '-' ? NULL : words[3], NULL};
        return admin_alter_topic(admin, words[1], pairs, err);
    }
    if (strcmp(what, "offsets") == 0) {
        return offsets(words[1], count - 2, words + 2, err);
    }
    return group(words[1], err);
}

int main(int argc, char **argv)
{
    char line[1 << 16];
    char *words[DRIVER_WORDS + 1];
    struct err err;
    if (argc < 3) {
        return 2;
    }
    admin = admin_new("site", driver_client(argv[1]), atoi(argv[2]), &err);
    if (!admin) {
        say_err("failed", &err);
        return 1;
    }
    say("ready");
    while (fgets(line, sizeof(line), stdin)) {
        int count = driver_split(line, words);
        int64_t began_ms = clock_now_ms(clock_system());
        err = (struct err){0};
        bool ok = count > 0 && command(count, words, &err);
        long long took_ms = (long long)(clock_now_ms(clock_system()) - began_ms);
        if (!ok) {
            say_err("error", &err);
        }
        say("done ms=%lld", took_ms);
    }
    int64_t began_ms = clock_now_ms(clock_system());
    admin_free(admin);
    say("freed ms=%lld", (long long)(clock_now_ms(clock_system()) - began_ms));
    return 0;
}
