"""Tokens (contract 2): every reason that one secret can give, and their order."""
import asyncio, itertools, json, os, time
import jwt, websockets
import black
from black import SECRET, b64, claims, jws, mint, node, run, until

HEAD = {"alg": "HS256"}


def raw(text, header=HEAD, **more):
    """A token whose claims are the usual ones and then this JSON text."""
    return jws(header, (json.dumps(claims(**more))[:-1] + ", " + text + "}").encode())


def with_exp(text):
    return raw(f'"exp": {text}', exp=None)


def nest(depth):
    """An object that holds arrays, depth deep in all."""
    return b'"x":' + b"[" * (depth - 1) + b"]" * (depth - 1)


class Refusals(black.Case):
    """The five that matter most."""

    def setUp(self):
        super().setUp()
        self.s = self.server()

    def test_no_token(self):
        self.refused(self.s, "token_missing", token=None)
        self.refused(self.s, "token_missing", "/", "Authorization: Basic YTpi", token=None)

    def test_invalid_token(self):
        self.refused(self.s, "signature_invalid", token=mint(b"another secret, quite as long as ours"))
        h, p, sig = mint().split(".")
        flipped = ("A" if sig[0] != "A" else "B") + sig[1:]
        self.refused(self.s, "signature_invalid", token=f"{h}.{p}.{flipped}")
        self.refused(self.s, "signature_invalid", token=f"{h}.{b64(json.dumps(claims()).encode())}.{sig}")
        for short in (sig[:-3], sig + "AAAA", "AAAA"):
            self.refused(self.s, "signature_invalid", token=f"{h}.{p}.{short}")
        self.refused(self.s, "token_malformed", token="nonsense")

    def test_token_without_expiry(self):
        self.refused(self.s, "exp_missing", token=mint(exp=None))

    def test_expired_token(self):
        self.refused(self.s, "token_expired", token=mint(exp=int(time.time())))
        self.refused(self.s, "token_expired", token=mint(exp=int(time.time()) - 1000))

    def test_token_already_used(self):
        t = mint()
        c = self.s.ws(token=t)
        self.refused(self.s, "token_used", token=t)
        c.send_frame(black.CLOSE, b"\x03\xe8")
        c.closed()
        self.s.wait_log(event="close")
        self.refused(self.s, "token_used", token=t)


class Order(black.Case):
    """Of two faults the one that stands first in the contract is the reason."""

    def test_pairs(self):
        s = self.server("--issuer", "me", "--audience", "us", "--used-tokens", 1,
                        "--metrics", f"unix:{self.tmp}/m")
        now = int(time.time())
        good = {"iss": "me", "aud": "us"}
        first = mint(**good)
        s.ws(token=first)                    # the ring is full from here on

        def header(**h):
            return lambda t: t["header"].update(h)

        def claim(**c):
            return lambda t: t["claims"].update(c)

        def drop(name):
            return lambda t: t["claims"].pop(name)

        def say(key, value):
            return lambda t: t.__setitem__(key, value)

        # In the contract's order; the third is the claim that a fault occupies.
        faults = [
            ("token_malformed", header(crit=["x"]), "crit"),
            ("alg_not_allowed", header(alg="none"), "alg"),
            ("signature_invalid", say("secret", b"z" * 40), "secret"),
            ("token_malformed", say("tail", ', "x": 1, "x": 2'), "tail"),
            ("exp_missing", drop("exp"), "exp"),
            ("claim_invalid", claim(sub=5), "sub"),
            ("token_expired", claim(exp=now - 100), "exp"),
            ("token_not_yet_valid", claim(nbf=now + 1000), "nbf"),
            ("ttl_too_long", claim(exp=now + 7200), "exp"),
            ("issuer_mismatch", claim(iss="you"), "iss"),
            ("audience_mismatch", claim(aud="them"), "aud"),
            ("subject_denied", say("path", "/other"), "path"),
            ("issued_before_start", claim(iat=now - 1000), "iat"),
            ("ring_full", lambda t: None, "ring"),
        ]
        tally = {}
        for some in itertools.chain(itertools.combinations(faults, 1), itertools.combinations(faults, 2)):
            if len({f[2] for f in some}) < len(some):
                continue
            t = {"header": dict(HEAD), "claims": {**claims(), **good}, "secret": SECRET,
                 "tail": "", "path": "/"}
            for _, fault, _ in some:
                fault(t)
            payload = (json.dumps(t["claims"])[:-1] + t["tail"] + "}").encode()
            with self.subTest([f[0] for f in some]):
                self.refused(s, some[0][0], t["path"], token=jws(t["header"], payload, t["secret"]))
            tally[some[0][0]] = tally.get(some[0][0], 0) + 1
        # A used token is one that was good once: only what the request adds can come before.
        for reason, path in (("token_used", "/"), ("subject_denied", "/other")):
            self.refused(s, reason, path, token=first)
            tally[reason] = tally.get(reason, 0) + 1
        m = self.metrics(s, f"{self.tmp}/m")
        got = {k.split('"')[1]: v for k, v in m.items() if k.startswith("sluice_rejects_total{") and v}
        self.assertEqual(got, tally)
        self.assertEqual(m["sluice_accepts_total"], 1)
        self.assertEqual(m["sluice_used_tokens"], 1)

    def test_before_the_token(self):
        """Request, origin and room are looked at before the token is."""
        s = self.server("--origin", "https://good.example", "--max-clients", 1)
        evil = "Origin: https://evil.example"
        self.refused(s, "bad_request", "/a//b", evil, token="x")
        self.refused(s, "upgrade_required", "/", evil, token="x", drop=("Upgrade", "Connection"))
        self.refused(s, "method_not_allowed", "/", evil, token="x", method="DELETE")
        self.refused(s, "origin_denied", "/", evil, token="x")
        s.ws()
        self.refused(s, "origin_denied", "/", evil, token=None)
        self.refused(s, "too_many_clients", token=None)
        self.refused(s, "too_many_clients", token="x")


class Form(black.Case):
    """token_malformed, and what just escapes it."""

    def setUp(self):
        super().setUp()
        self.s = self.server()

    def malformed(self, *tokens):
        for t in tokens:
            with self.subTest(t):
                self.refused(self.s, "token_malformed", token=t)

    def test_parts(self):
        h, p, sig = mint().split(".")
        self.malformed(f"{h}.{p}", f"{h}.{p}.", f".{p}.{sig}", f"{h}..{sig}", f"{h}.{p}.{sig}.",
                       f"{h}.{p}.{sig}.{sig}", "..", ".", "a", h, f"{h}.{p}.{sig}.AA.BB")

    def test_base64url(self):
        """RFC 4648 5, canonical: no padding, no stray bits, one alphabet."""
        t = mint()
        h, p, sig = t.split(".")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        self.assertEqual(len(sig), 43)       # 32 bytes: the last character has two bits too many
        last = alphabet.index(sig[-1])
        self.assertEqual(last % 4, 0)
        others = [f"{h}.{p}.{sig[:-1]}{alphabet[last + i]}" for i in (1, 2, 3)]
        self.malformed(*others)
        self.malformed(f"{h}.{p}.{sig}=", f"{h}=.{p}.{sig}", f"{h}.{p}=.{sig}", f"{h}.{p}.{sig}==",
                       f"{h}.{p}.{sig[:-2]}", f"{h}.{p}.+{sig[1:]}", f"{h}.{p}./{sig[1:]}",
                       f"{h}.{p}.*{sig[1:]}", f"{h}.{p}.\xe9{sig[1:]}", f"{h}.{p}.%2d{sig[1:]}")
        # Parts of each length, with stray bits: "ab" leaves 4, "abc" leaves 2.
        for n, step in ((1, 16), (2, 4)):
            part = b64(b'{"alg":"HS256"}' + b" " * n)
            bad = part[:-1] + alphabet[alphabet.index(part[-1]) + 1]
            self.assertEqual(len(part) % 4, n + 1)
            self.assertEqual(alphabet.index(part[-1]) % step, 0)
            self.malformed(f"{bad}.{p}.{sig}")
        self.s.ws(token=t)                   # refused forms have not consumed it
        self.malformed(*others)              # nor is another form of a used one let in

    def test_length(self):
        """4 KiB is the most."""
        def sized(total):
            for kid in range(4):             # base64url comes in steps: two paddings reach all
                for n in range(2800, 3000):
                    t = mint(header={"kid": "k" * kid}, pad="p" * n)
                    if len(t) == total:
                        return t
        for total, good in ((4096, True), (4097, False), (4100, False)):
            t = sized(total)
            self.assertEqual(len(t), total)
            with self.subTest(total):
                if good:
                    self.s.ws(token=t)
                else:
                    self.malformed(t)
        self.malformed("x" * 4097, "a.b." + "c" * 5000)

    def test_header_json(self):
        for h in (b"[]", b'"x"', b"5", b"null", b"", b" ", b"{", b'{"alg":"HS256"', b'{"alg":"HS256",}',
                  b'{"alg":"HS256"}x', b'{"alg":"HS256"}{}', b'{alg:"HS256"}', b"{'alg':'HS256'}",
                  b'{"alg":"HS256","alg":"HS256"}', b'{"alg":"HS256","\\u0061lg":"HS256"}',
                  b'{"alg":"HS256","x":{"y":1,"y":2}}', b'{"alg":"HS256","x":[{"y":1,"y":2}]}',
                  b'{"alg":"HS256","x":01}', b'{"alg":"HS256","x":1.}', b'{"alg":"HS256","x":.5}',
                  b'{"alg":"HS256","x":+1}', b'{"alg":"HS256","x":NaN}', b'{"alg":"HS256","x":-}',
                  b'{"alg":"HS256","x":1e}', b'{"alg":"HS256","x":tru}', b'{"alg":"HS256","x":"\t"}',
                  b'{"alg":"HS256","x":"\\x41"}', b'{"alg":"HS256","x":"\\u12"}', b'{"alg":"HS256" "x":1}',
                  b'{"alg":"HS256","x":"\xff"}', b'{"alg":"HS256","x":"\xc0\xaf"}',
                  b'{"alg":"HS256","x":"\xed\xa0\x80"}', b'{"alg":"HS256","\xf4\x90\x80\x80":1}',
                  b'\xef\xbb\xbf{"alg":"HS256"}', b'{"alg":"HS256",' + nest(17) + b"}",
                  b'{"alg":"HS256","x":' + b'{"x":' * 16 + b"1" + b"}" * 16 + b"}"):
            with self.subTest(h):
                self.refused(self.s, "token_malformed", token=jws(h, claims()))
        for h in (b' {\r\n\t"alg" : "HS256" } ', b'{"\\u0061lg":"HS256"}', b'{"alg":"\\u0048S256"}',
                  b'{"alg":"HS256",' + nest(16) + b"}", b'{"alg":"HS256","x":{"alg":"none"}}',
                  b'{"alg":"HS256","x":[-0,1.5E+3,true,false,null,"\\ud83d\\ude00\xf0\x9f\x98\x80"]}',
                  b'{"alg":"HS256","":{"":[]}}'):
            with self.subTest(h):
                self.s.ws(token=jws(h, claims()))

    def test_many_names(self):
        """As many as 4 KiB hold: nothing but their repetition is wrong with names."""
        for more in ({f"{i:x}": 1 for i in range(300)},
                     {"x": {f"{i:x}": {} for i in range(150)}, "y": [{"a": 1}] * 100}):
            token = mint(**more)
            self.assertLess(3500, len(token))
            self.assertLessEqual(len(token), 4096)
            self.s.ws(token=token)
        self.refused(self.s, "token_malformed", token=jws(HEAD, (json.dumps(claims(
            **{f"c{i}": 1 for i in range(100)}))[:-1] + ', "c50": 1}').encode()))

    def test_header_members(self):
        for h in ({"crit": []}, {"crit": ["exp"]}, {"crit": None}, {"b64": True}, {"b64": False},
                  {"typ": "JWS"}, {"typ": ""}, {"typ": 5}, {"typ": None}, {"typ": ["JWT"]},
                  {"typ": "JWT "}, {"typ": "application/jwt+x"}):
            with self.subTest(h):
                self.refused(self.s, "token_malformed", token=mint(header=h))
        for h in ({"typ": "jwt"}, {"typ": "Jwt"}, {"typ": "at+jwt"}, {"typ": "AT+JWT"},
                  {"kid": "anyone"}, {"x5u": "https://evil.example/", "jku": "https://evil.example/",
                                      "jwk": {"kty": "oct", "k": "AAAA"}}):
            with self.subTest(h):
                self.s.ws(token=mint(header=h))
        self.s.ws(token=jws(HEAD, claims()))

    def test_alg(self):
        for h in ({}, {"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": "hs256"},
                  {"alg": "HS384"}, {"alg": "HS512"}, {"alg": "RS256"}, {"alg": "ES256"},
                  {"alg": "HS256 "}, {"alg": "HS2567"}, {"alg": "HS25"}, {"alg": "EdDSA"}):
            with self.subTest(h):
                self.refused(self.s, "alg_not_allowed", token=jws(h, claims()))
        for alg in ("HS384", "HS512"):       # even rightly signed: a secret verifies HS256
            t = jws({"alg": alg}, claims(), alg="sha" + alg[2:])
            self.refused(self.s, "alg_not_allowed", token=t)
        for alg in (5, None, ["HS256"], {"HS256": 1}):
            with self.subTest(alg):
                self.refused(self.s, "alg_not_allowed", token=jws({"alg": alg}, claims()))

    def test_payload_json(self):
        c = json.dumps(claims())[:-1].encode()
        for p in (b"[]", b"null", b"", b"x", c, c + b",}", c + b"}}", c + b',"exp":1}',
                  c + b',"x":"\xff"}', c + b"," + nest(17) + b"}", c + b',"x":{"a":1,"\\u0061":2}}',
                  c + b',"x":1e+}'):
            with self.subTest(p):
                self.refused(self.s, "token_malformed", token=jws(HEAD, p))
        self.s.ws(token=jws(HEAD, c + b"," + nest(16) + b"}"))
        self.s.ws(token=jws(HEAD, b"\n " + c + b',"x":"\xc3\xa9\\"","y":{"exp":1}}\t'))


class Claims(black.Case):
    def test_exp_numbers(self):
        """Read without floating point, and without its limits."""
        s = self.server("--metrics", f"unix:{self.tmp}/m")
        now = time.time()
        for text, reason in (
                ("1.7e9", "token_expired"), ("1700000000.5", "token_expired"), ("0", "token_expired"),
                ("-1", "token_expired"), ("-1e300", "token_expired"), ("1e-400", "token_expired"),
                ("-0", "token_expired"), ("0.0000e5", "token_expired"), ("-99999999999999999999", "token_expired"),
                ("17E+8", "token_expired"), ("1e400", "claim_invalid"), ("-1e400", "claim_invalid"),
                ("1e309", "claim_invalid"), ("1e99999999999999999999", "claim_invalid"),
                ("1e308", "ttl_too_long"), ("9223372036854775807", "ttl_too_long"),
                ("9223372036854775808", "ttl_too_long"), ("18446744073709551616", "ttl_too_long"),
                ("18446744073709551615999", "ttl_too_long"), ("9223372036854775.807", "ttl_too_long"),
                ("9223372036854775808e-3", "ttl_too_long"),
                ("1" + "0" * 300, "ttl_too_long"), ("1" + "0" * 400, "claim_invalid"),
                ('"5"', "claim_invalid"), (f'"{int(now) + 60}"', "claim_invalid"),
                ("null", "claim_invalid"), ("true", "claim_invalid"), ("[]", "claim_invalid"),
                ("{}", "claim_invalid"), (f"[{int(now) + 60}]", "claim_invalid")):
            with self.subTest(text):
                self.refused(s, reason, token=with_exp(text))
        soon = int(now) + 1000
        for text in (f"{soon}.5", f"{soon / 1e9:.9f}e9", f"{soon}000e-3", f"{soon}." + "0" * 100 + "1",
                     f"{soon}.0e+0", f"0.{soon}e10", f"{soon}" + "0" * 50 + "e-50"):
            with self.subTest(text):
                s.ws(token=with_exp(text))

    def test_no_bound(self):
        """--max-ttl 0: as far ahead as they like."""
        s = self.server("--max-ttl", 0)
        for text in ("9223372036854775807", "18446744073709551616", "1e30", "1e308", "253402300800"):
            with self.subTest(text):
                s.ws(token=with_exp(text))
        s.feed(b"x\n")

    def test_no_bound_enforced(self):
        """An end beyond every timer is none."""
        s = self.server("--max-ttl", 0, "--token-use", "many")
        far = [s.ws(token=with_exp(t)) for t in ("9223372036854775807", "1e30", "9223372036854775",
                                                  "4294967296", "99999999999")]
        c = s.ws(token=mint(exp=int(time.time()) + 2))
        self.assertEqual(c.closed()[0], 4401)
        s.feed(b"still here\n")
        for c in far:
            self.assertEqual(c.message(), b"still here")

    def test_types(self):
        s = self.server()
        for c in ({"nbf": "1"}, {"nbf": []}, {"iat": "1"}, {"iat": True}, {"iat": {}}, {"iss": 5}, {"sub": ["a"]},
                  {"jti": 5}, {"sub": {}}, {"aud": 5}, {"aud": [5]}, {"aud": ["a", None]}, {"aud": {}},
                  {"aud": True}, {"session": 0}, {"session": -1}, {"session": "1"}, {"session": []}):
            with self.subTest(c):
                self.refused(s, "claim_invalid", token=mint(**c))
        for text in ('"nbf": 1e400', '"session": 1e400', '"session": 0.0', '"session": -0', '"iss": null', '"sub": null',
                     '"nbf": null', '"aud": null', '"session": null', '"aud": ["a", ["b"]]'):
            with self.subTest(text):
                self.refused(s, "claim_invalid", token=raw(text))
        self.refused(s, "claim_invalid", token=raw('"iat": -1e400', iat=None))
        for c in ({"nbf": 0}, {"nbf": 1.5}, {"nbf": -1e300}, {"aud": []}, {"aud": ["a", "b"]}, {"aud": ""},
                  {"session": 0.25}, {"session": 1e300}, {"iat": int(time.time()) + 0.5},
                  {"iat": int(time.time()) + 1000}, {"jti": ""}, {"jti": None, "sub": ""}):
            with self.subTest(c):
                s.ws(token=mint(**c))

    def test_permissions_form(self):
        s = self.server()
        for p in (5, [], "x", {"sub": "/"}, {"sub": [5]}, {"sub": ["/a/+b"]}, {"pub": ["/*/a"]},
                  {"all": ["/a*"]}, {"sub": ["/a/*", "/*b"]}, None):
            with self.subTest(p):
                self.refused(s, "claim_invalid", token=raw(f'"permissions": {json.dumps(p)}'))

    def test_issuer(self):
        s = self.server("--issuer", "me")
        for iss in (None, "", "ME", "me ", "mex", "m", "me\0"):
            with self.subTest(iss):
                self.refused(s, "issuer_mismatch", token=mint(iss=iss))
        s.ws(token=mint(iss="me"))
        s.ws(token=raw('"iss": "\\u006de"'))

    def test_audience(self):
        s = self.server("--audience", "us")
        for aud in (None, "", "them", [], ["them"], ["u", "s"], ["US", "us "]):
            with self.subTest(aud):
                self.refused(s, "audience_mismatch", token=mint(aud=aud))
        for aud in ("us", ["us"], ["them", "us"], ["us", "them"]):
            s.ws(token=mint(aud=aud))

    def test_subject_denied(self):
        """Without permissions a token opens / and nothing else; and is not consumed by asking."""
        s = self.server()
        t = mint(sub="alice")
        for path in ("/x", "/a/b", "/%20"):
            self.refused(s, "subject_denied", path, token=t)
        s.ws(token=t)
        got = s.wait_log(event="accept")
        self.assertEqual((got["sub"], got["subject"]), ("alice", "/"))
        self.assertRegex(got["client"], r"^127\.0\.0\.1:\d+$")

    def test_max_ttl(self):
        s = self.server("--max-ttl", 100)
        now = int(time.time())
        self.refused(s, "ttl_too_long", token=mint(exp=now + 130))
        s.ws(token=mint(exp=now + 99))
        s = self.server()
        self.refused(s, "ttl_too_long", token=mint(exp=now + 3700))
        s.ws(token=mint(exp=now + 3590))

    def test_leeway(self):
        s = self.server("--leeway", 100)
        now = int(time.time())
        s.ws(token=mint(exp=now - 50))
        s.ws(token=mint(nbf=now + 50))
        self.refused(s, "token_expired", token=mint(exp=now - 101))
        self.refused(s, "token_not_yet_valid", token=mint(nbf=now + 150))


class Times(black.Case):
    """At the very millisecond, with a clock that stands still."""

    T = black.SOON

    def at(self, *args, start=None):
        self.clock = black.Clock(self)
        self.clock.set(start or self.T)
        return self.server(*args, clock=self.clock)

    def ask(self, s, reason=None, **c):
        t = jws(HEAD, {k: v for k, v in {"iat": self.T, "exp": self.T + 60, "jti": os.urandom(8).hex(),
                                         **c}.items() if v is not None})
        with self.subTest(c):
            if reason:
                self.refused(s, reason, token=t)
            else:
                s.ws(token=t)
        return t

    def test_limits(self):
        for leeway in (0, 7):
            T, s = self.T, self.at("--leeway", leeway)
            self.clock.set(T + 10)
            self.ask(s, "token_expired", exp=T + 10 - leeway)
            self.ask(s, exp=T + 11 - leeway)
            self.ask(s, "token_expired", exp=T + 9.999 - leeway)
            self.ask(s, exp=T + 10.001 - leeway)
            self.ask(s, nbf=T + 10 + leeway)
            self.ask(s, "token_not_yet_valid", nbf=T + 11 + leeway)
            self.ask(s, "token_not_yet_valid", nbf=T + 10.001 + leeway)
            self.ask(s, exp=T + 10 + 3600)
            self.ask(s, "ttl_too_long", exp=T + 3610.001)
            self.clock.set(T + 10.999)
            self.ask(s, exp=T + 11 - leeway)
            self.clock.set(T + 11)
            self.ask(s, "token_expired", exp=T + 11 - leeway)

    def test_start(self):
        """Earlier than the second of the start: not known to the ring."""
        T, s = self.T, self.at(start=self.T + 0.7)
        self.ask(s, iat=T)
        self.ask(s, iat=T + 0.1)
        self.ask(s, "issued_before_start", iat=T - 1)
        self.ask(s, "issued_before_start", iat=T - 0.001)
        self.ask(s, "issued_before_start", iat=0)
        s = self.at("--token-use", "many")
        self.ask(s, iat=T - 1000)

    def test_after_2038(self):
        """Times that 32 bits do not hold, in tokens, the log, the file of used tokens."""
        for T in ((1 << 31) + 100, (1 << 32) + 100):
            with self.subTest(T):
                self.T, args = T, ("--used-tokens-file", self.path(f"used{T}"))
                s = self.at(*args)
                self.assertEqual(s.log(event="listening")[0]["ts"], time.strftime("%FT%T.000Z", time.gmtime(T)))
                t = self.ask(s)
                self.refused(s, "token_used", token=t)
                self.ask(s, "token_expired", exp=T)
                self.ask(s, "token_not_yet_valid", nbf=T + 1)
                self.ask(s, "ttl_too_long", exp=T + 3601)
                self.ask(s, exp=T - (1 << 31) + 60, reason="token_expired")
                s.kill9()
                s = self.at(*args)
                self.refused(s, "token_used", token=t)
                self.ask(s)
                p = black.run("token", env={"SLUICE_SECRET": SECRET.decode(), "FAKE_CLOCK": self.clock.path,
                                            "LD_PRELOAD": self.clock.lib,
                                            "ASAN_OPTIONS": "exitcode=99:verify_asan_link_order=0"})
                self.assertEqual(s.get(token=p.out.strip()).status, 101, p)

    def test_clock_unset(self):
        s = self.at(start=1000000)
        self.assertTrue(s.log(event="listening")[0]["ts"].startswith("1970-01-12T13:46:40.000"))
        now = 1000000
        s.wait_log(event="config", level="warn", msg="the clock is earlier than sluice's sources: tokens are "
                   "refused, clock_unset, until it is set")
        self.ask(s, "clock_unset", iat=now, exp=now + 60)
        self.ask(s, "clock_unset", iat=now, exp=now - 60)
        self.ask(s, "exp_missing", exp=None)
        self.ask(s, "claim_invalid", sub=5)
        self.clock.set(self.T + 1)
        self.ask(s)

    def test_clock_set_after_start(self):
        """What was let in before a restart is refused, though this start saw no clock."""
        s = self.at(start=1000000)
        self.clock.set(self.T)
        self.ask(s, "issued_before_start", iat=self.T - 60, exp=self.T + 60)
        self.ask(s, iat=self.T + 1, exp=self.T + 60)

    def test_clock_steps_back(self):
        """What the ring has let go stays used, whatever the clock says."""
        T, s = self.T, self.at()
        old = self.ask(s, exp=T + 10)
        kept = self.ask(s, exp=T + 30)
        self.clock.set(T + 11)
        self.ask(s, exp=T + 40)              # lets go of the first
        self.clock.set(T + 1)
        self.refused(s, "token_used", token=old)
        self.refused(s, "token_used", token=kept)
        self.ask(s, "token_used", exp=T + 10)
        self.ask(s, "token_used", exp=T + 9)
        self.ask(s, exp=T + 11)

    def test_ring_lets_go_in_time(self):
        """Not before exp + leeway is past, however full."""
        T, s = self.T, self.at("--used-tokens", 2, "--leeway", 5)
        first = self.ask(s, exp=T + 10)
        self.ask(s, exp=T + 60)
        waiting = self.ask(s, "ring_full")
        self.clock.set(T + 14.999)
        self.refused(s, "ring_full", token=waiting)
        self.refused(s, "token_used", token=first)
        self.clock.set(T + 15)
        self.refused(s, "token_expired", token=first)
        self.clock.set(T + 15.001)
        until(lambda: s.get(token=waiting).status == 101, "an entry to leave")
        self.ask(s, "ring_full")


class Once(black.Case):
    def test_twenty_at_once(self):
        """One token, twenty clients: exactly one gets in."""
        s = self.server()
        for _ in range(5):
            t = mint()
            cs = [s.raw() for _ in range(20)]
            for c in cs:
                c.send(black.request(token=t))
            got = [c.reply() for c in cs]
            self.assertEqual(sorted(r.status for r in got), [101] + [401] * 19)
            self.assertEqual({r.body for r in got if r.status == 401}, {"token_used\n"})

    def test_refusal_does_not_consume(self):
        s = self.server("--origin", "https://good.example", "--max-clients", 1)
        t = mint()
        self.refused(s, "subject_denied", "/x", token=t)
        self.refused(s, "origin_denied", "/", "Origin: https://evil.example", token=t)
        self.refused(s, "upgrade_required", token=t, drop=("Upgrade", "Connection"))
        self.refused(s, "method_not_allowed", token=t, method="PUT")
        self.refused(s, "bad_request", "/..", token=t)
        self.refused(s, "bad_request", f"/?t={t}", token=t)
        c = s.ws()
        self.refused(s, "too_many_clients", token=t)
        c.send_frame(black.CLOSE, b"\x03\xe8")
        c.closed()
        s.wait_log(event="close")
        s.ws("/", "Origin: https://good.example", token=t)

    def test_not_yet_valid_then_valid(self):
        s = self.server()
        t = mint(nbf=time.time() + 0.7)
        self.refused(s, "token_not_yet_valid", token=t)
        until(lambda: s.get(token=t).status == 101, "nbf")

    def test_ring_full(self):
        s = self.server("--used-tokens", 3)
        end = int(time.time()) + 3
        s.ws(token=mint(exp=end))
        s.ws()
        s.ws()
        t = mint()
        self.refused(s, "ring_full", token=t)
        self.assertGreater(end, time.time(), "too slow a machine for this test")
        until(lambda: s.get(token=t).status == 101, "an entry to leave")
        self.assertGreaterEqual(time.time(), end)
        self.refused(s, "token_used", token=t)

    def test_half_done_request_does_not_consume(self):
        s = self.server()
        t = mint()
        c = s.raw()
        c.send(black.request(token=t)[:-2])
        s.ws()                               # by now it has been read
        c.close()
        s.ws(token=t)

    def test_same_claims_another_header(self):
        """What makes two tokens the same is header.payload."""
        s = self.server()
        c = claims()
        s.ws(token=jws({"alg": "HS256"}, c))
        s.ws(token=jws({"alg": "HS256", "typ": "JWT"}, c))
        self.refused(s, "token_used", token=jws({"alg": "HS256"}, c))

    def test_many(self):
        s = self.server("--token-use", "many", "--used-tokens", 1)
        t = mint()
        for _ in range(5):
            s.ws(token=t)

    def test_four_thousand(self):
        """The ring's default holds 4096."""
        s = self.server("--max-clients", 5000, "--metrics", f"unix:{self.tmp}/m")
        tokens = [mint() for _ in range(4096)]
        for t in tokens:
            c = s.ws(token=t)
            c.close()
        self.refused(s, "ring_full")
        for t in tokens[::97]:
            self.refused(s, "token_used", token=t)
        self.assertEqual(self.metrics(s, f"{self.tmp}/m")["sluice_used_tokens"], 4096)


class Ends(black.Case):
    """Connections that end because of the token they were opened with."""

    def test_session(self):
        s = self.server()
        for many in (0.5, 1):
            begin = time.monotonic()
            c = s.ws(token=mint(session=many))
            self.assertEqual(c.closed(), (4401, "session_ended"))
            self.assertGreaterEqual(time.monotonic() - begin, many - 0.05)
        rec = s.wait_log(event="close", reason="session_ended")
        self.assertEqual(rec["code"], "4401")

    def test_enforced_expiry(self):
        for args, late in ((["--enforce-expiry"], 0), (["--token-use", "many"], 0),
                           (["--enforce-expiry", "--leeway", 1], 1)):
            with self.subTest(args):
                s = self.server(*args)
                exp = int(time.time()) + 2
                c = s.ws(token=mint(exp=exp))
                s.feed(b"before\n")
                self.assertEqual(c.message(), b"before")
                self.assertEqual(c.closed(), (4401, "token_expired"))
                self.assertGreaterEqual(time.time(), exp + late - 0.01)
                self.assertLess(time.time(), exp + late + 2)
                self.assertEqual(s.wait_log(event="close", reason="token_expired")["code"], "4401")

    def test_not_enforced(self):
        s = self.server()
        exp = int(time.time()) + 2
        c = s.ws(token=mint(exp=exp))
        until(lambda: time.time() > exp + 1, "the token to expire")
        s.feed(b"after\n")
        self.assertEqual(c.message(), b"after")

    def test_session_outlasts_expiry(self):
        """Session ends it though exp is far; exp ends it though session is long."""
        s = self.server("--enforce-expiry")
        self.assertEqual(s.ws(token=mint(session=0.5)).closed(), (4401, "session_ended"))
        exp = int(time.time()) + 2
        self.assertEqual(s.ws(token=mint(session=500, exp=exp)).closed(), (4401, "token_expired"))


class Places(black.Case):
    def test_each(self):
        s = self.server()
        self.assertNotIn("sec-websocket-protocol", s.ws().head.headers)
        self.assertNotIn("sec-websocket-protocol", s.ws(f"/?t={mint()}", token=None).head.headers)
        s.ws(f"/?replay=0&t={mint()}", token=None)
        for sep in (", ", ",", " ,\t"):
            c = s.ws("/", f"Sec-WebSocket-Protocol: bearer{sep}{mint()}", token=None)
            self.assertEqual(c.head.headers["sec-websocket-protocol"], "bearer")
            s.feed(b"x\n")
            self.assertEqual(c.message(), b"x")
        for scheme in ("bearer", "BEARER"):
            s.ws("/", f"Authorization: {scheme} {mint()}", token=None)
        s.ws("/", f"aUTHORIZATION:Bearer {mint()}", token=None)

    def test_refused_in_each(self):
        s = self.server()
        bad = mint(exp=1)
        self.refused(s, "token_expired", token=bad)
        self.refused(s, "token_expired", f"/?t={bad}", token=None)
        self.refused(s, "token_expired", "/", f"Sec-WebSocket-Protocol: bearer, {bad}", token=None)

    def test_two_places(self):
        s = self.server()
        a, b = mint(), mint()
        bearer = f"Sec-WebSocket-Protocol: bearer, {b}"
        for x in (a, b):                     # the same one twice is no better
            self.refused(s, "bad_request", f"/?t={x}", token=b)
            self.refused(s, "bad_request", "/", bearer, token=x)
            self.refused(s, "bad_request", f"/?t={x}", bearer, token=None)
            self.refused(s, "bad_request", f"/?t={x}&t={b}", token=None)
            self.refused(s, "bad_request", "/", f"Authorization: Bearer {x}", token=b)
        self.refused(s, "bad_request", f"/?t={a}", bearer, token=a)
        s.ws(token=b)

    def test_no_auth_ignores_them(self):
        s = self.server(auth=False)
        s.ws()
        s.ws(token="nonsense")
        s.ws("/any/where")
        c = s.ws("/", "Sec-WebSocket-Protocol: bearer, x", token=None)
        self.assertEqual(c.head.headers["sec-websocket-protocol"], "bearer")


class OtherLibraries(black.Case):
    def test_pyjwt(self):
        s = self.server()
        now = int(time.time())
        s.ws(token=jwt.encode({"iat": now, "exp": now + 30}, SECRET, "HS256"))
        s.ws(token=jwt.encode({"iat": now, "exp": now + 30, "sub": "z\u00e9", "x": {"y": [1, 2.5, None]}},
                              SECRET, "HS256", headers={"kid": "k"}))
        for alg, key in (("none", None), ("HS512", SECRET)):
            t = jwt.encode({"iat": now, "exp": now + 30}, key, alg)
            self.refused(s, "alg_not_allowed" if key else "token_malformed", token=t)

    def test_jsonwebtoken(self):
        s = self.server()
        for c, o in (({}, {"expiresIn": 30}), ({"sub": "n"}, {"expiresIn": "1m", "audience": ["a", "b"]}),
                     ({"a": "\u2028"}, {"expiresIn": 5, "keyid": "k", "notBefore": 0})):
            t = node("jwt.mjs", "sign", json.dumps(c), json.dumps(o), stdin=SECRET).decode().strip()
            s.ws(token=t)
            self.refused(s, "token_used", token=t)
        t = node("jwt.mjs", "sign", "{}", "{}", stdin=SECRET).decode().strip()
        self.refused(s, "exp_missing", token=t)

    def test_websockets_and_ws(self):
        s = self.server()
        url = "ws://%s:%d/" % s.addr

        async def python():
            async with websockets.connect(url, extra_headers={"Authorization": f"Bearer {mint()}"}) as w:
                s.feed(b"one\n")
                self.assertEqual(await w.recv(), "one")
            t = mint()
            async with websockets.connect(url, subprotocols=["bearer", t]) as w:
                self.assertEqual(w.subprotocol, "bearer")
                s.feed(b"two\n")
                self.assertEqual(await w.recv(), "two")
            with self.assertRaises(websockets.InvalidStatusCode) as e:
                await websockets.connect(url, subprotocols=["bearer", t])
            self.assertEqual(e.exception.status_code, 401)
        asyncio.run(asyncio.wait_for(python(), black.WAIT))
        t = mint()
        for protocols in (["bearer", t], ["bearer", t]):
            out = node("client.mjs", url + "?replay=2", json.dumps({"protocols": protocols, "stop": 2}))
            got = [json.loads(x) for x in out.splitlines()]
            if protocols[1] and got[0].get("status"):
                self.assertEqual(got[0], {"status": 401, "body": "token_used\n", "challenge":
                                 'Bearer realm="sluice", error="invalid_token", error_description="token_used"'})
            else:
                self.assertEqual(got, [{"open": "bearer", "extensions": ""}, {"text": "one"}, {"text": "two"},
                                       {"close": 1000, "reason": got[-1]["reason"]}])
            s.wait_log(event="accept")
        self.assertEqual(len(s.log(event="reject", reason="token_used")), 2)


class Command(black.Case):
    """sluice token, judged by others."""

    def token(self, *args):
        p = run("token", *args, env={"SLUICE_SECRET": SECRET})
        self.assertEqual((p.returncode, p.err), (0, ""))
        self.assertRegex(p.out, r"\A[\w-]+\.[\w-]+\.[\w-]+\n\Z")
        t = p.out.strip()
        got = jwt.decode(t, SECRET, ["HS256"], options={"verify_aud": False})
        other = json.loads(node("jwt.mjs", "verify", t, stdin=SECRET))
        self.assertEqual(other["payload"], got)
        return t, got, other["header"]

    def test_defaults(self):
        before = int(time.time())
        (_, a, head), (_, b, _) = self.token(), self.token()
        self.assertEqual(set(a), {"iat", "exp", "jti"})
        self.assertEqual(a["exp"] - a["iat"], 10)
        self.assertTrue(before <= a["iat"] <= time.time())
        self.assertNotEqual(a["jti"], b["jti"])
        self.assertGreaterEqual(len(a["jti"]), 16)
        self.assertEqual(head["alg"], "HS256")
        self.assertNotIn("kid", head)

    def test_options(self):
        _, c, head = self.token(
            "--ttl", 300, "--subject", "al \"ice\"\\\u00e9\n", "--issuer", "i", "--audience", "a", "--kid", "k\"1",
            "--session", 90, "--allow-sub", "/a/*", "--allow-sub", "/b", "--allow-pub", "/c/+",
            "--allow-all", "/d", "--claim", 'x={"y": [1, "z"]}', "--claim", "n=null")
        self.assertEqual(c["exp"] - c["iat"], 300)
        self.assertEqual({k: v for k, v in c.items() if k not in ("iat", "exp", "jti")}, {
            "sub": "al \"ice\"\\\u00e9\n", "iss": "i", "aud": "a", "session": 90, "x": {"y": [1, "z"]}, "n": None,
            "permissions": {"sub": ["/a/*", "/b"], "pub": ["/c/+"], "all": ["/d"]}})
        self.assertEqual(head["kid"], 'k"1')

    def test_accepted_here(self):
        s = self.server()
        t, _, _ = self.token("--subject", "alice")
        s.ws(token=t)
        self.refused(s, "token_used", token=t)
        self.assertEqual(s.wait_log(event="accept")["sub"], "alice")

    def test_secret_file(self):
        f = self.path("secret", b"another secret that is long enough\n")
        p = run("token", "--secret-file", f)
        jwt.decode(p.out.strip(), b"another secret that is long enough", ["HS256"])


