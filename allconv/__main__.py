"""The command line: `python -m allconv COMMAND`. Arguments in, text out."""

import importlib
import os
import signal
import sys
import traceback

from allconv.commands import terminal
from allconv.commands.arguments import parser as _parser
from allconv.core.checks import one_line

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 2 for what a person can mend, 1 for what not, or where
        something was found to be amiss; 128 + the signal's number if one ended it.
    """
    terminal.mend_streams()
    arguments = _parser().parse_args(argv)
    module, _, function = arguments.command.partition(".")
    try:
        for name in arguments.modules:
            terminal.import_tensorflow()  # which it will need, and says nothing then
            importlib.import_module(name)
        command = importlib.import_module(f"allconv.commands.{module}")
        status = getattr(command, function)(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`
        terminal.silence()
        # A run that nobody hears cannot say that it came to its end.
        return int(arguments.command == "train.train")
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'Stopped.'}", file=sys.stderr)
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except Exception as error:  # the one place that keeps a traceback from a person
        return _explain(error, arguments.traceback)
    return status or 0


def _explain(error: Exception, with_traceback: bool) -> int:
    """Print an error in one line; returns the exit status."""
    if with_traceback:
        traceback.print_exception(error)
    # What is raised about arguments, files, data and packages is one of these.
    foreseen = isinstance(error, ValueError | RuntimeError | OSError | ImportError)
    if foreseen and not isinstance(error, NotImplementedError | RecursionError):
        print(f"allconv: {one_line(error)}", file=sys.stderr)
        return 2
    hint = "" if with_traceback else " (--traceback shows where)"
    kind = type(error).__name__
    print(f"allconv: {kind}: {one_line(error)}{hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
