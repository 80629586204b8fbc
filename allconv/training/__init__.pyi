from . import (
    callbacks as callbacks,
)
from . import (
    checkpoints as checkpoints,
)
from . import (
    inputs as inputs,
)
from . import (
    muon as muon,
)
from . import (
    outcome as outcome,
)
from . import (
    run as run,
)
from . import (
    schedules as schedules,
)
from .callbacks import (
    DivergedError as DivergedError,
)
from .callbacks import (
    Interrupted as Interrupted,
)
from .muon import (
    Muon as Muon,
)
from .run import (
    train as train,
)
from .schedules import (
    Cosine as Cosine,
)
from .schedules import (
    Linear as Linear,
)
from .schedules import (
    Steps as Steps,
)
from .schedules import (
    schedule as schedule,
)
