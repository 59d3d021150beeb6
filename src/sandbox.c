/* sandbox.c - see sandbox.h.
 *
 * The few numbers of the kernel's ABI that are used stand here, so that its headers need not be
 * there (Debian's musl-gcc has none) and may be older than the kernel. */

#include "sandbox.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file.h"
#include "log.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif

/* A sanitizer makes calls of its own, reads /proc and traces itself at the end. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void without(const char *what, const char *why)
{
	log_msg(LOG_INFO, "config", "goes without ", what, ": ", why, NULL);
}

void sandbox_hide(void)
{
	if (!SANITIZED)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---- files and ports: Landlock (Linux 5.13; ports 6.7) ---- */

#define PATH_BYTES 4096		/* as much as realpath may write */
#define FS_READ_FILE	(1u << 2)
#define FS_REMOVE_FILE	(1u << 5)
#define FS_IOCTL_DEV	(1u << 15)
#define NET_CONNECT	(1u << 1)
#define RULE_PATH	1
#define RULE_PORT	2

#ifdef SYS_landlock_create_ruleset
static void add_rule(const struct sandbox *b, int type, const void *rule)
{
	syscall(SYS_landlock_add_rule, b->rules, type, rule, 0);
}

/* By the version of its ABI, all that it can deny: in files, in ports, and in abstract sockets and
 * signals. */
static void files_begin(struct sandbox *b)
{
	static const uint64_t fs[] = { 0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff };
	const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	const size_t known = sizeof fs / sizeof *fs - 1;

	if (abi < 1) {
		without("Landlock", strerror(errno));
		return;
	}
	const uint64_t attr[3] = { fs[(size_t)abi < known ? (size_t)abi : known], abi >= 4 ? 3 : 0,
		abi >= 6 ? 3 : 0 };

	b->handled = attr[0];
	b->rules = (int)syscall(SYS_landlock_create_ruleset, attr, sizeof attr, 0);
	if (b->rules < 0)
		without("Landlock", strerror(errno));
}

static void files_enter(const struct sandbox *b)
{
	if (syscall(SYS_landlock_restrict_self, b->rules, 0) != 0)
		without("Landlock", strerror(errno));
	close(b->rules);
}
#else
static void add_rule(const struct sandbox *b, int type, const void *rule)
{
	(void)b, (void)type, (void)rule;
}

static void files_begin(struct sandbox *b)
{
	(void)b;
	without("Landlock", "the C library does not know it");
}

static void files_enter(const struct sandbox *b)
{
	(void)b;
}
#endif

static void allow_directory_of(const struct sandbox *b, const char *path, uint64_t rights)
{
	const char *slash = strrchr(path, '/');
	const size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
	struct {
		uint64_t rights;
		int32_t  fd;
	} __attribute__((packed)) rule = { rights & b->handled, -1 };
	char dir[PATH_BYTES] = ".";

	if (n >= sizeof dir)
		return;
	if (n > 0) {
		memcpy(dir, path, n);
		dir[n] = 0;
	}
	rule.fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.fd < 0)
		return;				/* what is not there cannot be opened either */
	add_rule(b, RULE_PATH, &rule);
	close(rule.fd);
}

/* A link may lead elsewhere. */
void sandbox_path(const struct sandbox *b, const char *path, enum sandbox_right right)
{
	static const uint64_t rights[] = { FS_READ_FILE, FS_READ_FILE | FS_IOCTL_DEV, FS_REMOVE_FILE };
	char real[PATH_BYTES];

	if (b->rules < 0)
		return;
	path = file_path(path);
	allow_directory_of(b, path, rights[right]);
	if (right != SANDBOX_REMOVE && realpath(path, real))
		allow_directory_of(b, real, rights[right]);
}

void sandbox_again(const struct sandbox *b, const char *option, const char *path)
{
	if (access(file_path(path), R_OK) != 0)
		log_msg(LOG_INFO, "config", option, " ", path, ": ", strerror(errno),
		    " after --user or --chroot; SIGHUP will keep the old one", NULL);
	sandbox_path(b, path, SANDBOX_READ);
}

void sandbox_connect(const struct sandbox *b, unsigned port)
{
	const uint64_t rule[2] = { NET_CONNECT, port };

	if (b->rules >= 0)
		add_rule(b, RULE_PORT, rule);
}

/* ---- system calls: seccomp (Linux 3.5) ---- */

/* A call by its number, and what the bits of one of its arguments must be; no bits: whatever they
 * are. */
struct call {
	uint32_t nr, arg, bits, value;
};

#define ANY(name) { SYS_##name, 0, 0, 0 }
#define WHERE(name, arg, bits, value) { SYS_##name, arg, bits, value }
#define READS(name, arg) { SYS_##name, arg, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY }

/* All that the loop calls, on glibc and on musl. Each architecture has some of them only. What a
 * message costs stands in front, since older kernels look through the list at each call. */
static const struct call calls[] = {
#ifdef SYS_epoll_wait
	ANY(epoll_wait),
#endif
	ANY(epoll_pwait), ANY(sendto), ANY(sendmsg), ANY(recvfrom),
#ifdef SYS_send
	ANY(send), ANY(recv),
#endif
	ANY(read), ANY(write),
#ifdef SYS_poll
	ANY(poll),
#endif
	ANY(ppoll),

	/* Clocks, where the kernel does not lend its code for them. */
#ifdef SYS_clock_gettime
	ANY(clock_gettime),
#endif
#ifdef SYS_clock_gettime32
	ANY(clock_gettime32),			/* musl's name of it */
#endif
#ifdef SYS_clock_gettime64
	ANY(clock_gettime64), ANY(ppoll_time64),
#endif

	/* Connections; the file of used tokens; sources and the log that connect again. */
	ANY(accept4), ANY(epoll_ctl), ANY(close), ANY(shutdown), ANY(setsockopt), ANY(getsockopt),
	ANY(getsockname), ANY(getpeername), ANY(connect), ANY(pwrite64),
#ifdef SYS_socketcall
	ANY(socketcall),			/* i386: all of these in one */
#endif
	WHERE(socket, 0, UINT32_MAX, AF_INET), WHERE(socket, 0, UINT32_MAX, AF_INET6),
	WHERE(ioctl, 1, UINT32_MAX, TIOCOUTQ),	/* SIOCOUTQ is the same */

	/* Files that are read again, and serial lines that are opened again. */
#ifdef SYS_open
	READS(open, 1),
#endif
	READS(openat, 2),
#ifdef SYS_fstat
	ANY(fstat),
#endif
#ifdef SYS_stat
	ANY(stat),
#endif
#ifdef SYS_newfstatat
	ANY(newfstatat),
#endif
#ifdef SYS_fstat64
	ANY(fstat64), ANY(stat64), ANY(fstatat64),
#endif
#ifdef SYS_statx
	ANY(statx),
#endif
#ifdef SYS_fcntl
	WHERE(fcntl, 1, UINT32_MAX, F_SETFD),	/* musl's open does */
#endif
#ifdef SYS_fcntl64
	WHERE(fcntl64, 1, UINT32_MAX, F_SETFD),
#endif
	WHERE(ioctl, 1, UINT32_MAX, TCGETS), WHERE(ioctl, 1, UINT32_MAX, TCSETS),
	WHERE(ioctl, 1, 0xffff, 0x542a), WHERE(ioctl, 1, 0xffff, 0x542b),	/* TCGETS2, TCSETS2 */

	/* The end; and the library's words of an assertion that fails, which take memory. */
#ifdef SYS_unlink
	ANY(unlink),
#endif
	ANY(unlinkat), ANY(exit_group), ANY(restart_syscall), ANY(writev), ANY(getrandom), ANY(brk),
	ANY(munmap),
#ifdef SYS_mmap2
	WHERE(mmap2, 2, PROT_EXEC, 0),
#else
	WHERE(mmap, 2, PROT_EXEC, 0),
#endif
};

/* The architecture as the kernel's audit names it: numbers mean other calls on another. */
#if defined __x86_64__ && defined __LP64__
#define MACHINE EM_X86_64
#elif defined __i386__
#define MACHINE EM_386
#elif defined __aarch64__ && defined __LP64__
#define MACHINE EM_AARCH64
#elif defined __arm__
#define MACHINE EM_ARM
#elif defined __mips__ && (_MIPS_SIM == _ABIO32 || _MIPS_SIM == _ABI64)
#define MACHINE EM_MIPS
#elif defined __riscv && __riscv_xlen == 64
#define MACHINE EM_RISCV
#else
#define MACHINE EM_NONE
#endif
#define LITTLE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define ARCH (MACHINE | (sizeof(long) == 8 ? 0x80000000 : 0) | (LITTLE ? 0x40000000 : 0))

/* Of struct seccomp_data, what a filter can look at. An argument is its low half. */
#define AT_NR 0u
#define AT_ARCH 4u
#define AT_ARG(i) (16 + 8 * (i) + (LITTLE ? 0 : 4))

enum { LOAD = 0x20, AND = 0x54, IF_EQUAL = 0x15, RETURN = 0x06 };	/* of classic BPF */
#define KILL 0x80000000			/* the process; before Linux 4.14 the thread: our only one */
#define ALLOW 0x7fff0000

struct insn {			/* struct sock_filter */
	uint16_t code;
	uint8_t  yes, no;	/* instructions to skip */
	uint32_t k;
};

struct program {		/* struct sock_fprog */
	uint16_t n;
	struct insn *insn;
};

#define INSNS_EACH 6u

static void put(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	p->insn[p->n++] = (struct insn){ code, yes, no, k };
}

static void put_call(struct program *p, const struct call *c)
{
	put(p, IF_EQUAL, c->nr, 0, c->bits ? INSNS_EACH - 1 : 1);
	if (c->bits) {
		put(p, LOAD, AT_ARG(c->arg), 0, 0);
		put(p, AND, c->bits, 0, 0);
		put(p, IF_EQUAL, c->value, 0, 1);
	}
	put(p, RETURN, ALLOW, 0, 0);
	if (c->bits)
		put(p, LOAD, AT_NR, 0, 0);
}

static void calls_enter(void)
{
	static struct insn insn[5 + INSNS_EACH * sizeof calls / sizeof *calls];
	struct program p = { 0, insn };

	put(&p, LOAD, AT_ARCH, 0, 0);
	put(&p, IF_EQUAL, ARCH, 1, 0);
	put(&p, RETURN, KILL, 0, 0);
	put(&p, LOAD, AT_NR, 0, 0);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		put_call(&p, &calls[i]);
	put(&p, RETURN, KILL, 0, 0);
	if (MACHINE == EM_NONE)
		without("a filter of system calls", "it knows no numbers of this machine");
	else if (prctl(PR_SET_SECCOMP, 2, &p, 0, 0) != 0)
		without("a filter of system calls", strerror(errno));
}

/* ---- */

void sandbox_begin(struct sandbox *b, bool on)
{
	*b = (struct sandbox){ .rules = -1, .on = on && !SANITIZED };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		without("no_new_privs", strerror(errno));
	if (on && SANITIZED)
		without("a filter of system calls and Landlock", "it was built with a sanitizer");
	if (b->on)
		files_begin(b);
}

void sandbox_enter(const struct sandbox *b)
{
	if (b->rules >= 0)
		files_enter(b);
	if (b->on)
		calls_enter();
}
