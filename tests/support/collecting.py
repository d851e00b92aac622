"""What a collection is made of in tests: tiny models on the stand-in Hub, text in two languages, and a plan."""

from __future__ import annotations

import random
from pathlib import Path

from families import build, byte_tokenizer
from hub_standin import Hub

REPO = "org/collection"
FAMILIES = ("llama", "opt", "gpt2")  # a gated FFN, a plain one, and one of transposed matrices
CODES = ("de", "en")

PLAN = """
corpus = "corpus"
tokens = 128
block = 32
device = "cpu"

[methods.lape]
top_rate = 0.1
filter_rate = 0.5
activation_bar_ratio = 0.5

[evidence]
kinds = ["perplexity", "layers"]
tokens = 64
block = 32
seeds = 1
rivals = ["none"]
"""


def models_on(hub: Hub, folder: Path) -> None:
    """Puts a tiny model of each family on the Hub, as `org/<family>`."""
    for family in FAMILIES:
        build(family).save_pretrained(folder / family)
        byte_tokenizer().save_pretrained(folder / family)
        hub.add(f"org/{family}", {path.name: path.read_bytes() for path in (folder / family).iterdir()})


def lay(folder: Path, plan: str = PLAN, families: tuple[str, ...] = FAMILIES) -> Path:
    """Makes a folder with the text and a plan of these models; the plan's path."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for code, letters in zip(CODES, ("abcdefgh ", "ijklmnop "), strict=True):
        chooser = random.Random(code)
        for split in ("train", "valid"):
            text = "".join(chooser.choice(letters) for _ in range(600))
            (corpus / f"{code}.{split}.txt").write_text(text, encoding="utf-8")
    models = "".join(f'\n[[models]]\nmodel = "org/{family}"\n' for family in families)
    (folder / "plan.toml").write_text(plan + models, encoding="utf-8")
    return folder / "plan.toml"
