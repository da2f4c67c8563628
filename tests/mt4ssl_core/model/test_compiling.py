"""torch.compile of the encoder's blocks: whole graphs, few of them, the same numbers."""

import finetuning_runs
import pytest
import reference
import torch
import toy

from mt4ssl_core.finetuning.finetune import finetune
from mt4ssl_core.model import compiling
from mt4ssl_core.model.context import Layer, PosConvBlock
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.extractor import ConvBlock
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.pretrain import pretrain

QUICK = {"run__validate_every": 0, "data__valid_share": 0.0, "optim__max_updates": 6}
SMALL = {"encoder__layers": 1, "encoder__pos_conv_depth": 2, "online__top_k": 1}
SMALL |= {"data__batch_seconds": 2}
DRY = {f"encoder__{name}dropout": 0.0 for name in ("", "attention_", "activation_", "input_")}


def called(encoder, waves, lengths, mask):
    """(block, its inputs) of a forward pass."""
    calls = []
    kinds = (ConvBlock, PosConvBlock, Layer)
    for module in encoder.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(lambda m, given: calls.append((m, given)))
    encoder(waves, lengths, mask)
    for module in encoder.modules():
        module._forward_pre_hooks.clear()
    return calls


@pytest.mark.parametrize("norm", ["layer_norm", "group_norm"])
def test_no_block_breaks_the_graph(norm):
    cfg = reference.encoder_config(
        extractor_norm=norm, dropout=0.1, attention_dropout=0.1, layers=1
    )
    cfg.isolate_padding = True
    waves, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    mask = torch.zeros(2, 12, dtype=torch.bool)
    for block, given in called(Encoder(cfg).train(), waves, lengths, mask):
        torch._dynamo.reset()
        found = torch._dynamo.explain(block)(*given)
        assert (found.graph_count, found.graph_break_count) == (1, 0), (block, found.break_reasons)


def test_blocks_are_compiled_a_few_times_and_not_for_each_length():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("eager")
    block = torch.compile(ConvBlock(4, 4, 3, 2, False, "layer_norm"), backend=counter, dynamic=True)
    for batch, frames in ((2, 100), (3, 101), (4, 133), (5, 90), (2, 77), (7, 200)):
        block(torch.randn(batch, frames, 4), None)
    assert counter.frame_count <= 3


def test_no_block_goes_back_to_eager_after_many_forms(monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    torch._dynamo.reset()
    encoder = Encoder(reference.encoder_config(layers=1, pos_conv_depth=2))
    compiling.compile_blocks(encoder)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for train in (True, False):
            for shortest in (3000, 4000):
                with torch.set_grad_enabled(train):
                    encoder.train(train)(torch.randn(2, 4000), torch.tensor([4000, shortest]))


def pretrained(folder, word):
    data = toy.corpus(folder, utterances=8)
    changes = {**QUICK, **SMALL, **DRY, "optim__max_updates": 200, "run__compile": word}
    changes["optim__lr"] = 5e-4  # a higher rate drives what was rounded otherwise further apart
    return pretrain(toy.configuration(data, folder / "run", **changes))


def finetuned(folder, word):
    speech = finetuning_runs.corpus(folder, utterances=8)
    shape = folder / "mel.yaml"
    shape.write_text(finetuning_runs.SHAPE.replace("layers: 2", "layers: 1\n  frontend: mel"))
    changes = {**DRY, "encoder__final_dropout": 0.0, "encoder__layerdrop": 0.0, "data__valid": None}
    changes |= {"encoder__shape": shape, "optim__max_updates": 200, "optim__lr": 5e-4}
    run = folder / "run"
    return finetune(finetuning_runs.configuration(speech, run, run__compile=word, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("learned", [pretrained, finetuned])
def test_losses_of_200_compiled_updates_are_those_of_eager_ones(learned, tmp_path):
    torch._dynamo.reset()
    losses, names = {}, {}
    for word in ("false", "true"):
        last = learned(tmp_path / word, word)
        log = read_jsonl(last.parent / "log.jsonl")
        losses[word] = [record["loss"] for record in log if "loss" in record]
        names[word] = set(torch.load(last, weights_only=True)["encoder"])
    assert len(losses["true"]) == 200
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-3)
    assert names["true"] == names["false"]


@pytest.mark.slow
def test_a_compiled_run_goes_on_exactly_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    data, states = toy.corpus(tmp_path, utterances=8), {}
    for name, stops in (("whole", [10]), ("cut", [5, 10])):
        for updates in stops:
            changes = {
                **QUICK,
                **SMALL,
                "optim__max_updates": updates,
                "optim__warmup": 0,
                "optim__hold": 1,
            }
            changes |= {"optim__decay": 0, "run__compile": "true"}
            last = pretrain(toy.configuration(data, tmp_path / name, **changes))
        states[name] = torch.load(last, weights_only=True)["encoder"]
    for key, value in states["whole"].items():
        assert torch.equal(value, states["cut"][key]), key


def test_auto_compiles_on_cuda_alone_and_a_missing_compiler_is_named(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert compiling.wanted("auto", cuda) and not compiling.wanted("auto", cpu)
    assert not compiling.wanted("false", cuda) and compiling.wanted("true", cuda)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"run.compile=true: .* install one"):
        compiling.wanted("true", cpu)
