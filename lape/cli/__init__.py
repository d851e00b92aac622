"""The `lape` command; its commands are in the modules beside this one.

Exit codes: 0 on success, 1 for a fault of ours or a model of a collection that failed, 2 for bad input (one line on
standard error), 130 for Ctrl-C or a request to end.
With `--json` standard output holds JSON alone; progress and notes go to standard error.
"""

from __future__ import annotations

import argparse
import errno
import logging
import reprlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lape.cli import (
    bench,
    collect,
    combine,
    demo,
    diff,
    evaluate,
    generate,
    identify,
    look,
    machine,
    neuron,
    record,
    relations,
    released,
    share,
)
from lape.errors import LapeError, LapeWarning
from lape.interrupts import STOPPED, interrupts
from lape.processes import launched
from lape.version import __version__

LONGEST_MESSAGE = 400  # characters; the one that names all commands is shorter


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line; argparse would print the whole usage first.

    Attributes:
        deferred: Adds options that are read from the library, whose imports take seconds; called when the command is
            named.
    """

    deferred: Callable[[argparse.ArgumentParser], None] | None = None

    def complete(self) -> _Parser:
        """Adds what was deferred."""
        if self.deferred is not None:
            self.deferred(self)
            self.deferred = None
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.complete()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if len(message) > LONGEST_MESSAGE:  # it repeats the word that was wrong
            message = f"{message[:LONGEST_MESSAGE]}..."
        raise LapeError(f"{message} (see `{self.prog} --help`)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        arguments: The words after `lape`; None takes those of the process.

    Returns:
        The exit code.
    """
    verbose = False
    with interrupts(also_ends=True) as interrupted:
        try:
            options = _parser().parse_args(arguments)
            verbose = options.verbose
            _quieten(verbose)
            return options.run(options) or 0
        except LapeError as error:
            print("lape:", " ".join(str(error).splitlines()), file=sys.stderr)  # it may repeat a word of several lines
            return 2
        except KeyboardInterrupt:
            return _stopped()
        except Exception as error:
            if interrupted.is_set():
                return _stopped()
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                # Any option may name a file, and asking whether there is one is refused by the system in many places.
                print(f"lape: {reprlib.repr(error.filename)} is too long for the name of a file.", file=sys.stderr)
                return 2
            if verbose:
                raise
            said = f"lape: unexpected {type(error).__name__}: {error} (-v shows where; please report it)"
            print(said, file=sys.stderr)
            return 1


def _stopped() -> int:
    print(STOPPED, file=sys.stderr)
    return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lape", description="See and switch the language neurons of large language models.")
    parser.add_argument("--version", action="version", version=f"lape {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show logs of the libraries, and tracebacks")
    parser.set_defaults(run=lambda options: parser.print_help())  # where no command is named
    commands = parser.add_subparsers(metavar="COMMAND")
    recording, masks, measuring = (record, relations), (identify, released, combine, diff), (evaluate, bench)
    shown = (generate, look, neuron)
    for module in (demo, *recording, *masks, *shown, *measuring, share, collect, machine):
        module.register(commands)
    return parser


def _quieten(verbose: bool) -> None:
    """Our warnings as one line each; the libraries' logs only when asked for."""

    def one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if verbose or (
            issubclass(category, LapeWarning) and launched()[0] == 0
        ):  # of several processes each has the same
            print(f"lape: note: {message}", file=sys.stderr)

    warnings.showwarning = one_line
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)
    logging.getLogger("huggingface_hub").setLevel(logging.INFO if verbose else logging.ERROR)  # has its own level
