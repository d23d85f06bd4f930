/* Small decisions of `ferry verify`, apart for tests. */
#ifndef FERRY_CLI_VERIFY_H
#define FERRY_CLI_VERIFY_H

#include "cli/compare.h"

/* Cut runs, oldest first, to the source offsets [from, end). Returns how many are left. */
size_t verify_cut_runs(struct offset_run *runs, size_t count, int64_t from, int64_t end);
void verify_add_counts(struct compare_counts *sum, const struct compare_counts *more);
/* "90s", "15m", "2h", "7d" back from now_ms, or RFC 3339 UTC ("2026-11-25T03:00:00Z"); false with ERR_USAGE. */
MUST_CHECK
bool verify_since(const char *text, int64_t now_ms, int64_t *out, struct err *err);

#endif
