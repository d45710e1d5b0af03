"""An image file becomes voxels, and voxels with declared labels become a VoxelImage.

Reading takes three steps, so that nothing large is allocated for a file that cannot be right: the header is read and
checked, then the voxels, and then every value must have a declared meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from meshing.errors import ImageError, LabelError
from meshing.formats import (
    Declared,
    ImageHeader,
    Shape,
    Voxels,
    inspect_npy,
    inspect_raw,
    load_npy,
    load_raw,
    plain_dtype,
    raw_dtype,
)
from meshing.image import AXES, IGNORED, VoxelImage
from meshing.slices import inspect_slices, load_slices
from meshing.tiff import inspect_tiff, load_tiff
from meshing.vti import inspect_vti, load_vti

__all__ = ["ImageHeader", "label_image", "read_header", "read_voxels", "rename_axes"]

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
RAW_SUFFIXES = (".raw", ".bin", ".dat")
FORMATS = (
    "TIFF (.tif, .tiff; also ImageJ, OME and BigTIFF), a folder of TIFF or PNG slices, numpy (.npy), "
    "raw (.raw, .bin, .dat, with shape and dtype) and VTK ImageData (.vti)"
)
SLAB = 1 << 20
"""Voxels that are labelled at a time: temporary arrays then stay below 10 MB."""
UNKNOWN = 255
"""Slot of the values that nobody declared."""


def read_header(
    path: str | Path,
    *,
    shape: Shape | None = None,
    dtype: DTypeLike | None = None,
    byte_order: Literal["little", "big"] = "little",
    order: Literal["C", "F"] = "C",
    offset: int = 0,
) -> ImageHeader:
    """What the file holds, checked against its length and against `shape` and `dtype`; no voxel is read.

    Parameters
    ----------
    path
        An image file or a folder of slices.
    shape, dtype
        What the user declares, in array order; needed for raw files, checked for the others.
    byte_order, order, offset
        Layout of a raw file: of its values, of its axes ("F": first axis fastest), and bytes before the first value.

    Raises
    ------
    ImageError
        For a file that is missing, truncated, of no known format, or not what is declared.
    """
    return _inspect(Path(path), Declared(shape, dtype, byte_order, order, offset))


def read_voxels(
    path: str | Path,
    *,
    shape: Shape | None = None,
    dtype: DTypeLike | None = None,
    byte_order: Literal["little", "big"] = "little",
    order: Literal["C", "F"] = "C",
    offset: int = 0,
    max_bytes: int | None = None,
) -> Voxels:
    """The file's values, shape (n0, n1, n2) in array order, C-contiguous, native byte order; keywords of `read_header`.

    Raises
    ------
    ImageError
        As `read_header`, where decoding fails, and where more than `max_bytes` of memory would be needed.
    """
    declared = Declared(shape, dtype, byte_order, order, offset)
    header = _inspect(Path(path), declared)
    needed = memory_estimate(header)
    advice = f"{header.shape} voxels of {header.dtype} need about {needed / 2**20:.0f} MiB to read"
    if max_bytes is not None and needed > max_bytes:
        raise ImageError(
            f"{path}: {advice}, more than the {max_bytes / 2**20:.0f} MiB allowed; "
            f"crop or coarsen the file beforehand, save it as uint8, or allow more memory"
        )
    try:
        values = _load(header, declared)
    except MemoryError:
        raise ImageError(
            f"{path}: {advice}, more than is free; crop or coarsen the file, or save it as uint8"
        ) from None
    except OSError as error:
        raise ImageError(
            f"{path}: reading stopped ({error.strerror or error}); check the disk and try again"
        ) from error
    assert values.shape == header.shape
    assert values.dtype == header.dtype
    return values


def memory_estimate(header: ImageHeader) -> int:
    """Largest memory while the voxels are read, bytes: one copy, and a second where axes have to be reordered."""
    copies = {"vti": 2, "raw": 2}.get(header.format, 1)
    return copies * header.n_bytes


def _inspect(path: Path, declared: Declared) -> ImageHeader:
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES and not path.is_dir():
        return inspect_raw(path, declared)
    if path.is_dir():
        header = inspect_slices(path)
    elif suffix in TIFF_SUFFIXES:
        header = inspect_tiff(path)
    elif suffix in (".npy", ".vti"):
        header = inspect_npy(path) if suffix == ".npy" else inspect_vti(path)
    else:
        what = f"has the suffix '{path.suffix}'" if path.suffix else "has no suffix"
        raise ImageError(f"{path}: {what}, which names no format that can be read; allowed are {FORMATS}")
    _check_declared(header, declared)
    return header


def _load(header: ImageHeader, declared: Declared) -> Voxels:
    if header.format == "raw":
        return load_raw(header, declared)
    loaders = {"slices": load_slices, "npy": load_npy, "vti": load_vti}
    return loaders.get(header.format, load_tiff)(header)


def _check_declared(header: ImageHeader, declared: Declared) -> None:
    """A declaration must agree with the file's own header, and the layout of raw files has no meaning here."""
    if declared.shape is not None and tuple(declared.shape) != header.shape:
        raise ImageError(
            f"{header.path}: holds {header.shape} voxels, but shape = {list(declared.shape)} is declared, in array "
            f"order; correct shape, or check that this is the right file"
        )
    if declared.dtype is not None:
        dtype = plain_dtype(header.path, raw_dtype(header.path, replace(declared, byte_order="big")))
        if dtype != header.dtype:
            raise ImageError(f"{header.path}: holds {header.dtype}, but dtype = {dtype} is declared; correct dtype")
    if (declared.byte_order, declared.order, declared.offset) != ("little", "C", 0):
        raise ImageError(
            f"{header.path}: byte_order, order and offset describe raw files, but this one ({header.format}) has a "
            f"header of its own; delete them"
        )


def label_image(
    values: NDArray[Any],
    voxel_size: tuple[float, float, float],
    labels: Mapping[str, int | Sequence[int]],
    ignore: Sequence[int] = (),
) -> VoxelImage:
    """The image whose phases are the keys of `labels`, in their order; ignored voxels become `IGNORED`, the last phase.

    Parameters
    ----------
    values
        Whole numbers of any type (also bool, negative, or floats without a fraction), shape (n0, n1, n2).
    voxel_size
        Edges of a voxel in array order, m.
    labels
        The value, or values, of each phase.
    ignore
        Values whose voxels belong to no phase.

    Raises
    ------
    LabelError
        Where a value of the image is declared nowhere, a declared one does not occur or is declared twice, or the
        values are no whole numbers.
    """
    table = _declare(labels, ignore)
    if values.dtype.kind not in "biuf" or values.ndim != 3 or values.size == 0:
        raise LabelError(f"labels are whole numbers on three axes, not {values.dtype} of shape {values.shape}")
    find = _finder(table.values, values.dtype)
    phase_of_slot = np.zeros(256, np.uint8)
    phase_of_slot[: len(table.phase)] = table.phase
    out = np.empty(values.shape, np.uint8)
    counts = np.zeros(256, np.int64)
    step = max(1, SLAB // (values.shape[1] * values.shape[2]))
    for start in range(0, values.shape[0], step):
        window = slice(start, start + step)
        slots = find(values[window])
        counts += np.bincount(slots.ravel(), minlength=256)
        out[window] = phase_of_slot[slots]
    if counts[UNKNOWN]:
        raise _undeclared(values, table)
    absent = [(value, name) for value, name, n in zip(table.values, table.names, counts, strict=False) if n == 0]
    for value, name in absent:
        if name is not None:
            raise LabelError(
                f"labels.{name} names the value {value}, which does not occur in the image; it contains "
                f"{_shares(values)}. Correct labels.{name}, or remove it"
            )
    ignored = any(name is None and n for name, n in zip(table.names, counts, strict=False))
    return VoxelImage(out, voxel_size, (*labels, IGNORED) if ignored else tuple(labels))


@dataclass(frozen=True, slots=True)
class _Declaration:
    """One slot per declared value: the value, the label that names it (None: ignored) and its phase index."""

    values: tuple[int, ...]
    names: tuple[str | None, ...]
    phase: tuple[int, ...]


def _declare(labels: Mapping[str, int | Sequence[int]], ignore: Sequence[int]) -> _Declaration:
    if not labels or IGNORED in labels:
        raise LabelError(
            f"labels names {', '.join(labels) or 'no phase'}; it needs at least one phase, such as "
            f"labels = {{ pore = 0, active = 1 }}, none of them called '{IGNORED}' (list such values in ignore)"
        )
    groups: list[tuple[str | None, int | Sequence[int]]] = [*labels.items(), (None, ignore)]
    values: list[int] = []
    names: list[str | None] = []
    phase: list[int] = []
    for k, (name, group) in enumerate(groups):
        key = "ignore" if name is None else f"labels.{name}"
        members = [group] if isinstance(group, int | np.integer) else list(group)
        if name is not None and not members:
            raise LabelError(f"{key} names no value; give the value that the phase has in the image, or remove it")
        for value in members:
            if int(value) != value:
                raise LabelError(f"{key} names {value}, which is no whole number; labels are whole numbers")
            if value in values:
                other = names[values.index(value)]
                where = "ignore" if other is None else f"labels.{other}"
                raise LabelError(
                    f"the value {value} is named twice, in {where} and in {key}; it can mean one thing only"
                )
            values.append(int(value))
            names.append(name)
            phase.append(k)
    if len(values) > UNKNOWN:
        raise LabelError(
            f"labels and ignore name {len(values)} values; at most {UNKNOWN} are allowed. Segment the image"
        )
    return _Declaration(tuple(values), tuple(names), tuple(phase))


def _finder(declared: Sequence[int], dtype: np.dtype[Any]) -> Any:
    """A function from values to the slots of the declared ones, shape kept, uint8.

    Values of one or two bytes are looked up in a table, others searched for in the sorted declared ones.
    """
    native = dtype.newbyteorder("=")
    fitting = [(value, slot) for slot, value in enumerate(declared) if _fits(value, native)]
    known = np.array([value for value, _ in fitting], dtype=native)
    slots = np.array([slot for _, slot in fitting], dtype=np.uint8)
    if native.kind != "f" and native.itemsize <= 2:
        unsigned = np.dtype(f"uint{8 * native.itemsize}")
        table = np.full(1 << (8 * native.itemsize), UNKNOWN, np.uint8)
        table[known.view(unsigned)] = slots
        return lambda slab: table[np.ascontiguousarray(slab, dtype=native).view(unsigned)]
    if not fitting:
        return lambda slab: np.full(slab.shape, UNKNOWN, np.uint8)
    order = np.argsort(known)
    known, slots = known[order], slots[order]

    def search(slab: NDArray[Any]) -> NDArray[np.uint8]:
        at = np.minimum(np.searchsorted(known, slab.astype(native, copy=False)), known.size - 1)
        return np.where(known[at] == slab, slots[at], np.uint8(UNKNOWN))

    return search


def _fits(value: int, dtype: np.dtype[Any]) -> bool:
    """True where the type holds this whole number exactly."""
    if dtype.kind == "b":
        return value in (0, 1)
    if dtype.kind == "f":
        return bool(abs(value) <= np.finfo(dtype).max and int(dtype.type(value)) == value)
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


def _undeclared(values: NDArray[Any], table: _Declaration) -> LabelError:
    """The error for values that are in neither `labels` nor `ignore`."""
    if values.dtype.kind == "f":
        broken = int(np.count_nonzero(~(np.isfinite(values) & (values == np.round(values)))))
        if broken:
            return LabelError(
                f"{broken} of {values.size} voxels hold fractions or NaN: this is a grey image, not labels; "
                f"it must be segmented first, one whole number per phase"
            )
    found, counts = np.unique(values, return_counts=True)
    known = np.isin(found, np.array(table.values, dtype=object).astype(float))
    missing = found[~known]
    share = counts[~known].sum() / values.size
    if found.size > UNKNOWN:
        return LabelError(
            f"the image has {found.size} different values from {found[0]} to {found[-1]}, of which {missing.size} "
            f"({share:.3%} of the voxels) are named nowhere: it looks like a grey image; it must be segmented first, "
            f"one whole number per phase"
        )
    named = ", ".join(f"{int(v)} ({n / values.size:.3%})" for v, n in zip(missing, counts[~known], strict=True))
    return LabelError(
        f"the image holds values that neither labels nor ignore names: {named} of the voxels; it contains "
        f"{_shares(values)}. Add each to a phase in labels, or to ignore"
    )


def _shares(values: NDArray[Any]) -> str:
    """The image's values with their share of the voxels, in words."""
    found, counts = np.unique(values, return_counts=True)
    parts = [f"{int(v)} ({n / values.size:.3%})" for v, n in zip(found[:12], counts[:12], strict=True)]
    return ", ".join(parts) + (f" and {found.size - 12} more" if found.size > 12 else "")


def rename_axes(image: VoxelImage, axes: str) -> VoxelImage:
    """The image with its axes in the order x, y, z, where `axes` names the case axis that each array axis is.

    "zyx" makes array axis 0 the case axis z; voxel sizes move with their axes. Raises LabelError unless `axes` is a
    permutation of "xyz".
    """
    if sorted(axes) != list(AXES):
        raise LabelError(f"axes = {axes!r}; it must name each of x, y, z once, in the order of the array's axes")
    order = [axes.index(letter) for letter in AXES]
    x, y, z = (image.voxel_size[k] for k in order)
    return replace(image, labels=np.ascontiguousarray(image.labels.transpose(order)), voxel_size=(x, y, z))
