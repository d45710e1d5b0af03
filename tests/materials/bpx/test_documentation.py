from battsim.materials import bpx
from battsim.materials.bpx import names
from battsim.materials.bpx.document import SUPPORTED


def test_every_name_of_the_user_defined_block_is_documented():
    text = " ".join(bpx.__doc__.split())
    for name in (*names.BINDER_NAMES, *names.MATERIAL_NAMES):
        assert name in text
    for name in names.ELECTROLYTE_NAMES:
        assert names.named(names.ELECTROLYTE, name) in text
    for version in (SUPPORTED[0], SUPPORTED[-1]):
        assert version in text
