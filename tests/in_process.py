"""The command line in this process: starting one for each case would take longer than all the rest."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest

from mnbatch.cli import main


def mnbatch(*arguments):
    """The command line in this process: starting one for each of these cases would take longer than all the rest."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mnbatch", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0  # type: ignore[assignment]
    stdout, stderr = (stream.buffer.getvalue().decode() for stream in streams)
    return SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)
