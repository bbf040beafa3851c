"""Files of many slides made beside each other: in one process a first report over ten thousand slides takes an hour.

Each process makes every n-th slide and writes what `SlideBuilder.item` writes; the report then finds these files as it
finds those of an earlier one. What a process does not come to (it was killed, its disk was full) the report makes, and
meets the same fault, itself: nothing here decides what a report says.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from mnbatch.processes import available_cores, end_with_parent, search_path
from mnbatch.report.slide_reports import Context, ReportOptions, SlideBuilder
from mnbatch.results.lock import join_run, run_of
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

SLIDES_A_PROCESS = 16
"""With fewer, starting a process (a second or two) takes longer than what it saves."""
MOST_PROCESSES = 16

_START = "import sys; sys.path[:0] = sys.argv[1:]; from mnbatch.report.slides_beside import main; main()"


@dataclass(frozen=True, slots=True)
class _Share:
    out: Path
    token: str
    options: ReportOptions
    context: Context
    records: tuple[SlideRecord, ...]


def make_beside(store: Store, options: ReportOptions, context: Context, records: Sequence[SlideRecord]) -> set[str]:
    """Make the files of these slides in several processes, where they are many.

    Returns:
        Slides whose files were made; the others are left to the caller.
    """
    number = min(available_cores(), MOST_PROCESSES, len(records) // SLIDES_A_PROCESS)
    if number < 2:
        return set()
    shares = [records[first::number] for first in range(number)]
    with ThreadPoolExecutor(number, "slides beside") as waiting:
        made = waiting.map(lambda share: _made_of(_share(store, options, context, share)), shares)
        return {slide_id for slide_ids in made for slide_id in slide_ids}


def _share(store: Store, options: ReportOptions, context: Context, records: Sequence[SlideRecord]) -> bytes:
    """One process's slides, and of the context what is about them: all of it in each would not fit into memory."""
    mine = {record.slide_id for record in records}
    roster = context.roster
    own = replace(
        roster,
        store=Store(store.paths.root),
        records=(),
        copied=(),
        copies={slide_id: cells for slide_id, cells in roster.copies.items() if slide_id in mine},
        known={slide_id: said for slide_id, said in roster.known.items() if slide_id in mine},
    )
    context = replace(
        context,
        roster=own,
        samples={slide_id: dict(row) for slide_id, row in context.samples.items() if slide_id in mine},
        also_found={slide_id: names for slide_id, names in context.also_found.items() if slide_id in mine},
    )
    return pickle.dumps(_Share(store.paths.root, run_of(store.paths.lock), options, context, tuple(records)))


def _made_of(share: bytes) -> list[str]:
    """Slides of the share that a process of its own has made."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _START, *search_path()],
            input=share,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | threads,
            start_new_session=True,
            check=False,
        )
    except OSError:
        return []
    # What follows the last end of a line is nothing, or the torn line of a process that was killed.
    return done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]


def main() -> None:
    """Make one share, read from standard input; a line on standard output for each slide that is done."""
    end_with_parent()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)
    share: _Share = pickle.load(sys.stdin.buffer)
    with ExitStack() as held:
        store = share.context.roster.store
        if share.token:
            held.enter_context(join_run(store.paths.lock, share.token))
        builder = SlideBuilder(store, share.options, share.context)
        for record in share.records:
            builder.item(record)
            print(record.slide_id, file=told, flush=True)
