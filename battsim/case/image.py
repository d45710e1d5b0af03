"""The image tables of the case file: a file, or a recipe."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr, model_validator

from battsim.case.fields import Count, FileName, Length, NonEmpty, Number, Shape, Share, Table, VoxelSize
from meshing.read import RAW_SUFFIXES

RECIPE_PHASES = ("pore", "active", "binder")
"""What a recipe's phases are called."""


def _values_of_phase(labels: Any) -> Any:
    """Each label as a list, as the user may write a single value."""
    if not isinstance(labels, dict):
        return labels
    return {name: values if isinstance(values, list | tuple) else [values] for name, values in labels.items()}


def _nonempty_range(limits: tuple[int, int]) -> tuple[int, int]:
    if limits[0] >= limits[1]:
        raise ValueError("is empty: a range is half-open, [start, stop) with start < stop")
    return limits


def _permutation(axes: str) -> str:
    if sorted(axes) != ["x", "y", "z"]:
        raise ValueError("must name each of x, y, z once, in the order of the array's axes")
    return axes


Range = Annotated[
    tuple[Annotated[StrictInt, Field(ge=0)], Annotated[StrictInt, Field(ge=0)]], AfterValidator(_nonempty_range)
]
Labels = Annotated[dict[StrictStr, Annotated[tuple[StrictInt, ...], NonEmpty]], BeforeValidator(_values_of_phase)]


class Diameter(Table):
    """Lognormal distribution of the particle diameter, by volume."""

    median: Length = Field(examples=['"8 um"'])
    sigma: Annotated[Number, Field(ge=0, le=2)] = 0.0


class Generate(Table):
    """Recipe of a synthetic image: packed spheres with binder at their necks."""

    kind: Literal["spheres"] = Field(examples=['"spheres"'])
    shape: Shape = Field(examples=["[60, 60, 60]"])
    voxel_size: VoxelSize = Field(examples=['"1 um"'])
    active_volume_fraction: Annotated[Number, Field(gt=0, lt=1)] = Field(examples=["0.50"])
    binder_volume_fraction: Share = 0.0
    diameter: Diameter = Field(examples=['{ median = "8 um", sigma = 0.3 }'])
    seed: Annotated[StrictInt, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _leave_room_for_pores(self) -> Generate:
        solid = self.active_volume_fraction + self.binder_volume_fraction
        if solid >= 1:
            raise ValueError(
                f"active_volume_fraction + binder_volume_fraction = {solid:g} leaves no pore; "
                "choose fractions whose sum is below 1"
            )
        return self


class Image(Table):
    """`[image]`: which voxels there are, what their values mean, and how they lie in the cell."""

    file: FileName | None = None
    generate: Generate | None = None
    voxel_size: VoxelSize | None = None
    through_plane: Literal["x", "y", "z"] = Field("x", examples=['"x"'])
    separator_side: Literal["low", "high"] = "low"
    labels: Labels | None = None
    ignore: tuple[StrictInt, ...] = ()
    axes: Annotated[StrictStr, AfterValidator(_permutation)] = "xyz"
    crop: tuple[Range, Range, Range] | None = None
    coarsen: Count = 1
    shape: Shape | None = None
    dtype: StrictStr | None = None
    byte_order: Literal["little", "big"] = "little"
    order: Literal["C", "F"] = "C"
    offset: Annotated[StrictInt, Field(ge=0)] = 0

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, in the order of the file or of the recipe."""
        return RECIPE_PHASES if self.labels is None else tuple(self.labels)

    @property
    def is_raw(self) -> bool:
        """True for a file without a header."""
        return self.file is not None and PurePosixPath(self.file).suffix.lower() in RAW_SUFFIXES

    @model_validator(mode="after")
    def _file_or_recipe(self) -> Image:
        if (self.file is None) == (self.generate is None):
            raise ValueError(
                'needs exactly one of file (such as file = "image/cathode.tif") and a recipe in [image.generate]'
            )
        check = self._check_recipe if self.file is None else self._check_file
        check()
        return self

    def _check_recipe(self) -> None:
        """Refuse the keys that describe a file: the recipe says all of it."""
        described = ("voxel_size", "labels", "shape", "dtype")
        given = [key for key in described if getattr(self, key) is not None]
        given += [
            key for key in ("ignore", "axes", "byte_order", "order", "offset") if getattr(self, key) != _DEFAULTS[key]
        ]
        if given:
            raise ValueError(
                f"has {', '.join(given)}, which describe a file, beside [image.generate]; delete them: "
                "the recipe has its own shape and voxel_size, and its phases are pore, active and binder"
            )

    def _check_file(self) -> None:
        """The keys that a file cannot do without, and values that mean two things."""
        if self.voxel_size is None:
            raise ValueError(
                'needs voxel_size, the edge of a voxel (or three, in array order), such as voxel_size = "0.4 um"; '
                "it is never guessed from the file"
            )
        if not self.labels:
            raise ValueError(
                "needs labels, what each value means, such as labels = { pore = 0, active = 1, binder = 2 }"
            )
        if "ignored" in self.labels:
            raise ValueError("has a phase named 'ignored' in labels; list its values in ignore = [...] instead")
        values = [value for group in self.labels.values() for value in group] + list(self.ignore)
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise ValueError(
                f"names the value {', '.join(map(str, repeated))} more than once in labels and ignore; "
                "each value has one meaning"
            )
        self._check_raw()

    def _check_raw(self) -> None:
        """`dtype` and `shape` are the only header that a raw file has, and other files have their own."""
        if self.is_raw and (self.dtype is None or self.shape is None):
            raise ValueError(
                f"reads the raw file {self.file!r}, which has no header: add dtype and shape, "
                'such as dtype = "uint8" and shape = [251, 301, 301]'
            )
        raw_only = [key for key in ("byte_order", "order", "offset") if getattr(self, key) != _DEFAULTS[key]]
        if raw_only and not self.is_raw:
            raise ValueError(
                f"has {', '.join(raw_only)}, which only a raw file needs ({', '.join(RAW_SUFFIXES)}), "
                f"but {self.file!r} has a header of its own; delete them"
            )


_DEFAULTS = {key: field.get_default() for key, field in Image.model_fields.items()}
