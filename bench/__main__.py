"""Print the benchmark table: `python -m bench --help`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

from bench import results, scale
from dashboard.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Figure
    from bench.scale import Scale

BENCHMARKS = (
    "drain",
    "ticking",
    "pages",
    "bulk",
    "startup",
    "postgresql",
    "recording",
    "preview",
    "celery",
    "failover",
)
"""Modules of this package with a `measure(scale)`, in the order of the table."""


def run(names: Sequence[str], size: Scale) -> Iterator[Figure]:
    """Run benchmarks one after the other and yield their figures as they are found."""
    for name in names:
        began = time.monotonic()
        yield from import_module(f"bench.{name}").measure(size)
        print(f"({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print it.

    A target that is missed is shown, not made an error: on a busy machine any can be.
    """
    options = _parser().parse_args(arguments)
    # What the person who measures has configured for a dashboard of theirs is not what is measured.
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    names = [name for name in BENCHMARKS if not options.only or name in options.only]
    figures = []
    try:
        for figure in run(names, scale.QUICK if options.quick else scale.FULL):
            figures.append(figure)
            if options.json:
                print(results.json_line(figure), flush=True)
    finally:  # what was measured before something failed is worth seeing
        if not options.json:
            print(results.table(figures), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument(
        "--only",
        action="append",
        choices=BENCHMARKS,
        metavar="NAME",
        help=f"measure this alone; repeatable: {', '.join(BENCHMARKS)}",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
