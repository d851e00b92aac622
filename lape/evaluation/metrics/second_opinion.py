"""What another identifier says of the same outputs: read again, not made again.

What is gibberish or too short to say, all identifiers tell alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lape.evaluation.metrics.language import Chooser
from lape.evaluation.metrics.steering import Steering


def second_opinion(found: Steering, judge: Chooser) -> dict[str, Any]:
    """Shares of the outputs of steering by another identifier.

    Args:
        found: Whose outputs are read again.
        judge: The other identifier.

    Returns:
        Condition to `target_share`, the share of the outputs that it tells to be in the target, and `differs_share`,
        the share of which it tells another language; means over the pairs that it tells apart, which may be none.
    """
    shares: dict[str, list[tuple[float, float]]] = {}
    told = {
        output.text: judge.identify(output.text).language
        for conditions in found.measured.values()
        for measured in conditions.values()
        for output in measured.outputs
    }
    for pair, conditions in found.measured.items():
        if not judge.untold(pair):
            for name, measured in conditions.items():
                outputs = [replace(output, language=told[output.text]) for output in measured.outputs]
                reached = sum(output.kind(*pair) == "target" for output in outputs)
                differ = sum(a.language != b.language for a, b in zip(outputs, measured.outputs, strict=True))
                shares.setdefault(name, []).append((reached / len(outputs), differ / len(outputs)))
    return {
        name: {
            "target_share": sum(reached for reached, _ in some) / len(some),
            "differs_share": sum(differ for _, differ in some) / len(some),
        }
        for name, some in shares.items()
    }
