from . import (
    correlation as correlation,
)
from . import (
    correspondence as correspondence,
)
from . import (
    evolution as evolution,
)
from . import (
    faithfulness as faithfulness,
)
from . import (
    features as features,
)
from . import (
    filters as filters,
)
from . import (
    invariance as invariance,
)
from . import (
    occlusion as occlusion,
)
from . import (
    patches as patches,
)
from . import (
    receptive_field as receptive_field,
)
from . import (
    transfer as transfer,
)
from .evolution import (
    Snapshots as Snapshots,
)
from .evolution import (
    snapshots as snapshots,
)
from .filters import (
    filter_statistics as filter_statistics,
)
from .filters import (
    silent as silent,
)
from .occlusion import (
    occlude as occlude,
)
from .patches import (
    crop as crop,
)
from .patches import (
    top_activations as top_activations,
)
from .receptive_field import (
    ReceptiveField as ReceptiveField,
)
