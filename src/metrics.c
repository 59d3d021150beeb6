#include "metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

struct metrics metrics;

static size_t put(char *out, size_t n, const char *name, const char *type, uint64_t v)
{
	return n + (size_t)snprintf(out + n, METRICS_MAX - n,
	    "# TYPE sluice_%s %s\nsluice_%s %" PRIu64 "\n", name, type, name, v);
}

size_t metrics_write(char out[METRICS_MAX])
{
	size_t n = 0;

	n = put(out, n, "clients", "gauge", metrics.clients);
	n = put(out, n, "accepts_total", "counter", metrics.accepts);
	n = put(out, n, "messages_total", "counter", metrics.messages);
	n = put(out, n, "deliveries_total", "counter", metrics.deliveries);
	n = put(out, n, "sent_bytes_total", "counter", metrics.sent_bytes);
	n = put(out, n, "slow_total", "counter", metrics.slow);
	n = put(out, n, "used_tokens", "gauge", metrics.used_tokens);
	n = put(out, n, "buffer_bytes", "gauge", metrics.buffer_bytes);
	n += (size_t)snprintf(out + n, METRICS_MAX - n, "# TYPE sluice_rejects_total counter\n");
	for (enum why why = 0; why < WHY_COUNT; why++)
		if (why_http(why) >= 400)
			n += (size_t)snprintf(out + n, METRICS_MAX - n,
			    "sluice_rejects_total{reason=\"%s\"} %" PRIu64 "\n",
			    why_text(why), metrics.rejects[why]);
	assert(n < METRICS_MAX);
	return n;
}
