/* tls.h - TLS 1.2 (RFC 5246) for clients' sockets: BearSSL's engine, and what pumps records through it.
 *
 * Owns a pool of states, taken once. A state costs 4 KiB; the buffers of records, 21 KiB a pair, are with
 * a state only while a record is on its way. Knows nothing of what it carries, and descriptors only as it
 * is handed them: nonblocking sockets, watched for changes by somebody else. */

#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_NONE 0u		/* a state's number begins at 1 */

/* Memory for n connections, at most 65535. legacy: AES-CBC is offered too. */
void tls_init(uint32_t n, bool legacy);

/* Read certificate and key, for handshakes from now on. NULL, or what is wrong, with *option "cert" or
 * "key": nothing has changed then. now_s as in cert.h. */
const char *tls_load(const char *cert, const char *key, int64_t now_s, const char **option);

void tls_wipe(void);

/* For a new connection. TLS_NONE: all are taken. */
uint16_t tls_open(void);

/* As recv(2) and send(2). Of input, fewer bytes than asked for mean that there are no more for now, but
 * with tls_again(). 0: the peer has ended. EPROTO: see tls_error. Bytes that tls_send has taken may still
 * wait for the socket, see tls_full. more: others follow at once, and may go into the same record. */
ssize_t tls_recv(uint16_t id, int fd, void *p, size_t n);
ssize_t tls_send(uint16_t id, int fd, const void *p, size_t n, bool more);

bool tls_shaking(uint16_t id);		/* the handshake is not finished */
bool tls_more(uint16_t id);		/* input is here that was read off the socket already */
bool tls_again(uint16_t id);		/* tls_recv stopped after enough work; the socket may hold more */
bool tls_full(uint16_t id);		/* a record waits for the socket: tls_flush when it has room */

/* True: nothing waits. */
bool tls_flush(uint16_t id, int fd);

/* Nothing more will be sent: close_notify, and when all is out the end of our side. */
void tls_shut(uint16_t id, int fd);

/* Free for another, its keys wiped; close_notify is tried. The descriptor stays. */
void tls_close(uint16_t id, int fd);

/* What was wrong, and BearSSL's number of that. */
const char *tls_error(uint16_t id, int *number);

/* Has a public-key operation been done since this was asked last? */
bool tls_worked(void);

#endif
