"""What the tests share: a server under test, tokens, and a client made of raw sockets."""
import base64, collections, functools, gzip, hashlib, hmac, json, os, re, shutil, signal, socket
import struct, subprocess, tempfile, threading, time, unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SLUICE = os.path.abspath(os.environ.get("SLUICE", "./sluice"))
WAIT = 20
SECRET = b"correct horse battery staple 0123"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="           # RFC 6455 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
AUTO = object()
SOON = int(time.time()) + 100000             # later than any build; for clocks that stand still
LEAKS = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}   # LeakSanitizer wants /proc, gone after --chroot
REASONS = set()                              # of all servers in this process

STATUS = {r: s for s, names in {
    400: "bad_request", 403: "origin_denied subject_denied", 404: "not_found",
    405: "method_not_allowed", 408: "handshake_timeout", 426: "upgrade_required",
    413: "message_too_large", 431: "head_too_large",
    503: "too_many_clients clock_unset ring_full pending_full",
    401: "token_missing token_malformed alg_not_allowed key_unknown signature_invalid "
         "exp_missing claim_invalid token_expired token_not_yet_valid ttl_too_long "
         "issuer_mismatch audience_mismatch issued_before_start token_used",
}.items() for r in names.split()}


@functools.cache
def sanitized():
    with open(SLUICE, "rb") as f:
        return b"__asan_init" in f.read()


@functools.cache
def emulated():
    """A script that runs the binary of another architecture: see test/qemu.sh."""
    with open(SLUICE, "rb") as f:
        return f.read(2) == b"#!"


@functools.cache
def static():
    with open(SLUICE, "rb") as f:
        return b"ld-linux" not in f.read(4096)


def reasons():
    """Every reason of why.h, less ok and more."""
    with open(os.path.join(ROOT, "src", "why.h")) as f:
        names = re.findall(r'^\s*W\(\w+,\s*"(\w+)"', f.read(), re.M)
    assert len(names) > 30, "why.h has another form now"
    return set(names) - {"ok", "more"}


def not_emulated(why):
    if emulated():
        raise unittest.SkipTest(f"under an emulator {why}")


def until(cond, what="condition", timeout=WAIT):
    end = time.monotonic() + timeout
    while True:
        got = cond()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(0.005)


# --- tokens -------------------------------------------------------------------------

def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jws(header, payload, secret=SECRET, alg="sha256"):
    """Sign whatever it is told to: bytes as they are, anything else as JSON."""
    part = [b64(x if isinstance(x, bytes) else json.dumps(x).encode()) for x in (header, payload)]
    signing = ".".join(part)
    return signing + "." + b64(hmac.new(secret, signing.encode(), alg).digest())


def claims(**more):
    now = int(time.time())
    c = {"iat": now, "exp": now + 60, "jti": os.urandom(8).hex(), **more}
    return {k: v for k, v in c.items() if v is not None}


def mint(secret=SECRET, header=None, **more):
    return jws({"alg": "HS256", "typ": "JWT", **(header or {})}, claims(**more), secret)


def grant(**permissions):
    """A token with these, such as sub=["/a"]."""
    return mint(permissions=permissions)


# --- the log --------------------------------------------------------------------------

BARE = r'[^ "\x00-\x1f\x7f-\x9f]*'
QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\(?:["\\nrt]|x[0-9a-f]{2}))*"'
PAIR = re.compile(rf'([a-z][a-z0-9_]*)=({QUOTED}|{BARE})( |$)')
TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def unquote(v):
    """What stands between the quotes; \\x.. is a byte, of UTF-8 where it is that."""
    if not v.startswith('"'):
        return v
    names = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
    return re.sub(rb"\\(x..|.)", lambda m: bytes.fromhex(m[1][1:].decode()) if len(m[1]) > 1
                  else names.get(m[1], m[1]), v[1:-1].encode()).decode(errors="replace")


def logfmt(line):
    """One line, strictly: raises ValueError with the line if it is anything else."""
    try:
        text, at, rec = line.decode(), 0, {}
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8: {line!r}") from e
    while at < len(text):
        m = PAIR.match(text, at)
        if not m or m[1] in rec or (m[3] == " " and m.end() == len(text)):
            raise ValueError(f"no logfmt at byte {at}: {text!r}")
        rec[m[1]] = unquote(m[2])
        at = m.end()
    if list(rec)[:3] != ["ts", "level", "event"] or not TS.fullmatch(rec["ts"]) \
            or rec["level"] not in ("error", "warn", "info", "debug") \
            or not re.fullmatch("[a-z_]+", rec["event"]):
        raise ValueError(f"not ts= level= event=: {text!r}")
    return rec


# --- a client -------------------------------------------------------------------------

class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"Reply({self.status}, {self.headers}, {self.body!r})"


class Gone(Exception):
    """The server ended the connection where more was due."""


class Raw:
    """A socket that speaks HTTP and WebSocket and believes nothing."""

    def __init__(self, addr, rcvbuf=0, timeout=WAIT):
        family = (socket.AF_UNIX if isinstance(addr, str) else
                  socket.AF_INET6 if ":" in addr[0] else socket.AF_INET)
        self.sock = socket.socket(family)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect(addr)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()
        self.mask = os.urandom(4)

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def fill(self, n=65536):
        got = self.sock.recv(n)
        self.buf += got
        return bool(got)

    def early(self):
        """What has been read and not been taken."""
        got = bytes(self.buf)
        self.buf.clear()
        return got

    def take_ready(self):
        """All that one recv brings, on a socket that does not block; None at the end."""
        return self.sock.recv(1 << 18) or None

    def take(self, n):
        while len(self.buf) < n:
            if not self.fill():
                raise Gone(f"end of connection after {bytes(self.buf)!r}")
        got = bytes(self.buf[:n])
        del self.buf[:n]
        return got

    def line(self):
        while b"\r\n" not in self.buf:
            if not self.fill():
                raise Gone(f"end of connection after {bytes(self.buf)!r}")
        return self.take(self.buf.index(b"\r\n") + 2)[:-2].decode("latin-1")

    def eof(self):
        """True when the server closes, having sent nothing more."""
        while self.fill():
            pass
        return not self.buf

    def reply_head(self):
        """Status line and header fields of a reply; what follows has not been read."""
        m = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]+", self.line())
        if not m:
            raise AssertionError("status line")
        status, headers = int(m[1]), {}
        while line := self.line():
            m = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~]*?)[ \t]*", line)
            if not m or m[1].lower() in headers:
                raise AssertionError(f"header {line!r}")
            headers[m[1].lower()] = m[2]
        return Reply(status, headers, None)

    def reply(self):
        r = self.reply_head()
        if r.status < 200 or r.status == 204:   # RFC 9110 8.6: they have no length
            if "content-length" in r.headers or "transfer-encoding" in r.headers:
                raise AssertionError(f"a body? {r}")
            return r
        body = self.take(int(r.headers["content-length"]))
        if r.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        r.body = body.decode()
        return r

    def upgraded(self, key=KEY):
        r = self.reply()
        if r.status != 101:
            raise AssertionError(f"wanted 101: {r}")
        want = b64accept(key)
        got = (r.headers.get("upgrade", "").lower(), r.headers.get("connection", "").lower(),
               r.headers.get("sec-websocket-accept"))
        if got != ("websocket", "upgrade", want):
            raise AssertionError(f"not RFC 6455 4.2.2: {r}")
        self.head = r
        return self

    def send_frame(self, op, data=b"", fin=True, rsv=0, mask=True, length=None):
        self.send(frame(op, data, fin, rsv, self.mask if mask else None, length))

    def frame(self):
        """The next frame: opcode and payload; checked as RFC 6455 5 wants it."""
        b0, b1 = self.take(2)
        if b0 & 0xf0 != 0x80 or b1 & 0x80:
            raise AssertionError(f"frame header {b0:02x} {b1:02x}: FIN, no RSV, no mask are due")
        n = b1
        if n == 126:
            n, = struct.unpack(">H", self.take(2))
            if n < 126:
                raise AssertionError("length form too long")
        elif n == 127:
            n, = struct.unpack(">Q", self.take(8))
            if n < 65536:
                raise AssertionError("length form too long")
        op = b0 & 15
        if op & 8 and n > 125:
            raise AssertionError("long control frame")
        return op, self.take(n)

    def message(self, op=TEXT):
        got = self.frame()
        if got[0] == PING:
            self.send_frame(PONG, got[1])
            return self.message(op)
        if got[0] != op:
            raise AssertionError(f"wanted a message, got {got}")
        return got[1]

    def messages(self, n, op=TEXT):
        return [self.message(op) for _ in range(n)]

    def closed(self, data_too=False):
        """Read the server's close frame, answer it, see the end; (code, text)."""
        while True:
            op, data = self.frame()
            if op == CLOSE:
                break
            if op != PING and not data_too:
                raise AssertionError(f"wanted a close frame, got {(op, data)}")
        try:
            self.send_frame(CLOSE, data[:2])
        except OSError:
            pass                             # it need not wait for our answer
        try:
            if not self.eof():
                raise AssertionError(f"after its close frame: {bytes(self.buf)!r}")
        except ConnectionResetError:
            pass
        return (struct.unpack(">H", data[:2])[0], data[2:].decode()) if data else (1005, "")


def b64accept(key):
    return base64.b64encode(hashlib.sha1(
        (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def frame(op, data=b"", fin=True, rsv=0, mask=None, length=None):
    n = len(data) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | op])
    m = 0x80 if mask else 0
    if n < 126:
        head += bytes([m | n])
    elif n < 65536:
        head += bytes([m | 126]) + struct.pack(">H", n)
    else:
        head += bytes([m | 127]) + struct.pack(">Q", n)
    if mask:
        head += mask
        key = (mask * (len(data) // 4 + 1))[:len(data)]
        data = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
    return head + data


def request(path="/", *headers, token=None, drop=(), method="GET", proto="HTTP/1.1", key=KEY):
    """The head of a good handshake; drop and headers make a bad one of it."""
    lines = {"Host": "example.org", "Upgrade": "websocket", "Connection": "Upgrade",
             "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    text = [f"{method} {path} {proto}"]
    text += [f"{k}: {v}" for k, v in lines.items() if k not in drop]
    text += headers
    if token:
        text.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(text) + "\r\n\r\n").encode("latin-1")


def http(method, path, *headers, body=None, token=None, proto="HTTP/1.1"):
    """A request that wants no upgrade; with Content-Length where it has a body."""
    lines = [f"{method} {path} {proto}", "Host: example.org", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


Event = collections.namedtuple("Event", "id data")


class Events:
    """Server-sent events from a Raw, taken apart as HTML 9.2.6 says."""

    def __init__(self, raw):
        self.raw, self.head = raw, raw.reply_head()
        if self.head.status != 200:
            raise AssertionError(f"no stream: {self.head}")
        self.chunked = self.head.headers.get("transfer-encoding") == "chunked"
        self.text, self.id, self.retry, self.comments = bytearray(), "", None, 0
        self.ended = self.cr = False

    def more(self):
        """The next bytes of the stream; False at its end."""
        if self.chunked:
            n = int(self.raw.line(), 16)
            got = self.raw.take(n)
            if self.raw.take(2) != b"\r\n":
                raise AssertionError("a chunk without its CRLF")
        else:
            n = self.raw.buf or self.raw.fill()
            got, self.raw.buf = bytes(self.raw.buf), bytearray()
        self.ended = not n
        self.text += got
        return not self.ended

    def line(self):
        """Without its end, which is CR, LF or both."""
        while True:
            if self.cr and self.text:
                self.text = self.text.removeprefix(b"\n")
                self.cr = False
            if m := re.search(b"[\r\n]", self.text):
                got, self.cr = bytes(self.text[:m.start()]), m[0] == b"\r"
                del self.text[:m.end()]
                return got.decode()
            if self.ended or not self.more():
                raise Gone("end of stream")

    def event(self):
        """The next one of the default type: its id, its data."""
        data, kind = [], ""
        while True:
            line = self.line()
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data and kind in ("", "message"):
                    return Event(self.id, "\n".join(data))
                data, kind = [], ""
            elif not name:
                self.comments += 1
            elif name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                self.id = value
            elif name == "retry":
                self.retry = int(value)

    def events(self, n):
        return [self.event() for _ in range(n)]

    def rest(self):
        """All events up to the end of the stream, which is a proper one."""
        got = []
        try:
            while True:
                got.append(self.event())
        except Gone:
            if not self.ended:
                raise AssertionError("cut off in mid-chunk") from None
            return got


# --- the server -----------------------------------------------------------------------

class Server:
    def __init__(self, *args, auth=True, secret=SECRET, listen=("127.0.0.1:0",), env=None,
                 stdin=subprocess.PIPE, wrap=(), read_log=True, stderr=None, clock=None,
                 pass_fds=()):
        self.auth, self.secret, self.lines, self.records = auth, secret, [], []
        self.bad, self.stopped, self.clock = [], False, clock
        self.cond, self.rest, self.addr = threading.Condition(), b"", None
        flags = [f for a in listen for f in ("--listen", a)]
        self.cmd = [*wrap, SLUICE, *flags, *([] if auth else ["--no-auth"]), *map(str, args)]
        self.env = {**os.environ, "ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "exitcode=99:"
                    "halt_on_error=1:print_stacktrace=1"}
        self.env.pop("SLUICE_SECRET", None)
        if auth and secret:
            self.env["SLUICE_SECRET"] = secret
        if clock:
            self.env |= {"LD_PRELOAD": clock.lib, "FAKE_CLOCK": clock.path}
            self.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self.env.update(env or {})
        self.proc = subprocess.Popen(self.cmd, env=self.env, stdin=stdin, bufsize=0, pass_fds=pass_fds,
                                     stdout=subprocess.PIPE, stderr=stderr or subprocess.PIPE)
        self.pid = self.proc.pid
        self.thread = threading.Thread(target=self.drain, daemon=True)
        if read_log and not stderr:
            self.thread.start()

    def where(self, n=1):
        """The address that the nth listening line names."""
        at = self.wait_log(n, event="listening")["addr"]
        if at.startswith("unix:"):
            return at[5:]
        host, port = at.rsplit(":", 1)
        return host.strip("[]"), int(port)

    def drain(self):
        fd = self.proc.stderr.fileno()
        while data := os.read(fd, 65536):
            *lines, self.rest = (self.rest + data).split(b"\n")
            with self.cond:
                for line in lines:
                    self.lines.append(line)
                    try:
                        self.records.append(logfmt(line))
                    except ValueError as e:
                        self.bad.append(str(e))
                self.cond.notify_all()
        with self.cond:
            self.cond.notify_all()

    def log(self, **want):
        with self.cond:
            return [r for r in self.records if all(r.get(k) == str(v) for k, v in want.items())]

    def wait_log(self, n=1, **want):
        """The nth record that matches, as soon as it is there."""
        end = time.monotonic() + WAIT
        while True:
            with self.cond:
                got = [r for r in self.records if all(r.get(k) == str(v) for k, v in want.items())]
                if len(got) >= n:
                    return got[n - 1]
                if not self.thread.is_alive() or time.monotonic() > end:
                    raise AssertionError(f"log lacks {want} (number {n}); exit "
                                         f"{self.proc.poll()}")
                self.cond.wait(0.2)

    def reach(self, addr):
        """Where the log says nothing: as soon as somebody listens there."""
        def there():
            try:
                Raw(addr).close()
                return True
            except (ConnectionRefusedError, FileNotFoundError):
                return self.proc.poll() is not None
        until(there, f"a listener at {addr}")
        self.addr = addr

    def raw(self, **kw):
        r = Raw(self.addr, **kw)
        socks.append(r)
        return r

    def ask(self, path="/", *headers, token=AUTO, rcvbuf=0, **kw):
        """Send a handshake; the reply has not been read."""
        if token is AUTO:
            token = mint(self.secret) if self.auth else None
        r = self.raw(rcvbuf=rcvbuf)
        r.send(request(path, *headers, token=token, **kw))
        return r

    def get(self, *a, **kw):
        """A handshake's refusal: the reply, and the end of the connection after it."""
        r = self.ask(*a, **kw)
        got = r.reply()
        if got.status != 101 and not r.eof():
            raise AssertionError(f"more after the reply: {bytes(r.buf)!r}")
        return got

    def ws(self, *a, **kw):
        return self.ask(*a, **kw).upgraded(kw.get("key", KEY))

    def events(self, path="/", *headers, token=AUTO, rcvbuf=0):
        """A stream of server-sent events."""
        if token is AUTO:
            token = mint(self.secret) if self.auth else None
        r = self.raw(rcvbuf=rcvbuf)
        r.send(http("GET", path, "Accept: text/event-stream", *headers, token=token))
        return Events(r)

    def post(self, path, body, *headers, token):
        """Publish by HTTP, on a connection of its own: the reply."""
        r = Raw(self.addr)
        try:
            r.send(http("POST", path, *headers, body=body, token=token))
            return r.reply()
        finally:
            r.close()

    def feed(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.proc.stdin.fileno(), view):]

    def stat(self):
        """Its state (R, S, T: proc(5)), and seconds of processor time used so far."""
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        """What is open: {number: name}. The process shows that to root alone."""
        if os.getuid():
            raise unittest.SkipTest("needs root")
        got, where = {}, f"/proc/{self.pid}/fd"
        for f in os.listdir(where):
            try:
                got[f] = os.readlink(f"{where}/{f}")
            except FileNotFoundError:        # closed in between
                pass
        return got

    def rss(self):
        not_emulated("memory is mostly its own")
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])

    def fetch(self, path, addr):
        """A plain GET without an upgrade."""
        def connect():                       # listeners start one after the other
            try:
                return Raw(addr)
            except (ConnectionRefusedError, FileNotFoundError):
                return None
        r = until(connect, f"a listener at {addr}")
        r.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        got = r.reply()
        r.close()
        return got

    def kill(self, sig):
        os.kill(self.pid, sig)

    def kill9(self):
        self.kill(signal.SIGKILL)
        self.ended(-9)

    def ended(self, code, timeout=WAIT):
        """It ends by itself with this code, and its log is as it must be."""
        self.stopped = True
        try:
            got = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError(f"still running after {timeout} s") from None
        finally:
            if self.thread.ident:
                self.thread.join(WAIT)
        out = self.proc.stdout.read()
        for f in (self.proc.stdin, self.proc.stdout, self.proc.stderr):
            if f:
                f.close()
        REASONS.update(r["reason"] for r in self.records if r["event"] in ("reject", "close")
                       and "reason" in r)
        if self.rest:
            self.bad.append(f"unfinished line {self.rest!r}")
        if self.bad:
            raise AssertionError("stderr: " + "\n".join(self.bad[:200]))
        if got != code:
            raise AssertionError(f"exit {got}, wanted {code}")
        stamps = [r["ts"] for r in self.records]
        if stamps != sorted(stamps) and not self.clock:
            raise AssertionError("log lines out of order")
        if out:
            raise AssertionError(f"stdout: {out!r}")

    def stop(self, sig=signal.SIGTERM):
        if self.stopped:
            return
        if self.proc.poll() is None:
            self.kill(sig)
        self.ended(0, 2)
        if self.thread.ident and not self.log(event="shutdown") \
                and not {"error", "warn"} & set(self.cmd):
            raise AssertionError("no event=shutdown")

    def report(self):
        with self.cond:
            lines = [x.decode(errors="replace") for x in self.lines + [self.rest] if x]
        if len(lines) > 40:
            lines[20:-20] = [f"... {len(lines) - 40} lines ..."]
        return "\n".join([f"$ {' '.join(self.cmd)}   (exit {self.proc.poll()})", *lines])


socks = []                                   # closed at the end of each test, not before


class Clock:
    """CLOCK_REALTIME for a server, in a file that both map: see clock.c."""

    def __init__(self, case):
        if static() and not emulated():          # an emulator asks its own libc
            case.skipTest("a static binary's clock cannot be replaced")
        self.lib, self.path = os.path.join(case.tmp, "clock.so"), os.path.join(case.tmp, "clock")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O", "-o", self.lib,
                        os.path.join(HERE, "clock.c")], check=True)
        self.set(None)

    def set(self, at):
        """Stand still at this Unix time, or run as the real one does."""
        with open(self.path, "r+b" if os.path.exists(self.path) else "wb") as f:
            f.write(struct.pack("q", 0 if at is None else round(at * 1000) * 1000000))


class Case(unittest.TestCase):
    longMessage = True
    maxDiff = 2000

    def setUp(self):
        self.servers = []
        self.tmp = tempfile.mkdtemp(prefix="sluice-")
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.addCleanup(self.hang_up)

    def hang_up(self):
        while socks:
            socks.pop().close()

    def path(self, name, data=None):
        p = os.path.join(self.tmp, name)
        if data is not None:
            with open(os.open(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                f.write(data)
        return p

    def warnings(self, s):
        """All but the one for root, which the machine of the test decides."""
        return [r for r in s.log(level="warn") if "root" not in r.get("msg", "")]

    def server(self, *args, ready=True, **kw):
        s = Server(*args, **kw)
        self.servers.append(s)
        self.addCleanup(s.stop)
        if ready and s.thread.ident:
            s.addr = s.where()
        return s

    def metrics(self, s, addr):
        """Prometheus text, strictly: {name or name{labels}: value}."""
        r = s.fetch("/metrics", addr)
        self.assertEqual(r.status, 200)
        self.assertRegex(r.headers["content-type"], r"^text/plain; version=0\.0\.4")
        self.assertTrue(r.body.endswith("\n"))
        got, kind, helped = {}, {}, set()
        for line in r.body[:-1].split("\n"):
            if m := re.fullmatch(r"# TYPE (\w+) (counter|gauge)", line):
                self.assertNotIn(m[1], kind)
                kind[m[1]] = m[2]
            elif m := re.fullmatch(r"# HELP (\w+) (\S.*)", line):
                self.assertNotIn(m[1], helped)
                helped.add(m[1])
            else:
                m = re.fullmatch(r'(\w+)(\{\w+="[^"\\\n]*"\})? (\d+)', line)
                self.assertTrue(m, line)
                self.assertNotIn(m[1] + (m[2] or ""), got)
                self.assertIn(m[1], kind, "its TYPE comes first")
                got[m[1] + (m[2] or "")] = int(m[3])
        for name in kind:
            self.assertEqual(kind[name], "counter" if name.endswith("_total") else "gauge", name)
        return got

    def refused(self, s, reason, *a, **kw):
        """The handshake is answered as the contract says for this reason."""
        n = len(s.log(event="reject", reason=reason))
        r = s.get(*a, **kw)
        self.assertEqual((r.status, r.body), (STATUS[reason], reason + "\n"), f"{a} {kw}")
        self.challenge(r, reason)
        self.assertIn("client", s.wait_log(n + 1, event="reject", reason=reason))
        return r

    def challenge(self, r, reason):
        got = r.headers.get("www-authenticate")
        if reason == "subject_denied":
            self.assertRegex(got, '^Bearer realm="sluice", .*error="insufficient_scope"')
        elif reason == "token_missing":
            self.assertEqual(got, 'Bearer realm="sluice"')
        elif r.status == 401:
            self.assertEqual(got, 'Bearer realm="sluice", error="invalid_token", '
                                  f'error_description="{reason}"')
        else:
            self.assertIsNone(got)
        if reason == "method_not_allowed":
            self.assertIn("GET", r.headers["allow"])
        if reason == "upgrade_required":
            self.assertEqual(r.headers["sec-websocket-version"], "13")

    def idle(self, s, seconds=1.0, share=0.1):
        """It uses next to no processor time, and where others leave it none, it does not want it either: it
        sleeps nearly whenever one looks. A measurement, so this one does sleep."""
        before, states = s.stat()[1], []
        for _ in range(50):
            time.sleep(seconds / 50)
            states.append(s.stat()[0])
        self.assertLess(s.stat()[1] - before, seconds * share, "it spins")
        self.assertLess(states.count("R"), 25, "it spins")


def run(*args, env=None, stdin=b"", wrap=(), timeout=WAIT):
    """sluice to its end: the finished process, with text."""
    e = {**os.environ, "ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "exitcode=99:halt_on_error=1"}
    e.pop("SLUICE_SECRET", None)
    p = subprocess.run([*wrap, SLUICE, *map(str, args)], env={**e, **(env or {})}, input=stdin,
                       capture_output=True, timeout=timeout)
    p.out, p.err = p.stdout.decode(), p.stderr.decode(errors="surrogateescape")
    return p


def node(script, *args, stdin=b"", timeout=WAIT):
    return subprocess.run(["node", os.path.join(HERE, script), *args], input=stdin, cwd=HERE,
                          stdout=subprocess.PIPE, timeout=timeout, check=True).stdout


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
