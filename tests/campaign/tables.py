"""Tables, settings and stored files as people, editors and faults leave them: documented exit codes only, never 1.

Each case is a run of hypothesis with a seed of its own; what it finds is reported at its smallest.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.campaign.forking import adopt_orphans, import_everything
from tests.campaign.stage import SCENARIOS, Stage
from tests.campaign.verdicts import Verdict
from tests.in_process import mnbatch

DOCUMENTED = frozenset({0, 2, 3, 4, 5, 10, 11, 12})
EXAMPLES = {"stored": 12, "validation": 12, "review": 40}
"""A case; of the others 60."""

CASES = 20
"""A family."""

JUNK = (
    "",
    " ",
    "0",
    "-1",
    "1e308",
    "1e309",
    "-0",
    "nan",
    "inf",
    "-inf",
    "1,5",
    "1.5",
    "1_0",
    "٣",
    "0x1",
    "1" * 400,
    "=1",
    "+1",
    "a",
    "\r",
    "\n",
    "\t",
    "\0",
    '"',
    "'",
    ";",
    ",",
    "é",
    "\u2028",
    "\ufeff",
    "\U0001f9ec",
    "mn",
    "yes",
    "no",
    "true",
    "s1",
    "s2",
    "D1",
    "control",
    "NULL",
    "a" * 5000,
    "1e-320",
    "9" * 5000,
    "99999999999",
    "0.5",
    "1",
    "2",
    "100",
    "1000",
)
FIELD = st.one_of(st.sampled_from(JUNK), st.text(max_size=8), st.floats().map(str), st.integers().map(str))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32", "cp437")

COLUMNS = {
    "samples": ("slide", "donor", "dose_gy", "culture", "sex", "age", "note", "control", "um_per_pixel"),
    "cases": ("id", "N", "X", "C0", "C1", "C2", "C3", "C4", "C5"),
    "counts": ("D", "N", "X", "C0", "C1", "C2"),
    "validation": ("cell_id", "p_mn", "truth"),
    "review": (
        "slide_id",
        "cell_id",
        "decision",
        "count",
        "reviewer",
        "time",
        "stratum",
        "inclusion_probability",
        "model_digest",
        "result_key",
    ),
}
LIKELY = {
    "slide": ("s1", "s2", "s3", "s4", "d/s1"),
    "donor": ("D1", "D2", "D3"),
    "dose_gy": ("0", "0.5", "1", "2", "4"),
    "sex": ("f", "m", ""),
    "age": ("30", ""),
    "control": ("yes", "no", ""),
    "N": ("1000", "2000", "500"),
    "X": ("5", "20", "50", "120"),
    "D": ("0", "0.5", "1", "2", "3"),
    "C0": ("980", "990"),
    "C1": ("10", "20"),
    "C2": ("0", "5"),
    "truth": ("0", "1"),
    "p_mn": ("0.1", "0.9"),
    "slide_id": ("s1",),
    "decision": ("mn", "not_mn"),
    "reviewer": ("Ada",),
    "time": ("2026-11-23T10:00:00+00:00",),
    "id": ("a", "b", "c"),
    "cell_id": ("s1:d/s1/cell0001.tif", "s2:d/s2/cell0002.tif"),
}


@st.composite
def tables(draw: st.DrawFn, kind: str) -> bytes:
    """Bytes of a table: mostly right, with junk in some fields, columns, separators and encodings."""
    columns = list(draw(st.permutations(COLUMNS[kind]))) if draw(st.booleans()) else list(COLUMNS[kind])
    columns = columns[: draw(st.integers(1, len(columns)))] if draw(st.integers(0, 3)) == 0 else columns
    if draw(st.integers(0, 5)) == 0:
        columns.insert(draw(st.integers(0, len(columns))), draw(FIELD))
    rows = [columns]
    for _ in range(draw(st.integers(0, 6))):
        row = [
            draw(FIELD) if draw(st.integers(0, 5)) == 0 else draw(st.sampled_from(LIKELY.get(name, ("",))))
            for name in columns
        ]
        rows.append(row[: draw(st.integers(0, len(row)))] if draw(st.integers(0, 9)) == 0 else row)
    buffer = io.StringIO(newline="")
    delimiter = draw(st.sampled_from((",", ",", ",", ";", "\t", "|")))
    quoting = draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
    ending = draw(st.sampled_from(("\n", "\r\n", "\r")))
    csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=ending).writerows(rows)
    data = buffer.getvalue().encode(draw(st.sampled_from(("utf-8", "utf-8", "utf-8", *ENCODINGS))), "replace")
    return data + draw(st.sampled_from((b"", b"", b"", b"\0", b"\xff", b'"', b"\n\n", b"\x1a")))


ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(JUNK), st.text(max_size=6))
VALUES = st.recursive(
    ATOMS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3))
)


def changed(draw: st.DrawFn, value: Any) -> Any:
    """JSON with one leaf, key or element that is not what it was."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if draw(st.integers(0, 9)) == 0 else {**value, key: changed(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], changed(draw, value[place]), *value[place + 1 :]]
    return draw(VALUES)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """A stored file after an editor, a fault or an attacker."""
    how = draw(st.integers(0, 6))
    place = draw(st.integers(0, max(0, len(data) - 1)))
    if how <= 2:
        lines = data.decode("utf-8", "replace").splitlines()
        number = draw(st.integers(0, max(0, len(lines) - 1)))
        for text, before, after in (
            (data.decode("utf-8", "replace"), "", ""),
            (lines[number] if lines else "", "\n".join(lines[:number]) + "\n", "\n".join(lines[number + 1 :])),
        ):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                continue
            return (before + json.dumps(changed(draw, value)) + "\n" + after).encode("utf-8", "surrogatepass")
    if how == 3:
        return data[:place]
    if how == 4:
        return data[:place] + draw(st.binary(min_size=1, max_size=4)) + data[place + 4 :]
    if how == 5:
        return data[:place] + draw(FIELD).encode("utf-8", "surrogatepass") + data[place:]
    return draw(st.sampled_from((b"", b"[]", b"{}", b"null", b"\xff", b"[" * 3000, b"0", b'""', bytes(100))))


class Tables:
    """See the module.

    Args:
        folder: an empty one.
        size: share of the cases.
    """

    name = "tables"
    wrong = frozenset({"internal error", "undocumented code"})

    def __init__(self, folder: Path, seed: int = 2026, size: float = 1.0) -> None:
        adopt_orphans()
        import_everything()
        self._seed, self._count = seed, max(1, round(CASES * size))
        self._stage = Stage(folder / "stage", [s for s in SCENARIOS if s.name == "review sign"])
        self._state = folder / "stage/states/reviewed/out"
        self._out, self._file = folder / "out", folder / "file"
        self._folder = folder
        self._families: dict[str, Callable[[st.DrawFn], None]] = {
            "samples": self._samples,
            "cases": self._cases_table,
            "counts": self._counts,
            "validation": self._validation,
            "review": self._review,
            "curve": self._curve,
            "settings": self._settings,
            "environment": self._environment,
            "options": self._options,
            "stored": self._stored,
        }

    def cases(self) -> list[str]:
        """Runs of hypothesis; the number of examples is in the case."""
        return [
            f"{family}:{number}:{EXAMPLES.get(family, 60)} examples"
            for number in range(self._count)
            for family in self._families
        ]

    def check(self, case: str) -> Verdict:
        """Play a run of hypothesis."""
        family, _, examples = case.split(":")
        act = self._families[family]

        @seed(random.Random(f"{self._seed}:{case}").randrange(1 << 60))
        @settings(
            max_examples=int(examples.split()[0]),
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if family not in ("stored",) else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def play(data: st.DataObject) -> None:
            act(data.draw)

        self._fresh()
        try:
            play()
        except AssertionError as error:
            text = str(error)
            return Verdict(self.name, case, "internal error" if "exit 1" in text else "undocumented code", text[-1500:])
        return Verdict(self.name, case, "documented codes")

    def close(self) -> None:
        """Nothing is left running."""

    def _fresh(self) -> None:
        shutil.rmtree(self._out, ignore_errors=True)
        shutil.copytree(self._state, self._out)

    def _run(self, *argv: object, content: object = "") -> None:
        done = mnbatch(*argv)
        if done.returncode not in DOCUMENTED or "Traceback" in done.stderr:
            said = f"exit {done.returncode}: mnbatch {' '.join(map(str, argv))} with {content!r:.600}"
            raise AssertionError(f"{said}\n{done.stderr[-800:]}")

    def _table(self, draw: st.DrawFn, kind: str) -> bytes:
        data = draw(tables(kind))
        self._file.write_bytes(data)
        return data

    def _samples(self, draw: st.DrawFn) -> None:
        data = self._table(draw, "samples")
        self._run("curve", "fit", self._out, "--doses", self._file, "--out", self._folder / "c.json", content=data)

    def _cases_table(self, draw: st.DrawFn) -> None:
        data = self._table(draw, "cases")
        curve = draw(st.sampled_from(("example:mayakannan2018", str(self._stage.root / "curve.json"))))
        more = draw(
            st.sampled_from(
                ((), ("--json",), ("--json", "--triage"), ("--method", "merkle"), ("--exposure-hours", "5"))
            )
        )
        self._run("dose", "--cases", self._file, "--curve", curve, *more, content=data)

    def _counts(self, draw: st.DrawFn) -> None:
        data = self._table(draw, "counts")
        more = draw(st.sampled_from(((), ("--endpoint", "mnbn"), ("--family", "nb2"), ("--model", "linear"))))
        self._run("curve", "fit", self._file, "--out", self._folder / "c.json", *more, content=data)

    def _validation(self, draw: st.DrawFn) -> None:
        data = self._table(draw, "validation")
        self._run("report", self._out, "--validation", self._file, content=data)

    def _review(self, draw: st.DrawFn) -> None:
        data = (
            self._table(draw, "review")
            if draw(st.booleans())
            else draw(damaged((self._stage.root / "review.csv").read_bytes()))
        )
        self._file.write_bytes(data)
        self._run("review", "import", self._out, self._file, content=data)

    def _curve(self, draw: st.DrawFn) -> None:
        data = draw(damaged((self._stage.root / "curve.json").read_bytes()))
        self._file.write_bytes(data)
        self._run("curve", "show", self._file, content=data)
        self._run("dose", "--cases", self._stage.root / "ok.csv", "--curve", self._file, content=data)

    def _settings(self, draw: st.DrawFn) -> None:
        names = st.sampled_from(
            ("threshold", "min-cells", "min_cells", "settle", "export", "out", "layout", "gallery", "model", "run", "x")
        )
        values = st.one_of(
            ATOMS.map(lambda v: json.dumps(v)),
            st.sampled_from(("nan", "inf", "-inf", "1979-05-27", "[1]", "{a=1}", "1e999")),
        )
        lines = draw(
            st.lists(
                st.one_of(
                    st.tuples(names, values).map(" = ".join), st.sampled_from(("[run]", "[[run]]", "[run.a]", "\0"))
                ),
                max_size=5,
            )
        )
        data = "\n".join(lines).encode("utf-8", "surrogatepass")
        self._file.write_bytes(data)
        self._run("run", "x", "--out", "y", "--config", self._file, "--show-settings", content=data)

    def _environment(self, draw: st.DrawFn) -> None:
        names = st.sampled_from(
            (
                "THRESHOLD",
                "MIN_CELLS",
                "SETTLE",
                "GALLERY",
                "PSEUDONYMIZE",
                "PSEUDONYMISE",
                "DEVICE",
                "X",
                "",
                "threshold",
            )
        )
        texts = FIELD.map(lambda text: text.replace("\0", "").encode("utf-8", "replace").decode())
        given_ = {f"MNBATCH_{name}": text for name, text in draw(st.dictionaries(names, texts, max_size=3)).items()}
        before = dict(os.environ)
        os.environ.update(given_)
        try:
            self._run("run", "x", "--out", "y", "--show-settings", content=given_)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _options(self, draw: st.DrawFn) -> None:
        options = (
            "--threshold",
            "--settle",
            "--min-cells",
            "--gallery",
            "--max-bad-fraction",
            "--um-per-pixel",
            "--device",
            "--minibatch",
            "--workers",
            "--layout",
            "--stain",
        )
        typed = [f"{name}={draw(FIELD)}" for name in draw(st.lists(st.sampled_from(options), max_size=3))]
        self._run("run", "x", "--out", "y", "--show-settings", *typed, content=typed)
        rate = draw(FIELD)
        self._run(
            "dose",
            "--cases",
            self._stage.root / "ok.csv",
            "--curve",
            "example:mayakannan2018",
            f"--level={draw(FIELD)}",
            f"--sensitivity={rate}",
            f"--specificity={rate}",
            f"--exposure-hours={draw(FIELD)}",
        )
        self._run(
            "review", "plan", self._out, f"--sample={draw(FIELD)}", f"--seed={draw(FIELD)}", f"--band={draw(FIELD)}"
        )

    def _stored(self, draw: st.DrawFn) -> None:
        """Any file of OUT, then every command that reads OUT."""
        self._fresh()
        files = [
            path
            for path in sorted(self._out.rglob("*"))
            if path.is_file() and path.suffix in (".json", ".jsonl", ".csv", ".bin")
        ]
        path = draw(st.sampled_from(files))
        data = draw(damaged(path.read_bytes()))
        path.write_bytes(data)
        what = (path.relative_to(self._out).as_posix(), data[:300])
        for argv in (
            ("report", self._out),
            ("status", self._out),
            ("status", self._out, "--json"),
            ("review", "status", self._out, "--json"),
            ("history", self._folder / "out", "--out", self._folder / "h.html"),
            ("review", "plan", self._out),
            ("curve", "fit", self._out, "--doses", self._stage.root / "doses.csv", "--out", self._folder / "c.json"),
            ("review", "export", self._out, self._folder / "labels"),
            ("verify", self._out),
        ):
            shutil.rmtree(self._folder / "labels", ignore_errors=True)
            self._run(*argv, content=what)
