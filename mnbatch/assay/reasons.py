"""Why a cell, a field or a slide is not counted, as data: a code of one table, and parameters."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# The literal table of reasons and of the advice that follows them: code -> text, with parameters in braces.
#
# Codes are stable; texts are in the `reason` columns. A literal brace is not needed and not allowed.


TEXTS: dict[str, str] = {
    "withheld": "the reason may hold names; the run's log has it",
    # A file that is no usable crop.
    "empty-file": "empty file (0 bytes)",
    "only-zeros": "not an image (only zero bytes; an unfinished copy?)",
    "webp": "image format not supported (WebP)",
    "no-image": "not an image ({what})",
    "too-many-pixels": "too many pixels for a cell crop (decompression bomb?)",
    "damaged": "damaged or truncated {kind} ({error})",
    "no-header": "no header",
    "checksum": "checksum of {chunk} does not match",
    "huge-segments": "TIFF with huge strips or tiles (decompression bomb?)",
    "damage": "{what}",
    "pages-broken": "The chain of pages of {file} breaks off after page {pages}: how many are lost is not known.",
    "pages-broken-do": "Copy the file again from the scanner's computer, or export it again.",
    "tile-missing": "{count} of {total} tiles of this region have no data, though the slide shows something there",
    "many-bytes": "its pixels take {mib} MiB; too large for an image of cells (decompression bomb?)",
    "many-bytes-of-all": "its pages decode to {mib} MiB, the file has {kib} KiB (decompression bomb?)",
    "many-directories": "TIFF of more than {most} image directories",
    "many-tags": "damaged TIFF (an image directory of {count} entries)",
    "many-values": "damaged TIFF (tag {tag} promises {count} values)",
    "many-segments": "TIFF of {count} strips or tiles a page (decompression bomb?)",
    "several-pictures": "{kind} of {count} pictures, of which one alone would be read; save each in a file of its own",
    "many-scans": "JPEG of more than {most} passes (decompression bomb?)",
    "shared-segments": "damaged TIFF (its strips or tiles are read over and over; decompression bomb?)",
    "circle": "damaged TIFF (its image directories point in a circle)",
    "compression": "TIFF compression {what} is not supported; export without compression or with LZW",
    "inner-picture": "damaged TIFF (a strip of {width} x {height} pixels holds one of {inner}; decompression bomb?)",
    "inner-header": "damaged TIFF ({what} without a usable header)",
    "inner-tiles": "damaged TIFF (JPEG 2000 of {count} tiles; decompression bomb?)",
    "large-text": "TIFF with a description of {mib} MiB",
    "entities": "its OME-XML declares entities, which no microscope writes (decompression bomb?)",
    "many-planes": "its description promises {count} planes, which are not in the file",
    "large-slide": "{width} x {height} pixels, which no slide has",
    "data-missing": "truncated TIFF (image data missing)",
    "directory-missing": "truncated TIFF (its image directory is missing)",
    "page-missing": "truncated TIFF (this page and what followed it are missing)",
    "page-elsewhere": (
        "its metadata say that this picture is in another file; export all channels of a cell or field into one file, "
        "or the nuclear channel alone"
    ),
    "no-full-page": "TIFF without a full-resolution page",
    "no-tiff-image": "TIFF without an image",
    "colour-model": "TIFF colour model {model} is not supported",
    "dimensions": "TIFF page with {count} dimensions is not a crop",
    "channels": "{count} channels; neither grey nor RGB(A): give --nuclear-channel",
    "too-large": "{width} x {height} pixels; too large for a cell crop (decompression bomb?)",
    "too-small": "{width} x {height} pixels; a cell crop has at least {least} a side",
    "not-finite": "image holds NaN or infinite values",
    "no-picture": "values of type {dtype} are not an image",
    "constant": "constant image (every value is {value:g})",
    "large-file": "file of {mib} MiB; too large for a cell crop",
    "no-range": "no contrast range could be measured for this slide",
    "outside-range": "floating-point values outside 0..1, which contrast rule 'none' cannot scale",
    # What ends a run before anything is scored.
    "same-id": "Two slides of {export} would have the same slide-id {id}; one is {path}.",
    "same-id-do": "Rename one of the two folders.",
    "sheet-twice": "Sample sheet, line {line}: the slide '{slide}' is already in line {first}.",
    "sheet-twice-do": "Keep one line for each slide.",
    "sheet-several": "Sample sheet, line {line}: {count} slides are named '{slide}'.",
    "sheet-several-do": "Write the path instead: {paths}.",
    "sheet-none": "Sample sheet, line {line}: there is no slide '{slide}' in the export.",
    "sheet-none-do": "`mnbatch scan` lists the slides; the first are {paths}.",
    "kind-whole": "{file} is a whole-slide file",
    "kind-tiled": "{count} of {looked} files examined are tiled TIFFs with reduced versions",
    "kind-fields": "{count} of {looked} images examined are large and have many nuclei",
    "kind-crops": "{looked} images examined are crops of cells",
    "kind-unknown": "no image could be read",
    "fourth-sample": "RGB with a fourth sample of which nothing is said; a stain? Export each stain as a grey page",
    "planes-differ": "focal planes of different sizes",
    "plane-of-many": "a file of one of its focal planes holds {count} pictures",
    "plane-unusable": "one of its focal planes cannot be used: {why}",
    # What the pages of a file are, where it does not say it.
    "pages-beyond": (
        "its metadata ({by}) speak of {stated} pictures, and {more} further pages are in the file: give --pages cells, "
        "positions, channels or planes, which all of them then are"
    ),
    "times": (
        "{count} times; give the number of one with --time, or --pages cells (positions) where each is one of its own"
    ),
    "planes": (
        "{count} focal planes; give --planes sharpest, --planes max or the number of one, or --pages cells (positions) "
        "where each is one of its own"
    ),
    "no-such-place": "--{option} {said}: it has {count}",
    "pages-do-not-fit": "--pages {said} does not fit what it holds, {shown} by {by}",
    "pages-two-axes": (
        "pages of {shown}, of which nothing says what they are: give --pages with both, such as --pages cells,channels"
    ),
    "pages-same-scene": (
        "{count} pages that show the same scene: give --pages channels (with --nuclear-channel) or --pages planes "
        "(with --planes); {own}"
    ),
    "own-cells": "--pages cells where each is a cell of its own",
    "own-positions": "--pages positions where each is a field of its own",
    "own-scans": "--pages positions where each is a scan of its own",
    "pages-in-turn": (
        "{count} pages of which every {turn}. is of another kind, as stains or focal planes in turn: give --pages "
        "{own},channels:{turn} or {own},planes:{turn}, or --pages {own} where each is one of its own"
    ),
    "pages-other-scenes": (
        "a nuclear channel is asked for, and its {count} pages do not say that they are channels and show different "
        "scenes: give --pages channels, or {own}"
    ),
    "pages-few": (
        "{count} pages in each of its files, of which nothing says what they are: give --pages cells, --pages channels "
        "(with --nuclear-channel) or --pages planes (with --planes)"
    ),
    "pages-sizes": "pages of different sizes ({shown}), which are no smaller versions of one: give {own}",
    "pages-whole": (
        "{count} scans of one size, of which nothing says what they are: give --pages positions, --pages channels "
        "(with --nuclear-channel) or --pages planes (with --planes)"
    ),
    "pages-in-one": "several pictures in one image directory, which is not served for whole slides; export pages",
    "sub-directories": "its SubIFDs hold pictures that are no smaller than their page; export them as pages",
    "pages-unclear": "What the pages of {file} are is not clear: {why}.",
    "pages-unclear-do": "Give that option for the whole export; `mnbatch scan EXPORT --explain` shows what files say.",
    # A file that could not be read.
    "vanished": "file disappeared during the run",
    "link-lost": "it is a link that leads nowhere ({error}): is the share or disk mounted?",
    "no-permission": "no permission to read the file",
    "io-error": "file could not be read: {error}",
    # A field, or a region of a whole slide.
    "mask-unreadable": "its label image {mask} cannot be read ({error})",
    "mask-no-labels": "its label image {mask} has no whole numbers",
    "mask-no-zero": "its label image {mask} has no 0, which stands for the background",
    "mask-pages": "{count} pictures, of which none belongs to this page of the field's file",
    "mask-shared": (
        "in its label image {mask} {count} of {total} numbers stand for several objects: give each object a number of "
        "its own"
    ),
    "not-square": "its pixels are {across} x {down} um, and no squares",
    "mask-size": "its label image is {mask} pixels, the field {field}",
    "stack": "a stack of {count} {what}; export one image a field",
    "channel-unknown": "{count} channels{known}, {what}: give --nuclear-channel",
    "no-such-channel": "no channel '{channel}'",
    "no-nuclear-channel": "none is known as the nuclear one",
    "region": "region from {left}, {top}: {why}",
    "region-unreadable": "region cannot be read ({error})",
    "region-empty": "empty: nothing was scanned here",
    "openslide": "OpenSlide: {error}",
    "no-openslide": "whole slides of this format need OpenSlide, which is not installed: pip install 'mnbatch[vendor]'",
    "no-tiles": "{width} x {height} pixels without tiles; convert it to a tiled TIFF",
    "other-stain": "another channel or stain: it shows {shows}, its slide is {stain}",
    "not-numbers": "pixels are not numbers",
    "empty-value": "empty: every pixel has the value {value:g}",
    "saturated": "saturated: {share:.0%} of the pixels are at the end of the range",
    "nothing-stands-out": "no nuclei: no object is brighter or darker than the noise",
    "only-background": "no nuclei: the objects found differ from the background no more than the background varies",
    "objects-size": ("objects are {size:.1f} um wide at {pixel:g} um per pixel; nuclei have {low:g} to {high:g}"),
    "mask-empty": "the label image has no object",
    # A slide that is refused for what its files are.
    "vendor-file": "{files}: a format of {maker} that mnbatch does not read.",
    "vendor-file-do": "{step}, and use that in its place; see docs/exports.md.",
    "folder-unreadable": "The folder {folder} cannot be read ({error}): which slides it holds is not known.",
    "folder-unreadable-do": "Give this user the right to read it, or check the share and the disk; then run again.",
    "folder-link-lost": "The folder {folder} is a link that leads nowhere ({error}): its slides are not known.",
    "folder-link-lost-do": "Mount the share or disk that it leads to, or mend or remove the link; then run again.",
    "no-place": "its images ({count}) lie where the layout {layout} ({pattern}) has no slide, so they are not counted.",
    "no-place-do": "Move them to the folder of their slide, choose a layout that fits (--layout; `mnbatch scan EXPORT "
    "--explain`), or take the folder out of the export.",
    "archive-files": "{files}: an archive, which mnbatch does not unpack.",
    "archive-files-do": "Unpack it, and take it out of the export.",
    "nameless-files": "{files}: images by their content, in files whose names have no extension of images.",
    "nameless-files-do": "Give them the extension of their format (.tif, .png, .jpg; .dcm for --input wsi).",
    "vendor-install-do": (
        "Install its reader ({install}) and run again with --input fields; or export it as OME-TIFF (docs/exports.md)."
    ),
    "no-image-inside": "it holds no image that its metadata name; export it as OME-TIFF",
    "images-differ": (
        "its {count} images are not of one kind ({one}; {other}), such as fields and an overview: save those that are "
        "to be counted in a file of their own, or export them as OME-TIFF"
    ),
    "axis-unknown": "its pictures have axes that are not served ({axes}): export them as OME-TIFF",
    "zarr-version": "its metadata are of NGFF version {version}, and {known} are read: convert it, or export OME-TIFF",
    "zarr-metadata": "its metadata do not state {what} as NGFF does: convert it again, or export OME-TIFF",
    "zarr-plate": "its metadata name no well of the plate: convert it again, or export OME-TIFF",
    "zarr-acquisitions": (
        "{count} acquisitions of one well with different numbers of fields or with times of their own: convert each "
        "into a file of its own"
    ),
    "plate-wells": "{file} is a plate, and its metadata do not state its wells.",
    "plate-wells-do": "Convert it again, or export its wells as OME-TIFF; see docs/exports.md.",
    "zarr-codec": "its pixels are packed by {codecs}, which is not read: convert it with Blosc, zstd or gzip",
    "file-lost": "{file} cannot be read: {why}. How many fields it holds is not known.",
    "file-lost-do": "Copy or export it again, or take it out of the export.",
    "no-reader": "files of the format {name} need a reader that is not installed: {install}",
    "other-kind": "{files}: {kind} in an export that was read as one of {other}.",
    "other-kind-do": "Score them from a folder of their own, or into another --out with --input {kind}.",
    "mixed-files": "{images} images read as {kind}, and beside them {files}: what is to be counted is not clear.",
    "mixed-files-do": "Take out what does not belong to the slide, or give --input {kind} to count the images alone.",
    "packed-beside": (
        "{images} images read as {kind}, and beside them {files}: packed, so that more of the slide may be in there."
    ),
    "packed-beside-do": (
        "Unpack what belongs to the slide, and take what is packed out of its folder; or give --input {kind} to count "
        "the images alone."
    ),
    "misnamed-beside": (
        "{images} images read as {kind}, and beside them {files}: an image by its content, not by its extension."
    ),
    "misnamed-beside-do": (
        "Give what belongs to the slide the extension of its format (.tif, .png, .jpg), and take the rest out of its "
        "folder; or give --input {kind} to count the images alone."
    ),
    "hidden-beside": (
        "{images} images read as {kind}, and beside them {files}: images that are packed, or have another extension."
    ),
    "hidden-beside-do": (
        "Unpack and rename (.tif, .png, .jpg) what belongs to the slide, and take the rest out of its folder; or give "
        "--input {kind} to count the images alone."
    ),
    "hidden-files": "{files}: images that are packed, or have another extension than those of images.",
    "hidden-files-do": "Unpack them, and give them the extension of their format (.tif, .png, .jpg).",
    "same-name": "{file} has the name of another image in its folder, but other bytes: a copy, or another field?",
    "same-name-do": "Remove it if it is a copy; else give it a name of its own.",
    "namesake": "{file} differs from {other} in its extension alone, {problem}.",
    "namesake-other": "and shows something else",
    "namesake-unreadable": "and cannot be compared with it ({error})",
    "colourless": (
        "{colourless} of {cells} cells have no colour (grey files): this model tells stain precipitate from "
        "micronuclei by colour, so more cells without a micronucleus are called; export in colour"
    ),
    "odd-size": "{file} is {width} x {height} pixels, most images of its slide {usual}: not all are of one kind.",
    "odd-size-do": "Take out what is no {kind} (previews, overviews, fields among crops), or sort them into folders.",
    "crowded": "{count} of {cells} images hold {nuclei} nuclei or more ({file}): fields, and no crops of single cells.",
    "crowded-do": "Give --input fields if they are fields; else take out what is no crop.",
    "label-crops": "{file} holds object numbers, not a picture: a label image (mask).",
    "label-crops-do": "Name it like its image with _mask at the end, or put it into a folder named masks.",
    # Files of one scene: channels, focal planes and times in their names, or seen in their content.
    "names-unfit": "{file} is not named as {names} says: which scene, channel or plane it shows is not known.",
    "names-unfit-do": "Take it out or rename it, or give --names with a pattern that all files of the slide fit.",
    "names-most": "Most files are named as those of {names}, but {file} is not: what it shows is not clear.",
    "names-most-do": "Take it out, give --names with a pattern of all files, or --names plain where each is its own.",
    "names-twice": "By names of {names} {file} and {other} show the same scene, channel, plane and time.",
    "names-twice-do": "Give --names with a pattern that tells them apart.",
    "names-channels": "Its files show {scenes} scenes in {count} channels ({shown}) by their names ({names}){what}.",
    "names-channels-do": "Give the nuclear one with --nuclear-channel, by its name or number as it is in the names.",
    "names-no-channel": ": there is no channel '{channel}'",
    "names-times": "Its files show {scenes} scenes at {count} times by their names ({names}).",
    "names-times-do": "Give the number of one, from 1, with --time.",
    "names-folders": (
        "{folder} is one of {count} folders that are named as channels, times or focal planes of the same scenes."
    ),
    "names-folders-do": (
        "Give --layout with a pattern that says what they are (docs/exports.md), or --names plain if each is a slide."
    ),
    "names-galleries": (
        "By their names {file} and {other} beside it show the same cells in two channels, planes or times."
    ),
    "names-galleries-do": (
        "Take out all but the nuclear channel at best focus, or give --names plain if each is a slide of other cells."
    ),
    "names-planes": "Its files show {count} focal planes by their names ({names}), and none is number {said}.",
    "names-planes-do": "Give --planes sharpest, --planes max, or the number of one from 1.",
    "names-missing": "By names of {names} the scene of {file} has no file of the {axis} that is read ({value}).",
    "names-missing-do": "Copy the missing files again from the instrument, or take out the other files of that scene.",
    "names-cytoplasm": "By names of {names} its channels are {shown}, and the cytoplasm channel is {channel}: {why}.",
    "cytoplasm-not-there": "there is none of that name or number",
    "cytoplasm-several": "several have that name or number",
    "cytoplasm-is-nuclear": "that is the nuclear channel",
    "cytoplasm-missing": "The cytoplasm channel ({channel}) is missing in {file}: {why}.",
    "cytoplasm-missing-do": (
        "Export it again with that channel, name another one with --cytoplasm-channel, or score the slide without it "
        "into another --out."
    ),
    "cytoplasm-unknown": "it has {count} channels{known}, and not one of that name or number",
    "cytoplasm-count": "it has not as many fields as the nuclear channel",
    "cytoplasm-size": "it is {cytoplasm} pixels and the nuclear channel {field}",
    "cytoplasm-same": "it is the same picture as the nuclear channel",
    "cytoplasm-unusable": "its cytoplasm channel cannot be used: {why}",
    "cytoplasm-nothing": "in its cytoplasm channel no cytoplasm round the nuclei differs from the background",
    "cytoplasm-scans": "Of whole slides one channel is read, so that no cytoplasm channel can be used.",
    "cytoplasm-scans-do": "Leave --cytoplasm-channel out, or export camera fields with both channels.",
    "in-overlap": "in the overlap with an earlier field, counted there",
    "same-scene": (
        "{count} of its {fields} fields show the same scene as another one ({file} and {other}): planes, channels "
        "or times in files of their own, which would be counted again."
    ),
    "same-scene-do": (
        "Give --names with a pattern of the file names that says which is which (docs/exports.md), or --names plain "
        "where each file is a field of its own."
    ),
    "regrouped": "OUT has results of slide {slide}, whose files are grouped into other slides now.",
    "regrouped-do": "Use a new --out, so that no cell is counted under two slides.",
    "same-cells": (
        "Its {crops} crops show the same cells {turn} times ({file} and {other}): focal planes or channels in files of "
        "their own, which would be counted again."
    ),
    "same-cells-do": (
        "Give --names with a pattern of the file names that says which is which (docs/exports.md), or --names plain "
        "where each file is a cell of its own."
    ),
    "unfinished-copy": "{count} copies that are not finished by their names ({file}): images of the slide are missing.",
    "unfinished-copy-do": "Copy the slide again and delete what is left of the broken copy, then run again.",
    # A slide that waits.
    "waits": "waiting since {since} ({age}): {why}",
    "waits-result": (
        "its files are not those of this count: new ones are waiting to be scored since {since} ({age}): {why}"
    ),
    "waits-young": "its newest file is {age} s old (--settle {settle:g})",
    "waits-ahead": (
        "its newest file is dated in the future; it is scored when two runs at least {settle:g} s apart (--settle) "
        "find the same sizes and contents"
    ),
    "waits-changed": "it changed while it was read",
    "waits-unfinished": "copies that are not finished by their names are in its place: {count} ({file})",
    "came-meanwhile": (
        "{count} of its files came while the run went on and are not in its count ({file}); the next run scores it "
        "again"
    ),
    "waits-do": "Nothing if it is still being written or copied: the next run looks again.",
    "waits-long-do": (
        "Check whether the scanner or the copy still runs, and the clocks of both computers; without --settle a slide "
        "is scored as it is."
    ),
    # A slide.
    "lost-deadline": "took longer than {seconds:g} s to be read (--file-deadline)",
    "lost-memory": "needs more than {gib:g} GiB of memory to be read (--file-memory)",
    "lost-killed": "the system ended the process that read it, probably because memory ran out",
    "lost-crash": "the process that read it crashed ({how})",
    "slide-lost": "Slide {slide} cannot be opened: {why}.",
    "slide-lost-do": "Check its files; `mnbatch run --retry-failed` tries it again.",
    "reading-failed": "Reading {file} failed unexpectedly ({kind}: {error}).",
    "slide-failed": "Work on slide {slide} failed unexpectedly ({kind}: {error}).",
    "slide-failed-do": "The log in OUT/runs has the traceback; please report it.",
    "workers-died": "Slide {slide} was at {number} workers of the cluster when they died.",
    "workers-died-do": "Look at their logs (memory?); the next run tries again.",
    "files-changed": "Files of slide {slide} changed after this run had found them: {what}.",
    "files-changed-do": "Nothing if the scanner or a copy was still at work: the next run scores it.",
    "not-committed": "Slide {slide} was scored, and its files are not whole on the disk.",
    "not-committed-do": "Check the share that holds OUT; the next run scores it again.",
    "unreachable": "The files of slide {slide} cannot be reached ({error}).",
    "unreachable-do": "Check the share or the scanner's export folder; the next run tries again.",
    "two-stains": "{seen}: two stains in one slide.",
    "two-stains-do": "Sort the files into one folder a stain, or give --stain if they are all of one.",
    "stain-changed": "The files of slide {slide} changed while they were read: they show another stain than before.",
    "stain-changed-do": "Run again when no program is writing to them.",
    "no-cell": "Slide {slide} has no cell.",
    "no-cell-do": "Check the export.",
    "whole-unreadable": "Slide {slide} cannot be read: {error}.",
    "whole-unreadable-do": "Check the share.",
    "whole-without-data": "The data of the whole slide {slide} are missing: there is no folder {folder} next to it.",
    "whole-without-data-do": "Copy the folder of the same name next to the .mrxs file.",
    "whole-refused": "The whole slide {slide} cannot be opened ({error}).",
    "whole-refused-do": (
        "Check that it is complete and was written by a scanner that OpenSlide knows (openslide.org/formats)."
    ),
    "dicom-series": "The DICOM files of slide {slide} are of {count} series ({first}, {other}), so of several slides.",
    "dicom-series-do": "Put the files of each series into a folder of their own.",
    "fields-unusable": "{bad} of the {fields} fields of slide {slide} could not be used: {why}.",
    "fields-unusable-do": (
        "Export the slide again; `--nuclear-channel`, `--um-per-pixel` and `--stain` give what the files do not state."
    ),
    "nothing-found": "No {wanted} was found in the {fields} fields of slide {slide} (cells found: {found}).",
    "nothing-found-do": "Check its fields; to count cells with any number of nuclei, use --cells all.",
    "contrast-rule": (
        "The model stretches contrast over a whole slide; this is not supported for slide {slide}, which has fields."
    ),
    "contrast-rule-do": "Choose a model with another contrast rule with --model.",
    "pixel-size": "The files of slide {slide} say {size:g} um per pixel, which no light microscope has.",
    "pixels-not-square": "Slide {slide}: {why}; micronuclei would be judged by a wrong form.",
    "pixels-not-square-do": (
        "Export it with square pixels, or give their size with --um-per-pixel if they are squares and the file errs."
    ),
    "pixel-size-do": "Give the true pixel size with --um-per-pixel, or in the column um_per_pixel of the sample sheet.",
    "no-pixel-size": (
        "The model needs crops of a stated width in micrometres; the files of slide {slide} do not state "
        "their pixel size."
    ),
    "no-pixel-size-do": "Give it with --um-per-pixel, or in the column um_per_pixel of the sample sheet.",
    "stain-unknown": "The stain of this slide was not recognised; {model} is for {served}.",
    "stain-unknown-do": "Check its images; if it is one of these stains, force it with --stain.",
    "stain-not-served": "This slide looks like {stain}; {model} is not for this stain (it is for {served}).",
    "stain-not-served-do": "Use a model for this stain with --model, or --stain if the stain was recognised wrongly.",
}


# Why a cell, a field or a slide is not counted, as data: a code of one table, and parameters.
#
# A `Reason` is a string, its text as a person reads it, and keeps what it was made of. So it can be rendered again
# after the names in it have been replaced by codes (`mnbatch run --pseudonymise`). What is a name of the export, or
# text that was written elsewhere (the message of a library or of the operating system), says so by its type; all else
# is plain. Text that is no `Reason` is not shared at all under pseudonyms: it is not known what it holds.


LONGEST = 80
"""Letters of a message of another program that are shown."""

WITHHELD = "withheld"

Coder = Callable[[str, str], str]
"""Kind and name -> the code that replaces the name."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name or a path of the export.

    Attributes:
        kind: what it names: slide, file, mask, folder; names of one kind share their codes.
    """

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Text that mnbatch did not write, which may hold any name.

    Attributes:
        instead: the text used in its place where names are coded.
    """

    text: str
    instead: str


class Reason(str):
    """A reason; made by `say`.

    Attributes:
        code: its line in `mnbatch.assay.reasons`; stable.
        parameters: the values for the braces of that line.
    """

    __slots__ = ("code", "parameters")
    code: str
    parameters: Mapping[str, Parameter]

    def __new__(cls, code: str, parameters: Mapping[str, Parameter]) -> Reason:
        """Render the text of a code."""
        made = super().__new__(cls, TEXTS[code].format_map({n: _shown(value) for n, value in parameters.items()}))
        made.code, made.parameters = code, dict(parameters)
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, Parameter]]:  # type: ignore[override]
        """What a copy, or another process, makes it from."""
        return self.code, self.parameters

    def render(self) -> str:
        """The text, and nothing else."""
        return str.__str__(self)

    def coded(self, coder: Coder) -> Reason:
        """The same reason with codes in place of names, and without text that was written elsewhere."""
        return Reason(self.code, {name: _coded(value, coder) for name, value in self.parameters.items()})


Parameter = int | float | str | Named | Foreign | Reason


def say(code: str, **parameters: Parameter) -> Reason:
    """The reason of a code; a plain text among the parameters is one that cannot hold a name of the export."""
    return Reason(code, parameters)


def foreign(error: BaseException) -> Parameter:
    """The message of an exception: a reason as it is; that of another program is `Foreign`, on one short line."""
    if error.args and isinstance(error.args[0], Reason):
        return error.args[0]
    return Foreign(brief(error), type(error).__name__)


def foreign_os(error: OSError) -> Foreign:
    """The message of the operating system, without the path."""
    code = errno.errorcode.get(error.errno, "") if error.errno is not None else ""
    return Foreign(str(error.strerror or error), code or type(error).__name__)


def reason_of(error: BaseException) -> str:
    """The reason that an exception carries, or its message."""
    return error.args[0] if error.args and isinstance(error.args[0], Reason) else str(error)


def reason_in(text: str) -> Parameter:
    """A text as a parameter of another reason: a reason stays one, any other text may hold names."""
    return text if isinstance(text, Reason) else Foreign(text, "see the log")


def brief(error: BaseException) -> str:
    """Message of an error on one line of at most 80 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def shareable(text: str, coder: Coder) -> str:
    """A reason (or advice) as it may leave a pseudonymised run; text of unknown origin is withheld."""
    if isinstance(text, Reason):
        return text.coded(coder)
    return text if not text or text in _LITERAL else say(WITHHELD)


def one_of(kind: str, name: str) -> str:
    """A coder for where there are no codes: gives only the kind of what is named."""
    return f"a {kind}"


_LITERAL = frozenset(text for text in TEXTS.values() if "{" not in text)


def _shown(value: Parameter) -> int | float | str:
    if isinstance(value, Named):
        return _writable(value.value)
    return _writable(value.text) if isinstance(value, Foreign) else value


def _writable(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file's name that are none are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _coded(value: Parameter, coder: Coder) -> Parameter:
    if isinstance(value, Named):
        return coder(value.kind, value.value)
    if isinstance(value, Foreign):
        return value.instead
    return value.coded(coder) if isinstance(value, Reason) else value
