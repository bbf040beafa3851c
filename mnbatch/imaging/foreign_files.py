"""Files that hold cells in a format or of a kind that a run does not read: they are slides, and failed ones."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

from mnbatch.assay.cells import SourceFile
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.reasons import Foreign, Named, Reason, say
from mnbatch.imaging.formats.registry import VENDORS
from mnbatch.imaging.formats.vendor_files import INSTALL
from mnbatch.imaging.layouts import EXTENSIONS, WHOLE_SLIDES

VENDOR_FORMATS: dict[str, str] = {
    **dict.fromkeys(("czi", "zvi", "lsm"), "ZEN"),
    **dict.fromkeys(("nd2",), "NIS-Elements"),
    **dict.fromkeys(("lif", "lof", "xlif", "xlef"), "LAS X"),
    **dict.fromkeys(("vsi", "oir", "oib", "oif", "poir"), "CellSens or FluoView"),
    **dict.fromkeys(("dicom",), "DICOM"),
    **dict.fromkeys(("zarr", "n5"), "OME-Zarr"),
    **dict.fromkeys(("c01", "dib"), "Cellomics"),
    **dict.fromkeys(("cif", "daf", "rif"), "IDEAS"),
    **dict.fromkeys(("stk",), "MetaMorph"),
    **dict.fromkeys(("flex", "ims", "ics", "ids", "sld", "sldy", "mvd2", "dv", "r3d", "dm3", "dm4"), "a microscope"),
    **dict.fromkeys(("msr", "obf", "cxd", "sif", "spe", "ipw", "al3d", "mrc", "fits"), "a microscope"),
    **dict.fromkeys(("nef", "nrw", "cr2", "cr3", "arw", "orf", "rw2", "raf"), "a camera"),
    **dict.fromkeys(("isyntax", "qptiff", "kfb", "sdpc", "tmap", "mds", "eslide", "vff"), "a slide scanner"),
    **dict.fromkeys(
        ("btf", "tf8", "jp2", "j2k", "jpx", "jxl", "jxr", "gif", "webp", "dng", "heic", "avif"), "other software"
    ),
    **dict.fromkeys(("jfif", "jpe", "pgm", "ppm", "pnm", "tga", "pcx", "psd", "xcf"), "other software"),
    **dict.fromkeys(("zip", "zipx", "7z", "rar", "tar", "tgz", "tbz", "tbz2", "txz", "tlz", "tzst"), "an archive"),
    **dict.fromkeys(("gz", "bz2", "xz", "zst", "lz4", "lzma", "z"), "an archive"),
}
"""Extension -> who writes it. Those of `VENDORS` are read as fields where their reader is installed.
Index files beside images (`.nd`, `.xdce`, `.xml`) are none."""

_ANY_STEP = "Export it from its software as OME-TIFF (or TIFF, PNG)"
_STEPS = {
    "ZEN": "In ZEN, export it with Image Export (TIFF, original data) or as OME-TIFF",
    "NIS-Elements": "In NIS-Elements, export it with Export ND document as TIFF (one file a point, channels apart)",
    "LAS X": "In LAS X, export it as TIFF with metadata (raw data, one file an image)",
    "CellSens or FluoView": "In CellSens or FluoView, save or convert it as TIFF or OME-TIFF",
    "Cellomics": "In HCS Studio, export its images as TIFF (16 bits)",
    "IDEAS": "In IDEAS, create TIFs (TIFF files) from the data file (raw, 16 bits, no masks)",
    "MetaMorph": "In MetaMorph, save it as TIFF",
    "a camera": "Save it as TIFF in the program of the camera, without changes of contrast",
    "a slide scanner": "In its viewer, export it as SVS or as tiled OME-TIFF",
}
"""What to do in the program of a maker; menus differ between versions."""

ARCHIVES = frozenset(extension for extension, maker in VENDOR_FORMATS.items() if maker == "an archive")
CAMERAS = frozenset(extension for extension, maker in VENDOR_FORMATS.items() if maker == "a camera")
PACKED_FILES = ("gz", "bz2", "xz", "zst", "lz4", "lzma", "z")
"""Archives of one file; what is in it is told by the name (`a.tif.gz`)."""

_PARTS = re.compile(
    rf".+\.(?:(?:{'|'.join(sorted(ARCHIVES))})\.[0-9]{{2,3}}|[zr][0-9]{{2}})", re.IGNORECASE | re.DOTALL
)
"""Names of an archive that was cut into files: `S1.zip.001`, `S1.7z.002`, `S1.z01`, `S1.r00`."""

NAMELESS = "nameless"
"""An image by its content, in a file whose name has no extension of images, as DICOM files often have."""

_PER_FIELD = CAMERAS | {
    *(
        "c01",
        "dib",
        "dcm",
        "dicom",
        "oir",
        "oib",
        "oif",
        "flex",
        "stk",
        "gif",
        "webp",
        "jp2",
        "jxl",
        "jxr",
        "jfif",
        "jpe",
    ),
    *("pgm", "ppm", "pnm", "tga", "pcx", *PACKED_FILES),
}
"""Formats of which a slide has many files: those of a folder are one slide."""

_SHOWN = 3


def extension_of(name: str) -> str:
    """Extension in lower case without the dot; "" for a name without one."""
    return name.rpartition(".")[2].lower() if "." in name else ""


@functools.cache
def readable_field_files() -> frozenset[str]:
    """Extensions of microscopes' own files whose reader is installed."""
    return frozenset(extension for known in VENDORS if known.installed for extension in known.extensions)


def what_it_is(name: str, kind: InputKind) -> str:
    """What a file (or a folder `.zarr`) that this kind of export does not read holds; "" for what holds no cells."""
    extension = extension_of(name)
    if extension in readable_field_files():
        return "" if kind == "fields" else "fields"
    if is_part_of_archive(name):
        return "vendor"
    if extension in VENDOR_FORMATS:
        return "vendor" if extension not in PACKED_FILES or packs_image(name) else ""
    if kind != "wsi" and extension in WHOLE_SLIDES:
        return "wsi"
    if kind == "wsi" and extension in EXTENSIONS and extension not in ("tif", "tiff"):
        return "pictures"
    return ""


def is_archive(name: str) -> bool:
    """Whether a file is an archive, a part of one, or packed, by its name."""
    return extension_of(name) in ARCHIVES or is_part_of_archive(name)


def is_part_of_archive(name: str) -> bool:
    """Whether a file is a part of an archive that was cut into several, by its name."""
    return _PARTS.fullmatch(name) is not None


def packs_image(name: str) -> bool:
    """Whether an archive of one file holds an image, or more files, by its name (`a.tif.gz`, `a.tar.gz`)."""
    inside = name.rpartition(".")[0].rpartition(".")[2].lower()
    return inside == "tar" or inside in EXTENSIONS or inside in WHOLE_SLIDES or inside in VENDOR_FORMATS


def is_hidden_image(path: str, kind: InputKind) -> bool:
    """Whether a file that was set apart holds images of any kind, which its name hides: packed, or misnamed.

    Other files of formats that are not read are of another kind than the images beside them, and can be left out.
    """
    name = path.rpartition("/")[2]
    return is_archive(name) or not what_it_is(name, kind)


def is_one_of_many(name: str, what: str) -> bool:
    """Whether a slide has many such files, so that those of a folder are one slide."""
    return what in ("pictures", NAMELESS) or extension_of(name) in _PER_FIELD or is_part_of_archive(name)


def refusal(
    files: list[SourceFile], images: int, kind: InputKind, packed: Collection[str] = ()
) -> tuple[Reason, Reason]:
    """Why a slide with such files is failed, and what a person can do.

    Args:
        files: of other formats or kinds.
        images: of the export's kind beside them.
        packed: paths of those that are archives by their content, whatever their names.
    """
    whats = {what_it_is(file.path, kind) for file in files}
    hidden = _how_hidden(files, kind, packed)
    seen = _described(files)
    if images:
        code = f"{hidden}-beside" if hidden else "mixed-files"
        return say(code, images=images, kind=_WORDS[kind], files=seen), say(f"{code}-do", kind=kind)
    if hidden:
        code = _HIDDEN_ALONE[hidden]
        return say(code, files=seen), say(f"{code}-do")
    if whats == {"wsi"}:
        return say("other-kind", files=seen, kind=_WORDS["wsi"], other=_WORDS[kind]), say("other-kind-do", kind="wsi")
    if whats == {"pictures"}:
        return say("other-kind", files=seen, kind="images", other=_WORDS[kind]), say("other-kind-do", kind="crops")
    if whats == {"fields"}:
        return say("other-kind", files=seen, kind="fields", other=_WORDS[kind]), say("other-kind-do", kind="fields")
    makers = sorted({VENDOR_FORMATS.get(extension_of(file.path), "") for file in files} - {""})
    readable = {extension for known in VENDORS for extension in known.extensions}
    installable = {extension_of(file.path) for file in files} <= readable
    advice = say("vendor-install-do", install=INSTALL) if installable else say("vendor-file-do", step=_step(makers))
    return say("vendor-file", files=seen, maker=", ".join(makers)), advice


_HIDDEN_ALONE = {"packed": "archive-files", "misnamed": "nameless-files", "hidden": "hidden-files"}


def _how_hidden(files: list[SourceFile], kind: InputKind, by_content: Collection[str]) -> str:
    """How all of these hold images: packed, misnamed, or hidden in one or the other way; "" where not all do."""
    if not all(is_hidden_image(file.path, kind) for file in files):
        return ""
    packed = [is_archive(file.path.rpartition("/")[2]) or file.path in by_content for file in files]
    return "packed" if all(packed) else "hidden" if any(packed) else "misnamed"


def _step(makers: list[str]) -> str:
    return _STEPS.get(makers[0], _ANY_STEP) if len(makers) == 1 else _ANY_STEP


_WORDS: dict[InputKind, str] = {"crops": "crops", "fields": "fields", "wsi": "whole slides"}


def _described(files: list[SourceFile]) -> Named | Foreign:
    names = [file.path.rpartition("/")[2] for file in files]
    if len(names) == 1:
        return Named("file", files[0].path)
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return Foreign(f"{len(names)} files ({shown})", f"{len(names)} files")
