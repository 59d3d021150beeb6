/* metrics.h - counters, and their text for Prometheus (exposition format 0.0.4).
 *
 * Owns the counters, which any room may add to. */

#ifndef METRICS_H
#define METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "why.h"

struct metrics {
	uint64_t clients, used_tokens, buffer_bytes;	/* gauges */
	uint64_t accepts, rejects[WHY_COUNT];
	uint64_t messages, deliveries, sent_bytes, slow, print_dropped;
};

extern struct metrics metrics;

#define METRICS_MAX 6144u

size_t metrics_write(char out[METRICS_MAX]);

#endif
