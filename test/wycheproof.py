#!/usr/bin/python3
"""wycheproof.py VERIFY: Wycheproof's vectors, where they are, through test/verify.c."""
import base64, json, os, re, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "..", "shared", "vectors", "wycheproof")
FILES = {"ES256": "ecdsa_secp256r1_sha256_p1363_test.json", "ES384": "ecdsa_secp384r1_sha384_p1363_test.json",
         "ES512": "ecdsa_secp521r1_sha512_p1363_test.json", "RS256": "rsa_signature_2048_sha256_test.json",
         "RS384": "rsa_signature_2048_sha384_test.json", "RS512": "rsa_signature_2048_sha512_test.json",
         "RS256 4096": "rsa_signature_4096_sha256_test.json", "HS256": "hmac_sha256_test.json",
         "HS384": "hmac_sha384_test.json", "HS512": "hmac_sha512_test.json"}


def load(name):
    with open(os.path.join(FOLDER, name)) as f:
        return json.load(f)["testGroups"]


def verify(lines):
    p = subprocess.run([sys.argv[1]], input="\n".join(lines) + "\n", text=True, capture_output=True, check=True)
    return p.stdout.splitlines()


def signatures(alg, name):
    """(line, what is due, what it is): only whole MACs are tags of a JWS."""
    for g in load(name):
        if alg[0] == "H":
            full = g["tagSize"] == int(alg[2:5])
        for t in g["tests"]:
            key, e = (t["key"], "") if alg[0] == "H" else \
                (g["publicKey"]["uncompressed"], "") if alg[0] == "E" else \
                (g["publicKey"]["modulus"], g["publicKey"]["publicExponent"])
            due = t["result"] == "valid" and (alg[0] != "H" or full)
            words = [alg.split()[0], key, e, t["msg"], t.get("sig", t.get("tag"))]
            yield " ".join(w or "-" for w in words), due, f"{name} {t['tcId']} {t['comment']} {t['flags']}"


def public(key):
    """What a server would be given: of a private key the public part alone."""
    return {k: v for k, v in key.items() if key["kty"] == "oct" or k not in ("d", "p", "q", "dp", "dq", "qi")}


def tokens(name):
    for g in load(name):
        given = g.get("public", g["private"])
        keys = [public(k) for k in given.get("keys", [given])]
        file = json.dumps({"keys": keys}).encode().hex()
        for t in g["tests"]:
            token = t["jws"] if isinstance(t["jws"], str) else json.dumps(t["jws"]).replace(" ", "")
            yield f"JWS {file} {token or '-'}".replace("\n", " "), t, g


def main():
    if not os.path.isdir(FOLDER):
        print("wycheproof: skipped, no ../shared/vectors/wycheproof\nwycheproof: 0 passed, 0 failed")
        return 0
    passed = failed = 0
    for alg, name in FILES.items():
        rows = list(signatures(alg, name))
        for (_, due, what), got in zip(rows, verify([r[0] for r in rows]), strict=True):
            ok = (got == "1") == due
            passed, failed = passed + ok, failed + (not ok)
            if not ok:
                print(f"FAILED: {what}: {got}, wanted {int(due)}")
    for name in ("json_web_signature_test.json", "json_web_key_test.json"):
        rows = list(tokens(name))
        for (_, t, g), got in zip(rows, verify([r[0] for r in rows]), strict=True):
            ok = judge(name, t, g, got)
            passed, failed = passed + ok, failed + (not ok)
            if not ok:
                print(f"FAILED: {name} {t['tcId']} {g['comment']} {t['comment']} {t['flags']}: {got}, "
                      f"wanted {t['result']}")
    print(f"wycheproof: {passed} passed, {failed} failed")
    return 1 if failed else 0


# Where sluice judges otherwise, and why: {(file, tcId): due}.
OTHERWISE = {
    # An oct and an EC key in one set: each is bound to its algorithm, so that there is no confusion.
    ("json_web_key_test.json", 1): True,
    # The factors of this modulus can be found (ROCA); that is not looked for.
    ("json_web_key_test.json", 7): True,
    # The padding in question is not in the file; these are the same token as a valid one.
    ("json_web_signature_test.json", 367): True,
    ("json_web_signature_test.json", 370): True,
}


def judge(name, t, g, got):
    due = t["result"] == "valid"
    parts = str(t["jws"]).split(".")
    if due and (not all(parts) or re.search(r"[^\w.-]", str(t["jws"]))):
        due = False                          # contract 2: three non-empty parts of base64url
    if due and json.loads(base64.urlsafe_b64decode(parts[0] + "===")).get("alg", "").startswith("PS"):
        due = False                          # BearSSL 0.6 has no PSS
    if due and g.get("public", g["private"]).get("alg") == "ES521":
        due = False                          # no such algorithm (RFC 7518 3.1)
    return (got == "1") == OTHERWISE.get((name, t["tcId"]), due)


if __name__ == "__main__":
    sys.exit(main())
