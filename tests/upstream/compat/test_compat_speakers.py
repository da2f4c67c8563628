"""Patches for the ASV and the QbE expert."""

import multiprocessing
import os
from types import SimpleNamespace

import pytest
import torch

from upstream import compat
from upstream.door import cache

compat.install_for("sv_voxceleb1")
compat.install_for("quesst14_dtw")

from s3prl.downstream.quesst14_dtw import expert as qbe_expert  # noqa: E402
from s3prl.downstream.sv_voxceleb1 import dataset as asv_dataset  # noqa: E402
from s3prl.downstream.sv_voxceleb1.expert import DownstreamExpert  # noqa: E402

from upstream.compat import asv_expert, asv_lengths, qbe_workers  # noqa: E402


@pytest.fixture
def speakers(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))
    for root in ("a", "b"):
        (tmp_path / root / "id10001").mkdir(parents=True)
    return tmp_path


def test_every_root_has_its_own_list_which_is_new_when_a_speaker_changes(speakers):
    first = asv_lengths.folder([speakers / "a"])
    assert first == asv_lengths.folder([speakers / "a"])
    assert first != asv_lengths.folder([speakers / "b"])
    assert first.is_relative_to(cache.folder())
    os.utime(speakers / "a" / "id10001", (1, 1))
    assert first != asv_lengths.folder([speakers / "a"])
    with pytest.raises(ValueError, match="no folders of speakers"):
        asv_lengths.folder([speakers])


def test_an_interrupted_list_is_not_kept(speakers, monkeypatch):
    place, seen = asv_dataset.__file__, []

    def stopped(self, vad_config, key_list, file_path, *rest, n_jobs):
        seen.append((asv_dataset.__file__, n_jobs))
        raise KeyboardInterrupt

    init = asv_lengths._redirect(asv_dataset, stopped)
    with pytest.raises(KeyboardInterrupt):
        init(SimpleNamespace(), {}, ["V"], [speakers / "a"])
    assert asv_dataset.__file__ == place
    assert seen[0][0].startswith(str(speakers / "cache"))
    assert seen[0][1] == qbe_workers.processes()
    assert list(asv_lengths.folder([speakers / "a"]).iterdir()) == []


def test_the_mask_goes_where_the_features_are_and_cuda_is_left_alone_after():
    def forward(self, mode, features):
        return features[0] + torch.ones(2).cuda()

    before = torch.Tensor.cuda
    found = asv_expert._anywhere(forward)(None, "train", [torch.zeros(2)])
    assert found.tolist() == [1, 1]
    assert torch.Tensor.cuda is before
    with pytest.raises(IndexError):
        asv_expert._anywhere(forward)(None, "train", [])
    assert torch.Tensor.cuda is before


@pytest.mark.parametrize("mode", ["dev", "test"])
def test_each_split_is_scored_on_its_own_trials(mode, tmp_path):
    expert = DownstreamExpert.__new__(DownstreamExpert)
    torch.nn.Module.__init__(expert)
    vectors = {f"{split}{k}": torch.eye(3)[k % 2] for split in ("dev", "test") for k in range(4)}
    for split in ("dev", "test"):
        pairs = [["1", f"{split}0", f"{split}2"], ["0", f"{split}0", f"{split}1"]]
        setattr(expert, f"{split}_dataset", SimpleNamespace(pair_table=pairs))
    expert.score_fn, expert.expdir = torch.nn.CosineSimilarity(dim=-1), str(tmp_path)
    expert.eval_metric = lambda labels, scores: (float(scores[labels == 1].mean()), None)
    expert.best_score = torch.ones(1) * 100
    records = {name: v for name, v in vectors.items() if name.startswith(mode)}
    records |= {"scores": [], "pair_names": []}
    logged = {}
    logger = SimpleNamespace(add_scalar=lambda name, value, **_: logged.update({name: value}))
    expert.log_records(mode, records, logger=logger, global_step=1)
    assert logged == {f"sv-voxceleb1/{mode}-EER": 1.0}
    truth = (tmp_path / f"{mode}_truth.txt").read_text().split()
    assert truth[1::2] == ["1", "0"]
    assert expert.test_dataset.pair_table[0][1] == "test0"


def twice(number):
    from s3prl.downstream.quesst14_dtw import dataset

    return number * 2, dataset.__name__


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_have_the_patches_however_they_start(method):
    assert qbe_expert.ProcessPoolExecutor is qbe_workers.Workers
    with qbe_workers.Workers(1, multiprocessing.get_context(method)) as workers:
        assert workers.submit(twice, 4).result() == (8, "s3prl.downstream.quesst14_dtw.dataset")


def test_number_of_workers(monkeypatch):
    monkeypatch.delenv(qbe_workers.CORES, raising=False)
    assert qbe_workers.processes() == len(os.sched_getaffinity(0))
    monkeypatch.setenv(qbe_workers.CORES, "3")
    assert qbe_workers.processes() == 3
    with qbe_workers.Workers() as workers:
        assert workers._max_workers == 3
    monkeypatch.setenv(qbe_workers.CORES, "many")
    with pytest.raises(ValueError, match="MT4SSL_CORES is 'many'"):
        qbe_workers.processes()
