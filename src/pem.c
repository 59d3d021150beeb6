#include "pem.h"

#include <assert.h>
#include <bearssl.h>
#include <stdbool.h>
#include <string.h>

#include "ct.h"

static uint8_t decoded[PEM_MAX];	/* less than what it is decoded from */

static void append(void *len, const void *p, size_t n)
{
	size_t *at = len;

	memcpy(decoded + *at, p, n);
	*at += n;
}

const char *pem_read(const uint8_t *p, size_t n,
    const char *(*take)(void *to, const char *label, const uint8_t *der, size_t n), void *to)
{
	br_pem_decoder_context pem;
	const char *what = NULL;
	size_t from = 0, len = 0;
	bool inside = false;
	int event = 0;

	assert(n <= PEM_MAX);
	br_pem_decoder_init(&pem);
	br_pem_decoder_setdest(&pem, append, &len);
	for (size_t i = 0; i <= n && !what && event != BR_PEM_ERROR;) {
		const uint8_t c = i < n ? p[i] : '\n';	/* without one the last line would be none */

		/* BearSSL takes lines that end in CR LF for no PEM (RFC 7468 3 allows both). */
		i += c == '\r' ? 1 : br_pem_decoder_push(&pem, &c, 1);
		event = br_pem_decoder_event(&pem);
		if (!event)
			continue;
		inside = event != BR_PEM_END_OBJ;
		if (!inside)
			what = take(to, br_pem_decoder_name(&pem), decoded + from, len - from);
		from = len;
	}
	ct_wipe(decoded, len);
	ct_wipe(&pem, sizeof pem);
	return what ? what : inside ? "is PEM that was cut or damaged" : NULL;
}
