from . import (
    addresses as addresses,
)
from . import (
    audit as audit,
)
from . import (
    cam as cam,
)
from . import (
    explainer as explainer,
)
from . import (
    lrp as lrp,
)
from . import (
    lrp_pass as lrp_pass,
)
from . import (
    lrp_rules as lrp_rules,
)
from . import (
    neurons as neurons,
)
from . import (
    reverse_pass as reverse_pass,
)
from . import (
    reverse_steps as reverse_steps,
)
from . import (
    rules as rules,
)
from . import (
    sanity as sanity,
)
from . import (
    similarity as similarity,
)
from .cam import (
    class_activation_map as class_activation_map,
)
from .cam import (
    grad_cam as grad_cam,
)
from .cam import (
    guided_grad_cam as guided_grad_cam,
)
from .explainer import (
    Explainer as Explainer,
)
from .explainer import (
    backprop as backprop,
)
from .explainer import (
    deconvnet as deconvnet,
)
from .explainer import (
    explain as explain,
)
from .explainer import (
    guided_backprop as guided_backprop,
)
from .reverse_pass import (
    project as project,
)
from .reverse_pass import (
    reverse as reverse,
)
from .rules import (
    RULES as RULES,
)
from .rules import (
    Rule as Rule,
)
from .sanity import (
    randomisation_test as randomisation_test,
)
from .similarity import (
    class_similarity as class_similarity,
)
from .similarity import (
    edge_maps as edge_maps,
)
from .similarity import (
    rank_correlation as rank_correlation,
)
from .similarity import (
    ssim as ssim,
)
