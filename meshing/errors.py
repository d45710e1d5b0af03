"""Errors of the geometry package; each message says what was found, where, what is allowed and what to do."""


class ImageError(Exception):
    """An image file is missing, unreadable, truncated or not what its header says."""


class LabelError(ImageError):
    """The declared labels, shape, crop or voxel size do not fit the image."""


class MeshError(Exception):
    """An image cannot become the requested mesh."""


class PackingError(MeshError):
    """A target of a generator is denser than can be packed.

    Attributes
    ----------
    reached
        What was reached instead, in the unit of the target (a volume fraction or a porosity); None where unknown.
    """

    def __init__(self, message: str, *, reached: float | None = None) -> None:
        super().__init__(message)
        self.reached = reached
