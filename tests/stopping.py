"""A real `mnbatch` process that gets a signal at a named event, not after a time: a busy machine changes nothing."""

import subprocess
import sys

LIMIT_SECONDS = 900
"""Ends a test that hangs; no test depends on it."""

_START = """
import os, re, signal, sys
pattern, event, number, signum = re.compile(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
seen, parent = 0, os.getpid()
def watch(name, arguments):
    global seen
    if name != event or os.getpid() != parent:
        return
    path = arguments[1 if name == "os.rename" else 0]
    if not isinstance(path, (str, bytes)) or not pattern.search(os.fsdecode(path)):
        return
    seen += 1
    if seen == number:
        os.kill(parent, signum)
sys.addaudithook(watch)
sys.argv[:] = ["mnbatch", *sys.argv[5:]]
from mnbatch.cli import main
main()
"""


def run_with_signal(arguments, *, event, path, number=1, signum):
    """Run `mnbatch ARGUMENTS`; it gets `signum` as its `number`-th `event` on a path that matches begins.

    Args:
        event: name of an audit event: `os.mkdir`, `open`, or `os.rename` (matched by its target).
        path: regular expression, searched in the path.

    Returns:
        The finished process, with its output as text.
    """
    command = [sys.executable, "-c", _START, path, event, str(number), str(int(signum)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
