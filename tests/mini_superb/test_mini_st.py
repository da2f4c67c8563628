"""The synthesised corpus of speech translation."""

import numpy as np
import soundfile
from superb_data import corpus

import mini_superb
from mini_superb import st


def test_both_languages_say_the_same_in_their_own_order():
    rng = np.random.default_rng(0)
    pairs = {st.translated(rng) for _ in range(300)}
    assert len({german for _, german in pairs}) == len({english for english, _ in pairs}) > 150
    inverted = [pair for pair in pairs if pair[0].startswith("Every sunday")]
    for english, german in inverted:
        (verb,) = [verb for verb in st.VERBS if f" {verb} " in english]
        assert german.startswith(f"Jeden Sonntag {st.VERBS[verb]} ")  # the verb comes second
    assert len(inverted) > 10
    assert all(text[0].isupper() and text[-1] == "." for pair in pairs for text in pair)


def test_no_constant_sentence_is_a_good_translation():
    import sacrebleu

    rng = np.random.default_rng(1)
    references = [st.translated(rng)[1] for _ in range(100)]
    constants = [st.translated(rng)[1] for _ in range(40)]
    scores = [sacrebleu.corpus_bleu([c] * 100, [references]).score for c in constants]
    assert max(scores) < 25


def test_clips_are_common_voices_and_always_the_same(tmp_path):
    paths = mini_superb.make(tmp_path, ["st"], size="tiny", jobs=2, progress=False)
    assert paths["st"] == {"root": tmp_path / "st", "data": tmp_path / "st" / "prepared"}
    clips = sorted((tmp_path / st.CLIPS).iterdir())
    assert {clip.suffix for clip in clips} == {".wav", ".mp3"} and len(clips) == 9 + 4 + 4
    assert {soundfile.info(clip).samplerate for clip in clips} == {48000}
    assert all(1 < soundfile.info(clip).duration < 6 for clip in clips)
    others = corpus("st").parent / st.CLIPS
    assert {c.name: c.read_bytes() for c in clips} == {
        c.name: c.read_bytes() for c in others.iterdir()
    }
    listed = (tmp_path / st.VALIDATED).read_text(encoding="utf-8").splitlines()
    translated = (tmp_path / st.TRANSLATIONS).read_text(encoding="utf-8").splitlines()
    assert len(listed) == len(translated) == 1 + 17
    assert {line.split("\t")[1] for line in listed[1:]} == {
        line.split("\t")[0] for line in translated[1:]
    }
