#include "proxy.h"

#include <arpa/inet.h>
#include <string.h>

#include "text.h"

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

/* *bits: how many there are in an address as it was written. */
static bool read_ip(uint8_t ip[16], unsigned *bits, const char *s, size_t n)
{
	char host[INET6_ADDRSTRLEN];

	if (n >= sizeof host)
		return false;
	memcpy(host, s, n);
	host[n] = 0;
	memcpy(ip, mapped, sizeof mapped);
	*bits = 32;
	if (inet_pton(AF_INET, host, ip + sizeof mapped) == 1)
		return true;
	*bits = 128;
	return inet_pton(AF_INET6, host, ip) == 1;
}

const char *proxy_add(struct proxies *p, const char *value)
{
	const char *slash = strchr(value, '/');
	const size_t n = slash ? (size_t)(slash - value) : strlen(value);
	unsigned all;
	int64_t bits;

	if (strcmp(value, "unix") == 0) {
		p->local = true;
		return NULL;
	}
	if (p->n == PROXIES_MAX || !read_ip(p->net[p->n].ip, &all, value, n))
		return "wanted an address, ADDRESS/BITS, or unix";
	bits = all;
	if (slash && (!text_read(&bits, slash + 1, strlen(slash + 1)) || bits > all))
		return all == 32 ? "wanted 0 to 32 bits" : "wanted 0 to 128 bits";
	p->net[p->n++].bits = (uint8_t)(128 - all + bits);
	return NULL;
}

static bool same(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	const unsigned bytes = bits / 8, rest = bits % 8;

	return memcmp(a, b, bytes) == 0 && (rest == 0 || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0);
}

bool proxy_trusted(const struct proxies *p, const uint8_t ip[16])
{
	for (uint32_t i = 0; i < p->n; i++)
		if (same(ip, p->net[i].ip, p->net[i].bits))
			return true;
	return false;
}

/* Some proxies write a port too: 192.0.2.7:1234, [2001:db8::1]:1234. */
static bool read_item(uint8_t ip[16], struct span s)
{
	const bool bracket = s.n > 0 && s.p[0] == '[';
	const char *colon = memchr(s.p, ':', s.n), *end = s.p + s.n, *rest = end;
	unsigned bits;
	int64_t port;

	if (bracket) {
		const char *close = memchr(s.p, ']', s.n);

		if (!close || !colon)
			return false;
		s = (struct span){ s.p + 1, (size_t)(close - s.p) - 1 };
		rest = close + 1;
	} else if (colon && colon == memrchr(s.p, ':', s.n)) {
		s.n = (size_t)(colon - s.p);
		rest = colon;
	}
	if (rest < end && (*rest != ':' || !text_read(&port, rest + 1, (size_t)(end - rest) - 1) ||
	    port > 65535))
		return false;
	return read_ip(ip, &bits, s.p, s.n) && bracket <= (bits == 128);
}

bool proxy_client(uint8_t ip[16], const struct proxies *p, const struct http_req *r)
{
	struct http_items at = { r->fields, { NULL, 0 } };
	struct span item;
	bool found = false;

	/* From the left, the last that is no proxy's. */
	while (http_item(&item, &at, "x-forwarded-for")) {
		uint8_t one[16];
		const bool good = read_item(one, item);

		if (good && proxy_trusted(p, one))
			continue;
		found = good;
		memcpy(ip, one, sizeof one);
	}
	return found;
}
