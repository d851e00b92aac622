"""The recordings that some methods and ways of switching read, made and kept beside activation statistics."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.languages import NOISE
from lape.models.identity import identity
from lape.recording.averaging import TEXT_TOKENS, TEXTS, record_texts
from lape.recording.backward import record_relevance
from lape.recording.binning import record_histograms
from lape.recording.blocks import token_blocks
from lape.recording.histograms import ActivationHistograms
from lape.recording.importance import Importance
from lape.recording.passes import counted_and_hashed
from lape.recording.recorded import Recorded
from lape.recording.relevance import GradientRelevance, Relevance
from lape.recording.residual import record_residuals
from lape.recording.residual_means import ResidualMeans
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics
from lape.recording.text_means import TextMeans
from lape.recording.top_texts import TopTexts
from lape.recording.topmost import record_top_texts
from lape.recording.vocabulary import TokenCounts, record_vocabulary
from lape.recording.weighing import record_importance
from lape.storage.names import STATISTICS_NAME
from lape.storage.placing import WAY_OUT, placed

MOST_TOKENS, LONGEST_BLOCK = 10_000, 128  # of what needs many short texts, and costs more than counting
STEPS = "steps"  # folder of what is made of each language, until all are done


@dataclass(frozen=True)
class Beside:
    """One of them.

    Attributes:
        kind: What comes out.
        record: `(model, tokenizer, corpora, *, tokens, block, allow_short, kept) -> kind`.
        text: What it is, in one line.
        tokens: Per language, at most; None reads as many as the statistics.
        block: Tokens per block, at most; None is as long as that of the statistics.
        noise: Whether random tokens are read too, where there are some.
    """

    kind: type[Recorded] | type[ResidualMeans] | type[TopTexts] | type[TokenCounts]
    record: Callable[..., Recorded | ResidualMeans | TopTexts | TokenCounts]
    text: str
    tokens: int | None = MOST_TOKENS
    block: int | None = LONGEST_BLOCK
    noise: bool = True


RECORDINGS: Mapping[str, Beside] = {
    "relevance": Beside(Relevance, record_relevance, "relevance for the model's predictions, by passes back"),
    "gradient": Beside(
        GradientRelevance, partial(record_relevance, kind=GradientRelevance), "the same by plain gradients"
    ),
    "importance": Beside(Importance, record_importance, "ranks by what each neuron adds to its layer's output"),
    "histograms": Beside(ActivationHistograms, record_histograms, "how activations are distributed", None, None),
    "texts": Beside(TextMeans, record_texts, "mean activations over single texts", TEXTS * TEXT_TOKENS, TEXT_TOKENS),
    "residuals": Beside(ResidualMeans, record_residuals, "means of the residual stream", block=None, noise=False),
    "top-texts": Beside(TopTexts, record_top_texts, "where in the text each neuron is most active", noise=False),
    "vocabulary": Beside(TokenCounts, record_vocabulary, "how often each token occurs", None, None, noise=False),
}


def record_beside(
    folder: Path,
    names: Sequence[str],
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int,
    block: int,
    allow_short: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    way_out: str = WAY_OUT,
) -> list[Path]:
    """Makes some recordings and writes each to its file as soon as it is done.

    What is made of a language is kept in the folder until then, so that after a kill no language is read twice.

    Args:
        folder: Where the statistics are.
        names: Of `RECORDINGS`.
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents.
        tokens: Per language; no more are read than each recording takes.
        block: Tokens per block; the same.
        allow_short: Take a language that has less text than asked.
        settings: What some recordings are given besides, by name.
        way_out: What the user can do when the folder cannot be written.

    Returns:
        The files.

    Raises:
        LapeError: As the recordings do.
    """
    files = []
    for name in names:
        beside = RECORDINGS[name]
        recorded = beside.record(
            model,
            tokenizer,
            {code: source for code, source in corpora.items() if beside.noise or code != NOISE},
            tokens=min(tokens, beside.tokens or tokens),
            block=min(block, beside.block or block),
            allow_short=allow_short,
            kept=folder / STEPS / name,
            **(settings or {}).get(name, {}),
        )
        with placed(folder, way_out=way_out) as staged:
            recorded.save(staged / beside.kind.file)
        shutil.rmtree(folder / STEPS / name)
        files.append(folder / beside.kind.file)
    if (folder / STEPS).is_dir() and not any((folder / STEPS).iterdir()):
        (folder / STEPS).rmdir()
    return files


def finished_statistics(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int,
    block: int,
) -> ActivationStatistics | None:
    """The statistics in a folder when they are of this model and text, at this many tokens; else None.

    A command that was killed after it had written them goes on from there.
    """
    if not (folder / STATISTICS_NAME).is_file():
        return None
    found = ActivationStatistics.load(folder / STATISTICS_NAME)
    wanted = {**asdict(identity(model)), "block": block}
    if set(found.tokens) != set(corpora) or any(found.metadata.get(key) != value for key, value in wanted.items()):
        return None
    for code, source in corpora.items():
        some = itertools.islice(token_blocks(tokenizer, source, block, code), math.ceil(tokens / block))
        blocks, sha256 = counted_and_hashed(some)
        read = found.metadata.get("corpora", {}).get(code, [])
        if [(part["sha256"], part["tokens"]) for part in read] != [(sha256, blocks * block)]:
            return None
    return found
