"""--used-tokens-file: a restart forgets nothing (contract 1)."""
import base64, json, os, stat, time
from concurrent.futures import ThreadPoolExecutor
import black
from black import SECRET, mint, run, until


class UsedFile(black.Case):
    def setUp(self):
        super().setUp()
        self.file = self.path("used")

    def start(self, *args, file=None, **kw):
        return self.server("--used-tokens-file", file or self.file, *args, **kw)

    def used_up(self, n, *args):
        """A file that holds n used tokens, its server killed, and the second over.

        Every other one was issued in the future: only of such a token can be told whether a
        damaged file has kept it, of the others issued_before_start is said either way."""
        s = self.start(*args)
        tokens = [mint(iat=int(time.time()) + 1000 * (i % 2)) for i in range(n)]
        for t in tokens:
            s.ws(token=t)
        s.kill9()
        self.hang_up()
        end = int(time.time())
        until(lambda: time.time() >= end + 1, "the next second")
        return tokens

    def test_kill(self):
        """What got its 101 is in the file, however it ends right after."""
        late, tokens = None, []
        for _ in range(3):
            s = self.start()
            late = late or mint()            # issued since the file is there
            self.assertEqual(self.warnings(s), [])
            for t in tokens:
                self.refused(s, "token_used", token=t)
            tokens.append(mint())
            s.ws(token=tokens[-1])
            s.kill9()
        s = self.start()
        s.stop()                             # a clean end, too
        s = self.start()
        self.refused(s, "token_used", token=tokens[0])
        s.ws(token=late)

    def test_issued_before_start(self):
        """Holds for a new file, and no more once the file knows."""
        s = self.start()
        old = mint(iat=int(time.time()) - 10)
        self.refused(s, "issued_before_start", token=old)
        t = mint()
        s.kill9()
        end = int(time.time())
        until(lambda: time.time() >= end + 1, "the next second")
        s = self.start()
        s.ws(token=t)                        # issued while the file was kept, never used
        self.refused(s, "issued_before_start", token=old)

    def test_mode(self):
        for umask in ("000", "077"):
            s = self.start(file=self.path("f" + umask),
                           wrap=["sh", "-c", f'umask {umask}; exec "$@"', "sh"])
            mode = os.stat(self.path("f" + umask)).st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o600, umask)
            s.ws()

    def test_digests_only(self):
        s = self.start()
        t = mint(sub="somebody-with-a-name", jti="an-unmistakable-identifier")
        s.ws(token=t)
        s.stop()
        with open(self.file, "rb") as f:
            raw = f.read()
        payload = base64.urlsafe_b64decode(t.split(".")[1] + "==")
        for text in (t.encode(), payload, SECRET, base64.urlsafe_b64decode(t.split(".")[2] + "=")):
            for i in range(0, len(text) - 10, 5):
                self.assertNotIn(text[i:i + 10], raw)
        self.assertNotEqual(raw.strip(b"\0"), b"")

    def test_cut(self):
        """Cut anywhere: never a used token again, a new one always."""
        tokens = self.used_up(10, "--used-tokens", 20)
        with open(self.file, "rb") as f:
            whole = f.read()
        cuts = sorted({*range(0, len(whole), max(1, len(whole) // 60)), *range(0, min(80, len(whole)), 5),
                       len(whole) - 1, len(whole)})
        self.assertGreater(len(cuts), 10)

        def try_one(cut):
            f = self.path(f"cut{cut}", whole[:cut])
            s = self.start("--used-tokens", 20, file=f)
            got = [s.get(token=t).body for t in tokens]
            s.ws()
            again = mint()
            s.ws(token=again)
            self.refused(s, "token_used", token=again)
            warned = bool(self.warnings(s))
            s.kill9()
            s = self.start("--used-tokens", 20, file=f)   # and it is whole again
            self.refused(s, "token_used", token=again)
            got2 = [s.get(token=t).body for t in tokens]
            rewarned = bool(self.warnings(s))
            s.kill9()
            return cut, got, got2, warned, rewarned

        with ThreadPoolExecutor(3) as pool:
            rows = list(pool.map(try_one, cuts))
        kept = []
        for cut, got, got2, warned, rewarned in rows:
            with self.subTest(cut):
                self.assertLessEqual(set(got[::2]), {"token_used\n", "issued_before_start\n"})
                self.assertLessEqual(set(got[1::2]), {"token_used\n", None})
                self.assertEqual(got2[::2], got[::2])
                self.assertEqual(set(got2[1::2]), {"token_used\n"})
                self.assertEqual(warned, 0 < cut < len(whole), "a warning where something is missing")
                self.assertFalse(rewarned)
            kept.append(got[1::2].count("token_used\n"))
        self.assertEqual(got[::2], ["token_used\n"] * 5)
        self.assertEqual(kept, sorted(kept), "more file, more tokens")
        self.assertEqual(kept[-1], 5)
        self.assertEqual(kept[0], 0)
        self.assertGreater(len(set(kept)), 2, "what is whole is kept")

    def test_damaged(self):
        """A flipped bit anywhere: the rest is kept, or it is not ours and left alone."""
        tokens = self.used_up(10, "--used-tokens", 20)
        with open(self.file, "rb") as f:
            whole = f.read()
        used = len(whole.rstrip(b"\0"))
        spots = sorted({*range(0, used, max(1, used // 60)), len(whole) - 1})

        def try_one(at):
            data = bytearray(whole)
            data[at] ^= 1 << at % 8
            f = self.path(f"bad{at}", bytes(data))
            s = self.start("--used-tokens", 20, file=f, ready=False)
            until(lambda: s.proc.poll() is not None or s.log(event="listening"), "a decision")
            if not s.log(event="listening"):
                s.proc.wait()
                with open(f, "rb") as g:
                    same = g.read() == data
                s.stopped = True
                return at, s.proc.returncode, same, None
            s.addr = s.where()
            got = [s.get(token=t).body for t in tokens]
            s.ws()
            s.kill9()                        # with clients there, quicker than a farewell
            return at, None, None, got

        with ThreadPoolExecutor(3) as pool:
            rows = list(pool.map(try_one, spots))
        for at, code, same, got in rows:
            with self.subTest(at):
                if got is None:
                    self.assertEqual((code, same), (2, True))
                else:
                    self.assertLessEqual(set(got[::2]), {"token_used\n", "issued_before_start\n"})
                    self.assertGreaterEqual(got[1::2].count("token_used\n"), 0 if at < 64 else 4,
                                            "what is whole is kept")

    def test_foreign(self):
        """Not ours: no start, and not a byte, nor its mode or time, is changed."""
        with open(black.SLUICE, "rb") as f:
            elf = f.read(5000)
        for data in (b"hello\n", b"\0" * 4096, elf, b"x", json.dumps({"a": 1}).encode(), os.urandom(1000),
                     b"sluice", b"sluice\n" * 100):
            f = self.path("foreign", data)
            os.chmod(f, 0o644)
            os.utime(f, (1, 1))
            with self.subTest(data[:10]):
                p = run("--listen", "127.0.0.1:0", "--used-tokens-file", f, env={"SLUICE_SECRET": SECRET})
                self.assertEqual((p.returncode, p.out), (2, ""))
                self.assertRegex(p.err, r"\A[^\n]+\n\Z")
                self.assertIn("--used-tokens-file", p.err)
                with open(f, "rb") as g:
                    self.assertEqual(g.read(), data)
                st = os.stat(f)
                self.assertEqual((st.st_mtime, stat.S_IMODE(st.st_mode)), (1, 0o644))

    def test_locked(self):
        s = self.start()
        t = mint()
        s.ws(token=t)
        with open(self.file, "rb") as f:
            before = f.read()
        p = run("--listen", "127.0.0.1:0", "--used-tokens-file", self.file, env={"SLUICE_SECRET": SECRET})
        self.assertEqual((p.returncode, p.out), (1, ""), p.err)
        self.assertRegex(p.err, r"\A[^\n]+\n\Z")
        self.assertIn(self.file, p.err)
        with open(self.file, "rb") as f:
            self.assertEqual(f.read(), before)
        self.refused(s, "token_used", token=t)
        s.kill9()
        self.start().ws()                    # a lock does not outlive its holder

    def test_sizes(self):
        """A smaller --used-tokens forgets nothing, a larger one finds room."""
        tokens = self.used_up(8, "--used-tokens", 8)
        for n in (2, 1, 8, 20, 3):
            with self.subTest(n):
                s = self.start("--used-tokens", n)
                self.assertEqual(self.warnings(s), [])
                for t in tokens:
                    self.refused(s, "token_used", token=t)
                if n == 20:
                    tokens += [mint() for _ in range(12)]
                    for t in tokens[8:]:
                        s.ws(token=t)
                    self.refused(s, "ring_full")
                s.kill9()

    def test_expired_entries_leave(self):
        s = self.start("--used-tokens", 2)
        end = int(time.time()) + 2
        s.ws(token=mint(exp=end))
        s.ws(token=mint(exp=end))
        s.kill9()
        until(lambda: time.time() > end, "their end")
        s = self.start("--used-tokens", 2)
        t = mint()
        s.ws(token=t)
        s.ws()
        self.refused(s, "ring_full")
        s.kill9()
        s = self.start("--used-tokens", 2)
        self.refused(s, "token_used", token=t)

    def test_clock_steps_back_over_restart(self):
        """The latest expiry let go of is in the file as well."""
        T, clock = black.SOON, black.Clock(self)

        def token(exp):
            return mint(iat=T, exp=exp)
        clock.set(T)
        s = self.start(clock=clock)
        old = token(T + 10)
        s.ws(token=old)
        clock.set(T + 11)
        s.ws(token=token(T + 40))
        s.kill9()
        clock.set(T + 1)
        s = self.start(clock=clock)
        self.refused(s, "token_used", token=old)
        self.refused(s, "token_used", token=token(T + 9))
        s.ws(token=token(T + 11))
