/* Until when this worker may send: from the last commit that the group took in the assignment's own generation.
 *
 * The broker ends our session no earlier than session_timeout after it took that commit, which was no earlier than we
 * sent it. Bytes that we hand to the kernel leave it within tcp_user_timeout or never. So nothing of ours arrives after
 * another worker may have taken over, if nothing is sent later than
 *     sent + session_timeout - tcp_user_timeout - 1 s.
 * On CLOCK_BOOTTIME: a suspended machine or a stopped process finds its deadline past.
 */
#ifndef FERRY_MIRROR_DEADLINE_H
#define FERRY_MIRROR_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_SLACK_MS 1000

struct deadline {
    int32_t session_ms;
    int32_t tcp_user_timeout_ms;
    int64_t until_ms; /* 0 = closed */
};

void deadline_init(struct deadline *deadline, int32_t session_ms, int32_t tcp_user_timeout_ms);
/* A commit handed over at sent_ms succeeded, and the group's generation was the assignment's both times. */
void deadline_renew(struct deadline *deadline, int64_t sent_ms);
/* The assignment is gone or another one began: closed until its own first commit. */
void deadline_close(struct deadline *deadline);
bool deadline_open(const struct deadline *deadline, int64_t now_ms);

#endif
