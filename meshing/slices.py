"""Reader of folders of slices, TIFF or PNG, in the order of the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from meshing.errors import ImageError
from meshing.formats import ImageHeader, Voxels, file_size
from meshing.tiff import inspect_tiff, load_tiff

SLICE_SUFFIXES = (".tif", ".tiff", ".png")
PNG_TYPES = {"1": "bool", "L": "uint8", "P": "uint8", "I;16": "uint16", "I": "int32"}
"""Type of the values by Pillow's mode; a palette's indices are its labels."""


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A file name as the words between its numbers, and the numbers."""

    path: Path
    words: tuple[str, ...]
    numbers: tuple[int, ...]


def _numbered(path: Path) -> _Numbered:
    parts = re.split(r"([0-9]+)", path.stem)
    return _Numbered(path, (*parts[::2], path.suffix.lower()), tuple(int(part) for part in parts[1::2]))


def slice_paths(folder: Path) -> list[Path]:
    """The slices of a folder by their number, 9 before 10.

    Raises
    ------
    ImageError
        Where there are none, their names differ in more than one number, or a number is missing or twice there.
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SLICE_SUFFIXES and path.name[0] != "."]
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror or error}); check its permissions") from None
    if not paths:
        raise ImageError(f"{folder}: holds no slices; allowed are files that end in {', '.join(SLICE_SUFFIXES)}")
    slices = sorted((_numbered(path) for path in paths), key=lambda one: (one.words, one.numbers))
    if len(slices) == 1:
        return [slices[0].path]
    for one in slices[1:]:
        if one.words != slices[0].words:
            raise ImageError(
                f"{folder}: the names '{slices[0].path.name}' and '{one.path.name}' do not belong to one series; "
                f"keep the slices of one image there, named alike but for their number"
            )
    numbers = np.array([one.numbers for one in slices], dtype=object)
    varying = [column for column in range(numbers.shape[1]) if len(set(numbers[:, column])) > 1]
    if len(varying) != 1:
        raise ImageError(
            f"{folder}: the slices' names differ in {len(varying)} numbers, such as '{slices[0].path.name}' and "
            f"'{slices[-1].path.name}'; name them alike but for one number"
        )
    _check_gaps(folder, slices, varying[0])
    return [one.path for one in slices]


def _check_gaps(folder: Path, slices: Sequence[_Numbered], column: int) -> None:
    for low, high in pairwise(slices):
        step = high.numbers[column] - low.numbers[column]
        if step == 0:
            raise ImageError(f"{folder}: '{low.path.name}' and '{high.path.name}' have the same number; remove one")
        if step > 1:
            raise ImageError(
                f"{folder}: slice number {low.numbers[column] + 1} is missing, between '{low.path.name}' and "
                f"'{high.path.name}'; add it, or number the slices without gaps if they are complete"
            )


def inspect_slices(folder: Path) -> ImageHeader:
    """Header of a folder of 2-D TIFF or PNG slices, which must all have the same shape and type."""
    paths = slice_paths(folder)
    first = _inspect_slice(paths[0])
    for path in paths[1:]:
        other = _inspect_slice(path)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise ImageError(
                f"{path}: is {other.shape[1:]} of {other.dtype}, but the first slice, '{paths[0].name}', is "
                f"{first.shape[1:]} of {first.dtype}; all slices need one shape and type"
            )
    return ImageHeader(folder, "slices", (len(paths), *first.shape[1:]), first.dtype, notes=first.notes)


def load_slices(header: ImageHeader) -> Voxels:
    """Values of a folder of slices, the slices along axis 0."""
    values = np.empty(header.shape, header.dtype)
    paths = slice_paths(header.path)
    if len(paths) != header.shape[0]:
        raise ImageError(f"{header.path}: slices came or went while it was read; try again when it is complete")
    for page, path in zip(values, paths, strict=True):
        load = _load_png if path.suffix.lower() == ".png" else load_tiff
        one = load(ImageHeader(path, "slices", (1, *header.shape[1:]), header.dtype))
        page[...] = one[0]
    return values


def _inspect_slice(path: Path) -> ImageHeader:
    header = _inspect_png(path) if path.suffix.lower() == ".png" else inspect_tiff(path)
    if header.shape[0] != 1:
        raise ImageError(f"{path}: holds {header.shape[0]} pages; a slice has one. Give the file itself as the image")
    return header


def _inspect_png(path: Path) -> ImageHeader:
    from PIL import Image

    file_size(path)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            mode, (width, height), frames = image.mode, image.size, getattr(image, "n_frames", 1)
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as PNG ({error}); copy it again from its origin") from error
    if mode not in PNG_TYPES or frames != 1:
        raise ImageError(
            f"{path}: is a PNG of mode {mode} with {frames} frames; allowed is one grey-scale or palette image. "
            f"Save the labels as 8-bit grey"
        )
    notes = ("the labels are the indices of the PNG's palette",) if mode == "P" else ()
    return ImageHeader(path, "slices", (1, height, width), np.dtype(PNG_TYPES[mode]), notes=notes)


def _load_png(header: ImageHeader) -> Voxels:
    from PIL import Image

    try:
        with Image.open(header.path, formats=("PNG",)) as image:
            values: Voxels = np.asarray(image)
    except Exception as error:
        raise ImageError(f"{header.path}: is truncated or damaged ({error}); copy it again from its origin") from error
    return values.reshape(header.shape)
