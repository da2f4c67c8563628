"""The language model of the synthesised ASR corpus."""

import itertools

import pytest

from mini_superb import asr
from mini_superb.ngram import END, START, UNKNOWN, BackOff

SENTENCES = ["A B C", "A B", "B C A B", "C", "A B C A"]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_after_every_history_add_up_to_one(order):
    model = BackOff(SENTENCES, order)
    words = ["A", "B", "C", END, UNKNOWN]
    histories = [(), (START,), ("A", "B"), ("B", "A", "C"), ("Z",), (START, "A", "B", "C")]
    histories += [pair for pair in itertools.product("ABC", repeat=2)]
    for history in histories:
        assert sum(10 ** model.score(history, word) for word in words) == pytest.approx(1)


def test_witten_bell_by_hand():
    model = BackOff(["A B", "A C"], 2)
    # A: B once, C once; words: A A B C </s> </s>
    assert 10 ** model.score(("A",), "B") == pytest.approx(1 / 4)
    assert 10 ** model.score((), "A") == pytest.approx(2 / 10)
    assert 10 ** model.score((), UNKNOWN) == pytest.approx(4 / 10)
    left = (2 / 4) / (1 - 1 / 10 - 1 / 10)
    assert 10 ** model.score(("A",), "A") == pytest.approx(left * 2 / 10)


def test_likelier_sentences_of_the_grammar_get_more():
    model = BackOff(SENTENCES, 4)

    def total(text):
        words = [START, *text.split(), END]
        return sum(model.score(tuple(words[:k]), words[k]) for k in range(1, len(words)))

    assert total("A B C") > total("C B A")
    with pytest.raises(ValueError, match="no sentences"):
        BackOff([], 4)


def test_kenlm_reads_it_and_agrees(tmp_path):
    pytest.importorskip("flashlight.lib.text")
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import create_word_dict, load_words

    texts = asr.plan(3, "tiny").texts
    model_file, lexicon = tmp_path / "4-gram.arpa", tmp_path / "lexicon.lst"
    model_file.write_text(texts[asr.LANGUAGE_MODEL])
    lexicon.write_text(texts[asr.LEXICON])
    words = create_word_dict(load_words(str(lexicon)))
    theirs = KenLM(str(model_file), words)
    said = [
        " ".join(line.split()[1:])
        for path, text in texts.items()
        if "train-clean" in path
        for line in text.splitlines()
    ]
    ours = BackOff(said, asr.ORDER)
    for text in (said[0], "WE FOUND THE RED RED DOG", "DOG DOG DOG"):
        state, history = theirs.start(False), (START,)
        for word in text.split():
            state, score = theirs.score(state, words.get_index(word))
            assert score == pytest.approx(ours.score(history, word), abs=1e-4)
            history = (*history, word)
