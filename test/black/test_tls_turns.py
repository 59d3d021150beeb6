"""What one TLS client may take of a turn of the loop, and what is told of one that is gone."""
import array, fcntl, os, signal, socket, ssl, struct, subprocess, termios
import black
from black import CLOSE, PING, PONG, TEXT, Raw, frame, grant, request, until
from streams import lines


def waits(sock):
    """Bytes that the peer's socket has not taken."""
    n = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, n)
    return n[0]


class Turns(black.Case):
    def setUp(self):
        super().setUp()
        self.cert, self.key = (os.path.join(self.tmp, f) for f in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", self.key,
                        "-out", self.cert], check=True, capture_output=True)

    def tls_server(self, *args, **kw):
        s = self.server("--cert", self.cert, "--key", self.key, *args, listen=("tls:127.0.0.1:0",), **kw)
        s.tls_addr = s.where()
        return s

    def wire(self, s, rcvbuf=0):
        raw = Raw(s.tls_addr, rcvbuf)
        black.socks.append(raw)
        c = ssl.create_default_context(cafile=self.cert)
        c.check_hostname = False
        raw.sock = c.wrap_socket(raw.sock)
        return raw

    def test_who_sends_without_end(self):
        """Records that no read of ours ends with: others' messages come in between."""
        s = self.tls_server("--token-use", "many", "--buffer", "8M")
        token = grant(all=["/"])
        reader, flood, other = self.wire(s), self.wire(s), self.wire(s)
        for c in reader, flood, other:
            c.send(request(token=token))
            c.upgraded()
        s.kill(signal.SIGSTOP)
        self.addCleanup(s.kill, signal.SIGCONT)
        n = 60                               # what a socket takes for one that does not read
        data = frame(TEXT, b"a" * 1000, mask=flood.mask) * n
        for i in range(0, len(data), 16383):
            flood.send(data[i:i + 16383])
        until(lambda: waits(flood.sock) == 0, "all of it in the server's socket")
        other.send_frame(TEXT, b"b")
        s.kill(signal.SIGCONT)
        got = reader.messages(n + 1)
        self.assertLess(got.index(b"b"), n * 4 // 5)     # two turns of 16 KB at most
        for c in flood, other:
            c.close()

    def refused(self, s, record):
        c = Raw(s.tls_addr)
        black.socks.append(c)
        try:
            while True:
                c.send(record)
        except OSError:
            pass
        self.assertEqual(s.wait_log(event="reject")["reason"], "tls_failed")

    def test_hello_requests_before_the_hello(self):
        self.refused(self.tls_server(), b"\x16\3\3\x40\0" + bytes(16384))

    def test_warnings_before_the_hello(self):
        self.refused(self.tls_server(), b"\x15\3\3\x40\0" + b"\1\5" * 8192)

    def test_reset_while_its_input_waits(self):
        s = self.tls_server("--ping", "2", auth=False)
        c = self.wire(s, rcvbuf=4096)
        c.send(request("/", "Sec-WebSocket-Protocol: sluice.v1"))
        c.upgraded()
        c.sock.settimeout(1)
        try:
            while True:                      # it reads no answer
                c.send(frame(TEXT, b'{"op":"unsub","subject":"/","id":1}', mask=c.mask) * 100)
        except OSError:
            pass
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.sock.close()
        self.assertEqual(s.wait_log(event="close")["reason"], "peer_gone")

    def test_certificate_read_again_in_the_sandbox(self):
        s = self.tls_server(auth=False)
        for n in 1, 2:                       # into each of its two places
            s.kill(signal.SIGHUP)
            s.wait_log(n, event="reload", msg="certificate and key read")
            c = self.wire(s)
            c.send(request())
            c.upgraded()

    def test_exit_on_eof_waits_for_a_record(self):
        """All is delivered when the socket has it, and not when only the record that waits for it has."""
        def begin(n):
            """n messages, each a record, for one that reads nothing; another has read them."""
            at = {k: os.path.join(self.tmp, f"{k}{n}") for k in ("tls", "plain", "metrics")}
            s = self.server("--cert", self.cert, "--key", self.key, "--exit-on-eof", "--buffer", "1M", "--metrics",
                            "unix:" + at["metrics"], listen=("tls:unix:" + at["tls"], "unix:" + at["plain"]), auth=False)
            s.tls_addr, s.addr = at["tls"], at["plain"]
            c, good = self.wire(s), s.ws()
            c.send(request())
            c.upgraded()
            for m in lines(n):
                s.feed(m + b"\n")
                self.assertEqual(good.message(), m)
            return s, c, good, self.metrics(s, at["metrics"])["sluice_deliveries_total"] - n

        s, _, _, taken = begin(400)
        s.stop()
        self.assertLess(taken, 400)          # the last of them is the record that waits
        for n in taken - 1, taken, taken + 1:
            s, c, good, _ = begin(n)
            s.proc.stdin.close()
            s.wait_log(event="source_eof")
            good.send_frame(PING)            # is answered in a later turn than the one that saw the end
            self.assertEqual(good.frame()[0], CLOSE if n < taken else PONG)
            if n < taken:
                s.proc.wait()                # without one that reads it
            self.assertEqual(c.messages(n), lines(n))
            s.ended(0)
