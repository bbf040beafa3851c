"""A small server for one person on one machine: shows OUT and saves decisions straight into its trail."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer, create_server

from mnbatch.errors import MnbatchError, StorageError
from mnbatch.intake import parse_json, read_bytes
from mnbatch.results.store import Store
from mnbatch.review.decisions import Decision, parse_decision
from mnbatch.review.queue import Queue
from mnbatch.review.review_import import queues_of, save_decisions
from mnbatch.review.review_status import saved_decisions
from mnbatch.review.served_place import TOKEN_BYTES, set_due
from mnbatch.review.trail import read_trail

# What the review server shows of OUT: a list of what pages need, and nothing else.
#
# Names must be those of the file system, byte for byte: where it takes `PRIVATE` for `private`, a list of what is
# hidden would not hide it. Links are not followed.


_NAME = r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]*"
SHOWN = re.compile(
    r"index\.html|slides\.csv|donors\.csv|donors\.xlsx"
    rf"|donors/{_NAME}/(index|sheet|gallery)\.html"
    rf"|slides/{_NAME}/(index\.html|gallery\.html|cells\.csv|contact-sheet\.png|gallery/[\w-]+\.(jpg|png|js))",
    re.ASCII,
)
"""Paths in OUT that may be asked for."""


def shown_file(root: Path, name: str) -> bytes | None:
    """The bytes of a file that pages need; None for everything else.

    Args:
        root: OUT.
        name: path below it, forward slashes, as text.
    """
    if SHOWN.fullmatch(name) is None:
        return None
    path = root
    try:
        for part in name.split("/"):
            if part not in os.listdir(path) or (path / part).is_symlink():
                return None
            path /= part
        return _regular(path)
    except (OSError, ValueError):
        return None


def _regular(path: Path) -> bytes | None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


# waitress, as the review server uses it: what it parses, how many it serves, how it stops.
#
# waitress is kept by others, and its parsing of requests has been attacked for years; what it leaves to us is here.


THREADS = 8
CONNECTIONS = 200
"""At once; others wait in the backlog."""

IDLE_SECONDS = 60

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    def parse_header(self, header_plus: bytes) -> None:
        """As waitress; addresses (`http://[`) and lengths of 5000 digits that Python refuses are the client's fault."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("The request cannot be read") from error


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser


def listening(app: App, port: int, largest_body: int) -> TcpWSGIServer:
    """A server of `app` on the loopback interface; it accepts at once and answers when `run`.

    Raises:
        StorageError: the port is taken.
    """
    quiet = logging.getLogger("waitress")
    # It would say on stderr what clients do wrong, with tracebacks.
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    try:
        server = create_server(
            app,
            host="127.0.0.1",
            port=port,
            ident=None,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=5,
            max_request_body_size=largest_body + 1,
            asyncore_use_poll=True,
        )
    except OSError as error:
        raise StorageError(f"Port {port} cannot be used: {error.strerror}.", "Choose another --port.") from error
    server.channel_class = _Channel
    return server


def stop(server: TcpWSGIServer) -> None:
    """Let `run` return; called from any thread."""
    # Asked twice, the pipe that wakes it may be closed by now: then it has returned, or is about to.
    with contextlib.suppress(OSError):
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))


def close(server: TcpWSGIServer) -> None:
    """End its threads and free its sockets, after `run` or without it."""
    server.task_dispatcher.shutdown()
    with contextlib.suppress(OSError):
        wasyncore.close_all(server._map)


# A small server for one person on one machine: shows OUT and saves decisions straight into its trail.
#
# It listens on the loopback interface alone. The address holds a random token; requests without it, with another Host
# (DNS rebinding), from another origin, for anything but what pages need or with a large body are refused.


LARGEST_BODY = 1 << 20
OPENING = "_open"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".js": "text/javascript; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    # Each page has a stricter one of its own in its head; both hold.
    ("Content-Security-Policy", "frame-ancestors 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"),
)
SIGN_FIELDS = ("donor", "name", "role", "reason", "digest")
_SLIDE_ID = re.compile(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,254}")


class DonorVerdicts(Protocol):
    """What the server says of verdicts (`review serve --decide`)."""

    def of_donor(self, donor: str) -> dict[str, Any] | None:
        """A donor's verdict and who is next; None for an unknown donor."""


VERDICT_SCRIPT = "_verdict.js"
_SCRIPT_FILE = Path(__file__).with_name("verdict.js")
_GALLERY = re.compile(rf"donors/{_NAME}/gallery\.html", re.ASCII)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


class ReviewActions(Protocol):
    """What the server has done for pages beyond saving decisions."""

    def rebuild(self) -> str:
        """Bring the reports up to date and say in a line what was done."""

    def sign(self, asked: Mapping[str, str]) -> str:
        """Sign a donor's result as the form of its page asked, and say so."""


class ReviewServer:
    """Serves one OUT on 127.0.0.1.

    Args:
        actions: makes reports and signs.
        port: 0 for any that is free.
        token: of an earlier server of this OUT, so that its pages find this one; None for a new one.

    Attributes:
        token: what the address must hold.
        saved: decisions that were added to the trail so far.
        server_address: host and port that it listens on.
        verdicts: what is said of donors that are decided while a person looks; None where nothing is decided.

    Raises:
        StorageError: the port is taken.
    """

    def __init__(
        self,
        store: Store,
        actions: ReviewActions,
        port: int = 0,
        token: str | None = None,
        verdicts: DonorVerdicts | None = None,
    ) -> None:
        self.store = store
        self.verdicts = verdicts
        self.actions = actions
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self.saved = 0
        self._lock = threading.Lock()
        self._queues: dict[str, tuple[object, Queue | None]] = {}
        self._ticket = ""
        self._http = listening(self._answer, port, LARGEST_BODY)
        self.server_address = ("127.0.0.1", int(self._http.effective_port))
        self.server_port = self.server_address[1]
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close(self._http)

    @property
    def address(self) -> str:
        """Where the batch page is."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/index.html"

    def opening_address(self) -> str:
        """An address that leads to `address` once: a browser's command line can be read by everyone on the machine."""
        self._ticket = secrets.token_urlsafe(TOKEN_BYTES)
        return f"http://127.0.0.1:{self.server_port}/{OPENING}/{self._ticket}"

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Answer until `shutdown`, Ctrl-C or SystemExit.

        Args:
            poll_interval: as of `socketserver`; nothing is polled.
        """
        self._http.run()

    def shutdown(self) -> None:
        """Let `serve_forever` return."""
        stop(self._http)

    def save(self, decisions: Sequence[Decision]) -> int:
        """Append decisions to the trail; says how many are new.

        Raises:
            MismatchError, LockHeldError, StorageError: as `save_decisions`.
        """
        with self._lock:
            queues = {d.slide_id: self._queue(d.slide_id) for d in decisions}
            # First: a kill after the decisions were saved must not hide that their report is missing.
            set_due(self.store.paths, True)
            # The gallery asks about a name that reads the same as a known one.
            done = save_decisions(self.store, decisions, "review serve", queues=queues, names_asked=True)
            added = done.added
            self.saved += added
        return added

    def make_report(self) -> str:
        """Bring the reports up to date, one at a time."""
        with self._lock:
            self._queues.clear()
            return self.actions.rebuild()

    def decided(self, slide_id: str) -> dict[str, Any]:
        """What the trail holds of a slide now, as its page's data.js has it of the latest report.

        Raises:
            MismatchError: no such slide.
            StorageError: the trail cannot be read.
        """
        with self._lock:
            queue = self._queue(slide_id)
            trail = read_trail(self.store.paths, slide_id)
        if queue is None:
            return {"key": "", "saved": {}, "altered": list(trail.altered)}
        return {"key": queue.result_key, "saved": saved_decisions(queue, trail), "altered": list(trail.altered)}

    def sign_off(self, asked: Mapping[str, str]) -> str:
        """Sign a donor's result; decisions that arrive meanwhile wait.

        Raises:
            MnbatchError: it was refused.
        """
        with self._lock:
            return self.actions.sign(asked)

    def _queue(self, slide_id: str) -> Queue | None:
        """The slide's queue, drawn again only when its record or the plan changed."""
        state = (_mtime(self.store.paths.slide(slide_id).record), _mtime(self.store.paths.review_plan))
        known = self._queues.get(slide_id)
        if known is None or known[0] != state:
            known = (state, queues_of(self.store, {slide_id: None}, "The review")[slide_id])
            self._queues[slide_id] = known
        return known[1]

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """One request (WSGI); an unforeseen error becomes a 500 of waitress."""
        request, more = _Request(self, environ), {}
        try:
            status, (kind, data) = HTTPStatus.OK, request.answer()
        except _Refused as refused:
            status, more = refused.status, refused.headers
            kind, data = _as_json({"error": str(refused)})
        except MnbatchError as error:
            status, (kind, data) = HTTPStatus.CONFLICT, _as_json({"error": str(error)})
        fixed = [("Content-Type", kind), ("Content-Length", str(len(data))), *HEADERS, *more.items()]
        start(f"{status.value} {status.phrase}", fixed)
        return [] if request.method == "HEAD" else [data]

    def use_ticket(self, ticket: str) -> bool:
        """Whether this is the ticket of `opening_address`, which is used up by asking."""
        with self._lock:
            known, self._ticket = self._ticket, ""
        return bool(known) and _same(ticket, known)


class _Request:
    def __init__(self, server: ReviewServer, environ: Mapping[str, Any]) -> None:
        self.server = server
        self.method = str(environ["REQUEST_METHOD"])
        self._environ = environ

    def answer(self) -> tuple[str, bytes]:
        """Type and bytes.

        Raises:
            _Refused: it is not served.
            MnbatchError: it was understood and could not be done.
        """
        if self.method not in ("GET", "HEAD", "POST"):
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET, HEAD and POST.", Allow="GET, HEAD, POST")
        self._check_host()
        self._check_origin()
        first, _, path = self._path().lstrip("/").partition("/")
        if first == OPENING and self.method == "GET":
            if not self.server.use_ticket(path):
                raise _Refused(HTTPStatus.GONE, "This address was used already; use the one that mnbatch printed.")
            raise _Refused(HTTPStatus.SEE_OTHER, "", Location=self.server.address)
        if not _same(first, self.server.token):
            raise _Refused(HTTPStatus.FORBIDDEN, "The address lacks the token that mnbatch printed.")
        return self._post(path) if self.method == "POST" else self._file(path or "index.html")

    def _check_host(self) -> None:
        host = self._environ.get("HTTP_HOST", "")
        if not host or "," in host:
            raise _Refused(HTTPStatus.BAD_REQUEST, "A request names one host.")
        asked = str(self._environ.get("REQUEST_URI", ""))
        named = host if asked.startswith("/") else urlsplit(asked).netloc or host
        if host not in self.server.hosts or named not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "This host is not served.")

    def _check_origin(self) -> None:
        origin = self._environ.get("HTTP_ORIGIN")
        foreign = origin is not None and origin not in {f"http://{host}" for host in self.server.hosts}
        if foreign or self._environ.get("HTTP_SEC_FETCH_SITE") == "cross-site":
            raise _Refused(HTTPStatus.FORBIDDEN, "Other origins are refused.")
        if self.method == "POST" and origin is None:
            raise _Refused(HTTPStatus.FORBIDDEN, "A request without an origin is refused.")

    def _path(self) -> str:
        # WSGI carries bytes as Latin-1.
        return str(self._environ["PATH_INFO"]).encode("latin-1", "replace").decode("utf-8", "replace")

    def _file(self, name: str) -> tuple[str, bytes]:
        folder, _, slide_id = name.partition("/")
        if folder == "_decisions":
            if not _SLIDE_ID.fullmatch(slide_id):
                raise _Refused(HTTPStatus.NOT_FOUND, "There is no such slide in OUT.")
            return _as_json(self.server.decided(slide_id))
        if self.server.verdicts is not None and name.startswith("_verdict"):
            return self._verdict(name, self.server.verdicts)
        data = shown_file(self.server.store.paths.root, name)
        if data is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "There is no such page in OUT.")
        if self.server.verdicts is not None and _GALLERY.fullmatch(name):
            # The page in OUT stays as it is: it also works without the server, where nothing can be decided.
            data += f'<script src="/{self.server.token}/{VERDICT_SCRIPT}"></script>\n'.encode()
        return TYPES[Path(name).suffix], data

    def _verdict(self, name: str, verdicts: DonorVerdicts) -> tuple[str, bytes]:
        """The script that shows verdicts, or one donor's as JSON (`_verdict/<donor>`)."""
        if name == VERDICT_SCRIPT:
            return TYPES[".js"], read_bytes(_SCRIPT_FILE)
        found = verdicts.of_donor(name.removeprefix("_verdict/"))
        if found is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "There is no such donor in OUT.")
        return _as_json(found)

    def _post(self, path: str) -> tuple[str, bytes]:
        if path not in ("_review", "_report", "_sign"):
            raise _Refused(HTTPStatus.NOT_FOUND, "Nothing can be sent there.")
        content = self._body()
        if path == "_report":
            return _as_json({"message": self.server.make_report()})
        if path == "_sign":
            return _as_json({"message": self.server.sign_off(_sign_fields(content))})
        return _as_json({"added": self.server.save(_decisions(content))})

    def _body(self) -> Any:
        kind = str(self._environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
        if kind != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON.")
        length = str(self._environ.get("CONTENT_LENGTH", ""))
        if not length.isdecimal():
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "The body's length is missing.")
        try:
            return parse_json(self._environ["wsgi.input"].read(LARGEST_BODY))
        except ValueError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "The body is not JSON.") from error


def _decisions(content: Any) -> list[Decision]:
    rows = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise _Refused(HTTPStatus.BAD_REQUEST, "The body holds no decisions.")
    try:
        decisions = [parse_decision(row, withdrawn=True) for row in rows]
        if not all(_SLIDE_ID.fullmatch(decision.slide_id) for decision in decisions):
            raise ValueError("a slide_id that is none")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"A decision is broken: {error}.") from error
    return decisions


def _sign_fields(content: Any) -> dict[str, str]:
    """What the form of a donor's page sends; a digest says what was seen, so none is refused."""
    if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in SIGN_FIELDS):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"A sign-off holds {', '.join(SIGN_FIELDS)}, each a text.")
    if not content["digest"]:
        raise _Refused(HTTPStatus.BAD_REQUEST, "A sign-off must state what it is about.")
    return {name: content[name] for name in SIGN_FIELDS}


def _same(one: str, other: str) -> bool:
    """In a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _as_json(content: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(content).encode()


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0
