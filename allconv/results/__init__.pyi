from . import (
    evaluation as evaluation,
)
from . import (
    paper as paper,
)
from . import (
    records as records,
)
from . import (
    tables as tables,
)
from .evaluation import (
    Evaluation as Evaluation,
)
from .evaluation import (
    evaluate as evaluate,
)
from .evaluation import (
    score as score,
)
from .tables import (
    TABLES as TABLES,
)
from .tables import (
    Summary as Summary,
)
from .tables import (
    finished as finished,
)
from .tables import (
    followed as followed,
)
from .tables import (
    markdown as markdown,
)
from .tables import (
    read as read,
)
from .tables import (
    render as render,
)
from .tables import (
    rows as rows,
)
from .tables import (
    summarise as summarise,
)
from .tables import (
    title as title,
)
