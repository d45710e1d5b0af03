"""What is in an image file, and whether it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import typer
from numpy.typing import NDArray

from battsim.cli.guard import UsageError
from battsim.errors import ResourceError
from battsim.post.transport.grid import transport_memory
from meshing.read import RAW_SUFFIXES, memory_estimate, read_header, read_voxels

if TYPE_CHECKING:
    from meshing.read import ImageHeader

MANY_VALUES = 12
"""More values than this are no labels, and are not listed."""


def image_info(file: Path) -> dict[str, Any]:
    """What a file holds: format, shape, values with counts and shares, memory, and the [image] table to write."""
    header = checked_header(file)
    values, counts = _counted(read_voxels(file))
    voxels = int(counts.sum())
    few = values.size <= MANY_VALUES and bool((np.isfinite(values) & (values == np.round(values))).all())
    labels = zip(values.tolist(), counts.tolist(), strict=True) if few else ()
    return {
        "file": file,
        "format": header.format,
        "shape": header.shape,
        "voxels": voxels,
        "dtype": str(header.dtype),
        "bytes": header.n_bytes,
        "voxel_size_hint_m": header.voxel_size_hint,
        "notes": list(header.notes),
        "values": values.size,
        "range": [values[0], values[-1]],
        "labels": [{"value": value, "voxels": n, "share": n / voxels} for value, n in labels],
        "memory_read_bytes": memory_estimate(header),
        "memory_tortuosity_bytes": transport_memory(voxels, voxels, alike=False),
        "case_toml": _snippet(header, values if few else None),
    }


def print_info(info: Mapping[str, Any]) -> None:
    """The same for reading, with the snippet for case.toml last."""
    size = " x ".join(map(str, info["shape"]))
    typer.echo(f"{info['file']}: {info['format']}, {size} voxels of {info['dtype']}, {_size(info['bytes'])}")
    for note in info["notes"]:
        typer.echo(f"note: {note}")
    for label in info["labels"]:
        typer.echo(f"  value {label['value']}: {label['voxels']} voxels, {label['share']:.4f}")
    if not info["labels"]:
        low, high = info["range"]
        typer.echo(f"  {info['values']} values from {low} to {high}: a grey image, to be segmented first")
    typer.echo(
        f"memory: {_size(info['memory_read_bytes'])} to read, "
        f"at most {_size(info['memory_tortuosity_bytes'])} for a tortuosity of all voxels"
    )
    typer.echo(f"\nfor case.toml:\n\n{info['case_toml']}")


def checked_header(file: Path, bytes_per_voxel: int = 0) -> ImageHeader:
    """The header of an image that can be read and fits into memory, with so many bytes per voxel beside its values.

    Raises
    ------
    UsageError
        For a raw file, which has no header, with the way to go.
    ImageError
        As `read_header`.
    ResourceError
        Where memory does not suffice; nothing was allocated.
    """
    if file.suffix.lower() in RAW_SUFFIXES and file.is_file():
        raise UsageError(
            f"{file} is a raw file, which does not say its shape; describe it in a case: battsim init DIR, "
            "then file, shape and dtype in [image]"
        )
    header = read_header(file)
    needed = memory_estimate(header) + bytes_per_voxel * prod(header.shape)
    available = psutil.virtual_memory().available
    if needed > available:
        raise ResourceError(
            f"{file}: an image of {' x '.join(map(str, header.shape))} voxels of {header.dtype} needs about "
            f"{_size(needed)} to read, and {_size(available)} are free; free memory, crop it, or save it as uint8"
        )
    return header


def _counted(voxels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values that occur, ascending, and how often; short integers without sorting the image."""
    voxels = voxels.view(np.uint8) if voxels.dtype.kind == "b" else voxels
    if voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 2:
        unsigned = voxels.reshape(-1).view(f"uint{8 * voxels.dtype.itemsize}")
        counts = np.bincount(unsigned, minlength=1)
        present = np.flatnonzero(counts)
        values = present.astype(unsigned.dtype).view(voxels.dtype)
        order = np.argsort(values)
        return values[order], counts[present][order]
    return np.unique(voxels, return_counts=True)


def listed(voxels: NDArray[Any]) -> str:
    """Values of an image and their shares, in words."""
    values, counts = _counted(voxels)
    shown = [f"{value} ({n / voxels.size:.1%})" for value, n in zip(values[:MANY_VALUES], counts, strict=False)]
    return f"the values {', '.join(shown)}" + (
        f" and {values.size - MANY_VALUES} more" if len(shown) < values.size else ""
    )


def _snippet(header: ImageHeader, values: NDArray[Any] | None) -> str:
    """The [image] table for this file; what only the user can know is marked."""
    hint = header.voxel_size_hint
    if hint is None:
        size = 'voxel_size = "? um"         # required: the edge of a voxel; the file does not say it'
    elif len(set(hint)) == 1:
        size = f'voxel_size = "{hint[0] * 1e6:.6g} um"         # as the file says; check it'
    else:
        edges = ", ".join(f'"{edge * 1e6:.6g} um"' for edge in hint)
        size = f"voxel_size = [{edges}]         # as the file says, in array order; check it"
    names = ", ".join(f"phase_{int(v)} = {int(v)}" for v in values) if values is not None else ""
    labels = (
        f"labels = {{ {names} }}       # rename: pore, active, binder" if names else "# segment it first, then labels"
    )
    name = header.path.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'[image]\nfile = "{name}"\n{size}\nthrough_plane = "x"         # from separator to collector\n{labels}\n'


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
