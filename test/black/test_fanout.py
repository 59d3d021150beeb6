"""One source, many clients: whole, in order, and nobody waits for another (--slow, --replay)."""
import os, random, select, socket, struct, threading, time
import black
from black import CLOSE, PING, TEXT, frame, until
from streams import Herd, Streams, counting, feeder, framed, lines


class Fanout(black.Case):
    def test_200_clients_20000_lines(self):
        s = self.server("--slow", "wait", "--max-clients", 300, "--exit-on-eof", "--metrics", f"unix:{self.tmp}/m")
        lines = [b"%d %s" % (i, b"abcdefghij"[:i % 11]) for i in range(20000)]
        cs = [s.ws() for _ in range(200)]
        t = feeder(s, b"\n".join(lines) + b"\n")
        Herd(cs, framed(lines)).run()
        t.join()
        m = self.metrics(s, f"{self.tmp}/m")
        self.assertEqual(m["sluice_clients"], 200)
        self.assertEqual(m["sluice_messages_total"], 20000)
        self.assertEqual(m["sluice_deliveries_total"], 200 * 20000)
        s.proc.stdin.close()
        s.proc.stdin = None
        for c in cs:
            self.assertEqual(c.closed()[0], 1001)
        s.ended(0)

    def test_exit_on_eof_delivers_all(self):
        """Also to one who reads late, and it was a file from the start."""
        s = self.server("--slow", "wait", "--exit-on-eof")
        lines = [b"%d" % i for i in range(100000)]
        cs = [s.ws() for _ in range(3)]
        late = s.ws(rcvbuf=4096)
        t = threading.Thread(target=lambda: (s.feed(b"\n".join(lines)), s.proc.stdin.close()), daemon=True)
        t.start()
        want = framed(lines)
        c = cs[0]
        while len(c.buf) < 100000 and c.fill():
            pass                             # late has read nothing until here
        Herd([*cs, late], want).run()
        t.join()
        s.proc.stdin = None
        for c in [*cs, late]:
            self.assertEqual(c.closed()[0], 1001)
        s.ended(0)

    def test_exit_on_eof_of_nothing(self):
        s = self.server("--exit-on-eof", stdin=black.subprocess.DEVNULL, ready=False)
        s.ended(0)

    def test_exit_on_eof_last_of_several(self):
        s = self.server("--exit-on-eof", "--source", "-", "--source", f"unix:{self.tmp}/u", "--log-level", "debug")
        c = s.ws()
        s.feed(b"x\n")
        self.assertEqual(c.message(), b"x")
        s.proc.stdin.close()
        s.proc.stdin = None
        s.wait_log(event="source_eof")
        w = socket.socket(socket.AF_UNIX)    # this one accepts writers: it never ends
        w.connect(f"{self.tmp}/u")
        w.sendall(b"y\n")
        self.assertEqual(c.message(), b"y")
        w.close()
        c.send_frame(PING)
        c.frame()

    def test_lockstep(self):
        """Nothing is held back: each message arrives before the next is written."""
        s = self.server()
        cs = [s.ws() for _ in range(10)]
        begin = time.monotonic()
        for i in range(500):
            s.feed(b"%d\n" % i)
            for c in cs:
                self.assertEqual(c.message(), b"%d" % i)
        self.assertLess(time.monotonic() - begin, 10, "Nagle's delay, or worse")

    def test_comes_and_goes(self):
        """Clients join and leave in mid-stream; each sees an unbroken stretch."""
        s = self.server("--slow", "wait", "--max-clients", 50)
        rng = random.Random(3)
        with counting(s) as more:
            for _ in range(150):
                more()
                c = s.ws()
                more()
                got = [int(m) for m in c.messages(rng.randrange(1, 300))]
                self.assertEqual(got, list(range(got[0], got[0] + len(got))))
                rng.choice([c.close, c.reset, lambda: None])()
                if len(black.socks) > 30:
                    self.hang_up()


class Slow(Streams, black.Case):
    def test_close(self):
        """A whole ring behind: 1013; what it had got by then is whole."""
        s = self.server("--slow", "close", "--buffer", "256K", "--metrics", f"unix:{self.tmp}/m")
        slow, good = s.ws(rcvbuf=4096), s.ws()
        n, got = self.until_slow(s, good), []
        try:
            while True:
                op, data = slow.frame()
                if op == CLOSE:
                    break
                if op != PING:
                    got.append(int(data[:8]))
                    self.assertEqual(data[8:], b"." * 992)
        except (black.Gone, ConnectionResetError):
            data = None
        self.assertEqual(got, list(range(len(got))))
        self.assertLess(len(got), n)
        self.assertIsNotNone(data, "it ended without a close frame")
        self.assertEqual(struct.unpack(">H", data[:2])[0], 1013)
        slow.close()
        self.assertEqual(s.wait_log(event="close", reason="too_slow")["code"], "1013")
        self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_slow_total"], 1)
        self.flood(s, [good], 20, start=n)

    def test_never_reading_delays_nobody(self):
        s = self.server("--slow", "close", "--buffer", "256K")
        good = [s.ws() for _ in range(3)]
        bad = [s.ws(rcvbuf=4096) for _ in range(20)]
        begin = time.monotonic()
        self.flood(s, good, 10000)
        self.assertLess(time.monotonic() - begin, 30)
        s.wait_log(20, event="close", reason="too_slow", code=1013)
        self.assertEqual(len(s.log(event="close")), len(bad))

    def test_skip(self):
        """It goes on, and ends with the newest."""
        s = self.server("--slow", "skip", "--buffer", "256K", "--metrics", f"unix:{self.tmp}/m")
        slow, good = s.ws(rcvbuf=4096), s.ws()
        n = self.until_slow(s, good)
        s.feed(b"the end\n")
        self.assertEqual(good.message(), b"the end")
        got = []
        while (m := slow.message()) != b"the end":
            self.assertEqual(m[8:], b"." * 992)
            got.append(int(m[:8]))
        self.assertEqual(got, sorted(set(got)))
        gaps = sum(b - a > 1 for a, b in zip([-1, *got], [*got, n]))
        self.assertGreaterEqual(gaps, 1)
        self.assertEqual(got[0], 0)
        self.flood(s, [good, slow], 100, start=n)   # and it is one like the others again
        self.assertEqual(s.log(event="close"), [])
        self.assertGreaterEqual(self.metrics(s, f"{self.tmp}/m")["sluice_slow_total"], 1)

    def test_skip_in_mid_frame(self):
        """Overtaken with a frame half sent: every byte that it gets still makes sense."""
        s = self.server("--slow", "skip", "--buffer", "64K", "--max-message", "16K")
        for seed in range(12):
            with self.subTest(seed):
                self.overtake(s, random.Random(seed))
        self.assertGreater(len(s.log(event="slow")), 0)
        self.assertEqual({r["reason"] for r in s.log(event="close")}, set())

    def overtake(self, s, rng):
        slow, good, n = s.ws(rcvbuf=2048), s.ws(), 0
        for _ in range(60):
            for _ in range(30):
                size = rng.choice([9, 126, 1000, 5000, 16000])
                m = b"%08d" % n + b"." * (size - 8)
                s.feed(m + b"\n")
                self.assertEqual(good.message(), m)
                n += 1
            want = len(slow.buf) + rng.randrange(20000)
            while len(slow.buf) < want:
                slow.sock.settimeout(0.02)
                try:
                    self.assertTrue(slow.fill(rng.randrange(1, 5000)), "it was closed")
                except TimeoutError:
                    break
        s.feed(b"the end!\n")
        slow.sock.settimeout(black.WAIT)
        last = -1
        while (m := slow.message()) != b"the end!":
            self.assertEqual(m[8:].strip(b"."), b"")
            self.assertGreater(int(m[:8]), last)
            last = int(m[:8])

    def test_wait_of_two(self):
        """One source is held up, another gets a line through: the ten seconds still end."""
        a, b = self.path("a"), self.path("b")
        s = self.server("--slow", "wait", "--source", f"fifo:{a}", "--source", f"fifo:{b}")
        slow = s.ws(rcvbuf=4096)
        fa, fb = (os.open(p, os.O_WRONLY | os.O_NONBLOCK) for p in (a, b))
        line, end = b"." * 999 + b"\n", time.monotonic() + 1

        def full():                          # the pipe stays full for a while
            nonlocal end
            try:
                os.write(fa, line)
                end = time.monotonic() + 1
            except BlockingIOError:
                time.sleep(0.01)
            return time.monotonic() > end
        until(full, "a source that is held up")
        got = len(slow.buf)
        while len(slow.buf) < got + (1 << 15):
            slow.fill(4096)
        os.write(fb, b"through\n")
        s.wait_log(event="close", reason="too_slow")
        until(lambda: os.write(fa, line) if select.select([], [fa], [], 0)[1] else 0, "the source goes on")
        os.close(fa)
        os.close(fb)

    def test_wait_for_a_long_one(self):
        """A message that needs far more room than is free behind the one who is stuck."""
        s = self.server("--slow", "wait", "--buffer", "128K", "--metrics", f"unix:{self.tmp}/m")
        stuck, good = s.ws(rcvbuf=4096), s.ws()
        sent = 0

        def behind():
            nonlocal sent
            for _ in range(4):
                s.feed(b"." * 999 + b"\n")
                sent += 1
                self.assertEqual(good.message(), b"." * 999)
            m = self.metrics(s, f"{self.tmp}/m")
            return 2 * sent - m["sluice_deliveries_total"] >= 48
        until(behind, "half of the ring behind")
        s.feed(b"x" * 65000 + b"\n")
        self.assertEqual(good.message(), b"x" * 65000)
        self.assertEqual(s.wait_log(event="close", reason="too_slow")["client"],
                         "%s:%d" % stuck.sock.getsockname())

    def test_wait_for_a_trickle(self):
        """Progress is progress, however little: too little for the socket to become writable."""
        s = self.server("--slow", "wait")
        slow, stop = s.ws(rcvbuf=4096), threading.Event()

        def feed():
            while not stop.is_set():
                if select.select([], [s.proc.stdin], [], 0.1)[1]:
                    os.write(s.proc.stdin.fileno(), (b"." * 99 + b"\n") * 40)
        t = threading.Thread(target=feed, daemon=True)
        t.start()
        end = time.monotonic() + 24
        while time.monotonic() < end:
            self.assertTrue(slow.fill(600), "it was closed")
            time.sleep(0.2)
        stop.set()
        t.join()
        self.assertEqual(s.log(event="slow"), [])

    def test_wait(self):
        """The source is held up until it has caught up: nothing is lost, to nobody."""
        s = self.server("--slow", "wait", "--buffer", "256K")
        slow, good = s.ws(rcvbuf=4096), s.ws()
        data = lines(30000)
        want, t = framed(data), feeder(s, b"\n".join(data) + b"\n")
        good.sock.settimeout(1)
        try:
            while len(good.buf) < len(want):
                good.fill(1 << 18)
            self.fail("the source was not held up")
        except TimeoutError:                 # as much as the slow one's buffers allow
            pass
        self.assertTrue(t.is_alive())
        self.idle(s)
        self.assertGreater(len(good.buf), 200000)
        Herd([slow, good], want).run()
        t.join()
        self.assertEqual(s.log(event="close"), [])

    def test_wait_ends(self):
        """Held up for 10 s without progress: closed, and the others go on."""
        s = self.server("--slow", "wait", "--buffer", "256K")
        stuck, good = s.ws(rcvbuf=4096), s.ws()
        data = lines(30000)
        begin = time.monotonic()
        t = feeder(s, b"\n".join(data) + b"\n")
        Herd([good], framed(data)).run(40)
        t.join()
        took = time.monotonic() - begin
        self.assertGreater(took, 9)
        self.assertLess(took, 25)
        rec = s.wait_log(event="close", reason="too_slow")
        self.assertEqual((rec["code"], rec["client"]), ("1013", "%s:%d" % stuck.sock.getsockname()))
        self.assertEqual(len(s.log(event="close")), 1)

    def test_wait_with_progress(self):
        """A trickle is progress: it is not closed, though it takes longer than 10 s."""
        s = self.server("--slow", "wait", "--buffer", "128K")
        slow = s.ws(rcvbuf=4096)
        data = lines(3000)
        t = feeder(s, b"\n".join(data) + b"\n")
        end = time.monotonic() + 14
        while time.monotonic() < end:
            slow.fill(20000)
            time.sleep(0.2)
        Herd([slow], framed(data)).run()
        t.join()
        self.assertEqual(s.log(event="close"), [])


class MidFrame(black.Case):
    """What the server has to say while a frame is half sent waits for that frame's end."""

    def behind(self, *args, **token):
        """A client that lacks half of what was sent to it: a unix socket holds some 200 KB."""
        s = self.server("--buffer", "1M", *args, listen=(f"unix:{self.tmp}/s",))
        c, good = s.ws(token=black.mint(**token)), s.ws()
        for i in range(120):
            s.feed(b"%08d" % i + b"." * 5001 + b"\n")
            good.message()
        return s, c, 120

    def numbers(self, c, until):
        """Read whole messages, in order, until this other frame; how many there were."""
        n = 0
        while (f := c.frame()) != until:
            if f[0] == TEXT:
                self.assertEqual(f[1], b"%08d" % n + b"." * 5001)
                n += 1
            elif f[0] == CLOSE and until[0] == CLOSE:
                self.assertEqual(f[1][:2], until[1])
                break
            else:
                self.assertIn(f[0], (PING, black.PONG))
        return n

    def test_pong(self):
        s, c, n = self.behind()
        for i in range(30):
            c.send_frame(PING, b"%d" % i)
            if i % 5 == 0:
                c.fill(30000)
        got = self.numbers(c, (black.PONG, b"29"))
        self.assertLessEqual(got, n)
        s.feed(b"the end\n")
        while (m := c.message()) != b"the end":
            self.assertEqual(m, b"%08d" % got + b"." * 5001)
            got += 1
        self.assertEqual(got, n)

    def test_close_handshake(self):
        _, c, n = self.behind()
        c.send_frame(CLOSE, b"\x0b\xb8")
        self.assertLess(self.numbers(c, (CLOSE, b"\x0b\xb8")), n)
        self.assertTrue(c.eof())

    def test_violation(self):
        _, c, n = self.behind()
        c.send(frame(TEXT, b"x", mask=b"abcd"))
        self.assertLess(self.numbers(c, (CLOSE, b"\x03\xf0")), n)

    def test_session_end(self):
        """Also where the server is the one who has had enough."""
        s, c, n = self.behind(session=1)
        time.sleep(1.2)                      # the session, not a synchronisation
        self.assertLess(self.numbers(c, (CLOSE, b"\x11\x31")), n)
        c.close()
        s.wait_log(event="close", reason="session_ended")

    def test_server_pings(self):
        s, c, n = self.behind("--ping", 1)
        end = time.monotonic() + 3
        c.sock.settimeout(0.1)
        while time.monotonic() < end:        # reads slowly, says something now and then
            try:
                c.fill(2000)
            except TimeoutError:
                pass
            c.send_frame(black.PONG, b"")
        c.sock.settimeout(black.WAIT)
        c.send_frame(PING, b"last")
        self.numbers(c, (black.PONG, b"last"))

    def test_shutdown(self):
        s, c, n = self.behind()
        s.kill(15)
        try:
            self.assertLess(self.numbers(c, (CLOSE, b"\x03\xe9")), n)
        except (black.Gone, ConnectionResetError):
            pass                             # cut off within 2 s, but never a wrong byte
        s.ended(0, 2)


class Replay(black.Case):
    def test_replay(self):
        s = self.server("--replay", 3)
        first = s.ws()
        ms = [b"%d" % i for i in range(10)]
        for m in ms:
            s.feed(m + b"\n")
            self.assertEqual(first.message(), m)
        for path, n in (("/", 3), ("/?replay=0", 0), ("/?replay=1", 1), ("/?replay=7", 7),
                        ("/?replay=1000", 14)):
            c = s.ws(path)
            ms.append(b"now" + path.encode())
            s.feed(ms[-1] + b"\n")
            first.message()
            with self.subTest(path):
                self.assertEqual(c.messages(n + 1), ms[-n - 1:])

    def test_off_by_default(self):
        s = self.server()
        first = s.ws()
        s.feed(b"before\n")
        first.message()
        late = s.ws()
        s.feed(b"after\n")
        self.assertEqual(late.message(), b"after")

    def test_what_the_ring_holds(self):
        """An unbroken stretch up to the newest, and most of the buffer's worth of it."""
        s = self.server("--buffer", "64K", "--max-message", "1K")
        first, n = s.ws(), 3000
        for i in range(0, n, 100):
            s.feed(b"".join(b"%06d%s\n" % (j, b"." * 94) for j in range(i, i + 100)))
            first.messages(100)
        c = s.ws("/?replay=100000")
        s.feed(b"mark\n")
        got = []
        while (m := c.message()) != b"mark":
            got.append(int(m[:6]))
        self.assertEqual(got, list(range(n - len(got), n)))
        self.assertGreater(len(got), 64 * 1024 / 102 / 3)
        self.assertLess(len(got), 64 * 1024 / 102)


class TinyRing(black.Case):
    def test_wrap(self):
        """Every size against every place of the wrap; readers at the front, behind, and joining."""
        for buffer, longest, seed in (("4K", 1000, 1), ("4097", 2000, 2), ("8K", 4096, 3), ("5000", 300, 4), ("6001", 126, 5)):
            with self.subTest(buffer=buffer, longest=longest):
                s = self.server("--buffer", buffer, "--max-message", longest, "--slow", "wait")
                rng, n = random.Random(seed), 4000 if longest > 1000 else 8000
                sizes = [rng.choice([rng.randrange(longest + 1), rng.randrange(20), longest, 125, 126]) for _ in range(n)]
                ms = [((b"%d:" % i) * (k // 2 + 1))[:min(k, longest)] for i, k in enumerate(sizes)]
                front, behind = s.ws(), s.ws(rcvbuf=2048)
                t = threading.Thread(target=s.feed, args=(b"\n".join(ms) + b"\n",), daemon=True)
                t.start()
                Herd([front, behind], framed(ms)).run()
                t.join()
                s.stop()
                self.hang_up()

    def test_replay_at_every_place(self):
        s = self.server("--buffer", "4K", "--max-message", "1K")
        rng, first, ms = random.Random(9), s.ws(), []
        for i in range(700):
            m = (b"%d," % i * 400)[:rng.choice([0, 5, 125, 126, rng.randrange(1025)])]
            s.feed(m + b"\n")
            self.assertEqual(first.message(), m)
            ms.append(m)
            c = s.ws("/?replay=1000")
            ms.append(b"now%d" % i)
            s.feed(ms[-1] + b"\n")
            self.assertEqual(first.message(), ms[-1])
            got = [c.message()]
            while got[-1] != ms[-1]:
                got.append(c.message())
            self.assertEqual(got, ms[len(ms) - len(got):])
            self.assertGreater(len(got), 1)
            c.close()
            if i % 50 == 0:
                self.hang_up_but(first)

    def hang_up_but(self, keep):
        for c in [c for c in black.socks if c is not keep]:
            c.close()
            black.socks.remove(c)
