/* why.c - the list as a table. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "why.h"

#define WHY_TEXT(name, text, http, close) text "\0"
#define WHY_HTTP(name, text, http, close) http,
#define WHY_CLOSE(name, text, http, close) close,

static const char texts[] = WHY_LIST(WHY_TEXT);	/* pointers would cost a relocation each */
static const uint16_t https[] = { WHY_LIST(WHY_HTTP) }, closes[] = { WHY_LIST(WHY_CLOSE) };

const char *why_text(enum why why)
{
	const char *p = texts;

	assert((unsigned)why < WHY_COUNT);
	while (why-- > 0)
		p += strlen(p) + 1;
	return p;
}

int why_http(enum why why)
{
	return https[why];
}

int why_close(enum why why)
{
	return closes[why];
}
