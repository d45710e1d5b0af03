"""The case file, checked: nothing derived, no numerics, SI after loading."""

from battsim.case.active import active_material
from battsim.case.image import Generate, Image
from battsim.case.load import CASE_FILE, files_of, load_case, read_case
from battsim.case.materials import Binder, Materials, OwnActive, Separator
from battsim.case.schema import Case, Initial, Output, ResolvedCase, Step, TortuosityCase, Transport, Until

__all__ = [
    "CASE_FILE",
    "Binder",
    "Case",
    "Generate",
    "Image",
    "Initial",
    "Materials",
    "Output",
    "OwnActive",
    "ResolvedCase",
    "Separator",
    "Step",
    "TortuosityCase",
    "Transport",
    "Until",
    "active_material",
    "files_of",
    "load_case",
    "read_case",
]
