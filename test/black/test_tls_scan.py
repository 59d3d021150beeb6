"""testssl.sh and sslscan look for weaknesses; each of their verdicts is looked at.

testssl.sh is told to look up no names and to ask nobody else. Of its checks those for client
simulations, for HTTP headers and of each cipher by itself are left out for their time: the first is
test_tls_clients.py's, the last test_tls.py's, which offers every code. A run takes some 25 s, most
of them waiting, and is made for the plain build alone; the sanitizers see all else."""
import json, os, shutil, signal, subprocess
import xml.etree.ElementTree as xml
import black, pki, tls
from test_tls import suites

KINDS = "rsa", "p256"

# What testssl.sh rates above LOW, or could not find out, and why that is no fault of the server's.
ALLOWED = {
    "cert_revocation": "the test's certificates name no place to ask whether they were revoked: the CA's business",
    "engine_problem": "GOST is missing in the OpenSSL of the one who asks",
    "RC4": "the same of RC4; cipherlist_* and test_suites show that there is none",
}
# What must be among its findings, with this verdict; INFO is how it rates what it only mentions.
PROTOCOL = {
    "SSLv2": ("OK", "not offered"), "SSLv3": ("OK", "not offered"), "TLS1": ("INFO", "not offered"),
    "TLS1_1": ("INFO", "not offered"), "TLS1_2": ("OK", "offered"), "TLS1_3": ("INFO", "not offered"),
    "ALPN": ("INFO", "http/1.1"),
    "cipherlist_NULL": ("OK", "not offered"), "cipherlist_aNULL": ("OK", "not offered"),
    "cipherlist_EXPORT": ("OK", "not offered"), "cipherlist_LOW": ("OK", "not offered"),
    "cipherlist_3DES_IDEA": ("INFO", "not offered"), "cipherlist_AVERAGE": ("INFO", "not offered"),
    "cipherlist_STRONG": ("OK", "offered"),
    "PFS": ("OK", "offered"), "cipher_order": ("OK", "server"),
    "protocol_negotiated": ("OK", "Default protocol TLS1.2"), "cipher_negotiated": ("OK", "ECDHE-"),
    "sessionresumption_ID": ("INFO", "supported"), "sessionresumption_ticket": ("INFO", "not supported"),
    "cert_trust": ("OK", "Ok"), "cert_chain_of_trust": ("OK", "passed"), "certs_list_ordering_problem": ("INFO", "no"),
    "TLS_session_ticket": ("INFO", "no"), "TLS_timestamp": ("INFO", "random"),
}
HOLES = {
    "heartbleed": ("OK", "not vulnerable"), "CCS": ("OK", "not vulnerable"), "ticketbleed": ("OK", ""),
    "ROBOT": ("OK", "not vulnerable"), "secure_renego": ("OK", "supported"),
    "secure_client_renego": ("OK", "not vulnerable"), "CRIME_TLS": ("OK", "not vulnerable"),
    "BREACH": ("OK", "not vulnerable"), "POODLE_SSL": ("OK", "not vulnerable"), "fallback_SCSV": ("OK", ""),
    "SWEET32": ("OK", "not vulnerable"), "FREAK": ("OK", "not vulnerable"), "DROWN": ("OK", "not vulnerable"),
    "LOGJAM": ("OK", "not vulnerable"), "BEAST": ("OK", "not vulnerable"), "LUCKY13": ("OK", "not vulnerable"),
}


class Testssl(tls.Case):
    def scan(self, kind, checks, due):
        if black.sanitized():
            self.skipTest("testssl.sh runs against the plain build")
        program = shutil.which("testssl") or shutil.which("testssl.sh") or self.fail("testssl.sh is not installed")
        signal.alarm(500)                    # more than run.py gives: it is slow on a busy machine
        self.addCleanup(signal.alarm, 0)
        s = self.server("--page", kind=kind)
        out = os.path.join(self.tmp, "findings")
        p = subprocess.run([program, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--fast",
                            "--connect-timeout", "10", "--openssl-timeout", "10", "--add-ca", pki.path("root.pem"),
                            "--jsonfile", out, *checks, "https://127.0.0.1:%d" % s.addr[1]],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=450, cwd=self.tmp,
                           env={**os.environ, "TERM": "dumb"})
        with open(out) as f:
            found = {x["id"]: (x["severity"], x["finding"]) for x in json.load(f)}
        bad = {k: v for k, v in found.items() if v[0] not in ("OK", "INFO", "LOW", "DEBUG") and k not in ALLOWED}
        self.assertEqual(bad, {}, p.stdout[-500:])
        for name, (severity, words) in due.items():
            with self.subTest(name):
                self.assertIn(name, found)
                self.assertEqual(found[name][0], severity, found[name])
                self.assertTrue(found[name][1].startswith(words), found[name])
        self.serves(s)

    def test_protocol_rsa(self):
        self.scan("rsa", ("-p", "-s", "-f", "-P", "-S"), PROTOCOL)

    def test_protocol_ec(self):
        self.scan("p256", ("-p", "-s", "-f", "-P", "-S"), PROTOCOL)

    def test_holes_rsa(self):
        self.scan("rsa", ("-U",), HOLES)

    def test_holes_ec(self):
        self.scan("p256", ("-U",), HOLES)


class Sslscan(tls.Case):
    def test_verdicts(self):
        for kind in KINDS:
            with self.subTest(kind):
                s = self.server(kind=kind)
                out = os.path.join(self.tmp, f"{kind}.xml")
                subprocess.run(["sslscan", "--no-colour", "--show-sigs", f"--xml={out}", "127.0.0.1:%d" % s.addr[1]],
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=140, check=True)
                test = xml.parse(out).getroot().find("ssltest")
                self.assertEqual({(x.get("type"), x.get("version")) for x in test.findall("protocol")
                                  if x.get("enabled") != "0"}, {("tls", "1.2")})
                self.assertEqual(len(test.findall("protocol")), 6)
                self.assertEqual(test.find("renegotiation").get("supported"), "0")
                self.assertEqual([x.get("vulnerable") for x in test.findall("heartbleed")], ["0"])
                ciphers = test.findall("cipher")
                self.assertEqual({x.get("cipher") for x in ciphers}, set(suites(kind).values()))
                self.assertEqual({x.get("strength") for x in ciphers}, {"strong"})
                self.assertEqual([x.get("status") for x in ciphers].count("preferred"), 1)
                # It looks for curves with a hello that names no signatures, which means SHA-1 (RFC 5246
                # 7.4.1.4.1): that gets none. test_curves has them.
                self.assertLessEqual({x.get("name").split()[0] for x in test.findall("group")},
                                     {"secp256r1", "secp384r1", "secp521r1", "x25519"})
                signatures = {x.get("name") for x in test.findall("connection-signature-algorithm")}
                self.assertTrue(signatures)
                for x in signatures:
                    self.assertRegex(x, "sha(256|384|512)$")
                cert = test.find("certificates/certificate")
                self.assertEqual({cert.find("pk").get("error"), cert.find("expired").text,
                                  cert.find("self-signed").text}, {"false"})
                self.serves(s)
