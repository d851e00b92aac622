"""What a plan will take, before it is carried out: memory from the models' configurations, time from a measurement.

The time is of the products of matrices that are most of the work: 2 operations for each weight of the decoder and
token. How many a second this machine makes is measured on one product, and recording was measured to reach
`RECORDING_SHARE` of it (SmolLM2-135M and Gemma 3 270M in float32 on a CPU thread: 0.62 and 0.61).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from lape.collection.plan import ModelPlan
from lape.errors import LapeError
from lape.evaluation.kinds.rivals import NONE
from lape.identify import METHODS, methods_reading
from lape.models.architectures import activation_modules
from lape.models.loading import FoundModel, find_model
from lape.models.memory import needed_bytes, weight_bytes
from lape.recording.statistics import ActivationStatistics

RECORDING_SHARE = 0.6
ROWS, INPUTS, OUTPUTS = 1024, 1024, 4096  # of the product that is measured
MEASURED_SECONDS = 0.5
TIMED = ("layers", "stability", "perplexity")  # kinds whose time is in the estimate; the first two run no model


@dataclass(frozen=True)
class ModelEstimate:
    """What one model of a plan will take.

    Attributes:
        model: Id on the Hub.
        masks: Names of its masks.
        languages: That are recorded.
        tokens: Recorded of all of them together.
        needed_bytes: Of memory; None where the model was refused.
        seconds: Of recording, and of measuring what is in `TIMED`; None where the model was refused.
        notes: What is not in the figures, or slower than they say.
        refused: Why the model cannot be had, or does not fit.
    """

    model: str
    masks: tuple[str, ...]
    languages: tuple[str, ...]
    tokens: int
    needed_bytes: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class Estimate:
    """What a plan will take.

    Attributes:
        models: In the plan's order.
        seconds: Of all that are not refused.
        basis: Where the figures are from, and what they leave out.
    """

    models: tuple[ModelEstimate, ...]
    seconds: float
    basis: str


def estimate(plans: Sequence[ModelPlan]) -> Estimate:
    """Looks at the configuration of every model as if to load it, and estimates; no weights are fetched.

    What was done before is not left out.
    """
    models = tuple(map(_of_model, plans))
    seconds = sum(model.seconds or 0 for model in models)
    return Estimate(
        models,
        seconds,
        "Memory is computed from the configurations. Time is rough: a product of matrices was measured now on this "
        f"machine, and recording taken to reach {RECORDING_SHARE:g} of its speed, as it did on a CPU; small models "
        "on a GPU reach less. Downloads, loading and pushing come on top.",
    )


def _of_model(plan: ModelPlan) -> ModelEstimate:
    about = (plan.model, tuple(plan.methods), plan.languages, plan.recorded_tokens)
    try:
        found = find_model(plan.source, **plan.loading)
        activation_modules(found.empty)
    except LapeError as error:
        return ModelEstimate(*about, refused=str(error))
    placement = found.placement
    weights = weight_bytes(found.empty, placement.dtype, placement.quantization, placement.device)
    needed = needed_bytes(weights, weight_bytes(found.empty, placement.dtype))
    decoder, head = _weights(found)
    read = decoder * plan.recorded_tokens + (decoder + head) * _perplexity_tokens(plan) * len(plan.methods)
    rate = RECORDING_SHARE * products_per_second(placement.device, placement.dtype)
    notes = [*placement.fallbacks, *placement.notes]
    if untimed := [kind for kind in plan.evidence.kinds if kind not in TIMED]:
        notes.append(f"The time of {' and '.join(untimed)} is not in the figure.")
    if placement.quantization:
        notes.append(
            f"The time is that of {str(placement.dtype).removeprefix('torch.')}; {placement.quantization} is slower."
        )
    return ModelEstimate(*about, round(needed), round(2 * read / rate, 1), tuple(notes))


def _weights(found: FoundModel) -> tuple[int, int]:
    """Weights of the layers, and of the head, that every token passes."""
    decoder, _ = activation_modules(found.empty)
    embeddings = found.empty.get_input_embeddings().get_parameter("weight").numel()
    return sum(parameter.numel() for parameter in decoder.parameters()) - embeddings, embeddings


def _perplexity_tokens(plan: ModelPlan) -> int:
    """Tokens that are read for the costs of one mask, at most: every cell reads one text."""
    if "perplexity" not in plan.evidence.kinds:
        return 0
    options, languages = plan.evidence.options, len(plan.languages)
    ranked = {METHODS[name].rank for name in methods_reading(ActivationStatistics)}  # a plan records nothing else
    rivals = 1 + len(ranked)  # exclusive, equal count, and the other methods
    if options.rivals is not None:
        rivals = len(set(options.rivals) - {NONE})
    cells = languages * (1 + (1 + rivals) * languages + 2 * options.seeds)
    return cells * math.ceil(options.tokens / options.block) * options.block


@cache
def products_per_second(device: str, dtype: torch.dtype) -> float:
    """Operations a second of this machine in one product of matrices, measured for half a second.

    Args:
        device: As torch names it.
        dtype: Of the matrices.
    """
    left = torch.ones((ROWS, INPUTS), dtype=dtype, device=device)
    right = torch.ones((INPUTS, OUTPUTS), dtype=dtype, device=device)

    def multiply() -> None:
        float((left @ right)[0, 0])  # waits for a GPU

    multiply()
    began, products = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < MEASURED_SECONDS or not products:
        multiply()
        products += 1
    return products * 2 * ROWS * INPUTS * OUTPUTS / seconds
