"""The tables of a case without an image: porous electrodes by thickness, fractions, particles and transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator

from battsim.case.fields import (
    AreaPerVolume,
    ByForm,
    Conductivity,
    Length,
    NonEmpty,
    Number,
    PositiveShare,
    SubTable,
    Table,
    Value,
    si,
)
from battsim.case.materials import ActiveChoice, Name, OpenShare, PorousLayer, Separator
from battsim.case.protocol import Step
from battsim.case.schema import Case, Cell, Conditions, Output, Start, TimeSolver
from battsim.materials.bpx.electrode import VOLUME_TOLERANCE
from battsim.quantity import to_si

ROUND_OFF = 1e-6
"""How far fractions of a whole may miss it."""
THICKEST, LARGEST_RADIUS = 0.01, 0.001
"""Beyond any electrode and any particle, m: a plain 75.6 that was meant in micrometres is refused."""
LAYERS = {"half": ("separator", "electrode"), "full": ("negative", "separator", "positive")}
"""Layers of a cell in the order of `[solver.p2d] points`."""
POINTS = {"separator": 20, "electrode": 40, "negative": 40, "positive": 40}
RADIAL = 40


class ParticleSize(Table):
    """Spheres of one radius (m), and their share of the active material's volume."""

    radius: Annotated[Length, Field(le=LARGEST_RADIUS)] = Field(examples=['"4 um"'])
    share: PositiveShare = Field(examples=["0.4"])


def _sizes(value: Any) -> Any:
    """Sizes and shares; a single radius is checked before it becomes a list, so that it is refused by its own key."""
    if isinstance(value, list | tuple):
        return value
    radius = to_si(value, "m")
    if not 0.0 < radius <= LARGEST_RADIUS:
        raise ValueError(f'must be greater than 0 and at most {LARGEST_RADIUS:g} m; write it as "5.22 um"')
    return [{"radius": radius, "share": 1.0}]


def _whole(sizes: tuple[ParticleSize, ...]) -> tuple[ParticleSize, ...]:
    total = sum(size.share for size in sizes)
    if abs(total - 1.0) > ROUND_OFF:
        raise ValueError(f"has shares that sum to {total:.7g}; they are of the active material's volume and sum to 1")
    return sizes


class P2DElectrode(PorousLayer):
    """`[electrode]`, `[negative]` or `[positive]`: a porous electrode of spheres."""

    material: ActiveChoice = Field(examples=['"nmc811-chen2020"'])
    thickness: Annotated[Length, Field(le=THICKEST)] = Field(examples=['"75.6 um"'])
    porosity: PositiveShare = Field(examples=["0.335"])
    active_volume_fraction: PositiveShare = Field(examples=["0.665"])
    particle_radius: Annotated[tuple[ParticleSize, ...], NonEmpty, AfterValidator(_whole), BeforeValidator(_sizes)] = (
        Field(examples=['"5.22 um"'])
    )
    area_per_volume: AreaPerVolume | None = None
    conductivity: Conductivity | None = None
    bulk_conductivity: Conductivity | None = None
    solid_bruggeman: Annotated[float, si(""), Field(ge=0)] | None = None

    @property
    def effective_conductivity(self) -> float:
        """Electronic, of the electrode, S/m: as given, or bulk_conductivity active_volume_fraction^solid_bruggeman."""
        if self.conductivity is not None:
            return self.conductivity
        assert self.bulk_conductivity is not None
        assert self.solid_bruggeman is not None
        return float(self.bulk_conductivity * self.active_volume_fraction**self.solid_bruggeman)

    @model_validator(mode="after")
    def _fractions_of_one_volume(self) -> P2DElectrode:
        total = self.porosity + self.active_volume_fraction
        if total > 1.0 + VOLUME_TOLERANCE:
            raise ValueError(
                f"has porosity = {self.porosity:g} and active_volume_fraction = {self.active_volume_fraction:g}, "
                f"together {total:.7g} of the volume; choose fractions whose sum is at most 1"
            )
        return self

    @model_validator(mode="after")
    def _one_conductivity(self) -> P2DElectrode:
        bulk = [key for key in ("bulk_conductivity", "solid_bruggeman") if getattr(self, key) is not None]
        if len(bulk) != (2 if self.conductivity is None else 0):
            given = [*(["conductivity"] if self.conductivity is not None else []), *bulk]
            raise ValueError(
                f"has {' and '.join(given) or 'no conductivity'}; give either conductivity (effective, such as "
                '"0.18 S/m"), or bulk_conductivity and solid_bruggeman (the exponent, such as 1.5) together'
            )
        return self


class Stoichiometries(Table):
    """x of both electrodes of a full cell."""

    negative: OpenShare = Field(examples=["0.9"])
    positive: OpenShare = Field(examples=["0.27"])


class P2DStart(Start):
    """`[initial]`: as of a half cell; the stoichiometry of a full cell is that of both electrodes."""

    stoichiometry: Annotated[Annotated[OpenShare, Value] | Annotated[Stoichiometries, SubTable], ByForm] | None = None


class P2DMaterials(Table):
    """`[materials]` beside the electrodes; a full cell has no counter electrode."""

    electrolyte: Name = Field(examples=['"lipf6-nyman2008"'])
    counter: Name | None = None
    separator: Separator = Field(examples=['{ thickness = "12 um", porosity = 0.47, bruggeman = 1.5 }'])


class P2DModel(Table):
    """`[model]` of a homogenised cell."""

    kind: Literal["p2d"]
    cell: Literal["half", "full"] = "half"


Points = Annotated[StrictInt, Field(ge=2, le=10_000)]


class Grid(Table):
    """`[solver.p2d]`: cells across each layer and shells of each particle, or the error of the voltage allowed, V."""

    points: tuple[Points, ...] | None = None
    radial: Points | None = None
    accuracy: Annotated[float, si("V"), Field(ge=1e-6, le=0.1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Grid:
        given = [key for key in ("points", "radial") if getattr(self, key) is not None]
        if self.accuracy is not None and given:
            raise ValueError(
                f"has accuracy beside {' and '.join(given)}; an accuracy chooses the grid itself: keep one of both"
            )
        return self


class P2DSolver(TimeSolver):
    """`[solver]` of a homogenised cell, which is cheap enough for a tighter tolerance than a resolved one."""

    time_rtol: Annotated[Number, Field(gt=0, le=0.1)] = 1e-4
    p2d: Grid = Grid()


class P2DCase(Case):
    """A homogenised cell (Doyle, Fuller and Newman), half or full, without an image.

    A half cell has `electrode`, a full cell `negative` and `positive`; the others are None.
    """

    electrode: P2DElectrode | None = None
    negative: P2DElectrode | None = None
    positive: P2DElectrode | None = None
    materials: P2DMaterials
    conditions: Conditions = Conditions()
    initial: P2DStart = P2DStart(soc=1.0)
    cell: Cell = Cell()
    model: P2DModel
    protocol: Annotated[tuple[Step, ...], NonEmpty] = Field(
        examples=['[{ step = "discharge", rate = "1 C", until = { voltage = "2.5 V" } }]']
    )
    solver: P2DSolver = P2DSolver()
    output: Output = Output()

    @property
    def electrodes(self) -> dict[str, P2DElectrode]:
        """The porous electrodes by the names of their tables, from the negative end on."""
        tables = {"electrode": self.electrode, "negative": self.negative, "positive": self.positive}
        return {name: table for name, table in tables.items() if table is not None}

    @property
    def working(self) -> P2DElectrode:
        """The electrode at the positive terminal: that of a half cell, or the positive one."""
        found = self.electrode if self.model.cell == "half" else self.positive
        assert found is not None
        return found

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        """Defaults that depend on the cell: the counter electrode and the grid."""
        if not isinstance(data, Mapping):
            return data
        model = data.get("model")
        cell = model.get("cell", "half") if isinstance(model, Mapping) else "half"
        if not isinstance(cell, str) or cell not in LAYERS:
            return data
        return {**data, **_with_counter(data, cell), **_with_grid(data, cell)}


def _with_counter(data: Mapping[str, Any], cell: str) -> dict[str, Any]:
    """`[materials]` with the counter electrode of a half cell."""
    materials = data.get("materials")
    if cell == "full" or not isinstance(materials, Mapping) or materials.get("counter") is not None:
        return {}
    return {"materials": {**materials, "counter": "lithium-xu2019"}}


def _with_grid(data: Mapping[str, Any], cell: str) -> dict[str, Any]:
    """`[solver]` with the grid of the cell, where no accuracy chooses it."""
    solver = data.get("solver", {})
    grid = solver.get("p2d", {}) if isinstance(solver, Mapping) else None
    if not isinstance(grid, Mapping) or grid.get("accuracy") is not None:
        return {}
    defaults = {"points": [POINTS[layer] for layer in LAYERS[cell]], "radial": RADIAL}
    filled = {key: value for key, value in defaults.items() if grid.get(key) is None}
    return {"solver": {**solver, "p2d": {**grid, **filled}}}
