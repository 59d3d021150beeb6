"""What run.py measures: how each program is started, fed and asked, and by what.

Owns processes and their directories; prints nothing. A program listens on 127.0.0.1 at a
port that it is given."""

import contextlib
import glob
import os
import random
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(HERE, "..", "build", "bench")    # of load, limit and the others
SERVER_CORE, LOAD_CORE = 0, 1


class Failed(Exception):
    """A measurement that does not count, in words."""


def pinned(core):
    """For a child: its core, and before others there, where that is allowed."""
    def pin():
        if os.cpu_count() > 1:
            os.sched_setaffinity(0, {core})
        with contextlib.suppress(PermissionError):
            os.nice(-15)
    return pin


def family(pid):
    """The process and all that it started."""
    out = [pid]
    for p in out:
        for path in glob.glob(f"/proc/{p}/task/*/children"):
            with open(path) as f:
                out += [int(child) for child in f.read().split()]
    return out


def cpu_ns(pid):
    total = 0
    for p in family(pid):
        for path in glob.glob(f"/proc/{p}/task/*/schedstat"):
            with open(path) as f:
                total += int(f.read().split()[0])
    return total


def resident(pid):
    """Bytes. Of a family the proportional sizes, so that what they share counts once."""
    pids = family(pid)
    name = "Rss" if len(pids) == 1 else "Pss"
    total = 0
    for p in pids:
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += int(re.search(rf"^{name}: +(\d+) kB", f.read(), re.M)[1]) * 1024
    return total


def free_port():
    """Below the ephemeral ones, where a client might sit on it."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def head(path):
    with open(path, errors="replace") as f:
        return f.read(400).strip()


def secret_file(directory):
    path = os.path.join(directory, "secret")
    return path if os.path.exists(path) else write(path, os.urandom(32).hex())


class Candidate:
    """How to run a program, and what it takes to compare it honestly."""
    name = None
    frames = False      # its lines must come as frames
    messages = 20000    # of the stream
    most = 20000        # clients that it can have
    settle_s = 0        # what it does of itself after a handshake is over by then
    never = []          # measurements that make no sense for it
    peer = True
    env = None

    def argv(self, directory, port, tokens):
        """The command. directory is for its files, and the one it runs in; tokens is how
        many will be shown, 0 if none is asked for."""
        raise NotImplementedError

    def load_options(self, directory):
        return []

    def feed(self, server, gen):
        """Run gen so that its lines reach the server."""
        server.spawn(gen, stdout=server.stdin)

    def binary(self):
        return None

    def missing(self):
        """Why it cannot be run here, or None."""
        return None


class Limit(Candidate):
    name = "limit"
    frames = True
    peer = False

    def argv(self, directory, port, tokens):
        return [f"{BIN}/limit", str(port)]

    def binary(self):
        return f"{BIN}/limit"


class Sluice(Candidate):
    name = "sluice"
    peer = False

    def __init__(self, path, options):
        self.path = os.path.abspath(path)
        self.options = options

    def argv(self, directory, port, tokens):
        argv = [self.path, "--listen", f"127.0.0.1:{port}", "--slow", "wait", *self.options]
        if tokens == 0:
            return argv + ["--no-auth"]
        argv += ["--secret-file", secret_file(directory)]
        return argv + ["--used-tokens", str(tokens)] * (tokens > 4096)

    def binary(self):
        return self.path

    def missing(self):
        return None if os.access(self.path, os.X_OK) else f"{self.path} is not built"


class Server:
    """A candidate running on its core, in a directory of its own; what it prints goes to
    a file there, its stdin is a pipe that stays open."""

    def __init__(self, candidate, tokens):
        self.candidate = candidate
        self.dir = tempfile.mkdtemp(prefix="sluice-bench-")
        self.port = free_port()
        self.feeders = []
        argv = candidate.argv(self.dir, self.port, tokens)
        stdin, self.stdin = os.pipe()
        with open(f"{self.dir}/log", "wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=stdin, stdout=log, stderr=log, cwd=self.dir,
                env=candidate.env, preexec_fn=pinned(SERVER_CORE))
        os.close(stdin)
        try:
            self.wait_listening()
        except Failed:
            self.stop()
            raise

    def wait_listening(self):
        for _ in range(1000):
            if connects(self.port):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise Failed("it does not listen: " + head(f"{self.dir}/log"))

    def cpu_ns(self):
        time.sleep(0.1)
        return cpu_ns(self.process.pid)

    def resident(self):
        time.sleep(0.3)
        return resident(self.process.pid)

    def feed(self, messages, rate=None):
        argv = [f"{BIN}/gen"] + ["--frames"] * self.candidate.frames + [str(messages)]
        self.candidate.feed(self, argv + [str(rate)] * (rate is not None))

    def spawn(self, argv, **kw):
        """A program on the load's core that ends with the server."""
        self.feeders.append(subprocess.Popen(argv, preexec_fn=pinned(LOAD_CORE), **kw))
        return self.feeders[-1]

    def stop(self):
        os.close(self.stdin)
        for p in self.feeders + [self.process]:
            if p.poll() is None:
                p.terminate()
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Load:
    """load, on its core, at work on a server. With tokens, it has so many."""

    def __init__(self, server, options, tokens):
        argv = [f"{BIN}/load", *server.candidate.load_options(server.dir), *map(str, options)]
        if tokens:
            argv += ["--tokens", self.make_tokens(server.dir, tokens)]
        self.errors = f"{server.dir}/load"
        with open(self.errors, "wb") as err:
            self.process = subprocess.Popen(
                argv + [f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE, text=True,
                stdout=subprocess.PIPE, stderr=err, preexec_fn=pinned(LOAD_CORE))

    @staticmethod
    def make_tokens(directory, count):
        """After the server's start, lest they were issued before it."""
        with open(f"{directory}/tokens", "wb") as f:
            subprocess.run([f"{BIN}/tokens", secret_file(directory), str(count)],
                           stdout=f, check=True)
            return f.name

    def expect(self, word, seconds=300):
        """The next line, which begins with word."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if not line.startswith(word):
            raise Failed(f"{line} {head(self.errors)}".strip() or "load takes too long")
        return line

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self):
        """The end of all clients; Failed if one of them lacks something."""
        self.process.stdin.close()
        if self.process.wait(60) != 0:
            raise Failed(head(self.errors) or "load failed")

    def kill(self):
        self.process.kill()
        self.process.wait()
