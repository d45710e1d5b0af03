"""Reader of VTK image data (.vti).

VTK's own reader ends the whole process (std::bad_alloc) on some damaged files. This one allocates nothing that does
not follow from the checked extent. Layout: "VTK XML Formats", docs.vtk.org.
"""

from __future__ import annotations

import base64
import math
import mmap
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.parsers import expat

import numpy as np

from meshing.errors import ImageError
from meshing.formats import ImageHeader, Voxels, check_plausible, file_size, three_axes, truncated

TYPES = {f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}") for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)}
TYPES |= {"Float32": np.dtype(np.float32), "Float64": np.dtype(np.float64)}
"""Types of values by VTK's name."""
DAMAGED = (ValueError, KeyError, IndexError, OverflowError, zlib.error, expat.ExpatError)
"""What decoding a damaged file raises."""


@dataclass(frozen=True, slots=True)
class _Array:
    """A DataArray element: its group ("CellData" or "PointData"), attributes and where its text begins."""

    group: str
    attributes: Mapping[str, str]
    start: int


@dataclass(slots=True)
class _Document:
    """Elements of the file, filled while it is parsed."""

    file: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    active: dict[str, str] = field(default_factory=dict)
    arrays: list[_Array] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    appended: tuple[int, str] | None = None


def inspect_vti(path: Path) -> ImageHeader:
    """Header of a VTK image file: its only scalar array, or the one that it marks as active."""
    size = file_size(path)
    with _mapped(path) as content:
        document = _parse(path, content)
        array = _chosen_array(path, document)
        header = _header(path, document, array)
    check_plausible(header, size)
    return header


def load_vti(header: ImageHeader) -> Voxels:
    """Values of a VTK image file; VTK runs through x fastest, so array axes 0, 1, 2 are VTK's x, y, z."""
    with _mapped(header.path) as content:
        document = _parse(header.path, content)
        values = _decode(header, content, document, _chosen_array(header.path, document))
    return np.array(values.reshape(header.shape[::-1]).transpose(), dtype=header.dtype, order="C")


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's content, not yet read; what its decoding raises becomes an ImageError."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
    except DAMAGED as error:
        raise ImageError(
            f"{path}: is truncated or damaged, and cannot be read as ImageData ({type(error).__name__}: {error}); "
            f"write the file again"
        ) from error


def _parse(path: Path, content: mmap.mmap) -> _Document:
    """The elements of the file up to its appended data, which are no XML."""
    if b"<VTKFile" not in content[:1024]:
        raise ImageError(f"{path}: does not begin as a VTK XML file; write it as ImageData (.vti)")
    if b"</VTKFile>" not in content[-256:]:
        raise ImageError(f"{path}: is truncated: </VTKFile> is missing at its end; copy it again from its origin")
    document, parents = _Document(), list[str]()

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "VTKFile":
            document.file = attributes
        elif name == "ImageData":
            document.image = attributes
        elif name == "Piece":
            document.pieces.append(attributes["Extent"])
        elif name in ("CellData", "PointData"):
            document.active[name] = attributes.get("Scalars", "")
        elif name == "DataArray" and parents[-1] in ("CellData", "PointData"):
            text = content.find(b">", parser.CurrentByteIndex) + 1
            document.arrays.append(_Array(parents[-1], attributes, text))
        parents.append(name)

    def refuse(*_: Any) -> None:
        raise ValueError("it defines entities, which no VTK file needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: parents.pop()
    parser.EntityDeclHandler = refuse
    end = content.find(b"<AppendedData")
    parser.Parse(content[:] if end < 0 else content[:end], end < 0)
    if end >= 0:
        tag = content[end : _index(content, b">", end)]
        encoding = b"base64" if re.search(rb'encoding="base64"', tag) else b"raw"
        document.appended = _index(content, b"_", end + len(tag)) + 1, encoding.decode()
    return document


def _index(content: mmap.mmap, mark: bytes, start: int) -> int:
    found = content.find(mark, start)
    if found < 0:
        raise ValueError(f"{mark.decode()} is missing after byte {start}")
    return found


def _chosen_array(path: Path, document: _Document) -> _Array:
    if document.file.get("type") != "ImageData":
        raise ImageError(f"{path}: holds {document.file.get('type')}, not ImageData; write it as ImageData (.vti)")
    scalars = [array for array in document.arrays if array.attributes.get("NumberOfComponents", "1") == "1"]
    active = [array for array in scalars if array.attributes.get("Name") == document.active[array.group]]
    chosen = scalars if len(scalars) == 1 else active
    if len(chosen) != 1:
        found = ", ".join(f"'{array.attributes.get('Name')}' ({array.group})" for array in scalars) or "none"
        raise ImageError(
            f"{path}: needs one scalar array of labels; it has {found}. Save the labels alone, "
            f"or mark them as the active scalars"
        )
    return chosen[0]


def _header(path: Path, document: _Document, array: _Array) -> ImageHeader:
    extent = document.image["WholeExtent"].split()
    if [piece.split() for piece in document.pieces] != [extent] or len(extent) != 6:
        raise ImageError(
            f"{path}: has {len(document.pieces)} pieces of extents {document.pieces}; allowed is one that is the whole "
            f"extent, {' '.join(extent)}. Write it as one piece"
        )
    turned = [float(part) for part in document.image.get("Direction", "1 0 0 0 1 0 0 0 1").split()]
    if turned != np.eye(3).ravel().tolist():
        raise ImageError(f"{path}: its axes are turned in space (Direction {turned}); write it without a direction")
    vtk_type = array.attributes["type"]
    if vtk_type not in TYPES:
        raise ImageError(f"{path}: its values have VTK type {vtk_type}; allowed are {', '.join(TYPES)}")
    points = [int(high) - int(low) + 1 for low, high in zip(extent[::2], extent[1::2], strict=True)]
    shape = [n - (array.group == "CellData") for n in points]
    name = array.attributes.get("Name")
    return ImageHeader(
        path,
        "vti",
        three_axes(path, shape),
        TYPES[vtk_type],
        _spacing(document),
        (f"read the array '{name}' of {array.group}; VTK's spacing has no unit and is taken as metres",),
    )


def _spacing(document: _Document) -> tuple[float, float, float] | None:
    """Edges of a voxel, m; None for VTK's default of 1, which says nothing."""
    x, y, z = (float(part) for part in document.image.get("Spacing", "1 1 1").split())
    known = all(0 < h < np.inf for h in (x, y, z)) and (x, y, z) != (1.0, 1.0, 1.0)
    return (x, y, z) if known else None


def _decode(header: ImageHeader, content: mmap.mmap, document: _Document, array: _Array) -> Voxels:
    """Values in the file's order, x fastest, shape (n_voxels,)."""
    kind = array.attributes.get("format", "ascii")
    if kind == "appended" and document.appended is not None:
        begin, encoding = document.appended
        stream = _Stream(header.path, content, begin + int(array.attributes["offset"]), encoding == "base64")
    else:
        text = content[array.start : _index(content, b"<", array.start)]
        if kind == "ascii":
            return _of_size(header, np.array(text.split()).astype(header.dtype))
        stream = _Stream(header.path, text.strip(), 0, is_base64=True)
    order: Literal["<", ">"] = "<" if document.file.get("byte_order", "LittleEndian") == "LittleEndian" else ">"
    word = np.dtype(f"{order}u8" if document.file.get("header_type") == "UInt64" else f"{order}u4")
    compressor = document.file.get("compressor")
    if compressor not in (None, "vtkZLibDataCompressor"):
        raise ImageError(f"{header.path}: is compressed by {compressor}; allowed is vtkZLibDataCompressor, or none")
    data = _plain(stream, word) if compressor is None else _inflated(header, stream, word)
    return _of_size(header, np.frombuffer(data, header.dtype.newbyteorder(order)))


def _of_size(header: ImageHeader, values: Voxels) -> Voxels:
    if values.size != math.prod(header.shape):
        raise ImageError(
            f"{header.path}: is truncated or damaged: its array holds {values.size} values, not the "
            f"{math.prod(header.shape)} of its extent; write the file again"
        )
    return values


@dataclass(frozen=True, slots=True)
class _Stream:
    """Bytes from `start` on, as they are or in base64."""

    path: Path
    content: mmap.mmap | bytes
    start: int
    is_base64: bool

    def take(self, begin: int, count: int) -> bytes:
        """`count` bytes of the encoded run that begins at `begin`, counted as stored from `start`."""
        first, stored = self.start + begin, self.stored(count)
        if begin < 0 or count < 0 or first + stored > len(self.content):
            raise truncated(self.path, first + stored, len(self.content))
        found = self.content[first : first + stored]
        return base64.b64decode(found)[:count] if self.is_base64 else found

    def stored(self, count: int) -> int:
        """Length of an encoded run of `count` bytes."""
        return 4 * -(-count // 3) if self.is_base64 else count


def _words(data: bytes, word: np.dtype[Any]) -> Sequence[int]:
    return [int(value) for value in np.frombuffer(data, word)]


def _plain(stream: _Stream, word: np.dtype[Any]) -> bytes:
    """Uncompressed data: their length, then they themselves, in one run."""
    (count,) = _words(stream.take(0, word.itemsize), word)
    return stream.take(0, word.itemsize + count)[word.itemsize :]


def _inflated(header: ImageHeader, stream: _Stream, word: np.dtype[Any]) -> bytearray:
    """Compressed data: the number of blocks, a block's and the last block's length, packed lengths; then the blocks."""
    n_blocks, length, last = _words(stream.take(0, 3 * word.itemsize), word)
    total = n_blocks * length if last == 0 else (n_blocks - 1) * length + last
    if total != header.n_bytes or length < 1 or last > length:
        raise _wrong_length(header, total)
    sizes = _words(stream.take(0, (3 + n_blocks) * word.itemsize), word)[3:]
    begin = stream.stored((3 + n_blocks) * word.itemsize)
    packed = memoryview(stream.take(begin, sum(sizes)))
    out, at = bytearray(), 0
    for size in sizes:
        wanted = min(length, total - len(out))
        block = zlib.decompressobj().decompress(packed[at : at + size], wanted)
        if len(block) != wanted:
            raise _wrong_length(header, len(out) + len(block))
        out += block
        at += size
    return out


def _wrong_length(header: ImageHeader, found: int) -> ImageError:
    return ImageError(
        f"{header.path}: is truncated or damaged: its data have {found} bytes, but {header.shape} voxels of "
        f"{header.dtype} need {header.n_bytes}; write the file again"
    )
