from . import (
    catalogue as catalogue,
)
from . import (
    limits as limits,
)
from . import (
    preset as preset,
)
from . import (
    preset_file as preset_file,
)
from .catalogue import (
    PRESETS as PRESETS,
)
from .catalogue import (
    get as get,
)
from .preset import (
    Preset as Preset,
)
from .preset import (
    check as check,
)
from .preset import (
    complete as complete,
)
from .preset import (
    shorten as shorten,
)
