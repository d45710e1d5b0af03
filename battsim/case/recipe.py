"""Tables of generated images, `[image.generate]`, and of changes to images of any origin, `[[image.modify]]`.

Quantities that may change through the thickness are one number, or a list from the separator to the collector:
between its values a straight line, or layers of equal thickness (`grading = "steps"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Discriminator, Field, StrictInt, Tag, model_validator

from battsim.case.fields import Length, NonEmpty, Number, Positive, Shape, Share, Table, Value, VoxelSize
from battsim.case.messages import kinds_of
from meshing.profile import Profile

RECIPE_PHASES = ("pore", "active", "binder")
"""What a recipe's phases are called."""

OpenShare = Annotated[Number, Field(gt=0, lt=1)]
Seed = Annotated[StrictInt, Field(ge=0)]
Grading = Literal["linear", "steps"]


def _one_or_several(value: object) -> str:
    return "<list>" if isinstance(value, list | tuple) else "<value>"


_ByNumber = Discriminator(_one_or_several)
OpenShares = Annotated[
    Annotated[OpenShare, Value] | Annotated[Annotated[tuple[OpenShare, ...], NonEmpty], Tag("<list>")], _ByNumber
]
"""A volume fraction between 0 and 1, or several from the separator to the collector."""
Shares = Annotated[
    Annotated[Share, Value] | Annotated[Annotated[tuple[Share, ...], NonEmpty], Tag("<list>")], _ByNumber
]
"""The same, 0 and 1 included."""
Lengths = Annotated[
    Annotated[Length, Value] | Annotated[Annotated[tuple[Length, ...], NonEmpty], Tag("<list>")], _ByNumber
]


def profile_of(values: float | tuple[float, ...], grading: Grading) -> Profile:
    """The profile that a key describes."""
    several = values if isinstance(values, tuple) else (values,)
    return Profile(several, grading == "steps")


class Diameter(Table):
    """Lognormal distribution of the particle diameter, by volume."""

    median: Length = Field(examples=['"8 um"'])
    sigma: Annotated[Number, Field(ge=0, le=2)] = 0.0


class GradedDiameter(Table):
    """The same, with a median that may change through the thickness."""

    median: Lengths = Field(examples=['"8 um"', '["4 um", "12 um"]'])
    sigma: Annotated[Number, Field(ge=0, le=2)] = 0.0


class BinderForm(Table):
    """How generated binder lies: bridges at the narrowest places, or beads from film (0) to finger (1)."""

    form: Literal["bridge", "cluster", "fibre"] = "bridge"
    morphology: Share | None = None
    thickness: Length | None = None
    length: Length | None = None

    @model_validator(mode="after")
    def _bridges_have_no_morphology(self) -> BinderForm:
        given = [key for key in ("morphology", "length") if getattr(self, key) is not None]
        if self.form == "bridge" and given:
            raise ValueError(
                f'has {" and ".join(given)}, which bridges do not know; delete it, or choose form = "cluster" or '
                '"fibre"'
            )
        if self.form != "bridge" and self.morphology is None:
            raise ValueError(
                f'has form = "{self.form}" and needs morphology, from 0 (film) to 1 (finger), such as morphology = 0.5'
            )
        return self


class _Recipe(Table):
    """What all recipes have in common."""

    shape: Shape = Field(examples=["[60, 60, 60]"])
    voxel_size: VoxelSize = Field(examples=['"1 um"'])
    seed: Seed = 1


class SpheresRecipe(_Recipe):
    """Packed spheres with binder at their necks."""

    kind: Literal["spheres"] = Field(examples=['"spheres"'])
    active_volume_fraction: OpenShare = Field(examples=["0.50"])
    binder_volume_fraction: Share = 0.0
    diameter: Diameter = Field(examples=['{ median = "8 um", sigma = 0.3 }'])

    @model_validator(mode="after")
    def _leave_room_for_pores(self) -> SpheresRecipe:
        _refuse_full(self.active_volume_fraction + self.binder_volume_fraction)
        return self


class _GradedRecipe(_Recipe):
    """Fractions that may change through the thickness, and binder of any form."""

    active_volume_fraction: OpenShares = Field(examples=["0.50", "[0.4, 0.6]"])
    binder_volume_fraction: Shares = 0.0
    grading: Grading = "linear"
    binder: BinderForm = BinderForm()

    @property
    def active_profile(self) -> Profile:
        """Volume fraction of active material through the thickness."""
        return profile_of(self.active_volume_fraction, self.grading)

    @property
    def binder_profile(self) -> Profile:
        """Volume fraction of binder through the thickness."""
        return profile_of(self.binder_volume_fraction, self.grading)

    @model_validator(mode="after")
    def _leave_room_for_pores(self) -> _GradedRecipe:
        depth = np.linspace(0.0, 1.0, 1001)
        _refuse_full(float(np.max(self.active_profile.at(depth) + self.binder_profile.at(depth))))
        return self


class ParticlesRecipe(_GradedRecipe):
    """Packed ellipsoids.

    `aspect`: relative lengths of a particle's own axes; `order`: of the first of them, from -0.5 (in the plane) over 0
    (no preferred direction) to 1 (through-plane); `overlap`: allowed share of the extents of two particles.
    """

    kind: Literal["particles"] = Field(examples=['"particles"'])
    diameter: GradedDiameter = Field(examples=['{ median = "8 um", sigma = 0.3 }'])
    aspect: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    order: Annotated[Number, Field(ge=-0.5, le=1)] = 0.0
    overlap: Annotated[Number, Field(ge=0, lt=0.5)] = 0.05

    @property
    def median_profile(self) -> Profile:
        """Median diameter through the thickness, m."""
        return profile_of(self.diameter.median, self.grading)


class RandomFieldRecipe(_GradedRecipe):
    """Irregular particles from a Gaussian random field; `length` is its correlation length, one or three.

    `spectrum`: gaussian (rho = exp(-(r/l)^2)), exponential (rho = exp(-r/l)) or peaked (waves of length 2 pi l, within
    a relative `width`).
    """

    kind: Literal["random-field"] = Field(examples=['"random-field"'])
    length: VoxelSize = Field(examples=['"4 um"', '["2 um", "6 um", "6 um"]'])
    spectrum: Literal["gaussian", "exponential", "peaked"] = "gaussian"
    width: Annotated[Number, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _width_of_a_peak(self) -> RandomFieldRecipe:
        if (self.width is not None) != (self.spectrum == "peaked"):
            raise ValueError(
                'needs width for spectrum = "peaked", such as width = 0.2, and takes none for the other spectra; '
                f'it has spectrum = "{self.spectrum}" and {"a width" if self.width is not None else "no width"}'
            )
        return self


class _UnknownRecipe(_Recipe):
    """What a recipe without a known kind is checked against: it names them all."""

    model_config = ConfigDict(extra="ignore")
    kind: Literal["spheres", "particles", "random-field"] = Field(examples=['"spheres"'])


class Calender(Table):
    """Press through the thickness to a porosity, the particles moving as rigid bodies."""

    kind: Literal["calender"]
    porosity: OpenShare = Field(examples=["0.30"])
    seed: Seed = 1


class Resize(Table):
    """Grow or shrink a phase to a volume fraction; `other` gives way or takes its place."""

    kind: Literal["erode", "dilate"]
    phase: Annotated[str, Field(strict=True)] = Field("active", examples=['"active"'])
    other: Annotated[str, Field(strict=True)] = "pore"
    volume_fraction: OpenShare = Field(examples=["0.50"])
    seed: Seed = 1


class Channels(Table):
    """Cut channels from the separator's face; `bottom`: width at the bottom as a share of that at the face."""

    kind: Literal["channels"]
    pattern: Literal["lines", "square", "hexagonal"] = "lines"
    width: Length = Field(examples=['"20 um"'])
    pitch: Length = Field(examples=['"100 um"'])
    depth: Length = Field(examples=['"60 um"'])
    bottom: Share = 1.0


class AddBinder(BinderForm):
    """Turn pores into binder, such as in an image whose binder was not resolved."""

    kind: Literal["binder"]
    volume_fraction: Shares = Field(examples=["0.10"])
    grading: Grading = "linear"
    seed: Seed = 1

    @property
    def binder_profile(self) -> Profile:
        """Volume fraction of the new binder through the thickness."""
        return profile_of(self.volume_fraction, self.grading)


class _UnknownStep(Table):
    """What a step without a known kind is checked against: it names them all."""

    model_config = ConfigDict(extra="ignore")
    seed: Seed = 1
    kind: Literal["calender", "erode", "dilate", "channels", "binder"] = Field(examples=['"calender"'])


def _by_kind(*tables: type[Table]) -> Discriminator:
    """Chooses the table of a value's `kind`; one that names all kinds where it has none of them."""
    known = {kind: f"<{kinds_of(table)[0]}>" for table in tables for kind in kinds_of(table)}

    def choose(value: object) -> str:
        kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
        return known.get(kind, "<unknown>") if isinstance(kind, str) else "<unknown>"

    return Discriminator(choose)


Generate = Annotated[
    Annotated[SpheresRecipe, Tag("<spheres>")]
    | Annotated[ParticlesRecipe, Tag("<particles>")]
    | Annotated[RandomFieldRecipe, Tag("<random-field>")]
    | Annotated[_UnknownRecipe, Tag("<unknown>")],
    _by_kind(SpheresRecipe, ParticlesRecipe, RandomFieldRecipe),
]
"""`[image.generate]`: a recipe, by its kind."""
Modify = Annotated[
    Annotated[Calender, Tag("<calender>")]
    | Annotated[Resize, Tag("<erode>")]
    | Annotated[Channels, Tag("<channels>")]
    | Annotated[AddBinder, Tag("<binder>")]
    | Annotated[_UnknownStep, Tag("<unknown>")],
    _by_kind(Calender, Resize, Channels, AddBinder),
]
"""One of `[[image.modify]]`: a step, by its kind."""


def _refuse_full(solid: float) -> None:
    if solid >= 1:
        raise ValueError(
            f"active_volume_fraction + binder_volume_fraction = {solid:g} leaves no pore; "
            "choose fractions whose sum is below 1"
        )


__all__ = [
    "RECIPE_PHASES",
    "AddBinder",
    "BinderForm",
    "Calender",
    "Channels",
    "Diameter",
    "Generate",
    "Modify",
    "ParticlesRecipe",
    "RandomFieldRecipe",
    "Resize",
    "SpheresRecipe",
]
