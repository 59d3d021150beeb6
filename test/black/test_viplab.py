"""ViPLab's flow: a client connects without a token and shows one in its first message; tokens
are signed with RS512 by two services whose keys stand in one JWK Set, each bound to its own
part of the subjects."""
import asyncio, json, os, time
import jwt, websockets
from cryptography.hazmat.primitives.asymmetric import rsa
import black


class ViPLab(black.Case):
    def service(self, name, **members):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
        return key, {**jwk, "kid": name, "alg": "RS512", "use": "sig", "issuer": f"https://{name}.example",
                     "permissions": {"all": [f"/{name}/*"]}, **members}

    def token(self, name, key, kid=None, **more):
        now = int(time.time())
        payload = {"iat": now, "exp": now + 60, "jti": os.urandom(8).hex(), "sub": "student",
                   "iss": f"https://{name}.example", "permissions": {"all": [f"/{name}/+"]}, **more}
        return jwt.encode(payload, key, algorithm="RS512", headers={"kid": kid or name})

    def connect(self):
        return websockets.connect(self.url, subprotocols=["sluice.v1"], open_timeout=black.WAIT)

    async def call(self, ws, **op):
        await ws.send(json.dumps(op))
        return json.loads(await asyncio.wait_for(ws.recv(), black.WAIT))

    async def refusal(self, token):
        async with self.connect() as ws:
            await ws.send(json.dumps({"op": "auth", "token": token}))
            with self.assertRaises(websockets.ConnectionClosed) as e:
                await asyncio.wait_for(ws.recv(), black.WAIT)
            return e.exception.rcvd.code, e.exception.rcvd.reason

    async def flow(self, lab, exam):
        async with self.connect() as student, self.connect() as teacher:
            for ws, sub in (student, "student"), (teacher, "teacher"):
                got = await self.call(ws, op="auth", token=self.token("lab", lab, sub=sub))
                self.assertEqual((got["op"], got["expires"]), ("ready", None))
            self.assertEqual((await self.call(teacher, op="sub", subject="/lab/*", id=1))["reason"], "subject_denied")
            self.assertEqual(await self.call(teacher, op="sub", subject="/lab/+", id=2), {"op": "ok", "id": 2})
            self.assertEqual(await self.call(student, op="pub", subject="/lab/result", data="42", id=3),
                             {"op": "ok", "id": 3})
            got = json.loads(await asyncio.wait_for(teacher.recv(), black.WAIT))
            self.assertEqual((got["op"], got["subject"], got["data"]), ("msg", "/lab/result", "42"))
            # what is the other service's is closed to it
            self.assertEqual((await self.call(student, op="pub", subject="/exam/result", data="x"))["reason"],
                             "subject_denied")
            self.assertEqual((await self.call(student, op="sub", subject="/exam/result"))["reason"], "subject_denied")
            # and its own token cannot renew what the other let in
            got = await self.call(student, op="auth", token=self.token("exam", exam))
            self.assertEqual((got["op"], got["reason"]), ("error", "renewal_mismatch"))

        # a service cannot grant what is not its own, whatever its token says
        async with self.connect() as ws:
            got = await self.call(ws, op="auth", token=self.token("exam", exam, permissions={"all": ["/lab/+", "/exam/a"]}))
            self.assertEqual(got["op"], "ready")
            self.assertEqual((await self.call(ws, op="sub", subject="/lab/result"))["reason"], "subject_denied")
            self.assertEqual((await self.call(ws, op="sub", subject="/exam/a", id=1)), {"op": "ok", "id": 1})

        # nor speak in the other's name
        self.assertEqual(await self.refusal(self.token("lab", exam)), (4401, "signature_invalid"))
        self.assertEqual(await self.refusal(self.token("lab", exam, kid="exam")), (4401, "issuer_mismatch"))
        self.assertEqual(await self.refusal(self.token("lab", lab, kid="nobody")), (4401, "key_unknown"))
        none = jwt.encode({"exp": int(time.time()) + 60}, lab, algorithm="RS512")
        self.assertEqual(await self.refusal(none), (4401, "key_unknown"))       # either could be meant

    def test_flow(self):
        (lab, a), (exam, b) = self.service("lab"), self.service("exam")
        path = self.path("keys.json", json.dumps({"keys": [a, b]}).encode())
        s = self.server("--keys", path, secret=None)
        self.url = "ws://%s:%d/" % s.addr
        asyncio.run(self.flow(lab, exam))
        self.assertEqual({r["kid"] for r in s.log(event="accept")}, {"lab", "exam"})
