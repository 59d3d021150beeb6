"""Streams over TLS: whole and in order, however records and writes are cut; and what they cost."""
import os, ssl, struct, threading, time
import black, tls, v1
from black import CLOSE, PING, PONG, TEXT, frame, mint, until
from streams import Herd, Streams, counting, feeder, framed, lines
from tls import HANDSHAKE

SOME = 4 if black.sanitized() or black.emulated() else 1     # by how much less is done where all is slow
PATIENT = "--handshake-timeout", 100
ALL = {"all": ["/", "/*"]}


class Many(tls.Case):
    def test_200_clients(self):
        """Whole and in order, beside one that never reads, those that go in the midst of their handshake,
        and 64 that stop after the ClientHello; every third has a buffer that makes writes partial."""
        s = self.server("--slow", "wait", "--tls-clients", 300, "--max-clients", 300, "--metrics", f"unix:{self.tmp}/m",
                        kind="rsa")
        cs = [s.ws(rcvbuf=0 if i % 3 else 4096) for i in range(200)]
        never = s.ws(rcvbuf=4096)
        stopped = [s.plain() for _ in range(64)]
        for r in stopped:
            r.send(tls.hello())
        n = 100000 // SOME
        data = [b"%d %s" % (i, b"abcdefghij"[:i % 11]) for i in range(n)]
        stop, t = threading.Event(), feeder(s, b"\n".join(data) + b"\n")

        def resets():
            while not stop.is_set():
                r = black.Raw(s.addr)
                r.send(tls.hello())
                if len(r.buf) % 2 or r.fill():
                    r.reset()
        u = threading.Thread(target=resets, daemon=True)
        u.start()
        Herd(cs, framed(data)).run()
        stop.set()
        t.join()
        u.join()
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertEqual(m["sluice_messages_total"], n)
        # The one that never reads was waited for, if its share was more than the sockets' buffers take.
        self.assertLessEqual({(r["client"], r["reason"]) for r in s.log(event="close")},
                             {("%s:%d" % never.sock.getsockname(), "too_slow")})
        for c in cs:
            c.send_frame(CLOSE, b"\x03\xe8")
            self.assertEqual(c.closed()[0], 1000)

    def test_sizes(self):
        """Messages around the edges of records, and of frames' length forms, each in one and by surprise."""
        s = self.server("--slow", "wait", "--buffer", "1M", "--max-message", "128K")
        c = s.ws()
        edges = [e + d for e in (0, 126, 4096, 4181, 8192, 16384, 16389, 32768, 65536) for d in range(-30, 31, 3)]
        sizes = [n for n in edges if n >= 0] + [131072]
        for n in sizes:
            m = os.urandom(n // 2 + 1).hex().encode()[:n]
            s.feed(m + b"\n")
            self.assertEqual(c.message(), m)
        both = [b"a" * n for n in sizes]
        t = feeder(s, b"\n".join(both) + b"\n")
        self.assertEqual(c.messages(len(both)), both)
        t.join()

    def test_lockstep(self):
        """Nothing is held back: each message arrives before the next is written."""
        s = self.server()
        cs = [s.ws() for _ in range(10)]
        begin = time.monotonic()
        for i in range(500 // SOME):
            s.feed(b"%d\n" % i)
            for c in cs:
                self.assertEqual(c.message(), b"%d" % i)
        self.assertLess(time.monotonic() - begin, 10, "Nagle's delay, or worse")

    def test_records_are_filled(self):
        """Many small messages that are pending go in few records: 21 bytes of overhead and more each."""
        s = self.server("--buffer", "1M")
        c = s.ws()
        data = [b"%07d" % i for i in range(20000)]
        got, records, raw, part, want = 0, 0, 0, bytearray(), framed(data)
        t = feeder(s, b"\n".join(data) + b"\n")
        while got < len(want):
            new = c.sock.recv(1 << 16)
            self.assertTrue(new)
            raw += len(new)
            part += new
            c.into.write(new)
            while len(part) >= 5 and len(part) >= 5 + int.from_bytes(part[3:5], "big"):
                records += 1
                del part[:5 + int.from_bytes(part[3:5], "big")]
            try:
                while True:
                    piece = c.tls.read(1 << 16)
                    self.assertEqual(piece, want[got:got + len(piece)])
                    got += len(piece)
            except ssl.SSLWantReadError:
                pass
        t.join()
        self.assertLess(records, len(data) / 10)
        self.assertLess(raw, len(want) * 1.2)

    def test_mixed_with_plain(self):
        """One stream for both kinds of listeners, TCP and unix."""
        s = self.server("--slow", "wait", listen=("tls:127.0.0.1:0", "127.0.0.1:0", f"tls:unix:{self.tmp}/t"))
        at = [s.wait_log(i, event="listening")["addr"] for i in (1, 2, 3)]
        cs = [s.ws(rcvbuf=4096 * (i % 2)) for i in range(4)]
        s.addr = f"{self.tmp}/t"
        cs += [s.ws() for _ in range(3)]
        plain = s.plain(tls.address(next(a for a in at[1:] if "unix" not in a)))
        plain.send(black.request(token=mint()))
        plain.upgraded()
        data = lines(3000)
        t = feeder(s, b"\n".join(data) + b"\n")
        Herd([*cs, plain], framed(data)).run()
        t.join()

    def test_comes_and_goes(self):
        """Clients join and leave in mid-stream; each sees an unbroken stretch."""
        s = self.server("--slow", "wait", "--tls-clients", 40)
        with counting(s) as more:
            for i in range(120 // SOME):
                more()
                c = s.ws()
                more()
                got = [int(m) for m in c.messages(1 + i * 7 % 300)]
                self.assertEqual(got, list(range(got[0], got[0] + len(got))))
                (c.close, c.reset, c.notify, lambda: None)[i % 4]()
                if len(black.socks) > 30:
                    self.hang_up()


class Slow(Streams, tls.Case):
    def test_close(self):
        """What it had got by then is whole, 1013 follows, and the end is a clean one."""
        s = self.server("--slow", "close", "--buffer", "256K")
        slow, good = s.ws(rcvbuf=4096), s.ws()
        n, got = self.until_slow(s, good), []
        while (f := slow.frame())[0] != CLOSE:
            if f[0] == TEXT:
                got.append(f[1])
        self.assertEqual(got, lines(len(got)))
        self.assertLess(len(got), n)
        self.assertEqual(f[1][:2], struct.pack(">H", 1013))
        slow.close()
        self.assertEqual(s.wait_log(event="close", reason="too_slow")["code"], "1013")
        self.flood(s, [good], 20, n)

    def test_never_reading_delays_nobody(self):
        s = self.server("--slow", "close", "--buffer", "256K")
        good, bad = [s.ws() for _ in range(3)], [s.ws(rcvbuf=4096) for _ in range(20)]
        self.flood(s, good, 10000 // SOME)
        s.wait_log(len(bad), event="close", reason="too_slow", code=1013)
        self.assertEqual(len(s.log(event="close")), len(bad))

    def test_skip(self):
        """It goes on with whole messages, and ends with the newest."""
        s = self.server("--slow", "skip", "--buffer", "256K")
        slow, good = s.ws(rcvbuf=4096), s.ws()
        n, got = self.until_slow(s, good), []
        s.feed(b"the end\n")
        self.assertEqual(good.message(), b"the end")
        while (m := slow.message()) != b"the end":
            self.assertEqual(m[8:], b"." * 992)
            got.append(int(m[:8]))
        self.assertEqual(got, sorted(set(got)))
        self.assertLess(len(got), n)
        self.flood(s, [good, slow], 100, n)  # and it is one like the others again
        self.assertEqual(s.log(event="close"), [])

    def test_wait(self):
        """The source is held up until it has caught up: nothing is lost, to nobody."""
        s = self.server("--slow", "wait", "--buffer", "256K")
        slow, good, data = s.ws(rcvbuf=4096), s.ws(), lines(20000 // SOME)
        want = framed(data)
        t = feeder(s, b"\n".join(data) + b"\n")
        good.sock.settimeout(1)
        try:
            while len(good.buf) < len(want):
                good.fill(1 << 18)
            self.fail("the source was not held up")
        except TimeoutError:                 # as much as the slow one's buffers allow
            pass
        self.assertTrue(t.is_alive())
        Herd([slow, good], want).run()
        t.join()
        self.assertEqual(s.log(event="close"), [])

    def test_close_handshake_behind(self):
        """A client that lacks much closes: its frame is answered where a frame ends."""
        s = self.server("--buffer", "1M")
        c, good, data = s.ws(rcvbuf=4096), s.ws(), lines(400)
        for m in data:
            s.feed(m + b"\n")
            self.assertEqual(good.message(), m)
        c.send_frame(PING, b"p")
        c.send_frame(CLOSE, b"\x0b\xb8")
        got, others = [], []
        while (f := c.frame())[0] != CLOSE:
            (got if f[0] == TEXT else others).append(f[1])
        self.assertEqual(got, data[:len(got)])
        self.assertLessEqual(len(others), 1)
        self.assertEqual(f[1], b"\x0b\xb8")
        self.assertTrue(c.eof())


class Cuts(tls.Case):
    def test_handshake_bytewise(self):
        """Each byte that the client sends in its handshake and request is read by itself."""
        for kind in ("p256", "rsa"):
            s = self.server(*PATIENT, kind=kind, auth=False)
            c = s.ws(wire={"put": tls.put_bytewise, "ctx": tls.new_context("ECDHE")})
            c.send_frame(PING, b"bytewise")
            self.assertEqual(c.frame(), (PONG, b"bytewise"))
            self.serves(s, c)

    def test_handshake_cut_anywhere(self):
        """Both of the client's flights, in two pieces, cut at each offset."""
        s, ctx = self.server(*PATIENT, auth=False), tls.new_context("ECDHE-ECDSA-AES128-GCM-SHA256", high=tls.TLS12)
        sizes = []
        s.raw(ctx=ctx, put=lambda wire, data: (sizes.append(len(data)), wire.sock.sendall(data)))
        self.assertEqual(len(sizes), 2)
        for flight, size in enumerate(sizes):
            for at in range(1, size, SOME):
                c = s.raw(ctx=ctx, put=tls.put_cut(flight, at))
                c.close()
            self.hang_up()
        self.serves(s)

    def test_resumption_cut_anywhere(self):
        s, ctx = self.server(*PATIENT, auth=False), tls.new_context("ECDHE-ECDSA-AES128-GCM-SHA256", high=tls.TLS12)
        session = s.ws(wire={"ctx": ctx}).tls.session
        for flight, size in ((0, 250), (1, 51)):
            for at in range(1, size, SOME):
                c = s.raw(ctx=ctx, session=session, put=tls.put_cut(flight, at))
                self.assertTrue(c.tls.session_reused)
                c.close()
            self.hang_up()
        self.serves(s)

    def test_handshake_in_small_records(self):
        """RFC 5246 6.2.1: a handshake message may be cut over records as one likes; here to one byte each."""
        for size in (1, 2, 5, 100):
            with self.subTest(size):
                s = self.server(*PATIENT, auth=False)

                def put(wire, data):
                    out, plain = [], True
                    for kind, body in tls.records(data):
                        if kind == HANDSHAKE and plain:
                            out += [tls.record(kind, body[i:i + size]) for i in range(0, len(body), size)]
                        else:
                            out.append(tls.record(kind, body))
                        plain = plain and kind != tls.CHANGE
                    wire.sock.sendall(b"".join(out))
                self.serves(s, s.ws(wire={"put": put}))

    def test_record_cut_anywhere(self):
        """A record with a frame in it, in two pieces, cut at each offset; and byte by byte."""
        for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"):
            s = self.server(*PATIENT, auth=False)
            c, held = s.ws(wire={"ctx": tls.new_context(f"ECDHE-ECDSA-{cipher}", high=tls.TLS12)}), []
            c.put = lambda wire, data: held.append(data)
            at = size = 1
            while at <= size:
                c.send_frame(PING, b"cut %d" % at)
                data = held.pop()
                size = len(data)
                c.sock.sendall(data[:at])
                tls.was_read(c)
                c.sock.sendall(data[at:])
                self.assertEqual(c.frame(), (PONG, b"cut %d" % at))
                at += 1
            c.send_frame(PING, b"bytewise")
            tls.put_bytewise(c, held.pop())
            self.assertEqual(c.frame(), (PONG, b"bytewise"))

    def test_frames_across_records(self):
        """A frame in many records, many frames in one, a record in a hundred pieces, records in one write."""
        s = self.server()
        reader, c = s.ws(), s.ws(token=mint(permissions=ALL))
        big = os.urandom(30000).hex().encode()
        for size in (1, 7, 1000, 16384, 70000):
            m = big if size > 7 else big[:2000]
            part, held = frame(TEXT, m, mask=b"abcd"), []
            c.put = lambda wire, out: held.append(out)
            for i in range(0, len(part), size):
                c.send(part[i:i + size])
            out = b"".join(held)
            step = max(1, len(out) // 100)
            for i in range(0, len(out), step):
                c.sock.sendall(out[i:i + step])
            self.assertEqual((reader.message(), c.message()), (m, m))
        many = [b"%d" % i for i in range(1500)]
        c.put = lambda wire, out: wire.sock.sendall(out)
        c.send(b"".join(frame(TEXT, m, mask=b"abcd") for m in many))
        self.assertEqual(reader.messages(len(many)), many)

    def test_all_at_once(self):
        """Finished, the request and a frame in one write, in a resumption: where the client may."""
        s, ctx = self.server(*PATIENT, auth=False), tls.new_context()
        session = s.ws(wire={"ctx": ctx}).tls.session
        for _ in range(20):
            held = []

            def put(wire, data):
                (held.append if wire.server_random else wire.sock.sendall)(data)
            c = s.raw(ctx=ctx, session=session, put=put)
            self.assertTrue(c.tls.session_reused)
            c.send(black.request() + frame(PING, b"p", mask=b"abcd"))
            c.send_frame(PING, b"q")
            self.assertEqual(len(held), 3)
            c.sock.sendall(b"".join(held))
            c.put = lambda wire, data: wire.sock.sendall(data)
            c.upgraded()
            self.assertEqual((c.frame(), c.frame()), ((PONG, b"p"), (PONG, b"q")))
            c.notify()
            self.assertTrue(c.eof())

    def test_request_then_notify(self):
        """A request and close_notify in one write: answered, or just ended (RFC 5246 7.2.1), but cleanly."""
        s = self.server("--metrics", f"unix:{self.tmp}/m", auth=False)
        for i in range(20):
            c, held = s.raw(), []
            c.put = lambda wire, data: held.append(data)
            c.send(black.request() if i % 2 else black.http("GET", "/", "Accept: text/event-stream"))
            c.notify()
            c.sock.sendall(b"".join(held))
            c.eof()
        until(lambda: self.metrics(s, f"{self.tmp}/m")["sluice_clients"] == 0, "none left")
        self.serves(s)


class Talk(tls.Case):
    def test_v1(self):
        s = self.server("--max-message", "64K")
        a, b = v1.connect(s), v1.connect(s)
        a.sub("/x", "/y/+")
        for i, n in enumerate((0, 1, 100, 5000, 40000, 60000)):
            b.pub("/x", "d" * n)
            b.pub(f"/y/{i}", str(i))
        got = a.whole(12)
        self.assertEqual([len(m["data"]) for m in got[::2]], [0, 1, 100, 5000, 40000, 60000])

    def test_raw_publishing(self):
        s = self.server()
        reader, writer = s.ws(), s.ws(token=mint(permissions=ALL))
        for n in (0, 1, 125, 126, 5000, 65535, 65536):
            m = b"w" * n
            writer.send_frame(TEXT, m)
            self.assertEqual(reader.message(), m)
            self.assertEqual(writer.message(), m)

    def test_post(self):
        """Bodies up to the limit, one over it, many on one connection."""
        s = self.server()
        reader, token = s.ws(), mint(permissions=ALL)
        for n in (0, 1, 4096, 16384, 16385, 65536):
            body = os.urandom(n // 2 + 1).hex().encode()[:n]
            self.assertEqual(s.post("/", body, token=token).status, 204)
            self.assertEqual(reader.message(), body)
        got = s.post("/", b"x" * 65537, token=token)
        self.assertEqual((got.status, got.body), (413, "message_too_large\n"))
        r = s.raw()
        for i in range(50):
            r.send(black.http("POST", "/", body=b"%d" % i, token=token))
            self.assertEqual(r.reply().status, 204)
        r.send(b"".join(black.http("POST", "/", body=b"%d" % i, token=token) for i in range(50, 70)))
        for _ in range(20):
            self.assertEqual(r.reply().status, 204)
        self.assertEqual(reader.messages(70), [b"%d" % i for i in range(70)])

    def test_events(self):
        s = self.server("--replay", 3, "--ping", 1)
        e, c = s.events(), s.ws()
        data = [b"%d" % i for i in range(2000)]
        s.feed(b"\n".join(data) + b"\n")
        self.assertEqual([x.data.encode() for x in e.events(2000)], data)
        self.assertEqual(c.messages(2000), data)
        while not e.comments:                # its ping
            self.assertTrue(e.more())
            if e.text.endswith(b"\n\n"):
                e.comments += e.text.count(b":")

    def test_pings(self):
        """The server's are answered, and it stays; one that is silent for two intervals goes."""
        s = self.server("--ping", 1)
        c, silent, e = s.ws(), s.ws(), s.events()
        for _ in range(4):
            op, data = c.frame()
            self.assertEqual(op, PING)
            c.send_frame(PONG, data)
        gone = s.wait_log(event="close", reason="ping_timeout")
        self.assertEqual(gone["client"], "%s:%d" % silent.sock.getsockname())
        self.over(silent)
        self.serves(s, c)
        self.assertTrue(e.head.status)

    def test_many_pings_at_once(self):
        s = self.server()
        c = s.ws()
        c.send(b"".join(frame(PING, b"%d" % i, mask=b"abcd") for i in range(1000)))
        c.send_frame(PING, b"last")
        while (f := c.frame()) != (PONG, b"last"):
            self.assertEqual(f[0], PONG)

    def test_pings_while_not_reading(self):
        """It costs itself, nobody else: the server does not gather what it cannot send."""
        s = self.server()
        c, good = s.ws(rcvbuf=4096), s.ws()
        c.sock.settimeout(2)
        flood, before = frame(PING, b"x" * 125, mask=b"abcd") * 100, s.rss()
        try:
            for _ in range(3000):
                c.send(flood)
        except (TimeoutError, ConnectionError):
            pass
        self.serves(s, good)
        self.assertLess(s.rss() - before, 8000 if black.sanitized() else 512)


class Memory(Streams, tls.Case):
    def test_idle_client(self):
        """Resident memory for each idle client that has had a message."""
        if black.sanitized():
            self.skipTest("a sanitizer's memory is its own")
        n = 200
        s = self.server("--tls-clients", 1000, "--max-clients", 1000, "--ping", 600, "--log-level", "warn",
                        listen=(f"tls:unix:{self.tmp}/s",), ready=False)
        s.reach(f"{self.tmp}/s")
        first = [s.ws() for _ in range(20)]  # what is touched once and then shared
        s.feed(b"warm\n")
        for c in first:
            c.message()
        before, cs = s.rss(), [s.ws() for _ in range(n)]
        s.feed(b"x\n")
        for c in cs:
            c.message()
        each = (s.rss() - before) * 1024 / n
        print(f"memory: {each:.0f} bytes resident for each idle TLS client")
        self.assertLess(each, 20 << 10)

    def test_no_growth(self):
        """2,000 come and go, in every way; the process is no larger for it."""
        s = self.server("--token-use", "many", "--log-level", "warn", "--tls-clients", 30,
                        listen=(f"tls:unix:{self.tmp}/s",), ready=False)
        s.reach(f"{self.tmp}/s")

        def breaks_off(i):
            if i % 7 == 6:
                s.plain().send(tls.hello()[:50] if i % 2 else b"\x16\x03\x01garbage" * 9)
            return i % 7 == 6
        self.no_growth(s, 2000 // SOME, mint(exp=int(time.time()) + 3000), breaks_off)
