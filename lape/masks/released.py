"""The masks that the authors of the LAPE paper released, read into our format.

A released `.pth` file holds `List[language][layer] -> LongTensor` of sorted neuron indices, the languages by
position and without their codes. It carries no mean activations: *off* works at once, *on* needs
`lape.masks.calibration` first. Their repository has no licence, so none of the files ships with lape; `fetch_released`
downloads them from the pinned commits.

`weights_only=True` keeps a hostile file from running code, not from filling the memory: a kilobyte can ask for a
`bytearray` of terabytes, and a compressed archive can grow a thousandfold. So nothing is unpickled but plain
tensors, from an archive that is not compressed.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import pickletools
import re
import sys
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lape.errors import BadFile, LapeError, LapeWarning, unknown_label
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask
from lape.models.embedded import cache_folder
from lape.models.presets import resolve_name
from lape.storage.names import INTEGERS, check_label
from lape.storage.placing import atomic_write, prepare

BASE_URL = "https://raw.githubusercontent.com/RUCAIBox/Language-Specific-Neurons"
LANGUAGES = ("en", "zh", "fr", "es", "vi", "id", "ja")  # by position; a file with six lists has no ja
SETTINGS = {"top_rate": 0.01, "filter_rate": 0.95, "activation_bar_ratio": 0.95}  # as the archives inside say
# What is unsaid in a file: its languages, and that there may have been more.
DROPPED = "The authors' script drops languages at the end of its list that have no neuron."
MAX_BYTES = 16_000_000  # the largest released file has 393,198
MAX_PICKLE_BYTES = 2_000_000  # of what is around the tensors: 300 a tensor; each byte can ask for an object
TIMEOUT_SECONDS = 20
# All that the pickle of a list of tensors names.
PLAIN = re.compile(r"torch\._utils _rebuild_tensor_v2|torch [A-Za-z0-9]+Storage|collections OrderedDict")

_V1 = "1ec944cf50adac636e8b52c5663b2c68fcbd4cd0"
_V2 = "e2236818cba435c6f33cde7f582154665030ea25"


@dataclass(frozen=True)
class Released:
    """A released mask.

    Attributes:
        model: Hub id of the model it was made for.
        shape: `(layers, neurons per layer)` of the model.
        counts: Neurons per language, in the order of the lists.
        file: Its name in the authors' repository.
        commit: The commit it is taken from.
    """

    model: str
    shape: tuple[int, int]
    counts: tuple[int, ...]
    file: str
    commit: str

    @property
    def languages(self) -> tuple[str, ...]:
        return LANGUAGES[: len(self.counts)]

    @property
    def url(self) -> str:
        return f"{BASE_URL}/{self.commit}/{self.file}"


RELEASED: Mapping[str, Released] = {
    "llama-2-7b": Released(
        "meta-llama/Llama-2-7b-hf", (32, 11008), (95, 583, 1022, 838, 836, 1068, 582), "LLaMA-2-7B.neuron.pth", _V1
    ),
    "llama-2-13b": Released(
        "meta-llama/Llama-2-13b-hf",
        (40, 13824),
        (161, 1168, 1583, 1255, 1252, 1384, 1435),
        "LLaMA-2-13B.neuron.pth",
        _V1,
    ),
    "llama-2-70b": Released(
        "meta-llama/Llama-2-70b-hf", (80, 28672), (731, 5366, 6482, 5873, 5515, 6522), "LLaMA-2-70B.neuron.pth", _V1
    ),
    "bloom-7b1": Released(
        "bigscience/bloom-7b1", (30, 16384), (445, 653, 680, 918, 551, 2823), "BLOOM-7B.neuron.pth", _V1
    ),
    "mistral-7b": Released(
        "mistralai/Mistral-7B-v0.1", (32, 14336), (76, 1190, 919, 838, 1554, 1445), "Mistral-7B.neuron.pth", _V2
    ),
    "opt-6.7b": Released(
        "facebook/opt-6.7b", (32, 16384), (347, 833, 1571, 1517, 752, 1129), "OPT-6.7B.neuron.pth", _V2
    ),
    "phi-2": Released("microsoft/phi-2", (32, 10240), (52, 196, 1032, 1119, 511, 764), "Phi-2-2.7B.neuron.pth", _V2),
}


def read_released(
    path: str | os.PathLike[str],
    model: str,
    *,
    languages: Sequence[str] | None = None,
    shape: tuple[int, int] | None = None,
) -> NeuronMask:
    """Reads a mask in the authors' format, from their repository or written by their script.

    Args:
        path: The `.pth` file.
        model: Hub id, preset or folder of the model it was made for.
        languages: Their codes, one per list of the file. None takes those of the paper, by position.
        shape: `(layers, neurons per layer)` of the model; needed when the paper has no mask for it.

    Returns:
        The mask, without means.

    Raises:
        BadFile: It is missing, too large, damaged, or not such a mask; says what is wrong and where.
        LapeError: There is not one language per list, or the model's shape is not known.

    Example:
        >>> mask = read_released("LLaMA-2-7B.neuron.pth", "meta-llama/Llama-2-7b-hf")  # doctest: +SKIP
    """
    file = Path(path)
    if not file.is_file():
        raise BadFile(f"There is no file {str(path)!r}.")
    if (size := file.stat().st_size) > MAX_BYTES:
        raise BadFile(f"{str(path)!r} has {size:,} bytes; a released mask has {MAX_BYTES:,} at most.")
    name = resolve_name(model)
    known = next((entry for entry in RELEASED.values() if entry.model == name), None)
    shape = shape or (known.shape if known else None)
    if shape is None:
        raise LapeError(f"The shape of {name} is not known; give it as (layers, neurons), such as --shape 32x11008.")
    if known and shape != known.shape:
        raise LapeError(f"{name} has {size_text(known.shape)}, not {size_text(shape)}.")

    data = file.read_bytes()
    neurons = _neurons(data, file.name, shape, languages)
    counts = tuple(len(pairs) for pairs in neurons.values())
    published = next((entry for entry in RELEASED.values() if (entry.shape, entry.counts) == (shape, counts)), None)
    if published is None and languages is None:
        warnings.warn(
            f"{file.name!r} is not one of the paper's; its lists were taken as {' '.join(neurons)}. Name them "
            f"(languages, --languages) if they are others. {DROPPED}",
            LapeWarning,
            stacklevel=2,
        )
    source = {
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "url": published.url if published else None,
    }
    settings = SETTINGS if published else {}
    return NeuronMask(neurons, {}, shape, {"model": name, "method": "lape", "settings": settings, "released": source})


def fetch_released(name: str) -> Path:
    """The file of a released mask, downloaded once into the cache folder.

    Args:
        name: One of `RELEASED`.

    Raises:
        UnknownLabel: There is no released mask of that name.
        LapeError: It cannot be written; nothing is downloaded.
        BadFile: It cannot be downloaded, or is not the file that was released.
    """
    if name not in RELEASED:
        raise unknown_label("released mask", name, RELEASED)
    entry = RELEASED[name]
    path = cache_folder() / "released" / entry.commit / entry.file
    if path.is_file():
        return path
    prepare(path.parent, "name another folder in LAPE_CACHE")
    print(f"Downloading {entry.url} into {path.parent} ...", file=sys.stderr)
    data = _download(entry.url)
    counts = tuple(len(pairs) for pairs in _neurons(data, entry.file, entry.shape, None).values())
    if counts != entry.counts:
        raise BadFile(f"{entry.url} is not the released mask: it has {counts} neurons a language, not {entry.counts}.")
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return path


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            promised = response.length
            data = response.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise BadFile(f"{url} could not be downloaded: the server says {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise BadFile(
            f"{url} could not be downloaded ({getattr(error, 'reason', error)}). Check the network, or fetch the file "
            "elsewhere and import it by its path."
        ) from error
    if len(data) > MAX_BYTES:
        raise BadFile(f"{url} has over {MAX_BYTES:,} bytes, more than any released mask; it was not kept.")
    if promised is not None and len(data) != promised:
        raise BadFile(f"The download of {url} ended after {len(data):,} of {promised:,} bytes; try again.")
    return data


def _neurons(
    data: bytes, file: str, shape: tuple[int, int], languages: Sequence[str] | None
) -> dict[str, torch.Tensor]:
    """Language code to checked (layer, neuron) pairs."""
    lists = _unpickled(data, file)
    codes = _codes(lists, file, languages)
    return {
        code: _pairs(layers, shape, f"{file!r}, language {code!r}") for code, layers in zip(codes, lists, strict=True)
    }


def _unpickled(data: bytes, file: str) -> list[Any]:
    """The lists of a file, after checks that nothing in it can run code or fill the memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            fits = stored and sum(entry.file_size for entry in entries) <= len(data)
            if len(pickles) != 1 or not fits or archive.testzip() is not None:
                raise zipfile.BadZipFile
            if pickles[0].file_size > MAX_PICKLE_BYTES:
                raise zipfile.LargeZipFile
            operations = pickletools.genops(archive.read(pickles[0]))
            named = [str(argument) for operation, argument, _ in operations if operation.name == "GLOBAL"]
    except Exception as error:  # a damaged file makes the readers raise almost anything
        raise BadFile(f"{file!r} is damaged or was not written by torch.save.") from error
    if foreign := [name for name in named if not PLAIN.fullmatch(name)]:
        raise BadFile(f"{file!r} is refused: beside tensors it holds {foreign[0][:60]!r}. Nothing of it was run.")
    try:
        lists = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadFile(f"{file!r} is damaged or holds more than lists of tensors ({type(error).__name__}).") from error
    if not isinstance(lists, list) or not lists or not all(isinstance(layers, list) for layers in lists):
        raise BadFile(f"{file!r} is not a list of languages, each a list of layers.")
    return lists


def _codes(lists: list[Any], file: str, languages: Sequence[str] | None) -> tuple[str, ...]:
    """One language code per list."""
    if languages is None and len(lists) <= len(LANGUAGES):
        return LANGUAGES[: len(lists)]
    codes = tuple(check_label(code) for code in languages or ())
    if len(set(codes)) < len(codes):
        raise LapeError(f"A language was named twice: {', '.join(codes)}.")
    if len(codes) != len(lists):
        raise LapeError(
            f"{file!r} holds {len(lists)} lists and {len(codes)} languages were named; name one for each. {DROPPED}"
        )
    return codes


def _pairs(layers: list[Any], shape: tuple[int, int], where: str) -> torch.Tensor:
    """One language's neurons as (layer, neuron) pairs; every index is checked."""
    if len(layers) != shape[0]:
        raise BadFile(f"{where}: there are {len(layers)} layers, but the model has {shape[0]}.")
    pairs = []
    for layer, indices in enumerate(layers):
        here = f"{where}, layer {layer}"
        if type(indices) is not torch.Tensor or indices.dim() != 1 or indices.dtype not in INTEGERS:
            is_tensor = isinstance(indices, torch.Tensor)
            kind = f"{indices.dtype} {list(indices.shape)}" if is_tensor else type(indices).__name__
            raise BadFile(f"{here}: a one-dimensional tensor of whole numbers is needed, not {kind}.")
        if len(indices) > shape[1]:  # before any work: a tensor can claim any length and hold one number
            raise BadFile(f"{here}: there are {len(indices):,} indices, but only {shape[1]:,} neurons in a layer.")
        indices = indices.long()
        if outside := indices[(indices < 0) | (indices >= shape[1])].tolist():
            raise BadFile(f"{here}: neuron {outside[0]} is outside the model's 0 to {shape[1] - 1}.")
        if repeated := indices[1:][indices.diff() == 0].tolist():
            raise BadFile(f"{here}: neuron {repeated[0]} is named twice.")
        if (indices.diff() < 0).any():
            raise BadFile(f"{here}: the neurons are not in ascending order, as the authors' script writes them.")
        pairs.append(torch.stack([torch.full_like(indices, layer), indices], dim=1))
    return torch.cat(pairs)
