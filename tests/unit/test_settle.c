/* Who says so is counted, and silence is not consent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/settle.h"

static struct dns_views views;

static int set_up(void **state)
{
    (void)state;
    memset(&views, 0, sizeof(views));
    views.provider = true;
    return 0;
}

/* @param value  NULL = no answer */
static void add(bool resolver, const char *value, int64_t ttl_s)
{
    struct dns_view *view = &views.list[views.count++];
    *view = (struct dns_view){.resolver = resolver, .answered = value != NULL};
    view->set.kind = DNS_CNAME;
    view->set.ttl_s = ttl_s;
    snprintf(view->set.value, sizeof(view->set.value), "%s", value == NULL ? "" : value);
}

static bool settled(int64_t ttl_s, int32_t enough)
{
    settle_count(&views, "b", ttl_s, enough);
    return views.settled;
}

static void all_of_them(void **state)
{
    (void)state;
    add(false, "b", 30);
    add(false, "a", 30);
    assert_false(settled(-1, 0));
    assert_int_equal(views.agree, 1);
    assert_int_equal(views.servers, 2);
    assert_int_equal(views.enough, 2);
    views.list[1] = views.list[0];
    assert_true(settled(-1, 0));
}

static void silence_is_not_consent(void **state)
{
    (void)state;
    add(false, "b", 30);
    add(false, NULL, 0);
    assert_false(settled(-1, 0));
    assert_true(settled(-1, 1));  /* k of n */
    assert_false(settled(-1, 5)); /* more than there are = all */
    assert_int_equal(views.enough, 2);
}

static void nobody_is_not_everybody(void **state)
{
    (void)state;
    assert_false(settled(-1, 0));
    add(true, "b", 30); /* a resolver alone */
    assert_false(settled(-1, 0));
    assert_false(settled(-1, 1));
}

static void every_resolver(void **state)
{
    (void)state;
    add(false, "b", 30);
    add(true, "b", 10);
    add(true, "a", 10);
    assert_false(settled(-1, 1));
    assert_int_equal(views.resolvers_agree, 1);
    views.list[2] = views.list[1];
    assert_true(settled(-1, 1));
}

static void the_provider_has_a_word(void **state)
{
    (void)state;
    add(false, "b", 30);
    views.provider = false;
    assert_false(settled(-1, 0));
}

/* Several values, of which one is right, are not that value. */
static void only_the_value_alone(void **state)
{
    (void)state;
    add(false, "b", 30);
    views.list[0].set.kind = DNS_SEVERAL;
    assert_false(settled(-1, 0));
    views.list[0].set.kind = DNS_CNAME;
    settle_count(&views, NULL, -1, 0);
    assert_false(views.settled);
}

static void times_to_live(void **state)
{
    (void)state;
    add(false, "b", 30);
    assert_true(settled(30, 0));
    assert_false(settled(20, 0));
    add(true, "b", 12); /* what is left of 30 */
    assert_true(settled(30, 0));
    views.list[1].set.ttl_s = 600; /* an answer of before */
    assert_false(settled(30, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_of_them, set_up),
        cmocka_unit_test_setup(silence_is_not_consent, set_up),
        cmocka_unit_test_setup(nobody_is_not_everybody, set_up),
        cmocka_unit_test_setup(every_resolver, set_up),
        cmocka_unit_test_setup(the_provider_has_a_word, set_up),
        cmocka_unit_test_setup(only_the_value_alone, set_up),
        cmocka_unit_test_setup(times_to_live, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
