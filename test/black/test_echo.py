"""An echo server, as the cases of Autobahn|Testsuite's fuzzing client want it (sections 1 to 7, 9, 10).

A raw client with a token that may read and publish / is one. The numbers are those of the
published case descriptions. A case is what is sent, how it is cut, what comes back, and how
it ends: with the server's close code, or with 1000 when we close after all has come."""
import os, random
import black
from black import BINARY, CLOSE, PING, PONG, TEXT, frame, grant

MASK = b"\x37\xfa\x21\x3d"
K, M = 1 << 10, 1 << 20
WHOLE, FRAMES = 0, -1                        # ways to cut: all at once, frame by frame, else bytes
NOT_UTF8 = 1007
KOSME = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
BYTES8 = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"


def text(data=b"", fin=True, rsv=0):
    return frame(TEXT, data, fin, rsv, MASK)


def more(data=b"", fin=False):
    return frame(0, data, fin, 0, MASK)


def ping(data=b"", fin=True, rsv=0):
    return frame(PING, data, fin, rsv, MASK)


def pong(data=b"", fin=True):
    return frame(PONG, data, fin, 0, MASK)


def close(code=1000, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason, mask=MASK)


def op(n, data=b""):
    return frame(n, data, mask=MASK)


def fragments(kind, data, size):
    """One message in frames of at most this size."""
    cut = [data[i:i + size] for i in range(0, len(data), size)] or [b""]
    return [frame(0 if i else kind, x, i == len(cut) - 1, 0, MASK) for i, x in enumerate(cut)]


def said(*data):
    return [(TEXT, d) for d in data]


class Echo(black.Case):
    ARGS = ()

    def setUp(self):
        super().setUp()
        self.kinds = {}

    def tearDown(self):
        self.hang_up()

    def client(self, kind=TEXT):
        """Of the text server or the binary one."""
        if kind not in self.kinds:
            more = ["--binary"] if kind == BINARY else []
            self.kinds[kind] = self.server("--max-message", "16M", "--buffer", "64M", "--ping", 600, *more)
        return self.kinds[kind].ws("/", token=grant(all=["/"]))

    def send(self, c, frames, chop):
        """False when it has closed meanwhile."""
        data = b"".join(frames)
        cut = (frames if chop == FRAMES else [data] if chop == WHOLE else
               [data[i:i + chop] for i in range(0, len(data), chop)])
        try:
            for piece in cut:
                c.send(piece)
        except OSError:
            return False
        return True

    def case(self, number, frames, want=(), code=1000, chop=WHOLE, kind=TEXT):
        with self.subTest(number):
            c = self.client(kind)
            self.send(c, frames, chop)
            for w in want:
                self.assertEqual(c.frame(), w)
            if code == 1000:                 # all has come, and nothing else: we close
                c.send(close())
                self.assertEqual(c.frame(), (CLOSE, b"\x03\xe8"))
                self.assertTrue(c.eof())
            else:
                self.ended(c, code)
            c.close()
            black.socks.remove(c)

    def ended(self, c, code):
        o, data = c.frame()
        self.assertEqual((o, data[:2]), (CLOSE, code.to_bytes(2, "big")), data)


class Framing(Echo):
    def test_1(self):
        """One message of each length, text and binary."""
        for i, n in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            self.case(f"1.1.{i}", [text(b"*" * n)], said(b"*" * n))
            self.case(f"1.2.{i}", [op(BINARY, b"\xfe" * n)], [(BINARY, b"\xfe" * n)], kind=BINARY)
        self.case("1.1.8", [text(b"*" * 65536)], said(b"*" * 65536), chop=997)
        self.case("1.2.8", [op(BINARY, b"\xfe" * 65536)], [(BINARY, b"\xfe" * 65536)], chop=997, kind=BINARY)

    def test_2(self):
        """Pings and pongs."""
        full = b"\xfe" * 125
        ten = [ping(b"payload-%d" % i) for i in range(10)]
        tens = [(PONG, b"payload-%d" % i) for i in range(10)]
        for n, frames, want, code, chop in (
                ("2.1", [ping()], [(PONG, b"")], 1000, WHOLE),
                ("2.2", [ping(b"Hello, world!")], [(PONG, b"Hello, world!")], 1000, WHOLE),
                ("2.3", [ping(BYTES8)], [(PONG, BYTES8)], 1000, WHOLE),
                ("2.4", [ping(full)], [(PONG, full)], 1000, WHOLE),
                ("2.5", [ping(full + b"\xfe")], [], 1002, WHOLE),
                ("2.6", [ping(full)], [(PONG, full)], 1000, 1),
                ("2.7", [pong()], [], 1000, WHOLE),
                ("2.8", [pong(b"unsolicited")], [], 1000, WHOLE),
                ("2.9", [pong(b"unsolicited"), ping(b"ask")], [(PONG, b"ask")], 1000, WHOLE),
                ("2.10", ten, tens, 1000, FRAMES),
                ("2.11", ten, tens, 1000, 1)):
            self.case(n, frames, want, code, chop)

    def test_3(self):
        """Reserved bits: what came before is echoed, what comes after is not looked at."""
        hello, p = b"Hello, world!", ping()
        for n, frames, want, chop in (
                ("3.1", [text(hello, rsv=1)], [], WHOLE),
                ("3.2", [text(hello), text(hello, rsv=2), p], said(hello), WHOLE),
                ("3.3", [text(hello), text(hello, rsv=3), p], said(hello), FRAMES),
                ("3.4", [text(hello), text(hello, rsv=4), p], said(hello), 1),
                ("3.6", [ping(hello, rsv=6)], [], WHOLE),
                ("3.7", [frame(CLOSE, b"", rsv=7, mask=MASK)], [], WHOLE)):
            self.case(n, frames, want, 1002, chop)
        self.case("3.5", [frame(BINARY, BYTES8, rsv=5, mask=MASK)], [], 1002, kind=BINARY)

    def test_4(self):
        """Reserved opcodes."""
        hello, p = b"Hello, world!", ping()
        for s, first in (("4.1", 3), ("4.2", 11)):
            for n, frames, want, chop in (
                    (1, [op(first)], [], WHOLE),
                    (2, [op(first + 1, b"reserved opcode payload")], [], WHOLE),
                    (3, [text(hello), op(first + 2), p], said(hello), WHOLE),
                    (4, [text(hello), op(first + 3, hello), p], said(hello), FRAMES),
                    (5, [text(hello), op(first + 4, hello), p], said(hello), 1)):
                if first + n - 1 < 16:
                    self.case(f"{s}.{n}", frames, want, 1002, chop)

    def test_5(self):
        """Fragmentation."""
        a, b, whole = b"fragment1", b"fragment2", b"fragment1fragment2"
        two = [text(a, fin=False), more(b, fin=True)]
        mid = [two[0], ping(b"ping"), two[1]]
        self.case("5.1", [ping(a, fin=False), more(b, fin=True)], [], 1002)
        self.case("5.2", [pong(a, fin=False), more(b, fin=True)], [], 1002)
        for i, chop in enumerate((WHOLE, FRAMES, 1)):
            self.case(f"5.{3 + i}", two, said(whole), chop=chop)
            self.case(f"5.{6 + i}", mid, [(PONG, b"ping"), (TEXT, whole)], chop=chop)
            self.case(f"5.{9 + i}", [more(b"nothing", fin=True), text(b"hi")], [], 1002, chop)
            self.case(f"5.{12 + i}", [more(b"nothing"), text(b"hi")], [], 1002, chop)
        self.case("5.15", [*two, more(b"nothing"), text(b"hi")], said(whole), 1002)
        self.case("5.16", [more(b"nothing"), *two] * 2, [], 1002)
        self.case("5.17", [more(b"nothing", fin=True), *two] * 2, [], 1002)
        self.case("5.18", [text(a, fin=False), text(b)], [], 1002)

    def test_5_19(self):
        """Between the parts: pings, each answered at once, and time."""
        part = [b"fragment%d" % i for i in range(1, 6)]
        for number, chop in (("5.19", WHOLE), ("5.20", FRAMES), ("5.20, by bytes", 1)):
            with self.subTest(number):
                c = self.client()
                self.send(c, [text(part[0], fin=False), more(part[1]), ping(b"pongme 1!")], chop)
                self.assertEqual(c.frame(), (PONG, b"pongme 1!"))
                self.send(c, [more(part[2]), more(part[3]), ping(b"pongme 2!")], chop)
                self.assertEqual(c.frame(), (PONG, b"pongme 2!"))
                self.send(c, [more(part[4], fin=True)], chop)
                self.assertEqual(c.frame(), (TEXT, b"".join(part)))


# UTF-8: the sequences of Markus Kuhn's decoder stress test, by the numbers of 6.5 to 6.23.
GOOD = {
    5: [b"hello$world", "hello\u00a2world".encode(), "hello\u20acworld".encode(), "hello\U00024b62world".encode(), KOSME],
    7: [b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    9: [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    22: [chr(plane << 16 | n).encode() for plane in range(17) for n in (0xfffe, 0xffff)],
    23: [chr(n).encode() for n in range(0xfff9, 0x10000)],
}
CUT = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
       b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]
HIGH, LOW = [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"], [b"\xed\xb0\x80", b"\xed\xbf\xbf"]
BAD = {
    8: [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    10: [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    12: [b"\x80", b"\xbf"] + [(b"\x80\xbf" * 3)[:n] for n in range(2, 7)] + [bytes(range(0x80, 0xbf))],
    13: [b"".join(bytes([x, 0x20]) for x in range(a, b)) for a, b in
         ((0xc0, 0xe0), (0xe0, 0xf0), (0xf0, 0xf8), (0xf8, 0xfc), (0xfc, 0xfe))],
    14: CUT, 15: [b"".join(CUT)], 16: [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    17: [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    18: [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
    19: [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    20: [*HIGH, LOW[0], b"\xed\xbe\x80", LOW[1]], 21: [h + w for h in HIGH for w in LOW],
}
EDGES = [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]


class Utf8(Echo):
    def test_6_1(self):
        """Empty ones."""
        self.case("6.1.1", [text()], said(b""))
        self.case("6.1.2", [text(fin=False), more(), more(fin=True)], said(b""))
        self.case("6.1.3", [text(fin=False), more(b"middle frame payload"), more(fin=True)], said(b"middle frame payload"))

    def test_6_2(self):
        """Valid text, whole and in fragments, on and off the boundaries of code points."""
        for n, data, size in ((1, "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!".encode(), 1000),
                              (2, "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!".encode(), 12),
                              (3, "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!".encode(), 1), (4, KOSME, 1)):
            for chop in (WHOLE, FRAMES, 1):
                self.case(f"6.2.{n}", fragments(TEXT, data, size), said(data), chop=chop)

    def test_6_3(self):
        """Not valid: a surrogate in the middle."""
        bad = KOSME + b"\xed\xa0\x80edited"
        self.case("6.3.1", [text(bad)], [], NOT_UTF8)
        self.case("6.3.2", fragments(TEXT, bad, 1), [], NOT_UTF8)

    def fast(self, number, *sends):
        """Each is taken, with a ping's answer behind it where one may stand, but the last ends it."""
        with self.subTest(number):
            c = self.client()
            for data, whole in sends[:-1]:
                c.send(data)
                if whole:
                    c.send(ping(b"fine"))
                    self.assertEqual(c.frame(), (PONG, b"fine"))
            c.send(sends[-1][0])
            self.ended(c, NOT_UTF8)
            c.close()
            black.socks.remove(c)

    def test_6_4(self):
        """At the first byte that cannot be: before the rest of the message, even of its frame, has come."""
        self.fast("6.4.1", (text(KOSME, fin=False), True), (more(b"\xf4\x90\x80\x80"), True))
        self.fast("6.4.2", (text(KOSME + b"\xf4", fin=False), True), (more(b"\x90"), True))
        for n, good, bad in ((3, KOSME, b"\xf4\x90"), (4, KOSME + b"\xf4", b"\x90")):
            whole = text(good + bad + b"\x80\x80edited")
            at = len(whole) - len(bad + b"\x80\x80edited")
            self.fast(f"6.4.{n}", (whole[:at], False), (whole[at:at + len(bad)], False))
            self.fast(f"6.4.{n}, byte by byte", *[(whole[i:i + 1], False) for i in range(at + len(bad))])

    def test_6_5_to_6_23(self):
        for n, rows in GOOD.items():
            for i, data in enumerate(rows, 1):
                self.case(f"6.{n}.{i}", [text(data)], said(data))
        for n, rows in BAD.items():
            for i, data in enumerate(rows, 1):
                self.case(f"6.{n}.{i}", [text(data)], [], NOT_UTF8)
        for i, data in enumerate(EDGES, 1):
            self.case(f"6.11.{i}", [text(data)], said(data) if i < 5 else [], 1000 if i < 5 else NOT_UTF8)

    def test_6_6(self):
        """Every prefix of a good text: good where no code point is cut."""
        good = {2, 5, 7, 9, 11}
        for i in range(1, len(KOSME) + 1):
            data = KOSME[:i]
            self.case(f"6.6.{i}", [text(data)], said(data) if i in good else [], 1000 if i in good else NOT_UTF8)


class Closing(Echo):
    def closes(self, number, frames, want, answer, chop=WHOLE):
        """We close; these frames come, then this answer, then the end."""
        with self.subTest(number):
            c = self.client()
            self.send(c, frames, chop)
            for w in want:
                self.assertEqual(c.frame(), w)
            o, data = c.frame()
            self.assertEqual(o, CLOSE)
            self.assertIn(data[:2], answer)
            try:
                self.assertTrue(c.eof(), bytes(c.buf))
            except ConnectionResetError:
                pass                         # what we sent after our close was not read
            c.close()
            black.socks.remove(c)

    def test_7_1(self):
        """Nothing is said after the close frame, and nothing heard."""
        ok = [b"\x03\xe8"]
        hello = b"Hello World!"
        self.closes("7.1.1", [text(hello), close()], said(hello), ok)
        self.closes("7.1.2", [close(), close()], [], ok)
        self.closes("7.1.3", [close(), ping(b"late")], [], ok)
        self.closes("7.1.4", [close(), text(hello)], [], ok)
        self.closes("7.1.5", [text(b"fragment1", fin=False), close(), more(b"fragment2", fin=True)], [], ok)
        with self.subTest("7.1.6"):          # the large message may be echoed or not
            c, big = self.client(), b"*" * (256 * K)
            self.send(c, [text(big), close(), ping()], FRAMES)
            got = c.frame()
            if got == (TEXT, big):
                got = c.frame()
            self.assertEqual(got, (CLOSE, b"\x03\xe8"))

    def test_7_3(self):
        """Payloads of close frames."""
        why = b"x" * 123
        self.closes("7.3.1", [frame(CLOSE, b"", mask=MASK)], [], [b"", b"\x03\xe8"])
        self.closes("7.3.2", [frame(CLOSE, b"a", mask=MASK)], [], [b"\x03\xea"])
        self.closes("7.3.3", [close()], [], [b"\x03\xe8"])
        self.closes("7.3.4", [close(1000, b"Hello World!")], [], [b"\x03\xe8"])
        self.closes("7.3.5", [close(1000, why)], [], [b"\x03\xe8"])
        self.case("7.3.6", [close(1000, why + b"x")], [], 1002)

    def test_7_5(self):
        self.closes("7.5.1", [close(1000, KOSME + b"\xed\xa0\x80edited")], [], [b"\x03\xef"])

    def test_7_7(self):
        """Codes that may be sent are answered with themselves."""
        for i, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
            self.closes(f"7.7.{i}", [close(code)], [], [code.to_bytes(2, "big")])

    def test_7_9(self):
        """Those that may not, with 1002."""
        for i, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
            self.closes(f"7.9.{i}", [close(code)], [], [b"\x03\xea"])

    def test_7_13(self):
        self.closes("7.13.1", [close(5000)], [], [b"\x03\xea"])
        self.closes("7.13.2", [close(65535)], [], [b"\x03\xea"])


class Limits(Echo):
    """9: large, in many parts, many."""
    SIZES = (64 * K, 256 * K, M, 4 * M, 8 * M, 16 * M)

    def large(self, kind, section, n):
        data = os.urandom(n // 2).hex().encode() if kind == TEXT else os.urandom(n)
        self.case(section, [op(kind, data)], [(kind, data)], kind=kind)

    def test_9_1(self):
        for i, n in enumerate(self.SIZES, 1):
            self.large(TEXT, f"9.1.{i}", n)

    def test_9_2(self):
        for i, n in enumerate(self.SIZES, 1):
            self.large(BINARY, f"9.2.{i}", n)

    def fragmented(self, kind, section):
        data = os.urandom(2 * M).hex().encode()
        for i, size in enumerate((64, 256, K, 4 * K, 16 * K, 64 * K, 256 * K, M, 4 * M), 1):
            self.case(f"{section}.{i}", fragments(kind, data, size), [(kind, data)], kind=kind)

    def test_9_3(self):
        self.fragmented(TEXT, "9.3")

    def test_9_4(self):
        self.fragmented(BINARY, "9.4")

    def chopped(self, kind, section):
        data = os.urandom(M // 2).hex().encode()
        for i, size in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            self.case(f"{section}.{i}", [op(kind, data)], [(kind, data)], chop=size, kind=kind)

    def test_9_5(self):
        self.chopped(TEXT, "9.5")

    def test_9_6(self):
        self.chopped(BINARY, "9.6")

    def thousand(self, kind, section):
        """One after the other, each when the last has come back."""
        for i, n in enumerate((0, 16, 64, 256, K, 4 * K, 64 * K), 1):
            with self.subTest(f"{section}.{i}"):
                c, data = self.client(kind), b"\xc3\xa9" * (n // 2)
                raw = op(kind, data)
                for _ in range(1000):
                    c.send(raw)
                    self.assertEqual(c.frame(), (kind, data))
                c.close()

    def test_9_7(self):
        self.thousand(TEXT, "9.7")

    def test_9_8(self):
        self.thousand(BINARY, "9.8")

    def test_16M_in_fragments(self):
        """Also in parts of odd sizes that split code points."""
        data = ("\u20ac" * (16 * M // 3)).encode()
        self.case("16M", fragments(TEXT, data, 100001), said(data))
        c = self.client()
        c.send(frame(TEXT, b"", mask=MASK, length=16 * M + 1))
        self.ended(c, 1009)

    def test_at_random(self):
        """Messages in fragments of every length, pings between, segments of every length."""
        rng, c = random.Random(5), self.client()
        for _ in range(150):
            data = "".join(rng.choices("a\u00e9\u20ac\U0001f600\n", k=rng.choice([0, 1, 50, 3000, 30000]))).encode()
            parts, want = [], []
            for f in fragments(TEXT, data, rng.choice([1, 5, 130, 70000]) if len(data) < 9999 else 4999):
                parts.append(f)
                if rng.random() < 0.1:
                    mark = rng.randbytes(rng.randrange(126))
                    parts.append(ping(mark))
                    want.append((PONG, mark))
            small = len(data) < 999
            self.send(c, parts, rng.choice([FRAMES, 1, 3] if small else [WHOLE, 1 + rng.randrange(5000)]))
            got = [c.frame() for _ in range(len(want) + 1)]
            self.assertEqual(got.count((TEXT, data)), 1)
            got.remove((TEXT, data))
            self.assertEqual(got, want)

    def test_10_1(self):
        """A frame for each 1,300 bytes."""
        self.case("10.1.1", fragments(TEXT, b"*" * 65536, 1300), said(b"*" * 65536))
