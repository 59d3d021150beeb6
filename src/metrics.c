#include "metrics.h"

#include <assert.h>

#include "text.h"

struct metrics metrics;

static void put(struct text *t, const char *name, const char *type, uint64_t v)
{
	text_all(t, "# TYPE sluice_", name, type, "sluice_", name, " ", NULL);
	text_num(t, v, 1);
	text_str(t, "\n");
}

size_t metrics_write(char out[METRICS_MAX])
{
	static const char gauge[] = " gauge\n", counter[] = " counter\n";
	struct text t = { out, METRICS_MAX, 0 };

	put(&t, "clients", gauge, metrics.clients);
	put(&t, "accepts_total", counter, metrics.accepts);
	put(&t, "messages_total", counter, metrics.messages);
	put(&t, "deliveries_total", counter, metrics.deliveries);
	put(&t, "sent_bytes_total", counter, metrics.sent_bytes);
	put(&t, "slow_total", counter, metrics.slow);
	put(&t, "publish_to_dropped_total", counter, metrics.print_dropped);
	put(&t, "used_tokens", gauge, metrics.used_tokens);
	put(&t, "buffer_bytes", gauge, metrics.buffer_bytes);
	text_str(&t, "# TYPE sluice_rejects_total counter\n");
	for (enum why why = 0; why < WHY_COUNT; why++) {
		if (why_http(why) < 400 && why != WHY_TLS_FAILED && why != WHY_TOO_MANY_SUBSCRIPTIONS)
			continue;
		text_all(&t, "sluice_rejects_total{reason=\"", why_text(why), "\"} ", NULL);
		text_num(&t, metrics.rejects[why], 1);
		text_str(&t, "\n");
	}
	assert(t.n <= METRICS_MAX);
	return t.n;
}
