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
	struct keyring keys;
	struct used used;
	const char *const *origin;	/* norigin patterns; 0: any */
	unsigned norigin;
	bool open;			/* --no-auth */
	bool once;			/* --token-use once */
	int64_t uptime_ms;		/* kept by the loop */
	bool enforce_expiry;
};

enum why admit_origin(const struct admit *a, struct span origin);

/* May the bearer of this token subscribe? In the order of the reasons; changes nothing but
 * that what has expired leaves the ring. */
enum why admit_token(struct admit *a, struct jwt *jwt, struct span token, struct span subject,
    int64_t now_ms);

/* Consume a token that was admitted: WHY_OK or WHY_RING_FULL. */
enum why admit_take(struct admit *a, const struct jwt *jwt);

/* When the connection must end, in ms from now (INT64_MAX: never), and why. */
int64_t admit_life_ms(const struct admit *a, const struct jwt *jwt, int64_t now_ms,
    enum why *why);

#endif
