"""What commands of the campaign work on: an export, a model, a scored OUT, a reviewed one; and the commands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.campaign.forking import Ended, run_forked
from tests.pipeline.conftest import write_random_model, write_slide
from tests.review.conftest import PLAN, commit_slide, decide, write_review

BOTH = ("fluorescence", "giemsa")
ON_CPU = ("--min-cells", "1", "--device", "cpu", "--minibatch", "2", "--workers", "1", "-q")
RUN = ("--layout", "donor-slide-folders", *ON_CPU)
WRITTEN = ("--geojson", "--label-masks")
COUNTS = "D,N,X\n0,4000,40\n0.5,4000,90\n1,4000,170\n2,4000,420\n3,4000,800\n"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command that changes files, and from where it starts.

    Attributes:
        state: name of the state in which its folder is before it.
        argv: {work} is the folder, {stage} holds what is only read.
    """

    name: str
    state: str
    argv: tuple[str, ...]


SCENARIOS = (
    Scenario("run", "empty", ("run", "{stage}/export", "--out", "{work}/out", "--model", "{stage}/one", *RUN)),
    Scenario(
        "run with another model",
        "scored",
        ("run", "{stage}/export", "--out", "{work}/out", "--model", "{stage}/two", *RUN),
    ),
    Scenario(
        "run with another threshold",
        "scored",
        ("run", "{stage}/export", "--out", "{work}/out", "--model", "{stage}/one", "--threshold", "0.0001", *RUN),
    ),
    Scenario(
        "run with pseudonyms",
        "coded",
        (
            "run",
            "{stage}/more",
            "--out",
            "{work}/out",
            "--model",
            "{stage}/one",
            *RUN,
            "--pseudonymise",
            "--export-moved",
        ),
    ),
    Scenario(
        "run of fields",
        "empty",
        ("run", "{stage}/fields/export", "--out", "{work}/out", "--model", "{stage}/one", *ON_CPU, *WRITTEN),
    ),
    Scenario("report", "graded", ("report", "{work}/out", "--gallery", "2", "--contact-sheet")),
    Scenario("report with own cells", "reported", ("report", "{work}/out", "--validation", "{stage}/cells.csv")),
    Scenario("dose", "reported", ("dose", "{work}/out", "--curve", "{stage}/curve.json", "--allow-mismatch")),
    Scenario(
        "curve fit", "graded", ("curve", "fit", "{work}/out", "--doses", "{stage}/doses.csv", "--out", "{work}/c.json")
    ),
    Scenario("review plan", "reported", ("review", "plan", "{work}/out", "--sample", "0.5")),
    Scenario("review import", "reported", ("review", "import", "{work}/out", "{stage}/review.csv")),
    Scenario("review export", "reviewed", ("review", "export", "{work}/out", "{work}/labels")),
    Scenario(
        "review sign",
        "reviewed",
        ("review", "sign", "{work}/out", "--donor", "D1", "--name", "Ada", "--unfinished", "campaign"),
    ),
    Scenario("history", "reported", ("history", "{work}", "--out", "{work}/chart.html")),
    Scenario("verify", "reviewed", ("verify", "{work}/out")),
)


class Stage:
    """All states, each made once by the commands themselves.

    Args:
        root: an empty folder.
        names: scenarios that will be played; states that none needs are not made.
    """

    def __init__(self, root: Path, scenarios: Sequence[Scenario]) -> None:
        self.root = root
        self.work = root / "work"
        self.scratch = root / "scratch"
        self.scratch.mkdir(parents=True)
        self._states = root / "states"
        write_random_model(root / "one", 1, BOTH, architecture="alex-ca")
        write_random_model(root / "two", 2, BOTH, architecture="alex-ca")
        needed = {state for s in scenarios for state in (s.state, *_WITHIN.get(s.state, ()))}
        self._make_exports(any(scenario.name == "run of fields" for scenario in scenarios))
        for name, make in _STATES.items():
            if name in needed:
                make(self, self._states / name)

    def fill(self, argv: Sequence[str]) -> list[str]:
        """A command with the places of this stage."""
        return [part.format(work=self.work, stage=self.root) for part in argv]

    def fresh(self, state: str) -> None:
        """Put the working folder into a state."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self._states / state, self.work, symlinks=True)

    def make(self, state: Path, argv: Sequence[str], start: str | None = None) -> None:
        """A state: the folder as a command leaves it."""
        shutil.rmtree(self.work, ignore_errors=True)
        if start is None:
            self.work.mkdir()
        else:
            shutil.copytree(self._states / start, self.work)
        ended = run_forked(self.fill(argv), self.scratch, self.work)
        assert ended.code == 0, (argv, ended)
        shutil.copytree(self.work, state)

    def _make_exports(self, fields: bool) -> None:
        for number, donor in enumerate(("D1", "D2")):
            write_slide(self.root / "export" / donor / "A", seed=71 + number, cells=4)
        shutil.copytree(self.root / "export", self.root / "more")
        write_slide(self.root / "more/D3/B", seed=79, cells=3)
        (self.root / "export/D2/A/cell_003.png").write_bytes(b"\x89PNG broken")
        if fields:
            from mnbatch.simulate.export_plan import ExportPlan
            from mnbatch.simulate.fields.field_export import simulate_fields
            from mnbatch.simulate.fields.field_plan import FieldPlan

            plan = FieldPlan(ExportPlan(donors=1, slides=1, seed=3), fields=2, width=620, height=560, masks="beside")
            simulate_fields(self.root / "fields", plan)


def _empty(stage: Stage, state: Path) -> None:
    state.mkdir(parents=True)


def _scored(stage: Stage, state: Path) -> None:
    argv = ("run", "{stage}/export", "--out", "{work}/out", "--model", "{stage}/one", "--max-bad-fraction", "0.5", *RUN)
    stage.make(state, argv)


def _coded(stage: Stage, state: Path) -> None:
    argv = ("run", "{stage}/export", "--out", "{work}/out", "--model", "{stage}/one", "--pseudonymise", *RUN)
    stage.make(state, (*argv, "--max-bad-fraction", "0.5"))


def _graded(stage: Stage, state: Path) -> None:
    """Four slides of 24 cells whose calls rise with the dose, made through the store's own writer."""
    from mnbatch.results.batch import Batch, open_batch
    from mnbatch.results.store import Store
    from mnbatch.review.queue import save_plan

    shutil.rmtree(stage.work, ignore_errors=True)
    stage.work.mkdir()
    store = Store(stage.work / "out")
    for number, called in enumerate((1, 3, 6, 11)):
        scores = [0.9] * called + [None] + [0.4 - i * 0.004 for i in range(24 - called)]
        record = commit_slide(store, f"s{number + 1}", scores, digest=1000 * number + 1)
        store.put_record(record.model_copy(update={"donor": f"D{number // 2 + 1}"}))
    save_plan(store.paths, PLAN)
    open_batch(store.paths, Batch(str(stage.root / "export"), "donor-slide-folders", False, "crops"), moved=False)
    shutil.copytree(stage.work, state)
    rows = [f"s{i + 1},D{i // 2 + 1},{dose}" for i, dose in enumerate((0, 0.5, 1, 2))]
    (stage.root / "doses.csv").write_text("slide,donor,dose_gy\n" + "\n".join(rows) + "\n")
    (stage.root / "cells.csv").write_text(
        "p_mn,truth\n" + "".join(f"{0.9 if i % 5 else 0.1},1\n{0.1 if i % 7 else 0.9},0\n" for i in range(60))
    )
    (stage.root / "counts.csv").write_text(COUNTS)
    (stage.root / "ok.csv").write_text("id,N,X\na,1000,20\n")
    argv = ["curve", "fit", "{stage}/counts.csv", "--endpoint", "mnbn", "--out", "{stage}/curve.json"]
    ended = run_forked(stage.fill(argv), stage.scratch, stage.work)
    assert ended.code == 0, ended


def _reported(stage: Stage, state: Path) -> None:
    from mnbatch.results.store import Store
    from mnbatch.review.review_import import queues_of

    stage.make(state, ("report", "{work}/out", "--gallery", "2"), "graded")
    store = Store(state / "out")
    decisions = []
    for queue in queues_of(store, {f"s{i}": None for i in (1, 2, 3, 4)}).values():
        assert queue is not None
        decisions += decide(queue, lambda cell: "mn" if int(cell[-8:-4]) < 5 else "not_mn")
    write_review(stage.root / "review.csv", decisions)
    write_review(stage.root / "second.csv", [replace(d, reviewer="Bo") for d in decisions])


def _reviewed(stage: Stage, state: Path) -> None:
    stage.make(state, ("review", "import", "{work}/out", "{stage}/review.csv"), "reported")


_STATES: dict[str, Callable[[Stage, Path], None]] = {
    "empty": _empty,
    "scored": _scored,
    "coded": _coded,
    "graded": _graded,
    "reported": _reported,
    "reviewed": _reviewed,
}
_WITHIN = {"reported": ("graded",), "reviewed": ("graded", "reported")}

_SECONDS = re.compile(rb'"seconds": ?[0-9.e-]+')
_OWN = ("lock.json", "manifest.json", "summary.md", "serve.json")


def contents(root: Path) -> dict[str, bytes]:
    """All bytes below a folder but the run's own diary; how long something took is masked, as it is in no two runs."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or name.startswith("out/runs/") or name.split("/")[-1] in _OWN:
            continue
        data = _SECONDS.sub(b'"seconds":0', path.read_bytes())
        # The stamp of a page holds the record's seconds.
        found[name] = _STAMP.sub(b"STAMP", data)
    return found


_STAMP = re.compile(
    rb'(?<=stamp" content=")[0-9a-f]+|(?<="stamp": ")[0-9a-f]+'
    # Checksums of records, and of pages that hold stamps.
    rb'|(?<="checksum": ")[0-9a-f]+|(?<=\.html": ")[0-9a-f]+'
)


def leftovers(root: Path) -> list[str]:
    """Temporary files and staged generations that lie about."""
    names = (path.relative_to(root).as_posix() for path in root.rglob("*"))
    return sorted(name for name in names if re.search(r"(^|/)(\.tmp|\.staging|\.[^/]*\.old-|tmp[^/]*$)", name))


def play(stage: Stage, scenario: Scenario) -> Ended:
    """The command from its state, undisturbed."""
    stage.fresh(scenario.state)
    return run_forked(stage.fill(scenario.argv), stage.scratch, stage.work)
