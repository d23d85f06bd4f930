#include "base/https.h"

#include <ctype.h>
#include <curl/curl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"

#define HEAD_BYTES  (64 << 10) /* of all headers of an answer */
#define HIDDEN_MAX  8
#define PAUSE_MS    400 /* where no Retry-After is given; doubled each time */
#define ATTEMPTS    5
#define MS_A_SECOND 1000

struct https {
    struct https_options options;
    CURL *curl;
    char *hidden[HIDDEN_MAX];
    size_t hidden_count;
};

/* One attempt, while libcurl calls back. */
struct taking {
    struct https_answer *answer;
    size_t head_bytes;
    bool too_long;
};

/* --- taking an answer --------------------------------------------------------------------------------------------- */

static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct taking *taking = arg;
    struct https_answer *answer = taking->answer;
    size_t len = size * count;
    if (len > HTTPS_ANSWER_BYTES - answer->len) {
        taking->too_long = true;
        return 0;
    }
    char *body = realloc(answer->body, answer->len + len + 1);
    if (body == NULL) {
        abort();
    }
    memcpy(body + answer->len, bytes, len);
    answer->body = body;
    answer->len += len;
    body[answer->len] = '\0';
    return len;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *arg)
{
    static const char name[] = "etag:";
    struct taking *taking = arg;
    size_t len = size * count;
    taking->head_bytes += len;
    if (taking->head_bytes > HEAD_BYTES) {
        taking->too_long = true;
        return 0;
    }
    if (len > sizeof(name) && strncasecmp(bytes, name, sizeof(name) - 1) == 0) {
        const char *from = bytes + sizeof(name) - 1;
        const char *end = bytes + len;
        while (from < end && isspace((unsigned char)*from)) {
            from++;
        }
        while (end > from && isspace((unsigned char)end[-1])) {
            end--;
        }
        bool fits = (size_t)(end - from) < sizeof(taking->answer->etag);
        snprintf(taking->answer->etag, sizeof(taking->answer->etag), "%.*s",
                 fits ? (int)(end - from) : 0, from);
    }
    return len;
}

void https_answer_done(struct https_answer *answer)
{
    if (answer->body != NULL) {
        OPENSSL_cleanse(answer->body, answer->len); /* it may hold a token */
        free(answer->body);
    }
    *answer = (struct https_answer){.status = 0};
}

/* --- one attempt -------------------------------------------------------------------------------------------------- */

static void host_of(const char *url, char *out, size_t room)
{
    const char *from = strstr(url, "://");
    from = from == NULL ? url : from + 3;
    snprintf(out, room, "%.*s", (int)strcspn(from, "/?"), from);
}

static void set_up(struct https *https, const struct https_ask *ask, struct curl_slist *headers,
                   struct taking *taking, int64_t left_ms)
{
    CURL *curl = https->curl;
    const char *ca = https->options.ca;
    bool tls = strncmp(ask->url, "https://", 8) == 0;
    curl_easy_reset(curl); /* connections stay */
    curl_easy_setopt(curl, CURLOPT_URL, ask->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    /* on a connection that was used before libcurl itself repeats what got no answer */
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, strcmp(ask->method, "GET") != 0 ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "ferry");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, taking);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, taking);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (ca != NULL) { /* these and no others */
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (ask->direct) {
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    }
    if (ask->body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(ask->body));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->body);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    if (ask->sigv4 != NULL) {
        curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, ask->sigv4);
        curl_easy_setopt(curl, CURLOPT_USERNAME, ask->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, ask->password);
    }
}

static struct curl_slist *header_list(const struct https_ask *ask)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < HTTPS_HEADERS_MAX && ask->headers[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(list, ask->headers[i]);
        if (longer == NULL) {
            abort();
        }
        list = longer;
    }
    return list;
}

static void header_list_free(struct curl_slist *list)
{
    for (struct curl_slist *at = list; at != NULL; at = at->next) {
        OPENSSL_cleanse(at->data, strlen(at->data)); /* tokens */
    }
    curl_slist_free_all(list);
}

/* Nothing of the request itself can have left. */
static bool before_sending(CURL *curl, CURLcode code)
{
    long bytes = 0;
    curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes == 0 || code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
           code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CONNECT_ERROR || code == CURLE_SSL_CACERT_BADFILE;
}

static void no_answer(const struct https *https, const struct https_ask *ask,
                      const struct taking *taking, CURLcode code, const char *why, struct err *err)
{
    char host[200];
    char words[HTTPS_WORDS_BYTES];
    host_of(ask->url, host, sizeof(host));
    https_words(https, why[0] == '\0' ? curl_easy_strerror(code) : why, words);
    if (code == CURLE_SSL_CACERT_BADFILE) {
        err_set(err, ERR_CONFIG, "the certificates in %.200s cannot be used: %s",
                https->options.ca == NULL ? "the system" : https->options.ca, words);
        err_hint(err, "%.100s: a file of PEM certificates", https->options.ca_key);
    } else if (code == CURLE_PEER_FAILED_VERIFICATION) {
        err_set(err, ERR_RETRY, "%s: its certificate is not to be trusted: %s", host, words);
        err_hint(err, "is it that host? If it has an authority of its own: %.100s",
                 https->options.ca_key);
    } else if (taking->too_long) {
        err_set(err, ERR_RETRY, "%s: its answer is longer than anything we ask for", host);
        err_hint(err, "is that the API? %.100s", https->options.address_key);
    } else {
        err_set(err, ERR_RETRY, "%s does not answer: %s", host, words);
        err_hint(err, "reachable from this host? curl -v https://%.100s", host);
    }
}

static bool attempt(struct https *https, const struct https_ask *ask, int64_t left_ms,
                    struct https_answer *out, struct err *err)
{
    char why[CURL_ERROR_SIZE] = "";
    struct taking taking = {.answer = out};
    struct curl_slist *headers = header_list(ask);
    *out = (struct https_answer){.status = 0};
    set_up(https, ask, headers, &taking, left_ms);
    curl_easy_setopt(https->curl, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(https->curl);
    curl_easy_setopt(https->curl, CURLOPT_ERRORBUFFER, NULL);
    if (code == CURLE_OK) {
        curl_easy_getinfo(https->curl, CURLINFO_RESPONSE_CODE, &out->status);
        if (out->body == NULL) {
            out->body = calloc(1, 1);
        }
    } else {
        bool sent = !before_sending(https->curl, code);
        no_answer(https, ask, &taking, code, why, err);
        https_answer_done(out);
        out->maybe_sent = sent;
    }
    header_list_free(headers);
    return code == CURLE_OK;
}

/* --- within its time ---------------------------------------------------------------------------------------------- */

static void rest(int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / MS_A_SECOND,
                                  .tv_nsec = ms % MS_A_SECOND * 1000000};
    nanosleep(&time, NULL);
}

static bool not_now(const struct https_ask *ask, const struct https_answer *answer)
{
    return answer->status == 429 || (ask->throttled != NULL && ask->throttled(answer));
}

/* How long to wait before the next attempt. @return -1 = there is none */
static int64_t pause_ms(const struct https *https, const struct https_ask *ask, bool answered,
                        const struct https_answer *answer, const struct err *err, int number)
{
    curl_off_t after_s = 0;
    int64_t pause = (int64_t)PAUSE_MS << number;
    bool read = strcmp(ask->method, "GET") == 0;
    if (answered) {
        curl_easy_getinfo(https->curl, CURLINFO_RETRY_AFTER, &after_s);
        pause = after_s > 0 ? (int64_t)after_s * MS_A_SECOND : pause;
        return not_now(ask, answer) ? pause : -1;
    }
    bool again = err->kind == ERR_RETRY && (read || !answer->maybe_sent);
    return again ? pause : -1;
}

bool https_ask(struct https *https, const struct https_ask *ask, struct https_answer *out,
               struct err *err)
{
    const struct clock *clock = clock_system();
    int64_t until = clock_now_ms(clock) + https->options.timeout_ms;
    struct err own = {0};
    err = err == NULL ? &own : err;
    for (int number = 0;; number++) {
        int64_t left = until - clock_now_ms(clock);
        bool answered = attempt(https, ask, left > 0 ? left : 1, out, err);
        int64_t pause = pause_ms(https, ask, answered, out, err, number);
        left = until - clock_now_ms(clock);
        if (pause < 0 || pause >= left || number + 1 >= ATTEMPTS) {
            return answered;
        }
        https_answer_done(out);
        err_clear(err);
        rest(pause);
    }
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static void wipe(char *text)
{
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

char *https_words(const struct https *https, const char *text, char out[HTTPS_WORDS_BYTES])
{
    size_t len = 0;
    for (size_t i = 0; i < https->hidden_count; i++) {
        if (strstr(text, https->hidden[i]) != NULL) {
            snprintf(out, HTTPS_WORDS_BYTES, "(it repeats a secret)");
            return out;
        }
    }
    for (const char *at = text; *at != '\0' && len + 1 < HTTPS_WORDS_BYTES; at++) {
        bool plain = isgraph((unsigned char)*at) != 0;
        if (plain || (len > 0 && out[len - 1] != ' ')) {
            out[len++] = plain ? *at : ' ';
        }
    }
    out[len] = '\0';
    return out;
}

void https_hide(struct https *https, const char *secret)
{
    for (size_t i = 0; secret != NULL && i < https->hidden_count; i++) {
        secret = strcmp(https->hidden[i], secret) == 0 ? NULL : secret;
    }
    if (secret == NULL || secret[0] == '\0') {
        return;
    }
    if (https->hidden_count == HIDDEN_MAX) { /* tokens: the newest counts */
        wipe(https->hidden[--https->hidden_count]);
    }
    char *copy = strdup(secret);
    if (copy == NULL) {
        abort();
    }
    https->hidden[https->hidden_count++] = copy;
}

bool https_encode(char *out, size_t room, const char *text)
{
    size_t len = strlen(out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool plain = isalnum(*at) || strchr("-._~", *at) != NULL;
        int more = snprintf(out + len, room - len, plain ? "%c" : "%%%02X", *at);
        len += (size_t)more;
        if (len >= room) {
            return false;
        }
    }
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void global_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        abort();
    }
}

struct https *https_new(const struct https_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct https *https = calloc(1, sizeof(*https));
    if (https == NULL) {
        abort();
    }
    https->options = *options;
    https->curl = curl_easy_init();
    if (https->curl == NULL) {
        abort();
    }
    return https;
}

void https_free(struct https *https)
{
    if (https != NULL) {
        curl_easy_cleanup(https->curl);
        while (https->hidden_count > 0) {
            wipe(https->hidden[--https->hidden_count]);
        }
        free(https);
    }
}
