import pytest

from battsim.errors import CaseError
from battsim.materials.library import (
    ACTIVE_MATERIALS,
    COUNTER_ELECTRODES,
    ELECTROLYTES,
    active_material,
    counter_electrode,
    electrolyte,
)

LOOKUPS = [(active_material, ACTIVE_MATERIALS), (electrolyte, ELECTROLYTES), (counter_electrode, COUNTER_ELECTRODES)]


@pytest.mark.parametrize(("lookup", "names"), LOOKUPS)
def test_every_set_carries_its_name_and_source(lookup, names):
    assert names
    for name in names:
        assert lookup(name).name == name
        assert "(20" in lookup(name).source


@pytest.mark.parametrize(("lookup", "names"), LOOKUPS)
def test_unknown_name_lists_all_and_suggests_the_nearest(lookup, names):
    near = next(iter(names))
    with pytest.raises(CaseError, match=f"did you mean '{near}'") as error:
        lookup(near.replace("-", "_"))
    for name in names:
        assert name in str(error.value)


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(CaseError) as error:
        active_material("zzz")
    assert "did you mean" not in str(error.value)
