"""Entry point of the command line."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

from xarray_dicom.cli import index, info


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process if None.

    Returns
    -------
    int
        Exit code: 0, or 1 if something failed for an object. Wrong usage exits with 2.
    """
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    command: Callable[[argparse.Namespace], int] = arguments.command
    return command(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xarray-dicom", description="DICOM images where they lie, in any store."
    )
    release = f"%(prog)s {version('xarray-dicom')}"
    parser.add_argument("--version", action="version", version=release)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (info, index):
        command.add_parser(commands)
    return parser
