"""The main job: the digits example reaches its accuracy and writes its picture."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def digits() -> Any:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    spec = importlib.util.spec_from_file_location("digits", ROOT / "examples" / "digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "digits", module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_digits_are_learnt(
    digits: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "digits.png"
    history = digits.main(["--out", str(out)])
    assert history.accuracies[-1] >= 0.97
    assert history.losses[-1] < 0.1 * history.losses[0]
    assert out.read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    for row in ("eager", "compiled", "time per step", "first call", "kernels per step", "arena"):
        assert row in table


def test_a_quarter_is_held_out(digits: Any) -> None:
    data = digits.load_digits(0)
    assert len(data.train_y) + len(data.test_y) == 1797
    assert len(data.test_y) == 449
    assert data.train_x.dtype == np.float32
    assert 0 <= data.train_x.min() < data.train_x.max() == 1
    assert (digits.load_digits(0).test_y == data.test_y).all()
    assert (digits.load_digits(1).test_y != data.test_y).any()
