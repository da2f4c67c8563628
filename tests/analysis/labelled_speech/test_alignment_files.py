"""analysis/labelled_speech/alignment_files.py: every kind of file to one record."""

import json

import pytest

from analysis.labelled_speech import alignment_files, alignments
from analysis.labelled_speech.alignments import PHONES, WORDS, Alignment, Interval

PHONE_ROWS = [(0.0, 0.1, ""), (0.1, 0.25, "æ"), (0.25, 0.5, 'b"\u0303'), (0.5, 0.6, "")]
WORD_ROWS = [(0.0, 0.1, ""), (0.1, 0.5, "ab"), (0.5, 0.6, "")]


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def long_form(tiers, xmin=0.0, xmax=0.6):
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += [f"xmin = {xmin} ", f"xmax = {xmax} ", "tiers? <exists> ", f"size = {len(tiers)} "]
    lines += ["item []: "]
    for place, (name, rows) in enumerate(tiers, 1):
        lines += [f"    item [{place}]:", '        class = "IntervalTier" ',
                  f"        name = {quoted(name)} ", f"        xmin = {xmin} ",
                  f"        xmax = {xmax} ", f"        intervals: size = {len(rows)} "]  # fmt: skip
        for number, (start, end, label) in enumerate(rows, 1):
            lines += [f"        intervals [{number}]:", f"            xmin = {start} "]
            lines += [f"            xmax = {end} ", f"            text = {quoted(label)} "]
    return "\n".join(lines) + "\n"


def short_form(tiers, xmin=0.0, xmax=0.6):
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", xmin, xmax, "<exists>",
             len(tiers)]  # fmt: skip
    for name, rows in tiers:
        lines += ['"IntervalTier"', quoted(name), xmin, xmax, len(rows)]
        lines += [part for start, end, label in rows for part in (start, end, quoted(label))]
    return "\n".join(map(str, lines)) + "\n"


TIERS = [("phones", PHONE_ROWS), ("words", WORD_ROWS)]


def labelled(rows):
    return tuple(Interval(*row) for row in rows if row[2])


def written(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("form", [long_form, short_form])
def test_textgrid(tmp_path, form, encoding):
    path = written(tmp_path / "utt.TextGrid", form(TIERS), encoding)
    found = alignment_files.read_textgrid(path)
    assert found == Alignment(
        "utt", {"phones": labelled(PHONE_ROWS), "words": labelled(WORD_ROWS)}, 0.6, str(path)
    )
    crlf = written(tmp_path / "crlf.TextGrid", form(TIERS).replace("\n", "\r\n"), encoding)
    assert alignment_files.read_textgrid(crlf).tiers == found.tiers


def test_textgrid_as_other_programs_write_it(tmp_path):
    """Line breaks in labels, points, a missing colon, old headers, comments, rounding at 0."""
    text = """File type = "ooTextFile short"
"TextGrid"

-1e-17 ! not 5 or "5"
0.6
<exists>
3
"TextTier" "tones"
0 0.6
2
0.1 "H
1"
0.2 "5"
"IntervalTier" "my ""phones"" here"
0
0.6
2
-1e-17 .3 "A
12"
3e-1 0.6 ""
"IntervalTier" "none" 0 0.6 0
"""
    found = alignment_files.read_textgrid(written(tmp_path / "a.TextGrid", text))
    assert found.tiers == {'my "phones" here': (Interval(0, 0.3, "A 12"),), "none": ()}
    text = long_form(TIERS).replace("item [", "item[").replace("]:\n", "]\n")
    assert alignment_files.read_textgrid(written(tmp_path / "b.TextGrid", text)).tiers["words"]
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n0.6\n<absent>\n'
    empty = alignment_files.read_textgrid(written(tmp_path / "c.TextGrid", text))
    with pytest.raises(ValueError, match=r"c.TextGrid: c: no tier 'phones'; .* none with interval"):
        empty.tier("phones")


def test_textgrids_that_are_none(tmp_path):
    def refused(text, match, encoding="utf-8"):
        with pytest.raises(ValueError, match=match):
            alignment_files.read_textgrid(written(tmp_path / "x.TextGrid", text, encoding))

    refused("hello", r"x.TextGrid: not a TextGrid in text form; save it in Praat as a text file")
    refused('File type = "ooTextFile"\nObject class = "Pitch 1"\n', "not a TextGrid")
    whole = short_form(TIERS)
    refused(whole[: len(whole) // 2].rsplit("\n", 1)[0], r"breaks off.*end of file.*save it in Pra")
    refused(whole.replace("0.25", '"0.25"', 1), r"text where a number belongs \('0.25'\)")
    refused(whole.replace('"æ"', "7", 1), r"breaks off, or has text where a number belongs \(7\)")
    refused(short_form(TIERS, xmin=1.5), r"begins at 1.5 s, expected 0; shift its times")
    refused(short_form(TIERS * 2), "two tiers are named 'phones'; rename one")
    refused("é", r"byte 0 is not utf-8-sig, expected UTF-8 or UTF-16; save the file as", "latin-1")
    with pytest.raises(ValueError, match=r"no.TextGrid: No such file.*; give an alignment file"):
        alignment_files.read_textgrid(tmp_path / "no.TextGrid")


def test_ctm(tmp_path):
    text = """;; utt ch start dur label conf
u2 1 0.30 0.10 c 0.9
u1 1 0.00 0.20 a
u2 1 0.10 0.20 b 0.8 lex speaker
u1 1 0.19 0.00 silent
u1 1 0.20 0.15 b"""
    path = written(tmp_path / "all.ctm", text)
    found = alignment_files.read_ctm(path, tier=PHONES)
    assert list(found) == ["u2", "u1"]
    assert found["u1"].tiers == {PHONES: (Interval(0, 0.2, "a"), Interval(0.2, 0.2 + 0.15, "b"))}
    # 0.1 + 0.2 is above 0.3, which is no overlap
    assert found["u2"].tiers[PHONES] == (Interval(0.1, 0.3, "b"), Interval(0.3, 0.4, "c"))
    assert found["u1"].duration is None
    assert list(alignment_files.read_ctm(path)["u1"].tiers) == [WORDS]


def test_ctms_of_phones_and_of_words_are_one_alignment(tmp_path):
    written(tmp_path / "a" / "train_phones.ctm", "u 1 0 0.1 AH")
    written(tmp_path / "a" / "words.ctm", "u 1 0 0.1 a")
    found = alignment_files.read(tmp_path / "a")["u"]
    assert (found.tier(PHONES)[0].label, found.tier(WORDS)[0].label) == ("AH", "a")


def test_ctms_that_are_none(tmp_path):
    def refused(text, match, **options):
        with pytest.raises(ValueError, match=match):
            alignment_files.read_ctm(written(tmp_path / "x.ctm", text), **options)

    refused("u 1 0.1 0.2 a\nu 1 0.3 b\n", r"x.ctm, line 2: 'u 1 0.3 b', expected utterance, chann")
    refused("u 1 * * <ALT_BEGIN>", r"line 1: .* start, duration and label; correct it")
    refused("u A 0 1 a\nu B 0 1 b", r"line 2: u has channels A and B; choose one with channel=")
    refused(";; nothing", r"x.ctm: no line; give another file or channel")
    refused("u A 0 1 a", r"no line of channel B", channel="B")
    both = written(tmp_path / "both.ctm", "u A 0 1 a\nu B 0 1 b")
    assert alignment_files.read_ctm(both, channel="B")["u"].tier(WORDS)[0].label == "b"


def test_timit(tmp_path):
    written(tmp_path / "FCJF0/SA1.PHN", "0 3050 h#\n3050 4559 sh\n4559 5723 ix\n")
    path = written(tmp_path / "FCJF0/SA1.WRD", "3050 5723 she\n")
    found = alignment_files.read_timit(path)
    assert found.tiers[PHONES][1] == Interval(3050 / 16000, 4559 / 16000, "sh")
    assert found.tiers[WORDS] == (Interval(3050 / 16000, 5723 / 16000, "she"),)
    assert alignment_files.read_timit(path.with_suffix(".PHN")).tiers == found.tiers
    assert list(alignment_files.read(tmp_path)) == ["FCJF0/SA1"]
    alone = written(tmp_path / "alone.wrd", "0 160 a\n")
    assert list(alignment_files.read_timit(alone).tiers) == [WORDS]
    broken = alignment_files.read_timit(written(tmp_path / "bad.phn", "0 5 a\n5 b\n"))
    with pytest.raises(ValueError, match=r"bad.phn, line 2: '5 b', expected first sample, last s"):
        broken.tier(PHONES)


def test_mini_superb(tmp_path):
    from mini_superb.corpus import _finish

    lines = [
        {"path": "pr/a/b.flac", "split": "train", "speaker": "s", "text": "at", "samples": 9600,
         "phones": [[0.1, "ˈæ"], [0.2, "t"], [0.25, "t"], [0.25, "_"], [0.4, "_"]], "end": 0.4},
        {"path": "pr/noise.wav", "split": "train", "speaker": None, "text": "", "samples": 800,
         "phones": [], "end": 0.0},
    ]  # fmt: skip
    _finish(tmp_path, "pr", lines)  # as the corpora write them
    path = tmp_path / "alignments/pr.jsonl"
    found = alignment_files.read_mini_superb(path)
    assert list(found) == ["pr/a/b", "pr/noise"]
    one = found["pr/a/b"]
    assert one.tiers == {
        PHONES: (Interval(0.1, 0.2, "ˈæ"), Interval(0.2, 0.25, "t"), Interval(0.25, 0.4, "_"))
    }
    assert one.duration == 0.6
    assert alignments.frame_labels(found["pr/noise"], PHONES, 800).tolist() == ["", ""]
    with pytest.raises(
        ValueError, match=r"pr.jsonl: pr/a/b: no tier 'words'; choose from 'phones'"
    ):
        one.tier(WORDS)
    for broken in ("{", '{"path": "a.wav", "samples": 5, "end": 0}', '{"path": 5}', "[]"):
        path = written(tmp_path / "x.jsonl", f"{json.dumps(lines[0])}\n\n{broken}\n")
        with pytest.raises(ValueError, match=r"x.jsonl, line 3: expected path, samples, phones an"):
            alignment_files.read_mini_superb(path)


def test_small_overlaps_are_cut(tmp_path):
    text = "u 1 0.10 0.11 a\nu 1 0.20 0.10 b\n"
    found = alignment_files.read_ctm(written(tmp_path / "x.ctm", text))["u"].tiers[WORDS]
    assert found == (Interval(0.1, 0.2, "a"), Interval(0.2, 0.2 + 0.1, "b"))
    path = written(tmp_path / "y.ctm", "u 1 0.10 0.14 a\nu 1 0.20 0.10 b\n")
    assert alignment_files.read_ctm(path)["u"].overlap(WORDS) == pytest.approx(0.04)
    assert alignment_files.read_ctm(path, overlap=0.05)["u"].tiers[WORDS][0].end == 0.2
    assert alignment_files.read(path, overlap=0.05)["u"].tiers[WORDS][0].end == 0.2


def test_read_a_folder(tmp_path):
    written(tmp_path / "s1/u1.TextGrid", short_form(TIERS))
    written(tmp_path / "s2/u1.TextGrid", long_form(TIERS), "utf-16")
    written(tmp_path / "more.ctm", "u9 1 0 1 a\n")
    written(tmp_path / "notes.txt", "no alignment")
    found = alignment_files.read(tmp_path)
    assert sorted(found) == ["s1/u1", "s2/u1", "u9"]
    assert found["s2/u1"].id == "s2/u1"
    assert list(alignment_files.read(tmp_path / "s1/u1.TextGrid")) == ["u1"]
    written(tmp_path / "again.ctm", "u9 1 0 1 a\n")
    with pytest.raises(ValueError, match=r"u9 is in .*again.ctm and in .*more.ctm; keep one"):
        alignment_files.read(tmp_path)
    with pytest.raises(ValueError, match=r"notes.txt: unknown kind of alignment; give one of .tex"):
        alignment_files.read(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no alignments \(looked for .textgrid, .ctm"):
        alignment_files.read(tmp_path / "empty")
