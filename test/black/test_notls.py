"""The sluice that `make TLS=0` builds; SLUICE_NOTLS names it."""
import json, os, subprocess
import black
from black import mint


class WithoutTls(black.Case):
    def setUp(self):
        super().setUp()
        usual, black.SLUICE = black.SLUICE, os.path.abspath(os.environ.get("SLUICE_NOTLS", "build/notls/sluice"))
        self.addCleanup(setattr, black, "SLUICE", usual)

    def refused(self, *args):
        p = black.run(*args, "--no-auth") if "--keys" not in args else black.run(*args)
        self.assertEqual((p.returncode, p.out, p.err.count("\n")), (2, "", 1), p.err)
        return p.err

    def test_says_so(self):
        p = black.run("--version")
        self.assertRegex(p.out, r"^sluice [\d.]+, without TLS, RSA and EC keys, HS384 and HS512\n$")
        libraries = subprocess.run(["ldd", black.SLUICE], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("bearssl", libraries)

    def test_hs256(self):
        s = self.server()
        c = s.ws(token=mint())
        s.feed(b"hello\n")
        self.assertEqual(c.message(), b"hello")

    def test_refuses(self):
        self.assertIn("without TLS", self.refused("--listen", "tls:127.0.0.1:0", "--cert", "a", "--key", "b"))
        for alg, n in ("HS384", 48), ("HS512", 64):
            keys = self.path(alg, json.dumps({"kty": "oct", "alg": alg, "k": black.b64(b"k" * n)}).encode())
            self.assertIn("without BearSSL", self.refused("--keys", keys))
        for kind in ["RSA"], ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]:
            key = subprocess.run(["openssl", "genpkey", "-algorithm", *kind], capture_output=True, check=True).stdout
            public = subprocess.run(["openssl", "pkey", "-pubout"], input=key, capture_output=True, check=True).stdout
            self.assertIn("without BearSSL", self.refused("--keys", self.path(kind[0], public)))
