"""Reader of TIFF files.

tifffile hands out a truncated stack as fewer pages, or as pages of zeros, without an error. So the chain of pages is
walked here first, and each page's bytes must lie inside the file before anything is allocated.
"""

from __future__ import annotations

import html
import logging
import re
import struct
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meshing.errors import ImageError
from meshing.formats import ImageHeader, Voxels, check_plausible, file_size, plain_dtype, three_axes, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tifffile import TiffFile, TiffPageSeries

TAG_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes per value by the type of a TIFF tag (TIFF 6.0, section 2; types 16 to 18 are BigTIFF's); 0: not known."""
METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "micron": 1e-6, "microns": 1e-6, "nm": 1e-9}
"""Units of length in TIFF metadata; either sign for micro is written as u first."""


def inspect_tiff(path: Path) -> ImageHeader:
    """Header of a TIFF file that holds one grey-scale image or stack.

    Raises
    ------
    ImageError
        For a truncated file, colour, several images of different size, and stacks with more than one axis of pages.
    """
    size = file_size(path)
    n_pages = _count_pages(path, size)
    with _opened(path) as tif:
        series = _single_stack(path, tif, n_pages)
        for part in series:
            _check_bytes(path, part, size)
        shape = _stack_shape(series)
        header = ImageHeader(
            path,
            _format(tif),
            three_axes(path, shape),
            plain_dtype(path, np.dtype(series[0].dtype)),
            _voxel_size_hint(tif, shape),
            _notes(series),
        )
    check_plausible(header, size)
    return header


def load_tiff(header: ImageHeader) -> Voxels:
    """Values of a TIFF file, in native byte order."""
    with _opened(header.path) as tif:
        series = tif.series
        if len(series) == 1:
            values = np.asarray(series[0].asarray())
        else:
            values = np.empty(header.shape, header.dtype)
            for k, part in enumerate(series):
                values[k] = part.asarray()
    return np.ascontiguousarray(values.reshape(header.shape), dtype=header.dtype)


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    """The open file; whatever the parser or a codec raises becomes an ImageError."""
    import tifffile

    # a handler that drops them keeps the parser's messages from standard error; what they say is checked here
    logger, silent = logging.getLogger("tifffile"), logging.NullHandler()
    logger.addHandler(silent)
    try:
        with tifffile.TiffFile(path) as tif:
            yield tif
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(
            f"{path}: cannot be read as TIFF ({error}); the file is damaged, or written with a compression that needs "
            f"the package imagecodecs. Copy it again, or save it without compression"
        ) from error
    finally:
        logger.removeHandler(silent)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a directory of tags is stored: number of entries, entries, and the offset of the next directory."""

    count: struct.Struct
    entry: np.dtype[Any]
    link: struct.Struct
    first: int


def _layout(path: Path, head: bytes) -> _Layout:
    """Layout by the file's first 16 bytes, classic or big, in either byte order."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) == 16 else 0
    if order is None or version not in (42, 43):
        raise ImageError(f"{path}: does not begin as a TIFF file; check what it is, and save it as TIFF")
    count, word, first = ("H", "u4", 4) if version == 42 else ("Q", "u8", 8)
    fields = [("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", order + word), ("value", order + word)]
    return _Layout(struct.Struct(f"{order}{count}"), np.dtype(fields), struct.Struct(order + "IQ"[version - 42]), first)


def _count_pages(path: Path, size: int) -> int:
    """Number of pages in the file's chain of directories, which must lie inside the file with all their tags."""
    with path.open("rb") as file:
        head = file.read(16)
        layout = _layout(path, head)
        (offset,) = layout.link.unpack_from(head, layout.first)
        seen: set[int] = set()
        while offset:
            if offset in seen:
                raise ImageError(f"{path}: its chain of pages runs in a circle; the file is damaged, copy it again")
            if offset >= size:
                raise truncated(path, offset, size)
            seen.add(offset)
            file.seek(offset)
            counted = file.read(layout.count.size)
            n_tags = layout.count.unpack(counted)[0] if len(counted) == layout.count.size else 0
            end = offset + layout.count.size + n_tags * layout.entry.itemsize + layout.link.size
            if end > size:
                raise truncated(path, end, size)
            end = _end_of_values(np.frombuffer(file.read(n_tags * layout.entry.itemsize), layout.entry))
            if end > size:
                raise truncated(path, end, size)
            (offset,) = layout.link.unpack(file.read(layout.link.size))
    return len(seen)


def _end_of_values(tags: NDArray[np.void]) -> int:
    """Where the last value ends that is too long to be stored in its tag itself; 0 where there is none."""
    kind = np.where(tags["type"] < len(TAG_BYTES), tags["type"], 0)
    length = np.array(TAG_BYTES, np.float64)[kind] * tags["count"]  # floats: a damaged count must not wrap around
    ends = np.where(length > tags["value"].dtype.itemsize, tags["value"] + length, 0.0)
    return int(ends.max(initial=0.0))


def _single_stack(path: Path, tif: TiffFile, n_pages: int) -> list[TiffPageSeries]:
    """The one series of the file, or all of them where each is one page of the same stack."""
    series = tif.series
    if not series:
        raise ImageError(f"{path}: holds no image; save it again as one grey-scale stack")
    declared = next((kind for kind in ("ome", "imagej", "shaped") if getattr(tif, f"is_{kind}")), None)
    if declared is not None and series[0].kind != declared:
        raise ImageError(
            f"{path}: is truncated or damaged: its {declared} description does not fit the {n_pages} pages that "
            f"it holds; copy it again, or save it anew as a plain stack"
        )
    if len({(part.shape, str(part.dtype)) for part in series}) > 1 or (len(series) > 1 and series[0].ndim != 2):
        raise ImageError(
            f"{path}: holds {len(series)} images of shapes {_listed([part.shape for part in series])}; "
            f"allowed is one image or stack per file. Save the one to be read alone"
        )
    _check_axes(path, tif, series[0])
    pages = len(series) if len(series) > 1 else int(np.prod(series[0].shape[:-2]))
    if n_pages > 1 and pages != n_pages:
        raise ImageError(
            f"{path}: its description speaks of {pages} slices, but it holds {n_pages} pages; "
            f"save it anew as a plain stack"
        )
    return list(series)


def _check_axes(path: Path, tif: TiffFile, series: TiffPageSeries) -> None:
    """Refuse colour, and more than one axis of pages."""
    page = series.keyframe
    colour = page.samplesperpixel > 1 and not _separate_slices(series)
    composite = "C" in series.axes and (tif.imagej_metadata or {}).get("mode") in ("composite", "color")
    if colour or composite:
        raise ImageError(
            f"{path}: is a colour image (axes {series.axes}, shape {series.shape}); labels need one value per voxel. "
            f"Save it as grey-scale (in tifffile: photometric='minisblack')"
        )
    if series.ndim > 3 or series.axes[-2:] != "YX":
        raise ImageError(
            f"{path}: has axes {series.axes} of shape {series.shape}; allowed are slices, rows and columns only. "
            f"Save one time and one channel of it"
        )


def _separate_slices(series: TiffPageSeries) -> bool:
    """True where tifffile called a stack of three or four slices colour because of its shape."""
    return bool(series.kind == "shaped" and series.axes == "SYX")


def _check_bytes(path: Path, series: TiffPageSeries, size: int) -> None:
    """Each strip or tile of each page must be there, and lie inside the file."""
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > size:
            raise truncated(path, series.dataoffset + series.nbytes, size)
        return
    n_segments = int(np.prod(series.keyframe.chunked))
    for page in series.pages:
        if page is None or series.is_multifile:
            raise ImageError(f"{path}: some of its pages are missing or in other files; save it as one stack")
        offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
        if offsets.size != n_segments or offsets.size != counts.size:
            raise ImageError(f"{path}: page {page.index} lists {offsets.size} strips or tiles, not all; copy it again")
        if offsets.min() <= 0 or counts.min() <= 0:
            raise ImageError(f"{path}: page {page.index} has strips or tiles without data; save the file again")
        if (offsets + counts).max() > size:
            raise truncated(path, int((offsets + counts).max()), size)


def _stack_shape(series: Sequence[TiffPageSeries]) -> tuple[int, ...]:
    return (len(series), *series[0].shape) if len(series) > 1 else tuple(series[0].shape)


def _format(tif: TiffFile) -> str:
    if tif.is_ome:
        return "ome-tiff"
    if tif.is_imagej:
        return "tiff (ImageJ)"
    return "bigtiff" if tif.is_bigtiff else "tiff"


def _notes(series: Sequence[TiffPageSeries]) -> tuple[str, ...]:
    names = {"T": "time steps", "C": "channels", "S": "colours"}
    axes = series[0].axes
    if len(axes) == 3 and axes[0] in names:
        return (f"the file calls its {series[0].shape[0]} pages {names[axes[0]]}; they are taken as slices",)
    return ()


def _voxel_size_hint(tif: TiffFile, shape: Sequence[int]) -> tuple[float, float, float] | None:
    """Edges of a voxel in array order, m; None unless the file gives all three with a known unit."""
    if len(shape) != 3:
        return None
    sizes = _ome_sizes(tif.ome_metadata) if tif.is_ome and tif.ome_metadata else None
    sizes = _imagej_sizes(tif) if sizes is None and tif.is_imagej else sizes
    if sizes is None or not all(np.isfinite(h) and h > 0 for h in sizes):
        return None
    return sizes


def _metres(unit: str) -> float:
    """Metres per unit; NaN where the unit is no known length."""
    name = html.unescape(unit).replace("\\u00B5", "u").replace("\u00b5", "u").replace("\u03bc", "u")
    return METRES.get(name.strip(), np.nan)


def _ome_sizes(xml: str) -> tuple[float, float, float] | None:
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", xml)
    found = dict(re.findall(r'\b(PhysicalSize[XYZ](?:Unit)?)="([^"]*)"', pixels[0])) if pixels else {}
    try:
        z, y, x = (
            float(found[f"PhysicalSize{axis}"]) * _metres(found.get(f"PhysicalSize{axis}Unit", "um")) for axis in "ZYX"
        )
    except (KeyError, ValueError):
        return None
    return z, y, x


def _imagej_sizes(tif: TiffFile) -> tuple[float, float, float] | None:
    metadata, tags = tif.imagej_metadata or {}, tif.pages.first.tags
    resolution = [tags.get(name) for name in ("YResolution", "XResolution")]
    try:
        metre, spacing = _metres(str(metadata["unit"])), float(metadata["spacing"])
        y, x = (tag.value[1] / tag.value[0] * metre for tag in resolution if tag is not None)
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return None
    return spacing * metre, y, x


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items[:4])) + (", ..." if len(items) > 4 else "")
