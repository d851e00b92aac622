"""Hooks see every call of the module they were put on, and nothing of them is left."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Iterator

import pytest
import torch
from compiling import compiled
from hooking import hooks
from torch import nn

from lape import LapeError
from lape.models.hooks import hooked

ONES = torch.ones(2, 3)


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def zero(_module: nn.Module, _arguments: object, output: torch.Tensor) -> torch.Tensor:
    return output * 0


def refuse(*_: object) -> None:
    raise ZeroDivisionError


def test_hooks_see_calls_before_and_after_and_come_off() -> None:
    module, seen = nn.Identity(), []
    module.register_forward_hook(lambda *_: seen.append("theirs"))
    before = hooks(module)
    with hooked(
        before={module: lambda _m, arguments, kwargs: seen.append((len(arguments), kwargs))},
        after={module: zero},
    ):
        assert not module(ONES).any()
    assert seen == [(1, {}), "theirs"]
    assert hooks(module) == before
    with pytest.raises(ZeroDivisionError), hooked(before={module: refuse}):
        module(ONES)
    assert hooks(module) == before


def test_a_block_that_is_interrupted_or_never_ends_leaves_nothing() -> None:
    module = nn.Identity()

    def steps() -> Iterator[None]:
        with hooked(after={module: zero}):
            yield

    with pytest.raises(KeyboardInterrupt), hooked(after={module: zero}):
        raise KeyboardInterrupt
    assert not hooks(module)
    going = steps()
    next(going)
    assert hooks(module)
    going.close()
    assert not hooks(module)


def test_what_was_compiled_before_is_seen_and_is_fast_again_afterwards() -> None:
    module, graphs = nn.Sequential(nn.Identity()), []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        def run(*inputs: torch.Tensor) -> object:
            graphs.append("ran")
            return graph.forward(*inputs)

        return run

    run = torch.compile(lambda inputs: module(inputs) + 1, backend=backend)
    assert run(ONES).eq(2).all()
    assert graphs == ["ran"]
    with hooked(after={module[0]: zero}):
        assert run(ONES).eq(1).all()
    assert graphs == ["ran"]
    assert run(ONES).eq(2).all()
    assert graphs == ["ran"] * 2


def test_blocks_may_end_in_the_order_they_began() -> None:
    """Torch's own stance would be `default` in the second block's rest, and `force_eager` ever after."""
    first, second = nn.Sequential(nn.Identity()), nn.Sequential(nn.Identity())
    run_first, run_second = compiled(lambda inputs: first(inputs)), compiled(lambda inputs: second(inputs))
    run_first(ONES), run_second(ONES)
    blocks = [hooked(after={module[0]: zero}) for module in (first, second)]
    blocks[0].__enter__()
    other = threading.Thread(target=blocks[1].__enter__)
    other.start()
    other.join()
    blocks[0].__exit__(None, None, None)
    assert not run_second(ONES).any()
    assert run_first(ONES).all()
    blocks[1].__exit__(None, None, None)
    assert run_second(ONES).all()
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_a_stance_that_was_there_before_is_there_afterwards() -> None:
    with torch.compiler.set_stance("eager_on_recompile"):
        with hooked(), hooked():
            assert torch._dynamo.eval_frame._stance.stance == "force_eager"
        assert torch._dynamo.eval_frame._stance.stance == "eager_on_recompile"


def test_a_compiled_function_cannot_hook() -> None:
    module = nn.Identity()

    @compiled
    def run(inputs: torch.Tensor) -> torch.Tensor:
        with hooked(after={module: zero}):
            return module(inputs + 1)

    with pytest.raises(LapeError, match=r"function of torch.compile.*call it inside"):
        run(ONES)
    assert not hooks(module)
    with hooked(after={module: zero}):
        assert not module(ONES).any()


def test_a_copy_is_untouched_from_the_start_and_the_original_stays_hooked() -> None:
    module = nn.Identity()
    saved = io.BytesIO()
    with hooked(before={module: refuse}), hooked(after={module: zero}):
        copied = copy.deepcopy(module)
        again = copy.deepcopy(copied)
        torch.save(module, saved)
        with pytest.raises(ZeroDivisionError):
            module(ONES)
        for untouched in (copied, again):
            assert torch.equal(untouched(ONES), ONES)
    saved.seek(0)
    for untouched in (copied, again, torch.load(saved, weights_only=False), module):
        assert torch.equal(untouched(ONES), ONES)
    with hooked(after={copied: zero}):
        assert not copied(ONES).any()
        assert module(ONES).all()
