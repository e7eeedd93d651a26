"""`npuwatt` and `python -m npuwatt`: prepares the process, runs one command, turns its end into an exit code."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import NoReturn

from npuwatt import __version__
from npuwatt.errors import say

OK, BUG, IO_FAILED, INTERRUPTED = 0, 70, 74, 130  # 1 and 2 are a command's own: a gate failed, bad input


def main() -> NoReturn:
    """Run the command line and leave at once: taking a large interpreter down costs more than many a command."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (a closed stream, for as long as the process)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 (as above)
    if sys.argv[1:] in (["--version"], ["-V"]):
        leave(run([], answer=f"npuwatt {__version__}"))
    gc.disable()  # nothing worth collecting while modules load; a sweep turns it on again
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a thread pool takes a third of numpy's import
    for name in ("_add_newdocs", "_add_newdocs_scalars"):  # and docstrings for its C functions an eighth
        sys.modules.setdefault(f"numpy._core.{name}", ModuleType(name))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    leave(run(sys.argv[1:]))


def run(arguments: list[str], answer: str = "") -> int:
    """The exit code of one command, or of printing an answer that needs none."""
    try:
        if answer:
            print(answer)
            code = OK
        else:
            from npuwatt.cli.app import invoke

            code = invoke(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as error:  # typer's own end where a pipe is closed: who closed it has seen enough
        closed = type(sys.stdout).__name__ == "PacifyFlushWrapper"
        return OK if closed or not isinstance(error.code, int) else error.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who closed the pipe has seen enough
        return OK
    except OSError as error:
        say(f"npuwatt: {error.filename or 'output'}: {(error.strerror or str(error)).lower()}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return IO_FAILED
    except Exception as error:  # noqa: BLE001 (whatever it is, it is a bug and ends as one)
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        text = str(error).splitlines()[:1] or [""]
        say(f"npuwatt {__version__} has a bug: {type(error).__name__}: {text[0][:200]}")
        say("please report the command and this line; --debug shows where it happened")
        return BUG


def leave(code: int) -> NoReturn:
    """Flush and end without tear-down, unless a coverage run needs its last words."""
    if code == INTERRUPTED:
        say("interrupted")
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        say(f"npuwatt: output: {(error.strerror or str(error)).lower()}")
        code = IO_FAILED
    with suppress(OSError):
        sys.stderr.flush()
    if "coverage" in sys.modules:
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    main()
