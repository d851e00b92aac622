"""Reads a plan, a file of TOML, and checks all of it before anything is done.

Keys at the top are defaults; a key of a `[[models]]` table takes the place of the default of its name. Everything
that is wrong is said at once, each with the key it stands at.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

from lape.collection.plan import Corpus, EvidencePlan, MethodPlan, ModelPlan, corpora_of
from lape.errors import BadFile, LapeError, UnknownLabel, unknown_label
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.kind import groups_of_blocks
from lape.evaluation.kinds.rivals import EQUAL, EXCLUSIVE, NONE
from lape.evaluation.metrics.conditions import Off
from lape.evaluation.metrics.language import IDENTIFIERS
from lape.generation.settings import Mode
from lape.identify import method_settings, methods_reading
from lape.identify.settings import check_settings as check_method_settings
from lape.languages import LANGUAGES, base_language
from lape.models.machine import this_machine
from lape.models.placement import Request, device_for
from lape.models.presets import resolve_name
from lape.recording.reading import check_groups, check_settings
from lape.recording.statistics import ActivationStatistics
from lape.sharing.markdown import SLUG
from lape.sharing.parcel import is_hub_id
from lape.storage.json import read_regular
from lape.storage.names import check_label
from lape.storage.schema import FLAG, NUMBER, TEXT, Form, listing, mapping, misfit, shown

T = TypeVar("T")

OFFERED = methods_reading(ActivationStatistics)  # a plan records nothing else
POSITIVE = Form("a whole number from 1", lambda value: type(value) is int and value >= 1)
TABLE = Form("a table", lambda value: isinstance(value, dict))
CORPUS = Form("text, or a table of a text for each language", lambda value: isinstance(value, str | dict))
SHARED: Mapping[str, Form] = {
    "languages": listing(TEXT),
    "corpus": CORPUS,
    "tokens": POSITIVE,
    "block": POSITIVE,
    "batch": POSITIVE,
    "allow_short": FLAG,
    "groups": POSITIVE,
    "quantization": TEXT,
    "dtype": TEXT,
    "device": TEXT,
    "methods": mapping(TABLE, least=1, most=100),
    "evidence": TABLE,
}
OF_MODEL: Mapping[str, Form] = {"model": TEXT, "id": TEXT, "revision": TEXT}
EVIDENCE: Mapping[str, Form] = {
    "kinds": listing(TEXT),
    **dict.fromkeys(("tokens", "block", "seeds", "items", "shift_items", "max_new_tokens"), POSITIVE),
    **dict.fromkeys(("rivals", "sources", "offs"), listing(TEXT)),
    **dict.fromkeys(("prompts", "identifier", "source", "mode", "off"), TEXT),
    **dict.fromkeys(("strength", "top_rate", "most_cost"), NUMBER),
    "top_rates": listing(NUMBER),
    "strengths": mapping(listing(NUMBER, least=1)),
}
EXPECTED = tuple(name for name, kind in KINDS.items() if kind.expected)  # relations are no languages
# Options of evidence that are names of a list: what a name is called, and the list.
NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "kinds": ("kind of evidence", EXPECTED),
    "rivals": ("mask to compare with", (NONE, EXCLUSIVE, EQUAL, *OFFERED)),
    "identifier": ("language identifier", tuple(IDENTIFIERS)),
    "mode": ("mode", get_args(Mode)),
    "strengths": ("mode", get_args(Mode)),
    "off": ("choice of what goes off", get_args(Off)),
    "offs": ("choice of what goes off", get_args(Off)),
}


class _Problems(dict[str, None]):
    """What is wrong with a plan, in its order, each once: a default is looked at for every model."""

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Keeps what the block refuses, with the place it stands at."""
        try:
            yield
        except LapeError as error:
            self[f"{place}: {error}"] = None

    def found(self, place: str, check: Callable[..., T], *arguments: Any) -> T | None:
        """What a function gives, or None when it refuses."""
        with self.at(place):
            return check(*arguments)
        return None


def read_plan(path: str | os.PathLike[str]) -> tuple[ModelPlan, ...]:
    """The models of a plan, each with its defaults filled in.

    Raises:
        BadFile: It is missing, or not TOML.
        LapeError: Something is wrong with it; names everything, by key.
    """
    called = repr(str(path))
    try:
        table = tomllib.loads(read_regular(path, called).decode("utf-8"))
    except ValueError as error:  # of the encoding too
        raise BadFile(f"{called} is not TOML ({error}).") from error
    problems = _Problems()
    entries = table.pop("models", [])
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise LapeError(f"{called} names no model. Give each a [[models]] table with a key model.")
    defaults = _fitting(table, SHARED, "", problems)
    plans = [
        plan
        for number, entry in enumerate(entries, start=1)
        if (plan := _model(entry, defaults, f"models {number}", problems))
    ]
    places: dict[str, str] = {}
    for plan in plans:
        for name in plan.methods:
            with problems.at("models"):
                if places.setdefault(place := plan.place(name).lower(), plan.model) and places[place] is not plan.model:
                    raise LapeError(f"Two of them have a mask {plan.place(name)}. Name one of its methods otherwise.")
    if problems:
        listed = " ".join(f"({number}) {problem}" for number, problem in enumerate(problems, start=1))
        many = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise LapeError(f"The plan {called} has {many}, and nothing was started. {listed}")
    return tuple(plans)


def _fitting(table: Mapping[str, Any], forms: Mapping[str, Form], place: str, problems: _Problems) -> dict[str, Any]:
    """The keys of a table that exist and have a value of their form."""
    fitting = {}
    for key, value in table.items():
        at = f"{place}{'.' if place else ''}{shown(key)}"
        with problems.at(at):
            if key not in forms:
                raise unknown_label("key", shown(key), forms)
            if wrong := misfit(value, forms[key]):
                raise LapeError(f"It is {wrong.removeprefix('content as ')}.")
            fitting[key] = value
    return fitting


def _model(entry: Mapping[str, Any], defaults: Mapping[str, Any], place: str, problems: _Problems) -> ModelPlan | None:
    """One `[[models]]` table with the defaults; None when something is wrong with it."""
    before = len(problems)
    own = _fitting(entry, {**OF_MODEL, **SHARED}, place, problems)
    given = {**defaults, **own}

    def at(*keys: str) -> str:
        return ", ".join(f"{place}.{key}" if key in entry else key for key in keys)

    source, model = problems.found(f"{place}.model", _named, own, place) or ("", "")
    with problems.at(at("quantization")):
        Request(quantization=given.get("quantization"))
    with problems.at(at("dtype")):
        Request(dtype=given.get("dtype"))
    with problems.at(at("device")):
        device_for(this_machine(), Request(device=given.get("device")))
    evidence = _evidence(given.get("evidence", {}), at("evidence"), problems)
    methods = {
        name: method
        for name, table in given.get("methods", {"lape": {}}).items()
        if (method := problems.found(f"{at('methods')}.{shown(name)}", _method, name, table))
    }
    corpora = problems.found(at("languages", "corpus"), _corpora, given, evidence.reads_text)
    numbers = {key: given[key] for key in ("tokens", "block", "batch", "groups") if key in given}
    if corpora is not None:
        with problems.at(at(*numbers) or "tokens"):
            check_settings(
                corpora,
                given.get("tokens", ModelPlan.tokens),
                given.get("block", ModelPlan.block),
                given.get("batch", 1),
                None,
            )
        with problems.at(at("evidence")):
            _check_languages(evidence, tuple(corpora))
    if "groups" in given:
        with problems.at(at("groups")):
            check_groups(given["groups"], given.get("tokens", ModelPlan.tokens))
    with problems.at(at("evidence")):
        if "groups" not in given and (
            wanting := [kind for kind in evidence.kinds if groups_of_blocks in KINDS[kind].needs]
        ):
            raise LapeError(f"{', '.join(wanting)} needs groups of blocks; add groups = 16.")
    if len(problems) > before or corpora is None:
        return None
    loading = {
        key: given[key] for key in ("quantization", "dtype", "device", "revision", "allow_short") if key in given
    }
    return ModelPlan(
        model, source, tuple(corpora), given["corpus"], **numbers, **loading, methods=methods, evidence=evidence
    )


def _named(own: Mapping[str, Any], place: str) -> tuple[str, str]:
    """What is loaded, and its id on the Hub."""
    if "model" not in own:
        raise LapeError("It is missing: name a preset, a Hub id or a folder.")
    source = resolve_name(own["model"])
    model = own.get("id", source)
    if os.path.isdir(source) and "id" not in own:
        raise LapeError(f"{own['model']!r} is a folder; say which model of the Hub it holds, with the key id.")
    if not is_hub_id(model):
        raise LapeError(f"{model!r} is no id of a model on the Hub, which is written owner/name.")
    return source, model


def _method(name: str, table: Mapping[str, Any]) -> MethodPlan:
    """One table of `methods`."""
    if not SLUG.fullmatch(name):
        raise LapeError("It cannot name a folder: use up to 64 of A-Z, a-z, 0-9, _, . and -.")
    settings = dict(table)
    method, per_language = settings.pop("method", name), settings.pop("per_language", None)
    if method not in OFFERED:
        raise unknown_label("identification method", method, OFFERED)
    allowed = method_settings(method, ranked=per_language is not None)
    for key in settings:
        if key not in allowed:
            raise unknown_label(f"setting of {method!r}", shown(key), [*allowed, "method", "per_language"])
    check_method_settings(**settings)
    if per_language is not None and not POSITIVE.fits(per_language):
        raise LapeError(f"per_language is {POSITIVE.text}, not {per_language!r}.")
    return MethodPlan(method, settings, per_language)


def _evidence(table: Mapping[str, Any], place: str, problems: _Problems) -> EvidencePlan:
    """The table `evidence`."""
    given = _fitting(table, EVIDENCE, place, problems)
    for key, (what, allowed) in NAMES.items():
        value = given.get(key, ())
        for name in [value] if isinstance(value, str) else value:
            with problems.at(f"{place}.{key}"):
                if name not in allowed:
                    raise unknown_label(what, shown(name), allowed)
    kinds = given.pop("kinds", ())
    with problems.at(place):
        EvidencePlan((), given).options  # noqa: B018  # says which numbers it takes
        if given and not kinds:
            raise LapeError(f"Say what is measured, with the key kinds: {', '.join(EXPECTED)}.")
    return EvidencePlan(tuple(kind for kind in KINDS if kind in kinds), given)


def _corpora(given: Mapping[str, Any], held_out: bool) -> Mapping[str, Any]:
    """The text of each language; refuses what cannot be recorded, or measured where that is asked for."""
    if "corpus" not in given:
        raise LapeError("There is no corpus: name a folder, or hf:ID[:config].")
    corpus: Corpus = given["corpus"]
    languages = tuple(given["languages"]) if "languages" in given else None
    for code in languages or ():
        check_label(code)
        if isinstance(corpus, dict) and code not in corpus:
            raise unknown_label("language in the corpus", code, corpus)
        if isinstance(corpus, str) and corpus.startswith("hf:") and base_language(code) not in LANGUAGES:
            raise UnknownLabel(
                f"{unknown_label('language', code, LANGUAGES)} For another one, name its text in a table: "
                f'corpus = {{{code} = "hf:ID:config", ...}}.'
            )
    found = corpora_of(corpus, languages, "train")
    if len(found) < 2 or len(set(languages or found)) < len(languages or found):
        raise LapeError(
            f"Telling languages apart needs at least two different ones, not {', '.join(languages or found)}."
        )
    if held_out:
        corpora_of(corpus, tuple(found), "valid")
    return found


def _check_languages(evidence: EvidencePlan, languages: tuple[str, ...]) -> None:
    """Refuses languages to steer from that the masks will not have."""
    options = evidence.options
    asked = [*options.sources, *([options.source] if "source" in evidence.given or "tuning" in evidence.kinds else [])]
    for code in asked:
        if code not in languages:
            raise unknown_label("language of the mask", code, languages)
