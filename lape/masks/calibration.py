"""Give a mask the mean activations that switching a language on needs, from a few thousand tokens of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.masks.mask import NeuronMask
from lape.recording.beginnings import check_beginning
from lape.recording.record import record
from lape.recording.sources import Source, check_sources
from lape.recording.statistics import ActivationStatistics


def calibrate(
    mask: NeuronMask,
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    languages: str | Sequence[str] | None = None,
    tokens: int = 5_000,
    block: int = 512,
    progress: bool = True,
) -> tuple[NeuronMask, ActivationStatistics]:
    """Measures the mean activations of a mask's neurons, for a mask that has none.

    Args:
        mask: Such as a released one.
        model: The model it was made for.
        tokenizer: Its tokenizer.
        corpora: Language code to documents, at least for the languages to calibrate.
        languages: Which to calibrate; None is all of the mask.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The mask with means, and the statistics of these tokens, for `random_like`.

    Raises:
        MaskMismatch: The model has another shape.
        UnknownLabel: The mask lacks one of the languages.
        LapeError: There is no text for one of them; says which.
        NotEnoughText: There is less text than asked; says how much.

    Example:
        >>> mask, statistics = calibrate(mask, model, tokenizer, read_corpora("corpora/"))  # doctest: +SKIP
    """
    check_sources(corpora)
    mask.check(model)
    check_beginning(mask.metadata, tokenizer)
    languages = [languages] if isinstance(languages, str) else languages
    chosen = [mask.known(code) for code in (mask.languages if languages is None else languages)]
    if missing := [code for code in chosen if code not in corpora]:
        raise LapeError(
            f"There is no text for {', '.join(missing)}. Add some, or name the languages to calibrate "
            "(languages, --languages); the others can then only be switched off."
        )
    texts = {code: corpora[code] for code in chosen}
    statistics = record(model, tokenizer, texts, tokens=tokens, block=block, progress=progress)
    return mask.with_means(statistics, chosen), statistics
