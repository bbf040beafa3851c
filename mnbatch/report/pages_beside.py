"""Pages of many slides and donors made beside each other: one process takes half an hour for ten thousand slides.

Each process makes every n-th slide (or donor) and writes what the report itself would write, which then finds these
files as it finds those of an earlier report. What a process does not come to (it was killed, its disk was full) the
report makes, and meets the same fault, itself: nothing here decides what a report says.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from mnbatch.processes import available_cores, end_with_parent, one_thread, search_path
from mnbatch.report.donor_reports import DonorBuilder
from mnbatch.report.items import DonorItem
from mnbatch.report.slide_reports import Context, SlideBuilder
from mnbatch.results.lock import join_run, run_of
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

PAGES_A_PROCESS = 64
"""With fewer, starting a process (a second of a core) takes longer than what it saves: a page takes 0.02 s, one with
pictures of cells 0.2 s."""
MOST_PROCESSES = 16

_START = "import sys; sys.path[:0] = sys.argv[1:]; from mnbatch.report.pages_beside import main; main()"

_One = TypeVar("_One")


class Share(Protocol):
    """What one process makes; it is pickled."""

    @property
    def token(self) -> str:
        """Of the run that holds OUT; "" for none."""

    @property
    def paths(self) -> OutPaths:
        """Where it writes."""

    def make(self) -> Iterator[str]:
        """Make one after the other; gives the name of each that is done."""


def make_slides_beside(builder: SlideBuilder, records: Sequence[SlideRecord]) -> None:
    """Have the files of these slides made in several processes, where they are many, and tell the builder."""
    paths, options = builder.store.paths, builder.options
    shares = [
        _SlideShare(paths, run_of(paths.lock), SlideBuilder(*_own(builder, part), options), tuple(part))
        for part in _parts(records)
    ]
    builder.were_made(_made(shares))


def make_donors_beside(builder: DonorBuilder, donors: Sequence[DonorItem]) -> None:
    """Have the pages of these donors made in several processes, where they are many, and tell the builder."""
    slides, paths = builder.slides, builder.slides.store.paths
    shares = []
    for part in _parts(donors):
        records = [item.record for donor in part for item in donor.slides]
        own = SlideBuilder(*_own(slides, records), slides.options)
        own.stamps = {record.slide_id: slides.stamps[record.slide_id] for record in records}
        shares.append(_DonorShare(paths, run_of(paths.lock), DonorBuilder(own, builder.stated), tuple(part)))
    builder.were_made(_made(shares))


@dataclass(frozen=True, slots=True)
class _SlideShare:
    paths: OutPaths
    token: str
    builder: SlideBuilder
    records: tuple[SlideRecord, ...]

    def make(self) -> Iterator[str]:
        for record in self.records:
            self.builder.item(record)
            yield record.slide_id


@dataclass(frozen=True, slots=True)
class _DonorShare:
    paths: OutPaths
    token: str
    builder: DonorBuilder
    donors: tuple[DonorItem, ...]

    def make(self) -> Iterator[str]:
        for donor in self.donors:
            self.builder.write(donor)
            yield donor.folder


def _parts(items: Sequence[_One]) -> list[Sequence[_One]]:
    """One for each process; none where one process is enough."""
    number = min(available_cores(), MOST_PROCESSES, len(items) // PAGES_A_PROCESS)
    return [items[first::number] for first in range(number)] if number > 1 else []


def _own(builder: SlideBuilder, records: Sequence[SlideRecord]) -> tuple[Store, Context]:
    """One process's store, and of the context what is about its slides: all of it in each would take the memory."""
    context, mine = builder.context, {record.slide_id for record in records}
    store = Store(builder.store.paths.root)
    roster = replace(
        context.roster,
        store=store,
        records=(),
        copied=(),
        copies=_about(context.roster.copies, mine),
        known=_about(context.roster.known, mine),
    )
    samples = {slide_id: dict(row) for slide_id, row in _about(context.samples, mine).items()}
    return store, replace(context, roster=roster, samples=samples, also_found=_about(context.also_found, mine))


def _about(known: Mapping[str, _One], slide_ids: Collection[str]) -> dict[str, _One]:
    return {slide_id: known[slide_id] for slide_id in slide_ids if slide_id in known}


def _made(shares: Sequence[Share]) -> set[str]:
    """Names of all that was made."""
    if not shares:
        return set()
    with ThreadPoolExecutor(len(shares), "pages beside") as waiting:
        return {name for names in waiting.map(_made_of, map(pickle.dumps, shares)) for name in names}


def _made_of(share: bytes) -> list[str]:
    """What a process of its own has made of a share."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _START, *search_path()],
            input=share,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=one_thread(),
            start_new_session=True,
            check=False,
        )
    except OSError:
        return []
    # What follows the last end of a line is nothing, or the torn line of a process that was killed.
    return done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]


def main() -> None:
    """Make the share that standard input holds; a line on standard output for each thing that is done."""
    end_with_parent()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)
    share: Share = pickle.load(sys.stdin.buffer)
    with ExitStack() as held:
        if share.token:
            held.enter_context(join_run(share.paths.lock, share.token))
        for name in share.make():
            print(name, file=told, flush=True)
