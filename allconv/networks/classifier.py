"""A weight file with its network: from raw images to probabilities."""

from dataclasses import dataclass
from pathlib import Path

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
import numpy as np

from allconv.data import batches
from allconv.data.preprocessing import KINDS, Preprocessor
from allconv.networks import builders, weights


@dataclass(frozen=True)
class Classifier:
    """A network with its preprocessing, as loaded from a file.

    Attributes:
        model: Takes preprocessed images, gives probabilities.
        preprocessor: uint8 images to the model's inputs.
        meta: Architecture, data set, classes, preset, seed, error.
    """

    model: keras.Model
    preprocessor: Preprocessor
    meta: dict

    @classmethod
    def load(cls, path: str | Path) -> "Classifier":
        """Load a file of `weights.save` with the network it was made from.

        Raises:
            FileNotFoundError: If there is no such file, or none of the shared
                preprocessing beside it.
            DamagedFileError: If it is not whole, or not a weight file.
        """
        arrays, meta = weights.read(Path(path))
        model = builders.build(
            meta["architecture"],
            classes=meta["classes"],
            input_shape=tuple(meta["input_shape"]),
        )
        weights.assign(model, arrays, Path(path))
        constants = weights.preprocessing(arrays, meta, Path(path))
        return cls(model, KINDS[meta["preprocessing"]].from_arrays(constants), meta)

    @classmethod
    def released(cls, architecture: str, dataset: str = "cifar10") -> "Classifier":
        """Load the weights released with this project for a network and a data set.

        Args:
            architecture: A name of `registry.NAMES`, e.g. `"all_cnn_c"`.
            dataset: The data set it was trained on.

        Raises:
            ValueError: If none are released.
            DamagedFileError: If the file's SHA-256 is not the manifest's.
        """
        return cls.load(weights.released(architecture, dataset))

    def save(self, path: str | Path) -> None:
        """Write network, preprocessing and facts to one file, which `load` reads.

        Args:
            path: The file; its folder is made. It is written whole or not at all.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = ("architecture", "dataset", "classes", "input_shape", "preprocessing")
        facts = {k: v for k, v in self.meta.items() if k not in (*known, "shared")}
        weights.save(
            path,
            self.model,
            self.meta["architecture"],
            self.preprocessor,
            self.meta["dataset"],
            facts,
        )

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """What the model takes: raw uint8 images, preprocessed.

        Args:
            images: uint8 `(n, height, width, 3)`.

        Raises:
            ValueError: If they are anything else, scaled already, say; or none.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
            raise ValueError(
                "Images should be raw: uint8 of shape (n, height, width, 3), one at "
                f"least. Received: {images.dtype}, {images.shape}"
            )
        return self.preprocessor(images)

    def predict(
        self,
        images: np.ndarray,
        batch_size: int = 250,
        test_time_augmentation: bool = False,
    ) -> np.ndarray:
        """Class probabilities `(n, classes)` of raw uint8 images.

        Args:
            images: `(n, height, width, 3)`.
            batch_size: Images a step; bounds the memory.
            test_time_augmentation: Whether to take the mean of the probabilities of
                each image and of its mirror image: twice the work.

        Raises:
            ValueError: As `inputs`.
        """
        inputs = self.inputs(images)
        views = (inputs, inputs[:, :, ::-1]) if test_time_augmentation else (inputs,)
        return np.mean(
            [
                self.model.predict(
                    batches.in_order(view, batch_size=batch_size), verbose=0
                )
                for view in views
            ],
            axis=0,
        )
