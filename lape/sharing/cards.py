"""Cards: the READMEs of a mask and of a collection, made from what the files say.

The words around it are in the `.md` files beside this module; what comes from a file is written by `markdown.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import quote

from huggingface_hub import ModelCardData

from lape.languages import LANGUAGES, base_language
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask
from lape.masks.summaries import MaskEntry, mask_path
from lape.models.embedded import embedded_model
from lape.recording.statistics import ActivationStatistics
from lape.sharing.markdown import HUB, HUB_ID, SLUG, code, language_name, language_names, model_link, value_text
from lape.sharing.readme import updated
from lape.storage.names import LABEL

TAGS = ["lape", "language-specific-neurons"]
SOURCES_NAMED = 3


@dataclass(frozen=True)
class Evidence:
    """A file of measurements beside a mask.

    Attributes:
        name: Its name in the folder `evidence`.
        title: What it says it shows.
        summary: What came out.
    """

    name: str
    title: str = ""
    summary: str = ""


def mask_card(
    mask: NeuronMask,
    *,
    statistics: ActivationStatistics | None = None,
    evidence: Sequence[Evidence] = (),
    collection: str | None = None,
    method: str | None = None,
    previous: str | None = None,
) -> str:
    """The README of a mask.

    Args:
        mask: The mask.
        statistics: Those beside it, if any.
        evidence: The measurements beside it.
        collection: Repo on the Hub it is part of; None for a mask that is on this machine only.
        method: Name of its folder; None is the method's.
        previous: The README there is, to be updated.

    Raises:
        BadFile: `previous` has front matter that is not YAML, or lacks one of our marks.
    """
    model = str(mask.metadata.get("model", "an unnamed model"))
    slug = method or str(mask.metadata.get("method", ""))
    means = [label for label in mask.languages if label in mask.means]
    steering = "; switch another's on and it answers in that one" if means else ""
    part = _filled(
        "mask_card",
        model=code(model),
        linked=model_link(model),
        method=code(mask.metadata.get("method", "unknown")),
        switching=f"Switch a language's neurons off and the model loses it{steering}.",
        facts="\n".join(f"| {name} | {value} |" for name, value in _facts(mask)),
        table=_table(mask),
        shared=_sharing(mask),
        files=_files(statistics, evidence),
        limits="\n".join(f"- {limit}" for limit in _limits(mask, means, evidence)),
        licence=_licence(model),
        **_examples(mask, means, model, slug, collection),
    )
    return updated(previous, _front_matter([model], mask.languages), part)


def collection_card(entries: Sequence[MaskEntry], *, collection: str, previous: str | None = None) -> str:
    """The README of a collection.

    Args:
        entries: The masks it holds.
        collection: Repo on the Hub.
        previous: The README there is, to be updated.

    Raises:
        BadFile: `previous` has front matter that is not YAML, or lacks one of our marks.
    """
    entries = sorted(entries, key=lambda entry: (entry.model, entry.method))
    rows, sections = ["| model | mask | languages |", "|---|---|---:|"], []
    for entry in entries:
        known = HUB_ID.fullmatch(entry.model) and SLUG.fullmatch(entry.method)
        path = mask_path(entry.model, entry.method)
        name = code(entry.method)
        linked = f"[{name}]({HUB}/{collection}/tree/main/{path})" if known else name
        rows.append(f"| {model_link(entry.model)} | {linked} | {len(entry.counts)} |")
        counts = ", ".join(f"{language_name(label)} {count:,}" for label, count in sorted(entry.counts.items()))
        picture = f"\n\n![Neurons per layer and language]({path}/layers.svg)" if known else ""
        sections.append(f"## {code(entry.model)}, {name}\n\nNeurons: {counts or 'none'}.{picture}")
    part = _filled("collection_card", table="\n".join(rows), collection=collection, masks="\n\n".join(sections))
    labels = sorted({label for entry in entries for label in entry.counts})
    return updated(previous, _front_matter(sorted({entry.model for entry in entries}), labels), part)


def _filled(template: str, **values: str) -> str:
    texts = files("lape.sharing")
    citation = (texts / "citation.md").read_text(encoding="utf-8").strip()
    return Template((texts / f"{template}.md").read_text(encoding="utf-8")).substitute(citation=citation, **values)


def _front_matter(models: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Our keys; a licence is the owner's to choose."""
    bases = [model for model in models if HUB_ID.fullmatch(model)]
    languages = dict.fromkeys(base_language(label) for label in labels)
    return ModelCardData(
        library_name="lape",
        tags=TAGS,
        base_model=bases[0] if len(bases) == 1 else bases or None,
        language=[language for language in languages if language in LANGUAGES] or None,
    ).to_dict()


def _facts(mask: NeuronMask) -> list[tuple[str, str]]:
    """What the mask is and how it was made; what is not known has no row."""
    about = mask.metadata
    settings = ", ".join(f"{code(name)} {value_text(value)}" for name, value in _mapping(about.get("settings")).items())
    weights = [value_text(about[key]) for key in ("dtype", "quantization") if about.get(key)]
    released = _mapping(about.get("released"))
    library = _mapping(about.get("library"))
    rows = {
        "model": f"{model_link(str(about.get('model', 'an unnamed model')))}, {size_text(mask.shape, mask.experts)}",
        "revision": code(about["revision"]) if about.get("revision") else "",
        "computed in": ", quantised to ".join(weights),
        "method": code(about["method"]) + (f": {settings}" if settings else "") if about.get("method") else "",
        "released as": ", ".join(
            f"{key} {code(released[key])}" for key in ("file", "sha256", "url") if released.get(key)
        ),
        "mean activations": _means(mask),
        "made with": ", ".join(f"{code(f'{name} {version}')}" for name, version in library.items()),
        "recorded": code(about["date"]) if about.get("date") else "",
    }
    return [(name, text) for name, text in rows.items() if text]


def _means(mask: NeuronMask) -> str:
    """Which languages can be switched on, and where their means are from."""
    calibration = _mapping(mask.metadata.get("calibration"))
    if not mask.means:
        return "none: languages can be switched off, not on"
    kept = "of all languages" if len(mask.means) == len(mask.languages) else f"of {language_names(mask.means)} only"
    if not calibration:
        return kept
    tokens = sorted({value_text(count) for count in _mapping(calibration.get("tokens")).values()})
    parts = [f"{' or '.join(tokens)} tokens per language" if tokens else ""]
    parts += [code(calibration[key]) for key in ("means", "dtype", "quantization", "date") if calibration.get(key)]
    return f"{kept}, measured later: {', '.join(filter(None, parts))}"


def _table(mask: NeuronMask) -> str:
    """Neurons per language, with the tokens and texts they are from, where these are known."""
    tokens, corpora = _mapping(mask.metadata.get("tokens")), _mapping(mask.metadata.get("corpora"))
    known = bool(tokens or corpora)
    rows = [
        "| language | neurons |" + (" tokens | text |" if known else ""),
        "|---|---:|" + ("---:|---|" if known else ""),
    ]
    for label in mask.languages:
        row = f"| {language_name(label)} | {mask.count(label):,} |"
        if known:
            row += f" {value_text(tokens[label]) if label in tokens else ''} | {_sources(corpora.get(label))} |"
        rows.append(row)
    return "\n".join(rows)


def _sources(corpora: Any) -> str:
    parts = [part for part in corpora if isinstance(part, Mapping)] if isinstance(corpora, list) else []
    names = list(dict.fromkeys(code(part.get("source", "?")) for part in parts))
    more = f" and {len(names) - SOURCES_NAMED} more" if len(names) > SOURCES_NAMED else ""
    return ", ".join(names[:SOURCES_NAMED]) + more


def _shared(mask: NeuronMask) -> tuple[int, int]:
    """How many different neurons there are, and how many of them belong to more than one language."""
    times = Counter(index for label in mask.languages for index in mask.flat(label).tolist())
    return len(times), sum(count > 1 for count in times.values())


def _sharing(mask: NeuronMask) -> str:
    different, several = _shared(mask)
    total = mask.shape[0] * mask.shape[1]
    said = f"Different neurons: {different:,} of the model's {total:,}. Shared by two or more languages: {several:,}."
    if not several:
        return said
    pairs = {pair: index for pair, index in mask.overlap().items() if pair[0] < pair[1] and index}
    (one, other), index = max(pairs.items(), key=lambda item: item[1])
    return (
        f"{said} Most alike are {language_name(one)} and {language_name(other)}, with a Jaccard index of {index:.2f}."
    )


def _files(statistics: ActivationStatistics | None, evidence: Sequence[Evidence]) -> str:
    """Sections on the statistics and the measurements, where there are any."""
    text = ""
    if statistics is not None:
        text += (
            "## Statistics\n\n"
            f"`statistics.safetensors` has how often every neuron was active in {len(statistics.languages)} languages, "
            "and its sums: `lape identify` makes masks of other settings from it, without a new recording.\n\n"
        )
    if evidence:
        rows = []
        for file in evidence:
            said = ": ".join(code(words) for words in (file.title, file.summary) if words)
            rows.append(f"- [{code(file.name)}](evidence/{quote(file.name)})" + (f" {said}" if said else ""))
        text += "## Evidence\n\n" + "\n".join(rows) + "\n\n"
    return text


def _examples(mask: NeuronMask, means: Sequence[str], model: str, slug: str, collection: str | None) -> dict[str, str]:
    """How to use it, in Python and on the command line, with ids that can be pasted."""
    model = model if HUB_ID.fullmatch(model) else "MODEL"
    slug = slug if SLUG.fullmatch(slug) else "METHOD"
    usable = [label for label in mask.languages if LABEL.fullmatch(label) and mask.count(label)]
    off = "en" if "en" in usable else next(iter(usable), "CODE")
    steerable = [label for label in usable if label in means and label != off]
    on = max(steerable, key=mask.count, default=None)
    found = f'"{collection}", ' if collection else ""
    intervention = f'mask, off="{off}"' + (f', on="{on}"' if on else "")
    python = f"""\
import lape

model, tokenizer = lape.load_model("{model}")
mask = lape.NeuronMask.from_pretrained({found}model="{model}", method="{slug}")
inputs = tokenizer("Your prompt", return_tensors="pt").to(model.device)
with lape.intervene(model, lape.Intervention({intervention})):
    print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))"""
    folder = f"precomputed/{mask_path(model, slug)}"
    shell = f'lape generate "Your prompt" --model {model} --mask {folder} --off {off}' + (f" --on {on}" if on else "")
    if collection:
        shell = f"lape pull {collection} --model {model} --method {slug}\n{shell}"
    return {"python": python, "shell": shell}


def _limits(mask: NeuronMask, means: Sequence[str], evidence: Sequence[Evidence]) -> list[str]:
    """What is true of this mask and of every mask."""
    limits = ["The neurons are those of this text, model revision, precision and setting; others give others."]
    if several := _shared(mask)[1]:
        limits.append(
            f"Languages share neurons ({several:,} here): switching one also changes others, related ones most."
        )
    if empty := [label for label in mask.languages if not mask.count(label)]:
        limits.append(f"No neurons were found for {language_names(empty)}: these can be neither switched off nor on.")
    if missing := [label for label in mask.languages if label not in means]:
        limits.append(
            f"Switching a language on needs its mean activations; there are none for {language_names(missing)}. "
            "`lape calibrate` adds them from a few thousand tokens."
        )
    limits.append("A steered text changes language before it reads well, above all with small models.")
    if not evidence:
        limits.append("No measurements come with this mask. Compare with as many random neurons: `mask.random_like`.")
    return limits


def _licence(model: str) -> str:
    """A section on what the model's licence wants said, where there is something."""
    embedded = embedded_model(model)
    return f"## The model's licence\n\n{embedded.notice_markdown}.\n\n" if embedded and embedded.notice else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
