"""See and switch the language neurons of large language models.

LAPE (Tang et al. 2024, arXiv 2402.16438) finds neurons that fire for one language only; this package records
activations, identifies such neurons, switches them during generation, and shares the masks.
"""

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
from lape.recording.recorder import Recording, record
from lape.recording.statistics import ActivationStatistics
from lape.sharing.push import push
from lape.version import __version__

__all__ = [
    "ActivationStatistics",
    "BadFile",
    "CheckpointMismatch",
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
    "load_model",
    "pull",
    "push",
    "read_corpora",
    "read_released",
    "record",
    "register_architecture",
    "side_by_side",
]
