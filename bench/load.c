/* load.c - many WebSocket clients in one process, each message of each checked.
 *
 *     load [OPTION...] HOST:PORT      (HOST is an IPv4 address)
 *
 *     --steps A,B,...   open A clients, then go on to B, and so on (default 1)
 *     --messages M      then receive M lines of gen with each (default 0)
 *     --tokens FILE     client i sends line i as its Bearer token
 *     --path PATH       of the request (default /)
 *     --timeout S       give up after so long without progress (default 30)
 *     --parallel N      handshakes at one time (default 32)
 *   for servers that speak something else inside of WebSocket:
 *     --protocol NAME   the subprotocol to ask for
 *     --hello FILE      bytes to send, as one binary frame, after the 101
 *     --greetings K     a client is open once K data frames have come
 *     --ignore N        a data frame of N bytes is no message
 *     --record PRE,POST each message has so many bytes around it
 *     --stream          messages need not begin and end with a frame
 *
 * Prints "open N" at each step and then waits for a line on stdin, but not before the
 * messages; after these "done ..." with what was received. At the end it waits for a last
 * line, so that the server can be measured before the clients go, then resets them all.
 * At the end of stdin, or if it is no pipe or terminal, it waits for nothing. Exits 0 only
 * if every client got a right 101 and every message once, whole and in order.
 *
 * Pings are answered at all times. Every client sends the key of RFC 6455 1.3, so that
 * the Accept to expect is one text and costs no SHA-1. */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "line.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

#define EVENTS 512
#define STDIN_EVENT UINT32_MAX
#define STEPS_MAX 32u
#define KEEP 640u		/* a response head, or a piece of a message */
#define CONTROL_MAX 125u	/* RFC 6455 5.5 */
#define AROUND_MAX 128u		/* PRE and POST each */
#define PER_SOURCE 5000u	/* clients from one source address: 127.0.0.1, .2, ... */
#define COMPLAINTS 5u		/* of so many the text is printed */
#define REQUEST_MAX 4096u
#define HELLO_MAX 4096u

enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct client {
	int      fd;
	bool     upgraded, done, in_frame;
	bool     skip;		/* this data frame is no message */
	uint8_t  op;		/* of the frame whose payload we are in */
	uint8_t  nhead, head[10];
	uint32_t greetings;	/* data frames to come that are no messages */
	uint32_t nkeep, ncontrol;
	uint64_t left;		/* payload bytes still to come */
	uint64_t next;		/* the number expected */
	uint8_t  keep[KEEP];
	uint8_t  control[CONTROL_MAX];	/* payload of a ping or close */
};

static struct {
	struct sockaddr_in to;
	const char *host, *path, *protocol;
	uint32_t steps[STEPS_MAX];
	unsigned nsteps;
	uint64_t messages;
	uint32_t parallel, greetings, ignore;
	unsigned pre, record;	/* before the line; with all around it */
	bool     stream;
	int      timeout_s;
	char    *hello;
	size_t   nhello;
	FILE    *tokens;
} opt;

static struct client *clients;
static uint32_t begun, opened, finished;
static uint64_t received, reads, bytes, lost, again, bad, ended;
static int epoll_fd;
static unsigned lines_in;	/* of stdin, not yet used up */
static bool stdin_over;
static int64_t progress_ns;	/* when bytes last came, or a phase began */
static uint8_t in[262144];

/* A client got what it should not have got, or lacks something. */
__attribute__((format(printf, 3, 4)))
static void complain(const struct client *c, uint64_t *counter, const char *fmt, ...)
{
	static unsigned said;
	va_list args;

	++*counter;
	if (said++ >= COMPLAINTS)
		return;
	fprintf(stderr, "load: client %td: ", c - clients);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void one_done(struct client *c)
{
	if (!c->done) {
		c->done = true;
		finished++;
	}
}

/* --- messages --- */

static void wrong_number(struct client *c, uint64_t seq)
{
	if (seq >= opt.messages) {
		complain(c, &bad, "number %ju of %ju", (uintmax_t)seq, (uintmax_t)opt.messages);
	} else if (seq < c->next) {
		complain(c, &again, "expected %ju, got %ju again or late",
		    (uintmax_t)c->next, (uintmax_t)seq);
	} else {
		complain(c, &lost, "expected %ju, got %ju", (uintmax_t)c->next, (uintmax_t)seq);
		lost += seq - c->next - 1;
		received++;
		c->next = seq + 1;
	}
}

static inline void take_message(struct client *c, const uint8_t *p)
{
	uint64_t seq;

	if (!line_read(p + opt.pre, &seq)) {
		complain(c, &bad, "no line of gen: %.40s", (const char *)p + opt.pre);
		return;
	}
	if (seq == c->next && seq < opt.messages) {
		c->next++;
		received++;
	} else {
		wrong_number(c, seq);
	}
	if (c->next == opt.messages)
		one_done(c);
}

/* Payload bytes of data frames: whole messages where they stand, pieces by way of keep. */
static void take_data(struct client *c, const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t k = opt.record - c->nkeep;

		if (c->nkeep == 0 && n >= k) {
			take_message(c, p);
		} else {
			k = k < n ? k : n;
			memcpy(c->keep + c->nkeep, p, k);
			c->nkeep += (uint32_t)k;
			if (c->nkeep == opt.record) {
				take_message(c, c->keep);
				c->nkeep = 0;
			}
		}
		p += k;
		n -= k;
	}
}

/* --- frames (section numbers are of RFC 6455) --- */

static void end_client(struct client *c, const char *how)
{
	if (!c->done)
		complain(c, &ended, "%s after %ju messages", how, (uintmax_t)c->next);
	close(c->fd);
	c->fd = -1;
	one_done(c);
}

/* One frame of up to HELLO_MAX bytes, with a mask of zeros. */
static void send_frame(struct client *c, uint8_t op, const void *p, size_t n)
{
	uint8_t f[8 + HELLO_MAX] = { 0x80 | op };
	size_t at;

	if (n <= CONTROL_MAX) {
		f[1] = (uint8_t)(0x80 | n);
		at = 6;
	} else {
		f[1] = 0x80 | 126;
		f[2] = (uint8_t)(n >> 8);
		f[3] = (uint8_t)n;
		at = 8;
	}
	memcpy(f + at, p, n);
	if (send(c->fd, f, at + n, MSG_NOSIGNAL) != (ssize_t)(at + n))
		complain(c, &bad, "cannot send");
}

/* Bytes that the header has in all, as far as head[0..nhead) can tell. */
static unsigned head_size(const struct client *c)
{
	if (c->nhead < 2 || c->head[1] < 126)
		return 2;
	return c->head[1] == 126 ? 4 : 10;
}

static void begin_frame(struct client *c)
{
	const unsigned size = c->nhead;
	uint64_t len = 0;

	c->op = c->head[0] & 0x0f;
	for (unsigned i = size == 2 ? 1 : 2; i < size; i++)
		len = len << 8 | c->head[i];
	c->left = len;
	c->nhead = 0;
	c->in_frame = true;
	if ((c->head[0] & 0xf0) != 0x80 || c->head[1] & 0x80)
		complain(c, &bad, "a frame that begins %02x %02x", c->head[0], c->head[1]);
	if ((size == 4 && len < 126) || (size == 10 && len < 65536))
		complain(c, &bad, "a length of %ju in too long a form", (uintmax_t)len);
	if (c->op >= 8 && len > CONTROL_MAX)
		complain(c, &bad, "a control frame of %ju bytes", (uintmax_t)len);
	c->skip = c->greetings > 0 || (opt.ignore > 0 && len == opt.ignore);
	if (c->op <= OP_BINARY && !c->skip && !opt.stream && len != opt.record)
		complain(c, &bad, "a frame of %ju bytes", (uintmax_t)len);
	if (c->op != OP_TEXT && c->op != OP_BINARY && (c->op < 8 || c->op > OP_PONG))
		complain(c, &bad, "opcode %u", c->op);
}

static void end_frame(struct client *c)
{
	c->in_frame = false;
	if (c->op < 8) {
		if (c->greetings > 0 && --c->greetings == 0)
			opened++;
		if (!opt.stream)
			c->nkeep = 0;
	} else {
		if (c->op == OP_PING)
			send_frame(c, OP_PONG, c->control, c->ncontrol);
		else if (c->op == OP_CLOSE)
			end_client(c, "closed by the server");
		c->ncontrol = 0;
	}
}

static void take_payload(struct client *c, const uint8_t *p, size_t n)
{
	if (c->op >= 8) {
		if (n > CONTROL_MAX - c->ncontrol)
			n = CONTROL_MAX - c->ncontrol;
		memcpy(c->control + c->ncontrol, p, n);
		c->ncontrol += (uint32_t)n;
	} else if (!c->skip) {
		take_data(c, p, n);
	}
}

/* The common case, as often as it holds: a whole frame with one message in it. */
static const uint8_t *take_whole(struct client *c, const uint8_t *p, const uint8_t *end)
{
	while (!c->in_frame && c->nhead == 0 && c->nkeep == 0 && c->greetings == 0 &&
	    (size_t)(end - p) >= 4 + opt.record && (p[0] == 0x81 || p[0] == 0x82) &&
	    p[1] == 126 && (unsigned)(p[2] << 8 | p[3]) == opt.record) {
		take_message(c, p + 4);
		p += 4 + opt.record;
	}
	return p;
}

static void take_frames(struct client *c, const uint8_t *p, size_t n)
{
	const uint8_t *const end = p + n;

	while ((p = take_whole(c, p, end)) < end && c->fd >= 0) {
		if (c->in_frame) {
			size_t k = (size_t)(end - p);

			if (k > c->left)
				k = (size_t)c->left;
			take_payload(c, p, k);
			p += k;
			c->left -= k;
		} else {
			c->head[c->nhead++] = *p++;
			if (c->nhead == head_size(c))
				begin_frame(c);
		}
		if (c->in_frame && c->left == 0)
			end_frame(c);
	}
}

/* --- connections --- */

/* A whole response head; what it must say is 4.1. */
static void check_head(struct client *c, const char *head)
{
	if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
		errx(1, "client %td: %.*s", c - clients, (int)strcspn(head, "\r\n"), head);
	if (strcasestr(head, ACCEPT) == NULL)
		errx(1, "client %td: the wrong Sec-WebSocket-Accept", c - clients);
	c->upgraded = true;
	c->nkeep = 0;
	if (opt.nhello > 0)
		send_frame(c, OP_BINARY, opt.hello, opt.nhello);
	if (c->greetings == 0)
		opened++;
}

/* Returns how many bytes belong to the head. */
static size_t take_head(struct client *c, const uint8_t *p, size_t n)
{
	const size_t room = KEEP - 1 - c->nkeep, before = c->nkeep;
	const size_t k = n < room ? n : room;
	char *end;

	memcpy(c->keep + before, p, k);
	c->keep[before + k] = '\0';
	c->nkeep += (uint32_t)k;
	end = strstr((char *)c->keep, "\r\n\r\n");
	if (end != NULL) {
		const size_t used = (size_t)(end + 4 - (char *)c->keep) - before;

		end[2] = '\0';
		check_head(c, (char *)c->keep);
		return used;
	}
	if (k < n)
		errx(1, "client %td: a head of over %u bytes", c - clients, KEEP);
	return n;
}

static void readable(struct client *c)
{
	const ssize_t got = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
	size_t n, used = 0;

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 && !c->upgraded)
		errx(1, "client %td: closed without an answer", c - clients);
	if (got <= 0) {
		end_client(c, got == 0 ? "end of stream" : "reset");
		return;
	}
	n = (size_t)got;
	bytes += n;
	reads++;
	if (!c->upgraded)
		used = take_head(c, in, n);
	take_frames(c, in + used, n - used);
}

static void send_request(int fd)
{
	char token[REQUEST_MAX / 2] = "", request[REQUEST_MAX];
	int n;

	if (opt.tokens != NULL) {
		if (fgets(token, sizeof token, opt.tokens) == NULL)
			errx(1, "too few tokens");
		token[strcspn(token, "\n")] = '\0';
	}
	n = snprintf(request, sizeof request,
	    "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s%s%s\r\n",
	    opt.path, opt.host,
	    opt.protocol ? "Sec-WebSocket-Protocol: " : "", opt.protocol ? opt.protocol : "",
	    opt.protocol ? "\r\n" : "",
	    *token ? "Authorization: Bearer " : "", token, *token ? "\r\n" : "");
	if (n >= (int)sizeof request || send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		err(1, "cannot send a request");
}

/* A blocking connect: on loopback it is over at once, as long as the backlog has room. */
static void begin_client(void)
{
	struct client *c = &clients[begun];
	struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + begun / PER_SOURCE),
	};
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = begun };
	const int on = 1;
	const struct linger reset = { .l_onoff = 1 };

	c->greetings = opt.greetings;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) < 0 ||
	    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0 ||
	    bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0 ||
	    connect(c->fd, (struct sockaddr *)&opt.to, sizeof opt.to) < 0)
		err(1, "client %u cannot connect", begun);
	send_request(c->fd);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
		err(1, "epoll_ctl");
	begun++;
}

/* --- the loop --- */

static void read_stdin(void)
{
	char text[256];
	const ssize_t n = read(0, text, sizeof text);

	for (ssize_t i = 0; i < n; i++)
		lines_in += text[i] == '\n';
	if (n <= 0) {
		stdin_over = true;
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, 0, NULL);
	}
}

static int wait_events(int timeout_ms)
{
	struct epoll_event e[EVENTS];
	const int n = epoll_wait(epoll_fd, e, EVENTS, timeout_ms);

	if (n < 0 && errno != EINTR)
		err(1, "epoll_wait");
	for (int i = 0; i < n; i++) {
		struct client *c = &clients[e[i].data.u32];

		if (e[i].data.u32 == STDIN_EVENT)
			read_stdin();
		else if (c->fd >= 0)
			readable(c);
	}
	return n;
}

/* One turn in which something is due to come; false if nothing has for too long. */
static bool turn(void)
{
	const uint64_t before = bytes;

	wait_events(1000);
	if (bytes != before)
		progress_ns = now_ns();
	return now_ns() - progress_ns < opt.timeout_s * INT64_C(1000000000);
}

static void wait_line(void)
{
	while (lines_in == 0 && !stdin_over)
		wait_events(-1);
	if (lines_in > 0)
		lines_in--;
}

static void open_clients(uint32_t want)
{
	progress_ns = now_ns();
	while (opened < want) {
		while (begun < want && begun - opened < opt.parallel)
			begin_client();
		if (!turn())
			errx(1, "%u of %u clients are open and nothing comes", opened, want);
	}
	printf("open %u\n", want);
	fflush(stdout);
}

/* Those who wait for more have lost it. */
static void give_up(void)
{
	for (struct client *c = clients; c < clients + opened; c++) {
		if (c->done)
			continue;
		complain(c, &lost, "nothing after %ju messages", (uintmax_t)c->next);
		lost += opt.messages - c->next - 1;
	}
}

static void receive_messages(void)
{
	struct rusage r;
	int64_t begin;

	progress_ns = now_ns();
	reads = 0;
	while (received == 0 && finished < opened && turn())
		;
	begin = now_ns();
	while (finished < opened && turn())
		;
	give_up();
	getrusage(RUSAGE_SELF, &r);
	printf("done clients=%u received=%ju lost=%ju again=%ju bad=%ju ended=%ju bytes=%ju "
	    "reads=%ju seconds=%.3f cpu=%.3f\n", opened, (uintmax_t)received, (uintmax_t)lost,
	    (uintmax_t)again, (uintmax_t)bad, (uintmax_t)ended, (uintmax_t)bytes,
	    (uintmax_t)reads,
	    (double)(now_ns() - begin) / 1e9,
	    (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	    (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6);
	fflush(stdout);
}

/* --- start --- */

static uint32_t number(const char *text, const char *what)
{
	char *end;
	const unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || v > UINT32_MAX)
		errx(2, "%s: not a number: %s", what, text);
	return (uint32_t)v;
}

static void set_steps(char *text)
{
	opt.nsteps = 0;
	for (char *s = strtok(text, ","); s != NULL; s = strtok(NULL, ",")) {
		if (opt.nsteps == STEPS_MAX)
			errx(2, "--steps: too many");
		opt.steps[opt.nsteps++] = number(s, "--steps");
		if (opt.nsteps > 1 && opt.steps[opt.nsteps - 1] < opt.steps[opt.nsteps - 2])
			errx(2, "--steps: must not fall");
	}
	if (opt.nsteps == 0)
		errx(2, "--steps: none");
}

static void set_record(const char *text)
{
	unsigned post;

	if (sscanf(text, "%u,%u", &opt.pre, &post) != 2 || opt.pre > AROUND_MAX ||
	    post > AROUND_MAX)
		errx(2, "--record: not PRE,POST: %s", text);
	opt.record = opt.pre + LINE_LEN + post;
}

static FILE *open_file(const char *path)
{
	FILE *f = fopen(path, "rbe");

	if (f == NULL)
		err(2, "%s", path);
	return f;
}

static void set_hello(const char *path)
{
	static char hello[HELLO_MAX];
	FILE *f = open_file(path);

	opt.hello = hello;
	opt.nhello = fread(hello, 1, sizeof hello, f);
	fclose(f);
}

static void set_target(char *text)
{
	char *colon = strrchr(text, ':');

	opt.host = strdup(text);
	if (colon == NULL)
		errx(2, "not HOST:PORT: %s", text);
	*colon = '\0';
	opt.to.sin_family = AF_INET;
	opt.to.sin_port = htons((uint16_t)number(colon + 1, "PORT"));
	if (inet_pton(AF_INET, text, &opt.to.sin_addr) != 1)
		errx(2, "not an IPv4 address: %s", text);
}

static void set_option(int o, char *arg)
{
	switch (o) {
	case 's': set_steps(arg); break;
	case 'm': opt.messages = number(arg, "--messages"); break;
	case 't': opt.tokens = open_file(arg); break;
	case 'p': opt.path = arg; break;
	case 'T': opt.timeout_s = (int)number(arg, "--timeout"); break;
	case 'P': opt.parallel = number(arg, "--parallel"); break;
	case 'S': opt.protocol = arg; break;
	case 'h': set_hello(arg); break;
	case 'g': opt.greetings = number(arg, "--greetings"); break;
	case 'i': opt.ignore = number(arg, "--ignore"); break;
	case 'r': set_record(arg); break;
	case 'f': opt.stream = true; break;
	default: exit(2);
	}
}

static void read_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "steps", 1, NULL, 's' }, { "messages", 1, NULL, 'm' },
		{ "tokens", 1, NULL, 't' }, { "path", 1, NULL, 'p' },
		{ "timeout", 1, NULL, 'T' }, { "parallel", 1, NULL, 'P' },
		{ "protocol", 1, NULL, 'S' }, { "hello", 1, NULL, 'h' },
		{ "greetings", 1, NULL, 'g' }, { "ignore", 1, NULL, 'i' },
		{ "record", 1, NULL, 'r' }, { "stream", 0, NULL, 'f' }, { 0 },
	};
	int o;

	opt.path = "/";
	opt.record = LINE_LEN;
	opt.parallel = 32;
	opt.timeout_s = 30;
	opt.steps[0] = opt.nsteps = 1;
	while ((o = getopt_long(argc, argv, "", table, NULL)) != -1)
		set_option(o, optarg);
	if (optind != argc - 1)
		errx(2, "usage: load [OPTION...] HOST:PORT");
	set_target(argv[optind]);
}

int main(int argc, char **argv)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = STDIN_EVENT };

	read_options(argc, argv);
	clients = calloc(opt.steps[opt.nsteps - 1], sizeof *clients);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (clients == NULL || epoll_fd < 0)
		err(1, "start");
	stdin_over = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &e) < 0;

	for (unsigned i = 0; i < opt.nsteps; i++) {
		open_clients(opt.steps[i]);
		if (i + 1 < opt.nsteps)
			wait_line();
	}
	if (opt.messages > 0)
		receive_messages();
	wait_line();
	return lost + again + bad + ended > 0;
}
