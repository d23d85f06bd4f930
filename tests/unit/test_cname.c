/* dns/cname over a zone of several providers, each a program with its value in a file: who is away says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dns/dns.h"

/* Its argument is the file; one that is not there is a provider that is away. */
static const char program[] =
    "#!/bin/sh\n"
    "read -r request; test -r \"$1\" || exit 1\n"
    "case $request in\n"
    "*'\"call\":\"get\"'*) printf '{\"values\": [\"%s\"], \"ttl\": 30}' \"$(cat \"$1\")\" ;;\n"
    "*'\"check\":true'*) echo '{}' ;;\n"
    "*) echo \"$request\" | sed 's/.*\"to\":\"\\([^\"]*\\)\".*/\\1/' > \"$1\"; echo '{}' ;;\n"
    "esac\n";

static const char settings[] =
    "{\"deployment\": \"d\", \"sites\": {\"a\": {\"kafka\": {\"bootstrap.servers\": \"a:1\"}},"
    " \"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, \"services\": {\"s\": {\"home\": "
    "\"a\","
    " \"others\": [\"b\"], \"topics\": {\"include\": [\"t\"]}, \"cname\": [{\"record\": "
    "\"kafka.dr.test\", \"at\": {\"a\": \"a.dr.test\", \"b\": \"b.dr.test\"}}]}}, "
    "\"dns\": {\"dr.test\": {\"provider\": \"exec\", \"command\": [\"%s/program\", \"%s/first\"],"
    " \"also\": [{\"provider\": \"exec\", \"command\": [\"%s/program\", \"%s/second\"]}]}}}";

static struct zone {
    char folder[64];
    struct config *config;
    struct dns *dns;
} zone;

static void write_file(const char *name, const char *text, mode_t mode)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/%s", zone.folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void goes_away(const char *name)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/%s", zone.folder, name);
    unlink(path);
}

static void holds(const char *name, const char *value)
{
    write_file(name, value, 0600);
}

static int begin(void **state)
{
    char text[2048];
    struct err err = {0};
    (void)state;
    snprintf(zone.folder, sizeof(zone.folder), "/tmp/test_cname.XXXXXX");
    assert_non_null(mkdtemp(zone.folder));
    write_file("program", program, 0700);
    int len =
        snprintf(text, sizeof(text), settings, zone.folder, zone.folder, zone.folder, zone.folder);
    zone.config = config_parse(text, (size_t)len, "f", &err);
    if (zone.config == NULL) {
        fail_msg("%s", err.what);
    }
    zone.dns = dns_open(zone.config, &zone.config->services[0].cnames[0], &err);
    assert_non_null(zone.dns);
    return 0;
}

static int end(void **state)
{
    (void)state;
    dns_close(zone.dns);
    config_free(zone.config);
    goes_away("first");
    goes_away("second");
    goes_away("program");
    rmdir(zone.folder);
    return 0;
}

static void it_stands_where_every_provider_has_it(void **state)
{
    struct dns_set set;
    struct err err = {0};
    bool stands = false;
    (void)state;
    holds("first", "b.dr.test");
    holds("second", "a.dr.test");
    assert_true(dns_stands(zone.dns, "b.dr.test", &stands, &set, &err));
    assert_false(stands);
    assert_string_equal(set.value, "a.dr.test");
    holds("second", "b.dr.test");
    assert_true(dns_stands(zone.dns, "b.dr.test", &stands, &set, &err));
    assert_true(stands);
}

/* A failover that goes on after one provider was changed and the other is away took the name for moved, recorded it so, and asked
 * the other never again. */
static void one_that_is_away_has_nothing(void **state)
{
    struct dns_set set;
    struct err err = {0};
    bool stands = false;
    (void)state;
    holds("first", "b.dr.test");
    assert_false(dns_stands(zone.dns, "b.dr.test", &stands, &set, &err));
    assert_false(stands);
    goes_away("first");
    holds("second", "a.dr.test");
    assert_false(dns_stands(zone.dns, "b.dr.test", &stands, &set, &err));
    assert_false(stands);
}

/* One is away: the other is changed, and the same again changes the one that comes back. */
static void the_same_swap_again_ends_it(void **state)
{
    const struct dns_change change = {.from = "a.dr.test", .to = "b.dr.test", .ttl_s = 30};
    struct dns_set set;
    struct err err = {0};
    bool stands = false;
    (void)state;
    holds("second", "a.dr.test");
    assert_false(dns_swap(zone.dns, &change, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.what, "changed with 1 of 2 providers"));
    assert_false(dns_swap(zone.dns, &change, &err));
    holds("first", "a.dr.test");
    assert_true(dns_swap(zone.dns, &change, &err));
    assert_true(dns_stands(zone.dns, "b.dr.test", &stands, &set, &err));
    assert_true(stands);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_stands_where_every_provider_has_it, begin, end),
        cmocka_unit_test_setup_teardown(one_that_is_away_has_nothing, begin, end),
        cmocka_unit_test_setup_teardown(the_same_swap_again_ends_it, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
