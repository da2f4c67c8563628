"""How good an enhanced or separated signal is: SI-SDR, STOI, wide-band PESQ, best permutation.

STOI is pystoi's, PESQ that of the package pesq (ITU-T P.862.2).
"""

import itertools
from collections.abc import Callable

import numpy as np

# P.862.2's mapping of the lowest raw score, -0.5, to MOS-LQO
_LOWEST_PESQ = 0.999 + 4 / (1 + np.exp(-1.3669 * -0.5 + 3.8224))


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the scale-invariant signal-to-distortion ratio of two (N,) signals, in dB.

    As Le Roux et al. (2019) define it, without removing the means.
    """
    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    target = reference @ estimate / (reference @ reference) * reference
    rest = estimate - target
    with np.errstate(divide="ignore"):
        return float(10 * np.log10((target @ target) / (rest @ rest)))


def stoi(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Return the short-time objective intelligibility of two (N,) signals, about 0 to 1."""
    from pystoi import stoi as of_pystoi

    return float(of_pystoi(reference, estimate, rate, extended=False))


def pesq(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Return PESQ of two (N,) signals: wide-band (1.04 to 4.64) at 16 kHz, narrow-band at 8 kHz.

    A signal without any utterance, such as silence, gets wide-band PESQ's lowest score, 1.04.
    """
    from pesq import NoUtterancesError
    from pesq import pesq as of_pesq

    if not (np.any(reference) and np.any(estimate)):  # the package fails on zeros
        return float(_LOWEST_PESQ)
    try:
        return float(of_pesq(rate, reference, estimate, "wb" if rate == 16000 else "nb"))
    except NoUtterancesError:
        return float(_LOWEST_PESQ)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "si_sdr": lambda reference, estimate, rate: si_sdr(reference, estimate),
    "stoi": stoi,
    "pesq": pesq,
}


def best_permutation(references: np.ndarray, estimates: np.ndarray, taps: int = 512) -> list[int]:
    """Return for each reference the number of its estimate: the assignment of highest mean SIR.

    Source-to-interference ratio as in BSS Eval v3 (Vincent et al., 2006), which compares the
    energy of an estimate's projection on one reference, delayed by 0 to ``taps - 1`` samples, with
    what projecting on all references adds. Both arguments are (K, N).
    """
    explained_by_all = _projected_energy(references, estimates, taps)  # (K estimates,)
    sir = np.empty((len(references), len(estimates)))
    for k, reference in enumerate(references):
        wanted = _projected_energy(reference[None], estimates, taps)
        interference = np.maximum(explained_by_all - wanted, np.finfo(float).tiny)
        sir[k] = 10 * np.log10(np.maximum(wanted, np.finfo(float).tiny) / interference)
    rows = np.arange(len(references))
    choices = itertools.permutations(range(len(estimates)), len(references))
    return list(max(choices, key=lambda choice: sir[rows, list(choice)].mean()))


def _projected_energy(references: np.ndarray, estimates: np.ndarray, taps: int) -> np.ndarray:
    """Energy of each estimate's projection on the span of all delayed references."""
    from scipy.linalg import toeplitz

    sources, size = references.shape
    fast = 1 << (size + taps - 1).bit_length()
    spectra = np.fft.rfft(np.asarray(references, np.float64), fast)  # (K, F)
    gram = np.empty((sources * taps, sources * taps))
    for i, j in itertools.product(range(sources), repeat=2):
        shared = np.fft.irfft(spectra[i] * spectra[j].conj(), fast)
        column = np.concatenate([shared[:1], shared[:-taps:-1]])
        gram[i * taps : (i + 1) * taps, j * taps : (j + 1) * taps] = toeplitz(column, shared[:taps])
    theirs = np.fft.rfft(np.asarray(estimates, np.float64), fast)
    products = np.fft.irfft(spectra[:, None].conj() * theirs[None], fast)[..., :taps]
    products = products.transpose(0, 2, 1).reshape(sources * taps, len(estimates))
    try:
        filters = np.linalg.solve(gram, products)
    except np.linalg.LinAlgError:  # a reference of silence
        filters = np.linalg.lstsq(gram, products)[0]
    return np.einsum("te,te->e", filters, products)
