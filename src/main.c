/* main.c - start-up, signals, and the only epoll_wait. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "admit.h"
#include "conn.h"
#include "explain.h"
#include "file.h"
#include "keys.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "net.h"
#include "notify.h"
#include "option.h"
#include "print.h"
#include "sandbox.h"
#include "secret.h"
#include "source.h"
#include "token.h"
#include "wheel.h"

struct listener {
	int  fd;
	bool metrics, tls;
};

/* Of --listen and --metrics, and handed over. */
#define ALL_LISTENERS ((LISTENERS_MAX + 1) * ADDRS_MAX + LISTENERS_MAX)

struct server {				/* what is large comes last */
	int      epfd, sigfd, clockfd;
	bool     accepting;
	bool     tls;			/* a listener has it */
	uint32_t nlisteners;
	uint32_t tick_id;		/* of the wheel: while somebody is held up */
	uint32_t accept_id;		/* of the wheel: to listen again */
	uint32_t watchdog_id;		/* of the wheel: to show that the loop turns */
	int64_t  watchdog_ms;		/* 0: nobody watches */
	int64_t  start_ms;		/* monotonic */
	int64_t  clock_off_ms;		/* of the clock from that, when it was last set */
	int64_t  quiet_until_ms;	/* no line about descriptors before this */
	int64_t  stop_ms;		/* when ending: the last moment */
	struct keys_from keys_from;
	struct sources sources;
	struct conns conns;
	struct listener listener[ALL_LISTENERS];
	struct wheel wheel;
	struct options option;
	struct admit admit;
	struct keyring fresh;		/* while keys are reloaded */
};

/* ---- time ---- */

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void tell_time(struct server *s)
{
	s->conns.mono_ms = s->sources.mono_ms = clock_ms(CLOCK_MONOTONIC);
	s->conns.wall_ms = clock_ms(CLOCK_REALTIME);
	s->admit.uptime_ms = s->conns.mono_ms - s->start_ms;
}

/* ---- start ---- */

/* Three open descriptors, so that nothing of ours is taken for stdin, stdout or stderr. */
static void open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void load_keys(struct server *s)
{
	const struct options *o = &s->option;
	const bool secret = o->secret_file || secret_in_environment();
	struct keys_bad bad;

	if (o->no_auth && (secret || o->keys.n))
		fatal(2, "--no-auth: goes with no key; leave out ", o->secret_file ? "--secret-file" :
		    secret ? "the variable SLUICE_SECRET" : "--keys", NULL);
	if (o->no_auth)
		return;
	secret_guard(&s->admit.keys, sizeof s->admit.keys);
	secret_guard(&s->fresh, sizeof s->fresh);
	if (!secret && !o->keys.n)
		fatal(2, "--secret-file: a key is wanted, or --keys, or --no-auth to let everyone read",
		    NULL);
	s->keys_from = (struct keys_from){ .secret_file = o->secret_file, .files = &o->keys,
		.allow_weak = o->allow_weak_secret };
	if (!keys_read(&s->admit.keys, &s->keys_from, NULL, &bad))
		options_bad(2, bad.option, bad.value, bad.what);
}

static void open_used(struct server *s)
{
	const struct options *o = &s->option;
	struct used *u = &s->admit.used;
	uint32_t cap = o->used_tokens;
	enum used_file what = USED_FILE_NEW;
	int fd = -1;

	if (o->used_tokens_file)
		what = used_file_open(&fd, &cap, o->used_tokens_file);
	if (what == USED_FILE_FOREIGN)
		options_bad(2, "used-tokens-file", o->used_tokens_file,
		    "not a file of used tokens; it is left as it is");
	if (what == USED_FILE_LOCKED)
		options_bad(1, "used-tokens-file", o->used_tokens_file, "another sluice has it");
	if (what == USED_FILE_ERROR)
		options_bad(2, "used-tokens-file", o->used_tokens_file, strerror(errno));
	if (what == USED_FILE_DAMAGED)
		log_msg(LOG_WARN, "config", "--used-tokens-file ", o->used_tokens_file, ": damaged; "
		    "what is whole is kept, tokens issued before now are refused", NULL);
	used_init(u, memory_take(1, used_size(cap)), cap, clock_ms(CLOCK_REALTIME) / 1000 * 1000);
	if (fd >= 0 && !used_file_load(u, fd, what))
		options_bad(1, "used-tokens-file", o->used_tokens_file, strerror(errno));
}

static void init_admit(struct server *s)
{
	const struct options *o = &s->option;
	struct admit *a = &s->admit;

	a->policy = (struct jwt_policy){ .issuer = o->issuer, .audience = o->audience,
		.max_ttl_ms = o->max_ttl * INT64_C(1000), .leeway_ms = o->leeway * INT64_C(1000),
		.built_ms = BUILD_EPOCH * INT64_C(1000), .once = !o->token_many };
	a->origin = o->origin.s;
	a->norigin = o->origin.n;
	a->open = o->no_auth;
	a->enforce_expiry = o->enforce_expiry;
	load_keys(s);
}

static void watch_listeners(struct server *s, bool on)
{
	for (uint32_t i = 0; i < s->nlisteners; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u64 = tag_make(TAG_LISTENER, 0, i) };

		epoll_ctl(s->epfd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, s->listener[i].fd, &e);
	}
	s->accepting = on;
}

static void listen_at(struct server *s, const char *option, const char *addr, bool is_metrics)
{
	const char *tls = is_metrics ? NULL : option_tls(addr);
	int fd[ADDRS_MAX];
	const unsigned n = net_bind(fd, option, addr, tls ? tls : addr, SOCK_STREAM);

	for (unsigned i = 0; i < n; i++)
		s->listener[s->nlisteners++] = (struct listener){ fd[i], is_metrics, tls };
}

/* The clock, or -1 while it is not set: then no certificate looks right. */
static int64_t clock_s(void)
{
	const int64_t s = clock_ms(CLOCK_REALTIME) / 1000;

	return s < BUILD_EPOCH ? -1 : s;
}

static void init_tls(struct server *s)
{
	const struct options *o = &s->option;
	const char *option, *what;

	for (unsigned i = 0; i < o->listen.n; i++)
		s->tls |= option_tls(o->listen.s[i]) != NULL;
	for (unsigned i = 0; i < notify_listeners(); i++)
		s->tls |= notify_listener_is(i, "tls");
	if (!SLUICE_TLS && (s->tls || o->cert || o->key))
		fatal(2, "tls: this sluice was built without TLS", NULL);
	if (s->tls && !(o->cert && o->key))
		fatal(2, "LISTEN_FDNAMES: tls: wants --cert and --key", NULL);
	if (SLUICE_TLS && s->tls) {
		tls_init(o->tls_clients, o->tls_legacy);
		what = tls_load(o->cert, o->key, clock_s(), &option);
		if (what)
			options_bad(2, option, *option == 'c' ? o->cert : o->key, what);
	} else if (o->cert || o->key) {
		log_msg(LOG_WARN, "config", "--cert, --key: no --listen has tls: in front", NULL);
	}
}

static void listen_inherited(struct server *s)
{
	for (unsigned i = 0; i < notify_listeners(); i++) {
		const int fd = (int)(NOTIFY_FD + i);

		if (!net_adopt(fd))
			fatal(2, "LISTEN_FDS: handed over is what is no listening stream socket", NULL);
		s->listener[s->nlisteners++] = (struct listener){ fd, false, notify_listener_is(i, "tls") };
	}
}

static void log_listening(const struct server *s)
{
	char name[NET_NAME_MAX];

	for (uint32_t i = 0; i < s->nlisteners; i++) {
		net_name(name, s->listener[i].fd);
		log_begin(LOG_INFO, "listening");
		log_text("addr", name);
		if (s->listener[i].metrics)
			log_text("for", "metrics");
		if (s->listener[i].tls)
			log_text("for", "tls");
		log_end();
	}
	sources_log(&s->sources);
}

/* How many clients the descriptors allow, beside our own and some that shake hands. */
static uint32_t clients_allowed(const struct options *o)
{
	struct rlimit limit;

	if (prlimit(0, RLIMIT_NOFILE, NULL, &limit) != 0)
		return 1000;
	limit.rlim_cur = limit.rlim_max;
	prlimit(0, RLIMIT_NOFILE, &limit, NULL);
	const uint64_t most = o->max_clients > CLIENTS_DEFAULT ? o->max_clients : CLIENTS_DEFAULT;
	const uint64_t all = limit.rlim_max / 2 < most ? limit.rlim_max : most * 2;
	const uint64_t shaking = o->max_pending < all / 16 ? o->max_pending : all / 16;
	const uint64_t ours = 13 + notify_listeners() + o->listen.n * ADDRS_MAX + sources_inputs(o->spec, o->source.n);

	const uint64_t left = all > ours + shaking ? all - ours - shaking : 1;

	return (uint32_t)(left < most ? left : most);
}

static void init_conns(struct server *s)
{
	const struct options *o = &s->option;
	const uint32_t allowed = clients_allowed(o);
	struct conn_config c = { .max_clients = o->max_clients ? o->max_clients : allowed,
		.max_pending = o->max_pending, .nsources = o->source.n,
		.max_message = o->max_message, .buffer = o->buffer,
		.handshake_ms = o->handshake_timeout * 1000, .ping_ms = o->ping * 1000,
		.replay = o->replay, .slow = o->slow, .binary = o->binary, .page = o->page,
		.print = o->publish_to, .proxies = &o->proxies };
	uint32_t random[2];		/* of hash and epoch */

	s->sources.first_id = conns_slots(&c);
	s->tick_id = s->sources.first_id + sources_inputs(o->spec, o->source.n);
	if (c.max_clients > allowed)
		log_msg(LOG_WARN, "config", "--max-clients: more than the file limit allows", NULL);
	if (getrandom(random, sizeof random, 0) != sizeof random)
		fatal(1, "no random bytes: ", strerror(errno), NULL);
	conns_init(&s->conns, &c, &s->admit, &s->wheel, s->tick_id, s->epfd, random);
	metrics.buffer_bytes = o->buffer;
}

static void init_print(struct server *s)
{
	struct epoll_event e = { .events = EPOLLOUT | EPOLLET, .data.u64 = tag_make(TAG_PRINT, 0, 0) };
	const size_t n = PRINT_SIZE(s->option.max_message);

	if (!s->option.publish_to)
		return;
	print_init(memory_take(1, n), n);
	epoll_ctl(s->epfd, EPOLL_CTL_ADD, STDOUT_FILENO, &e);	/* a file is refused, and always writable */
}

static void init_sources(struct server *s)
{
	const struct options *o = &s->option;
	uint32_t subject[SOURCES_MAX];

	for (unsigned i = 0; i < o->source.n; i++) {
		const char *name = o->spec[i].subject;

		subject[i] = hub_subject(&s->conns.hub, name, strlen(name));
		hub_pin(&s->conns.hub, subject[i]);
	}
	s->sources.wheel = &s->wheel;
	s->sources.epfd = s->epfd;
	sources_open(&s->sources, memory_take(sources_inputs(o->spec, o->source.n),
	    sizeof *s->sources.input), o->spec, subject, o->source.n, o->framing,
	    o->max_message);
}

static void init_signals(struct server *s)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = tag_make(TAG_SIGNAL, 0, 0) };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->sigfd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->sigfd < 0 || epoll_ctl(s->epfd, EPOLL_CTL_ADD, s->sigfd, &e) != 0)
		fatal(1, "signalfd: ", strerror(errno), NULL);
}

/* A timer that never ends is the kernel's way to say that the clock was set: timerfd_create(2). */
static void init_clock(struct server *s)
{
	const time_t far = sizeof far > 4 ? INT64_MAX / 1000000000 : INT32_MAX;
	const struct itimerspec never = { .it_value.tv_sec = far };
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = tag_make(TAG_CLOCK, 0, 0) };

	s->clock_off_ms = s->conns.wall_ms - s->conns.mono_ms;
	s->clockfd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (s->clockfd >= 0 &&
	    timerfd_settime(s->clockfd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == 0)
		epoll_ctl(s->epfd, EPOLL_CTL_ADD, s->clockfd, &e);
}

static const struct passwd *look_up(const char *user)
{
	errno = 0;
	const struct passwd *p = getpwnam(user);

	if (!p)
		options_bad(2, "user", user, errno ? strerror(errno) : "no such user");
	return geteuid() == p->pw_uid && getegid() == p->pw_gid ? NULL : p;
}

/* The user is looked up before /etc is out of sight; only root may go there. */
static void become(const char *user, const char *root)
{
	const struct passwd *p = user ? look_up(user) : NULL;

	if (p && (initgroups(user, p->pw_gid) != 0 || setgid(p->pw_gid) != 0))
		options_bad(1, "user", user, strerror(errno));
	if (root && !file_chroot(root))
		options_bad(errno == EPERM ? 1 : 2, "chroot", root, strerror(errno));
	if (p && setuid(p->pw_uid) != 0)
		options_bad(1, "user", user, strerror(errno));
}

/* True: it is still root, and nobody has asked for that. */
static bool confine(struct server *s)
{
	const struct options *o = &s->option;
	const char *path;
	struct sandbox b;

	become(o->user, o->chroot);
	const bool root = geteuid() == 0 && !o->user;

	sandbox_hide();			/* another user may be seen again */
	sandbox_begin(&b, !o->no_sandbox);
	if (!o->no_auth)
		keys_again(&s->keys_from, &b);
	if (s->tls) {
		sandbox_again(&b, "--cert", o->cert);
		sandbox_again(&b, "--key", o->key);
	}
	sources_again(&s->sources, &b);
	for (unsigned i = 0; (path = net_made(i)); i++)
		sandbox_path(&b, path, SANDBOX_REMOVE);
	sandbox_enter(&b);
	return root;
}

/* A board without much to be random from may need minutes for that after it was switched on. */
static void wait_for_random(void)
{
	uint8_t b;

	if (getrandom(&b, sizeof b, GRND_NONBLOCK) < 0 && errno == EAGAIN) {
		log_msg(LOG_WARN, "config", "the kernel has no random bytes yet; waiting for them", NULL);
		getrandom(&b, sizeof b, 0);
	}
}

/* Only a loop that turns gets here. */
static void beat(struct server *s)
{
	notify_send("WATCHDOG=1");
	wheel_set(&s->wheel, s->watchdog_id, s->conns.mono_ms + s->watchdog_ms);
}

static void init_notify(struct server *s)
{
	const char *bad = notify_open();

	if (bad)
		log_msg(LOG_WARN, "config", "NOTIFY_SOCKET: ", bad, NULL);
	s->watchdog_ms = notify_watchdog_ms();
}

static void start(struct server *s)
{
	const struct options *o = &s->option;
	sigset_t hangup;

	signal(SIGPIPE, SIG_IGN);		/* a log that nobody reads, too */
	signal(SIGXFSZ, SIG_IGN);		/* a file over its limit is an error like others */
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);	/* a reload may be asked for before there is a loop */
	wait_for_random();
	s->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epfd < 0)
		fatal(1, "epoll: ", strerror(errno), NULL);
	init_admit(s);
	init_tls(s);
	open_used(s);
	init_conns(s);
	s->accept_id = s->tick_id + 1;
	s->watchdog_id = s->accept_id + 1;
	wheel_init(&s->wheel, memory_take(s->watchdog_id + 1, sizeof *s->wheel.timer),
	    clock_ms(CLOCK_MONOTONIC));
	s->start_ms = clock_ms(CLOCK_MONOTONIC);
	tell_time(s);
	init_notify(s);
	listen_inherited(s);
	for (unsigned i = 0; i < o->listen.n; i++)
		listen_at(s, "listen", o->listen.s[i], false);
	if (o->metrics)
		listen_at(s, "metrics", o->metrics, true);
	init_sources(s);
	init_print(s);
	init_clock(s);
	init_signals(s);		/* nothing from here on waits */
	const bool root = confine(s);

	log_listening(s);
	if (root)
		log_msg(LOG_WARN, "config", "running as root; --user NAME gives that up", NULL);
	if (!s->admit.open && s->conns.wall_ms < s->admit.policy.built_ms)
		log_msg(LOG_WARN, "config", "the clock is earlier than sluice's sources: tokens are refused, "
		    "clock_unset, until it is set", NULL);
	watch_listeners(s, true);
	notify_send("READY=1");
	if (s->watchdog_ms)
		beat(s);
}

/* ---- the loop ---- */

/* Publish what was read. False: a message must wait for room. */
static bool publish(struct server *s, struct input *in)
{
	enum cut_result r;
	const uint8_t *p;
	size_t n;

	while ((r = source_next(in, &p, &n)) != CUT_MORE) {
		if (r != CUT_MESSAGE)
			continue;
		const enum why why = conn_publish(&s->conns, in->subject, p, n, source_can_wait(in));

		if (why == WHY_MORE)
			return false;
		if (why == WHY_MESSAGE_TOO_LARGE)
			source_too_large(in);
		source_done(in);
	}
	return true;
}

static void feed(struct server *s, struct input *in)
{
	const int reads = in->spec->kind == SOURCE_UDP ? BATCH_DATAGRAMS : 1;
	bool all = true;

	for (int i = 0; i < reads && in->ready && all; i++) {
		source_read(&s->sources, in);
		all = publish(s, in);
	}
	conns_flush(&s->conns);
	if (all)
		source_settle(&s->sources, in);
	else
		source_hold(&s->sources, in);
}

static void feed_held(struct server *s, struct input *in)
{
	if (!hub_has_room(&s->conns.hub))
		return;
	const bool all = publish(s, in);

	conns_flush(&s->conns);
	if (all) {
		source_resume(&s->sources, in);
		source_settle(&s->sources, in);
	}
}

/* Serve every source once. True: some have more already. */
static bool feed_all(struct server *s)
{
	bool more = false, held = false;

	for (uint32_t i = 0; i < s->sources.n; i++) {
		struct input *in = &s->sources.input[i];

		if (in->held)
			feed_held(s, in);
		else if (in->ready)
			feed(s, in);
		more |= in->ready && !in->held;
		held |= in->held;
	}
	if (!held)
		s->conns.held_ms = -1;
	return more;
}

static void stop(struct server *s, const char *what)
{
	if (s->conns.ending)
		return;
	log_msg(LOG_INFO, "shutdown", what, NULL);
	notify_send("STOPPING=1");
	if (s->accepting)
		watch_listeners(s, false);
	for (uint32_t i = 0; i < s->nlisteners; i++)
		close(s->listener[i].fd);
	s->nlisteners = 0;
	sources_stop(&s->sources);
	s->stop_ms = s->conns.mono_ms + SHUTDOWN_MS;
	conns_close_all(&s->conns, WHY_SHUTDOWN, true);
}

static void reload_tls(struct server *s)
{
	const struct options *o = &s->option;
	const char *option, *what = tls_load(o->cert, o->key, clock_s(), &option);

	if (what)
		log_msg(LOG_ERROR, "reload", "--", option, " ", *option == 'c' ? o->cert : o->key, ": ", what,
		    "; the old certificate and key stay", NULL);
	else
		log_msg(LOG_INFO, "reload", "certificate and key read", NULL);
}

/* The new keys are whole before the old go. */
static void reload_keys(struct server *s)
{
	uint8_t map[KEYS_MAX];
	struct keys_bad bad;

	if (keys_read(&s->fresh, &s->keys_from, &s->admit.keys, &bad)) {
		keys_map(map, &s->admit.keys, &s->fresh);
		s->admit.keys = s->fresh;
		log_msg(LOG_INFO, "reload", "keys read", NULL);
		conns_rekey(&s->conns, map);
	} else {
		log_msg(LOG_ERROR, "reload", "--", bad.option, bad.value ? " " : "",
		    bad.value ? bad.value : "", ": ", bad.what, "; the old keys stay", NULL);
	}
	key_wipe(&s->fresh);
}

static void reload(struct server *s)
{
	const bool keys = s->keys_from.secret_file || s->option.keys.n;

	notify_reloading();
	if (keys)
		reload_keys(s);
	if (SLUICE_TLS && s->tls)
		reload_tls(s);
	if (!keys && !s->tls)
		log_msg(LOG_INFO, "reload", "nothing to read", NULL);
	notify_send("READY=1");
}

static void on_signal(struct server *s)
{
	struct signalfd_siginfo info;

	while (read(s->sigfd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGHUP)
			reload(s);
		else
			stop(s, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
	}
}

/* Deadlines do not mind, and tokens are held against the clock as it is. */
static void on_clock(struct server *s)
{
	const int64_t off_ms = s->conns.wall_ms - s->conns.mono_ms, by_ms = off_ms - s->clock_off_ms;
	uint64_t ends;

	if (read(s->clockfd, &ends, sizeof ends) >= 0 || errno != ECANCELED)
		return;
	s->clock_off_ms = off_ms;
	log_begin(LOG_INFO, "clock");
	log_num("set_by_ms", by_ms);
	log_end();
}

static void on_listener(struct server *s, uint32_t i)
{
	const struct listener *l = &s->listener[i];

	if (i >= s->nlisteners || conns_accept(&s->conns, l->fd, l->metrics, l->tls))
		return;
	if (s->conns.mono_ms >= s->quiet_until_ms) {
		log_msg(LOG_WARN, "config", "accept: ", strerror(errno),
		    "; waiting for a connection to end", NULL);
		s->quiet_until_ms = s->conns.mono_ms + QUIET_MS;
	}
	if (s->accepting)
		watch_listeners(s, false);
	s->conns.freed = false;
	wheel_set(&s->wheel, s->accept_id, s->conns.mono_ms + TICK_MS);	/* it may be others' */
}

static void on_event(struct server *s, const struct epoll_event *e)
{
	const uint32_t id = (uint32_t)e->data.u64;

	switch ((enum tag)(e->data.u64 >> 56)) {
	case TAG_CONN:
		conn_event(&s->conns, id, (uint32_t)(e->data.u64 >> 32) & 0xffffff, e->events);
		break;
	case TAG_LISTENER:
		on_listener(s, id);
		break;
	case TAG_SOURCE:
		source_event(&s->sources, id);
		break;
	case TAG_SIGNAL:
		on_signal(s);
		break;
	case TAG_PRINT:
		print_flush();
		break;
	case TAG_CLOCK:
		on_clock(s);
		break;
	}
}

static void on_deadline(struct server *s, uint32_t id)
{
	if (id < s->sources.first_id) {
		conn_deadline(&s->conns, id);
	} else if (id < s->tick_id) {
		source_deadline(&s->sources, id - s->sources.first_id);
	} else if (id == s->accept_id) {
		s->conns.freed = true;
	} else if (id == s->watchdog_id) {
		beat(s);
	} else {
		conns_tick(&s->conns);
	}
}

static int sleep_ms(const struct server *s, bool more)
{
	int ms = more ? 0 : wheel_sleep_ms(&s->wheel, s->conns.mono_ms);
	const int64_t left = s->stop_ms - s->conns.mono_ms;

	if (s->conns.ending && (ms < 0 || ms > left))
		ms = left > 0 ? (int)left : 0;
	return log_settle(false) && (ms < 0 || ms > TICK_MS) ? TICK_MS : ms;
}

static bool finished(struct server *s)
{
	if (s->option.exit_on_eof && s->sources.live == 0 && conns_delivered(&s->conns))
		stop(s, "end of the last source");
	return s->conns.ending &&
	    (conns_empty(&s->conns) || s->conns.mono_ms >= s->stop_ms);
}

static void run(struct server *s)
{
	struct epoll_event events[BATCH_EVENTS];
	bool more = true;		/* a file is ready from the start */

	while (!finished(s)) {
		const int n = epoll_wait(s->epfd, events, BATCH_EVENTS, sleep_ms(s, more));
		uint32_t id;

		tell_time(s);
		for (int i = 0; i < n; i++)
			on_event(s, &events[i]);
		while ((id = wheel_pop(&s->wheel, s->conns.mono_ms)) != WHEEL_NONE)
			on_deadline(s, id);
		more = !s->conns.ending && feed_all(s);
		more |= conns_late(&s->conns);
		if (s->conns.freed && !s->accepting && !s->conns.ending)
			watch_listeners(s, true);
		s->conns.freed = false;
	}
	conns_drop_all(&s->conns);
	log_settle(true);
}

int main(int argc, char **argv)
{
	static struct server server;
	const char *token;

	sandbox_hide();
	open_standard();
	if (argc > 1 && strcmp(argv[1], "token") == 0)
		token_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "check") == 0) {
		options_read(&server.option, argc - 1, argv + 1, &token);
		init_admit(&server);
		explain_token(&server.admit, token, clock_ms(CLOCK_REALTIME));
	}
	options_read(&server.option, argc, argv, NULL);
	log_init(server.option.log_level);
	if (server.option.syslog)
		log_to_system();
	start(&server);
	run(&server);
	print_flush();
	net_unlink();
	key_wipe(&server.admit.keys);
	if (SLUICE_TLS)
		tls_wipe();
	return 0;
}
