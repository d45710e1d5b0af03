import itertools

import numpy as np
import pytest
from scipy import ndimage

from battsim.post.transport import effective_transport
from meshing.errors import LabelError, MeshError
from meshing.generate import BinderShape, ParticleForm, add_binder, constant, coverage, cut_field, ellipsoids
from meshing.image import VoxelImage
from meshing.measure import measure_interfaces
from meshing.profile import Profile

UM = 1e-6
CUBE = (UM, UM, UM)
FORMS = ("cluster", "fibre")


@pytest.fixture(scope="module")
def electrodes():
    form = ParticleForm(constant(8 * UM), 0.3)
    return [ellipsoids((48,) * 3, CUBE, constant(0.5), form, np.random.default_rng(seed)).image for seed in range(5)]


def laid(image, morphology, *, form="fibre", binder=0.12, thickness=2 * UM, length=8 * UM, seed=1):
    profile = binder if isinstance(binder, Profile) else constant(binder)
    return add_binder(image, profile, BinderShape(thickness, morphology, form, length), np.random.default_rng(seed))


def pore_transport(image):
    return effective_transport(image, {"pore": 1.0}, axis="x", threads=1).D_eff


@pytest.mark.parametrize("form", [*FORMS, "bridge"])
@pytest.mark.parametrize("binder", [0.0, 0.03, 0.2, 0.45])
def test_the_fraction_is_met_to_one_voxel_and_particles_stay(electrodes, form, binder):
    made = laid(electrodes[0], 0.5, form=form, binder=binder)
    assert np.count_nonzero(made.image.labels == 2) == round(binder * 48**3)
    assert np.array_equal(made.image.labels == 1, electrodes[0].labels == 1)


@pytest.mark.parametrize("form", FORMS)
def test_coverage_falls_from_film_to_finger_in_every_image(electrodes, form):
    for image in electrodes:
        found = [laid(image, morphology, form=form).coverage for morphology in (0.0, 0.3, 0.6, 0.8, 1.0)]
        assert all(less < more - 0.01 for more, less in itertools.pairwise(found))
        # the film covers twice what fingers cover
        assert found[0] > 1.7 * found[-1]


def test_coverage_is_the_share_of_the_interface_that_is_measured(electrodes):
    made = laid(electrodes[1], 0.4)
    areas = {name: found.area_per_volume_1_m for name, found in measure_interfaces(made.image).items()}
    expected = areas["active|binder"] / (areas["active|binder"] + areas["active|pore"])
    assert made.coverage == pytest.approx(expected, rel=1e-12)
    assert coverage(electrodes[1]) == 0.0
    # a film around all particles leaves no active surface free
    full = laid(electrodes[1], 0.0, binder=0.45)
    assert full.coverage > 0.95


def test_fingers_hurt_pore_transport_and_films_the_surface(electrodes):
    """Impermeable binder, five images, all one way: chance would do that in one of 32 cases."""
    films, fingers = ([laid(image, morphology) for image in electrodes] for morphology in (0.0, 1.0))
    for film, finger in zip(films, fingers, strict=True):
        assert pore_transport(finger.image) < 0.97 * pore_transport(film.image)
        areas = [measure_interfaces(each.image)["active|pore"].area_per_volume_1_m for each in (film, finger)]
        assert areas[0] < 0.8 * areas[1]


@pytest.mark.parametrize("form", FORMS)
def test_fingers_hold_as_many_beads_as_their_length_asks(form):
    # one wall in a wide pore, so that hardly a finger meets an end
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[:2] = 1
    wall = VoxelImage(labels, CUBE, ("pore", "active", "binder"))
    for morphology in (0.0, 0.5, 0.9):
        shape = BinderShape(2 * UM, morphology, form, 8 * UM)
        made = laid(wall, morphology, form=form, binder=0.01)
        found = made.beads / made.fingers
        assert found == pytest.approx(1 / shape.start_share, rel=0.15)
    assert BinderShape(2 * UM, 1.0, "fibre", 8 * UM).beads == 7
    assert BinderShape(2 * UM, 1.0, "cluster", 8 * UM).beads == 64


def heights(made):
    """Mean distance of the binder's voxels from the wall, in voxels."""
    return np.mean(np.nonzero(made.image.labels == 2)[0] - 1.5)


def test_fibres_stand_further_out_than_clusters_and_clusters_than_films():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[:2] = 1
    wall = VoxelImage(labels, CUBE, ("pore", "active", "binder"))
    film, cluster, fibre = (
        laid(wall, w, form=form, binder=0.02, length=12 * UM)
        for w, form in ((0.0, "cluster"), (1.0, "cluster"), (1.0, "fibre"))
    )
    # half a bead of two voxels stands on the wall
    assert heights(film) == 0.5
    assert heights(cluster) > heights(film) + 1
    assert heights(fibre) > heights(cluster)


@pytest.mark.parametrize("form", FORMS)
def test_all_binder_hangs_on_active_material(form):
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[:2] = 1
    made = laid(VoxelImage(labels, CUBE, ("pore", "active", "binder")), 1.0, form=form, binder=0.03)
    # beads half a thickness apart may meet over an edge or a corner only
    bodies, _ = ndimage.label(made.image.labels > 0, structure=np.ones((3, 3, 3)))
    assert np.mean(bodies[made.image.labels == 2] == bodies[0, 0, 0]) > 0.995


def test_bridges_lie_in_the_narrowest_places():
    # two spheres that touch: all binder around their contact
    at = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), -1) - 19.5
    solid = np.minimum(np.linalg.norm(at - [8, 0, 0], axis=-1), np.linalg.norm(at - [-8, 0, 0], axis=-1)) < 8.3
    image = VoxelImage(solid.astype(np.uint8), CUBE, ("pore", "active", "binder"))
    made = laid(image, 0.0, form="bridge", binder=0.002)
    where = np.nonzero(made.image.labels == 2)
    assert np.max(np.abs(where[0] - 19.5)) < 4
    assert np.max(np.hypot(where[1] - 19.5, where[2] - 19.5)) < 6


@pytest.mark.parametrize("form", [*FORMS, "bridge"])
def test_a_gradient_of_binder_is_met(form):
    image = cut_field((60, 40, 40), CUBE, constant(0.5), (4 * UM,) * 3, np.random.default_rng(1)).image
    profile = Profile((0.04, 0.16))
    made = laid(image, 0.5, form=form, binder=profile)
    found = np.mean(made.image.labels == 2, axis=(1, 2)).reshape(4, 15).mean(axis=1)
    np.testing.assert_allclose(found, profile.of_slices(60).reshape(4, 15).mean(axis=1), atol=0.012)
    assert np.count_nonzero(made.image.labels == 2) == round(0.1 * image.labels.size)


def test_binder_is_added_to_images_of_other_phases():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:5], labels[5:8] = 2, 1
    image = VoxelImage(labels, CUBE, ("pore", "void", "active"))
    made = laid(image, 0.0, binder=0.01).image
    assert made.phases == ("pore", "void", "active", "binder")
    assert np.array_equal(made.labels == 1, labels == 1)
    assert np.count_nonzero(made.labels == 3) == 80
    # "void" lies between: no pore touches active material, so that the film lies on what is nearest to it
    assert set(np.nonzero(made.labels == 3)[0]) == {8}


def test_the_seed_alone_decides(electrodes):
    one, same, other = (laid(electrodes[3], 0.7, seed=seed).image.labels for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"morphology": 1.5}, "morphology is 1.5; it must be between 0 .film. and 1 .finger."),
        ({"thickness": 0.5 * UM}, "at least one voxel"),
        ({"length": UM}, "at least their thickness"),
        ({"binder": 0.6}, "asks for 66355 voxels, but only 55296 pore voxels are there"),
    ],
)
def test_impossible_binder_is_refused_with_a_way_out(electrodes, options, message):
    with pytest.raises(MeshError, match=message):
        laid(electrodes[0], **({"morphology": 0.5} | options))


def test_binder_needs_pores_and_active_material():
    solid = VoxelImage(np.ones((4, 4, 4), np.uint8), CUBE, ("pore", "active"))
    with pytest.raises(MeshError, match="no voxel of phase 'pore'"):
        laid(solid, 0.5)
    with pytest.raises((MeshError, LabelError), match="no voxel of phase 'active'"):
        laid(VoxelImage(np.zeros((4, 4, 4), np.uint8), CUBE, ("pore", "solid")), 0.5)
