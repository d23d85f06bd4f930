#include "cli/verify.h"

#include <string.h>
#include <time.h>

#define DIGITS_MAX 9 /* a thousand million seconds is 31 years */

size_t verify_cut_runs(struct offset_run *runs, size_t count, int64_t from, int64_t end)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct offset_run run = runs[i];
        int64_t skip = from - run.source_first;
        if (skip > 0) {
            run.source_first += skip;
            run.target_first += skip;
            run.length -= skip;
        }
        if (run.source_first + run.length > end) {
            run.length = end - run.source_first;
        }
        if (run.length > 0) {
            runs[kept++] = run;
        }
    }
    return kept;
}

void verify_add_counts(struct compare_counts *sum, const struct compare_counts *more)
{
    sum->compared += more->compared;
    for (int kind = 0; kind < COMPARE_KINDS; kind++) {
        sum->wrong[kind] += more->wrong[kind];
    }
    sum->expired += more->expired;
    sum->unmapped += more->unmapped;
    sum->compacted += more->compacted;
    sum->forgotten += more->forgotten;
    sum->filtered += more->filtered;
    sum->unjudged += more->unjudged;
    sum->behind += more->behind;
}

static bool parse_duration(const char *text, int64_t *out_ms)
{
    size_t digits = strspn(text, "0123456789");
    static const char letters[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    const char *unit = digits == 0 || text[digits] == '\0' ? NULL : strchr(letters, text[digits]);
    if (unit == NULL || digits > DIGITS_MAX || text[digits + 1] != '\0') {
        return false;
    }
    int64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (text[i] - '0');
    }
    *out_ms = value * seconds[unit - letters] * 1000;
    return true;
}

bool verify_since(const char *text, int64_t now_ms, int64_t *out, struct err *err)
{
    int64_t back_ms;
    struct tm utc = {0};
    if (parse_duration(text, &back_ms)) {
        *out = now_ms > back_ms ? now_ms - back_ms : 0;
        return true;
    }
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL || strcmp(rest, "Z") != 0 || timegm(&utc) < 0) {
        return err_set(err, ERR_USAGE,
                       "--since takes 90s, 15m, 2h, 7d or a time such as 2026-11-25T03:00:00Z, not "
                       "'%.100s'",
                       text);
    }
    *out = (int64_t)timegm(&utc) * 1000;
    return true;
}
