from . import (
    explanation as explanation,
    gallery as gallery,
    microscope as microscope,
    units as units,
)
