"""Keys of many services (contract 2, Keys): --keys, what is taken and refused, attacks, reload."""
import base64, functools, json, os, signal, subprocess, threading, time
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
import black, v1
from black import CLOSE, PING, PONG, SLUICE, TEXT, b64, claims, jws, mint, node

CURVES = {"ES256": (ec.SECP256R1, "P-256", 32), "ES384": (ec.SECP384R1, "P-384", 48), "ES512": (ec.SECP521R1, "P-521", 66)}
ALGS = [f + n for f in ("HS", "RS", "ES") for n in ("256", "384", "512")]
P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


@functools.cache
def key(alg, name="a"):
    """A service's key: (what PyJWT signs with, the private JWK, the one that sluice is given)."""
    if alg[0] == "H":
        secret = os.urandom(int(alg[2:]) // 8)
        jwk = {"kty": "oct", "alg": alg, "k": b64(secret)}
        return secret, jwk, jwk
    if alg[0] == "R":
        k = rsa.generate_private_key(65537, 3072 if alg == "RS384" else 2048)
        p = k.private_numbers()
        jwk = {"kty": "RSA", "alg": alg, "n": number(p.public_numbers.n), "e": "AQAB"}
        more = {"d": number(p.d), "p": number(p.p), "q": number(p.q), "dp": number(p.dmp1), "dq": number(p.dmq1),
                "qi": number(p.iqmp)}
    else:
        curve, crv, size = CURVES[alg]
        k = ec.generate_private_key(curve())
        p = k.private_numbers()
        jwk = {"kty": "EC", "crv": crv, "x": number(p.public_numbers.x, size), "y": number(p.public_numbers.y, size)}
        more = {"d": number(p.private_value, size)}
    return k, {**jwk, **more}, jwk


def pem(alg, name="a"):
    return key(alg, name)[0].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(alg, name="a", header=None, **more):
    """A token of that service; header {"kid": None} leaves it out."""
    h = {"kid": name, **(header or {})}
    return jwt.encode(claims(**more), key(alg, name)[0], alg, headers={k: v for k, v in h.items() if v is not None})


def jwk(alg, name="a", **more):
    return {**key(alg, name)[2], "kid": name, **more}


class Keys(black.Case):
    def file(self, *keys, name="keys.json"):
        return self.path(name, json.dumps({"keys": keys}).encode())

    def serve(self, *keys, args=(), **kw):
        return self.server("--keys", self.file(*keys), *args, secret=None, **kw)

    def grants(self, *subjects):
        return {"permissions": {"sub": list(subjects)}}


class Libraries(Keys):
    """Every algorithm, from those who issue tokens."""

    def setUp(self):
        super().setUp()
        self.s = self.serve(*(jwk(a, a) for a in ALGS))

    def accepted(self, tokens):
        for t in tokens:
            self.s.ws(token=t)
            self.refused(self.s, "token_used", token=t)

    def made(self, lib):
        jobs = [{"lib": lib, "alg": a, "key": key(a, a)[1], "header": {"kid": a, "typ": "JWT"},
                 "claims": claims(sub=a)} for a in ALGS]
        return json.loads(node("keys.mjs", stdin=json.dumps(jobs).encode()))

    def test_pyjwt(self):
        self.accepted(sign(a, a) for a in ALGS)

    def test_jsonwebtoken(self):
        self.accepted(self.made("jsonwebtoken"))

    def test_jose(self):
        self.accepted(self.made("jose"))

    def test_log_names_the_key(self):
        self.s.ws(token=sign("ES256", "ES256", sub="alice"))
        r = self.s.wait_log(event="accept")
        self.assertEqual((r["sub"], r["kid"]), ("alice", "ES256"))


class Sources(Keys):
    def test_pem(self):
        for alg in ("RS256", "ES256", "ES384", "ES512"):
            f = self.path("key.pem", pem(alg))
            s = self.server("--keys", f"plant={f}", secret=None)
            s.ws(token=sign(alg, header={"kid": "plant"}))
            s.ws(token=sign(alg, header={"kid": None}))
            self.refused(s, "key_unknown", token=sign(alg, header={"kid": "other"}))
            s.stop()
            s = self.server("--keys", f, secret=None)     # begins with /: no name
            s.ws(token=sign(alg, header={"kid": "plant"}))

    def test_rsa_pem_is_rs256(self):
        s = self.server("--keys", self.path("key.pem", pem("RS256")), secret=None)
        t = jwt.encode(claims(), key("RS256")[0], "RS512")
        self.refused(s, "alg_not_allowed", token=t)

    def test_one_jwk(self):
        f = self.path("one.json", json.dumps(jwk("ES256")).encode())
        self.server("--keys", f, secret=None).ws(token=sign("ES256"))

    def test_rsa_4096(self):
        k = rsa.generate_private_key(65537, 4096)
        n = k.public_key().public_numbers().n
        s = self.serve({"kty": "RSA", "n": number(n), "e": "AQAB", "kid": "big"})
        s.ws(token=jwt.encode(claims(), k, "RS256", headers={"kid": "big"}))

    def test_several_and_a_secret(self):
        a, b = self.file(jwk("ES256")), self.file(jwk("RS256", "b"), name="b.json")
        s = self.server("--keys", a, "--keys", b, "--keys", f"c={self.path('c.pem', pem('ES384', 'c'))}")
        for t in (sign("ES256"), sign("RS256", "b"), sign("ES384", "c"), mint(), mint(header={"kid": "any"})):
            s.ws(token=t)
        self.refused(s, "alg_not_allowed", token=mint(header={"kid": "b"}))

    def test_config_file(self):
        conf = self.path("conf", f"keys {self.file(jwk('ES256'))}\n".encode())
        self.server("--config", conf, secret=None).ws(token=sign("ES256"))

    def test_without_kid(self):
        """Accepted only if exactly one key has the algorithm."""
        s = self.serve(jwk("ES256", "x"), jwk("ES256", "y"), jwk("RS256", "z"))
        self.refused(s, "key_unknown", token=sign("ES256", "x", header={"kid": None}))
        s.ws(token=sign("RS256", "z", header={"kid": None}))
        self.refused(s, "alg_not_allowed", token=sign("ES384", header={"kid": None}))

    def test_kid_is_compared_whole(self):
        s = self.serve(jwk("ES256", "plant"))
        for kid in ("plan", "plant1", "Plant", "plant\0", "", " plant"):
            self.refused(s, "key_unknown", token=sign("ES256", "plant", header={"kid": kid}))
        s.ws(token=sign("ES256", "plant", header={"kid": "plant"}))

    def test_passed_over(self):
        okp = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "ed"}
        s = self.serve(okp, {**jwk("RS256", "pss"), "alg": "PS256"}, jwk("RS256", "enc", use="enc"), jwk("ES256"))
        got = [r["msg"] for r in self.warnings(s)]
        self.assertEqual(len(got), 3)
        for msg, kid in zip(got, ("ed", "pss", "enc")):
            self.assertRegex(msg, rf"keys\.json: key {kid}: passed over: ")
        s.ws(token=sign("ES256"))
        self.refused(s, "key_unknown", token=sign("RS256", "enc"))

    def test_world_readable(self):
        f = self.file(jwk("HS256"))
        os.chmod(f, 0o644)
        s = self.server("--keys", f, secret=None)
        self.assertRegex(self.warnings(s)[0]["msg"], r"keys\.json: everyone can read it")
        f = self.file(jwk("ES256"), name="public.json")      # where there is no secret, nothing is said
        os.chmod(f, 0o644)
        self.assertEqual(self.warnings(self.server("--keys", f, secret=None)), [])


class Services(Keys):
    """Two services: neither can speak for the other."""

    def setUp(self):
        super().setUp()
        self.s = self.serve(
            jwk("ES256", "a", issuer="https://a", permissions={"sub": ["/a/*"], "pub": ["/a/cmd"]}),
            jwk("RS256", "b", issuer="https://b", permissions={"sub": ["/b/*"]}, token_use="many"),
            jwk("HS256", "c"), args=["--issuer", "everyone"])

    def a(self, header=None, **more):
        return sign("ES256", "a", header=header, **{"iss": "https://a", **self.grants("/a/*"), **more})

    def b(self, header=None, **more):
        return sign("RS256", "b", header=header, **{"iss": "https://b", **self.grants("/b/*"), **more})

    def test_each_its_own(self):
        self.s.ws("/a/x", token=self.a())
        self.s.ws("/b/x", token=self.b())
        self.s.ws(token=sign("HS256", "c", iss="everyone"))

    def test_kid_of_the_other(self):
        self.refused(self.s, "alg_not_allowed", "/b/x", token=self.a({"kid": "b"}, iss="https://b"))
        s = self.serve(jwk("ES256", "a"), jwk("ES256", "b"))
        self.refused(s, "signature_invalid", token=sign("ES256", "a", header={"kid": "b"}))
        self.refused(s, "signature_invalid", token=sign("ES256", "b", header={"kid": "a"}))

    def test_kid_that_begins_like_another(self):
        """Names are compared whole, however long they are."""
        s = self.serve(jwk("ES256", "a") | {"kid": "k" * 255})
        s.ws(token=sign("ES256", "a", header={"kid": "k" * 255}))
        for n in 254, 256, 1000:
            self.refused(s, "key_unknown", token=sign("ES256", "a", header={"kid": "k" * n}))

    def test_logged_when_proved(self):
        """Whose a refused token says that it is stands in the log where the signature is right, and only there."""
        s = self.serve(jwk("ES256", "a"))
        s.get(token=sign("ES256", "b", header={"kid": "a"}, sub="root"))
        s.get(token=sign("ES256", "a", sub="root", exp=1))
        forged, late = (s.wait_log(event="reject", reason=x) for x in ("signature_invalid", "token_expired"))
        self.assertEqual((forged.get("kid"), forged.get("sub")), (None, None))
        self.assertEqual((late.get("kid"), late.get("sub")), ("a", "root"))

    def test_issuer_of_the_other(self):
        self.refused(self.s, "issuer_mismatch", "/a/x", token=self.a(iss="https://b"))
        self.refused(self.s, "issuer_mismatch", "/b/x", token=self.b(iss="https://a"))
        self.refused(self.s, "issuer_mismatch", "/a/x", token=self.a(iss="everyone"))
        self.refused(self.s, "issuer_mismatch", "/a/x", token=self.a(iss=None))
        self.refused(self.s, "issuer_mismatch", token=sign("HS256", "c", iss="https://a"))

    def test_beyond_its_ceiling(self):
        self.refused(self.s, "subject_denied", "/b/x", token=self.a(**self.grants("/b/*", "/*")))
        self.refused(self.s, "subject_denied", "/a", token=self.a(**self.grants("/*", "/a")))
        self.refused(self.s, "subject_denied", "/", token=self.a(permissions=None))
        self.s.ws("/a/x", token=self.a(**self.grants("/*")))
        # nor does the ceiling give what the token does not
        self.refused(self.s, "subject_denied", "/a/x", token=self.a(**self.grants("/a/y")))

    def test_token_use(self):
        t = self.b(exp=int(time.time()) + 2)
        first, second = self.s.ws("/b/x", token=t), self.s.ws("/b/y", token=t)
        one = self.a()
        self.s.ws("/a/x", token=one)
        self.refused(self.s, "token_used", "/a/x", token=one)
        self.assertEqual(first.closed(), (4401, "token_expired"))     # with many, always
        self.assertEqual(second.closed(), (4401, "token_expired"))

    def test_key_in_the_token(self):
        """jwk, jku, x5c: what a header brings with it is not looked at."""
        mine = ec.generate_private_key(ec.SECP256R1())
        p = mine.public_key().public_numbers()
        own = {"kty": "EC", "crv": "P-256", "x": number(p.x, 32), "y": number(p.y, 32), "kid": "a"}
        for more in ({"jwk": own}, {"jku": "http://127.0.0.1:1/"}, {"x5c": ["AAAA"]}, {"x5u": "file:///etc/passwd"}):
            t = jwt.encode(claims(iss="https://a"), mine, "ES256", headers={"kid": "a", **more})
            self.refused(self.s, "signature_invalid", "/a/x", token=t)


class Confusion(Keys):
    """The key fixes the algorithm, the header never does."""

    def test_public_key_as_hmac_secret(self):
        s = self.serve(jwk("RS256", "r"), jwk("ES256", "e"))
        der = [key(a, n)[0].public_key().public_bytes(serialization.Encoding.DER,
               serialization.PublicFormat.SubjectPublicKeyInfo) for a, n in (("RS256", "r"), ("ES256", "e"))]
        for kid in ("r", "e", None):
            for secret in (pem("RS256", "r"), pem("RS256", "r").strip(), pem("ES256", "e"), *der,
                           json.dumps(jwk("RS256", "r")).encode()):
                for alg, name in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
                    head = {"alg": alg, **({"kid": kid} if kid else {})}
                    self.refused(s, "alg_not_allowed", token=jws(head, claims(), secret, name))

    def test_none(self):
        s = self.serve(jwk("RS256", "r"))
        for alg in ("none", "None", "NONE", "nOnE", ""):
            for sig in ("", ".AA", "."):
                head, body = (b64(json.dumps(x).encode()) for x in ({"alg": alg, "kid": "r"}, claims()))
                got = s.get(token=f"{head}.{body}{sig}")
                self.assertEqual(got.status, 401)

    def test_other_hash(self):
        """Rightly signed by the right key, but not with the algorithm that the key is for."""
        s = self.serve(jwk("RS256", "r"), jwk("HS512", "h"), {**key("HS256", "i")[2], "kid": "i"})
        for alg in ("RS384", "RS512", "PS256"):
            self.refused(s, "alg_not_allowed", token=jwt.encode(claims(), key("RS256", "r")[0], alg, headers={"kid": "r"}))
        for alg in ("HS256", "HS384"):
            self.refused(s, "alg_not_allowed", token=jwt.encode(claims(), key("HS512", "h")[0], alg, headers={"kid": "h"}))
        self.refused(s, "alg_not_allowed", token=jwt.encode(claims(), key("HS256", "i")[0], "HS384", headers={"kid": "i"}))

    def test_signature_under_another_header(self):
        s = self.serve(jwk("RS256", "r"))
        head, body, sig = sign("RS256", "r").split(".")
        other = b64(b'{"alg":"RS256","kid":"r","typ":"JWT","x":1}')
        self.refused(s, "signature_invalid", token=f"{other}.{body}.{sig}")


class Malleable(Keys):
    """A token is what was signed: other spellings of its signature are the same token, or none."""

    def setUp(self):
        super().setUp()
        self.s = self.serve(jwk("ES256", "e"), jwk("RS256", "r"))

    def parts(self, alg, name):
        h, p, sig = sign(alg, name).split(".")
        return f"{h}.{p}", base64.urlsafe_b64decode(sig + "==")

    def test_ecdsa_second_signature(self):
        """(r, n - s) is as good as (r, s), and so must not open a second connection."""
        text, sig = self.parts("ES256", "e")
        s = int.from_bytes(sig[32:], "big")
        other = sig[:32] + (P256_ORDER - s).to_bytes(32, "big")
        self.s.ws(token=f"{text}.{b64(other)}")            # it is valid
        for x in (sig, other):
            self.refused(self.s, "token_used", token=f"{text}.{b64(x)}")

    def test_second_signing(self):
        """The same token signed anew has another signature."""
        k, c = key("ES256", "e")[0], claims()
        a, b = (jwt.encode(c, k, "ES256", headers={"kid": "e"}) for _ in range(2))
        self.assertNotEqual(a, b)
        self.s.ws(token=a)
        self.refused(self.s, "token_used", token=b)

    def test_second_base64(self):
        """The bits that fill up the last character, padding, the other alphabet."""
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for alg, name in (("ES256", "e"), ("RS256", "r")):
            t = sign(alg, name)
            self.s.ws(token=t)
            last = alphabet.index(t[-1])
            for other in (t[:-1] + alphabet[last ^ 1], t + "=", t + "==", t[:-1] + alphabet[last ^ 2]):
                self.refused(self.s, "token_malformed", token=other)

    def test_der_signature(self):
        text, sig = self.parts("ES256", "e")
        der = utils.encode_dss_signature(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
        self.refused(self.s, "signature_invalid", token=f"{text}.{b64(der)}")

    def test_zero_signature(self):
        text, sig = self.parts("ES256", "e")
        n = P256_ORDER.to_bytes(32, "big")
        for r in (bytes(32), n, sig[:32]):
            for s in (bytes(32), n):
                self.refused(self.s, "signature_invalid", token=f"{text}.{b64(r + s)}")

    def test_other_lengths(self):
        """Zeros before r and s, or before an RSA signature, make another length."""
        text, sig = self.parts("ES256", "e")
        for x in (b"\0" + sig[:32] + b"\0" + sig[32:], sig + b"\0", sig[:-1], b"\0\0" + sig):
            self.refused(self.s, "signature_invalid", token=f"{text}.{b64(x)}")
        text, sig = self.parts("RS256", "r")
        for x in (b"\0" + sig, sig + b"\0", sig[:-1], sig[1:]):
            self.refused(self.s, "signature_invalid", token=f"{text}.{b64(x)}")
        self.s.ws(token=f"{text}.{b64(sig)}")

    def test_rsa_plus_modulus(self):
        text, sig = self.parts("RS256", "r")
        n = key("RS256", "r")[0].public_key().public_numbers().n
        more = int.from_bytes(sig, "big") + n
        if more < 1 << 2048:
            self.refused(self.s, "signature_invalid", token=f"{text}.{b64(more.to_bytes(256, 'big'))}")
        self.s.ws(token=f"{text}.{b64(sig)}")


class Refused(Keys):
    """Files that must not be taken: one line that names file and key, exit 2."""

    def fails(self, file, what, *args):
        p = black.run("--listen", "127.0.0.1:0", *args, "--keys", file, env={})
        self.assertEqual(p.returncode, 2, p.err)
        lines = [x for x in p.err.splitlines() if x.startswith("sluice: ")]
        self.assertEqual(len(lines), 1)
        self.assertIn(what, lines[0])
        self.assertIn(file.split("=")[-1], lines[0])

    def test_sets(self):
        e, r = jwk("ES256"), jwk("RS256", "b")
        n = int.from_bytes(base64.urlsafe_b64decode(r["n"] + "=="), "big")
        short = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
        o = jwk("HS256", "c")
        for what, *keys in (
                ("key a: another key has its kid", e, jwk("RS256", "b", kid="a")),
                ("key b: the modulus has less than 2048 bits", e, {**r, "n": number(short)}),
                ("key b: the modulus has more than 4096 bits", e, {**r, "n": number(n << 2049 | 1)}),
                ("key b: the modulus is even", e, {**r, "n": number(n + 1)}),
                ("key b: the exponent is even or below 3", e, {**r, "e": "AQ"}),
                ("key b: the exponent is even or below 3", {**r, "e": "AQAA"}),
                ("key a: the point is not on its curve", {**e, "y": e["x"]}),
                ("key a: is a private key", {**key("ES256")[1], "kid": "a"}),
                ("key 2: is a private key", e, key("RS256", "b")[1]),
                ("key c: the secret is empty", {**o, "k": ""}),
                ("key c: the secret is shorter than", {**o, "k": b64(bytes(31))}),
                ("key c: the secret is shorter than", {**o, "alg": "HS512", "k": b64(bytes(63))}),
                ("key c: the secret is a key in PEM", {**o, "k": b64(pem("RS256"))}),
                ("key 2: kty is missing", e, {"n": "AQAB"}),
                ("key c: a member has the wrong type or value", {**o, "issuer": 1}),
                ("key c: a member has the wrong type or value", {**o, "permissions": {"sub": ["a"]}}),
                ("key c: token_use is neither once nor many", {**o, "token_use": "never"}),
                ("holds no key for sluice", {**r, "use": "enc"}, {**r, "alg": "PS512"}),
                ("holds no key for sluice",)):
            with self.subTest(what):
                self.fails(self.file(*keys), what)

    def test_files(self):
        private = key("ES256")[0].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                serialization.NoEncryption())
        for what, text in (("is a private key", private), ("cut or damaged", pem("ES256")[:100]),
                           ("holds more than a public key", pem("ES256") * 2),
                           ("is neither", b"secret"), ("is neither", b""), ("is no JSON", b'{"keys":[]'),
                           ("keys is no array", b'{"keys":{}}'), ("is too long", b" " * 70000)):
            with self.subTest(what):
                self.fails(self.path("key", text), what)
        self.fails("/nonexistent/keys", "No such file")
        self.fails("k=" + self.file(jwk("ES256")), "a JWK has its own kid")
        self.fails("=x", "wanted FILE or KID=FILE")

    def test_two_files_one_kid(self):
        f = self.file(jwk("ES256"))
        self.fails("a=" + self.path("a.pem", pem("RS256")), "another key has its kid", "--keys", f)

    def test_secret_file_that_is_a_public_key(self):
        p = black.run("--listen", "127.0.0.1:0", "--secret-file", self.path("s", pem("RS256")), env={})
        self.assertEqual(p.returncode, 2)
        self.assertRegex(p.err, "secret-file .*: the secret is a key in PEM or DER")

    def test_too_many(self):
        files = [x for _ in range(17) for x in ("--keys", "/x")]
        p = black.run(*files, env={})
        self.assertEqual(p.returncode, 2)
        self.assertRegex(p.err, "--keys /x: too many")
        keys = [{"kty": "oct", "k": b64(os.urandom(32))} for _ in range(65)]
        self.fails(self.file(*keys), "key 65: there are too many keys")
        self.server("--keys", self.file(*keys[:64]), secret=None)

    def test_with_no_auth(self):
        p = black.run("--no-auth", "--keys", self.file(jwk("ES256")), env={})
        self.assertEqual(p.returncode, 2)
        self.assertIn("leave out --keys", p.err)

    def test_weak(self):
        """--allow-weak-secret holds for oct keys too."""
        short = {"kty": "oct", "alg": "HS384", "k": b64(b"weak"), "kid": "w"}
        s = self.serve(short, args=["--allow-weak-secret"])
        s.ws(token=jwt.encode(claims(), b"weak", "HS384", headers={"kid": "w"}))


class Turns(Keys):
    def test_renewals(self):
        """One signature in a turn of the loop: who asks for less does not wait for all."""
        for parts in 1, 2:
            with self.subTest(parts):
                s = self.serve(jwk("ES256"))
                clients = [s.ws("/", v1.OFFER, token=sign("ES256")) for _ in range(6)]
                other = s.ws(token=sign("ES256"))
                ends = []
                for c in clients:
                    self.assertEqual(json.loads(c.message())["op"], "ready")
                    m = json.dumps({"op": "auth", "token": sign("ES256")}).encode()
                    cut = len(m) * (parts - 1) // 2
                    if cut:
                        c.send_frame(TEXT, m[:cut], fin=False)
                        c.send_frame(PING, b"")
                        self.assertEqual(c.frame(), (PONG, b""))
                    ends.append((c, 0 if cut else TEXT, m[cut:]))
                s.kill(signal.SIGSTOP)
                self.addCleanup(s.kill, signal.SIGCONT)
                for c, op, m in ends:
                    c.send_frame(op, m)
                other.send_frame(CLOSE, b"")
                s.kill(signal.SIGCONT)
                for c in clients:
                    self.assertEqual(json.loads(c.message())["op"], "ready")
                s.wait_log(event="close")
                events = [r["event"] for r in s.records if r["event"] in ("renew", "close")]
                self.assertLess(events.index("close"), 2)


class Reload(Keys):
    def hup(self, s, level="info"):
        n = len(s.log(event="reload"))
        s.kill(signal.SIGHUP)
        r = s.wait_log(n + 1, event="reload")
        self.assertEqual(r["level"], level)
        return r

    def lives(self, s, *clients):
        s.feed(b"x\n")
        for c in clients:
            self.assertEqual(c.message(), b"x")

    def test_key_gone_others_stay(self):
        s = self.serve(jwk("ES256", "a"), jwk("ES256", "b"), jwk("RS256", "c"), stdin=subprocess.PIPE)
        a, b, c = (s.ws(token=sign(alg, n)) for alg, n in (("ES256", "a"), ("ES256", "b"), ("RS256", "c")))
        self.file(jwk("RS256", "c"), jwk("HS256", "d"), jwk("ES256", "a"))     # in another order
        self.hup(s)
        self.assertEqual(b.closed(), (4401, "key_unknown"))
        self.lives(s, a, c)
        self.refused(s, "key_unknown", token=sign("ES256", "b"))
        d = s.ws(token=sign("HS256", "d"))
        self.file(jwk("HS256", "d"))                      # the indices have changed; the keys count
        self.hup(s)
        self.assertEqual(a.closed(), (4401, "key_unknown"))
        self.assertEqual(c.closed(), (4401, "key_unknown"))
        self.lives(s, d)

    def test_unchanged(self):
        s = self.serve(jwk("ES256", "a"), jwk("RS256", "b"))
        a, b = s.ws(token=sign("ES256", "a")), s.ws(token=sign("RS256", "b"))
        t = sign("ES256", "a")
        s.ws(token=t)
        for _ in range(3):
            self.hup(s)
        self.lives(s, a, b)
        self.refused(s, "token_used", token=t)

    def test_changed_in_any_respect(self):
        for change in ({"issuer": "i"}, {"permissions": {"sub": ["/"]}}, {"token_use": "many"}):
            s = self.serve(jwk("ES256", "a"))
            c = s.ws(token=sign("ES256", "a"))
            self.file(jwk("ES256", "a", **change))
            self.hup(s)
            self.assertEqual(c.closed(), (4401, "key_unknown"))
            s.stop()

    def test_rotation(self):
        """The new key is added, later the old one leaves."""
        s = self.serve(jwk("ES256", "old"))
        a = s.ws(token=sign("ES256", "old"))
        self.file(jwk("ES256", "old"), jwk("ES256", "new"))
        self.hup(s)
        b = s.ws(token=sign("ES256", "new"))
        self.lives(s, a, b)
        self.file(jwk("ES256", "new"))
        self.hup(s)
        self.assertEqual(a.closed(), (4401, "key_unknown"))
        self.lives(s, b)

    def test_bad_keeps_the_old(self):
        s = self.serve(jwk("ES256", "a"), jwk("RS256", "b"))
        a, b = s.ws(token=sign("ES256", "a")), s.ws(token=sign("RS256", "b"))
        for bad in (b"", b"{", b'{"keys":[]}', json.dumps({"keys": [jwk("ES256", "a"), key("ES256", "x")[1]]}).encode(),
                    json.dumps({"keys": [jwk("RS256", "c"), jwk("ES256", "c")]}).encode(), None):
            if bad is None:
                os.unlink(os.path.join(self.tmp, "keys.json"))
            else:
                self.path("keys.json", bad)
            r = self.hup(s, "error")
            self.assertRegex(r["msg"], r"--keys .*keys\.json: .*; the old keys stay")
            s.ws(token=sign("ES256", "a"))
            s.ws(token=sign("RS256", "b"))
        self.assertEqual(s.log(event="close"), [])
        self.lives(s, a, b)

    def test_secret_of_the_environment_stays(self):
        s = self.server("--keys", self.file(jwk("ES256", "a")))
        a, m = s.ws(token=sign("ES256", "a")), s.ws(token=mint())
        self.file(jwk("RS256", "b"))
        self.hup(s)
        self.assertEqual(a.closed(), (4401, "key_unknown"))
        self.lives(s, m, s.ws(token=mint()), s.ws(token=sign("RS256", "b")))

    def test_fifo_is_read_once(self):
        fifo = os.path.join(self.tmp, "fifo")
        os.mkfifo(fifo)

        def write():
            with open(fifo, "wb") as f:
                f.write(json.dumps({"keys": [jwk("ES256", "a")]}).encode())
        threading.Thread(target=write, daemon=True).start()
        s = self.server("--keys", fifo, "--keys", self.file(jwk("RS256", "b")), secret=None)
        a, b = s.ws(token=sign("ES256", "a")), s.ws(token=sign("RS256", "b"))
        self.file(jwk("RS256", "c"))
        self.hup(s)
        self.assertEqual(b.closed(), (4401, "key_unknown"))
        self.lives(s, a, s.ws(token=sign("ES256", "a")), s.ws(token=sign("RS256", "c")))

    def test_no_auth(self):
        s = self.server(auth=False)
        c = s.ws()
        self.assertEqual(self.hup(s)["msg"], "nothing to read")
        self.lives(s, c)


class Commands(Keys):
    def test_token(self):
        for alg in ("HS256", "HS384", "HS512"):
            f = self.file(jwk("ES256", "e"), jwk(alg, "k\u00e9y"))
            p = black.run("token", "--keys", f, "--kid", "k\u00e9y", "--subject", "s")
            self.assertEqual((p.returncode, p.err), (0, ""))
            got = jwt.decode(p.out.strip(), key(alg, "k\u00e9y")[0], [alg])
            self.assertEqual(got["sub"], "s")
            head = jwt.get_unverified_header(p.out.strip())
            self.assertEqual((head["alg"], head["kid"]), (alg, "k\u00e9y"))
            self.assertEqual(self.check(f, p.out.strip())[0], 0)

    def test_token_refused(self):
        f = self.file(jwk("ES256", "e"), jwk("HS256", "h"))
        for what, *args in (("no such key", "--keys", f, "--kid", "x"), ("cannot sign", "--keys", f, "--kid", "e"),
                            ("goes with --kid", "--keys", f),
                            ("goes with --kid", "--keys", f, "--kid", "h", "--secret-file", f),
                            ("No such file", "--keys", "/nonexistent", "--kid", "h")):
            p = black.run("token", *args, env={})
            self.assertEqual((p.returncode, p.out), (2, ""))
            self.assertIn(what, p.err)

    def check(self, file, token, *args):
        p = subprocess.run([SLUICE, "check", "--keys", file, *args, token], text=True, capture_output=True,
                           timeout=black.WAIT, env={})
        return p.returncode, p.stdout

    def test_check(self):
        f = self.file(jwk("ES256", "plant", permissions={"sub": ["/plant/*"]}, issuer="https://p", token_use="many"),
                      jwk("RS256", "b"))
        t = {"iss": "https://p"}
        code, out = self.check(f, sign("ES256", "plant", **t, **self.grants("/plant/a", "/plant/b/*")))
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r"one such key: plant, ES256\n")
        self.assertRegex(out, r"it grants sub /plant/a sub /plant/b/\*\n")
        self.assertRegex(out, r"its key allows at most sub /plant/\*\n")
        self.assertRegex(out, r"so all of it holds\n")
        self.assertRegex(out, r"\nwould be let in\n\Z")
        code, out = self.check(f, sign("ES256", "plant", **t, **self.grants("/*")))
        self.assertEqual(code, 0)
        self.assertRegex(out, r"so no more holds than is in both\n")
        for reason, token in (("403 subject_denied", sign("ES256", "plant", **t, **self.grants("/x/*"))),
                              ("401 issuer_mismatch", sign("ES256", "plant")),
                              ("401 key_unknown", sign("ES256", "plant", header={"kid": "x"})),
                              ("401 alg_not_allowed", sign("ES256", "plant", header={"kid": "b"})),
                              ("401 signature_invalid", sign("RS256", "other", header={"kid": "b"}))):
            code, out = self.check(f, token)
            self.assertEqual(code, 1)
            self.assertRegex(out, rf"\A((ok|no|  )  .+\n)+would be refused: {reason}\n\Z")

    def test_check_bad_file(self):
        p = black.run("check", "--keys", self.path("x", b"x"), "a.b.c", env={})
        self.assertEqual(p.returncode, 2)
