"""What the metadata of a mask or of statistics may say, checked when a file is read: it may be anybody's.

Keys of a mask; those of statistics are in `lape/recording/statistics.py`:

    kind          str    "mask"
    format        int    version of this format
    shape         list   [layers, neurons per layer] of the model
    languages     list   every code, also those without a neuron
    model         str    Hub id or path
    revision      str?   commit, or gguf-q4_1:<sha256> for the embedded weights
    method        str    identification method
    settings      dict   its settings
    experts       int?   experts per layer of a mixture; neuron n of expert e is number e * width + n of its layer
    layers        list?  the layers that have neurons, where not all have
    architecture, dtype, quantization, tokens, corpora, block, special_tokens, library, date   as in the statistics
    calibration   dict?  of means that were added later: tokens, corpora, dtype, quantization, date, library, and
                         what they are where they are no means (`means`)
    released      dict?  of an imported mask: {file, sha256, url}
    collection, commit   str?   repo on the Hub it was got from, and its commit
    licence       str?   of the text that a recording keeps, under which it may be shown
    uploaded      str?   name of the file that a visitor of the page brought it as

What is checked is the form that the rest of the project, and whoever reads about a mask, can rely on. Keys of a newer
format that are not listed here may hold anything; they are kept, and named in a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from lape.errors import BadFile, LapeWarning
from lape.storage.schema import COUNT, TEXT, Form, is_count, is_label, is_text

# What decides counts: statistics must agree in it to be merged, and a mask has it from its statistics.
COUNTED_UNDER = (
    "model",
    "revision",
    "architecture",
    "dtype",
    "quantization",
    "block",
    "special_tokens",
    "experts",  # and which layers have neurons, of models that are not dense in every layer
    "layers",
)

MOST_LANGUAGES = 1_000
LARGEST_SETTING = 2**64  # such as a seed; more is neither a number that counts nor finite
MOST_LAYERS, MOST_NEURONS = 10_000, 10_000_000  # of a model; a wrong one would ask for that much memory


def check_metadata(metadata: Mapping[str, Any], file: str) -> None:
    """Refuses a known key with a value of another form.

    Args:
        metadata: As it was read.
        file: Its name, for the error.

    Raises:
        BadFile: Names the key, or says that a key is not one line of text.

    Example:
        >>> check_metadata({"model": ["org/a"]}, "mask.safetensors")
        Traceback (most recent call last):
        ...
        lape.errors.BadFile: 'mask.safetensors' does not say its model as one line of text.
    """
    if not all(map(is_text, metadata)):
        raise BadFile(f"{file!r} holds metadata under a key that is not one line of text.")
    for key, form in KEYS.items():
        if key in metadata and not form.fits(metadata[key]):
            raise BadFile(f"{file!r} does not say its {key} as {form.text}.")


def warn_of_newer(metadata: Mapping[str, Any], file: str, version: int) -> None:
    """Warns where a file is of another version, or says what is not understood; both as a newer lape writes them."""
    unknown = [key[:40] for key in sorted(metadata.keys() - KEYS.keys())[:10]]
    if unknown or metadata.get("format") != version:
        listed = f"; not understood: {', '.join(unknown)}" if unknown else ""
        warnings.warn(f"{file!r} is of a newer format{listed}. Update lape.", LapeWarning, stacklevel=3)


def _text_or_none(value: Any) -> bool:
    return value is None or is_text(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _settings(value: Any) -> bool:
    def setting(each: Any) -> bool:
        # A number for each language is how many neurons it gets.
        number = isinstance(each, bool | int | float) and abs(each) <= LARGEST_SETTING
        return each is None or number or is_text(each) or _counts(each)

    return isinstance(value, dict) and all(map(setting, value.values()))


def _labels(value: Any) -> bool:
    known = isinstance(value, list) and len(value) <= MOST_LANGUAGES and all(map(is_label, value))
    return known and len(set(value)) == len(value)


def _counts(value: Any) -> bool:
    return isinstance(value, dict) and all(is_label(code) and is_count(count) for code, count in value.items())


def _shape(value: Any) -> bool:
    whole = isinstance(value, list) and len(value) == 2 and all(map(is_count, value))
    return whole and 1 <= value[0] <= MOST_LAYERS and 1 <= value[1] <= MOST_NEURONS


def _calibration(value: Any) -> bool:
    return value is None or (
        _mapping(value) and _counts(value.get("tokens", {})) and _mapping(value.get("corpora", {}))
    )


def _released(value: Any) -> bool:
    return value is None or (_mapping(value) and all(map(_text_or_none, value.values())))


def _experts(value: Any) -> bool:
    return is_count(value) and 2 <= value <= MOST_NEURONS


def _layers(value: Any) -> bool:
    listed = isinstance(value, list) and 1 <= len(value) <= MOST_LAYERS and all(map(is_count, value))
    return listed and value == sorted(set(value))


TEXT_OR_NONE = Form("one line of text, or null", _text_or_none)
COUNTS = Form("a whole number for each language", _counts)
MAPPING = Form("a mapping", _mapping)
KEYS: Mapping[str, Form] = {
    "kind": TEXT,
    "format": COUNT,
    "shape": Form("[layers, neurons] of a model", _shape),
    "experts": Form("a whole number of experts, 2 or more", _experts),
    "layers": Form("an ascending list of layers", _layers),
    "languages": Form("a list of different labels, each 1 to 32 of A-Z, a-z, 0-9, _ and -", _labels),
    "model": TEXT,
    "revision": TEXT_OR_NONE,
    "architecture": TEXT_OR_NONE,
    "dtype": TEXT_OR_NONE,
    "quantization": TEXT_OR_NONE,
    "method": TEXT_OR_NONE,
    "settings": Form("a mapping of finite numbers and texts", _settings),
    "tokens": COUNTS,
    "corpora": MAPPING,
    "block": COUNT,
    "special_tokens": MAPPING,
    "library": MAPPING,
    "date": TEXT,
    "licence": TEXT_OR_NONE,
    "calibration": Form("a mapping with tokens and corpora", _calibration),
    "released": Form("a mapping of texts", _released),
    "collection": TEXT,
    "commit": TEXT,
    "uploaded": TEXT,
}
