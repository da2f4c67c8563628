import finetuning_runs as toy
import pytest

from mt4ssl_core.finetuning import speech


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("speech"), utterances=4)


def vocabulary(folder, tmp_path, known=None, **changes):
    cfg = toy.configuration(folder, tmp_path / "run", **changes)
    return speech.find_vocabulary(cfg, speech.read_speech(cfg), known)


def test_a_dictionary_of_another_alphabet_is_said(folder, tmp_path):
    given = tmp_path / "dict.ltr.txt"
    given.write_text("| 9\nא 5\nב 3\n")
    with pytest.raises(ValueError, match=r"not in the vocabulary .*'A' \d+.* it has .*א"):
        vocabulary(folder, tmp_path, text__vocabulary=given)


def test_the_case_that_fits_a_dictionary_is_said(folder, tmp_path):
    given = tmp_path / "dict.ltr.txt"
    given.write_text("| 9\na 5\nb 3\nc 2\n' 1\n")
    with pytest.raises(ValueError, match=r"in lower case: set text\.case=lower"):
        vocabulary(folder, tmp_path, text__vocabulary=given)
    found = vocabulary(folder, tmp_path, text__vocabulary=given, text__case="lower")
    assert found.tokens[4:] == ("|", "a", "b", "c", "'")
    with pytest.raises(ValueError, match="other tokens than those of the run"):
        vocabulary(folder, tmp_path, text__vocabulary=given, text__case="lower",
                   known=speech.Vocabulary(("a", "b")))  # fmt: skip


def test_a_dictionary_without_the_token_between_words_is_said(folder, tmp_path):
    given = tmp_path / "dict.ltr.txt"
    given.write_text("A 5\nB 3\nC 2\n' 1\n")
    with pytest.raises(ValueError, match=r"needs single letters, and '\|' between words: give"):
        vocabulary(folder, tmp_path, text__vocabulary=given)


def test_letters_are_not_taken_for_tokens_that_would_get_a_separator_each(folder, tmp_path):
    other = toy.corpus(tmp_path / "other", utterances=2)
    path = next(other.rglob("*.trans.txt"))
    names = [line.split()[0] for line in path.read_text().splitlines()]
    path.write_text("".join(f"{name} A B | C |\n" for name in names))
    changes = {"data__valid": other, "text__units": "tokens"}
    with pytest.raises(ValueError, match=r"single letters, with '\|' .*set text\.units=letters"):
        vocabulary(other, tmp_path, **changes)
    path.write_text("".join(f"{name} A B C\n" for name in names))
    assert vocabulary(other, tmp_path, **changes).encode("A B C") == [4, 5, 6]


def test_letters_of_the_held_out_speech_alone_are_said(folder, tmp_path):
    other = toy.corpus(tmp_path / "other", utterances=2)
    path = next(other.rglob("*.trans.txt"))
    path.write_text(path.read_text().replace("A", "Q"))
    cfg = toy.configuration(folder, tmp_path / "run", data__valid=other)
    parts = speech.read_speech(cfg)
    found = speech.find_vocabulary(cfg, parts, None)
    assert "Q" in found.tokens
    assert "not in the training speech, so never learned: Q" in speech.facts(parts, found)
    given = tmp_path / "dict.ltr.txt"
    given.write_text("| 9\nA 5\nB 3\nC 2\n' 1\n")
    cfg.text.vocabulary = str(given)
    with pytest.raises(ValueError, match=r"other: not in the vocabulary .*'Q' \d"):
        speech.find_vocabulary(cfg, parts, None)


def test_two_cases_are_two_letters_and_said(folder, tmp_path):
    other = toy.corpus(tmp_path / "other", utterances=2)
    path = next(other.rglob("*.trans.txt"))
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\n{rest.lower()}")
    cfg = toy.configuration(other, tmp_path / "run", text__case="keep")
    parts = speech.read_speech(cfg)
    found = speech.find_vocabulary(cfg, parts, None)
    assert any("as two letters; see text.case" in line for line in speech.facts(parts, found))


def test_without_held_out_speech_it_is_said(folder, tmp_path):
    cfg = toy.configuration(folder, tmp_path / "run", data__valid=None, data__valid_share=0)
    parts = speech.read_speech(cfg)
    assert len(parts) == 1
    found = speech.find_vocabulary(cfg, parts, None)
    assert any("there is no best.pt" in line for line in speech.facts(parts, found))
    cfg = toy.configuration(folder, tmp_path / "run", data__valid=None, data__valid_share=0.3)
    train, held_out = speech.read_speech(cfg)
    ids = [{cut.id for cut in part.manifest.cuts} for part in (train, held_out)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
