from . import (
    callbacks as callbacks,
    checkpoints as checkpoints,
    devices as devices,
    inputs as inputs,
    loss_scale as loss_scale,
    muon as muon,
    outcome as outcome,
    precision as precision,
    run as run,
    schedules as schedules,
    setup as setup,
    streamed as streamed,
)
from .callbacks import (
    DivergedError as DivergedError,
    Interrupted as Interrupted,
)
from .loss_scale import (
    LossScale as LossScale,
)
from .muon import (
    Muon as Muon,
)
from .run import (
    train as train,
)
from .schedules import (
    Cosine as Cosine,
    Linear as Linear,
    Steps as Steps,
    schedule as schedule,
)
