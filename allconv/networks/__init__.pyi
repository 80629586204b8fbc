from . import (
    all_cnn as all_cnn,
    all_cnn_rows as all_cnn_rows,
    builders as builders,
    classics as classics,
    classics_blocks as classics_blocks,
    classics_layers as classics_layers,
    classics_rows as classics_rows,
    classifier as classifier,
    export as export,
    facts as facts,
    imported as imported,
    own as own,
    places as places,
    registry as registry,
    segmentation as segmentation,
    weights as weights,
    zfnet as zfnet,
    zfnet_rows as zfnet_rows,
)
from .all_cnn import (
    AllCNNA as AllCNNA,
    AllCNNB as AllCNNB,
    AllCNNBImageNet as AllCNNBImageNet,
    AllCNNC as AllCNNC,
    ConvPoolCNNA as ConvPoolCNNA,
    ConvPoolCNNB as ConvPoolCNNB,
    ConvPoolCNNC as ConvPoolCNNC,
    LargeAllCNN as LargeAllCNN,
    ModelA as ModelA,
    ModelB as ModelB,
    ModelC as ModelC,
    StridedCNNA as StridedCNNA,
    StridedCNNB as StridedCNNB,
    StridedCNNC as StridedCNNC,
)
from .builders import (
    build as build,
)
from .classics import (
    DPN92CIFAR as DPN92CIFAR,
    VGG11 as VGG11,
    VGG16CIFAR as VGG16CIFAR,
    DenseNet121 as DenseNet121,
    DenseNet121CIFAR as DenseNet121CIFAR,
    EfficientNetCIFAR as EfficientNetCIFAR,
    MobileNetV2CIFAR as MobileNetV2CIFAR,
    PNASNetACIFAR as PNASNetACIFAR,
    PreAct18CIFAR as PreAct18CIFAR,
    ResNet18 as ResNet18,
    ResNet18CIFAR as ResNet18CIFAR,
    ResNeXt29CIFAR as ResNeXt29CIFAR,
    SENet18CIFAR as SENet18CIFAR,
)
from .classifier import (
    Classifier as Classifier,
)
from .own import (
    register as register,
)
from .registry import (
    NAMES as NAMES,
    NORMS as NORMS,
    family as family,
)
from .segmentation import (
    fcn as fcn,
)
from .weights import (
    released as released,
)
from .zfnet import (
    AlexNet as AlexNet,
    AlexNet32 as AlexNet32,
    ZFNet as ZFNet,
    ZFNet32 as ZFNet32,
)
