#include "grants.h"

#include <string.h>

#include "limits.h"
#include "subject.h"

/* A grant: its right, its length, its pattern. */
static bool add(struct grants *g, unsigned right, const uint8_t *p, size_t n)
{
	if (g->n + 2 + n > sizeof g->s)
		return false;
	g->s[g->n] = (uint8_t)right;
	g->s[g->n + 1] = (uint8_t)n;
	memcpy(g->s + g->n + 2, p, n);
	g->n += 2 + n;
	return true;
}

static bool read_list(struct grants *g, unsigned right, struct json *j)
{
	uint8_t pattern[SUBJECT_MAX];
	enum json_event e;
	size_t n;

	if (json_next(j) != JSON_ARRAY)
		return false;
	while ((e = json_next(j)) == JSON_STRING)
		if (!json_string(j, pattern, sizeof pattern, &n) ||
		    !subject_pattern_valid(pattern, n) || !add(g, right, pattern, n))
			return false;
	return e == JSON_ARRAY_END;
}

bool grants_read(struct grants *g, struct json *j, enum json_event e)
{
	g->n = 0;
	if (e != JSON_OBJECT)
		return false;
	while ((e = json_next(j)) == JSON_NAME) {
		_Static_assert(GRANT_SUB == 1 && GRANT_PUB == 2, "the rights are numbered as the names are");
		const unsigned right = 1 + json_which(j, "sub\0pub\0all\0");

		if (right > (GRANT_SUB | GRANT_PUB) || !read_list(g, right, j))
			return false;
	}
	return e == JSON_OBJECT_END;
}

void grants_default(struct grants *g)
{
	g->n = 0;
	add(g, GRANT_SUB, (const uint8_t *)"/", 1);
}

void grants_everything(struct grants *g)
{
	grants_default(g);
	add(g, GRANT_SUB, (const uint8_t *)"/*", 2);
}

bool grants_cover(const uint8_t *s, size_t n, unsigned right, const uint8_t *p, size_t len)
{
	for (const uint8_t *end = s + n; s < end; s += 2 + s[1])
		if (s[0] & right && subject_covers(s + 2, s[1], p, len))
			return true;
	return false;
}
