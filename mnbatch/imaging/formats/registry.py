"""Formats of one picture a file: a new one is a module beside these, and a line here.

TIFF (pages, tiles, metadata) and the vendors' whole slides have modules of their own: `decoding`, `whole_slides`.
Microscopes' own files of fields are in `VENDORS`: likewise one module each, and one line here.
"""

from __future__ import annotations

from mnbatch.imaging.formats.bmp import BMP
from mnbatch.imaging.formats.czi import CZI
from mnbatch.imaging.formats.jpeg import JPEG
from mnbatch.imaging.formats.lif import LIF
from mnbatch.imaging.formats.nd2 import ND2
from mnbatch.imaging.formats.ome_zarr import OME_ZARR
from mnbatch.imaging.formats.pixels import PictureFormat
from mnbatch.imaging.formats.png import PNG
from mnbatch.imaging.formats.vendor_files import VendorFormat

PICTURES: tuple[PictureFormat, ...] = (PNG, BMP, JPEG)
"""In the order in which a crawl prefers them where two files of a cell differ in their extension alone."""

VENDORS: tuple[VendorFormat, ...] = (CZI, ND2, LIF, OME_ZARR)
"""Read as fields, where the package that reads them is installed."""
