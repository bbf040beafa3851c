"""Which pictures of a TIFF are read: one a cell or position, by what the file and a person say; else a question."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Foreign, Reason, say
from mnbatch.imaging.formats.page_structure import AXES, Axis, Picture, Structure
from mnbatch.imaging.formats.size_limits import UndecodableError

_NUCLEAR = re.compile(r"dapi|hoechst|draq|nucle|h2b|propidium|acridine", re.IGNORECASE)
_OWN: tuple[Axis, ...] = ("positions", "unstated")
"""Axes along which each picture is a cell (a field) of its own."""


class UnclearError(UndecodableError):
    """What the pictures of a file are is not known, so its slide cannot be counted; the reason holds the question."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One cell or field of a TIFF.

    Attributes:
        number: by which it is known: that of its first picture's directory, or of its picture where a directory holds
            several.
        pictures: one; several focal planes where they are put together.
        by_channel: it is one of several channels, so that the number of a channel means no colour of it.
        elsewhere: what the file does not hold of it is in another file.
    """

    number: int
    pictures: tuple[Picture, ...]
    by_channel: bool = False
    elsewhere: bool = False


def chosen_pictures(found: Structure, options: PageOptions) -> tuple[Chosen, ...]:
    """The pictures that are read of a file, in its order.

    Args:
        found: what its pictures are; axes that are not stated count as cells (positions).

    Raises:
        UnclearError: a channel, a focal plane or a time has to be chosen, and nobody said which.
    """
    if found.beyond and options.pages is None:
        raise UnclearError(say("pages-beyond", stated=len(found.pictures), more=len(found.beyond), by=found.source))
    found = _as_said(found, options.pages)
    kept = found.pictures
    for axis, index in _picked(found, options):
        kept = tuple(picture for picture in kept if _at(found, picture, axis) == index)
    several = len({picture.directory for picture in found.pictures}) < len(found.pictures) // max(1, found.samples)
    numbers = {picture: i for i, picture in enumerate(_without_samples(found))} if several else None
    groups: dict[tuple[int, ...], list[Picture]] = {}
    for picture in kept:
        own = tuple(place for (axis, _), place in zip(found.axes, picture.at, strict=True) if axis in _OWN)
        groups.setdefault(own, []).append(picture)
    more = (found.length("channels") > 1, found.elsewhere)
    return tuple(Chosen(_number(group[0], numbers), tuple(group), *more) for group in groups.values())


def _number(picture: Picture, numbers: dict[Picture, int] | None) -> int:
    return picture.directory if numbers is None else numbers[replace(picture, sample=None, at=())]


def _without_samples(found: Structure) -> list[Picture]:
    return list(dict.fromkeys(replace(picture, sample=None, at=()) for picture in found.pictures))


def _at(found: Structure, picture: Picture, wanted: Axis) -> int:
    """Place of a picture along an axis, several of one name taken together."""
    place = 0
    for (axis, length), at in zip(found.axes, picture.at, strict=True):
        place = place * length + at if axis == wanted else place
    return place


def _picked(found: Structure, options: PageOptions) -> Iterator[tuple[Axis, int]]:
    """Axes of which one place is taken, and which."""
    if found.length("channels") > 1:
        yield "channels", channel_index(found.names, found.length("channels"), options.channel)
    times, planes = found.length("times"), found.length("planes")
    if times > 1:
        if options.time is None:
            raise UnclearError(say("times", count=times))
        yield "times", _index("time", str(options.time), times)
    if planes > 1 and options.planes not in ("sharpest", "max"):
        if options.planes is None:
            raise UnclearError(say("planes", count=planes))
        yield "planes", _index("planes", options.planes, planes)


def _index(option: str, said: str, count: int) -> int:
    if not said.isdigit() or not 1 <= int(said) <= count:
        raise UnclearError(say("no-such-place", option=option, said=said, count=count))
    return int(said) - 1


def says_nuclear(name: str) -> bool:
    """Whether the name of a channel is that of a nuclear stain."""
    return _NUCLEAR.search(name) is not None


def channel_index(names: Sequence[str], count: int, channel: str | None) -> int:
    """Index of the nuclear channel among `count`.

    Args:
        names: as far as known.
        channel: number from 1 or name; None takes the one whose name says nuclear stain.

    Raises:
        UnclearError: it is not known which one that is.
    """
    if channel is not None and channel.isdigit() and 1 <= int(channel) <= count:
        return int(channel) - 1
    known = list(names[:count])
    if channel is None:
        wanted = [i for i, name in enumerate(known) if says_nuclear(name)]
    else:
        wanted = [i for i, name in enumerate(known) if name.casefold() == channel.casefold()]
    if len(wanted) == 1:
        return wanted[0]
    listed = Foreign(f" ({', '.join(known)})", "") if known else ""
    why: Reason = say("no-nuclear-channel") if channel is None else say("no-such-channel", channel=channel)
    raise UnclearError(say("channel-unknown", count=count, known=listed, what=why))


def _as_said(found: Structure, pages: str | None) -> Structure:
    """The structure with the axes that a person names in place of those that are not stated."""
    if pages is None:
        return found
    if found.elsewhere:
        found = _flat(found, [picture for picture in found.pictures if picture.directory < found.directories])
    if found.beyond:
        found = _flat(found, [*found.pictures, *(Picture(index) for index in found.beyond)])
    words = pages.split(",")
    if ":" in pages:
        found = _divided(found, [int(word.partition(":")[2] or 0) for word in words], pages)
    said: list[Axis] = [_axis_said(word.partition(":")[0]) for word in words]
    own = found.axes[: len(found.axes) - (found.samples > 1)]
    open_axes = [i for i, (axis, _) in enumerate(own) if axis == "unstated"] or list(range(len(own)))
    if said == ["positions"]:
        said = said * len(open_axes)
    if len(said) != len(open_axes) and own:
        raise _unfit(found, pages)
    axes = list(found.axes)
    for i, axis in zip(open_axes, said, strict=False):
        axes[i] = (axis, axes[i][1])
    return replace(found, axes=tuple(axes))


def _unfit(found: Structure, pages: str) -> UnclearError:
    shown = " x ".join(f"{length} {'pages' if axis == 'unstated' else axis}" for axis, length in found.axes)
    return UnclearError(say("pages-do-not-fit", said=pages, shown=shown, by=found.source or "its pages"))


def _divided(found: Structure, lengths: list[int], pages: str) -> Structure:
    """The one axis of pages divided into several, of these lengths; that of the first is what comes out."""
    own = found.axes[: len(found.axes) - (found.samples > 1)]
    rest = prod(lengths[1:])
    if not own:
        return found
    if len(own) > 1 or not rest or own[0][1] % rest or lengths[0] not in (0, own[0][1] // rest):
        raise _unfit(found, pages)
    sides = [own[0][1] // rest, *lengths[1:]]
    pictures = (
        replace(picture, at=(*_unravelled(picture.at[0], sides), *picture.at[1:])) for picture in found.pictures
    )
    axes: list[tuple[Axis, int]] = [("unstated", side) for side in sides]
    return replace(found, axes=(*axes, *found.axes[1:]), pictures=tuple(pictures))


def _unravelled(place: int, sides: list[int]) -> tuple[int, ...]:
    places: list[int] = []
    for side in reversed(sides):
        place, at = divmod(place, side)
        places.insert(0, at)
    return tuple(places)


def _axis_said(word: str) -> Axis:
    return "positions" if word in ("cells", "positions") else next(axis for axis in AXES if axis == word)


def _flat(found: Structure, pages: Sequence[Picture]) -> Structure:
    """These pages, whatever the metadata say."""
    ordered = sorted(pages, key=lambda picture: (picture.directory, picture.block))
    if len(ordered) == 1:
        return Structure((), (replace(ordered[0], at=()),), "", found.names)
    pictures = tuple(replace(picture, at=(i,)) for i, picture in enumerate(ordered))
    return Structure((("unstated", len(pictures)),), pictures, "", found.names)


def described(found: Structure, chosen: Sequence[Chosen]) -> str:
    """One line for a person: what the pictures are, by what, and what of them is read."""
    if not found.axes:
        return ""
    parts = " x ".join(f"{length} {'pages' if axis == 'unstated' else axis}" for axis, length in found.axes)
    by = f" by {found.source}" if found.source else ""
    read = sorted({_at(found, picture, "channels") for one in chosen for picture in one.pictures})
    channel = ""
    if found.length("channels") > 1 and len(read) == 1:
        name = f" ({found.names[read[0]]})" if read[0] < len(found.names) else ""
        channel = f", channel {read[0] + 1}{name}"
    return f"{parts}{by}; {len(chosen)} read{channel}"
