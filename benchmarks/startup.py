"""Start-up of commands against importing scipy, processor time of both: python benchmarks/startup.py OUT EXPORT [N]."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys


def seconds(*arguments: str) -> float:
    """Processor time of a process, user and system; waiting for a disk or for other programs is not in it."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        "mnbatch scan": ("-m", "mnbatch", "scan", export),
        "mnbatch report": ("-m", "mnbatch", "report", out),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(number):
        for name, arguments in cases.items():
            taken[name].append(seconds(*arguments))
    scipy = statistics.median(taken["import scipy"])
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:20} {median:6.2f} s   {median / scipy:5.2f} times importing scipy")


if __name__ == "__main__":
    main()
