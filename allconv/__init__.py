"""All Convolutional Net, ZFNet and Network Deconvolution in Keras 3."""

import os

# TensorFlow uses oneDNN's kernels of itself only on processors with AVX-512. Its own
# refuse grouped convolutions that it has fused with a rectifier, and are slower. This
# counts where TensorFlow is not imported yet.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
