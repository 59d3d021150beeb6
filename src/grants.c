#include "grants.h"

#include <string.h>

#include "limits.h"
#include "subject.h"

static bool put(struct grants *g, unsigned rights, const uint8_t *p, size_t n)
{
	if (g->n + 2 + n > sizeof g->s)
		return false;
	g->s[g->n] = (uint8_t)rights;
	g->s[g->n + 1] = (uint8_t)n;
	memcpy(g->s + g->n + 2, p, n);
	g->n += 2 + n;
	return true;
}

bool grants_read(struct grants *g, struct json *j, enum json_event e)
{
	uint8_t pattern[SUBJECT_MAX];
	size_t n;

	g->n = 0;
	if (e != JSON_OBJECT)
		return false;
	while ((e = json_next(j)) == JSON_NAME) {
		const unsigned rights = json_is(j, "sub") ? GRANT_SUB : json_is(j, "pub") ? GRANT_PUB :
		    json_is(j, "all") ? GRANT_SUB | GRANT_PUB : 0;

		if (!rights || json_next(j) != JSON_ARRAY)
			return false;
		while ((e = json_next(j)) == JSON_STRING)
			if (!json_string(j, pattern, sizeof pattern, &n) ||
			    !subject_pattern_valid(pattern, n) || !put(g, rights, pattern, n))
				return false;
		if (e != JSON_ARRAY_END)
			return false;
	}
	return e == JSON_OBJECT_END;
}

void grants_default(struct grants *g)
{
	g->n = 0;
	put(g, GRANT_SUB, (const uint8_t *)"/", 1);
}

bool grants_cover(const uint8_t *s, size_t n, unsigned right, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < n; i += 2 + (size_t)s[i + 1])
		if (s[i] & right && subject_covers(s + i + 2, s[i + 1], p, len))
			return true;
	return false;
}
