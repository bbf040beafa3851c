"""Hostile names of donors, slides and files, in sample sheets, of reviewers and signers: each comes back in the tables,
no page holds markup of theirs, no table a formula, and no command ends as an internal error.

`ROUND` names go through one export: run, report, sample sheet, review, sign-off, every other command that shows names.
"""

from __future__ import annotations

import csv
import html.parser
import json
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.campaign.forking import Ended, adopt_orphans, import_everything, run_forked
from tests.campaign.stage import BOTH, RUN
from tests.campaign.verdicts import Verdict
from tests.pipeline.conftest import write_random_model, write_slide
from tests.review.conftest import decide

ALL = 1000
ROUND = 40
LONGEST = 255
MARK = "mnx"
"""Part of every name that attacks a page: no element, attribute or address of a page may begin with it."""

HTML = (
    "<{m}>",
    "</script><{m}>",
    "--><{m}>",
    "<!--<script>{m}",
    '" {m}=1 x="',
    "' on{m}=1 '",
    "<img src=x on{m}=1>",
    "]]><{m}>",
    "</title><{m}>",
    "&lt;{m}&gt;",
    "<svg on{m}=1>",
    "javascript:{m}()",
    "';{m}();'",
    "\\u003c{m}\\u003e",
    "</textarea><{m}>",
    "`${{{m}()}}`",
    "\u2028{m}()\u2029",
    "<{m}\u00a0a>",
    "</style><{m}>",
    "{{{{ {m} }}}}",
    "{{% {m} %}}",
)
FORMULAS = (
    "=1+1",
    "+1",
    "-1+2",
    "@SUM(A1)",
    "\tx",
    "\r=1",
    "＝1",
    "=cmd|' 'C'!A0",
    "-5",
    "+49",
    '=HYPERLINK("x")',
    " =1",
    "\n=1",
)
TRICKS = (
    "..%2f..%2fetc",
    "..\\..\\x",
    "~",
    "~root",
    "$HOME",
    "%2e%2e",
    "%00",
    "%n%s%x",
    "a;b",
    "a|b",
    "$(id)",
    "`id`",
    "-rf",
    "--out",
    "C:\\x",
    "\\\\host\\share",
    "x.",
    "x ",
    " x",
    "a,b",
    "a;b;",
    '"',
    "'",
    "''",
    'a"b',
    'a""b,',
    "\\",
    "\\\\",
    "a\\nb",
    "#",
    "?a=b",
    "NaN",
    "inf",
    "1e5",
    "007",
    "TRUE",
    "null",
    "None",
    "1,5",
    "2026-01-01",
)
RESERVED = ("CON", "nul", "COM1.txt", "aux", "LPT9", "prn.png", "CLOCK$", "a:b", "a*b", "a?b", "a<b>c", "con .x")
BIDI = (
    "\u202egpj",
    "\u200fx\u200e",
    "a\u200bb",
    "\ufeffx",
    "\u2066x\u2069",
    "\u05d0\u05d1 1",
    "\u0627\u0644-2",
    "a\u00adb",
    "\u061c",
)
EMOJI = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f",
    "\U0001f9ec",
    "e\u0301\u0302\u0303",
    "\u0344",
)


def _write_review(path: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def make_names(seed: int, count: int) -> list[str]:
    """Names of file systems (bytes that are no UTF-8 as surrogates), all different, none that a crawl leaves out."""
    rng = random.Random(seed)
    kinds = (_any, _bytes, _controls, _html, _formula, _trick, _reserved, _bidi, _emoji, _normal_forms, _long)
    names: dict[str, None] = {}
    while len(names) < count:
        for name in kinds[len(names) % len(kinds)](rng, len(names)):
            kept = _fitting(name)
            if kept:
                names.setdefault(kept)
    return list(names)[:count]


def _fitting(name: str) -> str:
    """As a file system takes it: no slash, no NUL, short enough to have `.png` behind it; and not hidden."""
    name = name.replace("/", "\u2215").replace("\0", "")
    while len(name.encode("utf-8", "surrogateescape")) > LONGEST - 4:
        name = name[:-1]
    return name if name and not name.startswith((".", "~$")) and name.strip(". ") else ""


def _any(rng: random.Random, _: int) -> list[str]:
    places = [
        (0x20, 0x250),
        (0x250, 0xD800),
        (0xE000, 0xFFFE),
        (0x10000, 0x20000),
        (0x20000, 0x30000),
        (0xE0000, 0x10FFFE),
    ]
    return ["".join(chr(rng.randrange(*rng.choice(places))) for _ in range(rng.randint(1, 30)))]


def _bytes(rng: random.Random, _: int) -> list[str]:
    return [
        bytes(rng.choice((rng.randint(1, 255), rng.randint(128, 255))) for _ in range(rng.randint(1, 40))).decode(
            "utf-8", "surrogateescape"
        )
    ]


def _controls(rng: random.Random, number: int) -> list[str]:
    marks = "\r\n\t\x01\x07\x08\x0b\x0c\x1b\x7f\x85\u2028"
    return [f"c{rng.choice(marks)}{number}{rng.choice(marks)}", f"{rng.choice(marks)}[31m{number}"]


def _html(rng: random.Random, number: int) -> list[str]:
    return [rng.choice(HTML).format(m=f"{MARK}{number}")]


def _formula(rng: random.Random, number: int) -> list[str]:
    return [rng.choice(FORMULAS) + str(number)]


def _trick(rng: random.Random, number: int) -> list[str]:
    return [rng.choice(TRICKS), rng.choice(TRICKS) + str(number)]


def _reserved(rng: random.Random, number: int) -> list[str]:
    return [rng.choice(RESERVED), rng.choice(RESERVED) + str(number)]


def _bidi(rng: random.Random, number: int) -> list[str]:
    return [rng.choice(BIDI) + str(number)]


def _emoji(rng: random.Random, number: int) -> list[str]:
    return ["".join(rng.choice(EMOJI) for _ in range(rng.randint(1, 12))) + str(number)]


def _normal_forms(rng: random.Random, number: int) -> list[str]:
    letters = "".join(rng.choice("äöüéñçåøğıßﬁ") for _ in range(4)) + str(number)
    return [unicodedata.normalize(form, letters) for form in ("NFC", "NFD", "NFKC")]


def _long(rng: random.Random, number: int) -> list[str]:
    return [str(number) + rng.choice(("x", "é", "\U0001f9ec", "%", "<", '"', "日")) * 300]


def shown(name: str) -> str:
    """As docs/data-dictionary.md says that tables show a name."""
    text = name.encode("utf-8", "backslashreplace").decode()
    text = re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", lambda match: f"\\x{ord(match[0]):02x}", text)
    return f"'{text}" if re.match("'*(\\s*[=+\\-@＝＋－＠]|\t)", text) else text


class _Pages(html.parser.HTMLParser):
    """What of a page could be a name's."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script" and dict(attrs).get("type") not in ("application/json",)
        for name, value in attrs:
            address = name in ("href", "src", "action") and (value or "").strip().lower().startswith("javascript:")
            if name.startswith((MARK, "on")) or address:
                self.found.append(f"<{tag} {name}={(value or '')[:40]}>")
        if tag.startswith(MARK):
            self.found.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and MARK in data:
            self.found.append(f"script: {data[max(0, data.index(MARK) - 30) :][:80]}")


def markup_in(page: Path) -> list[str]:
    """Elements, attributes, addresses and scripts of a page that a name made; of a data script what ends it early."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".js":
        return [f"{page.name}: {bad}" for bad in ("</", "<!--", "\u2028", "\u2029") if bad in text]
    parser = _Pages()
    parser.feed(text)
    return [f"{page.name}: {what}" for what in parser.found]


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table, as Python's csv reads it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def formulas_in(path: Path) -> list[str]:
    """Fields of a table that a spreadsheet would evaluate."""
    number = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
    starts = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
    with path.open(encoding="utf-8-sig", newline="") as file:
        fields = [field for row in csv.reader(file) for field in row]
    return [field[:40] for field in fields if field.startswith(starts) and not number.fullmatch(field)]


class Names:
    """See the module.

    Args:
        folder: an empty one.
        size: share of the names.
    """

    name = "names"
    wrong = frozenset({"internal error", "lost", "markup", "formula", "refused", "hung", "not looked at"})
    block = ROUND

    def __init__(self, folder: Path, seed: int = 2026, size: float = 1.0) -> None:
        adopt_orphans()
        import_everything()
        self._root = folder
        self._names = make_names(seed, ALL)[: max(1, round(ALL * size))]
        self._rounds: dict[int, dict[int, tuple[str, str]]] = {}
        write_random_model(folder / "model", 1, BOTH, architecture="alex-ca")
        (folder / "scratch").mkdir()

    def cases(self) -> list[str]:
        """One a name."""
        return [f"{number}:{name.encode('utf-8', 'surrogateescape').hex()}" for number, name in enumerate(self._names)]

    def check(self, case: str) -> Verdict:
        """Play the round of the name, where it was not played yet."""
        number = int(case.partition(":")[0])
        if number // ROUND not in self._rounds:
            self._rounds[number // ROUND] = self._play(number // ROUND)
        word, detail = self._rounds[number // ROUND].get(number, ("comes back", ""))
        return Verdict(self.name, case, word, detail)

    def close(self) -> None:
        """Nothing is left running."""

    def _play(self, number: int) -> dict[int, tuple[str, str]]:
        names = dict(enumerate(self._names[number * ROUND : (number + 1) * ROUND], number * ROUND))
        return _Round(self._root / f"round{number}", self._root, names).play()


class _Round:
    def __init__(self, folder: Path, root: Path, names: dict[int, str]) -> None:
        self._folder, self._root, self._names = folder, root, names
        self._out = folder / "out"
        self._found: dict[int, tuple[str, str]] = {}

    def play(self) -> dict[int, tuple[str, str]]:
        """What was wrong, by the name's number."""
        for number, name in self._names.items():
            place = self._folder / "export" / name / name
            write_slide(place, seed=5000 + number, cells=1)
            next(place.iterdir()).rename(place / f"{name}.png")
        run = ("run", str(self._folder / "export"), "--out", str(self._out), "--model", str(self._root / "model"), *RUN)
        if not self._said(self._mnbatch(*run), (0,)):
            return dict.fromkeys(self._names, ("not looked at", "the run failed")) | self._found
        self._tables()
        self._samples(run)
        self._reviews()
        self._others(run)
        self._pages()
        return self._found

    def _mnbatch(self, *argv: str) -> Ended:
        return run_forked(argv, self._root / "scratch", self._folder, moment=None)

    def _wrong(self, word: str, detail: str, number: int | None = None) -> None:
        self._found.setdefault(min(self._names) if number is None else number, (word, detail[:600]))

    def _said(self, ended: Ended, codes: Sequence[int], number: int | None = None) -> bool:
        if ended.hung or ended.code == 1 or "Traceback" in ended.stderr:
            self._wrong("hung" if ended.hung else "internal error", ended.stderr[-600:], number)
        elif ended.code not in codes:
            self._wrong("refused", f"exit {ended.code}: {ended.stderr[-600:]}", number)
        return ended.code in codes

    def _tables(self) -> None:
        slides = rows_of(self._out / "slides.csv")
        donors = {row["donor"] for row in rows_of(self._out / "donors.csv")}
        sources = {
            row["source"] for row in slides for row in rows_of(self._out / "slides" / row["slide_id"] / "cells.csv")
        }
        named = {(row["donor"], row["slide"]) for row in slides}
        for number, name in self._names.items():
            # Donors are compared, and listed, in NFC; slides are as the disk has them.
            donor = shown(unicodedata.normalize("NFC", name))
            if (donor, shown(name)) not in named or donor not in donors:
                self._wrong("lost", f"{shown(name)!r} is no donor and slide of the tables", number)
            elif shown(f"{name}/{name}/{name}.png") not in sources:
                self._wrong("lost", f"{shown(name)!r} is no source in cells.csv", number)

    def _samples(self, run: Sequence[str]) -> None:
        """Names in a sample sheet, as notes and cultures that must come back, and as donors, which may be refused."""
        from mnbatch.results.annotations import load_samples
        from mnbatch.results.store import Store

        ids = [record.slide_id for record in Store(self._out).records()]
        texts = [name for name in self._names.values() if name.strip() and _utf8(name)]
        notes = dict(zip(ids, texts, strict=False))
        sheet = self._folder / "samples.csv"
        _write_sheet(sheet, [(slide, f"D{i}", note) for i, (slide, note) in enumerate(notes.items())])
        if self._said(self._mnbatch(*run, "--samples", str(sheet)), (0,)):
            kept = load_samples(Store(self._out).paths)
            for slide, note in notes.items():
                if kept[slide].get("note", "") != note.strip():
                    self._wrong("lost", f"note {note!r} is kept as {kept[slide].get('note')!r}")
        _write_sheet(sheet, [(slide, name, "") for slide, name in notes.items()])
        self._said(self._mnbatch(*run, "--samples", str(sheet)), (0, 2))

    def _reviews(self) -> None:
        from mnbatch.assay.alike_names import alike_names
        from mnbatch.results.store import Store
        from mnbatch.review.decisions import COLUMNS, parse_decision
        from mnbatch.review.review_import import queues_of

        store = Store(self._out)
        queues = [queue for queue in queues_of(store, {r.slide_id: None for r in store.records()}).values() if queue]
        taken, rows = [], []
        for queue, name in zip(queues, filter(_utf8, self._names.values()), strict=False):
            for decision in decide(queue, lambda _: "not_mn", reviewer=name)[:1]:
                row = {key: "" if value is None else value for key, value in decision.fields().items()}
                try:
                    parse_decision(row)
                except ValueError:
                    continue
                taken.append(replace(decision, reviewer=name))
                rows.append(row)
        # Of names that read the same one is taken, and the other refused.
        groups = alike_names([decision.reviewer.strip() for decision in taken])
        second = {name for _, *others in groups for name in others}
        path = self._folder / "review.csv"
        if second:
            _write_review(path, COLUMNS, rows)
            self._said(self._mnbatch("review", "import", str(self._out), str(path)), (2,))
            both = [one for one in zip(taken, rows, strict=True) if one[0].reviewer.strip() not in second]
            taken, rows = [decision for decision, _ in both], [row for _, row in both]
        _write_review(path, COLUMNS, rows)
        if rows and self._said(self._mnbatch("review", "import", str(self._out), str(path)), (0,)):
            said = self._mnbatch("review", "status", str(self._out), "--json")
            known = json.dumps(json.loads(said.stdout), ensure_ascii=False) if said.code == 0 else ""
            lost = [d.reviewer for d in taken if json.dumps(d.reviewer.strip(), ensure_ascii=False)[1:-1] not in known]
            if lost:
                self._wrong("lost", f"reviewer {lost[0]!r} is not in review status")

    def _others(self, run: Sequence[str]) -> None:
        out = str(self._out)
        donors = [row["donor"] for row in rows_of(self._out / "donors.csv")]
        for donor, name in zip(donors[:2], filter(_utf8, self._names.values()), strict=False):
            sign = (
                "review",
                "sign",
                out,
                f"--donor={donor}",
                f"--name={name}",
                f"--unfinished={name}",
                f"--role={name}",
            )
            self._said(self._mnbatch(*sign), (0, 2))
        self._said(self._mnbatch("scan", run[1], "--layout", "donor-slide-folders", "--explain"), (0,))
        self._said(self._mnbatch("status", out), (0,))
        self._said(self._mnbatch("history", str(self._folder), "--out", str(self._folder / "chart.html")), (0,))
        self._said(self._mnbatch("review", "export", out, str(self._folder / "labels")), (0, 2))
        self._said(self._mnbatch("report", out, "--force"), (0,))
        if self._mnbatch("verify", "--help").code == 0:
            self._said(self._mnbatch("verify", out), (0,))

    def _pages(self) -> None:
        for page in [*self._folder.rglob("*.html"), *self._out.rglob("data.js")]:
            found = markup_in(page)
            if found:
                self._wrong("markup", "; ".join(found[:4]))
        for table in [
            *self._out.glob("*.csv"),
            *self._out.glob("slides/*/cells.csv"),
            *self._folder.glob("labels/*.csv"),
        ]:
            found = formulas_in(table)
            if found:
                self._wrong("formula", f"{table.name}: {found[:3]}")


def _utf8(name: str) -> bool:
    return not re.search("[\ud800-\udfff\0]", name)


def _write_sheet(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["slide", "donor", "note", "culture"])
        writer.writerows([(*row, row[2]) for row in rows])
