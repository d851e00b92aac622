"""Time of every method of statistics at a size of 70B: `python -m benchmarks.identification [--repeats 5]`.

80 layers x 28672 neurons x 7 languages of random counts; LAPE beside a straightforward script of the same dtype.
Each method runs with its defaults, and with 1,000 neurons per language. Last, each method on the statistics of the
embedded model, which the page's sliders run at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.interleaved import median_seconds
from lape.identify import identify, methods_reading
from lape.masks.bundled import bundled_folder
from lape.recording.statistics import ActivationStatistics
from lape.storage.names import STATISTICS_NAME

LAYERS, NEURONS, LANGUAGES, TOKENS = 80, 28672, ("en", "zh", "fr", "es", "vi", "id", "ja"), 1_000_000


def main() -> None:
    """Runs the benchmark and prints the medians, and the ratio of LAPE to the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", help="preset, Hub id or folder (default: the embedded one)")
    options = parser.parse_args()
    repeats = options.repeats
    generator = torch.Generator().manual_seed(0)
    shape = (LAYERS, NEURONS)
    active = {code: torch.randint(0, TOKENS, shape, generator=generator) for code in LANGUAGES}
    values = {code: counts * torch.rand(shape, generator=generator).double() for code, counts in active.items()}
    statistics = ActivationStatistics(active, values, values, dict.fromkeys(LANGUAGES, TOKENS), {})
    ways: dict[str, Callable[[], object]] = {"straightforward": lambda: straightforward(active)}
    methods = methods_reading(ActivationStatistics)
    for method in methods:
        ways[method] = partial(identify, statistics, method)
        ways[f"{method}, 1000 each"] = partial(identify, statistics, method, per_language=1000)
    seconds = median_seconds(ways, repeats)
    for name, value in seconds.items():
        print(f"{name:24} {value:6.2f} s")
    print(f"{'lape / straightforward':24} {seconds['lape'] / seconds['straightforward']:6.2f}")
    bundled = ActivationStatistics.load(bundled_folder(options.model) / STATISTICS_NAME)
    for name, value in median_seconds(
        {method: partial(identify, bundled, method) for method in methods}, repeats
    ).items():
        print(f"{name + ', embedded':24} {1000 * value:6.1f} ms")


def straightforward(active: dict[str, torch.Tensor]) -> list[torch.Tensor]:
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
