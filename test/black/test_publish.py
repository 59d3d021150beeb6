"""Clients that publish: raw, by sluice.v1, by POST; and --publish-to, where all of it is printed."""
import io, json, os, re, select, threading, time
import black
from black import BINARY, CLOSE, PING, PONG, TEXT, frame, grant, http, until

MASK = b"\x11\x22\x33\x44"
V1 = "Sec-WebSocket-Protocol: sluice.v1"


def part(data, op=0, fin=False):
    return frame(op, data, fin=fin, mask=MASK)


class Clients(black.Case):
    def tearDown(self):
        self.hang_up()                       # lest the server waits for their close frames

    def both(self, s, subject="/a"):
        """One who reads and publishes there."""
        return s.ws(subject, token=grant(all=[subject]))

    def v1(self, s, *subjects, **grants):
        """A sluice.v1 client that follows these."""
        c = s.ws("/", V1, token=grant(**(grants or {"all": ["/", "/*"]})))
        self.assertEqual(self.json(c)["op"], "ready")
        for i, x in enumerate(subjects):
            self.say(c, op="sub", subject=x, id=i)
            self.assertEqual(self.json(c), {"op": "ok", "id": i})
        return c

    def say(self, c, **what):
        c.send(frame(TEXT, json.dumps(what).encode(), mask=MASK))

    def json(self, c):
        return json.loads(c.message())

    def turn(self, c):
        """All that was sent before this has been taken in, also what others were told."""
        c.send_frame(PING, b"turn")
        self.assertEqual(c.frame(), (PONG, b"turn"))


class Raw(Clients):
    TEXTS = (b"hello", b"", "\u00fc\U0001f600".encode(), b"two\nlines\n", b"\0", b"a\r\n", b"x" * 125, b"x" * 126, b"y" * 65536)

    def test_everyone_gets_it(self):
        """Raw readers, v1 readers, events, and the one who sent it, in this order or another."""
        s = self.server()
        me, raw, v1 = self.both(s), s.ws("/a", token=grant(sub=["/a"])), self.v1(s, "/a")
        e, elsewhere = s.events("/a", token=grant(sub=["/a"])), s.ws()
        for n, m in enumerate(self.TEXTS, 1):
            with self.subTest(m[:20]):
                me.send(frame(TEXT, m, mask=MASK))
                self.assertEqual(me.message(), m)
                self.assertEqual(raw.message(), m)
                got, x = self.json(v1), e.event()
                self.assertEqual((got["op"], got["subject"], got["data"]), ("msg", "/a", m.decode()))
                self.assertEqual(x.data, m.decode().replace("\r\n", "\n"))
                self.assertEqual(got["id"], x.id)
                self.assertEqual(x.id.rsplit("-", 1)[1], str(n))
        self.turn(elsewhere)

    def test_several_publishers(self):
        """One order for all: what each gets is what every other gets."""
        s = self.server("--buffer", "1M")
        cs = [self.both(s) for _ in range(8)]
        for i in range(100):
            for j, c in enumerate(cs):
                c.send(frame(TEXT, b"%d %d" % (j, i), mask=MASK))
        got = [c.messages(800) for c in cs]
        for g in got[1:]:
            self.assertEqual(g, got[0])
        for j in range(8):
            self.assertEqual([m for m in got[0] if m.startswith(b"%d " % j)], [b"%d %d" % (j, i) for i in range(100)])

    def test_sources_too(self):
        """A subject may have both; IDs run on."""
        s = self.server()
        c, e = self.both(s, "/"), s.events()
        for i in range(10):
            if i % 2:
                s.feed(b"%d\n" % i)
            else:
                c.send(frame(TEXT, b"%d" % i, mask=MASK))
            self.assertEqual(c.message(), b"%d" % i)
        self.assertEqual([x.id.rsplit("-", 1)[1] for x in e.events(10)], [str(i + 1) for i in range(10)])

    def test_kept_for_replay(self):
        s = self.server()
        c = self.both(s)
        for m in (b"1", b"2", b"3"):
            c.send(frame(TEXT, m, mask=MASK))
        c.messages(3)
        late = s.ws("/a?replay=2", token=grant(sub=["/a"]))
        self.assertEqual(late.messages(2), [b"2", b"3"])

    def test_grants(self):
        """It takes both, from whichever lists and patterns."""
        s = self.server()
        for path, grants in (("/a", {"sub": ["/a"], "pub": ["/a"]}), ("/chat/x", {"all": ["/chat/+"]}),
                             ("/a/b/c", {"sub": ["/+/b/*"], "pub": ["/*"]}), ("/", {"all": ["/"]}),
                             ("/z", {"all": ["/y"], "sub": ["/z"], "pub": ["/z"]})):
            c = s.ws(path, token=grant(**grants))
            c.send(frame(TEXT, b"mine", mask=MASK))
            self.assertEqual(c.message(), b"mine", path)

    def test_read_only(self):
        s = self.server()
        reader = s.ws("/a", token=grant(sub=["/a"]))
        for path, grants in (("/a", {"sub": ["/a"]}), ("/a", {"sub": ["/a"], "pub": ["/b", "/a/*"]}),
                             ("/", {"sub": ["/"], "all": ["/*"]})):
            for raw in (frame(TEXT, b"x", mask=MASK), frame(BINARY, b"x", mask=MASK), frame(TEXT, b"", mask=MASK),
                        frame(TEXT, b"x", fin=False, mask=MASK), b"\x81\xfe\xff\xff" + MASK):
                c = s.ws(path, token=grant(**grants))
                c.send(raw)
                self.assertEqual(c.frame(), (CLOSE, b"\x03\xf0read_only"))
                c.close()
        c = s.ws()                           # without permissions: / to read
        c.send(frame(TEXT, b"x", mask=MASK))
        self.assertEqual(c.closed()[0], 1008)
        self.turn(reader)

    def test_last_words(self):
        """What was whole before the close frame, or before a mistake, has been said."""
        s = self.server()
        reader = s.ws("/a", token=grant(sub=["/a"]))
        for end, code in ((frame(CLOSE, b"\x03\xe8", mask=MASK), 1000), (frame(3, b"", mask=MASK), 1002),
                          (frame(TEXT, b"\xff", mask=MASK), 1007), (frame(BINARY, b"", mask=MASK), 1003)):
            c = self.both(s)
            c.send(frame(TEXT, b"bye %d" % code, mask=MASK) + end + frame(TEXT, b"too late", mask=MASK))
            self.assertEqual(reader.message(), b"bye %d" % code)
            got = c.frame()
            if got[0] == TEXT:               # its own
                got = c.frame()
            self.assertEqual((got[0], got[1][:2]), (CLOSE, code.to_bytes(2, "big")))
            c.close()
        self.turn(reader)

    def test_publish_only(self):
        """A raw client reads, or it is not let in."""
        s = self.server()
        self.refused(s, "subject_denied", "/a", token=grant(pub=["/a"]))


class Slow(Clients):
    def test_publisher_that_never_reads(self):
        """Its own messages come back too: it falls behind like any other, and nobody else minds."""
        s = self.server()
        c, r = s.ws("/a", token=grant(all=["/a"]), rcvbuf=4096), s.ws("/a", token=grant(sub=["/a"]))
        got, n = [], 0

        def read():
            while (m := r.message()) != b"others go on":
                got.append(int(m[:8]))
        t = threading.Thread(target=read, daemon=True)
        t.start()
        while not s.log(event="slow"):
            try:
                c.send(b"".join(frame(TEXT, b"%08d" % i + b"." * 1000, mask=MASK) for i in range(n, n + 50)))
            except OSError:
                break
            n += 50
            until(lambda: len(got) == n or s.log(event="slow"), "what was sent")
            self.assertLess(n, 50000, "it never falls behind")
        self.assertEqual(s.wait_log(event="slow")["client"], "%s:%d" % c.sock.getsockname())
        c.close()                            # with much unread: a reset, which may be seen first
        self.assertIn(s.wait_log(event="close")["reason"], ("too_slow", "peer_gone"))
        self.assertEqual(s.post("/a", b"others go on", token=grant(pub=["/a"])).status, 204)
        t.join(black.WAIT)
        self.assertFalse(t.is_alive())
        self.assertGreater(len(got), 100)
        self.assertEqual(got, list(range(len(got))))


class Wrong(Clients):
    def ends(self, s, code, *pieces):
        """This ends the connection, and nobody is told anything."""
        reader, c = s.ws("/a", token=grant(sub=["/a"])), self.both(s)
        for raw in pieces:
            c.send(raw)
        op, data = c.frame()
        self.assertEqual((op, data[:2]), (CLOSE, code.to_bytes(2, "big")), (data, pieces[0][:20]))
        c.close()
        self.turn(reader)
        reader.close()

    def test_wrong_type(self):
        s = self.server()
        for raw in (frame(BINARY, b"x", mask=MASK), frame(BINARY, b"", mask=MASK), part(b"x", BINARY), b"\x82\x85" + MASK,
                    b"\x82\xfe\x01\x00" + MASK):
            self.ends(s, 1003, raw)
        s = self.server("--binary")
        for raw in (frame(TEXT, b"x", mask=MASK), part(b"x", TEXT), frame(TEXT, b"\xff", mask=MASK), b"\x81\x85" + MASK):
            self.ends(s, 1003, raw)

    def test_not_utf8(self):
        s = self.server()
        for bad in (b"\xff", b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"ok \xe2\x28\xa1"):
            self.ends(s, 1007, frame(TEXT, bad, mask=MASK))
            self.ends(s, 1007, part(b"fine", TEXT), part(bad))
            self.ends(s, 1007, part(bad, TEXT, fin=False))
            # At the first bad byte: the rest of the frame never comes.
            self.ends(s, 1007, frame(TEXT, b"abc" + bad, mask=MASK, length=50000))
        for cut in (b"\xc3", b"ab\xe2\x82", b"\xf0\x9f\x98"):
            self.ends(s, 1007, frame(TEXT, cut, mask=MASK))
            self.ends(s, 1007, part(cut, TEXT), part(b"", 0, fin=True))
            self.ends(s, 1007, part(cut, TEXT), part(b"x"))

    def test_split_code_points(self):
        """Across fragments, and control frames between them, they are whole."""
        s = self.server()
        c, text = self.both(s), "z\u00e9\u20ac\U0001f600".encode()
        for i in range(len(text) + 1):
            for j in range(i, len(text) + 1):
                c.send(part(text[:i], TEXT) + frame(PING, b"p", mask=MASK) + part(text[i:j]) + part(text[j:], fin=True))
                self.assertEqual(c.frame(), (PONG, b"p"))
                self.assertEqual(c.message(), text)

    def test_split_everywhere(self):
        s = self.server()
        c, other = self.both(s), s.ws()
        wire = part(b"\xe2\x82", TEXT) + frame(PING, b"p", mask=MASK) + part(b"\xac" + b"x" * 130) + part(b"", fin=True)
        for i in range(1, len(wire)):
            c.send(wire[:i])
            self.turn(other)
            c.send(wire[i:])
            self.assertEqual({c.frame(), c.frame()}, {(PONG, b"p"), (TEXT, b"\xe2\x82\xac" + b"x" * 130)}, i)

    def test_too_big(self):
        """By the first header that says so: 1009, and none of it waits for what is announced."""
        s = self.server()
        for length in (65537, 1 << 20, (1 << 63) - 1):
            self.ends(s, 1009, frame(TEXT, b"", mask=MASK, length=length))
        self.ends(s, 1009, part(b"x" * 65536, TEXT), part(b"y"))
        self.ends(s, 1009, part(b"x" * 40000, TEXT), frame(0, b"", fin=False, mask=MASK, length=25537))
        self.ends(s, 1009, *[part(b"x" * 1000, 0 if i else TEXT) for i in range(66)])
        c = self.both(s)
        for pieces in ([frame(TEXT, b"x" * 65536, mask=MASK)], [part(b"x" * 65536, TEXT), part(b"", fin=True)],
                       [part(b"", TEXT)] + [part(b"x" * 4096) for _ in range(16)] + [part(b"", fin=True)]):
            c.send(b"".join(pieces))
            self.assertEqual(c.message(), b"x" * 65536)

    def test_fragments_out_of_place(self):
        s = self.server()
        self.ends(s, 1002, part(b"x"))
        self.ends(s, 1002, part(b"x", fin=True))
        self.ends(s, 1002, part(b"x", TEXT), part(b"y", TEXT, fin=True))
        self.ends(s, 1002, part(b"x", TEXT), part(b"y", BINARY, fin=True))

    def test_length_forms(self):
        """RFC 6455 5.2: the shortest, and the top bit of the longest is 0."""
        s = self.server()
        for raw in (b"\x81\xfe\0\x05" + MASK + b"hello", b"\x81\xff" + b"\0" * 7 + b"\x05" + MASK + b"hello",
                    b"\x81\xff" + b"\0" * 6 + b"\xff\xff" + MASK, b"\x81\xfe\0\x7d" + MASK,
                    b"\x81\xff\x80" + b"\0" * 7 + MASK):
            self.ends(s, 1002, raw)
        s.wait_log(event="close", reason="ws_length")

    def test_binary(self):
        """Any byte, back in binary frames."""
        s = self.server("--binary")
        c, r = self.both(s), s.ws("/a", token=grant(sub=["/a"]))
        for m in (b"", bytes(range(256)) * 2, b"\xff\xfe\0"):
            c.send(part(m[:100], BINARY) + part(m[100:], fin=True))
            self.assertEqual(c.message(BINARY), m)
            self.assertEqual(r.message(BINARY), m)

    def test_who_leaves_in_mid_message(self):
        s = self.server()
        reader = s.ws("/a", token=grant(sub=["/a"]))
        for end in (black.Raw.close, black.Raw.reset):
            c = self.both(s)
            c.send(part(b"torn", TEXT) + part(b" in half"))
            self.turn(c)
            end(c)
        c = self.both(s)
        c.send(part(b"torn", TEXT) + frame(CLOSE, b"\x03\xe8", mask=MASK))
        self.assertEqual(c.frame(), (CLOSE, b"\x03\xe8"))
        self.turn(reader)

    def test_many_unfinished_messages(self):
        """A hundred that hold a message open: others publish, and memory is bounded."""
        s = self.server("--max-message", "256K", "--buffer", "1M")
        before = s.rss()
        for _ in range(100):
            c = self.both(s)
            c.sock.settimeout(0.1)
            try:
                c.send(part(b"x" * 250000, TEXT))
            except OSError:                  # not read for now
                pass
        self.assertLess(s.rss() - before, 20 << 10)
        c, begin = self.both(s, "/b"), time.monotonic()
        c.send(frame(TEXT, b"short", mask=MASK))
        self.assertEqual(c.message(), b"short")
        self.assertEqual(s.post("/b", b"posted", token=grant(pub=["/b"])).status, 204)
        self.assertEqual(c.message(), b"posted")
        self.assertLess(time.monotonic() - begin, 5)


class Talk(Clients):
    def test_pub(self):
        s = self.server()
        a, b = self.v1(s, "/x/*"), self.v1(s, pub=["/x/+"])
        raw = s.ws("/x/y", token=grant(sub=["/*"]))
        self.say(b, op="pub", subject="/x/y", data="line\n\u00fc", id=3)
        self.assertEqual(self.json(b), {"op": "ok", "id": 3})
        got = self.json(a)
        self.assertEqual((got["op"], got["subject"], got["data"]), ("msg", "/x/y", "line\n\u00fc"))
        self.assertEqual(raw.message(), "line\n\u00fc".encode())
        for subject, reason in (("/y", "subject_denied"), ("/x/y/z", "subject_denied"), ("/", "subject_denied")):
            self.say(b, op="pub", subject=subject, data="x", id=4)
            self.assertEqual(self.json(b), {"op": "error", "id": 4, "reason": reason})
        self.turn(a)

    def test_to_raw_and_back(self):
        """A v1 client and a raw one talk to each other."""
        s = self.server()
        v, r = self.v1(s, "/a"), self.both(s)
        for i in range(50):
            self.say(v, op="pub", subject="/a", data=f"ping {i}", id=i)
            self.assertEqual(r.message(), b"ping %d" % i)
            r.send(frame(TEXT, b"pong %d" % i, mask=MASK))
            self.assertEqual(r.message(), b"pong %d" % i)
            got = [self.json(v) for _ in range(3)]
            self.assertEqual([x["data"] for x in got if x["op"] == "msg"], [f"ping {i}", f"pong {i}"])


class PublishTo(Clients):
    def setUp(self):
        super().setUp()
        self.s = self.server("--publish-to", "-", "--metrics", f"unix:{self.tmp}/m", "--max-message", "64K", "--buffer", "1M")
        self.out = b""

    def line(self):
        while b"\n" not in self.out:
            self.assertTrue(select.select([self.s.proc.stdout], [], [], black.WAIT)[0], f"no line: {self.out[:200]}")
            got = os.read(self.s.proc.stdout.fileno(), 65536)
            self.assertTrue(got, "the end of stdout")
            self.out += got
        got, self.out = self.out.split(b"\n", 1)
        return got

    def dropped(self):
        return self.metrics(self.s, f"{self.tmp}/m").get("sluice_publish_to_dropped_total")

    def test_all_kinds(self):
        raw, v = self.both(self.s, "/r"), self.v1(self.s)
        for i in range(20):
            raw.send(frame(TEXT, b"raw %d" % i, mask=MASK))
            self.assertEqual(self.line(), b"/r\traw %d" % i)
            self.say(v, op="pub", subject="/v/1", data=f"v1 {i}", id=1)
            self.assertEqual(self.line(), b"/v/1\tv1 %d" % i)
            self.s.post("/p%20q", b"post %d" % i, token=grant(pub=["/+"]))
            self.assertEqual(self.line(), b"/p q\tpost %d" % i)
        self.s.post("/", b"", token=grant(pub=["/"]))
        self.assertEqual(self.line(), b"/\t")
        self.assertEqual(self.out, b"")

    def test_not_what_sources_say(self):
        """Nor what was refused."""
        c = self.s.ws()
        self.s.feed(b"from the source\n")
        self.assertEqual(c.message(), b"from the source")
        c.send(frame(TEXT, b"read only", mask=MASK))
        self.assertEqual(c.closed()[0], 1008)
        self.s.post("/a", b"denied", token=grant(sub=["/a"]))
        v = self.v1(self.s, sub=["/*"])
        self.say(v, op="pub", subject="/a", data="denied", id=1)
        self.assertEqual(self.json(v)["op"], "error")
        self.s.post("/a", b"let in", token=grant(pub=["/a"]))
        self.assertEqual(self.line(), b"/a\tlet in")

    def test_not_what_is_too_large(self):
        """A byte that is no UTF-8 takes three in the ring."""
        self.s, pub = self.server("--publish-to", "-", "--buffer", "128K"), grant(pub=["/a"])
        self.assertEqual(self.s.post("/a", b"\xff" * 65536, token=pub).status, 413)
        self.assertEqual(self.s.post("/a", b"next", token=pub).status, 204)
        self.assertEqual(self.line(), b"/a\tnext")

    def test_no_forged_line(self):
        pub = grant(pub=["/a"])
        for body in (b"one\n/admin\treboot", b"\n", b"\n\n/admin\tx\n", b"end\n"):
            self.s.post("/a", body, token=pub)
            self.assertEqual(self.line(), b"/a\t" + body.replace(b"\n", b"\\n"))
        v = self.v1(self.s)
        self.say(v, op="pub", subject="/a", data="x\n/admin\ty", id=1)
        self.assertEqual(self.line(), b"/a\tx\\n/admin\ty")
        c = self.both(self.s)
        c.send(part(b"x\n/ad", TEXT) + part(b"min\ty\n", fin=True))
        self.assertEqual(self.line(), b"/a\tx\\n/admin\ty\\n")
        self.assertEqual(self.out, b"")

    def test_large(self):
        """Larger than a pipe: whole, or dropped and counted; no half a line."""
        body = b"y" * 65536
        self.s.post("/a", body, token=grant(pub=["/a"]))
        self.s.post("/a", b"next", token=grant(pub=["/a"]))
        got = self.line()
        if self.dropped():
            self.assertEqual(got, b"/a\tnext")
        else:
            self.assertEqual(got, b"/a\t" + body)
            self.assertEqual(self.line(), b"/a\tnext")

    def test_nobody_reads(self):
        """The pipe is full: clients are served as ever, what does not fit is dropped and counted."""
        s, c, w, pub = self.s, self.both(self.s), self.s.raw(), grant(pub=["/a"])
        self.assertEqual(self.dropped(), 0)
        begin, n = time.monotonic(), 400
        for i in range(n):
            size = 9000 if i % 3 else 1000   # more than a pipe takes in one piece, and less
            w.send(http("POST", "/a", body=b"%d " % i + b"z" * size, token=pub))
            self.assertEqual(w.reply().status, 204)
            self.assertEqual(c.message()[:8].split()[0], b"%d" % i)
        self.assertLess(time.monotonic() - begin, 10)
        self.idle(s, 0.3, 0.3)
        lost = self.dropped()
        self.assertGreater(lost, 0)
        self.assertLess(lost, n)
        got = []
        while len(got) < n - lost:           # what was kept is whole, and in order
            got.append(self.line())
            m = re.fullmatch(rb"/a\t(\d+) (z+)", got[-1])
            self.assertTrue(m, got[-1][:40])
            got[-1] = int(m[1])
            self.assertEqual(len(m[2]), 9000 if got[-1] % 3 else 1000)
        self.assertEqual(got, sorted(set(got)))
        self.assertEqual(got[:3], [0, 1, 2])
        s.post("/a", b"again", token=pub)    # and it goes on
        self.assertEqual(self.line(), b"/a\tagain")
        self.assertEqual((self.dropped(), self.out), (lost, b""))

    def test_nobody_reads_at_the_end(self):
        """It ends in time, and what it wrote last is a whole line."""
        s, w, pub = self.s, self.s.raw(), grant(pub=["/a"])
        for _ in range(100):
            w.send(http("POST", "/a", body=b"z" * 5000, token=pub))
            self.assertEqual(w.reply().status, 204)
        s.kill(15)
        s.proc.wait(2.5)
        out = s.proc.stdout.read()
        self.assertGreater(len(out), 4096)
        for line in out.split(b"\n")[:-1]:
            self.assertEqual(line, b"/a\t" + b"z" * 5000)
        s.ended(0)

    def test_stdout_closed(self):
        """Whoever read it has left: that is no reason to end, nor to spin."""
        s = self.s
        s.proc.stdout.close()
        s.proc.stdout = io.BytesIO()
        c = self.both(s)
        for i in range(100):
            self.assertEqual(s.post("/a", b"%d" % i, token=grant(pub=["/a"])).status, 204)
            self.assertEqual(c.message(), b"%d" % i)
        self.idle(s, 0.3, 0.3)

    def test_off_by_default(self):
        """Nothing on stdout: the end of every test looks."""
        s = self.server()
        c = self.both(s)
        c.send(frame(TEXT, b"x", mask=MASK))
        self.assertEqual(c.message(), b"x")


class Overrun(Clients):
    """More subjects than any table holds."""

    def overrun(self, s, first, last, w, token):
        """A message on each of so many subjects, pipelined on one connection."""
        for i in range(first, last, 50):
            w.send(b"".join(http("POST", f"/s/{j}", body=b"x", token=token) for j in range(i, i + 50)))
            for _ in range(50):
                self.assertEqual(w.reply().status, 204)

    def test_posts(self):
        """Memory does not grow, those who listen miss nothing, no ID comes twice in an epoch."""
        s = self.server("--handshake-timeout", 100, "--max-clients", 100)
        token, w = grant(pub=["/*"]), s.raw()
        listener, e = s.ws("/kept", token=grant(sub=["/*"])), s.events("/left", token=grant(sub=["/*"]))
        for i in range(5):
            self.assertEqual(s.post("/left", b"%d" % i, token=token).status, 204)
            self.assertEqual(s.post("/kept", b"%d" % i, token=token).status, 204)
        self.assertEqual(listener.messages(5), [b"%d" % i for i in range(5)])
        seen = [x.id for x in e.events(5)]
        e.raw.close()
        s.wait_log(event="close")
        self.overrun(s, 0, 25000, w, token)
        before = s.rss()
        self.overrun(s, 25000, 50000, w, token)
        self.assertLess(s.rss() - before, 1024)
        self.assertLess(s.rss(), (250 if black.sanitized() else 10) << 10)
        self.assertEqual(s.post("/kept", b"still", token=token).status, 204)
        self.assertEqual(listener.message(), b"still")
        e = s.events("/left", f"Last-Event-ID: {seen[-1]}", token=grant(sub=["/*"]))
        for i in range(5):
            self.assertEqual(s.post("/left", b"new %d" % i, token=token).status, 204)
            x = e.event()
            self.assertEqual(x.data, f"new {i}")
            self.assertNotIn(x.id, seen)
            seen.append(x.id)
        numbers = [int(x.rsplit("-", 1)[1]) for x in seen]
        if len({x.rsplit("-", 1)[0] for x in seen}) == 1:
            self.assertEqual(numbers, sorted(numbers), "they count up")

    def test_v1(self):
        """Published and followed by sluice.v1."""
        s = self.server("--max-clients", 100)
        c, before = self.v1(s), 0
        for i in range(0, 20000, 100):
            for j in range(i, i + 100):
                self.say(c, op="pub", subject=f"/s/{j}", data="x", id=j)
            for j in range(i, i + 100):
                self.assertEqual(self.json(c), {"op": "ok", "id": j})
            if i == 10000:
                before = s.rss()
        self.assertLess(s.rss() - before, 1024)
        d = self.v1(s, "/s/7")
        self.say(c, op="pub", subject="/s/7", data="y", id=1)
        self.assertEqual(self.json(d)["data"], "y")

    def test_subscribers_of_nothing(self):
        """Readers who come and go at ever other subjects."""
        s, before = self.server("--used-tokens", 30000, "--max-clients", 100), 0
        for i in range(3000):
            c = black.Raw(s.addr)
            c.send(black.request(f"/s/{i}", token=grant(sub=["/*"])))
            c.upgraded()
            c.close()
            if i == 1500:
                before = s.rss()
        self.assertLess(s.rss() - before, 1024)
        c = self.both(s, "/s/0")
        c.send(frame(TEXT, b"x", mask=MASK))
        self.assertEqual(c.message(), b"x")
