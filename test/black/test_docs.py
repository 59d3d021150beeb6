"""README.md, sluice.1 and --help name the same options with the same defaults."""
import os, re, subprocess, unittest
import black

ROOT = black.ROOT


def read(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


@unittest.skipUnless(os.path.exists(os.path.join(ROOT, "README.md")), "no README.md yet")
class Docs(unittest.TestCase):
    servers = ()

    def help(self, *args):
        p = black.run(*args, "--help")
        self.assertEqual(p.returncode, 0)
        return p.out

    def names(self, text):
        return set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text))

    def test_same_options(self):
        both = self.help() + self.help("token")
        listed = set(re.findall(r"(?m)^\s*(?:-\w, )?--([a-z][a-z-]+)", both))
        self.assertGreater(len(listed), 25)
        readme, page = self.names(read("README.md")), self.names(self.rendered())
        self.assertEqual(listed - readme, set(), "README.md lacks")
        self.assertEqual(listed - page, set(), "sluice.1 lacks")

    def rendered(self):
        p = subprocess.run(["mandoc", "-Tutf8", "-Owidth=500", os.path.join(ROOT, "sluice.1")], capture_output=True,
                           text=True, check=True)
        return re.sub(".\b", "", p.stdout).replace("\u2212", "-").replace("\u2010", "-")

    def test_mandoc(self):
        p = subprocess.run(["mandoc", "-Tlint", os.path.join(ROOT, "sluice.1")], capture_output=True, text=True)
        self.assertEqual((p.stdout + p.stderr, p.returncode), ("", 0))

    def test_reasons(self):
        text = read("README.md")
        missing = [r for r in re.findall(r'^\s*W\(\w+,\s*"(\w+)"', read("src/why.h"), re.M)
                   if r not in ("ok", "more") and f"`{r}`" not in text]
        self.assertEqual(missing, [])
