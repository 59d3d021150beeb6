"""What the tests of streams share: many clients that must each get all of it, and one that falls behind."""
import contextlib, selectors, threading, time
import black
from black import CLOSE, TEXT, frame


def framed(messages):
    return b"".join(frame(TEXT, m) for m in messages)


def lines(n, size=1000, start=0):
    return [b"%08d" % i + b"." * (size - 8) for i in range(start, start + n)]


def feeder(s, data):
    t = threading.Thread(target=s.feed, args=(data,), daemon=True)
    t.start()
    return t


class Herd:
    """Many clients that each must get exactly these bytes, read by one thread."""

    def __init__(self, clients, want):
        self.want, self.got, self.sel = memoryview(want), {}, selectors.DefaultSelector()
        for c in clients:
            c.sock.setblocking(False)
            self.got[c] = 0
            self.take(c, c.early())
            self.sel.register(c.sock, selectors.EVENT_READ, c)

    def take(self, c, data):
        """What follows the last of them stays with the client."""
        at = self.got[c]
        if len(data) > len(self.want) - at:
            c.buf += data[len(self.want) - at:]
            data = data[:len(self.want) - at]
        if self.want[at:at + len(data)] != data:
            i = next(i for i, b in enumerate(data) if self.want[at + i] != b)
            raise AssertionError(f"byte {at + i}: ...{data[max(0, i - 60):i + 20]!r}")
        self.got[c] = at + len(data)

    def run(self, timeout=120):
        """Until each has all, or time is up."""
        left, end = sum(n < len(self.want) for n in self.got.values()), time.monotonic() + timeout
        while left:
            for key, _ in self.sel.select(1):
                c = key.data
                if self.got[c] == len(self.want):
                    self.sel.unregister(c.sock)
                    continue
                data = c.take_ready()
                if data is None:
                    raise AssertionError(f"the end after {self.got[c]} bytes of {len(self.want)}")
                self.take(c, data)
                left -= self.got[c] == len(self.want)
            if time.monotonic() > end:
                raise AssertionError(f"{left} clients lack something after {timeout} s: "
                                     f"{sorted(self.got.values())[:5]} of {len(self.want)}")
        self.sel.close()
        for c in self.got:
            c.sock.settimeout(black.WAIT)


@contextlib.contextmanager
def counting(s):
    """While the caller goes on, the server is fed 0, 1, 2 and so on, a line each: 500 for each call of
    what this yields, so that those who read nothing do not lack enough to be in the way."""
    go, stop = threading.Semaphore(0), threading.Event()

    def write():
        i = 0
        while go.acquire() and not stop.is_set():
            s.feed(b"".join(b"%d\n" % j for j in range(i, i + 50)))
            i += 50
    t = threading.Thread(target=write, daemon=True)
    t.start()
    try:
        yield lambda: go.release(10)
    finally:
        stop.set()
        go.release()
        t.join()


class Streams:
    """For a Case, with TLS or without."""

    def flood(self, s, good, total, start=0):
        """Write messages as fast as the good clients read them."""
        for i in range(start, start + total, 20):
            ms = lines(20, start=i)
            s.feed(b"\n".join(ms) + b"\n")
            for c in good:
                if c.messages(20) != ms:
                    raise AssertionError(f"not {i} to {i + 19}")
        return start + total

    def until_slow(self, s, good):
        """Another client is a whole ring behind, and then more; how many messages that were."""
        n = 0
        while not s.log(event="slow"):
            n = self.flood(s, [good], 500, n)
            self.assertLess(n, 100000, "it is never slow")
        return self.flood(s, [good], 1000, n)

    def no_growth(self, s, n, token, also=lambda i: False):
        """n come and go, in every way; the process is no larger for it. also(i): what else is done."""
        def cycle(n):
            for i in range(n):
                if i % 5 == 4:
                    s.get(token="bad")
                elif not also(i):
                    c = s.ws(token=token)
                    s.feed(b"%d\n" % i)
                    c.message()
                    if i % 5:
                        c.send_frame(CLOSE, b"\x03\xe8")
                        c.closed()
                self.hang_up()
        cycle(300)
        before = s.rss()
        cycle(n)
        self.assertLess(s.rss() - before, 8000 if black.sanitized() else 64)
