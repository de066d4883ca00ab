"""An HTTP proxy before an object store that makes trouble for a seeded share of the requests.

With the fixture `chaotic_s3` of tests/conftest.py:

    chaotic_s3.proxy.chaos = Chaos(slow_down=0.1, truncate=0.05)   # until it is set to Chaos()
    storage.read_bytes(f"{chaotic_s3.uri}/file")
    chaotic_s3.proxy.struck                    # Counter({"truncate": 1}): what it has done so far
    subprocess.run([...], env=os.environ)      # a subprocess meets the same proxy
"""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_ANSWERS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "too_many": (429, "TooManyRequests", "Please wait."),
    "internal": (500, "InternalError", "We encountered an internal error. Please try again."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """The share of the requests that each trouble meets; together at most 1.

    Attributes:
        slow_down: answered with 503 SlowDown.
        too_many: answered with 429.
        internal: answered with 500.
        close: the connection is closed, and the store hears nothing of the request.
        lose: the store does what it is asked to, but its answer is lost.
        truncate: half of the answer's body comes, then the connection is closed.
        stall: no answer at all, for longer than the client waits.
    """

    slow_down: float = 0.0
    too_many: float = 0.0
    internal: float = 0.0
    close: float = 0.0
    lose: float = 0.0
    truncate: float = 0.0
    stall: float = 0.0


class ChaosProxy:
    """Forwards requests to a store, and makes trouble as `chaos` says.

    Attributes:
        chaos: what trouble is made from now on.
        endpoint: where the proxy listens.
        struck: how often each trouble was made.
        num_requests: how many came.
        down_after: so many are answered as `chaos` says, all later ones with 503; None: no end.
        heeds_conditions: False: the store is one of those that do not know If-None-Match.
    """

    def __init__(self, store: str, *, seed: int = 0) -> None:
        """Listen on a free port, for the store at the URL `store`."""
        self.calm()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.store = urlsplit(store).netloc
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def calm(self) -> None:
        """Make no trouble any more, and forget what was."""
        self.chaos = Chaos()
        self.struck: Counter[str] = Counter()
        self.num_requests = 0
        self.down_after: int | None = None
        self.heeds_conditions = True

    def close(self) -> None:
        """Stop listening."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def draw(self) -> str:
        """Draw the trouble of one request; "" for none."""
        with self._lock:
            self.num_requests += 1
            if self.down_after is not None and self.num_requests > self.down_after:
                self.struck["down"] += 1
                return "slow_down"
            point = self._random.random()
            for trouble, share in asdict(self.chaos).items():
                point -= share
                if point < 0:
                    self.struck[trouble] += 1
                    return trouble
        return ""


class _Handler(BaseHTTPRequestHandler):
    proxy: ChaosProxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client has given up
            self.close_connection = True

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = self.proxy.draw()
        if trouble in _ANSWERS:
            self._refuse(*_ANSWERS[trouble])
            return
        if trouble == "stall":
            self.proxy.closing.wait(60)
        if trouble in ("stall", "close"):
            self.close_connection = True
            return
        store = http.client.HTTPConnection(self.proxy.store, timeout=60)
        headers = dict(self.headers)
        if not self.proxy.heeds_conditions:
            headers.pop("If-None-Match", None)
        store.request(self.command, self.path, body, headers)
        answer = store.getresponse()
        content = answer.read()
        store.close()
        if trouble == "lose":
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if trouble == "truncate":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815  # names of http.server

    def _refuse(self, status: int, code: str, message: str) -> None:
        content = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        pass
