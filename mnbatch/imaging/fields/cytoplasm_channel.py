"""The second channel of a field in which its cytoplasm is stained: read next to the nuclear one, and surely another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Named, Parameter, Reason, reason_in, say
from mnbatch.errors import SlideError
from mnbatch.imaging.fields.field_images import FieldImage, load_fields
from mnbatch.imaging.fields.plane_files import joined_fields


def with_cytoplasm(
    images: Iterable[FieldImage], slide: Slide, file: SourceFile, beside: tuple[SourceFile, ...], said: PageOptions
) -> Iterator[FieldImage]:
    """The fields of a file, each with its cytoplasm channel.

    Of several focal planes that channel's own sharpest one is taken, or what `said.planes` says.

    Args:
        file: whose fields they are.
        beside: files of the cytoplasm channel, one a focal plane; none where it is within the same file.
        said: what a person says of pages, the cytoplasm channel in it.

    Raises:
        SlideError: the channel is missing, or it is the nuclear channel.
    """
    for image, other in zip_longest(images, _channel(slide, file, beside, said)):
        if image is not None and image.pixels is None:
            yield image
        elif image is None or other is None:
            raise missing(said, file, say("cytoplasm-count"))
        elif other.pixels is None:
            if other.unclear or _code(other) in ("channel-unknown", "cytoplasm-count"):
                raise missing(said, file, _why(other))
            why = say("cytoplasm-unusable", why=reason_in(other.problem))
            yield replace(image, pixels=None, problem=why, transient=other.transient)
        else:
            yield _joined(image, other, said, file)


def _channel(slide: Slide, file: SourceFile, beside: tuple[SourceFile, ...], said: PageOptions) -> Iterator[FieldImage]:
    if not beside:
        options = replace(said, channel=said.cytoplasm)
        return load_fields(os.path.join(slide.root, file.path), options)[1]
    stack = [list(load_fields(os.path.join(slide.root, one.path), said)[1]) for one in beside]
    return iter(stack[0] if len(stack) == 1 else [joined_fields(stack, said.planes)])


def _code(other: FieldImage) -> str:
    return str(getattr(reason_in(other.problem), "code", ""))


def _why(other: FieldImage) -> Parameter:
    """Why the channel is not there, without the question for the nuclear channel."""
    known = reason_in(other.problem)
    if isinstance(known, Reason) and known.code == "channel-unknown":
        return say("cytoplasm-unknown", count=known.parameters["count"], known=known.parameters["known"])
    return known


def _joined(image: FieldImage, other: FieldImage, said: PageOptions, file: SourceFile) -> FieldImage:
    assert image.pixels is not None
    assert other.pixels is not None
    if image.shape != other.shape:
        own, theirs = ("{1} x {0}".format(*one.shape) for one in (image, other))
        raise missing(said, file, say("cytoplasm-size", cytoplasm=theirs, field=own))
    # A file of one grey picture gives it whatever channel is asked for.
    if np.array_equal(image.pixels, other.pixels):
        raise missing(said, file, say("cytoplasm-same"))
    return replace(image, cytoplasm=other.pixels)


def missing(said: PageOptions, file: SourceFile, why: Parameter) -> SlideError:
    """The slide fails: pairing some of its cells by their cytoplasm and others by distance would mix two measures."""
    channel = said.cytoplasm or ""
    return SlideError(
        say("cytoplasm-missing", channel=channel, file=Named("file", file.path), why=why), say("cytoplasm-missing-do")
    )
