from . import (
    checks as checks,
)
from . import (
    files as files,
)
from . import (
    machine as machine,
)
from . import (
    runtime as runtime,
)
from . import (
    waiting as waiting,
)
from .files import (
    DamagedFileError as DamagedFileError,
)
from .files import (
    read as read,
)
from .files import (
    write as write,
)
from .files import (
    write_bytes as write_bytes,
)
from .runtime import (
    environment as environment,
)
from .runtime import (
    set_seed as set_seed,
)
from .runtime import (
    set_threads as set_threads,
)
