"""What TLS costs: handshakes, deliveries beside plain ones, memory, and how long a flood of
handshakes holds up a stream to those who are connected.

The client is OpenSSL by way of Python, on the other core. A delay is from the write of a line
into sluice's stdin to the time at which the kernel received what sluice had sent of it, so that
when the client runs does not matter."""

import multiprocessing
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import programs

HANDSHAKES, CLIENTS, LINES, IDLE = 200, 50, 5000, 200
FLOOD_S, FLOODERS = 5, 4
SO_TIMESTAMPNS = 35
UPGRADE = (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
KEYS = {"rsa": ["rsa:2048"], "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}


def identity(directory, kind):
    key, cert = f"{directory}/{kind}.key", f"{directory}/{kind}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-subj", "/CN=localhost",
                    "-days", "2", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return ["--cert", cert, "--key", key]


class Sluice(programs.Sluice):
    """Beside its plain listener it has one of TLS, at the next port."""

    def __init__(self, path, kind):
        super().__init__(path, [])
        self.kind = kind

    def argv(self, directory, port, tokens):
        return [*super().argv(directory, port, 0), "--listen", f"tls:127.0.0.1:{port + 1}",
                "--tls-clients", "1000", "--log-level", "warn", *identity(directory, self.kind)]


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


def shake(port, ctx, session=None):
    return ctx.wrap_socket(socket.create_connection(("127.0.0.1", port)), session=session)


def upgrade(sock):
    sock.sendall(UPGRADE)
    had = b""
    while b"\r\n\r\n" not in had:
        had += sock.recv(1)
    if b" 101 " not in had:
        raise programs.Failed(had.decode())
    return sock


def handshakes(server, resumed):
    """CPU milliseconds of one."""
    ctx, session, socks = context(), None, []
    if resumed:
        with shake(server.port + 1, ctx) as first:
            session = first.session
    before = server.cpu_ns()
    for _ in range(HANDSHAKES):
        socks.append(shake(server.port + 1, ctx, session))
        if socks[-1].session_reused != resumed:
            raise programs.Failed("resumed" if not resumed else "not resumed")
    used = server.cpu_ns() - before
    for s in socks:
        s.close()
    return used / 1e6 / HANDSHAKES


def drain(socks, total):
    """Read from all until each has had that many bytes."""
    left = {s.fileno(): [s, total] for s in socks}
    while left:
        for fd in select.select(list(left), [], [], 10)[0]:
            s = left[fd]
            s[1] -= len(s[0].recv(65536))
            while isinstance(s[0], ssl.SSLSocket) and s[0].pending():
                s[1] -= len(s[0].recv(65536))
            if s[1] <= 0:
                del left[fd]


def stream(server, tls):
    """CPU microseconds of a delivery, lines coming as fast as stdin gives them."""
    ctx = context()
    socks = [upgrade(shake(server.port + 1, ctx) if tls else socket.create_connection(("127.0.0.1", server.port)))
             for _ in range(CLIENTS)]
    line = b"a line of a usual length, as a log has them, of one hundred and twenty-five bytes or so in all".ljust(124, b".")
    before = server.cpu_ns()
    feeder = threading.Thread(target=lambda: [os.write(server.stdin, (line + b"\n") * 100) for _ in range(LINES // 100)])
    feeder.start()
    drain(socks, LINES * (2 + len(line)))
    feeder.join()
    used = server.cpu_ns() - before
    for s in socks:
        s.close()
    return used / 1e3 / LINES / CLIENTS


def idle(server):
    """Bytes of an idle client more, those that come after the first."""
    ctx = context()
    socks = [upgrade(shake(server.port + 1, ctx)) for _ in range(20)]
    before = programs.resident(server.process.pid)
    socks += [upgrade(shake(server.port + 1, ctx)) for _ in range(IDLE)]
    used = programs.resident(server.process.pid) - before
    for s in socks:
        s.close()
    return used / IDLE


def flooder(port, done):
    programs.pinned(programs.LOAD_CORE)()
    ctx, count = context(), 0
    while not done.is_set():
        try:
            shake(port, ctx).close()
            count += 1
        except OSError:
            pass
    return count


def delays(server, seconds):
    """Milliseconds from each line's write to its arrival at a client that is connected already."""
    sock = upgrade(socket.create_connection(("127.0.0.1", server.port)))
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    out, had, end = [], b"", time.time() + seconds
    while time.time() < end:
        sent = time.time()
        os.write(server.stdin, b"tick\n")
        while len(had) < 6:
            data, anc, _, _ = sock.recvmsg(6 - len(had), 64)
            had += data
        if anc:                                 # the kernel begins to write down times a little later
            s, ns = struct.unpack("qq", anc[0][2])
            out.append((s + ns / 1e9 - sent) * 1e3)
        had = b""
        time.sleep(0.003)
    sock.close()
    return sorted(out)


def flood(server):
    """(handshakes a second, the 99th of a hundred delays, the longest)"""
    done = multiprocessing.Event()
    procs, counts = [], multiprocessing.SimpleQueue()
    for _ in range(FLOODERS):
        procs.append(multiprocessing.Process(target=lambda: counts.put(flooder(server.port + 1, done))))
        procs[-1].start()
    try:
        got = delays(server, FLOOD_S)
    finally:
        done.set()
    total = sum(counts.get() for _ in procs)
    for p in procs:
        p.join()
    return total / FLOOD_S, got[len(got) * 99 // 100], got[-1]


def every(path):
    out = {}
    for kind in KEYS:
        server = programs.Server(Sluice(path, kind), 0)
        try:
            if kind == "ec":
                out["plain"] = stream(server, False)
                out["stream"] = stream(server, True)
                out["idle"] = idle(server)
                out["resumed"] = handshakes(server, True)
            out[kind] = handshakes(server, False)
            out[kind + "-rate"], out[kind + "-p99"], out[kind + "-stall"] = flood(server)
        finally:
            server.stop()
    return out
