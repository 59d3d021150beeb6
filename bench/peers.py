#!/usr/bin/python3
"""The peers of run.py --peers: Debian's and npm's, each fed by its simplest means.

None but `ws+jwt` looks at a token, so the rows about connections compare more work of
sluice with less of theirs. Installed by

    apt-get install websocketd mosquitto mosquitto-clients nats-server \\
        nginx-light libnginx-mod-nchan
    cp bench/package.json build/bench/ && npm install --prefix build/bench

Run as a program it publishes the lines of stdin: peers.py nats|nchan PORT."""

import glob
import http.client
import os
import shutil
import socket
import subprocess
import sys

import programs
from programs import Candidate, free_port, secret_file, write


class Ws(Candidate):
    """peer-ws.js: Node, npm's ws, every line to every client. --jwt: with a token."""
    messages = 200
    jwt = False
    name = "ws"

    def __init__(self):
        self.env = dict(os.environ, NODE_PATH=f"{programs.BIN}/node_modules")

    def argv(self, directory, port, tokens):
        argv = ["node", f"{programs.HERE}/peer-ws.js", str(port)]
        return argv + [secret_file(directory)] * (tokens > 0 and self.jwt)

    def missing(self):
        if shutil.which("node") is None:
            return "node is not installed"
        modules = ["ws"] + ["jsonwebtoken"] * self.jwt
        for m in modules:
            if not os.path.isdir(f"{programs.BIN}/node_modules/{m}"):
                return f"npm's {m} is not installed in {os.path.relpath(programs.BIN)}"
        return None


class WsJwt(Ws):
    name = "ws+jwt"
    jwt = True
    never = ["stream", "rate", "memory-no-auth"]    # as without


class InPath(Candidate):
    """A program that is there or is not."""
    program = None
    messages = 1000

    def path(self):
        return shutil.which(self.program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")

    def binary(self):
        return self.path()

    def missing(self):
        return None if self.path() else f"{self.program} is not installed"


class Websocketd(InPath):
    """A `tail -f` of the same file for each client: a process each, so not with many.
    Where inotify runs out, tail looks once a second, and sends many lines at a time."""
    name = program = "websocketd"
    most = 1000

    def argv(self, directory, port, tokens):
        lines = write(f"{directory}/lines", "")
        return [self.path(), "--address=127.0.0.1", f"--port={port}", "--loglevel=error",
                "tail", "-q", "-n", "+1", "-f", lines]

    def feed(self, server, gen):
        with open(f"{server.dir}/lines", "ab") as f:
            server.spawn(gen, stdout=f)


class Mosquitto(InPath):
    """MQTT in WebSocket frames, QoS 0, published by mosquitto_pub."""
    name = program = "mosquitto"
    most = 10000        # each costs more the more there are
    never = ["single"]  # a new one waits for up to 0.1 s
    hello = (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"    # CONNECT, clean session
             b"\x82\x06\x00\x01\x00\x01t\x00")                  # SUBSCRIBE to t, QoS 0

    def argv(self, directory, port, tokens):
        self.inner = free_port()
        conf = write(f"{directory}/conf", f"""
            listener {self.inner} 127.0.0.1
            listener {port} 127.0.0.1
            protocol websockets
            allow_anonymous true
            max_queued_messages 0
            set_tcp_nodelay true
            log_type error
            """)
        return [self.path(), "-c", conf]

    def load_options(self, directory):
        with open(f"{directory}/hello", "wb") as f:
            f.write(self.hello)
        return ["--protocol", "mqtt", "--hello", f.name, "--greetings", "2",
                "--record", "6,0"]

    def feed(self, server, gen):
        lines = server.spawn(gen, stdout=subprocess.PIPE)
        server.spawn(["mosquitto_pub", "-p", str(self.inner), "-t", "t", "-l"],
                     stdin=lines.stdout)
        lines.stdout.close()

    def missing(self):
        if shutil.which("mosquitto_pub") is None:
            return "mosquitto_pub is not installed"
        return super().missing()


class Nats(InPath):
    """NATS in WebSocket frames; it puts several messages into one where it can."""
    name = program = "nats-server"
    settle_s = 3        # it sends a PING of its own within 2 s

    def argv(self, directory, port, tokens):
        self.inner = free_port()
        conf = write(f"{directory}/conf", f"""
            listen: "127.0.0.1:{self.inner}"
            websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}
            """)
        return [self.path(), "-c", conf]

    def load_options(self, directory):
        hello = 'CONNECT {"verbose":false}\r\nSUB t 1\r\nPING\r\n'
        return ["--hello", write(f"{directory}/hello", hello), "--greetings", "2",
                "--ignore", str(len("PING\r\n")), "--record", f"{len('MSG t 1 127') + 2},2",
                "--stream"]

    def feed(self, server, gen):
        publish(server, gen, "nats", self.inner)


class Nchan(InPath):
    """nginx with nchan, one worker; each line is a POST on one kept connection."""
    name = "nchan"
    program = "nginx"
    messages = 500
    most = 15000        # its own descriptors run out before 19,000

    def module(self):
        return next(iter(glob.glob("/usr/lib/nginx/modules/ngx_nchan_module.so")), None)

    def argv(self, directory, port, tokens):
        conf = write(f"{directory}/conf", f"""
            load_module {self.module()};
            daemon off;
            user root;
            worker_processes 1;
            worker_rlimit_nofile 20000;
            pid {directory}/pid;
            error_log {directory}/errors;
            events {{ worker_connections 19800; }}
            http {{
                access_log off;
                tcp_nodelay on;
                keepalive_requests 1000000;
                client_body_temp_path {directory}/body;
                nchan_shared_memory_size 128M;
                server {{
                    listen 127.0.0.1:{port} backlog=4096;
                    location = / {{
                        nchan_subscriber websocket;
                        nchan_channel_id t;
                        nchan_subscriber_first_message newest;
                    }}
                    location = /publish {{
                        nchan_publisher http;
                        nchan_channel_id t;
                        nchan_message_buffer_length 20000;
                    }}
                }}
            }}""")
        return [self.path(), "-c", conf]

    def feed(self, server, gen):
        publish(server, gen, "nchan", server.port)

    def binary(self):
        return None     # nginx, a module and what both pull in: no one number

    def missing(self):
        if self.module() is None:
            return "libnginx-mod-nchan is not installed"
        return super().missing()


def every():
    return [Ws(), WsJwt(), Websocketd(), Mosquitto(), Nats(), Nchan()]


# --- publishers ---

def publish(server, gen, how, port):
    lines = server.spawn(gen, stdout=subprocess.PIPE)
    server.spawn([sys.executable, os.path.abspath(__file__), how, str(port)],
                 stdin=lines.stdout)
    lines.stdout.close()


def publish_nats(port, lines):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b'CONNECT {"verbose":false}\r\n')
        for line in lines:
            line = line.rstrip(b"\n")
            s.sendall(b"PUB t %d\r\n%s\r\n" % (len(line), line))
        s.sendall(b"PING\r\n")
        seen = b""
        while b"PONG\r\n" not in seen:
            seen += s.recv(4096)


def publish_nchan(port, lines):
    c = http.client.HTTPConnection("127.0.0.1", port)
    for line in lines:
        c.request("POST", "/publish", line.rstrip(b"\n"), {"Content-Type": "text/plain"})
        c.getresponse().read()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    {"nats": publish_nats, "nchan": publish_nchan}[sys.argv[1]](
        int(sys.argv[2]), sys.stdin.buffer)
