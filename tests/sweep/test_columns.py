"""Where the columns of one image are put."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from battsim.case import read_case
from battsim.errors import CaseError
from battsim.sweep.columns import columns_of, crops_across

FIRST = ((0, 251), (100, 148), (100, 148))
SHAPE = (251, 301, 301)


def corners(crops: list[Any]) -> np.ndarray:
    return np.array([[crop[1][0], crop[2][0]] for crop in crops])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_columns_keep_their_size_and_stay_apart(count: int) -> None:
    crops = crops_across(SHAPE, FIRST, 0, count)
    assert crops[0] == FIRST
    assert len(crops) == count
    for crop in crops:
        assert crop[0] == (0, 251)
        for (start, stop), length in zip(crop[1:], SHAPE[1:], strict=True):
            assert 0 <= start < stop <= length
            assert stop - start == 48
    places = corners(crops)
    for k in range(count):
        for other in range(k):
            assert np.any(np.abs(places[k] - places[other]) >= 48)


def test_three_columns_spread_over_the_image() -> None:
    # no two nearer than 100 voxels in an image of 301, and none at the very rim
    places = corners(crops_across(SHAPE, FIRST, 0, 3))
    apart = [np.linalg.norm(places[a] - places[b]) for a in range(3) for b in range(a)]
    assert min(apart) > 100
    assert places.min() > 20
    assert places.max() < 301 - 48 - 20


def test_a_column_moves_along_the_axes_across() -> None:
    crops = crops_across((40, 20, 60), ((4, 14), (0, 20), (0, 30)), 1, 3)
    assert all(crop[1] == (0, 20) for crop in crops)
    assert len({(crop[0], crop[2]) for crop in crops}) == 3


def test_too_many_columns() -> None:
    with pytest.raises(
        CaseError, match=r"20 x 20 voxels across the plane, of which 4 fit into 40 x 40 .* 5 were asked for"
    ):
        crops_across((10, 40, 40), ((0, 10), (0, 20), (0, 20)), 0, 5)


def case(directory: Path, image: dict[str, Any]) -> Any:
    table = {
        "schema": 1,
        "image": image,
        "materials": {
            "active": "nmc811-chen2020",
            "electrolyte": "lipf6-nyman2008",
            "separator": {"thickness": "6 um", "porosity": 0.47, "bruggeman": 1.5},
        },
        "model": {"kind": "resolved"},
        "protocol": [{"step": "discharge", "rate": "1 C", "until": {"time": "20 s"}}],
    }
    return read_case(table, directory)


def file_of(directory: Path, **keys: Any) -> dict[str, Any]:
    tifffile.imwrite(directory / "image.tif", np.tile(np.array([0, 1], np.uint8), (8, 12, 6)))
    return {"file": "image.tif", "voxel_size": "1 um", "labels": {"pore": 0, "active": 1}, "through_plane": "x", **keys}


def test_crops_of_a_file_across_its_through_plane_axis(tmp_path: Path) -> None:
    # the file's second axis is called x here, and x is through the plane
    image = file_of(tmp_path, axes="yxz", crop=[[0, 4], [2, 10], [0, 6]])
    found = [each.image.crop for each in columns_of(case(tmp_path, image), 4)]
    assert found[0] == ((0, 4), (2, 10), (0, 6))
    assert {crop[1] for crop in found} == {(2, 10)}
    assert {(crop[0][0], crop[2][0]) for crop in found} == {(0, 0), (0, 6), (4, 0), (4, 6)}


def test_a_file_without_a_crop_has_one_column(tmp_path: Path) -> None:
    whole = case(tmp_path, file_of(tmp_path))
    assert columns_of(whole, 1) == [whole]
    with pytest.raises(CaseError, match=r"case\.toml: \[image\]: takes the whole of 'image\.tif'.*add a crop"):
        columns_of(whole, 2)


def test_columns_of_a_recipe_are_other_seeds(tmp_path: Path) -> None:
    recipe = {
        "kind": "spheres",
        "shape": [14, 10, 10],
        "voxel_size": "1 um",
        "active_volume_fraction": 0.5,
        "diameter": {"median": "5 um"},
        "seed": 7,
    }
    found = columns_of(case(tmp_path, {"generate": recipe}), 3)
    assert [each.image.generate.seed for each in found] == [7, 8, 9]
    assert len({each.image.model_copy(update={"generate": None}).model_dump_json() for each in found}) == 1
