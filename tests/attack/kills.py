"""Kills the commands that write (-9) at random moments, does each again, and compares with an undisturbed run.

    python tests/attack/kills.py --seed 0 --tries 200

prints one line of JSON: how often each command was tried and how many kills came before its end; how many tries fell,
because they could not be done again, lost a file, left a temporary one, or differed in another way.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # for what is not imported yet
sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

import torch
from killing import Outcome, World, forked, killable, tree


def attack(seed: int, tries: int) -> dict[str, Any]:
    """Kills at random moments; the figures.

    Args:
        seed: Of the moments.
        tries: Over all commands, in turn.
    """
    torch.set_num_threads(1)
    chooser, found, began = random.Random(seed), Counter[str](), time.perf_counter()
    faults: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory() as made,
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        killable(Path(made)) as world,
    ):
        assert threading.active_count() == 1  # a fork has the locks of other threads as they are, and not the threads
        run = Path(made) / "run"
        undisturbed = {command: _undisturbed(world, command, run) for command in world.words}
        for number in range(tries):
            command = list(world.words)[number % len(world.words)]
            seconds, after = undisturbed[command]
            work = world.lay(command, run)
            hit = forked(work, run, after=chooser.uniform(0, seconds)).killed
            again = forked(work, run)
            damage = _damage(again, tree(run), after)
            found.update(
                {command: 1, "hit": hit, "fell": any(damage.values()), **{at: bool(damage[at]) for at in damage}}
            )
            if any(damage.values()):
                faults[f"try {number}: {command}"] = damage
    return {"tries": tries, **found, "seconds": round(time.perf_counter() - began, 1), "faults": faults}


def _undisturbed(world: World, command: str, run: Path) -> tuple[float, dict[str, bytes | None]]:
    """How long a command takes, and what is there afterwards."""
    work = world.lay(command, run)
    began = time.perf_counter()
    assert forked(work, run).code == 0
    return time.perf_counter() - began, tree(run)


def _damage(again: Outcome, there: dict[str, bytes | None], after: dict[str, bytes | None]) -> dict[str, list[str]]:
    """What is wrong after a command was killed and done again: its exit code, or the files that are."""
    left = {name for name in there if ".lape-" in name}
    lost = after.keys() - there.keys()
    differing = {name for name in there.keys() - left if name not in after or there[name] != after[name]}
    failed = [str(again.code)] if again.code != 0 else []
    return {"failed": failed, "lost": sorted(lost), "left": sorted(left), "differing": sorted(differing)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=int, default=200)
    print(json.dumps(attack(**vars(parser.parse_args()))))
