from . import (
    addresses as addresses,
    audit as audit,
    cam as cam,
    elementwise as elementwise,
    explainer as explainer,
    inputs as inputs,
    lrp as lrp,
    lrp_pass as lrp_pass,
    lrp_rules as lrp_rules,
    neurons as neurons,
    rectifier_search as rectifier_search,
    reverse_pass as reverse_pass,
    reverse_steps as reverse_steps,
    rules as rules,
    sanity as sanity,
    similarity as similarity,
    soundness as soundness,
)
from .cam import (
    class_activation_map as class_activation_map,
    grad_cam as grad_cam,
    guided_grad_cam as guided_grad_cam,
)
from .explainer import (
    Explainer as Explainer,
    backprop as backprop,
    deconvnet as deconvnet,
    explain as explain,
    guided_backprop as guided_backprop,
)
from .reverse_pass import (
    project as project,
    reverse as reverse,
)
from .rules import (
    RULES as RULES,
    Rule as Rule,
)
from .sanity import (
    randomisation_test as randomisation_test,
)
from .similarity import (
    class_similarity as class_similarity,
    edge_maps as edge_maps,
    rank_correlation as rank_correlation,
    ssim as ssim,
)
