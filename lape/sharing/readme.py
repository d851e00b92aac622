"""A README on the Hub that a program and its owner share: front matter, a part between two marks, the owner's text.

The program renews its keys of the front matter and its part; the rest stays byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from lape.errors import BadFile

Marks = tuple[str, str]  # lines that a part stands between

MARKS: Marks = ("<!-- lape:begin -->", "<!-- lape:end -->")
BYTE_ORDER_MARK = "\ufeff"

_KEY = re.compile(r"[\"']?([A-Za-z0-9_.-]+)[\"']?[ \t]*:(?:\s|$)")


def updated(previous: str | None, ours: Mapping[str, Any], part: str) -> str:
    r"""A README with our front matter and our part; a second time changes nothing.

    Args:
        previous: The README there is, or None.
        ours: Keys to set in its front matter; `tags` are added to the owner's.
        part: What stands between our marks; at the end of a README that has none.

    Raises:
        BadFile: The front matter is not YAML, or one of our marks is missing.

    Example:
        >>> print(updated("# Mine\n", {"library_name": "lape"}, "Ours"))
        ---
        library_name: lape
        ---
        # Mine
        <BLANKLINE>
        <!-- lape:begin -->
        Ours
        <!-- lape:end -->
        <BLANKLINE>
    """
    text = (previous or "").removeprefix(BYTE_ORDER_MARK)
    start = BYTE_ORDER_MARK if text != (previous or "") else ""
    line_break = _line_break(text)
    block = REGEX_YAML_BLOCK.search(text)
    owner = _parsed(block[2] if block else "")
    wanted = {**owner, **ours}
    if "tags" in ours:
        wanted["tags"] = _joined(owner.get("tags"), ours["tags"])
    if block is None or wanted != owner:
        lines = _merged(block[2] if block else "", owner, wanted).split("\n")
        matter = start + line_break.join(["---", *lines, "---", ""])
    else:
        matter = start + block[0]
    return matter + _with_ours(text[block.end() :] if block else text, part, line_break)


def own_text(text: str) -> str:
    """What the owner wrote: a README without its front matter and our part.

    Raises:
        BadFile: The front matter is not YAML, or one of our marks is missing.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    block = REGEX_YAML_BLOCK.search(text)
    _parsed(block[2] if block else "")
    body = text[block.end() :] if block else text
    part = _part_of(body, MARKS)
    return body if part is None else body[: part[0]] + body[part[1] :]


def with_part(text: str, part: str, marks: Marks) -> str:
    """A text with the part between its marks renewed; the rest stays byte for byte.

    Raises:
        BadFile: The marks are not there, once each and in order.
    """
    if not (place := _part_of(text, marks)):
        raise BadFile(
            f"README.md must have the lines {marks[0]} and {marks[1]}, once each and in this order. Add them."
        )
    return text[: place[0]] + _marked(part, marks, _line_break(text)) + text[place[1] :]


def _with_ours(body: str, part: str, line_break: str) -> str:
    """The text after the front matter, with our part renewed, or added at its end."""
    if _part_of(body, MARKS):
        return with_part(body, part, MARKS)
    written = body.rstrip("\r\n")
    gap = line_break * max(0, 2 - body[len(written) :].count("\n")) if written else ""
    return body + gap + _marked(part, MARKS, line_break) + line_break


def _marked(part: str, marks: Marks, line_break: str) -> str:
    return "\n".join([marks[0], part.strip(), marks[1]]).replace("\n", line_break)


def _line_break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _part_of(text: str, marks: Marks) -> tuple[int, int] | None:
    """Where the part between the marks begins and ends; None where there is none."""
    lines = re.compile(rf"^({'|'.join(map(re.escape, marks))})[ \t]*\r?$", re.MULTILINE)
    found = list(lines.finditer(text))
    if not found:
        return None
    if tuple(mark[1] for mark in found) != marks:
        raise BadFile(f"README.md must have {marks[0]} and then {marks[1]}, once each. Put them back, or remove both.")
    return found[0].start(), found[1].end(1)


def _parsed(block: str) -> dict[str, Any]:
    try:
        owner = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadFile("The front matter of README.md, between the --- lines, is not YAML. Mend it first.") from error
    if owner is not None and not (isinstance(owner, dict) and all(isinstance(key, str) for key in owner)):
        raise BadFile("The front matter of README.md, between the --- lines, must be keys with values. Mend it first.")
    return owner or {}


def _merged(block: str, owner: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The block with the values that differ; lines of the owner's other keys, comments included, stay."""
    changed = {key: value for key, value in wanted.items() if key not in owner or owner[key] != value}
    kept: list[str] = []
    current = ""
    for line in re.split(r"\r\n|\r|\n", block) if block else []:
        if key := _KEY.match(line):
            current = key[1]
            kept += [_yaml({current: changed.pop(current)})] if current in changed else []
        elif line.startswith("#"):
            current = ""
        if current not in wanted or owner.get(current) == wanted[current]:
            kept.append(line)
    text = "\n".join([*kept, _yaml(changed)] if changed else kept)
    try:
        if yaml.safe_load(text) == wanted:
            return text
    except yaml.YAMLError:
        pass
    return _yaml(wanted)  # such as {a: b} in one line, where keys have no lines of their own


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml_dump(dict(value), sort_keys=False).strip()


def _joined(owner: Any, ours: list[str]) -> list[Any]:
    """The owner's tags, then those of ours that are missing."""
    theirs = owner if isinstance(owner, list) else [] if owner is None else [owner]
    return [*theirs, *(tag for tag in ours if tag not in theirs)]
