import numpy as np
import pytest

from analysis.probes import ctc


def speech(count, seed, noise=0.1, layers=2):
    """Utterances whose first layer shows the phone of each frame, the others nothing."""
    rng = np.random.default_rng(seed)
    codes = np.eye(6)
    utterances, phones = [], []
    for _ in range(count):
        said = rng.integers(0, 5, rng.integers(3, 7))
        frames = np.concatenate(
            [np.tile(codes[5], (2, 1))]  # silence
            + [np.repeat(codes[[k, 5]], (5, 2), axis=0) for k in said]
        )
        silent = rng.normal(size=(layers - 1, *frames.shape))
        x = np.concatenate([frames[None], silent]) + noise * rng.normal(
            size=(layers, *frames.shape)
        )
        utterances.append((10 * x + 3).astype(np.float16))
        phones.append(tuple("abcde"[k] for k in said))
    return utterances, phones


def test_phones_are_read_off_the_layer_that_has_them():
    errors = ctc.phone_errors(*speech(60, 0), *speech(20, 1), steps=250)
    first, second = (layer.errors.sum() / layer.lengths.sum() for layer in errors)
    assert first < 0.05 and second > 0.6


def test_the_same_seed_gives_the_same_errors():
    data = (*speech(30, 0), *speech(10, 1))
    one, two = (ctc.phone_errors(*data, seed=3, steps=30)[0] for _ in range(2))
    assert np.array_equal(one.errors, two.errors)


def test_unknown_phones_are_errors():
    train, test = speech(30, 0), speech(10, 1)
    (found, _) = ctc.phone_errors(*train, test[0], [("x",)] * 10, steps=150)
    assert (found.errors >= 1).all() and (found.lengths == 1).all()


def test_more_phones_than_frames_are_left_out_or_refused():
    utterances, phones = speech(20, 0)
    phones[0] = ("a",) * 200
    assert len(ctc.phone_errors(utterances, phones, utterances, phones, steps=2)) == 2
    with pytest.raises(ValueError, match="more phones than frames"):
        ctc.phone_errors(utterances, [("a",) * 200] * 20, utterances, phones)
