"""sluice check: contract 1."""
import subprocess
import black
from black import Case, mint, SECRET, SLUICE


class Check(Case):
    def check(self, *args, token=None, stdin=""):
        p = subprocess.run([SLUICE, "check", *args, *([token] if token else [])],
                           input=stdin, text=True, capture_output=True, timeout=black.WAIT,
                           env={"SLUICE_SECRET": SECRET})
        self.assertEqual(p.stderr, "")
        return p.returncode, p.stdout

    def test_good(self):
        for kw in ({"token": mint()}, {"stdin": mint() + "\n"}):
            code, out = self.check(**kw)
            self.assertEqual(code, 0, out)
            self.assertRegex(out, r"\A(ok  .+\n)+(    .+\n)+would be let in, once.*\n\Z")

    def test_refused(self):
        for reason, args, token in (
                ("token_missing", (), None), ("token_malformed", (), "a.b"),
                ("signature_invalid", (), mint(b"y" * 32)), ("exp_missing", (), mint(exp=None)),
                ("token_expired", (), mint(exp=1)), ("issuer_mismatch", ("--issuer", "x"), mint()),
                ("ttl_too_long", ("--max-ttl", "5"), mint())):
            with self.subTest(reason):
                code, out = self.check(*args, token=token)
                self.assertEqual(code, 1)
                self.assertRegex(out, rf"\A(ok  .+\n)*no  .+\nwould be refused: 401 {reason}\n\Z")

    def test_asks_no_server(self):
        """Not the ring of used tokens either, which a running server holds locked."""
        token = mint()
        for _ in range(2):
            self.assertEqual(self.check("--used-tokens-file", "/nonexistent/used", token=token)[0], 0)
