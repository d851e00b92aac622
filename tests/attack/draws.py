"""What the fuzzer sends: good values of a component, values next to them, and values no page sends."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from random import Random
from typing import Any

MARKUP = "<script>fell(7)</script><img src=x onerror=fell(7)>"
TEXTS = ("Bonjour", "Il était une fois une fille. Elle vivait près de la mer.", "你好，世界", "שלום", "a\n\nb", "")
LINES = ("fr", "es,zh", "nobody/nothing", "lape-masks", "https://huggingface.co/a/b", "http://169.254.169.254/latest")


@dataclass(frozen=True)
class Materials:
    """What values may name.

    Attributes:
        url: The page's address.
        secret: A file of the server that it has no business with.
        own: An upload of the attacker's own.
        others: An upload of another visitor's.
        bait: An address at which somebody listens: the server must not call it.
    """

    url: str
    secret: str
    own: str
    others: str
    bait: str


def deep(levels: int) -> list[Any]:
    """A list in a list in a list."""
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def file(path: str, **more: Any) -> dict[str, Any]:
    """A file as a page names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def text(random: Random, given: Materials) -> str:
    """A string that means something somewhere: markup, a path, an address, a script, or characters few expect."""
    strings = (
        *(MARKUP, "\0", "a\ud800b", "\u202egnp.exe", "a\nb\rc", "é" * 20_000, "x" * 300_000, "%s%n{0.__class__}"),
        *("${7*7}{{7*7}}", "'; DROP TABLE x;--", "__class__", "../../etc/passwd", "%2e%2e%2fetc%2fpasswd", "C:\\nul"),
        *(given.secret, "/etc/passwd", f"file://{given.secret}", f"{given.url}/config", "/proc/self/environ"),
        *(given.bait, given.others, f"..{given.secret}", "None", "true", "1e999", "-0", " ", "fr", "xx", "🏳️‍🌈" * 50),
    )
    return random.choice(strings)


def hostile(random: Random, given: Materials) -> Any:
    """A value that no page sends."""
    kind = random.randrange(8)
    if kind == 0:
        return random.choice((None, True, False, {}, [], [None], [[]], [{}]))
    if kind == 1:
        return random.choice((10**400, -(10**30), -1, 0.1, math.nan, math.inf, -math.inf, 2**63, 1e308, 5e-324))
    if kind == 2:
        path = random.choice((given.secret, "/etc/passwd", given.others, "/dev/zero", "/proc/self/environ", "a\0b"))
        one = file(path, orig_name=text(random, given)[:500])
        return random.choice((one, [one], [one] * 40, {"a": [one]}, file("x", url=f"file://{path}")))
    if kind == 3:
        return random.choice(
            (file("x", url=given.bait), file(given.bait), [file(f"{given.url}/config", url=given.bait)])
        )
    if kind == 4:
        return random.choice((deep(90), deep(900), [[None], {}] * 500, {text(random, given)[:99]: None}))
    if kind == 5:
        return {"__type__": random.choice(("update", "clear", MARKUP)), "value": MARKUP, "choices": [MARKUP]}
    return text(random, given)


def good(random: Random, component: dict[str, Any], given: Materials) -> Any:
    """A value that the page itself could send for a component of its configuration."""
    kind, about = component["type"], component["props"]
    choices = [one[-1] if isinstance(one, list) else one for one in about.get("choices") or ()]
    if kind in ("dropdown", "checkboxgroup", "radio") and choices:
        several = about.get("multiselect") or kind == "checkboxgroup"
        return random.sample(choices, random.randint(1, min(3, len(choices)))) if several else random.choice(choices)
    if kind == "slider" and random.random() < 0.2:
        return random.choice((about["minimum"], about["maximum"]))
    if kind in ("textbox", "code") and random.random() < 0.5:
        return random.choice((*TEXTS, *LINES))
    if kind == "checkbox":
        return random.random() < 0.5
    if kind in ("file", "uploadbutton"):
        return [file(given.own, orig_name="mine.txt")]
    if kind == "dataset":
        return random.randrange(4)
    return about.get("value", "Bonjour" if kind == "api" else None)


def near(random: Random, value: Any) -> Any:
    """A value next to a good one."""
    if isinstance(value, bool) or value is None:
        return random.choice((str(value), int(value or 0), [value]))
    if isinstance(value, int | float):
        return random.choice((-value, value * 10**6, value + 0.5, str(value), math.nan, [value], value + 1))
    if isinstance(value, str):
        return random.choice((value + "\0", value * 1000, value + MARKUP, value.upper(), [value], value[::-1], ""))
    if isinstance(value, list):
        return random.choice((value * 50, [*value, None], [value], [near(random, one) for one in value], tuple(value)))
    changed = dict(value)
    changed[random.choice(list(changed))] = random.choice((None, [], "..", 7))
    return changed


def values(random: Random, components: list[dict[str, Any]], given: Materials) -> Any:
    """The data of a call of an event with these inputs."""
    data = [good(random, component, given) for component in components]
    way = random.random()
    if way < 0.2:
        return data
    if way < 0.25:
        return random.choice((data[:-1], [*data, MARKUP], [None] * 500, hostile(random, given)))
    for place in random.sample(range(len(data)), min(len(data), random.randint(1, 3))):
        data[place] = near(random, data[place]) if random.random() < 0.5 else hostile(random, given)
    return data


def body(random: Random, content: Any) -> bytes:
    """The bytes of a call; now and then such as are no JSON."""
    whole = json.dumps(content).encode()
    if random.random() < 0.95:
        return whole
    return random.choice(
        (
            *(whole[: len(whole) // 2], b"", b"\xff\xfe" + whole, b"[" * 100_000, b'{"a":' * 100_000),
            *(b"1" * 5000, b"null", b'"x"', b'{"data":[],"data":{}}', whole + whole, b"\0" * 1000),
        )
    )


def headers(random: Random, given: Materials) -> dict[str, str]:
    """What a header may say that a browser does not; mostly nothing."""
    if random.random() < 0.8:
        return {}
    odd = random.choice(("evil.example", "a" * 5000, "localhost:1", MARKUP, "127.0.0.1", given.secret, "a, b"))
    name = random.choice(
        (
            *("host", "x-forwarded-host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "forwarded"),
            *("origin", "referer", "x-gradio-user", "x-gradio-server", "x-gradio-target", "x-ip-token", "cookie"),
            *("authorization", "accept-language", "accept-encoding", "range", "content-type", "transfer-encoding"),
            *("x-hf-authorization", "cf-ray", "x-real-ip", "if-none-match", "expect", "upgrade", "x-direct-url"),
        )
    )
    return {name: odd}


def session(random: Random, number: int, given: Materials) -> Any:
    """Who calls: mostly a new visitor, else one who is there already or nobody that can be."""
    if random.random() < 0.8:
        return f"mallory-{number}"
    return random.choice(("victim", "", None, "../../x", "a" * 20_000, MARKUP, "\0", "a\ud800b", 7, ["victim"], {}))
