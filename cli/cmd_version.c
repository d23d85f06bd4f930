#include <curl/curl.h>
#include <event2/event.h>
#include <hiredis.h>
#include <librdkafka/rdkafka.h>
#include <openssl/crypto.h>

#include "cli/commands.h"
#include "cli/render.h"
#include "ferry_version.h"

int cmd_version(const struct command_line *line)
{
    const char *output = command_get(line, "o");
    char redis[32];
    snprintf(redis, sizeof(redis), "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    const char *curl = curl_version_info(CURLVERSION_NOW)->version;
    const char *openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
    if (output != NULL && output[0] == 'j') {
        render_json(json_pack("{ss ss ss ss ss ss ss}", "ferry", FERRY_VERSION, "librdkafka",
                              rd_kafka_version_str(), "hiredis", redis, "libevent",
                              event_get_version(), "curl", curl, "jansson", jansson_version_str(),
                              "openssl", openssl));
        return EXIT_DONE;
    }
    printf("ferry %s\nlibrdkafka %s, hiredis %s, libevent %s, curl %s, jansson %s, openssl %s\n",
           FERRY_VERSION, rd_kafka_version_str(), redis, event_get_version(), curl,
           jansson_version_str(), openssl);
    return EXIT_DONE;
}
