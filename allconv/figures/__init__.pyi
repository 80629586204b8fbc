from . import (
    maps as maps,
)
from . import (
    probes as probes,
)
from . import (
    runs as runs,
)
from . import (
    whitening as whitening,
)
from .maps import (
    rule_comparison as rule_comparison,
)
from .maps import (
    sanity_strip as sanity_strip,
)
from .maps import (
    top_patches as top_patches,
)
from .runs import (
    confusion_matrix as confusion_matrix,
)
from .runs import (
    learning_curves as learning_curves,
)
from .runs import (
    scatter as scatter,
)
