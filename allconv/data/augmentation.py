"""Random changes of training images: what they may be, by name."""

from dataclasses import dataclass
from typing import Literal

from allconv.core.arguments import Checked, Count, NotNegative


@dataclass(frozen=True)
class Augmentation(Checked):
    """Random changes of one training image.

    Attributes:
        shift: Largest translation per axis, in pixels, either way.
        flip: Whether half of the images are mirrored left to right.
        mode: What enters at the border: `"CONSTANT"` (0) or `"REFLECT"`.
        alternate: With `flip`: half of the images are mirrored in the even epochs, the
            other half in the odd ones, so that two epochs show each image both ways
            (Jordan, '94% on CIFAR-10 in 3.29 seconds on a single GPU', 2024).
        crop: Of images read as they are needed, which part is taken: `"centre"`;
            `"ten"`: a corner or the middle of the middle square (Zeiler & Fergus,
            2014); `"random"`: any place of it; `"scale"`: 8 to 100 % of the area, its
            sides 3 : 4 to 4 : 3. See `crops`.
        colour: Standard deviation of the factors on the principal components of the
            pixels' colours that are added to each image (Krizhevsky et al., 2012).
        cutout: Side in pixels of a square that is set to 0, the mean of preprocessed
            images, about a pixel anywhere in what is seen of the image; at the border
            a part of it (DeVries & Taylor, 'Improved regularization of convolutional
            neural networks with cutout', 2017).
    """

    shift: Count = 0
    flip: bool = False
    mode: Literal["CONSTANT", "REFLECT"] = "CONSTANT"
    alternate: bool = False
    crop: Literal["centre", "ten", "random", "scale"] = "centre"
    colour: NotNegative = 0.0
    cutout: Count = 0


AUGMENTATIONS = {
    "none": Augmentation(),
    # Table 4, 'with augmentation': flips and translations of up to 5 pixels, made on
    # the whitened images, where 0 is the mean.
    "paper": Augmentation(shift=5, flip=True),
    # The custom of later work: 4 pixels, mirrored at the border.
    "reflect": Augmentation(shift=4, flip=True, mode="REFLECT"),
    "flip": Augmentation(flip=True),
    # Ye et al. (2020) for CIFAR: 4 pixels, with zeros.
    "crop": Augmentation(shift=4, flip=True),
    "alternate": Augmentation(shift=4, flip=True, mode="REFLECT", alternate=True),
    # Of images that are read as they are needed.
    "ten_crops": Augmentation(flip=True, crop="ten"),
    "random_crops": Augmentation(flip=True, crop="random"),
    "random_crops_colour": Augmentation(flip=True, crop="random", colour=0.1),
    "scaled_crops": Augmentation(flip=True, crop="scale"),
    "alternate_cutout": Augmentation(
        shift=4, flip=True, mode="REFLECT", alternate=True, cutout=12
    ),
}
