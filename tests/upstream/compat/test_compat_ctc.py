"""The corpora and vocabularies that s3prl's CTC tasks look for."""

import numpy as np
import pytest
import soundfile

from upstream import compat

compat.install_for("ctc")
from s3prl.downstream.ctc.text import load_text_encoder  # noqa: E402

from upstream.compat import ctc_common_voice, ctc_corpus, ctc_letters, ctc_snips  # noqa: E402

LINES = {
    "Ivy-snips-train-0": "BOS PLAY BOB DYLAN EOS\tO O artist artist PlayMusic",
    "Joey-snips-train-1": "BOS PARIS EOS\tO city GetWeather",
    "Zed-snips-train-2": "BOS PARIS EOS\tO city GetWeather",
}


@pytest.fixture
def snips(tmp_path):
    ctc_snips._transcripts.cache_clear()
    ctc_snips._audio.cache_clear()
    (tmp_path / "train").mkdir()
    for name in LINES:
        soundfile.write(tmp_path / "train" / f"{name}.wav", np.zeros(1600), 16000)
    text = "".join(f"{name} {line}\n" for name, line in LINES.items())
    (tmp_path / "all.iob.snips.txt").write_text(text)
    (tmp_path / "slots.txt").write_text("O\nartist\ncity\n")
    return tmp_path


def tokenizer(root):
    return load_text_encoder("character-slot", "letters", slots_file=str(root / "slots.txt"))


def dataset(root, bucket_size=1):
    from s3prl.downstream.ctc.corpus.snips import SnipsDataset

    speakers = {"train_speakers": ["Ivy", "Joey"], "valid_speakers": ["Amy"]}
    return SnipsDataset(["train"], tokenizer(root), bucket_size, path=root, **speakers, ratio=1)


def test_letters_are_29_with_the_specials_and_slots_come_behind(snips):
    plain = load_text_encoder("character", "letters")
    assert plain.vocab_size == 3 + 28
    assert plain.decode(plain.encode("IT'S ME")) == "IT'S ME"
    with_slots = tokenizer(snips)
    assert with_slots.vocab_size == 3 + 28 + 4  # the empty last line is no slot
    for mode in ("word", "character-slot"):
        with pytest.raises(ValueError, match="goes with mode: character"):
            load_text_encoder(mode, "letters")
    (snips / "v.txt").write_text("A\nB\n")
    assert load_text_encoder("character", str(snips / "v.txt")).vocab_size == 5
    assert load_text_encoder("word", "arpabet").vocab_size == 74
    assert ctc_letters.install() is False


def test_snips_of_the_splits_speakers_longest_first(snips):
    made, text = dataset(snips), tokenizer(snips)
    assert [path.rsplit("/", 1)[1][:3] for path, _ in made] == ["Ivy", "Joe"]
    assert text.decode(made[0][1]) == "PLAY B-artist BOB DYLAN E-artist"
    assert text.decode(made[1][1]) == "B-city PARIS E-city"
    assert made[1][1][-1] == text.eos_idx
    assert [len(dataset(snips, 2)[index]) for index in range(2)] == [2, 2]


def test_problems_of_snips_are_named(snips):
    (snips / "slots.txt").write_text("O\nartist\n")
    with pytest.raises(ValueError, match=r"Joey-snips-train-1\.wav: its slot 'city' is not in"):
        dataset(snips)
    text = (snips / "all.iob.snips.txt").read_text()
    (snips / "all.iob.snips.txt").write_text(text.replace("Ivy-", "Eve-"))
    ctc_snips._transcripts.cache_clear()
    with pytest.raises(ValueError, match=r"Ivy-snips-train-0\.wav.*has no line for it"):
        dataset(snips)
    (snips / "all.iob.snips.txt").unlink()
    ctc_snips._transcripts.cache_clear()
    with pytest.raises(ValueError, match=r"all\.iob\.snips\.txt: no such file.*--root"):
        dataset(snips)


def test_snips_without_a_speaker_of_the_split(snips):
    from s3prl.downstream.ctc.corpus.snips import SnipsDataset

    with pytest.raises(ValueError, match=r"train: no \.wav of the speakers Amy"):
        SnipsDataset(["train"], tokenizer(snips), 1, path=snips, train_speakers=["Amy"])


@pytest.fixture
def voices(tmp_path):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(1600), 16000)
    (tmp_path / "train.tsv").write_text("path\tsentence\nb.wav\tHOLA\na.wav\tA\n")
    return tmp_path


def common_voice(root, bucket_size=1):
    from s3prl.downstream.ctc.corpus.common_voice import CommonVoiceDataset

    letters = load_text_encoder("character", "letters")
    return CommonVoiceDataset([str(root / "train.tsv")], letters, bucket_size, path=root, ratio=1)


def test_common_voice_in_the_order_of_its_list(voices):
    made = common_voice(voices)
    assert [path for path, _ in made] == [str(voices / "b.wav"), str(voices / "a.wav")]
    assert len(made[0][1]) == 5
    assert len(common_voice(voices, 2)[1]) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("path\tsentence\nb.wav HOLA\n", r"line 2: expected PATH, a tab and a sentence"),
        ("path\tsentence\nb.wav\t\n", r"line 2: expected PATH"),
        ("path\tsentence\nc.wav\tHOLA\n", r"line 2: .*c\.wav is not there"),
        ("path\tsentence\n", "lists no utterance"),
        (None, "no such list; make it with: mt4ssl superb prepare --tasks ood"),
    ],
)
def test_problems_of_lists_are_named(voices, lines, message):
    if lines is None:
        (voices / "train.tsv").unlink()
    else:
        (voices / "train.tsv").write_text(lines)
    with pytest.raises(ValueError, match=message):
        common_voice(voices)
    assert ctc_common_voice.install() is False


@pytest.mark.parametrize(
    ("phone", "vocabulary", "found"),
    [
        ("IH1", ("IH0", "IH1"), "IH1"),
        ("IH", ("IH0", "IH1", "IH2"), "IH0"),  # no stress is none
        ("ih", ("IH0", "IH1"), "IH0"),
        ("sh", ("SH", "IH0"), "SH"),
        ("ih2", ("IH1", "IH2"), "IH2"),
        ("IH1", ("IH", "SH"), "IH"),  # a vocabulary without stress
        ("ix", ("IH0", "SH"), None),  # of TIMIT's 61
        ("h#", ("IH0", "SH"), None),
        ("", ("IH0",), None),
    ],
)
def test_phones_are_found_however_their_stress_is_written(phone, vocabulary, found):
    assert ctc_corpus.spelled(phone, vocabulary) == found
