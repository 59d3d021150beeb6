"""TLS under attack: --tls-clients, floods, and what is no TLS or breaks it. Others never suffer."""
import random, select, socket, struct, threading, time
import black, tls
from black import mint, until
from tls import ALERT, CHANGE, DATA, HANDSHAKE

SOME = 4 if black.sanitized() else 1


class Limit(tls.Case):
    def half(self, s, kind):
        """A connection that gets so far and no further."""
        if kind == "shaken":
            return s.raw()
        r = s.plain()
        if kind == "part":
            r.send(tls.hello()[:100])
        elif kind == "hello":
            r.send(tls.hello())
            while len(r.buf) < 100:
                self.assertTrue(r.fill())
        elif kind == "request":
            r.close()
            r = s.raw()
            r.send(black.request()[:60])
        return r

    def test_longest_waiting_goes(self):
        """All are taken by unfinished ones: the first of them makes place, and only that one."""
        for kind in ("silent", "part", "hello", "shaken", "request"):
            with self.subTest(kind):
                s = self.server("--tls-clients", 4)
                waiting = [self.half(s, kind) for _ in range(4)]
                cs = [s.ws()]
                self.over(waiting[0])
                for _ in range(2):
                    cs.append(s.ws())
                self.over(waiting[1])
                self.over(waiting[2])
                last = waiting[3].sock
                self.assertFalse(select.select([last], [], [], 0)[0] and not last.recv(1, socket.MSG_PEEK), "it too")
                s.feed(b"x\n")
                for c in cs:
                    self.assertEqual(c.message(), b"x")
                self.hang_up()
                s.stop()

    def refused(self, s):
        """One more does not get in, and hears so soon."""
        begin = time.monotonic()
        try:
            r = s.ask(token=None)
            got = r.reply()
            self.assertEqual((got.status, got.body), (503, "too_many_clients\n"))
        except tls.BROKEN:
            pass
        self.assertLess(time.monotonic() - begin, 5, "only a timeout ended it")

    def test_all_established(self):
        """The next is refused; when one goes there is place again."""
        s = self.server("--tls-clients", 3, "--metrics", f"unix:{self.tmp}/m")
        cs = [s.ws(), s.events(), s.ws()]
        for _ in range(5):
            self.refused(s)
        self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_clients"], 3)
        s.feed(b"x\n")
        self.assertEqual((cs[0].message(), cs[1].event().data, cs[2].message()), (b"x", "x", b"x"))
        cs.pop().close()
        s.wait_log(event="close")
        until(lambda: self.get_in(s), "a place")

    def get_in(self, s):
        try:
            return s.ws()
        except (AssertionError, *tls.BROKEN):
            return None

    def test_plain_is_not_counted(self):
        s = self.server("--tls-clients", 2, listen=("tls:127.0.0.1:0", f"unix:{self.tmp}/p"))
        s.wait_log(2, event="listening")
        cs = [s.ws(), s.ws()]
        self.refused(s)
        for _ in range(5):
            r = s.plain(f"{self.tmp}/p")
            r.send(black.request(token=mint()))
            cs.append(r.upgraded())
        s.feed(b"x\n")
        for c in cs:
            self.assertEqual(c.message(), b"x")

    def test_plain_is_not_dropped(self):
        """Of those who wait the first with TLS makes place for TLS, however long others have waited."""
        s = self.server("--tls-clients", 2, listen=("tls:127.0.0.1:0", f"unix:{self.tmp}/p"))
        s.wait_log(2, event="listening")
        plain = s.plain(f"{self.tmp}/p")
        waiting = [self.half(s, "shaken") for _ in range(2)]
        s.ws()
        self.over(waiting[0])
        plain.send(black.request(token=mint()))
        plain.upgraded()

    def test_one(self):
        s = self.server("--tls-clients", 1)
        for _ in range(5):
            c = self.serves(s)
            self.refused(s)
            n = len(s.log(event="close"))
            c.close()
            s.wait_log(n + 1, event="close")

    def test_pending_too(self):
        """--max-pending holds for TLS as well."""
        s = self.server("--max-pending", 4, "--tls-clients", 100)
        good, waiting = s.ws(), [s.plain() for _ in range(10)]
        for r in waiting[:5]:
            self.over(r)
        self.serves(s)
        self.serves(s, good)


class Flood(tls.Case):
    def test_64_after_the_hello(self):
        s = self.server("--tls-clients", 64, "--handshake-timeout", 100, kind="p256" if black.emulated() else "rsa")
        good = s.ws()
        for _ in range(64):                  # RSA's answers to them take an emulator many seconds
            s.plain().send(tls.hello())
        self.serves(s, good)
        self.serves(s)
        self.serves(s, good)

    def test_5000_unfinished(self):
        """A good client gets in all the while; the one that is there misses nothing."""
        s = self.server("--metrics", f"unix:{self.tmp}/m", "--tls-clients", 256)
        good = s.ws()
        for i in range(5000):
            r = s.plain()
            try:
                r.send(tls.hello()[:(0, 5, 150, None)[i % 4]])
            except OSError:
                pass                         # it has been dropped for a newer one
            if i % 50 == 0:
                s.feed(b"%d\n" % i)
                self.assertEqual(good.message(), b"%d" % i)
            if i % 500 == 499:
                c = s.ws()
                s.feed(b"both\n")
                self.assertEqual((c.message(), good.message()), (b"both", b"both"))
        self.assertLess(len(s.descriptors()), 600)
        self.hang_up()
        self.serves(s)

    def test_connected_receive_meanwhile(self):
        """Two threads ask for handshakes as fast as they can: a running stream goes on."""
        s = self.server("--tls-clients", 32, kind="rsa")
        good, stop = s.ws(), threading.Event()

        def flood():
            while not stop.is_set():
                try:
                    r = black.Raw(s.addr)
                    r.send(tls.hello())
                    r.fill()
                    r.close()
                except OSError:
                    pass
        ts = [threading.Thread(target=flood, daemon=True) for _ in range(2)]
        for t in ts:
            t.start()
        worst = 0
        for i in range(500 // SOME):
            begin = time.monotonic()
            s.feed(b"%d\n" % i)
            self.assertEqual(good.message(), b"%d" % i)
            worst = max(worst, time.monotonic() - begin)
        stop.set()
        for t in ts:
            t.join()
        print(f"handshake flood: longest wait of a running stream {worst * 1000:.0f} ms")
        self.assertLess(worst, 2)


class Garbage(tls.Case):
    def fresh(self, *args, **kw):
        """A server of few slots, so that one that is not freed is noticed, and a client of it."""
        s = self.server("--tls-clients", 5, *args, **kw)
        self.rng = random.Random(4)
        return s, s.ws()

    def after(self, s, good):
        """All slots are to be had, and the one that was there has missed nothing."""
        for r in black.socks:
            if r is not good:
                r.close()
        black.socks[:] = [good]

        def four():
            cs = []
            try:
                for _ in range(4):
                    cs.append(s.ws())
                return cs
            except (AssertionError, *tls.BROKEN):
                for c in cs:
                    c.close()
        cs = until(four, "all its slots")
        for c in cs:
            c.close()
        self.serves(s, good)

    def bad(self, s, *pieces):
        """Send this and see the end."""
        r = s.plain()
        try:
            for p in pieces:
                r.send(p)
        except OSError:
            pass
        self.over(r)

    def test_random_bytes(self):
        s, good = self.fresh("--handshake-timeout", 2)
        for i in range(300 // SOME):
            data = self.rng.randbytes(self.rng.choice([1, 5, 6, 50, 500, 20000]))
            if i % 3 == 1:
                data = b"\x16\x03\x01" + data
            elif i % 3 == 2:
                data = tls.record(HANDSHAKE, data[:16384])
            r = s.plain()
            try:
                r.send(data)
            except OSError:
                pass
            if i % 7 == 0:
                self.over(r)
            else:
                r.close()
        self.after(s, good)

    def test_broken_hellos(self):
        """A good ClientHello with each byte changed, cut short, or longer than it says."""
        s, good = self.fresh("--handshake-timeout", 2)
        hello = tls.make_hello()
        for i in range(len(hello)):
            for bit in (1, 0x80):
                r = s.plain()
                try:
                    r.send(hello[:i] + bytes([hello[i] ^ bit]) + hello[i + 1:])
                except OSError:
                    pass
                r.close()
        body = hello[5:]
        for i in range(len(body)):
            r = s.plain()
            r.send(tls.record(HANDSHAKE, body[:1] + struct.pack(">I", i)[1:] + body[4:4 + i]))
            r.close()
        self.after(s, good)

    def test_second_flight_spoilt(self):
        """Each byte of ClientKeyExchange, ChangeCipherSpec and Finished changed: no connection, no harm."""
        s, good = self.fresh("--handshake-timeout", 2, auth=False)
        ctx, sizes = tls.new_context("ECDHE-ECDSA-AES128-GCM-SHA256", high=tls.TLS12), []
        s.raw(ctx=ctx, put=lambda wire, data: (sizes.append(len(data)), wire.sock.sendall(data))).close()
        for i in range(0, sizes[1], SOME):
            def put(wire, data):
                if wire.server_random:
                    data = data[:i] + bytes([data[i] ^ 1]) + data[i + 1:] if i < len(data) else data
                wire.sock.sendall(data)
            with self.assertRaises(tls.BROKEN, msg=f"byte {i}"):
                s.raw(ctx=ctx, put=put)
        self.after(s, good)

    def test_records_spoilt(self):
        """A bad MAC, wherever: the connection ends, and nothing of it is taken as data."""
        s, good = self.fresh()
        for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"):
            ctx, i, size = tls.new_context(f"ECDHE-ECDSA-{cipher}", high=tls.TLS12), 5, 6
            while i < size:
                c, held = s.ws(token=mint(permissions={"all": ["/"]}), wire={"ctx": ctx}), []
                c.put = lambda wire, data: held.append(data)
                c.send_frame(black.TEXT, b"spoilt")
                data, = held
                size = len(data)
                c.sock.sendall(data[:i] + bytes([data[i] ^ 0x40]) + data[i + 1:])
                self.over(c)
                c.close()
                i += 3
        s.feed(b"the end\n")
        self.assertEqual(good.message(), b"the end")
        self.after(s, good)

    def test_replayed_and_reordered(self):
        s, good = self.fresh()
        for order in ((0, 0), (1, 0), (0, 2), (1,)):
            c, held = s.ws(token=mint(permissions={"all": ["/"]})), []
            c.put = lambda wire, data: held.append(data)
            for i in range(3):
                c.send_frame(black.TEXT, b"first")
            c.sock.sendall(b"".join(held[i] for i in order))
            self.over(c)
            got = 1 if order[0] == 0 else 0  # what stood in its place has been said
            for _ in range(got):
                self.assertEqual(good.message(), b"first")
        self.after(s, good)

    def test_record_lengths(self):
        """Over 2^14 + 2048, before and after the handshake: RFC 5246 6.2.3."""
        s, good = self.fresh("--handshake-timeout", 2)
        for n in (16385, 18433, 30000, 65535):
            for kind in (HANDSHAKE, DATA, ALERT, 0, 255):
                self.bad(s, struct.pack(">BHH", kind, 0x0303, n) + b"\1" * n)
            c = s.ws()
            try:
                c.sock.sendall(struct.pack(">BHH", DATA, 0x0303, n + 2048) + b"\1" * 60000
                               if n < 60000 else struct.pack(">BHH", DATA, 0x0303, n) + b"\1" * n)
            except OSError:
                pass
            self.over(c)
            c.close()
        for n in range(0, 24):               # too short for a nonce and a tag
            c = s.ws()
            c.sock.sendall(tls.record(DATA, bytes(n)))
            if n:
                self.over(c)
            c.close()
        self.after(s, good)

    def test_wrong_records(self):
        """Of a type that is not due, or unknown; of another version; each in the clear where it must not be."""
        s, good = self.fresh("--handshake-timeout", 2)
        for first in (tls.record(DATA, b"GET / HTTP/1.1\r\n\r\n"), tls.record(CHANGE, b"\1"),
                      tls.record(24, b"\1\x40\0"),
                      tls.record(255, b"x"), tls.record(HANDSHAKE, b"\x14\0\0\x0c" + bytes(12)),
                      tls.record(HANDSHAKE, b"\x10\0\0\x42\x41" + bytes(65)), tls.record(CHANGE, b"\2"),
                      tls.record(HANDSHAKE, tls.make_hello()[5:], 0x0203)):
            self.bad(s, first)
        for then in (tls.record(DATA, b"plain"), tls.record(CHANGE, b"\1"), tls.record(HANDSHAKE, tls.make_hello()[5:]),
                     tls.record(DATA, bytes(40), 0x0301), tls.record(255, bytes(40))):
            c = s.ws()
            c.sock.sendall(then)
            self.over(c)
            r = s.plain()
            r.send(tls.make_hello())
            tls.read_record(r)
            r.send(then)
            self.over(r)
            r.close()
            c.close()
        self.after(s, good)

    def test_alerts(self):
        """A fatal one ends it; plain warnings in the handshake change nothing, or end it."""
        s, good = self.fresh("--handshake-timeout", 2)
        for body in (b"\2\x28", b"\2\0", b"\1\0", b"\3\0", b"\2", b"\0\0", b"\2\x28\2\x28"):
            for before in (b"", tls.make_hello()):
                self.bad(s, before, tls.record(ALERT, body))
        for body in (b"\2\x28", b"\2\0", b"\1\0"):
            seal = tls.Seal(s, self.path("keys"))
            seal.send(DATA, black.request(token=mint()))
            self.assertEqual(seal.wire.reply().status, 101)
            seal.send(ALERT, body)
            self.over(seal.wire)
            seal.wire.close()
        self.after(s, good)

    def flood(self, s, good, make, many):
        """Records by the thousand; the others are served while they come."""
        stop = threading.Event()

        def pour():
            try:
                while not stop.is_set():
                    many.sock.sendall(make())
            except OSError:
                pass
        t = threading.Thread(target=pour, daemon=True)
        t.start()
        for _ in range(20):
            self.serves(s, good)
        stop.set()
        try:
            many.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                             # it is over already
        t.join()
        many.close()

    def test_floods_in_the_handshake(self):
        """Warnings without end, empty records, one byte at a time."""
        s, good = self.fresh()
        for data in (tls.record(ALERT, b"\1\x5a") * 1000, tls.record(HANDSHAKE, b"") * 1000,
                     tls.record(ALERT, b"") * 1000, tls.record(DATA, b"") * 1000):
            self.flood(s, good, lambda: data, s.plain())
        self.after(s, good)

    def test_floods_in_a_connection(self):
        """The same with records that are sealed well, by a client that was let in."""
        s, good = self.fresh()
        for kind, body in ((DATA, b""), (ALERT, b"\1\x5a"), (ALERT, b"\1\x64"), (HANDSHAKE, b"\0\0\0\0"),
                           (HANDSHAKE, b""), (CHANGE, b"\1"), (24, b"\1\x40\0x"), (DATA, b"\x89")):
            with self.subTest(kind=kind, body=body):
                seal = tls.Seal(s, self.path("keys"))
                seal.send(DATA, black.request(token=mint()))
                self.assertEqual(seal.wire.reply().status, 101)
                self.flood(s, good, lambda: b"".join(seal.record(kind, body) for _ in range(200)), seal.wire)
        self.after(s, good)

    def test_trickle(self):
        """A handshake of one byte at a time is bounded by the timeout, whatever it is made of."""
        s, good = self.fresh("--handshake-timeout", 1)
        for data in (tls.hello(), tls.record(HANDSHAKE, b"") * 100, tls.record(ALERT, b"\1\x5a") * 100):
            r, end = s.plain(), time.monotonic() + black.WAIT

            def drip():
                for b in data * 100:
                    if select.select([r.sock], [], [], 0.02)[0] or time.monotonic() > end:
                        return
                    try:
                        r.send(bytes([b]))
                    except OSError:
                        return
            begin = time.monotonic()
            drip()
            self.over(r)
            self.assertLess(time.monotonic() - begin, 8)
        self.serves(s, good)

    def test_reads_nothing_in_the_handshake(self):
        """Its window is closed before the server's flight: the slot is freed in time."""
        s, good = self.fresh("--handshake-timeout", 1, kind="rsa")
        rs = []
        for _ in range(4):
            r = black.Raw(s.addr, rcvbuf=256)
            black.socks.append(r)
            r.send(tls.hello())
            rs.append(r)
        s.wait_log(4, event="reject")
        self.after(s, good)

    def test_idle_processor(self):
        """Half of a record, half of a handshake, an end: none makes it spin."""
        s, good = self.fresh("--handshake-timeout", 60)
        c, r = s.ws(), s.plain()
        c.sock.sendall(b"\x17\x03\x03\x00")
        r.send(tls.hello())
        r.take(50)
        r.sock.shutdown(socket.SHUT_WR)
        full = s.ws(rcvbuf=4096)
        for i in range(100):
            s.feed(b"%d\n" % i)
        good.messages(100)
        self.idle(s)
        self.assertTrue(full)
