"""What coarsening an image changed: volume fractions and interface areas before and after."""

from __future__ import annotations

from typing import Any

from meshing.image import VoxelImage, coarsen
from meshing.measure import measure_interfaces


def coarsening(factor: int, fine: VoxelImage) -> dict[str, Any]:
    """Entry "coarsening" of microstructure.json; empty where the image keeps its voxels.

    Volume fractions, and area per volume (1/m) of each interface, of the image before and after; array axes, without
    the separator.
    """
    if factor == 1:
        return {}
    after = coarsen(fine, factor)
    return {"coarsening": {"factor": factor, "before": _measures(fine), "after": _measures(after)}}


def coarsening_warnings(measured: dict[str, Any]) -> list[str]:
    """One line on what coarsening changed, as microstructure.json says; none where there was none."""
    entry = measured.get("coarsening")
    if entry is None:
        return []
    before, after = entry["before"], entry["after"]
    fractions = [
        f"{name} {share:.4f} to {after['volume_fractions'][name]:.4f}"
        for name, share in before["volume_fractions"].items()
    ]
    areas = [
        f"{name} by {100.0 * (after['area_per_volume_1_m'].get(name, 0.0) / area - 1.0):+.1f} %"
        for name, area in before["area_per_volume_1_m"].items()
        if area > 0.0
    ]
    return [
        f"coarsen = {entry['factor']} changed volume fractions ({', '.join(fractions)}) and interface "
        f"areas ({', '.join(areas)})"
    ]


def _measures(image: VoxelImage) -> dict[str, dict[str, float]]:
    return {
        "volume_fractions": {name: image.volume_fraction(name) for name in image.phases},
        "area_per_volume_1_m": {
            name: found.area_per_volume_1_m for name, found in measure_interfaces(image, first="active").items()
        },
    }
