"""What is known of an image file before its voxels are read, and the readers of npy and raw files.

Readers distrust the file: sizes are compared with the file's length before anything is allocated, and whatever a
third-party parser says about a broken file becomes an ImageError.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from meshing.errors import ImageError

Shape = tuple[int, int, int]
Voxels = NDArray[Any]
"""Values of any whole, real or boolean type, shape (n0, n1, n2), in array order."""

COMPRESSION_LIMIT = 10_000
"""Bytes of voxels per byte of file beyond which a header is taken for damaged; deflate reaches 1032."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about itself.

    Attributes
    ----------
    path
        The file, or the folder of slices.
    format
        "tiff", "tiff (ImageJ)", "ome-tiff", "bigtiff", "slices", "npy", "raw" or "vti".
    shape
        Voxels in array order; a 2-D image has shape (1, n1, n2).
    dtype
        Type of the values, in native byte order.
    voxel_size_hint
        What the file says about the voxel's edges, array order, m; None where it does not say all three. A hint to
        show: it is never used unless the user repeats it.
    notes
        What was taken for granted in reading the header, for the user to see.
    """

    path: Path
    format: str
    shape: Shape
    dtype: np.dtype[Any]
    voxel_size_hint: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Memory of the voxels, bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Declared:
    """What the user says about a file: all of it for raw files, and at most shape and dtype for the others."""

    shape: Shape | None = None
    dtype: DTypeLike | None = None
    byte_order: Literal["little", "big"] = "little"
    order: Literal["C", "F"] = "C"
    offset: int = 0


def file_size(path: Path) -> int:
    """Length of a readable, regular file, bytes; raises ImageError when it is anything else, or empty."""
    try:
        if path.exists() and not path.is_file():
            raise ImageError(f"{path}: is no regular file; name an image file or a folder of slices")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file; check the path, which is relative to the case") from None
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be opened ({error.strerror or error}); check that it is readable (permissions)"
        ) from None
    if size == 0:
        raise ImageError(f"{path}: the file is empty (0 bytes); copy it again from its origin")
    return size


def plain_dtype(path: Path, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in native byte order; raises ImageError unless it is boolean, whole or real."""
    if dtype.kind not in "biuf":
        raise ImageError(
            f"{path}: its values have type {dtype}; allowed are bool, int8 to int64, uint8 to uint64 and floats. "
            f"Save the labels as uint8"
        )
    return dtype.newbyteorder("=")


def three_axes(path: Path, shape: Sequence[int]) -> Shape:
    """The shape as three axes, a 2-D one with a leading 1; raises ImageError for any other number, or an empty one."""
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ImageError(
            f"{path}: holds an array of shape {tuple(shape)}; allowed are 2 or 3 axes, each of at least one voxel. "
            f"Save one grey-scale volume of labels"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def truncated(path: Path, needed: int, found: int) -> ImageError:
    """The error for a file that ends before its data do."""
    return ImageError(
        f"{path}: is truncated: its header asks for {needed} bytes, but the file has {found}; "
        f"copy it again from its origin"
    )


def check_plausible(header: ImageHeader, size: int) -> None:
    """Raise ImageError where no compression could have packed the voxels into `size` bytes."""
    if header.n_bytes > COMPRESSION_LIMIT * size:
        raise ImageError(
            f"{header.path}: its header speaks of {header.shape} voxels, {header.n_bytes} bytes, but the file has only "
            f"{size}; it is damaged, copy it again from its origin"
        )


def inspect_npy(path: Path) -> ImageHeader:
    """Header of a .npy file; object arrays, which would run code, are refused."""
    voxels = _map_npy(path, file_size(path))
    return ImageHeader(path, "npy", three_axes(path, voxels.shape), plain_dtype(path, voxels.dtype))


def load_npy(header: ImageHeader) -> Voxels:
    """Values of a .npy file, copied out of the file's map."""
    voxels = _map_npy(header.path, file_size(header.path))
    return np.array(voxels, dtype=header.dtype, order="C", subok=False).reshape(header.shape)


def _map_npy(path: Path, size: int) -> np.memmap[Any, Any]:
    # the header's parser and the map raise whatever they stumble upon in a file that may hold anything
    try:
        voxels = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:
        raise ImageError(
            f"{path}: is no readable .npy file, or it is truncated ({error}); write it with numpy.save"
        ) from error
    expected = voxels.offset + voxels.nbytes
    if size != expected:
        raise ImageError(f"{path}: has {size} bytes where its header promises {expected}; write it with numpy.save")
    return voxels


def inspect_raw(path: Path, declared: Declared) -> ImageHeader:
    """Header of a raw file, which is what the user declares; its length must match to the byte."""
    size = file_size(path)
    if declared.shape is None or declared.dtype is None:
        raise ImageError(
            f"{path}: a raw file has no header; declare its shape and dtype, "
            f'such as shape = [251, 301, 301] and dtype = "uint8"'
        )
    dtype = plain_dtype(path, raw_dtype(path, declared))
    header = ImageHeader(path, "raw", three_axes(path, declared.shape), dtype)
    if declared.offset < 0:
        raise ImageError(f"{path}: offset = {declared.offset} bytes; it must be 0 or more")
    if declared.offset + header.n_bytes != size:
        raise ImageError(
            f"{path}: has {size} bytes, but shape {declared.shape} of {dtype} after {declared.offset} bytes is "
            f"{declared.offset + header.n_bytes}; correct shape, dtype or offset"
        )
    return header


def load_raw(header: ImageHeader, declared: Declared) -> Voxels:
    """Values of a raw file in C order and native byte order."""
    stored = raw_dtype(header.path, declared)
    values = np.fromfile(header.path, stored, math.prod(header.shape), offset=declared.offset)
    if values.size != math.prod(header.shape):
        raise truncated(header.path, declared.offset + header.n_bytes, declared.offset + values.nbytes)
    if not stored.isnative:
        values = values.byteswap(inplace=True).view(header.dtype)
    return np.ascontiguousarray(values.reshape(header.shape, order=declared.order))


def raw_dtype(path: Path, declared: Declared) -> np.dtype[Any]:
    """The declared type in the declared byte order."""
    if declared.byte_order not in ("little", "big") or declared.order not in ("C", "F"):
        raise ImageError(
            f"{path}: byte_order = {declared.byte_order!r}, order = {declared.order!r}; allowed are "
            f'"little" or "big", and "C" (last axis fastest) or "F" (first axis fastest)'
        )
    try:
        dtype = np.dtype(declared.dtype)
    except TypeError:
        raise ImageError(
            f"{path}: dtype = {declared.dtype!r} is not known; allowed are bool, int8 to int64, uint8 to uint64, "
            f"float32 and float64"
        ) from None
    if dtype.byteorder == ">" and declared.byte_order == "little":
        raise ImageError(f'{path}: dtype = {declared.dtype!r} is big-endian; write byte_order = "big" beside it')
    return dtype.newbyteorder("<" if declared.byte_order == "little" else ">")
