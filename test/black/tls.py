"""What the TLS tests share: a server with a certificate, and a client that holds its own records.

The client's TLS is OpenSSL's, between two memory buffers: what it wants to send can be cut anywhere,
held back, spoilt or replaced before it goes to the socket."""
import errno, functools, hmac, os, re, socket, ssl, struct
import black, pki
from black import until

CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23      # RFC 5246 6.2.1
TLS12 = ssl.TLSVersion.TLSv1_2


@functools.cache
def context():
    return new_context()


def new_context(ciphers=None, low=TLS12, high=ssl.TLSVersion.MAXIMUM_SUPPORTED, alpn=(), keylog=None):
    """A client's, which verifies the chain; all else as OpenSSL has it."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF    # Python's own habit: an end without close_notify is one
    c.load_verify_locations(pki.path("root.pem"))
    if ciphers:
        c.set_ciphers(ciphers)
    c.minimum_version, c.maximum_version = low, high
    if alpn:
        c.set_alpn_protocols(list(alpn))
    if keylog:
        c.keylog_filename = keylog
    return c


class Truncated(Exception):
    """The connection's end came without a close_notify: RFC 5246 7.2.1."""


BROKEN = (ssl.SSLError, OSError, black.Gone, Truncated)    # the ways in which a connection may end


class Wire(black.Raw):
    """A black.Raw over TLS. put(wire, data) is given each flight of bytes for the socket, to do as it
    likes; server_random is there for Seal."""

    def __init__(self, addr, ctx=None, session=None, put=None, shake=True, name="localhost", **kw):
        super().__init__(addr, **kw)
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (ctx or context()).wrap_bio(self.into, self.out, server_hostname=name, session=session)
        self.put = put or (lambda wire, data: wire.sock.sendall(data))
        self.ended, self.server_random = False, b""
        if shake:
            self.shake()

    def shake(self):
        self.drive(self.tls.do_handshake)

    def flush(self):
        if self.out.pending:
            self.put(self, self.out.read())

    def drive(self, step):
        """Do this TLS step, however much must be read for it."""
        while True:
            try:
                got = step()
                self.flush()
                return got
            except ssl.SSLWantReadError:
                self.flush()
                self.read_wire()
            except ssl.SSLEOFError:
                raise Truncated("no close_notify") from None
            except ssl.SSLError:
                try:
                    self.flush()             # our alert
                except OSError:
                    pass
                raise

    def read_wire(self, n=1 << 16):
        data = self.sock.recv(n)
        if len(self.server_random) < 43:     # record 5, handshake 4, version 2: RFC 5246 7.4.1.3
            self.server_random = (self.server_random + data)[:43]
        if data:
            self.into.write(data)
        else:
            self.into.write_eof()

    def send(self, data):
        self.tls.write(data)
        self.flush()

    def fill(self, n=1 << 16):
        if self.ended:
            return False
        try:
            got = self.drive(lambda: self.tls.read(n))
        except ssl.SSLZeroReturnError:
            got = b""
        self.ended = not got
        self.buf += got
        return bool(got)

    def early(self):
        got = super().early()
        while self.tls.pending():
            got += self.tls.read(self.tls.pending())
        return got

    def take_ready(self):
        self.read_wire(1 << 18)
        got = []
        try:
            while piece := self.tls.read(1 << 18):
                got.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(got)
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLEOFError:
            raise Truncated("no close_notify") from None
        return b"".join(got) or None

    def notify(self):
        """Our close_notify, and no word of WebSocket."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:                 # it also looks for the server's, and finds none yet, or data
            pass
        self.flush()


def alert_of(error):
    """The alert that the server sent, in OpenSSL's words."""
    m = re.search(r"\] (?:tlsv1|tlsv13|sslv3) alert ([a-z ]+)", str(error))
    if not m:
        raise AssertionError(f"no alert of the server's: {error!r}")
    return m[1].strip()


def records(data):
    """Cut TLS records apart: [(type, body)]."""
    got = []
    while data:
        kind, _, n = struct.unpack(">BHH", data[:5])
        if len(data) < 5 + n:
            raise AssertionError("part of a record")
        got.append((kind, data[5:5 + n]))
        data = data[5 + n:]
    return got


def record(kind, body, version=0x0303):
    return struct.pack(">BHH", kind, version, len(body)) + body


def read_record(raw):
    """From a black.Raw: the next record's type and body."""
    kind, version, n = struct.unpack(">BHH", raw.take(5))
    if version >> 8 != 3 or n > (1 << 14) + 2048:
        raise AssertionError(f"no record: {kind} {version:04x} {n}")
    return kind, raw.take(n)


@functools.cache
def hello():
    """A good ClientHello, for those who go no further."""
    out = ssl.MemoryBIO()
    tls = context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def extension(kind, *values, form="H"):
    """With a list of these values, its length in front of it in the same form."""
    data = struct.pack(f">{len(values)}{form}", *values)
    data = struct.pack(f">{form}", len(data)) + data
    return struct.pack(">HH", kind, len(data)) + data


def extensions(groups=(23, 24)):
    """P-256 and P-384, points uncompressed, ECDSA and RSA with SHA-256 and SHA-384."""
    return extension(10, *groups) + extension(11, 0, form="B") + extension(13, 0x0403, 0x0401, 0x0503, 0x0501)


def make_hello(suites=(0xc02b, 0xc02f, 0xcca9), compression=(0,), version=0x0303, more=None, session=b""):
    """A ClientHello by hand (RFC 5246 7.4.1.2), as one record."""
    more = extensions() if more is None else more
    body = struct.pack(">H", version) + os.urandom(32) + bytes([len(session)]) + session
    body += struct.pack(f">H{len(suites)}H", 2 * len(suites), *suites)
    body += bytes([len(compression), *compression])
    body += struct.pack(">H", len(more)) + more
    return record(HANDSHAKE, b"\1" + struct.pack(">I", len(body))[1:] + body, 0x0301)


class Seal:
    """Makes a client's records by hand once its handshake is done: AES-128-GCM (RFC 5288), the master
    secret from a key log. From then on the Wire's own tls must write nothing."""
    CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"

    def __init__(self, s, log):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        self.wire = s.raw(ctx=new_context(self.CIPHER, high=TLS12, keylog=log))
        with open(log) as f:
            *_, line = [x.split() for x in f if x.startswith("CLIENT_RANDOM")]
        client, master = bytes.fromhex(line[1]), bytes.fromhex(line[2])
        block = self.prf(master, b"key expansion", self.wire.server_random[11:] + client, 40)
        self.aead, self.salt, self.seq = AESGCM(block[:16]), block[32:36], 1    # Finished was 0

    @staticmethod
    def prf(secret, label, seed, n):
        """RFC 5246 5, with SHA-256."""
        a = seed = label + seed
        out = b""
        while len(out) < n:
            a = hmac.digest(secret, a, "sha256")
            out += hmac.digest(secret, a + seed, "sha256")
        return out[:n]

    def record(self, kind, body):
        nonce = struct.pack(">Q", self.seq)
        aad = nonce + struct.pack(">BHH", kind, 0x0303, len(body))
        self.seq += 1
        return record(kind, nonce + self.aead.encrypt(self.salt + nonce, body, aad))

    def send(self, kind, body):
        self.wire.sock.sendall(self.record(kind, body))


def queue(wire):
    """Bytes that the server's end of this connection has not read: its entry in sock_diag(7). None
    is an end; a kernel without inet_diag has none of any, and then nothing is waited for."""
    there, here = wire.sock.getpeername(), wire.sock.getsockname()
    want = struct.pack(">HH", there[1], here[1])
    for ip, _ in (there, here):
        want += socket.inet_aton(ip).ljust(16, b"\0")
    want += struct.pack("=III", 0, 0xffffffff, 0xffffffff)             # any interface, no cookie
    want = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xffffffff) + want
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as s:   # NETLINK_SOCK_DIAG
        s.send(struct.pack("=IHHII", 16 + len(want), 20, 1, 0, 0) + want)
        got = s.recv(4096)
    if struct.unpack("=H", got[4:6])[0] != 20:
        if (error := -struct.unpack("=i", got[16:20])[0]) != errno.ENOENT:
            raise OSError(error, "sock_diag")
        return 0
    return struct.unpack("=I", got[72:76])[0]


def was_read(wire):
    until(lambda: not queue(wire), "the server reads")


def put_bytewise(wire, data):
    """Each byte goes when the server has read the one before."""
    for i in range(len(data)):
        wire.sock.sendall(data[i:i + 1])
        was_read(wire)


def put_cut(flight, at):
    """This flight (0 is the ClientHello's) in two pieces; the server reads the first before the second."""
    count = [-1]

    def put(wire, data):
        count[0] += 1
        if count[0] == flight and at < len(data):
            wire.sock.sendall(data[:at])
            was_read(wire)
            data = data[at:]
        wire.sock.sendall(data)
    return put


def address(text):
    """Of a listening line, with its tls: or without."""
    text = text.removeprefix("tls:")
    if text.startswith("unix:"):
        return text[5:]
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


class Server(black.Server):
    """What it is asked over its first listener goes over TLS."""

    def __init__(self, *args, kind="p256", pair=None, listen=("tls:127.0.0.1:0",), **kw):
        cert, key = pair or (pki.path(f"{kind}.pem"), pki.path(f"{kind}.key"))
        if "--ping" not in args:
            args += "--ping", 600            # a busy machine may take longer than the usual 30 s
        super().__init__("--cert", cert, "--key", key, *args, listen=listen, **kw)

    def where(self, n=1):
        return address(self.wait_log(n, event="listening")["addr"])

    def plain(self, addr=None):
        """A black.Raw: no TLS but what the test makes itself."""
        r = black.Raw(addr or self.addr)
        black.socks.append(r)
        return r

    def raw(self, **kw):
        r = Wire(self.addr, **kw)
        black.socks.append(r)
        return r

    def ask(self, path="/", *headers, token=black.AUTO, rcvbuf=0, wire=None, **kw):
        if token is black.AUTO:
            token = black.mint(self.secret) if self.auth else None
        r = self.raw(rcvbuf=rcvbuf, **(wire or {}))
        r.send(black.request(path, *headers, token=token, **kw))
        return r

    def post(self, path, body, *headers, token):
        r = self.raw()
        try:
            r.send(black.http("POST", path, *headers, body=body, token=token))
            return r.reply()
        finally:
            r.close()


class Case(black.Case):
    def server(self, *args, ready=True, **kw):
        s = Server(*args, **kw)
        self.servers.append(s)
        self.addCleanup(s.stop)
        self.addCleanup(self.hang_up)        # clients first: it need not wait for their answers
        if ready and s.thread.ident:
            s.addr = s.where()
        return s

    def serves(self, s, c=None):
        """A message comes through, to this client or a new one, which is returned."""
        c = c or s.ws()
        text = os.urandom(8).hex().encode()
        s.feed(text + b"\n")
        while (got := c.message()) != text:
            self.assertRegex(got, rb"^[0-9a-f]{16}$")    # of an earlier call, which another client read
        return c

    def over(self, raw, what="the end of a connection"):
        """It ends: an alert, a FIN or a reset, whatever comes before."""
        raw.sock.settimeout(black.WAIT)
        try:
            while raw.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            self.fail(f"waited in vain for {what}")
