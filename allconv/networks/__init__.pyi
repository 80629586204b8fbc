from . import (
    all_cnn as all_cnn,
)
from . import (
    all_cnn_rows as all_cnn_rows,
)
from . import (
    builders as builders,
)
from . import (
    classics as classics,
)
from . import (
    classics_rows as classics_rows,
)
from . import (
    classifier as classifier,
)
from . import (
    places as places,
)
from . import (
    registry as registry,
)
from . import (
    weights as weights,
)
from . import (
    zfnet as zfnet,
)
from . import (
    zfnet_rows as zfnet_rows,
)
from .all_cnn import (
    AllCNNA as AllCNNA,
)
from .all_cnn import (
    AllCNNB as AllCNNB,
)
from .all_cnn import (
    AllCNNBImageNet as AllCNNBImageNet,
)
from .all_cnn import (
    AllCNNC as AllCNNC,
)
from .all_cnn import (
    ConvPoolCNNA as ConvPoolCNNA,
)
from .all_cnn import (
    ConvPoolCNNB as ConvPoolCNNB,
)
from .all_cnn import (
    ConvPoolCNNC as ConvPoolCNNC,
)
from .all_cnn import (
    LargeAllCNN as LargeAllCNN,
)
from .all_cnn import (
    ModelA as ModelA,
)
from .all_cnn import (
    ModelB as ModelB,
)
from .all_cnn import (
    ModelC as ModelC,
)
from .all_cnn import (
    StridedCNNA as StridedCNNA,
)
from .all_cnn import (
    StridedCNNB as StridedCNNB,
)
from .all_cnn import (
    StridedCNNC as StridedCNNC,
)
from .classics import (
    VGG16CIFAR as VGG16CIFAR,
)
from .classics import (
    MobileNetV2CIFAR as MobileNetV2CIFAR,
)
from .classics import (
    ResNet18CIFAR as ResNet18CIFAR,
)
from .classifier import (
    Classifier as Classifier,
)
from .registry import (
    NAMES as NAMES,
)
from .registry import (
    NORMS as NORMS,
)
from .registry import (
    build as build,
)
from .registry import (
    family as family,
)
from .registry import (
    register as register,
)
from .weights import (
    released as released,
)
from .zfnet import (
    AlexNet as AlexNet,
)
from .zfnet import (
    AlexNet32 as AlexNet32,
)
from .zfnet import (
    ZFNet as ZFNet,
)
from .zfnet import (
    ZFNet32 as ZFNet32,
)
