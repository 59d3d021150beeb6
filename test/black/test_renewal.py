"""A connection's rights end, or are renewed while it lasts (contract 4): auth, expiring, 4401."""
import asyncio, json, os, random, select, struct, threading, time
import websockets
import black, v1
from black import b64, claims, jws, mint, node, until
from test_v1 import PATTERNS, SUBJECTS, matches
from v1 import ALL, OFFER, connect, greet, waiting


def renew(c, token=None, permissions=ALL, **claims):
    """auth on a running connection: all that was said to it, up to and with its answer."""
    c.say({"op": "auth", "token": token or mint(permissions=permissions, **claims)})
    while (m := c.wire())["op"] not in ("ready", "error") or m.get("reason") == "subject_denied":
        c.aside.append(m)
    return m


def errors(got):
    return [m["reason"] for m in got if m["op"] == "error"]


class Renewal(v1.Case):
    def test_permissions_are_replaced(self):
        """Not added to: what the old token granted is gone, what the new one grants is there."""
        s = self.server()
        c = connect(s, {"sub": ["/a"], "pub": ["/a", "/b"]})
        self.assertEqual(c.calls({"op": "sub", "subject": "/b"}, {"op": "pub", "subject": "/c", "data": "x"}),
                         ["subject_denied"] * 2)
        self.assertEqual(renew(c, permissions={"sub": ["/b"], "pub": ["/c"]}), {"op": "ready", "expires": None})
        self.assertEqual(c.calls({"op": "sub", "subject": "/b"}, {"op": "pub", "subject": "/c", "data": "x"}),
                         ["ok"] * 2)
        self.assertEqual(c.calls({"op": "sub", "subject": "/a"}, {"op": "pub", "subject": "/a", "data": "x"},
                                 {"op": "pub", "subject": "/b", "data": "x"}), ["subject_denied"] * 3)
        self.assertEqual(renew(c, permissions=None)["op"], "ready")      # none: / and nothing else
        self.assertEqual(c.calls({"op": "sub", "subject": "/"}, {"op": "sub", "subject": "/b"},
                                 {"op": "pub", "subject": "/c", "data": "x"}),
                         ["ok", "subject_denied", "subject_denied"])

    def test_subscriptions_end(self):
        """Those no longer granted, each with an error, and nothing of theirs comes after it."""
        s = self.server()
        p = connect(s)
        c = connect(s).sub("/a", "/b/c", "/b/+", "/x/*", "/y/1")
        p.pub("/a", "1").pub("/b/c", "2").pub("/x/1", "3").pub("/y/1", "4")
        self.assertEqual([m["data"] for m in c.whole(4)], ["1", "2", "3", "4"])
        # /b/+ and /x/* are no longer covered wholly, though parts of them are
        self.assertEqual(renew(c, permissions={"sub": ["/a", "/b/c", "/x/+"]})["op"], "ready")
        self.assertEqual(errors(c.rest()), ["subject_denied"] * 3)
        for x in ("/y/1", "/x/1", "/b/d", "/b/c", "/a"):
            p.pub(x, x)
        self.assertEqual([m["data"] for m in c.whole(2)], ["/b/c", "/a"])
        self.assertEqual(renew(c)["op"], "ready")        # they do not come back by themselves
        self.assertEqual(c.rest(), [])
        p.pub("/y/1", "5").pub("/x/1", "6").pub("/a", "7")
        self.assertEqual([m["data"] for m in c.whole(1)], ["7"])
        c.sub("/y/1")
        p.pub("/y/1", "8")
        self.assertEqual([m["data"] for m in c.whole(1)], ["8"])

    def test_at_once(self):
        """What stands behind it in the same write is judged by the new token."""
        s = self.server()
        reader, c = connect(s).sub("/a", "/b"), connect(s, {"all": ["/a"]}).sub("/a")
        c.say({"op": "pub", "subject": "/b", "data": "early"},
              {"op": "auth", "token": mint(permissions={"all": ["/b"]})},
              {"op": "pub", "subject": "/a", "data": "late"}, {"op": "sub", "subject": "/a"},
              {"op": "pub", "subject": "/b", "data": "yes"}, {"op": "sub", "subject": "/b"})
        got = c.rest()
        self.assertEqual(errors(got), ["subject_denied"] * 4)    # of which one is the end of /a
        self.assertEqual([m["op"] for m in got].count("ok"), 2)
        self.assertEqual([m["data"] for m in reader.whole(1)], ["yes"])

    def test_all_end(self):
        s = self.server()
        p, c = connect(s), connect(s)
        names = [f"/n/{i}" for i in range(500)]
        c.calls(*({"op": "sub", "subject": x} for x in names))
        self.assertEqual(renew(c, permissions={"pub": ["/n/*"]})["op"], "ready")
        got = c.rest()
        self.assertEqual(errors(got), ["subject_denied"] * 500)
        p.calls(*({"op": "pub", "subject": x, "data": "x"} for x in names))
        self.assertEqual(c.rest(), [])
        c.pub("/n/1", "x")

    def test_ends_in_mid_stream(self):
        """While both are written to: one goes on without loss, of the other nothing follows its error."""
        s = self.server("--buffer", "4M")
        c, stop, n = connect(s).sub("/keep", "/lose"), threading.Event(), [0]
        p = connect(s)

        def write():
            while not stop.is_set():
                n[0] += 1
                p.calls(*({"op": "pub", "subject": x, "data": str(n[0])} for x in ("/keep", "/lose")))
        t = threading.Thread(target=write, daemon=True)
        t.start()
        kept, lost = 0, []
        try:
            for i in range(20):
                for grants, wanted in ((["/keep"], ["ready", "error"]), (["/keep", "/lose"], ["ready"])):
                    c.say({"op": "auth", "token": mint(permissions={"sub": grants})})
                    ended = grants == ["/keep"]
                    seen, more = [], 3
                    while len(seen) < len(wanted) or more:
                        m = c.wire()
                        if m["op"] != "msg":
                            seen.append(m["op"])
                        elif m["subject"] == "/keep":
                            kept += 1
                            self.assertEqual(m["data"], str(kept))
                            more = max(0, more - (len(seen) == len(wanted)))
                        else:
                            self.assertFalse(ended and "error" in seen, "a message after the end")
                            lost.append(int(m["data"]))
                    self.assertEqual(sorted(seen), sorted(wanted))
                c.sub("/lose")
                while True:                  # some of it comes again
                    m = c.hear()
                    if m["subject"] == "/lose":
                        lost.append(int(m["data"]))
                        break
                    kept += 1
                    self.assertEqual(m["data"], str(kept))
        finally:
            stop.set()
            t.join()
        self.assertEqual(lost, sorted(set(lost)))
        self.assertLess(len(lost), n[0])

    def test_no_gap_for_one_who_renews(self):
        """A reader of a source, renewed a hundred times: every message, once."""
        s = self.server("--enforce-expiry", "--slow", "wait")
        c = connect(s, {"sub": ["/"]}, exp=int(time.time()) + 1000).sub("/")   # not about to expire
        t = threading.Thread(target=s.feed, args=(b"".join(b"%d\n" % i for i in range(20000)),), daemon=True)
        t.start()
        got, ready = 0, 0
        while got < 20000:
            if got // 200 >= ready:
                c.say({"op": "auth", "token": mint(permissions={"sub": ["/"]}, exp=int(time.time()) + 1000)})
                ready += 1
            m = c.wire()
            if m["op"] == "msg":
                self.assertEqual(m["data"], str(got))
                got += 1
        t.join()
        self.assertGreaterEqual(ready, 100)
        self.assertEqual({m["op"] for m in c.rest()} - {"ready"}, set())

    def test_model(self):
        """Who subscribes, publishes, renews at random gets what a few lines of Python say that he should."""
        s, rng = self.server("--buffer", "4M"), random.Random(8)
        deep = [*SUBJECTS, "/a/b/c/d/e", "/c"]
        reach = {p: {x for x in deep if matches(p, x)} for p in [*PATTERNS, *SUBJECTS]}

        def grants():
            return {k: rng.sample(PATTERNS, rng.randrange(2, 7)) for k in ("sub", "pub")}

        def may(g, kind, x):
            return any(reach[x] <= reach[p] for p in g[kind])
        cs = []
        for _ in range(5):
            g = grants()
            cs.append({"c": connect(s, g), "g": g, "subs": set(), "due": [], "ended": 0})
        for n in range(2500):
            me = rng.choice(cs)
            what = rng.choice(["sub", "sub", "unsub", "pub", "pub", "pub", "pub", "renew"])
            if what == "renew":
                me["g"] = g = grants()
                self.assertEqual(renew(me["c"], permissions=g)["op"], "ready")
                lost = {x for x in me["subs"] if not may(g, "sub", x)}
                me["subs"] -= lost
                me["ended"] += len(lost)
            elif what == "pub":
                x = rng.choice(SUBJECTS)
                good = may(me["g"], "pub", x)
                self.assertEqual(me["c"].call("pub", subject=x, data=str(n)), "ok" if good else "subject_denied")
                for c in cs if good else ():
                    if any(x in reach[p] for p in c["subs"]):
                        c["due"].append((x, str(n)))
            elif what == "sub":
                x = rng.choice(PATTERNS + SUBJECTS)
                good = may(me["g"], "sub", x)
                self.assertEqual(me["c"].call("sub", subject=x), "ok" if good else "subject_denied")
                if good:
                    me["subs"].add(x)
            elif me["subs"]:
                x = rng.choice(sorted(me["subs"]))
                self.assertEqual(me["c"].call("unsub", subject=x), "ok")
                me["subs"].remove(x)
        self.assertGreater(sum(c["ended"] for c in cs), 50)
        self.assertGreater(sum(len(c["due"]) for c in cs), 300)
        for c in cs:
            got = c["c"].rest()
            self.assertEqual([(m["subject"], m["data"]) for m in got if m["op"] == "msg"], c["due"])
            self.assertEqual(errors(got), ["subject_denied"] * c["ended"])

    def mismatch(self, first, *others):
        """The old token stays, the new one is not used up; and who it was may renew."""
        s = self.server()
        for other in others:
            with self.subTest(first=first, other=other):
                c = connect(s, {"all": ["/a"]}, **first).sub("/a")
                token = mint(permissions={"all": ["/b"]}, **other)
                m = renew(c, token)
                self.assertEqual((m["op"], m.get("reason")), ("error", "renewal_mismatch"))
                s.wait_log(event="reject", reason="renewal_mismatch", client="%s:%d" % c.raw.sock.getsockname())
                self.assertEqual(c.call("sub", subject="/b"), "subject_denied")
                c.pub("/a", "x")
                self.assertEqual([m["data"] for m in c.whole(1)], ["x"])
                greet(s.ws("/", OFFER, token=token))
                self.assertEqual(renew(c, permissions={"all": ["/b"]}, **first)["op"], "ready")
                self.assertEqual(c.call("sub", subject="/b"), "ok")
                self.assertEqual(renew(c, token).get("reason"), "token_used")

    def test_another_sub(self):
        self.mismatch({"sub": "a", "iss": "i"}, {"sub": "b", "iss": "i"}, {"iss": "i"}, {"sub": "A", "iss": "i"},
                      {"sub": "ab", "iss": "i"}, {"sub": "", "iss": "i"})
        self.mismatch({"sub": "x" * 400 + "1"}, {"sub": "x" * 400 + "2"}, {"sub": "x" * 400})
        self.mismatch({}, {"sub": "a"})

    def test_another_sub_after_nul(self):
        self.mismatch({"sub": "a"}, {"sub": "a\0"}, {"sub": "a\0b"})
        self.mismatch({"sub": "a\0b"}, {"sub": "a"}, {"sub": "a\0c"})

    def test_another_iss(self):
        self.mismatch({"sub": "a", "iss": "i"}, {"sub": "a", "iss": "j"}, {"sub": "a"}, {"sub": "i", "iss": "a"},
                      {"sub": "a", "iss": "i\0"})
        self.mismatch({"iss": "y" * 400 + "1"}, {"iss": "y" * 400 + "2"})
        self.mismatch({}, {"iss": "i"})

    def test_identity_by_auth(self):
        """It counts who the first auth was, and a renewal does not change that."""
        s = self.server()
        c = waiting(s)
        c.say({"op": "auth", "token": mint(sub="a")})
        c.hear("ready")
        for sub, want in (("b", "error"), ("a", "ready"), ("b", "error"), ("a", "ready")):
            self.assertEqual(renew(c, sub=sub)["op"], want)

    def test_another_key(self):
        """The same claims from another service are another's."""
        keys = {k: os.urandom(32) for k in "ab"}
        jwks = {"keys": [{"kty": "oct", "kid": k, "k": b64(v)} for k, v in keys.items()]}
        s = self.server("--keys", self.path("keys", json.dumps(jwks).encode()), secret=None)

        def token(kid):
            return mint(keys[kid], header={"kid": kid}, permissions=ALL, sub="x", iss="y")
        c = greet(s.ws("/", OFFER, token=token("a")))
        m = renew(c, token("b"))
        self.assertEqual((m["op"], m.get("reason")), ("error", "renewal_mismatch"))
        self.assertEqual(renew(c, token("a"))["op"], "ready")

    def test_a_token_that_fails(self):
        """It leaves the old one in force, with its end and its subscriptions."""
        now = int(time.time())
        s = self.server("--enforce-expiry", "--issuer", "me")
        c = connect(s, {"all": ["/a"]}, iss="me", exp=now + 1000).sub("/a")
        used = mint(iss="me", permissions={"all": ["/b"]})
        s.ws("/b", token=used)
        for reason, token in (
                ("token_malformed", "nonsense"), ("signature_invalid", mint(b"y" * 40, iss="me")),
                ("alg_not_allowed", jws({"alg": "none"}, claims())), ("exp_missing", mint(iss="me", exp=None)),
                ("claim_invalid", mint(iss="me", sub=5)), ("token_expired", mint(iss="me", exp=now - 1)),
                ("token_not_yet_valid", mint(iss="me", nbf=now + 1000)),
                ("ttl_too_long", mint(iss="me", exp=now + 7200)),
                ("issuer_mismatch", mint(iss="you")), ("issued_before_start", mint(iss="me", iat=now - 100)),
                ("token_used", used)):
            with self.subTest(reason):
                m = renew(c, token)
                self.assertEqual((m["op"], m.get("reason")), ("error", reason))
                c.pub("/a", reason)
                self.assertEqual([m["data"] for m in c.whole(1)], [reason])
                self.assertEqual(c.call("sub", subject="/b"), "subject_denied")
        for op in ({"op": "auth"}, {"op": "auth", "token": None}, {"op": "auth", "token": 5}):
            c.say(op)
            self.assertEqual(len(errors(c.rest())), 1)
        c.pub("/a", "still")
        self.assertEqual(c.data(), ["still"])
        self.assertEqual(s.log(event="close"), [])

    def test_ring_full(self):
        s = self.server("--used-tokens", 2)
        c, _ = connect(s), connect(s)
        token = mint(permissions=ALL)
        m = renew(c, token)
        self.assertEqual((m["op"], m.get("reason")), ("error", "ring_full"))
        c.sub("/a").pub("/a", "x")
        self.assertEqual(c.data(), ["x"])

    def test_single_use(self):
        """A token that has renewed is used; so is one that has opened, for renewing."""
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        first, second = mint(permissions=ALL), mint(permissions=ALL)
        c = greet(s.ws("/", OFFER, token=first))
        self.assertEqual(renew(c, first).get("reason"), "token_used")
        self.assertEqual(renew(c, second)["op"], "ready")
        self.assertEqual(renew(c, second).get("reason"), "token_used")
        self.refused(s, "token_used", token=second)
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertEqual((m["sluice_used_tokens"], m["sluice_clients"]), (2, 1))
        s = self.server("--token-use", "many")
        token = mint(permissions=ALL, exp=int(time.time()) + 1000)
        c = greet(s.ws("/", OFFER, token=token))
        for _ in range(3):
            self.assertEqual(renew(c, token)["op"], "ready")


    def test_key_is_changed(self):
        """A reload ends those that the old key let in or renewed; the new key's tokens open."""
        f = self.path("secret", black.SECRET)
        s = self.server("--secret-file", f, secret=None)
        s.secret = black.SECRET
        c = connect(s)
        self.assertEqual(renew(c)["op"], "ready")
        waits = waiting(s)
        s.secret = b"another secret, quite as long as ours"
        self.path("secret", s.secret)
        s.kill(1)
        self.assertEqual(c.closed(), (4401, "key_unknown"))
        waits.say({"op": "auth", "token": mint()})       # this one came with no key
        self.assertEqual(waits.closed(), (4401, "signature_invalid"))
        self.assertEqual(renew(c := connect(s), mint(s.secret))["op"], "ready")


class Expiry(v1.Case):
    def ends(self, c, exp, late=2.5):
        """Not before its time, and soon after it."""
        self.assertEqual(c.closed(), (4401, "token_expired"))
        now = time.time()
        self.assertGreaterEqual(now, exp - 0.05)
        self.assertLess(now, exp + late)

    def test_the_end(self):
        for args, late in ((["--enforce-expiry"], 0), (["--token-use", "many"], 0),
                           (["--enforce-expiry", "--leeway", 2], 2)):
            s = self.server(*args)
            exp = int(time.time()) + 3 - late
            c, raw = connect(s, exp=exp), s.ws(token=mint(exp=exp))
            self.assertIn(c.ready["expires"], (exp, exp + late))
            m = c.hear("expiring")           # less than 60 s are left: at once
            self.assertIn(m["in"], range(1, 4))
            c.sub("/a").pub("/a", "x")
            self.assertEqual(c.data(), ["x"])
            self.ends(c, exp + late)
            self.ends(raw, exp + late)
            s.wait_log(2, event="close", code=4401, reason="token_expired")

    def test_expiring(self):
        """60 s before, and not earlier: once."""
        s = self.server("--enforce-expiry")
        exp = int(time.time()) + 63
        c = connect(s, exp=exp)
        self.assertEqual(c.rest(), [])
        self.assertLess(time.time(), exp - 60, "too slow a machine for this test")
        self.assertIn(c.hear("expiring")["in"], (59, 60))
        self.assertGreaterEqual(time.time(), exp - 60.1)
        self.assertLess(time.time(), exp - 57)
        self.assertEqual(c.rest(), [])
        # a renewal sets it anew
        exp = int(time.time()) + 62
        self.assertEqual(renew(c, exp=exp), {"op": "ready", "expires": exp})
        self.assertIn(c.hear("expiring")["in"], (59, 60))
        self.assertGreaterEqual(time.time(), exp - 60.1)
        exp = int(time.time()) + 20
        self.assertEqual(renew(c, exp=exp)["expires"], exp)
        self.assertIn(c.hear("expiring")["in"], (18, 19, 20))

    def test_expiring_in_mid_frame(self):
        """A message of which half is sent is finished before."""
        s = self.server("--enforce-expiry", "--buffer", "1M")
        exp = int(time.time()) + 62
        c = connect(s, rcvbuf=4096, exp=exp).sub("/")
        for i in range(8):
            s.feed(b"%d" % i * 60000 + b"\n")
        until(lambda: time.time() > exp - 59, "the warning to be due")
        got = [c.wire() for _ in range(9)]
        self.assertEqual([m["data"] for m in got if m["op"] == "msg"], [str(i) * 60000 for i in range(8)])
        self.assertEqual([m["op"] for m in got if m["op"] != "msg"], ["expiring"])

    def test_not_expiring(self):
        """What will not end says nothing."""
        c = connect(self.server(), exp=int(time.time()) + 5)
        self.assertEqual((c.ready["expires"], c.rest()), (None, []))

    def test_not_enforced(self):
        s = self.server()
        exp = int(time.time()) + 2
        c = connect(s, exp=exp).sub("/a")
        until(lambda: time.time() > exp + 1, "the token to expire")
        c.pub("/a", "x")
        self.assertEqual(c.data(), ["x"])

    def test_renewed_in_time(self):
        """It outlives its first token; and ends with the second."""
        s = self.server("--enforce-expiry")
        first = int(time.time()) + 3
        c = connect(s, exp=first).sub("/a")
        other = connect(s, exp=first)
        c.hear("expiring")
        second = first + 2
        self.assertEqual(renew(c, exp=second)["expires"], second)
        c.hear("expiring")
        other.hear("expiring")
        self.ends(other, first, late=1.5)
        c.pub("/a", "alive")
        self.assertEqual(c.data(), ["alive"])
        self.ends(c, second)

    def test_shortened(self):
        """A renewal may bring the end nearer, too."""
        s = self.server("--enforce-expiry")
        c = connect(s, exp=int(time.time()) + 1000)
        exp = int(time.time()) + 2
        self.assertEqual(renew(c, exp=exp)["expires"], exp)
        c.hear("expiring")
        self.ends(c, exp)

    def test_failed_renewal_does_not_put_it_off(self):
        s = self.server("--enforce-expiry")
        exp = int(time.time()) + 3
        c = connect(s, exp=exp, sub="a")
        c.hear("expiring")
        far = int(time.time()) + 1000
        for token in (mint(exp=far, sub="b"), mint(b"y" * 40, exp=far, sub="a"), "x"):
            self.assertEqual(renew(c, token)["op"], "error")
        self.ends(c, exp)

    def test_session(self):
        s = self.server()
        begin = time.monotonic()
        c = connect(s, session=2)
        self.assertIn(c.hear("expiring")["in"], (1, 2))
        c.sub("/a").pub("/a", "x")
        self.assertEqual(c.data(), ["x"])
        self.assertEqual(c.closed(), (4401, "session_ended"))
        self.assertGreaterEqual(time.monotonic() - begin, 1.95)
        self.assertLess(time.monotonic() - begin, 4.5)
        self.assertEqual(s.wait_log(event="close", reason="session_ended")["code"], "4401")

    def test_session_is_not_prolonged(self):
        """It is counted from where the connection began, whatever a later token says, or leaves out."""
        c = connect(self.server(), session=1000)
        time.sleep(2.1)                      # some of the session
        for claims in ({"session": 1000}, {}):
            self.assertLess(renew(c, **claims)["expires"] - c.ready["expires"], 2, claims)

    def test_clock_steps(self):
        """The end stays where it was put, wherever the clock goes."""
        T = black.SOON
        clock = black.Clock(self)
        for step in (5000, -5000):
            clock.set(T)
            s = self.server("--enforce-expiry", clock=clock)
            begin = time.monotonic()
            c = connect(s, iat=T, exp=T + 2)
            raw = s.ws(token=mint(iat=T, exp=T + 2))
            session = s.ws(token=mint(iat=T, exp=T + 1000, session=2.5))
            clock.set(T + step)
            c.hear("expiring")
            c.sub("/a").pub("/a", "x")
            self.assertEqual(c.data(), ["x"])
            for x, reason in ((c, "token_expired"), (raw, "token_expired"), (session, "session_ended")):
                with self.subTest(step=step, reason=reason):
                    self.assertEqual(x.closed(), (4401, reason))
                    took = time.monotonic() - begin
                    self.assertGreater(took, 1.95 if x is not session else 2.45)
                    self.assertLess(took, 4.5)

    def test_a_thousand_at_once(self):
        """All that expire in one second end in it."""
        s = self.server("--enforce-expiry", "--max-clients", 1100, "--log-level", "warn",
                        listen=(f"unix:{self.tmp}/s",), ready=False)
        s.reach(f"{self.tmp}/s")
        begin = time.time()
        for _ in range(50):
            connect(s, exp=int(begin) + 1000).raw.close()
        exp = int(time.time() + (time.time() - begin) * 20) + 3
        cs = [connect(s, exp=exp) if i % 2 else s.ws(token=mint(exp=exp)) for i in range(1000)]
        self.assertLess(time.time(), exp, "too slow a machine for this test")
        raws = {(c if isinstance(c, black.Raw) else c.raw) for c in cs}
        poll, by_fd = select.poll(), {c.sock.fileno(): c for c in raws}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        first = last = None
        while by_fd:
            for fd, _ in poll.poll(black.WAIT * 1000):
                c = by_fd[fd]
                self.assertTrue(c.fill(), "the end without a close frame")
                if not c.buf.endswith(struct.pack(">H", 4401) + b"token_expired"):
                    continue                 # expiring comes before
                last = time.time()
                first = first or last
                poll.unregister(fd)
                del by_fd[fd]
        self.assertGreaterEqual(first, exp - 0.05)
        self.assertLess(last, exp + 2)       # of which most is this test's, not the server's


class Flow(v1.Case):
    def test_migratorydata_flow(self):
        """Let in by a token that grants, subscribe, publish, be refused, hear of the end, renew, be dropped."""
        s = self.server("--enforce-expiry", "--source", "/quotes/acme=-")
        exp = int(time.time()) + 3
        mine = {"sub": ["/quotes/*", "/orders/alice/+"], "pub": ["/orders/alice/+"]}
        c = connect(s, mine, sub="alice", exp=exp)
        self.assertEqual(c.ready["expires"], exp)
        self.assertLessEqual(c.hear("expiring")["in"], 3)
        c.sub("/quotes/acme", "/orders/alice/+")
        s.feed(b"17.5\n")
        self.assertEqual((m := c.hear())["subject"], "/quotes/acme")
        self.assertEqual(m["data"], "17.5")
        c.pub("/orders/alice/1", '{"buy":"acme"}')
        self.assertEqual((m := c.hear())["subject"], "/orders/alice/1")
        self.assertEqual(m["data"], '{"buy":"acme"}')
        for op in ({"op": "sub", "subject": "/orders/bob/+"}, {"op": "pub", "subject": "/orders/bob/1", "data": "x"},
                   {"op": "pub", "subject": "/quotes/acme", "data": "0"}):
            self.assertEqual(c.calls(op), ["subject_denied"])
        later = exp + 2
        self.assertEqual(renew(c, permissions=mine, sub="alice", exp=later), {"op": "ready", "expires": later})
        self.assertLessEqual(c.hear("expiring")["in"], later - exp + 3)
        until(lambda: time.time() > exp + 0.5, "the end of the first token")
        s.feed(b"17.6\n")
        self.assertEqual(c.data(), ["17.6"])
        self.assertEqual(c.closed(), (4401, "token_expired"))
        self.assertGreaterEqual(time.time(), later - 0.05)
        got = s.wait_log(event="close")
        self.assertEqual((got["code"], got["reason"]), ("4401", "token_expired"))

    def test_python_websockets(self):
        """Renews itself, and sees the code at the end."""
        s = self.server("--enforce-expiry")

        async def go():
            exp = int(time.time()) + 3
            offer = ["sluice.v1", "bearer", mint(exp=exp)]
            async with websockets.connect("ws://%s:%d/" % s.addr, subprotocols=offer) as w:
                self.assertEqual(w.subprotocol, "sluice.v1")
                self.assertEqual(json.loads(await w.recv()), {"op": "ready", "expires": exp})
                self.assertEqual(json.loads(await w.recv())["op"], "expiring")
                await w.send(json.dumps({"op": "auth", "token": mint(exp=exp + 1)}))
                self.assertEqual(json.loads(await w.recv()), {"op": "ready", "expires": exp + 1})
                self.assertEqual(json.loads(await w.recv())["op"], "expiring")
                with self.assertRaises(websockets.ConnectionClosed):
                    await w.recv()
                self.assertEqual((w.close_code, w.close_reason), (4401, "token_expired"))
                self.assertGreaterEqual(time.time(), exp + 0.95)
        asyncio.run(asyncio.wait_for(go(), black.WAIT))

    def test_node_ws(self):
        """Renews itself with less time than it had."""
        s = self.server("--enforce-expiry")
        for lead in 3, 12:                   # a busy machine takes long to start node
            exp = int(time.time()) + lead
            say = [json.dumps({"op": "auth", "token": mint(exp=e)}) for e in (exp + 1, exp)]
            out = node("client.mjs", "ws://%s:%d/" % s.addr, json.dumps({"protocols": ["sluice.v1"], "send": say}))
            end = time.time()
            got = [json.loads(x) for x in out.splitlines()]
            self.assertEqual(got[-1], {"close": 4401, "reason": "token_expired"})
            said = [json.loads(x["text"]) for x in got[1:-1]]
            if [m["expires"] for m in said if m["op"] == "ready"] == [exp + 1, exp]:
                break
        else:
            self.fail(f"never renewed: {got}")
        self.assertGreaterEqual(end, exp - 0.05)
        self.assertEqual(said[-1]["op"], "expiring")
