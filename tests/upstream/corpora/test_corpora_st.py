# ruff: noqa: RUF001 - characters that look alike are what one of them is about
"""CoVoST: what is counted, what is complained about, what is prepared from it."""

import csv
import shutil

import numpy as np
import pytest
import sentencepiece
import soundfile
import superb_data
import yaml

from upstream import corpora
from upstream.corpora import st
from upstream.corpora.punctuation import ascii_punctuation
from upstream.door import tasks
from upstream.fairseq_shim.dictionary import Dictionary

HEADER = tasks.header("st")
SENTENCES = {  # clip: English, German, split
    "common_voice_en_1.mp3": ("“Don't!” he said.", "„Nicht!“, sagte er.", "train"),
    "common_voice_en_2.wav": ("It's a well-known fact.", "Das ist bekannt.", "train_covost"),
    "common_voice_en_3.wav": ("Yes", "Eins zwei drei vier fünf sechs", "train"),  # too uneven
    "common_voice_en_4.wav": ("Not here.", "Nicht da.", "train"),  # no such clip
    "common_voice_en_5.wav": ("A test.", "Ein Test.", "dev"),
    "common_voice_en_6.wav": ("Another test.", "Noch ein Test.", "test"),
    "common_voice_en_7.wav": ("No use.", "Nutzlos.", "dev_covost"),
}


@pytest.fixture
def corpus(tmp_path):
    clips = tmp_path / "cv-corpus-4" / "en" / "clips"
    clips.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(0, 0.1, 4800)
    for number, clip in enumerate(SENTENCES):
        if "_4" not in clip:
            soundfile.write(clips / clip, noise[: 4800 - 480 * number], 48000)
    listed = ["client_id\tpath\tsentence\tage"]
    listed += [f"x\t{clip}\t{english}\t" for clip, (english, _, _) in SENTENCES.items()]
    listed.append("x\tcommon_voice_en_9.wav\tNot translated.\t")
    (clips.parent / st.VALIDATED).write_text("\n".join(listed) + "\n", encoding="utf-8")
    lines = ["path\ttranslation\tsplit"]
    lines += [f"{clip}\t{german}\t{split}" for clip, (_, german, split) in SENTENCES.items()]
    lines.append("common_voice_en_8.wav\tNicht bestätigt.\ttrain")
    (tmp_path / st.TRANSLATIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def rows(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def survey(root):
    return corpora.survey("st", root, HEADER)


def test_counts_and_missing_clips(corpus):
    found = survey(corpus)
    assert found.counts == {"train": 3, "dev": 1, "test": 1}
    assert found.hours == pytest.approx(5 * 0.08 / 3600, rel=0.3)
    (problem,) = found.problems
    assert "1 clips of split train are missing, such as common_voice_en_4.wav" in problem


def test_everything_wrong_is_said_at_once(corpus):
    clips = corpus / "cv-corpus-4" / "en" / "clips"
    soundfile.write(clips / "common_voice_en_5.wav", np.zeros(1600), 16000)
    (clips / "common_voice_en_6.wav").write_text("no audio")
    text = "\n".join(survey(corpus).problems)
    for part in ("en_4.wav", r"en_5.wav: 16000 Hz, the corpus has 48000", "en_6.wav: not readable"):
        assert part in text
    with pytest.raises(ValueError, match=r"en_6\.wav: not readable as audio; get them again"):
        corpora.prepare("st", corpus)
    (corpus / st.TRANSLATIONS).unlink()
    shutil.rmtree(clips)
    text = "\n".join(survey(corpus).problems)
    assert "covost_v2.en_de.tsv: no such file; get it from https://dl.fbaipublicfiles.com" in text
    assert "no folder with validated.tsv and clips in it" in text
    with pytest.raises(ValueError, match=r"(?s)no such file.*no folder with validated\.tsv"):
        corpora.prepare("st", corpus)
    assert "no such folder" in survey(corpus / "gone").problems[0]


def test_a_corpus_of_another_version(corpus):
    path = corpus / st.TRANSLATIONS
    text = path.read_text()
    path.write_text(text.replace("translation", "text", 1))
    with pytest.raises(ValueError, match="no column translation in its first line"):
        corpora.prepare("st", corpus)
    path.write_text(text.replace("\ttest", "\tother"))
    assert any("no sentence of split test" in problem for problem in survey(corpus).problems)
    with pytest.raises(ValueError, match="no clip of split test"):
        corpora.prepare("st", corpus)


def test_the_tsv_files_are_those_of_superbs_scripts(corpus):
    corpora.prepare("st", corpus)
    train = rows(corpus / "prepared" / "train.tsv")
    assert tuple(train[0]) == st.COLUMNS
    # the shortest first; the uneven pair and the missing clip are left out
    assert [row["id"] for row in train] == ["common_voice_en_2", "common_voice_en_1"]
    assert (train[0]["n_frames"], train[0]["sr"]) == ("4320", "48000")
    assert train[0]["src_text"] == "it's a well-known fact"
    assert train[1]["src_text"] == "don't he said"
    assert train[1]["tgt_text"] == '"Nicht!", sagte er.'
    assert int(train[1]["n_frames"]) == len(
        soundfile.read(corpus / "cv-corpus-4/en/clips/common_voice_en_1.mp3")[0]
    )
    assert [row["tgt_text"] for row in rows(corpus / "prepared" / "dev.tsv")] == ["Ein Test."]


def test_vocabularies_are_of_characters_numbered_as_fairseq_numbers_them(corpus):
    corpora.prepare("st", corpus)
    folder = corpus / "prepared"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["audio_root"] == str(corpus / "cv-corpus-4" / "en" / "clips")
    pieces = sentencepiece.SentencePieceProcessor(
        model_file=config["bpe_tokenizer"]["sentencepiece_model"]
    )
    symbols = Dictionary.load(folder / config["vocab_filename"])
    assert symbols.symbols == [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    sentence = "Das ist bekannt."
    cut = pieces.encode(sentence, out_type=str)
    assert cut[:4] == ["▁", "D", "a", "s"] and len(cut) == len(sentence) + 1
    line = symbols.encode_line(" ".join(cut), add_if_not_exist=False)
    assert 3 not in line and symbols.string(line, "sentencepiece") == sentence
    assert (folder / "spm-src_text.txt").is_file() and (folder / "spm-src_text.model").is_file()


def test_preparing_again_does_nothing_until_the_corpus_changes(corpus):
    corpora.prepare("st", corpus)
    path = corpus / "prepared" / "train.tsv"
    before = path.stat().st_mtime_ns
    corpora.prepare("st", corpus)
    assert path.stat().st_mtime_ns == before
    clips = corpus / "cv-corpus-4" / "en" / "clips"
    soundfile.write(clips / "common_voice_en_4.wav", np.zeros(480), 48000)
    corpora.prepare("st", corpus)
    assert len(rows(path)) == 3
    moved = corpus.rename(corpus.with_name("moved"))
    corpora.prepare("st", moved)
    assert str(moved) in (moved / "prepared" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "en",
            "“Well” ( he said ) :  `yes´ – no—never…",
            "\"Well\" (he said): 'yes' - no - never...",
        ),
        ("en", 'He said "no", and "yes".', 'He said "no," and "yes."'),
        ("de", "„Nein,“ sagte er, „nie“.", '"Nein", sagte er, "nie".'),
        ("de", "«Ja»\u00a0! 5\u00a0% von 10\u00a0000 ;", '"Ja"! 5% von 10,000;'),
        ("en", "10\u00a0000 ，１。\u200b", "10.000 ,1."),
    ],
)  # as sacremoses 0.2.0 gives them
def test_punctuation(language, text, expected):
    assert ascii_punctuation(text, language) == expected


def test_the_synthesised_corpus_is_whole():
    root = superb_data.corpus("st")
    found = survey(root)
    assert found.problems == [] and found.counts == {"train": 9, "dev": 4, "test": 4}
    paths = tasks.paths_under(HEADER, root)
    assert paths == {"downstream_expert.taskrc.data": str(root / "prepared")}
    by_split = {split: rows(root / "prepared" / f"{split}.tsv") for split in st.SPLITS}
    assert {row["sr"] for split in by_split.values() for row in split} == {"48000"}
    assert all(row["audio"].endswith(".mp3") for row in by_split["test"])
    first = by_split["train"][0]
    assert first["src_text"] == first["src_text"].lower() and first["tgt_text"].endswith(".")
