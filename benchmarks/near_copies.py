"""What near copies are found by, in figures: two Markdown tables.

python benchmarks/near_copies.py [cells a stain] [folder of real crops]

Different cells must not be found: simulated cells of slides of 150, all compared with all, and real crops. Copies must
be: each of some cells changed in one way, looked for among all others.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from mnbatch.assay.near_copies import find_near_copies, likeness_of
from mnbatch.imaging.preparation import Preparation, prepare
from mnbatch.imaging.readers import thumbnail
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import draw_slide_appearance

Pixels = npt.NDArray[np.uint8]
CHANGED = 600
SLIDE = 150
LARGE = 100_000


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def _resized(pixels: Pixels, factor: float) -> Pixels:
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _gamma(pixels: Pixels, power: float) -> Pixels:
    return np.round(255 * (pixels / 255) ** power).astype(np.uint8)


def _shifted(pixels: Pixels, share: float) -> Pixels:
    by = round(share * pixels.shape[1])
    return np.pad(pixels, [(0, by), (0, by)] + [(0, 0)] * (pixels.ndim - 2), mode="edge")[by:, by:]


def _cut(pixels: Pixels, share: float) -> Pixels:
    by = round(share * pixels.shape[1])
    return pixels[by:, by:]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG, quality 90": lambda p: _jpeg(p, 90),
    "JPEG, quality 50": lambda p: _jpeg(p, 50),
    "JPEG, quality 30": lambda p: _jpeg(p, 30),
    "half as wide": lambda p: _resized(p, 0.5),
    "1.5 times as wide": lambda p: _resized(p, 1.5),
    "gamma 0.7": lambda p: _gamma(p, 0.7),
    "gamma 1.4": lambda p: _gamma(p, 1.4),
    "darker (0.8, + 10)": lambda p: np.clip(p * 0.8 + 10, 0, 255).astype(np.uint8),
    "lighter (1.15, clipped)": lambda p: np.clip(p * 1.15, 0, 255).astype(np.uint8),
    "without colour": lambda p: np.asarray(Image.fromarray(p).convert("L")),
    "blurred (sigma 1)": lambda p: np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(1))),
    "turned by 90 degrees": lambda p: np.rot90(p).copy(),
    "mirrored": lambda p: p[:, ::-1].copy(),
    "turned, half as wide, JPEG 60": lambda p: _jpeg(_resized(np.rot90(p, 3).copy(), 0.5), 60),
    "shifted by 2 %": lambda p: _shifted(p, 0.02),
    "shifted by 5 %": lambda p: _shifted(p, 0.05),
    "shifted by 10 %": lambda p: _shifted(p, 0.10),
    "cut by 2 %": lambda p: _cut(p, 0.02),
    "cut by 5 %": lambda p: _cut(p, 0.05),
}


def simulated(stain: str, number: int) -> list[Pixels]:
    """Cells of slides of 150."""
    cells = []
    for index in range(number):
        slide = draw_slide_appearance(np.random.default_rng([7, index // SLIDE]), stain)  # type: ignore[arg-type]
        image = simulate_cell(np.random.default_rng([9, index]), CellSpec(stain), slide).image  # type: ignore[arg-type]
        cells.append(image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8))
    return cells


def read(folder: Path) -> list[Pixels]:
    """All pictures below a folder, 8 bits."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".png", ".bmp", ".jpg", ".tif"):
            image = Image.open(path)
            found.append(np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB")))
    return found


def _thumbnails(cells: list[Pixels]) -> Pixels:
    return np.stack([thumbnail(prepare(cell, Preparation()).image) for cell in cells])


def _spectra(thumbnails: Pixels) -> Pixels:
    return np.stack([np.frombuffer(likeness_of(one).spectrum, np.uint8) for one in thumbnails])


def main(number: int, folder: Path | None) -> None:
    """Print both tables."""
    sets = {stain: simulated(stain, number) for stain in ("fluorescence", "giemsa")}
    if folder is not None:
        sets["real"] = read(folder)
    print("| cells | pairs compared | found as copies | seconds |")
    print("|---|---|---|---|")
    known = {}
    for name, cells in sets.items():
        thumbnails = _thumbnails(cells)
        spectra = _spectra(thumbnails)
        known[name] = thumbnails, spectra
        began = time.perf_counter()
        found = find_near_copies(spectra, thumbnails.__getitem__)
        took = time.perf_counter() - began
        print(f"| {len(cells)} {name} | {len(cells) * (len(cells) - 1) // 2} | {len(found)} | {took:.1f} |", flush=True)
    _time_many(*known["fluorescence"])
    print(f"\n| changed by | {' | '.join(sets)} |")
    print("|---|" + "---|" * len(sets))
    for how, change in CHANGES.items():
        shares = []
        for name, cells in sets.items():
            thumbnails, spectra = known[name]
            chosen = range(0, len(cells), max(1, len(cells) // CHANGED))
            changed = _thumbnails([change(cells[index]) for index in chosen])
            both = np.concatenate([thumbnails, changed])
            pairs = find_near_copies(np.concatenate([spectra, _spectra(changed)]), both.__getitem__).tolist()
            wanted = {(index, len(cells) + place) for place, index in enumerate(chosen)}
            shares.append(f"{len(wanted & set(map(tuple, pairs))) / len(wanted):.3f}")
        print(f"| {how} | {' | '.join(shares)} |", flush=True)


def _time_many(thumbnails: Pixels, spectra: Pixels) -> None:
    """A batch of 100 000 cells: these, again and again, with noise that makes others of them."""
    rng = np.random.default_rng(1)
    chosen = np.arange(LARGE) % len(spectra)
    noisy = np.clip(spectra[chosen] + rng.normal(0, 10, (LARGE, spectra.shape[1])), 1, 255).astype(np.uint8)
    began = time.perf_counter()
    find_near_copies(noisy, lambda index: thumbnails[chosen[index]])
    print(f"\n{LARGE} cells: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 10_000,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
