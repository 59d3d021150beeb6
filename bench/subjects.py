"""What a message costs however many subjects, patterns and clients there are beside it.

A sluice.v1 client publishes, each message once the last was answered, so that none share a
send; each goes to one subscriber. The server's CPU for that is compared with that of a
server that has one subject and one subscriber."""

import base64
import json
import os
import random
import select
import socket
import struct
import subprocess

import programs

MESSAGES = 10000


def frame(text):
    data = text.encode()
    head = struct.pack("!BB", 0x81, 0x80 | len(data)) if len(data) < 126 else \
        struct.pack("!BBH", 0x81, 0x80 | 126, len(data))
    return head + b"\0\0\0\0" + data        # masked with zeros


class Client:
    """Of sluice.v1."""

    def __init__(self, port, token):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall((
            f"GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sluice.v1\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n").encode())
        self.had = b""
        while b"\r\n\r\n" not in self.had:
            self.had += self.sock.recv(4096)
        status, self.had = self.had.split(b"\r\n\r\n", 1)
        if b" 101 " not in status:
            raise programs.Failed(status.decode())
        if self.next()["op"] != "ready":
            raise programs.Failed("no ready")

    def take(self, n):
        while len(self.had) < n:
            self.had += self.sock.recv(4096)
        taken, self.had = self.had[:n], self.had[n:]
        return taken

    def next(self):
        n = self.take(2)[1]
        return json.loads(self.take(n if n < 126 else struct.unpack("!H", self.take(2))[0]))

    def ask(self, **op):
        self.sock.sendall(frame(json.dumps(op)))
        answer = self.next()
        if answer["op"] != "ok":
            raise programs.Failed(str(answer))


def measure(path, subjects, same, pattern):
    """CPU microseconds per message; same: all to one of the subjects."""
    candidate = programs.Sluice(path, ["--token-use", "many", "--max-ttl", "0"])
    server = programs.Server(candidate, 1)
    try:
        token = subprocess.run(
            [candidate.path, "token", "--secret-file", programs.secret_file(server.dir), "--ttl", "3600",
             "--allow-all", "/*"], capture_output=True, text=True, check=True).stdout.strip()
        readers = [Client(server.port, token) for _ in range(subjects)]
        for i, reader in enumerate(readers):
            reader.ask(op="sub", subject=f"/s/{i}/{'+' if pattern else 'x'}")
        publisher = Client(server.port, token)
        chosen = [0 if same else random.randrange(subjects) for _ in range(MESSAGES)]
        before = server.cpu_ns()
        for i in chosen:
            publisher.ask(op="pub", subject=f"/s/{i}/x", data="a message of a usual length, more or less")
            got = readers[i].next()
            if got["subject"] != f"/s/{i}/x":
                raise programs.Failed(f"{i} was told {got}")
        used = server.cpu_ns() - before
        if select.select([r.sock for r in readers[:500]], [], [], 0)[0]:
            raise programs.Failed("more came than was published")
        for client in readers + [publisher]:
            client.sock.close()
        return used / 1e3 / MESSAGES
    finally:
        server.stop()


def every(path, count):
    return {"one": measure(path, 1, True, False), "same": measure(path, count, True, False),
            "subjects": measure(path, count, False, False), "patterns": measure(path, count, False, True)}
