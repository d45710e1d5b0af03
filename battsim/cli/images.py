"""Commands on an image alone: what is in a file, and the tortuosity of its phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from numpy.typing import NDArray

from battsim.cli.guard import UsageError
from battsim.post.transport import effective_transport
from battsim.quantity import to_si
from meshing.errors import LabelError
from meshing.image import AXES, Axis, VoxelImage
from meshing.read import RAW_SUFFIXES, memory_estimate, read_header, read_voxels

if TYPE_CHECKING:
    from meshing.read import ImageHeader

MANY_VALUES = 12
"""More values than this are no labels, and are not listed."""
TRANSPORT_BYTES = 360
"""Memory of a transport solve per conducting voxel, measured on random images of 60^3 and 100^3."""


def image_info(file: Path) -> dict[str, Any]:
    """What a file holds: format, shape, values with counts and shares, memory, and the [image] table to write."""
    header = _header(file)
    values, counts = _counted(read_voxels(file))
    voxels = int(counts.sum())
    few = values.size <= MANY_VALUES and bool((np.isfinite(values) & (values == np.round(values))).all())
    listed = zip(values.tolist(), counts.tolist(), strict=True) if few else ()
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
        "labels": [{"value": value, "voxels": n, "share": n / voxels} for value, n in listed],
        "memory_read_bytes": memory_estimate(header),
        "memory_tortuosity_bytes": TRANSPORT_BYTES * voxels,
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


def image_tortuosity(file: Path, phase: str | None, voxel_size: str, axis: str) -> dict[str, Any]:
    """Summary of the tortuosity of the voxels that have one of the values in `phase`.

    Raises
    ------
    UsageError
        Where an option is missing or cannot be read.
    LabelError
        Where a value does not occur in the image.
    """
    axes = _axes(axis)
    edges = _edges(voxel_size)
    wanted = None if phase is None else _values_of(phase)
    _header(file)
    voxels = read_voxels(file)
    if wanted is None:
        raise UsageError(f"--phase is required with an image; {file} has {_listed(voxels)}, so for instance --phase 0")
    missing = [value for value in wanted if not np.any(voxels == value)]
    if missing:
        raise LabelError(f"{file}: --phase {missing[0]} does not occur in the image, which has {_listed(voxels)}")
    image = VoxelImage(np.isin(voxels, wanted).astype(np.uint8), edges, ("other", "phase"))
    found = {name: asdict(effective_transport(image, {"phase": 1.0}, axis=name)) for name in axes}
    return {"kind": "tortuosity", "porosity": image.volume_fraction("phase"), "directions": found}


def _header(file: Path) -> ImageHeader:
    """The header; a raw file has none, and is refused with the way to go."""
    if file.suffix.lower() in RAW_SUFFIXES and file.is_file():
        raise UsageError(
            f"{file} is a raw file, which does not say its shape; describe it in a case: battsim init DIR, "
            "then file, shape and dtype in [image]"
        )
    return read_header(file)


def _axes(axis: str) -> tuple[Axis, ...]:
    if axis == "all":
        return AXES
    chosen = tuple(name for name in AXES if name == axis)
    if not chosen:
        raise UsageError(f"--axis {axis} is not known; use x, y, z or all")
    return chosen


def _edges(voxel_size: str) -> tuple[float, float, float]:
    """One edge or three, m."""
    edges = [to_si(part.strip(), "m", "--voxel-size") for part in voxel_size.split(",")]
    if len(edges) not in (1, 3) or min(edges) <= 0:
        raise UsageError(f'--voxel-size {voxel_size} needs one positive length or three, such as "0.4 um,0.4 um,1 um"')
    x, y, z = edges if len(edges) == 3 else edges * 3
    return x, y, z


def _values_of(phase: str) -> list[int]:
    try:
        return [int(part) for part in phase.split(",")]
    except ValueError:
        raise UsageError(f"--phase {phase} needs whole numbers with commas, such as --phase 0,2") from None


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


def _listed(voxels: NDArray[Any]) -> str:
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
