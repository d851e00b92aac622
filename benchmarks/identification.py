"""Time and memory of identification, and of its files, at the shapes of 7B and 70B models.

    python -m benchmarks.identification [--repeats 5] [--sizes 7B 70B] [--languages 7 30]

LAPE, and statistics and masks on disk, beside straightforward scripts on the same random counts. Then every method of
activation statistics on the first of 70B size, with its defaults and with 1,000 neurons per language, and on the
statistics of the embedded model, which the page's sliders run at once. Memory is the resident peak above what the input
takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.interleaved import median_seconds
from lape.evaluation.metrics.memory import peak_bytes
from lape.identify import identify, methods_reading
from lape.masks.bundled import bundled_folder
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics
from lape.storage.names import STATISTICS_NAME

SIZES = {"7B": (32, 11008), "70B": (80, 28672)}  # layers and neurons of Llama 2
TOKENS = 1_000_000
Ways = Mapping[str, Callable[[], object]]


def main() -> None:
    """Runs the benchmark and prints medians and peaks, and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--languages", nargs="+", type=int, default=[7, 30])
    parser.add_argument("--model", help="preset, Hub id or folder of the small statistics (default: the embedded one)")
    options = parser.parse_args()
    for size in options.sizes:
        for languages in options.languages:
            statistics = random_statistics(SIZES[size], languages)
            with TemporaryDirectory() as folder:
                for title, ways in ways_of(statistics, Path(folder)).items():
                    show(f"{size} x {languages}, {title}", ways, options.repeats)
    statistics = random_statistics(SIZES[options.sizes[-1]], options.languages[0])
    show(f"{options.sizes[-1]} x {options.languages[0]}", methods(statistics), options.repeats)
    bundled = ActivationStatistics.load(bundled_folder(options.model) / STATISTICS_NAME)
    seconds = median_seconds(
        {method: partial(identify, bundled, method) for method in methods_reading()}, options.repeats
    )
    for method, value in seconds.items():
        print(f"{'embedded, ' + method:52} {1000 * value:8.1f} ms")


def show(title: str, ways: Ways, repeats: int) -> None:
    """Prints the time and the peak of each way, and how the last compares to the first where there are two."""
    seconds = median_seconds(ways, repeats)
    peaks = {name: peak_bytes(way) for name, way in ways.items()}
    for name in ways:
        print(f"{title + ', ' + name:52} {seconds[name]:8.3f} s {peaks[name] / 1e6:8.0f} MB")
    if len(ways) == 2:
        (slow, fast), (large, small) = seconds.values(), peaks.values()
        print(f"{title + ', ratio':52} {fast / slow:8.2f}   {small / large:8.2f}")


def random_statistics(shape: tuple[int, int], languages: int) -> ActivationStatistics:
    """Counts that are spread evenly from 0 to all tokens, and sums that fit them."""
    generator = torch.Generator().manual_seed(0)
    codes = [f"l{number}" for number in range(languages)]
    active = {code: torch.randint(0, TOKENS, shape, generator=generator) for code in codes}
    sums = {code: counts * torch.rand(shape, generator=generator).double() for code, counts in active.items()}
    tokens = dict.fromkeys(codes, TOKENS)
    return ActivationStatistics(active, sums, sums, tokens, {"tokens": tokens})


def ways_of(statistics: ActivationStatistics, folder: Path) -> dict[str, Ways]:
    """What is compared: a straightforward script first, ours second. The files are written here."""
    plain, ours = str(folder / "statistics.pt"), str(folder / STATISTICS_NAME)
    whole = {name: dict(getattr(statistics, name)) for name in ("active", "sum", "positive_sum")}
    whole["positive_sum"] = {code: sums.clone() for code, sums in whole["positive_sum"].items()}  # saved twice
    mask = identify(statistics)
    lists = [[pairs[pairs[:, 0] == layer, 1] for layer in range(mask.shape[0])] for pairs in mask.neurons.values()]
    return {
        "identify": {
            "straightforward": lambda: straightforward(statistics.active),
            "lape": lambda: identify(statistics),
        },
        "save statistics": {"torch": lambda: torch.save(whole, plain), "lape": lambda: statistics.save(ours)},
        "load statistics": {"torch": lambda: torch.load(plain), "lape": lambda: ActivationStatistics.load(ours)},
        "load and identify": {
            "torch": lambda: straightforward(torch.load(plain)["active"]),
            "lape": lambda: identify(ActivationStatistics.load(ours)),
        },
        "save mask": {"torch": lambda: torch.save(lists, folder / "mask.pth"), "lape": lambda: mask.save(folder)},
        "load mask": {"torch": lambda: torch.load(folder / "mask.pth"), "lape": lambda: NeuronMask.load(folder)},
    }


def methods(statistics: ActivationStatistics) -> Ways:
    """Each method with its defaults, and with 1,000 neurons per language."""
    ways: dict[str, Callable[[], object]] = {}
    for method in methods_reading():
        ways[method] = partial(identify, statistics, method)
        ways[f"{method}, 1000 each"] = partial(identify, statistics, method, per_language=1000)
    return ways


def straightforward(active: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor]:
    """LAPE as one would first write it: every entropy, two order statistics, one topk."""
    probability = torch.stack(list(active.values()), dim=-1).double() / TOKENS
    share = probability / probability.sum(-1, keepdim=True)
    entropy = -torch.where(share > 0, share * share.log(), 0.0).sum(-1)
    flat = probability.flatten()
    threshold = flat.kthvalue(round(flat.numel() * 0.95)).values
    entropy[(probability > threshold).sum(-1) == 0] = torch.inf
    kept = entropy.flatten().topk(round(entropy.numel() * 0.01), largest=False).indices
    bar = flat.kthvalue(round(flat.numel() * 0.95)).values
    member = probability.reshape(-1, len(active))[kept] > bar
    return [kept[member[:, index]] for index in range(len(active))]


if __name__ == "__main__":
    main()
