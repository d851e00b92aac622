"""Attacks the library and its page and says what fell: `make attack ARGS="--minutes 10"`.

The parts: `fuzz` calls every event and route of the page with what no page sends, `soak` lets eight clients work for
long, `kills` ends writing commands at random moments. The figures go whole into a JSON file. The exit code is 1 when
something fell.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS.parent), str(TESTS / "support")]

PARTS: dict[str, dict[str, Any]] = {  # with how long each takes when nothing else is said
    "fuzz": {"minutes": 10.0},
    "kills": {"tries": 200},  # forks this process, so before the soak, which leaves threads in it
    "soak": {"minutes": 30.0},
}


def main() -> int:
    """Runs the parts asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], help="the parts to run; all of them")
    parser.add_argument("--minutes", type=float, help="how long fuzz and soak take, each (10 and 30)")
    parser.add_argument("--tries", type=int, help="calls of fuzz, in place of minutes; kills (200)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--out", type=Path, default=Path("attack.json"), help="the file of all figures")
    options = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    print(f"{'part':<8}{'tries':>10}{'fell':>8}{'seconds':>10}", flush=True)
    for name in sorted(options.only, key=[*PARTS].index):
        given = {"tries": options.tries} if options.tries and name != "soak" else {}
        given = given or ({"minutes": options.minutes} if options.minutes and name != "kills" else PARTS[name])
        found = figures[name] = importlib.import_module(name).attack(seed=options.seed, **given)
        options.out.write_text(json.dumps(figures, indent=1, ensure_ascii=True) + "\n")
        print(f"{name:<8}{found['tries']:>10,}{found['fell']:>8,}{found['seconds']:>10,.0f}", flush=True)
    for name, found in figures.items():
        for fault, about in found.get("faults", {}).items():
            print(f"\n{name}: {fault}", *(f"  {key}: {value}" for key, value in about.items()), sep="\n")
    return int(any(found["fell"] for found in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
