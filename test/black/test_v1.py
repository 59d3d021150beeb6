"""sluice.v1 (contract 3 and 4): opening, operations, permissions, data, what is missed, frames."""
import asyncio, itertools, json, os, random, struct, threading, time
import websockets
import black, v1
from black import BINARY, CLOSE, PING, PONG, TEXT, claims, frame, jws, mint, node, until
from v1 import ALL, OFFER, connect, epoch, greet, number, parse, waiting

MASK = b"\x11\x22\x33\x44"


def matches(pattern, subject):
    """The contract's rule, written down once more."""
    if "/" in (pattern, subject):
        return pattern == subject
    p, s = pattern.split("/")[1:], subject.split("/")[1:]
    if p[-1] == "*":
        p = p[:-1] + ["+"] * (len(s) - len(p) + 1)
        if len(s) < len(pattern.split("/")) - 1:
            return False
    return len(p) == len(s) and all(a in ("+", b) for a, b in zip(p, s))


PATTERNS = ["/", *("/" + "/".join((*head, last)) for n in range(3)
                   for head in itertools.product("a+", repeat=n) for last in "a+*")]
SUBJECTS = ["/", *("/" + "/".join(x) for n in range(1, 5) for x in itertools.product("ab", repeat=n))]
BAD = ["", "a", "a/b", "//", "/a//b", "/a/", "//a", "/.", "/..", "/a/.", "/a/..", "/a/../b", "/./a", "/a\0",
       "/a\1b", "/\n", "/a\x1f/b", "/" + "x" * 255, "/" + "\u00e9" * 128]
BAD_PATTERNS = ["/+x", "/x+", "/a/+x/b", "/a*", "/*a", "/*/a", "/a/*/b", "/++", "/**", "*", "+"]
GOOD = ["/" + "x" * 254, "/" + "\u00e9" * 127, "/\u65e5\u672c/\U0001f600", "/..a/.b/c..", "/a b", "/a%20b", "/%2e%2e",
        "/\"\\/'", "/\u2028", "/-_.~!$&'()=:@;,", "/" + "/".join("a" * 127)]


class Opening(v1.Case):
    def test_token_in_the_request(self):
        """Each of the three places; ready comes at once, and the reply chooses sluice.v1."""
        s = self.server()
        greet(s.ws("/", OFFER))
        for path in ("/", "/any/where?x=1&"):
            greet(s.ws(f"{path}{'&' if '?' in path else '?'}t={mint()}", OFFER, token=None))
        for offer in ("sluice.v1, bearer, %s", "bearer, %s, sluice.v1", "other, sluice.v1,bearer,%s"):
            greet(s.ws("/", "Sec-WebSocket-Protocol: " + offer % mint(), token=None))
        self.assertEqual(len(s.log(event="reject")), 0)
        s.wait_log(6, event="accept")

    def test_the_path_means_nothing(self):
        """A token for / alone is let in at any path, and reads / there."""
        s = self.server()
        c = greet(s.ws("/some/where", OFFER)).sub("/")
        s.feed(b"x\n")
        self.assertEqual((m := c.hear())["subject"], "/")
        self.assertEqual(m["data"], "x")
        self.assertEqual(c.call("sub", subject="/some/where"), "subject_denied")

    def test_nothing_without_sub(self):
        s = self.server("--replay", 5)
        first = s.ws()
        s.feed(b"x\n")
        first.message()
        self.assertEqual(greet(s.ws("/", OFFER)).rest(), [])

    def test_auth_first(self):
        s = self.server()
        token = mint(sub="alice", permissions=ALL)
        c = waiting(s)
        c.raw.send_frame(PING, b"early")     # no message: it may be
        self.assertEqual(c.raw.frame(), (PONG, b"early"))
        self.assertEqual(s.log(event="accept"), [])
        c.say({"op": "auth", "token": token})
        c.hear("ready")
        name = "%s:%d" % c.raw.sock.getsockname()
        got = s.wait_log(event="accept")
        self.assertEqual((got["client"], got["sub"]), (name, "alice"))
        c.sub("/a").pub("/a", "x")
        self.assertEqual(c.data(), ["x"])
        c.raw.send_frame(CLOSE, b"\x03\xe8")
        c.closed()
        got = s.wait_log(event="close")
        self.assertEqual((got["client"], got["code"], got["reason"]), (name, "1000", "peer_closed"))
        # used like any other
        self.refused(s, "token_used", token=token)
        c = waiting(s)
        c.say({"op": "auth", "token": token})
        self.assertEqual(c.closed(), (4401, "token_used"))
        self.assertFalse([x for x in s.lines if token.encode()[-20:] in x])

    def test_used_by_others(self):
        s = self.server()
        token = mint()
        s.ws(token=token)
        c = waiting(s)
        c.say({"op": "auth", "token": token})
        self.assertEqual(c.closed(), (4401, "token_used"))
        self.assertEqual(s.ws("/", OFFER, token=token).closed(), (4401, "token_used"))
        token = mint()
        greet(s.ws("/", OFFER, token=token))
        self.refused(s, "token_used", token=token)

    def test_auth_spelt_otherwise(self):
        """JSON is JSON; and a message may come in parts, or byte by byte."""
        s = self.server()
        c = waiting(s)
        c.say(b' {\r\n"token"\t:"%s" , "\\u006fp": "\\u0061uth" } ' % mint().encode())
        c.hear("ready")
        c = waiting(s)
        data = json.dumps({"op": "auth", "token": mint()}).encode()
        c.raw.send(frame(TEXT, data[:9], fin=False, mask=MASK) + frame(PING, b"!", mask=MASK))
        self.assertEqual(c.raw.frame(), (PONG, b"!"))
        for b in frame(0, data[9:], mask=MASK):
            c.raw.send(bytes([b]))
        c.hear("ready")

    def test_all_in_one_write(self):
        """What follows a good auth is done; of what follows anything else, nothing."""
        s = self.server()
        reader = connect(s).sub("/a")
        auth = {"op": "auth", "token": mint(permissions=ALL)}
        c = waiting(s)
        c.say(auth, {"op": "sub", "subject": "/a", "id": 1}, {"op": "pub", "subject": "/a", "data": "yes", "id": 2})
        self.assertEqual([c.wire()["op"] for _ in range(4)][:2], ["ready", "ok"])
        pub = {"op": "pub", "subject": "/a", "data": "no"}
        for first, reason in ((auth, "token_used"), ({"op": "auth", "token": "x.y.z"}, "token_malformed"),
                              (pub, "token_missing")):
            c = waiting(s)
            c.say(first, pub, {"op": "auth", "token": mint(permissions=ALL)}, pub)
            self.assertEqual(c.closed(), (4401, reason))
        c = s.ws("/", OFFER, token=mint(exp=1))
        c.send(frame(TEXT, json.dumps(pub).encode(), mask=MASK))
        self.assertEqual(c.closed(), (4401, "token_expired"))
        self.assertEqual([m["data"] for m in reader.whole(1)], ["yes"])

    def test_something_else_first(self):
        s = self.server()
        first = [b"", b"hello", b"{", b"[]", b"null", b'"auth"', b"{}", b'{"op":"sub","subject":"/","id":1}',
                 b'{"op":"pub","subject":"/","data":"x"}', b'{"op":"unsub","subject":"/"}', b'{"op":"ready"}']
        for x in first:
            with self.subTest(x):
                c = waiting(s)
                c.say(x)
                self.assertEqual(c.closed(), (4401, "token_missing"))
        s.wait_log(len(first), event="reject", reason="token_missing")
        self.assertEqual(s.log(event="accept"), [])

    def test_binary_first(self):
        """Refused like any other, in the log and in the metrics too."""
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        c = waiting(s)
        c.raw.send_frame(BINARY, json.dumps({"op": "auth", "token": mint()}).encode())
        self.assertEqual(c.closed(), (4401, "token_missing"))
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertEqual(m.get('sluice_rejects_total{reason="token_missing"}'), 1)
        s.wait_log(event="reject", reason="token_missing")

    def test_no_auth_in_time(self):
        """Whatever else it says meanwhile."""
        s = self.server("--handshake-timeout", 1)
        begin = time.monotonic()
        silent, pings, trickle = (waiting(s).raw for _ in range(3))
        in_time = connect(s)
        trickle.send(frame(TEXT, b'{"op"', fin=False, mask=MASK))
        alive = {pings: frame(PING, b"", mask=MASK), trickle: frame(0, b" ", fin=False, mask=MASK)}
        while not s.log(event="reject") and time.monotonic() < begin + 10:
            for c, data in alive.items():
                try:
                    c.send(data)
                except OSError:
                    pass
            time.sleep(0.05)                 # the pace of what it says
        for c in (silent, pings, trickle):
            while (f := c.frame())[0] == PONG:
                pass
            self.assertEqual(f, (CLOSE, struct.pack(">H", 4401) + b"handshake_timeout"))
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.assertLess(time.monotonic() - begin, 6)
        s.wait_log(3, event="reject", reason="handshake_timeout")
        self.assertEqual(in_time.rest(), [])

    def test_expires(self):
        """When the connection will end, or null."""
        exp = int(time.time()) + 1000
        self.assertEqual(connect(self.server(), exp=exp).ready["expires"], None)
        self.assertEqual(greet(self.server(auth=False).ws("/", OFFER)).ready["expires"], None)
        for args in (["--enforce-expiry"], ["--token-use", "many"]):
            s = self.server(*args)
            self.assertEqual(connect(s, exp=exp).ready["expires"], exp)
            c = waiting(s)
            c.say({"op": "auth", "token": mint(exp=exp + 5)})
            self.assertEqual(c.hear("ready")["expires"], exp + 5)

    def test_auth_by_other_clients(self):
        """Nothing in the request, auth as the first message."""
        s = self.server()
        url = "ws://%s:%d/" % s.addr

        async def python():
            async with websockets.connect(url, subprotocols=["sluice.v1"]) as w:
                self.assertEqual(w.subprotocol, "sluice.v1")
                await w.send(json.dumps({"op": "auth", "token": mint(permissions=ALL)}))
                self.assertEqual(json.loads(await w.recv())["op"], "ready")
                await w.send(['{"op":"sub",', '"subject":"/caf\u00e9/+"', ',"id":1}'])
                self.assertEqual(json.loads(await w.recv()), {"op": "ok", "id": 1})
                await w.send(json.dumps({"op": "pub", "subject": "/caf\u00e9/x", "data": "\u2028\U0001f600", "id": 2}))
                got = [json.loads(await w.recv()) for _ in range(2)]
                self.assertIn({"op": "ok", "id": 2}, got)
                m, = (m for m in got if m["op"] == "msg")
                self.assertEqual((m["subject"], m["data"]), ("/caf\u00e9/x", "\u2028\U0001f600"))
            async with websockets.connect(url, subprotocols=["sluice.v1"]) as w:
                await w.send("hello")
                with self.assertRaises(websockets.ConnectionClosed):
                    await w.recv()
                self.assertEqual((w.close_code, w.close_reason), (4401, "token_missing"))
        asyncio.run(asyncio.wait_for(python(), black.WAIT))

        def other(*say, protocols=("sluice.v1",), stop=0):
            out = node("client.mjs", url, json.dumps({"protocols": protocols, "stop": stop, "send":
                                                      [json.dumps(x) for x in say]}))
            return [json.loads(x) for x in out.splitlines()]
        got = other({"op": "auth", "token": mint(permissions=ALL)}, {"op": "sub", "subject": "/n", "id": "\u00e9"},
                    {"op": "pub", "subject": "/n", "data": "\0\"\\", "id": 2}, stop=4)
        self.assertEqual(got[0], {"open": "sluice.v1", "extensions": ""})
        said = [json.loads(x["text"]) for x in got[1:-1]]
        self.assertEqual(said[:2], [{"op": "ready", "expires": None}, {"op": "ok", "id": "\u00e9"}])
        self.assertEqual({m["op"]: m.get("data") for m in said[2:]}, {"ok": None, "msg": "\0\"\\"})
        got = other(protocols=["sluice.v1", "bearer", mint(exp=1)])
        self.assertEqual(got[1:], [{"close": 4401, "reason": "token_expired"}])


class Refused(v1.Case):
    """Upgraded, then closed with the reason, so that a browser can show it."""

    def no(self, s, reason, token, code=4401):
        with self.subTest(reason):
            n = len(s.log(event="reject", reason=reason))
            c = s.ws("/", OFFER, token=token)
            self.assertEqual(c.head.headers["sec-websocket-protocol"], "sluice.v1")
            self.assertEqual(c.closed(), (code, reason))
            got = s.wait_log(n + 1, event="reject", reason=reason)
            self.assertEqual(got["client"], "%s:%d" % c.sock.getsockname())
            c = waiting(s)
            c.say({"op": "auth", "token": token})
            self.assertEqual(c.closed(), (code, reason))
            s.wait_log(n + 2, event="reject", reason=reason)

    def test_reasons(self):
        s = self.server("--issuer", "me", "--audience", "us")
        now, good = int(time.time()), {"iss": "me", "aud": "us"}
        for reason, token in (
                ("token_malformed", "nonsense"),
                ("token_malformed", jws({"alg": "HS256"}, b"[]")),
                ("alg_not_allowed", jws({"alg": "none"}, claims())),
                ("alg_not_allowed", jws({"alg": "RS256"}, claims())),
                ("signature_invalid", mint(b"another secret, quite as long as ours", **good)),
                ("exp_missing", mint(exp=None, **good)),
                ("claim_invalid", mint(sub=5, **good)),
                ("claim_invalid", mint(permissions={"sub": ["/a/+b"]}, **good)),
                ("token_expired", mint(exp=now - 1, **good)),
                ("token_not_yet_valid", mint(nbf=now + 1000, **good)),
                ("ttl_too_long", mint(exp=now + 7200, **good)),
                ("issuer_mismatch", mint(iss="you", aud="us")),
                ("audience_mismatch", mint(iss="me", aud="them")),
                ("issued_before_start", mint(iat=now - 1000, **good))):
            self.no(s, reason, token)
        self.assertEqual(s.log(event="accept"), [])

    def test_in_each_place(self):
        s = self.server()
        bad = mint(exp=1)
        self.assertEqual(s.ws(f"/?t={bad}", OFFER, token=None).closed(), (4401, "token_expired"))
        c = s.ws("/", f"Sec-WebSocket-Protocol: sluice.v1, bearer, {bad}", token=None)
        self.assertEqual(c.head.headers["sec-websocket-protocol"], "sluice.v1")
        self.assertEqual(c.closed(), (4401, "token_expired"))

    def test_ring_full(self):
        s = self.server("--used-tokens", 1)
        connect(s)
        t = mint()
        self.no(s, "ring_full", t, 1013)

    def test_clock_unset(self):
        clock = black.Clock(self)
        clock.set(1000000)
        s = self.server(clock=clock)
        self.no(s, "clock_unset", mint(iat=1000000, exp=1000060), 1013)

    def test_origin(self):
        """And it consumes nothing."""
        s = self.server("--origin", "https://good.example")
        t = mint()
        for headers, token in (([], t), ([f"Sec-WebSocket-Protocol: bearer, {t}"], None), ([], None)):
            c = s.ws("/", OFFER + (", " + headers[0].split(": ")[1] if headers else ""),
                     "Origin: https://evil.example", token=token)
            self.assertEqual(c.closed(), (4403, "origin_denied"))
        s.wait_log(3, event="reject", reason="origin_denied")
        greet(s.ws("/", OFFER, "Origin: https://good.example", token=t))

    def test_bad_request(self):
        """No matter of the token's: it is answered as ever, and consumes none."""
        s = self.server()
        t = mint()
        self.refused(s, "bad_request", f"/?t={t}", OFFER, token=t)
        self.refused(s, "bad_request", f"/?t={t}&t={t}", OFFER, token=None)
        greet(s.ws("/", OFFER, token=t))

    def test_too_many_clients(self):
        """Always an HTTP reply: there is no slot to upgrade."""
        s = self.server("--max-clients", 1)
        connect(s)
        self.refused(s, "too_many_clients", "/", OFFER)

    def test_metrics(self):
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        self.assertEqual(s.ws("/", OFFER, token=mint(exp=1)).closed()[0], 4401)
        c = waiting(s)
        c.say(b"x")
        c.closed()
        keep = connect(s)
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertEqual((m["sluice_accepts_total"], m["sluice_clients"], m["sluice_used_tokens"]), (1, 1, 1))
        for reason in ("token_expired", "token_missing"):
            self.assertEqual(m['sluice_rejects_total{reason="%s"}' % reason], 1)
        self.assertEqual(keep.rest(), [])


class Operations(v1.Case):
    def setUp(self):
        super().setUp()
        self.s = self.server()

    def test_sub_pub_unsub(self):
        """Own messages come back where it is subscribed; others get them too, raw ones as they are."""
        a, b = connect(self.s), connect(self.s)
        raw = self.s.ws("/x", token=mint(permissions=ALL))
        a.sub("/x")
        b.sub("/x", "/y")
        a.pub("/x", "1").pub("/y", "2").pub("/x", "3")
        self.assertEqual([(m["subject"], m["data"], number(m)) for m in a.rest()], [("/x", "1", 1), ("/x", "3", 2)])
        got = [b.hear() for _ in range(3)]
        self.assertEqual(sorted((m["subject"], m["data"], number(m)) for m in got),
                         [("/x", "1", 1), ("/x", "3", 2), ("/y", "2", 1)])
        self.assertEqual(raw.messages(2), [b"1", b"3"])
        a.unsub("/x").pub("/x", "4")
        self.assertEqual(a.rest(), [])
        self.assertEqual(b.data(), ["4"])
        a.sub("/x").pub("/x", "5")           # and again: nothing of the time between
        self.assertEqual([(m["data"], number(m)) for m in a.rest()], [("5", 4)])
        self.assertEqual((b.data(), b.rest()), (["5"], []))

    def test_ids(self):
        """Echoed as they were: numbers and strings."""
        c = connect(self.s)
        for x in (0, 1, -7, 1.5, 9007199254740991, "", "a", "1", "\u00e9\u2028\U0001f600\"\\\n\0", "x" * 60):
            with self.subTest(x):
                for op, want in (({"op": "sub", "subject": "/i"}, "ok"),
                                 ({"op": "pub", "subject": "/i", "data": ""}, "ok"),
                                 ({"op": "unsub", "subject": "/i"}, "ok"),
                                 ({"op": "sub", "subject": "/"}, "ok"), ({"op": "unsub", "subject": "/"}, "ok"),
                                 ({"op": "sub", "subject": "//"}, "error")):
                    c.say({**op, "id": x})
                    while (m := c.wire())["op"] == "msg":
                        pass
                    self.assertEqual((m["op"], type(m["id"]), m["id"]), (want, type(x), x))
        c.say(b'{"op":"sub","subject":"/i","id":"\\u0061\\/\\ud83d\\ude00"}')
        self.assertEqual(c.wire(), {"op": "ok", "id": "a/\U0001f600"})

    def test_without_id(self):
        """It is done all the same."""
        c = connect(self.s)
        c.say({"op": "sub", "subject": "/a"}, {"op": "pub", "subject": "/a", "data": "x"})
        got = c.rest()
        self.assertEqual([m["data"] for m in got if m["op"] == "msg"], ["x"])
        self.assertLessEqual({m["op"] for m in got}, {"ok", "msg"})
        self.assertEqual({m.get("id") for m in got if m["op"] == "ok"} - {None}, set())

    def test_no_object(self):
        """An error each, and the connection goes on."""
        c = connect(self.s).sub("/a")
        bad = [b"", b" ", b"x", b"{", b"[]", b"[{}]", b"null", b"5", b'"sub"', b'{"op":"sub"', b"{}{}", b"{'op':1}",
               b'{"op":"pub","subject":"/a","data":"\n"}', b'{"op":"pub","subject":"/a","data":"x",}',
               b'{"op":"pub","subject":"/a","data":"\\x"}', b'{"op":"pub","subject":"/a","data":"x"} x', b"[" * 5000]
        for x in bad:
            with self.subTest(x[:60]):
                c.say(x)
                m = c.wire()
                self.assertEqual((m["op"], m["reason"], m.get("id")), ("error", "bad_request", None))
        c.pub("/a", "still here")
        self.assertEqual(c.data(), ["still here"])

    def test_no_operation(self):
        c = connect(self.s)
        for op in ({}, {"op": None}, {"op": 5}, {"op": ["sub"]}, {"op": ""}, {"op": "SUB"}, {"op": "sub "},
                   {"op": "msg"}, {"op": "ready"}, {"op": "ok"}, {"op": "subscribe"}, {"op": "su"},
                   {"op": "sub", "subject": None}, {"op": "sub", "subject": 5}, {"op": "sub", "subject": ["/a"]},
                   {"op": "sub", "subject": {}}, {"op": "unsub", "subject": 5},
                   {"op": "sub", "subject": "/a", "replay": "x"}, {"op": "sub", "subject": "/a", "replay": [1]},
                   {"op": "sub", "subject": "/a", "replay": True}, {"op": "sub", "subject": "/a", "replay": -1},
                   {"op": "sub", "subject": "/a", "since": 5}, {"op": "sub", "subject": "/a", "since": ["x-1"]},
                   {"op": "pub", "subject": "/a", "data": 5}, {"op": "pub", "subject": "/a", "data": None},
                   {"op": "pub", "subject": "/a", "data": {}}, {"op": "pub", "subject": 5, "data": "x"}):
            with self.subTest(op):
                op = {"subject": "/a", "data": "x", **op}
                self.assertEqual(c.calls(op), ["bad_request"])
        self.assertEqual(c.calls({"op": "sub"}, {"op": "unsub"}, {"op": "pub", "subject": "/a"},
                                 {"op": "pub", "data": "x"}, {"subject": "/a"}), ["bad_request"] * 5)
        c.pub("/a", "x")                     # none of them has subscribed it
        self.assertEqual(c.rest(), [])

    def test_replies_to_many(self):
        """One write of 2,000 operations, from one that reads slowly: each is answered, and done."""
        c = connect(self.s, rcvbuf=4096)
        ops = [{"op": "sub", "subject": f"/many/{i}/{'x' * (1 + i % 90)}", "id": i} for i in range(2000)]
        t = threading.Thread(target=c.say, args=ops, daemon=True)
        t.start()
        while len(c.raw.buf) < 20000:
            self.assertTrue(c.raw.fill(100))
        got = [c.wire() for _ in ops]
        t.join()
        self.assertEqual(sorted(m["id"] for m in got), list(range(2000)))
        self.assertEqual({m["op"] for m in got}, {"ok"})
        for i in (0, 1, 999, 1000, 1998, 1999):
            c.pub(ops[i]["subject"], str(i))
        self.assertEqual([m["data"] for m in c.rest()], ["0", "1", "999", "1000", "1998", "1999"])

    def test_never_reads(self):
        """Who asks and does not read is not asked on; it costs itself only, and loses nothing."""
        c, other = connect(self.s, rcvbuf=4096), connect(self.s).sub("/a")
        op = json.dumps({"op": "sub", "subject": "//", "id": "x" * 50}).encode()
        f, whole = frame(TEXT, op, mask=c.raw.mask), 0
        c.raw.sock.settimeout(0.3)
        data = memoryview(f * 100)
        at = 0
        try:
            while whole < 400000:
                at += c.raw.sock.send(data[at:])
                if at == len(data):
                    at, whole = 0, whole + 100
        except TimeoutError:
            pass
        self.assertLess(whole, 400000, "it takes all that comes")
        self.idle(self.s)
        other.pub("/a", "x")
        self.assertEqual(other.data(), ["x"])
        c.raw.sock.settimeout(black.WAIT)
        for _ in range(whole + at // len(f)):
            self.assertEqual(c.wire()["reason"], "bad_request")

    def test_publishes_to_itself(self):
        """2,000 in one write: each is taken, and comes back, in order."""
        s = self.server("--buffer", "1M")
        c = connect(s).sub("/me")
        got = c.calls(*({"op": "pub", "subject": "/me", "data": str(i)} for i in range(2000)))
        self.assertEqual(set(got), {"ok"})
        self.assertEqual([(m["data"], number(m)) for m in c.whole(2000)], [(str(i), i + 1) for i in range(2000)])

    def test_a_thousand_subscriptions(self):
        """On one connection; each is delivered, and what it lets go is let go."""
        s = self.server("--buffer", "1M")
        c, p = connect(s), connect(s)
        names = [f"/n/{i}" for i in range(1000)]
        self.assertEqual(set(c.calls(*({"op": "sub", "subject": x} for x in names))), {"ok"})
        for n in range(3):
            p.calls(*({"op": "pub", "subject": x, "data": x} for x in names))
            got = [c.hear() for _ in names]
            self.assertEqual(sorted(m["subject"] for m in got), sorted(names))
            self.assertTrue(all(m["data"] == m["subject"] and number(m) == n + 1 for m in got))
        self.assertEqual(set(c.calls(*({"op": "unsub", "subject": x} for x in names[::2]))), {"ok"})
        p.calls(*({"op": "pub", "subject": x, "data": "late"} for x in names))
        self.assertEqual(sorted(m["subject"] for m in c.whole(500)), sorted(names[1::2]))

    def test_they_leave_nothing(self):
        """Who comes, subscribes and goes, by whatever way, gives back all that was his."""
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        reader = connect(s).sub("/n/1/1", "/n/+/2")
        names = [f"/n/{i}/{j}" for i in range(20) for j in range(50)] + ["/n/+/1", "/n/1/+", "/n/*", "/+/*"]
        for i in range(40):
            c = connect(s)
            self.assertEqual(set(c.calls(*({"op": "sub", "subject": x} for x in names))), {"ok"})
            if i % 4 == 0:
                self.assertEqual(set(c.calls(*({"op": "unsub", "subject": x} for x in names))), {"ok"})
            elif i % 4 == 1:
                c.raw.send_frame(CLOSE, b"\x03\xe8")
                c.closed()
            elif i % 4 == 2:
                c.raw.reset()
            else:
                c.raw.send_frame(BINARY, b"")
                c.closed()
        reader.pub("/n/1/1", "a").pub("/n/5/2", "b").pub("/n/5/1", "c")
        self.assertEqual([m["data"] for m in reader.whole(2)], ["a", "b"])
        until(lambda: self.metrics(s, f"{self.tmp}/m")["sluice_clients"] == 11, "the end of those that are gone")

    def test_fan_out(self):
        """One message, 200 readers by all ways of subscribing: each gets each, the same bytes."""
        s = self.server("--buffer", "1M")
        raws = [connect(s).sub(*subs).raw for subs in (["/f/x"], ["/f/+"], ["/+/x"], ["/*"], ["/f/*", "/f/x"]) * 40]
        p = connect(s)
        for i in range(0, 200, 50):
            p.calls(*({"op": "pub", "subject": "/f/x", "data": f"\u00e9\"{j}"} for j in range(i, i + 50)))
        want = raws[0].messages(200)
        got = [(m["data"], number(m)) for m in map(parse, want)]
        self.assertEqual(got, [(f"\u00e9\"{j}", j + 1) for j in range(200)])
        for c in raws[1:]:
            self.assertEqual(c.messages(200), want)

    def test_order(self):
        """Of several publishers and a source: each one's in its order, numbered without a hole, alike for all."""
        s = self.server("--buffer", "4M", "--source", "/o=-")
        readers = [connect(s).sub("/o"), connect(s).sub("/+"), connect(s).sub("/*", "/o")]

        def write(name):
            p = connect(s)
            for i in range(0, 500, 50):
                p.calls(*({"op": "pub", "subject": "/o", "data": f"{name} {j}"} for j in range(i, i + 50)))
        ts = [threading.Thread(target=write, args=(n,)) for n in "ab"]
        for t in ts:
            t.start()
        for i in range(500):
            s.feed(b"c %d\n" % i)
        for t in ts:
            t.join()
        got = [[c.hear() for _ in range(1500)] for c in readers]
        self.assertEqual([number(m) for m in got[0]], list(range(1, 1501)))
        self.assertEqual(len({epoch(m) for m in got[0]}), 1)
        for name in "abc":
            self.assertEqual([m["data"] for m in got[0] if m["data"][0] == name], [f"{name} {i}" for i in range(500)])
        self.assertEqual(got[1], got[0])
        self.assertEqual(got[2], got[0])

    def test_shutdown(self):
        """Who answers is let go at once, and who does not cannot hold it up."""
        c = connect(self.s).sub("/a")
        self.s.kill(15)
        self.assertEqual(c.closed()[0], 1001)
        self.s.ended(0, 2)
        s = self.server()
        stay = [connect(s).sub("/a"), connect(s, rcvbuf=4096), waiting(s)]
        stay[1].raw.send(frame(TEXT, b"{", fin=False, mask=MASK))
        self.assertEqual(stay[0].rest(), [])
        s.kill(15)
        s.ended(0, 2.5)


class Subjects(v1.Case):
    def setUp(self):
        super().setUp()
        self.s = self.server()

    def test_matching(self):
        """Each pattern against each subject."""
        self.assertEqual(len(PATTERNS), 22)
        cs = {p: connect(self.s).sub(p, "/the/very/last/one/of/all") for p in PATTERNS}
        p = connect(self.s)
        self.assertEqual(set(p.calls(*({"op": "pub", "subject": x, "data": x} for x in SUBJECTS),
                                     {"op": "pub", "subject": "/the/very/last/one/of/all", "data": "end"})), {"ok"})
        for pattern, c in cs.items():
            got = []
            while (m := c.hear())["data"] != "end":
                self.assertEqual(m["subject"], m["data"])
                got.append(m["data"])
            with self.subTest(pattern):
                self.assertEqual(sorted(got), sorted(x for x in SUBJECTS if matches(pattern, x)))
                self.assertEqual(c.rest(), [])

    def test_overlapping(self):
        """Once, however many subscriptions match, until the last of them has gone."""
        c = connect(self.s)
        subs = ["/a/b", "/a/+", "/+/b", "/a/*", "/*", "/+/*", "/+/+"]
        c.sub(*subs, "/a/b").pub("/a/b", "all")
        self.assertEqual([m["data"] for m in c.rest()], ["all"])
        for i, x in enumerate(subs):
            c.unsub(x).pub("/a/b", str(i))
            self.assertEqual([m["data"] for m in c.rest()], [str(i)] if i + 1 < len(subs) else [], x)

    def test_overlapping_in_one_write(self):
        """Subscriptions come and go around one that stays: each message once, in order."""
        rng, c, ops, n = random.Random(2), connect(self.s).sub("/a/*"), [], 0
        for _ in range(3000):
            op = rng.choice(["sub", "unsub", "pub", "pub"])
            if op == "pub":
                n += 1
            ops.append({"op": op, "subject": "/a/b" if op == "pub" else rng.choice(["/a/b", "/a/+", "/+/b", "/+/*"]),
                        **({"data": str(n)} if op == "pub" else {})})
        for i in range(0, len(ops), 100):
            c.say(*ops[i:i + 100])
        got = []
        while len(got) < n:
            m = c.wire()
            self.assertIn(m["op"], ("ok", "msg"))
            if m["op"] == "msg":
                got.append(m["data"])
                self.assertEqual(got[-1], str(len(got)))
        self.assertEqual([m for m in c.rest() if m["op"] == "msg"], [])

    def test_good_names(self):
        c = connect(self.s)
        for x in GOOD:
            with self.subTest(x):
                c.sub(x).pub(x, "x")
                m, = c.rest()
                self.assertEqual((m["subject"], m["data"], number(m)), (x, "x", 1))
                c.unsub(x)

    def test_bad_names(self):
        c = connect(self.s)
        for x in BAD:
            with self.subTest(x[:40]):
                self.assertEqual(c.calls({"op": "sub", "subject": x}, {"op": "unsub", "subject": x},
                                         {"op": "pub", "subject": x, "data": "x"}), ["bad_request"] * 3)
        for x in BAD_PATTERNS:
            with self.subTest(x):
                self.assertEqual(c.calls({"op": "sub", "subject": x}, {"op": "pub", "subject": x, "data": "x"}),
                                 ["bad_request"] * 2)
        for x in ("/+", "/*", "/a/+", "/a/*", "/+/a"):   # no subjects
            with self.subTest(x):
                self.assertEqual(c.call("pub", subject=x, data="x"), "bad_request")
        self.assertEqual(c.rest(), [])

    def test_percent(self):
        """Escapes are for paths: here a % is a %."""
        p = connect(self.s)
        raw = {x: self.s.ws(x, token=mint(permissions=ALL)) for x in ("/a%20b", "/a%2520b", "/caf%C3%A9")}
        p.pub("/a%20b", "1").pub("/a b", "2").pub("/caf\u00e9", "3")
        self.assertEqual([raw[x].message() for x in ("/a%2520b", "/a%20b", "/caf%C3%A9")], [b"1", b"2", b"3"])
        p.sub("/a b", "/a%20b")
        for c in raw.values():
            c.send_frame(TEXT, b"x")         # its token may publish there too
        self.assertEqual(sorted(m["subject"] for m in (p.hear(), p.hear())), ["/a b", "/a%20b"])


class Grants(v1.Case):
    def test_kinds(self):
        """sub lets subscribe, pub publish, all both; and they add up."""
        s = self.server()
        c = connect(s, {"sub": ["/s", "/x/+"], "pub": ["/p", "/x/*"], "all": ["/a", "/y/*"]})
        want = {"/s": "s", "/p": "p", "/a": "sp", "/x/1": "sp", "/x/1/2": "p", "/x": "", "/y/1/2/3": "sp",
                "/y": "", "/": "", "/other": "", "/s/1": "", "/x/+": "s", "/y/+/+": "s", "/y/*": "s", "/*": "",
                "/+": ""}
        for x, kinds in want.items():
            with self.subTest(x):
                self.assertEqual(c.call("sub", subject=x), "ok" if "s" in kinds else "subject_denied")
                if "+" not in x and "*" not in x:
                    self.assertEqual(c.call("pub", subject=x, data=x), "ok" if "p" in kinds else "subject_denied")
        self.assertEqual(sorted(m["data"] for m in c.rest()), ["/a", "/x/1", "/y/1/2/3"])
        reader = connect(s).sub("/*", "/")
        for x in want:
            if "p" not in want[x] and not {"+", "*"} & set(x):
                c.call("pub", subject=x, data=x)
        c.pub("/p", "end")
        self.assertEqual(reader.data(), ["end"])     # what was denied went to nobody

    def test_without_permissions(self):
        """/ to read, and nothing else."""
        s = self.server()
        c = greet(s.ws("/", OFFER)).sub("/")
        for x in ("/a", "/*", "/+"):
            self.assertEqual(c.call("sub", subject=x), "subject_denied")
        for x in ("/", "/a"):
            self.assertEqual(c.call("pub", subject=x, data="x"), "subject_denied")
        s.feed(b"x\n")
        self.assertEqual(c.data(), ["x"])
        c = connect(s, {"sub": ["/a"]})      # where there are some, / is no exception
        self.assertEqual(c.call("sub", subject="/"), "subject_denied")

    def test_no_auth(self):
        s = self.server(auth=False)
        c = connect(s).sub("/", "/a/b", "/+", "/*")
        for x in ("/", "/a"):
            self.assertEqual(c.call("pub", subject=x, data="x"), "subject_denied")
        s.feed(b"x\n")
        self.assertEqual(c.data(), ["x"])
        for t in ("nonsense", mint(exp=1)):  # not looked at
            greet(s.ws("/", OFFER, token=t)).sub("/any")

    def test_each_grant(self):
        """Each pattern as a grant, against each subject and each pattern: what it covers wholly, it grants."""
        s = self.server("--max-clients", 100)
        more = SUBJECTS + ["/" + "/".join(x) for x in itertools.product("ab", repeat=5)]
        reach = {p: {x for x in more if matches(p, x)} for p in PATTERNS}
        for g in PATTERNS:
            c = connect(s, {"sub": [g]})
            asked = SUBJECTS + [p for p in PATTERNS if p not in SUBJECTS]
            got = c.calls(*({"op": "sub", "subject": x} for x in asked))
            for x, reply in zip(asked, got):
                with self.subTest(grant=g, asked=x):
                    good = reach[x] <= reach[g] if x in reach else matches(g, x)
                    self.assertEqual(reply, "ok" if good else "subject_denied")
            c = connect(s, {"pub": [g]})
            got = c.calls(*({"op": "pub", "subject": x, "data": ""} for x in SUBJECTS))
            self.assertEqual(got, ["ok" if matches(g, x) else "subject_denied" for x in SUBJECTS], g)
            self.assertEqual(c.call("sub", subject=g), "subject_denied")
            self.hang_up()


class Limits(v1.Case):
    def test_shapes(self):
        """Patterns of 64 shapes at a time; one more is refused, until one has gone."""
        s = self.server()
        c = greet(s.ws("/", OFFER, token=mint(permissions=ALL)))
        shapes = ["/" + "a/" * n + "+" for n in range(64)]
        c.sub(*shapes)
        self.assertEqual(c.call("sub", subject="/x/*"), "too_many_subscriptions")
        self.assertEqual(s.wait_log(event="reject")["reason"], "too_many_subscriptions")
        c.sub("/b/+").unsub("/a/a/+")            # a shape that is there, and a place that is free
        c.sub("/x/*").pub("/x/y", "z")
        self.assertEqual(c.data(), ["z"])


class Data(v1.Case):
    TEXTS = ["", " ", '"', "\\", '\\"', "\\u0041", "a\tb", "".join(map(chr, range(32))), "\x7f\x80\x9f\xa0",
             "\u2028\u2029", "\ufeff\ufffe\uffff\ufffd", "\U0001f600\U0010ffff", "caf\u00e9", "</script>", "{}",
             '{"op":"msg"}', "x" * 125, "x" * 126, "\\" * 63, '"' * 62, "\0" * 30, "x" * 5000, "\1" * 5000,
             '"\\' * 4000]

    def test_published(self):
        """What went in comes out: as sluice.v1, and raw."""
        s = self.server("--buffer", "1M")
        c = connect(s).sub("/d")
        raw = s.ws("/d", token=mint(permissions=ALL))
        for x in self.TEXTS:
            with self.subTest(x[:20]):
                c.pub("/d", x)
                self.assertEqual(c.data(), [x])
                self.assertEqual(raw.message(), x.encode())
        for esc, x in ((br"\u0000\u001f\b\f\n\r\t\/\"\\", "\0\x1f\b\f\n\r\t/\"\\"),
                       (br"\uD83D\uDE00\u00e9\u2028", "\U0001f600\u00e9\u2028")):
            c.say(b'{"data":"%s","subject":"\\/d","op":"pub","id":1}' % esc)
            got = sorted((m["op"], m.get("data")) for m in (c.wire(), c.wire()))
            self.assertEqual(got, [("msg", x), ("ok", None)])
            self.assertEqual(raw.message(), x.encode())

    def test_half_a_pair(self):
        """A lone surrogate cannot be sent on: refused or mended, but what goes out is UTF-8."""
        s = self.server()
        c = connect(s).sub("/d")
        for x in (br"\ud800", br"a\udc00b", br"\ud83d\ud83d\ude00"):
            c.say(b'{"op":"pub","subject":"/d","data":"%s","id":7}' % x)
            self.assertLessEqual({(m["op"], m.get("reason")) for m in c.rest()},
                                 {("error", "bad_request"), ("ok", None), ("msg", None)})

    def test_from_sources(self):
        """Bytes that are no UTF-8 become U+FFFD, for both kinds of clients alike."""
        s = self.server("--framing", "len32", "--source", "/d=-")
        c, raw = connect(s).sub("/d"), s.ws("/d", token=mint(permissions=ALL))
        for x in [*(t.encode() for t in self.TEXTS), b"\xff", b"a\xffb\xfe\n\"\\", b"ok\xc3", b"\x80\x80",
                  b"\xc3(\xe2", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"]:
            with self.subTest(x[:20]):
                s.feed(struct.pack(">I", len(x)) + x)
                got, m = raw.message().decode(), c.hear()
                self.assertEqual(m["data"], got)
                try:
                    self.assertEqual(got, x.decode())
                except UnicodeDecodeError:
                    self.assertEqual(got.replace("\ufffd", ""), x.decode(errors="ignore"))
                    self.assertIn("\ufffd", got)
        s.feed(b"\0\0\0\5a\xffb\xfec")
        self.assertEqual(c.data(), ["a\ufffdb\ufffdc"])

    def test_binary(self):
        """Raw clients get the bytes in binary frames; data is a string still."""
        s = self.server("--binary", "--framing", "len32", "--source", "/d=-")
        c, raw = connect(s).sub("/d"), s.ws("/d", token=mint(permissions=ALL))
        for x, want in ((b"caf\xc3\xa9\0\"", "caf\u00e9\0\""), (b"\xff\0\x01", "\ufffd\0\1"), (b"", "")):
            s.feed(struct.pack(">I", len(x)) + x)
            self.assertEqual(raw.message(BINARY), x)
            self.assertEqual(c.data(), [want])
        c.pub("/d", "\u00e9\U0001f600")
        self.assertEqual(raw.message(BINARY), "\u00e9\U0001f600".encode())
        raw.send_frame(BINARY, b"from \xff raw")
        self.assertEqual(c.data(2), ["\u00e9\U0001f600", "from \ufffd raw"])
        self.assertEqual(raw.message(BINARY), b"from \xff raw")

    def test_long(self):
        """The longest message, of what grows most: six bytes for one."""
        s = self.server("--buffer", "4M")
        c, raw = connect(s).sub("/"), s.ws(token=mint(permissions=ALL))
        for x in ("\1" * 65536, '"' * 65536, "\u2028" * 21845, "x" * 65536, "\U0001f600" * 16384):
            s.feed(x.encode() + b"\n")
            self.assertEqual(raw.message(), x.encode())
            self.assertEqual(c.data(), [x])

    def test_from_raw_clients(self):
        s = self.server()
        c, raw = connect(s).sub("/r"), s.ws("/r", token=mint(permissions={"all": ["/r"]}))
        for x in ("", "hello", '"\\\n\0', "\u2028\U0001f600"):
            raw.send_frame(TEXT, x.encode())
            self.assertEqual((c.data(), raw.message()), ([x], x.encode()))


class Resume(v1.Case):
    """IDs, replay, since, gap."""

    def published(self, s, n, subject="/a", start=1, fill=""):
        """Messages start..n, numbered like their IDs; what a subscriber got of them."""
        p = connect(s).sub(subject)
        for i in range(start, n + 1, 200):
            self.assertEqual(set(p.calls(*({"op": "pub", "subject": subject, "data": f"{j}{fill}"}
                                           for j in range(i, min(n + 1, i + 200))))), {"ok"})
        return p.whole(n + 1 - start)

    def test_ids(self):
        """EPOCH-N, from 1 for each subject, the same for all; another epoch at each start."""
        epochs = set()
        for _ in range(3):
            s = self.server()
            got = self.published(s, 3, "/a") + self.published(s, 2, "/b") + self.published(s, 5, "/a", start=4)
            self.assertEqual([(m["subject"], m["data"], number(m)) for m in got],
                             [("/a", "1", 1), ("/a", "2", 2), ("/a", "3", 3), ("/b", "1", 1), ("/b", "2", 2),
                              ("/a", "4", 4), ("/a", "5", 5)])
            epochs.add(epoch(got[0]))
            self.hang_up()
            s.stop()
        self.assertEqual(len(epochs), 3)

    def test_replay(self):
        s = self.server()
        sent = self.published(s, 10)
        self.published(s, 3, "/b")
        for n in (0, 1, 3, 10, 1000):
            c = connect(s).sub("/a", replay=n)
            with self.subTest(n):
                self.assertEqual(c.rest(), sent[len(sent) - min(n, 10):])
        c = connect(s).sub("/none", replay=5)
        self.assertEqual(c.rest(), [])
        c.sub("/b", replay=2).sub("/a", replay=1).pub("/a", "now")
        self.assertEqual([(m["subject"], m["data"], number(m)) for m in c.rest()],
                         [("/b", "2", 2), ("/b", "3", 3), ("/a", "10", 10), ("/a", "now", 11)])

    def test_since(self):
        """Exactly what came after it, wherever that was."""
        s = self.server()
        sent = self.published(s, 20)
        for i, m in enumerate(sent):
            c = connect(s).sub("/a", since=m["id"])
            self.assertEqual(c.rest(), sent[i + 1:])
            raw = s.ws(f"/a?since={m['id']}", token=mint(permissions=ALL))
            self.assertEqual(raw.messages(19 - i), [x["data"].encode() for x in sent[i + 1:]])
            raw.send_frame(PING, b"end")
            self.assertEqual(raw.frame(), (PONG, b"end"))
        c.pub("/a", "now")
        self.assertEqual((m := c.hear())["data"], "now")
        self.assertEqual(number(m), 21)

    def test_comes_and_goes(self):
        """Cut off anywhere in mid-stream, again and again: nothing is missed, nothing comes twice."""
        s = self.server("--buffer", "4M")
        stop, n = threading.Event(), [0]
        p = connect(s)

        def write():
            while not stop.is_set():
                p.calls(*({"op": "pub", "subject": "/a", "data": str(i)} for i in range(n[0] + 1, n[0] + 11)))
                n[0] += 10
        t = threading.Thread(target=write, daemon=True)
        t.start()
        rng, last, got = random.Random(5), None, []
        try:
            for i in range(60):
                c = connect(s)
                c.say({"op": "sub", "subject": "/a", "id": 1, **({"since": last["id"]} if last else {})})
                while (m := c.wire()) != {"op": "ok", "id": 1}:
                    c.aside.append(m)
                for _ in range(rng.randrange(1, 40)):
                    last = c.hear()
                    got.append(last)
                c.raw.reset()
                black.socks.remove(c.raw)
                if i % 5 == 0:               # a raw one carries on where it left
                    c = s.ws(f"/a?since={last['id']}", token=mint(permissions=ALL))
                    self.assertEqual(c.messages(5), [b"%d" % (number(last) + j) for j in range(1, 6)])
        finally:
            stop.set()
            t.join()
        self.assertEqual([number(m) for m in got], list(range(number(got[0]), number(got[0]) + len(got))))
        self.assertEqual([int(m["data"]) for m in got], [number(m) for m in got])

    def test_comes_and_goes_too_late(self):
        """In a small ring, with its writer far ahead: what was missed is said, to the last message."""
        s = self.server("--buffer", "16K", "--max-message", "1K", "--slow", "skip")
        stop, p, n = threading.Event(), connect(s), [0]

        def write():
            while not stop.is_set():
                n[0] += 100
                p.calls(*({"op": "pub", "subject": "/a", "data": str(i)} for i in range(n[0] - 99, n[0] + 1)))
        t = threading.Thread(target=write, daemon=True)
        t.start()
        rng, last, gaps = random.Random(6), None, 0
        try:
            for i in range(100):
                c = connect(s)
                c.say({"op": "sub", "subject": "/a", **({"since": last["id"]} if last else {})})
                for _ in range(rng.randrange(1, 60)):
                    missed = 0
                    while (m := c.wire())["op"] != "msg":
                        self.assertIn(m["op"], ("ok", "gap"))
                        missed += m.get("missed", 0)
                    if last:
                        self.assertEqual(number(m), number(last) + missed + 1)
                        gaps += missed > 0
                    self.assertEqual(m["data"], str(number(m)))
                    last = m
                c.raw.close()
                at = n[0]
                if i % 4 == 0:               # let it fall behind by more than the ring holds
                    until(lambda: n[0] > at + 1500, "the writer")
        finally:
            stop.set()
            t.join()
        self.assertGreater(gaps, 10)

    def test_too_old(self):
        """The ring has dropped some: a gap that says how many, then all that it holds."""
        s = self.server("--buffer", "8K", "--max-message", "1K")
        early = self.published(s, 5)
        sent = early + self.published(s, 600, start=6, fill="." * 60)
        held = connect(s).sub("/a", replay=1000).rest()
        self.assertGreater(len(held), 20)
        self.assertEqual(held, sent[-len(held):])
        for m in early:
            c = connect(s).sub("/a", since=m["id"])
            gap, *got = c.rest()
            self.assertEqual(gap, {"op": "gap", "subject": "/a", "missed": number(held[0]) - number(m) - 1})
            self.assertEqual(got, held)
            raw = s.ws(f"/a?since={m['id']}", token=mint(permissions=ALL))       # it is not told
            self.assertEqual(raw.messages(len(held)), [x["data"].encode() for x in held])
        # from the very edge on there is none
        c = connect(s).sub("/a", since=sent[-len(held) - 1]["id"])
        self.assertEqual(c.rest(), held)
        c = connect(s).sub("/a", since=sent[-len(held) - 2]["id"])
        self.assertEqual(c.rest(), [{"op": "gap", "subject": "/a", "missed": 1}, *held])

    def test_all_of_it_is_gone(self):
        """Driven out by another subject: a gap all the same, and then what is new."""
        s = self.server("--buffer", "8K", "--max-message", "1K")
        sent = self.published(s, 10)
        self.published(s, 600, "/b", fill="." * 60)
        c = connect(s).sub("/a", since=sent[2]["id"]).pub("/a", "new")
        gap, m = c.rest()
        self.assertEqual((gap["op"], gap["subject"]), ("gap", "/a"))
        self.assertIn(gap["missed"], (7, None))
        self.assertEqual(m["data"], "new")
        self.assertNotIn(m["id"], [x["id"] for x in sent])
        c = connect(s).sub("/a", since=sent[-1]["id"])   # it had them all
        self.assertEqual([m["data"] for m in c.rest() if m["op"] == "msg"], ["new"])

    def test_forgotten_subject(self):
        """The table of subjects has let it go: an ID is not given twice, and no loss is passed over."""
        s = self.server("--buffer", "64K", "--max-message", "1K")
        sent = self.published(s, 5)
        p = connect(s)
        for i in range(0, 20000, 500):
            self.assertEqual(set(p.calls(*({"op": "pub", "subject": f"/other/{j}", "data": ""}
                                           for j in range(i, i + 500)))), {"ok"})
        p.pub("/a", "6").pub("/a", "7").pub("/a", "8")
        got = connect(s).sub("/a", replay=10).rest()
        self.assertEqual([m["data"] for m in got], ["6", "7", "8"])
        self.assertFalse({m["id"] for m in got} & {m["id"] for m in sent})
        gap, *again = connect(s).sub("/a", since=sent[1]["id"]).rest()
        self.assertEqual((gap["op"], gap["subject"]), ("gap", "/a"))
        self.assertIn(gap["missed"], (3, None))
        self.assertEqual(again, got)

    def test_another_epoch(self):
        s = self.server()
        old = self.published(s, 5)
        self.hang_up()
        s.stop()
        s = self.server()
        sent = self.published(s, 10)
        for m in old[0], old[-1]:
            c = connect(s).sub("/a", since=m["id"])
            self.assertEqual(c.rest(), [{"op": "gap", "subject": "/a", "missed": None}, *sent])

    def test_bad_since(self):
        s = self.server()
        m = self.published(s, 3)[0]
        e, good = epoch(m), m["id"]
        c = connect(s)
        for x in ("", "x", "5", "-", "-5", e, e + "-", e + "-x", e + "--1", e + "-1x", e + "- 1", e + "-1 ", " " + good,
                  e + "-+1", e + "-1.0", e + "-0x1", good + "\n", good + "\0"):
            with self.subTest(x):
                self.assertEqual(c.call("sub", subject="/a", since=x), "bad_request")
        for x in ("", "x", e + "-", e + "--1", e + "-1x"):
            self.refused(s, "bad_request", f"/a?since={x}", token=mint(permissions=ALL))
        for x in ("/+", "/*"):
            self.assertEqual(c.call("sub", subject=x, since=good), "bad_request")
        c.pub("/a", "new")
        self.assertEqual(c.rest(), [])       # none of them has subscribed it


class Slow(v1.Case):
    def flood(self, s, good, per=20, size=1000, start=0, total=500):
        for i in range(start, start + total, per):
            ms = [b"%08d" % j + b"." * (size - 8) for j in range(i, i + per)]
            s.feed(b"\n".join(ms) + b"\n")
            for m in ms:
                if good.message() != m:
                    raise AssertionError(m)
        return start + total

    def until_slow(self, s, good):
        n = 0
        while not s.log(event="slow"):
            n = self.flood(s, good, start=n)
            self.assertLess(n, 100000, "it never falls behind")
        return n

    def test_skip(self):
        """The gaps say just how many it has not got."""
        s = self.server("--slow", "skip", "--buffer", "256K")
        slow, good = connect(s, rcvbuf=4096).sub("/"), s.ws()
        n = self.flood(s, good, start=self.until_slow(s, good), total=1000)
        s.feed(b"the end\n")
        self.assertEqual(good.message(), b"the end")
        last, gaps = 0, 0
        while True:
            m = slow.wire()
            if m["op"] == "gap":
                self.assertEqual(m["subject"], "/")
                last, gaps = last + m["missed"], gaps + 1
                continue
            self.assertEqual((m["op"], number(m)), ("msg", last + 1))
            last += 1
            if m["data"] == "the end":
                break
            self.assertEqual(int(m["data"][:8]) + 1, last)
        self.assertGreater(gaps, 0)
        self.assertEqual(last, n + 1)
        s.feed(b"and on\n")
        self.assertEqual(slow.data(), ["and on"])

    def test_skip_of_several(self):
        """A gap for each subject, with its own number."""
        s = self.server("--slow", "skip", "--buffer", "256K")
        slow, p = connect(s, rcvbuf=4096).sub("/a", "/b", "/c"), connect(s)
        sent = {"/a": 0, "/b": 0, "/c": 0}

        def round(rng, n=100):
            ops = []
            for _ in range(n):
                x = rng.choice(["/a", "/a", "/a", "/b", "/c"])
                sent[x] += 1
                ops.append({"op": "pub", "subject": x, "data": f"{sent[x]}" + "." * 900})
            self.assertEqual(set(p.calls(*ops)), {"ok"})
        rng = random.Random(11)
        while not s.log(event="slow"):
            round(rng)
            self.assertLess(sent["/a"], 60000, "it never falls behind")
        for _ in range(5):
            round(rng)
        for x in sent:
            p.pub(x, "end")
            sent[x] += 1
        last, gaps = dict.fromkeys(sent, 0), 0
        while last != sent:
            m = slow.wire()
            if m["op"] == "gap":
                gaps += 1
                last[m["subject"]] += m["missed"]
                continue
            last[m["subject"]] += 1
            self.assertEqual((m["op"], number(m)), ("msg", last[m["subject"]]))
            self.assertIn(m["data"].strip("."), (str(number(m)), "end"))
        self.assertGreater(gaps, 0)
        self.assertEqual(slow.rest(), [])

    def behind(self, **claims):
        """One that lacks half of what was sent to it: a unix socket holds some 200 KB."""
        s = self.server("--buffer", "1M", listen=(f"unix:{self.tmp}/s",))
        c, good = connect(s, **claims).sub("/"), s.ws()
        for i in range(120):
            s.feed(b"%08d" % i + b"." * 5001 + b"\n")
            good.message()
        return s, c

    def test_replies_while_behind(self):
        """They wait for the end of a frame that was begun; each comes, and so does each message."""
        _, c = self.behind()
        ops = [{"op": "sub", "subject": f"/{'x' * 200}/{i}", "id": i} for i in range(1000)]
        t = threading.Thread(target=c.say, args=ops, daemon=True)
        t.start()
        got, ids = [], []
        while len(got) < 120 or len(ids) < 1000:
            m = c.wire()
            (ids if m["op"] == "ok" else got).append(m["id"])
        t.join()
        self.assertEqual([int(x.rpartition("-")[2]) for x in got], list(range(1, 121)))
        self.assertEqual(sorted(ids), list(range(1000)))

    def test_end_while_behind(self):
        s, c = self.behind(session=1)
        s.wait_log(event="accept")
        time.sleep(1.2)                      # the session, not a synchronisation
        n = 0
        while (f := c.raw.frame())[0] != CLOSE:
            m = parse(f[1])
            if m["op"] == "msg":
                self.assertEqual(m["data"], "%08d" % n + "." * 5001)
                n += 1
        self.assertEqual(f[1], struct.pack(">H", 4401) + b"session_ended")
        self.assertLess(n, 120)

    def test_skip_of_a_pattern(self):
        s = self.server("--slow", "skip", "--buffer", "256K")
        slow, p, sent = connect(s, rcvbuf=4096).sub("/s/+"), connect(s), 0
        while not s.log(event="slow"):
            self.assertLess(sent, 100000, "it never falls behind")
            p.calls(*({"op": "pub", "subject": f"/s/{i % 7}", "data": "." * 900} for i in range(100)))
            sent += 100
        p.pub("/s/end", "end")
        got, missed, last = 0, 0, {}
        while "/s/end" not in last:
            m = slow.wire()
            if m["op"] == "gap":
                missed += m["missed"]
                continue
            self.assertGreater(number(m), last.get(m["subject"], 0))
            last[m["subject"]] = number(m)
            got += 1
        self.assertGreater(missed, 0)
        self.assertEqual(got + missed, sent + 1)

    def test_close(self):
        s = self.server("--slow", "close", "--buffer", "256K")
        slow, good = connect(s, rcvbuf=4096).sub("/"), s.ws()
        self.until_slow(s, good)
        n = 0
        while (f := slow.raw.frame())[0] != CLOSE:
            if f[0] == TEXT:
                n += 1
                self.assertEqual(number(parse(f[1])), n)
        self.assertEqual(f[1], struct.pack(">H", 1013) + b"too_slow")
        got = s.wait_log(event="close")
        self.assertEqual((got["code"], got["reason"]), ("1013", "too_slow"))
        self.flood(s, good, start=200000)

    def test_wait(self):
        """Nothing is lost, however slowly it reads."""
        s = self.server("--slow", "wait", "--buffer", "64K", "--max-message", "1K")
        c = connect(s, rcvbuf=4096).sub("/")
        lines = [b"%d" % i + b"\"" * (i % 900) for i in range(3000)]
        t = threading.Thread(target=s.feed, args=(b"\n".join(lines) + b"\n",), daemon=True)
        t.start()
        for i, line in enumerate(lines):
            m = c.hear()
            self.assertEqual((number(m), m["data"]), (i + 1, line.decode()))
        t.join()
        self.assertEqual(s.log(event="slow"), [])


class Frames(v1.Case):
    def setUp(self):
        super().setUp()
        self.s = self.server("--max-message", "2K", "--buffer", "64K")
        self.c = connect(self.s).sub("/f")

    def op(self, data="x", i=1):
        return json.dumps({"op": "pub", "subject": "/f", "data": data, "id": i}, ensure_ascii=False).encode()

    def came(self, data="x"):
        got = [self.c.wire(), self.c.wire()]
        self.assertEqual(sorted((m["op"], m.get("data")) for m in got), [("msg", data), ("ok", None)])

    def test_fragments(self):
        """Cut in two anywhere, in single bytes, and with empty parts; pings between are answered at once."""
        text = "\u00e9\u2028\U0001f600"
        data = self.op(text)
        for i in range(len(data) + 1):
            self.c.raw.send(frame(TEXT, data[:i], fin=False, mask=MASK) + frame(0, data[i:], mask=MASK))
            self.came(text)
        self.c.raw.send(frame(TEXT, b"", fin=False, mask=MASK))
        for i, b in enumerate(data):
            self.c.raw.send(frame(0, bytes([b]), fin=False, mask=MASK))
            if i % 7 == 0:
                self.c.raw.send(frame(PONG, b"", mask=MASK) + frame(PING, b"%d" % i, mask=MASK))
                self.assertEqual(self.c.raw.frame(), (PONG, b"%d" % i))
        self.c.raw.send(frame(0, b"", mask=MASK))
        self.came(text)

    def test_split_writes(self):
        """Frames in every two pieces; between the pieces another client has its answer."""
        other, f = connect(self.s), frame(TEXT, self.op("y" * 100), mask=MASK)
        self.assertGreater(len(f), 134)
        for i in range(1, len(f)):
            self.c.raw.send(f[:i])
            if i % 4 == 0:
                self.assertEqual(other.rest(), [])
            self.c.raw.send(f[i:])
            self.came("y" * 100)

    def test_many_in_one_write(self):
        data = [self.op(str(i), i) for i in range(200)]
        self.c.raw.send(b"".join(frame(TEXT, d[:5], fin=False, mask=MASK) + frame(PING, b"p", mask=MASK) +
                                 frame(0, d[5:], mask=MASK) for d in data))
        pongs, got = 0, []
        while len(got) < 400:
            op, d = self.c.raw.frame()
            pongs += op == PONG
            if op == TEXT:
                got.append(parse(d))
        self.assertGreater(pongs, 0)
        self.assertEqual([m["data"] for m in got if m["op"] == "msg"], [str(i) for i in range(200)])
        self.assertEqual(sorted(m["id"] for m in got if m["op"] == "ok"), list(range(200)))

    def test_close_between_fragments(self):
        self.c.raw.send(frame(TEXT, self.op(), fin=False, mask=MASK) + frame(CLOSE, b"\x03\xe8bye", mask=MASK))
        self.assertEqual(self.c.raw.frame()[0], CLOSE)
        self.assertTrue(self.c.raw.eof())
        self.s.wait_log(event="close", reason="peer_closed", code=1000)
        c = connect(self.s).sub("/f", replay=1)
        self.assertEqual(c.rest(), [])       # half a message is none

    def test_gone_between_fragments(self):
        self.c.raw.send(frame(TEXT, self.op(), fin=False, mask=MASK))
        self.c.raw.close()
        self.s.wait_log(event="close", reason="peer_gone")
        c = connect(self.s).sub("/f", replay=1)
        self.assertEqual(c.rest(), [])

    def ends(self, code, *frames):
        c = connect(self.s)
        name = "%s:%d" % c.raw.sock.getsockname()
        c.raw.send(b"".join(frames))
        op, data = c.raw.frame()
        self.assertEqual((op, struct.unpack(">H", data[:2])[0]), (CLOSE, code))
        c.raw.close()                        # it does not have to wait for the rest of a bad frame
        self.s.wait_log(event="close", client=name, code=code)

    def test_too_big(self):
        """1009: at once where the header says so, and where the parts add up."""
        big = self.op("x" * 30000)
        self.ends(1009, frame(TEXT, big, mask=MASK))
        self.ends(1009, b"\x81\xff" + struct.pack(">Q", 1 << 40) + MASK)
        self.ends(1009, b"\x81\xff" + struct.pack(">Q", (1 << 63) - 1) + MASK)
        self.ends(1009, frame(TEXT, big[:1000], fin=False, mask=MASK),
                  *(frame(0, big[i:i + 1000], fin=False, mask=MASK) for i in range(1000, 30000, 1000)))
        self.ends(1009, frame(TEXT, b"{", fin=False, mask=MASK),
                  b"\x80\xff" + struct.pack(">Q", (1 << 63) - 1) + MASK)
        self.c.pub("/f", "x" * 1900)         # and what may be long is
        self.assertEqual(self.c.data(), ["x" * 1900])

    def test_not_utf8(self):
        for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82\"", b"\x80"):
            with self.subTest(bad):
                data = b'{"op":"pub","subject":"/f","data":"' + bad
                self.ends(1007, frame(TEXT, data + b'"}', mask=MASK))
                self.ends(1007, frame(TEXT, data[:-1], fin=False, mask=MASK), frame(0, data[-1:] + b'"}', mask=MASK))
        self.ends(1007, frame(TEXT, b"\xe2\x82", mask=MASK))     # the end comes too early
        self.assertEqual(self.c.rest(), [])

    def test_binary(self):
        self.ends(1003, frame(BINARY, self.op(), mask=MASK))
        self.assertEqual(self.c.rest(), [])

    def test_protocol_errors(self):
        self.ends(1002, frame(0, self.op(), mask=MASK))
        self.ends(1002, frame(TEXT, self.op(), fin=False, mask=MASK), frame(TEXT, self.op(), mask=MASK))
        self.ends(1002, frame(TEXT, self.op()))
        self.ends(1002, frame(TEXT, self.op(), rsv=4, mask=MASK))
        self.assertEqual(self.c.rest(), [])

    def test_nothing_after_close(self):
        c = connect(self.s)
        c.raw.send(frame(CLOSE, b"\x03\xe8", mask=MASK) + frame(TEXT, self.op("late"), mask=MASK))
        self.assertEqual(c.raw.frame()[0], CLOSE)
        self.assertTrue(c.raw.eof())
        self.assertEqual(self.c.rest(), [])

    def test_garbage(self):
        """Anything at all: it ends properly or goes on, and the others do not notice."""
        rng = random.Random(1)
        pieces = [b'{"op":', b'"sub"', b'"pub"', b'"auth"', b',"subject":', b'"/f"', b',"data":', b'"x"', b"}", b"[",
                  b"]", b',"id":', b"1", b"\\u0000", b'"', b"\\", b",", b"null", b"1e999", b'"\\ud800"',
                  b',"since":', b',"token":']
        c = connect(self.s)
        for i in range(1500):
            c.say(b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 12))))
        self.assertLessEqual({m["op"] for m in c.rest()}, {"ok", "error", "msg"})
        for _ in range(30):
            c = connect(self.s)
            c.raw.send(os.urandom(400))
            c.raw.close()
        self.c.pub("/f", "end")
        until(lambda: self.c.hear()["data"] == "end", "what was published last")
