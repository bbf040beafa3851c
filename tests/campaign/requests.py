"""Hostile and broken HTTP requests at a real `mnbatch review serve`, by raw sockets, twenty clients at once.

A whole and well-formed request is answered, whatever it asks for, with 2xx or 4xx; nothing private comes back; the
server says no traceback and serves its page afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.forking import adopt_orphans, import_everything
from tests.campaign.stage import SCENARIOS, Stage
from tests.campaign.verdicts import Verdict

ALL = 1000
ROUND = 100
CLIENTS = 20
SECONDS = 40.0
SECRET = "mnx-secret-of-this-laboratory"
ALLOWED = re.compile(rb"HTTP/1\.[01] (2\d\d|30[1237]|4\d\d) ")
PRIVATE = (
    "private/names.json",
    "PRIVATE/names.json",
    "Private/key.html",
    "annotations/secret.json",
    "annotations/note.html",
    "Annotations/note.html",
    "runs/x.json",
    "RUNS/x.json",
    "manifest.json",
    "MANIFEST.JSON",
    "slides/s1/secret.json",
    "slides/s1/g1/secret.json",
    ".hidden/x.html",
    "slides/s1/.tmp-x.html",
    "../secret.html",
    "link.html",
    "linked/secret.html",
)
SPELLINGS = (
    lambda path: path,
    lambda path: "%2e".join(path.split(".")),
    lambda path: path.replace("/", "%2f"),
    lambda path: path.replace("/", "//"),
    lambda path: path.replace("/", "/./"),
    lambda path: "slides/../" + path,
    lambda path: "slides/s1/%2e%2e/../" + path,
    lambda path: path.replace("/", "\\"),
    lambda path: path.replace("/", "%5c"),
    lambda path: path + "?x=.html",
    lambda path: path + "%00.html",
    lambda path: path + "#.html",
    lambda path: path + "/",
    lambda path: path + ".",
    lambda path: "".join(f"%{byte:02x}" for byte in path.encode()),
    lambda path: path.swapcase(),
    lambda path: "%252e%252e/" + path,
    lambda path: path + "::$DATA",
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends.

    Attributes:
        parts: sent one after the other; {token} and {port} are filled in.
        whole: a complete, well-formed request of HTTP/1.1 or 1.0: it must be answered.
        served: it asks for a page that is served: 200.
    """

    parts: tuple[bytes, ...]
    whole: bool = True
    served: bool = False


def make_request(seed: int, number: int) -> Request:
    """The `number`-th request of a campaign."""
    rng = random.Random(f"{seed}:{number}")
    kinds = (_page, _private, _private, _line, _headers, _length, _body, _body, _decisions, _sign, _origin, _cut)
    return kinds[number % len(kinds)](rng)


def _get(path: str | bytes, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
    lines = ["Host: 127.0.0.1:{port}", "Connection: close", *headers]
    return f"{method} ".encode() + raw + f" {version}\r\n".encode() + "\r\n".join([*lines, "", ""]).encode("latin-1")


def _post(path: str, body: bytes, *headers: str) -> bytes:
    own = ("Origin: http://127.0.0.1:{port}", "Content-Type: application/json", f"Content-Length: {len(body)}")
    return _get("/{token}/" + path, *own, *headers, method="POST") + body


def _page(rng: random.Random) -> Request:
    page = rng.choice(
        ("index.html", "slides/s1/index.html", "slides/s2/gallery.html", "", "slides.csv", "%69ndex.html")
    )
    return Request((_get("/{token}/" + page),), served=True)


def _private(rng: random.Random) -> Request:
    path = rng.choice(SPELLINGS)(rng.choice(PRIVATE))
    token = rng.choice(("/{token}/", "/{token}/", "/{token}//", "/", "/wrong/", "//{token}/", "/{token}/../"))
    return Request((_get(token + path),))


def _line(rng: random.Random) -> Request:
    lines = (
        b"GET http://[ HTTP/1.1",
        b"GET",
        b"",
        b"GET  HTTP/1.1",
        b"GET /{token}/index.html",
        b"GET / HTTP/9.9",
        b"GET / FTP/1.0",
        b"\x00\x01\x02",
        b"GET /\x00 HTTP/1.1",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"CONNECT x:1 HTTP/1.1",
        b"GET /{token}/\xff\xfe HTTP/1.1",
        b"BREW /{token}/ HTTP/1.1",
        b"GET //[::1 HTTP/1.1",
        b"GET http://[::1]:x/ HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"DELETE /{token}/index.html HTTP/1.1",
        b"PUT /{token}/x HTTP/1.1",
        b"HEAD /{token}/index.html HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET / HTTP/1.1 HTTP/1.1",
        b"GET / HTTP/" + b"1" * 5000,
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /%zz%u1234 HTTP/1.1",
        b"GET /{token}/" + b"%2e%2e/" * 900 + b" HTTP/1.1",
    )
    return Request((rng.choice(lines) + b"\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n",), whole=False)


def _headers(rng: random.Random) -> Request:
    strange = (
        ("X: " + "a" * 70_000, False),
        ("no colon here", False),
        (": empty", False),
        ("Host: evil.example", False),
        ("X\0: y", False),
        ("\r\n".join(f"X{i}: y" for i in range(3000)), False),
        ("X: \xff\xfe", True),
        (" folded: x", False),
        ("Range: bytes=0-", True),
        ("Cookie: " + "a=b; " * 500, True),
        ("If-Modified-Since: never", True),
        ("Accept-Encoding: gzip;q=NaN", True),
        ("Transfer-Encoding: chunked", False),
        ("Expect: 100-continue", False),
        ("Upgrade: h2c", True),
        ("Content-Length: -1", False),
        ("Sec-Fetch-Site: cross-site", True),
        ("Connection: keep-alive", False),
    )
    header, whole = rng.choice(strange)
    return Request((_get("/{token}/index.html", header),), whole=whole)


def _length(rng: random.Random) -> Request:
    lengths = (
        "9" * 5000,
        "-1",
        "+5",
        "1_0",
        "0x10",
        "5.0",
        "",
        " ",
        "1e3",
        "\u00b2",
        "5, 5",
        str(1 << 63),
        "NaN",
        "0",
        "99999999",
    )
    own = (
        "Origin: http://127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {rng.choice(lengths)}",
    )
    return Request((_get("/{token}/_review", *own, method="POST"), b"{}"), whole=False)


def _body(rng: random.Random) -> Request:
    bodies = (
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"{",
        b"",
        b"null",
        b"[1,2]",
        b'"x"',
        b"1" * 10_000,
        b"\xff\xfe{}",
        b'{"decisions":1}',
        b'{"decisions":[[]]}',
        b'{"decisions":[null]}',
        b'{"decisions":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b"NaN",
        b"1e999",
        b'{"decisions":[' + b"{}," * 50_000 + b"{}]}",
        b'"\\ud800"',
        b'{"\\u0000":1}',
        b"\x00" * 1000,
        b"a" * (1 << 20),
        b"{" + b" " * (3 << 20) + b"}",
        b"-" + b"9" * 200_000,
        b'{"decisions":[]}',
        b"[" * 900 + b"]" * 900,
    )
    path = rng.choice(
        ("_review", "_review", "_sign", "_report", "slides/s1/record.json", "_review/../_sign", "%5freview")
    )
    return Request((_post(path, rng.choice(bodies)),))


def _junk(rng: random.Random) -> object:
    values = (
        "",
        "\0",
        "s1",
        "s1:d/s1/cell0001.tif",
        "../../x",
        "a" * 5000,
        "\ud800",
        0,
        -1,
        1e308,
        True,
        None,
        [],
        {},
        [[]],
        "mn",
        "2026-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59+00:00",
        "0001-01-01T00:00:00+23:59",
        "9" * 5000,
        10**400,
        "NaN",
        "CON",
        "s1\n",
        "s1/..",
        "%00",
    )
    return rng.choice(values)


def _decisions(rng: random.Random) -> Request:
    fields = (
        "slide_id",
        "cell_id",
        "decision",
        "count",
        "reviewer",
        "time",
        "stratum",
        "inclusion_probability",
        "model_digest",
        "result_key",
    )
    known = {
        "slide_id": "s1",
        "cell_id": "s1:d/s1/cell0001.tif",
        "decision": "mn",
        "count": None,
        "reviewer": "Eve",
        "stratum": "called",
        "time": "2026-11-23T10:00:00+00:00",
        "inclusion_probability": 1.0,
        "model_digest": "ab" * 32,
        "result_key": "k",
    }
    row = dict(known)
    for name in rng.sample(fields, rng.randint(1, 3)):
        row[name] = _junk(rng)  # type: ignore[assignment]
    return Request((_post("_review", json.dumps({"decisions": [row] * rng.randint(1, 3)}).encode()),))


def _sign(rng: random.Random) -> Request:
    known = {"donor": "D1", "name": "Eve", "role": "", "reason": "x", "digest": "ab" * 16}
    for name in rng.sample(sorted(known), rng.randint(1, 3)):
        known[name] = _junk(rng)  # type: ignore[assignment]
    return Request((_post("_sign", json.dumps(known).encode()),))


def _origin(rng: random.Random) -> Request:
    origins = (
        "null",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:{port}.evil",
        "file://",
        "",
        "http://localhost:{port}x",
    )
    host = rng.choice(
        ("Host: evil.example", "Host: 127.0.0.1", "Host: [::1]:{port}", "Host:", "Host: localhost:{port}@evil")
    )
    own = (f"Origin: {rng.choice(origins)}", "Content-Type: application/json", "Content-Length: 2", host)
    line = "POST /{token}/_review HTTP/1.1\r\n" + "\r\n".join((*own, "Connection: close", "", "")) + "{}"
    return Request((line.encode(),))


def _cut(rng: random.Random) -> Request:
    whole = rng.choice((_get("/{token}/index.html"), _post("_review", b'{"decisions": []}'), _post("_report", b"{}")))
    at = rng.randrange(1, len(whole))
    return Request((whole[:at],), whole=False)


class Requests:
    """See the module.

    Args:
        folder: an empty one.
        size: share of the requests.
    """

    name = "requests"
    wrong = frozenset({"no answer", "bad status", "leak", "not served", "traceback", "server ended"})
    block = ROUND

    def __init__(self, folder: Path, seed: int = 2026, size: float = 1.0) -> None:
        self._seed, self._count = seed, max(1, round(ALL * size))
        adopt_orphans()
        import_everything()
        stage = Stage(folder / "stage", [s for s in SCENARIOS if s.name == "review sign"])
        self._out = folder / "out"
        shutil.copytree(folder / "stage/states/reviewed/out", self._out)
        _hide_secrets(self._out)
        del stage
        self._rounds: dict[int, list[tuple[str, str]]] = {}
        self._errors = (folder / "stderr").open("w+b")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "mnbatch", "review", "serve", str(self._out)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert self._server.stdout is not None
        for line in self._server.stdout:
            found = re.search(rb"http://127\.0\.0\.1:(\d+)/([^/\s]+)/", line)
            if found:
                self._port, self._token = int(found[1]), found[2]
                break
        else:
            raise AssertionError("the server said no address")

    def cases(self) -> list[str]:
        """One a request."""
        return [str(number) for number in range(self._count)]

    def check(self, case: str) -> Verdict:
        """Play the round of the request, where it was not played yet."""
        number = int(case)
        if number // ROUND not in self._rounds:
            self._rounds[number // ROUND] = self._play(number // ROUND)
        return Verdict(self.name, case, *self._rounds[number // ROUND][number % ROUND])

    def close(self) -> None:
        """End the server."""
        self._server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(20)
        self._server.kill()
        self._server.wait()
        self._errors.close()

    def _play(self, number: int) -> list[tuple[str, str]]:
        requests = [make_request(self._seed, number * ROUND + place) for place in range(ROUND)]
        with ThreadPoolExecutor(CLIENTS) as clients:
            found = list(clients.map(self._judge, requests))
        index = self._judge(Request((_get("/{token}/index.html"),), served=True))
        if self._server.poll() is not None or index[0] != "answered":
            found[-1] = ("server ended", f"{self._server.poll()} {index}")
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        if "Traceback" in said:
            found[-1] = ("traceback", said[-1500:])
            self._errors.seek(0)
            self._errors.truncate()
        return found

    def _judge(self, request: Request) -> tuple[str, str]:
        sent = [
            part.replace(b"{port}", str(self._port).encode()).replace(b"{token}", self._token) for part in request.parts
        ]
        answer, end = _exchange(self._port, sent)
        what = f"{sent[0][:120]!r} -> {answer[:60]!r} {end}"
        if SECRET.encode() in answer:
            return "leak", what
        if not answer:
            return ("no answer", what) if request.whole else ("closed", "")
        if not ALLOWED.match(answer) and (request.whole or re.match(rb"HTTP/1\.[01] 5(?!0[15])", answer)):
            return "bad status", what
        if request.served and b" 200 " not in answer[:16]:
            return "not served", what
        return "answered", ""


def _exchange(port: int, parts: list[bytes]) -> tuple[bytes, str]:
    """Send, and read until the server closes; what came, and how it ended."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            # A server that refuses a body half way may have closed its side; what it said is read all the same.
            with contextlib.suppress(OSError):
                for part in parts:
                    client.sendall(part)
                client.shutdown(socket.SHUT_WR)
            while True:
                data = client.recv(1 << 16)
                if not data:
                    return answer, "closed"
                answer += data
    except OSError as error:
        return answer, type(error).__name__


def _hide_secrets(out: Path) -> None:
    (out.parent / "secret.html").write_text(SECRET)
    for name in PRIVATE[:-3]:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps({"settings": {}, "secret": SECRET}))
    (out / "link.html").symlink_to(out.parent / "secret.html")
    (out / "linked").symlink_to(out.parent)
