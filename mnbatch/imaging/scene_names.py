"""From files to scenes by their names: wells become slides, channels and planes of a scene are read once."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from mnbatch.assay.cells import Companion, SceneNames, Skipped, Slide, SourceFile
from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Foreign, Named, Reason, say
from mnbatch.errors import SlideError
from mnbatch.imaging.entries import is_folder
from mnbatch.imaging.formats.page_choice import says_nuclear
from mnbatch.imaging.identity import slide_id
from mnbatch.imaging.instruments import FOLDERS
from mnbatch.imaging.layouts import EXTENSIONS
from mnbatch.imaging.name_tokens import AXES, PLAIN, Naming, Tokens, instruments, naming_of
from mnbatch.imaging.walk import natural_key

MOST_CHANNELS = 8
_MOST = 0.5
"""With a larger share of names that fit an instrument, one that does not is asked about."""

_LOOKED_AT = 8
_FOLDERS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in FOLDERS)

Explain = Callable[[Skipped], None]


@dataclass(frozen=True, slots=True)
class _File:
    file: SourceFile
    tokens: Tokens


def slides_by_names(slide: Slide, options: PageOptions, explain: Explain, layout: Naming | None = None) -> list[Slide]:
    """The slides that one place of an export holds: one, or one a well.

    Of each scene one channel and one time are read, and all of its focal planes (or the one that is asked for); what
    else shows it is left out and said. A slide that cannot be told is refused, with the option that tells it.

    Args:
        slide: as the layout found it.
        options: what a person said of names, channels, planes and times.
        layout: the naming that the layout's pattern states; None where it states none.
    """
    if slide.refused is not None or slide.kind == "wsi" or (options.names == PLAIN and layout is None):
        return [slide]
    if layout is None and (alike := _folders_of_scene(slide)):
        why = say("names-folders", folder=Named("folder", slide.path), count=alike)
        return [replace(slide, refused=(why, say("names-folders-do")))]
    if layout is None and options.names is None and (other := _gallery_of_scene(slide)):
        why = say("names-galleries", file=Named("file", slide.path), other=Named("file", other))
        return [replace(slide, refused=(why, say("names-galleries-do")))]
    stated = layout or (None if options.names is None else naming_of(options.names))
    try:
        named = _parsed(slide, stated) if stated else _recognised(slide)
    except SlideError as error:
        return [replace(slide, refused=(error.message, error.next_step))]
    return [slide] if named is None else list(_wells(slide, *named, options, explain))


def _folders_of_scene(slide: Slide) -> int:
    """Number of folders of focal planes or times next to each other, of which this slide is one; 0 for none."""
    parent, name = os.path.split(slide.path)
    kind = _kind_of_folder(name)
    if kind is None:
        return 0
    try:
        names = [entry.name for entry in os.scandir(os.path.join(slide.root, parent)) if is_folder(entry)]
    except OSError:
        return 0
    alike = sum(_kind_of_folder(other) == kind for other in names)
    return alike if alike > 1 else 0


def _kind_of_folder(name: str) -> tuple[int, str] | None:
    """Which of `FOLDERS` a name is, and what is the same in those beside it."""
    for number, pattern in enumerate(_FOLDERS):
        if match := pattern.fullmatch(name):
            return number, match[1].casefold()
    return None


def _gallery_of_scene(slide: Slide) -> str:
    """Name of another file beside a slide of one file that shows the same scene by its name; "" for none."""
    if len(slide.files) != 1 or slide.files[0].path != slide.path:
        return ""
    folder = os.path.join(slide.root, os.path.dirname(slide.path))
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        return ""
    return _namesakes_by_scene(folder, changed).get(os.path.basename(slide.path), "")


@lru_cache(maxsize=4)
def _namesakes_by_scene(folder: str, changed: int) -> Mapping[str, str]:
    """Name of an image -> name of another one of the folder that an instrument would write of the same scene.

    Args:
        changed: when the folder changed; asked with another one it is read again.
    """
    try:
        names = [name for name in os.listdir(folder) if name.rpartition(".")[2].lower() in EXTENSIONS]
    except OSError:
        return {}
    found: dict[str, str] = {}
    for naming in instruments():
        scenes: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
        for name in sorted(names) if naming.recognised else ():
            if (tokens := naming.parse(name)) is not None and not tokens.thumbnail:
                axes = tuple(tokens.at(axis) for axis in AXES)
                scenes.setdefault((tokens.well, *tokens.scene), {}).setdefault(axes, name)
        for same in scenes.values():
            first, *others = same.values()
            if 0 < len(others) < MOST_CHANNELS:
                found |= dict.fromkeys(others, first) | {first: others[0]}
    return found


def _parsed(slide: Slide, naming: Naming) -> tuple[Naming, list[_File]]:
    """Raises SlideError where a name does not fit, or two say the same."""
    found = []
    for file in slide.files:
        tokens = naming.parse(file.path)
        if tokens is None:
            raise SlideError(
                say("names-unfit", file=Named("file", file.path), names=_shown(naming)), say("names-unfit-do")
            )
        found.append(_File(file, tokens))
    seen: dict[Tokens, str] = {}
    for one in found:
        other = seen.setdefault(one.tokens, one.file.path)
        if other != one.file.path and not one.tokens.thumbnail:
            this, twin = Named("file", one.file.path), Named("file", other)
            why = say("names-twice", names=_shown(naming), file=this, other=twin)
            raise SlideError(why, say("names-twice-do"))
    return naming, found


def _recognised(slide: Slide) -> tuple[Naming, list[_File]] | None:
    """The instrument whose names all files have, where channel, plane, time or well differ among them; else None.

    Raises SlideError where most names fit, and not all.
    """
    if len(slide.files) < 2:
        return None
    sample = slide.files[:: max(1, len(slide.files) // _LOOKED_AT)]
    most: tuple[Naming, list[_File]] | None = None
    for naming in instruments():
        if not naming.recognised or not any(naming.parse(file.path) for file in sample):
            continue
        fitting = [_File(file, tokens) for file in slide.files if (tokens := naming.parse(file.path)) is not None]
        if not _is_plausible([one.tokens for one in fitting], slide):
            continue
        if len(fitting) == len(slide.files):
            return naming, fitting
        if most is None and len(fitting) > _MOST * len(slide.files):
            most = naming, fitting
    if most is not None:
        known = {one.file.path for one in most[1]}
        odd = next(file.path for file in slide.files if file.path not in known)
        raise SlideError(say("names-most", names=_shown(most[0]), file=Named("file", odd)), say("names-most-do"))
    return None


def _is_plausible(found: Sequence[Tokens], slide: Slide) -> bool:
    """Whether parts of the names really differ as channels, planes, times or wells do.

    No two files may say the same; there are no more than eight channels; scenes are those of crops of several cells.
    """
    full = [tokens for tokens in found if not tokens.thumbnail]
    if len(full) < 2 or len(set(full)) < len(full):
        return False
    scenes = {(tokens.well, tokens.scene) for tokens in full}
    channels = {tokens.channel for tokens in full}
    # Of one cell alone, names of stains say that these are its channels; numbers may be those of cells.
    few = slide.kind == "crops" and len(scenes) < 2 and not any(map(says_nuclear, channels))
    if len(channels) > MOST_CHANNELS or few:
        return False
    several = len(scenes) < len(full)
    return several or len({tokens.well for tokens in full}) > 1 or len(full) < len(found)


def _shown(naming: Naming) -> str | Foreign:
    return Foreign(naming.name, "a pattern") if "{" in naming.name else naming.name


# A well is a slide.


def _wells(slide: Slide, naming: Naming, found: list[_File], options: PageOptions, explain: Explain) -> Iterator[Slide]:
    by_well: dict[tuple[str, str], list[_File]] = defaultdict(list)
    small = [one for one in found if one.tokens.thumbnail]
    for one in found:
        if not one.tokens.thumbnail:
            by_well[_well_of(one.tokens)].append(one)
    plates = {plate for plate, _ in by_well}
    for (plate, well), files in sorted(by_well.items(), key=lambda item: natural_key("/".join(item[0]))):
        label = "_".join(filter(None, (plate if len(plates) > 1 else "", well)))
        mine = _named_slide(slide, label)
        skipped = [
            Skipped(one.file.path, "a small version by its name") for one in small if _well_of(one.tokens)[1] == well
        ]
        try:
            made = _scenes_of(mine, naming, files, options)
        except SlideError as error:
            own = tuple(one.file for one in files)
            made = replace(mine, files=own, companions=(), refused=(error.message, error.next_step))
        made = replace(made, skipped=(*made.skipped, *skipped))
        for omitted in made.skipped[len(slide.skipped) :]:
            explain(omitted)
        yield made


def _well_of(tokens: Tokens) -> tuple[str, str]:
    """What comes before the well (a plate), and the well; of names without wells, nothing."""
    return (tokens.scene[1], tokens.well) if tokens.well else ("", "")


def _named_slide(slide: Slide, well: str) -> Slide:
    if not well or slide.name.casefold() == well.casefold():
        return slide
    path = well if slide.path == "." else f"{slide.path}/{well}"
    return replace(slide, slide_id=slide_id(path), name=f"{slide.name}_{well}", path=path)


# Of a scene one channel and one time are read, and its focal planes.


def _scenes_of(slide: Slide, naming: Naming, files: list[_File], options: PageOptions) -> Slide:
    """Raises SlideError where it has to be said which channel or time, or where a scene lacks it."""
    scenes: dict[tuple[str, ...], list[_File]] = {}
    for one in files:
        scenes.setdefault(one.tokens.scene, []).append(one)
    values = {axis: _values(axis, files) for axis in AXES}
    channel = _channel(values["channel"], len(scenes), naming, options)
    body = _cytoplasm(slide, values["channel"], channel, naming, options)
    time = _time(values["time"], len(scenes), naming, options)
    plane = _plane(values["plane"], naming, options)
    wanted = {"channel": channel, "time": time, "plane": plane}
    taken, planes, bodies, skipped = [], [], [], []
    for scene in scenes.values():
        kept = _of_scene(scene, wanted, naming)
        beside = _of_scene(scene, wanted | {"channel": body}, naming) if body else []
        first = kept[0].file
        taken.append(first)
        planes += [Companion(first.path, one.file, plane=True) for one in kept[1:]]
        bodies += [Companion(first.path, one.file, cytoplasm=True) for one in beside]
        skipped += [_left_out(one, first, wanted) for one in scene if one not in kept and one not in beside]
    known = SceneNames(
        by=naming.name,
        scenes=len(scenes),
        channels=values["channel"],
        planes=values["plane"],
        times=values["time"],
        channel=channel,
        time=time,
        well=files[0].tokens.well,
        cytoplasm=body,
    )
    masks = _masks(
        slide, {one.file.path: first for first, scene in zip(taken, scenes.values(), strict=True) for one in scene}
    )
    return replace(
        slide,
        files=tuple(taken),
        companions=(*masks, *planes, *bodies),
        skipped=(*slide.skipped, *skipped),
        named=known,
    )


def _of_scene(scene: list[_File], wanted: dict[str, str], naming: Naming) -> list[_File]:
    """The files of a scene that are read, in the order of their focal planes; raises SlideError where it has none."""
    kept = scene
    for axis, value in wanted.items():
        kept = [one for one in kept if not value or one.tokens.at(axis) == value]
        if not kept:
            raise _missing(scene[0].file, axis, value, naming)
    return sorted(kept, key=lambda one: natural_key(one.tokens.plane))


def _cytoplasm(slide: Slide, values: Sequence[str], nuclear: str, naming: Naming, options: PageOptions) -> str:
    """The channel by which nuclei are paired; "" where none is asked for, or where it is within the files."""
    if options.cytoplasm is None or slide.kind != "fields" or len(values) < 2:
        return ""
    found = _named_so(values, options.cytoplasm)
    if len(found) == 1 and found[0] != nuclear:
        return found[0]
    shown = Foreign(", ".join(values), "their names are covered")
    why: Reason = say("cytoplasm-not-there") if not found else say("cytoplasm-is-nuclear")
    if found and found[0] != nuclear:
        why = say("cytoplasm-several")
    said = say("names-cytoplasm", channel=options.cytoplasm, names=_shown(naming), shown=shown, why=why)
    raise SlideError(said, say("cytoplasm-missing-do"))


def _named_so(values: Sequence[str], said: str) -> list[str]:
    """Channels that a person's name or number means."""
    found = [value for value in values if value.casefold() == said.casefold() or _number(value) == _number(said)]
    found = found or [value for value in values if said.casefold() in re.split(r"[^\w]+", value.casefold())]
    if not found and said.isdigit() and not any(map(_is_number, values)) and 1 <= int(said) <= len(values):
        found = [values[int(said) - 1]]
    return found


def _values(axis: str, files: Sequence[_File]) -> tuple[str, ...]:
    return tuple(sorted({one.tokens.at(axis) for one in files}, key=natural_key))


def _channel(values: Sequence[str], scenes: int, naming: Naming, options: PageOptions) -> str:
    """The nuclear one: as it is said, by name or number, else the one whose name says nuclear stain; "" where there is
    one only."""
    if len(values) < 2:
        return ""
    said = options.channel
    found = [value for value in values if says_nuclear(value)] if said is None else _named_so(values, said)
    if len(found) == 1:
        return found[0]
    what: str | Reason = "" if said is None else say("names-no-channel", channel=said)
    shown = Foreign(", ".join(values), "their names are covered")
    why = say("names-channels", scenes=scenes, count=len(values), shown=shown, names=_shown(naming), what=what)
    raise SlideError(why, say("names-channels-do"))


def _number(text: str) -> int | str:
    return int(text) if _is_number(text) else text.casefold()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _time(values: Sequence[str], scenes: int, naming: Naming, options: PageOptions) -> str:
    if len(values) < 2:
        return ""
    if options.time is None or options.time > len(values):
        why = say("names-times", scenes=scenes, count=len(values), names=_shown(naming))
        raise SlideError(why, say("names-times-do"))
    return values[options.time - 1]


def _plane(values: Sequence[str], naming: Naming, options: PageOptions) -> str:
    """The plane whose number is asked for; "" for all of them, which the reader puts together."""
    said = options.planes or "sharpest"
    if len(values) < 2 or not said.isdigit():
        return ""
    if int(said) > len(values):
        why = say("names-planes", count=len(values), names=_shown(naming), said=said)
        raise SlideError(why, say("names-planes-do"))
    return values[int(said) - 1]


def _missing(file: SourceFile, axis: str, value: str, naming: Naming) -> SlideError:
    shown = Foreign(value, "one of them")
    why = say("names-missing", names=_shown(naming), file=Named("file", file.path), axis=axis, value=shown)
    return SlideError(why, say("names-missing-do"))


def _left_out(one: _File, first: SourceFile, wanted: dict[str, str]) -> Skipped:
    other = next(axis for axis, value in wanted.items() if value and one.tokens.at(axis) != value)
    return Skipped(
        one.file.path, f"another {other} ({one.tokens.at(other)}) of the scene of {first.path}, which is read"
    )


def _masks(slide: Slide, first_of: dict[str, SourceFile]) -> Iterable[Companion]:
    """Label images, each with the file of its scene that is read; of several the one that is named after that file."""
    by_first: dict[str, Companion] = {}
    for companion in slide.companions:
        if companion.of in first_of:
            first = first_of[companion.of].path
            if first not in by_first or companion.of == first:
                by_first[first] = replace(companion, of=first)
    return by_first.values()
