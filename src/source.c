#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "file.h"
#include "log.h"
#include "loop.h"
#include "subject.h"
#include "text.h"
#include "why.h"

/* ---- the command line ---- */

static const struct { speed_t code; uint32_t baud; } bauds[] = {
	{ B1200, 1200 }, { B2400, 2400 }, { B4800, 4800 }, { B9600, 9600 }, { B19200, 19200 },
	{ B38400, 38400 }, { B57600, 57600 }, { B115200, 115200 }, { B230400, 230400 },
	{ B460800, 460800 }, { B500000, 500000 }, { B576000, 576000 }, { B921600, 921600 },
	{ B1000000, 1000000 }, { B1152000, 1152000 }, { B1500000, 1500000 },
	{ B2000000, 2000000 }, { B2500000, 2500000 }, { B3000000, 3000000 },
	{ B3500000, 3500000 }, { B4000000, 4000000 },
};

static const char *parse_tty(struct source_spec *s, const char *arg)
{
	const char *comma = strrchr(arg, ',');
	const size_t n = comma ? (size_t)(comma - arg) : strlen(arg);
	int64_t baud = 0;

	if (n < 1 || n >= sizeof s->tty)
		return "wanted tty:PATH[,BAUD], with a path of up to 127 bytes";
	memcpy(s->tty, arg, n);
	if (!comma)
		return NULL;
	if (!text_read(&baud, comma + 1, strlen(comma + 1)))
		baud = 0;
	for (size_t i = 0; i < sizeof bauds / sizeof *bauds; i++)
		if (bauds[i].baud == baud)
			s->speed = bauds[i].code;
	return s->speed ? NULL : "wanted a usual speed, 1200 to 4000000";
}

static const char *parse_kind(struct source_spec *s, const char *spec)
{
	static const struct { char prefix[12]; uint8_t kind; } kinds[] = {
		{ "fifo:", SOURCE_FIFO }, { "tcp:", SOURCE_TCP }, { "tcp-listen:", SOURCE_LISTEN },
		{ "udp:", SOURCE_UDP }, { "tty:", SOURCE_TTY }, { "unix:", SOURCE_LISTEN },
	};

	s->kind = SOURCE_STDIN;
	if (strcmp(spec, "-") == 0)
		return NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const size_t n = strlen(kinds[i].prefix);

		if (strncmp(spec, kinds[i].prefix, n) != 0)
			continue;
		s->kind = kinds[i].kind;
		s->arg = strcmp(kinds[i].prefix, "unix:") == 0 ? spec : spec + n;
		if (s->kind == SOURCE_TTY)
			return parse_tty(s, s->arg);
		if (s->kind == SOURCE_FIFO)
			return *s->arg ? NULL : "wanted fifo:PATH";
		if (s->kind != SOURCE_LISTEN && strncmp(s->arg, "unix:", 5) == 0)
			return "wanted HOST:PORT";
		if (s->kind == SOURCE_TCP && (!strchr(s->arg, ':') || s->arg[0] == ':'))
			return "wanted tcp:HOST:PORT";
		return net_check(s->arg);
	}
	return "wanted [SUBJECT=] and -, fifo:PATH, tcp:HOST:PORT, tcp-listen:ADDR, unix:PATH, udp:ADDR "
	    "or tty:PATH[,BAUD]";
}

const char *source_parse(struct source_spec *s, const char *value)
{
	const char *eq = value[0] == '/' ? strchr(value, '=') : NULL;
	const size_t n = eq ? (size_t)(eq - value) : 1;

	*s = (struct source_spec){ .spec = eq ? eq + 1 : value };
	if (!subject_valid((const uint8_t *)(eq ? value : "/"), n))
		return "the subject is no path like /a/b";
	memcpy(s->subject, eq ? value : "/", n);
	return parse_kind(s, s->spec);
}

/* ---- descriptors ---- */

static uint32_t index_of(const struct sources *s, const struct input *in)
{
	return (uint32_t)(in - s->input);
}

/* Be told when there is something to read, or when a connection is made. */
static void watch(struct sources *s, struct input *in)
{
	struct epoll_event e = { .data.u64 = tag_make(TAG_SOURCE, 0, index_of(s, in)) };

	e.events = in->connecting ? EPOLLOUT : in->edge ? EPOLLIN | EPOLLET : EPOLLIN;
	if (in->fd < 0 || in->always)
		return;
	if (epoll_ctl(s->epfd, in->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, in->fd, &e) == 0)
		in->watched = true;
	else if (errno == EPERM)	/* a file or /dev/null */
		in->always = in->ready = true;
}

static void unwatch(struct sources *s, struct input *in)
{
	if (in->watched)
		epoll_ctl(s->epfd, EPOLL_CTL_DEL, in->fd, NULL);
	in->watched = false;
}

static void log_source(enum log_level level, const char *event, const struct input *in,
    const char *msg)
{
	log_begin(level, event);
	log_text("source", in->spec->spec);
	log_text("subject", in->spec->subject);
	if (msg)
		log_text("msg", msg);
	log_end();
}

static void input_close(struct sources *s, struct input *in)
{
	unwatch(s, in);
	if (in->fd > STDIN_FILENO)	/* 0 stays taken, lest another file be called stdin */
		close(in->fd);
	in->fd = -1;
	in->ready = in->connecting = false;
}

void source_too_large(const struct input *in)
{
	log_source(LOG_WARN, "source_error", in, why_text(WHY_MESSAGE_TOO_LARGE));
}

void sources_log(const struct sources *s)
{
	char name[NET_NAME_MAX];

	for (uint32_t i = 0; i < s->n; i++) {
		const struct input *in = &s->input[i];

		if (in->fd < 0 || !(in->acceptor || in->spec->kind == SOURCE_UDP))
			continue;
		net_name(name, in->fd);
		log_begin(LOG_INFO, "listening");
		log_text("addr", name);
		log_text("source", in->spec->spec);
		log_end();
	}
}

/* Try again later, each time a little later than the last. */
static void retry(struct sources *s, struct input *in, const char *msg)
{
	char out[160];
	struct text t = { out, sizeof out - 1, 0 };

	input_close(s, in);
	in->delay_ms = in->delay_ms == 0 ? RETRY_MIN_MS :
	    in->delay_ms * 2 < RETRY_MAX_MS ? in->delay_ms * 2 : RETRY_MAX_MS;
	text_all(&t, msg, "; again in ", NULL);
	text_num(&t, in->delay_ms, 1);
	text_str(&t, " ms");
	out[text_len(&t)] = 0;
	log_source(LOG_WARN, "source_error", in, out);
	wheel_set(s->wheel, s->first_id + index_of(s, in), s->mono_ms + in->delay_ms);
}

static void restart_cut(struct input *in)
{
	cut_init(&in->cut, in->cut.buf, in->cut.framing, in->cut.max);
}

/* A peer that lost its power sends no FIN. No harm on a unix socket. */
static void keepalive(int fd)
{
	static const struct { int level, name, value; } option[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 }, { IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S / 4 }, { IPPROTO_TCP, TCP_KEEPCNT, 4 },
	};

	for (size_t i = 0; i < sizeof option / sizeof *option; i++)
		setsockopt(fd, option[i].level, option[i].name, &option[i].value, sizeof(int));
}

static void tcp_connect(struct sources *s, struct input *in)
{
	const struct net_addr *a = &in->addr[in->address++ % in->naddr];

	restart_cut(in);
	in->fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (in->fd < 0) {
		retry(s, in, strerror(errno));
		return;
	}
	keepalive(in->fd);
	in->connecting = true;
	if (connect(in->fd, (const struct sockaddr *)&a->ss, a->len) != 0 && errno != EINPROGRESS)
		retry(s, in, strerror(errno));
	else
		watch(s, in);
}

static void connected(struct sources *s, struct input *in)
{
	watch(s, in);
	log_source(LOG_INFO, "source_connected", in, NULL);
}

static void tcp_connected(struct sources *s, struct input *in)
{
	int e = 0;
	socklen_t len = sizeof e;

	getsockopt(in->fd, SOL_SOCKET, SO_ERROR, &e, &len);
	if (e != 0) {
		retry(s, in, strerror(e));
		return;
	}
	in->connecting = false;
	connected(s, in);
}

static const char *tty_why(void)
{
	return errno == ENOTTY ? "is no serial line" : strerror(errno);
}

/* Raw mode, so that every byte comes as it is, and when it comes. */
static int tty_open(const struct source_spec *spec)
{
	const int fd = open(file_path(spec->tty), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios t;

	if (fd < 0)
		return -1;
	if (tcgetattr(fd, &t) != 0) {
		const int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	t.c_iflag = t.c_oflag = t.c_lflag = 0;
	t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8 | CLOCAL | CREAD;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (spec->speed)
		cfsetspeed(&t, spec->speed);
	if (tcsetattr(fd, TCSANOW, &t) == 0)
		return fd;
	close(fd);
	return -1;
}

static void tty_reopen(struct sources *s, struct input *in)
{
	restart_cut(in);
	in->fd = tty_open(in->spec);
	if (in->fd < 0)
		retry(s, in, tty_why());
	else
		connected(s, in);
}

static int fifo_open(const char *path)
{
	struct stat st;

	if (mkfifo(path, 0600) != 0 && errno != EEXIST)
		fatal(1, "--source fifo:", path, ": ", strerror(errno), NULL);
	const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		fatal(1, "--source fifo:", path, ": ", strerror(errno), NULL);
	if (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode))
		fatal(1, "--source fifo:", path, ": is there and is no FIFO", NULL);
	return fd;
}

/* ---- start ---- */

static uint32_t inputs_of(const struct source_spec *spec)
{
	/* A name may resolve to several addresses to listen at. */
	return spec->kind == SOURCE_LISTEN ? ADDRS_MAX + WRITERS_MAX :
	    spec->kind == SOURCE_UDP ? ADDRS_MAX : 1;
}

uint32_t sources_inputs(const struct source_spec *spec, unsigned n)
{
	uint32_t sum = 0;

	while (n--)
		sum += inputs_of(spec++);
	return sum;
}

static void open_bound(struct sources *s, struct input *in, int type)
{
	int fd[ADDRS_MAX];
	const unsigned n = net_bind(fd, "source", in->spec->spec, in->spec->arg, type);

	for (unsigned i = 0; i < n; i++) {
		in[i].fd = fd[i];
		in[i].acceptor = type == SOCK_STREAM;
		watch(s, &in[i]);
	}
}

static void open_one(struct sources *s, struct input *in)
{
	switch (in->spec->kind) {
	case SOURCE_STDIN:
		in->fd = STDIN_FILENO;
		break;
	case SOURCE_FIFO:
		in->fd = fifo_open(in->spec->arg);
		break;
	case SOURCE_TTY:
		in->fd = tty_open(in->spec);
		if (in->fd < 0)
			fatal(1, "--source ", in->spec->spec, ": ", tty_why(), NULL);
		break;
	case SOURCE_TCP:
		in->addr = memory_take(ADDRS_MAX, sizeof *in->addr);
		in->naddr = net_resolve(in->addr, "source", in->spec->spec, in->spec->arg);
		tcp_connect(s, in);
		return;
	case SOURCE_LISTEN:
		open_bound(s, in, SOCK_STREAM);
		return;
	case SOURCE_UDP:
		open_bound(s, in, SOCK_DGRAM);
		return;
	}
	watch(s, in);
}

void sources_open(struct sources *s, struct input *memory, const struct source_spec *spec,
    const uint32_t *subject, unsigned n, enum framing framing, size_t max)
{
	struct input *in = s->input = memory;

	s->live = n;
	for (unsigned i = 0; i < n; i++) {
		const uint32_t count = inputs_of(&spec[i]);

		for (uint32_t j = 0; j < count; j++) {
			in[j] = (struct input){ .spec = &spec[i], .subject = subject[i], .fd = -1 };
			cut_init(&in[j].cut, memory_take(1, cut_size(max)),
			    spec[i].kind == SOURCE_UDP ? FRAMING_CHUNK : framing, max);
		}
		s->n += count;
		open_one(s, in);
		in += count;
	}
}

void sources_again(const struct sources *s, const struct sandbox *b)
{
	for (uint32_t i = 0; i < s->n; i++) {
		const struct input *in = &s->input[i];

		if (in->spec->kind == SOURCE_TTY)
			sandbox_path(b, in->spec->tty, SANDBOX_DEVICE);
		for (uint32_t j = 0; j < in->naddr; j++)	/* the port stands in one place in both families */
			sandbox_connect(b, ntohs(((const struct sockaddr_in *)&in->addr[j].ss)->sin_port));
	}
}

/* ---- the loop's part ---- */

void sources_stop(struct sources *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		unwatch(s, &s->input[i]);
		wheel_clear(s->wheel, s->first_id + i);
	}
}

static void accept_writers(struct sources *s, struct input *acceptor)
{
	struct input *in = acceptor;

	while (in > s->input && in[-1].spec == acceptor->spec)
		in--;
	for (in += ADDRS_MAX; index_of(s, in) < s->n && in->spec == acceptor->spec; in++) {
		if (in->fd >= 0)
			continue;
		in->fd = accept4(acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (in->fd < 0 && errno != EAGAIN && errno != ECONNABORTED) {
			unwatch(s, acceptor);	/* out of descriptors: again in a while */
			wheel_set(s->wheel, s->first_id + index_of(s, acceptor),
			    s->mono_ms + RETRY_MIN_MS);
		}
		if (in->fd < 0)
			return;
		keepalive(in->fd);
		restart_cut(in);
		watch(s, in);
	}
	unwatch(s, acceptor);		/* the rest wait in the backlog */
	log_source(LOG_WARN, "source_error", acceptor, "all places for writers are taken");
}

/* A writer's place is free: its acceptors listen again. */
static void accept_again(struct sources *s, const struct source_spec *spec)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->input[i].spec == spec && s->input[i].acceptor && !s->input[i].watched)
			watch(s, &s->input[i]);
}

void source_event(struct sources *s, uint32_t i)
{
	struct input *in = &s->input[i];

	if (in->acceptor)
		accept_writers(s, in);
	else if (in->connecting)
		tcp_connected(s, in);
	else if (in->fd >= 0)
		in->ready = true;
}

void source_deadline(struct sources *s, uint32_t i)
{
	if (s->input[i].acceptor)
		watch(s, &s->input[i]);
	else if (s->input[i].spec->kind == SOURCE_TTY)
		tty_reopen(s, &s->input[i]);
	else
		tcp_connect(s, &s->input[i]);
}

/* A datagram is a message, an empty one too; what is longer than the limit is cut off by the
 * kernel, which says so. */
static void read_datagram(struct input *in, uint8_t *p, size_t n)
{
	const ssize_t r = recv(in->fd, p, n, MSG_TRUNC);

	in->ready = r >= 0;
	if (r > (ssize_t)in->cut.max) {
		source_too_large(in);
	} else if (r >= 0) {
		in->datagram = p;
		in->datagram_len = (size_t)r;
	}
}

void source_read(struct sources *s, struct input *in)
{
	size_t n;
	uint8_t *p = cut_room(&in->cut, &n);

	if (in->spec->kind == SOURCE_UDP) {
		read_datagram(in, p, n);
		return;
	}
	const ssize_t r = read(in->fd, p, n);

	in->ready = in->always;
	if (r > 0) {
		cut_read(&in->cut, (size_t)r);
		in->delay_ms = 0;
		if (in->edge) {
			in->edge = false;
			watch(s, in);
		}
	} else if (r == 0 || (errno != EAGAIN && errno != EINTR)) {
		if (r < 0)
			log_source(LOG_WARN, "source_error", in, strerror(errno));
		cut_end(&in->cut);
	}
}

enum cut_result source_next(struct input *in, const uint8_t **p, size_t *n)
{
	if (in->spec->kind == SOURCE_UDP) {
		*p = in->datagram;
		*n = in->datagram_len;
		return in->datagram ? CUT_MESSAGE : CUT_MORE;
	}
	const enum cut_result r = cut_next(&in->cut, p, n);

	if (r == CUT_TOO_LARGE)
		source_too_large(in);
	else if (r == CUT_TRUNCATED)
		log_source(LOG_WARN, "source_error", in, "message_truncated");
	return r;
}

void source_done(struct input *in)
{
	cut_done(&in->cut);
	in->datagram = NULL;
}

void source_settle(struct sources *s, struct input *in)
{
	if (!in->cut.eof)
		return;
	switch (in->spec->kind) {
	case SOURCE_STDIN:
		input_close(s, in);
		in->ended = true;
		s->live--;
		log_source(LOG_INFO, "source_eof", in, NULL);
		break;
	case SOURCE_FIFO:
		/* The last writer has left. Level-triggered, epoll would say so for ever. */
		restart_cut(in);
		if (!in->edge) {
			in->edge = true;
			watch(s, in);
		}
		break;
	case SOURCE_TCP:
	case SOURCE_TTY:
		retry(s, in, "connection lost");
		break;
	case SOURCE_LISTEN:
		input_close(s, in);
		accept_again(s, in->spec);
		break;
	case SOURCE_UDP:
		break;
	}
}

void source_hold(struct sources *s, struct input *in)
{
	in->held = true;
	in->ready = false;
	unwatch(s, in);			/* or a hang-up would be reported for ever */
}

void source_resume(struct sources *s, struct input *in)
{
	in->held = false;
	in->ready = in->always && in->fd >= 0;
	watch(s, in);
}

bool source_can_wait(const struct input *in)
{
	return in->spec->kind != SOURCE_UDP && in->spec->kind != SOURCE_TTY;
}
