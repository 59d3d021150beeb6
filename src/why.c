/* why.c - the list as a table. */
#include <assert.h>
#include <stdint.h>

#include "why.h"

static const struct {
	char text[22];	/* in place: a pointer would cost a relocation as well */
	uint16_t http, close;
} table[WHY_COUNT] = {
#define WHY_ROW(name, text, http, close) { text, http, close },
	WHY_LIST(WHY_ROW)
#undef WHY_ROW
};

const char *why_text(enum why why)
{
	assert((unsigned)why < WHY_COUNT);
	return table[why].text;
}

int why_http(enum why why)
{
	assert((unsigned)why < WHY_COUNT);
	return table[why].http;
}

int why_close(enum why why)
{
	assert((unsigned)why < WHY_COUNT);
	return table[why].close;
}
