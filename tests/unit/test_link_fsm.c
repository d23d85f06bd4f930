/* mirror/link_fsm: every state x event is an edge or a refusal with its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mirror/link_fsm.h"

static void every_pair_of_the_link_is_decided(void **state)
{
    (void)state;
    for (int from = 0; from < LINK_STATES_COUNT; from++) {
        for (int event = 0; event < LINK_EVENTS_COUNT; event++) {
            const struct fsm_edge *edge = link_edge((enum link_state)from, (enum link_event)event);
            assert_int_equal(edge->from, from);
            assert_int_equal(edge->event, event);
            assert_true(edge->to >= -1 && edge->to < LINK_STATES_COUNT && edge->to != from);
            assert_true(strlen(edge->why) > 0);
        }
    }
}

static void every_pair_of_a_partition_is_decided(void **state)
{
    (void)state;
    for (int from = 0; from < PART_STATES_COUNT; from++) {
        for (int event = 0; event < PART_EVENTS_COUNT; event++) {
            const struct fsm_edge *edge = part_edge((enum part_state)from, (enum part_event)event);
            assert_int_equal(edge->from, from);
            assert_int_equal(edge->event, event);
            assert_true(edge->to >= -1 && edge->to < PART_STATES_COUNT && edge->to != from);
            assert_true(strlen(edge->why) > 0);
        }
    }
}

/* Only a position that resume proved and that the group took is mirrored from. */
static void mirroring_has_one_door(void **state)
{
    (void)state;
    for (int from = 0; from < PART_STATES_COUNT; from++) {
        for (int event = 0; event < PART_EVENTS_COUNT; event++) {
            int to = part_edge((enum part_state)from, (enum part_event)event)->to;
            if (to == PART_MIRRORING) {
                assert_int_equal(from, PART_PLACED);
                assert_int_equal(event, PART_EV_COMMITTED);
            }
            if (to == PART_PLACED) {
                assert_int_equal(from, PART_RESUMING);
                assert_int_equal(event, PART_EV_PLACED);
            }
        }
    }
}

static void the_end_is_the_end(void **state)
{
    (void)state;
    for (int event = 0; event < LINK_EVENTS_COUNT; event++) {
        assert_int_equal(link_edge(LINK_STOPPED, (enum link_event)event)->to, -1);
    }
    for (int event = 0; event < PART_EVENTS_COUNT; event++) {
        assert_int_equal(part_edge(PART_GONE, (enum part_event)event)->to, -1);
    }
}

/* A fault goes on by an operator's word, or with another worker. */
static void a_fault_does_not_heal_by_itself(void **state)
{
    (void)state;
    for (int event = 0; event < PART_EVENTS_COUNT; event++) {
        int to = part_edge(PART_FAULTED, (enum part_event)event)->to;
        assert_true(to == -1 || event == PART_EV_RETRY || event == PART_EV_REVOKED ||
                    event == PART_EV_LOST);
    }
}

static void who_may_not_write_leaves_from_everywhere(void **state)
{
    (void)state;
    for (int from = 0; from < LINK_STOPPED; from++) {
        assert_int_equal(link_edge((enum link_state)from, LINK_EV_FENCED)->to, LINK_STOPPED);
    }
    for (int from = 0; from < PART_GONE; from++) {
        assert_int_equal(part_edge((enum part_state)from, PART_EV_LOST)->to, PART_GONE);
        if (from != PART_DRAINING) {
            assert_int_equal(part_edge((enum part_state)from, PART_EV_REVOKED)->to, PART_DRAINING);
        }
    }
}

static void every_name_is_there_once(void **state)
{
    (void)state;
    for (int i = 0; i < PART_STATES_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(part_state_name((enum part_state)i),
                                    part_state_name((enum part_state)j));
        }
    }
    for (int i = 0; i < PART_EVENTS_COUNT; i++) {
        assert_true(strlen(part_event_name((enum part_event)i)) > 0);
    }
    for (int i = 0; i < LINK_STATES_COUNT; i++) {
        assert_true(strlen(link_state_name((enum link_state)i)) > 0);
    }
    for (int i = 0; i < LINK_EVENTS_COUNT; i++) {
        assert_true(strlen(link_event_name((enum link_event)i)) > 0);
    }
}

/* Each line of a diagram is "from --> to: text" with names of one word, and the text has no second colon. */
static void the_diagram_is_mermaid(void **state)
{
    (void)state;
    char *text = link_fsm_diagram();
    int edges = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *arrow = strstr(line, " --> ");
        if (arrow == NULL) {
            continue;
        }
        edges++;
        char *colon = strchr(line, ':');
        assert_non_null(colon);
        assert_null(strpbrk(colon + 1, ":;"));
        *arrow = *colon = '\0';
        assert_null(strchr(line + 4, ' '));
        assert_null(strchr(arrow + 5, ' '));
    }
    assert_true(edges > 30);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_the_link_is_decided),
        cmocka_unit_test(every_pair_of_a_partition_is_decided),
        cmocka_unit_test(mirroring_has_one_door),
        cmocka_unit_test(the_end_is_the_end),
        cmocka_unit_test(a_fault_does_not_heal_by_itself),
        cmocka_unit_test(who_may_not_write_leaves_from_everywhere),
        cmocka_unit_test(every_name_is_there_once),
        cmocka_unit_test(the_diagram_is_mermaid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
