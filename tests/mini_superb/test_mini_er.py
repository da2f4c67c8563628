import re
from collections import Counter

import numpy as np
import soundfile
from superb_data import corpus

from mini_superb import er


def test_ten_people_in_five_sessions_as_in_the_real_corpus():
    base = corpus("er") / er.CORPUS
    people = set()
    for number in range(1, 6):
        session = base / f"Session{number}"
        judged = {}
        for file in (session / "dialog" / "EmoEvaluation").glob("*.txt"):
            assert re.fullmatch(rf"Ses0{number}[FM]_(impro|script)\d\d(_\d)?\.txt", file.name)
            for turn, emotion in re.findall(r"^\[.*?\]\t(\S+)\t(\w{3})\t", file.read_text(), re.M):
                assert turn.startswith(file.stem)
                judged[turn] = emotion
        wavs = {path.stem: path for path in session.glob("sentences/wav/*/*.wav")}
        assert wavs.keys() == judged.keys()
        assert all(path.parent.name == turn[:-5] for turn, path in wavs.items())
        assert {soundfile.info(path).samplerate for path in wavs.values()} == {16000}
        each = Counter(er.COUNTS["tiny"].emotions)
        assert Counter(judged.values()) == each + each  # a woman and a man
        people |= {(number, turn[-4]) for turn in judged}
    assert len(people) == 10


def test_no_word_and_no_speaker_gives_the_emotion_away():
    plan = er.plan(0, "default")
    assert len(plan.clips) <= 800
    emotions = {}
    for text in plan.texts.values():
        emotions |= dict(re.findall(r"^\[.*?\]\t(\S+)\t(\w{3})\t", text, re.M))
    by_person = {}
    for clip in plan.clips:
        turn = clip.path.rsplit("/", 1)[1].removesuffix(".wav")
        by_person.setdefault(clip.speaker.name, Counter())[emotions[turn]] += 1
    assert len(by_person) == 10
    assert all(counts == er.COUNTS["default"].emotions for counts in by_person.values())
    levels = {
        emotion: np.mean([c.scene.level_db for c in plan.clips if emotions[_turn(c)] == emotion])
        for emotion in ("ang", "neu", "sad")
    }
    assert levels["ang"] > levels["neu"] + 5 > levels["sad"] + 8


def _turn(clip):
    return clip.path.rsplit("/", 1)[1].removesuffix(".wav")
