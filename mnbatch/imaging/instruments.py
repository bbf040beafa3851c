"""How instruments name the files of one scene, as data: one entry an instrument.

A pattern is a regular expression for the name of a file without its extension, in any case. Its groups say what the
parts of the name are: `well` (or `row` and `column`), `field` or `cell`, `channel`, `plane`, `time`, `name` (what comes
before), and `thumbnail` (a small version, left out). What no group takes must be the same in all files of a scene.
To add an instrument add an entry; `tests/imaging/test_scene_names.py` runs over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instrument:
    """How one instrument (or program) names its files.

    Attributes:
        name: what `--names` calls it.
        pattern: regular expression of the name without extension.
        example: a file's name.
        of: whose files these are.
        recognised: by the names alone; False where plain names of crops look like it, so that it has to be named.
    """

    name: str
    pattern: str
    example: str
    of: str
    recognised: bool = True


_WELL = r"(?P<well>[A-P][0-9]{1,2})"

STAINS = (
    r"(?:DAPI|Hoechst[ -]?\d*|DRAQ[57]|FITC|TRITC|Cy[2357](?:[.-]?5)?|[EGRYC]?GFP|[RYC]FP|m?Cherry|TexasRed|TxRed|"
    r"(?:Alexa(?:Fluor)?|AF|ATTO)[ -]?\d{3}|Sp(?:ectrum)?(?:O|G|R|A|Or|Gr|Aq|Orange|Green|Red|Aqua)|Rhod(?:amine)?|"
    r"PI|propidium|AO|acridine|BF|bright[-_ ]?field|phase|DIC|trans(?:mitted)?|blue|green|red|cyan|magenta|"
    r"merged?|overlay|composite|(?:ex|em|w)?\d{3}[-_ ]?nm|Ch(?:annel)?[-_ ]?\d{1,2})"
)
"""What people and programs call channels; of these alone no name is made up that means something else."""

FOLDERS: tuple[str, ...] = (
    r"(timepoint|zstep|zplane|zslice|(?-i:z)|plane|focus)[_ -]?[0-9]+",  # Z1, Z2 may be samples
    rf"(?:{STAINS}(?:[-_ ](?:images?|channel|tifs?))?)()",
)
"""How folders are named that hold times, focal planes or channels of the same scenes, where several are next to each
other. What a group takes is the same in them."""

INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        "operetta",
        r"r(?P<row>\d+)c(?P<column>\d+)f(?P<field>\d+)p(?P<plane>\d+)-ch(?P<channel>\d+)(?:sk(?P<time>\d+))?(?:fk\d+)?(?:fl\d+)?",
        "r02c03f01p02-ch1sk1fk1fl1.tiff",
        "Operetta, Opera Phenix (Harmony, Columbus)",
    ),
    Instrument(
        "imagexpress",
        rf"(?:(?P<name>.+)_)?{_WELL}(?:_s(?P<field>\d+))?(?:_z(?P<plane>\d+))?(?:_t(?P<time>\d+))?_w(?P<channel>\d)"
        r"(?P<thumbnail>_thumb)?(?:[0-9A-F]{8}-[0-9A-F-]{20,30})?",
        "B03_s2_w1.TIF",
        "ImageXpress (MetaXpress)",
    ),
    Instrument(
        "cellinsight",
        rf"(?:(?P<name>.+)_)?{_WELL}f(?P<field>\d+)d(?P<channel>\d+)",
        "plate_A01f00d0.TIF",
        "CellInsight, ArrayScan (HCS Studio)",
    ),
    Instrument(
        "cytation",
        rf"(?:(?P<name>.+)_)?{_WELL}_-?\d+(?:Z(?P<plane>\d+))?_\d+_(?P<field>\d+)_(?P<channel>[^_]+(?:_[^_0-9][^_]*)?)_(?P<time>\d{{3,}})",
        "A1_02_1_1_DAPI_001.tif",
        "Cytation, Lionheart (Gen5)",
    ),
    Instrument(
        "incucyte",
        rf"(?P<channel>.+)_{_WELL}_(?P<field>\d+)_(?P<time>\d{{4}}y\d{{2}}m\d{{2}}d_\d{{2}}h\d{{2}}m)",
        "NAME_A1_1_2024y01m01d_00h00m.tif",
        "Incucyte",
    ),
    Instrument(
        "imagestream",
        r"(?:(?P<name>.+)_)?(?P<cell>\d+)_Ch(?P<channel>\d+)",
        "12_Ch3.ome.tif",
        "ImageStream, FlowSight (IDEAS)",
    ),
    Instrument(
        "micro-manager",
        r"img_(?:channel(?P<channel>\d+)_position(?P<field>\d+)_time(?P<time>\d+)_z(?P<plane>\d+)"
        r"|(?P<time_>\d{9})_(?P<channel_>.+)_(?P<plane_>\d{3}))",
        "img_channel000_position001_time000000000_z000.tif",
        "Micro-Manager, one file an image",
    ),
    Instrument(
        "yokogawa",
        rf"(?:(?P<name>.+)_)?{_WELL}_T(?P<time>\d+)F(?P<field>\d+)L\d+A\d+Z(?P<plane>\d+)C(?P<channel>\d+)",
        "Plate_B03_T0001F001L01A01Z01C01.tif",
        "CellVoyager CV7000, CV8000, CQ1 (Yokogawa)",
    ),
    Instrument(
        "scanr",
        r"(?:(?P<name>.+)--)?W(?P<well>\d+)--P(?P<field>\d+)--Z(?P<plane>\d+)--T(?P<time>\d+)--(?P<channel>.+)",
        "scanR--W00001--P00001--Z00000--T00000--DAPI.tif",
        "scanR (Evident/Olympus)",
    ),
    Instrument(
        "incell",
        r"(?:(?P<name>.+)_)?(?P<well>[A-P] - \d{1,2})\(fld (?P<field>\d+)(?: wv (?P<channel>[^()]+?))?"
        r"(?: z (?P<plane>\d+))?(?: time (?P<time>\d+)[^()]*)?\)",
        "A - 01(fld 1 wv DAPI - DAPI).tif",
        "IN Cell Analyzer (Cytiva, GE)",
    ),
    Instrument(
        "lasx",
        r"(?P<field>.+?)(?:_t(?P<time>\d+))?(?:_z(?P<plane>\d+))?_ch(?P<channel>\d{2})",
        "Series001_z00_ch01.tif",
        "LAS X, export as TIFF",
    ),
    Instrument(
        "imagej-export",
        r"(?P<field>.*?)(?:[_-]?(?:c(?P<channel>\d{3,4})|z(?P<plane>\d{3,4})|t(?P<time>\d{3,4}))){1,3}",
        "name_c0001_z0001_t0001.tif",
        "ImageJ, image sequence of a hyperstack",
    ),
    Instrument(
        "keyence",
        r"(?P<field>.+?)(?:_Z(?P<plane>\d+))?_(?:CH(?P<channel>\d)|(?P<thumbnail>Overlay))",
        "Image_00001_CH1.tif",
        "BZ-X (Keyence); _Overlay is left out",
    ),
    Instrument(
        "zen",
        r"(?P<field>.+?)_(?:_?(?:s(?P<cell>\d+)|z(?P<plane>\d+)|t(?P<time>\d+)|m\d+|c(?P<channel>\d{1,2}))){1,5}(?:_ORG)?"
        r"(?(channel)|(?!))",
        "Experiment-01_s1c2_ORG.tif",
        "ZEN, Image Export",
    ),
    Instrument(
        "nis",
        r"(?P<field>.*?)(?:t(?P<time>\d{1,4}))?(?:xy(?P<cell>\d{1,4}))?(?:z(?P<plane>\d{1,4}))?(?<=\d)c(?P<channel>\d{1,2})",
        "run1xy01z3c2.tif",
        "NIS-Elements, Export ND document",
    ),
    Instrument(
        "imagej-split",
        r"C(?P<channel>\d)-(?P<field>.+)",
        "C1-name.tif",
        "ImageJ, Fiji: Split Channels",
    ),
    Instrument(
        "stain-names",
        rf"(?P<field>.*?)[-_ .(]+(?P<channel>{STAINS})\)?|(?P<channel_>{STAINS})[-_ .]+(?P<field_>.+)",
        "field 3_DAPI.tif",
        "names that end or begin with a stain, a colour or a wavelength",
    ),
    Instrument(
        "imagej-planes",
        r"(?P<field>.*?)[_-]?(?P<plane>\d{3,5})",
        "name-0001.tif",
        "ImageJ, image sequence of a stack of focal planes",
        recognised=False,
    ),
    Instrument(
        "imagej-channels",
        r"(?P<field>.*?)[_-]?(?P<channel>\d{3,5})",
        "name-0001.tif",
        "ImageJ, image sequence of a stack of channels",
        recognised=False,
    ),
)
