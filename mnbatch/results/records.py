"""The commit record of a slide: one small JSON that says what is true of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from mnbatch.assay.cells import Stain
from mnbatch.assay.field_records import CellsWanted, FieldCounts, InputKind
from mnbatch.assay.stains import SlideStain
from mnbatch.renamed import stored_input

SCHEMA_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LeftOut(_Frozen):
    """A file that is in the slide's place and was not taken, and why."""

    path: str
    reason: str


class RateStamp(_Frozen):
    """Sensitivity or specificity as counted: `right` of `total` cells of that class."""

    data: str
    right: int
    total: int


class ScoresStamp(_Frozen):
    """Cells of known truth by score (see `mnbatch.assay.score_mixture`)."""

    data: str
    edges: tuple[float, ...]
    mn: tuple[int, ...]
    nomn: tuple[int, ...]


class SlideCountsStamp(_Frozen):
    """Calls on one validation slide (see `mnbatch.assay.slide_errors.ValidationSlide`)."""

    n: int
    n_mn: int
    called: int
    right: int
    mn_scores: tuple[int, ...] = ()
    nomn_scores: tuple[int, ...] = ()


class ValidationStamp(_Frozen):
    """What the model's card says of its errors, kept so that a report needs no model.

    Attributes:
        threshold: the card's; rates and slides hold at no other.
        slides: calls on each validation slide; empty where the card has none, as in records of earlier versions.
    """

    threshold: float
    sensitivity: RateStamp | None = None
    specificity: RateStamp | None = None
    scores: ScoresStamp | None = None
    slides: tuple[SlideCountsStamp, ...] = ()


class ModelStamp(_Frozen):
    """Which model scored the slide.

    Attributes:
        mean_3plus: of its card, for a model that counts micronuclei; None for one that answers yes or no.
        validation: None in a record of a version that did not keep it; the next `mnbatch run` fills it in.
    """

    name: str
    version: str
    digest: str
    architecture: str
    mean_3plus: float | None = None
    validation: ValidationStamp | None = None


class ScoreKeyParts(_Frozen):
    """What the scores depend on; a difference says why a slide is scored again.

    Attributes:
        content: digest over paths and contents of the slide's files.
        model: digest of the model directory.
        reader: version of the reading and preparing code.
        stain: forced stain, "" when recognised.
        crops: whether crops and maps were kept.
        fields: digest of how cells were found in fields and cut from them; of crops that of what was said of their
            pages, "" for nothing.
    """

    content: str
    model: str
    reader: str
    stain: str
    crops: bool = Field(validation_alias=AliasChoices("crops", "gallery"))
    fields: str = ""


class FieldsStamp(_Frozen):
    """What was found in the fields (or regions of a whole slide) that the cells come from.

    Attributes:
        cells: which cells were to be scored: binucleated ones, or all main nuclei.
        fields: examined; empty: of these, without a cell.
        skipped: those that could not be used, and why.
        classes: class -> cells found; not_scored: reason -> cells found and not scored.
        um_per_pixel: of the first field that has one; None where none is known.
    """

    cells: CellsWanted
    fields: int
    empty: int
    skipped: tuple[LeftOut, ...] = Field(default=(), validation_alias=AliasChoices("skipped", "set_aside"))
    classes: dict[str, int] = {}
    not_scored: dict[str, int] = {}
    um_per_pixel: float | None = None

    def counts(self) -> FieldCounts:
        """The same as counts that can be pooled."""
        found = (dict(self.classes), dict(self.not_scored))
        return FieldCounts(self.fields, self.empty, len(self.skipped), *found, paired=self.cells == "binucleated")


class CallStamp(_Frozen):
    """The rules that a slide's calls are made with."""

    key: str
    threshold: float
    max_bad_fraction: float
    quality_rules: int


class Scoring(_Frozen):
    """How the slide was scored; recorded, and no part of a key.

    Attributes:
        seconds: wall time from the slide's first cell to its commit, other slides' cells in between included.
        maps: which maps the network gives of a cell; empty for one that gives scores only.
    """

    device: str
    precision: str
    minibatch: int
    mnbatch: str
    torch: str
    started: str
    finished: str
    seconds: float
    maps: tuple[str, ...] = ("attention5", "attention6", "evidence")


class Waiting(_Frozen):
    """Files of a slide that a run left to the next one.

    Attributes:
        since: when a run first left them; kept from run to run.
        seen: when a run last did; runs: how many did.
        state: digest over the files as they were last seen; same_since: when they were first seen so.
        overdue: they wait for longer than they may, and the run ended with exit code 3.
        text: the reason, for a person.
    """

    since: str
    seen: str
    runs: int
    state: str
    same_since: str
    overdue: bool = False
    text: str


class SlideRecord(_Frozen):
    """What is true of a slide.

    Attributes:
        status: `scored` (its generation holds the scores; whether the slide is done or failed is for the call to
            say), `failed` (nothing could be scored; `reason` says why), `copy` (byte-identical to `copy_of`) or
            `waiting` (never scored, left to the next run).
        next_step: what a person should do about a failure.
        transient: a failure that a later run may not meet; it is tried again each time.
        pseudonymised: names, paths and ids are codes.
        generation: name of the generation directory of a scored slide.
        sizes: file of the generation -> its bytes, so that a damaged result is noticed and not reported.
        checksums: file of the generation -> BLAKE2b of its bytes; empty in a record of a version that made none.
        unread: indices of the files that an I/O error or missing permission kept from being read; when one of them
            can be read later, the slide is scored again.
        cells: rows of the generation.
        unreadable: rows without a score.
        input: what its files are: crops, fields or whole slides.
        fields: what was found in its fields; None for crops.
        stain: of the slide, recognised or forced.
        stains: stain -> readable cells; empty in a record of a version that did not count them.
        colourless: of them, stained cells without colour, for a model that tells stains apart by it; 0 in a record of a
            version that did not count them.
        stat_key: digest over path, size and mtime of the slide's files: unchanged means not read again.
        content_key: digest over path and content of the slide's files ("" where they were never read whole).
        score_key: digest of `parts`.
        waiting: newer files of the slide, or all of them, are left to the next run; None for none.
        each_its_own: a person says that each file shows a cell or field of its own (`--names plain`), so slides are not
            compared for scenes that come again.
    """

    schema_version: Literal[1] = 1
    slide_id: str
    name: str
    path: str
    donor: str | None
    layout: str
    status: Literal["scored", "failed", "copy", "waiting"]
    reason: str = ""
    next_step: str = ""
    transient: bool = False
    copy_of: str | None = None
    pseudonymised: bool = False
    generation: str | None = None
    sizes: dict[str, int] = {}
    checksums: dict[str, str] = {}
    unread: tuple[int, ...] = ()
    cells: int = 0
    unreadable: int = 0
    input: Annotated[InputKind, BeforeValidator(stored_input)] = "crops"
    fields: FieldsStamp | None = None
    # Versions before 0.3 wrote "look", "looks", and "crops" for crops.
    stain: Stain | None = Field(default=None, validation_alias=AliasChoices("stain", "look"))
    stains: dict[Stain, int] = Field(default={}, validation_alias=AliasChoices("stains", "looks"))
    colourless: int = 0
    stat_key: str
    content_key: str = ""
    score_key: str = ""
    parts: ScoreKeyParts | None = None
    call: CallStamp | None = None
    model: ModelStamp | None = None
    scored: Scoring | None = None
    skipped: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    waiting: Waiting | None = None
    each_its_own: bool = False

    @property
    def slide_stain(self) -> SlideStain | None:
        """The stain that its cells are called with; None where none was recognised."""
        return None if self.stain is None else SlideStain(self.stain, bool(self.parts and self.parts.stain))
