"""Files that visitors bring, as a browser or a hostile client sends them: one sentence each, nothing run or read."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from asking import HTTP
from browsing import serve
from gradio.route_utils import delete_files_created_by_app
from test_demo_masks import HTML, MODEL, REQUEST, SESSION, SHAPE, Visitor, mask_of, refusal, statistics_of, text_of

from lape import NeuronMask
from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.masks.listing import HERE
from lape.demo.masks.pair import IN_USE, START, UPLOADED
from lape.demo.uploads import UPLOAD_BYTES, UPLOADS
from lape.storage.files import load_tensors, save_tensors

MASK, STATISTICS = "mask.safetensors", "statistics.safetensors"


@pytest.fixture(scope="module")
def served(tiny_folder: Path) -> Iterator[tuple[Backend, Visitor]]:
    loaded = Loaded.load(str(tiny_folder))
    loaded.model.name_or_path = MODEL
    backend = Backend(Loaded(loaded.model, loaded.tokenizer, mask_of()))
    with serve(backend) as (page, url):
        yield backend, Visitor(page, url)


@pytest.fixture
def backend(served: tuple[Backend, Visitor]) -> Backend:
    served[0].leave(SESSION)
    return served[0]


@pytest.fixture
def visitor(served: tuple[Backend, Visitor], backend: Backend) -> Visitor:
    return served[1]


def sent(visitor: Visitor, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    """Uploads files and gives what the page's script then passes to the event."""
    answer = HTTP.post(f"{visitor.url}/gradio_api/upload", files=[("files", file) for file in files])
    assert answer.status_code == 200, answer.text
    named = zip(answer.json(), files, strict=True)
    return [{"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}} for path, (name, _) in named]


def answered(visitor: Visitor, event: str, *values: Any) -> tuple[str, Any]:
    """How an event ends, and with what; also when the page refuses the call before the event."""
    body = {"data": values, "session_hash": SESSION}
    begun = HTTP.post(f"{visitor.url}/gradio_api/call/{event}", json=body)
    assert begun.status_code == 200, begun.text[:300]
    text = HTTP.get(f"{visitor.url}/gradio_api/call/{event}/{begun.json()['event_id']}").text
    *_, kind, data = [line for line in text.splitlines() if line]
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def use(visitor: Visitor, *files: tuple[str, bytes], codes: Any = "") -> str:
    """Uploads files and uses them; the line the page then shows."""
    kind, (line,) = answered(visitor, "uploading", sent(visitor, *files), codes)
    assert kind == "complete"
    return line


def refused(visitor: Visitor, backend: Backend, *files: tuple[str, bytes], codes: Any = "") -> str:
    """The sentence with which files are refused; what was in use stays, and no folder of the server is named."""
    before = backend.ready(SESSION)
    said = refusal(use(visitor, *files, codes=codes), [])
    assert backend.ready(SESSION) is before
    assert "gradio" not in said
    assert "Something failed" not in said
    return said


def bytes_of(folder: Path, mask: NeuronMask | None = None, tensors: Any = (), **about: Any) -> bytes:
    """A mask file, with some tensors and metadata replaced."""
    (mask or mask_of()).save(folder)
    there, metadata = load_tensors(folder / MASK, "mask")
    save_tensors(folder / MASK, there | dict(tensors), metadata | about)
    return (folder / MASK).read_bytes()


def statistics_bytes(folder: Path, **about: Any) -> bytes:
    statistics_of(**about).save(folder / STATISTICS)
    return (folder / STATISTICS).read_bytes()


def released(lists: Any, folder: Path) -> bytes:
    torch.save(lists, folder / "made.pth")
    return (folder / "made.pth").read_bytes()


LISTS = [[torch.tensor([layer + 3 * place]) for layer in range(SHAPE[0])] for place in range(3)]


# What is used


def test_a_mask_of_ours_is_used_by_its_visitor_alone(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    start = backend.ready("another")
    about = {"method": "margin", "settings": {"top_rate": 0.5}}
    line = use(visitor, (MASK, bytes_of(tmp_path, **about)), (STATISTICS, statistics_bytes(tmp_path)))
    assert text_of(line) == "In use: mask.safetensors, 2 languages, 6 neurons."
    loaded = backend.ready(SESSION)
    assert loaded.known_mask == mask_of()
    assert loaded.known_mask.metadata["method"] == "margin"
    assert loaded.known_mask.metadata["uploaded"] == MASK
    assert loaded.statistics is not None
    assert backend.ready("another") is start
    assert backend.ready() is start


def test_a_released_mask_is_used_with_the_languages_that_are_named(
    visitor: Visitor, backend: Backend, tmp_path: Path
) -> None:
    line = use(visitor, ("Tiny.neuron.pth", released(LISTS, tmp_path)), codes="fr, es ru")
    assert text_of(line) == "In use: Tiny.neuron.pth, 3 languages, 9 neurons."
    mask = backend.ready(SESSION).known_mask
    assert {code: mask.neurons[code].tolist() for code in mask.languages} == {
        "fr": [[0, 0], [1, 1], [2, 2]],
        "es": [[0, 3], [1, 4], [2, 5]],
        "ru": [[0, 6], [1, 7], [2, 8]],
    }
    assert mask.means == {}


def test_a_released_mask_without_languages_says_what_was_taken(
    visitor: Visitor, backend: Backend, tmp_path: Path
) -> None:
    said = text_of(use(visitor, ("mask.pth", released(LISTS, tmp_path))))
    assert said.startswith("In use: mask.pth, 3 languages, 9 neurons. 'mask.pth' is not one of the paper's; its lists")
    assert backend.languages(SESSION) == ("en", "zh", "fr")
    assert any("not one of the paper's" in note for note in backend.ready(SESSION).notes)


def test_the_start_mask_comes_back(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    use(visitor, ("mask.pth", released(LISTS, tmp_path)))
    assert backend.languages(SESSION) == ("en", "zh", "fr")
    assert answered(visitor, "starting_over")[0] == "complete"
    assert backend.ready(SESSION) is backend.ready()


# Hostile files


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that a pickle bomb would make."""
    return tmp_path / "canary"


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.command = f"touch {canary}"

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_pickle_bomb_does_not_go_off(visitor: Visitor, backend: Backend, tmp_path: Path, canary: Path) -> None:
    bomb = released([[Bomb(canary)]], tmp_path)
    assert "beside tensors it holds 'posix system'" in refused(visitor, backend, ("mask.pth", bomb))
    assert "damaged or was not written by lape" in refused(visitor, backend, (MASK, bomb))
    for name in ("mask.pth", MASK, STATISTICS):
        said = refused(visitor, backend, (name, pickle.dumps(Bomb(canary))), codes="fr es")
        assert "damaged" in said or "Bring one mask" in said
    assert not canary.exists()


def zip_bomb() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(50_000_000))
    return whole.getvalue()


def huge_header(size: int) -> bytes:
    return struct.pack("<Q", size) + b'{"a":' + b" " * 100


def many_tensors() -> bytes:
    entry = {"dtype": "I32", "shape": [0, 2], "data_offsets": [0, 0]}
    header = json.dumps({f"neurons.l{number}": entry for number in range(50_000)}).encode()
    return struct.pack("<Q", len(header)) + header


HOSTILE: list[tuple[str, str, Callable[[Path], bytes], str]] = [
    ("zip bomb", "mask.pth", lambda _: zip_bomb(), "damaged"),
    ("zip bomb named as ours", MASK, lambda _: zip_bomb(), "damaged"),
    ("pickle of many objects", "mask.pth", lambda _: pickled(b"\x80\x02" + b"]" * 5_000_000 + b"."), "damaged"),
    ("empty", MASK, lambda _: b"", "damaged"),
    ("empty pth", "mask.pth", lambda _: b"", "damaged"),
    ("text", MASK, lambda _: b"hello", "damaged"),
    ("truncated", MASK, lambda folder: bytes_of(folder)[:-9], "damaged"),
    ("truncated header", MASK, lambda folder: bytes_of(folder)[:40], "damaged"),
    ("header of 2^63", MASK, lambda _: huge_header(2**63), "damaged"),
    ("header of 99 MB", MASK, lambda _: huge_header(99_000_000), "damaged"),
    ("50,000 tensors", MASK, lambda _: many_tensors(), "damaged"),
    ("statistics as a mask", MASK, lambda folder: statistics_bytes(folder), "does not hold a mask"),
    (
        "outside",
        MASK,
        lambda folder: bytes_of(folder, None, {"neurons.fr": torch.tensor([[0, 1], [1, 2], [2, 128]])}),
        "outside",
    ),
    (
        "negative",
        MASK,
        lambda folder: bytes_of(folder, None, {"neurons.fr": torch.tensor([[0, 1], [1, 2], [-1, 5]])}),
        "outside",
    ),
    (
        "twice",
        MASK,
        lambda folder: bytes_of(folder, None, {"neurons.fr": torch.tensor([[0, 1], [0, 1], [2, 5]])}),
        "twice",
    ),
    ("flat", MASK, lambda folder: bytes_of(folder, None, {"neurons.fr": torch.tensor([1, 2, 3])}), "whole numbers"),
    ("floats", MASK, lambda folder: bytes_of(folder, None, {"neurons.fr": torch.ones(3, 2)}), "whole numbers"),
    ("NaN", MASK, lambda folder: bytes_of(folder, None, {"mean.fr": torch.tensor([1, float("nan"), 1])}), "not finite"),
    (
        "infinite",
        MASK,
        lambda folder: bytes_of(folder, None, {"mean.fr": torch.full((3,), float("inf"))}),
        "not finite",
    ),
    (
        "too few means",
        MASK,
        lambda folder: bytes_of(folder, None, {"mean.fr": torch.ones(2)}),
        "3 neurons for 'fr' but 2",
    ),
    ("shape", MASK, lambda folder: bytes_of(folder, shape=[3, 129]), "3 layers x 129 neurons"),
    ("shape of terabytes", MASK, lambda folder: bytes_of(folder, shape=[10**9, 10**9]), "does not say its shape"),
    ("label of HTML", MASK, lambda folder: labelled(folder, HTML), "does not say its languages"),
    ("label of a path", MASK, lambda folder: labelled(folder, "../../etc"), "does not say its languages"),
    ("label that is none", MASK, lambda folder: bytes_of(folder, languages=[None, 5]), "does not say its languages"),
    (
        "another model",
        MASK,
        lambda folder: bytes_of(folder, model="org/other"),
        "made for org/other, but org/tiny is loaded",
    ),
    (
        "a model of HTML",
        MASK,
        lambda folder: bytes_of(folder, model=HTML),
        "made for <img src=x onerror=alert(1)>, but",
    ),
    ("a model too long", MASK, lambda folder: bytes_of(folder, model="x" * 10**5), "does not say its model"),
    (
        "settings of HTML lists",
        MASK,
        lambda folder: bytes_of(folder, settings={"a": [HTML]}),
        "does not say its settings",
    ),
    ("tokens of text", MASK, lambda folder: bytes_of(folder, tokens={"fr": HTML}), "does not say its tokens"),
    ("deep metadata", MASK, lambda _: with_metadata("[" * 100_000), "damaged"),
    (
        "infinite metadata",
        MASK,
        lambda _: with_metadata('{"kind": "mask", "shape": [1e999, 4]}'),
        "a number is not finite",
    ),
    ("one language", MASK, lambda folder: bytes_of(folder, one_language()), "fewer than two languages"),
    ("101 languages", MASK, lambda folder: bytes_of(folder, many_languages()), "101 languages; this page takes 100"),
    ("layers", "mask.pth", lambda folder: released([layers[:2] for layers in LISTS], folder), "there are 2 layers"),
    ("neuron", "mask.pth", lambda folder: released([[torch.tensor([128])] * 3] * 2, folder), "neuron 128 is outside"),
    (
        "claimed length",
        "mask.pth",
        lambda folder: released([[torch.zeros(1).long().expand(10**9)] * 3] * 2, folder),
        "1,000,000,000 indices",
    ),
    ("dictionary", "mask.pth", lambda folder: released({"fr": LISTS[0]}, folder), "not a list of languages"),
]


def labelled(folder: Path, label: str) -> bytes:
    cells = torch.tensor([[0, 1]], dtype=torch.int32)
    return bytes_of(folder, None, {f"neurons.{label}": cells}, languages=["fr", label])


def with_metadata(text: str) -> bytes:
    header = json.dumps({"__metadata__": {"lape": text}}).encode()
    return struct.pack("<Q", len(header)) + header


def one_language() -> NeuronMask:
    return NeuronMask({"fr": torch.zeros(1, 2).int()}, {}, SHAPE, {"model": MODEL})


def many_languages() -> NeuronMask:
    return NeuronMask({f"l{place}": torch.zeros(1, 2).int() for place in range(101)}, {}, SHAPE, {"model": MODEL})


def pickled(data: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("made/data.pkl", data)
    return whole.getvalue()


@pytest.mark.parametrize(("name", "make", "said"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_hostile_file_is_one_sentence(
    visitor: Visitor, backend: Backend, tmp_path: Path, name: str, make: Callable[[Path], bytes], said: str
) -> None:
    assert said in refused(visitor, backend, (name, make(tmp_path)))


def test_statistics_must_belong_to_the_mask(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    mask = (MASK, bytes_of(tmp_path))
    assert "damaged" in refused(visitor, backend, mask, (STATISTICS, b"no"))
    other = statistics_bytes(tmp_path, model="org/other")
    assert "statistics was made for org/other" in refused(visitor, backend, mask, (STATISTICS, other))


def test_not_these_files(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    mask, statistics = bytes_of(tmp_path), statistics_bytes(tmp_path)
    assert "Bring one mask" in refused(visitor, backend, (STATISTICS, statistics))
    assert "Bring one mask" in refused(visitor, backend, (MASK, mask), ("other.safetensors", mask))
    assert "Bring one mask" in refused(visitor, backend, *[(MASK, mask)] * 3)
    for name in ("mask.json", "mask", "mask.safetensors.exe", "mask.PTH", "x.zip", "a.html"):
        assert "bring a .safetensors or a .pth file" in refused(visitor, backend, (name, mask))


@pytest.mark.parametrize(
    "codes", [5, ["fr"], {}, "fr", "fr fr es", f"fr es {HTML}", "fr es ../x", "x" * 10**6, "a\0b c d"]
)
def test_languages_of_any_kind(visitor: Visitor, backend: Backend, tmp_path: Path, codes: Any) -> None:
    assert refused(visitor, backend, ("mask.pth", released(LISTS, tmp_path)), codes=codes)


# Names and addresses


def test_a_file_too_large_is_not_taken(visitor: Visitor) -> None:
    files = {"files": (MASK, bytes(10_000_000))}
    answer = HTTP.post(f"{visitor.url}/gradio_api/upload", files=files)
    assert (answer.status_code, "exceeded maximum allowed size" in answer.text) == (413, True)
    assert UPLOAD_BYTES < 10_000_000


NAMES = [
    "../../../etc/passwd.pth",
    "..\\..\\x.pth",
    "/etc/cron.d/x.pth",
    ".pth",
    "a\0b.pth",
    f"{HTML}.pth",
    "x" * 1000 + ".pth",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:24])
def test_a_name_does_not_lead_anywhere(visitor: Visitor, backend: Backend, tmp_path: Path, name: str) -> None:
    content = released(LISTS, tmp_path)
    (file,) = sent(visitor, (name, content))
    path = Path(file["path"])
    assert path.resolve().is_relative_to(Path(gr.utils.get_upload_folder()).resolve())
    assert path.read_bytes() == content
    kind, (line,) = answered(visitor, "uploading", [file], "fr es ru")
    assert kind == "complete"
    assert "\n" not in text_of(line)


def test_a_name_that_is_a_folder_is_refused(visitor: Visitor) -> None:
    answer = HTTP.post(f"{visitor.url}/gradio_api/upload", files={"files": ("..", b"x")})
    assert answer.status_code == 400


def file(path: Any, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def not_uploaded(visitor: Visitor, tmp_path: Path) -> list[Any]:
    """What a hostile client may send in the place of an uploaded file."""
    (real,) = sent(visitor, ("mask.pth", released(LISTS, tmp_path)))
    link = Path(real["path"]).with_name("link.pth")
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/passwd")
    secret = tmp_path / "secret.pth"
    secret.write_bytes(b"secret")
    return [
        *("x", 5, -1.5, True, {}, [5], [None], [[]], ["mask.pth"], "x" * 10**6),
        *(
            [file(path)]
            for path in (
                "/etc/passwd",
                "/etc/passwd.pth",
                str(secret),
                "../x.pth",
                "",
                "\0",
                "http://127.0.0.1:1/x.pth",
            )
        ),
        *(
            [file(path)]
            for path in (None, 5, [], {}, str(link), f"{real['path']}/../../x.pth", str(Path(real["path"]).parent))
        ),
        *([{"path": real["path"], "meta": meta}] for meta in (None, 5, [], {}, {"_type": "x"})),
        *([real | {key: value}] for key, value in (("orig_name", 5), ("size", "x"), ("url", []), ("is_stream", "x"))),
        {"path": real["path"], "meta": {"_type": "gradio.FileData"}},
        [real] * (UPLOADS + 1),
        [{"a": real}],
    ]


def test_what_was_not_uploaded_is_not_read(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    before = backend.ready(SESSION)
    for value in not_uploaded(visitor, tmp_path):
        kind, said = answered(visitor, "uploading", value, "fr es ru")
        assert kind == "error", value
        assert said["error"] == f"Upload up to {UPLOADS} files of up to 8 MB first.", value
    for value in (None, []):
        kind, (line,) = answered(visitor, "uploading", value, "")
        assert refusal(line, []) == "Bring a file first: a mask.safetensors, or a released .pth."
    assert backend.ready(SESSION) is before


def test_uploads_do_not_stay(visitor: Visitor, tmp_path: Path) -> None:
    assert visitor.page.delete_cache == (600, 3600)
    (real,) = sent(visitor, ("mask.pth", released(LISTS, tmp_path)))
    delete_files_created_by_app(visitor.page, age=3600)
    assert Path(real["path"]).is_file()
    delete_files_created_by_app(visitor.page, age=0)  # what gradio calls from time to time
    assert not Path(real["path"]).exists()
    kind, said = answered(visitor, "uploading", [real], "fr es ru")
    assert (kind, said["error"]) == ("error", f"Upload up to {UPLOADS} files of up to 8 MB first.")


def test_the_event_itself_reads_uploads_only(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    """Whatever gradio lets through."""
    uploading = visitor.function("uploading")
    before = backend.ready(SESSION)
    for value in not_uploaded(visitor, tmp_path)[:-8]:
        if value not in (None, []) and value:
            (line,) = uploading(REQUEST, value, "fr es").values()
            assert refusal(line, []), value
    assert backend.ready(SESSION) is before


def test_other_events_take_no_files(visitor: Visitor, tmp_path: Path) -> None:
    (real,) = sent(visitor, (MASK, bytes_of(tmp_path)))
    for value in (real, [real], {"a": [real]}, real | {"meta": 5}):
        for event, values in (("showing", (value, "")), ("reading", (HERE, "", value)), ("calibrating", (value,))):
            assert answered(visitor, event, *values) == ("error", {**ERROR, "error": "Files are not accepted here."})


ERROR = {"duration": 10, "visible": True, "title": "Error"}


# Two masks side by side


def compare(
    visitor: Visitor, first: Any, second: Any, brought: Any = None, codes: Any = ""
) -> tuple[str, dict[str, Any]]:
    kind, (line, result) = answered(visitor, "comparing", first, second, HERE, "", brought, codes)
    assert kind == "complete"
    return line, result


def test_masks_of_all_kinds_are_compared(visitor: Visitor, backend: Backend, tmp_path: Path) -> None:
    line, result = compare(visitor, IN_USE, START)
    assert text_of(line) == "Both have the same neurons."
    assert result["value"].count('<td class="figure">1.00</td>') == 3  # two languages and their mean
    brought = sent(visitor, ("mask.pth", released(LISTS, tmp_path)))
    line, result = compare(visitor, START, UPLOADED, brought, "fr it ru")
    assert (text_of(line), result["visible"]) == ("", True)
    assert "<p>Only mask A has Spanish.</p>" in result["value"]
    assert "<p>Only mask B has Italian and Russian.</p>" in result["value"]
    assert "French (fr), layer 0: in both 0, only in A 1, only in B 1" in result["value"]
    assert backend.ready(SESSION) is backend.ready()  # looking at one does not use it


def test_a_mask_of_the_list_is_compared(visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask_of(model="org/other").save(tmp_path / "masks" / "org--other" / "lape")
    monkeypatch.setenv("LAPE_PRECOMPUTED", str(tmp_path / "masks"))
    line, result = compare(visitor, "org/other lape", START)
    assert text_of(line).startswith(f"A is of org/other, B of {MODEL}: this means something only if")
    assert result["visible"] is True


def test_what_cannot_be_compared_is_one_sentence(visitor: Visitor, tmp_path: Path) -> None:
    labels = sent(visitor, ("mask.pth", released(LISTS, tmp_path)))
    for first, brought, said in (
        (UPLOADED, None, "Bring a file first"),
        (UPLOADED, labels, "The masks have no language in common: ko, it, ru against fr, es."),
        ("org/gone lape", None, "No 'lape' mask for org/gone is bundled"),
        ("../.. ..", None, "Choose a mask of the list first."),
        *((value, None, "") for value in (None, "", 5, [], {}, [IN_USE], True, HTML, "x" * 10**6)),
    ):
        line, result = compare(visitor, first, START, brought, "ko it ru")
        assert said in refusal(line, []), first
        assert result["visible"] is False
        assert refusal(compare(visitor, START, first, brought, "ko it ru")[0], [])
