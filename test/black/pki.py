"""Certificates and keys for the TLS tests: a root that clients trust, intermediates, leaves.

Made once under build/pki and kept for a day, since RSA keys are dear. path() is a file of them:

    root.pem                    what clients trust
    KIND.pem  KIND.key          chain (leaf, intermediate) and key in PKCS#8; see KINDS
    KIND.trad                   the same key in its traditional form, with EC PARAMETERS in front
                                as openssl ecparam writes it
    other.pem other.key         a second pair of the kind p256, to change to
and what a server must not start with, see make()."""
import base64, datetime, fcntl, functools, ipaddress, os, shutil, time
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAY = datetime.timedelta(days=1)
KINDS = {                                    # leaf key, key of the intermediate that signed it
    "rsa": ("rsa", "rsa"), "p256": ("p256", "p256"), "p384": ("p384", "p384"),
    "p256-rsa": ("p256", "rsa"), "rsa-p384": ("rsa", "p384"), "rsa4096": ("rsa4096", "rsa"),
}
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
OIDS = {"p256": "06082a8648ce3d030107", "p384": "06052b81040022"}    # RFC 5480 2.1.1.1
PASSWORD = b"open sesame"


def new_key(kind):
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind[3:] or 2048))


def pkcs8(key, password=None):
    return pem_key(key, serialization.PrivateFormat.PKCS8, password)


def traditional(key, password=None):
    return pem_key(key, serialization.PrivateFormat.TraditionalOpenSSL, password)


def pem_key(key, form, password):
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, lock)


def block(name, data):
    text = base64.encodebytes(data).replace(b"\n", b"")
    lines = b"\n".join(text[i:i + 64] for i in range(0, len(text), 64))
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (name, lines, name)


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certify(subject, key, issuer, signer, ca=None, begin=-DAY, end=180 * DAY):
    """A certificate for this key; ca is a CA's path length, None for a server's."""
    now = datetime.datetime.utcnow().replace(microsecond=0)
    b = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
         .public_key(key.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(now + begin).not_valid_after(now + end)
         .add_extension(x509.BasicConstraints(ca is not None, ca), critical=True)
         .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
         .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False))
    usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                           "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    if ca is not None:
        usage |= {"key_cert_sign": True, "crl_sign": True}
    else:
        usage |= {"digital_signature": True}
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                 x509.IPAddress(ipaddress.ip_address("::1"))]
        b = (b.add_extension(x509.SubjectAlternativeName(names), critical=False)
             .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False))
    b = b.add_extension(x509.KeyUsage(**usage), critical=True)
    ed = isinstance(signer, ed25519.Ed25519PrivateKey)
    return b.sign(signer, None if ed else hashes.SHA256())


def make(put):
    """Write all files: put(name, bytes)."""
    root = new_key("p256")
    put("root.pem", pem(certify("sluice test root", root, "sluice test root", root, ca=1)))
    middle = {}
    for kind in ("rsa", "p256", "p384"):
        key = new_key(kind)
        middle[kind] = f"intermediate {kind}", key, pem(certify(f"intermediate {kind}", key, "sluice test root",
                                                                root, ca=0))

    def leaf(key, by="p256", **kw):
        issuer, signer, _ = middle[by]
        return pem(certify("localhost", key, issuer, signer, **kw))

    keys, leaves = {}, {}
    for kind, (own, by) in KINDS.items():
        keys[kind] = key = new_key(own)
        leaves[kind] = leaf(key, by)
        put(f"{kind}.pem", leaves[kind] + middle[by][2])
        put(f"{kind}.key", pkcs8(key))
        head = block(b"EC PARAMETERS", bytes.fromhex(OIDS[own])) if own in OIDS else b""
        put(f"{kind}.trad", head + traditional(key))
    other = new_key("p256")
    put("other.pem", leaf(other) + middle["p256"][2])
    put("other.key", pkcs8(other))

    # What is in use and unusual: all in one file, either first; DOS line ends; text in between.
    own, chain = pkcs8(keys["p256"]), leaves["p256"] + middle["p256"][2]
    put("one.pem", chain + own)
    put("one-key-first.pem", own + chain)
    put("dos.pem", chain.replace(b"\n", b"\r\n"))
    put("dos.key", own.replace(b"\n", b"\r\n"))
    put("text.pem", b"Bag Attributes\n    friendlyName: x\nsubject=CN = localhost\n\n" + leaves["p256"] +
        b"\nintermediate:\n" + middle["p256"][2] + b"\n\n")
    put("unended.pem", chain.rstrip(b"\n"))
    put("unended.key", own.rstrip(b"\n"))

    # What no server can use.
    for kind in ("rsa", "p256"):
        put(f"{kind}-encrypted.key", pkcs8(keys[kind], PASSWORD))
        put(f"{kind}-encrypted.trad", traditional(keys[kind], PASSWORD))
        put(f"{kind}-expired.pem", leaf(keys[kind], begin=-2 * DAY, end=-DAY) + middle["p256"][2])
    put("early.pem", leaf(keys["p256"], begin=2 * DAY) + middle["p256"][2])
    put("reversed.pem", middle["p256"][2] + leaves["p256"])
    put("empty", b"")
    put("text", b"There is no certificate and no key in here.\n")
    put("damaged.pem", chain.replace(b"\n", b"\n!!", 3))
    put("damaged.key", own.replace(b"\n", b"\n!!", 2))
    put("cut.pem", leaves["p256"][:300])
    put("cut.key", own[:len(own) // 2])
    der = base64.b64decode(b"".join(leaves["p256"].split(b"\n")[1:-2]))
    put("der.pem", der)
    put("rubbish.pem", block(b"CERTIFICATE", b"\x30\x03\x02\x01\x01"))
    put("rubbish.key", block(b"PRIVATE KEY", b"\x30\x03\x02\x01\x01"))
    put("cut-der.pem", block(b"CERTIFICATE", der[:len(der) // 2]))
    for kind in ("ed25519", "p521"):
        key = new_key(kind)
        put(f"{kind}.pem", leaf(key) + middle["p256"][2])
        put(f"{kind}.key", pkcs8(key))


@functools.cache
def folder():
    """Whoever comes first makes them; the others wait for him."""
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
    with open(os.path.join(ROOT, "build", "pki.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        at = os.path.join(ROOT, "build", "pki")
        done = os.path.join(at, "root.pem")
        fresh = max(time.time() - 86400, os.stat(__file__).st_mtime)
        if not os.path.exists(done) or os.stat(done).st_mtime < fresh:
            shutil.rmtree(at, ignore_errors=True)
            os.mkdir(at, 0o700)
            files = {}
            make(files.__setitem__)
            for n in sorted(files, key="root.pem".__eq__):    # that one last: it says that all are there
                with open(os.open(os.path.join(at, n), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
                    f.write(files[n])
        return at


def path(file):
    return os.path.join(folder(), file)


def read(file):
    with open(path(file), "rb") as f:
        return f.read()
