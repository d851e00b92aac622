"""Masks: the neurons selected for each language, and the value that switches each one on.

File `mask.safetensors`, per language code: `neurons.<code>` int32 `[n, 2]` of (layer, neuron), sorted, and for each
column of `NeuronMask` that is known of the language `<key>.<code>` float32 `[n]`; and one metadata key `lape`, whose
keys are listed in `lape/storage/metadata.py`. `mask.json` repeats it, with counts, for people.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from lape.errors import BadFile, MaskMismatch, unknown_label
from lape.masks.algebra import Choose, alike, combined, difference, intersection, union
from lape.masks.columns import Column, NeuronColumn, columns_of
from lape.masks.indices import flat_of, jaccard, overlaps, pairs_of, size_text
from lape.masks.picture import mask_html, mask_text
from lape.models.architectures import activation_sites
from lape.models.identity import ModelIdentity, identity, warn_of_another
from lape.recording.statistics import ActivationStatistics
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors, sha256_of, write_json
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import MASK_NAME, SUMMARY_NAME
from lape.storage.placing import placed


@dataclass(frozen=True, eq=False)
class NeuronMask:
    """The neurons of each language of one model: a value, never changed in place.

    Attributes:
        neurons: Language code to int32 `[n, 2]` of (layer, neuron), sorted; every language has a key.
        means: Language code to float32 `[n]`, what the neuron is switched on with: its mean activation over that
            language's tokens, or what else `lape.masks.calibration` put there; a language whose means are not known
            has no key, and so for all columns below.
        shape: `(layers, neurons per layer)` of the model.
        metadata: Where it comes from; the keys are listed in `lape/storage/metadata.py`.
        selection: Language code to float32 `[n]`, the probability that the neuron is selected when other text is
            read (`lape.evaluation.metrics.stability.selection`).
        other_means: Language code to float32 `[n]`, the neuron's mean activation over the languages it is none of
            (`lape.masks.calibration.with_other_means`).
        own_means: Language code to float32 `[n]`, the neuron's mean activation over that language's tokens,
            whatever it is switched on with (`lape.masks.calibration.with_deviations`).
        deviations: The same, of its standard deviation.

    Example:
        >>> mask = NeuronMask({"fr": torch.tensor([[0, 3], [1, 2]])}, {}, (2, 4))
        >>> mask.count("fr"), mask.per_layer("fr")
        (2, [1, 1])
    """

    neurons: Mapping[str, torch.Tensor]
    means: Annotated[Column, NeuronColumn("mean", "means", defines=True)]
    shape: tuple[int, int]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    selection: Annotated[Column, NeuronColumn("selection", "selection probabilities", low=0, high=1)] = field(
        default_factory=dict
    )
    other_means: Annotated[Column, NeuronColumn("other_mean", "means over other languages")] = field(
        default_factory=dict
    )
    own_means: Annotated[Column, NeuronColumn("own_mean", "own means")] = field(default_factory=dict)
    deviations: Annotated[Column, NeuronColumn("deviation", "deviations", low=0)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        flat = {code: flat_of(pairs, self.shape, repr(code)) for code, pairs in self.neurons.items()}
        order = {code: indices.argsort() for code, indices in flat.items()}
        neurons = {code: pairs_of(indices[order[code]], self.shape[1]) for code, indices in flat.items()}
        object.__setattr__(self, "neurons", neurons)
        for name, column in columns_of(type(self)).items():
            object.__setattr__(self, name, column.checked(getattr(self, name), order))
        object.__setattr__(self, "shape", tuple(self.shape))

    def __eq__(self, other: object) -> bool:
        """Same shape, languages, neurons and means; where they come from and how sure they are does not count."""
        if not isinstance(other, NeuronMask):
            return NotImplemented
        compared = ["neurons", *(name for name, column in columns_of(NeuronMask).items() if column.defines)]
        return self.shape == other.shape and all(alike(getattr(self, name), getattr(other, name)) for name in compared)

    __hash__ = None  # type: ignore[assignment]
    __repr__ = mask_text
    _repr_html_ = mask_html

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes, those without a neuron included."""
        return tuple(self.neurons)

    @property
    def experts(self) -> int:
        """Number of experts per layer; 1 for a dense model."""
        return self.metadata.get("experts", 1)

    def count(self, language: str) -> int:
        """Number of neurons of a language."""
        return len(self.neurons[self.known(language)])

    def per_layer(self, language: str) -> list[int]:
        """Number of neurons of a language in each layer."""
        layers = self.neurons[self.known(language)][:, 0].long()
        return torch.bincount(layers, minlength=self.shape[0]).tolist()

    def known(self, language: str) -> str:
        """Returns a language of the mask unchanged, or raises with the near ones."""
        if language not in self.neurons:
            raise unknown_label("language in the mask", language, self.neurons)
        return language

    def flat(self, language: str) -> torch.Tensor:
        """A language's neurons as sorted int64 `[n]` of layer * neurons per layer + neuron."""
        pairs = self.neurons[self.known(language)].long()
        return pairs[:, 0] * self.shape[1] + pairs[:, 1]

    def __or__(self, other: NeuronMask) -> NeuronMask:
        """Neurons of either mask, language by language; means of this one first, no selection probabilities."""
        return self._combine(other, union)

    def __and__(self, other: NeuronMask) -> NeuronMask:
        """Neurons of both masks, language by language."""
        return self._combine(other, intersection)

    def __sub__(self, other: NeuronMask) -> NeuronMask:
        """Neurons of this mask that the other does not have, language by language."""
        return self._combine(other, difference)

    def exclusive(self) -> NeuronMask:
        """The neurons that belong to one language only; those that several share are left out."""
        times = torch.cat([self.flat(code) for code in self.languages]).bincount(
            minlength=self.shape[0] * self.shape[1]
        )
        return self.chosen({code: times[self.flat(code)] == 1 for code in self.languages})

    def only(self, languages: Sequence[str]) -> NeuronMask:
        """The same neurons of some languages, in this order."""
        return self.chosen({self.known(code): torch.ones(self.count(code), dtype=torch.bool) for code in languages})

    def chosen(self, places: Mapping[str, torch.Tensor]) -> NeuronMask:
        """Some languages with some of their neurons, and what every column says of these.

        Args:
            places: Language code to bool `[n]`.
        """
        kept: dict[str, Any] = {
            name: {code: values[code][places[code]] for code in places if code in (values := getattr(self, name))}
            for name in ("neurons", *columns_of(type(self)))
        }
        return replace(self, **kept)

    def jaccard(self, other: NeuronMask) -> dict[str, float | None]:
        """Shared neurons over neurons of either, for each language in both; None when both have none.

        Raises:
            MaskMismatch: The masks belong to models of different shapes.
        """
        self._same_shape(other)
        return {code: jaccard(self.flat(code), other.flat(code)) for code in self.languages if code in other.neurons}

    def overlap(self) -> dict[tuple[str, str], float | None]:
        """Jaccard index of every ordered pair of this mask's languages; None for two without neurons."""
        found = overlaps([self.flat(code) for code in self.languages])
        return {(a, b): found[i][j] for i, a in enumerate(self.languages) for j, b in enumerate(self.languages)}

    def with_means(self, statistics: ActivationStatistics, languages: Sequence[str] | None = None) -> NeuronMask:
        """The same neurons with their mean activations, so that a language can be switched on.

        Args:
            statistics: Of the same model.
            languages: Whose means to take; None takes those of every language that was recorded.

        Raises:
            MaskMismatch, UnknownLabel: The statistics are of another shape, or lack one of the languages.
        """
        self._same_shape(statistics)
        chosen = [code for code in self.languages if code in statistics.tokens] if languages is None else languages
        means = {code: statistics.mean(code).flatten()[self.flat(code)].float() for code in chosen}
        calibration, before = statistics.provenance(chosen), self.metadata.get("calibration") or {}
        for key in ("tokens", "corpora"):
            calibration[key] = {**before.get(key, {}), **calibration[key]}
        return replace(self, means={**self.means, **means}, metadata={**self.metadata, "calibration": calibration})

    def random_like(self, statistics: ActivationStatistics | None, seed: int) -> NeuronMask:
        """As many random neurons for each language and layer, the control for every claim.

        Args:
            statistics: Where their means come from; None gives a mask for *off* only.
            seed: The same seed gives the same mask.

        Raises:
            MaskMismatch: The statistics belong to a model of another shape.
        """
        if statistics is not None:
            self._same_shape(statistics)
        generator = torch.Generator().manual_seed(seed)
        neurons, means = {}, {}
        for code in self.languages:
            chosen = [
                torch.randperm(self.shape[1], generator=generator)[:count] + layer * self.shape[1]
                for layer, count in enumerate(self.per_layer(code))
            ]
            flat = torch.cat(chosen).sort().values
            neurons[code] = pairs_of(flat, self.shape[1])
            if statistics is not None:
                means[code] = statistics.mean(code).flatten()[flat].float()
        return NeuronMask(neurons, means, self.shape, {**self.metadata, "method": "random", "settings": {"seed": seed}})

    def check(self, model: nn.Module) -> None:
        """Refuses a model of another shape or number of experts; warns when it is another model or revision.

        The embedded weights of a model are rounded, so one of its masks works on the Hub's weights too, with a note.

        Raises:
            MaskMismatch: The model has another number of layers or neurons; names both.
        """
        sites = activation_sites(model)
        self.check_against(identity(model), sites.shape, sites.experts)  # type: ignore[arg-type]

    def check_against(self, given: ModelIdentity, shape: tuple[int, int], experts: int) -> None:
        """The same for a model that is not at hand: which it is, layers and neurons per layer, experts."""
        mine = self.metadata.get("model", "an unnamed model")
        if (shape, experts) != (self.shape, self.experts):
            sizes = f"{size_text(self.shape, self.experts)}, but {given.model} has {size_text(shape, experts)}"
            raise MaskMismatch(f"The mask was made for {mine} with {sizes}.")
        warn_of_another("The mask was", self.metadata, given)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `mask.safetensors` and `mask.json`, its summary; the same mask gives the same bytes."""
        described = {"kind": "mask", "format": FORMAT_VERSION, "shape": list(self.shape)}
        metadata = {**self.metadata, **described, "languages": list(self.languages)}
        tensors = {f"neurons.{code}": pairs for code, pairs in self.neurons.items()}
        for name, column in columns_of(type(self)).items():
            tensors |= {f"{column.key}.{code}": values for code, values in getattr(self, name).items()}
        counts = {code: self.count(code) for code in self.languages}
        per_layer = {code: self.per_layer(code) for code in self.languages}
        with placed(folder) as staged:  # a kill in between would leave a summary of another mask
            save_tensors(staged / MASK_NAME, tensors, metadata)
            summary = {"counts": counts, "counts_per_layer": per_layer, "sha256": sha256_of(staged / MASK_NAME)}
            write_json(staged / SUMMARY_NAME, metadata | summary)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NeuronMask:
        """Reads `mask.safetensors`, or the one in a folder.

        Raises:
            BadFile: It is missing or damaged, or an index is out of range.
        """
        file = Path(path) / MASK_NAME if Path(path).is_dir() else Path(path)
        tensors, metadata = load_tensors(file, "mask")
        check_metadata(metadata, str(file))
        warn_of_newer(metadata, str(file), FORMAT_VERSION)
        try:
            layers, width = metadata["shape"]
            neurons = {code: tensors[f"neurons.{code}"] for code in metadata["languages"]}
        except KeyError as error:
            raise BadFile(f"{str(file)!r} does not say its shape and languages, or lacks their neurons.") from error
        columns = {
            name: {code: tensors[key] for code in neurons if (key := f"{column.key}.{code}") in tensors}
            for name, column in columns_of(cls).items()
        }
        return cls(neurons=neurons, shape=(layers, width), metadata=metadata, **columns)

    @classmethod
    def from_pretrained(
        cls,
        collection: str | None = None,
        *,
        model: str | None = None,
        method: str = "lape",
        revision: str | None = None,
    ) -> NeuronMask:
        """Loads the mask of a model: a bundled or pulled one, else a collection's on the Hub.

        Args:
            collection: Repo on the Hub; None looks among the bundled masks, then in `LAPE_MASKS_REPO`.
            model: Hub id or preset; None is the embedded default.
            method: Folder of the mask under the model's.
            revision: Branch, tag or commit of the collection; a full commit that is cached asks nothing.

        Raises:
            BadFile, HubError: There is none, it is damaged, or the Hub refuses or cannot be reached.
        """
        from lape.masks.collection import find_mask  # the Hub, for who asks for it

        mask = cls.load((found := find_mask(model, method, collection=collection, revision=revision)).folder)
        return replace(mask, metadata={**mask.metadata, **found.origin})

    def _combine(self, other: NeuronMask, choose: Choose) -> NeuronMask:
        self._same_shape(other)
        return replace(self, **combined(self, other, choose))

    def _same_shape(self, other: NeuronMask | ActivationStatistics) -> None:
        if self.shape != other.shape:
            kind = "other mask" if isinstance(other, NeuronMask) else "statistics"
            raise MaskMismatch(f"The mask is for {size_text(self.shape)}, the {kind} for {size_text(other.shape)}.")
