"""Everything of this folder that Keras can find in a saved model."""

from allconv.layers import (  # noqa: F401
    batch_norm,
    channel_deconvolution,
    dropout,
    grouped_conv,
    netdeconv,
    per_channel,
    zfnet_norms,
)
