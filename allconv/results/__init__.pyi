from . import (
    evaluation as evaluation,
    paper as paper,
    records as records,
    tables as tables,
)
from .evaluation import (
    Evaluation as Evaluation,
    evaluate as evaluate,
    evaluate_photos as evaluate_photos,
    score as score,
)
from .tables import (
    TABLES as TABLES,
    Summary as Summary,
    finished as finished,
    followed as followed,
    markdown as markdown,
    read as read,
    render as render,
    rows as rows,
    summarise as summarise,
    title as title,
)
