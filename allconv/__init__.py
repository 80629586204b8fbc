"""All Convolutional Net, ZFNet and Network Deconvolution in Keras 3."""
