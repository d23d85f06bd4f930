/* kafka/topic_map: forward only within a topic id, whole answers or none, what is followed and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/error.h"
#include "kafka/topic_id.h"
#include "kafka/topic_map.h"
#include "tests/fake/answers.h"

static const struct uuid id_1 = {{1}};
static const struct uuid id_2 = {{2}};

static struct metadata_topic topic_of(const char *name, struct uuid id,
                                      struct metadata_partition *partitions, int32_t count)
{
    return (struct metadata_topic){
        .name = fake_text(name), .id = id, .partitions = partitions, .partitions_count = count};
}

static void take(struct topic_map *map, struct metadata_topic *topics, int32_t count)
{
    struct metadata metadata = {.topics = topics, .topics_count = count};
    struct err err;

    assert_true(topic_map_take(map, &metadata, &err));
}

static void take_one(struct topic_map *map, struct uuid id, int32_t leader, int32_t epoch)
{
    struct metadata_partition partition = {
        .index = 0, .leader = leader, .leader_epoch = epoch, .replicas_count = leader + 10};
    struct metadata_topic topic = topic_of("t", id, &partition, 1);

    take(map, &topic, 1);
}

static void assert_leader(const struct topic_map *map, int32_t broker, int32_t epoch)
{
    struct cluster_leader leader = topic_map_leader(map, "t", 0);

    assert_int_equal(leader.broker, broker);
    assert_int_equal(leader.epoch, epoch);
}

static struct uuid id_in(const struct topic_map *map)
{
    return topic_map_find(map, "t")->id;
}

/* Brokers before Kafka 2.8 tell no ids: the name's has to do, and its epochs may begin anew. */
static void a_topic_without_an_id_has_its_names(void **state)
{
    static const struct uuid none;
    struct topic_map *map = topic_map_new();

    (void)state;
    take_one(map, none, 1, 5);
    struct uuid id = id_in(map);
    struct uuid name_id = topic_id_of_name("", "t");
    assert_true(uuid_equal(&id, &name_id));
    take_one(map, none, 2, 0); /* deleted and created again, unseen */
    assert_leader(map, 2, 0);
    take_one(map, id_1, 2, 3); /* upgraded: the same topic, so nothing is forgotten */
    id = id_in(map);
    assert_true(uuid_equal(&id, &id_1));
    assert_leader(map, 2, 3);
    take_one(map, none, 1, 2); /* from a broker that does not know it yet */
    id = id_in(map);
    assert_true(uuid_equal(&id, &id_1));
    assert_leader(map, 2, 3);
    topic_map_free(map);
}

static void leaders_go_forward_only(void **state)
{
    struct topic_map *map = topic_map_new();

    (void)state;
    assert_leader(map, -1, -1);
    take_one(map, id_1, 1, 5);
    assert_leader(map, 1, 5);
    take_one(map, id_1, 2, 4); /* an answer from before */
    assert_leader(map, 1, 5);
    take_one(map, id_1, 2, 6);
    assert_leader(map, 2, 6);
    take_one(map, id_1, -1, 6); /* the same epoch: its leader went away */
    assert_leader(map, -1, 6);
    assert_true(topic_map_leaderless(map));
    take_one(map, id_1, 3, 7);
    assert_leader(map, 3, 7);
    assert_false(topic_map_leaderless(map));
    topic_map_free(map);
}

static void a_new_topic_id_begins_anew(void **state)
{
    struct topic_map *map = topic_map_new();

    (void)state;
    take_one(map, id_1, 1, 50);
    take_one(map, id_2, 2, 0);
    assert_leader(map, 2, 0);
    assert_true(uuid_equal(&topic_map_find(map, "t")->id, &id_2));
    topic_map_free(map);
}

static void epochs_unknown_to_the_broker_are_taken(void **state)
{
    struct topic_map *map = topic_map_new();

    (void)state;
    take_one(map, id_1, 1, 5);
    take_one(map, id_1, 2, -1);
    assert_leader(map, 2, 5);
    assert_int_equal(topic_map_leader(map, "t", 0).replicas_count, 12);
    topic_map_free(map);
}

static void partitions_only_grow(void **state)
{
    struct topic_map *map = topic_map_new();
    struct metadata_partition partitions[3] = {
        {.index = 2, .leader = 3},
        {.index = 0, .leader = 1},
        {.index = 1, .leader = 2}
    };
    struct metadata_topic topic = topic_of("t", id_1, partitions, 3);

    (void)state;
    take(map, &topic, 1);
    assert_int_equal(topic_map_find(map, "t")->partitions_count, 3);
    assert_int_equal(topic_map_leader(map, "t", 2).broker, 3);
    take_one(map, id_1, 1, 0); /* from before the partitions were added */
    assert_int_equal(topic_map_find(map, "t")->partitions_count, 3);
    assert_int_equal(topic_map_leader(map, "t", 3).broker, -1);
    assert_int_equal(topic_map_leader(map, "t", -1).broker, -1);
    take_one(map, id_2, 1, 0); /* another topic may be smaller */
    assert_int_equal(topic_map_find(map, "t")->partitions_count, 1);
    topic_map_free(map);
}

static void errors_hide_a_topic_and_keep_its_leaders(void **state)
{
    struct topic_map *map = topic_map_new();
    struct metadata_topic failed = topic_of("t", (struct uuid){{0}}, NULL, 0);

    (void)state;
    take_one(map, id_1, 1, 5);
    failed.error = KAFKA_LEADER_NOT_AVAILABLE;
    take(map, &failed, 1);
    assert_null(topic_map_find(map, "t"));
    assert_null(topic_map_at(map, 0));
    assert_leader(map, -1, -1);
    take_one(map, id_1, 2, 4); /* still older than what was known */
    assert_leader(map, 1, 5);
    topic_map_free(map);
}

static void answers_that_lie_are_refused_whole(void **state)
{
    struct topic_map *map = topic_map_new();
    struct metadata_partition partition = {.index = 0, .leader = 9, .leader_epoch = 9};
    struct metadata_partition outside = {.index = 1, .leader = 9, .leader_epoch = 9};
    struct metadata_partition negative = {.index = -1, .leader = 9, .leader_epoch = 9};
    char name[300];
    struct metadata_topic topics[2];

    (void)state;
    memset(name, 'x', sizeof(name));
    name[250] = '\0';
    take_one(map, id_1, 1, 5);
    for (int i = 0; i < 6; i++) {
        struct metadata metadata = {.topics = topics, .topics_count = 2};
        struct err err = {0};
        topics[0] = topic_of("t", id_1, &partition, 1);
        topics[1] = topic_of(i == 0 ? name : "u", id_2, &partition, 1);
        topics[1].partitions = i == 1 ? &outside : i == 2 ? &negative : &partition;
        topics[1].name = i == 3   ? fake_text(NULL)
                         : i == 4 ? fake_text("")
                         : i == 5 ? (struct wire_string){.data = "a\0b", .len = 3}
                                  : topics[1].name;
        assert_false(topic_map_take(map, &metadata, &err));
        assert_int_equal(err.kind, ERR_RETRY);
        assert_leader(map, 1, 5); /* nothing of it was taken */
    }
    topic_map_free(map);
}

static void a_topic_listed_twice_stands_once(void **state)
{
    struct topic_map *map = topic_map_new();
    struct metadata_topic topics[3] = {topic_of("b", id_1, NULL, 0), topic_of("a", id_1, NULL, 0),
                                       topic_of("b", id_1, NULL, 0)};

    (void)state;
    for (int i = 0; i < 3; i++) {
        take(map, topics, 3);
        assert_string_equal(topic_map_at(map, 0)->name, "a");
        assert_string_equal(topic_map_at(map, 1)->name, "b");
        assert_null(topic_map_at(map, 2));
    }
    topic_map_free(map);
}

static void only_what_is_followed(void **state)
{
    static const char *const names[] = {"z", "b"};
    struct topic_map *map = topic_map_new();
    struct metadata_topic topics[3] = {topic_of("b", id_1, NULL, 0), topic_of("c", id_1, NULL, 0),
                                       topic_of("z", id_1, NULL, 0)};
    int32_t count;

    (void)state;
    take(map, topics, 3);
    assert_non_null(topic_map_find(map, "c"));
    assert_null(topic_map_followed(map, &count));
    topic_map_follow(map, names, 2);
    assert_string_equal(topic_map_followed(map, &count)[0], "b");
    assert_int_equal(count, 2);
    assert_null(topic_map_find(map, "c"));
    take(map, topics, 3);
    assert_null(topic_map_find(map, "c"));
    assert_non_null(topic_map_find(map, "z"));
    take(map, topics, 1); /* one that was asked for is not in the answer: unknown */
    assert_null(topic_map_find(map, "z"));
    assert_non_null(topic_map_find(map, "b"));
    topic_map_follow(map, names, 0); /* an empty list is not "all" */
    take(map, topics, 3);
    assert_null(topic_map_at(map, 0));
    topic_map_follow(map, NULL, 0);
    take(map, topics, 3);
    assert_string_equal(topic_map_at(map, 2)->name, "z");
    topic_map_free(map);
}

static void with_all_followed_what_is_gone_is_forgotten(void **state)
{
    struct topic_map *map = topic_map_new();
    struct metadata_topic topics[2] = {topic_of("a", id_1, NULL, 0), topic_of("b", id_1, NULL, 0)};

    (void)state;
    take(map, topics, 2);
    take(map, topics + 1, 1);
    assert_string_equal(topic_map_at(map, 0)->name, "b");
    assert_null(topic_map_at(map, 1));
    take(map, NULL, 0);
    assert_null(topic_map_at(map, 0));
    topic_map_free(map);
}

static void five_thousand_topics(void **state)
{
    enum { COUNT = 5000 };
    struct topic_map *map = topic_map_new();
    struct metadata_topic *topics = calloc(COUNT, sizeof(*topics));
    char(*names)[16] = calloc(COUNT, sizeof(*names));
    int32_t walked = 0;

    (void)state;
    for (int32_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "t%05d", (i * 37) % COUNT);
        topics[i] = topic_of(names[i], id_1, NULL, 0);
    }
    take(map, topics, COUNT);
    take(map, topics, COUNT);
    while (topic_map_at(map, walked) != NULL) {
        walked++;
    }
    assert_int_equal(walked, COUNT);
    assert_non_null(topic_map_find(map, "t04999"));
    topic_map_free(map);
    free(names);
    free(topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaders_go_forward_only),
        cmocka_unit_test(a_new_topic_id_begins_anew),
        cmocka_unit_test(epochs_unknown_to_the_broker_are_taken),
        cmocka_unit_test(partitions_only_grow),
        cmocka_unit_test(errors_hide_a_topic_and_keep_its_leaders),
        cmocka_unit_test(answers_that_lie_are_refused_whole),
        cmocka_unit_test(a_topic_listed_twice_stands_once),
        cmocka_unit_test(a_topic_without_an_id_has_its_names),
        cmocka_unit_test(only_what_is_followed),
        cmocka_unit_test(with_all_followed_what_is_gone_is_forgotten),
        cmocka_unit_test(five_thousand_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
