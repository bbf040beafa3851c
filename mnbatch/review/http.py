"""waitress, as the review server uses it: what it parses, how many it serves, how it stops.

waitress is kept by others, and its parsing of requests has been attacked for years; what it leaves to us is here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer, create_server

from mnbatch.errors import StorageError

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
