"""Time of LAPE on a model of 70B size: `python -m benchmarks.identification [--repeats 5]`.

80 layers x 28672 neurons x 7 languages of random counts, beside a straightforward script of the same dtype.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.interleaved import median_seconds
from lape.identify import identify
from lape.statistics import ActivationStatistics

LAYERS, NEURONS, LANGUAGES, TOKENS = 80, 28672, ("en", "zh", "fr", "es", "vi", "id", "ja"), 1_000_000


def main() -> None:
    """Runs the benchmark and prints the two medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    generator = torch.Generator().manual_seed(0)
    shape = (LAYERS, NEURONS)
    active = {code: torch.randint(0, TOKENS, shape, generator=generator) for code in LANGUAGES}
    sums = torch.zeros(shape, dtype=torch.float64)
    every = dict.fromkeys(LANGUAGES, sums)
    statistics = ActivationStatistics(active, every, every, dict.fromkeys(LANGUAGES, TOKENS), {})
    seconds = median_seconds(
        {"lape": lambda: identify(statistics), "straightforward": lambda: straightforward(active)}, repeats
    )
    for name, value in seconds.items():
        print(f"{name:16} {value:6.2f} s")
    print(f"ratio            {seconds['lape'] / seconds['straightforward']:6.2f}")


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
