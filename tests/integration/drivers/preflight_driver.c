/* failover/preflight.h as an operation asks it. usage: preflight_driver CONFIGURATION SERVICE
 *
 * From home to the first other site. Words of a line: source, redis: these are lent; quick, planned; force=CHECK
 * in:  ask WORD..
 * out: `done {"findings": [..], "ms": N, "forced": N, "target_answers": B}` or `error kind= code= what= hint=`
 */
#include <jansson.h>

#include "base/json.h"
#include "failover/preflight.h"
#include "tests/integration/drivers/driver.h"

#define TIMEOUT_MS 10000

static struct preflight_inputs inputs;

static void found(void *arg, const struct preflight_finding *finding)
{
    json_array_append_new(arg, json_pack("{sssssssssb}", "check", preflight_name(finding->check),
                                         "level", preflight_level_name(finding->level), "what",
                                         finding->what, "next", finding->hint, "unreachable",
                                         finding->unreachable ? 1 : 0));
}

static bool open_redis(struct redis_sync **out, struct err *err)
{
    const struct redis_options options = {.url = inputs.to->redis->url, .timeout_ms = 1000};
    *out = redis_sync_new(&options, err);
    return *out != NULL;
}

static bool words_ok(int count, char **words, struct preflight_inputs *now, struct err *err)
{
    for (int i = 1; i < count; i++) {
        const char *forced = words[i] + strlen("force=");
        if (strncmp(words[i], "force=", 6) == 0) {
            if (!preflight_force(&forced, 1, &now->forced, err)) {
                return false;
            }
            continue;
        }
        now->quick = now->quick || strcmp(words[i], "quick") == 0;
        now->planned = now->planned || strcmp(words[i], "planned") == 0;
    }
    return true;
}

static bool has(int count, char **words, const char *word)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], word) == 0) {
            return true;
        }
    }
    return false;
}

static bool ask(int count, char **words, struct err *err)
{
    struct preflight_inputs now = inputs;
    struct preflight_result result;
    struct admin *target = admin_new(now.to->name, &now.to->kafka, TIMEOUT_MS, err);
    struct admin *source = has(count, words, "source")
                               ? admin_new(now.from->name, &now.from->kafka, TIMEOUT_MS, err)
                               : NULL;
    struct redis_sync *redis = NULL;
    bool ok = target != NULL && words_ok(count, words, &now, err) &&
              (!has(count, words, "redis") || open_redis(&redis, err));
    if (ok) {
        json_t *findings = json_array();
        now.target = target;
        now.source = source;
        now.redis = redis;
        preflight_ask(&now, found, findings, &result);
        json_t *answer = json_pack("{sosIsIsb}", "findings", findings, "ms",
                                   (json_int_t)result.took_ms, "forced", (json_int_t)result.forced,
                                   "target_answers", result.target_answers ? 1 : 0);
        char *text = json_text(answer);
        say("done %s", text);
        free(text);
        json_decref(answer);
    }
    redis_sync_free(redis);
    admin_free(source);
    admin_free(target);
    return ok;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    char line[4096];
    struct config *config = argc == 3 ? config_load(argv[1], &err) : NULL;
    const struct config_service *service = config == NULL ? NULL : config_service(config, argv[2]);
    if (service == NULL) {
        say_err("error", &err);
        return 2;
    }
    inputs = (struct preflight_inputs){.config = config,
                                       .service = service,
                                       .from = config_site(config, service->home),
                                       .to = config_site(config, service->others[0]),
                                       .timeout_ms = TIMEOUT_MS,
                                       .acting = true};
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *words[DRIVER_WORDS];
        int count = driver_split(line, words);
        err_clear(&err);
        if (count > 0 && !ask(count, words, &err)) {
            say_err("error", &err);
        }
    }
    config_free(config);
    return 0;
}
