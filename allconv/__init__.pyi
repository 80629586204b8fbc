from . import (
    core as core,
    data as data,
    figures as figures,
    layers as layers,
    lessons as lessons,
    networks as networks,
    presets as presets,
    probes as probes,
    reports as reports,
    results as results,
    saliency as saliency,
    training as training,
)
from .networks.classifier import Classifier as Classifier
from .saliency.explainer import Explainer as Explainer, explain as explain

__version__: str
