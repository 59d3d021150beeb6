"""What is under dist/, tried or at least read by a tool of the system that it is for."""
import os, re, signal, subprocess, unittest
import black
from black import ROOT, SECRET, Raw, mint, request, until
from board import Board, skip_unless


def read(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


class Shell(unittest.TestCase):
    @skip_unless("shellcheck")
    def test_shellcheck(self):
        p = subprocess.run(["grep", "-rlE", "^#!/bin/sh", ROOT + "/dist"], capture_output=True, text=True)
        files = p.stdout.split()
        self.assertTrue(files)
        p = subprocess.run(["shellcheck", "-s", "sh", *files], capture_output=True, text=True)
        self.assertEqual((p.stdout, p.returncode), ("", 0))


class Init(black.Case):
    """dist/S50sluice under busybox init, on a read-only root."""

    def script(self, b, action, status=0):
        got = b.run(f"/etc/init.d/S50sluice {action}")
        self.assertEqual(got[0], status, got[1])
        return got[1]

    def lets_in(self, addr):
        c = Raw(addr)
        c.send(request(token=mint()))
        c.upgraded()
        return c

    def test_life(self):
        b = Board(self).boot()
        self.assertEqual(b.run("touch /x")[0], 1, "the root is not read-only")
        self.assertEqual(self.script(b, "status", 3), "sluice is stopped\n")
        self.assertEqual(self.script(b, "start"), "Starting sluice: OK\n")
        pid, = b.sluice()
        self.assertEqual(self.script(b, "status"), f"sluice is running, process {pid}\n")
        self.lets_in(b.address()).close()
        self.assertEqual(self.script(b, "start"), "Starting sluice: OK\n")
        self.assertEqual(b.sluice(), [pid])
        self.assertEqual(self.script(b, "reload"), "Reloading sluice: OK\n")
        until(lambda: b.log("reload"), "event=reload")
        self.assertEqual(b.sluice(), [pid])
        c = self.lets_in(b.address())
        self.assertEqual(self.script(b, "restart"), "Stopping sluice: OK\nStarting sluice: OK\n")
        self.assertEqual(c.closed(), (1001, "shutdown"))
        self.assertEqual([p != pid for p in b.sluice()], [True])
        self.lets_in(b.address(2)).close()
        self.assertEqual(self.script(b, "stop"), "Stopping sluice: OK\n")
        self.assertEqual(b.sluice(), [])
        self.assertEqual(b.run("ls /run/sluice.pid")[0], 1)
        self.assertEqual(self.script(b, "stop"), "Stopping sluice: OK\n")
        self.assertEqual(self.script(b, "reload", 1), "Reloading sluice: FAIL\n")
        self.assertRegex(self.script(b, "bad", 2), "^Usage: ")

    def test_does_not_start(self):
        for args, what in (("--bad", "sluice: --bad: no such option; see sluice --help\n"),
                           ("--no-auth --listen unix:/no/dir", "")):
            with self.subTest(args):
                b = Board(self, files={"etc/default/sluice": f"SLUICE_ARGS='--syslog {args}'\n"})
                b.boot()
                self.assertIn(f"Starting sluice: {what}", out := self.script(b, "start", 1))
                self.assertRegex(out, "FAIL\n$")
                self.assertEqual(self.script(b, "status", 3), "sluice is stopped\n")
                b.off()
                subprocess.run(["rm", "-rf", b.root], check=True)

    def test_after_a_crash(self):
        """A pid file that names nobody, or somebody else."""
        b = Board(self).boot()
        self.script(b, "start")
        b.run("kill -9 $(cat /run/sluice.pid)")
        until(lambda: not b.sluice(), "its end")
        self.script(b, "status", 3)
        self.assertEqual(self.script(b, "start"), "Starting sluice: OK\n")
        self.script(b, "stop")
        b.run("echo 1 > /run/sluice.pid")
        self.script(b, "status", 3)
        self.assertEqual(self.script(b, "stop"), "Stopping sluice: OK\n")
        self.assertEqual(self.script(b, "start"), "Starting sluice: OK\n")
        self.assertEqual(len(b.sluice()), 1)

    def test_stop_one_that_hangs(self):
        b = Board(self).boot()
        self.script(b, "start")
        b.run("kill -STOP $(cat /run/sluice.pid)")
        self.assertEqual(self.script(b, "stop"), "Stopping sluice: OK\n")
        self.assertEqual(b.sluice(), [])

    def test_respawn(self):
        """By the README's lines for /etc/inittab, with the conf of dist/."""
        lines = re.findall(r"(?m)^ +(::(?:sysinit|respawn):.*\n)", read("README.md"))
        conf = "listen 127.0.0.1:0\nsecret-file /etc/sluice/secret\n" + read("dist/sluice.conf")
        b = Board(self, "".join(lines), {"etc/sluice/conf": conf})
        b.boot()
        self.lets_in(b.address()).close()
        b.run("killall -9 sluice")
        self.lets_in(b.address(2)).close()
        b.run("kill -HUP $(pidof sluice)")
        until(lambda: b.log("reload"), "event=reload")
        self.assertEqual([x for x in b.log("config") if " level=warn " in x and "root" not in x], [])


class Units(black.Case):
    """dist/sluice.service and dist/sluice.socket; test_notify.py plays systemd."""

    @skip_unless("systemd-analyze")
    def analyze(self, *args):
        os.makedirs(self.path("etc/systemd/system"))
        os.makedirs(self.path("usr/bin"))
        os.makedirs(self.path("bin"))
        for f in ("sluice.service", "sluice.socket"):
            self.path(f"etc/systemd/system/{f}", read(f"dist/{f}").encode())
        for f in ("usr/bin/sluice", "bin/sh"):
            os.chmod(self.path(f, b""), 0o755)
        return subprocess.run(["systemd-analyze", f"--root={self.tmp}", "--man=no", *args],
                              capture_output=True, text=True)

    def test_verify(self):
        p = self.analyze("verify", "--recursive-errors=no", "sluice.service", "sluice.socket")
        self.assertEqual((p.stdout + p.stderr, p.returncode), ("", 0))

    def test_exposure(self):
        """Of systemd's own scale from 0 to 10; 1.7 of it is for SystemCallFilter=."""
        p = self.analyze("security", "--offline=yes", "--threshold=35", "sluice.service")
        self.assertEqual(p.returncode, 0, p.stdout)

    def test_options(self):
        """sluice knows the options of its command line, and the example of a config file is one."""
        self.path("secret", SECRET)
        line, = re.findall("(?m)^ExecStart=/usr/bin/sluice (.*)$", read("dist/sluice.service"))
        line = line.replace("${CREDENTIALS_DIRECTORY}", self.tmp)
        line = line.replace("/etc/sluice/conf", os.path.join(ROOT, "dist/sluice.conf"))
        p = black.run("check", *line.split())
        self.assertEqual((p.returncode, p.err), (1, ""))
        self.assertIn("token_missing", p.out)


# A root of the machine's own files, to which what is written goes into memory.
THROWAWAY = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
cd "$0"
mkdir up work root
mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=work root
cd root
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
for d in null zero full random urandom; do : > dev/$d; mount --bind /dev/$d dev/$d; done
[ -s var/lib/dpkg/status ]
exec chroot . sh -exc "$1"
"""

# old.deb and new.deb differ in their version only.
LIFE = r"""
cd DIR
export DEBIAN_FRONTEND=noninteractive
wants=/etc/systemd/system
dpkg --no-triggers -i old.deb
[ "$(stat -c '%U %a' /etc/sluice/secret)" = 'root 600' ]
[ "$(wc -c < /etc/sluice/secret)" = 45 ]
sluice --version
sluice check --config /etc/sluice/conf --secret-file /etc/sluice/secret < /dev/null || [ $? = 1 ]
[ -L $wants/multi-user.target.wants/sluice.service ]
[ ! -e $wants/sockets.target.wants/sluice.socket ]
[ -z "$(systemd-analyze verify --recursive-errors=no sluice.service sluice.socket 2>&1)" ]

: upgrade
cp /etc/sluice/secret /run/secret
echo '# mine' >> /etc/sluice/conf
systemctl enable sluice.socket
dpkg --no-triggers -i new.deb
dpkg-query -W -f '${Version}' sluice-ws | grep -x VERSION
cmp /etc/sluice/secret /run/secret
grep -x '# mine' /etc/sluice/conf

: remove
mkdir -p /var/lib/private/sluice
dpkg --no-triggers -r sluice-ws
[ ! -e /usr/bin/sluice ]
cmp /etc/sluice/secret /run/secret
grep -x '# mine' /etc/sluice/conf

: purge
dpkg --no-triggers -P sluice-ws
[ ! -e /etc/sluice ]
[ ! -e /var/lib/private/sluice ]
[ -z "$(find $wants -name 'sluice*')" ]
[ -z "$(find /lib/systemd /var/lib/systemd -name 'sluice*')" ]
[ -z "$(dpkg-query -W -f x sluice-ws 2>/dev/null)" ]
"""


class Debian(black.Case):
    @skip_unless("dh_installsystemd")
    @skip_unless("lintian")
    def test_deb(self):
        """It is built, lintian finds no error, it is installed, upgraded, removed and purged."""
        if black.sanitized() or black.static():
            self.skipTest("it is built anew whatever the binary: run for the plain one")
        signal.alarm(500)                    # more than run.py gives: it is slow on a busy machine
        self.addCleanup(signal.alarm, 0)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        p = subprocess.run(["make", "-s", "-C", ROOT, "deb"], env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        self.assertEqual(p.returncode, 0, p.stdout[-3000:])
        version, = re.findall(r"(?m)^VERSION *= *(\S+)", read("Makefile"))
        self.assertTrue(read("dist/debian/changelog").startswith(f"sluice-ws ({version}) "))
        built, = [f for f in os.listdir(f"{ROOT}/build") if re.match(rf"sluice-ws_{version}_.*\.deb$", f)]
        old = f"{ROOT}/build/{built}"
        p = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", old], capture_output=True,
                           text=True)
        self.assertEqual((p.returncode, p.stdout), (0, ""))
        self.lives(old, version)

    def lives(self, old, version):
        if os.getuid():
            self.skipTest("lintian only: needs root to install it")
        subprocess.run(["dpkg-deb", "-R", old, self.path("new")], check=True)
        at = self.path("new/DEBIAN/control")
        with open(at) as f:
            text = f.read()
        with open(at, "w") as f:
            f.write(text.replace(f"Version: {version}\n", f"Version: {version}.1\n"))
        where = f"{ROOT}/build/deb"
        subprocess.run(["dpkg-deb", "-b", self.path("new"), f"{where}/new.deb"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cp", old, f"{where}/old.deb"], check=True)
        os.mkdir(self.path("root"))
        p = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", THROWAWAY,
                            self.path("root"), LIFE.replace("DIR", where).replace("VERSION", version + ".1")], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(p.returncode, 0, p.stdout[-3000:])


def options():
    """What --help has: {name: "flag", "value" or "list"}."""
    got = {}
    for m in re.finditer(r"(?m)^  --([a-z-]+)( \S+|  )(.*(?:\n {20,}.*)*)", black.run("--help").out):
        got[m[1]] = "flag" if not m[2].strip() else "list" if m[3].endswith(" *") else "value"
    return got


class OpenWrt(black.Case):
    """dist/openwrt against stand-ins for its build system and procd; never on the real ones."""
    FILES = ROOT + "/dist/openwrt/sluice/files/"

    def init(self, action, config):
        self.path("sluice", config.encode())
        p = subprocess.run(["sh", "-e", os.path.join(black.HERE, "openwrt.sh"), self.FILES + "sluice.init", action],
                           env={**os.environ, "UCI": self.tmp}, capture_output=True, text=True)
        self.assertEqual((p.stderr, p.returncode), ("", 0))
        return p.stdout.splitlines()

    def command(self, lines):
        return [x.split(" ", 2)[2] for x in lines if x.startswith(("set command ", "append command "))]

    def test_every_option(self):
        """Each option of --help is one of UCI's, and the other way round."""
        all_, config, want = options(), "config sluice main\n", ["/usr/bin/sluice"]
        self.assertEqual({k: sum(v == k for v in all_.values()) > 4 for k in ("flag", "value", "list")},
                         dict.fromkeys(("flag", "value", "list"), True), all_)
        for name, kind in all_.items():
            if name in ("help", "version"):
                continue
            uci = name.replace("-", "_")
            if kind == "flag":
                config += f"option {uci} '1'\n"
                want.append("--" + name)
            else:
                values = ["a b", "c"] if kind == "list" else ["x y"]
                config += "".join(f"{'list' if kind == 'list' else 'option'} {uci} '{v}'\n" for v in values)
                for v in values:
                    want += ["--" + name, v]
        self.assertEqual(self.command(self.init("start_service", config)), want)
        with open(self.FILES + "sluice.init") as f:
            flags = re.search(r"(?m)^FLAGS='(.*)'$", f.read())[1].split()
        self.assertEqual(set(flags), {k for k, v in all_.items() if v == "flag"} - {"help", "version"})

    def test_flags_that_are_off(self):
        got = self.init("start_service", "config sluice main\noption page '0'\noption replay '1'\noption binary ''\n")
        self.assertEqual(self.command(got), ["/usr/bin/sluice", "--replay", "1"])

    def test_sections(self):
        got = self.init("start_service", "config sluice a\noption replay 1\nconfig other x\noption replay 2\n"
                        "config sluice b\noption replay 3\n")
        self.assertEqual([x for x in got if x.startswith(("open", "close"))], ["open a", "close", "open b", "close"])
        self.assertEqual(self.command(got), ["/usr/bin/sluice", "--replay", "1", "/usr/bin/sluice", "--replay", "3"])
        self.assertIn("set respawn 3600 5 0", got)

    def test_reload(self):
        self.assertEqual(self.init("reload_service", "config sluice a\n")[:2], ["signal sluice", "open a"])
        self.assertEqual(self.init("service_triggers", ""), ["trigger sluice"])

    def test_config(self):
        """sluice takes the config that comes with the package."""
        with open(self.FILES + "sluice.config") as f:
            _, *args = self.command(self.init("start_service", f.read()))
        args[args.index("/etc/sluice/secret")] = self.path("secret", SECRET)
        p = black.run("check", *args)
        self.assertEqual((p.returncode, p.err), (1, ""))

    def test_secret(self):
        """Made once, as long as it must be."""
        at = self.path("secret")
        script = read("dist/openwrt/sluice/files/sluice.defaults").replace("/etc/sluice", self.tmp)
        tools = self.path("hexdump", b'#!/bin/sh\nexec busybox hexdump "$@"\n')
        os.chmod(tools, 0o755)
        os.chmod(self.path("chown", b"#!/bin/sh\n"), 0o755)
        for _ in range(2):
            subprocess.run(["sh", "-e", "-c", script], check=True, env={"PATH": f"{self.tmp}:/bin:/usr/bin"})
            with open(at) as f:
                got = f.read()
            self.assertRegex(got, "^[0-9a-f]{64}$")
            self.assertEqual(os.stat(at).st_mode & 0o777, 0o600)
            first = got if _ == 0 else first
        self.assertEqual(got, first)

    def test_makefile(self):
        """It builds the TLS variant from a copy of the sources, and installs it."""
        if black.sanitized() or black.static():
            self.skipTest("it is built anew whatever the binary: run for the plain one")
        for f in ("rules.mk", "package.mk"):
            self.path(f, b"" if f == "package.mk" else read("test/black/openwrt.mk").encode())
        out = self.path("out")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        p = subprocess.run(["make", "-s", f"TOPDIR={self.tmp}", f"OUT={out}", "BUILD_VARIANT=tls", "sluice"], env=env,
                           cwd=ROOT + "/dist/openwrt/sluice", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(p.returncode, 0, p.stdout[-3000:])
        got = subprocess.run(["find", ".", "-type", "f", "-printf", "%m %P\n"], cwd=out + "/root", capture_output=True,
                             text=True, check=True).stdout.splitlines()
        self.assertEqual(sorted(got), ["600 etc/config/sluice", "755 etc/init.d/sluice", "755 etc/uci-defaults/sluice",
                                       "755 usr/bin/sluice"])
        version, = re.findall(r"(?m)^VERSION *= *(\S+)", read("Makefile"))
        self.assertIn(f"\nPKG_VERSION:={version}\n", read("dist/openwrt/sluice/Makefile"))


class Buildroot(black.Case):
    """dist/buildroot against a stand-in for its makefiles; never on the real ones."""

    @skip_unless("kconfig-conf")
    def test_config(self):
        text = read("dist/buildroot/Config.in").replace("$BR2_EXTERNAL_SLUICE_PATH", ROOT + "/dist/buildroot")
        self.path("Config.in", b"config BR2_USE_MMU\n\tdef_bool y\n\nconfig BR2_PACKAGE_BEARSSL\n\tbool\n\n" +
                  text.encode())
        for chosen, want in (("BR2_PACKAGE_SLUICE=y\n", ["BEARSSL", "SLUICE", "SLUICE_TLS"]),
                             ("BR2_PACKAGE_SLUICE=y\n# BR2_PACKAGE_SLUICE_TLS is not set\n", ["SLUICE"]), ("", [])):
            self.path("defconfig", chosen.encode())
            p = subprocess.run(["kconfig-conf", "--defconfig=defconfig", "Config.in"], cwd=self.tmp,
                               env={**os.environ, "CONFIG_": ""}, capture_output=True, text=True)
            self.assertEqual((p.returncode, p.stderr), (0, ""), p.stdout)
            with open(self.path(".config")) as f:
                got = re.findall(r"(?m)^BR2_PACKAGE_(\w+)=y$", f.read())
            self.assertEqual(sorted(got), want)

    def build(self, init):
        out = self.path(init)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        p = subprocess.run(["make", "-s", "-f", black.HERE + "/buildroot.mk", f"ROOT={ROOT}", f"OUT={out}",
                            f"INIT={init}", "BR2_PACKAGE_SLUICE_TLS=y"], env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        self.assertEqual(p.returncode, 0, p.stdout[-3000:])
        return out + "/target"

    def test_makefile(self):
        if black.sanitized() or black.static():
            self.skipTest("it is built anew whatever the binary: run for the plain one")
        out = self.build("SYSV")
        got = subprocess.run(["find", ".", "-type", "f", "-printf", "%m %P\n"], cwd=out, capture_output=True,
                             text=True, check=True).stdout.splitlines()
        self.assertEqual(sorted(got), ["644 etc/sluice/conf", "755 etc/init.d/S50sluice", "755 usr/bin/sluice"])
        version, = re.findall(r"(?m)^VERSION *= *(\S+)", read("Makefile"))
        self.assertIn(f"\nSLUICE_VERSION = {version}\n", read("dist/buildroot/sluice/sluice.mk"))
        self.assertRegex(read("dist/buildroot/sluice/sluice.mk"), r"(?m)^\tsluice -1 sluice -1 \* - - - \S")
        self.starts(out)

    def starts(self, out):
        """As it was installed, on a board, with the secret that its user must bring."""
        with open(out + "/etc/sluice/conf") as f:
            conf = f.read()
        b = Board(self, files={"etc/sluice/conf": conf + "listen 127.0.0.1:0\n"})
        os.unlink(b.root + "/etc/default/sluice")
        b.boot()
        self.assertEqual(b.run("/etc/init.d/S50sluice start"), (0, "Starting sluice: OK\n"))
        self.assertEqual(b.run("grep -h Uid: /proc/$(pidof sluice)/status")[1].split()[1:], ["900"] * 4)
        c = Raw(b.address())
        self.addCleanup(c.close)
        c.send(request(token=mint()))
        c.upgraded()
        b.run("echo hello > /run/sluice/in")
        self.assertEqual(c.message(), b"hello")
