#include "mirror/certificates.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#define LOOK_MS 600000

struct certificates {
    const struct config *config;
    struct loop_timer *timer;
    struct series **series; /* by site; NULL: it names none */
};

bool certificate_expiry(const char *file, int64_t *out_s)
{
    struct tm utc;
    BIO *in = BIO_new_file(file, "r");
    X509 *certificate = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    bool ok = certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &utc) == 1;
    if (ok) {
        *out_s = timegm(&utc);
    }
    X509_free(certificate);
    BIO_free(in);
    return ok;
}

static const char *file_of(const struct config_site *site)
{
    return config_client_get(&site->kafka, "ssl.certificate.location");
}

static void look(void *arg)
{
    struct certificates *certificates = arg;
    for (size_t i = 0; i < certificates->config->sites_count; i++) {
        int64_t expiry_s = 0;
        struct series *series = certificates->series[i];
        if (series == NULL) {
            continue;
        }
        if (certificate_expiry(file_of(&certificates->config->sites[i]), &expiry_s)) {
            series_set(series, (double)expiry_s);
        } else {
            series_set_unknown(series);
        }
    }
    loop_timer_set(certificates->timer, LOOK_MS);
}

struct certificates *certificates_new(struct loop *loop, struct metrics *metrics,
                                      const struct config *config)
{
    static const char *const labels[] = {"site", NULL};
    struct certificates *certificates = calloc(1, sizeof(*certificates));
    assert(certificates);
    struct metric *metric =
        metrics_add(metrics, METRIC_GAUGE, "ferry_certificate_expiry_timestamp_seconds",
                    "When our certificate for this site ends, since the Unix epoch.", labels);
    certificates->config = config;
    certificates->series = calloc(config->sites_count + 1, sizeof(*certificates->series));
    assert(certificates->series);
    for (size_t i = 0; i < config->sites_count; i++) {
        if (file_of(&config->sites[i]) != NULL) {
            certificates->series[i] =
                metric_series(metric, (const char *const[]){config->sites[i].name});
        }
    }
    certificates->timer = loop_timer_new(loop, look, certificates);
    look(certificates);
    return certificates;
}

void certificates_free(struct certificates *certificates)
{
    if (certificates) {
        loop_timer_free(certificates->timer);
        free(certificates->series);
        free(certificates);
    }
}
