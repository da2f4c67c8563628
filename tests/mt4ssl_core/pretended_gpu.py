"""A GPU that only pretends: it has shapes and types, and no values.

Run as a program: it makes its checks and writes what failed. Tensors of the CPU are real. An
operation that mixes devices raises, and so does one that asks the device for a value, for which a
program would wait. (A process of its own: torch can forget no device.)
"""

import json
import sys
import tempfile
import traceback
from pathlib import Path
from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1]))
import toy

NAME = "pretended"


class Backend(backend_registration._DummyBackendModule):
    """What torch wants of a device's module."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
DEVICE = torch.device(NAME, 0)


class Pretended(TorchDispatchMode):
    """Run what touches the device on shapes alone, and everything else as it is."""

    def __init__(self):
        super().__init__()
        self.shapes = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if str(function).startswith("aten._ctc_loss.") and isinstance(args[0], FakeTensor):
            frames, batch, _ = args[0].shape  # torch asks the lengths for no more than a width
            return args[0].new_empty(batch), args[0].new_empty(batch, frames, 1)
        if str(function).startswith("aten._ctc_loss_backward."):
            return torch.empty_like(args[1])
        device = kwargs.get("device")
        there = device is not None and torch.device(device).type == NAME
        if there or any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs))):
            with self.shapes:
                return function(*args, **kwargs)
        return function(*args, **kwargs)


def updates(**changes):
    """Two updates of two micro-batches: both targets, a third one, padding, LayerDrop, clipping."""
    from mt4ssl_core.distributed import World
    from mt4ssl_core.training import pretrain
    from mt4ssl_core.training.loaders import open_data
    from mt4ssl_core.training.state import Training

    folder = Path(tempfile.mkdtemp())
    more = {"offline__visible_weight": 0.5, "random_projection": "{}", "optim__clip_norm": 1.0}
    corpus = toy.corpus(folder, utterances=12)
    more |= changes
    cfg = toy.configuration(corpus, folder / "run", **more)
    training = Training(cfg, World(0, 1, DEVICE))
    training.model.train()
    loader, *_ = open_data(cfg, training.model, training.world)
    watched(training, loader, lambda run, micro: pretrain.update(run, micro, 100.0))


def fine_tuning():
    """Two updates of CTC, with frames and channels hidden."""
    import finetuning_runs

    from mt4ssl_core.distributed import World
    from mt4ssl_core.finetuning import finetune, speech
    from mt4ssl_core.finetuning.state import Finetuning, first_encoder

    folder = Path(tempfile.mkdtemp())
    cfg = finetuning_runs.configuration(finetuning_runs.corpus(folder), folder / "run")
    parts = speech.read_speech(cfg)
    vocabulary, start = speech.find_vocabulary(cfg, parts, None), first_encoder(cfg, None)
    speech.choose(cfg, parts[0], vocabulary, start)
    training = Finetuning(cfg, World(0, 1, DEVICE), start, vocabulary)
    training.model.train()
    loader = speech.open_loader(cfg, parts[0], start, training.world)
    watched(training, loader, lambda run, micro: finetune.update(run, micro, parts[0], 10.0))


def watched(training, loader, update):
    """Two updates of two micro-batches, in each of which the device is waited for once."""
    from mt4ssl_core.training import step
    from mt4ssl_core.training.journal import Meter
    from mt4ssl_core.training.loaders import endless

    reads = []

    def read_later(values):
        assert values.device == DEVICE
        reads.append(values)
        return lambda: [1.0] * len(values)

    step.read_later = read_later
    batches = endless(loader, training.progress)
    run = SimpleNamespace(
        training=training, wrapped=training.model, meter=Meter(DEVICE), requested=[]
    )
    for number in (1, 2):
        training.progress.update = number
        update(run, [next(batches), next(batches)])
    assert len(reads) == 2
    assert any(isinstance(value, FakeTensor) for value in run.meter.sums.values())


def encoder():
    from mt4ssl_core.config import encoder_from_dict
    from mt4ssl_core.model.encoder import Encoder

    return Encoder(encoder_from_dict(dict(toy.ENCODER))).eval().to(DEVICE)


WAVES = [torch.randn(samples) for samples in (16_000, 300, 12_345)]


def states():
    """What extract and labels begin with."""
    from mt4ssl_core.labelling.hidden_states import hidden_states

    rows = hidden_states(encoder(), [wave.numpy() for wave in WAVES], [0, 2])
    assert [(row.device, len(row)) for row in rows] == [(DEVICE, 2)] * 3
    assert [row.shape[1] for row in rows] == [49, 1, 38]


def assigned():
    """What k-means does with features that are on the device."""
    from mt4ssl_core.labelling.kmeans_model import KMeans

    ids = KMeans(torch.randn(10, 4)).apply(torch.randn(1000, 4).to(DEVICE))
    assert ids.device == DEVICE and ids.shape == (1000,)


def expert():
    """What s3prl calls."""
    from upstream.door.expert import UpstreamExpert

    given = [wave.to(DEVICE) for wave in WAVES]
    found = UpstreamExpert(encoder=encoder())(given)["hidden_states"]
    assert [state.device for state in found] == [DEVICE] * 3 and found[0].shape[:2] == (3, 50)


class NothingConverted(TorchDispatchMode):
    """No operation of the CPU makes float32 of any size."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu":
                assert leaf.dtype != torch.float32 or leaf.numel() < 100, function
        return found


def stored():
    """Frames that are stored as float16 become float32 on the device, not before."""
    from mt4ssl_core.store.store import FRAMES, FeatureKind, FeatureStore, content_key
    from upstream.door.expert import UpstreamExpert
    from upstream.store.lazy_audio import Reading, Utterance
    from upstream.store.stored_features import StoredFeatures

    store = FeatureStore(Path(tempfile.mkdtemp()))
    kind = FeatureKind("toy", "f" * 16, "hidden_states", FRAMES, None, False, "fp16")
    space, given = store.space(kind), []
    for wave in WAVES:
        key = content_key(wave.numpy())
        assert space.put(key, torch.randn(3, max(1, len(wave) // 320), 8))
        given.append(Utterance(None, None, key, len(wave), None))
    features = StoredFeatures(UpstreamExpert(encoder=encoder()), 320, store, space, 3, False)
    reading = Reading(store, space)
    reading.for_gpu()
    for ahead in (False, True):
        if ahead:
            reading.begin((given, []))
            assert all(utterance.read_ahead for utterance in given)
        with NothingConverted():
            states = features(given)["hidden_states"]
        assert [(state.device, state.dtype) for state in states] == [(DEVICE, torch.float32)] * 3
        assert states[0].shape == (3, 50, 8)
        assert not any(utterance.read_ahead for utterance in given)


def caught(wrong):
    """A control: these are noticed."""
    x = torch.randn(4, 3).to(DEVICE)
    try:
        wrong(x)
    except Exception:
        return
    raise AssertionError("not noticed")


CHECKS = {
    "updates": updates,
    "updates with group norm": lambda: updates(encoder__extractor_norm="group_norm"),
    "updates with log-mel frames": lambda: updates(encoder__frontend="mel"),
    "updates with relative positions": lambda: updates(encoder__relative_buckets=16),
    "updates with four masks, checkpointed": lambda: updates(
        masking__repeats=4, run__activation_checkpointing="true"
    ),
    "fine-tuning": fine_tuning,
    "hidden states": states,
    "k-means": assigned,
    "s3prl's expert": expert,
    "stored frames": stored,
    "control: a value": lambda: caught(lambda x: bool(x.any())),
    "control: a mask": lambda: caught(lambda x: x[x > 0]),
    "control: another device": lambda: caught(lambda x: x + torch.randn(4, 3)),
    "control: how many": lambda: caught(lambda x: x.long().flatten().bincount()),
}


def main():
    """Run all; write {name: None or what failed} to the file that is named."""
    found = {}
    for name, check in CHECKS.items():
        found[name] = None
        try:
            with torch.autograd.set_multithreading_enabled(False), Pretended():
                check()
        except Exception:
            found[name] = traceback.format_exc()[-3000:]
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
