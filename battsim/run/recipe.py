"""From the tables of a case to generated and changed images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import psutil

from battsim.case.image import Image
from battsim.case.recipe import (
    AddBinder,
    BinderForm,
    Calender,
    Channels,
    Modify,
    ParticlesRecipe,
    RandomFieldRecipe,
    Resize,
    SpheresRecipe,
)
from battsim.errors import ResourceError
from meshing.errors import MeshError, PackingError
from meshing.generate import (
    BinderShape,
    ChannelShape,
    Made,
    ParticleForm,
    add_binder,
    calender,
    cut_channels,
    cut_field,
    dilate,
    ellipsoids,
    erode,
    exponential,
    gaussian,
    peaked,
    spheres,
)
from meshing.image import Orientation, VoxelImage

T = TypeVar("T")
BYTES_PER_VOXEL = 40
"""Of the largest arrays that a generator holds at a time: distances, ranks, a field and its waves; measured."""
DEFAULT_THICKNESS = 2.0
"""Of generated binder, in voxels, where the case says none."""
DEFAULT_LENGTH = 4.0
"""Of its fingers, in thicknesses, where the case says none."""


def generated(described: Image) -> VoxelImage:
    """The image of a recipe, in array axes.

    Raises
    ------
    MeshError
        Where a size is impossible on these voxels, or (PackingError) a target too dense.
    ResourceError
        Where the image does not fit into memory.
    """
    recipe = described.generate
    assert recipe is not None
    _refuse_too_large(recipe.shape)
    rng = np.random.default_rng(recipe.seed)
    if isinstance(recipe, SpheresRecipe):
        return spheres(
            recipe.shape,
            recipe.voxel_size,
            recipe.active_volume_fraction,
            recipe.binder_volume_fraction,
            recipe.diameter.median,
            recipe.diameter.sigma,
            rng,
        )
    assert isinstance(recipe, ParticlesRecipe | RandomFieldRecipe)
    turn = _orientation(described)
    made = _particles(recipe, turn, rng) if isinstance(recipe, ParticlesRecipe) else _field(recipe, turn, rng)
    image = made.image
    if max(recipe.binder_profile.values) > 0.0:
        image = add_binder(image, recipe.binder_profile, _binder_shape(recipe.binder, image.voxel_size), rng).image
    return replace(image, labels=np.ascontiguousarray(turn.restore(image.labels)), voxel_size=recipe.voxel_size)


def modified(image: VoxelImage, described: Image) -> VoxelImage:
    """The image, in array axes, after the steps that the case wants. Raises MeshError naming the step."""
    if not described.modify:
        return image
    turn = _orientation(described)
    turned = turn.apply(image)
    for number, step in enumerate(described.modify):
        try:
            turned = _step(step)(turned).image
        except MeshError as error:
            place = f'modify.{number} (kind = "{step.kind}"): '
            reached = {"reached": error.reached} if isinstance(error, PackingError) else {}
            raise type(error)(place + str(error), **reached) from error
    return replace(turned, labels=np.ascontiguousarray(turn.restore(turned.labels)), voxel_size=image.voxel_size)


def _particles(recipe: ParticlesRecipe, turn: Orientation, rng: np.random.Generator) -> Made:
    form = ParticleForm(recipe.median_profile, recipe.diameter.sigma, recipe.aspect, recipe.order, recipe.overlap)
    shape, voxel_size = _turned(recipe.shape, turn), _turned(recipe.voxel_size, turn)
    return ellipsoids(shape, voxel_size, recipe.active_profile, form, rng)


def _field(recipe: RandomFieldRecipe, turn: Orientation, rng: np.random.Generator) -> Made:
    density = {"gaussian": gaussian, "exponential": exponential}.get(recipe.spectrum) or peaked(recipe.width or 0.0)
    shape, voxel_size = _turned(recipe.shape, turn), _turned(recipe.voxel_size, turn)
    return cut_field(shape, voxel_size, recipe.active_profile, _turned(recipe.length, turn), rng, density=density)


def _step(step: Modify) -> Callable[[VoxelImage], Made]:
    """What a step does to an image whose axis 0 runs from separator to collector."""
    if isinstance(step, Channels):
        shape = ChannelShape(step.pattern, step.width, step.pitch, step.depth, step.bottom)
        return lambda image: cut_channels(image, shape)
    rng = np.random.default_rng(step.seed)
    if isinstance(step, Calender):
        return lambda image: calender(image, step.porosity, rng)
    if isinstance(step, Resize):
        change = erode if step.kind == "erode" else dilate
        return lambda image: change(image, step.phase, step.volume_fraction, rng, other=step.other)
    assert isinstance(step, AddBinder)
    return lambda image: add_binder(image, step.binder_profile, _binder_shape(step, image.voxel_size), rng)


def _binder_shape(form: BinderForm, voxel_size: tuple[float, float, float]) -> BinderShape:
    thickness = form.thickness if form.thickness is not None else DEFAULT_THICKNESS * max(voxel_size)
    length = form.length if form.length is not None else DEFAULT_LENGTH * thickness
    return BinderShape(thickness, form.morphology or 0.0, form.form, length)


def _orientation(described: Image) -> Orientation:
    """How the axes of the array, before they are renamed, lie in the electrode."""
    return Orientation(described.through_axis, described.separator_side == "high")


def _turned(values: tuple[T, T, T], turn: Orientation) -> tuple[T, T, T]:
    """Three values in array order, with that of the through-plane axis first."""
    a, b, c = (values[k] for k in (turn.axis, *(k for k in range(3) if k != turn.axis)))
    return a, b, c


def _refuse_too_large(shape: tuple[int, int, int]) -> None:
    """ResourceError before anything is allocated."""
    needed = BYTES_PER_VOXEL * shape[0] * shape[1] * shape[2]
    available = psutil.virtual_memory().available
    if needed > available:
        raise ResourceError(
            f"generating {' x '.join(map(str, shape))} voxels needs about {needed / 2**30:.1f} GiB, and "
            f"{available / 2**30:.1f} GiB are free; choose a smaller shape, or free memory"
        )
