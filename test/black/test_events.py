"""Server-sent events (HTML 9.2): the same stream for those who speak plain HTTP."""
import http.client, json, os, re, subprocess, threading, time
import black
from black import Gone, STATUS, grant, http as plain, mint, until


class Stream(black.Case):
    """One source, several streams."""
    ARGS = ()

    def setUp(self):
        super().setUp()
        self.s = self.server(*self.ARGS)

    def tearDown(self):
        self.hang_up()                       # lest the server waits for their close frames

    def feed(self, *messages):
        """Taken in by the server when this returns."""
        if not hasattr(self, "witness"):
            self.witness = self.s.ws()
        for m in messages:
            self.s.feed(m + b"\n")
            self.assertEqual(self.witness.message(), m)

    def ids(self, events):
        """Of one epoch; their numbers."""
        epochs, ns = zip(*(e.id.rsplit("-", 1) for e in events))
        self.assertEqual(len(set(epochs)), 1, epochs)
        return [int(n) for n in ns]

    def data(self, events):
        return [e.data for e in events]

    def name(self, raw):
        return "%s:%d" % raw.sock.getsockname()


class Format(Stream):
    def test_head(self):
        e = self.s.events()
        self.assertRegex(e.head.headers["content-type"], r"^text/event-stream(; *charset=utf-8)?$")
        self.assertNotIn("content-length", e.head.headers)
        self.feed(b"x")
        self.assertEqual(e.event().data, "x")
        self.assertGreater(e.retry, 0)
        self.assertLess(e.retry, 60000)

    def test_ids(self):
        """EPOCH-N, from 1, one for each message."""
        es = [self.s.events(), self.s.events()]
        self.feed(*[b"%d" % i for i in range(200)])
        for e in es:
            got = e.events(200)
            self.assertEqual(self.data(got), [str(i) for i in range(200)])
            self.assertEqual(self.ids(got), list(range(1, 201)))
            self.assertRegex(got[0].id, r"^[!-~]+-1$")

    def test_ids_are_of_the_subject(self):
        s = self.server("--source", f"/a=fifo:{self.tmp}/a", "--source", f"/b=fifo:{self.tmp}/b")
        es = {x: s.events("/" + x, token=grant(sub=["/+"])) for x in "ab"}
        for i, x in enumerate("abbbab"):
            with open(f"{self.tmp}/{x}", "w") as f:
                f.write(f"{i}\n")
            self.assertEqual(es[x].event().data, str(i))
        for x, n in (("a", 3), ("b", 5)):
            with open(f"{self.tmp}/{x}", "w") as f:
                f.write("last\n")
            self.assertEqual(self.ids([es[x].event()]), [n])

    def test_same_ids_everywhere(self):
        """For v1 as for events."""
        e, c = self.s.events(), self.s.ws("/", "Sec-WebSocket-Protocol: sluice.v1")
        self.assertEqual(json.loads(c.message())["op"], "ready")
        c.send_frame(black.TEXT, b'{"op":"sub","subject":"/","id":1}')
        self.assertEqual(json.loads(c.message()), {"op": "ok", "id": 1})
        self.feed(b"x")
        self.assertEqual(json.loads(c.message())["id"], e.event().id)

    def test_lines(self):
        """A message is one event whatever it holds; each of its line ends is one."""
        s = self.server("--framing", "nul")
        e, c = s.events(), s.ws()
        for m in ("", " ", "  two", "a\nb", "\n", "\n\n", "a\n", "\na", "a\r\nb", "a\rb", "\r", "\r\n", "a\n\rb", "\r\r\n\n",
                  ":comment", ": x", "data: x", "x\n\ndata: forged\n\n", "x\nid: 7-7\nevent: y\nretry: 1\n\nz",
                  "x\rid: 9-9\r\rdata: y",
                  "\ufeffx", "caf\u00e9 \U0001f600", "id", "event: forged", "\u2028\u0085x", "y" * 60000, "z\n" * 20000,
                  "\n" * 65536):
            with self.subTest(m[:20]):
                s.feed(m.encode() + b"\0")
                self.assertEqual(c.message(), m.encode())
                got = e.event()
                self.assertEqual(got.data, re.sub("\r\n|\r", "\n", m))
        self.assertEqual(got.id.rsplit("-", 1)[1], "28", "one ID each, none forged")

    def test_not_utf8(self):
        """What follows is decoded by the very reader: it would raise."""
        e = self.s.events()
        for m in (b"\xff", b"a\xc3", b"\xe2\x82z", b"\xed\xa0\x80"):
            self.s.feed(m + b"\n")
            self.assertEqual(e.event().data, m.decode(errors="replace"))

    def test_posted(self):
        """What is posted with line ends and NULs arrives as one event."""
        e = self.s.events("/a", token=grant(sub=["/a"]))
        for body in (b"one\ntwo\n", b"", b"a\0b", b"\n\ndata: x"):
            self.assertEqual(self.s.post("/a", body, token=grant(pub=["/a"])).status, 204)
            self.assertEqual(e.event().data, body.decode())

    def test_each_at_once(self):
        e = self.s.events()
        begin = time.monotonic()
        for i in range(300):
            self.s.feed(b"%d\n" % i)
            self.assertEqual(e.event().data, str(i))
        self.assertLess(time.monotonic() - begin, 10, "Nagle's delay, or worse")

    def test_accept(self):
        """The type is asked for in a list, with parameters, in any case; nothing else gets it."""
        for accept in ("text/event-stream", "TEXT/Event-Stream", "text/html, text/event-stream;q=0.9, */*;q=0.1"):
            with self.subTest(accept):
                w = self.s.raw()
                w.send(plain("GET", "/", f"Accept: {accept}", token=mint()))
                self.assertEqual(w.reply_head().headers["content-type"][:17], "text/event-stream")
        for accept in (["Accept: text/html"], [], ["Accept: text/event-streams"]):
            with self.subTest(accept):
                w = self.s.raw()
                w.send(plain("GET", "/", *accept, token=mint()))
                self.assertEqual(w.reply().status, 426)

    def test_beside_the_page(self):
        """At / too: who asks for events gets those, a browser the page."""
        s = self.server("--page")
        e = s.events()
        s.feed(b"x\n")
        self.assertEqual(e.event().data, "x")
        w = s.raw()
        w.send(plain("GET", "/", "Accept: text/html,*/*;q=0.8"))
        self.assertRegex(w.reply().headers["content-type"], "^text/html")

    def test_split_request(self):
        """In every two pieces."""
        s, t = self.server("--token-use", "many"), mint()
        wire = plain("GET", "/?replay=1", "Accept: text/event-stream", "X-Other: x", token=t)
        c = s.ws(token=mint())
        s.feed(b"last\n")
        c.message()
        for i in range(1, len(wire), 3):
            w = black.Raw(s.addr)
            w.send(wire[:i])
            c.send_frame(black.PING, b"")
            self.assertEqual(c.frame(), (black.PONG, b""))
            w.send(wire[i:])
            self.assertEqual(black.Events(w).event().data, "last")
            w.close()


class Resume(Stream):
    ARGS = ("--buffer", "1M")

    def after(self, wanted, *headers, path="/"):
        """Exactly these, and then what comes now."""
        e = self.s.events(path, *headers)
        self.n = getattr(self, "n", 0) + 1
        mark = b"mark %d" % self.n
        self.feed(mark)
        got = []
        while (x := e.event()).data != mark.decode():
            got.append(x)
        self.assertEqual([d for d in self.data(got) if not d.startswith("mark")], wanted)
        ids = self.ids([*got, x])
        self.assertEqual(ids, list(range(ids[0], ids[0] + len(ids))), "none twice, none missing")
        return got

    def setUp(self):
        super().setUp()
        e = self.s.events()
        self.sent = [str(i) for i in range(10)]
        self.feed(*[x.encode() for x in self.sent])
        self.was = e.events(10)
        epoch = self.was[0].id.rsplit("-", 1)[0]
        self.other = epoch[:-1] + ("1" if epoch[-1] != "1" else "2") + "-3"

    def test_last_event_id(self):
        for i in range(10):
            with self.subTest(i):
                self.after(self.sent[i + 1:], f"Last-Event-ID: {self.was[i].id}")

    def test_since(self):
        for i in range(10):
            with self.subTest(i):
                self.after(self.sent[i + 1:], path=f"/?since={self.was[i].id}")

    def test_before_the_first(self):
        epoch = self.was[0].id.rsplit("-", 1)[0]
        self.after(self.sent, path=f"/?since={epoch}-0")

    def test_replay(self):
        self.after([], path="/")
        self.after(self.sent, path="/?replay=100")
        e = self.s.events("/?replay=2")
        self.assertEqual(self.ids(e.events(2)), [11, 12])

    def test_another_epoch(self):
        """All that the ring holds."""
        self.after(self.sent, f"Last-Event-ID: {self.other}")
        self.after(self.sent, path=f"/?since={self.other}")

    def test_the_header_is_newer_than_the_url(self):
        """A browser reconnects with the same URL."""
        self.after(self.sent[6:], f"Last-Event-ID: {self.was[5].id}", path=f"/?since={self.was[1].id}")
        self.after(self.sent[6:], f"Last-Event-ID: {self.was[5].id}", path="/?replay=9")
        self.after(self.sent[6:], f"Last-Event-ID: {self.was[5].id}", path="/?replay=1")

    def test_malformed(self):
        epoch = self.was[0].id.rsplit("-", 1)[0]
        for v in ("x", "1", "-", "-1", epoch + "-", epoch + "-x", epoch + "-1x", epoch + "-+1", epoch, "%20", ""):
            with self.subTest(v):
                w = self.s.raw()
                w.send(plain("GET", f"/?since={v}", "Accept: text/event-stream", token=mint()))
                r = w.reply()
                self.assertEqual((r.status, r.body), (400, "bad_request\n"))

    def test_across_a_restart(self):
        """The other epoch is another server's."""
        s = self.server()
        e, c = s.events(), s.ws()
        s.feed(b"new\n")
        self.assertEqual(c.message(), b"new")
        new = e.event()
        self.assertNotEqual(new.id.rsplit("-", 1)[0], self.was[0].id.rsplit("-", 1)[0])
        self.assertEqual(s.events("/", f"Last-Event-ID: {self.was[9].id}").event(), new)

    def test_what_is_gone(self):
        """All that is left, without a hole, up to the newest."""
        filler = [b"%06d" % i + b"." * 1000 for i in range(2000)]
        self.feed(*filler)
        got = self.after([m.decode() for m in filler[-self.left():]], f"Last-Event-ID: {self.was[4].id}")
        self.assertGreater(len(got), 300)
        self.assertGreater(self.ids(got)[0], 10)

    def left(self):
        """How many of a thousand bytes each the ring holds."""
        return 2000 - int(self.s.events("/?replay=100000").event().data[:6])

    def test_coming_and_going(self):
        """In mid-stream, again and again: each message once."""
        total, go = 4000, threading.Semaphore(0)

        def write():
            for i in range(total):
                if i % 100 == 0:
                    go.acquire()             # so that there is somebody to come and go
                self.s.feed(b"m%d\n" % i)
        t = threading.Thread(target=write, daemon=True)
        last, got, cut = self.was[9].id, [], 1
        t.start()
        while len(got) < total:
            go.release(cut // 100 + 1)
            e = self.s.events("/", f"Last-Event-ID: {last}")
            for _ in range(min(cut, total - len(got))):
                x = e.event()
                got.append(x.data)
                last = x.id
            e.raw.close()
            black.socks.remove(e.raw)
            cut = cut * 7 % 397
        t.join()
        self.assertEqual(got, ["m%d" % i for i in range(total)])


class Heartbeat(Stream):
    ARGS = ("--ping", 1)

    def test_comments(self):
        """One every --ping seconds, on a stream that is silent otherwise."""
        e, begin = self.s.events(), time.monotonic()
        for n in range(1, 4):
            while e.comments < n:
                if e.line().startswith(":"):
                    e.comments += 1
        took = time.monotonic() - begin
        self.assertGreater(took, 1.5)
        self.assertLess(took, 6)
        self.feed(b"x")
        self.assertEqual(e.event().data, "x")

    def test_silent_reader_stays(self):
        """It cannot answer: it is no client that is silent for two intervals."""
        e = self.s.events()
        while e.comments < 4:
            if e.line().startswith(":"):
                e.comments += 1
        self.assertEqual(self.s.log(event="close"), [])


class End(Stream):
    def test_token_expired(self):
        """The stream just ends; curl finds nothing wrong with it."""
        for args in (("--token-use", "many"), ("--enforce-expiry",)):
            with self.subTest(args):
                s = self.server(*args)
                exp = int(time.time()) + 2
                e = s.events(token=mint(exp=exp))
                s.feed(b"x\n")
                self.assertEqual(self.data(e.rest()), ["x"])
                self.assertGreaterEqual(time.time(), exp)
                self.assertLess(time.time(), exp + 2)
                e.raw.close()
                s.wait_log(event="close", reason="token_expired")

    def test_expiry_for_curl(self):
        s = self.server("--token-use", "many")
        url = "http://%s:%d/" % s.addr
        p = subprocess.Popen(["curl", "-sSN", "--max-time", str(black.WAIT), "-H", "Accept: text/event-stream", "-H",
                              f"Authorization: Bearer {mint(exp=int(time.time()) + 2)}", url],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        s.wait_log(event="accept")
        s.feed(b"x\n")
        out, err = p.communicate(timeout=black.WAIT + 5)
        self.assertEqual((p.returncode, err), (0, b""))
        self.assertIn(b"data: x", out.replace(b"data:x", b"data: x"))

    def test_not_expired_otherwise(self):
        """With single use and without --enforce-expiry it stays."""
        exp = int(time.time()) + 2          # at least a second
        e = self.s.events(token=mint(exp=exp))
        until(lambda: time.time() > exp + 0.2, "its expiry")
        self.feed(b"still here")
        self.assertEqual(e.event().data, "still here")

    def test_session(self):
        begin = time.monotonic()
        e = self.s.events(token=mint(session=1))
        self.assertEqual(e.rest(), [])
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.assertLess(time.monotonic() - begin, 5)
        e.raw.close()
        self.s.wait_log(event="close", reason="session_ended")

    def test_shutdown(self):
        es = [self.s.events() for _ in range(3)]
        self.feed(b"x")
        self.s.kill(15)
        for e in es:
            self.assertEqual(self.data(e.rest()), ["x"])
        self.witness.closed()
        self.s.ended(0, 2)

    def test_exit_on_eof(self):
        s = self.server("--exit-on-eof", "--slow", "wait")
        e = s.events()
        s.feed(b"".join(b"%d\n" % i for i in range(5000)) + b"last")
        s.proc.stdin.close()
        s.proc.stdin = None
        self.assertEqual(self.data(e.rest()), [str(i) for i in range(5000)] + ["last"])
        s.ended(0)

    def test_key_taken_away(self):
        """A reload without its key ends it."""
        secret = self.path("secret", black.SECRET)
        s = self.server("--secret-file", secret, env={"SLUICE_SECRET": ""})
        e = s.events()
        s.feed(b"x\n")
        self.assertEqual(e.event().data, "x")
        self.path("secret", b"another secret of enough bytes.....")
        s.kill(1)
        self.assertEqual(e.rest(), [])
        e.raw.close()
        s.wait_log(event="close", reason="key_unknown")

    def test_what_it_goes_on_sending(self):
        """Is no request: nobody reads it as one, and the stream goes on."""
        pub = grant(pub=["/a"])
        e, w = self.s.events("/a", token=grant(sub=["/a"])), self.s.ws("/a", token=grant(sub=["/a"]))
        e.raw.sock.settimeout(0.5)
        try:
            e.raw.send(plain("POST", "/a", body=b"evil", token=pub) * 3000)
        except (TimeoutError, ConnectionError):
            pass
        e.raw.sock.settimeout(black.WAIT)
        self.assertEqual(self.s.post("/a", b"good", token=pub).status, 204)
        self.assertEqual(w.message(), b"good")
        self.idle(self.s, 0.3, 0.3)

    def test_who_leaves_is_noticed(self):
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        for end in (black.Raw.close, black.Raw.reset):
            e = s.events()
            name = self.name(e.raw)
            s.wait_log(event="accept", client=name)
            self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_clients"], 1)
            end(e.raw)
            s.wait_log(event="close", client=name)
            self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_clients"], 0)

    def test_slow(self):
        """A whole ring behind: logged as any other, and cut off; nobody else waits for it."""
        slow, good = self.s.events(rcvbuf=4096), self.s.ws()
        n, m = 0, b"." * 1000
        while not self.s.log(event="slow"):
            for _ in range(50):
                self.s.feed((b"%08d" % n + m + b"\n") * 10)
                self.assertEqual(good.messages(10), [b"%08d" % n + m] * 10)
                n += 1
            self.assertLess(n, 20000, "it is never closed")
        self.assertEqual(self.s.wait_log(event="slow")["client"], self.name(slow.raw))
        self.assertEqual(self.s.wait_log(event="close")["reason"], "too_slow")
        got = []
        try:
            while True:
                got.append(slow.event())
        except (Gone, ConnectionResetError):
            pass
        want = [("%08d" % i + m.decode()) for i in range(n) for _ in range(10)][:len(got)]
        self.assertEqual(self.data(got) == want, True, "what it had got by then is whole")
        self.assertEqual(self.ids(got), list(range(1, len(got) + 1)))

    def test_slow_skip(self):
        """It goes on, and its IDs tell what it missed."""
        s = self.server("--slow", "skip")
        slow, good = s.events(rcvbuf=4096), s.ws()
        n, m = 0, b"." * 1000
        while not s.log(event="slow"):
            for _ in range(500):
                n += 1
                s.feed(b"%08d" % n + m + b"\n")
                good.message()
            self.assertLess(n, 100000, "it never falls behind")
        s.feed(b"the end\n")
        last = holes = 0
        while (x := slow.event()).data != "the end":
            i = self.ids([x])[0]
            self.assertEqual(x.data, "%08d" % i + m.decode())
            self.assertGreater(i, last)
            holes += i != last + 1
            last = i
        self.assertGreaterEqual(holes, 1)
        self.assertEqual(self.ids([x]), [n + 1])
        self.assertEqual(s.log(event="close"), [])


class Refused(Stream):
    def ask(self, path="/", *lines, token=None, s=None):
        w = (s or self.s).raw()
        w.send(plain("GET", path, "Accept: text/event-stream", *lines, token=token))
        return w.reply()

    def denied(self, reason, *a, **kw):
        n = len(self.s.log(event="reject", reason=reason))
        r = self.ask(*a, **kw)
        self.assertEqual((r.status, r.body), (STATUS[reason], reason + "\n"))
        self.assertFalse(r.headers["content-type"].startswith("text/event-stream"))
        self.challenge(r, reason)
        self.s.wait_log(n + 1, event="reject", reason=reason)

    def test_reasons(self):
        now = int(time.time())
        for reason, token in (("token_missing", None), ("token_malformed", "x"), ("signature_invalid", mint(b"z" * 32)),
                              ("token_expired", mint(iat=now - 9, exp=now - 1)),
                              ("issued_before_start", mint(iat=now - 100)),
                              ("subject_denied", grant(sub=["/b"])), ("subject_denied", grant(pub=["/"]))):
            with self.subTest(reason):
                self.denied(reason, token=token)
        self.denied("bad_request", "/a/", token=mint())
        self.denied("bad_request", "/?replay=x", token=mint())

    def test_once(self):
        t = mint()
        e = self.s.events(token=t)
        self.denied("token_used", token=t)
        self.refused(self.s, "token_used", token=t)
        e.raw.close()
        self.denied("token_used", f"/?t={t}")

    def test_many(self):
        s, t = self.server("--token-use", "many"), mint()
        es = [s.events(token=t), s.events(f"/?t={t}", token=None), s.events(token=t)]
        s.feed(b"x\n")
        self.assertEqual([e.event().data for e in es], ["x"] * 3)

    def test_too_many(self):
        self.s = self.server("--max-clients", 1)
        e = self.s.events()
        self.denied("too_many_clients", token=mint())
        self.refused(self.s, "too_many_clients")
        e.raw.close()
        until(lambda: self.s.get().status == 101, "a slot")

    def test_no_auth(self):
        s = self.server(auth=False)
        e = s.events("/")
        s.feed(b"x\n")
        self.assertEqual(e.event().data, "x")

    def test_origin(self):
        good, bad = "Origin: https://a.example", "Origin: https://b.example"
        self.s = self.server("--origin", "https://a.example")
        r = self.s.events("/", good).head
        self.assertIn(r.headers.get("access-control-allow-origin"), ("https://a.example", "*"))
        self.assertNotIn("access-control-allow-origin", self.s.events().head.headers)
        self.denied("origin_denied", "/", bad, token=mint())
        self.assertNotIn("access-control-allow-origin", self.ask("/", bad, token=mint()).headers)

    def test_any_origin(self):
        for origin in ("https://a.example", "null"):
            r = self.s.events("/", f"Origin: {origin}").head
            self.assertIn(r.headers.get("access-control-allow-origin"), (origin, "*"))


class Others(Stream):
    """Clients that nobody here wrote."""

    def test_curl(self):
        url = "http://%s:%d/" % self.s.addr

        def curl(*args):
            p = subprocess.Popen(["curl", "-sSN", "--max-time", str(black.WAIT), "-H", "Accept: text/event-stream",
                                  "-H", f"Authorization: Bearer {mint()}", *args, url], stdout=subprocess.PIPE)
            self.addCleanup(lambda: (p.kill(), p.wait(), p.stdout.close()))
            return p

        def event(p):
            """The fields of one that has data."""
            got = {}
            while (line := p.stdout.readline().decode().rstrip("\n")) or "data" not in got:
                name, _, value = line.partition(":")
                got[name] = value.removeprefix(" ")
            return got
        p = curl()
        self.s.wait_log(event="accept")
        self.feed(b"one", b"two")
        got = [event(p), event(p)]
        self.assertEqual([x["data"] for x in got], ["one", "two"])
        q = curl("-H", f"Last-Event-ID: {got[0]['id']}")
        self.assertEqual(event(q)["id"], got[1]["id"])
        self.feed(b"three")
        self.assertEqual(event(p), event(q))

    def test_python(self):
        c = http.client.HTTPConnection(*self.s.addr, timeout=black.WAIT)
        self.addCleanup(c.close)
        c.request("GET", "/", headers={"Accept": "text/event-stream", "Authorization": "Bearer " + mint()})
        r = c.getresponse()
        self.assertEqual(r.status, 200)
        self.feed(b"hello")
        while not (line := r.readline()).startswith(b"data"):
            self.assertTrue(line, "the end")
        self.assertEqual(line.split(b":")[1].strip(), b"hello")

    def test_chromium(self):
        """EventSource and fetch, from another origin; it reconnects by itself, and nothing is lost."""
        if not os.path.exists(os.environ.get("CHROMIUM", "/usr/bin/chromium")):
            self.skipTest("no chromium")
        s = self.server("--token-use", "many")
        out = json.loads(black.node("browser.mjs", "http://%s:%d/a" % s.addr,
                                    mint(session=2, permissions={"sub": ["/a"]}), grant(pub=["/a"]), timeout=60))
        self.assertEqual(out["status"], [204] * 6)
        self.assertEqual([d for _, d in out["events"]], ["1", "two\nlines", "", "4", "5", "6"])
        self.assertEqual([int(i.rsplit("-", 1)[1]) for i, _ in out["events"]], list(range(1, 7)))
        self.assertEqual(out["refused"], "token_missing\n")
        self.assertGreaterEqual(len(s.log(event="accept")), 2, "it did reconnect")

    def test_lines_for_a_slow_reader(self):
        """What grows while it is written is written in parts: every line is there, in order."""
        s = self.server("--slow", "wait", "--framing", "nul", "--max-message", "16K", "--buffer", "64K")
        slow, good, n = s.events(rcvbuf=2048), s.ws(), 60
        want = ["%d\n" % i * (i * 37 % 4000) for i in range(n)]
        t = threading.Thread(target=s.feed, args=("".join(m + "\0" for m in want).encode(),), daemon=True)
        t.start()
        got, first = [], threading.Thread(target=lambda: good.messages(n), daemon=True)
        first.start()
        for m in want:
            got.append(slow.event())
        first.join()
        t.join()
        self.assertTrue(self.data(got) == want)
        self.assertEqual(self.ids(got), list(range(1, n + 1)))

    def test_many_streams(self):
        """Beside raw clients, all the same messages in the same order."""
        s = self.server("--slow", "wait", "--buffer", "1M")
        es, cs = [s.events() for _ in range(50)], [s.ws() for _ in range(5)]
        want = [b"%d %s" % (i, b"abcdefghij"[:i % 11]) for i in range(3000)]
        t = threading.Thread(target=s.feed, args=(b"\n".join(want) + b"\n",), daemon=True)
        t.start()
        for c in cs:
            self.assertEqual(c.messages(len(want)), want)
        for e in es:
            got = e.events(len(want))
            self.assertEqual(self.data(got), [m.decode() for m in want])
            self.assertEqual(self.ids(got), list(range(1, 3001)))
        t.join()
