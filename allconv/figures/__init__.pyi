from . import (
    blocks as blocks,
    grid as grid,
    maps as maps,
    probes as probes,
    runs as runs,
    segments as segments,
    style as style,
    whitening as whitening,
)
from .blocks import (
    block_diagram as block_diagram,
)
from .maps import (
    rule_comparison as rule_comparison,
    sanity_strip as sanity_strip,
    top_patches as top_patches,
)
from .runs import (
    confusion_matrix as confusion_matrix,
    learning_curves as learning_curves,
    scatter as scatter,
    slopes as slopes,
)
