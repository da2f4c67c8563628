"""What stands for the audio when labelling a large corpus is measured."""

from benchmarks import labelling, manifest


def test_a_corpus_without_audio_is_labelled_over_an_interruption(tmp_path):
    manifest.write_corpus(tmp_path, 60)
    stats = labelling.label(tmp_path, 60)
    assert (stats["utterances"], stats["failed"]) == (60, 0)
    rows = (tmp_path / "labels" / "train.km").read_text().splitlines()
    listed = (tmp_path / "x.km").read_text().splitlines()
    assert [len(row.split()) for row in rows] == [len(row.split()) for row in listed]
