#!/usr/bin/python3
"""How fast and how small: sluice beside a bare fan-out (limit.c), and beside peers.

What is measured, and what is not:

- CPU is what the kernel charged to the server's threads (and to its child processes, if
  it has any), in nanoseconds, from /proc/PID/task/*/schedstat. On loopback that contains
  most of the work of the network stack in both directions, which a real network would
  partly move to interrupts; the limit has it too, so look at the ratio. The load generator,
  the source of the lines and, for peers that need one, the publishing client run on the
  other core and are not counted.
- The limit reads no token and no path, makes no frames (its lines come framed) and watches
  no client: no real server can do that, it is there to say what the machine costs today.
  Its figures move with the machine; every ratio is to the limit of the same run, and a
  run measures all programs in turn.
- Nothing is lost, or the figure is not counted: every client checks every number of every
  message, and sluice runs with --slow wait. The clients are all willing to read.
- "as fast as stdin gives them": 64 KiB at a time through a pipe, until every client has
  every line. How long the wall clock took is not in the table: the load has one core, and
  is as busy as the server.
- A connection is measured from its SYN waiting to be accepted to the 101 and the end of
  all that the server does for it then, its log line (written to a file) included; it stays
  open, so closing is not included, and neither is the TCP handshake itself, which loopback
  does in the client. The tokens are all good, of about 250 bytes, each used once, recorded
  in memory (no --used-tokens-file).
- Connections come 32 at a time, as a crowd that comes back; "one at a time" has the server
  fall asleep between any two, which costs more than its own work.
- Memory is the resident set by /proc/PID/smaps_rollup: not the kernel's buffers, and of
  shared libraries what is touched. Idle clients have said nothing since their handshake.
- One verification is timed inside a program, verify.c, which links sluice's own objects and
  OpenSSL's libcrypto (libssl-dev; left out without it): CPU time of many calls, the two in
  turn. Both have their keys prepared and their caches warm.
- Start is from fork to the first connect that succeeds; asking takes up to 0.1 ms.
- Where that is allowed, server and load run before other processes (nice -15), so that
  little else is in the figures. At 20 messages a second, a program that is held up sends
  several at once, which is cheaper: the row below it says how many arrived together.

Peers do less or other work than sluice (no token, or no single use); what each does is
said where it is started. They get fewer messages, so that a run ends in time.
"""

import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import programs
import subjects
import tls
from programs import HERE, LOAD_CORE, SERVER_CORE, Failed

CLIENTS = 1000
STEPS = [100, 1000, 5000, 10000, 19000]     # under the file limit of 20,000
IDLE = 10000
SINGLE = 3000


# --- measurements: each gives {row: figure} for one program ---

@contextlib.contextmanager
def running(candidate, tokens):
    server = programs.Server(candidate, tokens)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def loaded(server, options, tokens=0):
    load = programs.Load(server, options, tokens)
    try:
        yield load
        load.close()
    finally:
        load.kill()


def stream(row, messages, rate=None):
    """CPU seconds per million deliveries."""
    def measure(candidate):
        count = messages or candidate.messages
        options = ["--steps", CLIENTS, "--messages", count]
        with running(candidate, 0) as server, loaded(server, options) as load:
            load.expect(f"open {CLIENTS}")
            time.sleep(candidate.settle_s)
            before = server.cpu_ns()
            server.feed(count, rate)
            done = load.expect("done")
            used = server.cpu_ns() - before
        if args.verbose:
            note(f"    server {used / 1e9:.3f} s; {done.strip()}")
        figures = {row: used / 1e9 / (CLIENTS * count) * 1e6}
        if rate:
            figures["together"] = CLIENTS * count / int(re.search(r"reads=(\d+)", done)[1])
        return figures
    return measure


def connect(candidate):
    """CPU microseconds per connection between the steps, and over all."""
    steps = [s for s in STEPS if s <= candidate.most]
    options = ["--steps", ",".join(map(str, steps))]
    with running(candidate, steps[-1]) as server:
        marks = [server.cpu_ns()]
        with loaded(server, options, steps[-1]) as load:
            for step in steps:
                if step != steps[0]:
                    load.go()
                load.expect(f"open {step}")
                marks.append(server.cpu_ns())
    figures = {}
    for a, b, x, y in zip(steps, steps[1:], marks[1:], marks[2:]):
        figures[f"connect {a}"] = (y - x) / 1e3 / (b - a)
    if len(steps) == len(STEPS):
        figures["connect"] = (marks[-1] - marks[0]) / 1e3 / steps[-1]
        figures["flat"] = figures[f"connect {STEPS[-2]}"] / figures[f"connect {STEPS[0]}"]
    return figures


def single(candidate):
    """The same, one connection after the other."""
    count = min(SINGLE, candidate.most)
    with running(candidate, count) as server:
        before = server.cpu_ns()
        with loaded(server, ["--steps", count, "--parallel", 1], count) as load:
            load.expect(f"open {count}")
            used = server.cpu_ns() - before
    return {"single": used / 1e3 / count}


def memory(row, tokens):
    """Bytes per idle client."""
    def measure(candidate):
        if candidate.most < IDLE:
            raise Failed(f"not tried with {IDLE} clients")
        with running(candidate, tokens) as server:
            before = server.resident()
            with loaded(server, ["--steps", IDLE], tokens) as load:
                load.expect(f"open {IDLE}")
                return {row: (server.resident() - before) / IDLE}
    return measure


def start(candidate):
    """Milliseconds to listen: the median of 20 over all runs, so 4 in each of 5."""
    times = []
    for _ in range(max(1, 20 // args.runs)):
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
            port = programs.free_port()
            argv = [f"{programs.BIN}/start", str(SERVER_CORE), str(port),
                    *candidate.argv(directory, port, 1)]
            out = subprocess.run(argv, capture_output=True, text=True, cwd=directory,
                                 env=candidate.env, preexec_fn=programs.pinned(LOAD_CORE))
            if out.returncode != 0:
                raise Failed(out.stderr.strip())
            times.append(int(out.stdout) / 1000)
    return {"start": times}


def rest(candidate):
    """MB resident once it listens."""
    with running(candidate, 1) as server:
        return {"rest": server.resident() / 1e6}


def size(candidate):
    """KB of the stripped binary."""
    path = candidate.binary()
    if path is None or shutil.which("strip") is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
        out = os.path.join(directory, "stripped")
        subprocess.run(["strip", "-o", out, path], check=True)
        return {"size": os.path.getsize(out) / 1000}


def verify():
    """CPU microseconds per verification: {program: {row: [one for each run]}}."""
    results = {"sluice": {}, "OpenSSL": {}}
    out = subprocess.run([f"{programs.BIN}/verify", str(args.runs)], stdout=subprocess.PIPE,
                         text=True, check=True, preexec_fn=programs.pinned(SERVER_CORE))
    for line in out.stdout.splitlines():
        row, *figures = line.split()
        for name, figure in zip(results, figures):
            results[name].setdefault(row, []).append(float(figure) / 1000)
    return results


def subject_costs():
    """CPU microseconds per message: {row: [one for each run]}."""
    results = {}
    for run in range(args.runs):
        note(f"  subjects, run {run + 1} of {args.runs}")
        for row, figure in subjects.every(args.sluice, IDLE).items():
            results.setdefault(row, []).append(figure)
    return results


def tls_costs():
    """{row: [one for each run]}."""
    results = {}
    for run in range(args.runs):
        note(f"  TLS, run {run + 1} of {args.runs}")
        for row, figure in tls.every(args.sluice).items():
            results.setdefault(row, []).append(figure)
    return results


# --- the table ---

MEASUREMENTS = {
    "stream": stream("stream", None),
    "rate": stream("rate", 100, 20),
    "connect": connect,
    "single": single,
    "memory": memory("memory", IDLE),
    "memory-no-auth": memory("memory-no-auth", 0),
    "start": start,
    "rest": rest,
    "size": size,
}

# Row: what, unit, and the limit and the figure to reach that the project set itself, as
# measured on a machine of its own.
PER_MILLION = "CPU s per million"
ROWS = {
    "stream": ("1,000 clients, 128-byte lines as fast as stdin gives them", PER_MILLION,
               0.065, 0.08),
    "rate": ("the same at 20 messages a second", PER_MILLION, 9.6, 10.6),
    "together": ("... messages that arrived together (1: each alone)", "a read", None, None),
    "connect": ("a connection to its 101, HS256, recorded, 0 to 19,000 open", "CPU µs", 20, 28),
    "connect 100": ("... between 100 and 1,000 open", "CPU µs", 20, 28),
    "connect 1000": ("... between 1,000 and 5,000 open", "CPU µs", 20, 28),
    "connect 5000": ("... between 5,000 and 10,000 open", "CPU µs", 20, 28),
    "connect 10000": ("... between 10,000 and 19,000 open", "CPU µs", 20, 28),
    "flat": ("... the last of these over the first", "times", None, None),
    "single": ("... one at a time, 3,000", "CPU µs", None, None),
    "memory": ("resident per idle client at 10,000, token recorded", "B", 7, 200),
    "memory-no-auth": ("... with --no-auth", "B", 7, 200),
    "start": ("start to listening", "ms", 3, 4),
    "rest": ("resident at rest", "MB", 1.3, 1.3),
    "size": ("the stripped binary", "KB", None, 64),
}
# Of one verification: what, and the ratio to OpenSSL to reach.
VERIFY_ROWS = {
    "hs256": ("HS256, a token of 250 bytes", 1.3),
    "hs256-all": ("... all of it: cut, decoded, verified, its claims read", None),
    "rs256": ("RS256, 2048 bits, the same header and claims", None),
    "es256": ("ES256, the same", None),
}
# Of one message: what; the ratio to the first is what counts.
SUBJECT_ROWS = {
    "one": "published to one subject with one subscriber",
    "same": "... where there are 10,000 such subjects and subscribers",
    "subjects": "... to any of these in turn, so that none is warm in the caches",
    "patterns": "... subscribed to by 10,000 patterns",
}
TLS_ROWS = {
    "rsa": ("a handshake, RSA 2048", "CPU ms"),
    "ec": ("a handshake, EC P-256", "CPU ms"),
    "resumed": ("... resumed", "CPU ms"),
    "stream": ("a delivery of 125 bytes, 50 clients, as fast as stdin gives them", "CPU µs"),
    "plain": ("... without TLS", "CPU µs"),
    "idle": ("resident memory per idle client", "bytes"),
    "rsa-rate": ("flood of handshakes, RSA: how many", "a second"),
    "rsa-p99": ("... delay of a line to a client that is connected, 99th of 100", "ms"),
    "rsa-stall": ("... the longest", "ms"),
    "ec-rate": ("flood of handshakes, EC: how many", "a second"),
    "ec-p99": ("... delay of a line to a client that is connected, 99th of 100", "ms"),
    "ec-stall": ("... the longest", "ms"),
}
BY_RATIO = {"stream", "rate", "connect"}    # rows whose figures move with the machine


def show(value):
    if value is None:
        return ""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def verdict(row, figure, ratio):
    limit, target = ROWS[row][2:]
    if target is None:
        return ""
    if figure > target:
        in_ratio = limit and ratio is not None and ratio <= target / limit
        return "over, but its ratio is ok" if in_ratio else "over"
    if limit and ratio is not None and ratio > target / limit and row in BY_RATIO:
        return f"ok, but its ratio is over {target / limit:.2f}"
    return "ok"


def median(results, row):
    values = results.get(row, [])
    flat = [v for x in values for v in (x if isinstance(x, list) else [x])]
    return statistics.median(flat) if flat else None


def ratio(mine, limit, row):
    """The median of the ratios within each run."""
    pairs = list(zip(mine.get(row, []), limit.get(row, [])))
    if not pairs:
        return None
    if isinstance(pairs[0][0], list):
        return median(mine, row) / median(limit, row)
    pairs = [a / b for a, b in pairs if b > 0]
    return statistics.median(pairs) if pairs else None


def table(header, lines):
    widths = [max(len(str(line[i])) for line in [header] + lines) for i in range(len(header))]
    for line in [header, ["-" * w for w in widths]] + lines:
        print("| " + " | ".join(str(c).ljust(w) for c, w in zip(line, widths)) + " |")


def print_main(results):
    lines = []
    limit, mine = results["limit"], results.get("sluice", {})
    for row, (what, unit, _, target) in ROWS.items():
        if row not in limit and row not in mine:
            continue
        figure, r = median(mine, row), ratio(mine, limit, row)
        lines.append([what, unit, show(figure), show(median(limit, row)), show(r),
                      show(target) if target else "", verdict(row, figure, r) if figure else ""])
    if lines:
        table(["work", "unit", "sluice", "limit", "ratio", "to reach", ""], lines)


def print_verify(results):
    lines = []
    for row, (what, target) in VERIFY_ROWS.items():
        mine, theirs = results["sluice"], results["OpenSSL"]
        r = ratio(mine, theirs, row)
        lines.append([what, "CPU µs", show(median(mine, row)), show(median(theirs, row)), show(r),
                      f"ratio {target}" if target else "",
                      ("ok" if r <= target else "over") if target and r else ""])
    table(["one verification", "unit", "sluice", "OpenSSL", "ratio", "to reach", ""], lines)


def print_subjects(results):
    base = median(results, "one")
    table(["one message, sluice.v1", "unit", "sluice", "ratio"],
          [[what, "CPU µs", show(median(results, row)), show(median(results, row) / base)]
           for row, what in SUBJECT_ROWS.items()])


def print_tls(results):
    table(["TLS", "unit", "sluice"], [[what, unit, show(median(results, row))]
                                      for row, (what, unit) in TLS_ROWS.items()])


def print_peers(results, candidates):
    names = [c.name for c in candidates]
    lines = []
    for row, (what, unit, _, _) in ROWS.items():
        if any(row in results[n] for n in names):
            lines.append([what, unit] + [show(median(results[n], row)) for n in names])
    print()
    table(["work", "unit"] + names, lines)


# --- runs ---

def note(text):
    print(text, file=sys.stderr, flush=True)


def takes_part(candidate, name, run):
    if name in candidate.never or name == "size" and run > 0:
        return False
    return not candidate.peer or run < args.peer_runs


def measure(name, candidates, results):
    """All runs of one measurement, the programs in turn. Who fails once has no figure;
    returns the reasons."""
    figures, failures = {c.name: {} for c in candidates}, {}
    for run in range(args.runs):
        for c in candidates:
            if c.name in failures or not takes_part(c, name, run):
                continue
            note(f"  {name}, run {run + 1} of {args.runs}: {c.name}")
            try:
                for row, value in MEASUREMENTS[name](c).items():
                    figures[c.name].setdefault(row, []).append(value)
            except (Failed, OSError, subprocess.SubprocessError) as e:
                failures[c.name] = str(e).replace("\n", "; ")
    for c in candidates:
        if c.name not in failures:
            results[c.name].update(figures[c.name])
    return {(name, who): why for who, why in failures.items()}


def options():
    p = argparse.ArgumentParser(description="Measure sluice beside a bare fan-out.")
    p.add_argument("--runs", type=int, default=5, help="interleaved runs of each (5)")
    rows = ",".join([*MEASUREMENTS, "verify", "subjects", "tls"])
    p.add_argument("--rows", default=rows, help="which to measure: " + rows)
    p.add_argument("--peers", action="store_true", help="and the peers that are installed")
    p.add_argument("--peer-runs", type=int, default=2, help="runs in which they join (2)")
    p.add_argument("--sluice", default=os.path.join(HERE, "..", "sluice"), help="the binary")
    p.add_argument("--bin", default=programs.BIN,
                   help="where load, limit and the others are")
    p.add_argument("--option", action="append", default=[], metavar="--NAME=VALUE",
                   help="a further option for sluice (repeatable)")
    p.add_argument("--verbose", action="store_true")
    return p.parse_args()


def main():
    if os.cpu_count() < 2:
        note("one core: server and load share it, the figures mean little")
    if os.getloadavg()[0] > 0.5:
        note(f"the machine is busy (load average {os.getloadavg()[0]:.1f}): expect noise")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < STEPS[-1] + 100:
        sys.exit(f"the file limit is {hard}, {STEPS[-1] + 100} are needed")
    programs.BIN = os.path.abspath(args.bin)
    candidates = [programs.Limit(), programs.Sluice(args.sluice, args.option)]
    if args.peers:
        import peers
        candidates += peers.every()
    for c in list(candidates):
        if c.missing():
            print(f"{c.name} is left out: {c.missing()}")
            candidates.remove(c)
    results, failures = {c.name: {} for c in candidates}, {}
    rows = args.rows.split(",")
    for name in rows:
        if name in MEASUREMENTS:
            failures.update(measure(name, candidates, results))
    print_main(results)
    if len(candidates) > 2:
        print_peers(results, candidates)
    if "verify" in rows:
        print()
        if os.access(f"{programs.BIN}/verify", os.X_OK):
            print_verify(verify())
        else:
            print("verify is left out: libssl-dev is not installed")
    if "subjects" in rows:
        print()
        print_subjects(subject_costs())
    if "tls" in rows:
        print()
        print_tls(tls_costs())
    for (row, name), why in failures.items():
        print(f"{name}, {row}: {why}")
    return any(name in ("limit", "sluice") for _, name in failures)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # and end the servers
    args = options()
    sys.exit(main())
