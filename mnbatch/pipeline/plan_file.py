"""A plan as a file: what a run would do with each slide, with all that another process needs to do it."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from mnbatch.assay.cells import Companion, SceneNames, Skipped, Slide, SourceFile
from mnbatch.assay.field_records import InputKind
from mnbatch.errors import MismatchError, UsageError
from mnbatch.inference.catalogue import ModelSet, models_directory
from mnbatch.intake import read_json, reason, short
from mnbatch.pipeline.planning import Plan
from mnbatch.results.manifest import versions
from mnbatch.results.paths import OutPaths
from mnbatch.results.planned_slides import PlannedReport, latest_run, state_of
from mnbatch.settings import RunSettings

# Of every slide a few plain fields are for people, and for scripts that share slides out; `slide` is for
# `mnbatch score`, which trusts none of it further than a path that a person typed.


PLAN_VERSION = 1
_SLIDE_ID = re.compile(r"[^/\\\0]{1,255}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlannedScore:
    """A slide that is to be scored.

    Attributes:
        why: why.
        was: `state_of` its record when the plan was made.
    """

    slide: Slide
    why: str
    was: str


@dataclass(frozen=True, slots=True)
class PlannedWait:
    """A slide whose files were still being written when the plan was made; no job of the plan scores it.

    Attributes:
        why: why it waits.
        slide: None in a plan of an earlier version, which has its name alone.
        was: `state_of` its record when the plan was made.
    """

    slide_id: str
    name: str
    why: str
    slide: Slide | None = None
    was: str = ""


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan that was written down.

    Attributes:
        run: token under which its slides are scored, unless another is given.
        settings: of the run.
        model: digest of the set of models.
        versions: of mnbatch and of the packages that numbers may depend on.
        slides: those to be scored.
        out: for which it was made.
        unplaced: sentences about images and empty folders that are in no slide.
        waiting: those that wait for their files.
        copies: name of a slide that is a copy, and slide_id of the one that is counted.
        after: `latest_run` of OUT when the plan was made; "" in a plan of an earlier version.
    """

    run: str
    settings: RunSettings
    model: str
    versions: Mapping[str, str]
    slides: tuple[PlannedScore, ...]
    out: Path | None = None
    unplaced: tuple[str, ...] = ()
    waiting: tuple[PlannedWait, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    after: str = ""

    @property
    def report(self) -> PlannedReport:
        """How the report after its jobs is to be made."""
        return PlannedReport(self.settings.model_dump(mode="json"), self.after)

    def part(self, number: int, parts: int) -> PlanFile:
        """The `number`th (from 1) of so many parts that are about alike: slides in turn, the largest first."""
        order = sorted(range(len(self.slides)), key=lambda i: (-len(self.slides[i].slide.files), i))
        mine = sorted(order[number - 1 :: parts])
        return dataclasses.replace(self, slides=tuple(self.slides[i] for i in mine))


def settings_elsewhere(settings: RunSettings, models: ModelSet) -> RunSettings:
    """The same settings for a process with another working directory, or of another machine with the same shares."""
    bundled = models.path.parent == models_directory()
    model = settings.model if bundled else str(models.path.resolve())
    return settings.model_copy(update={"export": settings.export.resolve(), "model": model})


def plan_lines(
    plans: Sequence[Plan], settings: RunSettings, models: ModelSet, unplaced: Sequence[str] = ()
) -> Iterator[str]:
    """The JSON text of a plan, slide by slide: with all their files they need not be in memory as text.

    Args:
        unplaced: sentences about images and empty folders that are in no slide.
    """
    head: dict[str, Any] = {
        "plan": PLAN_VERSION,
        "out": str(settings.out.resolve()),
        "pseudonymised": settings.pseudonymise,
        "not_in_any_slide": list(unplaced),
    }
    if not settings.pseudonymise:
        known = settings_elsewhere(settings, models).model_dump(mode="json")
        head |= {"run": secrets.token_hex(16), "model": models.digest, "versions": versions(), "settings": known}
        head["after"] = latest_run(OutPaths(settings.out.resolve()))
    yield json.dumps(head, indent=1)[:-2] + ',\n "slides": ['
    for number, plan in enumerate(plans):
        yield (",\n" if number else "\n") + json.dumps(_planned(plan, whole=not settings.pseudonymise))
    yield "\n ]\n}\n"


def _planned(plan: Plan, *, whole: bool) -> dict[str, Any]:
    slide = plan.slide
    known: dict[str, Any] = {
        "slide_id": slide.slide_id,
        "path": slide.path,
        "action": plan.action,
        "why": plan.why,
        "files": len(slide.files),
        "bytes": sum(file.size for file in slide.files),
    }
    if plan.action in ("score", "wait") and whole:
        known |= {"was": state_of(plan.record), "slide": _plain_slide(slide)}
    if plan.action == "copy" and whole:
        known |= {"name": slide.name, "copy_of": slide.copy_of}
    return known


def _plain_slide(slide: Slide) -> dict[str, Any]:
    plain = dataclasses.asdict(dataclasses.replace(slide, files=(), unfinished=()))
    del plain["unfinished"], plain["waits"], plain["copy_of"]
    return plain | {"root": str(slide.root), "files": [[f.path, f.size, f.mtime_ns] for f in slide.files]}


def read_plan(path: Path) -> PlanFile:
    """A plan that `mnbatch run --plan-only --json` wrote.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        content = read_json(path)
        return _parsed(content)
    except OSError as error:
        raise UsageError(f"Cannot read the plan {path}: {reason(error)}.", "Check --slides.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise _no_plan(path, f"settings.{first['loc'][0] if first['loc'] else ''}: {first['msg']}") from error
    except KeyError as error:
        raise _no_plan(path, f"{error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_plan(path, reason(error)) from error


def _no_plan(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is no plan of this version of mnbatch: {short(why)}.",
        "Make it with `mnbatch run EXPORT --out OUT --plan-only --json > FILE`.",
    )


def _parsed(content: Any) -> PlanFile:
    if not isinstance(content, dict) or content["plan"] != PLAN_VERSION:
        raise ValueError("it has another form")
    if content["pseudonymised"]:
        raise UsageError(
            "Slides of a plan under pseudonyms cannot be scored apart: names and codes are kept by one run.",
            "Use `mnbatch run --pseudonymise`.",
        )
    plan = PlanFile(
        run=_text(content["run"]),
        settings=RunSettings.model_validate(content["settings"]),
        model=_text(content["model"]),
        versions={_text(name): _text(version) for name, version in content["versions"].items()},
        slides=tuple(
            PlannedScore(_slide(one["slide"]), _text(one["why"]), _text(one["was"]))
            for one in content["slides"]
            if one["action"] == "score"
        ),
        out=Path(_text(content["out"])),
        unplaced=tuple(map(_text, content.get("not_in_any_slide", ()))),
        waiting=tuple(_wait(one) for one in content["slides"] if one["action"] == "wait"),
        copies=tuple(
            (_text(one["name"]), _text(one["copy_of"]))
            for one in content["slides"]
            if one["action"] == "copy" and "copy_of" in one
        ),
        after=_text(content.get("after", "")),
    )
    _refuse_twice([one.slide.slide_id for one in plan.slides] + [one.slide_id for one in plan.waiting])
    return plan


def _wait(plain: Any) -> PlannedWait:
    why = _text(plain["why"])
    if "slide" not in plain:
        return PlannedWait(_slide_id(plain["slide_id"]), _text(plain["path"]), why)
    slide = _slide(plain["slide"])
    return PlannedWait(slide.slide_id, slide.name, why, slide, _text(plain["was"]))


def _slide_id(value: Any) -> str:
    slide_id = _text(value)
    if not _SLIDE_ID.fullmatch(slide_id) or slide_id.startswith("."):
        raise ValueError(f"{short(slide_id)} is no slide_id")
    return slide_id


def _refuse_twice(slide_ids: Sequence[str]) -> None:
    """Two plans that were joined: of a slide that is scored twice at once neither result would be whole."""
    twice = sorted(slide_id for slide_id, number in Counter(slide_ids).items() if number > 1)
    if twice:
        more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
        raise UsageError(
            f"The plan holds the slide {short(twice[0])} twice{more}.",
            "Give each slide once: make one plan with `mnbatch run EXPORT --out OUT --plan-only --json`.",
        )


def _slide(plain: Any) -> Slide:
    kind: InputKind = plain["kind"]
    slide_id = _slide_id(plain["slide_id"])
    if kind not in get_args(InputKind):
        raise ValueError(f"{short(str(kind))} is no kind of input")
    size = plain["um_per_pixel"]
    refused = plain["refused"]
    return Slide(
        slide_id=slide_id,
        name=_text(plain["name"]),
        path=_text(plain["path"]),
        donor=_or_none(_text, plain["donor"]),
        root=Path(_text(plain["root"])),
        files=tuple(_file(one) for one in plain["files"]),
        layout=_text(plain["layout"]),
        skipped=tuple(Skipped(_text(one["path"]), _text(one["reason"])) for one in plain["skipped"]),
        kind=kind,
        companions=tuple(map(_companion, plain["companions"])),
        namesakes=tuple(map(_companion, plain["namesakes"])),
        um_per_pixel=None if size is None else float(size),
        refused=None if refused is None else (_text(refused[0]), _text(refused[1])),
        named=_or_none(_scene_names, plain["named"]),
    )


def _file(plain: Any) -> SourceFile:
    path, size, mtime_ns = plain
    return SourceFile(_text(path), _whole(size), _whole(mtime_ns))


def _companion(plain: Any) -> Companion:
    file = plain["file"]
    return Companion(
        of=_text(plain["of"]),
        file=SourceFile(_text(file["path"]), _whole(file["size"]), _whole(file["mtime_ns"])),
        plane=plain["plane"] is True,
    )


def _scene_names(plain: Any) -> SceneNames:
    lists = {name: tuple(map(_text, plain[name])) for name in ("channels", "planes", "times")}
    texts = {name: _text(plain[name]) for name in ("by", "channel", "time", "well")}
    return SceneNames(scenes=_whole(plain["scenes"]), **lists, **texts)  # type: ignore[arg-type]


def _or_none(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{short(repr(value))} is no text")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{short(repr(value))} is no whole number")
    return value


def different_versions(wanted: Mapping[str, str], here: Mapping[str, str] | None = None) -> list[str]:
    """What runs here and is not what is wanted: "torch 2.11, not 2.12", sorted by name.

    Of Python the first two numbers count.
    """
    here = versions() if here is None else here
    found = []
    for name in sorted(wanted.keys() | here.keys()):
        theirs, ours = wanted.get(name, "none"), here.get(name, "none")
        if name == "python":
            theirs, ours = (".".join(text.split(".")[:2]) for text in (theirs, ours))
        if theirs != ours:
            found.append(f"{name} {ours}, not {theirs}")
    return found


def refuse_other_versions(plan: PlanFile, model: str) -> None:
    """The process that scores must be the one that was planned with.

    Raises:
        MismatchError: mnbatch, a package or the models differ.
    """
    wrong = different_versions(plan.versions)
    if model != plan.model:
        wrong.append(f"model {model[:12]}, not {plan.model[:12]}")
    if wrong:
        raise MismatchError(
            f"This process does not run what the plan was made with: {'; '.join(wrong)}.",
            "Use the same installation and model everywhere, or plan again.",
        )
