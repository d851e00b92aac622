"""Every causal family of transformers, tried on a tiny random model: what `lape models --families` prints.

    make families

writes what was found to `lape/models/families.json`. It takes some minutes.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import transformers
from shrinking import CAUSAL, tiny
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import lape
from lape import Intervention, NeuronMask, UnsupportedArchitecture, activation_sites, intervene
from lape.models.experts import ExpertsSite
from lape.models.families import FAMILIES_FILE
from lape.models.sites import ActivationSites, DenseSite
from lape.recording.counting import counting

SECONDS = 60  # for one family
IDS = torch.arange(2, 14).view(2, 6)


def tried(name: str) -> dict[str, Any]:
    """What is found of a family: which neurons are counted, in which layers, or why none."""
    found: dict[str, Any] = {"class": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name]}
    try:
        with _within(SECONDS):
            model = tiny(name)
    except Exception as error:
        return {**found, "untried": _line(error)}
    try:
        sites = activation_sites(model)
    except UnsupportedArchitecture as error:
        return {**found, "refused": str(error).split(" is not supported: ")[1].split(". If it has")[0]}
    except Exception as error:
        return {**found, "untried": _line(error)}
    check(model, sites)
    neurons = "routed experts" if sites.experts > 1 else "dense"
    return {**found, "neurons": neurons, "layers": "all" if len(sites.layers) == sites.shape[0] else "some"}


def check(model: PreTrainedModel, sites: ActivationSites) -> None:
    """Counts are those of plain hooks, off changes the logits, and afterwards the model is itself, bit for bit."""
    before = model(IDS, use_cache=False).logits
    with counting(sites, IDS.shape[1]) as count, torch.no_grad():
        counted = count(partial(sites.decoder, input_ids=IDS, use_cache=False))
    expected = _by_plain_hooks(model, sites)
    for layer, active in expected.items():
        # A near-zero activation may have another sign where matrices are multiplied in another order.
        assert (counted.neurons[layer, 0] - active).abs().sum() <= 1e-3 * active.numel() + 1, f"layer {layer}"
    if counted.routed is not None:
        assert int(counted.routed.sum()) % IDS.numel() == 0

    neurons = [(layer, int(at)) for layer in sites.layers for at in counted.neurons[layer, 0].argsort()[-8:]]
    mask = NeuronMask({"aa": torch.tensor(neurons)}, {}, sites.shape, {"experts": sites.experts})
    with intervene(model, Intervention(mask, off="aa")):
        off = model(IDS, use_cache=False).logits
    assert not torch.allclose(off, before, atol=1e-5)
    assert torch.equal(model(IDS, use_cache=False).logits, before)


def _by_plain_hooks(model: PreTrainedModel, sites: ActivationSites) -> dict[int, torch.Tensor]:
    """Layer to active counts `[neurons]`, from hooks of torch alone; experts in the family's own loop over them."""
    outputs: dict[int, list[torch.Tensor]] = {layer: [] for layer in sites.layers}
    index: dict[int, torch.Tensor] = {}
    with ExitStack() as stack:
        for layer in sites.layers:
            site = sites.sites[layer]
            assert site is not None
            hook = lambda _module, _inputs, out, layer=layer: outputs[layer].append((out > 0).flatten(0, -2))  # noqa: E731
            stack.callback(site.module.register_forward_hook(hook).remove)
            if isinstance(site, ExpertsSite):
                stack.callback(setattr, site.experts.config, "_experts_implementation", "grouped_mm")
                site.experts.config._experts_implementation = "eager"
                hook = lambda _module, args, layer=layer: index.update({layer: args[1]})  # noqa: E731
                stack.callback(site.experts.register_forward_pre_hook(hook).remove)
        with torch.no_grad():
            sites.decoder(input_ids=IDS, use_cache=False)
    found = {}
    for layer, calls in outputs.items():
        site = sites.sites[layer]
        if isinstance(site, DenseSite):
            found[layer] = torch.cat(calls).sum(0)
        elif layer in index and calls:  # once for each expert that has tokens, in their order; or written out
            hit = [expert for expert in index[layer].unique().tolist() if expert < sites.experts]
            assert len(hit) == len(calls)
            found[layer] = torch.zeros(sites.neurons)
            for expert, call in zip(hit, calls, strict=True):
                found[layer][expert * sites.width : (expert + 1) * sites.width] = call.sum(0)
    return found


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    """Ends what takes longer, such as filling a model whose sizes were not made small."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not built within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _line(error: Exception) -> str:
    return f"no tiny model of it could be made ({type(error).__name__})"


def main() -> None:
    transformers.logging.set_verbosity_error()
    families = {}
    for name in CAUSAL:
        families[name] = tried(name)
        print(name, families[name], file=sys.stderr, flush=True)
    made = {"transformers": transformers.__version__, "families": families}
    path = Path(lape.__file__).parent / "models" / FAMILIES_FILE
    path.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
