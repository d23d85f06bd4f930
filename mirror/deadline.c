#include "mirror/deadline.h"

#include <assert.h>

void deadline_init(struct deadline *deadline, int32_t session_ms, int32_t tcp_user_timeout_ms)
{
    assert(session_ms > tcp_user_timeout_ms + DEADLINE_SLACK_MS); /* config refuses others */
    *deadline =
        (struct deadline){.session_ms = session_ms, .tcp_user_timeout_ms = tcp_user_timeout_ms};
}

void deadline_renew(struct deadline *deadline, int64_t sent_ms)
{
    int64_t until =
        sent_ms + deadline->session_ms - deadline->tcp_user_timeout_ms - DEADLINE_SLACK_MS;
    if (until > deadline->until_ms) { /* answers may come out of order */
        deadline->until_ms = until;
    }
}

void deadline_close(struct deadline *deadline)
{
    deadline->until_ms = 0;
}

bool deadline_open(const struct deadline *deadline, int64_t now_ms)
{
    return now_ms < deadline->until_ms;
}
