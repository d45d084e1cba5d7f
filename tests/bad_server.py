"""A web server on this machine that misbehaves in one way for each path."""

import gzip
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = ("One line of a tiny corpus.\n" * 400).encode()
LENGTH = len(CONTENT)


class Handler(BaseHTTPRequestHandler):
    """Serve CONTENT well at /good and badly elsewhere; the server counts the requests."""

    def do_GET(self):
        """Answer as the first part of the path says; the client may have gone meanwhile."""
        kind = self.path.split("/")[1].replace("-", "_")
        self.server.requests[kind] += 1
        with suppress(ConnectionError):
            getattr(self, kind)()

    def start(self, status=200, length=LENGTH, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def good(self):
        self.start()
        self.wfile.write(CONTENT)

    def encoded(self):
        """Serve the content, calling it gzip, as some servers do with archives."""
        self.start(**{"Content-Encoding": "gzip"})
        self.wfile.write(CONTENT)

    def packed(self):
        """Serve the content as gzip to a client that takes it."""
        takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        content = gzip.compress(CONTENT) if takes_gzip else CONTENT
        self.start(length=len(content), **({"Content-Encoding": "gzip"} if takes_gzip else {}))
        self.wfile.write(content)

    def missing(self):
        self.start(404, 9)
        self.wfile.write(b"not found")

    def broken(self):
        self.start(500, 0)

    def flaky(self):
        self.broken() if self.server.requests["flaky"] == 1 else self.good()

    def wrong(self):
        """Serve another content of the same length."""
        self.start()
        self.wfile.write(CONTENT.swapcase())

    def truncated(self):
        """Promise the whole content, send half of it and hang up."""
        self.start()
        self.wfile.write(CONTENT[: LENGTH // 2])

    def endless(self):
        """Send the content again and again, without saying how long it is."""
        self.send_response(200)
        self.end_headers()
        while not self.server.stopping.is_set():
            self.wfile.write(CONTENT)

    def moved(self):
        self.start(301, 0, Location="/good/file")

    def hang(self):
        self.server.stopping.wait()

    def hang_midway(self):
        """Send half of the content, then nothing, but stay on the line."""
        self.truncated()
        self.wfile.flush()
        self.server.stopping.wait()

    def trickle(self):
        self.start()
        self.trickle_bytes(CONTENT)

    def trickle_headers(self):
        self.trickle_bytes(b"HTTP/1.0 200 OK\r\n" + b"X-Header: more\r\n" * 1000)

    def trickle_bytes(self, content):
        """Send one byte every 10 ms until the server stops."""
        for i in range(len(content)):
            self.wfile.write(content[i : i + 1])
            if self.server.stopping.wait(0.01):
                break

    def together(self):
        """Serve the content to two clients at the same time, and to one alone not at all."""
        self.server.pair.wait(timeout=30)
        self.good()

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def bad_server():
    """Run the server; yield it with `url` (where it listens) and `requests` (a Counter)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.requests, server.stopping = Counter(), threading.Event()
    server.pair = threading.Barrier(2)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
