"""The form in which a CPU reads a model's weights while it generates: smaller weights are read faster.

A step of decoding multiplies one row per text, so that nearly all of its time goes into reading weights. A form keeps
a second, smaller copy of those of the linear layers, in the layout of torch's own kernels (FBGEMM and oneDNN):

- `float16`: rounded to 16 bits;
- `int8`: the language-model head, which may be most of a small model, rounded to 8 bits per output, all others to 16.

Activations stay float32, so that hooks see what they always see. What is multiplied by 8 bits is split into two digits
of 8 bits per row, which is as exact as 16; each row has its own scale, so no row of a batch depends on another. The
model itself stays as it is: the copy is read where one position of each row is multiplied while a text is generated,
and nowhere else. Prompts, recording and measuring read the float32 weights; how many rows a batch has changes nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

CpuForm = Literal["float32", "float16", "int8"]  # each smaller than the one before

CPU_FORMS = ("auto", *get_args(CpuForm))

DIGIT = 127  # largest of a digit, and of a weight
SMALLEST = torch.finfo(torch.float32).tiny

Multiply = Callable[[torch.Tensor], torch.Tensor]  # [rows, inputs] to [rows, outputs]

_PACKED: weakref.WeakKeyDictionary[nn.Module, tuple[CpuForm, dict[nn.Linear, Future[Multiply]]]] = (
    weakref.WeakKeyDictionary()
)


def best_form() -> CpuForm:
    """The fastest form this processor has the instructions for; `float32` where it has none, or torch no kernels."""
    found = torch.cpu.get_capabilities()
    if torch.backends.quantized.engine not in ("x86", "fbgemm") or not (found.get("avx2") and found.get("f16c")):
        return "float32"
    return "int8" if torch.backends.mkldnn.is_available() and found.get("avx512_vnni") else "float16"


def form_bytes(model: nn.Module, form: CpuForm) -> int:
    """Bytes that the second copy of the weights takes."""
    return sum(layer.weight.numel() * (1 if way is _int8 else 2) for layer, way in _ways(model, form).items())


def pack(model: nn.Module, form: CpuForm) -> None:
    """Makes the second copy of a float32 model's weights in a thread; who generates first waits for it.

    Weights that are changed later are not changed in the copy.
    """
    if form == "float32":
        return
    worker = ThreadPoolExecutor(1, thread_name_prefix="lape-pack")
    _PACKED[model] = form, {layer: worker.submit(way, layer) for layer, way in _ways(model, form).items()}
    worker.shutdown(wait=False)


@contextmanager
def small_weights(model: nn.Module) -> Iterator[None]:
    """Has a model read the second copy of its weights, if it has one, wherever one position of each row comes."""
    with ExitStack() as stack:
        for layer, packed in _PACKED[model][1].items() if model in _PACKED else ():
            stack.callback(_put_back, layer, layer.__dict__.get("forward"))
            layer.forward = partial(_forward, layer, packed.result())  # type: ignore[method-assign]
        yield


def form_of(model: nn.Module) -> CpuForm:
    """The form of the weights that a model generates with."""
    return _PACKED[model][0] if model in _PACKED else "float32"


def _put_back(layer: nn.Linear, forward: Callable | None) -> None:
    if forward is None:
        del layer.forward
    else:
        layer.forward = forward  # type: ignore[method-assign]


def _forward(layer: nn.Linear, multiply: Multiply, inputs: torch.Tensor) -> torch.Tensor:
    # A few families flatten rows and positions, which cannot be told from many positions: they read float32 there.
    if inputs.dim() != 3 or inputs.shape[1] != 1 or inputs.dtype != torch.float32:
        return F.linear(inputs, layer.weight, layer.bias)
    return multiply(inputs[:, 0])[:, None]


def _ways(model: nn.Module, form: CpuForm) -> dict[nn.Linear, Callable[[nn.Linear], Multiply]]:
    """How the weights of each linear layer are kept in a form; of none in float32."""
    if form == "float32":
        return {}
    head = model.get_output_embeddings()  # type: ignore[operator]
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    return {layer: _int8 if form == "int8" and layer is head else _float16 for layer in layers}


def _float16(layer: nn.Linear) -> Multiply:
    if layer.weight.abs().max() > torch.finfo(torch.float16).max:
        return partial(F.linear, weight=layer.weight, bias=layer.bias)
    packed = torch.ops.quantized.linear_prepack_fp16(layer.weight.detach(), layer.bias)
    return partial(_multiply_float16, packed)


def _multiply_float16(packed: torch.ScriptObject, rows: torch.Tensor) -> torch.Tensor:
    return torch.ops.quantized.linear_dynamic_fp16(rows, packed)


def _int8(layer: nn.Linear) -> Multiply:
    weight = layer.weight.detach()
    scales = (weight.abs().amax(1) / DIGIT).clamp_min_(SMALLEST)
    packed = torch.ops.onednn.qlinear_prepack((weight / scales[:, None]).round_().to(torch.int8), None)
    return partial(_multiply_int8, packed, scales, torch.zeros(len(weight), dtype=torch.int32), layer.bias)


def _multiply_int8(
    packed: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, bias: torch.Tensor | None, rows: torch.Tensor
) -> torch.Tensor:
    """Multiplies each row as `size / 127 * (first + second / 254)`, both whole numbers from -127 to 127."""
    size = rows.abs().amax(-1, keepdim=True).clamp_min_(SMALLEST)
    steps = rows / size * DIGIT
    first = steps.round()
    digits = torch.cat([first, (steps - first).mul_(2 * DIGIT).round_()]).to(torch.int8)
    weights, exact = (packed, scales, zeros), torch.float32
    products = torch.ops.onednn.qlinear_pointwise(digits, 1.0, 0, *weights, None, 1.0, 0, exact, "none", [], "")
    first, second = products.chunk(2)
    product = torch.add(first, second, alpha=1 / (2 * DIGIT)).mul_(size / DIGIT)
    return product if bias is None else product.add_(bias)
