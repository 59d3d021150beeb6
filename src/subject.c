#include "subject.h"

#include <string.h>

#include "limits.h"
#include "utf8.h"

static bool segment_valid(const uint8_t *s, size_t n, bool last, bool pattern)
{
	if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
		return false;
	if (pattern && n == 1 && (s[0] == '+' || (s[0] == '*' && last)))
		return true;
	for (size_t i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] == 0x7f || s[i] == '+' || s[i] == '*')
			return false;
	return true;
}

static bool valid(const uint8_t *s, size_t n, bool pattern)
{
	if (n < 1 || n > SUBJECT_MAX || s[0] != '/' || !utf8_valid(s, n))
		return false;
	if (n == 1)
		return true;
	for (size_t i = 1; i <= n;) {
		const uint8_t *slash = memchr(s + i, '/', n - i);
		const size_t len = slash ? (size_t)(slash - s) - i : n - i;

		if (!segment_valid(s + i, len, !slash, pattern))
			return false;
		i += len + 1;
	}
	return true;
}

bool subject_valid(const uint8_t *s, size_t n)
{
	return valid(s, n, false);
}

bool subject_pattern_valid(const uint8_t *s, size_t n)
{
	return valid(s, n, true);
}

bool subject_covers(const uint8_t *p, size_t pn, const uint8_t *q, size_t qn)
{
	size_t i = 0, j = 0;

	while (i < pn && j < qn) {
		if (p[i] == '*')		/* valid: the last segment */
			return true;
		if (p[i] == '+') {
			if (q[j] == '*')	/* more than one segment */
				return false;
			i++;
			while (j < qn && q[j] != '/')
				j++;
		} else if (p[i++] != q[j++]) {
			return false;
		}
	}
	return i == pn && j == qn;
}
