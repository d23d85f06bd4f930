/* Any text is a configuration or a refusal that says where; what is accepted can be shown, hashed and matched. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

static void need(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* "fuzz:LINE:COLUMN: " with both at least 1, column 0 where jansson means the end of an empty text. */
static void need_place(const char *what)
{
    char *end;

    need(strncmp(what, "fuzz:", 5) == 0);
    need(strtol(what + 5, &end, 10) >= 1 && *end == ':');
    need(strtol(end + 1, &end, 10) >= 0 && strncmp(end, ": ", 2) == 0);
}

static void use(const struct config *config)
{
    char *show = config_show(config);

    need(show != NULL);
    free(show);
    for (size_t i = 0; i < config->services_count; i++) {
        const struct config_service *service = &config->services[i];
        need(config_site(config, service->home) != NULL && service->others_count > 0);
        need(!config_patterns_match(&service->topics, "ferry.control.x"));
        config_patterns_match(&service->topics, "orders.eu.2");
        config_patterns_match(&service->groups, "");
        need(config_streams_hash(service, PATH_BATCHES) ==
             config_streams_hash(service, PATH_BATCHES));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct config *config = config_parse((const char *)data, size, "fuzz", &err);

    if (config == NULL) {
        need(err.kind == ERR_CONFIG);
        need_place(err.what);
    } else {
        use(config);
        config_free(config);
    }
    return 0;
}
