from . import (
    annotations as annotations,
    arguments as arguments,
    arrays as arrays,
    backend as backend,
    checks as checks,
    disk as disk,
    files as files,
    locks as locks,
    machine as machine,
    runtime as runtime,
    waiting as waiting,
)
from .files import (
    DamagedFileError as DamagedFileError,
    read as read,
    write as write,
    write_bytes as write_bytes,
)
from .runtime import (
    environment as environment,
    set_seed as set_seed,
    set_threads as set_threads,
)
