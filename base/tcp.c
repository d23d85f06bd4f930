#include "base/tcp.h"

#include <linux/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#define PROTOCOL_TCP 6 /* IPPROTO_TCP stands in a header that has its own tcp_info */

int64_t tcp_round_trip_us(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, PROTOCOL_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(info.tcpi_min_rtt)) {
        return -1;
    }
    /* all ones: none was seen yet */
    return info.tcpi_min_rtt == UINT32_MAX ? -1 : (int64_t)info.tcpi_min_rtt;
}
