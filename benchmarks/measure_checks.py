#!/usr/bin/env python
"""Is every measure right? Each against another implementation or a closed form.

    python benchmarks/measure_checks.py [--tables-only]

Data are synthetic, of fixed seeds; the other implementations are numpy, scipy and scikit-learn.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.linalg
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.probes import chance, cluster_quality, ctc, layer_measures, similarity  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.model import linear_probe as linear  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "measure_checks.json"
RNG = np.random.default_rng(0)
N = 2000


def related_views() -> tuple[np.ndarray, np.ndarray]:
    """Two views (N, 12) and (N, 8) that share four directions."""
    shared = RNG.normal(size=(N, 4))
    first = np.concatenate([shared, RNG.normal(size=(N, 8))], axis=1) @ RNG.normal(size=(12, 12))
    second = np.concatenate([shared + RNG.normal(size=(N, 4)), RNG.normal(size=(N, 4))], axis=1)
    return first, second @ RNG.normal(size=(8, 8))


def cca_correlations() -> float:
    """Canonical correlations against scipy's generalised eigenvalue problem."""
    x, y = (view - view.mean(0) for view in related_views())
    cross = x.T @ y
    squares = scipy.linalg.eigh(cross @ np.linalg.solve(y.T @ y, cross.T), x.T @ x)[0][::-1][:8]
    return float(np.abs(similarity.cca(x, y).correlations - np.sqrt(squares)).max())


def pwcca() -> float:
    """PWCCA against Morcos et al.'s formula on directions from QR decompositions."""
    x, y = (view - view.mean(0) for view in related_views())
    qx, qy = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    u, rho, _ = np.linalg.svd(qx.T @ qy, full_matrices=False)
    alpha = np.abs((qx @ u).T @ x).sum(1)
    return abs(similarity.cca(x, y).pwcca - float(alpha @ rho / alpha.sum()))


def cca_of_a_rotation() -> float:
    """A view and its rotation, scaled and shifted, correlate by 1, on held-out rows too."""
    x, _ = related_views()
    turned = 3 * x @ np.linalg.qr(RNG.normal(size=(12, 12)))[0] + 5
    held_out = layer_measures.cross_fitted(x, turned, np.arange(N) < N // 2)
    return max(abs(similarity.cca(x, turned).mean - 1), abs(held_out - 1))


def linear_cka() -> float:
    """Linear CKA against HSIC of centred Gram matrices (Kornblith et al., equation 3)."""
    x, y = (view[:400] for view in related_views())
    centre = np.eye(400) - 1 / 400
    k, m = (centre @ view @ view.T @ centre for view in (x, y))
    theirs = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    return abs(similarity.linear_cka(x, y) - float(theirs))


def labels(agree: float) -> tuple[np.ndarray, np.ndarray]:
    """Phones and clusters (N,) that agree so often."""
    phones = RNG.integers(0, 10, N)
    return phones, np.where(RNG.random(N) < agree, phones, RNG.integers(0, 10, N))


def pnmi() -> float:
    """PNMI against scikit-learn's homogeneity."""
    phones, clusters = labels(0.6)
    counts = cluster_quality.joint_counts(phones, clusters, 10, 10)
    return abs(cluster_quality.pnmi(counts) - float(metrics.homogeneity_score(phones, clusters)))


def pnmi_of_identical_labels() -> float:
    """PNMI of identical labels is 1."""
    phones, _ = labels(1.0)
    return abs(cluster_quality.pnmi(cluster_quality.joint_counts(phones, phones[:], 10, 10)) - 1)


def pnmi_excess_of_permuted_labels() -> float:
    """PNMI of permuted labels above the null, which is what PNMI's bias is."""
    phones, _ = labels(1.0)
    return abs(cluster_quality.rolled_pnmi_null(phones, RNG.permutation(phones)).excess)


def purities() -> float:
    """Phone and cluster purity against scikit-learn's contingency matrix."""
    phones, clusters = labels(0.6)
    counts = cluster_quality.joint_counts(phones, clusters, 10, 10)
    table = metrics.cluster.contingency_matrix(phones, clusters)
    return max(
        abs(cluster_quality.phone_purity(counts) - table.max(0).sum() / N),
        abs(cluster_quality.cluster_purity(counts) - table.max(1).sum() / N),
    )


def bootstrap_interval() -> float:
    """Interval of a mean against the normal one: difference of their widths, relative."""
    values = RNG.normal(size=N)
    found = chance.bootstrap(lambda drawn: float(drawn @ values) / N, N, draws=4000)
    width = 2 * 1.959964 * values.std() / np.sqrt(N)
    return abs((found.high - found.low) / width - 1)


def probe_logits() -> float:
    """Logits of the linear probe against scikit-learn's logistic regression, relative."""
    x, _ = related_views()
    y = np.array(["abc"[k] for k in (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)])
    probe = linear.fit(x, y, 1e-2)
    z = (x - x.mean(0)) / x.std(0)
    theirs = LogisticRegression(C=1 / (1e-2 * N), tol=1e-9, max_iter=5000).fit(z, y)
    ours = z @ probe.weight.numpy() + probe.bias.numpy()
    wanted = theirs.decision_function(z)
    ours, wanted = (v - v.mean(1, keepdims=True) for v in (ours, wanted))
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


def phone_error_rate() -> float:
    """PER of a layer that shows every phone, read off by the CTC probe: 0."""
    utterances, phones = [], []
    for _ in range(80):
        said = RNG.integers(0, 5, 6)
        frames = np.repeat(np.eye(6)[np.stack([said, np.full(6, 5)], 1).ravel()], 4, axis=0)
        utterances.append(frames[None].astype(np.float16))
        phones.append(tuple("abcde"[k] for k in said))
    (found,) = ctc.phone_errors(utterances[:60], phones[:60], utterances[60:], phones[60:])
    return float(found.errors.sum() / found.lengths.sum())


CHECKS: dict[str, tuple[str, Callable[[], float]]] = {
    "canonical correlations": ("scipy, generalised eigenvalue problem", cca_correlations),
    "PWCCA": ("Morcos et al.'s formula from QR decompositions", pwcca),
    "CCA of a rotation": ("closed form: 1", cca_of_a_rotation),
    "linear CKA": ("HSIC of centred Gram matrices", linear_cka),
    "PNMI": ("scikit-learn, homogeneity_score", pnmi),
    "PNMI of identical labels": ("closed form: 1", pnmi_of_identical_labels),
    "PNMI excess of permuted labels": ("the null: 0", pnmi_excess_of_permuted_labels),
    "phone and cluster purity": ("scikit-learn, contingency_matrix", purities),
    "bootstrap interval of a mean": ("normal interval, relative width", bootstrap_interval),
    "linear probe, logits": ("scikit-learn, LogisticRegression, relative", probe_logits),
    "phone_ctc of a layer that shows every phone": ("closed form: 0", phone_error_rate),
}


def measure() -> None:
    """Run every check and write benchmarks/results/measure_checks.json."""
    rows = [
        {"measure": name, "against": other, "difference": check()}
        for name, (other, check) in CHECKS.items()
    ]
    packages = ("numpy", "scipy", "scikit-learn", "torch")
    versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
    write_json(RESULT, {"machine": platform.machine(), "versions": versions, "rows": rows})


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    lines = ["| measure | checked against | difference |", "| --- | --- | ---: |"]
    for row in json.loads(RESULT.read_text())["rows"]:
        lines.append(f"| {row['measure']} | {row['against']} | {row['difference']:.1g} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    if not parser.parse_args().tables_only:
        measure()
        print(table())
    pages.show("measure-checks", table())


if __name__ == "__main__":
    main()
