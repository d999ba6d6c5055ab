"""The emitter's text for NVVM: LLVM 7's dialect, whole, and nothing that it does not know."""

from __future__ import annotations

import re

import pytest

from fusegrad.codegen.targets import gpu
from fusegrad.codegen.targets.base import Features
from fusegrad.codegen.targets.nvvm import nvvm_module
from tests.codegen.examples import EXAMPLES
from tests.codegen.test_nvptx import dot_kernel, gelu_kernel, total_kernel

KERNELS = {
    **{name: (lambda e=example: e().kernel) for name, example in EXAMPLES.items()},
    "gelu": gelu_kernel,
    "dot": dot_kernel,
    "all": total_kernel,
}


@pytest.mark.parametrize("name", list(KERNELS))
def test_whole_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def catch(text: str, target: Features) -> str:
        texts.append(text)
        return ""

    monkeypatch.setattr(gpu, "ptx", catch)
    stages = gpu.compile_gpu(KERNELS[name](), 1 << 16).stages
    (text,) = texts
    made = nvvm_module(text)
    kernels = re.findall(r"define internal void @([\w.]+)\(.*\) alwaysinline", made.definitions)
    assert kernels == [stage.entry for stage in stages]
    assert not re.search(r"\b(ptr|splat|poison|fmul|fneg|ptx_kernel)\b", made.definitions)
    assert not re.search(r"llvm\.[su](min|max)|llvm\.abs", made.definitions)
    called = set(re.findall(r"call [^@]*@(llvm[\w.]+)\(", made.definitions))
    assert called == set(made.declarations)
    named = re.findall(r"^  (%[\w.]+) = ", made.definitions, re.MULTILINE)
    per_function = made.definitions.split("define ")
    assert all(len(set(n)) == len(n) for n in map(_names, per_function)), named


def _names(function: str) -> list[str]:
    return re.findall(r"^  (%[\w.]+) = ", function, re.MULTILINE)


def translated(*lines: str) -> list[str]:
    """What the lines of a function become."""
    text = "\n".join(["define ptx_kernel void @k(ptr align 16 %p0) nounwind {", *lines, "}"])
    return [line.strip() for line in nvvm_module(text).definitions.splitlines()[1:-1]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "%v1 = fadd <2 x float> %a, splat (float 1.0)",
            ["%v1 = fadd <2 x float> %a, <float 1.0, float 1.0>"],
        ),
        ("%v1 = fneg float %a", ["%v1 = fsub float -0.0, %a"]),
        (
            "%v1 = fmul double %a, %b",
            ["%v1 = call double @llvm.nvvm.mul.rn.d(double %a, double %b)"],
        ),
        (
            "%v1 = call i64 @llvm.umin.i64(i64 %a, i64 7)",
            ["%v1.first = icmp ult i64 %a, 7", "%v1 = select i1 %v1.first, i64 %a, i64 7"],
        ),
        (
            "%v1 = call i32 @llvm.abs.i32(i32 %a, i1 false)",
            [
                "%v1.minus = sub i32 0, %a",
                "%v1.first = icmp sgt i32 %a, 0",
                "%v1 = select i1 %v1.first, i32 %a, i32 %v1.minus",
            ],
        ),
        (
            "%v1 = getelementptr float, ptr %p0, i64 %i",
            [
                "%v1.from = bitcast i8* %p0 to float*",
                "%v1.to = getelementptr float, float* %v1.from, i64 %i",
                "%v1 = bitcast float* %v1.to to i8*",
            ],
        ),
        (
            "%v1 = load float, ptr %p0, align 16",
            ["%v1.at = bitcast i8* %p0 to float*", "%v1 = load float, float* %v1.at, align 4"],
        ),
        (
            "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)",
            ["call void @llvm.nvvm.barrier0()"],
        ),
        (
            "%v1 = call float @llvm.rint.f32(float %a)",
            ["%v1 = call float @llvm.nvvm.round.f(float %a)"],
        ),
    ],
)
def test_lines(line: str, expected: list[str]) -> None:
    assert translated(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "%v1 = freeze i32 %a",
        "%v1 = atomicrmw fadd ptr %p0, float 1.0 monotonic",
        "%v1 = select i1 %c, ptr %p0, ptr %p1",
        "unreachable",
        "%v1 = fadd <2 x float> %a, splat (float 1.0), <4 x float> %b",
    ],
)
def test_what_is_not_known_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"NVVM has no|without a type|lanes and a splat"):
        translated(line)
