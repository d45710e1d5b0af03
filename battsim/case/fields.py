"""What tables and keys of the case file are made of: strict types, quantities that become SI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictInt,
    StrictStr,
    Tag,
)

from battsim.quantity import parse_rate, to_si

T = TypeVar("T")


class Table(BaseModel):
    """A table of the case file: immutable, and no key but those that it names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def si(unit: str) -> BeforeValidator:
    """Validator that reads a number or a string `"number unit"` into `unit`, which is SI."""

    def read(value: object) -> float:
        return to_si(value, unit)

    return BeforeValidator(read)


def _rate(value: object) -> float:
    return parse_rate(value, "")


def form_of(value: object) -> str:
    """Tag that tells a value from a table, where a key takes either; bracketed, so that error paths leave it out."""
    return "<table>" if isinstance(value, Mapping | BaseModel) else "<value>"


ByForm = Discriminator(form_of)
"""Chooses between `Annotated[..., Value]` and `Annotated[..., SubTable]` by what was written."""
Value = Tag("<value>")
SubTable = Tag("<table>")

Number = Annotated[float, si("")]
"""Plain number, or `"50 %"`."""
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
PositiveShare = Annotated[Number, Field(gt=0, le=1)]
Length = Annotated[float, si("m"), Field(gt=0)]
Duration = Annotated[float, si("s"), Field(gt=0)]
Voltage = Annotated[float, si("V"), Field(ge=0, le=6)]
"""Against lithium; 6 V is beyond every electrolyte."""
Concentration = Annotated[float, si("mol/m^3"), Field(gt=0)]
Capacity = Annotated[float, si("C/m^2"), Field(ge=360)]
"""C/m2, at least 0.1 Ah/m2: a plain 48.7 that was meant in Ah/m2 is refused."""
Conductivity = Annotated[float, si("S/m"), Field(gt=0)]
Diffusivity = Annotated[float, si("m^2/s"), Field(gt=0)]
Density = Annotated[float, si("kg/m^3"), Field(gt=0)]
AreaResistance = Annotated[float, si("ohm m^2"), Field(ge=0)]
CurrentDensity = Annotated[float, si("A/m^2"), Field(gt=0)]
PowerDensity = Annotated[float, si("W/m^2"), Field(gt=0)]
AreaPerVolume = Annotated[float, si("1/m"), Field(gt=0)]
Rate = Annotated[float, BeforeValidator(_rate)]
Temperature = Annotated[float, si("K"), Field(ge=200, le=400)]
"""K; a plain 25 that was meant in degrees Celsius is refused."""
Count = Annotated[StrictInt, Field(ge=1)]


def _merge(value: object) -> object:
    """Refuses all but the whole numbers 0 and 1, which a literal alone would take for true and 1.0 too."""
    if type(value) is not int or value not in (0, 1):
        raise ValueError(
            "is not allowed; write 0 (off), or 1, which makes one cell of 2 x 2 x 2 voxels wherever they and those "
            "around them are of one phase"
        )
    return value


Merge = Annotated[Literal[0, 1], BeforeValidator(_merge)]
"""How often cells merge: a second time would save hardly any unknowns."""
Shape = tuple[Count, Count, Count]


def _per_axis(value: Any) -> Any:
    """Three edges; a single one is checked before it is repeated, so that it is refused once."""
    if isinstance(value, list | tuple):
        return value
    edge = to_si(value, "m")
    if edge <= 0:
        raise ValueError("must be greater than 0")
    return [edge] * 3


def _filled(value: T) -> T:
    if not value:
        raise ValueError("is empty; it needs at least one entry")
    return value


NonEmpty = AfterValidator(_filled)
"""Instead of a minimal length, which would also complain where an entry was refused already."""


def _file_name(name: str) -> str:
    if "\0" in name or not name:
        raise ValueError("is not the name of a file")
    return name


FileName = Annotated[StrictStr, Field(max_length=1000), AfterValidator(_file_name)]
"""Relative to the case directory."""


VoxelSize = Annotated[tuple[Length, Length, Length], BeforeValidator(_per_axis)]
"""One length for cubes, or three in array order, m."""
