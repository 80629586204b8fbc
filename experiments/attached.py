"""Run a command that ends when the process that asked for it does.

    python -m experiments.attached PID COMMAND ...

PID is the parent's. On Linux the kernel tells the command of its parent's death, even
of a `kill -9`; elsewhere this process stays between them and looks every two seconds.
The command gets SIGTERM, on which a training run ends safely.
"""

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1  # of linux/prctl.h; kept over exec
PAUSE = 2.0  # seconds


def main() -> int:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it was asked for
            return 1
        os.execvp(command[0], command)
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait(PAUSE)
            except subprocess.TimeoutExpired:
                if os.getppid() != parent:
                    process.terminate()


if __name__ == "__main__":
    sys.exit(main())
