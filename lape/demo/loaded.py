"""What the page works on: one model, and its mask where there is one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import BadFile, HubError, LapeError, LapeWarning, MaskMismatch
from lape.evaluation.runs.evidence import FOLDER
from lape.masks.bundled import bundled_masks
from lape.masks.collection import find_mask
from lape.masks.mask import NeuronMask
from lape.models.identity import identity
from lape.models.loading import load_model, placement_of
from lape.recording.beginnings import check_beginning
from lape.recording.statistics import ActivationStatistics, statistics_beside
from lape.report import Evidence, evidence_of
from lape.storage.files import sha256_of
from lape.storage.names import MASK_NAME


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, its tokenizer, mask and statistics; replaced as a whole, never changed.

    Attributes:
        model: A causal language model.
        tokenizer: Its tokenizer.
        mask: Its neurons, of at least two languages; None until there is one.
        statistics: Where the random control's means come from; None limits that control to switching off.
        notes: What a visitor should know about them, one sentence each.
        place: Folder or file that the mask was read from; None for one that was made here.
        quantization: As it was asked for.

    Raises:
        LapeError: The mask has fewer than two languages, or belongs to a model of another shape.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    mask: NeuronMask | None = None
    statistics: ActivationStatistics | None = None
    notes: tuple[str, ...] = ()
    place: Path | None = None
    quantization: str | None = None

    def __post_init__(self) -> None:
        if self.mask is None:
            return
        if len(self.mask.languages) < 2:
            raise LapeError("The mask has fewer than two languages, so there is none to steer to. Record more of them.")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LapeWarning)
            self.mask.check(self.model)
            check_beginning(self.mask.metadata, self.tokenizer)
        if self.statistics is not None:
            self.mask.random_like(self.statistics, seed=0)  # refuses another shape, or too few languages
        object.__setattr__(self, "notes", (*self.notes, *(str(warning.message) for warning in caught)))

    @classmethod
    def load(
        cls,
        model: str | None,
        quantization: str | None = None,
        mask: Path | None = None,
        cpu_form: str = "auto",
    ) -> Loaded:
        """Loads a model, and the mask in a folder or the one that is found for it.

        A model without a mask is loaded without one, and a note says so.

        Raises:
            LapeError: One of them cannot be loaded, or they do not fit each other.
        """
        notes: list[str] = []
        folder = mask
        if folder is None:
            try:
                folder = find_mask(model, statistics=True).folder
            except (BadFile, HubError) as error:
                notes.append(str(error))
        found, statistics = (
            read_mask(folder) if folder is not None else (None, None)
        )  # before the model, which takes longer
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LapeWarning)
            loaded, tokenizer = load_model(model, quantization=quantization, cpu_form=cpu_form)
        notes += [str(warning.message) for warning in caught if issubclass(warning.category, LapeWarning)]
        if (placement := placement_of(loaded)) is not None:
            notes += placement.notes
        return cls(loaded, tokenizer, found, statistics, tuple(notes), folder, quantization)

    @property
    def name(self) -> str:
        """Hub id or path of the model."""
        return identity(self.model).model

    @property
    def public_name(self) -> str:
        """Hub id of the model, or the last part of a path, for what leaves the page."""
        return Path(self.name).name if Path(self.name).is_dir() else self.name

    @property
    def chat(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self.tokenizer.chat_template)

    @property
    def known_mask(self) -> NeuronMask:
        """The mask.

        Raises:
            LapeError: There is none; says the way out.
        """
        if self.mask is None:
            raise LapeError(f"There is no mask for {self.name} yet. Choose or make one: see the tab Masks.")
        return self.mask

    def evidence(self, left_out: list[str] | None = None) -> dict[str, Evidence]:
        """What has been measured of the very mask in use, by kind; nothing of one that was made or changed here.

        It lies beside the mask, where that was read from or among the bundled ones.

        Args:
            left_out: Gets a sentence for each file of it that is damaged or cannot be shown; None warns of it instead.
        """
        places = [path.parent for path in bundled_masks() if path.parts[-3] == self.name.replace("/", "--")]
        for place in [self.place, *places] if self.place is not None else places:
            file = place / MASK_NAME if place.is_dir() else place
            if file.is_file() and _holds(file, self.mask):
                return evidence_of(file.parent / FOLDER, sha256_of(file), left_out)
        return {}

    def with_mask(
        self,
        mask: NeuronMask,
        statistics: ActivationStatistics | None = None,
        notes: Sequence[str] = (),
        place: Path | None = None,
    ) -> Loaded:
        """The same model with another mask, and with the statistics that belong to it.

        Args:
            mask: Made for this model.
            statistics: Of this model, for the mask's languages.
            notes: What a visitor should know about them.
            place: Folder or file that the mask was read from, if it was.

        Raises:
            MaskMismatch: One of them was made for another model.
        """
        for value, kind in ((mask, "mask"), (statistics, "file of statistics")):
            if value is not None and (made_for := value.metadata.get("model", "an unnamed model")) != self.name:
                raise MaskMismatch(
                    f"This {kind} was made for {made_for}, but {self.name} is loaded. Load {made_for} first."
                )
        return replace(self, mask=mask, statistics=statistics, notes=tuple(notes), place=place)


def _holds(file: Path, mask: NeuronMask | None) -> bool:
    """Whether a file holds this mask; a damaged one does not."""
    try:
        return NeuronMask.load(file) == mask
    except BadFile:
        return False


def read_mask(folder: Path) -> tuple[NeuronMask, ActivationStatistics | None]:
    """The mask of a folder or file, and the statistics beside it.

    Raises:
        BadFile: There is no mask, or one of the files is damaged.
    """
    return NeuronMask.load(folder), statistics_beside(folder)
