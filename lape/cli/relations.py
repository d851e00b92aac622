"""The command that records what a model knows: relations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import ANOTHER_OUT, add, add_model, emit, load_model, table


def register(commands: Any) -> None:
    """Adds the command of this module."""
    relations = add(
        commands,
        "relations",
        _relations,
        "ask a model for facts, and record its activations over the questions it answers rightly, relation by relation",
    )
    add_model(relations, cpu_form="float32")
    relations.add_argument(
        "--facts",
        help='JSON file of questions: {"capital": {"prompt": "The capital of {} is", "answers": {"France": ["Paris"], '
        "...}}, ...} (default: ours)",
    )
    relations.add_argument("--out", type=Path, required=True, help="folder to write texts.safetensors to")


def _relations(options: argparse.Namespace) -> None:
    from lape.evaluation.known_relations import check_folder, record_known
    from lape.evaluation.metrics.relations.facts import FEWEST_RIGHT, read_facts

    facts = read_facts(options.facts)
    check_folder(options.out, ANOTHER_OUT)
    model, tokenizer = load_model(options)
    known = record_known(options.out, model, tokenizer, facts, way_out=ANOTHER_OUT)
    found = {
        "path": str(known.path),
        "relations": {
            label: {"asked": known.asked[label], "right": sum(right), "recorded": label in known.recorded}
            for label, right in known.right.items()
        },
    }
    rows = [
        (label, known.asked[label], *right, "" if label in known.recorded else f"left out: under {FEWEST_RIGHT}")
        for label, right in known.right.items()
    ]
    lines = table([("relation", "asked", "right for finding", "right held out", ""), *rows], right=(1, 2, 3))
    lines.append(f"Wrote {known.path}: {len(known.recorded)} relations. `lape identify` reads it with --method expert.")
    emit(options, found, "\n".join(lines))
