/* source.h - where messages come from: stdin, FIFOs, sockets, serial lines.
 *
 * Owns the sources' descriptors and what has been read of a message. Knows no connections: the
 * loop asks for messages one by one (source_next) and says when it can take no more. */

#ifndef SOURCE_H
#define SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cut.h"
#include "limits.h"
#include "net.h"
#include "sandbox.h"
#include "wheel.h"

enum source_kind { SOURCE_STDIN, SOURCE_FIFO, SOURCE_TCP, SOURCE_LISTEN, SOURCE_UDP, SOURCE_TTY };

/* One --source, as the command line has it. */
struct source_spec {
	enum source_kind kind;
	char subject[SUBJECT_MAX + 1];
	const char *spec;	/* as written, for the log */
	const char *arg;	/* PATH, HOST:PORT, ADDR */
	char tty[128];		/* its path */
	uint32_t speed;		/* tty: as termios has it; 0 leaves it alone */
};

/* The text of what is wrong, or NULL. Opens nothing. */
const char *source_parse(struct source_spec *s, const char *value);

/* One descriptor that is read from, or that accepts such. */
struct input {
	const struct source_spec *spec;
	uint32_t subject;	/* the hub's */
	int      fd;		/* -1: none now */
	bool     acceptor;
	bool     connecting;	/* tcp: not yet there */
	bool     always;		/* epoll does not take it: a file, always ready */
	bool     watched;	/* in epoll */
	bool     edge;		/* a FIFO without a writer: report changes only */
	bool     ready;		/* there is something to read */
	bool     held;		/* a message waits for room */
	bool     ended;		/* for good */
	uint32_t delay_ms;	/* before the next attempt */
	uint32_t address;	/* tcp: the next of addr to try */
	uint32_t naddr;
	struct net_addr *addr;
	struct cut cut;
	const uint8_t *datagram;/* udp: in cut's buffer, or NULL */
	size_t   datagram_len;
};

struct sources {
	struct input *input;
	uint32_t n, live;	/* live: sources that have not ended */
	struct wheel *wheel;	/* ids from first_id on are ours */
	uint32_t first_id;
	int      epfd;
	int64_t  mono_ms;
};

/* The number of inputs, and so of ids in the wheel, that these specs take. */
uint32_t sources_inputs(const struct source_spec *spec, unsigned n);

/* Open everything, or fatal. subject[i] is the hub's for spec[i]; memory is zeroed room for
 * sources_inputs of struct input. */
void sources_open(struct sources *s, struct input *memory, const struct source_spec *spec,
    const uint32_t *subject, unsigned n, enum framing framing, size_t max);

/* Let the sandbox open again what comes back after a loss. */
void sources_again(const struct sources *s, const struct sandbox *b);

/* Log where those that listen do. */
void sources_log(const struct sources *s);

/* Nothing more is read. */
void sources_stop(struct sources *s);

/* What epoll or the wheel says about input i. */
void source_event(struct sources *s, uint32_t i);
void source_deadline(struct sources *s, uint32_t i);

/* One read of a ready input, into what source_next then cuts. */
void source_read(struct sources *s, struct input *in);
enum cut_result source_next(struct input *in, const uint8_t **p, size_t *n);
void source_done(struct input *in);

/* Log that a message was over the limit. */
void source_too_large(const struct input *in);

/* After CUT_MORE: the end of the stream, if it has come, is acted on. */
void source_settle(struct sources *s, struct input *in);

/* Stop reading until source_resume: the message that source_next shows must wait. To be called
 * when there is room again, and what was read has gone. */
void source_hold(struct sources *s, struct input *in);
void source_resume(struct sources *s, struct input *in);

/* Can the sender be made to wait? */
bool source_can_wait(const struct input *in);

#endif
