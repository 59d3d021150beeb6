#!/usr/bin/python3
"""make check-board: sluice on an emulated board, with the kernel of Debian's package linux-image-armmp
and an initramfs of busybox-static, whose init runs dist/S50sluice or a line of the inittab.

boot.py [NAME...], as unittest takes names. The board's packages come from the system's own sources
of apt into build/board, where apt has lists, a status and a cache of its own; the system's are left
alone."""
import asyncio, base64, glob, importlib.util, io, json, os, re, select, shutil, subprocess, sys, tarfile, time
import unittest, warnings

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "board")
sys.path.insert(0, os.path.join(ROOT, "test", "black"))
import black
from black import SECRET, mint

STATIC = os.path.join(ROOT, "build", "static", "armhf")
LIMIT = 300                                  # seconds for any answer: an emulator on a busy machine
MODULES = ("failover net_failover virtio_mmio virtio_net "      # in the order of insmod
           "gf128mul ghash-generic ctr gcm chacha-neon poly1305-arm chacha20poly1305 tls").split()


# --- the parts ----------------------------------------------------------------------------

def apt(*cmd, check=True, **kw):
    home = os.path.join(OUT, "apt")
    conf = os.path.join(home, "conf")
    for d in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(home, d), exist_ok=True)
    open(os.path.join(home, "status"), "a").close()
    with open(conf, "w") as f:
        f.write(f'Dir::State "{home}"; Dir::State::Lists "{home}/lists"; Dir::State::status "{home}/status";\n'
                f'Dir::Cache "{home}/cache"; APT::Sandbox::User ""; Acquire::Retries "3";\n'
                'APT::Architecture "armhf"; APT::Architectures { "armhf"; };\n')
    return subprocess.run(cmd, env={**os.environ, "APT_CONFIG": conf, "LC_ALL": "C"}, check=check,
                          stdout=subprocess.PIPE, text=True, **kw).stdout


def fetch():
    """The folder with vmlinuz, busybox and the modules."""
    parts = os.path.join(OUT, "parts")
    if all(os.path.exists(os.path.join(parts, x)) for x in ["vmlinuz", "busybox", *MODULES]):
        return parts
    print("check-board: downloading linux-image-armmp and busybox-static for armhf", flush=True)
    apt("apt-get", "-qq", "update", check=False, stderr=subprocess.DEVNULL)   # download says what is missing
    image = re.search(r"Depends: (linux-image-\S+)", apt("apt-cache", "depends", "linux-image-armmp"))
    debs = os.path.join(OUT, "debs")
    for d in (debs, parts):
        shutil.rmtree(d, True)
        os.makedirs(d)
    apt("apt-get", "-qq", "download", image[1], "busybox-static", cwd=debs)
    want = re.compile(r"\./(?:bin/(busybox)|boot/(vmlinuz)-.*|lib/modules/.*/(%s)\.ko)" % "|".join(MODULES))
    for deb in glob.glob(debs + "/*.deb"):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as p:
            tar = tarfile.open(fileobj=p.stdout, mode="r|")
            for member in tar:
                if m := want.fullmatch(member.name):
                    with open(os.path.join(parts, m[1] or m[2] or m[3]), "wb") as f:
                        shutil.copyfileobj(tar.extractfile(member), f)
    shutil.rmtree(debs)
    return parts


CONF = """listen 8080
secret-file /etc/sluice/secret
source fifo:/run/sluice/in
user sluice
handshake-timeout 300           # the board may be slow, and so may those who talk to it
ping 300
"""
RCS = f"""#!/bin/sh
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir /run/sluice
chown sluice /etc/sluice/secret
for m in {' '.join(MODULES)}; do insmod /lib/$m; done
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
syslogd -O /tmp/messages
mount -o remount,ro /
dmesg | grep -c 'crng init done' > /tmp/seeded
for s in /etc/init.d/S*; do [ -x $s ] && $s start; done > /tmp/started 2>&1
"""

# One command a line; what it prints is followed by a line with its status.
DRIVE = r"""#!/bin/sh
stty raw -echo
printf '\n@ready\n'
while read -r command; do
	eval "$command" 2>&1
	printf '\n@%d\n' $?
done
"""


def cpio(files):
    """An archive as the kernel unpacks it (its buffer-format.rst), of (path, mode, data); that of a
    device is its numbers."""
    out = io.BytesIO()
    for n, (path, mode, data) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        name, device = path.encode() + b"\0", (0, 0)
        if isinstance(data, tuple):
            device, data = data, b""
        fields = (n, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        out.write(b"070701" + b"".join(b"%08X" % f for f in fields) + name)
        out.write(bytes(-out.tell() % 4) + data)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def shipped(name, to):
    """dist/NAME, a file or a folder, as the board has it."""
    top = os.path.join(ROOT, "dist", name)
    for p in sorted({os.path.normpath(p) for p in [top, *glob.glob(top + "/**", recursive=True)]}):
        yield (os.path.normpath(os.path.join(to, os.path.relpath(p, top))), os.stat(p).st_mode,
               b"" if os.path.isdir(p) else read(p))


def inittab_lines(readme):
    """Those that it tells people to write."""
    return re.findall(r"^ +(::(?:sysinit|respawn):.*\n)", read(os.path.join(ROOT, readme)).decode(), re.M)


def initramfs(inittab, files):
    parts = fetch()
    dirs = "bin dev etc etc/init.d etc/sluice lib opt proc root run sbin sys tmp usr usr/bin usr/sbin var".split()
    links = {"bin/sh": "busybox", "sbin/init": "/bin/busybox", "var/run": "/run"}
    programs = {"bin/busybox": read(f"{parts}/busybox"), "usr/bin/sluice": read(f"{STATIC}/sluice"),
                "bin/sandbox_test": read(f"{STATIC}/sandbox_test"), "bin/drive": DRIVE.encode(),
                "etc/init.d/rcS": RCS.encode()}
    texts = {"etc/inittab": f"::sysinit:/etc/init.d/rcS\nttyAMA0::respawn:/bin/drive\n{''.join(inittab)}",
             "etc/passwd": "root::0:0::/root:/bin/sh\nsluice::900:900::/:/bin/false\n",
             "etc/group": "root::0:\nsluice::900:\n", "etc/sluice/conf": CONF}
    return cpio([(d, 0o40755, b"") for d in dirs] +
                [(p, 0o120777, to.encode()) for p, to in links.items()] +
                [(p, 0o100755, data) for p, data in programs.items()] +
                [(p, 0o100644, text.encode()) for p, text in texts.items()] +
                [(f"lib/{m}", 0o100644, read(f"{parts}/{m}")) for m in MODULES] +
                [("etc/sluice/secret", 0o100600, SECRET), ("dev/null", 0o20666, (1, 3)), *files])


# --- the board ------------------------------------------------------------------------------

class Board:
    """A machine, and the shell on its serial line."""

    def __init__(self, name, *append, inittab=(), files=()):
        initrd = os.path.join(OUT, name + ".cpio")
        with open(initrd, "wb") as f:
            f.write(initramfs(inittab, files))
        self.port, self.tls_port, self.web_port = (black.free_port() for _ in range(3))
        forward = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in
                           ((self.port, 8080), (self.tls_port, 8443), (self.web_port, 80)))
        begin, self.text = time.monotonic(), b""
        self.proc = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-arm", "-M", "virt,dtb-randomness=off", "-cpu",
             "cortex-a7", "-m", "64M", "-rtc", "base=1970-01-01", "-nodefaults", "-display", "none", "-no-reboot",
             "-serial", "stdio", "-device", "virtio-net-device,netdev=net",
             "-netdev", "user,id=net,restrict=on," + forward, "-kernel", fetch() + "/vmlinuz", "-initrd", initrd,
             # Nobody but the shell may speak on its line: CONSOLE is for busybox's init.
             "-append", " ".join(("console=ttyAMA0 quiet loglevel=1 panic=-1 rdinit=/sbin/init CONSOLE=/dev/null",
                                  *append))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        try:
            self.wait(rb"\n@ready\r?\n")
        except BaseException:
            self.off()
            raise
        print(f"check-board: {name}: booted in {time.monotonic() - begin:.0f} s", flush=True)

    def wait(self, what):
        """All that the board says up to this pattern, and its match."""
        end = time.monotonic() + LIMIT
        while not (m := re.search(what, self.text)):
            if not select.select([self.proc.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"not said in {LIMIT} s: {what}: {self.text.decode(errors='replace')}")
            got = os.read(self.proc.stdout.fileno(), 65536)
            if not got:
                raise AssertionError(f"the board is gone: {self.text.decode(errors='replace')}")
            self.text += got
        before, self.text = self.text[:m.start()], self.text[m.end():]
        return before.decode(errors="replace"), m

    def run(self, command):
        """A command's status and what it printed."""
        self.proc.stdin.write(command.encode() + b"\n")
        out, m = self.wait(rb"\r?\n@(\d+)\r?\n")
        return int(m[1]), out.strip()

    def sh(self, command):
        status, out = self.run(command)
        if status:
            raise AssertionError(f"{command}: exit {status}: {out}")
        return out

    def off(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()

    # What is asked of it.

    def set_clock(self, at):
        self.sh(f"date -s @{int(at)} >/dev/null")

    def pid(self):
        """The one sluice's; one that init has only to take note of has no command line any more."""
        pid, = self.sh("for p in $(pidof sluice); do grep -qs . /proc/$p/cmdline && echo $p; done; true").split()
        return int(pid)

    def status(self):
        return dict(x.split(":\t", 1) for x in self.sh(f"cat /proc/{self.pid()}/status").splitlines() if ":\t" in x)

    def log(self, what):
        """How many lines of the log hold this."""
        return int(self.run(f"grep -c -e '{what}' /tmp/messages")[1])

    def logged(self, what, n=1):
        black.until(lambda: self.log(what) >= n, f"{n} log lines with {what}", LIMIT)

    def put(self, path, data):
        """A file; its text does not go through the line's buffer at once."""
        text = base64.b64encode(data).decode()
        self.sh(f": > {path}")
        for i in range(0, len(text), 1000):
            self.sh(f"echo {text[i:i + 1000]} | base64 -d >> {path}")

    def rss(self):
        """The kB that sluice's memory is; its status is out by some."""
        return int(self.sh(f"awk '/^Rss:/ {{ print $2 }}' /proc/{self.pid()}/smaps_rollup"))

    def meminfo(self, name):
        return int(self.sh(f"awk '/^{name}:/ {{ print $2 }}' /proc/meminfo"))

    def raw(self):
        r = black.Raw(("127.0.0.1", self.port), timeout=LIMIT)
        black.socks.append(r)
        return r

    def ask(self, token):
        r = self.raw()
        r.send(black.request(token=token))
        return r

    def refusal(self, token):
        """The reason that is given; None if it is let in."""
        r = self.ask(token).reply()
        return None if r.status == 101 else r.body.strip()

    def answering(self):
        """Wait until it answers; until then the emulator takes connections and drops them."""
        def asked():
            try:
                return self.refusal(None) == "token_missing"
            except (black.Gone, OSError):
                return False
        black.until(asked, "an answer", LIMIT)


def at(now, ttl=600, secret=SECRET, **more):
    return mint(secret, iat=int(now), exp=int(now) + ttl, **more)


class Case(unittest.TestCase):
    board = None

    @classmethod
    def tearDownClass(cls):
        if cls.board:
            cls.board.off()

    def setUp(self):
        self.addCleanup(black.Case.hang_up, self)

    def ws(self, token):
        return self.board.ask(token).upgraded()

    def on_root(self, command):
        """With the root file system open for writing."""
        self.board.sh(f"mount -o remount,rw / && {{ {command}; }} && mount -o remount,ro /")

    def hear(self, *clients):
        """They are in the stream."""
        text = os.urandom(8).hex()
        self.board.sh(f"echo {text} > /run/sluice/in")
        for c in clients:
            self.assertEqual(c.message(), text.encode())


class FirstBoot(Case):
    """A board without a clock and without entropy, whose root is not written to."""

    @classmethod
    def setUpClass(cls):
        cls.board = Board("init-script", files=shipped("S50sluice", "etc/init.d/S50sluice"))

    def script(self, what, status=0):
        got = self.board.run("/etc/init.d/S50sluice " + what)
        self.assertEqual(got[0], status, got)
        return got[1]

    def restart(self, now=None):
        """Afresh, at this time of day, and early enough for tokens that are issued then."""
        if now is None:
            now = time.time()
        self.board.set_clock(now - 100)
        self.script("restart")
        self.board.answering()
        self.board.set_clock(now)

    def test_0_no_entropy(self):
        """What the boot left behind, so this one comes first."""
        b = self.board
        self.assertEqual(b.sh("cat /tmp/seeded"), "0", "it had entropy: this shows nothing")
        self.assertEqual(b.sh("cat /tmp/started"), "Starting sluice: OK")
        b.answering()
        self.assertLessEqual(b.log("random\\|entropy"), 1)

    def test_clock_unset(self):
        """Tokens are refused until the clock is set."""
        b, now = self.board, time.time()
        self.restart(100)
        for t in (at(now), at(100)):
            self.assertEqual(b.refusal(t), "clock_unset")
        begun = b.raw()                      # in 1970
        head = black.request(token=at(now))
        begun.send(head[:50])
        self.assertEqual(b.refusal(at(100)), "clock_unset")
        b.set_clock(now)
        begun.send(head[50:])
        self.hear(begun.upgraded(), self.ws(at(now)))

    def test_clock_jumps(self):
        """Who is connected notices nothing, and a used token stays used."""
        b, now = self.board, time.time()
        self.restart(now)
        used, said = at(now), b.log("event=clock")
        client = self.ws(used)
        for to in (now + 86400, 100, now):
            b.set_clock(to)
            self.hear(client)
            reason = b.refusal(used)
            self.assertEqual(reason, {now: "token_used", 100: "clock_unset"}.get(to, "token_expired"))
        self.hear(client, self.ws(at(now, 1200)))
        b.logged("event=clock", said + 3)

    def test_2038(self):
        """2^31 seconds come and go."""
        b, edge = self.board, 1 << 31
        self.restart(edge - 300)
        before = self.ws(at(edge))

        def refusal():
            return b.refusal(at(edge, nbf=edge + 1))
        self.assertEqual(refusal(), "token_not_yet_valid")
        b.set_clock(edge - 2)
        black.until(lambda: not refusal(), "the year 2038", LIMIT)
        self.hear(before)
        self.assertEqual(b.refusal(at(edge - 610)), "token_expired")

    def test_read_only(self):
        b = self.board
        self.assertIn("Read-only", b.run("touch /etc/x")[1])
        self.restart()
        self.hear(self.ws(at(time.time())))

    def test_script(self):
        b = self.board
        self.restart()
        pid = b.pid()
        self.assertRegex(self.script("status"), rf"\b{pid}\b")
        client = self.ws(at(time.time()))
        self.assertEqual(self.script("start"), "Starting sluice: OK")
        self.assertEqual(b.pid(), pid)
        self.hear(client)
        self.assertEqual(self.script("stop"), "Stopping sluice: OK")
        b.sh(f"! grep -qs . /proc/{pid}/cmdline")
        self.assertEqual(client.closed()[0], 1001)
        self.script("status", 3)
        self.assertEqual(self.script("start"), "Starting sluice: OK")
        b.answering()
        again = b.pid()
        self.assertEqual(self.script("restart").split("\n"), ["Stopping sluice: OK", "Starting sluice: OK"])
        self.assertNotIn(b.pid(), (pid, again))

    def reload(self):
        """The log line that it leads to."""
        n = self.board.log("event=reload")
        self.assertEqual(self.script("reload"), "Reloading sluice: OK")
        self.board.logged("event=reload", n + 1)
        return self.board.sh("grep event=reload /tmp/messages | tail -n 1")

    def test_reload(self):
        b, new = self.board, b"another secret, as long as it must be"
        self.restart()
        pid, client = b.pid(), self.ws(at(time.time()))
        self.on_root("cp -p /etc/sluice/secret /etc/sluice/old")
        self.addCleanup(self.on_root, "mv /etc/sluice/old /etc/sluice/secret")
        self.on_root(f"printf %s '{new.decode()}' > /etc/sluice/secret")
        self.assertIn("level=info", self.reload())
        self.assertEqual(b.refusal(at(time.time())), "signature_invalid")
        self.hear(self.ws(at(time.time(), secret=new)))
        self.assertEqual(client.closed(data_too=True), (4401, "key_unknown"))
        self.assertEqual(b.pid(), pid)

    def test_sandbox(self):
        """The kernel enforces it: on the process, on each call and on files."""
        b = self.board
        self.restart()
        got = b.status()
        self.assertEqual((got["Seccomp"], got["NoNewPrivs"], got["CapEff"]), ("2", "1", "0" * 16))
        self.assertEqual(got["Uid"].split(), ["900"] * 4)
        self.assertEqual(b.log("goes without"), 0)
        out = b.sh("sandbox_test")
        self.assertRegex(out, r"sandbox: \d+ passed, 0 failed")
        self.assertNotIn("skipped", out)

    def test_landlock(self):
        """A link that is led elsewhere after the start, to a file that the user may read."""
        b = self.board
        self.restart()
        self.on_root("cp -p /etc/sluice/secret /tmp/secret && mv /etc/sluice/secret /etc/sluice/old"
                     " && ln -s /tmp/secret /etc/sluice/secret")
        self.addCleanup(self.on_root, "mv /etc/sluice/old /etc/sluice/secret")
        self.assertRegex(self.reload(), "level=error .*Permission denied; the old keys stay")
        self.hear(self.ws(at(time.time())))

    def test_kernel_tls(self):
        """What is sent is sealed by the kernel, whichever cipher; what comes in is not."""
        b = self.board
        self.assertIn("TlsTxSw", b.sh("cat /proc/net/tls_stat"))
        import pki, tls
        b.set_clock(time.time())
        for name in ("p256.pem", "p256.key"):
            b.put(f"/tmp/{name}", pki.read(name))
        b.sh("sluice --listen tls:8443 --cert /tmp/p256.pem --key /tmp/p256.key --secret-file /etc/sluice/secret"
             " --source fifo:/run/sluice/tls --user sluice --syslog >/dev/null 2>&1 </dev/null &"
             " echo $! > /tmp/tls.pid")
        self.addCleanup(b.sh, "kill $(cat /tmp/tls.pid)")
        b.logged("event=listening.*for=tls")
        for cipher in ("CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384"):
            before = self.sealed()
            c = tls.Wire(("127.0.0.1", b.tls_port), ctx=tls.new_context("ECDHE-ECDSA-" + cipher, high=tls.TLS12),
                         timeout=LIMIT)
            black.socks.append(c)
            c.send(black.request(token=at(time.time())))
            c.upgraded()
            b.sh("for i in $(seq 1000); do echo line $i of a thousand; done > /run/sluice/tls")
            self.assertEqual(c.messages(1000), [b"line %d of a thousand" % (i + 1) for i in range(1000)], cipher)
            c.send_frame(black.PING, b"x")
            self.assertEqual(c.frame(), (black.PONG, b"x"), cipher)
            self.assertEqual(self.sealed(), before + 1, cipher)
            c.send_frame(black.CLOSE, b"\x03\xe8")
            self.assertEqual(c.closed()[0], 1000)       # raises tls.Truncated where close_notify is missing

    def sealed(self):
        """How many connections the kernel has sealed records for."""
        return int(self.board.sh("awk '/^TlsTxSw/ { print $2 }' /proc/net/tls_stat"))


class Small(Case):
    """22 MB of memory, and a line of the inittab."""

    @classmethod
    def setUpClass(cls):
        cls.board = Board("inittab", "cma=0 mem=40M", inittab=inittab_lines("README.md"))
        cls.board.answering()
        cls.board.set_clock(time.time())

    def test_respawn(self):
        b = self.board
        client, pid = self.ws(at(time.time())), b.pid()
        b.sh(f"kill -9 {pid}")
        with self.assertRaises((black.Gone, OSError)):
            client.message()
        b.answering()
        self.assertNotEqual(b.pid(), pid)
        self.hear(self.ws(at(time.time())))

    def test_memory(self):
        import websockets
        b, messages = self.board, [str(i) for i in range(20)]
        self.assertLess(b.meminfo("MemTotal"), 22528)
        pid = b.pid()
        turns = asyncio.Semaphore(10)        # the emulator's backlog is short

        async def connect():
            async with turns:
                return await websockets.connect(
                    f"ws://127.0.0.1:{b.port}/", extra_headers={"Authorization": "Bearer " + at(time.time())},
                    open_timeout=LIMIT, ping_interval=None)

        async def receive(ws):
            return [await asyncio.wait_for(ws.recv(), LIMIT) for _ in messages]

        async def crowd():
            clients = await asyncio.gather(*(connect() for _ in range(500)))
            writing = asyncio.to_thread(b.sh, "for i in %s; do echo $i; done > /run/sluice/in" % " ".join(messages))
            *got, _ = await asyncio.gather(*(receive(ws) for ws in clients), writing)
            memory = b.meminfo("MemTotal"), b.meminfo("MemAvailable"), b.rss()
            await asyncio.gather(*(ws.close() for ws in clients))
            return got, memory

        got, memory = asyncio.run(crowd())
        self.assertEqual(got, [messages] * 500)
        self.assertEqual(b.pid(), pid)
        self.assertEqual(b.run("dmesg | grep -ci 'out of memory'")[1], "0")
        print("check-board: with 500 clients: of %d kB %d are left, sluice has %d" % memory, flush=True)


class Dashboard(Case):
    """dist/lan-dashboard, set up as its README says."""

    @classmethod
    def setUpClass(cls):
        where = "dist/lan-dashboard/README.md"
        cls.board = Board("lan-dashboard", inittab=[x for x in inittab_lines(where) if "PORT" not in x],
                          files=shipped("lan-dashboard", "opt/lan-dashboard"))

    def log_in(self, *headers):
        """httpd's answer: status line, header fields and body, as they are."""
        r = black.Raw(("127.0.0.1", self.board.web_port), timeout=LIMIT)
        black.socks.append(r)
        r.send(black.http("GET", "/", *headers, proto="HTTP/1.0").replace(b"Host: example.org", b"Host: 127.0.0.1"))
        while r.fill():
            pass
        return r.buf.decode()

    def test_log_in(self):
        b = self.board
        self.on_root("cd /opt/lan-dashboard && chmod 600 users && chown sluice users"
                     " && echo \"/:alice:$(mkpasswd -m sha512 open-sesame)\" >> users")
        b.run("killall httpd")               # if it has read them; init starts it again
        def basic(pair):
            return "Authorization: Basic " + base64.b64encode(pair.encode()).decode()
        def let_in():
            try:
                return re.search(r"^HTTP/1\.\d 302 .*\r\nLocation: http://127\.0\.0\.1:8080/#t=(\S+)\r\n",
                                 self.log_in(basic("alice:open-sesame")), re.S)
            except OSError:
                return None
        b.set_clock(time.time())
        token = black.until(let_in, "the way to the stream", LIMIT)[1]
        for wrong in ((), (basic("alice:sesame"),), (basic("bob:open-sesame"),)):
            self.assertRegex(self.log_in(*wrong), r"^HTTP/1\.\d 401 ")
        page = b.raw()
        page.send(black.http("GET", "/"))
        self.assertIn("<script>", page.reply().body)
        for _ in range(2):                   # the page comes back with the same one
            client = self.ws(token)
            for message in client.messages(2):
                self.assertLessEqual(0, json.loads(message)["cpu_percent"])
                self.assertLess(0, json.loads(message)["free_mb"])
        self.assertEqual(b.log("goes without"), 0)


# --- the run ----------------------------------------------------------------------------------

class Result(unittest.TestResult):
    passed = 0

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()

    def addSuccess(self, test):
        self.passed += 1
        print(f"check-board: {time.monotonic() - self.begin:4.0f} s  {test.id()}", flush=True)

    def addSkip(self, test, why):
        super().addSkip(test, why)
        print(f"skipped {test.id()}: {why}", flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        print(f"=== {test.id()}\n{self._exc_info_to_string(err, test)}", flush=True)
        if getattr(test, "board", None):
            try:
                print(test.board.run("tail -n 30 /tmp/messages; dmesg | tail -n 5")[1], flush=True)
            except (AssertionError, OSError):
                pass                         # it says nothing any more

    addFailure = addError


def missing():
    """What is not here and cannot be installed."""
    packages = {"qemu-system-arm": shutil.which("qemu-system-arm"),
                "gcc-arm-linux-gnueabihf": shutil.which("arm-linux-gnueabihf-gcc"),
                "python3-websockets": importlib.util.find_spec("websockets"),
                "python3-cryptography": importlib.util.find_spec("cryptography")}
    wanted = [p for p, found in packages.items() if not found]
    if not shutil.which("apt-get"):
        return ["apt-get", *wanted]
    if wanted and os.getuid() == 0:
        print("check-board: installing Debian packages:", *wanted, flush=True)
        subprocess.run(["apt-get", "update", "-qq"])
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120",
                        *wanted], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        return []
    return wanted


def main():
    warnings.simplefilter("ignore")
    if lacks := missing():
        print("check-board: skipped, there is no", " and no ".join(lacks))
        print("board: 0 passed, 0 failed")
        return 0
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    if subprocess.run(["make", "-s", "static", "ARCH=armhf", "STATIC_GOAL=sluice sandbox_test"], cwd=ROOT,
                      env=env).returncode:
        print("board: 0 passed, 1 failed")
        return 1
    os.makedirs(OUT, exist_ok=True)
    result = Result()
    unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:] or ["FirstBoot", "Small", "Dashboard"],
                                                  sys.modules[__name__]).run(result)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    failed = len(result.errors + result.failures)    # these: of subtests
    print(f"board: {result.passed} passed, {failed} failed{skipped}")
    return 1 if failed or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main())
