from . import (
    catalogue as catalogue,
    limits as limits,
    preset as preset,
)
from .catalogue import (
    PRESETS as PRESETS,
    get as get,
)
from .preset import (
    Preset as Preset,
    check as check,
    complete as complete,
    shorten as shorten,
)
