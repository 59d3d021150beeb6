"""dist/lan-dashboard as its README sets it up, under busybox init on a read-only root."""
import base64, http.client, json, os, re, shutil
import black
from black import ROOT, Raw, free_port, request, until
from board import Board

HOME = os.path.join(ROOT, "dist", "lan-dashboard")
NUMBERS = {"cpu_percent", "load", "free_mb", "received", "sent", "uptime"}


class Dashboard(black.Case):
    def start(self, users=True):
        with open(HOME + "/README.md") as f:
            text = f.read()
        self.web, self.port = free_port(), free_port()
        lines = re.findall(r"(?m)^ +::respawn:(/opt/lan-dashboard/run \w+)$", text)
        self.assertEqual(len(lines), 2)
        ports = f"::respawn:/usr/bin/env ASAN_OPTIONS=detect_leaks=0 WEB_PORT={self.web} STREAM_PORT={self.port} "
        self.board = Board(self, "".join(ports + line + "\n" for line in lines))
        shutil.copytree(HOME, self.board.root + "/opt/lan-dashboard")
        b = self.board.boot()
        if users:
            # Where the root can still be written to: from outside.
            add, = re.findall(r"(?m)^ +(echo .*) >> users ", text)
            status, line = b.run(add.replace("mkpasswd", "mkpasswd -P 0"), stdin="open sesame\n")
            self.assertRegex(line, r"^/:alice:\$6\$\S{60,}\n$")
            b.put("opt/lan-dashboard/users", line, 0o600)
            os.chown(b.root + "/opt/lan-dashboard/users", 900, 900)
            b.run("killall httpd")           # init starts it again, and it reads them
            until(lambda: self.get().status == 401, "httpd that knows its users")
        return b

    def get(self, password=None, path="/", host=None):
        c = http.client.HTTPConnection("127.0.0.1", self.web, timeout=black.WAIT)
        headers = {"Host": host or f"127.0.0.1:{self.web}"}
        if password:
            headers["Authorization"] = "Basic " + base64.b64encode(f"alice:{password}".encode()).decode()

        def answer():
            try:
                c.request("GET", path, headers=headers)
                return c.getresponse()
            except (OSError, http.client.HTTPException):
                c.close()
        try:
            r = until(answer, "an answer of httpd")
            r.text = r.read().decode()
            return r
        finally:
            c.close()

    def token(self, r):
        self.assertEqual((r.status, r.headers["Cache-Control"]), (302, "no-store"), r.text)
        m = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#t=([\w.-]+)", r.headers["Location"])
        self.assertEqual(int(m[1]), self.port)
        return m[2]

    def stream(self, token):
        def connect():
            try:
                return Raw(("127.0.0.1", self.port))
            except ConnectionRefusedError:
                return None
        c = until(connect, "sluice")
        self.addCleanup(c.close)
        c.send(request(token=token))
        return c.upgraded()

    def test_all(self):
        b = self.start()
        for password in ("open", "open sesame!"):
            self.assertEqual(self.get(password).status, 401)
        token = self.token(self.get("open sesame"))
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=="))
        self.assertEqual((claims["sub"], claims["exp"] - claims["iat"]), ("alice", 3600))
        c = self.stream(token)
        for _ in range(2):
            got = json.loads(c.message())
            self.assertEqual(NUMBERS - {k for k, v in got.items() if isinstance(v, (int, float))}, set())
        self.assertIn('sub=alice', b.log("accept")[0])
        c = Raw(("127.0.0.1", self.port))
        c.send(black.http("GET", "/", "Accept: text/html"))
        self.assertIn("<script>", c.reply().body)
        c.close()
        # Either end of the pipe may die; the token is good afterwards too.
        for name in ("values", "sluice"):
            n = len(b.log("listening"))
            self.assertEqual(b.run(f"killall -9 {name}")[0], 0)
            until(lambda: len(b.log("listening")) > n, "another sluice")
            json.loads(self.stream(token).message())
        self.assertEqual(b.run("stat -c '%U %a' /run/lan-dashboard/secret"), (0, "sluice 600\n"))
        for name in ("httpd", "sluice"):
            self.assertEqual(set(b.run(f"grep -h Uid: /proc/$(pidof {name})/status")[1].split()), {"Uid:", "900"})

    def test_names_of_the_board(self):
        self.start()
        for host, want in (("board.lan", "board.lan"), ("board.lan:81", "board.lan"), ("[fe80::1]:81", "[fe80::1]"),
                           ("[::1]", "[::1]")):
            where = self.get("open sesame", host=host).headers["Location"]
            self.assertTrue(where.startswith(f"http://{want}:{self.port}/#t="), where)
        for host in ("a/b", "a@b", "$(id)", "a b", '"'):
            self.assertEqual(self.get("open sesame", host=host).status, 500)

    def test_no_users(self):
        self.start(users=False)
        r = self.get()
        self.assertEqual((r.status, r.text), (403, "There are no users yet, see README.md.\n"))
