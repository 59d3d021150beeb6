/* admit.h - who is let in: origins, tokens, and the ring of used ones.
 *
 * Owns the keyring and the ring. Never touches sockets; the time is an argument. */

#ifndef ADMIT_H
#define ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "http.h"
#include "jwt.h"
#include "key.h"
#include "used.h"
#include "why.h"

struct admit {
	struct jwt_policy policy;
	struct used used;
	const char *const *origin;	/* norigin patterns; 0: any */
	unsigned norigin;
	bool open;			/* --no-auth */
	int64_t uptime_ms;		/* kept by the loop */
	bool enforce_expiry;
	struct keyring keys;		/* the last, since it is large */
};

enum why admit_origin(const struct admit *a, struct span origin);

/* What a token is shown for. */
enum admit_for {
	ADMIT_READ,	/* a raw reader or server-sent events: may read the subject; consumes the token */
	ADMIT_PUBLISH,	/* a POST: may publish to the subject; single use does not matter */
	ADMIT_SESSION,	/* sluice.v1: no subject; consumes the token */
};

/* Is the bearer of this token let in? In the order of the reasons; changes nothing but that what
 * has expired leaves the ring. With --no-auth: WHY_OK for reading and sessions, WHY_SUBJECT_DENIED
 * for publishing. jwt is then filled with: no sub, no kid, key KEY_NONE, session_ms INT64_MAX,
 * grants: to read everything. */
enum why admit_token(struct admit *a, struct jwt *jwt, struct span token, enum admit_for what,
    struct span subject, int64_t now_ms);

/* The bearer has that right for p, a subject or a pattern: grants and the key's ceiling both cover
 * it. grants[0..n) as in jwt.grants; key may be KEY_NONE. */
bool admit_covers(const struct admit *a, uint8_t key, const uint8_t *grants, size_t n,
    unsigned right, const uint8_t *p, size_t len);

/* Consume a token that was admitted: WHY_OK or WHY_RING_FULL. */
enum why admit_take(struct admit *a, const struct jwt *jwt);

/* When the connection must end by its token's expiry, in ms from now (INT64_MAX: never): always
 * with token_use many, else with --enforce-expiry. session_ms is the caller's to apply. */
int64_t admit_expiry_ms(const struct admit *a, const struct jwt *jwt, int64_t now_ms);

#endif
