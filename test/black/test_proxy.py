"""--trust-proxy: whose X-Forwarded-For names the client in the log."""
import black
from black import mint


class Proxy(black.Case):
    def seen(self, s, *headers, token=black.AUTO, event="accept"):
        n = len(s.log(event=event))
        s.ask("/", *headers, token=token).reply()
        return s.wait_log(n + 1, event=event)["client"]

    def test_nobody_is_trusted(self):
        s = self.server()
        self.assertRegex(self.seen(s, "X-Forwarded-For: 192.0.2.7"), r"^127\.0\.0\.1:\d+$")

    def test_trusted(self):
        s = self.server("--trust-proxy", "127.0.0.0/8", "--trust-proxy", "10.0.0.0/8")
        for header, want in (("192.0.2.7", "192.0.2.7"), ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
                             ("192.0.2.7, 10.0.0.1, 127.0.0.1", "192.0.2.7"), ("2001:db8::9", "2001:db8::9"),
                             ("[2001:db8::9]:1234, 10.0.0.1", "2001:db8::9"), ("junk, 192.0.2.7", "192.0.2.7")):
            with self.subTest(header):
                self.assertEqual(self.seen(s, "X-Forwarded-For: " + header), want)
                self.assertEqual(self.seen(s, "X-Forwarded-For: " + header, token=None, event="reject"), want)
        for header in ("junk", "10.0.0.1", "", "192.0.2.7, junk", "192.0.2.7 event=forged"):
            with self.subTest(header):
                self.assertRegex(self.seen(s, "X-Forwarded-For: " + header), r"^127\.0\.0\.1:\d+$")
        self.assertRegex(self.seen(s), r"^127\.0\.0\.1:\d+$")

    def test_close_too(self):
        s = self.server("--trust-proxy", "127.0.0.1")
        s.ws("/", "X-Forwarded-For: 192.0.2.7").close()
        self.assertEqual(s.wait_log(event="close")["client"], "192.0.2.7")

    def test_another_address(self):
        s = self.server("--trust-proxy", "192.0.2.0/24")
        self.assertRegex(self.seen(s, "X-Forwarded-For: 203.0.113.5"), r"^127\.0\.0\.1:\d+$")

    def test_ipv6(self):
        for listen in ("[::1]:0", ":0"):
            s = self.server("--trust-proxy", "::1", "--trust-proxy", "127.0.0.1", listen=(listen,), ready=False)
            port = s.where()[1]
            for addr in ("::1", "127.0.0.1") if listen == ":0" else ("::1",):
                s.addr = addr, port
                self.assertEqual(self.seen(s, "X-Forwarded-For: 192.0.2.7"), "192.0.2.7")

    def test_unix(self):
        p = self.path("sock")
        for args, want in (((), "unix"), (("--trust-proxy", "127.0.0.1"), "unix"), (("--trust-proxy", "unix"), "192.0.2.7")):
            s = self.server(*args, listen=(f"unix:{p}",))
            self.assertEqual(self.seen(s, "X-Forwarded-For: 192.0.2.7"), want)
            s.stop()

    def test_each_request_of_a_connection(self):
        """A proxy keeps its connection for the next client."""
        s = self.server("--trust-proxy", "127.0.0.1", "--log-level", "debug")
        c = s.raw()
        t = mint(permissions={"pub": ["/"]})
        for i, header in enumerate(("X-Forwarded-For: 192.0.2.7\r\n", "X-Forwarded-For: 192.0.2.8\r\n", "")):
            c.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {t}\r\nContent-Length: 1\r\n{header}\r\n1".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += c.take(1)
            self.assertIn(b" 204 ", head)
            self.assertRegex(s.wait_log(i + 1, event="publish")["client"],
                             (r"^192\.0\.2\.7$", r"^192\.0\.2\.8$", r"^127\.0\.0\.1:\d+$")[i])
        c.send(b"junk\r\n\r\n")
        self.assertRegex(s.wait_log(event="reject")["client"], r"^127\.0\.0\.1:\d+$")

    def test_bad(self):
        for bad in ("10.0.0.0/33", "localhost", "", "10.0.0.0/", "::/129", "[::1]"):
            p = black.run("--no-auth", "--trust-proxy", bad)
            self.assertEqual(p.returncode, 2)
            self.assertIn("--trust-proxy", p.err)
