import numpy as np
import pytest
import soundfile
import torch
import toy

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.distributed import World
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.online_probe import OnlineProbe
from mt4ssl_core.training.pretrain import pretrain
from mt4ssl_core.training.state import Training


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """60 clips of noise, high or low: the keyword; ten speakers, of whom nothing tells."""
    folder, random = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    lines = ["path,keyword,speaker"]
    for number in range(60):
        wave = 0.1 * random.normal(size=4_000)
        wave = np.diff(wave, prepend=0) if number % 2 else np.cumsum(wave) / 20
        soundfile.write(folder / f"{number}.wav", wave.clip(-1, 1), 16_000)
        lines.append(f"{number}.wav,{['low', 'high'][number % 2]},s{number % 10}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder / "index.csv"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"))


def test_what_is_in_the_audio_is_found_and_what_is_not_is_not(table, data, tmp_path):
    cfg = toy.configuration(data, tmp_path / "run")
    encoder = Training(cfg, World(0, 1, torch.device("cpu"))).model.eval().encoder
    before = torch.get_rng_state()
    found = OnlineProbe(str(table)).measure(encoder)
    assert torch.equal(torch.get_rng_state(), before)
    assert found == OnlineProbe(str(table)).measure(encoder)
    assert found["probe/keyword/best"] > 0.9 >= found["probe/keyword/last"] - 0.1
    assert found["probe/speaker/best"] < 0.6


def test_a_run_learns_the_same_with_and_without_it_and_goes_on_exactly(table, data, tmp_path):
    changes = {"optim__max_updates": 6, "run__validate_every": 3, "run__save_every": 3}
    plain = pretrain(toy.configuration(data, tmp_path / "plain", **changes))
    probed = toy.configuration(data, tmp_path / "probed", run__probe=table, **changes)
    whole = pretrain(probed)
    half = toy.configuration(data, tmp_path / "half", run__probe=table, **changes)
    first, second = (checkpoint.load(path) for path in (plain, whole))
    for part in ("encoder", "targets", "optimizer"):
        assert _text(first[part]) == _text(second[part])
    lines = [r for r in read_jsonl(tmp_path / "probed" / "log.jsonl") if "valid/loss" in r]
    assert len(lines) == 2 and all(0 <= r["valid/probe/keyword/last"] <= 1 for r in lines)
    (tmp_path / "half").mkdir()
    kept = tmp_path / "probed" / "previous.pt"  # update 3
    (tmp_path / "half" / "last.pt").write_bytes(kept.read_bytes())
    assert checkpoint.load(kept)["progress"]["update"] < 6
    again = checkpoint.load(pretrain(half))
    for part in ("encoder", "targets", "optimizer"):
        assert _text(again[part]) == _text(second[part])


def _text(value):
    """A state as something that can be compared, to the bit."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: _text(part) for key, part in value.items()}
    return value


@pytest.mark.parametrize(
    "text, told",
    [
        ("path\na.wav\n", "nothing to probe: expected a column keyword, label, speaker or gender"),
        ("path,keyword\n" + "a.wav,x\n" * 30, "nothing to probe"),
        ("file,keyword\na.wav,x\n", "no column path"),
        ("path,keyword,split\na.wav,x,other\n", "line 2: split 'other', expected train or test"),
    ],
)
def test_a_table_that_cannot_be_probed(tmp_path, text, told):
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(ValueError, match=r"index\.csv") as error:
        OnlineProbe(str(tmp_path / "index.csv"))
    assert told in str(error.value)


def test_audio_that_cannot_be_read_is_left_out_and_said(table, data, tmp_path):
    lines, told = table.read_text().splitlines(), []
    moved = [lines[0], *(f"{table.parent / line}" for line in lines[1:]), "gone.wav,low,s1"]
    (tmp_path / "index.csv").write_text("\n".join(moved) + "\n")
    encoder = (
        Training(toy.configuration(data, tmp_path / "run"), World(0, 1, torch.device("cpu")))
        .model.eval()
        .encoder
    )
    probe = OnlineProbe(str(tmp_path / "index.csv"), told.append)
    assert probe.measure(encoder) and probe.measure(encoder)
    assert len(told) == 1 and "1 of 61 utterances" in told[0] and "gone.wav" in told[0]
    (tmp_path / "index.csv").write_text(table.read_text())  # beside which there is no audio
    probe = OnlineProbe(str(tmp_path / "index.csv"), told.append)
    assert probe.measure(encoder) == probe.measure(encoder) == {}
    assert len(told) == 2 and "60 of 60 utterances" in told[1]


def test_a_probe_without_validation_is_refused(data, tmp_path, table):
    for change in ({"run__validate_every": 0}, {"data__valid_share": 0}):
        with pytest.raises(ValueError, match=r"run\.probe: it is measured at validations"):
            toy.configuration(data, tmp_path, run__probe=table, **change)
