"""mnbatch as a library: score crops, segment fields, run a batch, read its results, fit curves, estimate doses.

Nothing here prints or reads environment variables; errors are those of `mnbatch.errors`, each with what to do. The
command line calls the same functions below.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from mnbatch.assay.calls import QualityRules, quality_flags
from mnbatch.assay.cells import CellCrop, KnownStain, ReadTask, SourceFile, Stain, UnreadableCell
from mnbatch.assay.map_grid import positions
from mnbatch.assay.mn_counts import CellCount
from mnbatch.assay.stains import mixture, slide_stain
from mnbatch.dosimetry.calibration_curve import Curve, Endpoint, load_curve
from mnbatch.dosimetry.calibration_tables import read_points, table_notes
from mnbatch.dosimetry.curve_fitting import Family, ModelChoice
from mnbatch.dosimetry.curve_fitting import fit_curve as fit_points
from mnbatch.dosimetry.dose_estimation import Choice, DoseOptions, assess, read_cases
from mnbatch.dosimetry.plausible_curves import implausible
from mnbatch.dosimetry.triage import triage
from mnbatch.errors import StorageError, UsageError
from mnbatch.renamed import current_input

if TYPE_CHECKING:
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.imaging.segmentation import SegmentedField
    from mnbatch.inference.catalogue import ModelSet
    from mnbatch.inference.classifier import Classifier
    from mnbatch.inference.network_scores import Scores
    from mnbatch.pipeline.run import RunOutcome
    from mnbatch.results.records import SlideRecord
    from mnbatch.review.trail import Trail

Image = npt.NDArray[Any] | str | Path
"""A crop: (h, w) or (h, w, 3), uint8 or uint16, or the path of an image file."""


Counts = pd.DataFrame | str | Path
"""A table of counts as a DataFrame or as a CSV file: see `fit_curve` and `estimate_dose`."""

Cell = CellCrop | UnreadableCell


def load_model(
    name_or_path: str | Path = "attention-alexnet", *, device: str = "auto", threads: int | None = None
) -> Model:
    """Open a bundled model or a model directory; its weights are loaded when they are first needed.

    Args:
        name_or_path: a name of `mnbatch model list`, or the path of a model directory or of a set of them.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:N", "cuda:0,cuda:1" or "all" GPUs.
        threads: worker threads on a processor; None for all cores that this process may use.

    Raises:
        ModelError: it is missing, altered, or no model.
    """
    from mnbatch.inference.catalogue import ModelSet

    return Model(ModelSet.open(name_or_path), device, threads)


class PagesSaid(TypedDict, total=False):
    """What a person says of the pages of files with several, as the options of `mnbatch run` of these names."""

    nuclear_channel: str | None
    planes: str | None
    time: int | None
    pages: str | None


class Model:
    """A model, or a set of models of which each stain has its own. Close it, or use it in a `with` statement."""

    def __init__(self, models: ModelSet, device: str, threads: int | None) -> None:
        self._models, self._device, self._threads = models, device, threads
        self._classifiers: dict[str, Classifier] = {}

    @property
    def stains(self) -> tuple[str, ...]:
        """Stains that it serves."""
        return self._models.stains

    def score(
        self, images: Iterable[Image], *, stain: KnownStain | None = None, **said: Unpack[PagesSaid]
    ) -> pd.DataFrame:
        """Score crops of one slide: a row an image (a row a page of a file with several), in their order.

        The images are taken as one slide, as in a run: its stain is what most of them show. Files are decoded in this
        process; a run decodes in processes of their own, with a deadline and a limit of memory.

        Args:
            images: each one cell; see `Image`. All are held in memory, 150 kB each.
            stain: take the model of this stain; None recognises it.
            said: `nuclear_channel=`, `planes=`, `time=`, `pages=`, where files do not say what their pages are.

        Returns:
            Columns image (path, or number from 0), page, p_mn (0 to 1, no calibrated probability), mn (p_mn at or above
            the threshold of the model's card), qc (flags separated by ";"), reason (why there is no score), stain
            (of the image), zoom (see docs/data-dictionary.md); of a model that counts p_0, p_1, p_2, p_3plus,
            expected_mn and n_mn, too.

        Raises:
            UsageError: the images hold two stains, an array has another shape or type, or `said` is impossible.
            SlideError: no model serves the stain, or it is not recognised; or what pages are has to be said.
        """
        cells = self._read(images, said)
        classifier, scores = self._scored(cells, stain)
        frame = pd.DataFrame([_identity(cell) for cell in cells], columns=list(_IDENTITY_TYPES)).astype(_IDENTITY_TYPES)
        numbers = pd.DataFrame(index=range(len(cells)))
        if classifier is not None and scores is not None:
            numbers = pd.DataFrame(_numbers(classifier, scores), index=_readable(cells))
        types = {name: kind for name, kind in _NUMBER_TYPES.items() if name in numbers or name in ("p_mn", "mn")}
        return frame.join(numbers.reindex(frame.index, columns=list(types)).astype(types))

    def maps(
        self, images: Iterable[Image], *, stain: KnownStain | None = None, **said: Unpack[PagesSaid]
    ) -> npt.NDArray[np.float32]:
        """Maps that explain the scores, a row an image as in `score`.

        Returns:
            (n, 3, s, s) float32, s positions a side, 13 for an input of 224 pixels: attention of layers 5 and 6 (0 to
            1), evidence for a micronucleus in logits; NaN where an image was not scored or the network gives no such
            map.

        Raises:
            UsageError, SlideError: as `score`.
        """
        from mnbatch.inference.network_scores import MAPS

        cells = self._read(images, said)
        side = positions(self._models.preparation.size)
        found = np.full((len(cells), len(MAPS), side, side), np.nan, np.float32)
        _, scores = self._scored(cells, stain)
        if scores is not None:
            found[_readable(cells)] = scores.maps
        return found

    def features(
        self, images: Iterable[Image], *, stain: KnownStain | None = None, **said: Unpack[PagesSaid]
    ) -> npt.NDArray[np.float64]:
        """Pooled features that the score is a linear function of, a row an image as in `score`.

        Returns:
            (n, d) float64; NaN where an image could not be read. (n, 0) where none could: no stain, so no network.

        Raises:
            UsageError, SlideError: as `score`.
            ModelError: the network has no pooled features.
        """
        from mnbatch.inference.network_features import describe, stream_network

        cells = self._read(images, said)
        crops = [cell for cell in cells if isinstance(cell, CellCrop)]
        if not crops:
            return np.empty((len(cells), 0))
        model = self._classifier(_stain_of(crops, stain)).model
        found = np.full((len(cells), stream_network(model).classifier.in_features), np.nan)
        found[_readable(cells)] = describe(model, [crop.pixels for crop in crops]).vectors
        return found

    def close(self) -> None:
        """Free the workers."""
        for classifier in self._classifiers.values():
            classifier.close()
        self._classifiers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, images: Iterable[Image], said: PagesSaid) -> list[Cell]:
        from mnbatch.imaging.readers import make_cell, read_cells

        preparation, options = self._models.preparation, _page_options(said)
        cells: list[Cell] = []
        for number, image in enumerate(images):
            if isinstance(image, str | Path):
                path = Path(image).absolute()
                cells += read_cells(
                    ReadTask("", path.parent, _file(path), hash_file=False, options=options), preparation
                )
            else:
                known = UnreadableCell(
                    slide_id="",
                    cell_id=str(number),
                    source=str(number),
                    page=None,
                    reason="",
                    transient=False,
                    file_digest="",
                )
                cells.append(make_cell(known, _checked(image, number), preparation))
        return cells

    def _scored(self, cells: Sequence[Cell], stain: KnownStain | None) -> tuple[Classifier | None, Scores | None]:
        crops = [cell for cell in cells if isinstance(cell, CellCrop)]
        if not crops:
            return None, None
        classifier = self._classifier(_stain_of(crops, stain))
        return classifier, classifier.score(np.stack([crop.pixels for crop in crops]))

    def _classifier(self, stain: Stain) -> Classifier:
        from mnbatch.inference.classifier import Classifier

        digest = self._models.digest_for(stain)
        if digest not in self._classifiers:
            self._classifiers[digest] = Classifier(self._models.load(stain), self._device, threads=self._threads)
        return self._classifiers[digest]


_IDENTITY_TYPES = {
    "image": "string",
    "page": "Int64",
    "qc": "string",
    "reason": "string",
    "stain": "string",
    "zoom": "Float64",
}
_NUMBER_TYPES = {
    "p_mn": "Float64",
    "mn": "boolean",
    **dict.fromkeys(("p_0", "p_1", "p_2", "p_3plus", "expected_mn"), "Float64"),
    "n_mn": "Int64",
}


def _page_options(said: PagesSaid) -> PageOptions:
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.settings import check_pages

    unknown = sorted(set(said) - set(PagesSaid.__annotations__))
    if unknown:
        known = ", ".join(PagesSaid.__annotations__)
        raise UsageError(f"{unknown[0]} is nothing that can be said of pages.", f"Give one of {known}.")
    options = PageOptions(said.get("nuclear_channel"), said.get("planes"), said.get("time"), said.get("pages"))
    check_pages(options)
    return options


def _readable(cells: Sequence[Cell]) -> list[int]:
    return [row for row, cell in enumerate(cells) if isinstance(cell, CellCrop)]


def _identity(cell: Cell) -> dict[str, Any]:
    place = {"image": cell.source, "page": cell.page}
    if isinstance(cell, UnreadableCell):
        return {**place, "qc": "", "reason": str(cell.reason), "stain": None, "zoom": None}
    flags = ";".join(quality_flags(cell.quality, QualityRules())) or "ok"
    return {**place, "qc": flags, "reason": "", "stain": cell.stain, "zoom": cell.zoom}


def _numbers(classifier: Classifier, scores: Scores) -> dict[str, Any]:
    card = classifier.model.card
    called = scores.p_mn >= card.threshold
    found: dict[str, Any] = {"p_mn": scores.p_mn, "mn": called}
    if scores.ratios is None or card.counting is None:
        return found
    counts = [
        CellCount.of(float(p), (float(q2), float(q3)), bool(yes), card.counting.mean_3plus)
        for p, (q2, q3), yes in zip(scores.p_mn, scores.ratios, called, strict=True)
    ]
    for place, name in enumerate(("p_0", "p_1", "p_2", "p_3plus")):
        found[name] = [count.p[place] for count in counts]
    return found | {"expected_mn": [count.expected for count in counts], "n_mn": [count.n for count in counts]}


def _stain_of(crops: Sequence[CellCrop], stain: KnownStain | None) -> Stain:
    if stain:
        return stain
    counts = Counter(crop.stain for crop in crops)
    if seen := mixture(counts):
        raise UsageError(f"The images hold two stains ({seen}).", "Score them apart, or give stain=.")
    return slide_stain(counts)


def _file(path: Path) -> SourceFile:
    return SourceFile(path.name, path.stat().st_size if path.exists() else 0, 0)


def _checked(image: Any, number: int) -> npt.NDArray[Any]:
    array = np.asarray(image)
    whole = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype not in (np.uint8, np.uint16) or not whole:
        raise UsageError(
            f"Image {number} is {array.dtype} {array.shape}.", "Give (h, w) or (h, w, 3) of uint8 or uint16 values."
        )
    return array


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What was found in a field.

    Attributes:
        cells: a row a cell: label, x, y (pixels), left, top, width, height, cell_class, reason (why it is not to be
            scored; "" for a cell to be scored), nuclei, nucleus_area_px, cell_area_px, at_border.
        nuclei: (h, w) int32, a label a main nucleus.
        bodies: (h, w) int32, whole cells; None where no cytoplasm can be seen.
        stain: "fluorescence", "giemsa" or "unknown".
        nucleus_diameter: median, pixels; 0.0 without any.
        problem: why the field gives no result (empty, noise, saturated, out of focus), else "".
    """

    cells: pd.DataFrame
    nuclei: npt.NDArray[np.int32]
    bodies: npt.NDArray[np.int32] | None
    stain: str
    nucleus_diameter: float
    problem: str


def segment(
    image: npt.NDArray[Any],
    *,
    um_per_pixel: float | None = None,
    cytoplasm: npt.NDArray[Any] | None = None,
    **settings: Any,
) -> Segmentation:
    """Find nuclei and cells in one camera field.

    Args:
        image: (h, w) or (h, w, 3), uint8 or uint16.
        um_per_pixel: pixel size, where known: bounds the size of what may be a nucleus.
        cytoplasm: (h, w) or (h, w, 3), a second channel of the same field in which the cytoplasm is stained: two nuclei
            within one cytoplasm are one cell, and nuclei whose cytoplasms are apart are not paired.
        settings: of `mnbatch.imaging.segmentation.SegmentationSettings`, such as `cells="all"`.

    Raises:
        ValueError: an array of another shape, or an unknown setting.
    """
    from mnbatch.imaging.segmentation import SegmentationSettings, segment_field

    found = segment_field(image, SegmentationSettings(**settings), pixel_um=um_per_pixel, cytoplasm=cytoplasm)
    return Segmentation(
        cells=_found_cells(found),
        nuclei=found.nuclei,
        bodies=found.bodies,
        stain=found.stain,
        nucleus_diameter=found.nucleus_diameter,
        problem=found.problem,
    )


def _found_cells(found: SegmentedField) -> pd.DataFrame:
    rows = [
        {
            "label": cell.label,
            "x": cell.x,
            "y": cell.y,
            "left": cell.box[0],
            "top": cell.box[1],
            "width": cell.box[2] - cell.box[0],
            "height": cell.box[3] - cell.box[1],
            "cell_class": cell.cell_class,
            "reason": str(cell.reason),
            "nuclei": len(cell.nuclei),
            "nucleus_area_px": sum(cell.nucleus_areas),
            "cell_area_px": cell.cell_area,
            "at_border": cell.at_border,
        }
        for cell in found.cells
    ]
    types = {
        **dict.fromkeys(
            ("label", "left", "top", "width", "height", "nuclei", "nucleus_area_px", "cell_area_px"), "Int64"
        ),
        "x": "Float64",
        "y": "Float64",
        "cell_class": "string",
        "reason": "string",
        "at_border": "boolean",
    }
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def scan(
    export: str | Path,
    *,
    layout: str = "folder-per-slide",
    input: str = "auto",
    names: str = "auto",
    nuclear_channel: str | None = None,
    planes: str | None = None,
    time: int | None = None,
    pages: str | None = None,
    cytoplasm_channel: str | None = None,
) -> pd.DataFrame:
    """What slides an export holds; nothing is scored or written.

    Args:
        layout: name of a layout preset, or a pattern such as '{donor}/{slide}/{cell}.tif'.
        input: crops, fields, wsi (whole slides), or auto to recognise it.
        names: how files of one scene are named: an instrument, a pattern, plain, or auto to recognise it.
        nuclear_channel, planes, time, pages, cytoplasm_channel: as `mnbatch scan` has them; None takes what the files
            say, and no cytoplasm channel.

    Returns:
        A row a slide: slide_id, slide, donor, path, files, bytes, copy_of, problem (why a run would fail it, and what
        to do; missing where nothing is seen from names). What was left out is in `.attrs["left_out"]`, a DataFrame of
        path and reason.

    Raises:
        UsageError: an unknown layout, or an impossible value.
        NoInputError: there is no export, or no slide in it.
        StorageError: it cannot be read.
    """
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.imaging.discovery import find_slides
    from mnbatch.imaging.inputs import recognise_input
    from mnbatch.settings import check_pages

    stated = None if names == "auto" else names
    said = PageOptions(nuclear_channel, planes, time, pages, names=stated, cytoplasm=cytoplasm_channel)
    check_pages(said)
    kind = recognise_input(Path(export), layout).kind if input == "auto" else current_input(input)
    left_out: list[dict[str, str]] = []
    found = find_slides(
        Path(export),
        layout=layout,
        kind=kind,
        stated=input != "auto",
        options=said,
        explain=lambda skipped: left_out.append({"path": skipped.path, "reason": str(skipped.reason)}),
    )
    rows = [
        {
            "slide_id": slide.slide_id,
            "slide": slide.name,
            "donor": slide.donor,
            "path": slide.path,
            "files": len(slide.files),
            "bytes": sum(file.size for file in slide.files),
            "copy_of": slide.copy_of,
            "problem": None if slide.refused is None else " ".join(map(str, slide.refused)),
        }
        for slide in found
    ]
    text = dict.fromkeys(("slide_id", "slide", "donor", "path", "copy_of", "problem"), "string")
    types = {**text, "files": "Int64", "bytes": "Int64"}
    frame = pd.DataFrame(rows).astype(types)
    frame.attrs["left_out"] = pd.DataFrame(left_out, columns=["path", "reason"])
    return frame


def run(export: str | Path, out: str | Path, **settings: Any) -> RunOutcome:
    """Score what is new or changed of an export and bring the reports in `out` up to date, as `mnbatch run` does.

    Args:
        settings: of `mnbatch.settings.RunSettings`, such as `layout=`, `samples=`, `threshold=`, `device=`.

    Returns:
        What happened to each slide; `exit_code` is 3 where slides failed, `report` has the tables' state.

    Raises:
        UsageError: an unknown setting or an impossible value.
        MnbatchError: what stops the whole run (no input, disk full, OUT held by another run, ...). A slide's own
            failure does not.
    """
    from mnbatch.app.run_service import run_and_tell
    from mnbatch.settings import RunSettings, resolve

    unknown = sorted(set(settings) - set(RunSettings.model_fields))
    if unknown:
        raise UsageError(
            f"{unknown[0]} is not a setting of a run.", f"Settings: {', '.join(RunSettings.model_fields)}."
        )
    resolved = resolve({"export": Path(export), "out": Path(out), **settings}, environment={})
    return run_and_tell(resolved)


def open_results(out: str | Path) -> Results:
    """Open an output directory of `mnbatch run` for reading.

    Raises:
        StorageError: there are no results.
    """
    from mnbatch.results.store import Store

    store = Store(Path(out))
    if not store.paths.slides.is_dir():
        raise StorageError(f"{out} holds no results of mnbatch.", "Give the folder that `mnbatch run --out` wrote.")
    return Results(store)


class Results:
    """What an output directory holds, read at the time of each call. Columns: docs/data-dictionary.md."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def cells(self) -> pd.DataFrame:
        """Every cell of every counted slide, called from the stored scores: slide_id, donor, then as cells.csv.

        Raises:
            StorageError: a stored result is damaged. A slide that failed has no cells; `slides()` says why.
        """
        from mnbatch.report.tables import CELLS, NumberedCell
        from mnbatch.results.annotations import load_samples
        from mnbatch.results.roster import donor_of, open_roster

        samples = load_samples(self._store.paths)
        roster = open_roster(self._store, samples)
        frames = []
        for record in roster.records:
            rows = [CELLS.row(NumberedCell(i, cell)) for i, cell in enumerate(roster.call(record)[0].cells, start=1)]
            frame = pd.DataFrame(rows, columns=list(CELLS.header))
            frame.insert(0, "slide_id", record.slide_id)
            frame.insert(1, "donor", donor_of(record, samples))
            frames.append(frame)
        types = {"slide_id": "string", "donor": "string", **CELLS.dtypes}
        if not frames:
            return pd.DataFrame(columns=list(types)).astype(types)
        return pd.concat([frame.astype(types) for frame in frames], ignore_index=True)

    def slides(self) -> pd.DataFrame:
        """slides.csv: a row a slide, failed ones too.

        Raises:
            StorageError: it is missing, or was edited since the report wrote it.
        """
        from mnbatch.report.tables import SLIDES

        return self._table(self._store.paths.slides_csv, SLIDES.dtypes)

    def donors(self) -> pd.DataFrame:
        """donors.csv: a row a donor.

        Raises:
            StorageError: as `slides`.
        """
        from mnbatch.report.tables import DONORS

        return self._table(self._store.paths.donors_csv, DONORS.dtypes)

    def decisions(self) -> pd.DataFrame:
        """Every decision that reviewers took, withdrawn ones too, in the order of arrival within a slide.

        Raises:
            StorageError: a trail cannot be read, or was changed by hand.
        """
        from mnbatch.review.trail import read_trail, reviewed_slides

        paths = self._store.paths
        rows = [
            {**decision.fields(), "slide_id": slide_id}
            for slide_id in reviewed_slides(paths)
            for decision in _whole_trail(read_trail(paths, slide_id), slide_id).entries
        ]
        text = ("slide_id", "cell_id", "decision", "reviewer", "stratum", "model_digest", "result_key")
        types = {**dict.fromkeys(text, "string"), "count": "Int64", "inclusion_probability": "Float64"}
        frame = pd.DataFrame(rows, columns=[*types, "time"]).astype(types)
        frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601")
        return frame

    def crop(self, cell_id: str) -> npt.NDArray[np.uint8]:
        """The picture that was scored: (s, s) or (s, s, 3) uint8, from the JPEG that OUT keeps.

        Raises:
            UsageError: there is no such cell.
            StorageError: no picture of it is kept (`--no-crops`, an unreadable cell), or it is damaged.
        """
        from PIL import Image as Pictures

        crops, row = self._kept(cell_id)
        data = crops.jpeg(row)
        if data is None:
            raise StorageError(f"No picture of {cell_id} is kept.", "Its reason is in `cells()`.")
        return np.asarray(Pictures.open(io.BytesIO(data)))

    def heatmap(self, cell_id: str) -> npt.NDArray[np.float64]:
        """Evidence for a micronucleus as the pages show it: (s, s) logits over the crop.

        Raises:
            UsageError, StorageError: as `crop`.
        """
        from mnbatch.assay.cells import spread

        crops, row = self._kept(cell_id)
        maps = crops.cell_maps(row)
        if maps is None:
            raise StorageError(f"No map of {cell_id} is kept.", "Its reason is in `cells()`.")
        return spread(maps[2])

    def _kept(self, cell_id: str) -> tuple[Any, int]:
        record = self._record_of(cell_id)
        self._store.check(record, pictures=True)
        rows = [row.cell_id for row in self._store.scores(record)]
        if cell_id not in rows:
            raise UsageError(f"There is no cell {cell_id}.", "Take a cell_id of `cells()`.")
        crops = self._store.crops(record)
        if crops is None:
            raise StorageError(f"No pictures of slide {record.slide_id} are kept.", "Run without --no-crops.")
        return crops, rows.index(cell_id)

    def _record_of(self, cell_id: str) -> SlideRecord:
        slide_id = cell_id.partition(":")[0]
        record: SlideRecord | None = None
        if slide_id and "/" not in slide_id and slide_id not in (".", ".."):
            record = self._store.record(slide_id)
        if record is None or record.status != "scored":
            raise UsageError(f"There is no scored slide of the cell {cell_id}.", "Take a cell_id of `cells()`.")
        return record

    def _table(self, path: Path, types: Mapping[str, str]) -> pd.DataFrame:
        from mnbatch.intake import read_bytes, read_json, reason
        from mnbatch.results.commit import altered

        try:
            stated = read_json(self._store.paths.report_seal)["files"].get(path.name, "")
            wrong = altered(path, stated)
            data = read_bytes(path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise StorageError(f"{path} cannot be read: {reason(error)}.", _REPORT) from error
        if wrong or not stated:
            raise StorageError(
                f"{path} is not what the report wrote{f': {wrong}' if wrong else ''}.",
                _REPORT,
            )
        frame = pd.read_csv(io.BytesIO(data), dtype=dict(types), keep_default_na=False, na_values=[""])
        return frame[list(types)]


_REPORT = "Make it with `mnbatch report OUT`."


def _whole_trail(trail: Trail, slide_id: str) -> Trail:
    if trail.altered:
        raise StorageError(
            f"The decisions on slide {slide_id} were changed by hand: {'; '.join(trail.altered)}.",
            "Restore annotations/ from a copy.",
        )
    return trail


def fit_curve(
    table: Counts, *, endpoint: Endpoint = "mnbn", model: ModelChoice = "automatic", family: Family = "automatic"
) -> Curve:
    """Fit a calibration curve y = C + alpha D (+ beta D^2) to counted cells at known doses (docs/statistics.md).

    Args:
        table: columns D (Gy; or dose_cgy, dose_mgy) with N (cells) and X (events), or D and C0..C5 (cells with so many
            micronuclei). A Python warning names columns that are not read, equal rows and implausible curves.
        endpoint: "mnbn": X counts cells with at least one micronucleus; "mn": micronuclei.
        model, family: as `mnbatch curve fit`.

    Raises:
        UsageError: a column is missing.
        CurveError: rows that cannot be used, or data that give no curve.
    """
    curve = fit_points(read_points(_source(table), endpoint), endpoint, model, family)
    for text in (*table_notes(_source(table)), *implausible(curve)):
        warnings.warn(text, stacklevel=2)
    return curve


def estimate_dose(
    counts: Counts,
    curve: Curve | str | Path,
    *,
    method: Choice = "automatic",
    level: float = 0.95,
    g: float = 1.0,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Doses of counted cases.

    Args:
        counts: columns id with N and X, or id and C0..C5.
        curve: of `fit_curve`, a curve file, or an example such as "example:mayakannan2018".
        method, level: of the interval.
        g: protraction factor, 1 for an acute exposure.
        allow_mismatch: give a dose although case and curve were scored differently.

    Returns:
        A row a case: id, status (ok, refused, failed), n, x, dose_gy, low_gy, high_gy (missing where the curve does not
        bound the dose), below_detection, above_range, detection_limit_gy, dose_class, dose_class_probability,
        dose_verdict (whether the dose is above 1 Gy, where that has a probability of 95 %),
        dose_above_1_gy_probability, warnings.

    Raises:
        UsageError: a table or curve that cannot be used.
    """
    known = curve if isinstance(curve, Curve) else load_curve(curve)
    options = DoseOptions(method=method, level=level, g=g, allow_mismatch=allow_mismatch)
    results = assess(read_cases(_source(counts), known.endpoint), known, options)
    rows = [
        {
            "id": r.id,
            "status": r.status,
            "n": r.n,
            "x": r.x,
            "dose_gy": r.estimate,
            "low_gy": r.lower,
            "high_gy": r.upper,
            "below_detection": r.below_detection,
            "above_range": r.above_range,
            "detection_limit_gy": r.detection_dose,
            "dose_class": found.category if found else None,
            "dose_class_probability": found.probability if found else None,
            "dose_verdict": found.verdict if found else None,
            "dose_above_1_gy_probability": found.above[0] if found else None,
            "warnings": "; ".join(r.warnings),
        }
        for r, found in zip(results, triage(results, known, g), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(_DOSE_TYPES)).astype(_DOSE_TYPES)


_DOSE_TYPES = {
    "id": "string",
    "status": "string",
    "n": "Int64",
    "x": "Int64",
    "dose_gy": "Float64",
    "low_gy": "Float64",
    "high_gy": "Float64",
    "below_detection": "boolean",
    "above_range": "boolean",
    "detection_limit_gy": "Float64",
    "dose_class": "string",
    "dose_class_probability": "Float64",
    "dose_verdict": "string",
    "dose_above_1_gy_probability": "Float64",
    "warnings": "string",
}


def _source(table: Counts) -> Path | bytes:
    if isinstance(table, pd.DataFrame):
        # Text in quotes, so that nothing of it is taken for a comment.
        return table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()
    return Path(table)
