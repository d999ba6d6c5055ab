"""SciPy's functions and scikit-learn's estimators that take arrays of any library.

SciPy reads its switch when it is imported, so they run in one process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = """
import json, sys
import numpy as np
import scipy.cluster.vq, scipy.signal, scipy.special, scipy.stats
from sklearn import config_context, metrics, preprocessing
import fusegrad as fg

rng = np.random.default_rng(0)
x, labels = rng.standard_normal((20, 4)), np.repeat([0, 1], 10)
y = x @ np.arange(4.0) + 1

CALLS = {
    "logsumexp": lambda x, y, labels: scipy.special.logsumexp(x, axis=1),
    "softmax": lambda x, y, labels: scipy.special.softmax(x, axis=0),
    "zscore": lambda x, y, labels: scipy.stats.zscore(x),
    "skew": lambda x, y, labels: scipy.stats.skew(x, axis=1),
    "vq": lambda x, y, labels: scipy.cluster.vq.vq(x, x[:3, :])[0],
    "detrend": lambda x, y, labels: scipy.signal.detrend(x, axis=0),
    "StandardScaler": lambda x, y, labels: preprocessing.StandardScaler().fit_transform(x),
    "PolynomialFeatures": lambda x, y, labels: preprocessing.PolynomialFeatures().fit_transform(x),
    "euclidean_distances": lambda x, y, labels: metrics.pairwise.euclidean_distances(x),
    "mean_squared_error": lambda x, y, labels: metrics.mean_squared_error(y, 2 * y),
}

report = {}
for name, call in CALLS.items():
    expected = call(x, y, labels)
    with config_context(array_api_dispatch=True):
        actual = call(*map(fg.asarray, (x, y, labels)))
    kind = type(actual).__name__
    report[name] = [kind, np.asarray(actual).tolist(), np.asarray(expected).tolist()]
json.dump(report, sys.stdout)
"""

TENSORS = [
    "logsumexp",
    "softmax",
    "zscore",
    "skew",
    "vq",
    "detrend",
    "StandardScaler",
    "PolynomialFeatures",
    "euclidean_distances",
]
NUMBERS = ["mean_squared_error"]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    return report


@pytest.mark.parametrize("name", [*TENSORS, *NUMBERS])
def test_like_numpys(name: str, report: dict[str, Any]) -> None:
    kind, actual, expected = report[name]
    assert kind == ("Tensor" if name in TENSORS else "float")
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
