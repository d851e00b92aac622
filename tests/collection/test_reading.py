"""Plans: their defaults, what a model overrides, and everything that can be wrong with one, said at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from collecting import CODES, PLAN, lay

from lape.cli import main
from lape.collection.plan import EvidencePlan, MethodPlan
from lape.collection.reading import read_plan
from lape.errors import BadFile, LapeError
from lape.models.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the text."""
    lay(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def written(text: str) -> str:
    Path("plan.toml").write_text(text, encoding="utf-8")
    return "plan.toml"


def test_a_model_has_the_defaults_and_its_own(folder: Path) -> None:
    own = """
[[models]]
model = "qwen3-0.6b"

[[models]]
model = "org/other"
revision = "v1"
quantization = "4bit"
languages = ["en", "de"]
tokens = 100
groups = 2
corpus = {en = "corpus/en.train.txt", de = "corpus/de.train.txt", fr = "hf:org/french"}
methods.rates = {method = "lap", min_probability = 0.3}
methods.lave = {per_language = 5}
evidence = {kinds = ["stability"]}
"""
    first, second = read_plan(written(PLAN + own))
    assert (first.model, first.source, first.languages) == ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", CODES)
    assert (first.tokens, first.block, first.batch, first.groups, first.revision) == (128, 32, None, None, None)
    rates = {"top_rate": 0.1, "filter_rate": 0.5, "activation_bar_ratio": 0.5}
    assert first.methods == {"lape": MethodPlan("lape", rates)}
    assert first.evidence.kinds == ("layers", "perplexity")  # in the order in which they are measured
    assert (first.evidence.options.tokens, first.evidence.options.seeds) == (64, 1)
    assert first.evidence.options.items == 20
    assert first.recorded_tokens == 2 * 128
    assert second.languages == ("en", "de")
    assert second.loading == {"quantization": "4bit", "dtype": None, "device": "cpu", "revision": "v1"}
    assert second.methods == {"rates": MethodPlan("lap", {"min_probability": 0.3}), "lave": MethodPlan("lave", {}, 5)}
    assert second.evidence == EvidencePlan(("stability",), {})
    assert second.recorded_tokens == 2 * 128
    assert {code: source.path.name for code, source in second.corpora().items()} == {
        "en": "en.train.txt",
        "de": "de.train.txt",
    }
    assert second.place("rates") == "org--other/rates"


def test_only_what_decides_a_recording_is_in_its_name(folder: Path) -> None:
    def name(text: str) -> str:
        (plan,) = read_plan(written(text + '\n[[models]]\nmodel = "org/tiny"\n'))
        return plan.recording_id

    plain = name(PLAN)
    for same in (PLAN.replace('device = "cpu"', ""), PLAN.replace("top_rate = 0.1", ""), PLAN + "\n"):
        assert name(same) == plain
    assert name("block = 32" + PLAN.replace("block = 32", "", 1)) == plain
    for other in ("tokens = 160", "block = 16", 'dtype = "bfloat16"', "groups = 2", 'languages = ["en", "de"]'):
        key = other.partition(" ")[0]
        kept = "\n".join(line for line in PLAN.split("[methods")[0].splitlines() if not line.startswith(key))
        assert name(f"{kept}\n{other}\n[methods{PLAN.partition('[methods')[2]}") != plain


def test_a_folder_says_which_model_it_holds(folder: Path) -> None:
    (folder / "model").mkdir()
    (plan,) = read_plan(written(PLAN + '\n[[models]]\nmodel = "model"\nid = "org/tiny"\n'))
    assert (plan.source, plan.model) == ("model", "org/tiny")
    with pytest.raises(LapeError, match=r"models 1\.model: 'model' is a folder; say which model .* with the key id"):
        read_plan(written(PLAN + '\n[[models]]\nmodel = "model"\n'))


MODEL = '\n[[models]]\nmodel = "org/tiny"\n'
WRONG = {
    "a key with a near name": ("toknes = 5\n" + PLAN + MODEL, r"toknes: No key 'toknes'\. Did you mean 'tokens'\?"),
    "a key of a model": (PLAN + MODEL + "revison = 'a'", r"models 1\.revison: .*Did you mean 'revision'"),
    "a type": (PLAN.replace("128", '"many"') + MODEL, r"tokens: It is a whole number from 1"),
    "a number below": (PLAN.replace("128", "0") + MODEL, r"tokens: .*a whole number from 1"),
    "a preset": (PLAN + '\n[[models]]\nmodel = "qwen3-0.6"', r"models 1\.model: .*Did you mean 'qwen3-0\.6b'"),
    "no model": (PLAN + "\n[[models]]\ntokens = 5", r"models 1\.model: It is missing"),
    "an odd id": (PLAN + '\n[[models]]\nmodel = "a/b/c"', r"models 1\.model: 'a/b/c' is no id of a model"),
    "a language": (
        'languages = ["de", "fr"]' + PLAN + MODEL,
        r"languages, corpus: No language in the corpus 'fr'.*There are: de, en",
    ),
    "a label": ('languages = ["de", "f r"]' + PLAN + MODEL, r"languages, corpus: 'f r' cannot be a language label"),
    "one language": ('languages = ["de"]' + PLAN + MODEL, r"needs at least two different ones, not de"),
    "a language twice": ('languages = ["de", "de"]' + PLAN + MODEL, r"two different ones, not de, de"),
    "an unknown language of the Hub": (
        'languages = ["de", "frr"]' + PLAN.replace('"corpus"', '"hf:org/texts:{language}"') + MODEL,
        r"languages, corpus: No language 'frr'\. Did you mean 'fr'.*name its text in a table",
    ),
    "a language without text": (
        'languages = ["de", "en"]' + PLAN.replace('"corpus"', '{de = "corpus/de.train.txt"}') + MODEL,
        r"languages, corpus: No language in the corpus 'en'",
    ),
    "no corpus": (PLAN.replace('corpus = "corpus"', "") + MODEL, r"languages, corpus: There is no corpus"),
    "a corpus that is not there": (PLAN.replace('"corpus"', '"corpse"') + MODEL, r"There is no corpus at 'corpse'"),
    "a method": (
        PLAN.replace("[methods.lape]", "[methods.lap]") + MODEL,
        r"methods\.lap: No setting of 'lap' 'top_rate'",
    ),
    "a method's name": (
        PLAN + MODEL + "methods.good = {method = 'lappe'}",
        r"models 1\.methods\.good: No identification method 'lappe'\. Did you mean 'lape'",
    ),
    "a setting": (
        PLAN.replace("top_rate =", "top_rat =") + MODEL,
        r"methods\.lape: No setting of 'lape' 'top_rat'\. Did you mean 'top_rate'",
    ),
    "a setting's value": (
        PLAN.replace("top_rate = 0.1", "top_rate = 2") + MODEL,
        r"methods\.lape: top_rate is a share",
    ),
    "a mask's name": (PLAN + MODEL + "methods.'a b' = {method = 'lape'}", r"methods\.a b: It cannot name a folder"),
    "a quantisation": (PLAN + MODEL + "quantization = '5bit'", r"models 1\.quantization: No quantisation '5bit'"),
    "a dtype": ("dtype = 'float31'" + PLAN + MODEL, r"dtype: No dtype 'float31'\. Did you mean 'float32'"),
    "a device": (PLAN.replace('"cpu"', '"gpu"') + MODEL, r"device: No device 'gpu'"),
    "groups": ("groups = 3" + PLAN + MODEL, r"groups: groups is an even number"),
    "a kind": (
        PLAN.replace('"layers"', '"layer"') + MODEL,
        r"evidence\.kinds: No kind of evidence 'layer'\. Did you mean 'layers'",
    ),
    "an option of evidence": (
        PLAN.replace("seeds =", "seed =") + MODEL,
        r"evidence\.seed: No key 'seed'\. Did you mean 'seeds'",
    ),
    "a rival": (PLAN.replace('"none"', '"lapp"') + MODEL, r"evidence\.rivals: No mask to compare with 'lapp'"),
    "a mode": (PLAN + "mode = 'replac'" + MODEL, r"evidence\.mode: No mode 'replac'\. Did you mean 'replace'"),
    "an identifier": (PLAN + "identifier = 'langid'" + MODEL, r"evidence\.identifier: No language identifier"),
    "a source": (PLAN + "sources = ['fr']" + MODEL, r"evidence: No language of the mask 'fr'"),
    "what cannot be measured without groups": (
        PLAN.replace('"layers"', '"stability"') + MODEL,
        r"evidence: stability needs groups of blocks; add groups = 16",
    ),
    "evidence without kinds": (
        PLAN.replace('kinds = ["perplexity", "layers"]', "") + MODEL,
        r"evidence: Say what is measured, with the key kinds",
    ),
    "items": (PLAN + "items = 1" + MODEL, r"evidence: An interval needs 2 items or more"),
    "a model twice": (PLAN + MODEL + MODEL, r"models: Two of them have a mask org--tiny/lape"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_its_key(what: str, folder: Path) -> None:
    text, message = WRONG[what]
    with pytest.raises(LapeError, match=rf"The plan 'plan\.toml' has a problem, and nothing was started\. .*{message}"):
        read_plan(written(text))


def test_everything_wrong_is_said_at_once_and_a_default_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "toknes = 5\n" + PLAN.replace("top_rate = 0.1", "top_rate = 2") + MODEL + '[[models]]\nmodel = "nothing"\n'
    written(text)
    assert main(["collect", "plan.toml", "--repo", "org/collection"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "has 3 problems" in printed.err
    assert printed.err.index("(1) toknes: ") < printed.err.index("(2) methods.lape: ")
    assert printed.err.index("(2) methods.lape: ") < printed.err.index("(3) models 2.model: ")
    assert not Path("collection").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tokens = x", r"'plan\.toml' is not TOML \(.*line 1"),
        (b"\xff", r"is not TOML"),
        (b"tokens = 5", r"names no model"),
        (b"models = 5", r"names no model"),
        (b"models = [1]", r"names no model"),
    ],
)
def test_what_is_no_plan_is_refused(content: bytes, message: str, folder: Path) -> None:
    Path("plan.toml").write_bytes(content)
    with pytest.raises(LapeError, match=message):
        read_plan("plan.toml")
    with pytest.raises(BadFile, match="is missing"):
        read_plan("no.toml")


def test_the_example_is_a_plan_of_all_presets() -> None:
    plans = read_plan(ROOT / "examples" / "collection.toml")
    assert [plan.model for plan in plans] == [preset.model for preset in PRESETS]
    large = next(plan for plan in plans if "70b" in plan.model)
    assert large.quantization == "4bit"
