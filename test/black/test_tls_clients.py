"""Clients that others wrote, over TLS: each with each kind of chain, which it verifies."""
import asyncio, json, os, ssl, struct, subprocess
import websockets
import black, pki, tls
from black import mint

KINDS = "rsa", "p256", "p384", "p256-rsa", "rsa-p384"
ALL = {"all": ["/", "/*"]}


class Clients(tls.Case):
    def each(self, talk, *args):
        """With a server of each kind, one after the other."""
        for kind in KINDS:
            with self.subTest(kind):
                s = self.server(*args, kind=kind)
                talk(s)
                self.hang_up()
                s.stop()

    def test_python_websockets(self):
        async def talk(s):
            ctx, url = tls.new_context(), "wss://localhost:%d/" % s.addr[1]
            async with websockets.connect(url, ssl=ctx, subprotocols=["bearer", mint()]) as w:
                self.assertEqual(w.subprotocol, "bearer")
                s.feed(b"one\n" + b"x" * 60000 + b"\n")
                self.assertEqual(await w.recv(), "one")
                self.assertEqual(await w.recv(), "x" * 60000)
                await asyncio.wait_for(await w.ping(b"p" * 125), black.WAIT)
                self.assertEqual(w.transport.get_extra_info("ssl_object").version(), "TLSv1.2")
            self.assertEqual(w.close_code, 1000)
            with self.assertRaises(websockets.InvalidStatusCode) as e:
                await websockets.connect(url, ssl=ctx)
            self.assertEqual(e.exception.status_code, 401)
            async with websockets.connect(url, ssl=ctx, subprotocols=["sluice.v1"]) as w:
                for op in ({"op": "auth", "token": mint(permissions=ALL)}, {"op": "sub", "subject": "/a", "id": 1},
                           {"op": "pub", "subject": "/a", "data": "y" * 50000, "id": 2}):
                    await w.send(json.dumps(op))
                got = [json.loads(await w.recv()) for _ in range(4)]
                self.assertEqual(sorted(m["op"] for m in got), ["msg", "ok", "ok", "ready"])
                self.assertEqual([m["data"] for m in got if m["op"] == "msg"], ["y" * 50000])
        self.each(lambda s: asyncio.run(talk(s)))

    def test_strangers(self):
        """A client that trusts others goes away in its handshake: no harm."""
        s, ctx = self.server(), ssl.create_default_context()
        for _ in range(20):
            with self.assertRaises(ssl.SSLCertVerificationError):
                s.raw(ctx=ctx)
        with self.assertRaises(ssl.SSLCertVerificationError):
            s.raw(name="other.example")
        self.serves(s)

    def test_node_ws(self):
        env = {**os.environ, "NODE_EXTRA_CA_CERTS": pki.path("root.pem")}

        def talk(s):
            s.feed(b"one\ntwo\n")
            self.assertEqual(s.ws(path="/?replay=2").messages(2), [b"one", b"two"])
            p = subprocess.run(["node", os.path.join(black.HERE, "client.mjs"), "wss://localhost:%d/" % s.addr[1],
                                json.dumps({"headers": {"Authorization": f"Bearer {mint()}"}, "stop": 2})], env=env,
                               cwd=black.HERE, stdout=subprocess.PIPE, timeout=black.WAIT)
            got = [json.loads(x) for x in p.stdout.splitlines()]
            self.assertEqual(got, [{"open": "", "extensions": ""}, {"text": "one"}, {"text": "two"},
                                   {"close": 1000, "reason": got[-1].get("reason")}])
        self.each(talk, "--replay", 2)

    def curl(self, s, *args, stdin=b""):
        p = subprocess.run(["curl", "-sS", "--max-time", str(black.WAIT), "--cacert", pki.path("root.pem"), *args,
                            "https://localhost:%d/" % s.addr[1]], input=stdin, capture_output=True, timeout=60)
        self.assertEqual((p.returncode, p.stderr), (0, b""))
        return p.stdout

    def test_curl(self):
        def talk(s):
            c = s.ws()
            auth = "-H", "Authorization: Bearer " + mint(permissions=ALL)
            for body in (b"posted", b"z" * 60000, b""):
                got = self.curl(s, *auth, "--data-binary", "@-", "-w", "%{http_code} %{http_version}", stdin=body)
                self.assertEqual(got, b"204 1.1")
                self.assertEqual(c.message(), body)
            p = subprocess.Popen(["curl", "-sSN", "--max-time", str(black.WAIT), "--cacert", pki.path("root.pem"), "-H",
                                  "Accept: text/event-stream", "-H", f"Authorization: Bearer {mint()}",
                                  "https://localhost:%d/" % s.addr[1]], stdout=subprocess.PIPE)
            s.wait_log(2, event="accept")
            s.feed(b"an event\n" + b"l" * 50000 + b"\n")
            got = b""
            while b"data: " + b"l" * 50000 + b"\n\n" not in got:
                got += p.stdout.read1() or self.fail(f"the end after {len(got)}")
            self.assertIn(b"data: an event\n", got)
            s.stop()                         # and curl finds its end in order, or it would say so
            p.communicate(timeout=black.WAIT)
            self.assertEqual(p.returncode, 0)
        self.each(talk)

    def test_curl_wss(self):
        if b" wss" not in subprocess.run(["curl", "--version"], capture_output=True, check=True).stdout:
            self.skipTest("this curl has no WebSocket")
        s = self.server("--replay", 1, auth=False)
        s.feed(b"to curl\n")
        p = subprocess.Popen(["curl", "-sSN", "--cacert", pki.path("root.pem"),
                              "wss://localhost:%d/?replay=1" % s.addr[1]], stdout=subprocess.PIPE)
        got = b""
        while b"to curl" not in got:
            got += p.stdout.read1() or self.fail("the end")
        p.kill()
        p.communicate()

    def test_openssl(self):
        """Spoken by hand through s_client."""
        def talk(s):
            p = subprocess.Popen(["openssl", "s_client", "-connect", "localhost:%d" % s.addr[1], "-quiet", "-CAfile",
                                  pki.path("root.pem"), "-verify_return_error", "-verify_hostname", "localhost"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            p.stdin.write(black.request(token=mint()))
            p.stdin.flush()
            got = b""
            while b"\r\n\r\n" not in got:
                got += p.stdout.read1() or self.fail(got)
            self.assertTrue(got.startswith(b"HTTP/1.1 101 "), got)
            s.feed(b"through openssl\n")
            while not got.endswith(b"through openssl"):
                got += p.stdout.read1() or self.fail(got)
            p.stdin.write(black.frame(black.CLOSE, struct.pack(">H", 1000), mask=b"abcd"))
            p.stdin.flush()
            self.assertEqual(p.stdout.read()[2:], b"\x03\xe8")
            p.communicate(timeout=black.WAIT)
            self.assertEqual(s.wait_log(event="close")["code"], "1000")
        self.each(talk)

    def chromium(self, s):
        home = os.path.join(self.tmp, "home")
        db = os.path.join(home, ".pki", "nssdb")
        if not os.path.exists(db):
            os.makedirs(db)
            for args in (("-N", "--empty-password"),
                         ("-A", "-n", "sluice test", "-t", "C,,", "-i", pki.path("root.pem"))):
                subprocess.run(["certutil", "-d", f"sql:{db}", *args], check=True, timeout=60)
        reader, writer = mint(permissions=ALL, session=60), mint(permissions=ALL)
        p = subprocess.Popen(["node", os.path.join(black.HERE, "tls_browser.mjs"), "https://localhost:%d/" % s.addr[1],
                              mint(), reader, writer], env={**os.environ, "HOME": home}, cwd=black.HERE,
                             stdout=subprocess.PIPE)
        self.addCleanup(p.kill)
        self.assertEqual(p.stdout.readline(), b"open\n")
        s.feed(b"".join(b"line %d\n" % i for i in range(50)) + b"done\n")
        got = json.loads(p.communicate(timeout=60)[0])
        self.assertEqual(p.returncode, 0)
        return got

    def test_chromium(self):
        """The page, EventSource and fetch; the browser trusts the root, and nothing else is waived."""
        for kind in ("rsa", "p256", "p384"):
            with self.subTest(kind):
                s = self.server("--page", kind=kind)
                got = self.chromium(s)
                self.assertEqual(got["rows"][-51:], [*(f"line {i}" for i in range(50)), "done"])
                self.assertEqual(got["events"], ["1", "two\nlines", 40000])
                self.assertEqual(got["status"], [204] * 3)
                self.assertEqual(got["sockets"], ["wss://localhost:%d/" % s.addr[1]])
                self.assertEqual((got["protocol"], got["issuer"]), ("TLS 1.2", f"intermediate {kind}"))
                self.assertEqual(got["said"], [])
                s.stop()
