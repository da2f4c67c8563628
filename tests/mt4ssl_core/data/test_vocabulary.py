import json

import pytest

from mt4ssl_core.data.vocabulary import FAIRSEQ, Vocabulary


def test_letters_are_numbered_by_their_counts_after_fairseqs_four():
    vocabulary = Vocabulary.from_transcripts(["HELLO", "HELLO YOU"])
    assert vocabulary.tokens[:4] == FAIRSEQ
    assert vocabulary.tokens[4:] == ("L", "O", "|", "E", "H", "U", "Y")
    assert vocabulary.blank == 0 and vocabulary.spelled and vocabulary.separator == "|"


def test_a_text_comes_back_from_its_numbers():
    vocabulary = Vocabulary.from_transcripts(["IT'S  ME"])
    ids = vocabulary.encode(" IT'S ME ")
    assert [vocabulary.tokens[i] for i in ids] == ["I", "T", "'", "S", "|", "M", "E", "|"]
    assert vocabulary.text(ids) == "IT'S ME"
    assert vocabulary.text([0, *ids, 1, 2]) == "IT'S ME"


def test_repeats_are_merged_unless_a_blank_stands_between():
    vocabulary = Vocabulary.from_transcripts(["AB"])
    a, b = (vocabulary.tokens.index(letter) for letter in "AB")
    assert vocabulary.collapse([0, a, a, 0, a, b, b, 0, 0]) == [a, a, b]
    assert vocabulary.collapse([]) == []


def test_phones_stand_between_spaces():
    vocabulary = Vocabulary.from_transcripts(["HH AH", "AH L"], spelled=False)
    assert vocabulary.tokens[4:] == ("AH", "HH", "L")
    assert not vocabulary.spelled
    assert vocabulary.text(vocabulary.encode("L AH HH")) == "L AH HH"


def test_unknown_letters_are_listed_with_counts_and_never_dropped():
    vocabulary = Vocabulary.from_transcripts(["AB"])
    assert vocabulary.unknown(["AXA", "BX!"]) == {"X": 2, "!": 1}
    with pytest.raises(ValueError, match=r"'X' 2, '!' 1; it has A B \|"):
        vocabulary.encode("AXXB!")
    phones = Vocabulary.from_transcripts(["AH"], spelled=False)
    with pytest.raises(ValueError, match="'<unk>' 1"):
        phones.encode("<unk> AH")


def test_a_fairseq_dictionary_has_its_four_tokens_before_its_lines(tmp_path):
    path = tmp_path / "dict.ltr.txt"
    path.write_text("| 94802\nE 51860\nT 38431\n")
    vocabulary = Vocabulary.read(path)
    assert vocabulary.tokens == (*FAIRSEQ, "|", "E", "T")
    path.write_text(vocabulary.fairseq_lines())
    assert Vocabulary.read(path) == vocabulary
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary


def test_hugging_faces_blank_is_its_pad(tmp_path):
    path = tmp_path / "vocab.json"
    values = {"a": 0, "|": 1, "[UNK]": 2, "[PAD]": 3}
    path.write_text(json.dumps(values))
    vocabulary = Vocabulary.read(path)
    assert vocabulary.tokens == ("a", "|", "[UNK]", "[PAD]") and vocabulary.blank == 3
    assert vocabulary.spelled and vocabulary.text([0, 1, 3, 0]) == "a a"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("dict.ltr.txt", "| 1\nE\n", "line 2 is 'E', not `token count`"),
        ("dict.ltr.txt", "| 1\nE x\n", "line 2"),
        ("dict.ltr.txt", "| 1\nE 1\nE 2\n", "'E' is there twice"),
        ("dict.ltr.txt", "<pad> 1\n", "'<pad>' is there twice"),
        ("vocab.json", '{"a": 0, "|": 2, "<pad>": 3}', "numbers from 0 on"),
        ("vocab.json", '{"eng": {"a": 0}}', "numbers from 0 on"),
        ("vocab.json", '{"a": 0, "|": 1}', r"no <pad> or \[PAD\], the blank of CTC"),
        ("vocab.json", '{"": 0, "<pad>": 1}', "not empty"),
        ("vocab.json", "{", "not valid JSON"),
    ],
)
def test_a_dictionary_of_another_form_is_named(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        Vocabulary.read(path)
    assert str(path) in str(error.value)


def test_a_stored_vocabulary_of_another_form_is_refused():
    for values in (None, {}, {"tokens": "abc"}, {"tokens": ["a", 1]}, {"tokens": ["a"] * 2}):
        with pytest.raises(ValueError):
            Vocabulary.from_dict(values)
    with pytest.raises(ValueError, match="number of no token"):
        Vocabulary.from_dict({"tokens": ["a", "b"], "blank": 7})
