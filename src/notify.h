/* notify.h - what a service manager hears of us, and hands us: the protocols of sd_notify(3),
 * sd_watchdog_enabled(3) and sd_listen_fds(3), which others than systemd speak too.
 *
 * Owns the notification socket. Takes the variables of each protocol out of the environment when it
 * reads them. Without a service manager all of it does nothing. */

#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_FD 3u		/* the first of the sockets that were handed over */

/* How many sockets were handed over to this very process, to be listened at; at most
 * LISTENERS_MAX, or fatal. */
unsigned notify_listeners(void);

/* The name that the ith of them was given (FileDescriptorName=) is this. */
bool notify_listener_is(unsigned i, const char *name);

/* Connect, while all files are in sight. What is wrong, or NULL. */
const char *notify_open(void);

/* Waits a second at most, where the manager does not read. */
void notify_send(const char *state);

/* RELOADING=1, with the time of it. */
void notify_reloading(void);

/* How often WATCHDOG=1 is due: twice in the time after which we count as hung. 0: never. */
int64_t notify_watchdog_ms(void);

#endif
