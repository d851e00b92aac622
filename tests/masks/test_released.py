"""The paper's released masks: their figures, hostile files, and downloads from a server on this machine."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from families import token_ids, zero_inputs_of_down
from samples import neurons_of
from transformers import PreTrainedModel

import lape
from lape import BadFile, Intervention, LapeError, LapeWarning, NeuronMask, intervene
from lape.cli import main
from lape.masks import released
from lape.masks.released import RELEASED, SETTINGS, fetch_released, read_released
from lape.models.presets import PRESETS, resolve_name

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "official"  # beside the checkout, in CI too
# What the repository's own table and the README beside the files say: 1 % of all neurons, and the sum of the counts.
FIGURES = {
    "llama-2-7b": (3523, 5024),
    "llama-2-13b": (5530, 8238),
    "llama-2-70b": (22938, 30489),
    "bloom-7b1": (4915, 6070),
    "mistral-7b": (4588, 6022),
    "opt-6.7b": (5243, 6149),
    "phi-2": (3277, 3674),
}
SHAPE = (2, 4)
LISTS = [[[0, 3], []], [[], [2]], [[1], [0, 1, 3]]]  # [language][layer] -> neurons


def tensors(lists: Sequence[Sequence[Sequence[int]]]) -> list[list[torch.Tensor]]:
    return [[torch.tensor(indices).long() for indices in layers] for layers in lists]


def write(path: Path, lists: Any = None) -> Path:
    torch.save(tensors(LISTS) if lists is None else lists, path)
    return path


def write_known(path: Path, name: str) -> Path:
    """A file with the shape and the counts of a released one, and other neurons."""
    layers, width = RELEASED[name].shape
    lists = []
    for count in RELEASED[name].counts:
        chosen = torch.randperm(layers * width)[:count].sort().values
        lists.append([chosen[chosen // width == layer] % width for layer in range(layers)])
    return write(path, lists)


def read(path: Path, languages: Sequence[str] | None = ("en", "zh", "fr"), **settings: Any) -> NeuronMask:
    return read_released(path, "org/tiny", languages=languages, **{"shape": SHAPE, **settings})


# The files of the paper


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("llama-2-7b", {"en": 95, "zh": 583, "fr": 1022, "es": 838, "vi": 836, "id": 1068, "ja": 582}),
        ("llama-2-70b", {"en": 731, "zh": 5366, "fr": 6482, "es": 5873, "vi": 5515, "id": 6522}),
        ("bloom-7b1", {"en": 445, "zh": 653, "fr": 680, "es": 918, "vi": 551, "id": 2823}),
        ("mistral-7b", {"en": 76, "zh": 1190, "fr": 919, "es": 838, "vi": 1554, "id": 1445}),
    ],
)
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the released masks are not beside the checkout")
def test_official_figures(name: str, counts: dict[str, int], tmp_path: Path) -> None:
    known = RELEASED[name]
    mask = read_released(OFFICIAL / known.file, known.model)
    assert {code: mask.count(code) for code in mask.languages} == counts
    assert mask.means == {}
    assert mask.metadata["model"] == known.model
    assert mask.metadata["settings"] == {"top_rate": 0.01, "filter_rate": 0.95, "activation_bar_ratio": 0.95}
    # Every selected neuron belongs to a language, so together they are exactly 1 % of the model.
    assert len(torch.cat([mask.flat(code) for code in mask.languages]).unique()) == FIGURES[name][0]
    as_released = torch.load(OFFICIAL / known.file, weights_only=True)
    mask.save(tmp_path)
    saved = NeuronMask.load(tmp_path)
    for code, layers in zip(saved.languages, as_released, strict=True):
        pairs = neurons_of(saved)[code]
        assert pairs == [(layer, neuron) for layer, indices in enumerate(layers) for neuron in indices.tolist()]
    if name == "llama-2-7b":
        assert [neuron for layer, neuron in neurons_of(mask)["zh"] if layer == 4] == [6147, 9114, 9292]


def test_the_table_agrees_with_the_published_figures() -> None:
    assert RELEASED.keys() == FIGURES.keys() == {preset.name for preset in PRESETS if preset.paper}
    for name, known in RELEASED.items():
        assert (round(0.01 * known.shape[0] * known.shape[1]), sum(known.counts)) == FIGURES[name]
        assert len(known.languages) == len(known.counts)
        assert known.model == resolve_name(name)
    assert [name for name, known in RELEASED.items() if "ja" in known.languages] == ["llama-2-7b", "llama-2-13b"]


# Reading


def test_lists_become_a_mask_without_means(tmp_path: Path) -> None:
    mask = read(write(tmp_path / "mask.pth"))
    assert neurons_of(mask) == {"en": [(0, 0), (0, 3)], "zh": [(1, 2)], "fr": [(0, 1), (1, 0), (1, 1), (1, 3)]}
    assert (mask.shape, mask.means) == (SHAPE, {})
    digest = lape.storage.files.sha256_of(tmp_path / "mask.pth")
    # The settings of a file that is not the paper's are not known.
    assert mask.metadata == {
        "model": "org/tiny",
        "method": "lape",
        "settings": {},
        "released": {"file": "mask.pth", "sha256": digest, "url": None},
    }


def test_a_round_trip_through_our_format_changes_nothing(tmp_path: Path) -> None:
    mask = read(write(tmp_path / "mask.pth"))
    mask.save(tmp_path)
    loaded = NeuronMask.load(tmp_path)
    assert loaded == mask
    assert loaded.metadata["released"] == mask.metadata["released"]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_smaller_whole_numbers_are_read_too(dtype: torch.dtype, tmp_path: Path) -> None:
    lists = [[indices.to(dtype) for indices in layers] for layers in tensors(LISTS)]
    assert read(write(tmp_path / "small.pth", lists)) == read(write(tmp_path / "long.pth"))


def test_a_model_of_the_paper_needs_no_shape_and_its_counts_tell_the_file(tmp_path: Path) -> None:
    path = write_known(tmp_path / "some.pth", "phi-2")
    for model in ("phi-2", "microsoft/phi-2"):
        mask = read_released(path, model)  # a warning would be an error
        assert mask.languages == ("en", "zh", "fr", "es", "vi", "id")
        assert mask.metadata["model"] == "microsoft/phi-2"
        assert mask.metadata["settings"] == SETTINGS
        assert mask.metadata["released"]["url"] == RELEASED["phi-2"].url


def test_a_mask_of_the_paper_may_be_taken_for_a_chat_model_of_the_same_shape(tmp_path: Path) -> None:
    path = write_known(tmp_path / "some.pth", "llama-2-7b")
    mask = read_released(path, "meta-llama/Llama-2-7b-chat-hf", shape=(32, 11008))
    assert mask.metadata["model"] == "meta-llama/Llama-2-7b-chat-hf"
    assert mask.metadata["settings"] == SETTINGS


def test_an_unknown_file_gets_the_papers_languages_with_a_note(tmp_path: Path) -> None:
    write(tmp_path / "mask.pth")
    with pytest.warns(LapeWarning, match=r"taken as en zh fr\. Name them .*drops languages at the end") as caught:
        mask = read(tmp_path / "mask.pth", languages=None)
    assert mask.languages == ("en", "zh", "fr")
    assert len(caught) == 1


def test_a_file_whose_trailing_empty_language_was_dropped_is_noticed(tmp_path: Path) -> None:
    path = write_known(tmp_path / "some.pth", "llama-2-7b")
    write(path, torch.load(path, weights_only=True)[:6])
    with pytest.warns(LapeWarning, match="taken as en zh fr es vi id"):
        read_released(path, "llama-2-7b")
    with pytest.raises(LapeError, match=r"holds 6 lists and 7 languages were named; .*drops languages at the end"):
        read_released(path, "llama-2-7b", languages=["en", "zh", "fr", "es", "vi", "id", "ja"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"languages": ["en", "zh"]}, "holds 3 lists and 2 languages were named"),
        ({"languages": ["en", "zh", "en"]}, "named twice: en, zh, en"),
        ({"languages": ["en", "zh", "f r"]}, "'f r' cannot be a language label"),
        ({"shape": None}, r"The shape of org/tiny is not known; .*--shape 32x11008"),
        ({"shape": (3, 4)}, r"'mask.pth', language 'en': there are 2 layers, but the model has 3"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(LapeError, match=message):
        read(write(tmp_path / "mask.pth"), **settings)


def test_the_shape_of_a_known_model_cannot_be_another(tmp_path: Path) -> None:
    with pytest.raises(LapeError, match="microsoft/phi-2 has 32 layers x 10240 neurons, not 2 layers x 4 neurons"):
        read_released(write(tmp_path / "mask.pth"), "phi-2", shape=SHAPE)


def test_more_lists_than_the_paper_has_must_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.pth", tensors([LISTS[0]] * 8))
    with pytest.raises(LapeError, match="holds 8 lists and 0 languages were named"):
        read(path, languages=None)
    assert read(path, languages=list("abcdefgh")).count("h") == 2


# Hostile and broken files


@dataclass
class Asks:
    """Pickles as a call."""

    function: Any
    arguments: tuple

    def __reduce__(self) -> tuple:
        return self.function, self.arguments


INST = b"\x80\x02(ios\nsystem\n."  # names os.system by another instruction


def repacked(path: Path, compression: int = zipfile.ZIP_STORED, change: Callable[[bytes], bytes] = bytes) -> None:
    """Writes a good file's archive again, its pickle changed or all of it compressed."""
    with zipfile.ZipFile(write(path)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, record in records.items():
            archive.writestr(name, change(record) if name.endswith("data.pkl") else record)


def two_pickles(path: Path) -> None:
    write(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"N.")


def same_record_often(path: Path) -> None:
    """The directory lists one record 10,000 times, so that a small file takes long to read."""
    write(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/more", bytes(1000))
        archive.filelist.extend([archive.getinfo(f"{path.stem}/more")] * 10_000)


def flipped_bit(path: Path) -> None:
    """Changes neuron 3 into 2, which only the checksum can tell."""
    whole = write(path).read_bytes()
    numbers = torch.tensor([0, 3]).numpy().tobytes()
    assert whole.count(numbers) == 1
    path.write_bytes(whole.replace(numbers, torch.tensor([0, 2]).numpy().tobytes()))


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(released.MAX_BYTES + 1)


def with_layer(layer: Any) -> Callable[[Path], object]:
    """A good file but for the second layer of the second language."""

    def write_it(path: Path) -> None:
        lists: list[list[Any]] = tensors(LISTS)
        lists[1][1] = layer
        write(path, lists)

    return write_it


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "There is no file"),
        (lambda path: path.mkdir(), "There is no file"),
        (lambda path: path.write_bytes(b""), "damaged or was not written by torch.save"),
        (lambda path: path.write_text("zh: 6147, 9114"), "damaged or was not written by torch.save"),
        (lambda path: path.write_bytes(write(path).read_bytes()[:-200]), "damaged or was not written by torch.save"),
        (lambda path: torch.save(tensors(LISTS), path, _use_new_zipfile_serialization=False), "damaged or was not"),
        (other_archive, "damaged or was not written by torch.save"),
        (two_pickles, "damaged or was not written by torch.save"),
        (same_record_often, "damaged or was not written by torch.save"),
        (flipped_bit, "damaged or was not written by torch.save"),
        (too_large, r"has 16,000,001 bytes; a released mask has 16,000,000 at most"),
        (lambda path: repacked(path, zipfile.ZIP_DEFLATED), "damaged or was not written by torch.save"),
        (
            lambda path: repacked(path, change=lambda pickle: b"]" * 2_000_001),
            "damaged or was not written by torch.save",
        ),
        (lambda path: repacked(path, change=lambda pickle: INST), r"damaged or holds more .*UnpicklingError"),
        (lambda path: repacked(path, change=lambda pickle: b"\x80\x02K\x01."), "is not a list of languages"),
        (lambda path: write(path, [[Asks(bytearray, (9,))]]), "beside tensors it holds '__builtin__ bytearray'"),
        (lambda path: write(path, [[torch.nn.Parameter(torch.ones(1))]]), "beside tensors it holds 'torch._utils _reb"),
        (lambda path: write(path, [[torch.ones(2).to_sparse()]]), "beside tensors it holds"),
        (lambda path: write(path, [[torch.empty(2, device="meta")]]), "beside tensors it holds"),
        (lambda path: write(path, []), "is not a list of languages"),
        (lambda path: write(path, {"en": tensors(LISTS)[0]}), "is not a list of languages"),
        (lambda path: write(path, torch.ones(2)), "is not a list of languages"),
        (lambda path: write(path, tensors(LISTS)[0]), "is not a list of languages"),
        (lambda path: write(path, [*tensors(LISTS[:2]), [torch.ones(1)]]), "'fr': there are 1 layers, .* has 2"),
        (with_layer(torch.tensor([2.0])), r"'zh', layer 1: a one-dim.*, not torch.float32 \[1\]"),
        (with_layer(torch.tensor([True])), r"'zh', layer 1: a one-dim.*, not torch.bool \[1\]"),
        (with_layer(torch.tensor([[2]])), r"'zh', layer 1: a one-dim.*, not torch.int64 \[1, 1\]"),
        (with_layer(torch.tensor(2)), r"'zh', layer 1: a one-dim.*, not torch.int64 \[\]"),
        (with_layer([2]), "'zh', layer 1: a one-dim.*, not list"),
        (with_layer(None), "'zh', layer 1: a one-dim.*, not NoneType"),
        (with_layer(torch.tensor([-1, 2])), "'zh', layer 1: neuron -1 is outside the model's 0 to 3"),
        (with_layer(torch.tensor([0, 4])), "'zh', layer 1: neuron 4 is outside the model's 0 to 3"),
        (with_layer(torch.tensor([1, 2, 2])), "'zh', layer 1: neuron 2 is named twice"),
        (with_layer(torch.tensor([2, 1])), "'zh', layer 1: the neurons are not in ascending order"),
        # One number in the file, and 8 terabytes when it is touched.
        (
            with_layer(torch.zeros(1, dtype=torch.long).expand(10**12)),
            "'zh', layer 1: there are 1,000,000,000,000 indices, but only 4 neurons",
        ),
        # The storage of the first layer, two numbers, claims to hold 2,147,483,647.
        (
            lambda path: repacked(path, change=lambda p: p.replace(b"K\x02tq", b"J\xff\xff\xff\x7ftq", 1)),
            "damaged or holds more than lists of tensors",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / "mask.pth")
    with pytest.raises(BadFile, match=message) as error:
        read(tmp_path / "mask.pth")
    assert "\n" not in str(error.value)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = tmp_path / "proof"
    write(tmp_path / "mask.pth", [[Asks(os.system, (f"touch '{proof}'",))]])
    torch.load(tmp_path / "mask.pth", weights_only=False)
    assert proof.exists()  # so the file does what it is meant to
    proof.unlink()
    words = ["--model", "phi-2", "--out", str(tmp_path / "out")]
    assert main(["import", str(tmp_path / "mask.pth"), *words]) == 2
    assert not proof.exists()
    assert not (tmp_path / "out").exists()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"lape: 'mask.pth' is refused: beside tensors it holds '{os.name} system'. Nothing of it was run.\n"
    )


# Switching


def test_off_works_at_once(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    layers, width = lape.activation_sites(tiny_model).shape
    lists = [[torch.arange(start, width, 7) for _ in range(layers)] for start in (0, 3)]
    mask = read(write(tmp_path / "mask.pth", lists), ["aa", "bb"], shape=(layers, width))
    mask = NeuronMask(mask.neurons, {}, mask.shape)  # without the made-up model, which would be warned of
    prompt = token_ids(2, 9)
    with intervene(tiny_model, Intervention(mask, off="bb")):
        off = tiny_model(prompt).logits
    on = tiny_model(prompt).logits
    zero_inputs_of_down(tiny_model, mask, "bb")
    assert torch.allclose(off, tiny_model(prompt).logits, atol=1e-5)
    assert not torch.allclose(off, on, atol=1e-2)


# Downloads


@dataclass
class Server:
    """What a server on this machine answers, and what it was asked."""

    url: str
    answers: dict[str, tuple[int, bytes, int]] = field(default_factory=dict)  # path: status, body, claimed length
    asked: list[str] = field(default_factory=list)

    def serve(self, name: str, body: bytes, status: int = 200, length: int | None = None) -> None:
        path = RELEASED[name].url.removeprefix(self.url)
        self.answers[path] = (status, body, len(body) if length is None else length)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Stands in for the authors' repository; the cache is empty."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            status, body, length = served.answers.get(self.path, (404, b"404: Not Found", 14))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAPE_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        served = Server(f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setattr(released, "BASE_URL", served.url)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        listening.shutdown()
        thread.join()


def test_a_known_mask_is_downloaded_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    local = write_known(tmp_path / "local.pth", "llama-2-7b")
    server.serve("llama-2-7b", local.read_bytes())
    assert main(["import", "llama-2-7b", "--json"]) == 0
    printed = capsys.readouterr()
    url = f"{server.url}/1ec944cf50adac636e8b52c5663b2c68fcbd4cd0/LLaMA-2-7B.neuron.pth"
    assert printed.err.startswith(f"Downloading {url} into ")
    assert json.loads(printed.out) == {
        "path": "precomputed/meta-llama--Llama-2-7b-hf/lape-released/mask.safetensors",
        "model": "meta-llama/Llama-2-7b-hf",
        "shape": [32, 11008],
        "counts": {"en": 95, "zh": 583, "fr": 1022, "es": 838, "vi": 836, "id": 1068, "ja": 582},
        "released": {"file": "LLaMA-2-7B.neuron.pth", "sha256": lape.storage.files.sha256_of(local), "url": url},
    }
    mask = NeuronMask.from_pretrained(model="meta-llama/Llama-2-7b-hf", method="lape-released")
    assert mask == read_released(local, "llama-2-7b")
    assert main(["import", "llama-2-7b"]) == 0
    assert "Downloading" not in capsys.readouterr().err
    assert server.asked == ["/1ec944cf50adac636e8b52c5663b2c68fcbd4cd0/LLaMA-2-7B.neuron.pth"]


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_file_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        BadFile, match=r"Phi-2-2\.7B\.neuron\.pth could not be downloaded: the server says 404 Not Found"
    ):
        fetch_released("phi-2")
    assert cached(tmp_path) == []


def test_a_download_that_breaks_off(server: Server, tmp_path: Path) -> None:
    body = write_known(tmp_path / "local.pth", "phi-2").read_bytes()
    server.serve("phi-2", body[:1000], length=len(body))
    with pytest.raises(BadFile, match=rf"ended after 1,000 of {len(body):,} bytes; try again"):
        fetch_released("phi-2")
    assert cached(tmp_path) == []
    server.serve("phi-2", body)
    assert fetch_released("phi-2").read_bytes() == body


def test_a_download_larger_than_any_mask(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "MAX_BYTES", 1000)
    server.serve("phi-2", bytes(1001))
    with pytest.raises(BadFile, match="has over 1,000 bytes"):
        fetch_released("phi-2")
    assert cached(tmp_path) == []


@pytest.mark.parametrize(
    ("counts_of", "message"),
    [
        (None, "damaged or was not written by torch.save"),  # such as a login page
        ("opt-6.7b", "'Phi-2-2.7B.neuron.pth', language 'en'.* is outside the model's 0 to 10239"),
        ("phi-2", r"is not the released mask: it has \(52, 196, 1032, 1119, 511\) neurons a language, not \(52, "),
    ],
)
def test_a_download_that_is_something_else(counts_of: str | None, message: str, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "local.pth"
    path.write_text("<html>")
    if counts_of:
        write_known(path, counts_of)
    if counts_of == "phi-2":
        write(path, torch.load(path, weights_only=True)[:-1])
    server.serve("phi-2", path.read_bytes())
    with pytest.raises(BadFile, match=message):
        fetch_released("phi-2")
    assert cached(tmp_path) == []


def test_no_network(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        monkeypatch.setattr(released, "BASE_URL", f"http://127.0.0.1:{closed.server_port}")
    with pytest.raises(BadFile, match=r"could not be downloaded \(.*refused\)\. Check the network, or fetch the file"):
        fetch_released("phi-2")
    assert cached(tmp_path) == []


def test_a_server_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "TIMEOUT_SECONDS", 0.2)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # listens, and never accepts
        monkeypatch.setattr(released, "BASE_URL", f"http://127.0.0.1:{silent.server_port}")
        with pytest.raises(BadFile, match=r"could not be downloaded \(timed out\)"):
            fetch_released("phi-2")


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    server.serve("phi-2", write_known(tmp_path / "local.pth", "phi-2").read_bytes())
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(LapeError, match=r"cannot be written .* Name another folder in LAPE_CACHE"):
        fetch_released("phi-2")


# The command


def test_import_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "mask.pth")
    words = ["--model", "org/tiny", "--shape", "2x4", "--languages", "fr,en,ru", "--out", str(tmp_path / "out")]
    assert main(["import", str(path), *words]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == f"Wrote {tmp_path / 'out' / 'mask.safetensors'}: fr 2, en 1, ru 4."
    assert lines[-1].startswith(f"lape calibrate {tmp_path / 'out'} --model org/tiny --corpus ")
    assert NeuronMask.load(tmp_path / "out") == read(path, ["fr", "en", "ru"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["import", "lama-2-7b"], "No file or released mask 'lama-2-7b'. Did you mean 'llama-2-7b'"),
        (["import", "nowhere.pth", "--model", "phi-2"], "There is no file 'nowhere.pth'"),
        (["import", "mask.pth"], "Say which model 'mask.pth' was made for, such as --model"),
        (["import", "mask.pth", "--model", "org/tiny"], "The shape of org/tiny is not known"),
        (
            ["import", "mask.pth", "--model", "org/tiny", "--shape", "2"],
            "'2' is not layers x neurons, such as 32x11008",
        ),
        (["import", "mask.pth", "--model", "org/tiny", "--shape", "0x4"], "'0x4' is not layers x neurons"),
        (["import", "mask.pth", "--model", "org/tiny", "--shape", "2x4", "--languages", "fr"], "holds 3 lists and 1 "),
        (["import", "mask.pth", "--model", "phi2"], "'phi2'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mask.pth")
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert expected in printed.err
    assert list(tmp_path.iterdir()) == [tmp_path / "mask.pth"]
