"""A board to try init scripts on: its own root of busybox and sluice, read-only but for /run, with
busybox init as process 1, in namespaces of its own. The network is the machine's."""
import os, re, shutil, signal, subprocess, unittest
import black
from black import ROOT, SECRET, until

BUSYBOX = "/bin/busybox"

# Nothing of the machine's own files is in sight after the chroot.
MOUNTS = r"""
set -e
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
mount -t proc proc proc
for d in null zero full random urandom; do : > dev/$d; mount --bind /dev/$d dev/$d; done
mount -o remount,bind,ro .
exec chroot . /sbin/init
"""


def head(path):
    with open(path, "rb") as f:
        return f.read(4096)


def static_busybox():
    """Debian's busybox-static, since the root has no other libraries than sluice's."""
    return os.path.exists(BUSYBOX) and b"ld-linux" not in head(BUSYBOX)


class Board:
    def __init__(self, case, inittab="", files=None, args="--listen 127.0.0.1:0 --syslog --page"):
        if os.getuid():
            case.skipTest("needs root, for mount namespaces")
        if not static_busybox():
            case.skipTest("needs busybox-static")
        if head(BUSYBOX)[18:20] != head(black.SLUICE)[18:20]:
            case.skipTest("sluice is for another machine than busybox")
        self.case, self.root, self.proc = case, case.path("board"), None
        for d in ("bin", "dev", "etc/default", "etc/init.d", "etc/sluice", "proc", "root", "run", "sbin",
                  "tmp", "usr/bin", "usr/sbin", "var"):
            os.makedirs(f"{self.root}/{d}")
        os.symlink("../run", f"{self.root}/var/run")
        shutil.copy(BUSYBOX, f"{self.root}/bin/busybox")
        subprocess.run(["chroot", self.root, "/bin/busybox", "--install", "-s"], check=True)
        self.install()
        self.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsluice:x:900:900::/:/bin/false\n")
        self.put("etc/group", "root:x:0:\nsluice:x:900:\n")
        self.put("etc/inittab", "::respawn:/sbin/syslogd -n -O /run/messages\n" + inittab)
        self.put("etc/sluice/secret", SECRET + b"\n", 0o600)
        self.put("etc/default/sluice", f"SLUICE_ARGS='--secret-file /etc/sluice/secret {args}'\n"
                 "export ASAN_OPTIONS=detect_leaks=0\n")
        for name, data in (files or {}).items():
            self.put(name, data)

    def put(self, name, data, mode=0o644):
        at = f"{self.root}/{name}"
        os.makedirs(os.path.dirname(at), exist_ok=True)
        with open(at, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        os.chmod(at, mode)

    def copy(self, source, name):
        with open(os.path.join(ROOT, source), "rb") as f:
            self.put(name, f.read(), 0o755)

    def install(self):
        """The binary, and what it is linked with."""
        libs = "" if black.static() else subprocess.run(["ldd", black.SLUICE], capture_output=True, text=True,
                                                        check=True).stdout
        for lib in re.findall(r"(/\S+) \(0x", libs):
            os.makedirs(self.root + os.path.dirname(lib), exist_ok=True)
            shutil.copy(lib, self.root + lib)
        shutil.copy(black.SLUICE, f"{self.root}/usr/bin/sluice")
        self.copy("dist/S50sluice", "etc/init.d/S50sluice")

    def boot(self):
        self.proc = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", MOUNTS, self.root],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.case.addCleanup(self.off)
        until(lambda: self.init() and os.path.exists(f"{self.inside()}/dev/log"), "the board's syslogd")
        return self

    def init(self):
        """Process 1 as we see it, once it is init."""
        pid = self.proc.pid
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            self.pid = int(f.read() or 0)
        return self.pid and os.path.realpath(f"/proc/{self.pid}/exe").endswith("/busybox")

    def inside(self):
        return f"/proc/{self.pid}/root"

    def off(self):
        self.proc.send_signal(signal.SIGKILL)     # and its child, and all in the child's namespace
        self.proc.wait()

    def run(self, command, stdin=None):
        """A command on the board: (status, what it printed)."""
        p = subprocess.run(["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--wd",
                            "/bin/sh", "-c", command], input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        return p.returncode, p.stdout

    def log(self, event):
        """Lines of the board's log about this event."""
        try:
            with open(f"{self.inside()}/run/messages") as f:
                return [line for line in f if f" event={event} " in line]
        except FileNotFoundError:
            return []

    def address(self, n=1):
        """Where the nth sluice listens."""
        line = until(lambda: self.log("listening")[n - 1:n], f"listening line {n}")[0]
        return "127.0.0.1", int(re.search(r"addr=127.0.0.1:(\d+)", line)[1])

    def sluice(self):
        """The processes that are sluice, and not just waiting for init to take note of their end."""
        return [int(p) for p in self.run(
            "for p in $(pidof sluice); do grep -qs . /proc/$p/cmdline && echo $p; done")[1].split()]


def skip_unless(tool):
    return unittest.skipUnless(shutil.which(tool), f"needs {tool}")
