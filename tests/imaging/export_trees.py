"""Export trees of known content: cells of a known number, and what instruments, servers and people lay beside them.

`outcome` reads a tree as a run does, without a network: crawl, names, pages, cells, scenes, forms, copies.
"""

from __future__ import annotations

import io
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from hypothesis import strategies as st
from PIL import Image

from mnbatch.assay.cells import CellCrop, Slide, UnreadableCell
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import SlideError
from mnbatch.imaging.crop_scenes import CropScenes
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.namesakes import check_namesake
from mnbatch.imaging.readers import read_cells, read_tasks
from mnbatch.pipeline.image_forms import ImageForms
from tests.imaging.imaging_helpers import NATURAL
from tests.imaging.page_files import blurred, cell, cytoplasm

SIZE = 48
Grey = npt.NDArray[np.uint8]

NAMES: dict[str, tuple[str, str]] = {
    "operetta": ("r02c03f{n:02d}p{z:02d}-ch{c}sk1fk1fl1", "12"),
    "imagexpress": ("run_B03_s{n}_z{z}_w{c}", "12"),
    "cellinsight": ("plate_A01f{n:02d}d{c}", "12"),
    "cytation": ("A1_02_1_{n}_{c}_001", "DAPI GFP"),
    "imagestream": ("{n}_Ch{c}", "37"),
    "micro-manager": ("img_channel00{c}_position{n:03d}_time000000000_z{z:03d}", "01"),
    "yokogawa": ("Plate_B03_T0001F{n:03d}L01A01Z{z:02d}C{c}", "01 02"),
    "scanr": ("scanR--W00001--P{n:05d}--Z{z:05d}--T00000--{c}", "DAPI FITC"),
    "incell": ("A - 01(fld {n} wv {c} - {c} z {z})", "DAPI FITC"),
    "lasx": ("Series{n:03d}_z{z:02d}_ch{c}", "00 01"),
    "keyence": ("Image_{n:05d}_Z{z:03d}_CH{c}", "13"),
    "zen": ("Exp-01_s{n}z{z}c{c}_ORG", "12"),
    "nis": ("run1xy{n:02d}z{z}c{c}", "12"),
    "imagej-export": ("name{n}_c{c}_z{z:04d}", "0001 0002"),
    "imagej-split": ("C{c}-cell{n}", "12"),
    "stain-names": ("cell {n}_{c}", "Hoechst FITC"),
}
"""A template of the files' names, with number, plane and channel, and the channels, the nuclear one first."""


@dataclass(frozen=True)
class Tree:
    """An export.

    Attributes:
        files: path -> content.
        cells: folder of a slide -> its cells.
        doubtful: folders whose slide may also fail or wait: something lies there that a person must speak of.
        options: what a person says.
    """

    files: dict[str, bytes] = field(repr=False)
    cells: dict[str, int]
    doubtful: frozenset[str] = frozenset()
    options: PageOptions = field(default_factory=PageOptions)
    how: tuple[str, ...] = ()

    def plus(self, files: dict[str, bytes], doubtful: str = "", how: str = "") -> Tree:
        return replace(
            self,
            files={**self.files, **files},
            doubtful=self.doubtful | ({doubtful} if doubtful else set()),
            how=(*self.how, how),
        )


def written(pixels: Grey, extension: str) -> bytes:
    stream = io.BytesIO()
    if extension.startswith("tif"):
        tifffile.imwrite(stream, pixels, photometric="minisblack", metadata=None)
    else:
        Image.fromarray(pixels).save(stream, {"jpg": "jpeg"}.get(extension, extension))
    return stream.getvalue()


def _cell(folder: int, number: int) -> Grey:
    return cell(1000 * folder + number, SIZE)


@st.composite
def slides(draw: st.DrawFn) -> Tree:
    """One to three slides of crops: plain names, or those of an instrument with channels and planes."""
    extension = draw(st.sampled_from(["png", "tif", "bmp"]))
    folders = [f"D{1 + i % 2}/S{i + 1}" for i in range(draw(st.integers(1, 3)))]
    naming = draw(st.sampled_from([None, None, *NAMES]))
    files, cells = {}, {}
    for place, folder in enumerate(folders):
        count = cells[folder] = draw(st.integers(3, 6))
        for number in range(1, count + 1):
            files |= _files_of(naming, folder, number, _cell(place, number), extension)
    said = draw(st.booleans()) and naming is not None
    channels = _channels(naming) if naming else ()
    # What a person says is right; what is not said may be asked for.
    options = PageOptions(channel=channels[0]) if said else PageOptions()
    doubtful = frozenset() if said or naming is None else frozenset(folders)
    return Tree(files, cells, doubtful, options, (f"{naming} {extension} said={said}",))


def _channels(naming: str) -> tuple[str, ...]:
    text = NAMES[naming][1]
    return tuple(text.split() if " " in text else text)


def _files_of(naming: str | None, folder: str, number: int, nuclear: Grey, extension: str) -> dict[str, bytes]:
    if naming is None:
        return {f"{folder}/{number}.{extension}": written(nuclear, extension)}
    template = NAMES[naming][0]
    found = {}
    for channel in _channels(naming):
        shown = nuclear if channel == _channels(naming)[0] else cytoplasm(nuclear)
        for plane in (1, 2) if "{z" in template else (1,):
            name = template.format(n=number, z=plane, c=channel)
            picture = shown if plane == 1 else blurred(shown, 1.5)
            found[f"{folder}/{name}.{extension}"] = written(picture, extension)
    return found


# What lies beside.

Change = Callable[[st.DrawFn, Tree, str], Tree]


def _litter(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    name = draw(st.sampled_from(LITTER))
    place = draw(st.sampled_from(["", slide + "/"])) if "/" in name else slide + "/"
    return tree.plus({place + name: written(_cell(90, 1), "png")}, how=name)


def _mask(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    """A mask of a file of the slide, by a name that is known or one that is not."""
    path = draw(st.sampled_from(_images(tree, slide)))
    stem, _, _ = path.rpartition(".")
    known = draw(st.booleans())
    name = draw(st.sampled_from(["_mask", "_cp_masks", "_outlines", "_seg"] if known else ["_nuc", "_binary", "_q"]))
    mask = ((_cell(0, 1) > 80) * 255).astype(np.uint8)
    return tree.plus({f"{stem}{name}.png": written(mask, "png")}, "" if known else slide, how=name)


def _vendor(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    """A file in a format that is not read: in the slide, or as a slide of its own that fails."""
    name = draw(st.sampled_from(VENDOR))
    if draw(st.booleans()):
        return tree.plus({f"{slide}/{name}": b"vendor"}, slide, how=name)
    whole = tree.plus({f"D1/own/{name}": b"II*\0vendor"}, "D1/own", how=f"own {name}")
    return replace(whole, cells={**whole.cells, "D1/own": -1})


def _torn(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    """One file of the slide ends early, or its second part is zero: that cell is unreadable, or the slide fails."""
    path = draw(st.sampled_from(_images(tree, slide)))
    content = tree.files[path]
    cut = draw(st.integers(len(content) // 8, len(content) * 2 // 3))
    rest = b"" if draw(st.booleans()) else bytes(len(content) - cut)
    return tree.plus({path: content[:cut] + rest}, slide, how=f"torn {path} at {cut} zeros={bool(rest)}")


def _unfinished(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    name = draw(st.sampled_from(["7{x}.part", ".7{x}.X4kQ9z", ".7{x}.icloud", ".7{x}.~1a2b", "~syncthing~7{x}.tmp"]))
    return tree.plus({f"{slide}/{name.format(x='.png')}": written(_cell(91, 1), "png")[:300]}, slide, how=name)


def _copy(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    """A file comes again under another name, with the same bytes."""
    path = draw(st.sampled_from(_images(tree, slide)))
    stem, _, extension = path.rpartition(".")
    name = draw(st.sampled_from([f"{stem} - Copy", f"{stem} (1)", f"{stem}_thumb", f"{stem}.bak"]))
    return tree.plus({f"{name}.{extension}": tree.files[path]}, slide if "Ch" in path else "", how=name)


def _levels(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    """A cell is stored with a smaller version of itself, or with a second channel that says what it is."""
    path = draw(st.sampled_from(_images(tree, slide)))
    if not path.endswith(".tif"):
        return tree
    large = tifffile.imread(io.BytesIO(tree.files[path]))
    if large.ndim != 2:
        return tree
    stream = io.BytesIO()
    if draw(st.booleans()):
        with tifffile.TiffWriter(stream) as tiff:
            for page in (large, large[::2, ::2]):
                tiff.write(page, photometric="minisblack", metadata=None)
        return tree.plus({path: stream.getvalue()}, how="level")
    tifffile.imwrite(stream, np.stack([large, cytoplasm(large)]), imagej=True, metadata={"axes": "CYX"})
    return tree.plus({path: stream.getvalue()}, slide, how="CYX")


def _decomposed(draw: st.DrawFn, tree: Tree, slide: str) -> Tree:
    """The folder has a name with an umlaut, as Macs or others spell it."""
    form = draw(st.sampled_from(["NFC", "NFD"]))
    new = unicodedata.normalize(form, f"{slide}ä")  # type: ignore[arg-type]

    def moved(path: str) -> str:
        return f"{new}{path[len(slide) :]}" if path.startswith(slide + "/") else path

    return replace(
        tree,
        files={moved(path): content for path, content in tree.files.items()},
        cells={new if path == slide else path: count for path, count in tree.cells.items()},
        doubtful=frozenset(new if path == slide else path for path in tree.doubtful),
        how=(*tree.how, form),
    )


def _images(tree: Tree, slide: str) -> list[str]:
    return sorted(p for p in tree.files if p.startswith(slide + "/") and p.count("/") == 2 and p.endswith(_ENDINGS))


_ENDINGS = (".png", ".tif", ".bmp")
LITTER = (
    *("@eaDir/9.png", "#recycle/S1/9.png", "@Recycle/S1/9.png", "#snapshot/D1/S1/9.png", "~snapshot/D1/S1/9.png"),
    *("__MACOSX/9.png", ".Trash-1000/9.png", "$RECYCLE.BIN/9.png", "Thumbs/9.png", "previews/9.png", ".@__thumb/9.png"),
    *("overview.png", "label.png", "macro.jpg", "S1_overview.png", "._1.png", "Thumbs.db", "index.xml", "info.txt"),
)
VENDOR = ("a.vsi", "a.oir", "a.c01", "a.daf", "a.zip", "a.tif.gz", "a.nef", "a.jfif", "IM0001", "a.xlef")
CHANGES: tuple[Change, ...] = (_litter, _litter, _mask, _vendor, _unfinished, _copy, _levels, _torn, _decomposed)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Slides with up to three things beside them."""
    tree = draw(slides())
    chosen = draw(st.lists(st.sampled_from(CHANGES), max_size=3))
    for change in sorted(chosen, key=CHANGES.index):  # what is torn cannot be changed any more
        places = sorted(path for path, count in tree.cells.items() if count > 0)
        tree = change(draw, tree, draw(st.sampled_from(places)))
    return tree


# What becomes of them.


@dataclass
class Counted:
    """What was counted of a folder.

    Attributes:
        cells: digests of readable cells; unreadable: listed ones.
        failed: reasons of slides that are failed or wait.
    """

    cells: set[str] = field(default_factory=set)
    unreadable: int = 0
    failed: list[str] = field(default_factory=list)


def outcome(tree: Tree, root: Path) -> dict[str, Counted]:
    """What a run would count of each folder donor/slide, and what it would list as failed or waiting."""
    for path, content in tree.files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    found: dict[str, Counted] = defaultdict(Counted)
    for slide in find_slides(root, layout="donor-slide-folders", options=tree.options):
        here = found["/".join(slide.path.split("/")[:2])]
        try:
            _count(slide, here, tree.options)
        except SlideError as error:
            here.failed.append(str(error))
    return found


def _count(slide: Slide, here: Counted, options: PageOptions) -> None:
    """Raises SlideError where the slide fails."""
    if slide.copy_of:
        return
    if slide.refused or slide.waits:
        raise SlideError(str(slide.refused or slide.waits))
    scenes, forms = CropScenes("crops"), ImageForms("crops")
    found: list[CellCrop | UnreadableCell] = []
    for task in read_tasks(slide, options):
        items = read_cells(task, NATURAL)
        scenes.once(items)
        for item in items:
            forms.note(item)
            found.append(item)
        for companion in slide.namesakes:
            if companion.of == task.file.path:
                check_namesake(slide.root, companion.file, task.file, ())
    trouble = scenes.trouble() or forms.trouble()
    if trouble is not None:
        raise trouble
    here.cells |= {one.digest for one in found if isinstance(one, CellCrop)}
    here.unreadable += sum(isinstance(one, UnreadableCell) for one in found)
