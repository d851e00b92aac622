"""The names things go by: files of a mask's folder and of several processes, labels of languages, types of numbers."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path

import torch

from lape.errors import LapeError

MASK_NAME = "mask.safetensors"
SUMMARY_NAME = "mask.json"
STATISTICS_NAME = "statistics.safetensors"
GROUPS_NAME = "groups.safetensors"
RELEVANCE_NAME = "relevance.safetensors"
GRADIENT_NAME = "gradient.safetensors"
IMPORTANCE_NAME = "importance.safetensors"
HISTOGRAMS_NAME = "histograms.safetensors"
TEXTS_NAME = "texts.safetensors"
RESIDUALS_NAME = "residuals.safetensors"
TOP_TEXTS_NAME = "top_texts.safetensors"
VOCABULARY_NAME = "vocabulary.safetensors"
# What a folder has beside its statistics, of the same text: they go when statistics are recorded anew.
BESIDE_STATISTICS = (
    *(GROUPS_NAME, RELEVANCE_NAME, GRADIENT_NAME, IMPORTANCE_NAME, HISTOGRAMS_NAME, TEXTS_NAME),
    *(RESIDUALS_NAME, TOP_TEXTS_NAME, VOCABULARY_NAME),
)
CHECKPOINT_NAME = "checkpoint.safetensors"  # of a recording under way
README_NAME = "README.md"
EVIDENCE_NAME = "EVIDENCE.md"  # all tables of the evidence, made by `lape report`
PICTURE_NAME = "layers.svg"
ORIGIN_NAME = "origin.json"  # beside a pulled mask: where it is from

LABEL = re.compile(r"[A-Za-z0-9_-]{1,32}")
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
NUMBERS = (*INTEGERS, torch.float64, torch.float32, torch.float16, torch.bfloat16)  # torch computes with few others


def types_text(*types: torch.dtype) -> str:
    """Types of tensors in words.

    Example:
        >>> types_text(torch.int32, torch.float32)
        'int32, float32'
    """
    return ", ".join(str(each).removeprefix("torch.") for each in types)


def check_label(label: str) -> str:
    """Returns a language label unchanged, or raises when it is not `[A-Za-z0-9_-]{1,32}`."""
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        shown = reprlib.repr(label)
        raise LapeError(f"{shown} cannot be a language label: use 1 to 32 of the characters A-Z a-z 0-9 _ -.")
    return label


def of_rank(path: Path, rank: int) -> Path:
    """The file that a process has for its own where several write side by side; the first has the plain name.

    Example:
        >>> of_rank(Path("out/checkpoint.safetensors"), 2).name
        'checkpoint-2.safetensors'
    """
    return path.with_name(f"{path.stem}-{rank}{path.suffix}") if rank else path


def of_ranks(path: Path) -> dict[int, Path]:
    """Such files that are there, by rank, of as many processes as there were.

    Args:
        path: The first one's.
    """
    other = re.compile(rf"{re.escape(path.stem)}-([1-9]\d{{0,5}}){re.escape(path.suffix)}")
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    found = {int(match[1]): each for each in beside if (match := other.fullmatch(each.name))}
    return dict(sorted({**found, **({0: path} if path.exists() else {})}.items()))
