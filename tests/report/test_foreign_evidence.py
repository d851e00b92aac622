"""Evidence may be anybody's: each of its places in turn holds something else, and is shown or left out by name."""

from __future__ import annotations

import copy
import json
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from evidence_samples import EVERYTHING, MASK, steering

from lape.cli import main
from lape.demo.measure import costs
from lape.demo.measure import evidence as measure
from lape.drawing.html import plain
from lape.errors import BadFile, LapeWarning
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.perplexity.section import CHANGES
from lape.masks.bundled import bundled_folder
from lape.models.embedded import SMOLLM2
from lape.report import MARKS, headlines, html_of, markdown_of, write_page, write_readme, write_tables
from lape.report.found import evidence_of

MARK = "<img src=x onerror=alert(1)>"
ODD_KEY = "\u202ea\n<script>alert(1)</script>" + "x" * 1000


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


INSTEAD: dict[str, Any] = {
    "null": None,
    "minus": -1,
    "large": 1e308,
    "larger": 10**30,
    "nan": float("nan"),
    "markup": MARK,
    "turned": "\u202e\n\x00|`",
    "long": "x" * 300_000,
    "list": [[1, MARK]],
    "many": [0] * 200_000,
    "mapping": {MARK: {MARK: MARK}},
    "deep": deep(200),
    "true": True,
}
Path_ = tuple[Any, ...]


def places(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Every place below a value, itself aside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield (*at, name)
        yield from places(each, (*at, name))


def changed(evidence: Mapping[str, Any], place: Path_, how: str) -> dict[str, Any]:
    """The evidence with something else in one place."""
    found: Any = copy.deepcopy(dict(evidence))
    holder = found
    for name in place[:-1]:
        holder = holder[name]
    if how == "missing":
        del holder[place[-1]]
    elif how == "renamed":
        value = holder.pop(place[-1])
        holder.insert(0, ODD_KEY) if isinstance(holder, list) else holder.update({ODD_KEY: value})
    else:
        holder[place[-1]] = INSTEAD[how]
    return found


def check(folder: Path, kind: str, content: Mapping[str, Any], good: Mapping[str, Any]) -> bool:
    """Whether it is shown; all else always is."""
    (folder / f"{kind}.json").write_text(json.dumps(content), encoding="utf-8")
    left_out: list[str] = []
    found = evidence_of(folder, None, left_out)
    assert set(found) == {*good, kind} - ({kind} if left_out else set()) or content.get("kind") != kind
    assert len(left_out) <= 1
    for said in left_out:
        assert kind in said
        assert said.isprintable()
        assert len(said) < 600
        assert said.endswith(".")
    if len({each["settings"]["mask"]["sha256"] for each in found.values()}) > 1:
        with pytest.raises(BadFile, match="different masks"), warnings.catch_warnings(action="ignore"):
            write_page(folder, folder / "report.html")
        found = {name: found[name] for name in good}
    html = html_of(found, left_out) + "".join([*measure._overview(found), *measure._rest(found)])
    if found:
        html += costs.lead(found) + "".join(costs.costs_chart(found))
    for code in costs.measured_languages(found):
        html += "".join(costs.one_language(found, code))
    for name in measure.mask_names(found):
        html += "".join(part for unit in CHANGES for part in measure.matrix_parts(found, name, unit))
    text = markdown_of(found, left_out) + headlines(found).markdown()
    for shown in (html, text):
        assert not re.search(r"(?i)(?<![\w'-])(nan|inf|infinity)(?![\w'-])", shown)
        assert not re.search(r"(?<!\\)<(img|script)", shown)
        assert "\x00" not in shown
    assert len(html) < 3_000_000
    return not left_out


def with_one_good(folder: Path, kind: str) -> dict[str, Any]:
    other = "harm" if kind != "harm" else "layers"
    (folder / f"{other}.json").write_text(json.dumps(EVERYTHING[other]), encoding="utf-8")
    return {other: EVERYTHING[other]}


def changes(evidence: Mapping[str, Any]) -> list[tuple[Path_, str]]:
    return [(place, how) for place in places(evidence) for how in (*INSTEAD, "missing", "renamed")]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_place_holds_it_is_shown_or_left_out_by_name(tmp_path: Path, kind: str) -> None:
    # Of 178 such changes 19 broke the report, the README's table or the page.
    good = with_one_good(tmp_path, kind)
    every = changes(EVERYTHING[kind])
    sample = random.Random(0).sample(every, 40)
    shown = [check(tmp_path, kind, changed(EVERYTHING[kind], *one), good) for one in sample]
    assert 0 < sum(shown) < len(shown)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_changes_of_each_kind_are_shown_or_left_out_by_name(tmp_path: Path, kind: str) -> None:
    good = with_one_good(tmp_path, kind)
    file = bundled_folder(SMOLLM2.model) / "evidence" / f"{kind}.json"
    bundled = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else EVERYTHING[kind]
    own = changes(EVERYTHING[kind])
    for one in random.Random(1).sample(own, min(len(own), 100)):
        check(tmp_path, kind, changed(EVERYTHING[kind], *one), good)
    for one in random.Random(1).sample(changes(bundled), 30):
        check(tmp_path, kind, changed(bundled, *one), good)


def test_what_is_left_out_is_named_everywhere_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, evidence in EVERYTHING.items():
        (tmp_path / f"{kind}.json").write_text(json.dumps(evidence), encoding="utf-8")
    wrong = changed(EVERYTHING["perplexity"], ("results", "masks", "lape", "off", "de", "fr", "delta_nats"), "markup")
    (tmp_path / "perplexity.json").write_text(json.dumps(wrong), encoding="utf-8")
    (tmp_path / "tuning.json").write_text("[" * 100_000, encoding="utf-8")
    (tmp_path / "harm.json").write_text(json.dumps({**EVERYTHING["harm"], "kind": "newer"}), encoding="utf-8")
    (tmp_path / "README.md").write_text("\n".join(MARKS) + "\n", encoding="utf-8")
    reasons = [
        "'harm.json' is of the kind newer, not layers, stability, firing, perplexity, tuning, steering, bench, "
        "confusion, harm, relations.",
        "'perplexity.json' does not say its results.masks.lape.off.de.fr.delta_nats as a mapping. Measure it again.",
        "'tuning.json' is not JSON (it is nested deeper than 64).",
    ]
    for write, name in ((write_page, "report.html"), (write_tables, "EVIDENCE.md"), (write_readme, "README.md")):
        with pytest.warns(LapeWarning) as caught:
            write(tmp_path, tmp_path / name)
        assert sorted(str(one.message) for one in caught) == [f"Evidence is left out. {reason}" for reason in reasons]
    tables = (tmp_path / "EVIDENCE.md").read_text(encoding="utf-8")
    assert all(plain(f"Left out: {reason}") in tables for reason in reasons)
    assert "Means over 2 ordered pairs of languages" in tables
    assert "not measured: lape evaluate perplexity" in (tmp_path / "README.md").read_text(encoding="utf-8")
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("default", LapeWarning)
        assert main(["report", str(tmp_path), "--html", str(tmp_path / "report.html")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == [f"lape: note: Evidence is left out. {reason}" for reason in reasons]


def test_when_nothing_fits_the_reasons_are_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "harm.json").write_text(json.dumps({**EVERYTHING["harm"], "results": {}}), encoding="utf-8")
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "report.html")]) == 2
    assert capsys.readouterr().err == (
        f"lape: There is no evidence in {str(tmp_path)!r}. `lape evaluate` makes it. 'harm.json' does not say its "
        "results.items as a mapping of at most 200, each key one line of text. Measure it again.\n"
    )
    assert not (tmp_path / "report.html").exists()


def test_figures_that_do_not_belong_together_are_left_out(tmp_path: Path) -> None:
    wrong = copy.deepcopy(EVERYTHING["perplexity"])
    wrong["results"]["controls"] = [MARK]  # no mask of that name was measured
    (tmp_path / "perplexity.json").write_text(json.dumps(wrong), encoding="utf-8")
    left_out: list[str] = []
    assert evidence_of(tmp_path, MASK["sha256"], left_out) == {}
    (said,) = left_out
    assert said.startswith("The evidence of perplexity cannot be read (KeyError: ")
    with pytest.warns(LapeWarning, match=r"^Evidence is left out\. The evidence of perplexity"):
        assert evidence_of(tmp_path, MASK["sha256"]) == {}


def test_what_a_model_wrote_is_shown_without_what_no_html_may_hold() -> None:
    html = html_of({"steering": steering(sample="eins\0zwei <b>\n\tdrei")})
    assert "eins\ufffdzwei &lt;b&gt; drei" in html
    assert "\0" not in html
