/* proxy.h - --trust-proxy: whose word about its client is taken, and who that is.
 *
 * Pure. Addresses have 16 bytes; one of IPv4 is ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */

#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "http.h"

#define PROXIES_MAX 32u

struct proxies {
	struct {
		uint8_t ip[16], bits;
	} net[PROXIES_MAX];
	uint32_t n;
	bool local;			/* whoever comes in at a unix socket */
};

/* ADDRESS, ADDRESS/BITS or unix. What is wrong with it, or NULL. */
const char *proxy_add(struct proxies *p, const char *value);

bool proxy_trusted(const struct proxies *p, const uint8_t ip[16]);

/* The right-most address in the head's X-Forwarded-For fields that is not itself trusted: further
 * to the left stands what that client says. False: there is none, or no address in its place. */
bool proxy_client(uint8_t ip[16], const struct proxies *p, const struct http_req *r);

#endif
