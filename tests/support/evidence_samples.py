"""Evidence of every kind, made up with figures that can be found again by hand."""

from __future__ import annotations

from typing import Any

MASK = {"sha256": "ab" * 32, "method": "lape", "model": "org/tiny", "settings": {"top_rate": 0.02}, "revision": None}
ENVIRONMENT = {
    "lape": "0.1.0",
    "python": "3.11.9",
    "platform": "Linux x86_64",
    "device": "cpu",
    "threads": 2,
    "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
}


def figure(value: float, spread: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def file(kind: str, results: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "title": f"Title of {kind}",
        "summary": f"Summary of {kind}.",
        "settings": {"mask": MASK, "languages": ["de", "fr"], **settings},
        "environment": ENVIRONMENT,
        "command": f"lape evaluate {kind} --mask precomputed/org--tiny/lape",
        "seconds": 60.0,
        "results": results,
    }


def costs(own: dict[str, float], others: float) -> dict[str, Any]:
    """A mask's part of the matrix of de and fr."""
    off = {
        code: {
            text: {
                "delta_nats": figure(own[code] if text == code else others, 0.001),
                "bits_per_byte": figure(1.25 if text == code else 1.0),
                "delta_bits_per_byte": figure(0.25 if text == code else 0.0),
            }
            for text in own
        }
        for code in own
    }
    mine = sum(own.values()) / len(own)
    dominance = {
        **figure(mine / max(others, 0.005), 0.5),
        "floor_nats": 0.005,
        "floored": others < 0.005,
        "own_nats": figure(mine),
        "others_nats": figure(others, 0.001),
    }
    return {"neurons": dict.fromkeys(own, 10), "off": off, "dominance": dominance}


def perplexity(de: float = 0.6, fr: float = 0.4, others: float = 0.05) -> dict[str, Any]:
    masks = {
        "lape": costs({"de": de, "fr": fr}, others),
        "lave": costs({"de": 0.3, "fr": 0.2}, 0.2),
        "random 0": costs({"de": 0.002, "fr": 0.001}, 0.001),
        "random 1": costs({"de": 0.004, "fr": -0.003}, 0.001),
    }
    mine = (de + fr) / 2
    masks["lape"]["over_control"] = {
        **figure(mine / 0.005, 2),
        "floor_nats": 0.005,
        "floored": True,
        "own_nats": figure(mine),
        "control_nats": figure(0.001, 0.0005),
        "control_nats_by_mask": {"random 0": 0.0015, "random 1": 0.0005},
    }
    texts = {
        code: {
            "blocks": 16,
            "tokens": 2048,
            "bytes": 6000,
            "log_perplexity_nats": figure(3.0),
            "bits_per_byte": figure(1.0),
        }
        for code in ("de", "fr")
    }
    corpora = {code: {"source": f"{code}.valid.txt", "sha256": code * 32, "tokens": 2048} for code in ("de", "fr")}
    return file(
        "perplexity",
        {"texts": texts, "masks": masks, "controls": ["random 0", "random 1"], "left_out": {"lap": "too few neurons."}},
        mask_name="lape",
        masks=["lape", "lave", "random 0", "random 1"],
        block=128,
        corpora=corpora,
    )


def layers() -> dict[str, Any]:
    def depth(first: int, last: int) -> dict[str, Any]:
        count = first + last
        one = {
            "neurons": count,
            "per_layer": [first, *([0] * 14), last],
            "per_eighth": [first, 0, 0, 0, 0, 0, 0, last],
            "first_eighth_share": first / count if count else None,
            "last_eighth_share": last / count if count else None,
        }
        none = {**one, "neurons": 0, "per_eighth": [0] * 8, "first_eighth_share": None, "last_eighth_share": None}
        return {
            "layers": 16,
            "neurons_per_layer": 100,
            "layers_per_eighth": [2] * 8,
            "languages": {"de": one, "fr": none},
            "even_first_eighth_share": 0.125,
            "even_last_eighth_share": 0.125,
        }

    pair = {"jaccard": 0.25, "shared": 2, "first": 4, "second": 6}
    overlap = {"languages": {"de": pair}, "mean_jaccard": 0.25, "first_only": ["fr"], "second_only": []}
    return file(
        "layers",
        {
            "depth": depth(2, 6),
            "language_overlap": {"de": {"de": 1.0, "fr": 0.5}, "fr": {"de": 0.5, "fr": None}},
            "others": {"lave": {"depth": depth(1, 3), "overlap": overlap}},
            "between_others": {},
            "left_out": {},
        },
    )


def outcome(target: float, **other: Any) -> dict[str, Any]:
    return {
        "prompts": 20,
        "target_share": figure(target, 0.05),
        "source_share": (1 - target) / 2,
        "other_share": (1 - target) / 2,
        "gibberish_share": 0.0,
        "short_share": 0.0,
        "languages": {"fr": 20},
        "repeated_4gram_share": 0.04,
        "compression_ratio": 1.5,
        "log_perplexity_nats": figure(4.0),
        "perplexity": 54.6,
        "bits_per_byte": 2.0,
        "fluency_cost_nats": figure(1.25, 0.2),
        "sample": "eine <b>kleine</b> | Sache",
        **other,
    }


def outcomes(target: float, **other: Any) -> dict[str, Any]:
    return {
        "baseline": outcome(0.0, fluency_cost_nats=figure(0.0, 0.0)),
        "steered": outcome(target, **other),
        "random0": outcome(0.05),
        "instruction-english": outcome(0.6),
        "instruction-native": outcome(0.7),
    }


SETTING = {"mode": "replace", "strength": 2.0, "top_rate": 0.02}


def steered(de: float, fr: float, **other: Any) -> dict[str, Any]:
    both = (de + fr) / 2
    return {
        "pairs": {
            "en": {
                "de": {"setting": SETTING, "conditions": outcomes(de, **other)},
                "fr": {"setting": {**SETTING, "strength": 1.5}, "conditions": outcomes(fr)},
            }
        },
        "averages": {
            "all": {"pairs": 2, "conditions": outcomes(both)},
            "source": {"en": {"pairs": 2, "conditions": outcomes(both)}},
            "target": {
                "de": {"pairs": 1, "conditions": outcomes(de, **other)},
                "fr": {"pairs": 1, "conditions": outcomes(fr)},
            },
        },
    }


def steering(de: float = 0.95, fr: float = 0.85, **other: Any) -> dict[str, Any]:
    scores = {
        name: {"lss": figure(share, 0.05), "shift_nats": figure(nats)}
        for name, share, nats in (("steered", 0.9, 3.5), ("random0", 0.5, 0.1))
    }
    lss = {
        "pairs": {"en": {"de": {"items": 20, "setting": SETTING, "conditions": scores}}},
        "averages": scores,
    }

    def retained(share: float) -> dict[str, Any]:
        return {
            "retained_share": figure(share, 0.05),
            "gibberish_share": 0.0,
            "languages": {"en": 15, "de": 5},
            "sample": "",
        }

    conditions = {"baseline": retained(0.9), "off": retained(0.25), "random0": retained(0.85)}
    averages = {name: {"retained_share": found["retained_share"]} for name, found in conditions.items()}
    retention = {"languages": {"de": {"neurons": 8, "conditions": conditions}}, "averages": averages}
    return file(
        "steering",
        {
            **steered(de, fr, **other),
            "language_retention": retention,
            "setting": SETTING,
            "without_openings": [],
            "lss": lss,
            "lss_left_out": None,
            "untold": {"legal": "it is not known", "pt-BR": "it is not told from pt"},
            "second_opinion": {
                "identifier": "fasttext",
                "conditions": {"steered": {"target_share": 0.87, "differs_share": 0.06}},
            },
        },
        openings={"en": {"count": 20, "sha256": "cd" * 32}},
        decoding={"max_new_tokens": 32, "repetition_penalty": 1.1, "rows": 80, "temperature": 0},
        identifier="py3langid",
    )


def tuning(share: float = 0.92) -> dict[str, Any]:
    def tried(setting: dict[str, Any], target: float) -> dict[str, Any]:
        return {"setting": setting, "average": outcome(target), "target_shares": {"en": {"de": target, "fr": target}}}

    return file(
        "tuning",
        {
            "rule": "highest share",
            "sweep": [tried({**SETTING, "strength": strength}, share) for strength, share in ((1, 0.3), (2, 0.8))],
            "common": SETTING,
            "tuned": steered(share, share),
            "fixed": steered(0.8, 0.8),
            "source": "en",
        },
        identifier="py3langid",
    )


def stability(share: float | None = 0.2) -> dict[str, Any]:
    points = [
        {
            "tokens": tokens,
            "half_tokens": tokens // 2,
            "halves": {"de": halves, "fr": None},
            "halves_mean": halves,
            "to_full": None if full is None else {"de": full, "fr": None},
            "to_full_mean": full,
        }
        for tokens, halves, full in ((1024, 0.3, 0.5), (2048, 0.5, 0.85), (10240, 0.7, None))
    ]
    one = {"neurons": 8, "mean": 0.66, "median": 0.7, "certain": 0.4}
    return file(
        "stability",
        {
            "method": "lape",
            "settings": {},
            "full_tokens": {"de": 10240, "fr": 10240},
            "points": points,
            "enough": {"jaccard": 0.8, "tokens": share and 2048, "share": share},
            "spread": [
                {
                    "tokens": tokens,
                    "share": part,
                    "parts": round(1 / part),
                    "to_full": {"de": full, "fr": None},
                    "to_full_mean": full,
                    "to_full_mean_lowest": full - 0.04,
                }
                for tokens, part, full in ((1280, 0.125, 0.75), (2560, 0.25, 0.82))
            ],
            "spread_enough": {"jaccard": 0.8, "tokens": share and 2560, "share": share and 0.25},
            "selection": {"de": one, "fr": {"neurons": 0, "mean": None, "median": None, "certain": None}},
        },
    )


def harm() -> dict[str, Any]:
    def changed(own: float, other: float) -> dict[str, Any]:
        texts = {"own": own, "other": other}
        return {
            name: {"accuracy": figure(0.6 + change), "change": figure(change, 0.02)} for name, change in texts.items()
        }

    de, fr = changed(-0.2, 0.01), changed(-0.1, 0.03)
    return file(
        "harm",
        {
            "items": {"de": 20, "fr": 20},
            "guessing": 0.25,
            "before": {"de": {"accuracy": figure(0.6)}, "fr": {"accuracy": figure(0.3, 0.1)}},
            "after": {"de": {"de": de["own"], "fr": de["other"]}, "fr": {"fr": fr["own"], "de": fr["other"]}},
            "elsewhere": {"de": {"change": figure(0.01, 0.02)}, "fr": {"change": figure(0.03, 0.02)}},
        },
        corpora={"de": {"source": "de.valid.txt", "questions_sha256": "ef" * 32}},
    )


def confusion(kept: float = 0.9, change: float = 0.5) -> dict[str, Any]:
    def rates(line: float, word: float | None) -> dict[str, Any]:
        return {
            "judged": 20,
            "line_pass_rate": figure(line, 0.05),
            "word_pass_rate": None if word is None else figure(word),
            "line_and_word_pass_rate": None if word is None else figure(2 * line * word / (line + word)),
        }

    def answers(line: float, word: float | None, changed: float) -> dict[str, Any]:
        other = {"repeated_4gram_share": 0.25, "fluency_cost_nats": figure(1.5, 0.2)}
        return {**rates(line, word), "line_pass_change": figure(changed, 0.1), **other}

    def conditions(word: float | None) -> dict[str, Any]:
        lines = {"baseline": (kept - change, 0.0), "kept": (kept, change), "random0": (kept - change, 0.0)}
        return {name: answers(line, word, changed) for name, (line, changed) in lines.items()}

    def task() -> dict[str, Any]:
        languages = {
            code: {
                "prompts": 20,
                "conditions": {
                    name: {**found, "sample": "eine <b>kleine</b> | Sache"} for name, found in conditions(word).items()
                },
            }
            for code, word in (("de", None), ("ru", 0.75))
        }
        return {"languages": languages, "averages": conditions(0.75)}

    second = {name: rates(kept - change / 2, 0.5) for name in ("baseline", "kept", "random0")}
    return file(
        "confusion",
        {
            "tasks": {"monolingual": task(), "crosslingual": task()},
            "second_opinion": {"identifier": "fasttext", "tasks": {"monolingual": second, "crosslingual": second}},
            "too_long": 3,
            "with_dictionary": True,
            "without_prompts": ["cs"],
            "untold": {},
        },
        openings={"monolingual/okapi/de": {"count": 20, "sha256": "cd" * 32}},
        decoding={"max_new_tokens": 100, "repetition_penalty": 1.2, "rows": None, "temperature": 0},
        identifier="py3langid",
        items=20,
        mode="replace",
        strength=1.25,
    )


def firing(own: float = 0.9, random: float = 0.5) -> dict[str, Any]:
    def told(accuracy: float) -> dict[str, Any]:
        right = round(20 * accuracy)
        one = {
            "accuracy": figure(accuracy, 0.05),
            "token_shares": {"right": 0.5, "wrong": 0.25, "none": 0.25},
        }
        return {
            "accuracy": figure(accuracy, 0.05),
            "languages": {
                code: {**one, "told": {code: right, other: 20 - right}} for code, other in (("de", "fr"), ("fr", "de"))
            },
        }

    return file(
        "firing",
        {"lines": {"de": 20, "fr": 20}, "guessing": 0.5, "masks": {"own": told(own), "random0": told(random)}},
        corpora={"de": {"source": "de.valid.txt", "sha256": "ef" * 32}},
    )


def bench(share: float = 0.9, residual: float = 0.97, cost: float = 1.0) -> dict[str, Any]:
    """One mask at equal counts, the given one and a residual way."""

    def ratio(value: float) -> dict[str, Any]:
        return {**figure(value, 0.5), "floor_nats": 0.005, "floored": False, "own_nats": figure(0.5)}

    def mask(method: str, counts: str, identified: bool) -> dict[str, Any]:
        langspec = {"f1": figure(0.625), "control_f1": figure(0.25)}
        costs = {"dominance": ratio(5.0), "over_control": ratio(20.0), "langspec": langspec}
        return {
            **costs,
            "method": method,
            "counts": counts,
            "neurons": {"de": 30, "fr": 10},
            "elsewhere": costs,
            "retained_share": figure(0.1, 0.05),
            "identification": {"seconds": 0.125, "peak_bytes": 2_000_000} if identified else None,
            "halves_agreement": 0.75 if identified else None,
        }

    def entrant(way: str, mask: str | None, target: float, cost: float) -> dict[str, Any]:
        tried = {"strength": 1.25, "target_share": figure(target), "fluency_cost_nats": figure(cost)}
        return {
            "way": way,
            "mask": mask,
            "strength": 1.25,
            "tried": [tried],
            "average": outcome(target, fluency_cost_nats=figure(cost, 0.2)),
            "target_shares": {"de": target, "fr": target},
            "samples": {"de": "eine <b>kleine</b> Sache"},
        }

    return file(
        "bench",
        {
            "source": "en",
            "rule": "the rule",
            "untouched_retained_share": figure(0.9, 0.05),
            "masks": {"this mask": mask("lape", "own", False), "margin": mask("margin", "equal", True)},
            "entrants": {
                "this mask: replace": entrant("replace", "this mask", share, 1.5),
                "margin: replace": entrant("replace", "margin", share - 0.2, 1.75),
                "diffmean": entrant("diffmean", None, residual, cost),
            },
            "front": ["diffmean"],
            "left_out": {"crane": "there is no relevance.safetensors; make it with lape record --relevance."},
            "untold": {},
        },
        targets=["de", "fr"],
        identifier="py3langid",
        items=10,
        others=4,
        tokens=256,
        elsewhere={"de": {"source": "de.valid.txt", "sha256": "ab" * 32, "tokens": 256}},
    )


def relations(own: float = 0.5) -> dict[str, Any]:
    def lost(capital: float, color: float, other: float) -> dict[str, Any]:
        return {
            "lost": {
                "capital": {"capital": figure(capital, 0.05), "color": figure(other, 0.05)},
                "color": {"capital": figure(other, 0.05), "color": figure(color, 0.05)},
            },
            "elsewhere": {off: figure(other, 0.05) for off in ("capital", "color")},
            "own": figure((capital + color) / 2, 0.05),
            "others": figure(other, 0.05),
        }

    masks = {"own": lost(own + 0.1, own - 0.1, 0.2), "random0": lost(0.05, 0.05, 0.0), "random1": lost(0.15, 0.15, 0.0)}
    return file(
        "relations",
        {
            "asked": {"capital": 15, "color": 15, "plural": 15},
            "right": {"capital": 10, "color": 10, "plural": 3},
            "neurons": {"capital": 8, "color": 8},
            "masks": masks,
            "random": {"own": figure(0.1, 0.05), "others": figure(0.0)},
            "over_random": figure(own - 0.1, 0.05),
        },
        corpora={"capital": {"source": "relations.json", "sha256": "ef" * 32}},
        max_new_tokens=6,
    )


EVERYTHING = {
    "bench": bench(),
    "layers": layers(),
    "confusion": confusion(),
    "firing": firing(),
    "perplexity": perplexity(),
    "tuning": tuning(),
    "steering": steering(),
    "stability": stability(),
    "harm": harm(),
    "relations": relations(),
}
