"""A service manager's part, played by this process: notifications, watchdog, sockets handed over."""
import os, re, signal, socket, sys, time
import black
from black import LEAKS, SECRET, WAIT, Raw, mint, request, until


class Manager:
    """Where sd_notify(3) writes to."""

    def __init__(self, name):
        self.name = name
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.settimeout(WAIT)
        self.sock.bind("\0" + name[1:] if name[0] == "@" else name)

    def hear(self):
        """The next notification, and the process that it came from."""
        data, control, _, _ = self.sock.recvmsg(1000, 100)
        return data.decode(), int.from_bytes(control[0][2][:4], sys.byteorder)

    def silent(self):
        """True, or what has been said."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1000)
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(WAIT)


class Base(black.Case):
    def manager(self, name=None):
        m = Manager(name or self.path("notify"))
        self.addCleanup(m.sock.close)
        return m

    def told(self, m, s, want):
        got, pid = m.hear()
        self.assertEqual(pid, s.pid)
        self.assertRegex(got, f"^{want}$")


class Notify(Base):
    def life(self, name):
        m = self.manager(name)
        s = self.server("--secret-file", self.path("secret", SECRET),
                        env={"SLUICE_SECRET": "", "NOTIFY_SOCKET": m.name})
        self.told(m, s, "READY=1")
        s.ws().close()
        s.kill(signal.SIGHUP)
        self.told(m, s, "RELOADING=1\nMONOTONIC_USEC=[0-9]+")
        self.told(m, s, "READY=1")
        self.assertIs(m.silent(), True)
        s.kill(signal.SIGTERM)
        self.told(m, s, "STOPPING=1")
        s.ended(0)
        self.assertEqual(self.warnings(s), [])

    def test_path(self):
        self.life(None)

    def test_abstract(self):
        self.life(f"@sluice-test-{os.getpid()}")

    def test_chroot_and_user(self):
        """The manager's socket is out of sight then."""
        if os.getuid():
            self.skipTest("needs root")
        os.mkdir(self.path("root"))
        m = self.manager()
        s = self.server("--chroot", self.path("root"), "--user", "nobody",
                        env={"NOTIFY_SOCKET": m.name, **LEAKS})
        self.told(m, s, "READY=1")
        s.kill(signal.SIGHUP)
        self.told(m, s, "RELOADING=1\n.*")
        self.told(m, s, "READY=1")

    def test_ready_means_ready(self):
        """Whoever connects at READY=1 is let in: it listens."""
        m, sock = self.manager(), self.path("sock")
        s = self.server(listen=(f"unix:{sock}",), env={"NOTIFY_SOCKET": m.name}, ready=False)
        self.told(m, s, "READY=1")
        s.addr = sock
        s.ws()

    def test_nobody_there(self):
        """It serves without a manager, and says so where it was told of one."""
        s = self.server(env={"NOTIFY_SOCKET": self.path("nobody")})
        self.assertEqual([r["msg"] for r in self.warnings(s)], ["NOTIFY_SOCKET: No such file or directory"])
        s.ws()

    def test_start_fails(self):
        m = self.manager()
        r = black.run("--listen", "unix:/no/such/dir", env={"SLUICE_SECRET": SECRET, "NOTIFY_SOCKET": m.name})
        self.assertEqual(r.returncode, 1)
        self.assertIs(m.silent(), True)


class Watchdog(Base):
    def start(self, usec, **env):
        m = self.manager()
        s = self.server(env={"NOTIFY_SOCKET": m.name, "WATCHDOG_USEC": str(usec), **env})
        self.told(m, s, "READY=1")
        return m, s

    def test_beats(self):
        """Twice in the given time and not more often."""
        m, s = self.start(400000)
        begin = time.monotonic()
        for _ in range(10):
            self.told(m, s, "WATCHDOG=1")
        self.assertGreater(time.monotonic() - begin, 8 * 0.2)

    def test_hung_loop(self):
        """It comes from the loop: no beats while that stands, and they come again."""
        m, s = self.start(200000)
        self.told(m, s, "WATCHDOG=1")
        s.kill(signal.SIGSTOP)
        until(lambda: s.stat()[0] == "T", "the stop")
        while m.silent() is not True:
            pass
        time.sleep(0.5)                      # five beats' time
        self.assertIs(m.silent(), True)
        s.kill(signal.SIGCONT)
        self.told(m, s, "WATCHDOG=1")

    def test_meant_for_another(self):
        m, s = self.start(100000, WATCHDOG_PID="1")
        time.sleep(0.3)                      # six beats' time
        self.assertIs(m.silent(), True)

    def test_idle_without(self):
        m, s = self.start("")
        self.idle(s)
        self.assertIs(m.silent(), True)


# Put the sockets at descriptors 3 and up, and become sluice.
EXEC = """
import os, sys
fds = [int(x) for x in sys.argv[2].split(",") if x]
high = [os.dup2(f, 100 + i) for i, f in enumerate(fds)]
for f in fds:
    os.close(f)
for i, f in enumerate(high):
    os.dup2(f, 3 + i)
    os.close(f)
os.environ["LISTEN_FDS"] = sys.argv[1]
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[3]))
os.execv(sys.argv[4], sys.argv[4:])
"""


class Activation(Base):
    def keep(self, sock):
        self.addCleanup(sock.close)
        return sock

    def tcp(self):
        return self.keep(socket.create_server(("127.0.0.1", 0)))

    def handed(self, *socks, n=None, other=0, listen=(), **kw):
        """A server that is given these; other is added to the process number that it is told."""
        fds = [x.fileno() for x in socks]
        wrap = (sys.executable, "-c", EXEC, str(len(fds) if n is None else n), ",".join(map(str, fds)), str(other))
        return self.server(wrap=wrap, listen=listen, pass_fds=fds, **kw)

    def refused_start(self, what, *socks, **kw):
        s = self.handed(*socks, ready=False, **kw)
        s.stopped = True
        self.assertEqual(s.proc.wait(WAIT), 2)
        s.thread.join(WAIT)
        self.assertRegex(s.lines[-1].decode(), what)
        for f in (s.proc.stdin, s.proc.stdout, s.proc.stderr):
            f.close()

    def test_in_place_of_the_default(self):
        a, p = self.tcp(), self.path("sock")
        u = self.keep(socket.socket(socket.AF_UNIX))
        u.bind(p)
        u.listen()
        s = self.handed(a, u)
        self.assertEqual((s.where(1), s.where(2)), (a.getsockname(), p))
        for s.addr in (a.getsockname(), p):
            s.ws()
        self.assertEqual(len(s.log(event="listening")), 2)
        s.stop()
        self.assertTrue(os.path.exists(p), "it is the manager's to remove")

    def test_beside_listen(self):
        a = self.tcp()
        s = self.handed(a, listen=("127.0.0.1:0",))
        self.assertEqual(s.where(1), a.getsockname())
        for s.addr in (s.where(1), s.where(2)):
            s.ws()

    def test_not_blocking(self):
        """The loop goes on when no more are to be accepted."""
        a = self.tcp()
        a.setblocking(True)
        s = self.handed(a)
        s.ws()
        s.kill(signal.SIGHUP)
        s.wait_log(event="reload")

    def early(self, a):
        """A client that comes while nobody serves; its token is not from before the start."""
        c = Raw(a.getsockname())
        self.addCleanup(c.close)
        c.send(request(token=mint(iat=int(time.time()) + 30)))
        return c

    def test_clients_wait_for_the_start(self):
        a = self.tcp()
        c = self.early(a)
        s = self.handed(a)
        c.upgraded()
        s.stop()
        c = self.early(a)                    # nor do they notice a restart
        self.handed(a)
        c.upgraded()

    def test_meant_for_another(self):
        a = self.tcp()
        s = self.handed(a, other=1, listen=("127.0.0.1:0",))
        self.assertEqual(len(s.log(event="listening")), 1)
        self.assertNotEqual(s.where(), a.getsockname())

    def test_refused(self):
        a = self.tcp()
        udp = self.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        end, other = map(self.keep, socket.socketpair())
        none = "^sluice: LISTEN_FDS: handed over is what is no listening stream socket$"
        self.refused_start(none, udp)
        self.refused_start(none, a, end)
        self.refused_start(none, a, n=2)     # the second is nothing
        self.refused_start("^sluice: LISTEN_FDS: too many sockets$", a, n=17)

    def test_tls_without_a_certificate(self):
        """What is meant for TLS is never served in the clear."""
        self.refused_start("tls|cert", self.tcp(), env={"LISTEN_FDNAMES": "tls"})

    def test_close_on_exec(self):
        if os.getuid():
            self.skipTest("needs root")
        m = self.manager()
        s = self.handed(self.tcp(), env={"NOTIFY_SOCKET": m.name, "LISTEN_FDNAMES": "web"})
        self.told(m, s, "READY=1")
        flags = {}
        for fd in s.descriptors():
            with open(f"/proc/{s.pid}/fdinfo/{fd}") as f:
                flags[int(fd)] = int(re.search(r"flags:\s+(\d+)", f.read())[1], 8)
        self.assertEqual([f for f, v in flags.items() if f > 2 and not v & os.O_CLOEXEC], [])
