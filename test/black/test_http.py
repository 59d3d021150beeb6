"""The request head and the opening handshake (RFC 9112, RFC 6455 4), by raw sockets."""
import time
import black
from black import ACCEPT, PING, PONG, request, until


class Handshake(black.Case):
    def test_sample_key(self):
        """RFC 6455 1.3."""
        self.assertEqual(black.b64accept(black.KEY), ACCEPT)
        head = self.server().ws().head
        self.assertEqual(head.headers["sec-websocket-accept"], ACCEPT)
        self.assertNotIn("sec-websocket-extensions", head.headers)
        s = self.server(auth=False)
        for key in ("AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w=="):
            s.ws(key=key)

    def test_split_at_every_byte(self):
        s = self.server(auth=False)
        r = request("/?replay=1", "Origin: https://example.org", "X-Other: \t some  value\t ") + b"\x89\x82abcd\x09\x0b"
        s.feed(b"last\n")
        s.ws("/?replay=1").message()
        cs = []
        for i in range(1, len(r)):
            c = s.raw()
            c.send(r[:i])
            cs.append(c)
            if i % 100 == 0 or i == len(r) - 1:
                s.ws()                       # one whole turn of the loop: all have been read
                for c, j in zip(cs, range(i - len(cs) + 1, i + 1)):
                    with self.subTest(j):
                        c.send(r[j:])
                        c.upgraded()
                        got = {c.frame(), c.frame()}
                        self.assertEqual(got, {(PONG, b"hi"), (black.TEXT, b"last")})
                cs = []

    def test_byte_by_byte(self):
        s = self.server()
        c = s.raw()
        for b in request(token=black.mint()):
            c.send(bytes([b]))
        c.upgraded()

    def test_frames_in_the_same_segment(self):
        s = self.server()
        c = s.raw()
        c.send(request(token=black.mint()) + black.frame(PING, b"one", mask=b"abcd") +
               black.frame(PING, b"two", mask=b"\0\0\0\0") + black.frame(black.CLOSE, b"\x03\xe8bye", mask=b"wxyz"))
        c.upgraded()
        self.assertEqual([c.frame() for _ in range(2)], [(PONG, b"one"), (PONG, b"two")])
        self.assertEqual(c.closed()[0], 1000)

    def test_lenient_where_the_rfcs_are(self):
        """Case of tokens, lists, optional white space, other headers."""
        s = self.server(auth=False)
        for drop, lines in (
                (("Upgrade",), ["uPGRADE: WebSocket"]), (("Connection",), ["connection: keep-alive, upGrade"]),
                (("Connection",), ["Connection: keep-alive", "Connection: Upgrade"]),
                (("Upgrade",), ["Upgrade: h2c, websocket"]),
                (("Host",), ["HOST:example.org:80"]), ((), ["Sec-WebSocket-Extensions: permessage-deflate"]),
                ((), ["User-Agent: a \t b", "X-Empty:", "Cookie: a=b; c=\"d\"", "X-Latin: \xe9"]),
                (("Host",), ["Host: [::1]:8080"])):
            with self.subTest(lines):
                s.ws("/", *lines, drop=drop)
        s.ws("http://example.org/")          # RFC 9112 3.2.2: absolute-form must be accepted
        s.ws("http://example.org/a/b?replay=0")


class BadRequest(black.Case):
    def setUp(self):
        super().setUp()
        self.s = self.server(auth=False)

    def bad(self, raw, status=400, reason="bad_request"):
        c = self.s.raw()
        c.send(raw)
        r = c.reply()
        self.assertEqual((r.status, r.body), (status, reason + "\n"))
        self.assertTrue(c.eof())
        self.challenge(r, reason)

    def test_line_ends(self):
        good = request()
        self.bad(good.replace(b"\r\n", b"\n"))
        self.bad(good.replace(b"Upgrade\r\n", b"Upgrade\n"))
        self.bad(good.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"))
        self.bad(good[:-2] + b"\n\r\n")
        self.bad(good.replace(b"Upgrade\r\n", b"Upgrade\r"))
        self.bad(good[:-2] + b"X: a\rb\r\n\r\n")

    def test_field_lines(self):
        for line in (b"X : a", b" X: a", b"\tX: a", b"X: a\r\n b", b"X: a\r\n\tb", b": a", b"X", b"X\0: a",
                     b"X: a\0b", b"X: a\x01b", b"X: a\x7fb", b"X(: a", b"X Y: a", b"\xe9: a", b"X\"Y: a"):
            with self.subTest(line):
                self.bad(request()[:-2] + line + b"\r\n\r\n")

    def test_host(self):
        self.bad(request(drop=("Host",)))
        for lines in (["Host: example.org"], ["Host: other.example"], ["host: "]):
            self.bad(request("/", *lines))
        for bad in ("Host: a b", "Host: a/b", "Host: a@b"):
            with self.subTest(bad):
                self.bad(request("/", bad, drop=("Host",)))

    def test_body_on_upgrade(self):
        for line in ("Content-Length: 5", "Transfer-Encoding: chunked", "Transfer-Encoding: identity",
                     "Content-Length: x", "Content-Length: -1"):
            with self.subTest(line):
                self.bad(request("/", line) + b"hello")
        self.bad(request("/", "Content-Length: 5", "Content-Length: 6") + b"hello")

    def test_handshake_fields(self):
        for drop, lines in (
                (("Sec-WebSocket-Key",), []), (("Sec-WebSocket-Key",), ["Sec-WebSocket-Key: "]),
                (("Sec-WebSocket-Key",), ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="]),
                (("Sec-WebSocket-Key",), ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]),
                (("Sec-WebSocket-Key",), ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE="]),
                (("Sec-WebSocket-Key",), ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"]),
                (("Sec-WebSocket-Key",), ["Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ=="]),
                ((), ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
                ((), ["Sec-WebSocket-Version: 13"])):
            with self.subTest(lines):
                self.bad(request("/", *lines, drop=drop))

    def test_upgrade_required(self):
        for drop, lines in ((("Upgrade", "Connection"), []), (("Upgrade",), []), (("Upgrade",), ["Upgrade: h2c"]),
                            (("Sec-WebSocket-Version",), ["Sec-WebSocket-Version: 8"]),
                            (("Sec-WebSocket-Version",), ["Sec-WebSocket-Version: 14"]),
                            (("Sec-WebSocket-Version",), ["Sec-WebSocket-Version: 131"])):
            with self.subTest(lines):
                self.bad(request("/", *lines, drop=drop), 426, "upgrade_required")

    def test_methods(self):
        for m in ("PUT", "DELETE", "HEAD", "TRACE", "PATCH", "GETX", "GE", "get"):
            with self.subTest(m):
                c = self.s.raw()
                c.send(request(method=m))
                if m == "HEAD":              # a reply to HEAD has no body (RFC 9110 9.3.2)
                    self.assertRegex(c.line(), "^HTTP/1.1 405 ")
                    while c.line():
                        pass
                    self.assertTrue(c.eof(), "a body")
                    continue
                r = c.reply()
                self.assertEqual((r.status, r.body), (405, "method_not_allowed\n"))
                self.challenge(r, "method_not_allowed")
        self.bad(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405, "method_not_allowed")

    def test_request_line(self):
        tail = request().split(b"\r\n", 1)[1]
        for line in (b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET /", b"GET", b"GET / HTTP/1",
                     b"GET / http/1.1", b"GET / HTTP/1.10", b"GET / HTTP/11", b"GET\t/\tHTTP/1.1", b"GET a HTTP/1.1",
                     b"G(T / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /\0 HTTP/1.1", b"GET /#x HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1",
                     b"GET /\" HTTP/1.1", b"GET /<a> HTTP/1.1", b"GET /a\\b HTTP/1.1", b"GET * HTTP/1.1", b"GET  HTTP/1.1", b"GET example.org:80 HTTP/1.1"):
            with self.subTest(line):
                self.bad(line + b"\r\n" + tail)
        for proto in (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9"):
            with self.subTest(proto):        # whichever refusal, no upgrade
                c = self.s.raw()
                c.send(b"GET / " + proto + b"\r\n" + tail)
                self.assertRegex(c.line(), r"^HTTP/1\.1 (400|426|505) ")

    def test_paths(self):
        for path in ("/%", "/%2", "/%zz", "/%g0", "/a%2", "/a%2fb", "/a%2Fb", "/%00", "/a%01b", "/%7f", "/%1f", "/%0a",
                     "//", "/a//b", "/a/", "/.", "/..", "/a/.", "/a/..", "/a/../b", "/./a", "/%2e", "/%2E%2e",
                     "/a/.%2e/b", "/+", "/*", "/a/+/b", "/a/*", "/a+", "/a*b", "/%2b", "/%2B", "/%2a", "/a/%2A", "/%ff", "/%c3",
                     "/%c0%af", "/%ed%a0%80", "/%f4%90%80%80", "/" + "a" * 255, "/" + "%c3%a9" * 128):
            with self.subTest(path):
                self.bad(request(path))

    def test_good_paths(self):
        for path in ("/a", "/a/b/c", "/%61", "/a%20b", "/%252e", "/...", "/.a", "/~!$&'(),;=:@-_.",
                     "/" + "a" * 254, "/" + "%c3%a9" * 127, "/%F0%9F%98%80", "/a?", "/a?x=y&z", "/?replay=0"):
            with self.subTest(path):
                self.s.ws(path)

    def test_decoded_once(self):
        """%61 is a; %2561 is the subject %61."""
        s = self.server("--source", f"/a=fifo:{self.tmp}/a", "--source", f"/%61=fifo:{self.tmp}/b", auth=False)
        a, b, c = s.ws("/%61"), s.ws("/%2561"), s.ws("/a")
        for name in "ab":
            with open(f"{self.tmp}/{name}", "w") as f:
                f.write(name + "\n")
        self.assertEqual([x.message() for x in (a, b, c)], [b"a", b"b", b"a"])

    def test_query(self):
        for q in ("replay=x", "replay=-1", "replay=", "replay=1.5", "replay=99999999999999999999", "replay=1&replay=2",
                  "since=x"):
            with self.subTest(q):
                self.bad(request("/?" + q))

    def test_head_limit(self):
        """8 KiB, its end included."""
        pad = 8192 - len(request("/", "X: "))
        self.s.ws("/", "X: " + "a" * pad)
        self.assertEqual(len(request("/", "X: " + "a" * pad)), 8192)
        self.bad(request("/", "X: " + "a" * (pad + 1)), 431, "head_too_large")
        self.bad(request("/", "X: " + "a" * 9000), 431, "head_too_large")
        self.bad(request("/", *["X: a"] * 1500), 431, "head_too_large")
        # No end in sight: said as soon as it is sure, not at the timeout.
        self.bad(request("/", "X: " + "a" * 9000)[:8193], 431, "head_too_large")
        self.bad(b"GET /" + b"a" * 9000, 431, "head_too_large")

    def test_garbage(self):
        for raw in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), b"\0" * 100, b"\xff" * 10000,
                    b"SSH-2.0-OpenSSH_9.2\r\n", b"hello\r\n\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            with self.subTest(raw[:20]):
                c = self.s.raw()
                c.send(raw)
                self.assertRegex(c.line(), r"^HTTP/1\.1 4\d\d ")
        self.s.ws()

    def test_reply_reaches_a_peer_that_goes_on_writing(self):
        """What it sends after its bad request does not make the kernel reset the reply away."""
        for _ in range(20):
            c = self.s.raw()
            c.send(b"BAD\r\n\r\n" + b"x" * 50000)
            self.assertEqual(c.reply().status, 400)


class Timeouts(black.Case):
    def test_handshake_timeout(self):
        s = self.server("--handshake-timeout", 1)
        t = black.mint()
        begin = time.monotonic()
        part = s.raw()
        part.send(request(token=t)[:-2])
        silent = s.raw()
        for c in (part, silent):
            r = c.reply()
            self.assertEqual((r.status, r.body), (408, "handshake_timeout\n"))
            self.assertTrue(c.eof())
            self.assertGreaterEqual(time.monotonic() - begin, 0.95)
        self.assertLess(time.monotonic() - begin, 5)
        s.wait_log(2, event="reject", reason="handshake_timeout")
        s.ws(token=t)

    def test_trickle(self):
        """From accept: bytes that drip in do not lengthen it."""
        s = self.server("--handshake-timeout", 1)
        c = s.raw(timeout=0.1)
        begin = time.monotonic()
        for b in request():
            try:
                c.send(bytes([b]))
                c.fill()
                break
            except (TimeoutError, OSError):
                pass
            self.assertLess(time.monotonic() - begin, 10, "a trickle holds a slot")
        s.wait_log(event="reject", reason="handshake_timeout")

    def test_upgraded_stays(self):
        s = self.server("--handshake-timeout", 1)
        c = s.ws()
        late = s.raw()
        self.assertEqual(late.reply().status, 408)
        s.feed(b"x\n")
        self.assertEqual(c.message(), b"x")


class Room(black.Case):
    def test_too_many_clients(self):
        s = self.server("--max-clients", 3)
        cs = [s.ws() for _ in range(3)]
        t = black.mint()
        self.refused(s, "too_many_clients", token=t)
        s.feed(b"x\n")
        for c in cs:
            self.assertEqual(c.message(), b"x")
        cs[1].close()
        until(lambda: s.get(token=t).status == 101, "a slot")
        self.refused(s, "too_many_clients")

    def test_max_pending(self):
        """One more drops the one that has waited longest."""
        s = self.server("--max-pending", 4)
        cs = [s.raw() for _ in range(4)]
        for c in cs:
            c.send(b"GET")
        s.ws()
        self.assertEqual(cs[0].line()[:12], "HTTP/1.1 503")
        s.wait_log(event="reject", reason="pending_full")
        for c in cs[1:]:
            c.send(request(token=black.mint())[3:])
            c.upgraded()


class Origin(black.Case):
    TABLE = {
        "https://example.org": (
            ["https://example.org", "HTTPS://EXAMPLE.ORG", "https://example.org:443"],
            ["http://example.org", "https://example.org:8443", "https://www.example.org", "https://example.com",
             "https://example.org.evil.example", "https://evilexample.org", "null", "https://example.or",
             "https://example.org:4430", "https://example.org/", "https://example.org@evil.example", "https://"]),
        "http://example.org": (["http://example.org", "http://example.org:80"],
                               ["https://example.org", "http://example.org:443", "https://example.org:80"]),
        "https://example.org:8443": (["https://example.org:8443"], ["https://example.org", "https://example.org:443"]),
        "https://example.org:443": (["https://example.org", "https://example.org:443"], ["https://example.org:444"]),
        "Example.Org": (["http://example.org", "https://EXAMPLE.org:99", "app://example.org"],
                        ["https://a.example.org", "https://example.org.uk", "null"]),
        "*.example.org": (["https://a.example.org", "http://a.b.example.org:1234", "https://A.EXAMPLE.ORG"],
                          ["https://example.org", "https://aexample.org", "https://.example.org",
                           "https://a.example.org.evil.example", "https://a.example.com"]),
        "https://*.example.org": (["https://a.example.org", "https://a.b.example.org", "https://a.example.org:443"],
                                  ["http://a.example.org", "https://a.example.org:8443", "https://example.org"]),
        "null": (["null"], ["https://null.example", "https://nul", "nullx"]),
        "localhost": (["http://localhost", "http://localhost:3000"], ["http://localhost.evil.example"]),
        "http://[::1]:3000": (["http://[::1]:3000"], ["http://[::1]", "http://[::2]:3000"]),
        "127.0.0.1": (["http://127.0.0.1:5000"], ["http://127.0.0.11", "http://1127.0.0.1"]),
    }

    def test_table(self):
        for pattern, (good, bad) in self.TABLE.items():
            s = self.server("--origin", pattern)
            s.ws()                           # no Origin, no browser
            for o in good:
                with self.subTest(pattern=pattern, origin=o):
                    s.ws("/", f"Origin: {o}")
            for o in bad:
                with self.subTest(pattern=pattern, origin=o):
                    self.refused(s, "origin_denied", "/", f"Origin: {o}")
            s.stop()
            self.hang_up()

    def test_several(self):
        s = self.server("--origin", "https://a.example", "--origin", "null", "--origin", "*.b.example")
        for o in ("https://a.example", "null", "http://x.b.example"):
            s.ws("/", f"Origin: {o}")
        self.refused(s, "origin_denied", "/", "Origin: https://b.example")
        self.refused(s, "origin_denied", "/", "Origin: https://a.example https://b.example")
        r = s.get("/", "Origin: https://evil.example", "Origin: https://a.example")
        self.assertIn(r.status, (400, 403))

    def test_order(self):
        """What is wrong with the request comes before whose it is, and both before whether there is room."""
        s = self.server("--origin", "https://a.example", "--max-clients", 1)
        s.ws()
        bad = "Origin: https://b.example"
        self.refused(s, "bad_request", "/a/", bad, drop=("Upgrade",), token=None)
        self.refused(s, "upgrade_required", "/", bad, drop=("Upgrade",), token=None)
        self.refused(s, "origin_denied", "/", bad, token=None)
        self.refused(s, "too_many_clients", token=None)

    def test_any(self):
        s = self.server()
        for o in ("https://example.org", "null", "http://127.0.0.1:1"):
            s.ws("/", f"Origin: {o}")


class Page(black.Case):
    def test_page(self):
        """Only with --page, only at /, only where no upgrade is asked for."""
        def browse(s, path="/", *more):
            c = s.raw()
            c.send(("\r\n".join([f"GET {path} HTTP/1.1", "Host: h", "Accept: text/html,*/*;q=0.8", *more]) + "\r\n\r\n").encode())
            return c.reply()
        s = self.server("--page", "--metrics", f"unix:{self.tmp}/m")
        r = browse(s)
        self.assertEqual(r.status, 200)
        self.assertRegex(r.headers["content-type"], "^text/html; *charset=utf-8")
        self.assertRegex(r.body, "(?is)^<!doctype html.*<script>")
        self.assertNotRegex(r.body, r"""(?i)(src|href)=["']?(https?:)?//""")
        self.assertEqual(browse(s, "/x").status, 426)
        s.ws()
        self.assertEqual(s.fetch("/elsewhere", f"{self.tmp}/m").status, 404)
        self.assertEqual(browse(self.server()).status, 426)
