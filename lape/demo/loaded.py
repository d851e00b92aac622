"""What the page works on: one model, and its mask where there is one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.words import say
from lape.errors import BadFile, HubError, LapeError, LapeWarning, MaskMismatch
from lape.evaluation.runs.evidence import FOLDER
from lape.generation.residual import RESIDUAL_METHODS, ResidualIntervention
from lape.identify import METHODS, load_recorded, reads
from lape.identify.rivals import with_neurons_of
from lape.masks.bundled import bundled_masks
from lape.masks.collection import find_mask
from lape.masks.mask import NeuronMask
from lape.models.identity import identity
from lape.models.loading import load_model, placement_of
from lape.recording.beginnings import check_beginning
from lape.recording.recorded import Recorded
from lape.recording.residual_means import ResidualMeans, residuals_beside
from lape.recording.statistics import ActivationStatistics, statistics_beside
from lape.report import Evidence, evidence_of
from lape.storage.files import sha256_of
from lape.storage.names import MASK_NAME

OWN = "own"  # in the place of a method: the neurons of the mask as it is


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, its tokenizer, mask and statistics; replaced as a whole, never changed.

    Attributes:
        model: A causal language model.
        tokenizer: Its tokenizer.
        mask: Its neurons, of at least two languages; None until there is one.
        statistics: Where the random control's means come from; None limits that control to switching off.
        notes: What a visitor should know about them, one sentence each.
        place: Folder or file that the mask was read from, or what its neurons were chosen from; None where that was
            made here.
        quantization: As it was asked for.
        residuals: Where each language lies in the residual stream; None where that was not recorded beside the mask.
        made_from: What this was before its neurons were chosen anew; None where they were not.

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
    residuals: ResidualMeans | None = None
    made_from: Loaded | None = None
    _by_method: dict[str, Loaded] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mask is None:
            return
        if len(self.mask.languages) < 2:
            raise LapeError(say("said.two_languages"))
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
        # Before the model, which takes longer.
        found, statistics = read_mask(folder) if folder is not None else (None, None)
        residuals = residuals_beside(folder) if folder is not None else None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LapeWarning)
            loaded, tokenizer = load_model(model, quantization=quantization, cpu_form=cpu_form)
        notes += [str(warning.message) for warning in caught if issubclass(warning.category, LapeWarning)]
        if (placement := placement_of(loaded)) is not None:
            notes += placement.notes
        return cls(loaded, tokenizer, found, statistics, tuple(notes), folder, quantization, residuals)

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
            raise LapeError(say("said.no_mask", model=self.name))
        return self.mask

    @property
    def methods(self) -> list[str]:
        """The methods whose recording is here: the statistics in use, or a file beside the mask."""
        return [name for name in METHODS if self.mask is not None and self._has(reads(name))]

    @property
    def rivals(self) -> list[str]:
        """Those of them that are not the mask's own."""
        return [name for name in self.methods if name != self.known_mask.metadata.get("method")]

    @property
    def ways(self) -> list[str]:
        """The ways of moving the residual stream that its means allow, if they are of all the mask's languages."""
        means = self.residuals
        if self.mask is None or means is None or not {*self.mask.languages} <= {*means.languages}:
            return []
        return [name for name in RESIDUAL_METHODS if _possible(means, self.mask.languages, name)]

    def recorded(self, method: str) -> Recorded:
        """What a method identifies neurons from.

        Args:
            method: One of `methods`.

        Raises:
            BadFile: Its file is missing or damaged.
        """
        if self.statistics is not None and reads(method) is ActivationStatistics:
            return self.statistics
        if self.place is None:
            raise BadFile(f"{method!r} reads {reads(method).what}, and there are none beside this mask.")
        return load_recorded(_folder(self.place), method)

    def by_method(self, method: str) -> Loaded:
        """The same with another method's neurons, as many of each language as the mask has, or all that there are.

        They are found once and kept.

        Args:
            method: One of `rivals`; `OWN` leaves the mask as it is.

        Raises:
            LapeError: The recording does not give them.
        """
        if method == OWN:
            return self
        if method not in self._by_method:
            found = with_neurons_of(self.known_mask, self.recorded(method), method)
            self._by_method[method] = self.with_neurons(found)
        return self._by_method[method]

    def with_neurons(self, mask: NeuronMask) -> Loaded:
        """The same with neurons that were chosen anew from what was recorded."""
        return replace(self, mask=mask, notes=(), made_from=self.made_from or self)

    def _has(self, kind: type[Recorded]) -> bool:
        if kind is ActivationStatistics:
            return self.statistics is not None and len(self.statistics.languages) > 1
        return self.place is not None and (_folder(self.place) / kind.file).is_file()

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
            BadFile: The means of the residual stream beside the mask are damaged.
        """
        residuals = residuals_beside(place) if place is not None else None
        made = {"mask": mask, "statistics": statistics, "residuals": residuals}
        for kind, value in made.items():
            if value is not None and (made_for := value.metadata.get("model")) != self.name:
                given = {"made_for": made_for or say("said.unnamed_model"), "loaded": self.name}
                raise MaskMismatch(say("said.made_for_another", kind=say(f"said.kind_{kind}"), **given))
        return replace(
            self,
            mask=mask,
            statistics=statistics,
            notes=tuple(notes),
            place=place,
            residuals=residuals,
            made_from=None,
        )


def _folder(place: Path) -> Path:
    return place if place.is_dir() else place.parent


def _possible(means: ResidualMeans, languages: Sequence[str], way: str) -> bool:
    """Whether these means are enough for a way of moving the residual stream."""
    try:
        ResidualIntervention(means, off=languages[0], on=languages[1], method=way)
    except LapeError:
        return False
    return True


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
