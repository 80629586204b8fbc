from . import (
    batch_norm as batch_norm,
    bias as bias,
    channel_deconvolution as channel_deconvolution,
    dropout as dropout,
    folding as folding,
    grouped_conv as grouped_conv,
    netdeconv as netdeconv,
    per_channel as per_channel,
    roots as roots,
    whitening as whitening,
    whitening_layer as whitening_layer,
    zfnet_norms as zfnet_norms,
)
from .batch_norm import (
    BatchNormalization as BatchNormalization,
)
from .channel_deconvolution import (
    ChannelDeconvolution as ChannelDeconvolution,
)
from .dropout import (
    Dropout as Dropout,
)
from .folding import (
    fold as fold,
)
from .grouped_conv import (
    DepthwiseConv2D as DepthwiseConv2D,
    GroupedConv2D as GroupedConv2D,
)
from .netdeconv import (
    NetworkDeconvolution2D as NetworkDeconvolution2D,
    NetworkDeconvolutionDense as NetworkDeconvolutionDense,
)
from .per_channel import (
    PerChannel as PerChannel,
)
from .zfnet_norms import (
    LocalResponseNormalization as LocalResponseNormalization,
    MaxRMS as MaxRMS,
)
