/* devlog.h - lines to the system's log, as syslog(3) sends them (RFC 3164), less the time.
 *
 * Owns a socket that is connected to /dev/log. Never waits. */

#ifndef DEVLOG_H
#define DEVLOG_H

#include <stdbool.h>
#include <stddef.h>

/* Before a change of the root directory. False: nobody listens there (errno); each line tries
 * again. */
bool devlog_open(void);

/* severity: of RFC 5424 6.2.1, 3 error to 7 debug. False: the line is lost. */
bool devlog_send(int severity, const char *s, size_t n);

#endif
