/* dns/dns.h, one call a line from stdin. usage: dns_driver CONFIGURATION SERVICE
 *
 * The service's first record. A value `-` is none.
 * in:  get | check FROM TO | swap FROM TO TTL | settle VALUE TTL WAIT_MS
 * out: `done {JSON}` or `error kind= code= what= hint=`
 */
#include <jansson.h>

#include "base/json.h"
#include "dns/dns.h"
#include "tests/integration/drivers/driver.h"

static struct dns *dns;

static void done(json_t *take_value)
{
    char *text = json_text(take_value);
    say("done %s", text);
    free(text);
    json_decref(take_value);
}

static const char *value_of(const char *word)
{
    return strcmp(word, "-") == 0 ? NULL : word;
}

static json_t *set_json(const struct dns_set *set)
{
    char text[DNS_TEXT_BYTES];
    return json_pack("{sssI}", "stands", dns_set_text(set, text), "ttl", (json_int_t)set->ttl_s);
}

static bool get(struct err *err)
{
    struct dns_set set;
    if (!dns_get(dns, &set, err)) {
        return false;
    }
    done(set_json(&set));
    return true;
}

static bool check(char **words, struct err *err)
{
    struct dns_check out;
    json_t *refusals = json_array();
    if (!dns_check(dns, value_of(words[1]), words[2], &out, err)) {
        json_decref(refusals);
        return false;
    }
    for (size_t i = 0; i < out.refusals_count; i++) {
        json_array_append_new(refusals, json_string(dns_refusal_name(out.refusals[i].refusal)));
    }
    json_t *answer = set_json(&out.set);
    json_object_set_new(answer, "refusals", refusals);
    json_object_set_new(answer, "done", json_boolean(out.done));
    json_object_set_new(answer, "address_known", json_boolean(!out.address_unknown));
    json_object_set_new(answer, "what",
                        json_string(out.refusals_count > 0 ? out.refusals[0].what : ""));
    done(answer);
    return true;
}

static bool swap(char **words, struct err *err)
{
    const struct dns_change change = {
        .from = value_of(words[1]), .to = words[2], .ttl_s = atoi(words[3])};
    if (!dns_swap(dns, &change, err)) {
        return false;
    }
    done(json_object());
    return true;
}

static bool settle(char **words, struct err *err)
{
    struct dns_views views;
    if (!dns_settle(dns, value_of(words[1]), atoi(words[2]), atoi(words[3]), NULL, NULL, &views,
                    err)) {
        return false;
    }
    json_t *servers = json_object();
    for (size_t i = 0; i < views.count; i++) {
        char text[DNS_TEXT_BYTES];
        json_object_set_new(servers, views.list[i].server,
                            json_string(views.list[i].answered
                                            ? dns_set_text(&views.list[i].set, text)
                                            : views.list[i].why));
    }
    done(json_pack("{sisisisisisbso}", "agree", (int)views.agree, "of", (int)views.servers,
                   "needed", (int)views.enough, "resolvers_agree", (int)views.resolvers_agree,
                   "resolvers", (int)views.resolvers, "settled", views.settled ? 1 : 0, "servers",
                   servers));
    return true;
}

static bool call(int count, char **words, struct err *err)
{
    if (count == 1 && strcmp(words[0], "get") == 0) {
        return get(err);
    }
    if (count == 3 && strcmp(words[0], "check") == 0) {
        return check(words, err);
    }
    if (count == 4 && strcmp(words[0], "swap") == 0) {
        return swap(words, err);
    }
    if (count == 4 && strcmp(words[0], "settle") == 0) {
        return settle(words, err);
    }
    return err_set(err, ERR_USAGE, "no such call");
}

int main(int argc, char **argv)
{
    struct err err = {0};
    char line[4096];
    struct config *config = argc == 3 ? config_load(argv[1], &err) : NULL;
    const struct config_service *service = config == NULL ? NULL : config_service(config, argv[2]);
    dns = service == NULL ? NULL : dns_open(config, &service->cnames[0], &err);
    if (dns == NULL) {
        say_err("error", &err);
    }
    while (dns != NULL && fgets(line, sizeof(line), stdin) != NULL) {
        char *words[DRIVER_WORDS];
        int count = driver_split(line, words);
        err_clear(&err);
        if (count > 0 && !call(count, words, &err)) {
            say_err("error", &err);
        }
    }
    dns_close(dns);
    config_free(config);
    return 0;
}
