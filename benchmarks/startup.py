"""Start-up of commands against importing scipy, processor time of both: python benchmarks/startup.py OUT EXPORT [N].

Modules are compiled in a first round that does not count, as an installation does: where PYTHONDONTWRITEBYTECODE is
set, every start would compile mnbatch again, and scipy not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile


def seconds(compiled: str, *arguments: str) -> float:
    """Processor time of a process, user and system; waiting for a disk or for other programs is not in it.

    Args:
        compiled: folder of compiled modules.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = compiled
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print medians, alternating between the commands so that a busy machine serves all alike."""
    out, export = sys.argv[1:3]
    number = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    cases = {
        "empty Python": ("-c", "pass"),
        "import scipy": ("-c", "import scipy"),
        "mnbatch --version": ("-m", "mnbatch", "--version"),
        "mnbatch status": ("-m", "mnbatch", "status", out),
        "mnbatch scan --quick": ("-m", "mnbatch", "scan", "--quick", export),
        "mnbatch scan": ("-m", "mnbatch", "scan", export),
        "mnbatch report": ("-m", "mnbatch", "report", out),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as compiled:
        for turn in range(number + 1):
            for name, arguments in cases.items():
                took = seconds(compiled, *arguments)
                if turn:
                    taken[name].append(took)
    scipy = statistics.median(taken["import scipy"])
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:20} {median:6.2f} s   {median / scipy:5.2f} times importing scipy")


if __name__ == "__main__":
    main()
