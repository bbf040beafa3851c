"""How well fields are segmented, on annotated images and on simulated fields, and how fast.

    python benchmarks/segmentation.py [--data ../shared/data] [--parts nuclei,stained,pairs,hazy,cytoplasm,survey]

* nuclei: F1 (and recall and precision) at IoU 0.5 over all nuclei together, of `segment_field` and of scikit-image's
  own example (Otsu, distance
  transform, watershed: "Watershed segmentation" in its gallery), on the validation fields of mnfinder and on 100
  fluorescence images of dsb2018, drawn once by seed. Two annotated parts of one colour that do not touch count as two
  nuclei. Nothing was tuned on these images.
* stained: Dice of nucleus and of whole cell on wbc-tecom, mean over its 300 images. An image's nuclear material is main
  nuclei and small bodies together (lobed nuclei).
* pairs: recall and precision of binucleated cells on simulated fields of both stains, at 400 and at 800 cells per
  mm2. A cell is found if a binucleated cell is reported within half a nucleus diameter of its centre. Recall is over
  those that may be scored (not overlapping, not at the border); a hit on one of the others is no false positive.
  Each field is a slide of its own, so that the full spread of stains is in it; intervals are Wilson's, 95 %.
  MP/s: megapixels a second of processor time of `segment_field` on these fields.
* hazy: recall and precision of main nuclei at IoU 0.5, and of binucleated cells as above, on simulated fluorescence
  fields whose cytoplasm shows (`--haze`), by the light of the cytoplasm and by brightest / dimmest nucleus; first
  fields without haze. Pixel sizes 0.2, 0.25, 0.325 and 0.35 um in turn, 8 and 16 bits in turn. Fragments of
  apoptotic cells, micronuclei, and nuclei of which the border leaves less than half are neither wanted nor false.
* cytoplasm: binucleated cells as above on simulated fluorescence fields, without and with their cytoplasm channel
  (`segment_field(..., cytoplasm=)`), without haze (at 400 and 800 cells per mm2), with haze 0.1, and where all cells
  are mononucleated, at 1200 per mm2, so that each binucleated cell that is reported is false.
* survey: median nucleus diameter of simulated slides as `Survey` measures it on four fields, beside the median of the
  truth's whole main nuclei, the fragments of apoptotic cells left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.io import imread
from skimage.segmentation import watershed

from mnbatch.assay.cells import Stain
from mnbatch.assay.intervals import wilson
from mnbatch.imaging.fields.field_images import FieldImage
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.fields.finding import look_at
from mnbatch.imaging.segmentation import SegmentationSettings, SegmentedField, segment_field
from mnbatch.simulate.export_plan import ExportPlan, slide_jobs
from mnbatch.simulate.fields.field_files import TRUTH_COLUMNS, Where, cells_shown, label_images, truth_rows
from mnbatch.simulate.fields.field_plan import FieldPlan
from mnbatch.simulate.fields.field_rendering import draw_field
from mnbatch.simulate.fields.haze import Haze

Image = npt.NDArray[Any]
EACH = SegmentationSettings(cells="all")
PAIRS = SegmentationSettings()
PIXEL_SIZES = (0.25, 0.325, 0.2, 0.35)


class Tally(NamedTuple):
    """Hits, false positives and misses."""

    hits: int = 0
    extra: int = 0
    missed: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.hits + other.hits, self.extra + other.extra, self.missed + other.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return 2 * self.hits / max(1, 2 * self.hits + self.extra + self.missed)

    @property
    def recall(self) -> float:
        """Share of the true ones that was found."""
        return self.hits / max(1, self.hits + self.missed)

    @property
    def precision(self) -> float:
        """Share of the found ones that is true."""
        return self.hits / max(1, self.hits + self.extra)


def example(image: Image) -> Image:
    """The watershed example of scikit-image's gallery: Otsu, distance, local maxima, watershed."""
    mask = image > threshold_otsu(image)
    distance = ndimage.distance_transform_edt(mask)
    peaks = peak_local_max(distance, footprint=np.ones((3, 3)), labels=mask.astype(np.int32))
    seeds = np.zeros(distance.shape, np.bool_)
    seeds[tuple(peaks.T)] = True
    return np.asarray(watershed(-distance, ndimage.label(seeds)[0], mask=mask))


def matched(truth: Image, found: Image) -> Tally:
    """Objects that overlap with an intersection over union above 0.5 (at most one can)."""
    sizes_truth, sizes_found = np.bincount(truth.ravel()), np.bincount(found.ravel())
    both = (truth > 0) & (found > 0)
    keys, common = np.unique(truth[both].astype(np.int64) * len(sizes_found) + found[both], return_counts=True)
    t, f = np.divmod(keys, len(sizes_found))
    hits = int((common / (sizes_truth[t] + sizes_found[f] - common) > 0.5).sum())
    return Tally(hits, int((sizes_found[1:] > 0).sum()) - hits, int((sizes_truth[1:] > 0).sum()) - hits)


def mnfinder(data: Path) -> Iterator[tuple[str, Image, Image]]:
    """Validation fields: name, image, labels."""
    for path in sorted((data / "mnfinder/fields/validation").glob("*/images/*.tif")):
        colours = imread(path.parents[1] / "nucleus_masks" / f"{path.stem}.png")[..., :3].astype(np.int64)
        flat = colours @ np.array([65536, 256, 1])
        labels = np.zeros(flat.shape, np.int32)
        for colour in np.unique(flat)[1:]:
            parts, _ = ndimage.label(flat == colour, np.ones((3, 3)))
            labels[parts > 0] = parts[parts > 0] + labels.max()
        yield path.parents[1].name, imread(path), labels


def dsb2018(data: Path, seed: int) -> Iterator[tuple[str, Image, Image]]:
    """100 fluorescence images: kind, image, labels."""
    index = pd.read_csv(data / "dsb2018/index.csv")
    fluorescent = index[index["kind"] == "fluorescence-grey"].sort_values("id")
    for name in sorted(fluorescent["id"].sample(n=100, random_state=seed)):
        image = imread(data / f"dsb2018/images/{name}.png")
        grey = image if image.ndim == 2 else image[..., :3].max(axis=2)
        yield "dsb2018", grey, imread(data / f"dsb2018/labels/{name}.png").astype(np.int32)


def nuclei(data: Path, seed: int) -> None:
    """Print F1 of nuclei."""
    head = f"{'mnbatch':>8s} {'example':>8s} {'nuclei':>8s} {'recall':>8s} {'precision':>10s}"
    print(f"{'nuclei, F1 at IoU 0.5':28s} {head}")
    for title, images in (("mnfinder", mnfinder(data)), ("dsb2018", dsb2018(data, seed))):
        ours: dict[str, Tally] = {}
        theirs: dict[str, Tally] = {}
        for name, image, truth in images:
            first = matched(truth, segment_field(image, EACH, "fluorescence").nuclei)
            second = matched(truth, example(image))
            for group in {name, title}:
                ours[group] = ours.get(group, Tally()).plus(first)
                theirs[group] = theirs.get(group, Tally()).plus(second)
        for group, tally in ours.items():
            count = tally.hits + tally.missed
            rates = f"{tally.recall:8.3f} {tally.precision:10.3f}"
            print(f"{group:28s} {tally.f1:8.3f} {theirs[group].f1:8.3f} {count:8d} {rates}")


def dice(first: Image, second: Image) -> float:
    """Twice the common area over the sum of areas."""
    return float(2 * np.count_nonzero(first & second) / max(1, np.count_nonzero(first) + np.count_nonzero(second)))


def stained(data: Path) -> None:
    """Print Dice of stained cells."""
    nucleus, cell = [], []
    for path in sorted((data / "wbc-tecom").glob("*.bmp")):
        truth = imread(data / f"wbc-tecom/masks/{path.stem}.png")
        field = segment_field(imread(path), PAIRS, "giemsa")
        inner = (field.nuclei > 0) | (field.small_bodies > 0)
        nucleus.append(dice(inner, truth == 255))
        cell.append(dice(inner if field.bodies is None else field.bodies > 0, truth > 0))
    print(f"\n{'stained cells, Dice':28s} {'mean':>8s} {'median':>8s} {'images':>8s}")
    for name, values in (("nucleus", nucleus), ("whole cell", cell)):
        print(f"{name:28s} {np.mean(values):8.3f} {np.median(values):8.3f} {len(values):8d}")


def simulated(stain: Stain, density: float, seed: int, number: int = 1) -> tuple[Image, list[dict[str, Any]]]:
    """A field of the slide that the seed stands for: image and truth."""
    export = ExportPlan(donors=1, slides=1, seed=seed, stain=stain)
    job = next(iter(slide_jobs(export)))
    drawing = draw_field(FieldPlan(export=export, density=density, width=1100, height=832), job, number)
    rows = truth_rows(drawing.scene, Where("slide", "donor", 0, "field", stain))
    return drawing.whole(8), [dict(zip(TRUTH_COLUMNS, row, strict=True)) for row in rows]


def paired(field: SegmentedField, rows: list[dict[str, Any]]) -> Tally:
    """Binucleated cells found, invented and missed."""
    truth = [row for row in rows if row["class"] == "binucleated"]
    left = set(range(len(truth)))
    extra = 0
    for cell in field.cells:
        if cell.cell_class != "binucleated":
            continue
        near = [(float(np.hypot(truth[i]["x"] - cell.x, truth[i]["y"] - cell.y)), i) for i in left]
        best = min(near, default=(np.inf, -1))
        if best[0] <= 0.5 * field.nucleus_diameter:
            left.remove(best[1])
        else:
            extra += 1
    wanted = {i for i, row in enumerate(truth) if int(row["scorable"])}
    return Tally(len(wanted - left), extra, len(wanted & left))


def pairs(fields: int, seed: int) -> None:
    """Print recall and precision of binucleated cells."""
    head = f"{'recall':>8s} {'95 %':>13s} {'precision':>10s} {'95 %':>13s} {'cells':>6s} {'MP/s':>6s}"
    print(f"\n{'binucleated cells':28s} {head}")
    for density in (400, 800):
        for stain in ("fluorescence", "giemsa"):
            tally, seconds, megapixels = Tally(), 0.0, 0.0
            for number in range(fields):
                image, rows = simulated(stain, density, seed * 1000 + number)
                start = time.process_time()
                field = segment_field(image, PAIRS)
                seconds += time.process_time() - start
                megapixels += image.shape[0] * image.shape[1] / 1e6
                tally = tally.plus(paired(field, rows))
            count, name = tally.hits + tally.missed, f"{stain}, {density} per mm2"
            recall, precision = interval(tally.hits, count), interval(tally.hits, tally.hits + tally.extra)
            print(
                f"{name:28s} {tally.recall:8.3f} {recall:>13s} {tally.precision:10.3f} {precision:>13s} "
                f"{count:6d} {megapixels / seconds:6.2f}"
            )


class DrawnField(NamedTuple):
    """A simulated field with the truth about its nuclei: label images, class of each nucleus's cell, rows of cells."""

    image: Image
    nuclei: Image
    micronuclei: Image
    classes: list[str]
    rows: list[dict[str, Any]]


def drawn_field(haze: Haze | None, seed: int, number: int, width: int = 1000, height: int = 800) -> DrawnField:
    """The field of a slide of its own."""
    export = ExportPlan(donors=1, slides=1, seed=seed)
    um = PIXEL_SIZES[number % len(PIXEL_SIZES)]
    plan = FieldPlan(export=export, width=width, height=height, um_per_px=um, haze=haze)
    drawing = draw_field(plan, next(iter(slide_jobs(export))), 1)
    labels = label_images(drawing.scene, drawing.slide)
    classes = [cell.order.cell_class for cell in cells_shown(drawing.scene) for _ in cell.nuclei]
    rows = truth_rows(drawing.scene, Where("slide", "donor", 0, "field", "fluorescence"))
    truth = [dict(zip(TRUTH_COLUMNS, row, strict=True)) for row in rows]
    return DrawnField(drawing.whole(8 if number % 2 else 16), labels.nuclei, labels.mn, classes, truth)


def main_nuclei(field: DrawnField, found: Image) -> Tally:
    """Main nuclei found, invented and missed; see the head of this file for what is neither."""
    truth = field.nuclei.astype(np.int64)
    area, size = np.bincount(truth.ravel(), minlength=len(field.classes) + 1), np.bincount(found.ravel())
    edge = np.unique(np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]]))
    cut = np.isin(np.arange(len(area)), edge) & (area < 0.5 * np.median(area[1:][area[1:] > 0]))
    apart = cut | np.array([False, *(name == "apoptotic" for name in field.classes)])
    apart[0] = False
    both = (truth > 0) & (found > 0)
    keys, common = np.unique(truth[both] * len(size) + found[both], return_counts=True)
    t, f = np.divmod(keys, len(size))
    hit = common / (area[t] + size[f] - common) > 0.5
    met, right = np.isin(np.arange(len(area)), t[hit]), np.isin(np.arange(len(size)), f[hit])
    neither = apart[truth] | ((field.micronuclei > 0) & (truth == 0))
    spared = np.bincount(found.ravel(), weights=neither.ravel(), minlength=len(size)) > 0.3 * size
    wanted, extra = (area > 0) & ~apart, (size > 0) & ~right & ~spared
    return Tally(int((wanted & met)[1:].sum()), int(extra[1:].sum()), int((wanted & ~met)[1:].sum()))


def hazy(fields: int, seed: int) -> None:
    """Print recall and precision on fields whose cytoplasm shows."""
    rates = f"{'recall':>8s} {'precision':>10s}"
    head = f"{rates} {'nuclei':>8s} {rates} {'cells':>8s} {'ms/MP':>7s}"
    print(f"\n{'nuclei, binucleated cells':28s} {head}")
    kinds = [(0.0, 1.0), *((level, spread) for spread in (3.0, 10.0) for level in (0.05, 0.1, 0.2, 0.3, 0.4))]
    for level, spread in kinds:
        haze = Haze(cytoplasm=level, spread=spread) if level else None
        nuclei_found, cells, seconds, megapixels = Tally(), Tally(), 0.0, 0.0
        for number in range(fields):
            field = drawn_field(haze, seed * 1000 + round(10000 * level + 10 * spread) + 1_000_000 * number, number)
            start = time.process_time()
            found = segment_field(field.image, PAIRS)
            seconds += time.process_time() - start
            megapixels += field.image.size / 1e6
            nuclei_found = nuclei_found.plus(main_nuclei(field, found.nuclei))
            cells = cells.plus(paired(found, field.rows))
        name = f"cytoplasm {level:g}, spread {spread:g}" if level else "without haze"
        print(
            f"{name:28s} {nuclei_found.recall:8.3f} {nuclei_found.precision:10.3f} "
            f"{nuclei_found.hits + nuclei_found.missed:8d} {cells.recall:8.3f} {cells.precision:10.3f} "
            f"{cells.hits + cells.missed:8d} {1000 * seconds / megapixels:7.0f}"
        )


def cytoplasm(fields: int, seed: int) -> None:
    """Print binucleated cells that are found, invented and missed, without and with a cytoplasm channel."""
    head = f"{'recall':>8s} {'precision':>10s} {'found':>6s} {'false':>6s} {'missed':>7s}"
    print(f"\n{'binucleated cells':40s} {head}")
    kinds: list[tuple[str, float, dict[str, Any]]] = [
        ("no haze", 400, {}),
        ("no haze", 800, {}),
        ("haze 0.1", 400, {"haze": Haze(0.1)}),
        ("mononucleated", 1200, {"mixture": {"mononucleated": 1.0}}),
    ]
    for name, density, said in kinds:
        without, with_channel = Tally(), Tally()
        for number in range(fields):
            export = ExportPlan(donors=1, slides=1, seed=seed * 1000 + 700 + number)
            plan = FieldPlan(export=export, density=density, width=1100, height=832, **said)
            drawing = draw_field(plan, next(iter(slide_jobs(export))), 1)
            rows = truth_rows(drawing.scene, Where("slide", "donor", 0, "field", "fluorescence"))
            truth = [dict(zip(TRUTH_COLUMNS, row, strict=True)) for row in rows]
            image, second = drawing.whole(16), drawing.cytoplasm(16)
            without = without.plus(paired(segment_field(image, PAIRS), truth))
            with_channel = with_channel.plus(paired(segment_field(image, PAIRS, cytoplasm=second), truth))
        for title, tally in (("nuclear channel alone", without), ("with cytoplasm channel", with_channel)):
            print(
                f"{f'{name}, {density} per mm2, {title}':40s} {tally.recall:8.3f} {tally.precision:10.3f} "
                f"{tally.hits:6d} {tally.extra:6d} {tally.missed:7d}",
                flush=True,
            )


def interval(part: int, whole: int) -> str:
    """Wilson's 95 % interval."""
    return "{:.3f}-{:.3f}".format(*wilson(part, whole))


def survey(slides: int, seed: int) -> None:
    """Print how the measured median nucleus diameter of slides differs from the truth."""
    print(f"\n{'median nucleus diameter':28s} {'median':>8s} {'5 %':>8s} {'95 %':>8s} {'largest':>8s}")
    for stain in ("fluorescence", "giemsa"):
        errors = [diameter_error(stain, seed * 1000 + 500 + number) for number in range(slides)]
        low, middle, high = np.quantile(errors, (0.05, 0.5, 0.95))
        largest = max(errors, key=abs)
        print(f"{stain + ', relative error':28s} {middle:+8.3f} {low:+8.3f} {high:+8.3f} {largest:+8.3f}")


def diameter_error(stain: Stain, seed: int) -> float:
    """Relative error of the survey on four fields of one slide."""
    fields = [simulated(stain, 400, seed, number) for number in range(1, 5)]
    found = Survey(fields, lambda field: look_at(FieldImage(None, field[0]), None, FieldOptions())).traits()
    circles = [
        row["nuclei_at"].split(";")
        for _, rows in fields
        for row in rows
        if row["class"] != "apoptotic" and not int(row["border"])
    ]
    truth = float(np.median([2 * float(circle.split(":")[2]) for cell in circles for circle in cell]))
    return (found.nucleus_diameter or 0.0) / truth - 1


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--parts", default="nuclei,stained,pairs,hazy,cytoplasm,survey")
    parser.add_argument(
        "--fields",
        type=int,
        default=60,
        help="simulated fields of each kind, each a slide, and slides; a fifth of each hazy kind",
    )
    parser.add_argument("--seed", type=int, default=2018)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if "nuclei" in parts:
        nuclei(arguments.data, arguments.seed)
    if "stained" in parts:
        stained(arguments.data)
    if "pairs" in parts:
        pairs(arguments.fields, arguments.seed)
    if "hazy" in parts:
        hazy(max(1, arguments.fields // 5), arguments.seed)
    if "cytoplasm" in parts:
        cytoplasm(max(1, arguments.fields // 5), arguments.seed)
    if "survey" in parts:
        survey(arguments.fields, arguments.seed)


if __name__ == "__main__":
    main()
