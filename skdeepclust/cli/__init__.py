"""The command line: ``skdeepclust fit FOLDER`` and its sisters."""

import argparse
import contextlib
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

import skdeepclust
from skdeepclust.cli import demo, fit, predict, recipes, report
from skdeepclust.cli._arguments import meant

__all__ = ["main"]

# What shells report of a command that Ctrl-C ended, and of one whose reader has gone.
_INTERRUPTED, _UNREAD = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None takes those of the process.

    Returns
    -------
    int
        Exit status: 0, 130 after Ctrl-C, or 141 if nobody reads the output. Unusable arguments
        or files exit with 2, after one line that says what to do.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may be no text, or be none in the encoding that Windows has for pipes.
        encoding = None if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="surrogateescape")
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(args.parser, unknown)
    try:
        # A program gets the result alone, and people's words as messages.
        with contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext():
            result = args.run(args)
        if args.json:
            print(json.dumps(result, allow_nan=False, default=_plain))
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left to write has no reader, and must not be an error when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD
    except KeyboardInterrupt as stopped:
        print(f"\n{stopped}" if stopped.args else "\nInterrupted.", file=sys.stderr)
        return _INTERRUPTED
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        if args.traceback:
            raise
        args.parser.error(" ".join(str(error).split()))
    return 0


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _refuse(command: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Say what the command may have been meant to be told: it has --n-clusters, no --n_clusters."""
    options = re.findall(r"--[a-z-]+", command.format_help())
    hint = meant(unknown[0].partition("=")[0], options)
    command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


class _Parser(argparse.ArgumentParser):
    """Say in one line what to mend."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="skdeepclust",
        description="Deep image clustering: sort unlabelled images into clusters.",
        epilog="Begin with: skdeepclust fit FOLDER",
    )
    version = f"skdeepclust {skdeepclust.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (demo, fit, predict, report, recipes):
        command = module.add_to(commands)
        command.formatter_class = argparse.RawDescriptionHelpFormatter  # for the examples
        command.description = textwrap.fill(command.description or "", 78)
        command.add_argument(
            "--traceback", action="store_true", help="show where in the code an error arose"
        )
        command.set_defaults(parser=command)
    return parser
