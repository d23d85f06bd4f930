/* Tell the service manager how we are: the datagram protocol of sd_notify(3), without its library.
 *
 * Without NOTIFY_SOCKET nothing is sent and that is no error. @see systemd.service(5) Type=notify, WatchdogSec=
 */
#ifndef FERRY_BASE_NOTIFY_H
#define FERRY_BASE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Send lines such as "READY=1\nSTATUS=2 links". false: nobody asked, or it could not be sent. Never blocks. @thread any */
bool notify_send(const char *state);

/* The configuration is being read again; READY=1 ends that. */
bool notify_reloading(void);
/* How often "WATCHDOG=1" is expected at least, from WATCHDOG_USEC (and WATCHDOG_PID, which must be ours); 0 = never. */
int64_t notify_watchdog_ms(void);

#endif
