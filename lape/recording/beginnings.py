"""What a model reads before text: what its tokenizer puts there, such as BOS, else the end of a document.

Models that were trained with such tokens find the same text much less likely without them, and their neurons fire
otherwise. So every block is read after them, and they are neither counted nor scored.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeWarning
from lape.recording.blocks import document_end

PROBE = "x"  # a word that no tokenizer has among its special tokens


def prefix_of(tokenizer: Tokenizer) -> list[int]:
    """The ids of the tokens that a tokenizer itself puts before text: BOS, several, or none.

    What it puts after text, such as EOS, is not among them.
    """
    plain = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    if not plain:
        return []  # what is before text and what is after it cannot be told apart
    return list(itertools.takewhile(lambda token: token not in plain, tokenizer(PROBE)["input_ids"]))


def beginning_of(tokenizer: Tokenizer) -> list[int]:
    """The ids that a text of its own is read after: the prefix, else a document end, else none.

    So its first token has a context to be predicted from, which is not part of the text.
    """
    end = document_end(tokenizer)
    return prefix_of(tokenizer) or ([] if end is None else [end])


def check_beginning(metadata: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Warns where the text behind a mask was read after another prefix than the text that is to be read.

    Args:
        metadata: Of the mask; one that does not say what its blocks began with had nothing there.
        tokenizer: Of the model that is to read.
    """
    recorded = metadata.get("special_tokens", {}).get("bos") or []
    given = prefix_of(tokenizer)
    if recorded == given:
        return
    if not recorded:
        differ = "As far as it says, the mask was recorded without BOS before the text, but text is read with it now"
    elif not given:
        differ = "The mask was recorded with BOS before the text, but this tokenizer puts none there"
    else:
        differ = "The mask was recorded with other tokens before the text than this tokenizer puts there"
    warnings.warn(f"{differ}. Record it again before you trust the figures.", LapeWarning, stacklevel=3)
