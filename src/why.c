/* why.c - the list as a table. */
#include <assert.h>
#include <stdint.h>

#include "why.h"

static const struct row {
	char text[22];	/* in place: a pointer would cost a relocation as well */
	uint16_t http, close;
} table[WHY_COUNT] = {
#define WHY_ROW(name, text, http, close) { text, http, close },
	WHY_LIST(WHY_ROW)
#undef WHY_ROW
};

static const struct row *row(enum why why)
{
	assert((unsigned)why < WHY_COUNT);
	return &table[why];
}

const char *why_text(enum why why)
{
	return row(why)->text;
}

int why_http(enum why why)
{
	return row(why)->http;
}

int why_close(enum why why)
{
	return row(why)->close;
}
