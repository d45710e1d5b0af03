"""Solutions of transport become files: fields for ParaView, a table slice by slice, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from battsim.output.transport_fields import SLICES, Slices, write_slices, write_transport
from battsim.output.transport_picture import TransportSection, draw_transport, middle_section
from battsim.post.transport import Transport
from battsim.post.transport.fields import Profile, flux_vectors, magnitude, slice_profile
from battsim.post.transport.summary import TransportRequest
from meshing.image import AXES, Axis, VoxelImage

PICTURE = "transport.png"


class TransportFiles:
    """Writes the solution of each axis as it comes, and keeps what the table and the picture need.

    Parameters
    ----------
    fields_directory
        For the .vti files and their series; made where it is missing.
    directory
        For slices.csv and transport.png; made where it is missing.
    fields
        Among "potential" and "flux", which brings its magnitude with it.
    image, request
        What was solved.
    """

    def __init__(
        self,
        fields_directory: Path,
        directory: Path,
        fields: Sequence[str],
        image: VoxelImage,
        request: TransportRequest,
    ) -> None:
        self._fields_directory, self._directory, self._names = fields_directory, directory, tuple(fields)
        self._image, self._request = image, request
        self._slices: dict[Axis, Slices] = {}
        self._sections: list[TransportSection] = []

    def save(self, axis: Axis, solution: Transport) -> dict[str, float]:
        """Write the fields of one axis; returns what they add to its numbers: how even the flux is from plane to plane.

        Nothing is written of an axis along which nothing percolates.
        """
        request, image, u = self._request, self._image, solution.potential
        if u is None:
            return {}
        k = request.conductivity
        profile = slice_profile(u, image, k, axis=axis, length=request.length, sides=request.sides)
        flux = flux_vectors(u, image, k, axis=axis, length=request.length, sides=request.sides)
        flux /= profile.mean_flux
        size = magnitude(flux)
        fields: dict[str, Any] = {"potential": u} if "potential" in self._names else {}
        if "flux" in self._names:
            fields |= {"flux": flux, "flux_magnitude": size}
        number = len(self._sections)
        write_transport(self._fields_directory, axis, fields, image.labels, image.voxel_size, number=number)
        self._slices[axis] = _slices(profile, image, request, axis)
        self._sections.append(middle_section(axis, u, size, image.voxel_size))
        return {"plane_flux_deviation": profile.deviation}

    def finish(self, report: Callable[[float, str], None], title: str = "") -> None:
        """Write table and picture; a picture that cannot be drawn is a line in the log, not a failure."""
        if not self._sections:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        write_slices(self._directory / SLICES, self._slices)
        try:
            draw_transport(self._directory / PICTURE, self._sections, title=title)
        except Exception as error:  # whatever a drawing library raises on a machine without fonts or a display
            report(1.0, f"the picture was not drawn: {type(error).__name__}: {error}")


def _slices(profile: Profile, image: VoxelImage, request: TransportRequest, axis: Axis) -> Slices:
    """The profile with the porosity of each slice; a slice's flux is the mean of its two planes."""
    weight = np.array(
        [request.porosity.get(name, 1.0) * (request.conductivity.get(name, 0.0) > 0.0) for name in image.phases]
    )
    along = np.moveaxis(image.labels, AXES.index(axis), 0)
    shares = [np.bincount(layer.reshape(-1), minlength=weight.size) / layer.size for layer in along]
    flux = 0.5 * (profile.flux[1:] + profile.flux[:-1])
    return Slices(profile.position, np.array(shares) @ weight, profile.potential, flux)
