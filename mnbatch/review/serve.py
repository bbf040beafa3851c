"""A small server for one person on one machine: shows OUT and saves decisions straight into its trail.

It listens on the loopback interface alone. The address holds a random token; requests without it, with another Host
(DNS rebinding), from another origin, for a path outside OUT or with a large body are refused.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mnbatch.errors import MnbatchError, StorageError
from mnbatch.results.store import Store
from mnbatch.review.decisions import Decision, parse_decision
from mnbatch.review.importing import queues_of, save_decisions
from mnbatch.review.queue import Queue

LARGEST_BODY = 1 << 20
TOKEN_BYTES = 24
SECONDS = 30.0
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".js": "text/javascript; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
SIGN_FIELDS = ("donor", "name", "role", "reason", "digest")
HIDDEN = {"private", "annotations", "runs"}


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class ReviewServer(ThreadingHTTPServer):
    """Serves one OUT on 127.0.0.1.

    Args:
        rebuild: brings the reports up to date and says in a line what it did.
        sign: signs a donor's result as the form of its page asked, and says so in a line.
        port: 0 for any that is free.

    Attributes:
        token: what the address must hold.
        saved: decisions that were added to the trail so far.

    Raises:
        StorageError: the port is taken.
    """

    daemon_threads = True

    def __init__(
        self, store: Store, rebuild: Callable[[], str], sign: Callable[[Mapping[str, str]], str], port: int = 0
    ) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise StorageError(f"Port {port} cannot be used: {error.strerror}.", "Choose another --port.") from error
        self.store = store
        self.rebuild = rebuild
        self.sign = sign
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.saved = 0
        self._lock = threading.Lock()
        self._queues: dict[str, tuple[object, Queue | None]] = {}

    @property
    def address(self) -> str:
        """Where the batch page is."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/index.html"

    def save(self, decisions: Sequence[Decision]) -> int:
        """Append decisions to the trail; says how many are new.

        Raises:
            MismatchError, LockHeldError, StorageError: as `save_decisions`.
        """
        with self._lock:
            queues = {d.slide_id: self._queue(d.slide_id) for d in decisions}
            added = save_decisions(self.store, decisions, "review serve", queues=queues).added
            self.saved += added
        return added

    def make_report(self) -> str:
        """Bring the reports up to date, one at a time."""
        with self._lock:
            self._queues.clear()
            return self.rebuild()

    def sign_off(self, asked: Mapping[str, str]) -> str:
        """Sign a donor's result; decisions that arrive meanwhile wait.

        Raises:
            MnbatchError: it was refused.
        """
        with self._lock:
            return self.sign(asked)

    def _queue(self, slide_id: str) -> Queue | None:
        """The slide's queue, drawn again only when its record or the plan changed."""
        state = (_mtime(self.store.paths.slide(slide_id).record), _mtime(self.store.paths.review_plan))
        known = self._queues.get(slide_id)
        if known is None or known[0] != state:
            known = (state, queues_of(self.store, {slide_id: None}, "The review")[slide_id])
            self._queues[slide_id] = known
        return known[1]


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = SECONDS
    server_version = "mnbatch"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self._file)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: every line would hold the token."""

    def _answer(self, act: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            kind, data = act(self._checked_path())
            self._send(HTTPStatus.OK, kind, data)
        except _Refused as refused:
            self._fail(refused.status, str(refused))
        except MnbatchError as error:
            self._fail(HTTPStatus.CONFLICT, str(error))

    def _checked_path(self) -> str:
        """The path below the token.

        Raises:
            _Refused: wrong host, origin or token.
        """
        hosts = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
        if self.headers.get("Host") not in hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "This host is not served.")
        origin = self.headers.get("Origin")
        foreign = origin is not None and origin not in {f"http://{host}" for host in hosts}
        if foreign or self.headers.get("Sec-Fetch-Site") == "cross-site":
            raise _Refused(HTTPStatus.FORBIDDEN, "Other origins are refused.")
        if self.command == "POST" and origin is None:
            raise _Refused(HTTPStatus.FORBIDDEN, "A request that says no origin is refused.")
        token, _, path = urlsplit(self.path).path.lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, "The address lacks the token that mnbatch printed.")
        return path

    def _file(self, path: str) -> tuple[str, bytes]:
        root = self.server.store.paths.root
        name = unquote(path) or "index.html"
        try:
            target = (root / name).resolve()
        except (OSError, ValueError):
            target = Path("/")
        parts = target.relative_to(root).parts if target.is_relative_to(root) else ()
        hidden = not parts or parts[0] in HIDDEN or any(part.startswith(".") for part in parts)
        if "\\" in name or hidden or target.suffix not in TYPES or not target.is_file():
            raise _Refused(HTTPStatus.NOT_FOUND, "There is no such page in OUT.")
        return TYPES[target.suffix], target.read_bytes()

    def _post(self, path: str) -> tuple[str, bytes]:
        if path not in ("_review", "_report", "_sign"):
            raise _Refused(HTTPStatus.NOT_FOUND, "Nothing can be sent there.")
        content = self._body()
        if path == "_report":
            return _as_json({"message": self.server.make_report()})
        if path == "_sign":
            return _as_json({"message": self.server.sign_off(_sign_fields(content))})
        rows = content.get("decisions") if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise _Refused(HTTPStatus.BAD_REQUEST, "The body holds no decisions.")
        try:
            decisions = [parse_decision(row, withdrawn=True) for row in rows]
        except (ValueError, AttributeError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"A decision is broken: {error}.") from error
        return _as_json({"added": self.server.save(decisions)})

    def _body(self) -> Any:
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "The body's length is missing.")
        if int(length) > LARGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {LARGEST_BODY} bytes at once.")
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "The body is no JSON.") from error

    def _fail(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._send(status, *_as_json({"error": why}))

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _sign_fields(content: Any) -> dict[str, str]:
    """What the form of a donor's page sends; a digest says what was seen, so none is refused."""
    if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in SIGN_FIELDS):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"A sign-off holds {', '.join(SIGN_FIELDS)}, each a text.")
    if not content["digest"]:
        raise _Refused(HTTPStatus.BAD_REQUEST, "A sign-off must say what it is about.")
    return {name: content[name] for name in SIGN_FIELDS}


def _as_json(content: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(content).encode()


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
