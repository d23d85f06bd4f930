#include <curl/curl.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"
#include "ferry_version.h"

extern const struct command ferry_commands;

int cmd_config_check(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int code = EXIT_DONE;
    if (!context_config(&context, line, &err)) {
        code = command_fail(&err);
    } else if (context.json) {
        render_json(json_pack("{sssb}", "file", context.config->file, "ok", 1));
    } else {
        printf("%s: ok, %zu sites, %zu services\n", context.config->file,
               context.config->sites_count, context.config->services_count);
    }
    context_close(&context);
    return code;
}

int cmd_config_show(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int code = EXIT_DONE;
    if (!context_config(&context, line, &err)) {
        code = command_fail(&err);
    } else {
        char *text = config_show(context.config);
        puts(text);
        free(text);
    }
    context_close(&context);
    return code;
}

int cmd_config_reference(const struct command_line *line)
{
    (void)line;
    char *text = config_reference();
    fputs(text, stdout);
    free(text);
    return EXIT_DONE;
}

int cmd_version(const struct command_line *line)
{
    const char *output = command_get(line, "o");
    char redis[32];
    snprintf(redis, sizeof(redis), "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    const char *curl = curl_version_info(CURLVERSION_NOW)->version;
    const char *openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
    if (output != NULL && output[0] == 'j') {
        render_json(json_pack("{ss ss ss ss ss ss}", "ferry", FERRY_VERSION, "librdkafka",
                              rd_kafka_version_str(), "hiredis", redis, "libevent",
                              event_get_version(), "curl", curl, "openssl", openssl));
        return EXIT_DONE;
    }
    printf("ferry %s\nlibrdkafka %s, hiredis %s, libevent %s, curl %s, openssl %s\n", FERRY_VERSION,
           rd_kafka_version_str(), redis, event_get_version(), curl, openssl);
    return EXIT_DONE;
}

int cmd_man(const struct command_line *line)
{
    (void)line;
    command_man(&ferry_commands, stdout);
    return EXIT_DONE;
}
