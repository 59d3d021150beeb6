"""README.md, sluice.1 and --help name the same options with the same defaults."""
import os, re, subprocess
import black

# Contract 1; the others are off, or have none.
DEFAULTS = {
    "listen": ":8080", "token-use": "once", "used-tokens": "4096", "max-ttl": "3600", "leeway": "0", "origin": "any",
    "source": "-", "framing": "lines", "buffer": "256K", "replay": "0", "slow": "close",
    "max-clients": "what the file limit allows", "max-message": "64K", "handshake-timeout": "10",
    "ping": "30", "max-pending": "512", "tls-clients": "256", "log-level": "info", "ttl": "10",
}


class Docs(black.Case):
    def read(self, name):
        with open(os.path.join(black.ROOT, name)) as f:
            return f.read()

    def page(self):
        p = subprocess.run(["mandoc", "-Tascii", "-Owidth=500", os.path.join(black.ROOT, "sluice.1")],
                           capture_output=True, text=True, check=True)
        return re.sub(".\b", "", p.stdout)

    def sections(self, text):
        """{option: what is said of it}: a table's row, or lines indented further than it."""
        got, name = {}, None
        for line in text.splitlines():
            if m := re.match(r"(?:\| `| +)--([a-z][a-z-]+)\b", line):
                name = m[1]
                got[name] = got.get(name, "") + " " + line.strip()
            elif not line.startswith("      "):
                name = None
            elif name:
                got[name] += " " + line.strip()
        return got

    def test_help(self):
        for args, some in (((), set(DEFAULTS) - {"ttl"}), (("token",), {"ttl"})):
            p = black.run(*args, "--help")
            self.assertEqual(p.returncode, 0)
            got = {k: re.search(r"\(([^()]*)\)( \*)?$", v) for k, v in self.sections(p.out).items()}
            self.assertEqual({k: v[1] for k, v in got.items() if v}, {k: DEFAULTS[k] for k in some})

    def names(self):
        text = black.run("--help").out + black.run("token", "--help").out
        return set(re.findall(r"(?m)^\s+--([a-z][a-z-]+)", text))

    def compare(self, name, text):
        got = self.sections(text)
        self.assertGreater(len(got), 25)
        self.assertEqual(self.names() - set(got), set(), f"{name} has no entry for")
        self.assertEqual(set(got) - self.names(), set(), f"{name} has entries for")
        for option, default in DEFAULTS.items():
            with self.subTest(f"{name} --{option}"):
                self.assertRegex(got.get(option, ""), r"(?<![\w-])" + re.escape(default) + r"(?!\w)")

    def test_readme(self):
        rows = [x for x in self.read("README.md").splitlines() if x.startswith("| `--")]
        self.compare("README.md", "\n".join(rows))

    def test_manual(self):
        self.compare("sluice.1", self.page())

    def test_mandoc(self):
        p = subprocess.run(["mandoc", "-Tlint", os.path.join(black.ROOT, "sluice.1")], capture_output=True, text=True)
        self.assertEqual((p.stdout + p.stderr, p.returncode), ("", 0))

    def test_reasons(self):
        text, reasons = self.read("README.md"), black.reasons()
        self.assertEqual([r for r in sorted(reasons) if f"`{r}`" not in text], [])
