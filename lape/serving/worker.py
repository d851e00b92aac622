"""What every worker of vLLM is given: methods to call with `collective_rpc`, with numbers, texts and lists alone.

vLLM mixes the class into its own worker (`worker_extension_cls`), so each name here begins with `lape_`. No module of
vLLM is imported: what is used of a worker is its configuration, its rank, its model and its model runner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from lape.errors import LapeError
from lape.models.hooks import hooked
from lape.serving.batch import RunningBatch
from lape.serving.passes import Passes, ServedCounts, ServedPlan
from lape.serving.sites import ServedSites, layer_hooks, served_sites


class WorkerExtension:
    """ServedCounts and switches neurons in a worker of vLLM: `LLM(..., worker_extension_cls=WORKER)`."""

    def lape_describe(self: Any) -> dict[str, Any]:
        """Which part of the model the worker has: its layers and neurons; or why it cannot be watched (`refused`)."""
        try:
            sites = self._lape_proven()
        except LapeError as error:
            return {"refused": str(error)}
        here = self._lape_neurons()
        return {"layers": list(sites.modules), "neurons": [here.start, here.stop]}

    def lape_count(self: Any, before: int, block: int, rows: int) -> None:
        """ServedCounts from nothing, of requests with the extra argument `lape_block`.

        Args:
            before: Tokens at the beginning of each request that are not counted.
            block: Tokens after these that are.
            rows: Of active counts; a request's extra argument says which it is added to.
        """
        passes = self._lape_passes()
        passes.counts = ServedCounts(passes.sites, before, block, rows)

    def lape_counted(self: Any) -> dict[str, Any]:
        """What has been counted: `lape_describe`, the tokens, and float64 `[layers, rows + 2, neurons]` as bytes."""
        counts = self._lape_passes().counts
        return {**self.lape_describe(), "tokens": counts.tokens, "counts": counts.taken().numpy().tobytes()}

    def lape_stop_counting(self: Any) -> None:
        """ServedCounts no longer."""
        self._lape_passes().counts = None
        self._lape_rest()

    def lape_steer(self: Any, plans: Mapping[str, Mapping[str, Any]], neurons: int) -> None:
        """Takes plans by name; a request with the extra argument `lape` is steered by the one it names.

        Args:
            plans: What `lape.serving.engine.plain` makes of interventions.
            neurons: Per layer, of the whole model.
        """
        passes, here = self._lape_passes(), self._lape_neurons()
        passes.plans |= {name: ServedPlan.of(plan, neurons, here) for name, plan in plans.items()}

    def lape_release(self: Any, names: Sequence[str]) -> list[str]:
        """Forgets plans; returns the names that requests gave and none had."""
        passes = self._lape_passes()
        for name in names:
            passes.plans.pop(name, None)
        unknown, passes.unknown = sorted(passes.unknown), set()
        self._lape_rest()
        return unknown

    def _lape_proven(self: Any) -> ServedSites:
        """Where the activations are: found and proved once."""
        if "_lape_sites" not in vars(self):
            if refused := _refused(self):
                raise LapeError(refused)
            self._lape_sites = served_sites(self.get_model(), self.execute_dummy_batch)
        return self._lape_sites

    def _lape_passes(self: Any) -> Passes:
        """The hooks, which are put on when there is something to do."""
        if "_lape_hooked" not in vars(self):
            sites, batch = self._lape_proven(), RunningBatch(self.model_runner)
            passes = Passes(sites, batch)
            stack = ExitStack()
            stack.enter_context(batch.followed())
            before, after = layer_hooks(sites.layers, sites.modules, passes.passed)
            stack.enter_context(hooked(before={sites.model: passes.begin, **before}, after=after))
            self._lape_hooked = passes, stack
        return self._lape_hooked[0]

    def _lape_rest(self: Any) -> None:
        """Takes the hooks off when there is nothing left to do."""
        passes, stack = self._lape_hooked
        if passes.counts is None and not passes.plans:
            stack.close()
            del self._lape_hooked

    def _lape_neurons(self: Any) -> range:
        """The neurons of a layer that the worker has: tensor parallelism is the innermost of vLLM's ranks."""
        width = self._lape_proven().neurons
        place = self.rank % self.parallel_config.tensor_parallel_size
        return range(place * width, (place + 1) * width)


def _refused(worker: Any) -> str:
    """Why a worker cannot be watched as it was started, as a sentence; empty when it can."""
    parallel = worker.parallel_config
    if not worker.model_config.enforce_eager:
        return "vLLM was started with CUDA graphs or torch.compile, which pass by hooks: start it with enforce_eager."
    if worker.cache_config.enable_prefix_caching:
        return (
            "vLLM was started with prefix caching, by which tokens are not read again where they must be counted, or "
            "are taken over from requests that were steered otherwise: turn it off (enable_prefix_caching=False)."
        )
    if getattr(parallel, "prefill_context_parallel_size", 1) > 1 or getattr(parallel, "enable_dbo", False):
        return "vLLM divides the tokens of a pass (prefill context parallelism or dual batch overlap): turn that off."
    if getattr(worker.vllm_config, "speculative_config", None) is not None:
        return "vLLM was started with speculative decoding, whose tokens may be read and discarded: turn that off."
    return ""
