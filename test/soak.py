"""make soak: for SOAK_SECONDS (3600), clients that come, go, stall, reset and lie, against one sluice.

Watchers of every kind stay from the first message to the last and must see each one, in order, from
sources that end and come back. Visitors behave, and must be let in within BOUND seconds and served
whatever the others do. Liars do all that they should not. The steward replaces keys and certificates.
Once a minute visitors and liars go; then descriptors, clients and memory must be back where they were,
and there must be room for all that the options allow. SOAK_SEED repeats a run's choices, not its timing.
"""
import collections, hashlib, itertools, json, os, random, re, resource, shutil, signal, socket, ssl
import subprocess, sys, tempfile, threading, time, traceback
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "black"))
import black, v1
from black import BINARY, CLOSE, PING, TEXT, Events, Gone, b64, claims, frame, http, jws, request, until

SECONDS = int(os.environ.get("SOAK_SECONDS", 3600))
SEED = os.environ.get("SOAK_SEED") or os.urandom(4).hex()
PLAY = min(50, SECONDS / 6)                  # of a round; then the accounts
CLIENTS, PENDING, TLS = 200, 128, 96
HANDSHAKE = 4                                # seconds for a request
LIFE = int(SECONDS) + 600                    # of a token that is shown to the last
MESSAGE = 65536
BOUND = 20 if black.sanitized() else 10
SETTLED = 512                                # kB that a server that has seen it all may still grow
SUBJECTS = ["/", "/fifo", "/unix", "/udp", "/tcp"]
REASONS = """bad_request claim_invalid exp_missing handshake_timeout key_unknown message_too_large pending_full
    signature_invalid subject_denied tls_failed token_expired token_malformed token_missing token_used
    too_many_clients""".split()              # refusals without which the run was no test
GONE = OSError, Gone

halt, over = threading.Event(), threading.Event()
tally = collections.Counter()
passed, failed = collections.Counter(), collections.Counter()
worst = {False: 0.0, True: 0.0}
DOOR, KEYS = {}, {}                          # addresses by "is it TLS"; what signs, by kid
tmp = tempfile.mkdtemp(prefix="soak-")


def check(what, ok, detail=""):
    (passed if ok else failed)[what] += 1
    if not ok and failed[what] <= 5:
        print(f"not ok: {what}: {detail}", flush=True)
    return ok


def fault(what):
    check(what, False, traceback.format_exc(limit=-6))


def waited(cond, timeout=60):
    try:
        return until(cond, timeout=timeout)
    except AssertionError:
        return False


def line(subject, n):
    """The nth message: short ones, empty ones but for their number, and some of several TLS records."""
    size = 20000 if n % 50 == 0 else n * 37 % 500
    return f"{n} " + (hashlib.sha256(f"{subject} {n}".encode()).hexdigest() * (size // 64 + 1))[:size]


# --- keys, tokens, certificates -------------------------------------------------------------------------

def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True).stdout


def put(name, data):
    """As a careful program replaces a file. Its path."""
    path = os.path.join(tmp, name)
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
        f.write(data)
    os.rename(path + ".new", path)
    return path


def put_secrets():
    put("keys.json", json.dumps({"keys": [
        {"kty": "oct", "kid": k, "k": b64(KEYS[k]), "token_use": "many" if k == "many" else "once"}
        for k in ("stay", "many", "turn")]}).encode())


def make_keys():
    for kid in "stay", "many", "turn":
        KEYS[kid] = os.urandom(32)
    put_secrets()
    for kid, how in ("rs", ["RSA"]), ("es", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]):
        KEYS[kid] = put(kid + ".key", openssl("genpkey", "-algorithm", *how))
        put(kid + ".pem", openssl("pkey", "-in", KEYS[kid], "-pubout"))


def make_certificates():
    """(certificate, key) in PEM: of EC and RSA in turn."""
    for how in ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], ["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]:
        key = os.path.join(tmp, "made.key")
        cert = openssl("req", "-x509", "-newkey", *how, "-nodes", "-days", "2", "-subj", "/CN=soak", "-keyout", key)
        with open(key, "rb") as f:
            yield cert, f.read()


def rs_of(der):
    """RFC 7518 3.4: r and s, of an ASN.1 SEQUENCE of both."""
    r, s = der[4:4 + der[3]], der[6 + der[3]:]
    return b"".join(int.from_bytes(x, "big").to_bytes(32, "big") for x in (r, s))


def token(kid="stay", ttl=20, header=None, **more):
    c = {"permissions": v1.ALL, "exp": int(time.time()) + ttl, **more}
    h = {"alg": {"rs": "RS256", "es": "ES256"}.get(kid, "HS256"), "kid": kid, **(header or {})}
    if kid not in ("rs", "es"):
        return jws(h, claims(**c), KEYS[kid])
    text = b64(json.dumps(h).encode()) + "." + b64(json.dumps(claims(**c)).encode())
    sig = openssl("dgst", "-sha256", "-sign", KEYS[kid], data=text.encode())
    return text + "." + b64(sig if kid == "rs" else rs_of(sig))


# --- clients ----------------------------------------------------------------------------------------------

class Plain(black.Raw):
    clean = True                             # the end that was read is no cut

    def shake(self):
        return self

    def reply_head(self):
        r = super().reply_head()
        if r.status == 503:                  # crowded out
            raise Gone(f"503 {r.headers}")
        return r

    def finish(self):
        """The end of what we send."""
        self.sock.shutdown(socket.SHUT_WR)


class Tls(Plain):
    """What trick makes of it goes out as the flight of this number: 1 and 2 are the handshake's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def __init__(self, addr, session=None, flight=0, trick=None, **kw):
        super().__init__(addr, **kw)
        self.bio, self.flight, self.trick = (ssl.MemoryBIO(), ssl.MemoryBIO()), flight, trick
        self.tls = self.context.wrap_bio(*self.bio, session=session)

    def out(self):
        if data := self.bio[1].read():
            self.flight -= 1
            self.sock.sendall(self.trick(data) if self.flight == 0 else data)

    def step(self, call, *args):
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                pass
            finally:
                self.out()
            data = self.sock.recv(65536)
            self.bio[0].write(data) if data else self.bio[0].write_eof()

    def shake(self):
        self.step(self.tls.do_handshake)
        return self

    def send(self, data):
        self.step(self.tls.write, data)

    def fill(self, n=65536):
        try:
            self.buf += (got := self.step(self.tls.read, n))
            return bool(got)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as e:
            self.clean = isinstance(e, ssl.SSLZeroReturnError)
            return False

    def finish(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            self.out()
        except ssl.SSLError:                 # in a handshake, or something came meanwhile
            super().finish()


def hello():
    c, out = Tls.context, ssl.MemoryBIO()
    try:
        c.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


def dial(tls, mine, **kw):
    c = (Tls if tls else Plain)(DOOR[tls], **kw)
    mine.append(c)                           # so that it can be woken, and is closed, whatever comes
    return c.shake()


def leave(mine):
    while mine:
        mine.pop().close()


# --- those who stay ---------------------------------------------------------------------------------------

class Source(threading.Thread):
    """Numbered lines; connect() makes a file for them. All but stdin end now and then, and come back."""

    def __init__(self, subject, connect):
        super().__init__(daemon=True)
        self.subject, self.connect, self.n, self.idle, self.file = subject, connect, 0, False, None
        self.rng = random.Random(f"{SEED} {subject}")

    def run(self):
        while not over.is_set():
            self.idle = self.idle and halt.is_set()
            try:
                self.rest() if halt.is_set() else self.say()
            except Exception:
                fault(f"source {self.subject}")
                return
            time.sleep(self.rng.random() / 5)

    def rest(self):
        self.end()
        self.idle = True

    def end(self):
        if self.file and self.subject != "/":
            self.file.close()
            self.file = None

    def say(self):
        self.file = self.file or self.connect()
        data = line(self.subject, self.n + 1).encode()
        last = self.subject != "/" and self.rng.random() < 0.05
        cut = 0 if self.subject == "/udp" else self.rng.randrange(len(data))
        newline = b"" if self.subject == "/udp" or last and self.rng.random() < 0.5 else b"\n"
        for part in filter(None, (data[:cut], data[cut:] + newline)):
            self.file.write(part)
            self.file.flush()
        self.n += 1
        if last:
            self.end()                       # the next writer's must not come before it
            until(lambda: over.is_set() or all(w.seen.get(self.subject, self.n) >= self.n for w in watchers),
                  f"message {self.n} of {self.subject}", 60)


def socket_file(sock):
    with sock:
        return sock.makefile("wb", 65536)


def connected(family, kind, to):
    sock = socket.socket(family, kind)
    sock.connect(to)
    return socket_file(sock)


class Watcher(threading.Thread):
    def __init__(self, hear, tls, subjects):
        super().__init__(daemon=True, name=f"{hear} {'tls' if tls else 'plain'} {subjects}")
        self.seen, self.tls, self.mine, self.leaving = dict.fromkeys(subjects, 0), tls, [], False
        self.c = dial(tls, self.mine)
        self.heard = getattr(self, hear)(*subjects)
        next(self.heard)                     # let in

    def run(self):
        try:
            for subject, text in self.heard:
                want = line(subject, self.seen[subject] + 1)
                if text != want:
                    raise AssertionError(f"{subject}: {text[:40]} where {want[:40]} is due")
                self.seen[subject] += 1
        except Exception:
            if not self.leaving:
                fault(f"watcher {self.name}")

    def raw(self, subject):
        self.c.send(request(subject, token=token()))
        yield self.c.upgraded()
        while True:
            yield subject, self.c.message().decode()

    def events(self, subject):
        self.c.send(http("GET", subject, "Accept: text/event-stream", token=token()))
        yield (e := Events(self.c))
        for n in itertools.count(1):
            got = e.event()
            if not got.id.endswith(f"-{n}"):
                raise AssertionError(f"{subject}: id {got.id} where {n} is due")
            yield subject, got.data

    def v1(self, *subjects):
        """Its token ends soon, and must be renewed all the time."""
        self.c.send(request("/", v1.OFFER, token=token("many", 75)))
        yield (c := v1.greet(self.c.upgraded())).sub("/", "/+")
        while True:
            m = c.wire()
            if m["op"] == "msg":
                if v1.number(m) != self.seen[m["subject"]] + 1:
                    raise AssertionError(f"{m['id']} after {self.seen[m['subject']]}")
                yield m["subject"], m["data"]
            elif m["op"] == "expiring":
                c.say({"op": "auth", "token": token("many", 75)})
            elif m["op"] == "ready":
                tally["renewed"] += 1
            else:
                raise AssertionError(m)


# --- those who come and go --------------------------------------------------------------------------------

class Guest(threading.Thread):
    deeds = ()

    def __init__(self, n):
        super().__init__(daemon=True, name=f"{type(self).__name__}{n}")
        self.rng, self.mine, self.busy, self.sessions = random.Random(f"{SEED} {self.name}"), [], False, []

    def run(self):
        while not over.is_set():
            self.busy = True
            if halt.is_set():
                self.busy = False
                time.sleep(0.05)
                continue
            deed = self.rng.choice(self.deeds)
            try:
                getattr(self, deed)()
                passed[f"{type(self).__name__} {deed}"] += 1
            except Exception:
                if not halt.is_set():
                    fault(f"{type(self).__name__} {deed}")
            leave(self.mine)

    def chance(self, p):
        return self.rng.random() < p

    def dial(self, tls=None, **kw):
        tls = self.chance(0.5) if tls is None else tls
        if tls and self.sessions and self.chance(0.5):
            kw.setdefault("session", self.sessions.pop())
        c = dial(tls, self.mine, **kw)
        if tls:
            tally["resumed"] += c.tls.session_reused
            self.sessions = [c.tls.session]
        return c

    def kid(self):
        return self.rng.choice(["stay", "many", "stay", "many", "rs", "es"])

    def enter(self, make, tls=None):
        """Let in, or answered, if need be at a later try."""
        tls, start = self.chance(0.5) if tls is None else tls, time.monotonic()
        while True:
            try:
                got = make(tls)
                worst[tls] = max(worst[tls], time.monotonic() - start)
                tally["entered"] += 1
                return got
            except (Gone, ConnectionError, ssl.SSLError) as e:
                if halt.is_set() or time.monotonic() - start > BOUND:
                    raise AssertionError(f"not let in for {BOUND} s, TLS {tls}: {e!r}") from e
                leave(self.mine)
                tally["again"] += 1

    def ask(self, *a, **kw):
        """A request, on a connection of its own; the reply has not been read."""
        def make(tls):
            c = self.dial(tls)
            c.send(request(*a, token=token(self.kid()), **kw))
            return c.upgraded()
        return self.enter(make)

    def reply(self, data, tls=None):
        """data() is a request that is answered without an upgrade."""
        def make(tls):
            c = self.dial(tls)
            c.send(data())
            return c.reply()
        return self.enter(make, tls)


class Visitor(Guest):
    deeds = "raw raw v1 v1 events events post post page metrics refused refused refused_v1".split()

    def numbered(self, subject, texts):
        n = None
        for text in texts:
            n = n + 1 if n else int(text.split()[0])
            if text != line(subject, n):
                raise AssertionError(f"{subject}: {text[:40]} is not number {n}")

    def go(self, c):
        """As clients do, or as they should."""
        how = self.rng.randrange(4)
        if how == 0:
            c.reset()
        elif how == 1:
            c.finish()
            while c.sock.recv(65536):
                pass
        elif how == 2:
            c.send_frame(CLOSE, b"\x03\xe8bye")
            if (got := c.closed(data_too=True)) != (1000, "") or not c.clean:
                raise AssertionError(f"a close answered by {got}, clean {c.clean}")

    def raw(self):
        subject = self.rng.choice(SUBJECTS)
        c = self.ask(subject)
        self.numbered(subject, (c.message().decode() for _ in range(self.rng.randrange(8))))
        self.go(c)

    def v1(self):
        def make(tls):
            c = self.dial(tls)
            t, late = token(kid), self.chance(0.5)
            c.send(request("/", v1.OFFER, token=None if late else t))
            if not late:
                return v1.greet(c.upgraded())
            c = v1.Client(c.upgraded())
            c.say({"op": "auth", "token": t})
            if c.raw.frame()[0] == CLOSE:    # crowded out
                raise Gone("closed before ready")
            return c
        kid, own = self.kid(), f"/noise/{self.name}"
        c = self.enter(make).sub("/fifo", replay=self.rng.randrange(5)).sub(own)
        for _ in range(self.rng.randrange(5)):
            data = self.rng.choice("ä\n\"x") * self.rng.randrange(9000)
            c.pub(own, data)
            while (m := self.hear(c))["op"] != "msg" or m["subject"] != own:
                pass
            if m["data"] != data:
                raise AssertionError(f"published {data[:40]!r}, heard {m['data'][:40]!r}")
        if self.chance(0.5):
            c.say({"op": "auth", "token": token(kid)})
            while (m := self.hear(c))["op"] != "ready":
                pass
            if c.call("auth", token="x.y.z") != "token_malformed":
                raise AssertionError("a bad renewal")
        c.unsub(own)
        self.go(c.raw)

    def hear(self, c):
        m = c.aside.pop(0) if c.aside else c.wire()
        if m["op"] not in ("msg", "ready", "expiring"):
            raise AssertionError(m)
        return m

    def events(self):
        def make(tls):
            c = self.dial(tls)
            c.send(http("GET", f"{subject}?replay={n // 2}", "Accept: text/event-stream", token=token(self.kid())))
            return Events(c)
        subject, n = self.rng.choice(SUBJECTS), self.rng.randrange(8)
        self.numbered(subject, (x.data for x in self.enter(make).events(n)))

    def post(self):
        """Several on one connection, with a token that is used by then."""
        def make(tls):
            c = self.mine[-1] if self.mine else self.dial(tls)
            c.send(http("POST", "/noise/bulk", "Transfer-Encoding: chunked", token=t) + b"%x\r\n%s\r\n0\r\n\r\n"
                   % (len(body), body) if chunked else http("POST", "/noise/bulk", body=body, token=t))
            if (r := c.reply()).status == 408:
                raise Gone("liars held all message buffers")
            return r
        tls, t = self.chance(0.5), token(self.kid())
        for _ in range(self.rng.randrange(1, 6)):
            body, chunked = self.rng.randbytes(self.rng.randrange(1, MESSAGE)), self.chance(0.3)
            if (r := self.enter(make, tls)).status != 204:
                raise AssertionError(r)

    def page(self):
        if "<html" not in (r := self.reply(lambda: http("GET", "/", "Accept: text/html"))).body:
            raise AssertionError(r)

    def metrics(self):
        def make(tls):
            c = Plain(METRICS)
            self.mine.append(c)
            c.send(http("GET", path))
            return c.reply()
        path, want = self.rng.choice([("/metrics", r"(?s).*\nsluice_clients \d+\n.*"), ("/healthz", "ok\n")])
        if not re.fullmatch(want, (r := self.enter(make, False)).body):
            raise AssertionError(r)

    def bad_tokens(self):
        now = int(time.time())
        return {
            "token_missing": lambda: None,
            "token_malformed": lambda: self.rng.choice(["x", "a.b.c", token()[:-1] + "=", "A" * 5000]),
            "alg_not_allowed": lambda: token(header={"alg": "none"}),
            "key_unknown": lambda: token(header={"kid": "nobody"}),
            "signature_invalid": lambda: self.rng.choice([
                token(header={"kid": "many"}), token("rs")[:-9] + "AAAAAAAAA", token("es")[:-9] + "AAAAAAAAA"]),
            "exp_missing": lambda: token(exp=None),
            "claim_invalid": lambda: token(permissions={"sub": ["/a*"]}),
            "token_expired": lambda: token(self.kid(), exp=now - 1),
            "token_not_yet_valid": lambda: token(nbf=now + 100),
            "ttl_too_long": lambda: token(exp=now + 100000),
            "subject_denied": lambda: token(permissions={"sub": ["/nothing"]}),
            "issued_before_start": lambda: token(iat=now - 100000),
            "token_used": lambda: used,
        }

    def refused(self):
        reason = self.rng.choice(list(bad := self.bad_tokens()))
        r = self.reply(lambda: request("/", token=bad[reason]()))
        if not self.mine[-1].eof() or not self.mine[-1].clean:
            raise AssertionError("no clean end")
        if (r.status, r.body) != (black.STATUS[reason], reason + "\n"):
            raise AssertionError(f"{reason} is due: {r}")

    def refused_v1(self):
        def make(tls):
            c = self.dial(tls)
            c.send(request("/", v1.OFFER))
            c = v1.Client(c.upgraded())
            c.say({"op": "auth", "token": bad[reason]()})
            got = c.closed()
            if got == (1013, "pending_full"):
                raise Gone(got)
            return got
        bad = self.bad_tokens()
        reason = self.rng.choice(["token_expired", "token_used", "key_unknown", "signature_invalid"])
        if (got := self.enter(make)) != (4401, reason):
            raise AssertionError(f"{reason} is due: {got}")


class Steward(Guest):
    """SIGHUP, with what is good and with what is not."""
    deeds = "reload reload broken calm".split()

    def calm(self):
        halt.wait(self.rng.random() * 6)

    def hup(self, **want):
        with server.cond:
            server.records.clear()
            server.lines.clear()
        server.kill(signal.SIGHUP)
        for msg, level in want.items():
            until(lambda: [r for r in server.log(event="reload", level=level) if msg in r["msg"]],
                  f"a reload of {msg}")
        tally["reloaded"] += 1

    def reload(self):
        c, old = self.ask_turn(), token("turn")
        cert, key = CERTIFICATES[0]
        CERTIFICATES.rotate()
        KEYS["turn"] = os.urandom(32)
        put_secrets()
        put("cert.pem", cert)
        put("cert.key", key)
        self.hup(keys="info", certificate="info")
        if (got := c.closed(data_too=True)) != (4401, "key_unknown"):
            raise AssertionError(f"a key that is gone: {got}")
        leave(self.mine)
        if (r := self.reply(lambda: request(token=old))).body != "signature_invalid\n":
            raise AssertionError(r)
        self.ask_turn(tls=True)
        if self.mine[-1].tls.getpeercert(True) != ssl.PEM_cert_to_DER_cert(cert.decode()):
            raise AssertionError("not the new certificate")

    def ask_turn(self, tls=None):
        def make(tls):
            c = self.dial(tls, **({"session": None} if tls else {}))
            c.send(request(token=token("turn")))
            return c.upgraded()
        return self.enter(make, tls)

    def broken(self):
        """The old ones stay."""
        with open(os.path.join(tmp, "cert.key"), "rb") as f:
            key = f.read()
        c = self.ask_turn()
        put("cert.key", self.rng.choice([b"", key[:200], self.rng.randbytes(500), CERTIFICATES[0][1]]))
        put("keys.json", self.rng.choice([b"", b"{}", b'{"keys":[]}', self.rng.randbytes(100)]))
        self.hup(old="error")
        until(lambda: len(server.log(event="reload", level="error")) == 2, "two errors")
        put("cert.key", key)
        put_secrets()
        c.message()
        self.ask_turn(tls=True)


class Liar(Guest):
    deeds = """cut cut tamper tamper babble crowd crowd_tls dawdle hoard ignore ignore frames frames frames_v1
        writers bad_http wreck""".split()

    def suffer(self, *clients):
        """They wait for what becomes of it, a while."""
        halt.wait(self.rng.random() * 6)
        for c in clients:
            c.sock.settimeout(0.5)
            try:
                while c.fill():
                    c.buf.clear()
            except (OSError, AssertionError):
                pass
            self.chance(0.3) and c.reset()

    def cut(self):
        """TLS broken off at any byte of any flight."""
        def trick(data):
            c.sock.sendall(data[:self.rng.randrange(len(data) + 1)])
            raise Gone("cut")
        c = Tls(DOOR[True], flight=self.rng.randrange(1, 5), trick=trick)
        self.mine.append(c)
        try:
            c.shake().send(request(token=token()))
            c.upgraded()
            while True:
                c.send_frame(PING, b"x")
        except GONE:
            pass
        try:
            self.rng.choice([self.suffer, Plain.reset, Tls.finish, Plain.close])(c)
        except GONE:
            pass

    def tamper(self):
        """A bit of any flight, but not of a first record's header, whose version is free. It brings nothing."""
        def trick(data):
            i = self.rng.randrange(5, len(data))
            return data[:i] + bytes([data[i] ^ 1 << self.rng.randrange(8)]) + data[i + 1:]
        flight = self.rng.randrange(1, 4)
        c = Tls(DOOR[True], flight=flight, trick=trick, timeout=2)
        self.mine.append(c)
        try:
            c.shake().send(request(token=token()))
            r = c.reply_head()
        except GONE:
            return
        raise AssertionError(f"flight {flight} tampered with, and answered: {r}")

    def babble(self):
        """Not what that door is for."""
        c = Plain(DOOR[tls := self.chance(0.5)])
        self.mine.append(c)
        h = hello()
        try:
            c.send(self.rng.choice([self.rng.randbytes(self.rng.randrange(1, 30000)), http("GET", "/"), h, h[:5] + h,
                                    b"\x16\x03\x03\xff\xff" + bytes(70000), h[:3] + b"\x00\x00" * 3000, b"\r\n" * 5000]))
            self.suffer(c)
        except GONE:
            pass

    def crowd(self, tls=False):
        """More than there may be that never finish."""
        start = [b"", b"G", request(token=token())[:-2], h := hello(), h[:50]]
        for _ in range(self.rng.randrange(8 * PENDING)):
            if halt.wait(0.003 if tls else 0.001):
                break
            try:
                c = Plain(DOOR[tls])
                self.mine.append(c)
                c.send(self.rng.choice(start))
            except OSError:
                pass
        halt.wait(self.rng.random() * 3)

    def crowd_tls(self):
        self.crowd(True)

    def dawdle(self):
        """A byte at a time, and then no more."""
        try:
            c = self.dial()
            for b in request(token=token())[:self.rng.randrange(200)]:
                c.send(bytes([b]))
                if halt.wait(0.02):
                    break
            self.suffer(c)
        except GONE:
            pass

    def hoard(self):
        """Long messages that are begun, to hold all buffers for them."""
        try:
            for _ in range(self.rng.randrange(40)):
                c = self.dial()
                if self.chance(0.5):
                    c.send(http("POST", "/noise/bulk", body=bytes(MESSAGE), token=token("many"))[:-1000])
                else:
                    c.send(request("/noise/hoard", token=token()))
                    c.upgraded()
                    c.send_frame(TEXT, bytes(30000), length=MESSAGE)
            self.suffer(*self.mine)
        except GONE:
            pass

    def ignore(self):
        """Those who do not read what there is much of, or too slowly."""
        try:
            for _ in range(self.rng.randrange(1, 8)):
                c, kind = self.dial(rcvbuf=4096), self.rng.randrange(3)
                if kind == 0:
                    c.send(request("/noise/bulk", token=token()))
                elif kind == 1:
                    c.send(http("GET", "/noise/bulk", "Accept: text/event-stream", token=token()))
                else:
                    c.send(request("/", v1.OFFER, token=token()))
                    c.send_frame(TEXT, b'{"op":"sub","subject":"/noise/*","replay":1000}')
            for _ in range(self.rng.randrange(150)):
                self.rng.choice(self.mine).sock.recv(self.rng.choice([1, 3000]))
                if halt.wait(0.05):
                    break
            self.suffer(*self.mine)
        except GONE:
            pass

    WRONG = [
        (frame(TEXT, b"x"), 1002), (frame(TEXT, b"x", rsv=4, mask=b"abcd"), 1002), (frame(3, b"x", mask=b"abcd"), 1002),
        (frame(PING, bytes(126), mask=b"abcd"), 1002), (frame(PING, b"x", fin=False, mask=b"abcd"), 1002),
        (frame(0, b"x", mask=b"abcd"), 1002), (frame(TEXT, b"x", fin=False, mask=b"abcd") * 2, 1002),
        (frame(CLOSE, b"\x03", mask=b"abcd"), 1002), (frame(CLOSE, b"\x03\xed", mask=b"abcd"), 1002),
        (b"\x81\xfe\x00\x01abcdx", 1002), (frame(BINARY, b"x", mask=b"abcd"), 1003),
        (frame(TEXT, b"\xff", mask=b"abcd"), 1007), (frame(CLOSE, b"\x03\xe8\xff", mask=b"abcd"), 1007),
        (frame(TEXT, b"x", length=MESSAGE + 1, mask=b"abcd"), 1009), (frame(TEXT, b"x", length=1 << 62, mask=b"abcd"), 1009),
        (frame(TEXT, bytes(MESSAGE), fin=False, mask=b"abcd") + frame(0, b"x", mask=b"abcd"), 1009),
    ]

    def frames(self, *offer):
        """Frames that there are not."""
        c, (data, code) = self.ask("/noise/frames", *offer), self.rng.choice(self.WRONG)
        if self.chance(0.5):
            c.send(data)
        else:
            for i in range(0, len(data), step := len(data) // 7 + 1):
                c.send(data[i:i + step])
        got = c.closed(data_too=True)
        if got[0] != code and got != (1013, "too_slow"):
            raise AssertionError(f"{data[:20]!r} closed by {got}, where {code} is due")

    def frames_v1(self):
        if self.chance(0.5):
            return self.frames(v1.OFFER)
        c = v1.greet(self.ask("/", v1.OFFER))
        c.say(*[self.rng.choice([b"", b"{", b"[]", b'{"op":1}', b'{"op":"sub"}', b'{"op":"sub","subject":"/a//"}',
                                 b"[" * 1000, b'{"op":"pub","subject":"/noise/+","data":"x"}']) for _ in range(50)])
        for _ in range(49):              # or one less: its token may end soon
            if (m := c.wire()) != {"op": "error", "reason": "bad_request"} and m["op"] != "expiring":
                raise AssertionError(m)

    def writers(self):
        """A source's writers: too many of them, lines too long, ends in the middle."""
        for _ in range(self.rng.randrange(1, 25)):
            s = socket.socket(socket.AF_UNIX)
            self.mine.append(s)
            s.settimeout(1)
            try:
                s.connect(os.path.join(tmp, "lies"))
                s.sendall(self.rng.randbytes(self.rng.randrange(3000)) + self.rng.choice([b"", b"\n" * 50, b"x" * 2 * MESSAGE]))
            except OSError:
                pass
        halt.wait(self.rng.random())

    def bad_http(self):
        data, status = self.rng.choice([
            (b"GET / HTTP/1.1\n\n", 400), (http("GET", "/a//"), 400), (http("GET", "/", "X: " + "x" * 9000), 431),
            (http("PUT", "/"), 405), (http("GET", "/x"), 426), (http("GET", "/?replay=x", "Accept: text/event-stream"), 400),
            (http("POST", "/noise/x", body=bytes(MESSAGE + 1), token=token("many")), 413),
            (http("POST", "/noise/x", "Content-Length: 3", body=b"x", token=token("many")), 400),
            (http("POST", "/noise/x", "Transfer-Encoding: chunked", token=token("many")) + b"zz\r\n", 400)])
        if (r := self.reply(lambda: data)).status != status:
            raise AssertionError(f"{data[:200]} answered by {r}")

    def wreck(self):
        """Let in, and then anything."""
        c = self.ask(self.rng.choice(SUBJECTS), *self.rng.choice([(), (v1.OFFER,)]))
        try:
            c.send(self.rng.randbytes(self.rng.randrange(5000)))
            if isinstance(c, Tls) and self.chance(0.7):
                c.sock.sendall(self.rng.randbytes(self.rng.randrange(3000)))
            self.suffer(c)
        except GONE:
            pass


# --- the accounts -----------------------------------------------------------------------------------------

def metrics():
    return {k: int(v) for k, v in re.findall(r"^(\w+(?:{.*})?) (\d+)$", server.fetch("/metrics", METRICS).body, re.M)}


def descriptors():
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def settled(when):
    """Only those who stay are here."""
    check("clients are gone", waited(lambda: metrics()["sluice_clients"] == len(watchers)),
          f"{when}: {metrics()['sluice_clients']} clients, {len(watchers)} stay")
    check("descriptors are back", waited(lambda: descriptors() == at_rest + len(watchers)),
          f"{when}: {descriptors()}, at the start {at_rest}, {len(watchers)} stay")


def idle():
    """Clients that will not go, or not say more, cost no time."""
    mine = []
    for tls in DOOR:
        for data in b"GET", b"GET / HTTP/1.1\n\n", request(), request(token=token()), \
                request(token=token()) + frame(TEXT, b"unmasked"), request(token=token()) + frame(CLOSE, mask=b"abcd"):
            dial(tls, mine).send(data)
    time.sleep(0.5)
    before = server.stat()[1]
    time.sleep(1)
    spent = server.stat()[1] - before
    check("no time is wasted", spent < 0.3, f"{spent:.2f} s of one on clients that say nothing")
    leave(mine)


def full_house():
    """As many as there may be get in at once, and not one more."""
    mine, tls = [], TLS - sum(w.tls for w in watchers)
    try:
        for i in range(CLIENTS - len(watchers)):
            dial(i < tls, mine).send(request(token=token()))
            mine[-1].upgraded()
        if metrics()["sluice_clients"] != CLIENTS:
            raise AssertionError("not all are counted")
        for more in False, True:
            try:
                dial(more, mine).send(request(token=token()))
                raise AssertionError(f"one more: {mine[-1].reply()}")
            except GONE:
                pass
        passed["all slots"] += 1
    except Exception:
        fault("all slots")
    leave(mine)


def quiet():
    """Visitors, liars and sources rest."""
    halt.set()

    def still():
        for c in [c for g in guests if g.busy for c in list(g.mine)]:
            try:
                getattr(c, "sock", c).shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        return not any(g.busy for g in guests) and all(x.idle or not x.is_alive() for x in sources)
    check("guests go", waited(still), [g.name for g in guests if g.busy])
    told = {x.subject: x.n for x in sources}
    late = lambda: [f"{w.name} {w.seen}" for w in watchers if any(told[x] != n for x, n in w.seen.items())]
    check("watchers have all", waited(lambda: not late()), f"{told}: {late()}")


def account(when):
    quiet()
    settled(when)
    full_house()
    settled(when)
    idle()
    settled(when)
    m, rss = metrics(), server.rss()
    memory.append(rss)
    print(f"{when}: rss {rss} kB, {descriptors()} descriptors, {m['sluice_clients']} clients; so far "
          f"{m['sluice_accepts_total']} let in, {sum(v for k, v in m.items() if 'rejects' in k)} refused, "
          f"{m['sluice_messages_total']} messages, {m['sluice_slow_total']} slow, "
          + ", ".join(f"{v} {k}" for k, v in sorted(tally.items()))
          + f"; visitors waited up to {worst[False]:.2f} s, {worst[True]:.2f} s for TLS; "
          f"{sum(failed.values())} failed", flush=True)
    worst.update({False: 0.0, True: 0.0})
    return m


def judge_memory():
    """Pools are touched bit by bit; by the middle of the run that must be over."""
    half = memory[len(memory) // 2:]
    if black.sanitized():
        print("memory: skipped, under a sanitizer it means nothing")
    elif SECONDS < 120:
        print("memory, refusals met: skipped, the run is too short")
    else:
        check("memory", max(half) - half[0] <= SETTLED, f"grows: {memory} kB")


def start():
    global server, METRICS, CERTIFICATES, sources
    make_keys()
    CERTIFICATES = collections.deque(make_certificates())
    cert, key = (put("cert" + x, data) for x, data in zip((".pem", ".key"), CERTIFICATES[-1]))
    tcp, path = socket.create_server(("127.0.0.1", 0)), lambda x: os.path.join(tmp, x)
    tcp.settimeout(60)
    udp = "127.0.0.1", black.free_port(socket.SOCK_DGRAM)
    flags = {"cert": cert, "key": key, "max-clients": CLIENTS, "max-pending": PENDING, "tls-clients": TLS,
             "max-message": MESSAGE, "buffer": "2M", "handshake-timeout": HANDSHAKE, "max-ttl": LIFE, "ping": 4, "used-tokens": 16384,
             "metrics": "127.0.0.1:0"}
    server = black.Server(
        *(x for k, v in flags.items() for x in ("--" + k, v)), "--page", "--keys", path("keys.json"),
        "--keys", "rs=" + path("rs.pem"), "--keys", "es=" + path("es.pem"), "--source", "-",
        "--source", "/fifo=fifo:" + path("fifo"), "--source", "/unix=unix:" + path("unix"),
        "--source", f"/udp=udp:{udp[0]}:{udp[1]}", "--source", f"/tcp=tcp:127.0.0.1:{tcp.getsockname()[1]}",
        "--source", "/noise/lies=unix:" + path("lies"), secret=None, listen=("127.0.0.1:0", "tls:127.0.0.1:0"))
    DOOR[False], DOOR[True] = server.where(1), server.where(2)
    at = server.wait_log(event="listening", **{"for": "metrics"})["addr"]
    METRICS = "127.0.0.1", int(at.rsplit(":", 1)[1])
    server.wait_log(event="source_connected")
    sources = [Source("/", lambda: server.proc.stdin), Source("/fifo", lambda: open(path("fifo"), "wb")),
               Source("/unix", lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, path("unix"))),
               Source("/udp", lambda: connected(socket.AF_INET, socket.SOCK_DGRAM, udp)),
               Source("/tcp", lambda: socket_file(tcp.accept()[0]))]


def soak():
    global watchers, guests, at_rest, used
    at_rest, used = descriptors(), token("many", LIFE)
    watchers.extend(Watcher(hear, tls, [x]) for hear in ("raw", "events") for tls in (False, True) for x in SUBJECTS)
    watchers.extend(Watcher("v1", tls, SUBJECTS) for tls in (False, True))
    used = token(ttl=LIFE)
    mine = []
    dial(False, mine).send(request(token=used))
    mine[0].upgraded()
    leave(mine)
    guests = [Steward(0)] + [Visitor(i) for i in range(4)] + [Liar(i) for i in range(8)]
    for t in watchers + sources + guests:
        t.start()
    begin = time.monotonic()
    while time.monotonic() - begin < SECONDS:
        time.sleep(min(PLAY, max(1, SECONDS - (time.monotonic() - begin))))
        m = account(f"{(time.monotonic() - begin) / 60:.1f} min")
        if server.proc.poll() is not None:
            raise AssertionError(f"sluice has ended: {server.report()}")
        if time.monotonic() - begin < SECONDS:
            halt.clear()
    for w in watchers:
        check("watchers stay", w.is_alive(), w.name)
        w.leaving = True
        leave(w.mine)
    watchers.clear()
    account("at the end")
    judge_memory()
    for r in REASONS if SECONDS >= 120 else ():
        check("refusals met", m.get(f'sluice_rejects_total{{reason="{r}"}}', 0) > 0, r)
    check("slow clients met", m["sluice_slow_total"] > 0)


print(f"SOAK_SEED={SEED} SOAK_SECONDS={SECONDS} {black.SLUICE}", flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
watchers, guests, memory = [], [], []
try:
    start()
    soak()
    over.set()
    server.stop()
    passed["exit"] += 1
except Exception:
    fault("the run")
    if "server" in globals():
        server.proc.kill()
        print(server.report())
shutil.rmtree(tmp, True)
for what in sorted(passed | failed):
    print(f"{what}: {passed[what]}" + (f", {failed[what]} FAILED" if failed[what] else ""))
print(f"{sum(passed.values())} passed, {sum(failed.values())} failed")
sys.exit(bool(failed))
