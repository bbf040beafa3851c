"""`python -m tests.campaign.run`: all of the campaign, or a part of it; killed, it goes on where it was.

Verdicts lie as JSON lines in FOLDER (`campaign/` by default, ignored by git); the table is made of them.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.campaign.verdicts import Ledger, Part, Verdict, kept

PARTS = {
    "images": "tests.campaign.images:Images",
    "requests": "tests.campaign.requests:Requests",
    "names": "tests.campaign.names:Names",
    "bombs": "tests.campaign.bombs:Bombs",
    "together": "tests.campaign.together:Together",
    "tables": "tests.campaign.tables:Tables",
    "kills": "tests.campaign.kills:Kills",
    "disk": "tests.campaign.disk:Disk",
}
DISTURBED = ("kills", "disk")


def open_part(name: str, folder: Path, seed: int, size: float, only: Sequence[str]) -> Part:
    """A part, ready to be asked for its cases."""
    module, _, kind = PARTS[name].partition(":")
    make = getattr(importlib.import_module(module), kind)
    options: dict[str, Any] = {"scenarios": only} if name in DISTURBED else {"seed": seed, "size": size}
    return make(folder, **options)


def play(name: str, ledger: Ledger, done: set[str], options: argparse.Namespace) -> list[Verdict]:
    """Check what is still to be checked of a part's share; says what was found now."""
    folder = Path(tempfile.mkdtemp(prefix=f"campaign-{name}-"))
    found = []
    try:
        part = open_part(name, folder, options.seed, options.size, options.only)
        try:
            # Commands with a fault at each event: a share of them is every n-th, of each command.
            step = round(1 / options.size) if name in DISTURBED else 1
            cases = list(part.cases())[::step]
            block = getattr(part, "block", 1)
            for number, case in enumerate(cases):
                if case in done or number // block % options.jobs != options.shard:
                    continue
                verdict = part.check(case)
                ledger.add(verdict)
                found.append(verdict)
                if verdict.word in part.wrong:
                    print(f"WRONG {name} {case}: {verdict.word}: {verdict.detail}", flush=True)
                if options.verbose and number % 50 == 0:
                    print(f"{time.strftime('%H:%M:%S')} {name} {number}/{len(cases)}", flush=True)
        finally:
            part.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def wrong_words(name: str) -> frozenset[str]:
    """The words that are faults of a part."""
    module, _, kind = PARTS[name].partition(":")
    return getattr(importlib.import_module(module), kind).wrong | {"ended early"}


def table(folder: Path) -> str:
    """Verdicts by part and word, in Markdown."""
    counts: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in PARTS}
    for verdict in kept(folder):
        counts.setdefault(verdict.part, collections.Counter())[verdict.word] += 1
    lines = ["| part | cases | verdicts | wrong |", "|---|---|---|---|"]
    for name, words in counts.items():
        wrong = sum(number for word, number in words.items() if word in wrong_words(name))
        said = ", ".join(f"{number} {word}" for word, number in words.most_common())
        lines.append(f"| {name} | {words.total()} | {said} | {wrong} |")
    return "\n".join(lines)


def main() -> int:
    """Play; exit code 1 where something is wrong."""
    options = _options()
    folder = Path(options.folder)
    if not options.table:
        if options.shard is not None:
            return _share(options, folder)
        _spread(options)
    print(table(folder))
    return 1 if any(verdict.word in wrong_words(verdict.part) for verdict in kept(folder)) else 0


def _share(options: argparse.Namespace, folder: Path) -> int:
    """One part's share, in this process."""
    (name,) = options.part
    done = {verdict.case for verdict in kept(folder) if verdict.part == name}
    play(name, Ledger(folder / f"{name}-{options.shard}.jsonl"), done, options)
    return 0


def _spread(options: argparse.Namespace) -> None:
    """Each part in processes of its own, which share its cases; what one left cannot meet another."""
    typed = [f"--folder={options.folder}", f"--seed={options.seed}", f"--size={options.size}"]
    typed += [f"--only={name}" for name in options.only] + ["--verbose"] * options.verbose
    command = [sys.executable, "-m", "tests.campaign.run", *typed, f"--jobs={options.jobs}"]

    def shard(number: int) -> None:
        for name in options.part or PARTS:
            done = subprocess.run([*command, f"--part={name}", f"--shard={number}"], check=False)
            if done.returncode:
                Ledger(Path(options.folder) / f"{name}-{number}.jsonl").add(
                    Verdict(name, f"process {number}", "ended early", f"exit {done.returncode}")
                )

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(shard, range(options.jobs)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="campaign", help="where verdicts are kept")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--size", type=float, default=1.0, help="1: all of it")
    parser.add_argument("--part", action="append", choices=sorted(PARTS))
    parser.add_argument("--only", action="append", default=[], help="of kills and disk: this command alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes beside each other")
    parser.add_argument("--shard", type=int, help="play this share alone (of --jobs), in this process")
    parser.add_argument("--table", action="store_true", help="only the table of what is there")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
