import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile

from meshing.errors import MeshError
from meshing.image import VoxelImage, crop
from meshing.measure import measure_active, measure_interfaces, measure_phases
from meshing.voxel import voxel_mesh

UM = 1e-6
PHASES = ("pore", "active", "binder")


def image_of(labels, voxel=(UM, UM, UM), phases=PHASES):
    return VoxelImage(np.asarray(labels, np.uint8), voxel, phases)


def sphere(radius, n, voxel=(UM, UM, UM)):
    """A sphere of `radius` voxels in the middle of n^3 voxels of pore, off the grid's symmetry points."""
    axes = np.meshgrid(*[np.arange(n) - 0.5 * (n - 1) + shift for shift in (0.13, -0.21, 0.34)], indexing="ij")
    return image_of(sum(axis**2 for axis in axes) <= radius**2, voxel, ("pore", "active"))


def real_image():
    folder = os.environ.get("BATTSIM_DATA")
    if not folder:
        pytest.skip("real images: set BATTSIM_DATA to their folder")
    labels = tifffile.imread(Path(folder) / "matbox_nmc1cal_bridgeCBD.tif")
    return VoxelImage(labels, (398e-9, 398e-9, 398e-9), PHASES)


def faces_by_products(labels, a, b):
    """Voxel faces between two labels: a face lies between primes 2 and 3 where the product of its sides is 6."""
    prime = np.select([labels == a, labels == b], [2, 3], 0)
    return sum(
        int(np.sum(prime.take(range(1, n), k) * prime.take(range(n - 1), k) == 6)) for k, n in enumerate(labels.shape)
    )


def slabs():
    """Along x: binder, active, pore, active, binder; every face normal to x, one column missing at the collector."""
    labels = np.zeros((10, 4, 5), np.uint8)
    labels[:2], labels[2:4], labels[4:6], labels[6:8], labels[8:] = 2, 1, 0, 1, 2
    labels[9, 0, 0] = 0
    return labels


def test_phases_of_slabs_by_hand():
    found = measure_phases(image_of(slabs()))
    assert asdict(found["active"]) == {
        "volume_fraction": 0.4,
        "percolating_fraction": {"x": 0.0, "y": 1.0, "z": 1.0},
        "components": 2,
    }
    assert found["pore"].volume_fraction == pytest.approx(41 / 200, rel=1e-15)
    assert found["pore"].components == 2
    assert sum(phase.volume_fraction for phase in found.values()) == pytest.approx(1.0, rel=1e-15)


def test_a_phase_without_voxels_counts_as_empty():
    found = measure_phases(image_of(np.zeros((3, 3, 3))))
    assert asdict(found["binder"])["percolating_fraction"] == {"x": 0.0, "y": 0.0, "z": 0.0}
    assert (found["binder"].volume_fraction, found["binder"].components) == (0.0, 0)


def test_flat_slabs_have_their_exact_area_in_any_voxel():
    labels = slabs()
    labels[9, 0, 0] = 2
    voxel = (0.5 * UM, UM, 2.0 * UM)
    found = measure_interfaces(image_of(labels, voxel))
    assert set(found) == {"active|pore", "active|binder"}
    assert found["active|pore"].voxel_faces == 40
    # two planes in a thickness of ten voxels; flat normals are exact, up to single precision in their smoothing
    assert found["active|pore"].area_per_volume_1_m == pytest.approx(2 / (10 * voxel[0]), rel=1e-6)


def test_pairs_without_active_material_are_measured_too():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[3:] = 2
    found = measure_interfaces(image_of(labels))
    assert set(found) == {"pore|binder"}
    assert found["pore|binder"].voxel_faces == 36
    assert found["pore|binder"].area_per_volume_1_m == pytest.approx(1 / (6 * UM), rel=1e-6)


@pytest.mark.parametrize("first", ["active", "pore"])
def test_voxel_faces_agree_with_another_way_of_counting(first):
    labels = np.random.default_rng(1).integers(0, 3, (9, 8, 7)).astype(np.uint8)
    found = measure_interfaces(image_of(labels), first=first)
    assert len(found) == 3
    for name, measure in found.items():
        a, b = (PHASES.index(part) for part in name.split("|"))
        assert measure.voxel_faces == faces_by_products(labels, a, b)
    assert "active|pore" in found if first == "active" else "pore|active" in found


def test_mesh_and_image_give_the_same_surface():
    image = image_of(np.random.default_rng(2).integers(0, 3, (8, 9, 10)))
    from_image = measure_interfaces(image)
    from_mesh = measure_interfaces(image, voxel_mesh(image, inside="active"))
    assert set(from_mesh) == set(from_image)
    for name, measure in from_image.items():
        assert from_mesh[name].voxel_faces == measure.voxel_faces
        # the same cosines summed in another order
        assert from_mesh[name].area_per_volume_1_m == pytest.approx(measure.area_per_volume_1_m, rel=1e-12)


def test_with_separator_layers_the_mesh_has_the_word():
    image = image_of(np.random.default_rng(3).integers(0, 3, (8, 9, 10)))
    mesh = voxel_mesh(image, layers=(UM,), inside="active")
    found = measure_interfaces(image, mesh)
    assert set(found) == {"active|pore", "active|binder", "active|separator", "pore|binder"}
    volume = image.labels.size * UM**3
    for interface in mesh.interfaces:
        # normals next to the cut know of the layers in front of it, those of the image alone do not
        assert found["|".join(interface.phases)].area_per_volume_1_m == interface.area.sum() / volume


def test_a_sphere_has_its_area_and_its_radius():
    image = sphere(8, 24)
    found = measure_interfaces(image)["active|pore"]
    # corrected areas of spheres of 8 voxels radius are within 1 %; uncorrected ones would be 50 % off
    exact = 4 * np.pi * (8 * UM) ** 2 / (24 * UM) ** 3
    assert found.area_per_volume_1_m == pytest.approx(exact, rel=0.015)
    active = measure_active(image, voxel_mesh(image, inside="active"))
    assert active.sauter_radius_m == pytest.approx(8 * UM, rel=0.015)
    # it floats: no electrons reach it, but electrolyte does
    assert (active.connected_fraction, active.wetted_fraction) == (0.0, 1.0)
    assert (active.collector_contact_fraction, active.binder_coverage, active.separator_contact_share) == (0, 0, 0)


def test_active_material_of_slabs_by_hand():
    image = image_of(slabs())
    found = measure_active(image, voxel_mesh(image, inside="active"))
    # the near slab touches nothing electronic that goes on to the collector; electrolyte enters through binder
    assert found.connected_fraction == 0.5
    assert found.wetted_fraction == 0.5
    assert found.collector_contact_fraction == pytest.approx(19 / 20, rel=1e-15)
    assert found.binder_coverage == pytest.approx(0.5, rel=1e-6)
    assert found.sauter_radius_m == pytest.approx(3 * 4 * UM / 4, rel=1e-6)


def test_electrons_come_from_the_collector_and_salt_from_the_separator():
    labels = np.zeros((6, 2, 2), np.uint8)
    labels[0], labels[2], labels[4:] = 1, 1, 1
    image = image_of(labels)
    found = measure_active(image, voxel_mesh(image, inside="active"))
    assert found.connected_fraction == 2 / 4
    assert found.wetted_fraction == 1 / 4
    assert found.collector_contact_fraction == 1.0


def test_impermeable_binder_wets_nothing():
    image = image_of(slabs())
    mesh = voxel_mesh(image, inside="active")
    assert measure_active(image, mesh, ionic=("pore",)).wetted_fraction == 0.0
    opened = slabs()
    opened[:4, 0, 0] = 0
    image = image_of(opened)
    mesh = voxel_mesh(image, inside="active")
    # the channel reaches the middle pore, which lies against both slabs
    assert measure_active(image, mesh, ionic=("pore",)).wetted_fraction == 1.0


def test_the_separator_wets_and_covers_what_lies_against_it():
    labels = np.full((6, 3, 3), 1, np.uint8)
    labels[4:] = 0
    image = image_of(labels, phases=("pore", "active"))
    mesh = voxel_mesh(image, layers=(2 * UM, UM), inside="active")
    found = measure_active(image, mesh, ionic=())
    assert found.wetted_fraction == 1.0
    assert found.separator_contact_share == pytest.approx(0.5, rel=1e-6)
    assert found.sauter_radius_m == pytest.approx(3 * 4 * UM / 2, rel=1e-6)
    interfaces = measure_interfaces(image, mesh)
    assert interfaces["active|separator"].voxel_faces == 9
    assert interfaces["active|separator"].area_per_volume_1_m == pytest.approx(1 / (6 * UM), rel=1e-6)
    without = measure_active(image, voxel_mesh(image, inside="active"))
    assert without.separator_contact_share == 0.0


def test_solid_active_material_has_no_radius():
    image = image_of(np.ones((3, 3, 3)))
    found = measure_active(image, voxel_mesh(image, inside="active"))
    assert found.sauter_radius_m is None
    assert (found.connected_fraction, found.collector_contact_fraction, found.binder_coverage) == (1.0, 1.0, 0.0)


def test_an_image_without_active_material_is_refused():
    image = image_of(np.zeros((3, 3, 3)))
    with pytest.raises(MeshError, match="no voxel of phase 'active'"):
        measure_active(image, voxel_mesh(image))


def test_a_mesh_without_interfaces_is_refused():
    image = image_of(slabs())
    with pytest.raises(MeshError, match="inside='active'"):
        measure_active(image, voxel_mesh(image))


def test_names_are_those_of_microstructure_json():
    image = image_of(slabs())
    assert set(asdict(measure_active(image, voxel_mesh(image, inside="active")))) == {
        "sauter_radius_m",
        "connected_fraction",
        "wetted_fraction",
        "collector_contact_fraction",
        "binder_coverage",
        "separator_contact_share",
    }
    assert set(asdict(measure_interfaces(image)["active|pore"])) == {"area_per_volume_1_m", "voxel_faces"}


def test_crop_of_the_real_image():
    image = crop(real_image(), ((100, 148), (100, 148), (100, 148)))
    phases = measure_phases(image)
    for k, name in enumerate(PHASES):
        assert phases[name].volume_fraction == np.mean(image.labels == k)
    interfaces = measure_interfaces(image)
    for name, measure in interfaces.items():
        a, b = (PHASES.index(part) for part in name.split("|"))
        assert measure.voxel_faces == faces_by_products(image.labels, a, b)
        # per voxel face: 2/3 on isotropic smooth surfaces, less on the thin and rugged binder
        ratio = measure.area_per_volume_1_m * image.labels.size * 398e-9 / measure.voxel_faces
        assert 0.55 < ratio < 0.75
    active = measure_active(image, voxel_mesh(image, inside="active"))
    assert 0.5 < active.binder_coverage < 0.8
    assert 0.9 < active.connected_fraction <= 1.0


@pytest.mark.slow
def test_the_whole_real_image_has_its_published_shares():
    image = real_image()
    phases = measure_phases(image)
    # the manifest gives four decimals, areas five
    for name, share in (("pore", 0.4006), ("active", 0.4995), ("binder", 0.1000)):
        assert phases[name].volume_fraction == pytest.approx(share, abs=1e-4)
    assert phases["binder"].percolating_fraction.x == pytest.approx(0.66, abs=5e-3)
    interfaces = measure_interfaces(image)
    expected = {"active|pore": 0.05677, "pore|binder": 0.08155, "active|binder": 0.09595}
    for name, per_voxel in expected.items():
        assert interfaces[name].voxel_faces / image.labels.size == pytest.approx(per_voxel, abs=5.5e-6)
