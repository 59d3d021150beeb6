"""What the process gives up: root, user, files, system calls; and what it keeps to itself.

That a call which the loop does not make ends the process is test/sandbox_test.c's; all the other
tests here run with the filter on."""
import os, pwd, re, signal, socket, subprocess
import black
from black import LEAKS, SECRET, mint

NEW = b"a new secret, which is long enough too"


class Base(black.Case):
    def status(self, s):
        with open(f"/proc/{s.pid}/status") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def without(self, s, what):
        return [r for r in s.log(event="config") if r["msg"].startswith("goes without ") and what in r["msg"]]

    def need_root(self):
        if os.getuid():
            self.skipTest("needs root")

    def as_nobody(self):
        wrap = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        if subprocess.run([*wrap, "test", "-x", black.SLUICE]).returncode:
            self.skipTest("nobody may not reach the binary")
        return wrap

    def hup(self, s):
        n = len(s.log(event="reload"))
        s.kill(signal.SIGHUP)
        return s.wait_log(n + 1, event="reload")

    def keyed(self, path, *args, **kw):
        """A server whose secret stands in this file."""
        return self.server("--secret-file", path, *args, env={"SLUICE_SECRET": "", **LEAKS}, **kw)


class Sandbox(Base):
    def test_status(self):
        black.not_emulated("there is no filter")
        s = self.server()
        got = self.status(s)
        self.assertEqual(got["NoNewPrivs"], "1")
        if self.without(s, "filter"):
            self.assertEqual(got["Seccomp"], "0")
        else:
            self.assertFalse(black.sanitized())
            self.assertEqual(got["Seccomp"], "2")
        s.ws()

    def test_sanitized(self):
        """What is missing is said once, and quietly."""
        if not black.sanitized():
            self.skipTest("for the sanitized build")
        s = self.server()
        self.assertEqual([r["level"] for r in self.without(s, "")], ["info"])

    def test_off(self):
        black.not_emulated("there is no filter")
        s = self.server("--no-sandbox")
        got = self.status(s)
        self.assertEqual((got["NoNewPrivs"], got["Seccomp"]), ("1", "0"))
        self.assertEqual(self.without(s, ""), [])
        s.ws()

    def test_reload_finds_a_new_file(self):
        """A file that is replaced by another of its name, also behind a link."""
        os.mkdir(self.path("v1"))
        self.path("v1/secret", SECRET)
        os.symlink("v1", self.path("now"))
        s = self.keyed(self.path("now/secret"))
        s.ws()
        self.path("v1/new", NEW)
        os.rename(self.path("v1/new"), self.path("v1/secret"))
        self.assertEqual(self.hup(s)["level"], "info")
        s.ws(token=mint(NEW))

    def test_reload_elsewhere(self):
        """Landlock: a link that is led elsewhere after the start is not followed there."""
        for d in ("a", "b"):
            os.mkdir(self.path(d))
        self.path("b/secret", NEW)
        f = self.path("a/secret", SECRET)
        s = self.keyed(f)
        if self.without(s, "Landlock"):
            self.skipTest("no Landlock here")
        os.unlink(f)
        os.symlink(self.path("b/secret"), f)
        r = self.hup(s)
        self.assertEqual(r["level"], "error")
        self.assertIn("Permission denied; the old keys stay", r["msg"])
        s.ws()

    def test_socket_is_removed(self):
        os.mkdir(self.path("d"))
        p = self.path("d/sock")
        s = self.server(listen=(f"unix:{p}",))
        s.ws()
        s.stop()
        self.assertFalse(os.path.exists(p))

    def test_tcp_source_comes_again(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            s = self.server("--source", "tcp:127.0.0.1:%d" % listener.getsockname()[1])
            listener.accept()[0].close()
            w, _ = listener.accept()
            c = s.ws()
            w.sendall(b"again\n")
            self.assertEqual(c.message(), b"again")
            w.close()


class Secrets(Base):
    def holds(self, s, what):
        """It stands somewhere in the memory that the process may write to."""
        with open(f"/proc/{s.pid}/maps") as maps, open(f"/proc/{s.pid}/mem", "rb", 0) as mem:
            for line in maps:
                m = re.match("([0-9a-f]+)-([0-9a-f]+) rw", line)
                if not m or "[v" in line:
                    continue
                at, end = (int(x, 16) for x in m.groups())
                while at < end:
                    mem.seek(at)
                    part = mem.read(min(end - at, 1 << 24))
                    if what in part:
                        return True
                    at += len(part)
        return False

    def test_wiped(self):
        """Neither the secret nor the one before it: only what signing needs is kept."""
        self.need_root()
        if black.sanitized():
            self.skipTest("a sanitizer keeps copies")
        f = self.path("secret", SECRET)
        s = self.keyed(f, "--max-clients", 50)
        s.ws()
        self.assertTrue(self.holds(s, b"secret-file"), "the search works")
        self.assertFalse(self.holds(s, SECRET[:16]))
        self.path("secret", NEW)
        self.hup(s)
        s.ws(token=mint(NEW))
        for secret in (SECRET, NEW):
            self.assertFalse(self.holds(s, secret[:16]))

    def test_environment(self):
        black.not_emulated("/proc shows its environment")
        s = self.server()
        with open(f"/proc/{s.pid}/environ", "rb") as f:
            self.assertNotIn(SECRET[:16], f.read())

    def test_locked(self):
        """The keyring's pages are not swapped out and not dumped."""
        black.not_emulated("nothing is locked")
        self.need_root()
        s = self.server()
        self.assertGreaterEqual(int(self.status(s)["VmLck"].split()[0]), 128)
        with open(f"/proc/{s.pid}/smaps") as f:
            flags = [x.split()[1:] for x in f.read().splitlines() if x.startswith("VmFlags:")]
        self.assertTrue([x for x in flags if "lo" in x and "dd" in x])

    def test_not_dumpable(self):
        """What /proc shows of it is root's, also when its user is another from the start."""
        self.need_root()
        os.chmod(self.tmp, 0o777)
        self.assertEqual(os.stat(f"/proc/{self.server('--user', 'nobody').pid}/mem").st_uid, 0)
        s = self.server(wrap=self.as_nobody())
        self.assertEqual(os.stat(f"/proc/{s.pid}/mem").st_uid, 65534 if black.sanitized() else 0)


class Root(Base):
    def setUp(self):
        super().setUp()
        self.need_root()
        os.chmod(self.tmp, 0o755)
        os.mkdir(self.path("root"))
        self.root = self.path("root")

    def test_chroot(self):
        f = self.path("root/secret", SECRET)
        os.chown(f, pwd.getpwnam("nobody").pw_uid, -1)
        s = self.keyed(f, "--chroot", self.root, "--user", "nobody", "--used-tokens-file", self.path("used"),
                       "--source", f"fifo:{self.tmp}/fifo", listen=(f"unix:{self.root}/sock", "127.0.0.1:0"))
        self.assertEqual(os.readlink(f"/proc/{s.pid}/root"), self.root)
        self.assertEqual(os.readlink(f"/proc/{s.pid}/cwd"), self.root)
        self.assertEqual(int(self.status(s)["CapEff"], 16), 0)
        self.assertEqual(s.log(level="warn"), [])
        s.ws()
        with open(f, "wb") as out:
            out.write(NEW)
        self.assertEqual(self.hup(s)["level"], "info")
        c = s.ws(token=mint(NEW))
        with open(self.path("fifo"), "wb") as out:
            out.write(b"x\n")
        self.assertEqual(c.message(), b"x")

    def test_socket_is_removed(self):
        s = self.server("--chroot", self.root + "/", listen=(f"unix:{self.root}/sock",), env=LEAKS)
        s.ws()
        s.stop()
        self.assertFalse(os.path.exists(self.root + "/sock"))

    def test_key_outside(self):
        s = self.keyed(self.path("secret", SECRET), "--chroot", self.root)
        r = [r for r in s.log(event="config", level="info") if "SIGHUP will keep the old one" in r["msg"]]
        self.assertEqual(len(r), 1)
        self.assertIn("No such file", r[0]["msg"])
        self.assertEqual(self.hup(s)["level"], "error")
        s.ws()

    def test_key_of_root(self):
        s = self.keyed(self.path("secret", SECRET), "--user", "nobody")
        r = [r for r in s.log(event="config", level="info") if "SIGHUP will keep the old one" in r["msg"]]
        self.assertIn("Permission denied", r[0]["msg"])
        self.assertIn("Permission denied; the old keys stay", self.hup(s)["msg"])
        s.ws()

    def test_bad(self):
        for args, code in ((("--chroot", self.path("none")), 2), (("--chroot", self.path("f", b"")), 2)):
            p = black.run("--no-auth", "--listen", "127.0.0.1:0", *args)
            self.assertEqual(p.returncode, code, p.err)
            self.assertRegex(p.err.splitlines()[-1], "^sluice: --chroot ")

    def test_not_root(self):
        p = black.run("--no-auth", "--listen", "127.0.0.1:0", "--chroot", "/", wrap=self.as_nobody())
        self.assertEqual(p.returncode, 1, p.err)
        self.assertIn("--chroot /: Operation not permitted", p.err)
