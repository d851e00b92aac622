"""The command that compares methods and ways of switching on one model."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from lape.cli.common import add, codes
from lape.cli.evaluate import add_subject, measure, named_strengths


def register(commands: Any) -> None:
    """Adds the command."""
    about = "compare methods that find neurons, and ways of switching, on one model"
    add(commands, "bench", _bench, about, deferred=_add_options)


def _add_options(bench: argparse.ArgumentParser) -> None:
    from lape.evaluation.metrics.ways import WAYS

    add_subject(bench)
    bench.add_argument(
        "--recordings", type=Path, help="folder that lape record has written to (default: the folder of the mask)"
    )
    bench.add_argument("--methods", type=codes, help="of identification (default: all whose recording is there)")
    bench.add_argument(
        "--counts",
        type=codes,
        default=["equal", "own"],
        help="how many neurons: equal, as many as the mask has, and own, by the method's cut (default: both)",
    )
    bench.add_argument(
        "--ways",
        type=codes,
        help=f"of switching: {', '.join(WAYS)} (default: all that have what they need); every mask is switched the "
        "first that switches neurons, the given mask all of them",
    )
    bench.add_argument(
        "--strengths",
        type=partial(named_strengths, WAYS),
        action="append",
        default=[(name, list(way.strengths)) for name, way in WAYS.items()],
        metavar="WAY=NUMBERS",
        help="that are tried, such as diffmean=0.5,1; may be repeated (default: three for every way)",
    )
    bench.add_argument(
        "--items", type=int, default=10, help="openings that figures are of, for each target (default: %(default)s)"
    )
    bench.add_argument("--elsewhere", help="held-out text of another domain, named as --corpus")
    bench.add_argument("--tokens", type=int, default=256, help="held-out tokens per language (default: %(default)s)")
    bench.add_argument("--block", type=int, default=64, help="tokens per block (default: %(default)s)")
    bench.add_argument("--seeds", type=int, default=1, help="random masks as a control (default: %(default)s)")


def _bench(options: argparse.Namespace) -> None:
    strengths = dict(options.strengths)  # of a way that is named twice the last counts
    options.strengths = [(name, some) for name, some in strengths.items() if name in (options.ways or strengths)]
    measure(options, ("bench",))
