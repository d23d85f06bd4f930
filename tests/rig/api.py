"""An HTTPS server of ours before, or in the place of, a provider's API, which can be told to misbehave.

class Upstream(Api): ...                    def answer(self, request) -> Answer
with Upstream(certificate) as api:          api.url, "https://localhost:PORT"
api.fault(lose, writes=True)                the next change arrives and its answer does not
api.fault(throttle(1), times=2)             likewise: throttle, html, flood, redirect, swallow, drip, fails
"""

import contextlib
import http.client
import http.server
import json
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str  # as it was sent, with its query
    headers: dict
    body: bytes

    @property
    def place(self):
        return urllib.parse.unquote(self.path.split("?")[0])

    @property
    def query(self):
        return dict(urllib.parse.parse_qsl(self.path.partition("?")[2], keep_blank_values=True))

    def header(self, name):
        return self.headers.get(name.lower(), "")

    def json(self):
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=lambda: {"Content-Type": "application/json"})

    @classmethod
    def of(cls, tree, status=200, **headers):
        return cls(status, json.dumps(tree).encode(), {"Content-Type": "application/json", **headers})


class Api:
    writes = ("POST", "PUT", "PATCH", "DELETE")

    def __init__(self, certificate, port=0):
        self.requests = []
        self.faults = []
        self.lock = threading.Lock()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                api.serve(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.pem, certificate.key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a peer that does not trust us
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"https://localhost:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def is_write(self, request):
        return request.method in self.writes

    def is_ours(self, request):
        """Faults are for these: what signs in is served."""
        return True

    def answer(self, request):
        raise NotImplementedError

    def fault(self, what, times=1, writes=True):
        """`what`: Request, the handler, a call that answers properly -> Answer, or None: it answered by itself."""
        self.faults += [(what, writes)] * times

    def heal(self):
        self.faults.clear()
        self.requests.clear()

    def sent(self, writes=True):
        return [request for request in self.requests if self.is_write(request) is writes]

    def serve(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, handler.path, headers, handler.rfile.read(length))
        fault = None
        with self.lock:
            if self.is_ours(request):
                self.requests.append(request)
                if self.faults and self.faults[0][1] is self.is_write(request):
                    fault = self.faults.pop(0)[0]

        def properly():
            with self.lock:
                return self.answer(request)

        answer = fault(request, handler, properly) if fault else properly()
        if answer is None:
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.close()
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def forward(url, request):
    """To a server that speaks HTTP in the clear."""
    host = urllib.parse.urlsplit(url).netloc
    peer = http.client.HTTPConnection(host, timeout=10)
    headers = {name: value for name, value in request.headers.items() if name != "host"}
    peer.request(request.method, request.path, request.body, headers | {"Host": request.header("host")})
    answer = peer.getresponse()
    body = answer.read()
    peer.close()
    kept = {name: value for name, value in answer.getheaders() if name.lower() in ("content-type", "etag")}
    return Answer(answer.status, body, kept)


# --- what a server does that it should not ----------------------------------------------------------------------------


def lose(_, __, properly):
    """It is done, and nobody hears of it."""
    properly()


def swallow(*_):
    """Nothing is done, and nobody hears of it."""


def throttle(seconds, status=429):
    def fault(*_):
        return Answer(status, b'{"message": "slow down"}', {"Retry-After": str(seconds)})

    return fault


def says(status, body, kind="application/json"):
    return lambda *_: Answer(status, body, {"Content-Type": kind})


html = says(200, b"<html><body>Welcome to the proxy</body></html>", "text/html")
fails = says(500, b"{}")


def redirect(request, *_):
    """To where it would be answered."""
    return Answer(302, b"", {"Location": f"https://{request.header('host')}{request.path}"})


def flood(request, handler, __):
    """50 MB of JSON; `request.flooded` of them are taken."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    block = b'["' + b"x" * 65530 + b'"]'
    request.flooded = 0
    with contextlib.suppress(OSError):
        for _ in range(50 << 4):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            request.flooded += len(block)


def drip(_, handler, __):
    """A byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(300):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)
