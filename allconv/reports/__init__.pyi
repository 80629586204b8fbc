from . import (
    explanation as explanation,
    gallery as gallery,
    units as units,
)
