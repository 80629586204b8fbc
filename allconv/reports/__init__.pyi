from . import (
    explanation as explanation,
)
from . import (
    gallery as gallery,
)
from . import (
    units as units,
)
