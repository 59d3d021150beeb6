/* form.h - the forms in which a stored message goes out.
 *
 * Pure: touches only the memory it is handed. A message is made ready once for each form that
 * somebody follows it in, however many they are. Bytes that are no UTF-8 (of a --binary stream)
 * are replaced, as utf8_replace does. */

#ifndef FORM_H
#define FORM_H

#include <stddef.h>
#include <stdint.h>

enum form {
	FORM_FRAME,		/* a WebSocket frame, as it is stored: not written here */
	FORM_V1,		/* a text frame with a sluice.v1 msg */
	FORM_SSE,		/* a server-sent event (WHATWG HTML 9.2) */
};

#define FORM_EPOCH_MAX 16u

struct form_message {
	const char *epoch;	/* at most FORM_EPOCH_MAX characters, none of which needs an escape */
	uint64_t number;
	const uint8_t *subject;
	size_t   subject_len;
	const uint8_t *p;
	size_t   n;
};

/* What no form of n bytes is longer than. */
size_t form_max(size_t n, size_t subject_len);

/* Write FORM_V1 or FORM_SSE; returns its length. out has room for form_max() and does not
 * overlap the message; what is behind the form, within that room, may be overwritten. */
size_t form_write(uint8_t *out, enum form form, const struct form_message *m);

#endif
