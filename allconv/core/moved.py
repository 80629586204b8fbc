"""Module names of version 0.1, which go with the next release."""

import importlib
import importlib.util
import types
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

# old -> (new, functions that have another name there)
MOVED: dict[str, tuple[str, dict[str, str]]] = {
    "allconv.models": ("allconv.networks.all_cnn", {}),
    "allconv.netdeconv": ("allconv.layers.netdeconv", {}),
    "allconv.plots": ("allconv.figures.maps", {}),
    "allconv.train": ("allconv.training.run", {"run": "train"}),
    "allconv.weights": ("allconv.networks.weights", {}),
}


class Finder(MetaPathFinder, Loader):
    """Finds a module by its old name, with a `DeprecationWarning`."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: types.ModuleType) -> None:
        new, renamed = MOVED[module.__name__]
        words = f"`{module.__name__}` is now `{new}`"
        words += "".join(f", and its `{a}` is `{b}`" for a, b in renamed.items())
        warnings.warn(f"{words}.", DeprecationWarning, stacklevel=2)
        content = vars(importlib.import_module(new))
        public = {k: v for k, v in content.items() if not k.startswith("__")}
        public |= {old: content[name] for old, name in renamed.items()}
        vars(module).update(public)
