"""See and switch the language neurons of large language models.

LAPE (Tang et al. 2024, arXiv 2402.16438) finds neurons that fire for one language only; this package records
activations, identifies such neurons, switches them during generation, and shares the masks.

Its names are imported when they are first used: torch and transformers take seconds, which nobody waits for who asks
for help or made a typing error.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lape.errors import (
        BadFile,
        CheckpointMismatch,
        HookNotFired,
        HubError,
        LapeError,
        LapeWarning,
        MaskMismatch,
        MeansMissing,
        ModelUnavailable,
        NotEnoughText,
        UnknownLabel,
        UnsupportedArchitecture,
    )
    from lape.generation.generate import generate_rows, side_by_side
    from lape.generation.interventions import Intervention, intervene
    from lape.generation.streaming import Update
    from lape.identify import equal_count, identify
    from lape.languages import Language, language
    from lape.masks.calibration import calibrate
    from lape.masks.collection import list_masks, pull
    from lape.masks.mask import NeuronMask
    from lape.masks.released import read_released
    from lape.models.architectures import activation_sites, register_architecture
    from lape.models.loading import load_model
    from lape.recording.corpora import read_corpora
    from lape.recording.record import record
    from lape.recording.recorder import Recording
    from lape.recording.statistics import ActivationStatistics
    from lape.serving.engine import Engine, load_engine
    from lape.sharing.push import push
    from lape.version import __version__

__all__ = [
    "ActivationStatistics",
    "BadFile",
    "CheckpointMismatch",
    "Engine",
    "HookNotFired",
    "HubError",
    "Intervention",
    "Language",
    "LapeError",
    "LapeWarning",
    "MaskMismatch",
    "MeansMissing",
    "ModelUnavailable",
    "NeuronMask",
    "NotEnoughText",
    "Recording",
    "UnknownLabel",
    "UnsupportedArchitecture",
    "Update",
    "__version__",
    "activation_sites",
    "calibrate",
    "equal_count",
    "generate_rows",
    "identify",
    "intervene",
    "language",
    "list_masks",
    "load_engine",
    "load_model",
    "pull",
    "push",
    "read_corpora",
    "read_released",
    "record",
    "register_architecture",
    "side_by_side",
]

_HOMES = {
    "ActivationStatistics": "lape.recording.statistics",
    "BadFile": "lape.errors",
    "CheckpointMismatch": "lape.errors",
    "Engine": "lape.serving.engine",
    "HookNotFired": "lape.errors",
    "HubError": "lape.errors",
    "Intervention": "lape.generation.interventions",
    "Language": "lape.languages",
    "LapeError": "lape.errors",
    "LapeWarning": "lape.errors",
    "MaskMismatch": "lape.errors",
    "MeansMissing": "lape.errors",
    "ModelUnavailable": "lape.errors",
    "NeuronMask": "lape.masks.mask",
    "NotEnoughText": "lape.errors",
    "Recording": "lape.recording.recorder",
    "UnknownLabel": "lape.errors",
    "UnsupportedArchitecture": "lape.errors",
    "Update": "lape.generation.streaming",
    "__version__": "lape.version",
    "activation_sites": "lape.models.architectures",
    "calibrate": "lape.masks.calibration",
    "equal_count": "lape.identify",
    "generate_rows": "lape.generation.generate",
    "identify": "lape.identify",
    "intervene": "lape.generation.interventions",
    "language": "lape.languages",
    "list_masks": "lape.masks.collection",
    "load_engine": "lape.serving.engine",
    "load_model": "lape.models.loading",
    "pull": "lape.masks.collection",
    "push": "lape.sharing.push",
    "read_corpora": "lape.recording.corpora",
    "read_released": "lape.masks.released",
    "record": "lape.recording.record",
    "register_architecture": "lape.models.architectures",
    "side_by_side": "lape.generation.generate",
}


class _Package(ModuleType):
    """`lape.identify` is the function; Python would put the room of that name in its place when it is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    try:
        value = getattr(import_module(_HOMES[name]), name) if name in _HOMES else import_module(f"lape.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"lape.{name}":
            raise
        raise AttributeError(f"module 'lape' has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
