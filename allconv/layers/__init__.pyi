from . import (
    batch_norm as batch_norm,
)
from . import (
    channel_deconvolution as channel_deconvolution,
)
from . import (
    folding as folding,
)
from . import (
    grouped_conv as grouped_conv,
)
from . import (
    netdeconv as netdeconv,
)
from . import (
    whitening as whitening,
)
from . import (
    whitening_layer as whitening_layer,
)
from . import (
    zfnet_norms as zfnet_norms,
)
from .batch_norm import (
    BatchNormalization as BatchNormalization,
)
from .channel_deconvolution import (
    ChannelDeconvolution as ChannelDeconvolution,
)
from .folding import (
    fold as fold,
)
from .grouped_conv import (
    GroupedConv2D as GroupedConv2D,
)
from .netdeconv import (
    NetworkDeconvolution2D as NetworkDeconvolution2D,
)
from .netdeconv import (
    NetworkDeconvolutionDense as NetworkDeconvolutionDense,
)
from .zfnet_norms import (
    LocalResponseNormalization as LocalResponseNormalization,
)
from .zfnet_norms import (
    MaxRMS as MaxRMS,
)
