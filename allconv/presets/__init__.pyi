from . import (
    catalogue as catalogue,
    imagenet as imagenet,
    limits as limits,
    preset as preset,
    preset_file as preset_file,
)
from .catalogue import (
    PRESETS as PRESETS,
    get as get,
    register as register,
)
from .limits import (
    check as check,
)
from .preset import (
    Preset as Preset,
    complete as complete,
    shorten as shorten,
)
