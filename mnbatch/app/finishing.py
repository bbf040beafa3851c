"""`--on-finish`: a command of the laboratory's own that hears how a run ended; whatever it does, the run is done."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO, Any

MOST_SAID = 2000
"""Letters of what the command printed that are kept."""

_ENDING_SECONDS = 2.0


def tell_command(command: str, content: Mapping[str, Any], seconds: float) -> str:
    """Run a shell command with a JSON document on its stdin; it is ended, with what it started, after `seconds`.

    Its input and output are files, so that one that reads nothing, prints without end or leaves children behind holds
    up nobody.

    Returns:
        What went wrong, in one line; "" for nothing.
    """
    try:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(json.dumps(content, indent=1).encode() + b"\n")
            given.seek(0)
            # The command is what the operator typed: a shell is what they expect.
            process = subprocess.Popen(
                command, shell=True, stdin=given, stdout=said, stderr=said, start_new_session=True
            )
            return _outcome(process, seconds, said)
    except (OSError, ValueError) as error:
        return f"it could not be started: {getattr(error, 'strerror', None) or error}"


def _outcome(process: subprocess.Popen[bytes], seconds: float, said: IO[bytes]) -> str:
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"it took longer than {seconds:g} seconds and was ended{_last_words(said)}"
    except BaseException:
        # A second Ctrl+C ends both.
        _end(process)
        raise
    if code == 0:
        return ""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"it ended with {how}{_last_words(said)}"


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, number)
            else:
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_SECONDS)


def _last_words(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - MOST_SAID))
    text = " ".join(said.read(MOST_SAID).decode("utf-8", "replace").split())
    return f": {text}" if text else ""
