/* What the kernel knows of a TCP connection. Apart from the sockets' own headers, whose struct tcp_info is older. */
#ifndef FERRY_BASE_TCP_H
#define FERRY_BASE_TCP_H

#include <stdint.h>

/* The shortest round trip seen lately, in microseconds: the line's length, not what waits on it. -1 = unknown. */
int64_t tcp_round_trip_us(int fd);

#endif
