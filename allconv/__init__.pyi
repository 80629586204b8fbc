from . import (
    core as core,
)
from . import (
    data as data,
)
from . import (
    figures as figures,
)
from . import (
    layers as layers,
)
from . import (
    networks as networks,
)
from . import (
    presets as presets,
)
from . import (
    probes as probes,
)
from . import (
    reports as reports,
)
from . import (
    results as results,
)
from . import (
    saliency as saliency,
)
from . import (
    training as training,
)
from .networks.classifier import Classifier as Classifier
from .saliency.explainer import Explainer as Explainer
from .saliency.explainer import explain as explain

__version__: str
