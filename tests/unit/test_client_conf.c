/* kafka/client_conf: whatever a site may say is taken by every handle that is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "config/properties.h"
#include "kafka/client.h"
#include "kafka/control_inside.h"
#include "kafka/control_reader.h"
#include "kafka/membership.h"

static void nobody(void *arg, const struct membership_partition *parts, size_t count)
{
    (void)arg;
    (void)parts;
    (void)count;
}

static void nobody_either(void *arg, const struct membership_partition *parts, size_t count,
                          bool lost)
{
    (void)arg;
    (void)parts;
    (void)count;
    (void)lost;
}

static void no_trouble(void *arg, const struct err *why)
{
    (void)arg;
    (void)why;
}

static void check_handle(struct client *handle, const char *what, const struct config_client *site,
                         const struct err *err)
{
    if (handle == NULL) {
        fail_msg("%s with %s=%s: %s", what, site->properties[1].name, site->properties[1].value,
                 err->what);
    }
    client_free(handle, CLIENT_END_MS);
}

static void check_member(const struct config_client *site, int32_t session_timeout_ms)
{
    const struct membership_callbacks callbacks = {
        .assigned = nobody, .revoked = nobody_either, .trouble = no_trouble};
    const struct membership_options options = {.group = "ferry-orders-a-b",
                                               .instance_id = "w1",
                                               .session_timeout_ms = session_timeout_ms,
                                               .heartbeat_ms = 500,
                                               .metadata_refresh_ms = 2000,
                                               .max_poll_interval_ms = 30000};
    struct err err = {0};
    struct loop *loop = loop_new(clock_system());
    struct membership *membership = membership_new(loop, site, &options, &callbacks, &err);
    if (membership == NULL) {
        fail_msg("a member of a session of %d ms with %s=%s: %s", session_timeout_ms,
                 site->properties[1].name, site->properties[1].value, err.what);
    }
    membership_free(membership);
    loop_free(loop);
}

/* Each kind of handle that ferryd and ferry make. */
static void check_handles(const struct config_client *site)
{
    struct err err = {0};
    check_handle(client_new(RD_KAFKA_PRODUCER, site, NULL, 0, &err), "an admin", site, &err);
    check_handle(control_writer_client(site, "op", "orders", &err), "a writer", site, &err);
    struct control_reader *reader = control_reader_new(site, "orders", &err);
    if (reader == NULL) {
        fail_msg("a reader with %s=%s: %s", site->properties[1].name, site->properties[1].value,
                 err.what);
    }
    control_reader_free(reader, CLIENT_END_MS);
    check_member(site, 10000);
}

static void both_ends_of_every_range_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < properties_count; i++) {
        for (int end = 0; end < 2 && properties[i].type == PROPERTY_NUMBER; end++) {
            char number[32];
            snprintf(number, sizeof(number), "%lld",
                     (long long)(end == 0 ? properties[i].least : properties[i].most));
            struct config_property pairs[] = {
                {"bootstrap.servers", "127.0.0.1:1"},
                {properties[i].name,  number       }
            };
            struct config_client site = {.properties = pairs, .properties_count = 2};
            check_handles(&site);
        }
    }
}

/* mirror.session_timeout; librdkafka wants no session longer than the interval of polls. */
static void every_session_is_taken(void **state)
{
    (void)state;
    static const int32_t sessions_ms[] = {6000, 30001, 300000};
    struct config_property pairs[] = {
        {"bootstrap.servers", "127.0.0.1:1"},
        {"client.id",         "ferry"      }
    };
    struct config_client site = {.properties = pairs, .properties_count = 2};
    for (size_t i = 0; i < sizeof(sessions_ms) / sizeof(sessions_ms[0]); i++) {
        check_member(&site, sessions_ms[i]);
    }
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_of_every_range_are_taken),
        cmocka_unit_test(every_session_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
