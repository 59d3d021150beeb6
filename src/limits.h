/* limits.h - every size that is not an option, with its reason.
 *
 * Bytes where nothing else is said. */

#ifndef LIMITS_H
#define LIMITS_H

#define HEAD_MAX 8192u		/* a request head: the usual limit of servers and proxies */
#define TOKEN_MAX 4096u		/* so that a head has room for it beside a browser's own fields */
#define SUBJECT_MAX 255u	/* fits a length byte; MQTT users rarely pass 100 */
#define CLAIM_MAX 255u		/* of sub, iss and kid, unescaped: what is logged or compared */
#define SECRET_MAX 4096u

#define READ_SIZE 65536u	/* one read of a source: what a pipe holds */
#define INPUT_SIZE 4096u	/* one read of a client, which has little to say */
#define READS_MAX 2		/* of one client before others have their turn */
#define SMALL_SIZE HEAD_MAX	/* of a message in parts, before it takes a message buffer */
#define MESSAGE_BUFS 32u	/* of --max-message bytes, for all clients */
#define SUBSCRIPTIONS_EACH 8u	/* of sluice.v1, for each client on the average */

#define LISTENERS_MAX 16u
#define SOURCES_MAX 32u
#define WRITERS_MAX 16u		/* at one time for each source that accepts; more wait unaccepted */
#define ORIGINS_MAX 32u
#define ADDRS_MAX 4u		/* that one name may resolve to */

#define BATCH_EVENTS 256	/* of one epoll_wait */
#define BATCH_ACCEPTS 64	/* before others have their turn */
#define BATCH_DATAGRAMS 64

/* The send buffer of a client's socket. The kernel doubles it for its own bookkeeping, so
 * that a client that does not read holds 128 KiB of kernel memory and no more. */
#define CLIENT_SNDBUF 65536

#define LINGER_MS 3000		/* for a peer to take its close frame or reply and go */
#define SHUTDOWN_MS 1000	/* the same when all of sluice ends */
#define HOLD_MS 10000		/* --slow wait: without progress for so long, a client goes */
#define EXPIRING_MS 60000	/* before its end, a sluice.v1 client is told */
#define STALL_MS 1000		/* a long message that does not grow gives way to others */
#define TICK_MS 250		/* between looks at what no event tells */
#define RETRY_MIN_MS 250	/* reconnecting sources: the first delay, doubled up to */
#define RETRY_MAX_MS 30000
#define KEEPALIVE_S 60		/* a silent writer is asked for a sign, then every quarter, 4 times */
#define CLIENTS_DEFAULT 65536	/* of --max-clients, however many descriptors there may be */
#define QUIET_MS 60000		/* between two log lines about a lack of descriptors */

#endif
