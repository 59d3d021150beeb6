"""Frames (RFC 6455 5 to 7), out and in, on raw sockets and with clients of others."""
import asyncio, base64, json, os, signal, time
import websockets
import black
from black import BINARY, CLOSE, PING, PONG, TEXT, frame, node, until

LENGTHS = (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 100000)
MASK = b"\x11\x22\x33\x44"


class Out(black.Case):
    def test_lengths(self):
        """Each form of the length; Raw.frame checks that it is the shortest."""
        s = self.server("--max-message", "128K", "--buffer", "1M")
        c = s.ws()
        for n in LENGTHS:
            data = (b"%d," % n * n)[:n]
            s.feed(data + b"\n")
            self.assertEqual(c.message(), data)

    def test_lengths_other_clients(self):
        s = self.server("--max-message", "128K", "--buffer", "1M", "--replay", 20)
        url = "ws://%s:%d/" % s.addr
        want = [("%d," % n * n)[:n] for n in LENGTHS]
        s.feed("".join(x + "\n" for x in want).encode())
        s.ws().messages(len(want))           # all are in

        async def python():
            async with websockets.connect(url, extra_headers={"Authorization": f"Bearer {black.mint()}"}) as w:
                self.assertEqual(w.extensions, [])
                self.assertEqual([await w.recv() for _ in want], want)
                self.assertTrue(await asyncio.wait_for(await w.ping(b"x" * 125), black.WAIT) is not False)
        asyncio.run(asyncio.wait_for(python(), black.WAIT))
        out = node("client.mjs", url, json.dumps({"headers": {"Authorization": f"Bearer {black.mint()}"},
                                                  "stop": len(want)}))
        got = [json.loads(x) for x in out.splitlines()]
        self.assertEqual(got[0], {"open": "", "extensions": ""})
        self.assertEqual([x["text"] for x in got[1:-1]], want)
        self.assertEqual(got[-1]["close"], 1000)

    def test_binary(self):
        s = self.server("--binary", "--framing", "len32", "--replay", 5)
        data = bytes(range(256))
        s.feed(b"\0\0\1\0" + data)
        self.assertEqual(s.ws().message(BINARY), data)
        url = "ws://%s:%d/" % s.addr
        out = node("client.mjs", url, json.dumps({"protocols": ["bearer", black.mint()], "stop": 1}))
        self.assertEqual(base64.b64decode(json.loads(out.splitlines()[1])["binary"]), data)


class In(black.Case):
    def setUp(self):
        super().setUp()
        self.s = self.server(auth=False)

    def ends(self, code, raw, more=b""):
        """These bytes are answered with a close frame of this code."""
        c = self.s.ws()
        c.send(raw)
        got = c.closed()
        self.assertEqual(got[0], code, raw[:20])
        self.s.wait_log(event="close", code=code)
        return got[1]

    def test_ping(self):
        c = self.s.ws()
        for data in (b"", b"a", b"\0\xff" * 62, b"x" * 125):
            for mask in (b"\0\0\0\0", MASK, b"\xff\0\xff\0"):
                c.send(frame(PING, data, mask=mask))
                self.assertEqual(c.frame(), (PONG, data))

    def test_ping_split_at_each_byte(self):
        """In every two pieces; between the pieces another client has its answer."""
        other, c = self.s.ws(), self.s.ws()
        for data in (b"", b"hello", b"y" * 125):
            f = frame(PING, data, mask=MASK)
            for i in range(1, len(f)):
                c.send(f[:i])
                other.send(frame(PING, b"%d" % i, mask=MASK))
                self.assertEqual(other.frame(), (PONG, b"%d" % i))
                c.send(f[i:])
                self.assertEqual(c.frame(), (PONG, data))

    def test_many_pings_at_once(self):
        c = self.s.ws()
        c.send(b"".join(frame(PING, b"%d" % i, mask=MASK) for i in range(500)))
        self.s.feed(b"between\n")
        got = [c.frame() for _ in range(501)]
        got.remove((TEXT, b"between"))
        # RFC 6455 5.5.3: of several pings only the latest need be answered; here they all are,
        # or they end in order with the last.
        self.assertEqual(got, [(PONG, b"%d" % i) for i in range(500)])

    def test_pings_while_not_reading(self):
        """A client that sends pings and never reads the pongs costs itself, nobody else."""
        c, good = self.s.ws("/", rcvbuf=4096), self.s.ws()
        c.sock.settimeout(0.5)
        try:
            for _ in range(3000):
                c.send(frame(PING, b"x" * 125, mask=MASK) * 20)
        except OSError:
            pass
        self.s.feed(b"x\n")
        self.assertEqual(good.message(), b"x")

    def test_pong_is_welcome(self):
        c = self.s.ws()
        c.send(frame(PONG, b"unasked", mask=MASK) + frame(PONG, b"", mask=MASK) + frame(PING, b"z", mask=MASK))
        self.assertEqual(c.frame(), (PONG, b"z"))

    def test_unmasked(self):
        for op in (PING, PONG, CLOSE, TEXT, BINARY):
            self.ends(1002, frame(op, b"\x03\xe8"))
        self.s.wait_log(event="close", reason="ws_unmasked")

    def test_reserved_bits(self):
        for rsv in range(1, 8):
            self.ends(1002, frame(PING, b"", rsv=rsv, mask=MASK))
            self.ends(1002, frame(TEXT, b"abc", rsv=rsv, mask=MASK))
        self.s.wait_log(event="close", reason="ws_reserved_bit")

    def test_reserved_opcodes(self):
        for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.ends(1002, frame(op, b"", mask=MASK))
        self.s.wait_log(event="close", reason="ws_opcode")

    def test_long_control(self):
        for op in (PING, PONG, CLOSE):
            self.ends(1002, frame(op, b"x" * 126, mask=MASK))
            self.ends(1002, bytes([0x80 | op, 0x80 | 126]))   # known from two bytes
            self.ends(1002, bytes([0x80 | op, 0x80 | 127]))

    def test_fragmented_control(self):
        for op in (PING, PONG, CLOSE):
            self.ends(1002, frame(op, b"", fin=False, mask=MASK))
            self.ends(1002, bytes([op, 0x80]))
        self.s.wait_log(event="close", reason="ws_control_frame")

    def test_data(self):
        """1008 at the first header: it waits for no payload."""
        for raw in (frame(TEXT, b"hello", mask=MASK), frame(BINARY, b"hello", mask=MASK), frame(TEXT, b"", mask=MASK),
                    frame(TEXT, b"a", fin=False, mask=MASK), b"\x81\x85" + MASK, b"\x81\xfe\xff\xff" + MASK,
                    b"\x82\xff\0\0\0\x7f\xff\xff\xff\xff" + MASK):
            self.ends(1008, raw)
        self.s.wait_log(event="close", reason="read_only")

    def test_data_from_other_clients(self):
        url = "ws://%s:%d/" % self.s.addr

        async def python():
            for data in ("x", b"x", ["fragments", "of", "one"], "y" * 200000):
                w = await websockets.connect(url)
                try:
                    await w.send(data)
                except websockets.ConnectionClosed:
                    pass
                await w.wait_closed()
                self.assertEqual(w.close_code, 1008, data[:5])
        asyncio.run(asyncio.wait_for(python(), black.WAIT))

    def test_stray_continuation(self):
        """Nothing to continue: an error of protocol (5.4), or data that is refused."""
        c = self.s.ws()
        c.send(frame(0, b"x", mask=MASK))
        self.assertIn(c.closed()[0], (1002, 1008))

    def test_length_forms(self):
        """5.2: the shortest form, and the top bit of the longest is 0."""
        for raw in (b"\x81\xfe\0\x05" + MASK, b"\x81\xff" + b"\0" * 7 + b"\x05" + MASK,
                    b"\x81\xff\x80" + b"\0" * 7 + MASK):
            c = self.s.ws()
            c.send(raw + b"hello")
            self.assertIn(c.closed()[0], (1002, 1008))

    def test_garbage(self):
        for i in range(50):
            c = self.s.ws()
            c.send(os.urandom(500))
            c.sock.settimeout(black.WAIT)
            if i % 2:
                c.close()
                continue
            code = c.closed(data_too=True)[0]
            self.assertIn(code, (1000, 1002, 1005, 1007, 1008))
        self.s.ws()


class Close(black.Case):
    def setUp(self):
        super().setUp()
        self.s = self.server(auth=False)

    def close(self, payload):
        c = self.s.ws()
        c.send(frame(CLOSE, payload, mask=MASK))
        op, data = c.frame()
        self.assertEqual(op, CLOSE)
        self.assertTrue(c.eof())             # the server closes first (7.1.1)
        return data

    def test_echo(self):
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            payload = code.to_bytes(2, "big")
            self.assertEqual(self.close(payload)[:2], payload)
            self.assertEqual(self.close(payload + b"caf\xc3\xa9 " + b"x" * 100)[:2], payload)

    def test_empty(self):
        self.assertIn(self.close(b""), (b"", b"\x03\xe8"))

    def test_bad_codes(self):
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            with self.subTest(code):
                self.assertEqual(self.close(code.to_bytes(2, "big"))[:2], b"\x03\xea")
        self.assertEqual(self.close(b"\x03")[:2], b"\x03\xea")
        self.s.wait_log(event="close", reason="ws_close_payload", code=1002)

    def test_reason_not_utf8(self):
        for text in (b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"a" * 120 + b"\xe2\x82"):
            with self.subTest(text):
                self.assertEqual(self.close(b"\x03\xe8" + text)[:2], b"\x03\xef")
        self.s.wait_log(event="close", reason="ws_not_utf8", code=1007)

    def test_split(self):
        f = frame(CLOSE, b"\x03\xe8bye", mask=MASK)
        for i in range(1, len(f)):
            c, other = self.s.ws(), self.s.ws()
            c.send(f[:i])
            other.send(frame(PING, b"", mask=MASK))
            other.frame()
            c.send(f[i:])
            self.assertEqual(c.frame()[1][:2], b"\x03\xe8")

    def test_nothing_after_close(self):
        """Neither messages nor pongs."""
        c, other = self.s.ws(), self.s.ws()
        c.send(frame(CLOSE, b"\x03\xe8", mask=MASK) + frame(PING, b"late", mask=MASK))
        self.s.feed(b"x\n")
        other.message()
        got = []
        while not got or got[-1][0] != CLOSE:
            got.append(c.frame())
        self.assertLessEqual(len(got), 2)    # x may have been sent just before
        self.assertTrue(c.eof())

    def test_log(self):
        c = self.s.ws("/some/where")
        name = "%s:%d" % c.sock.getsockname()
        c.send(frame(CLOSE, b"\x0b\xb8mine", mask=MASK))
        c.frame()
        got = self.s.wait_log(event="close", client=name)
        self.assertEqual((got["reason"], got["code"]), ("peer_closed", "3000"))
        gone = self.s.ws()
        name = "%s:%d" % gone.sock.getsockname()
        gone.close()
        got = self.s.wait_log(event="close", client=name)
        self.assertEqual((got["reason"], got["code"]), ("peer_gone", "1006"))
        gone = self.s.ws()
        name = "%s:%d" % gone.sock.getsockname()
        gone.reset()
        self.assertEqual(self.s.wait_log(event="close", client=name)["reason"], "peer_gone")

    def test_close_from_other_clients(self):
        url = "ws://%s:%d/" % self.s.addr

        async def python():
            w = await websockets.connect(url)
            await w.close(4321, "na\u00efve")
            self.assertEqual(w.close_code, 4321)
        asyncio.run(asyncio.wait_for(python(), black.WAIT))
        self.s.wait_log(event="close", code=4321)


class Pings(black.Case):
    def test_server_pings(self):
        s = self.server("--ping", 1)
        c = s.ws()
        last = time.monotonic()
        for _ in range(3):
            op, data = c.frame()
            self.assertEqual(op, PING)
            now = time.monotonic()
            self.assertLess(now - last, 2.5)
            last = now
            c.send_frame(PONG, data)

    def test_silent_client_is_dropped(self):
        """Silent for two intervals; one that answers, or sends pings of its own, is not."""
        s = self.server("--ping", 1)
        begin, answered = time.monotonic(), 0
        silent, good, talker = s.ws(), s.ws(), s.ws()

        def keep():
            nonlocal answered
            for c in (good, talker):
                c.sock.settimeout(0.05)
                try:
                    op, data = c.frame()
                    if c is good and op == PING:
                        c.send_frame(PONG, data)
                        answered += 1
                except TimeoutError:
                    pass
            talker.send_frame(PING, b"")
            return s.log(event="close", reason="ping_timeout")
        until(keep, "the end of the silent one")
        self.assertGreater(time.monotonic() - begin, 1.5)
        name = "%s:%d" % silent.sock.getsockname()
        self.assertEqual([r["client"] for r in s.log(event="close")], [name])
        answered = 0
        until(lambda: keep() and answered > 3, "pings of one that answers")
        self.assertEqual(len(s.log(event="close")), 1)
        try:
            while silent.fill():             # and it is cut off, when it did not answer the first
                pass
        except ConnectionResetError:
            pass
        self.assertIn(bytes(silent.buf), (b"", frame(PING)))    # none if the server itself was held up

    def test_end_with_data(self):
        """The end of the stream comes in one event with a frame: it is seen at once."""
        s = self.server("--ping", 600)
        c = s.ws()
        os.kill(s.pid, signal.SIGSTOP)
        c.send_frame(PONG)
        c.sock.close()
        os.kill(s.pid, signal.SIGCONT)
        s.wait_log(event="close", reason="peer_gone")
