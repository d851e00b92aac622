"""Prints which small changes of the core packages no test notices: `make mutants ARGS="identify --sample 200"`.

mutmut makes the changes, called mutants, and runs on each the tests that reach it; what is here chooses a sample and
reports. Results are kept in `mutants/`: a mutant that has one is not run again, so an interrupted run is taken up, and
`make clean` begins anew. A sample depends on the names of the functions alone: the same function gives the same
mutants to it on every commit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("identify", "generation", "recording", "masks", "evaluation")
COLUMNS = ("killed", "survived", "timeout", "no tests", "other")


def mutate() -> None:
    """Writes the mutated copy of the project; files that have not changed are left as they are."""
    from mutmut.__main__ import create_mutants
    from mutmut.mutation.trampoline import set_mutant_under_test
    from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir

    (ROOT / "mutants").mkdir(exist_ok=True)
    set_mutant_under_test("mutant_generation")
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(os.cpu_count() or 1)


def results() -> dict[str, tuple[Path, int | None]]:
    """Every mutant: the file it changes, and the exit code of its tests if they have run."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.utils.file_utils import walk_mutatable_files

    found = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found |= {name: (path, code) for name, code in data.exit_code_by_key.items()}
    return found


def sample(names: list[str], size: int | None, seed: int) -> list[str]:
    """As many of the mutants as asked for, the same ones for the same names and seed."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:size]


def status(code: int | None) -> str:
    """The column of the table an exit code belongs to."""
    from mutmut.stats import status_by_exit_code

    return name if (name := status_by_exit_code[code]) in COLUMNS else "other"


def report(chosen: dict[str, list[str]]) -> None:
    """Prints the mutants no test noticed, each with file, line and change, then the table."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    found = results()
    rows = [f"{'package':<12}{'mutants':>10}" + "".join(f"{column:>10}" for column in COLUMNS)]
    for package, names in chosen.items():
        counts = Counter(status(found[name][1]) for name in names)
        for name in sorted(names):
            path, code = found[name]
            if status(code) in ("survived", "no tests"):
                print(f"{path} {name}: {status(code)}\n{get_diff_for_mutant(name, path=path)}\n")
        rows.append(f"{package:<12}{len(names):>10}" + "".join(f"{counts[column]:>10}" for column in COLUMNS))
    print("\n".join(rows))


def main() -> int:
    """Runs the mutants asked for that have no result yet, and reports on all asked for."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="PACKAGE", help=", ".join(PACKAGES))
    parser.add_argument("--sample", type=int, help="how many mutants of each package; all when not given")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants tested at the same time")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.packages) - set(PACKAGES)):
        parser.error(f"no mutants of {', '.join(unknown)}; there are those of {', '.join(PACKAGES)}")
    os.chdir(ROOT)
    mutate()
    found = results()
    chosen = {}
    for package in arguments.packages:
        names = [name for name in found if name.startswith(f"lape.{package}.")]
        chosen[package] = sample(names, arguments.sample, arguments.seed)
    waiting = [name for names in chosen.values() for name in names if found[name][1] is None]
    if waiting:
        command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(arguments.jobs)]
        if failed := subprocess.run([*command, *waiting]).returncode:
            return failed
    report(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
