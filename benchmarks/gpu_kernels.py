"""Single kernels on the GPU: what each computes, its float64 reference, its bytes and operations.

Each case is a function of tensors in fusegrad and in torch, and of float64 arrays in NumPy. The
speed asked of it is a share of what the card copies or reads, or of torch's plain product.
"""

from __future__ import annotations

import importlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fusegrad as fg
import fusegrad.nn.functional as F

Array = np.ndarray[Any, Any]
Shapes = Sequence[tuple[int, ...]]

TOLERANCES = {"float32": 2e-4, "bfloat16": 4e-2, "tf32": 4e-3}
WIDTH = {"float32": 4, "bfloat16": 2}
TF32 = os.environ.get("BENCHMARK_TF32") == "1"
"""Whether every library may multiply float32 as tf32; it is asked for by ``--tf32``."""


@dataclass(frozen=True)
class Case:
    """One kernel (or a few) that is checked and timed.

    Attributes
    ----------
    title : str
    dtype : str
    small, full : sequence of shapes
        Of the inputs: where it is checked, and where it is timed.
    fused, torch, reference : callable
        The same of tensors of fusegrad, of torch (the module first), of NumPy's float64.
    moved, flops : callable
        Bytes read and written (each once), and operations, of the shapes.
    roof : str
        ``"copy"``, ``"read"``, ``"product"`` (torch's plain one) or ``"torch"``: what it is
        compared with.
    asked : float
        The share of the roof.
    """

    title: str
    dtype: str
    small: Shapes
    full: Shapes
    fused: Callable[..., Any]
    torch: Callable[..., Any]
    reference: Callable[..., Any]
    moved: Callable[[Shapes], int]
    flops: Callable[[Shapes], int]
    roof: str
    asked: float


# --- what they compute ----------------------------------------------------------------------------


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def _gelu_slope(x: Array) -> Array:
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _softmax_backward(x: Array, g: Array) -> Array:
    y = _softmax(x)
    return np.asarray(y * (g - (g * y).sum(-1, keepdims=True)))


def _normal(x: Array) -> tuple[Array, Array]:
    scale = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) * scale, scale


def _layer_norm_backward(x: Array, w: Array, b: Array, g: Array) -> list[Array]:
    n, scale = _normal(x)
    d = g * w
    dx = scale * (d - d.mean(-1, keepdims=True) - n * (d * n).mean(-1, keepdims=True))
    return [dx, (g * n).sum(0), g.sum(0)]


def _linear_backward(x: Array, w: Array, b: Array, g: Array) -> list[Array]:
    d = g * _gelu_slope(x @ w.T + b)
    return [d @ w, d.T @ x, d.sum(0)]


def _block_backward(x: Array, w: Array, b: Array, v: Array, g: Array) -> list[Array]:
    z = x @ w.T + b
    y = _gelu(z)
    d = (g @ v) * _gelu_slope(z)
    return [y @ v.T, d @ w, d.T @ x, d.sum(0), g.T @ y]


def _windows(x: Array) -> Array:
    """Of every place the 3 by 3 elements around it: [n, c, h, w, 3, 3]."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))


def _convolution(x: Array, w: Array) -> Array:
    return np.asarray(np.einsum("nchwij,ocij->nohw", _windows(x), w, optimize=True))


def _convolution_backward(x: Array, w: Array, g: Array) -> list[Array]:
    dx = _convolution(g, w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    return [dx, np.einsum("nchwij,nohw->ocij", _windows(x), g, optimize=True)]


def _torch_backward(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(torch: Any, *given: Any) -> Any:
        *inputs, g = (t.detach().requires_grad_() for t in given)
        return torch.autograd.grad(function(torch, *inputs), inputs, g.detach())

    return run


def _fused_backward(function: Callable[..., Any], with_result: bool = False) -> Callable[..., Any]:
    def run(*given: Any) -> Any:
        *inputs, g = given
        result, pull = fg.vjp(function, *inputs)
        return [result, *pull(g)] if with_result else pull(g)

    return run


def _fused_block(x: Any, w: Any, b: Any, v: Any) -> Any:
    return F.linear(_fused_linear(x, w, b), v)


def _torch_block(torch: Any, x: Any, w: Any, b: Any, v: Any) -> Any:
    return torch.nn.functional.linear(_torch_linear(torch, x, w, b), v)


def _fused_convolution(x: Any, w: Any) -> Any:
    return F.conv2d(x, w, padding=1)


def _torch_convolution(torch: Any, x: Any, w: Any) -> Any:
    return torch.nn.functional.conv2d(x, w, padding=1)


def _torch_softmax(torch: Any, x: Any) -> Any:
    return torch.softmax(x, -1)


def _torch_layer_norm(torch: Any, x: Any, w: Any, b: Any) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w, b)


def _torch_linear(torch: Any, x: Any, w: Any, b: Any) -> Any:
    f = torch.nn.functional
    return f.gelu(f.linear(x, w, b), approximate="tanh")


def _fused_linear(x: Any, w: Any, b: Any) -> Any:
    return F.gelu(F.linear(x, w, b), approximate="tanh")


def _fused_layer_norm(x: Any, w: Any, b: Any) -> Any:
    return F.layer_norm(x, x.shape[-1:], w, b)


def _fused_softmax(x: Any) -> Any:
    return fg.softmax(x, -1)


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _products(count: int) -> Callable[[Shapes], int]:
    return lambda s: 2 * count * s[0][0] * s[0][1] * s[1][0]


def _streams(count: int) -> Callable[[Shapes], int]:
    """So many bytes for each element of the first input."""
    return lambda s: count * _elements(s[0])


def _none(shapes: Shapes) -> int:
    return 0


# --- the table ------------------------------------------------------------------------------------


def _along_rows(dtype: str, columns: int) -> Iterator[Case]:
    size = WIDTH[dtype]
    full, small = ((1 << 27) // columns, columns), (33, columns + 1)
    vectors, tails = [(columns,), (columns,)], [(columns + 1,), (columns + 1,)]
    title = f"{columns >> 10}k{_suffix(dtype)}"

    def case(
        name: str, moved: int, asked: float, inputs: tuple[Shapes, Shapes], *made: Any
    ) -> Case:
        small_, full_ = inputs
        fused, torch, reference = made
        return Case(
            f"{name} {title}",
            dtype,
            small_,
            full_,
            fused,
            torch,
            reference,
            _streams(moved * size),
            _none,
            "copy",
            asked,
        )

    yield case("softmax", 2, 0.93, ([small], [full]), _fused_softmax, _torch_softmax, _softmax)
    yield case(
        "softmax backward",
        3,
        0.88,
        ([small] * 2, [full] * 2),
        _fused_backward(_fused_softmax),
        _torch_backward(_torch_softmax),
        _softmax_backward,
    )
    yield case(
        "layer norm",
        2,
        0.93,
        ([small, *tails], [full, *vectors]),
        _fused_layer_norm,
        _torch_layer_norm,
        lambda x, w, b: _normal(x)[0] * w + b,
    )
    yield case(
        "layer norm backward",
        3,
        0.88,
        ([small, *tails, small], [full, *vectors, full]),
        _fused_backward(_fused_layer_norm),
        _torch_backward(_torch_layer_norm),
        _layer_norm_backward,
    )


def _products_of(dtype: str, width: int) -> Iterator[Case]:
    # Large enough for a library, in every case.
    small: list[tuple[int, ...]] = [(200, 136), (264, 136), (264,)]
    full: list[tuple[int, ...]] = [(width, width), (width, width), (width,)]
    yield Case(
        f"product + bias + gelu{_suffix(dtype)}",
        dtype,
        small,
        full,
        _fused_linear,
        _torch_linear,
        lambda x, w, b: _gelu(x @ w.T + b),
        _none,
        _products(1),
        "product",
        0.97,
    )
    yield Case(
        f"product + bias + gelu and its backward{_suffix(dtype)}",
        dtype,
        [*small, (200, 264)],
        [*full, (width, width)],
        _fused_backward(_fused_linear),
        _torch_backward(_torch_linear),
        _linear_backward,
        _none,
        _products(3),
        "product",
        0.97,
    )

    yield Case(
        f"product + bias + gelu + product, forward and backward{_suffix(dtype)}",
        dtype,
        [(200, 136), (264, 136), (264,), (136, 264), (200, 136)],
        [*full, (width, width), (width, width)],
        _fused_backward(_fused_block, with_result=True),
        _torch_backward(_torch_block),
        _block_backward,
        _none,
        _products(6),
        "product",
        0.97,
    )


def _convolutions_of(dtype: str) -> Iterator[Case]:
    def flops(count: int) -> Callable[[Shapes], int]:
        def of(s: Shapes) -> int:
            places = s[0][0] * s[0][2] * s[0][3]
            return 2 * count * places * _elements(s[1])

        return of

    small: Shapes = [(3, 16, 14, 15), (32, 16, 3, 3)]
    full: Shapes = [(64, 128, 56, 56), (128, 128, 3, 3)]
    title = f"convolution 3x3{_suffix(dtype)}"
    yield Case(
        title,
        dtype,
        small,
        full,
        _fused_convolution,
        _torch_convolution,
        _convolution,
        _none,
        flops(1),
        "torch",
        0.95,
    )
    yield Case(
        f"{title} backward",
        dtype,
        [*small, (3, 32, 14, 15)],
        [*full, (64, 128, 56, 56)],
        _fused_backward(_fused_convolution),
        _torch_backward(_torch_convolution),
        _convolution_backward,
        _none,
        flops(2),
        "torch",
        0.95,
    )


def _suffix(dtype: str) -> str:
    return " bf16" if dtype == "bfloat16" else ""


def _fused_gelu(x: Any) -> Any:
    return F.gelu(x, approximate="tanh")


def _torch_gelu(torch: Any, x: Any) -> Any:
    return torch.nn.functional.gelu(x, approximate="tanh")


def cases() -> list[Case]:
    """All of them."""
    long: Shapes = [(1 << 28,)]
    found = [
        Case(
            f"gelu 256M{_suffix(dtype)}",
            dtype,
            [(1237,)],
            long,
            _fused_gelu,
            _torch_gelu,
            _gelu,
            _streams(2 * WIDTH[dtype]),
            _none,
            "copy",
            0.95,
        )
        for dtype in WIDTH
    ]
    found.append(
        Case(
            "sum 256M",
            "float32",
            [(70_001,)],
            long,
            lambda x: x.sum(),
            lambda torch, x: x.sum(),
            np.sum,
            _streams(4),
            _none,
            "read",
            0.95,
        )
    )
    for dtype in WIDTH:
        for columns in (1 << 10, 1 << 12, 1 << 15):
            found += _along_rows(dtype, columns)
        found += _products_of(dtype, 8192 if dtype == "bfloat16" else 4096)
        found += _convolutions_of(dtype)
    return found


# --- one case -------------------------------------------------------------------------------------


def arrays_of(shapes: Shapes, seed: int = 7) -> list[Array]:
    """Normal numbers, float32."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s, np.float32) for s in shapes]


def checked(case: Case) -> str | None:
    """What is wrong with a case at its small size, None if nothing is."""
    # The default device is the GPU.
    given = [fg.asarray(a, device="cpu").astype(case.dtype) for a in arrays_of(case.small)]
    exact = [np.asarray(t.astype("float32").numpy(), np.float64) for t in given]
    expected = case.reference(*exact)
    compiled = fg.compile(case.fused)
    tolerance = TOLERANCES["tf32" if TF32 and case.dtype == "float32" else case.dtype]
    there = [t.cuda() for t in given]
    # The third time it is replayed work.
    for _ in range(3):
        result = fg.pytree.flatten(compiled(*there))[0]
        wanted = expected if isinstance(expected, list) else [expected]
        for number, (t, e) in enumerate(zip(result, wanted, strict=True)):
            found = np.asarray(t.cpu().astype("float32").numpy(), np.float64)
            scale = max(1.0, float(np.abs(e).max()))
            worst = float(np.abs(found - e).max())
            if not worst <= tolerance * scale:
                return f"result {number} is wrong by {worst:.2g} of {scale:.2g}"
    return None


def rounds_of(step: Callable[[], Any], wait: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of one call, in rounds of many that are waited for together."""
    for _ in range(5):
        step()
    wait()
    start = time.perf_counter()
    step()
    wait()
    once = max(time.perf_counter() - start, 1e-6)
    count = max(1, min(200, int(seconds / 8 / once)))
    found = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        found.append((time.perf_counter() - start) / count)
    return found


def run_fused(case: Case, shapes: Shapes, seconds: float) -> list[float]:
    """Seconds of a case in fusegrad."""
    compiled = fg.compile(case.fused)
    given = [fg.random.normal(s, device="cuda").astype(case.dtype) for s in shapes]
    return rounds_of(lambda: compiled(*given), fg.cuda.synchronize, seconds)


def run_torch(case: Case, shapes: Shapes, seconds: float) -> list[float]:
    """Seconds of a case in torch, op by op; of products the plain product alone."""
    torch = importlib.import_module("torch")
    torch.backends.cudnn.allow_tf32 = TF32
    torch.set_float32_matmul_precision("high" if TF32 else "highest")
    dtype = getattr(torch, case.dtype)
    given = [torch.randn(s, device="cuda", dtype=dtype) for s in shapes]
    if case.roof == "product":
        times = case.flops(shapes) // _products(1)(shapes)
        plain = rounds_of(
            lambda: torch.mm(given[0], given[1].T), torch.cuda.synchronize, seconds / times
        )
        return [t * times for t in plain]
    return rounds_of(lambda: case.torch(torch, *given), torch.cuda.synchronize, seconds)


def record(case: Case, library: str, shapes: Shapes, seconds: float) -> dict[str, Any]:
    """One case in one library as a line of the report."""
    found: dict[str, Any] = {"title": case.title, "library": library}
    try:
        if library == "fused":
            found["wrong"] = checked(case)
        rounds = (run_fused if library == "fused" else run_torch)(case, shapes, seconds)
        found |= {"median": statistics.median(rounds), "best": min(rounds)}
        found |= {"moved": case.moved(shapes), "flops": case.flops(shapes)}
    except Exception as problem:
        found["error"] = f"{type(problem).__name__}: {problem}".split("\n")[0][:300]
    return found
