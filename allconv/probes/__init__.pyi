from . import (
    correlation as correlation,
    correspondence as correspondence,
    evolution as evolution,
    faithfulness as faithfulness,
    features as features,
    filters as filters,
    invariance as invariance,
    occlusion as occlusion,
    patches as patches,
    receptive_field as receptive_field,
    sparsity as sparsity,
    transfer as transfer,
)
from .evolution import (
    Snapshots as Snapshots,
    snapshots as snapshots,
)
from .filters import (
    filter_statistics as filter_statistics,
    silent as silent,
)
from .occlusion import (
    occlude as occlude,
)
from .patches import (
    crop as crop,
    top_activations as top_activations,
)
from .receptive_field import (
    ReceptiveField as ReceptiveField,
)
