"""The process: signals, reload, limits, the log, metrics, memory (contract 1 and 5)."""
import errno, os, pwd, re, resource, select, signal, socket, subprocess, threading, time
import black
from black import CLOSE, PING, PONG, SECRET, frame, mint, request, until
from streams import Streams

NEW = b"a new secret, which is long enough too"


class Signals(black.Case):
    def test_term_in_all_states(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            s = self.server("--max-clients", 200, "--buffer", "256K")
            silent, part = s.raw(), s.raw()
            part.send(request()[:50])
            bad = s.raw()
            bad.send(b"BAD\r\n\r\n")         # its reply is on the way
            idle = [s.ws() for _ in range(50)]
            half = s.ws()
            half.send(frame(PING, b"abcdef", mask=b"abcd")[:5])
            closing = s.ws()
            closing.send_frame(CLOSE, b"\x03\xe8")
            gone = s.ws()
            gone.reset()
            full = s.ws(rcvbuf=4096)
            reader = s.ws()
            t = threading.Thread(target=lambda: [s.feed(b"x" * 999 + b"\n") for _ in range(200)])
            t.start()
            reader.messages(200)             # full and the idle ones have not read theirs
            t.join()
            begin = time.monotonic()
            s.kill(sig)
            for c in [*idle, reader, half]:
                self.assertEqual(c.closed(data_too=True)[0], 1001)
            s.ended(0, max(0.1, 2 - (time.monotonic() - begin)))
            self.assertEqual(len(s.log(event="shutdown")), 1)
            self.assertEqual({r["client"] for r in s.log(event="accept")} -
                             {r["client"] for r in s.log(event="close")}, set(), "no end in the log")
            self.assertGreaterEqual(len(s.log(event="close", code=1001, reason="shutdown")), 52)
            for c in (silent, part, full):
                try:
                    while c.fill():
                        pass
                except ConnectionResetError:
                    pass

    def test_term_while_the_source_pours(self):
        s = self.server("--slow", "wait")
        stuck, c = s.ws(rcvbuf=4096), s.ws()
        self.assertTrue(stuck)
        stop = threading.Event()

        def pour():
            try:
                while not stop.is_set():
                    s.feed(b"y" * 500 + b"\n")
            except OSError:
                pass
        t = threading.Thread(target=pour, daemon=True)
        t.start()
        c.messages(100)
        begin = time.monotonic()
        s.kill(signal.SIGTERM)
        code, _ = c.closed(data_too=True)
        self.assertEqual(code, 1001)
        s.ended(0, max(0.1, 2 - (time.monotonic() - begin)))
        stop.set()
        t.join(1)

    def test_client_that_never_answers_the_close(self):
        s = self.server()
        cs = [s.ws() for _ in range(5)]
        begin = time.monotonic()
        s.kill(signal.SIGTERM)
        s.ended(0, 2)
        self.assertLess(time.monotonic() - begin, 2)
        for c in cs:
            self.assertEqual(c.frame()[1][:2], b"\x03\xe9")

    def test_no_new_clients_in_shutdown(self):
        s = self.server()
        s.kill(signal.SIGTERM)
        s.ended(0, 2)
        with self.assertRaises(ConnectionRefusedError):
            s.raw()

    def test_other_signals(self):
        """A reader of ours that goes away is no reason to die."""
        s = self.server()
        s.kill(signal.SIGPIPE)
        s.kill(signal.SIGHUP)
        s.wait_log(event="reload")
        s.ws()

    def test_unix_socket_is_removed(self):
        p = self.path("sock")
        s = self.server(listen=(f"unix:{p}",))
        self.assertEqual(s.addr, p)
        s.ws()
        s.kill9()
        s = self.server(listen=(f"unix:{p}",))    # a stale one is no hindrance
        s.ws()
        r = black.run("--listen", f"unix:{p}", env={"SLUICE_SECRET": SECRET})
        self.assertEqual(r.returncode, 1)    # a living one is
        s.ws()
        s.stop()
        self.assertFalse(os.path.exists(p))
        p = self.path("plain", b"mine")
        r = black.run("--listen", f"unix:{p}", env={"SLUICE_SECRET": SECRET})
        self.assertEqual(r.returncode, 1)
        with open(p, "rb") as f:
            self.assertEqual(f.read(), b"mine")


class Reload(black.Case):
    def start(self, *args):
        self.file = self.path("secret", SECRET + b"\n")
        return self.server("--secret-file", self.file, *args, env={"SLUICE_SECRET": ""})

    def hup(self, s):
        n = len(s.log(event="reload"))
        s.kill(signal.SIGHUP)
        return s.wait_log(n + 1, event="reload")

    def test_changed(self):
        s = self.start()
        c = s.ws()
        self.path("secret", NEW + b"\n")
        self.refused(s, "signature_invalid", token=mint(NEW))
        self.assertEqual(self.hup(s)["level"], "info")
        # 2: when a reload changes a key, its connections are closed.
        self.assertEqual(c.closed(), (4401, "key_unknown"))
        self.refused(s, "signature_invalid", token=mint(SECRET))
        s.ws(token=mint(NEW))

    def test_unchanged(self):
        s = self.start()
        c = s.ws()
        t = mint()
        s.ws(token=t)
        for _ in range(3):
            self.hup(s)
        s.feed(b"x\n")
        self.assertEqual(c.message(), b"x")
        self.refused(s, "token_used", token=t)
        self.assertEqual(s.log(event="close"), [])

    def test_bad_secret_keeps_the_old(self):
        s = self.start()
        c = s.ws()
        for bad in (b"short\n", b"", None):
            if bad is None:
                os.unlink(self.file)
            else:
                self.path("secret", bad)
            with self.subTest(bad):
                self.assertIn(self.hup(s)["level"], ("warn", "error"))
                s.ws()
        s.feed(b"x\n")
        self.assertEqual(c.message(), b"x")
        self.path("secret", NEW)
        self.hup(s)
        s.ws(token=mint(NEW))


class Crowd(Streams, black.Case):
    def test_5000_half_open(self):
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        good = s.ws()
        part = request()[:40]
        for i in range(5000):
            c = s.raw()
            if i % 2:
                try:
                    c.send(part)
                except OSError:
                    pass                     # it has been dropped for a newer one
        s.ws()
        s.feed(b"x\n")
        self.assertEqual(good.message(), b"x")
        self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_clients"], 2)
        self.assertGreater(self.metrics(s, f"{self.tmp}/m")['sluice_rejects_total{reason="pending_full"}'], 4000)
        self.assertLess(len(s.descriptors()), 600)
        self.hang_up()
        s.wait_log(event="close")
        s.ws()

    def test_descriptor_table(self):
        """A small table, all of it taken: it neither spins nor dies, and recovers."""
        s = self.server("--log-level", "error", wrap=["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"], ready=False)

        def port():                          # error hides the listening line, so ask the kernel
            try:
                inodes = set(s.descriptors().values())
            except FileNotFoundError:        # closed in between
                return None
            with open("/proc/net/tcp") as f:
                rows = [line.split() for line in f.readlines()[1:]]
            return next((int(r[1].split(":")[1], 16) for r in rows
                         if r[3] == "0A" and f"socket:[{r[9]}]" in inodes), None)
        s.addr = "127.0.0.1", until(port, "a listener")
        self.fill_table(s)

    def test_descriptor_table_logged(self):
        s = self.server("--used-tokens-file", self.path("u"), "--source", f"unix:{self.tmp}/src", "--metrics",
                        f"unix:{self.tmp}/m", wrap=["sh", "-c", 'ulimit -n 48; exec "$@"', "sh"])
        self.fill_table(s)
        self.metrics(s, f"{self.tmp}/m")

    def test_descriptors_of_those_who_wait(self):
        """All are with connections that are not let in: the oldest of these gives way, and not at its timeout."""
        s = self.server("--handshake-timeout", 600, wrap=["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"])
        half = [s.raw() for _ in range(60)]
        s.ws()
        self.assertEqual(half[0].reply().body, "pending_full\n")

    def test_descriptors_come_back(self):
        """None to be had, and no connection whose end would give one: it listens again."""
        s = self.server()
        few = len(s.descriptors())
        was = resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (few, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        waiting = s.raw()
        why = "No file descriptors available" if black.static() else os.strerror(errno.EMFILE)   # musl's words
        s.wait_log(event="config", msg=f"accept: {why}; waiting for a connection to end")
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, was)
        self.assertEqual(s.ask().reply().status, 101)
        waiting.sock.close()

    def test_last_descriptor(self):
        """It is taken, and nobody waits for another: none is dropped."""
        s = self.server()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (len(s.descriptors()) + 2, hard))
        head = request(token=mint())
        first = s.raw()
        first.send(head[:9])
        last = s.ws()
        first.send(head[9:])
        first.upgraded()
        s.feed(b"x\n")
        self.assertEqual([c.message() for c in (first, last)], [b"x"] * 2)

    def fill_table(self, s):
        for _ in range(2):
            good = []
            for _ in range(60):
                c = s.ask()
                r = c.reply()                # upgraded, or told 503
                self.assertIn(r.status, (101, 503))
                if r.status == 503:
                    self.assertEqual(r.body, "too_many_clients\n")
                else:
                    good.append(c)
            self.assertGreater(len(good), 3)
            half = [s.raw() for _ in range(100)]
            self.assertTrue(half)
            self.idle(s)
            for c in good:
                c.send_frame(PING, b"p")
                self.assertEqual(c.frame(), (PONG, b"p"))
            self.hang_up()
            until(lambda: s.ask().reply().status == 101, "recovery")
            self.hang_up()

    def test_writers_and_table(self):
        """The same for a source's writers."""
        s = self.server("--source", f"unix:{self.tmp}/src", wrap=["sh", "-c", 'ulimit -n 32; exec "$@"', "sh"])
        s.wait_log(2, event="listening")
        ws = []
        for _ in range(60):
            w = socket.socket(socket.AF_UNIX)
            w.settimeout(black.WAIT)
            w.connect(f"{self.tmp}/src")
            ws.append(w)
        self.idle(s)
        for w in ws:
            w.close()
        c = until(lambda: (lambda a: a if a.reply().status == 101 else None)(s.ask()), "a slot")
        w = socket.socket(socket.AF_UNIX)
        w.connect(f"{self.tmp}/src")
        w.sendall(b"x\n")
        self.assertEqual(c.message(), b"x")
        w.close()

    def test_memory(self):
        """2,000 come and go, in every way; the process is no larger for it."""
        s = self.server("--token-use", "many", "--log-level", "warn", listen=("unix:" + self.path("sock"),), ready=False)
        s.reach(self.path("sock"))
        self.no_growth(s, 2000, mint())


class Root(black.Case):
    def setUp(self):
        super().setUp()
        if os.getuid():
            self.skipTest("needs root")

    def test_user(self):
        os.chmod(self.tmp, 0o777)
        nobody = pwd.getpwnam("nobody")
        s = self.server("--user", "nobody", "--source", f"fifo:{self.tmp}/f", "--used-tokens-file", self.path("u"),
                        "--secret-file", self.path("secret", SECRET), env={"SLUICE_SECRET": ""})
        s.ws()
        with open(f"/proc/{s.pid}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertEqual(status["Uid"].split(), [str(nobody.pw_uid)] * 4)
        self.assertEqual(status["Gid"].split(), [str(nobody.pw_gid)] * 4)
        self.assertIn(status["Groups"].split(), ([], [str(nobody.pw_gid)]))
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual(s.log(level="warn"), [])
        s.stop()

    def test_low_port_first(self):
        """It binds, and only then drops."""
        for port in (79, 81, 83):
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            self.server("--user", "nobody", listen=(f"127.0.0.1:{port}",)).ws()
            return
        self.skipTest("no low port is free")

    def test_warning(self):
        s = self.server()
        until(lambda: [r for r in s.log(level="warn") if "root" in str(r)], "the warning")


class Metrics(black.Case):
    NAMES = {"sluice_clients", "sluice_accepts_total", "sluice_messages_total", "sluice_deliveries_total",
             "sluice_sent_bytes_total", "sluice_slow_total", "sluice_used_tokens", "sluice_buffer_bytes"}

    def test_counts(self):
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertLessEqual(self.NAMES, set(m))
        for name in self.NAMES - {"sluice_buffer_bytes"}:
            self.assertEqual(m[name], 0, name)
        a, b = s.ws(), s.ws()
        for i in range(3):
            s.feed(b"%03d\n" % i)
            self.assertEqual((a.message(), b.message()), (b"%03d" % i,) * 2)
        s.get(token=None)
        s.get(token=None)
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertEqual({k: m[k] for k in self.NAMES - {"sluice_buffer_bytes", "sluice_sent_bytes_total"}}, {
            "sluice_clients": 2, "sluice_accepts_total": 2, "sluice_messages_total": 3, "sluice_deliveries_total": 6,
            "sluice_slow_total": 0, "sluice_used_tokens": 2})
        self.assertEqual(m['sluice_rejects_total{reason="token_missing"}'], 2)
        self.assertEqual(sum(v for k, v in m.items() if k.startswith("sluice_rejects")), 2)
        self.assertGreaterEqual(m["sluice_sent_bytes_total"], 6 * 5)
        a.close()
        b.send_frame(CLOSE, b"\x03\xe8")
        b.closed()
        s.wait_log(2, event="close")
        self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_clients"], 0)

    def test_health(self):
        s = self.server("--metrics", "127.0.0.1:0")
        s.wait_log(2, event="listening")
        found = 0
        for n in (1, 2):
            addr = s.where(n)
            r = s.fetch("/healthz", addr)
            if r.status == 200:
                found += 1
                self.assertEqual(r.body.strip(), "ok")
                self.metrics(s, addr)
                self.assertEqual(s.fetch("/", addr).status, 404)
                self.assertEqual(s.fetch("/metricsx", addr).status, 404)
                c = black.Raw(addr)          # the token-free place lets nobody in
                c.send(request(token=mint()))
                self.assertNotEqual(c.reply().status, 101)
                c.close()
            else:
                self.assertEqual(s.fetch("/metrics", addr).status, 426)
        self.assertEqual(found, 1)

    def test_idle_connections(self):
        """Who opens this port and says nothing keeps nobody from it."""
        s = self.server("--metrics", f"unix:{self.tmp}/m", "--handshake-timeout", 2)
        s.fetch("/healthz", f"{self.tmp}/m")
        idle = [black.Raw(f"{self.tmp}/m") for _ in range(600)]
        self.metrics(s, f"{self.tmp}/m")
        s.ws()
        self.idle(s, 0.5)
        for c in idle:
            c.close()
        self.metrics(s, f"{self.tmp}/m")

    def test_curl(self):
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        out = subprocess.run(["curl", "-sS", "--max-time", "20", "--unix-socket", f"{self.tmp}/m", "http://x/metrics"],
                             capture_output=True, check=True, text=True).stdout
        self.assertIn("\nsluice_clients 0\n", out)
        out = subprocess.run(["curl", "-sS", "-i", "--max-time", "20", "http://%s:%d/" % s.addr],
                             capture_output=True, check=True, text=True).stdout
        self.assertTrue(out.startswith("HTTP/1.1 426 "), out)
        self.assertTrue(out.endswith("\n\nupgrade_required\n"), out)


class Log(black.Case):
    def test_no_forging(self):
        """Whatever a peer says, one event is one line, and its words are its own."""
        s = self.server()
        forged = "x\nts=2026-11-22T10:11:12.345Z level=info event=forged a=b"
        subs = [forged, 'quo"te', "back\\slash", "a b", "tab\t", "esc\x1b[2J", "\x7f", "\u0085\u009b", "z\u00e9", "", "a=b",
                "\u2028line", "\r\nevent=forged", "x\" event=forged y=\"", "nul\0", "\\n", "\\\" event=forged"]
        for sub in subs:
            n = len(s.log(event="accept"))
            s.ws(token=mint(sub=sub))
            rec = s.wait_log(n + 1, event="accept")
            if not re.search("[\x00-\x1f\x7f-\x9f\u2028]", sub):
                self.assertEqual(rec.get("sub", ""), sub)
        for path in ("/a%20event=forged", "/%22", "/%5c%22%20event=forged", "/a%0aevent=forged", "/%c2%85event=forged", "/=",
                     "/%e2%80%a8", "/a\"event=forged"):
            s.get(path)
        for line in ("Origin: x\" event=forged", "X-Forwarded-For: 1.2.3.4 event=forged", "User-Agent: \" event=forged \"",
                     "Host: \" event=forged"):
            s.get("/", line, token=None)
        c = s.ws(token=mint())
        c.send_frame(CLOSE, b"\x0b\xb8bye\" event=forged\nevent=forged")
        c.closed()
        s.stop()
        self.assertEqual(s.log(event="forged"), [])
        self.assertEqual({r["event"] for r in s.records} - {
            "listening", "accept", "reject", "close", "shutdown", "config"}, set())

    def test_tokens_and_secrets_are_never_logged(self):
        s = self.server("--log-level", "debug")
        ts = [mint(), mint(exp=1), mint(b"k" * 40), mint(sub="x", nbf=int(time.time()) + 100)]
        for t in ts:
            s.get("/", token=t)
            s.get(f"/?t={t}", token=None)
            s.get(f"/?t={t}x", token=None)
            s.get(f"/?t={t}&t={t}", token=None)
            s.get(f"/%zz?t={t}", token=None)
            s.get("/", f"Sec-WebSocket-Protocol: bearer, {t}", token=None)
            s.get("/", f"Sec-WebSocket-Protocol: bearer, {t}, {t}", token=None)
            s.get("/", f"Sec-WebSocket-Protocol: {t}", token=None)
            s.get("/", f"Authorization: Token {t}", token=None)
            s.get(f"/{t}", token=t)
            s.raw().send(f"GET /?t={t}".encode())
        s.stop()
        text = b"\n".join(s.lines).decode()
        self.assertGreater(len(s.lines), 30)
        self.assertNotIn(SECRET.decode()[:16], text)
        for t in ts:
            sig = t.split(".")[2]
            # The path of /{t} is its subject, that of an invited guest or not; the query never.
            lines = [x for x in text.split("\n") if f"subject=/{t}" not in x]
            for line in lines:
                for at in range(0, len(sig) - 12, 4):
                    self.assertNotIn(sig[at:at + 12], line)

    def test_levels(self):
        for level, want in (("error", set()), ("warn", {"warn"}), ("info", {"warn", "info"})):
            s = self.server("--log-level", level, "--user", pwd.getpwuid(os.getuid()).pw_name,
                            listen=("unix:" + self.path("s" + level),), ready=False)
            s.reach(self.path("s" + level))
            s.ws()
            s.get(token=None)
            if level == "info":
                s.wait_log(event="accept")
            s.kill(signal.SIGTERM)
            s.ended(0, 2)
            self.assertLessEqual({r["level"] for r in s.records}, want)

    def test_nobody_reads_stderr(self):
        """A full pipe there stalls nothing; what does come out of it is whole lines."""
        r, w = os.pipe()
        p = self.path("sock")
        s = self.server("--token-use", "many", stderr=w, listen=("unix:" + p,))
        os.close(w)
        s.reach(p)
        t, c = mint(), None
        for i in range(1500):
            s.get(token=None)
        for i in range(100):
            c = s.ws(token=t)
            s.feed(b"%d\n" % i)
            self.assertEqual(c.message(), b"%d" % i)
        s.kill(signal.SIGTERM)
        s.ended(0, 2)
        data = b""
        while select.select([r], [], [], 0)[0] and (got := os.read(r, 65536)):
            data += got
        os.close(r)
        self.assertTrue(data.endswith(b"\n"))
        recs = [black.logfmt(line) for line in data[:-1].split(b"\n")]
        self.assertGreater(len([x for x in recs if x["event"] == "reject"]), 100)

    def test_stderr_is_closed(self):
        """No line of the log ends up in a client's stream, or in a file."""
        for close in ("2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"):
            p = self.path("sock" + str(len(close)))
            u = self.path("used" + str(len(close)))
            s = self.server("--used-tokens-file", u, listen=("unix:" + p,), ready=False, stderr=subprocess.DEVNULL,
                            wrap=["sh", "-c", f'exec "$@" {close}', "sh"])
            s.reach(p)
            if s.proc.poll() is not None:
                self.assertIn(s.proc.returncode, (1, 2))
                s.stopped = True
                continue
            for _ in range(5):
                c = s.ws()
                s.get(token=None)
                c.send_frame(PING, b"x")
                self.assertEqual(c.frame(), (PONG, b"x"))
            s.kill(signal.SIGTERM)
            self.assertEqual(c.closed()[0], 1001)
            s.ended(0, 2)
            with open(u, "rb") as f:
                self.assertNotIn(b"event=", f.read())

    def test_stderr_to_a_closed_pipe(self):
        """EPIPE on the log is no end, nor of what is said before it serves."""
        r, w = os.pipe()
        os.close(r)
        p = self.path("sock")
        s = self.server(stderr=w, listen=("unix:" + p,), ready=False, env={"NOTIFY_SOCKET": "a warning"})
        os.close(w)
        s.reach(p)
        s.ws()
        s.get(token=None)
        s.ws()
        s.kill(signal.SIGTERM)
        s.ended(0, 2)


class Listeners(black.Case):
    def test_ipv6(self):
        s = self.server(listen=("[::1]:0",))
        self.assertEqual(s.addr[0], "::1")
        c = s.ws()
        self.assertRegex(s.wait_log(event="accept")["client"], r"^\[::1\]:\d+$")
        s.feed(b"six\n")
        self.assertEqual(c.message(), b"six")

    def test_all_addresses(self):
        s = self.server(listen=(":0",), ready=False)
        _, port = s.where()
        for addr in (("127.0.0.1", port), ("::1", port)):
            s.addr = addr
            s.ws()
        clients = {r["client"] for r in (s.wait_log(1, event="accept"), s.wait_log(2, event="accept"))}
        self.assertEqual({c.rsplit(":", 1)[0] for c in clients}, {"127.0.0.1", "[::1]"})

    def test_unix(self):
        p = self.path("sock")
        s = self.server(listen=(f"unix:{p}",))
        s.ws()
        out = subprocess.run(["curl", "-sS", "--max-time", "20", "--unix-socket", p, "-H", "Connection: Upgrade", "-H",
                              "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H",
                              f"Sec-WebSocket-Key: {black.KEY}", "http://localhost/"],
                             capture_output=True, check=True, text=True).stdout
        self.assertEqual(out, "token_missing\n")
