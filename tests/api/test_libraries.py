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
import scipy.cluster.vq, scipy.differentiate, scipy.integrate, scipy.signal, scipy.special
import scipy.stats
from scipy.optimize import elementwise
from sklearn import config_context, decomposition, discriminant_analysis, linear_model, metrics
from sklearn import naive_bayes, preprocessing
import fusegrad as fg

rng = np.random.default_rng(0)
x, labels = rng.standard_normal((20, 4)), np.repeat([0, 1], 10)
y = x @ np.arange(4.0) + 1

def square(z):
    return z**2

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
    "pearsonr": lambda x, y, labels: scipy.stats.pearsonr(x[:, 0], x[:, 1]).pvalue,
    "derivative": lambda x, y, labels: scipy.differentiate.derivative(square, x[0, :]).df,
    "find_root": lambda x, y, labels: elementwise.find_root(
        lambda z: z**3 - 2, (x[:2, 0] * 0, x[:2, 0] * 0 + 2)
    ).x,
    "trapezoid": lambda x, y, labels: scipy.integrate.trapezoid(x),
    "GaussianNB": lambda x, y, labels: naive_bayes.GaussianNB().fit(x, labels).predict(x),
    "PCA": lambda x, y, labels: decomposition.PCA(2, svd_solver="full").fit_transform(x),
    "Ridge": lambda x, y, labels: linear_model.Ridge(solver="svd").fit(x, y).predict(x),
    "LinearDiscriminantAnalysis": lambda x, y, labels: (
        discriminant_analysis.LinearDiscriminantAnalysis().fit(x, labels).predict(x)
    ),
    "roc_curve": lambda x, y, labels: metrics.roc_curve(labels, x[:, 0])[0],
    "LabelEncoder": lambda x, y, labels: preprocessing.LabelEncoder().fit_transform(labels),
    "mean_squared_error": lambda x, y, labels: metrics.mean_squared_error(y, 2 * y),
    "accuracy_score": lambda x, y, labels: metrics.accuracy_score(labels, 1 - labels),
    "f1_score": lambda x, y, labels: metrics.f1_score(labels, labels),
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
    "pearsonr",
    "derivative",
    "find_root",
    "trapezoid",
    "GaussianNB",
    "PCA",
    "Ridge",
    "LinearDiscriminantAnalysis",
    "roc_curve",
    "LabelEncoder",
]
NUMBERS = ["mean_squared_error", "accuracy_score", "f1_score"]


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
