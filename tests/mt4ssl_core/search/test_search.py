"""Greedy and beam search against their definitions, on cases small enough to try everything."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_superb.ngram import END, START, BackOff
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.search.beam_search import BeamSearch
from mt4ssl_core.search.greedy import greedy
from mt4ssl_core.settings.recognition_defaults import BeamSettings

LETTERS = Vocabulary(("<s>", "|", "A", "B"))
PHONES = Vocabulary(("<s>", "AH", "B"))
WORDS = {"AB": "A B |", "BA": "B A", "A": "A |", "AA": "A A |"}
EVERYTHING = {"beam": 20_000, "threshold": 1e5}
SEEDS = st.integers(0, 2**32 - 1)


def log_probs(seed, frames=4, size=4):
    drawn = np.random.default_rng(seed).dirichlet(np.full(size, 0.5), frames) + 1e-6
    return np.log(drawn / drawn.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.txt"
    path.write_text("".join(f"{word}\t{spelling}\n" for word, spelling in WORDS.items()))
    return str(path)


@pytest.fixture(scope="module")
def word_model(tmp_path_factory):
    return arpa(tmp_path_factory, ["AB BA", "BA BA AB", "A AB", "AA"])


@pytest.fixture(scope="module")
def letter_model(tmp_path_factory):
    return arpa(tmp_path_factory, ["A B | B |", "B A | A B |", "A |"])


def arpa(folders, sentences):
    model, path = BackOff(sentences, 3), folders.mktemp("arpa") / "lm.arpa"
    path.write_text(model.arpa())
    return model, str(path)


def lm_score(model, units, end=True):
    units = [START, *units, *([END] if end else [])]
    return sum(model.score(tuple(units[:k]), units[k]) for k in range(1, len(units)))


def best(scores, vocabulary, value):
    """The best text and score over every path; value(ids) is None where a text may not be."""
    found = {}
    for path in itertools.product(range(len(vocabulary)), repeat=len(scores)):
        ids = vocabulary.collapse([1, *path])[1:]  # the search begins after a separator
        more = value(ids)
        if more is not None:
            total = float(scores[np.arange(len(path)), list(path)].sum()) + more
            text = vocabulary.text(ids)
            found[text] = max(found.get(text, -np.inf), total)
    text = max(found, key=found.__getitem__)
    return text, found[text], found


@given(SEEDS, st.sampled_from([LETTERS, PHONES]))
@settings(max_examples=50, deadline=None)
def test_greedy_is_the_best_path_collapsed(seed, vocabulary):
    scores = log_probs(seed, 12, len(vocabulary))
    found = greedy(scores, vocabulary, 0.02)
    assert found.text == vocabulary.text(vocabulary.collapse(scores.argmax(1).tolist()))
    assert found.score == pytest.approx(float(scores.max(1).sum()))


def test_words_have_their_times_and_confidences():
    path = [0, 2, 2, 0, 3, 1, 1, 0, 3]  # A B | B
    scores = np.full((9, 4), np.log(0.1), np.float32)
    scores[np.arange(9), path] = np.log(0.7)
    scores[2, 2] = np.log(0.9)
    first, second = greedy(scores, LETTERS, 0.02).words
    assert (first.text, second.text) == ("AB", "B")
    assert (first.start, first.end) == pytest.approx((0.02, 0.10))
    assert (second.start, second.end) == pytest.approx((0.16, 0.18))
    assert first.confidence == pytest.approx((0.9 * 0.7) ** 0.5)
    assert second.confidence == pytest.approx(0.7)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_without_a_model_the_search_finds_the_best_path(seed):
    search = BeamSearch(LETTERS, BeamSettings(**EVERYTHING, nbest=3))
    scores = log_probs(seed, 5)
    found = search(scores, 0.02)
    text, score, _ = best(scores, LETTERS, lambda ids: 0.0)
    assert found[0].text == text == greedy(scores, LETTERS, 0.02).text
    assert found[0].score == pytest.approx(score, abs=1e-4)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("with_model", [False, True])
@pytest.mark.parametrize(("lm_weight", "word_score"), [(2.0, -1.0), (0.5, 1.5)])
def test_the_search_over_words_equals_brute_force(
    lexicon, word_model, with_model, lm_weight, word_score
):
    model, path = word_model
    search = BeamSearch(
        LETTERS,
        BeamSettings(**EVERYTHING, lm_weight=lm_weight, word_score=word_score, nbest=5),
        path if with_model else None,
        lexicon,
    )

    def value(ids):
        units = LETTERS.text(ids).split()
        if any(unit not in WORDS for unit in units):
            return None
        lm = lm_weight * lm_score(model, units) if with_model else 0.0
        return lm + word_score * len(units)

    for seed in range(12):
        scores = log_probs(seed)
        text, score, every = best(scores, LETTERS, value)
        found = search(scores, 0.02)
        assert found[0].text == text
        assert found[0].score == pytest.approx(score, abs=1e-3)
        for hypothesis in found:
            assert hypothesis.score == pytest.approx(every[hypothesis.text], abs=1e-3)


def test_the_search_over_letters_equals_brute_force(letter_model):
    model, path = letter_model
    search = BeamSearch(LETTERS, BeamSettings(**EVERYTHING, lm_weight=1.5), path)
    assert search.lexicon is None
    tokens = LETTERS.tokens

    def value(ids):
        units = [tokens[i] for i in ids]
        return 1.5 * lm_score(model, units)

    for seed in range(12):
        scores = log_probs(seed)
        ended = np.concatenate([scores, [[0, 0, -1e4, -1e4]]])  # the frame in which a word may end
        text, score, _ = best(ended, LETTERS, value)
        found = search(scores, 0.02)[0]
        assert (found.text, found.score) == (text, pytest.approx(score, abs=1e-3))


def test_the_words_of_a_model_are_spelled_as_written(word_model, lexicon):
    _, path = word_model
    of_model = BeamSearch(LETTERS, BeamSettings(), path)
    of_file = BeamSearch(LETTERS, BeamSettings(), path, lexicon)
    assert set(of_model.lexicon.words) == set(WORDS)
    for seed in range(8):
        scores = log_probs(seed, 20)
        assert of_model(scores, 0.02) == of_file(scores, 0.02)


def test_weights_are_changed_without_reading_again(word_model, lexicon):
    _, path = word_model
    search = BeamSearch(LETTERS, BeamSettings(), path, lexicon)
    other = BeamSearch(LETTERS, BeamSettings(lm_weight=0.3, word_score=2.0), path, lexicon)
    scores = log_probs(3, 30)
    assert search.with_weights(0.3, 2.0)(scores, 0.02) == other(scores, 0.02)
    assert search.settings == BeamSettings()


def test_of_too_many_words_of_one_spelling_the_likeliest_stay_and_the_rest_are_named(
    tmp_path, tmp_path_factory, capfd
):
    words = [f"W{n}" for n in range(8)]
    path = tmp_path / "lexicon.txt"
    path.write_text("".join(f"{word} A B |\n" for word in words))
    said = [word for n, word in enumerate(words) for _ in range(n + 1)][::-1]
    _, lm = arpa(tmp_path_factory, [" ".join(said)])
    scores = np.log(np.full((3, 4), 0.01, np.float32))
    scores[np.arange(3), [2, 3, 1]] = np.log(0.97)
    found = BeamSearch(LETTERS, BeamSettings(**EVERYTHING, nbest=20), lm, str(path))(scores, 0.02)
    assert {h.text for h in found if h.text} == {*words[2:]}
    err = capfd.readouterr().err
    assert "2 spellings are left out" in err and "of W1, W0;" in err
    assert "reached limit" not in err


def test_a_spelling_may_be_of_another_word(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ONE A B |\nTWO B A |\n")
    scores = np.log(np.full((6, 4), 0.01, np.float32))
    scores[np.arange(6), [2, 3, 1, 3, 2, 0]] = np.log(0.97)
    (found,) = BeamSearch(LETTERS, BeamSettings(), None, str(path))(scores, 0.02)
    assert found.text == "ONE TWO"
    assert [round(word.start / 0.02) for word in found.words] == [0, 3]
