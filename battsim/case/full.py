"""The tables of a full cell on two images: one electrode from each, and the separator between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StrictBool, model_validator

from battsim.case.fields import NonEmpty, Table
from battsim.case.image import Image
from battsim.case.materials import ActiveChoice, Binder, Name, Separator
from battsim.case.p2d import P2DCase, Stoichiometries
from battsim.case.protocol import Step
from battsim.case.schema import Case, Cell, Conditions, ImageCase, Output, ResolvedCase, ResolvedSolver, Start

PER_ELECTRODE = ("active", "binder")
"""Keys of a half cell's `[materials]` that a full cell has once per electrode."""


class ElectrodeMaterials(Table):
    """`[negative.materials]` or `[positive.materials]`: what the solids of an electrode's image are."""

    active: ActiveChoice = Field(examples=['"graphite-chen2020"'])
    binder: Binder = Binder()


class ImageElectrode(Table):
    """`[negative]` or `[positive]`: an electrode on an image whose low end is at the separator."""

    image: Image = Field(examples=['{ file = "image/anode.tif", ... }'])
    materials: ElectrodeMaterials = Field(examples=['{ active = "graphite-chen2020" }'])


class FullCellMaterials(Table):
    """`[materials]` beside the electrodes."""

    electrolyte: Name = Field(examples=['"lipf6-nyman2008"'])
    separator: Separator = Field(examples=['{ thickness = "12 um", porosity = 0.47, bruggeman = 1.5 }'])

    @model_validator(mode="before")
    @classmethod
    def _only_what_both_share(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        moved = [key for key in PER_ELECTRODE if key in data]
        if moved:
            raise ValueError(
                f"has {' and '.join(moved)}, which each electrode of a full cell has for itself; move it to "
                "[negative.materials] and [positive.materials]"
            )
        if "counter" in data:
            raise ValueError("has counter, but a full cell has no counter electrode; delete it, [negative] is there")
        return data


class FullStart(Start):
    """`[initial]` of a full cell; `soc` fixes both stoichiometries by the limits of their materials."""

    stoichiometry: Stoichiometries | None = None


class FullCellModel(Table):
    """`[model]` of a full cell on images."""

    kind: Literal["resolved"]
    cell: Literal["full"]
    baseline: StrictBool = False
    engine: Literal["newton"] = "newton"


class FullCellCase(Case):
    """A full cell on the voxels of two images."""

    negative: ImageElectrode
    positive: ImageElectrode
    materials: FullCellMaterials
    conditions: Conditions = Conditions()
    initial: FullStart = FullStart(soc=1.0)
    cell: Cell = Cell()
    model: FullCellModel
    protocol: Annotated[tuple[Step, ...], NonEmpty] = Field(
        examples=['[{ step = "discharge", rate = "1 C", until = { voltage = "2.8 V" } }]']
    )
    solver: ResolvedSolver = ResolvedSolver()
    output: Output = Output()

    @property
    def electrodes(self) -> dict[str, ImageElectrode]:
        """Both electrodes by the names of their tables, from the negative end on."""
        return {"negative": self.negative, "positive": self.positive}


CellCase: TypeAlias = ResolvedCase | FullCellCase | P2DCase
"""Every case that runs in time."""


def images_of(case: Case) -> dict[str, Image]:
    """The images of a case by the dotted paths of their tables; none without an image."""
    if isinstance(case, ImageCase):
        return {"image": case.image}
    if isinstance(case, FullCellCase):
        return {f"{name}.image": electrode.image for name, electrode in case.electrodes.items()}
    return {}


def misplaced(table: str, model: type[Case]) -> str | None:
    """What to say of a table of a full cell in a half cell on an image, or the other way round; None of any other."""
    if model is FullCellCase and table == "image":
        return (
            "image: a full cell has one in each electrode; move it to [negative.image] or [positive.image], or set "
            'cell = "half"'
        )
    if model is ResolvedCase and table in ("negative", "positive"):
        return (
            f"{table}: is no part of a half cell, which has [image] and [materials]; delete the table, or set "
            'cell = "full"'
        )
    return None
