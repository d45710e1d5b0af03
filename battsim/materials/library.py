"""Named sets: a name from a case file gives the published material behind it."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeVar

from battsim.errors import CaseError
from battsim.materials.graphite_chen2020 import graphite_chen2020
from battsim.materials.graphite_marquis2019 import graphite_marquis2019
from battsim.materials.lco_marquis2019 import lco_marquis2019
from battsim.materials.lfp_prada2013 import lfp_prada2013
from battsim.materials.lipf6_chen2020 import lipf6_chen2020
from battsim.materials.lipf6_landesfeind2019 import (
    lipf6_landesfeind2019,
    lipf6_landesfeind2019_ec_dmc,
    lipf6_landesfeind2019_emc_fec,
)
from battsim.materials.lipf6_nyman2008 import lipf6_nyman2008
from battsim.materials.lipf6_valoen2005 import lipf6_valoen2005
from battsim.materials.lithium_xu2019 import lithium_xu2019
from battsim.materials.nmc532_mohtat2020 import nmc532_mohtat2020
from battsim.materials.nmc622_verbrugge2017 import nmc622_verbrugge2017
from battsim.materials.nmc811_chen2020 import nmc811_chen2020
from battsim.materials.types import ActiveMaterial, CounterElectrode, Electrolyte

Material = TypeVar("Material", ActiveMaterial, Electrolyte, CounterElectrode)

ACTIVE_MATERIALS: dict[str, Callable[[], ActiveMaterial]] = {
    "graphite-chen2020": graphite_chen2020,
    "graphite-marquis2019": graphite_marquis2019,
    "lco-marquis2019": lco_marquis2019,
    "lfp-prada2013": lfp_prada2013,
    "nmc532-mohtat2020": nmc532_mohtat2020,
    "nmc622-verbrugge2017": nmc622_verbrugge2017,
    "nmc811-chen2020": nmc811_chen2020,
}
ELECTROLYTES: dict[str, Callable[[], Electrolyte]] = {
    "lipf6-chen2020": lipf6_chen2020,
    "lipf6-landesfeind2019": lipf6_landesfeind2019,
    "lipf6-landesfeind2019-ec-dmc": lipf6_landesfeind2019_ec_dmc,
    "lipf6-landesfeind2019-emc-fec": lipf6_landesfeind2019_emc_fec,
    "lipf6-nyman2008": lipf6_nyman2008,
    "lipf6-valoen2005": lipf6_valoen2005,
}
COUNTER_ELECTRODES: dict[str, Callable[[], CounterElectrode]] = {
    "lithium-xu2019": lithium_xu2019,
}


def active_material(name: str) -> ActiveMaterial:
    """Active material of that name; CaseError lists the names if there is none."""
    return _named(name, ACTIVE_MATERIALS, "active material")


def electrolyte(name: str) -> Electrolyte:
    """Electrolyte of that name; CaseError lists the names if there is none."""
    return _named(name, ELECTROLYTES, "electrolyte")


def counter_electrode(name: str) -> CounterElectrode:
    """Counter electrode of that name; CaseError lists the names if there is none."""
    return _named(name, COUNTER_ELECTRODES, "counter electrode")


def _named(name: str, factories: dict[str, Callable[[], Material]], kind: str) -> Material:
    if name in factories:
        return factories[name]()
    near = get_close_matches(name, factories, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise CaseError(f"unknown {kind} {name!r}{hint} Known names: {', '.join(sorted(factories))}.")
