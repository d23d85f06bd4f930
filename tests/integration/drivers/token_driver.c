/* kafka/oidc by hand. usage: token_driver CONFIGURATION SITE [THREADS]
 *
 * in:  ask (by so many threads at once) | refused SERIAL
 * out: token serial= lasts_ms= name=, or error ...; one line a thread, then `done ms=`
 */
#include <pthread.h>

#include "kafka/oidc.h"
#include "tests/integration/drivers/driver.h"

#define THREADS_MAX 32

static struct oidc *oidc;
static pthread_mutex_t lines = PTHREAD_MUTEX_INITIALIZER;

static void *ask(void *arg)
{
    struct oidc_token token;
    struct err err = {0};

    (void)arg;
    bool ok = oidc_token(oidc, &token, &err);
    pthread_mutex_lock(&lines);
    if (ok) {
        say("token serial=%llu lasts_ms=%lld name=%s", (unsigned long long)token.serial,
            (long long)token.lasts_ms, token.name);
        oidc_token_done(&token);
    } else {
        say_err("error", &err);
    }
    pthread_mutex_unlock(&lines);
    return NULL;
}

static void ask_all(int threads_count)
{
    pthread_t threads[THREADS_MAX];
    int64_t began_ms = clock_now_ms(clock_system());

    for (int i = 0; i < threads_count; i++) {
        if (pthread_create(&threads[i], NULL, ask, NULL) != 0) {
            exit(1);
        }
    }
    for (int i = 0; i < threads_count; i++) {
        pthread_join(threads[i], NULL);
    }
    say("done ms=%lld", (long long)(clock_now_ms(clock_system()) - began_ms));
}

int main(int argc, char **argv)
{
    char line[1 << 10];
    char *words[DRIVER_WORDS];
    struct err err = {0};

    if (argc < 3) {
        return 2;
    }
    int threads_count = argc > 3 ? atoi(argv[3]) : 1;
    struct config *config = config_load(argv[1], &err);
    const struct config_site *site = config == NULL ? NULL : config_site(config, argv[2]);
    oidc = site == NULL ? NULL : oidc_of(&site->kafka);
    if (oidc == NULL || threads_count > THREADS_MAX) {
        say_err("failed", &err);
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        int count = driver_split(line, words);
        if (count > 1) {
            oidc_refused(oidc, strtoull(words[1], NULL, 10));
        } else {
            ask_all(threads_count);
        }
    }
    config_free(config);
    return 0;
}
