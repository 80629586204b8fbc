from . import (
    explanation as explanation,
    gallery as gallery,
    inputs as inputs,
    microscope as microscope,
    units as units,
)
