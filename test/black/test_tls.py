"""TLS: what it starts with, what it speaks, sessions, how connections end, reload."""
import os, platform, re, shutil, signal, socket, ssl, struct, subprocess, threading, time
import black, pki, streams, tls
from black import CLOSE, LEAKS, PING, PONG, SECRET, mint, until

SUITES = {                                   # RFC 5289, RFC 7905: all there is to be
    "rsa": {0xc02f: "ECDHE-RSA-AES128-GCM-SHA256", 0xc030: "ECDHE-RSA-AES256-GCM-SHA384",
            0xcca8: "ECDHE-RSA-CHACHA20-POLY1305"},
    "ec": {0xc02b: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02c: "ECDHE-ECDSA-AES256-GCM-SHA384",
           0xcca9: "ECDHE-ECDSA-CHACHA20-POLY1305"},
}
END = b"-----END CERTIFICATE-----\n"


def suites(kind):
    return SUITES["rsa" if kind.startswith("rsa") else "ec"]


def aes_instruction():
    """For the binary under test, here: None where that cannot be told."""
    with open(black.SLUICE, "rb") as f:
        machine = f.read(20)[18]
    if machine != 62 or platform.machine() != "x86_64":
        return None
    with open("/proc/cpuinfo") as f:
        flags = re.search(r"^flags\s*:(.*)$", f.read(), re.M)[1].split()
    return {"aes", "pclmulqdq"} <= set(flags)


def leaf(c):
    return ssl.DER_cert_to_PEM_cert(c.tls.getpeercert(True)).encode()


def first(name):
    """The first certificate of this file."""
    return pki.read(name).split(END)[0] + END


def s_client(s, *args):
    """openssl s_client, verifying, which ends once it is connected."""
    return subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % s.addr, "-tls1_2", "-CAfile",
                           pki.path("root.pem"), "-verify_return_error", *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=black.WAIT)


class Start(tls.Case):
    def run_pair(self, cert, key, *args):
        return black.run("--listen", "tls:127.0.0.1:0", "--cert", cert, "--key", key, "--exit-on-eof", *args,
                         env={"SLUICE_SECRET": SECRET})

    def refused(self, cert, key, words, names=None):
        """Exit 2 and one line, which names a file (cert and key are paths) and says what is wrong."""
        p = self.run_pair(cert, key)
        self.assertEqual(p.returncode, 2, p.err)
        self.assertRegex(p.err, r"\A[^\n]+\n\Z")
        self.assertTrue(any(n in p.err for n in names or [cert, key]), f"does not name the file: {p.err}")
        text = p.err.replace(cert, "FILE").replace(key, "FILE").replace("--cert", "").replace("--key", "")
        self.assertRegex(text.lower(), words)

    def test_bad_pairs(self):
        # Which file is at fault, where that can be told.
        for cert, key, fault, words in (
                ("p256.pem", "p256-encrypted.key", "key", "encrypt|pass"),
                ("p256.pem", "p256-encrypted.trad", "key", "encrypt|pass"),
                ("rsa.pem", "rsa-encrypted.key", "key", "encrypt|pass"),
                ("rsa.pem", "rsa-encrypted.trad", "key", "encrypt|pass"),
                ("p256-expired.pem", "p256.key", "cert", "expired"),
                ("rsa-expired.pem", "rsa.trad", "cert", "expired"),
                ("p256.pem", "other.key", "", "belong|match|another|different"),
                ("p256.pem", "rsa.key", "", "belong|match|another|different"),
                ("rsa.pem", "rsa4096.key", "", "belong|match|another|different"),
                ("rsa.pem", "p256.trad", "", "belong|match|another|different"),
                ("p384.pem", "p256.key", "", "belong|match|another|different"),
                ("reversed.pem", "p256.key", "", "belong|match|another|different"),
                ("root.pem", "p256.key", "", "belong|match|another|different"),
                ("empty", "p256.key", "cert", "empty|certificate"),
                ("text", "p256.key", "cert", "certificate|pem"),
                ("p256.key", "p256.key", "cert", "certificate"),
                ("p256.pem", "empty", "key", "empty|key"),
                ("p256.pem", "text", "key", "key|pem"),
                ("p256.pem", "p256.pem", "key", "key"),
                ("damaged.pem", "p256.key", "cert", "pem|base64|certificate"),
                ("p256.pem", "damaged.key", "key", "pem|base64|key"),
                ("cut.pem", "p256.key", "cert", "pem|end|certificate"),
                ("p256.pem", "cut.key", "key", "pem|end|key"),
                ("der.pem", "p256.key", "cert", "pem|certificate"),
                ("rubbish.pem", "p256.key", "cert", "certificate"),
                ("cut-der.pem", "p256.key", "cert", "certificate"),
                ("p256.pem", "rubbish.key", "key", "key"),
                ("ed25519.pem", "ed25519.key", "", "ed25519|rsa|support|kind|type"),
                ("p256.pem", "ed25519.key", "", "ed25519|rsa|support|kind|type|belong|match"),
                ("p521.pem", "p521.key", "", "curve|p-521|p-256|support|kind|type")):
            with self.subTest(cert=cert, key=key):
                names = {"cert": [pki.path(cert)], "key": [pki.path(key)]}.get(fault)
                self.refused(pki.path(cert), pki.path(key), words, names)

    def test_unreadable(self):
        cert, key = pki.path("p256.pem"), pki.path("p256.key")
        for c, k in (("/nonexistent/x.pem", key), (cert, "/nonexistent/x.key"), (self.tmp, key), (cert, self.tmp)):
            with self.subTest(c, key=k):
                self.refused(c, k, "no such file|directory|read", [c if k == key else k])

    def test_half_a_pair(self):
        cert, key = ("--cert", pki.path("p256.pem")), ("--key", pki.path("p256.key"))
        for args, words in (((), "--cert|--key"), (cert, "--key"), (key, "--cert")):
            with self.subTest(args):
                p = black.run("--listen", "tls:127.0.0.1:0", "--exit-on-eof", *args, env={"SLUICE_SECRET": SECRET})
                self.assertEqual(p.returncode, 2, p.err)
                self.assertRegex(p.err, rf"\A[^\n]*({words})[^\n]*\n\Z")

    def test_bad_values(self):
        for args in (("--tls-clients", "0"), ("--tls-clients", "-1"), ("--tls-clients", "many"), ("--tls-clients", ""),
                     ("--tls-clients", "99999999999999999999"), ("--listen", "tls:"), ("--listen", "tls:99999"),
                     ("--listen", "tls:tls:127.0.0.1:0")):
            with self.subTest(args):
                p = self.run_pair(pki.path("p256.pem"), pki.path("p256.key"), *args)
                self.assertEqual(p.returncode, 2, p.err)
                self.assertRegex(p.err, rf"\A[^\n]*{args[0]}[^\n]*\n\Z")

    def test_pair_without_a_listener(self):
        """The contract leaves it open: refused, or served in plain."""
        p = black.run("--listen", "127.0.0.1:0", "--cert", pki.path("p256.pem"), "--key", pki.path("p256.key"),
                      "--exit-on-eof", env={"SLUICE_SECRET": SECRET})
        self.assertIn(p.returncode, (0, 2), p.err)
        if p.returncode:
            self.assertRegex(p.err, r"\A[^\n]*(--cert|--key|tls:)[^\n]*\n\Z")

    def test_not_yet_valid(self):
        """A board's clock may be behind: refused, or served, and either way with a word about it."""
        p = self.run_pair(pki.path("early.pem"), pki.path("p256.key"))
        self.assertIn(p.returncode, (0, 2), p.err)
        about = [x for x in p.err.splitlines() if pki.path("early.pem") in x]
        self.assertEqual(len(about), 1, p.err)
        self.assertRegex(about[0], "valid|future|clock")

    def test_good_pairs(self):
        """Each key in both forms, and files as they are found in the wild."""
        pairs = [(f"{k}.pem", f"{k}.{form}") for k in pki.KINDS for form in ("key", "trad")]
        pairs += [("one.pem", "one.pem"), ("one-key-first.pem", "one-key-first.pem"), ("dos.pem", "dos.key"),
                  ("text.pem", "p256.key"), ("unended.pem", "unended.key")]
        for cert, key in pairs:
            with self.subTest(cert, key=key):
                s = self.server(pair=(pki.path(cert), pki.path(key)), auth=False)
                c = self.serves(s)
                kind = cert.removesuffix(".pem")
                self.assertEqual(leaf(c), first(cert if kind in pki.KINDS else "p256.pem"))
                self.hang_up()
                s.stop()

    def test_addresses(self):
        path = self.path("sock")
        s = self.server(listen=("tls:127.0.0.1:0", "127.0.0.1:0", f"tls:unix:{path}", "tls:0"), auth=False)
        s.wait_log(4, event="listening")
        rest = [r["addr"] for r in s.log(event="listening")][1:]
        tcp = s.ws()
        plain = s.plain(tls.address(next(a for a in rest if "127.0.0.1" in a)))
        plain.send(black.request())
        plain.upgraded()
        port = tls.address(next(a for a in rest if "unix" not in a and "127.0.0.1" not in a))[1]
        others = []
        for s.addr in (path, ("127.0.0.1", port), ("::1", port)):
            others.append(s.ws())
        s.feed(b"x\n")
        for c in (tcp, plain, *others):
            self.assertEqual(c.message(), b"x")

    def test_config_file(self):
        conf = self.path("conf", b"listen tls:127.0.0.1:0\ncert %s\nkey %s\ntls-clients 3\n" % (
            pki.path("p256.pem").encode(), pki.path("p256.key").encode()))
        s = black.Case.server(self, "--config", conf, listen=(), ready=False)
        r = tls.Wire(tls.address(s.wait_log(event="listening")["addr"]))
        black.socks.append(r)
        r.send(black.request(token=mint()))
        r.upgraded()
        self.hang_up()

    def test_key_for_all_to_read(self):
        """A warning, as for a secret file (test_cli)."""
        key = self.path("key", pki.read("p256.key"))
        os.chmod(key, 0o644)
        s = self.server(pair=(pki.path("p256.pem"), key))
        self.serves(s)
        self.assertEqual(len([r for r in s.log(level="warn") if key in r.get("msg", "")]), 1)

    def test_user_and_chroot(self):
        if os.getuid():
            self.skipTest("needs root")
        os.chmod(self.tmp, 0o755)
        self.serves(self.server("--user", "nobody", "--chroot", self.tmp, env=LEAKS))


class Protocol(tls.Case):
    def answer(self, s, **kw):
        """(version, suite, compression) of the ServerHello to this ClientHello, or the alert's number."""
        r = s.plain()
        r.send(tls.make_hello(**kw))
        kind, body = tls.read_record(r)
        r.close()
        if kind == tls.ALERT:
            self.assertEqual(body[0], 2, "no fatal one")
            return body[1]
        self.assertEqual((kind, body[0]), (tls.HANDSHAKE, 2))
        at = 38 + 1 + body[38]
        return *struct.unpack(">H", body[4:6]), *struct.unpack(">HB", body[at:at + 3])

    def test_versions(self):
        V = ssl.TLSVersion
        for kind in ("rsa", "p256"):
            s = self.server(kind=kind, auth=False)
            for low, high in ((V.TLSv1, V.TLSv1), (V.TLSv1_1, V.TLSv1_1), (V.TLSv1, V.TLSv1_1), (V.TLSv1_3, V.TLSv1_3)):
                with self.subTest(kind, low=low, high=high):
                    with self.assertRaises(ssl.SSLError) as e:
                        s.raw(ctx=tls.new_context("ALL:@SECLEVEL=0", low, high))
                    self.assertIn(tls.alert_of(e.exception), ("protocol version", "handshake failure"))
            for low, high in ((V.TLSv1, V.TLSv1_2), (V.TLSv1_2, V.TLSv1_2), (V.TLSv1_2, V.TLSv1_3)):
                with self.subTest(kind, low=low, high=high):
                    c = s.ws(wire={"ctx": tls.new_context("DEFAULT:@SECLEVEL=0", low, high)})
                    self.assertEqual(c.tls.version(), "TLSv1.2")
            for version in (0x0300, 0x0301, 0x0302):
                with self.subTest(kind, version=hex(version)):
                    self.assertIn(self.answer(s, version=version), (40, 70))
            for version in (0x0303, 0x0304, 0x03ff):   # RFC 5246 E.1: who knows more gets ours
                with self.subTest(kind, version=hex(version)):
                    self.assertEqual(self.answer(s, version=version)[0], 0x0303)

    def test_suites(self):
        """Of all 65,536 codes, the three."""
        for kind in ("rsa", "p256", "p384", "p256-rsa", "rsa-p384"):
            s, good = self.server(kind=kind, auth=False), suites(kind)
            for code, name in good.items():
                with self.subTest(kind, suite=name):
                    self.assertEqual(self.answer(s, suites=(0x0a0a, code)), (0x0303, code, 0))
                    c = s.ws(wire={"ctx": tls.new_context(name, high=tls.TLS12)})
                    self.assertEqual(c.tls.cipher()[0], name)
                    self.serves(s, c)
            rest = [x for x in range(1 << 16) if x not in good]
            for i in range(0, len(rest), 8000):
                with self.subTest(kind, codes=f"{rest[i]:04x}..."):
                    self.assertEqual(self.answer(s, suites=rest[i:i + 8000]), 40)

    def test_legacy(self):
        """CBC for who has nothing newer, and for nobody else."""
        for kind, sign in (("rsa", "RSA"), ("p256", "ECDSA")):
            s = self.server("--tls-legacy", kind=kind, auth=False)
            for hash in ("AES128-SHA256", "AES256-SHA384", "AES128-SHA", "AES256-SHA"):
                name = f"ECDHE-{sign}-{hash}"
                with self.subTest(suite=name):
                    c = s.ws(wire={"ctx": tls.new_context(name + ":@SECLEVEL=0", high=tls.TLS12)})
                    self.assertEqual(c.tls.cipher()[0], name)
                    self.serves(s, c)
            c = s.ws(wire={"ctx": tls.new_context(f"{name}:ECDHE-{sign}-CHACHA20-POLY1305:@SECLEVEL=0", high=tls.TLS12)})
            self.assertEqual(c.tls.cipher()[0], f"ECDHE-{sign}-CHACHA20-POLY1305")

    def test_server_order(self):
        for kind in ("rsa", "p256"):
            s, names = self.server(kind=kind, auth=False), list(suites(kind).values())
            chosen = set()
            for i in range(3):
                for order in (names[i:] + names[:i], (names[i:] + names[:i])[::-1]):
                    c = s.raw(ctx=tls.new_context(":".join(order), high=tls.TLS12))
                    chosen.add(c.tls.cipher()[0])
            self.assertEqual(len(chosen), 1, "the client's order is followed")
            # ChaCha20 first only where there is no instruction for AES.
            if aes_instruction() is not None:
                self.assertEqual("AES" in chosen.pop(), aes_instruction())

    def test_curves(self):
        for kind in ("rsa", "p256", "p384"):
            s = self.server(kind=kind, auth=False)
            for curve, name in (("X25519", "X25519"), ("P-256", "prime256v1"), ("P-384", "secp384r1")):
                if kind == "rsa" or name != "X25519" and kind[1:] == curve[2:]:
                    with self.subTest(kind, curve=curve):
                        p = s_client(s, "-groups", curve)
                        self.assertEqual(p.returncode, 0, p.stderr)
                        self.assertRegex(p.stdout, f"Server Temp Key: .*({curve}|{name})")
            with self.subTest(kind, curve="none of ours"):
                self.assertEqual(self.answer(s, more=tls.extensions([14, 9])), 40)

    def test_no_delay(self):
        """The fastest of 20 handshakes has met no delayed acknowledgement (40 ms): TCP_NODELAY is set."""
        if aes_instruction() is None:
            self.skipTest("an emulated processor's handshakes take long")
        s, took = self.server(auth=False), []
        for _ in range(20):
            begin = time.monotonic()
            s.ws()
            took.append(time.monotonic() - begin)
        self.assertLess(min(took), 0.03)

    def test_compression(self):
        s = self.server(auth=False)
        self.assertEqual(self.answer(s, compression=(1, 0))[2], 0)
        self.assertIsInstance(self.answer(s, compression=(1,)), int)   # RFC 5246 7.4.1.2: null must be offered

    def test_alpn(self):
        s = self.server(auth=False)
        for offer, want in (((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "http/1.1"),
                            (("http/1.1", "h2"), "http/1.1")):
            with self.subTest(offer):
                c = s.ws(wire={"ctx": tls.new_context(alpn=offer)})
                self.assertEqual(c.tls.selected_alpn_protocol(), want)
        for offer in (("h2",), ("h2", "h3"), ("http/1.0",), ("http/1.11",), ("http/1.",)):
            with self.subTest(offer):        # RFC 7301 3.2
                with self.assertRaises(ssl.SSLError) as e:
                    s.raw(ctx=tls.new_context(alpn=offer))
                self.assertEqual(tls.alert_of(e.exception), "no application protocol")
        self.serves(s)

    def test_server_name(self):
        """There is one certificate, whatever name is asked for."""
        s, ctx = self.server(auth=False), tls.new_context()
        ctx.check_hostname = False
        for name in ("localhost", "127.0.0.1", "x.example", "a" * 63 + ".example", None):
            with self.subTest(name):
                self.assertEqual(leaf(s.ws(wire={"ctx": ctx, "name": name})), first("p256.pem"))

    def test_offers(self):
        """What a client may offer or leave out changes nothing."""
        s = self.server(auth=False)
        for args in ((), ("-no_ticket",), ("-no_etm",), ("-status",), ("-maxfraglen", "512"),
                     ("-sigalgs", "ECDSA+SHA256"), ("-sigalgs", "ECDSA+SHA512:ECDSA+SHA384:ECDSA+SHA1")):
            with self.subTest(args):
                p = s_client(s, *args)
                self.assertEqual(p.returncode, 0, p.stderr)
                self.assertIn("Verify return code: 0", p.stdout)

    def test_fragment_length(self):
        """RFC 6066 4, for clients with little memory: whole and in order in small records."""
        s = self.server(auth=False)
        c = s.ws()
        p = subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % s.addr, "-tls1_2", "-quiet", "-maxfraglen",
                              "512", "-CAfile", pki.path("root.pem")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        p.stdin.write(black.http("GET", "/", "Accept: text/event-stream"))
        p.stdin.flush()
        got = b""
        while b"\r\n\r\n" not in got:
            got += p.stdout.read1() or self.fail(f"no reply: {got}")
        long = b"x" * 5000
        s.feed(long + b"\n")
        while long not in got:
            got += p.stdout.read1() or self.fail(f"the end after {len(got)}")
        p.kill()
        p.communicate()
        self.assertEqual(c.message(), long)

    def test_renegotiation(self):
        """The client asks for it: refused, and the others do not notice."""
        s = self.server()
        good = s.ws()
        p = subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % s.addr, "-tls1_2", "-CAfile",
                              pki.path("root.pem"), "-verify_return_error"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        got = b""
        while b"Extended master secret" not in got:
            got += p.stdout.read1() or self.fail(got)
        p.stdin.write(b"R\n")
        p.stdin.flush()
        # OpenSSL takes the warning no_renegotiation for the end; a close would do as well.
        got += p.stdout.read()
        p.communicate(timeout=black.WAIT)
        head, asked, rest = got.partition(b"RENEGOTIATING")
        self.assertIn(b"Verify return code: 0", head)
        self.assertTrue(asked)
        self.assertNotIn(b"depth=", rest)
        self.assertNotEqual(p.returncode, 0, rest)
        self.serves(s, good)

    def test_renegotiation_over_and_over(self):
        """By hand: it is warned, or closed; nobody else waits for it."""
        s = self.server()
        seal = tls.Seal(s, self.path("keys"))
        good = s.ws()
        try:
            for _ in range(200):
                seal.send(tls.HANDSHAKE, tls.make_hello()[5:])
            seal.send(tls.DATA, black.request(token=mint()))
            self.assertEqual(seal.wire.reply().status, 101)
        except tls.BROKEN:
            pass
        self.serves(s, good)


class Sessions(tls.Case):
    def again(self, s, session, ctx):
        return s.ws(wire={"ctx": ctx, "session": session}).tls.session_reused

    def test_resumed(self):
        for kind in ("rsa", "p256", "p384"):
            with self.subTest(kind):
                s, ctx = self.server(kind=kind, auth=False), tls.new_context()
                c = s.ws(wire={"ctx": ctx})
                self.assertFalse(c.tls.session_reused)
                session = c.tls.session
                self.assertFalse(session.has_ticket)
                self.assertTrue(session.id)
                for _ in range(3):
                    self.assertTrue(self.again(s, session, ctx))
                c.close()
                self.serves(s, s.ws(wire={"ctx": ctx, "session": session}))

    def test_openssl_reconnect(self):
        p = s_client(self.server(kind="rsa", auth=False), "-reconnect")
        self.assertEqual((p.stdout.count("\nNew, TLSv1.2"), p.stdout.count("\nReused, TLSv1.2")), (1, 5), p.stderr)

    def test_openssl_files(self):
        """A session in a file, for a server that lives, and for one that was started again."""
        kept, s = self.path("session"), self.server(auth=False)

        def connect(*args):
            p = s_client(s, *args)
            self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
            return re.search(r"^(New|Reused), ", p.stdout, re.M)[1]
        self.assertEqual(connect("-sess_out", kept), "New")
        self.assertEqual(connect("-sess_in", kept), "Reused")
        s.stop()
        s = self.server(auth=False)
        self.assertEqual(connect("-sess_in", kept), "New")

    def test_crowd(self):
        """The cache is of a fixed size: the newest are in it, and an old one costs a handshake."""
        s, ctx = self.server(auth=False), tls.new_context()
        oldest = s.ws(wire={"ctx": ctx}).tls.session
        for i in range(100 if black.sanitized() else 600):
            c = s.raw(ctx=ctx)
            session = c.tls.session
            if i % 3:
                c.notify()
            if i % 50 == 0:
                self.assertTrue(self.again(s, session, ctx))
            self.hang_up()
        self.assertTrue(self.again(s, session, ctx))
        self.again(s, oldest, ctx)

    def test_after_a_bad_end(self):
        """However the session's connection ended, the next one works."""
        s, ctx = self.server(auth=False), tls.new_context()
        c = s.ws(wire={"ctx": ctx})
        c.reset()
        self.serves(s, s.ws(wire={"ctx": ctx, "session": c.tls.session}))

    def test_unknown_session(self):
        s, t, ctx = self.server(auth=False), self.server(auth=False), tls.new_context()
        session = s.ws(wire={"ctx": ctx}).tls.session
        self.assertFalse(self.again(t, session, ctx))
        self.assertTrue(self.again(s, session, ctx))
        for n in (1, 16, 31, 32):
            r = s.plain()
            r.send(tls.make_hello(session=os.urandom(n)))
            self.assertEqual(tls.read_record(r)[0], tls.HANDSHAKE)


class Ends(tls.Case):
    def test_server_ends(self):
        """A clean TLS close each time: Wire raises Truncated where there is none."""
        s = self.server("--enforce-expiry")
        self.assertEqual(s.ws(token=mint(exp=int(time.time()) + 2)).closed(), (4401, "token_expired"))
        c = s.ws()
        c.send_frame(black.TEXT, b"I may not")
        self.assertEqual(c.closed()[0], 1008)
        c = s.ws()
        c.send_frame(CLOSE, struct.pack(">H", 1000))
        self.assertEqual(c.closed()[0], 1000)
        c = s.ws()
        c.send_frame(black.TEXT, b"x", mask=False)
        self.assertEqual(c.closed()[0], 1002)
        used = mint()
        s.ws(token=used)
        for token in (None, "bad", used):
            got = s.get(token=token)
            self.assertEqual(got.status, 401)
            self.challenge(got, got.body.strip())
        e = s.events(token=mint(exp=int(time.time()) + 2))
        s.feed(b"x\n")
        self.assertEqual([x.data for x in e.rest()], ["x"])
        self.assertTrue(e.raw.eof())

    def test_handshake_timeout(self):
        """Silent after the TLS handshake: 408; in the midst of it, or before it: the end."""
        s = self.server("--handshake-timeout", 1)
        silent, part = s.plain(), s.plain()
        part.send(tls.hello()[:50])
        shaken = s.raw()
        self.assertEqual(shaken.reply().status, 408)
        self.assertTrue(shaken.eof())
        self.over(silent)
        self.over(part)
        s.wait_log(3, event="reject", reason="handshake_timeout")

    def test_client_notifies(self):
        """Its close_notify, and no close frame: RFC 5246 7.2.1 wants ours, and the end."""
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        good = s.ws()
        for i in range(20):
            c = s.ws()
            c.notify()
            self.assertTrue(c.eof())
        s.wait_log(20, event="close")
        self.assertEqual(len(s.log(event="accept")), 21)
        # Before the request was whole, and after a reply that leaves the connection open.
        c = s.raw()
        c.send(black.request()[:30])
        c.notify()
        self.assertTrue(c.eof())
        c = s.raw()
        c.send(black.http("POST", "/", body=b"posted", token=mint(permissions={"pub": ["/"]})))
        self.assertEqual(c.reply().status, 204)
        c.notify()
        self.assertTrue(c.eof())
        self.assertEqual(good.message(), b"posted")
        until(lambda: self.metrics(s, f"{self.tmp}/m")["sluice_clients"] == 1, "one client")
        self.serves(s, good)

    def test_frames_then_notify(self):
        """All in one write: what came before it counts."""
        s = self.server()
        reader, c, held = s.ws(), s.ws(token=mint(permissions={"all": ["/"]})), []
        c.put = lambda wire, data: held.append(data)
        for i in range(5):
            c.send_frame(black.TEXT, b"word %d" % i)
        c.notify()
        c.sock.sendall(b"".join(held))
        self.assertEqual(reader.messages(5), [b"word %d" % i for i in range(5)])
        s.wait_log(event="close")

    def test_client_just_goes(self):
        """A FIN without close_notify, a reset: the slot is free, the end is logged."""
        s = self.server("--tls-clients", 3)
        good = s.ws()
        for i in range(30):
            c = s.ws()
            if i % 2:
                c.reset()
            else:
                c.sock.shutdown(socket.SHUT_WR)
                self.over(c)
            s.wait_log(i + 1, event="close")
        self.serves(s, good)

    def test_gone_in_the_handshake(self):
        """A reset, or a FIN, after each of the client's flights and in the midst of them."""
        s = self.server("--tls-clients", 3, auth=False)
        good = s.ws()
        for i in range(40):
            r = s.plain()
            r.send(tls.hello()[:(0, 3, 60, None)[i % 4]])
            if i % 4 == 3:
                r.take(100)
            if i // 4 % 2:
                r.reset()
            else:
                r.close()
        for i in range(10):                  # half of the second flight
            def put(wire, data, flights=None):
                wire.sock.sendall(data[:len(data) // 2] if wire.server_random else data)
                if wire.server_random:
                    wire.reset()
            with self.assertRaises(OSError):
                s.raw(put=put)
        self.serves(s)
        self.serves(s, good)

    def test_term(self):
        """1001 to all within 2 s, and a clean TLS close, whatever the others are up to."""
        s = self.server("--slow", "wait")
        silent, part, said = s.plain(), s.plain(), s.plain()
        part.send(tls.hello()[:40])
        said.send(tls.hello())
        said.take(100)
        shaken, stuck, events = s.raw(), s.ws(rcvbuf=4096), s.events()
        idle = [s.ws() for _ in range(30)]
        for i in range(100):
            s.feed((b"%d" % i).ljust(2000, b".") + b"\n")
        for c in idle:
            self.assertEqual(len(c.messages(100)), 100)
        begin = time.monotonic()
        s.kill(signal.SIGTERM)
        for c in idle:
            self.assertEqual(c.closed()[0], 1001)
        s.ended(0, max(0.1, 2 - (time.monotonic() - begin)))
        self.assertGreaterEqual(len(s.log(event="close", code=1001, reason="shutdown")), 30)
        got = [x.data.rstrip(".") for x in events.rest()]
        self.assertEqual(got, [str(i) for i in range(len(got))])
        for r in (silent, part, said, shaken, stuck):
            self.over(r)

    def test_exit_on_eof(self):
        s = self.server("--exit-on-eof", "--slow", "wait")
        cs = [s.ws(rcvbuf=4096 if i % 2 else 0) for i in range(6)]
        lines = [b"%d" % i for i in range(20000)]
        t = threading.Thread(target=lambda: (s.feed(b"\n".join(lines)), s.proc.stdin.close()), daemon=True)
        t.start()
        streams.Herd(cs, streams.framed(lines)).run()
        t.join()
        s.proc.stdin = None
        for c in cs:
            self.assertEqual(c.closed()[0], 1001)
        s.ended(0)


class WrongDoor(tls.Case):
    def test_http_to_tls(self):
        """It ends at once, and one line of the log says what was tried."""
        s = self.server()
        good = s.ws()
        for text in (black.request(), b"GET / HTTP/1.0\r\n\r\n", b"POST / HTTP/1.1\r\n", b"\r\n\r\n\r\n"):
            with self.subTest(text[:20]):
                r, begin = s.plain(), time.monotonic()
                r.send(text)
                self.over(r)
                self.assertLess(time.monotonic() - begin, 5, "only the timeout ended it")
                at = "%s:%d" % r.sock.getsockname()
                self.assertRegex(" ".join(s.wait_log(client=at).values()).lower(), "tls")
                self.assertEqual(len(s.log(client=at)), 1)
        self.serves(s, good)

    def test_tls_to_plain(self):
        s = black.Case.server(self)
        good, r, begin = s.ws(), s.raw(), time.monotonic()
        r.send(tls.hello())
        self.over(r)
        self.assertLess(time.monotonic() - begin, 5, "only the timeout ended it")
        self.assertEqual(s.wait_log(event="reject", client="%s:%d" % r.sock.getsockname())["reason"], "bad_request")
        s.feed(b"x\n")
        self.assertEqual(good.message(), b"x")


class Reload(tls.Case):
    def start(self, *args, **kw):
        self.cert, self.key = self.path("cert", pki.read("p256.pem")), self.path("key", pki.read("p256.key"))
        return self.server(*args, pair=(self.cert, self.key), **kw)

    def place(self, cert, key):
        """As careful administrators do: a new file under the old name."""
        for name, data in (("cert", cert), ("key", key)):
            os.rename(self.path("new", pki.read(data)), self.path(name))

    def bad(self, s):
        return [r for r in s.log(event="reload") if r["level"] in ("warn", "error")]

    def hup(self, s, good=True):
        """Its word on it, good or bad."""
        n, m = len(s.log(event="reload", level="info")), len(self.bad(s))
        s.kill(signal.SIGHUP)
        if good:
            s.wait_log(n + 1, event="reload", level="info")
            self.assertEqual(len(self.bad(s)), m)
        else:
            until(lambda: len(self.bad(s)) > m or s.proc.poll() is not None, "a word of what is bad")
            self.assertIsNone(s.proc.poll(), "it ended")
            return " ".join(self.bad(s)[-1].values())

    def test_new_pair(self):
        """New connections have it, of whatever kind; those that are there stay."""
        s = self.start()
        cs, half = [s.ws()], s.plain()
        half.send(tls.hello()[:100])
        for kind in ("other", "rsa", "p384", "rsa4096", "p256-rsa", "p256"):
            with self.subTest(kind):
                self.place(f"{kind}.pem", f"{kind}.key")
                self.hup(s)
                cs.append(s.ws())
                self.assertEqual(leaf(cs[-1]), first(f"{kind}.pem"))
        s.feed(b"x\n")
        for c in cs:
            self.assertEqual(c.message(), b"x")
            c.send_frame(PING, b"p")
            self.assertEqual(c.frame(), (PONG, b"p"))
        self.assertEqual(s.log(event="close"), [])

    def test_between_the_flights(self):
        """A reload while a client is between its flights: that handshake ends well, or not at all."""
        for to in ("rsa", "other"):
            s = self.start(auth=False)

            def put(wire, data):
                if wire.server_random and not put.done:
                    put.done = True
                    self.place(f"{to}.pem", f"{to}.key")
                    self.hup(s)
                wire.sock.sendall(data)
            put.done = False
            try:
                c = s.ws(wire={"put": put})
                self.assertEqual(leaf(c), first("p256.pem"))
                self.serves(s, c)
            except tls.BROKEN:
                pass
            self.assertTrue(put.done)
            self.assertEqual(leaf(s.ws()), first(f"{to}.pem"))
            self.hang_up()
            s.stop()

    def test_sessions(self):
        """A session from before: resumed or not, it works."""
        s, ctx = self.start(auth=False), tls.new_context()
        session = s.ws(wire={"ctx": ctx}).tls.session
        for to in ("other", "rsa"):
            self.place(f"{to}.pem", f"{to}.key")
            self.hup(s)
            self.serves(s, s.ws(wire={"ctx": ctx, "session": session}))

    def test_bad_pair(self):
        """The old one stays, and the log names the file."""
        s = self.start()
        c = s.ws()
        for cert, key in (("p256.pem", "other.key"), ("other.pem", "p256.key"), ("p256-expired.pem", "p256.key"),
                          ("p256.pem", "p256-encrypted.key"), ("empty", "other.key"), ("other.pem", "empty"),
                          ("text", "text"), ("ed25519.pem", "ed25519.key"), ("cut.pem", "p256.key")):
            with self.subTest(cert, key=key):
                self.place(cert, key)
                said = self.hup(s, good=False)
                self.assertTrue(self.cert in said or self.key in said, said)
                self.assertEqual(leaf(s.ws()), first("p256.pem"))
        self.serves(s, c)
        self.place("other.pem", "other.key")
        self.hup(s)
        self.assertEqual(leaf(s.ws()), first("other.pem"))

    def test_unreadable(self):
        s = self.start()
        c = s.ws()
        os.unlink(self.key)
        self.assertIn(self.key, self.hup(s, good=False))
        os.unlink(self.cert)
        self.hup(s, good=False)
        self.assertEqual(leaf(s.ws()), first("p256.pem"))
        self.serves(s, c)
        self.path("cert", pki.read("other.pem"))
        self.path("key", pki.read("other.key"))
        self.hup(s)
        self.assertEqual(leaf(s.ws()), first("other.pem"))

    def test_unreadable_to_user(self):
        if os.getuid():
            self.skipTest("needs root")
        os.chmod(self.tmp, 0o755)
        s = self.start("--user", "nobody")
        self.hup(s, good=False)              # 0600, and root's: read at the start, and never again
        self.serves(s)
        for f in (self.cert, self.key):
            shutil.chown(f, "nobody")
        self.hup(s)
        self.serves(s)

    def test_secret_and_pair(self):
        """One is bad and the other new: a word of it, and what is in use works."""
        secret = self.path("secret", SECRET)
        s = self.start("--secret-file", secret, env={"SLUICE_SECRET": ""})
        self.place("other.pem", "rsa.key")
        self.hup(s, good=False)
        self.serves(s)
        self.place("other.pem", "other.key")
        self.path("secret", b"short")
        self.hup(s, good=False)
        self.serves(s)
