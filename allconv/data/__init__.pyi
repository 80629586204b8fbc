from . import (
    augmentation as augmentation,
    batches as batches,
    cifar as cifar,
    cifar_files as cifar_files,
    crops as crops,
    datasets as datasets,
    folders as folders,
    index as index,
    loader as loader,
    measured as measured,
    mnist as mnist,
    own as own,
    photo as photo,
    photos as photos,
    pickled as pickled,
    preprocessing as preprocessing,
    segmentation as segmentation,
    shapes as shapes,
    streams as streams,
    tfrecords as tfrecords,
    whitenings as whitenings,
)
from .augmentation import (
    AUGMENTATIONS as AUGMENTATIONS,
    Augmentation as Augmentation,
)
from .cifar import (
    DataError as DataError,
)
from .datasets import (
    CLASS_NAMES as CLASS_NAMES,
    NAMES as NAMES,
    data_folder as data_folder,
    fingerprint as fingerprint,
    hold_out as hold_out,
    is_cached as is_cached,
    load as load,
)
from .preprocessing import (
    GCNZCA as GCNZCA,
    ZCA as ZCA,
    MeanStd as MeanStd,
    gcn as gcn,
)
