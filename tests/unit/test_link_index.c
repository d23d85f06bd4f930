/* mirror/link_index: each part is found by place and by id, while others come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mirror/link_inside.h"

#define TOPICS     100
#define PARTITIONS 10

static struct link_part *add(struct link *link, int topic, int32_t partition)
{
    struct link_part *part = calloc(1, sizeof(*part));
    assert_non_null(part);
    part->link = link;
    part->partition = partition;
    snprintf(part->topic, sizeof(part->topic), "t%d", topic);
    link_index_add(part);
    return part;
}

static void drop(struct link_part *part)
{
    link_index_remove(part);
    free(part);
}

static struct link_part *find(struct link *link, int topic, int32_t partition)
{
    char name[16];
    snprintf(name, sizeof(name), "t%d", topic);
    return part_find(link, name, partition);
}

static void check_all(struct link *link)
{
    for (size_t i = 0; i < link->parts_count; i++) {
        struct link_part *part = link->parts[i];
        assert_ptr_equal(part_by_id(link, part->id), part);
        assert_ptr_equal(part_find(link, part->topic, part->partition), part);
        assert_true(i == 0 || link->parts[i - 1]->id < part->id);
    }
}

static void every_part_is_found(void **state)
{
    struct link link = {0};
    struct link_part *parts[TOPICS * PARTITIONS];
    size_t count = 0;

    (void)state;
    assert_null(find(&link, 0, 0));
    assert_null(part_by_id(&link, 1));
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        for (int topic = 0; topic < TOPICS; topic++) {
            parts[count++] = add(&link, topic, partition);
        }
    }
    assert_int_equal(link.parts_count, count);
    check_all(&link);
    uint64_t gone = parts[17]->id;
    drop(parts[17]);
    for (size_t i = 100; i < count; i += 3) {
        drop(parts[i]);
    }
    check_all(&link);
    assert_null(find(&link, 17, 0));
    assert_null(part_by_id(&link, gone)); /* late answers are nobody's */
    struct link_part *back = add(&link, 17, 0);
    assert_true(back->id > gone);
    assert_ptr_equal(find(&link, 17, 0), back);
    check_all(&link);
    while (link.parts_count > 0) {
        drop(link.parts[link.parts_count / 2]);
    }
    assert_null(link.parts_by_place);
    free(link.parts);
}

/* Kafka has none; a command's order may name anything. */
static void no_part_has_a_name_that_is_too_long(void **state)
{
    struct link link = {0};
    char name[sizeof(struct link_part) + 100]; /* past all that it could be copied over */

    (void)state;
    struct link_part *part = add(&link, 1, 0);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_null(part_find(&link, name, 0));
    drop(part);
    free(link.parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_is_found),
        cmocka_unit_test(no_part_has_a_name_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
