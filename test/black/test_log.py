"""The log where there is much of it, and where it goes to the system's."""
import json, os, re, shutil, signal, socket, subprocess, time, unittest, urllib.parse
import black
from black import logfmt, until


class Flood(black.Case):
    def test_left_out(self):
        """What is logged and what is said to be left out are all; the metrics know them too."""
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        n = 1400
        begin = time.monotonic()
        for _ in range(n):
            s.ask(token=None)
            self.hang_up()
        until(lambda: self.metrics(s, f"{self.tmp}/m")['sluice_rejects_total{reason="token_missing"}'] == n,
              "all of them")
        took = time.monotonic() - begin
        said = self.left_out(s)
        self.assertEqual(said["level"], "info")
        self.assertEqual(set(said), {"ts", "level", "event", "left_out"})
        lines = len(s.log(event="reject", reason="token_missing"))
        self.assertGreaterEqual(lines, 1000)
        self.assertLessEqual(lines, 1000 + 10 * took + 1)
        s.stop()
        self.assertEqual(self.total(s), n)

    def left_out(self, s):
        return until(lambda: [r for r in s.log(event="reject") if "left_out" in r], "what was left out")[0]

    def total(self, s):
        recs = s.log(event="reject")
        return sum(int(r["left_out"]) if "left_out" in r else 1 for r in recs)

    def test_end(self):
        """What is still to be said when it ends is said then."""
        s = self.server()
        n = 1020
        for _ in range(n):
            s.get(token=None)
        s.stop()
        self.assertEqual(self.total(s), n)

    def test_others_are_not_left_out(self):
        s = self.server("--token-use", "many")
        for _ in range(1100):
            s.get(token=None)
        s.ws()
        s.wait_log(event="accept")

    def test_quiet_again(self):
        """It sleeps when all is said."""
        s = self.server()
        for _ in range(1100):
            s.get(token=None)
        self.left_out(s)
        self.idle(s)

    def test_level(self):
        s = self.server("--log-level", "warn", listen=("unix:" + self.path("sock"),), ready=False)
        s.reach(self.path("sock"))
        for _ in range(1100):
            s.get(token=None)
        s.kill(signal.SIGTERM)
        s.ended(0, 2)
        self.assertEqual(s.log(event="reject"), [])


class Long(black.Case):
    def test_whole(self):
        """The longest that a client can put into a line, every byte escaped, is there to its end."""
        subject, sub, kid = "/" + "\u00e9" * 127, "\x7f" * 254 + "s", "\x7f" * 254 + "k"
        s = self.server()
        parts = {"alg": "HS256", "kid": kid}, black.claims(sub=sub, permissions={"sub": ["/+"]})
        token = black.jws(*(json.dumps(x, ensure_ascii=False).encode() for x in parts))
        s.ws(urllib.parse.quote(subject), token=token)
        rec = s.wait_log(event="accept")
        self.assertEqual((rec["subject"], rec["sub"], rec["kid"]), (subject, sub, kid))


HEAD = re.compile(rb"<(\d+)>sluice\[(\d+)\]: (.*)", re.S)


class Syslog(black.Case):
    def setUp(self):
        super().setUp()
        self.dev = self.path("log")
        # A /dev of its own.
        self.wrap = ("unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "
                     f'ln -s {self.dev} /dev/log && exec "$@"', "sh")
        if subprocess.run([*self.wrap, "true"], capture_output=True).returncode:
            self.skipTest("needs root, and a namespace for mounts")

    def listen(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(self.dev)
        os.chmod(self.dev, 0o666)
        sock.settimeout(black.WAIT)
        self.addCleanup(sock.close)
        return sock

    def start(self, *args, **kw):
        p = self.path("sock")
        s = self.server("--syslog", *args, listen=("unix:" + p,), ready=False, wrap=self.wrap, **kw)
        s.reach(p)
        return s

    def record(self, sock, s, **want):
        """The next line that matches: its priority, and its pairs."""
        while True:
            m = HEAD.fullmatch(sock.recv(65536))
            self.assertTrue(m)
            self.assertEqual(int(m[2]), s.pid)
            rec = logfmt(m[3])
            if all(rec.get(k) == v for k, v in want.items()):
                return int(m[1]), rec

    def end(self, s):
        s.kill(signal.SIGTERM)
        s.ended(0, 2)

    def test_lines(self):
        sock = self.listen()
        s = self.start()
        priority, rec = self.record(sock, s, event="listening")
        self.assertEqual(priority, 3 * 8 + 6)
        self.assertIn("sock", rec["addr"])
        s.get(token=None)
        self.assertEqual(self.record(sock, s, event="reject")[1]["reason"], "token_missing")
        s.kill(signal.SIGHUP)
        self.record(sock, s, event="reload")
        self.end(s)
        self.record(sock, s, event="shutdown")
        self.assertEqual(s.lines, [], "nothing on stderr")

    @unittest.skipUnless(shutil.which("busybox"), "needs busybox")
    def test_syslogd(self):
        """A real one puts the time to it, in its own zone, and makes out who it is from."""
        out = self.path("messages")
        d = subprocess.Popen([*self.wrap, "busybox", "syslogd", "-n", "-O", out], env={**os.environ, "TZ": "XYZ-5"})
        self.addCleanup(d.wait)
        self.addCleanup(d.kill)
        until(lambda: os.path.exists(out), "syslogd")
        before = time.time()
        s = self.start()

        def line():
            with open(out) as f:
                return re.search(r"^(.{15}) \S+ daemon\.info sluice\[(\d+)\]: (.* event=listening .*)$", f.read(), re.M)

        m = until(line, "the line")
        self.assertEqual(int(m[2]), s.pid)
        self.assertIn("sock", logfmt(m[3].encode())["addr"])
        self.assertIn(m[1], {time.strftime("%b %e %H:%M:%S", time.gmtime(t + 5 * 3600))
                             for t in range(int(before), int(time.time()) + 1)})
        self.end(s)

    def test_severity(self):
        sock = self.listen()
        f = self.path("secret", black.SECRET)
        s = self.start("--secret-file", f, env={"SLUICE_SECRET": ""})
        os.unlink(f)
        self.record(sock, s, event="listening")   # until then a SIGHUP ends it
        s.kill(signal.SIGHUP)
        self.assertEqual(self.record(sock, s, event="reload")[0], 3 * 8 + 3)
        self.end(s)

    def test_restart(self):
        """Another syslogd at the same place; what came between is counted."""
        sock = self.listen()
        s = self.start()
        self.record(sock, s, level="warn")     # that it runs as root: the last of the start
        sock.close()
        s.get(token=None)
        os.unlink(self.dev)
        s.get(token=None)
        sock = self.listen()
        s.get(token=None)
        self.assertEqual(self.record(sock, s, event="reject")[1]["dropped"], "2")
        self.end(s)

    def test_later(self):
        """Not there at the start: stderr says so, once."""
        s = self.start()
        sock = self.listen()
        s.get(token=None)
        self.record(sock, s, event="reject")
        self.end(s)
        self.assertEqual([r["msg"] for r in s.records],
                         ["--syslog: /dev/log: No such file or directory; lines are dropped until it is there"])

    def test_nobody_reads(self):
        """A full queue there stalls nothing."""
        sock = self.listen()
        s = self.start()
        for _ in range(1100):
            s.get(token=None)
        s.ws()
        got = self.record(sock, s)
        self.assertTrue(got)
        self.end(s)

    def test_chroot(self):
        """It was opened before."""
        sock = self.listen()
        os.chmod(self.tmp, 0o755)
        os.mkdir(self.path("root"))
        s = self.start("--chroot", self.path("root"), "--user", "nobody", env=black.LEAKS)
        self.record(sock, s, event="listening")
        s.get(token=None)
        self.record(sock, s, event="reject")
        self.end(s)

    def test_fatal(self):
        """Whoever starts it sees on stderr why it does not start."""
        sock = self.listen()
        p = black.run("--no-auth", "--syslog", "--listen", "unix:/nowhere/x", wrap=self.wrap)
        self.assertEqual(p.returncode, 1)
        self.assertRegex(p.err, "^sluice: --listen unix:/nowhere/x: No such file or directory\n$")
        m = HEAD.fullmatch(sock.recv(65536))
        self.assertEqual((int(m[1]), m[3].decode()), (3 * 8 + 3, p.err[:-1]))
