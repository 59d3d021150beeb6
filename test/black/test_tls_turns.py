"""What one TLS client may take of a turn of the loop, and what is told of one that is gone."""
import array, fcntl, os, signal, socket, ssl, struct, subprocess, termios, time
import black
from black import TEXT, Raw, frame, grant, request, until


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
        if black.emulated():
            self.skipTest("an emulated processor's records come too late for this client's small window")

        def begin():
            s = self.tls_server("--exit-on-eof", "--buffer", "1M", "--metrics", "127.0.0.1:0", auth=False)
            c = self.wire(s, rcvbuf=4096)
            c.sock.settimeout(100)           # a window that was full is asked after ever more rarely
            c.send(request())
            c.upgraded()
            return s, c, s.where(2)

        def deliveries(s, at):
            r = s.fetch("/metrics", at)
            return next(int(x.split()[1]) for x in r.body.split("\n")
                        if x.startswith("sluice_deliveries_total"))

        def feed(s, n):
            for i in range(n):
                s.feed(b"%04d" % i + b"x" * 995 + b"\n")
                time.sleep(.002)             # each in a record of its own

        s, c, at = begin()
        feed(s, 400)
        taken = deliveries(s, at)
        s.stop()
        started = [(n, *begin()) for n in range(taken - 1, taken + 4)]
        for n, s, c, at in started:
            feed(s, n)
            s.proc.stdin.close()
        time.sleep(2)                        # twice what is left to clients at the end: none of them reads yet
        for n, s, c, at in started:
            self.assertEqual([int(x[:4]) for x in c.messages(n)], list(range(n)))
            s.ended(0)                       # the close frame comes for those who read all this in time
