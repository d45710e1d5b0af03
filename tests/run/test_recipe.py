"""Recipes and changes of a case: from its tables to an image."""

from typing import Any

import numpy as np
import pytest

from battsim.case import load_case, read_case
from battsim.errors import CaseError
from battsim.run import build_image
from meshing.errors import PackingError
from meshing.generate import (
    BinderShape,
    ParticleForm,
    add_binder,
    constant,
    coverage,
    cut_field,
    ellipsoids,
    gaussian,
    spheres,
)
from meshing.profile import Profile

UM = 1e-6
BASE = {
    "schema": 1,
    "name": "recipe",
    "model": {"kind": "tortuosity"},
    "transport": {"conductivity": {"pore": 1.0}},
}
COMMON = {"shape": [24, 28, 32], "voxel_size": "1 um", "active_volume_fraction": 0.5, "seed": 3}
SPHERES = COMMON | {"kind": "spheres", "diameter": {"median": "8 um"}}
PARTICLES = COMMON | {"kind": "particles", "diameter": {"median": "8 um", "sigma": 0.2}}
FIELD = COMMON | {"kind": "random-field", "length": "4 um"}


def case(tmp_path, generate: dict[str, Any], **image: Any):
    return read_case(BASE | {"image": {"generate": generate} | image}, tmp_path)


def built(tmp_path, generate: dict[str, Any], **image: Any):
    return build_image(case(tmp_path, generate, **image))


def refused(tmp_path, generate: dict[str, Any], *words: str, **image: Any) -> None:
    with pytest.raises(CaseError) as caught:
        case(tmp_path, generate, **image)
    for word in words:
        assert word in str(caught.value)


def test_spheres_are_what_they_were(tmp_path):
    made = built(tmp_path, SPHERES | {"binder_volume_fraction": 0.1})
    expected = spheres((24, 28, 32), (UM,) * 3, 0.5, 0.1, 8 * UM, 0.0, np.random.default_rng(3))
    assert np.array_equal(made.labels, expected.labels)


def test_particles_with_every_key(tmp_path):
    recipe = PARTICLES | {
        "aspect": [0.5, 1, 1],
        "order": 0.5,
        "overlap": "8 %",
        "active_volume_fraction": [0.4, 0.5],
        "binder_volume_fraction": [0.1, 0.05],
        "grading": "steps",
        "binder": {"form": "fibre", "morphology": 0.6, "thickness": "2 um", "length": "9 um"},
    }
    made = built(tmp_path, recipe)
    rng = np.random.default_rng(3)
    form = ParticleForm(constant(8 * UM), 0.2, (0.5, 1.0, 1.0), 0.5, 0.08)
    packed = ellipsoids((24, 28, 32), (UM,) * 3, Profile((0.4, 0.5), True), form, rng).image
    expected = add_binder(packed, Profile((0.1, 0.05), True), BinderShape(2 * UM, 0.6, "fibre", 9 * UM), rng)
    assert np.array_equal(made.labels, expected.image.labels)
    assert made.phases == ("pore", "active", "binder")


def test_random_field_with_every_key(tmp_path):
    recipe = FIELD | {"length": ["3 um", "4 um", "5 um"], "spectrum": "gaussian"}
    expected = cut_field(
        (24, 28, 32), (UM,) * 3, constant(0.5), (3 * UM, 4 * UM, 5 * UM), np.random.default_rng(3), density=gaussian
    )
    assert np.array_equal(built(tmp_path, recipe).labels, expected.image.labels)
    fractions = {
        spectrum: built(tmp_path, FIELD | {"spectrum": spectrum} | extra).volume_fraction("active")
        for spectrum, extra in (("exponential", {}), ("peaked", {"width": 0.3}))
    }
    assert fractions == {"exponential": 0.5, "peaked": 0.5}


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_gradients_run_from_separator_to_collector_along_the_axis_of_the_case(tmp_path, axis):
    recipe = FIELD | {"active_volume_fraction": [0.2, 0.7], "length": "2 um"}
    across = tuple(a for a in range(3) if a != "xyz".index(axis))
    low, high = (built(tmp_path, recipe, through_plane=axis, separator_side=side) for side in ("low", "high"))
    assert low.shape == high.shape == (24, 28, 32)
    profile = np.mean(low.labels == 1, axis=across)
    assert profile[:5].mean() < 0.35 < 0.55 < profile[-5:].mean()
    assert np.array_equal(np.flip(low.labels, "xyz".index(axis)), high.labels)


def test_lengths_and_voxels_belong_to_the_axes_of_the_array(tmp_path):
    recipe = COMMON | {"kind": "random-field", "voxel_size": ["1 um", "2 um", "1 um"], "shape": [60, 30, 60]}
    recipe |= {"length": ["2 um", "2 um", "6 um"]}
    for axis in ("x", "z"):
        image = built(tmp_path, recipe, through_plane=axis)
        assert image.voxel_size == pytest.approx((UM, 2 * UM, UM))
        faces = [np.count_nonzero(np.diff(image.labels.astype(int), axis=a)) for a in range(3)]
        # per length: 1/2 um along x, and along z a third of that
        assert faces[0] / faces[2] == pytest.approx(3, rel=0.2)


def test_binder_stands_in_bridges_unless_the_recipe_says_otherwise(tmp_path):
    recipe = PARTICLES | {"binder_volume_fraction": 0.1}
    bridges = built(tmp_path, recipe)
    film = built(tmp_path, recipe | {"binder": {"form": "cluster", "morphology": 0}})
    finger = built(tmp_path, recipe | {"binder": {"form": "cluster", "morphology": 1}})
    assert bridges.volume_fraction("binder") == pytest.approx(0.1, abs=1e-4)
    assert coverage(film) > coverage(finger) + 0.1
    assert not np.array_equal(bridges.labels, film.labels)


def test_steps_change_what_was_generated_in_their_order(tmp_path):
    steps = [
        {"kind": "binder", "volume_fraction": 0.1, "form": "fibre", "morphology": 0.5},
        {"kind": "dilate", "volume_fraction": 0.52},
        {"kind": "calender", "porosity": 0.3},
        {"kind": "channels", "width": "4 um", "pitch": "14 um", "depth": "10 um"},
    ]
    shapes, fractions = [], []
    for n in range(5):
        image = built(tmp_path, PARTICLES, modify=steps[:n], through_plane="y")
        shapes.append(image.shape)
        fractions.append([image.volume_fraction(name) for name in ("pore", "active", "binder")])
    assert shapes[:3] == [(24, 28, 32)] * 3
    assert shapes[3] == shapes[4] == (24, 25, 32)
    np.testing.assert_allclose(fractions[0], [0.5, 0.5, 0.0], atol=1e-4)
    np.testing.assert_allclose(fractions[1], [0.4, 0.5, 0.1], atol=1e-4)
    np.testing.assert_allclose(fractions[2], [0.38, 0.52, 0.1], atol=1e-4)
    assert fractions[3][0] == pytest.approx(0.3, abs=0.03)
    last = built(tmp_path, PARTICLES, modify=steps, through_plane="y")
    # grooves from the separator's face, along the first axis in the plane
    assert not last.labels[:, 0, 5:9].any()
    assert last.labels[:, 12:, 5:9].mean() > 0.3


def test_steps_change_the_image_of_a_file(tmp_path):
    labels = built(tmp_path, PARTICLES).labels
    np.save(tmp_path / "image.npy", np.where(labels == 1, 200, 100).astype(np.uint8))
    described = {
        "file": "image.npy",
        "voxel_size": "1 um",
        "labels": {"pore": 100, "active": 200},
        "axes": "zyx",
        "through_plane": "z",
        "modify": [
            {"kind": "erode", "volume_fraction": 0.45},
            {"kind": "binder", "volume_fraction": 0.05},
            {"kind": "channels", "width": "4 um", "pitch": "14 um", "depth": "10 um"},
        ],
    }
    (tmp_path / "case.toml").touch()
    image = build_image(read_case(BASE | {"image": described}, tmp_path))
    assert image.phases == ("pore", "active", "binder")
    assert image.shape == (32, 28, 24)
    # the channels begin at the low end of z, the array's first axis
    assert image.volume_fraction("active") < 0.45
    assert not image.labels[5:9, :, :10].any()
    assert image.labels[5:9, :, 10:].mean() > 0.3


def test_a_crop_comes_first_and_coarsening_last(tmp_path):
    image = built(
        tmp_path,
        PARTICLES,
        crop=[[0, 20], [0, 20], [0, 20]],
        modify=[{"kind": "dilate", "volume_fraction": 0.6}],
        coarsen=2,
    )
    assert image.shape == (10, 10, 10)
    assert image.volume_fraction("active") == pytest.approx(0.6, abs=0.06)


def test_a_resolved_case_of_every_default_builds_the_same_image(tmp_path):
    recipe = PARTICLES | {"binder_volume_fraction": 0.05, "active_volume_fraction": [0.4, 0.5]}
    original = case(tmp_path, recipe, modify=[{"kind": "calender", "porosity": 0.4}])
    again = read_case(original.resolved(), tmp_path)
    assert np.array_equal(build_image(original).labels, build_image(again).labels)


def test_what_cannot_be_packed_names_the_key_and_what_was_reached(tmp_path):
    with pytest.raises(PackingError, match=r"\[image.generate\]: particles filling 0.85 .* 0\.[67]\d was reached"):
        built(tmp_path, PARTICLES | {"active_volume_fraction": 0.85})
    step = {"kind": "calender", "porosity": 0.01}
    with pytest.raises(PackingError, match=r'modify.1 \(kind = "calender"\): calendering to .* was reached'):
        built(tmp_path, PARTICLES, modify=[{"kind": "erode", "volume_fraction": 0.49}, step])


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"kind": "particels"}, ["image.generate.kind", "did you mean 'particles'?", "spheres, particles, random-f"]),
        (
            SPHERES | {"aspect": [1, 1, 1]},
            ["image.generate.aspect: unknown key", "active_volume_fraction, binder_volume_fraction"],
        ),
        (PARTICLES | {"diametr": 1}, ["image.generate.diametr: unknown key; did you mean 'diameter'?"]),
        (PARTICLES | {"active_volume_fraction": []}, ["image.generate.active_volume_fraction = [] is empty"]),
        (PARTICLES | {"active_volume_fraction": [0.5, 1.2]}, ["active_volume_fraction.1 = 1.2: must be less than 1"]),
        (
            PARTICLES | {"active_volume_fraction": [0.5, 0.7], "binder_volume_fraction": [0.1, 0.4]},
            ["= 1.1 leaves no pore"],
        ),
        (PARTICLES | {"order": 2}, ["image.generate.order = 2: must be at most 1"]),
        (PARTICLES | {"overlap": 0.6}, ["image.generate.overlap = 0.6: must be less than 0.5"]),
        (PARTICLES | {"grading": "step"}, ["image.generate.grading", "did you mean 'steps'?"]),
        (PARTICLES | {"binder": {"form": "fiber"}}, ["image.generate.binder.form", "did you mean 'fibre'?"]),
        (PARTICLES | {"binder": {"form": "fibre"}}, ["image.generate.binder has form", "needs morphology"]),
        (PARTICLES | {"binder": {"morphology": 0.5}}, ["image.generate.binder has morphology", "bridges do not know"]),
        (PARTICLES | {"length": 1e-6}, ["image.generate.length: unknown key"]),
        (FIELD | {"length": "0 um"}, ["image.generate.length", "greater than 0"]),
        (FIELD | {"spectrum": "gauss"}, ["image.generate.spectrum", "did you mean 'gaussian'?"]),
        (FIELD | {"width": 0.3}, ["image.generate needs width for spectrum", 'has spectrum = "gaussian" and a width']),
        (FIELD | {"spectrum": "peaked"}, ["no width"]),
        ({k: v for k, v in FIELD.items() if k != "length"}, ["image.generate.length: is required", "4 um"]),
    ],
)
def test_wrong_recipes_are_refused_by_key(tmp_path, recipe, words):
    refused(tmp_path, recipe, *words)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"kind": "calendr"}, ["image.modify.0.kind", "did you mean 'calender'?", "erode, dilate, channels, binder"]),
        ({}, ["image.modify.0.kind: is required"]),
        ({"kind": "calender"}, ["image.modify.0.porosity: is required", "0.30"]),
        ({"kind": "calender", "porosty": 0.3}, ["image.modify.0.porosty: unknown key; did you mean 'porosity'?"]),
        ({"kind": "erode", "phase": "activ", "volume_fraction": 0.3}, ["modify.0.phase", "did you mean 'active'?"]),
        ({"kind": "dilate", "other": "void", "volume_fraction": 0.3}, ["modify.0.other", "pore, active, binder"]),
        ({"kind": "channels", "width": "4 um"}, ["image.modify.0.pitch: is required"]),
        ({"kind": "channels", "pattern": "hex"}, ["image.modify.0.pattern", "lines, square, hexagonal"]),
        ({"kind": "binder", "volume_fraction": 0.1, "length": "4 um"}, ["image.modify.0 has length", "bridges"]),
    ],
)
def test_wrong_steps_are_refused_by_key(tmp_path, step, words):
    refused(tmp_path, PARTICLES, *words, modify=[step])


def test_steps_that_need_active_material_want_a_phase_of_that_name(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((4, 4, 4), np.uint8))
    image = {"file": "image.npy", "voxel_size": "1 um", "labels": {"pore": 0, "solid": 1}}
    image["modify"] = [{"kind": "calender", "porosity": 0.3}]
    with pytest.raises(CaseError, match=r"modify.0.kind = .calender., which needs phases named pore and active"):
        read_case(BASE | {"image": image}, tmp_path)


def test_a_case_file_reads_as_documented(tmp_path):
    (tmp_path / "case.toml").write_text(
        """
schema = 1
name = "two layers, pressed and structured"
[image]
through_plane = "x"
[image.generate]
kind = "particles"
shape = [40, 24, 24]
voxel_size = "1 um"
active_volume_fraction = 0.45
binder_volume_fraction = 0.05
diameter = { median = ["5 um", "9 um"], sigma = 0.2 }
grading = "steps"
seed = 2
[image.generate.binder]
form = "cluster"
morphology = 0.3
[[image.modify]]
kind = "calender"
porosity = 0.4
[[image.modify]]
kind = "channels"
width = "4 um"
pitch = "24 um"
depth = "20 um"
[model]
kind = "tortuosity"
[transport]
conductivity = { pore = 1.0 }
"""
    )
    image = build_image(load_case(tmp_path))
    assert image.shape == (33, 24, 24)
    assert 0.4 < image.volume_fraction("pore") < 0.55
