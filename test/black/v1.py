"""A client of sluice.v1 (contract 4) on a raw socket, which takes nothing on trust."""
import json, re
import black
from black import TEXT, frame

OFFER = "Sec-WebSocket-Protocol: sluice.v1"
ALL = {"all": ["/", "/*"]}
ID = re.compile(r"(\S+)-([1-9]\d*)")
SHAPE = {                                    # members that must be there, and that may
    "ready": ({"expires"}, set()),
    "ok": (set(), {"id"}),
    "msg": ({"subject", "id", "data"}, set()),
    "error": ({"reason"}, {"id", "subject"}),
    "gap": ({"subject", "missed"}, set()),
    "expiring": ({"in"}, set()),
}


def number(m):
    """N of a message's EPOCH-N."""
    return int(ID.fullmatch(m["id"])[2])


def epoch(m):
    return ID.fullmatch(m["id"])[1]


def parse(data):
    def once(pairs):
        if len({k for k, _ in pairs}) < len(pairs):
            raise AssertionError(f"a name twice: {data[:200]!r}")
        return dict(pairs)
    m = json.loads(data.decode(), object_pairs_hook=once)
    if not isinstance(m, dict) or m.get("op") not in SHAPE:
        raise AssertionError(f"no operation: {m}")
    must, may = SHAPE[m["op"]]
    if not must <= set(m) - {"op"} <= must | may:
        raise AssertionError(f"members: {m}")
    if m["op"] == "msg" and not (isinstance(m["data"], str) and ID.fullmatch(m["id"])):
        raise AssertionError(f"no message: {m}")
    return m


class Case(black.Case):
    def server(self, *args, **kw):
        """Its clients go before it is told to: it need not wait for their close frames."""
        s = super().server(*args, **kw)
        self.addCleanup(self.hang_up)
        return s


class Client:
    def __init__(self, raw):
        self.raw, self.aside, self.n = raw, [], 0

    def say(self, *ops):
        """Dicts and texts, all in one write."""
        self.raw.send(b"".join(frame(TEXT, x if isinstance(x, bytes) else json.dumps(x).encode(),
                                     mask=self.raw.mask) for x in ops))

    def wire(self):
        return parse(self.raw.message())

    def hear(self, op="msg"):
        """The next of all that comes; it must be this."""
        m = self.aside.pop(0) if self.aside else self.wire()
        if m["op"] != op:
            raise AssertionError(f"wanted {op}: {m}")
        return m

    def data(self, n=1):
        return [self.hear()["data"] for _ in range(n)]

    def next_id(self):
        self.n += 1
        return f"#{self.n}"

    def calls(self, *ops):
        """Each one's reply, however they are mixed with the rest, which is put aside."""
        ops = [{**op, "id": self.next_id()} for op in ops]
        self.say(*ops)
        got, wanted = {}, {op["id"] for op in ops}
        while len(got) < len(ops):
            m = self.wire()
            if m["op"] in ("ok", "error") and m.get("id") in wanted:
                if m["id"] in got:
                    raise AssertionError(f"answered twice: {m}")
                got[m["id"]] = m
            else:
                self.aside.append(m)
        return [got[op["id"]].get("reason", "ok") for op in ops]

    def call(self, op, **more):
        return self.calls({"op": op, **more})[0]

    def do(self, op, subject, **more):
        if (got := self.call(op, subject=subject, **more)) != "ok":
            raise AssertionError(f"{op} {subject} {more}: {got}")
        return self

    def sub(self, *subjects, **more):
        for x in subjects:
            self.do("sub", x, **more)
        return self

    def unsub(self, subject):
        return self.do("unsub", subject)

    def pub(self, subject, data):
        return self.do("pub", subject, data=data)

    def rest(self):
        """All that has come when an operation that does nothing was answered, and one after that:
        the first answer may be of the same turn as a message, and before it."""
        for _ in range(2):
            if (got := self.call("sub", subject="/no//subject")) != "bad_request":
                raise AssertionError(got)
        got, self.aside = self.aside, []
        return got

    def whole(self, n):
        """These many messages, and nothing else."""
        got = [self.hear() for _ in range(n)]
        if more := self.rest():
            raise AssertionError(f"{len(more)} too many: {more[:3]}")
        return got

    def closed(self):
        return self.raw.closed()


def greet(raw):
    """After a 101: it chose sluice.v1, and says ready."""
    if raw.head.headers.get("sec-websocket-protocol") != "sluice.v1":
        raise AssertionError(raw.head)
    c = Client(raw)
    c.ready = c.wire()
    if c.ready["op"] != "ready":
        raise AssertionError(c.ready)
    return c


def connect(s, permissions=ALL, rcvbuf=0, **claims):
    """Let in by a token in the request."""
    token = black.mint(s.secret, permissions=permissions, **claims) if s.auth else None
    return greet(s.ws("/", OFFER, token=token, rcvbuf=rcvbuf))


def waiting(s):
    """Upgraded, and no token yet."""
    return Client(s.ws("/", OFFER, token=None))
