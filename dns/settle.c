#include "dns/settle.h"

#include <string.h>

bool settle_agrees(const struct dns_view *view, const char *value, int64_t ttl_s)
{
    bool says = view->answered && value != NULL && view->set.kind == DNS_CNAME &&
                strcmp(view->set.value, value) == 0;
    if (!says || ttl_s < 0) {
        return says;
    }
    return view->resolver ? view->set.ttl_s <= ttl_s : view->set.ttl_s == ttl_s;
}

void settle_count(struct dns_views *views, const char *value, int64_t ttl_s, int32_t enough)
{
    views->servers = views->agree = views->resolvers = views->resolvers_agree = 0;
    for (size_t i = 0; i < views->count; i++) {
        const struct dns_view *view = &views->list[i];
        size_t agrees = settle_agrees(view, value, ttl_s) ? 1 : 0;
        *(view->resolver ? &views->resolvers : &views->servers) += 1;
        *(view->resolver ? &views->resolvers_agree : &views->agree) += agrees;
    }
    views->enough = enough > 0 && (size_t)enough < views->servers ? (size_t)enough : views->servers;
    views->authoritative = views->servers > 0 && views->agree >= views->enough;
    views->settled =
        views->provider && views->authoritative && views->resolvers_agree == views->resolvers;
}
