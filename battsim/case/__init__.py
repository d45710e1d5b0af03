"""The case file, checked: nothing derived, no numerics, SI after loading."""

from battsim.case.active import active_material, active_materials, assumed, electrolyte_of
from battsim.case.files import files_of
from battsim.case.full import CellCase, FullCellCase, ImageElectrode, images_of
from battsim.case.image import Image
from battsim.case.load import CASE_FILE, load_case, read_case
from battsim.case.materials import Binder, Materials, OwnActive, Separator
from battsim.case.p2d import Grid, P2DCase, P2DElectrode, P2DMaterials, ParticleSize, Stoichiometries
from battsim.case.protocol import Step, Until
from battsim.case.recipe import Generate
from battsim.case.schema import Case, ImageCase, Initial, Output, ResolvedCase, TortuosityCase, Transport
from battsim.case.start import initial_stoichiometries

__all__ = [
    "CASE_FILE",
    "Binder",
    "Case",
    "CellCase",
    "FullCellCase",
    "Generate",
    "Grid",
    "Image",
    "ImageCase",
    "ImageElectrode",
    "Initial",
    "Materials",
    "Output",
    "OwnActive",
    "P2DCase",
    "P2DElectrode",
    "P2DMaterials",
    "ParticleSize",
    "ResolvedCase",
    "Separator",
    "Step",
    "Stoichiometries",
    "TortuosityCase",
    "Transport",
    "Until",
    "active_material",
    "active_materials",
    "assumed",
    "electrolyte_of",
    "files_of",
    "images_of",
    "initial_stoichiometries",
    "load_case",
    "read_case",
]
