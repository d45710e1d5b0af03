"""Synthetic microstructures, and changes to images of any origin.

Every generator takes a `numpy.random.Generator` as its only source of randomness, and what it made comes back with
XX
from the separator (low end) to the current collector (high end).

- `spheres`: packed spheres bridged by binder; `ellipsoids`: sizes, shapes, orientation, overlap and gradients;
- `cut_field`: irregular particles from a Gaussian random field; `blobs`, `site_noise`: test images of two phases;
- `add_binder`: from film to finger, clusters or fibres, or bridges;
- `calender`, `erode`, `dilate`, `cut_channels`: of any image.
"""

from meshing.generate.binder import BinderShape, WithBinder, add_binder, coverage
from meshing.generate.calender import Calendered, calender
from meshing.generate.channels import ChannelShape, WithChannels, channel_mask, cut_channels
from meshing.generate.common import PHASES, Made, smallest
from meshing.generate.ellipsoids import Packed, ParticleForm, ellipsoids, surface_distance
from meshing.generate.fields import CutField, correlation, cut_field, exponential, gaussian, peaked, random_field
from meshing.generate.morphology import Resized, dilate, erode
from meshing.generate.noise import blobs, site_noise
from meshing.generate.packing import Ellipsoids, draw_frames, relax, worst_overlap
from meshing.generate.sizes import draw_diameters, draw_graded
from meshing.generate.spheres import Spheres, pack, spheres, surface_distances
from meshing.profile import Profile, constant

__all__ = [
    "PHASES",
    "BinderShape",
    "Calendered",
    "ChannelShape",
    "CutField",
    "Ellipsoids",
    "Made",
    "Packed",
    "ParticleForm",
    "Profile",
    "Resized",
    "Spheres",
    "WithBinder",
    "WithChannels",
    "add_binder",
    "blobs",
    "calender",
    "channel_mask",
    "constant",
    "correlation",
    "coverage",
    "cut_channels",
    "cut_field",
    "dilate",
    "draw_diameters",
    "draw_frames",
    "draw_graded",
    "ellipsoids",
    "erode",
    "exponential",
    "gaussian",
    "pack",
    "peaked",
    "random_field",
    "relax",
    "site_noise",
    "smallest",
    "spheres",
    "surface_distance",
    "surface_distances",
    "worst_overlap",
]
