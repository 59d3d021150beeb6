"""What clients do within one segment, or before they have read: sluice.v1, POST and upgrades by raw sockets."""
import json, os, pty, re, select, signal, subprocess, time, tty
import black
from black import TEXT, frame, mint, request

V1 = "Sec-WebSocket-Protocol: sluice.v1"
ALL = {"all": ["/", "/*"]}


def post(path, body, token, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}",
             f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def op(**k):
    return frame(TEXT, json.dumps(k).encode(), mask=b"abcd")


def told(c):
    return json.loads(c.message())


class OneSegment(black.Case):
    def test_post_then_reader(self):
        """A reader joins behind the message that was posted right before it."""
        s = self.server()
        other = s.ws(token=mint())
        for n, headers in enumerate(((), (V1,))):
            c = s.raw()
            c.send(post("/", b"before", mint(permissions=ALL)) +
                   request("/", *headers, token=mint(permissions=ALL)))
            self.assertEqual(other.message(), b"before")
            self.assertEqual(c.line(), "HTTP/1.1 204 No Content")
            self.assertEqual(c.line(), "")
            c.upgraded()
            if headers:
                self.assertEqual(told(c)["op"], "ready")
                c.send(op(op="sub", subject="/", id=1))
                self.assertEqual(told(c), {"op": "ok", "id": 1})
            s.feed(b"after\n")
            self.assertEqual(told(c)["data"].encode() if headers else c.message(), b"after")
            self.assertEqual(other.message(), b"after")
            s.wait_log(n + 2, event="accept")

    def test_post_then_events(self):
        s = self.server()
        c = s.raw()
        c.send(post("/", b"before", mint(permissions=ALL)) +
               f"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
               f"Authorization: Bearer {mint()}\r\n\r\n".encode())
        self.assertEqual(c.line(), "HTTP/1.1 204 No Content")
        self.assertEqual(c.line(), "")
        self.assertEqual(c.line(), "HTTP/1.1 200 OK")
        s.feed(b"after\n")
        while b"after\n\n" not in c.buf:
            self.assertTrue(c.fill())
        self.assertNotIn(b"before", c.buf)

    def test_more_than_is_answered(self):
        """What stands behind an upgrade waits for the client to read, however much it is."""
        for size in ("1K", "64K"):
            s = self.server("--no-auth", "--buffer", "1M", "--max-message", size, auth=False)
            s.feed(b"".join(b"%0900d\n" % i for i in range(700)))
            s.ws("/?replay=1").message()
            c = s.raw(rcvbuf=2048)
            data, n = request("/", V1) + op(op="sub", subject="/", replay=1000, id="sub"), 0
            while len(data) < 8000:
                data += op(id=n)
                n += 1
            c.send(data)
            c.upgraded()
            black.until(lambda: s.ws("/?replay=1").message(), "a turn of the loop")
            got = [told(c) for _ in range(1 + 1 + n)]
            self.assertEqual(got[0]["op"], "ready")
            self.assertEqual(got[1], {"op": "ok", "id": "sub"})
            while sum(g["op"] == "error" for g in got) < n:
                got.append(told(c))
            self.assertEqual([g["id"] for g in got if g["op"] == "error"], list(range(n)))


class Refused(black.Case):
    def test_too_many_clients(self):
        """Always an HTTP reply, whatever is offered, and before the token; but the origin comes first."""
        s = self.server("--max-clients", 1, "--origin", "https://good.example")
        s.ws()
        for token in (mint(), "x", None):
            self.refused(s, "too_many_clients", "/", V1, token=token)
        c = s.ws("/", V1, "Origin: https://evil.example", token=None)
        self.assertEqual(c.closed(), (4403, "origin_denied"))

    def test_max_clients_and_auth(self):
        """Those who are still to show their token take no slot; the last is told so when it does."""
        s = self.server("--max-clients", 1)
        a, b = (s.ws("/", V1, token=None) for _ in range(2))
        t = mint()
        a.send(op(op="auth", token=mint()))
        self.assertEqual(told(a)["op"], "ready")
        b.send(op(op="auth", token=t))
        self.assertEqual(b.closed(), (1013, "too_many_clients"))
        a.send_frame(black.CLOSE, b"\x03\xe8")
        a.closed()
        s.wait_log(event="close")
        self.assertEqual(told(s.ws("/", V1, token=t))["op"], "ready")

    def test_before_the_token(self):
        """Whatever ends a connection that was not let in is logged and counted."""
        s = self.server("--metrics", "127.0.0.1:0")
        for data, want in ((frame(TEXT, b"{}", mask=b"abcd"), (4401, "token_missing")),
                           (frame(black.BINARY, b"x", mask=b"abcd"), (4401, "token_missing")),
                           (frame(TEXT, b"", length=8193, mask=b"abcd"), (1009, "message_too_large")),
                           (frame(TEXT, b"\xff", mask=b"abcd"), (1007, "ws_not_utf8")),
                           (frame(TEXT, b"\xff", fin=False, mask=b"abcd"), (1007, "ws_not_utf8")),
                           (b"\x81\x01x", (1002, "ws_unmasked"))):
            with self.subTest(data):
                n = len(s.log(event="reject", reason=want[1]))
                c = s.ws("/", V1, token=None)
                c.send(data)
                self.assertEqual(c.closed(), want)
                s.wait_log(n + 1, event="reject", reason=want[1])
        self.assertEqual(self.metrics(s, s.where(2))['sluice_rejects_total{reason="token_missing"}'], 2)
        self.assertEqual(s.log(event="close"), [])


class MessageBuffers(black.Case):
    BUFS, LONG = 32, b"x" * 20000            # limits.h: those over SMALL_SIZE take one

    def hold(self, s):
        """Clients that have taken all there are, with a message that they do not end."""
        cs = [s.ws("/", V1, token=mint(permissions=ALL)) for _ in range(self.BUFS)]
        for c in cs:
            self.assertEqual(told(c)["op"], "ready")
            c.send(frame(TEXT, b'{"op":"pub","data":"' + self.LONG, fin=False, mask=b"abcd"))
            c.send_frame(black.PING, b"x")
            self.assertEqual(c.frame(), (black.PONG, b"x"))
        return cs

    def finish(self, c):
        c.send(frame(0, b'","subject":"/","id":1}', mask=b"abcd"))
        self.assertEqual(told(c), {"op": "ok", "id": 1})

    def test_short_ones_take_none(self):
        """However many are taken or begun: who says little, whole or in parts, waits for nobody."""
        s = self.server("--handshake-timeout", 60)
        cs = self.hold(s)
        parts = []
        for i in range(100):
            v = s.ws("/", V1, token=mint(permissions=ALL))
            self.assertEqual(told(v)["op"], "ready")
            data = op(op="sub", subject="/", id=i)
            v.send(data[:20])
            parts.append((v, data[20:]))
        for i, (v, rest) in enumerate(parts):
            v.send(rest)
            self.assertEqual(told(v), {"op": "ok", "id": i})
        p = s.raw()
        p.send(post("/a", b"posted", mint(permissions=ALL)))
        self.assertEqual(p.line(), "HTTP/1.1 204 No Content")
        for c in cs:
            self.finish(c)

    def test_one_gives_way(self):
        """Who has begun a long message and does not go on is closed for those who have one to say."""
        s = self.server("--handshake-timeout", 60)
        cs = self.hold(s)
        p = s.raw()
        p.send(post("/", self.LONG, mint(permissions=ALL)))
        self.assertEqual(p.line(), "HTTP/1.1 204 No Content")
        s.wait_log(event="close", reason="too_slow")
        self.assertLess(len(s.log(event="close")), 3)
        gone = {r["client"] for r in s.log(event="close")}
        for c in cs:
            if "%s:%d" % c.sock.getsockname() in gone:
                self.assertEqual(c.closed(), (1013, "too_slow"))
            else:
                self.finish(c)

    def test_who_keeps_one(self):
        """Nobody keeps one longer than a handshake may take, while others wait, however it goes on."""
        s = self.server("--handshake-timeout", 2, "--ping", 600)
        cs = self.hold(s)
        v = s.ws("/", V1, token=mint(permissions=ALL))
        self.assertEqual(told(v)["op"], "ready")
        v.send(op(op="pub", subject="/", data=self.LONG.decode(), id=1))

        def answered():
            for c in cs:
                c.send(frame(0, b"x", fin=False, mask=b"abcd"))
            return select.select([v.sock], [], [], 0.3)[0]
        black.until(answered, "a place for its message")
        self.assertEqual(told(v), {"op": "ok", "id": 1})
        s.wait_log(event="close", reason="too_slow")

    def test_who_gave_up(self):
        """Who waited for one and went drives nobody out."""
        s = self.server("--handshake-timeout", 60)
        cs = self.hold(s)
        p = s.raw()
        p.send(post("/", self.LONG, mint(permissions=ALL)))
        p.reset()
        for c in cs:
            self.finish(c)
        self.assertEqual(s.log(event="close"), [])


class Grants(black.Case):
    def test_renewal_where_no_room_is_left(self):
        """A token whose grants are as long as those in force takes their place."""
        s = self.server("--max-clients", 8, "--max-pending", 1)
        grants = {"sub": [f"/{i:02}/" + "x" * 240 for i in range(11)]}

        def client():
            return s.ws("/", V1, token=mint(permissions=grants))
        first, reply = client(), None
        self.assertEqual(told(first)["op"], "ready")
        for _ in range(7):                   # until the pool is used up
            c = client()
            op_, data = c.frame()
            if op_ == black.CLOSE:
                self.assertEqual(data[2:], b"too_many_clients")
                break
        else:
            self.fail("there was room for all")
        first.send(op(op="auth", token=mint(permissions=grants), id=1))
        self.assertEqual(told(first)["op"], "ready")


class Print(black.Case):
    def test_terminal_that_nobody_reads(self):
        """It stalls nobody; and what is read of it later are whole lines."""
        master, terminal = pty.openpty()
        tty.setraw(terminal)
        env = {**os.environ, "SLUICE_SECRET": black.SECRET.decode()}
        p = subprocess.Popen([black.SLUICE, "--listen", "127.0.0.1:0", "--publish-to", "-"],
                             env=env, stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.PIPE)
        try:
            line = next(x for x in p.stderr if b"event=listening" in x)
            c = black.Raw(("127.0.0.1", int(re.search(rb"addr=\S+:(\d+)", line)[1])))
            for i in range(100):
                c.send(post("/", b"%03d" % i * 1000, mint(permissions=ALL)))
                self.assertEqual((c.line(), c.line()), ("HTTP/1.1 204 No Content", ""))
            got = b""
            while select.select([master], [], [], 1)[0]:
                got += os.read(master, 65536)
            c.send(post("/", b"last", mint(permissions=ALL)))
            while not got.endswith(b"/\tlast\n"):
                got += os.read(master, 65536)
            lines = got.split(b"\n")[:-1]
            self.assertGreater(len(lines), 2)
            for i, line in enumerate(lines[:-1]):
                self.assertEqual(line, b"/\t" + b"%03d" % i * 1000)
            c.close()
        finally:
            p.terminate()
            self.assertEqual(p.wait(black.WAIT), 0)
            p.stderr.close()
            os.close(master)
            os.close(terminal)


class Keys(black.Case):
    def test_post_whose_key_goes(self):
        """A reload that takes a key away refuses the message that is still on its way."""
        a, b = os.urandom(32), os.urandom(32)

        def keys(**secrets):
            return self.path("keys", json.dumps({"keys": [{"kty": "oct", "kid": k, "k": black.b64(v)}
                                                          for k, v in secrets.items()]}).encode())
        s = self.server("--keys", keys(a=a, b=b), secret=None)
        tokens = {k: mint(v, {"kid": k}, permissions=ALL) for k, v in (("a", a), ("b", b))}
        posts, r = {}, s.ws(token=mint(b, {"kid": "b"}))
        for k in "ab":                       # one that is kept, and has a body on its way
            posts[k] = s.raw()
            posts[k].send(post("/", b"first", tokens[k]) + post("/", b"second", tokens[k])[:-2])
            self.assertEqual((posts[k].line(), posts[k].line()), ("HTTP/1.1 204 No Content", ""))
            self.assertEqual(r.message(), b"first")
        s.ws(token=mint(b, {"kid": "b"}))    # a turn of the loop
        keys(b=b)
        s.kill(signal.SIGHUP)
        got = posts["a"].reply()
        self.assertEqual((got.status, got.body), (401, "key_unknown\n"))
        posts["b"].send(b"nd")
        self.assertEqual((posts["b"].line(), r.message()), ("HTTP/1.1 204 No Content", b"second"))