from . import (
    checks as checks,
    imagenet as imagenet,
    live as live,
)
from .checks import (
    check as check,
)
from .live import (
    show as show,
)
