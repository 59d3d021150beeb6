"""Sources and framing (contract 1: --source, --framing, --binary, --max-message)."""
import fcntl, os, random, re, signal, socket, stat, struct, subprocess, sys, termios, threading, time
import black
from black import BINARY, TEXT, until


def drained(fd):
    """All that was written to this pipe has been read."""
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0] == 0


class Base(black.Case):
    def cut(self, args, data, want, op=TEXT):
        """In every two pieces that are read one after the other, data makes these messages."""
        s = self.server(*args)
        c, fd = s.ws(), s.proc.stdin.fileno()
        for i in range(1, len(data)):
            s.feed(data[:i])
            until(lambda: drained(fd), "the first piece to be read")
            s.feed(data[i:])
            with self.subTest(i):
                self.assertEqual(c.messages(len(want), op), want)
        for b in data:                       # and byte by byte
            s.feed(bytes([b]))
            until(lambda: drained(fd), "a byte to be read")
        self.assertEqual(c.messages(len(want), op), want)
        return s, c


class Framing(Base):
    def test_lines(self):
        self.cut([], b"one\ntwo\r\n\n\r\nx\r\r\ny\rz\n\rq\n\xc3\xa9\xf0\x9f\x98\x80\n\0a\n",
                 [b"one", b"two", b"", b"", b"x\r", b"y\rz", b"\rq", "\u00e9\U0001f600".encode(), b"\0a"])

    def test_nul(self):
        self.cut(["--framing", "nul"], b"one\0two\r\n\0\0x\ny\0\r\0", [b"one", b"two\r\n", b"", b"x\ny", b"\r"])

    def test_len32(self):
        m = [b"one", b"", b"a\nb\0c\r\n", b"x" * 300, b"\0\0\0\4", b""]
        self.cut(["--framing", "len32", "--binary"], b"".join(struct.pack(">I", len(x)) + x for x in m), m, BINARY)

    def test_chunk(self):
        s = self.server("--framing", "chunk", "--binary")
        c, fd = s.ws(), s.proc.stdin.fileno()
        for data in (b"one", b"two\n", b"\0\r\n\xff", b"x" * 4000):
            s.feed(data)
            self.assertEqual(c.message(BINARY), data)
        data = os.urandom(300000)            # whatever the cuts, no byte is lost
        t = threading.Thread(target=s.feed, args=(data,))
        t.start()
        got = b""
        while len(got) < len(data):
            got += (m := c.message(BINARY))
            self.assertLessEqual(len(m), 65536)
            self.assertGreater(len(m), 0)
        t.join()
        self.assertEqual(got, data)
        until(lambda: drained(fd), "the end")

    def test_last_without_its_end(self):
        for args, data, want in (([], b"a\nb", [b"a", b"b"]), ([], b"a\nb\n", [b"a", b"b"]), ([], b"a\r", [b"a\r"]),
                                 ([], b"\n", [b""]), ([], b"", []), ([], b"x\n\n", [b"x", b""]),
                                 (["--framing", "nul"], b"a\0b\n", [b"a", b"b\n"]),
                                 (["--framing", "nul"], b"a\0", [b"a"]),
                                 (["--framing", "chunk"], b"abc", [b"abc"]),
                                 (["--framing", "len32"], b"\0\0\0\1a\0\0\0\2b", [b"a"]),
                                 (["--framing", "len32"], b"\0\0\0\1a\0\0", [b"a"])):
            with self.subTest(args + [data]):
                s = self.server("--exit-on-eof", *args)
                c = s.ws()
                s.feed(data)
                s.proc.stdin.close()
                s.proc.stdin = None
                got = [c.frame() for _ in range(len(want))]
                self.assertEqual(got, [(TEXT, x) for x in want])
                self.assertEqual(c.closed()[0], 1001)
                s.wait_log(event="source_eof")
                s.ended(0)

    def test_too_long(self):
        """Dropped whole and logged; the next is right."""
        for framing, wrap in (("lines", lambda m: m + b"\n"), ("nul", lambda m: m + b"\0"),
                              ("lines", lambda m: m + b"\r\n"), ("len32", lambda m: struct.pack(">I", len(m)) + m)):
            s = self.server("--framing", framing, "--max-message", 1000, "--buffer", "64K",
                            "--metrics", f"unix:{self.tmp}/m")
            c, n = s.ws(), 0
            for size in (1000, 1001, 999, 1002, 5000, 65536, 200000, 1000):
                for split in (False, True):
                    whole = wrap(b"z" * size)
                    if split:
                        s.feed(whole[:1003])
                        until(lambda: drained(s.proc.stdin.fileno()), "the first part")
                        s.feed(whole[1003:])
                    else:
                        s.feed(whole)
                    s.feed(wrap(b"next"))
                    with self.subTest(framing=framing, size=size, split=split):
                        if size <= 1000:
                            self.assertEqual(c.message(), b"z" * size)
                        else:
                            n += 1
                            s.wait_log(n, event="source_error")
                        self.assertEqual(c.message(), b"next")
            self.assertEqual(len(s.log(event="source_error")), n)
            m = self.metrics(s, f"{self.tmp}/m")
            self.assertEqual(m["sluice_messages_total"], 6 + 16)
            s.stop()

    def test_too_long_to_the_end(self):
        s = self.server("--exit-on-eof", "--max-message", 100, "--buffer", "16K")
        c = s.ws()
        s.feed(b"ok\n" + b"q" * 500)
        s.proc.stdin.close()
        s.proc.stdin = None
        self.assertEqual(c.message(), b"ok")
        self.assertEqual(c.closed()[0], 1001)
        s.wait_log(event="source_error")
        s.ended(0)

    def test_len32_huge(self):
        """A length beyond everything: no memory is asked for, what follows it is dropped."""
        s = self.server("--framing", "len32", "--max-message", 1000, "--buffer", "16K")
        c = s.ws()
        s.feed(b"\0\0\0\2ok" + b"\xff\xff\xff\xff" + b"x" * 100000)
        self.assertEqual(c.message(), b"ok")
        s.wait_log(event="source_error")
        c.send_frame(black.PING, b"p")
        self.assertEqual(c.frame(), (black.PONG, b"p"))


class Text(Base):
    def test_replacement(self):
        """Bytes that are no UTF-8 become U+FFFD, as many as in Python and in browsers."""
        s = self.server("--max-message", "4K", "--buffer", "256K")
        c = s.ws()
        rows = [b"\xff", b"\xc3", b"\xc3(", b"a\x80b", b"\xe2\x82", b"\xe2\x82x", b"\xe2\x28\xa1", b"\xf0\x9f\x98",
                b"\xf0\x9f\x98x\xc3\xa9", b"\xf0\x28\x8c\xbc", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                b"\xf8\x88\x80\x80\x80", b"\xfe\xff", b"\xef\xbf\xbe", b"\xe0\xa0", b"\xf0\x90\x80", b"ok \xe2\x82\xac",
                b"\xc3\xa9" * 1000 + b"\xc3", b"\xf1\x80\x80\xe1\x80\xc2b\x80\xc0"]
        rng = random.Random(7)
        alphabet = [*b"az", 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                    0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff, 0xbb, 0xbd]
        rows += [bytes(rng.choices(alphabet, k=rng.randrange(1, 30))) for _ in range(3000)]
        for at in range(0, len(rows), 100):
            s.feed(b"\n".join(rows[at:at + 100]) + b"\n")
            for row in rows[at:at + 100]:
                self.assertEqual(c.message(), row.decode(errors="replace").encode(), row)

    def test_replacement_split(self):
        data = b"a\xf0\x9f\x98\x80b\xe2\x82\xe2\x82\xac\xff\n"
        self.cut([], data, [data[:-1].decode(errors="replace").encode()])

    def test_replacement_at_the_limit(self):
        """The limit is on what the source says; its replacement may be longer."""
        s = self.server("--max-message", 1000, "--buffer", "64K")
        c = s.ws()
        s.feed(b"\xff" * 1000 + b"\n" + b"\xff" * 1001 + b"\nok\n")
        self.assertEqual(c.message(), b"\xef\xbf\xbd" * 1000)
        self.assertEqual(c.message(), b"ok")

    def test_binary(self):
        s = self.server("--binary")
        c = s.ws()
        data = bytes(range(256)).replace(b"\n", b"")
        s.feed(data + b"\n")
        self.assertEqual(c.message(BINARY), data)


class Stdin(Base):
    def test_regular_file(self):
        lines = [b"line %d" % i for i in range(1000)]
        with open(self.path("in", b"\n".join(lines)), "rb") as f:
            s = self.server("--replay", 3, stdin=f)
        s.wait_log(event="source_eof")
        self.assertEqual(s.ws().messages(3), lines[-3:])
        self.assertEqual(s.ws("/?replay=2000").messages(1000), lines)
        self.idle(s)

    def test_dev_null(self):
        s = self.server(stdin=subprocess.DEVNULL)
        s.wait_log(event="source_eof")
        s.ws()
        self.idle(s)

    def test_ended_pipe(self):
        """When the last source ends, sluice keeps serving."""
        s = self.server("--replay", 1)
        c = s.ws()
        s.feed(b"x\n")
        self.assertEqual(c.message(), b"x")
        s.proc.stdin.close()
        s.proc.stdin = None
        s.wait_log(event="source_eof")
        self.assertEqual(s.ws().message(), b"x")
        c.send_frame(black.PING, b"p")
        self.assertEqual(c.frame(), (black.PONG, b"p"))
        self.idle(s)

    def test_closed_stdin(self):
        """No socket of ours becomes stdin: either it serves or it says why not."""
        s = self.server(wrap=["sh", "-c", 'exec "$@" <&-', "sh"], ready=False)
        until(lambda: s.proc.poll() is not None or s.log(event="listening"), "a decision")
        if s.log(event="listening"):
            s.addr = s.where()
            c = s.ws()
            c.send_frame(black.PING, b"p")
            self.assertEqual(c.frame(), (black.PONG, b"p"))
            self.idle(s)
        else:
            self.assertIn(s.proc.wait(), (1, 2))
            s.stopped = True

    def test_parents_flags_are_left_alone(self):
        """O_NONBLOCK on a shared stdin would outlive us in the shell."""
        r, w = os.pipe()
        s = self.server(stdin=r)
        c = s.ws()
        os.write(w, b"x\n")
        self.assertEqual(c.message(), b"x")
        self.assertFalse(fcntl.fcntl(r, fcntl.F_GETFL) & os.O_NONBLOCK)
        s.stop()
        self.assertFalse(fcntl.fcntl(r, fcntl.F_GETFL) & os.O_NONBLOCK)
        os.close(r)
        os.close(w)

    def test_dash_is_stdin(self):
        s = self.server("--source", "/in=-", auth=False)
        c = s.ws("/in")
        s.feed(b"x\n")
        self.assertEqual(c.message(), b"x")


class Fifo(Base):
    def start(self, *args, **kw):
        self.fifo = self.path("fifo")
        return self.server("--source", f"fifo:{self.fifo}", *args, **kw)

    def test_mode(self):
        for umask in ("000", "077"):
            p = self.path("f" + umask)
            s = self.server("--source", f"fifo:{p}", wrap=["sh", "-c", f'umask {umask}; exec "$@"', "sh"])
            s.ws()
            mode = os.stat(p).st_mode
            self.assertTrue(stat.S_ISFIFO(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o600)
            s.stop()

    def test_existing(self):
        os.mkfifo(self.path("fifo"), 0o640)
        s = self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.fifo).st_mode), 0o640)
        c = s.ws()
        with open(self.fifo, "wb") as f:
            f.write(b"x\n")
        self.assertEqual(c.message(), b"x")

    def test_not_a_fifo(self):
        p = self.path("plain", b"mine\n")
        r = black.run("--listen", "127.0.0.1:0", "--source", f"fifo:{p}", env={"SLUICE_SECRET": black.SECRET})
        self.assertIn(r.returncode, (1, 2))
        self.assertIn(p, r.err)
        with open(p, "rb") as f:
            self.assertEqual(f.read(), b"mine\n")

    def test_writers_come_and_go(self):
        s = self.start()
        c, want = s.ws(), []
        for i in range(60):
            lines = [b"%d.%d" % (i, j) for j in range(20)]
            with open(self.fifo, "wb") as f:
                f.write(b"\n".join(lines) + b"\n")
            want += lines
            if i % 7 == 0:
                self.assertEqual(c.messages(len(want)), want)
                want = []
        self.assertEqual(c.messages(len(want)), want)
        self.idle(s)
        self.assertEqual(s.log(event="source_eof"), [])

    def test_writers_at_once(self):
        s = self.start()
        c = s.ws()
        script = 'for i in $(seq 200); do echo "$0 $i"; done > "$1"'
        ps = [subprocess.Popen(["sh", "-c", script, str(n), self.fifo]) for n in range(5)]
        got = {str(n): [] for n in range(5)}
        for m in c.messages(1000):
            who, i = m.decode().split()
            got[who].append(int(i))
        for p in ps:
            self.assertEqual(p.wait(), 0)
        for n in got:
            self.assertEqual(got[n], list(range(1, 201)))
        self.idle(s)


class Sockets(Base):
    def writers(self, s, connect):
        """Two at once, each with a half line of its own; the last line needs no newline."""
        c = s.ws()
        a, b = connect(), connect()
        a.sendall(b"first ")
        b.sendall(b"second ")
        a.sendall(b"a\nhalf of a")
        self.assertEqual(c.message(), b"first a")
        b.sendall(b"b\r\n")
        self.assertEqual(c.message(), b"second b")
        b.sendall(b"last of b")
        b.close()
        self.assertEqual(c.message(), b"last of b")
        a.sendall(b", whole\n")
        self.assertEqual(c.message(), b"half of a, whole")
        a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        a.close()
        for i in range(30):                  # they come and go
            w = connect()
            w.sendall(b"%d\n" % i)
            w.close()
            self.assertEqual(c.message(), b"%d" % i)
        for i in range(3):                   # nothing is left to the next: no end, and no line that is too long
            w = connect()
            w.sendall(b"x" * 70000)
            s.wait_log(i + 1, event="source_error")
            w.close()
            w = connect()
            for m in b"right", b"and on":
                w.sendall(m + b"\n")
                self.assertEqual(c.message(), m)
            w.close()
        self.idle(s)

    def probed(self, here, there):
        """The kernel asks the peer for a sign of life: the timer of this connection is of that kind, as
        /proc/net/tcp has it, and not far away."""
        def end(at):
            return "%s:%04X" % (socket.inet_aton(at[0])[::-1].hex().upper() if sys.byteorder == "little" else
                                socket.inet_aton(at[0]).hex().upper(), at[1])

        def timer():
            with open("/proc/net/tcp") as f:
                return next((x.split()[5] for x in f if x.split()[1:3] == [end(here), end(there)]), "").split(":")
        self.assertEqual(until(lambda: timer()[0], "the connection"), "02")
        self.assertLessEqual(int(timer()[1], 16), 60 * os.sysconf("SC_CLK_TCK"))

    def test_dead_writers_are_noticed(self):
        with socket.create_server(("127.0.0.1", 0)) as l:
            port = black.free_port()
            s = self.server("--source", f"tcp-listen:127.0.0.1:{port}", "--source", "tcp:127.0.0.1:%d" % l.getsockname()[1])
            a, (b, _) = socket.create_connection(("127.0.0.1", port)), l.accept()
            c = s.ws()
            for w in a, b:
                w.sendall(b"x\n")
                self.assertEqual(c.message(), b"x")
                self.probed(w.getpeername(), w.getsockname())
                w.close()

    def test_unix(self):
        p = self.path("sock")
        s = self.server("--source", f"unix:{p}")

        def connect():
            w = socket.socket(socket.AF_UNIX)
            w.connect(p)
            return w
        self.writers(s, connect)
        s.stop()
        self.server("--source", f"unix:{p}").stop()   # a stale one is no hindrance
        s = self.server("--source", f"unix:{p}")
        s.kill9()
        s = self.server("--source", f"unix:{p}")
        c, w = s.ws(), connect()
        w.sendall(b"x\n")
        self.assertEqual(c.message(), b"x")

    def test_tcp_listen(self):
        port = black.free_port()
        s = self.server("--source", f"tcp-listen:127.0.0.1:{port}")
        self.writers(s, lambda: socket.create_connection(("127.0.0.1", port)))

    def test_udp(self):
        port = black.free_port(socket.SOCK_DGRAM)
        s = self.server("--source", f"udp:127.0.0.1:{port}")
        c = s.ws()
        w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        w.connect(("127.0.0.1", port))
        for data in (b"one", b"two\nlines\n", b"", b"\r\n", b"x" * 9000):
            w.send(data)
            self.assertEqual(c.message(), data)
        w.close()
        self.idle(s)

    def test_udp_too_long(self):
        port = black.free_port(socket.SOCK_DGRAM)
        s = self.server("--source", f"udp:127.0.0.1:{port}", "--max-message", 1000, "--buffer", "16K")
        c = s.ws()
        w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        w.connect(("127.0.0.1", port))
        for n in (1000, 1001, 60000):
            w.send(b"u" * n)
            w.send(b"next")
        w.close()
        self.assertEqual(c.messages(4), [b"u" * 1000, b"next", b"next", b"next"])
        s.wait_log(2, event="source_error")

    def test_tcp_reconnects(self):
        """A server that comes later, goes, comes back; what it sent is all there."""
        port = black.free_port()
        s = self.server("--source", f"tcp:127.0.0.1:{port}")
        c = s.ws()
        self.idle(s, 0.5)
        for n in range(3):
            with socket.create_server(("127.0.0.1", port)) as l:
                l.settimeout(black.WAIT)
                w, _ = l.accept()
                w.sendall(b"hello %d\n" % n)
                self.assertEqual(c.message(), b"hello %d" % n)
                if n == 1:
                    w.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    w.sendall(b"unfinished %d" % n)
                w.close()
            if n != 1:
                self.assertEqual(c.message(), b"unfinished %d" % n)
        self.assertTrue(s.log(event="source_error") + s.log(event="source_eof"))
        self.idle(s, 0.5)

    def test_tcp_at_the_end(self):
        """While clients say goodbye it does not connect any more: nobody would read what came."""
        with socket.socket() as l:
            l.bind(("127.0.0.1", 0))
            s = self.server("--source", "tcp:127.0.0.1:%d" % l.getsockname()[1])
            c = s.ws()                       # says nothing to the close frame, for a second
            s.wait_log(2, event="source_error")
            s.kill(signal.SIGTERM)
            s.wait_log(event="shutdown")
            l.listen()
            s.ended(0)
            l.setblocking(False)
            self.assertRaises(BlockingIOError, l.accept)
            self.assertEqual(c.closed()[0], 1001)

    def test_tcp_comes_back_less_and_less(self):
        """Each time it waits twice as long, and as at first once it has got something."""
        with socket.create_server(("127.0.0.1", 0)) as l:
            l.settimeout(black.WAIT)
            s = self.server("--source", "tcp:127.0.0.1:%d" % l.getsockname()[1])
            c = s.ws()
            for n, (data, ms) in enumerate(((b"", 250), (b"", 500), (b"x\n", 250), (b"", 500))):
                w, _ = l.accept()
                w.sendall(data)
                w.close()
                self.assertEqual(s.wait_log(n + 1, event="source_error")["msg"], f"connection lost; again in {ms} ms")
            self.assertEqual(c.message(), b"x")

    def test_more_writers_than_places(self):
        """The 17th waits unaccepted until one of the others goes."""
        p = self.path("sock")
        s = self.server("--source", f"unix:{p}")
        c, ws = s.ws(), []
        for i in range(18):
            w = socket.socket(socket.AF_UNIX)
            w.connect(p)
            w.sendall(b"%d\n" % i)
            ws.append(w)
            if i < 16:
                self.assertEqual(c.message(), b"%d" % i)
        s.wait_log(event="source_error", msg="all places for writers are taken")
        self.idle(s, 0.5)
        for i in 16, 17:
            ws.pop(0).close()
            self.assertEqual(c.message(), b"%d" % i)
        for w in ws:
            w.close()

    def test_tcp_name(self):
        with socket.create_server(("127.0.0.1", 0)) as l:
            l.settimeout(black.WAIT)
            s = self.server("--source", f"tcp:localhost:{l.getsockname()[1]}")
            w, _ = l.accept()
            c = s.ws()
            w.sendall(b"x\n")
            self.assertEqual(c.message(), b"x")
            w.close()


class Tty(Base):
    """Each line has a name of its own, gone before its number is another's."""

    def plug(self):
        master, slave = os.openpty()
        os.symlink(os.ttyname(slave), self.tmp + "/tty")
        return master, slave

    def test_pty(self):
        for speed, const in (("", None), (",115200", termios.B115200), (",9600", termios.B9600)):
            master, slave = self.plug()
            s = self.server("--source", f"tty:{self.tmp}/tty{speed}")
            c = s.ws()
            iflag, oflag, cflag, lflag, ispeed, ospeed, _ = termios.tcgetattr(slave)
            self.assertFalse(lflag & (termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN))
            self.assertFalse(iflag & (termios.ICRNL | termios.INLCR | termios.IXON | termios.ISTRIP | termios.IGNCR))
            self.assertFalse(oflag & termios.OPOST)
            if const:
                self.assertEqual((ispeed, ospeed), (const, const))
            os.write(master, b"12.5 C\r\n\x03\x04\x11x\ry\n\xc3\xa9\n")
            self.assertEqual(c.messages(3), [b"12.5 C", b"\x03\x04\x11x\ry", "\u00e9".encode()])
            os.close(slave)
            os.write(master, b"still\n")
            self.assertEqual(c.message(), b"still")
            os.unlink(self.tmp + "/tty")
            os.close(master)                 # unplugged
            until(lambda: s.log(event="source_eof") + s.log(event="source_error"), "its end in the log")
            self.idle(s)
            c.send_frame(black.PING, b"p")
            self.assertEqual(c.frame(), (black.PONG, b"p"))
            s.stop()

    def test_unplugged(self):
        """It comes back under its name, and the log says both."""
        first = self.plug()
        s = self.server("--source", f"tty:{self.tmp}/tty")
        c = s.ws()
        os.unlink(self.tmp + "/tty")
        for fd in first:
            os.close(fd)
        until(lambda: s.log(event="source_error"), "its end in the log")
        master, slave = self.plug()
        until(lambda: s.log(event="source_connected", source=f"tty:{self.tmp}/tty"), "its return in the log")
        os.write(master, b"again\n")
        self.assertEqual(c.message(), b"again")
        s.stop()
        os.close(master)
        os.close(slave)

    def test_does_not_wait(self):
        """Nobody can hold up a serial line: with --slow wait who falls behind goes at once, and not after 10 s."""
        master, slave = os.openpty()
        s = self.server("--source", f"tty:{os.ttyname(slave)}", "--slow", "wait", "--buffer", "16K", "--max-message", "1K")
        slow, good = s.ws(rcvbuf=4096), s.ws()
        begin = time.monotonic()
        for i in range(1000):                # half of it is more than all buffers hold
            m = b"%0999d" % i
            os.write(master, m + b"\n")
            self.assertEqual(good.message(), m)
        self.assertLess(time.monotonic() - begin, 9)
        self.assertEqual(s.wait_log(event="slow")["client"], "%s:%d" % slow.sock.getsockname())
        os.close(slave)
        os.close(master)

    def test_bad_speed(self):
        r = black.run("--listen", "127.0.0.1:0", "--source", "tty:/dev/ptmx,12345678",
                      env={"SLUICE_SECRET": black.SECRET})
        self.assertEqual(r.returncode, 2)
        self.assertIn("--source", r.err)

    def test_not_a_tty(self):
        r = black.run("--listen", "127.0.0.1:0", "--source", f"tty:{self.path('x', b'')}",
                      env={"SLUICE_SECRET": black.SECRET})
        self.assertIn(r.returncode, (1, 2))
        self.assertRegex(r.err, r"\A[^\n]+\n\Z")


class Refused(Base):
    def refused(self, spec, status, what):
        r = black.run("--listen", "127.0.0.1:0", "--source", spec, env={"SLUICE_SECRET": black.SECRET})
        self.assertEqual(r.returncode, status)
        self.assertRegex(r.err, rf"\Asluice: --source {re.escape(spec)}: {what}\n\Z")

    def test_taken(self):
        """Its port is, by a socket that allows others beside it as far as it may: for UDP, not at all."""
        for kind, spec in ((socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp-listen")):
            with self.subTest(spec), socket.socket(socket.AF_INET, kind) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    s.listen()
                self.refused(f"{spec}:127.0.0.1:{s.getsockname()[1]}", 1, "Address (already )?in use")

    def test_as_it_was_written(self):
        r = black.run("--listen", "127.0.0.1:0", "--source", "tcp:no.invalid:1", env={"SLUICE_SECRET": black.SECRET})
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.err, r"\Asluice: --source tcp:no\.invalid:1: [^\n]+\n\Z")

    def test_in_the_way(self):
        p = self.path("plain", b"mine\n")
        self.refused(f"unix:{p}", 1, "is there and is no socket")
        self.refused(f"tty:{p}", 1, "is no serial line")
        with open(p, "rb") as f:
            self.assertEqual(f.read(), b"mine\n")

    def test_no_kind(self):
        kinds = re.escape("wanted [SUBJECT=] and -, fifo:PATH, tcp:HOST:PORT, tcp-listen:ADDR, unix:PATH, udp:ADDR or "
                          "tty:PATH[,BAUD]")
        self.refused("/dev/ttyUSB0", 2, kinds)
        self.refused("/a=-x", 2, kinds)


class Several(Base):
    def test_subjects(self):
        """Each with its own; one that ends does not end the others."""
        port = black.free_port(socket.SOCK_DGRAM)
        s = self.server("--source", "-", "--source", f"/a=fifo:{self.tmp}/a", "--source", f"/b/c=unix:{self.tmp}/b",
                        "--source", f"/a=udp:127.0.0.1:{port}", auth=False)
        root, a, b, none = s.ws(), s.ws("/a"), s.ws("/b/c"), s.ws("/b")
        w = socket.socket(socket.AF_UNIX)
        w.connect(f"{self.tmp}/b")
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.connect(("127.0.0.1", port))
        for i in range(50):
            s.feed(b"root %d\n" % i)
            with open(f"{self.tmp}/a", "wb") as f:
                f.write(b"a %d\n" % i)
            w.sendall(b"b %d\n" % i)
            self.assertEqual((root.message(), a.message(), b.message()), (b"root %d" % i, b"a %d" % i, b"b %d" % i))
        u.send(b"a too")
        self.assertEqual(a.message(), b"a too")
        s.proc.stdin.close()
        s.proc.stdin = None
        s.wait_log(event="source_eof")
        w.sendall(b"on\n")
        self.assertEqual(b.message(), b"on")
        none.send_frame(black.PING, b"")
        self.assertEqual(none.frame(), (black.PONG, b""))   # and had nothing before
        w.close()
        u.close()

    def test_replay_is_per_subject(self):
        s = self.server("--source", "-", "--source", f"/a=fifo:{self.tmp}/a", "--replay", 2, auth=False)
        root, a = s.ws(), s.ws("/a")
        for i in range(10):
            s.feed(b"r%d\n" % i)
            self.assertEqual(root.message(), b"r%d" % i)
            if i < 3:
                with open(f"{self.tmp}/a", "wb") as f:
                    f.write(b"a%d\n" % i)
                self.assertEqual(a.message(), b"a%d" % i)
        self.assertEqual(s.ws().messages(2), [b"r8", b"r9"])
        self.assertEqual(s.ws("/a").messages(2), [b"a1", b"a2"])
        self.assertEqual(s.ws("/a?replay=100").messages(3), [b"a0", b"a1", b"a2"])

    def test_idle_with_all(self):
        master, slave = os.openpty()
        s = self.server("--source", f"fifo:{self.tmp}/a", "--source", f"unix:{self.tmp}/b", "--source",
                        f"udp:127.0.0.1:{black.free_port(socket.SOCK_DGRAM)}", "--source", f"tty:{os.ttyname(slave)}",
                        "--source", f"tcp:127.0.0.1:{black.free_port()}", "--source", "-", stdin=subprocess.DEVNULL)
        s.ws()
        self.idle(s, 2, 0.05)
        os.close(master)
        os.close(slave)
