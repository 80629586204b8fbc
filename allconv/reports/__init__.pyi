from . import (
    activity as activity,
    explanation as explanation,
    gallery as gallery,
    inputs as inputs,
    microscope as microscope,
    packed as packed,
    results_html as results_html,
    sheets as sheets,
    sources as sources,
    units as units,
)
