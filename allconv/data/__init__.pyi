from . import (
    augmentation as augmentation,
)
from . import (
    batches as batches,
)
from . import (
    cifar as cifar,
)
from . import (
    datasets as datasets,
)
from . import (
    own as own,
)
from . import (
    pickled as pickled,
)
from . import (
    preprocessing as preprocessing,
)
from . import (
    shapes as shapes,
)
from . import (
    whitenings as whitenings,
)
from .augmentation import (
    AUGMENTATIONS as AUGMENTATIONS,
)
from .augmentation import (
    Augmentation as Augmentation,
)
from .cifar import (
    DataError as DataError,
)
from .datasets import (
    CLASS_NAMES as CLASS_NAMES,
)
from .datasets import (
    NAMES as NAMES,
)
from .datasets import (
    data_folder as data_folder,
)
from .datasets import (
    fingerprint as fingerprint,
)
from .datasets import (
    hold_out as hold_out,
)
from .datasets import (
    is_cached as is_cached,
)
from .datasets import (
    load as load,
)
from .preprocessing import (
    GCNZCA as GCNZCA,
)
from .preprocessing import (
    ZCA as ZCA,
)
from .preprocessing import (
    MeanStd as MeanStd,
)
from .preprocessing import (
    gcn as gcn,
)
