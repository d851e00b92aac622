"""Checks the rules of the code base that no linter knows; one line per violation, exit code 1.

Run as `python tests/check_structure.py` from anywhere, or with the rest by `make check`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The rooms of lape/: a module imports from its own room or from rooms above it. `lape` is the public API,
# lape/__init__.py.
ROOMS = """
    errors version languages interrupts processes
    storage
    drawing
    hub
    models
    recording
    masks
    identify
    generation
    serving
    inspection
    sharing
    evaluation
    report
    collection
    lape
    doctor
    cli
    __main__ demo
"""
PLACE = {name: place for place, line in enumerate(ROOMS.strip().splitlines()) for name in line.split()}

# Parts of the page: page.py puts them together; no other module of lape/demo/ knows one, and none knows another.
TABS = ("about", "compare", "find", "masks", "measure", "models", "neurons")

LINES = 300  # a module past this is two modules
BYTES = 10_000_000  # Spaces and the Hub want larger files outside of git
HEAVY_MASK = re.compile(r"huggingface_hub\b|lape\.hub\b|lape\.models\.loading\b|lape\.masks\.collection\b")
# What an import of lape does not bring: at all, and with all of its names.
HEAVY = {
    "import lape": ("torch", "transformers", "numpy", "huggingface_hub"),
    "from lape import *": ("gradio", "datasets", "matplotlib", "plotly", "altair", "seaborn", "bokeh"),
}
MACHINE_BOUND = re.compile(
    r"(?<![\w.~$])/(?:work|root|home)/"  # a path of one machine
    r"|\bpypi\.[a-z]|\bpythonhosted\.|\bregistry\.npmjs\.|\bdeb\.debian\.",  # the host of a package registry
    re.IGNORECASE,
)


def module_name(path: Path) -> str:
    """`lape/identify/lape.py` -> `lape.identify.lape`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place_of(module: str) -> str:
    """The room that holds a module: `lape.identify.lape` -> `identify`."""
    return module.split(".")[1] if "." in module else module


def is_module(name: str) -> bool:
    """Whether a dotted name is a file or a folder of this project."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(tree: ast.Module, package: str) -> Iterator[tuple[ast.stmt, set[str]]]:
    """Every import statement, nested ones included, with the full names of the modules it imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node, {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(filter(None, [*parents[: len(parents) - node.level + 1], base]))
            names = {f"{base}.{alias.name}" for alias in node.names}
            yield node, {name if base.startswith("lape") and is_module(name) else base for name in names}


def check_imports(path: Path) -> Iterator[str]:
    """Imports point to the same room or to one above; only the demo imports gradio."""
    where = path.relative_to(ROOT)
    module = module_name(path)
    here = place_of(module)
    if module.startswith("lape") and here not in PLACE:
        yield f"{where}: has no place in ROOMS of tests/check_structure.py"
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node, names in imports(tree, package):
        line = f"{where}:{node.lineno}"
        if here != "demo" and any(name.split(".")[0] == "gradio" for name in names):
            yield f"{line}: imports gradio outside of lape/demo/"
        if here == "cli" and node not in tree.body:  # a command imports what only it needs
            continue
        for target in sorted({place_of(name) for name in names if name.split(".")[0] == "lape"}):
            if PLACE.get(target, -1) > PLACE.get(here, len(PLACE)):
                yield f"{line}: {here} imports {target}, which comes after it"


def check_tabs(path: Path) -> Iterator[str]:
    """The page imports its tabs, tabs import what is shared, and nothing imports the other way or across."""
    module = module_name(path)
    if not module.startswith("lape.demo.") or module == "lape.demo.page":
        return
    here = module.split(".")[2]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node, names in imports(ast.parse(path.read_text(encoding="utf-8")), package):
        for tab in sorted({name.split(".")[2] for name in names if name.startswith("lape.demo.")} & {*TABS} - {here}):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: imports the tab {tab}; move up what they share"


def check_class_names(modules: list[Path]) -> Iterator[str]:
    """No two classes of lape/ have one name: a name in a message or a traceback is one thing."""
    places: dict[str, list[str]] = {}
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    for name, where in places.items():
        if len(where) > 1:
            yield f"{', '.join(where)}: classes of one name, {name}"


def check_test_folders() -> Iterator[str]:
    """Tests lie in folders named after the rooms of lape/."""
    for folder in sorted({path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*.py")}):
        if folder.parts and folder.parts[0] not in {*PLACE, "support", "attack"}:
            yield f"tests/{folder}: is no room of lape/"


def check_light_import() -> Iterator[str]:
    """An import of lape leaves alone what is not needed for it."""
    for statement, heavy in HEAVY.items():
        code = f"import sys; {statement}; print(*sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        if run.returncode:
            yield f"{statement} fails: {run.stderr.strip().splitlines()[-1]}"
        for name in sorted(set(heavy) & set(run.stdout.split())):
            yield f"{statement} imports {name}"


def check_mask_is_a_value() -> Iterator[str]:
    """What a mask is needs neither the Hub nor a model that is loaded: nothing it imports, however far, is of them."""
    seen, waiting = set(), ["lape.masks.mask"]
    while waiting:
        module = waiting.pop()
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        if module in seen or not path.is_file():
            continue
        seen.add(module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        here = {name for node, names in imports(tree, module.rpartition(".")[0]) if node in tree.body for name in names}
        yield from (f"lape.masks.mask needs {name}, by {module}" for name in sorted(here) if HEAVY_MASK.match(name))
        waiting += here


def check_length(path: Path) -> Iterator[str]:
    """No module is too long to read in one go."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > LINES:
        yield f"{path.relative_to(ROOT)}: {lines} lines, over {LINES}"


def check_file(path: Path) -> Iterator[str]:
    """No file is too large for git, or bound to one machine."""
    where = path.relative_to(ROOT)
    if path.stat().st_size > BYTES:
        yield f"{where}: {path.stat().st_size / 1e6:.1f} MB, over {BYTES / 1e6:.0f} MB"
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if found := MACHINE_BOUND.search(line):
            yield f"{where}:{number}: names one machine or registry: {found.group()}"


def project_files() -> list[Path]:
    """What git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in sorted({*listed.split("\0")} - {""}) if (path := ROOT / name).is_file()]


def violations() -> Iterator[str]:
    """All of them, in a stable order."""
    modules = [path for path in (ROOT / "app.py", *sorted((ROOT / "lape").rglob("*.py"))) if path.is_file()]
    for path in modules:
        yield from check_imports(path)
        yield from check_tabs(path)
        yield from check_length(path)
    for path in project_files():
        yield from check_file(path)
    yield from check_class_names([path for path in modules if path.name != "app.py"])
    yield from check_test_folders()
    yield from check_light_import()
    yield from check_mask_is_a_value()


if __name__ == "__main__":
    found = list(violations())
    print(*found or ["structure: ok"], sep="\n")
    sys.exit(bool(found))
