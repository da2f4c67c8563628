"""The stand-in for fairseq: dictionary, batches, loss, transformer, beam search."""

import itertools
import math
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from upstream.fairseq_shim import batches, criterion, layers, s2t_transformer, text
from upstream.fairseq_shim.beam_search import BeamSearch, BeamSearchSettings
from upstream.fairseq_shim.dictionary import Dictionary, post_process


def symbols(text: str) -> Dictionary:
    made = Dictionary()
    for symbol in text.split():
        made.add_symbol(symbol)
    return made


def tiny_model(dictionary, seed=0, **settings: Any):
    args = Namespace(**{"dropout": 0.0, "encoder_layers": 2, "decoder_layers": 2, **settings})
    sizes = {"encoder_embed_dim": 8, "encoder_ffn_embed_dim": 16, "conv_channels": 8}
    for name, value in {
        **sizes,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }.items():
        setattr(args, name, getattr(args, name, value))
    s2t_transformer.base_architecture(args)
    args.input_feat_per_channel, args.input_channels = 4, 1
    torch.manual_seed(seed)
    task = SimpleNamespace(target_dictionary=dictionary)
    model = s2t_transformer.S2TTransformerModel.build_model(args, task).eval()
    with torch.no_grad():
        model.decoder.output_projection.weight.mul_(3)  # opinions worth searching for
    return model


def frames(*lengths, seed=1):
    torch.manual_seed(seed)
    padded = torch.zeros(len(lengths), max(lengths), 4)
    for row, length in zip(padded, lengths, strict=True):
        row[:length] = torch.randn(length, 4)
    return {"net_input": {"src_tokens": padded, "src_lengths": torch.tensor(lengths)}}


# dictionary


def test_special_symbols_and_unknown_words():
    made = symbols("a b")
    assert [made.index(s) for s in ("<s>", "<pad>", "</s>", "<unk>", "a", "b", "c")] == [
        *range(6),
        3,
    ]
    assert (made.bos(), made.pad(), made.eos(), made.unk()) == (0, 1, 2, 3)
    line = made.encode_line("b  a\tc", add_if_not_exist=False)
    assert line.tolist() == [5, 4, 3, 2] and line.dtype == torch.int32
    assert made.string(torch.tensor([0, 5, 4, 3, 2])) == "b a <unk>"
    assert made[99] == "<unk>" and "c" not in made
    assert made.encode_line("c", append_eos=False).tolist() == [6] and "c" in made


def test_a_dictionary_comes_back_from_its_file(tmp_path):
    made = symbols("▁ e é # 7 e")
    made.pad_to_multiple_(8)
    assert len(made) == 16 and made.symbols[-1] == "madeupword0006"
    made.save(tmp_path / "dict.txt")
    assert (tmp_path / "dict.txt").read_text().startswith("▁ 1\ne 2\n")
    loaded = Dictionary.load(tmp_path / "dict.txt")
    assert loaded == made and loaded.count[4:] == made.count[4:]


@pytest.mark.parametrize(
    ("content", "says"), [("a\n", "line 1: expected 'symbol"), ("a 1\na 2\n", "line 2: symbol 'a'")]
)
def test_a_wrong_dictionary_file(content, says, tmp_path):
    (tmp_path / "dict.txt").write_text(content)
    with pytest.raises(ValueError, match=says):
        Dictionary.load(tmp_path / "dict.txt")


def test_a_symbol_twice_where_the_file_says_so(tmp_path):
    (tmp_path / "dict.txt").write_text("a 1\na 2 #fairseq:overwrite\n")
    assert Dictionary.load(tmp_path / "dict.txt").index("a") == 5


def test_pieces_to_words():
    assert post_process("▁ D a s ▁ i s t", "sentencepiece") == "Das ist"
    assert post_process("wei@@ ter so", "@@ ") == "weiter so"
    assert post_process("a b", None) == "a b"


def test_other_ways_of_cutting_are_refused():
    assert text.build_bpe(Namespace(bpe=None)) is None
    assert text.build_tokenizer(Namespace(tokenizer=None)) is None
    with pytest.raises(ValueError, match="only sentencepiece"):
        text.build_bpe(Namespace(bpe="gpt2"))
    with pytest.raises(ValueError, match=r"pre_tokenizer\.tokenizer is moses"):
        text.build_tokenizer(Namespace(tokenizer="moses"))


# batches


def test_padding_on_either_side_and_the_decoders_input():
    values = [torch.tensor([5, 6, 2]), torch.tensor([7, 2])]
    assert batches.collate_tokens(values, 1, 2).tolist() == [[5, 6, 2], [7, 2, 1]]
    assert batches.collate_tokens(values, 1, 2, left_pad=True).tolist() == [[5, 6, 2], [1, 7, 2]]
    shifted = batches.collate_tokens(values, 1, 2, move_eos_to_beginning=True)
    assert shifted.tolist() == [[2, 5, 6], [2, 7, 1]]
    left = batches.collate_tokens(values, 1, None, left_pad=True, move_eos_to_beginning=True)
    assert left.tolist() == [[2, 5, 6], [1, 2, 7]]


def test_batches_count_padding_against_the_limit():
    sizes = [9, 5, 5, 4, 3, 3, 3, 10]
    made = batches.batch_by_size(range(8), sizes, 12)
    assert made == [[0], [1, 2], [3, 4, 5], [6], [7]]
    assert all(len(batch) * max(sizes[i] for i in batch) <= 12 for batch in made)
    with pytest.raises(ValueError, match=r"utterance 7 has 10 frames, .*max_tokens 9; raise it"):
        batches.batch_by_size(range(8), sizes, 9)


class Numbers(batches.FairseqDataset):
    def __init__(self, train):
        self.is_train_split = train

    def __getitem__(self, index):
        return index

    def collater(self, samples):
        return samples


def orders(train, epoch, calls):
    made = batches.EpochBatchIterator(Numbers(train), [[i] for i in range(20)], 1, epoch)
    return [[batch[0] for batch in made.next_epoch_itr()] for _ in range(calls)]


def test_training_batches_are_shuffled_by_seed_and_epoch_as_numpy_does():
    first, second, third = orders(True, 1, 3)
    assert sorted(first) == list(range(20)) and first != second != third
    assert orders(True, 2, 2) == [second, third]  # taken up again at epoch 2
    with batches.numpy_seed(1 + 2):
        expected = list(range(20))
        np.random.shuffle(expected)
    assert second == expected
    first, second = orders(False, 1, 2)
    assert first == second


def test_a_seeded_block_leaves_numpy_as_it_was():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    with batches.numpy_seed(1):
        inside = np.random.rand()
    assert np.random.rand() == expected != inside


# loss


def test_label_smoothing_is_cross_entropy_with_a_soft_target():
    torch.manual_seed(0)
    lprobs = torch.randn(6, 5).log_softmax(1)
    target = torch.tensor([4, 0, 2, 1, 1, 3])
    soft = torch.full((6, 5), 0.2 / 4)
    soft[torch.arange(6), target] = 0.8
    expected = -(soft * lprobs).sum(1)[target != 1].sum()
    smoothed, plain = criterion.label_smoothed_nll_loss(lprobs, target, 0.2, ignore_index=1)
    torch.testing.assert_close(smoothed, expected)
    torch.testing.assert_close(plain, F.nll_loss(lprobs, target, ignore_index=1, reduction="sum"))
    uniform = torch.full((1, 5), -math.log(5))
    smoothed, _ = criterion.label_smoothed_nll_loss(uniform, target[:1], 0.2, 1)
    assert float(smoothed) == pytest.approx(math.log(5))


def test_another_loss_is_refused():
    made = criterion.build_criterion(
        Namespace(criterion="label_smoothed_cross_entropy", label_smoothing=0.1), 1
    )
    assert (made.padding_idx, made.label_smoothing) == (1, 0.1)
    with pytest.raises(ValueError, match="criterionrc: ctc not known"):
        criterion.build_criterion(Namespace(criterion="ctc"), 1)


# transformer


def test_positions_begin_after_padding_and_grow():
    made = layers.SinusoidalPositions(6, padding_idx=1, size=4)
    padding = torch.tensor([[False, False, False], [False, True, True]])
    vectors = made(padding)
    rates = [1.0, 1e-2, 1e-4]  # 10000**(-i / (6/2 - 1))
    first = [*(math.sin(2 * r) for r in rates), *(math.cos(2 * r) for r in rates)]
    torch.testing.assert_close(vectors[0, 0], torch.tensor(first))
    assert torch.equal(vectors[1, 0], vectors[0, 0]) and not vectors[1, 1:].any()
    long = made(torch.zeros(1, 50, dtype=torch.bool))
    torch.testing.assert_close(long[0, 49, 0], torch.tensor(math.sin(51.0)))
    assert torch.equal(made(padding[:1], last_only=True), vectors[:1, 2:])
    assert not made.state_dict()


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = layers.MultiheadAttention(8, 2, 0.0)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    expected, _ = theirs(x, x, x, key_padding_mask=padding)
    torch.testing.assert_close(ours(x, x, ~padding[:, None, None]), expected)


@pytest.mark.parametrize("before", [True, False])
def test_an_encoder_layer_is_that_of_torch(before):
    args = Namespace(encoder_embed_dim=8, encoder_ffn_embed_dim=12, encoder_attention_heads=2)
    args.encoder_normalize_before, args.activation_fn = before, "relu"
    args.dropout = args.attention_dropout = args.activation_dropout = 0.0
    torch.manual_seed(0)
    ours = layers.EncoderLayer(args)
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.0, batch_first=True, norm_first=before
    )
    attention = ours.self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        theirs.self_attn.out_proj.load_state_dict(attention.out_proj.state_dict())
        theirs.linear1.load_state_dict(ours.fc1.state_dict())
        theirs.linear2.load_state_dict(ours.fc2.state_dict())
    x = torch.randn(2, 5, 8)
    mask = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    torch.testing.assert_close(ours(x, mask), theirs(x))


def test_initial_weights_have_fairseqs_spread():
    torch.manual_seed(0)
    own = layers.MultiheadAttention(64, 4, 0.0)
    other = layers.MultiheadAttention(64, 4, 0.0, source_dim=32)
    bound = math.sqrt(6 / (64 + 64))
    assert own.q_proj.weight.abs().max().item() == pytest.approx(bound / math.sqrt(2), rel=0.01)
    assert own.out_proj.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert other.k_proj.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 96), rel=0.01)
    assert not own.out_proj.bias.any()
    table = s2t_transformer.embedding(2000, 64, 1).weight
    assert not table[1].any() and table.std().item() == pytest.approx(1 / 8, rel=0.02)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 98])
def test_lengths_after_the_convolutions(length):
    model = tiny_model(symbols("a b"))
    sample = frames(length)["net_input"]
    out = model.encoder(**sample)["encoder_out"][0]
    found = model.encoder.subsample.get_out_seq_lens_tensor(sample["src_lengths"])
    assert found.tolist() == [len(out)] == [math.ceil(math.ceil(length / 2) / 2)]


def test_an_utterance_is_the_same_alone_and_padded():
    # wider convolutions, as in fairseq, mix the last frames with padding
    model = tiny_model(symbols("a b c"), conv_kernel_sizes="1,1")
    both, previous = frames(30, 13)["net_input"], torch.tensor([[2, 4, 5, 6], [2, 6, 1, 1]])
    alone = {"src_tokens": both["src_tokens"][1:, :13], "src_lengths": torch.tensor([13])}
    scores, _ = model(**both, prev_output_tokens=previous)
    expected, _ = model(**alone, prev_output_tokens=previous[1:, :2])
    torch.testing.assert_close(scores[1:, :2], expected)
    assert model.encoder(**both)["encoder_padding_mask"][0].sum(1).tolist() == [0, 4]
    assert model.encoder(**alone)["encoder_padding_mask"] == []


def test_the_future_is_hidden():
    model = tiny_model(symbols("a b c"))
    one, other = torch.tensor([[2, 4, 5, 6]]), torch.tensor([[2, 4, 6, 4]])
    source = frames(20)["net_input"]
    scores = [model(**source, prev_output_tokens=tokens)[0] for tokens in (one, other)]
    torch.testing.assert_close(scores[0][:, :2], scores[1][:, :2])
    assert not torch.allclose(scores[0][:, 2:], scores[1][:, 2:])


@pytest.mark.parametrize("dim", [8, 12])
def test_step_by_step_equals_all_at_once(dim):
    model = tiny_model(symbols("a b c"), decoder_embed_dim=dim)
    encoded = model.encoder(**frames(20, 11)["net_input"])
    tokens = torch.tensor([[2, 4, 5, 6, 4], [2, 6, 6, 5, 4]])
    expected, _ = model.decoder(tokens, encoded)
    state = {}
    for step in range(5):
        scores, _ = model.decoder(tokens[:, : step + 1], encoded, incremental_state=state)
        torch.testing.assert_close(scores[:, 0], expected[:, step])


def test_architectures_fill_in_what_is_missing_and_refuse_what_they_do_not_know():
    args = Namespace(arch="s2t_transformer_s", encoder_layers=3)
    s2t_transformer.ARCHITECTURES[args.arch](args)
    assert (args.encoder_layers, args.encoder_embed_dim, args.decoder_embed_dim) == (3, 256, 256)
    assert (args.decoder_layers, args.attention_dropout, args.activation_fn) == (6, 0.1, "relu")
    with pytest.raises(ValueError, match=r"modelrc: layer_drop not known here"):
        s2t_transformer.base_architecture(Namespace(layer_drop=0.1))
    with pytest.raises(ValueError, match="choose relu or gelu"):
        s2t_transformer.base_architecture(Namespace(activation_fn="swish"))
    with pytest.raises(ValueError, match="3 attention heads do not divide dimension 8"):
        layers.MultiheadAttention(8, 3, 0.0)


def test_shared_embeddings():
    model = tiny_model(symbols("a b"), share_decoder_input_output_embed=True)
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight


# search


def log_prob(model, sample, tokens):
    """Sum of the log-probabilities of ``tokens``, which end in </s>."""
    previous = torch.tensor([[2, *tokens[:-1]]])
    with torch.no_grad():
        output = model(**sample["net_input"], prev_output_tokens=previous)
        lprobs = model.get_normalized_probs(output, log_probs=True)[0]
    return sum(float(lprobs[i, token]) for i, token in enumerate(tokens))


def exhaustive(model, sample, vocabulary, longest, lenpen=1.0):
    """Every output by its score: all sequences of 1 to ``longest`` symbols."""
    choices = [0, *range(3, vocabulary)]
    every = [
        [*said, 2]
        for length in range(1, longest + 1)
        for said in itertools.product(choices, repeat=length)
    ]
    scored = [(log_prob(model, sample, tokens) / len(tokens) ** lenpen, tokens) for tokens in every]
    return sorted(scored, reverse=True)


@pytest.mark.parametrize(("seed", "lenpen"), [(0, 1.0), (1, 1.0), (2, 0.3)])
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed, lenpen):
    dictionary = symbols("a b")
    model, sample = tiny_model(dictionary, seed), frames(12, seed=seed)
    expected = exhaustive(model, sample, 6, 3, lenpen)
    search = BeamSearch(dictionary, BeamSearchSettings(beam=5, max_len_b=3, lenpen=lenpen))
    search.beam = 400  # wider than the vocabulary, so that nothing is lost
    (found,) = search.generate([model], sample)
    assert found[0]["tokens"].tolist() == expected[0][1]
    assert len(found) == len(expected) == 4 + 4**2 + 4**3
    for hypothesis, (score, _) in zip(found, expected, strict=True):
        assert hypothesis["score"] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy(seed):
    dictionary = symbols("a b c d")
    model, sample = tiny_model(dictionary, seed), frames(25, seed=seed)
    (found,) = BeamSearch(dictionary, BeamSearchSettings(beam=1, max_len_b=12)).generate(
        [model], sample
    )
    said = [2]
    while said[-1] != 2 or len(said) == 1:
        output = model(**sample["net_input"], prev_output_tokens=torch.tensor([said]))[0][0, -1]
        output[1] = -math.inf
        if len(said) == 1:
            output[2] = -math.inf  # not empty
        said.append(2 if len(said) == 13 else int(output.argmax()))
    assert len(found) == 1 and found[0]["tokens"].tolist() == said[1:]
    assert found[0]["score"] == pytest.approx(log_prob(model, sample, said[1:]) / (len(said) - 1))


def by_hand(model, sample, beam, longest):
    """Beam search over python lists, every hypothesis scored anew in each step."""
    alive, done = [(0.0, [])], []
    for step in range(longest + 1):
        ranked = []
        for score, said in alive:
            previous = torch.tensor([[2, *said]])
            output = model(**sample["net_input"], prev_output_tokens=previous)
            lprobs = model.get_normalized_probs(output, log_probs=True)[0, -1].tolist()
            allowed = [2] if step == longest else [0, 3, 4, 5, 6] + [2] * (step > 0)
            ranked += [(score + lprobs[token], [*said, token]) for token in allowed]
        ranked = sorted(ranked, reverse=True)[: 2 * beam]
        ends = [(score / len(said), said) for score, said in ranked[:beam] if said[-1] == 2]
        done = (done + ends)[:beam]
        alive = [hypothesis for hypothesis in ranked if hypothesis[1][-1] != 2][:beam]
        if len(done) == beam:
            break
    return sorted(done, key=lambda found: found[0], reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_three_is_pruned_as_it_should_be(seed):
    dictionary = symbols("a b c")
    model, sample = tiny_model(dictionary, seed), frames(20, seed=seed)
    with torch.no_grad():
        expected = by_hand(model, sample, 3, 8)
    (found,) = BeamSearch(dictionary, BeamSearchSettings(beam=3, max_len_b=8)).generate(
        [model], sample
    )
    assert [h["tokens"].tolist() for h in found] == [said for _, said in expected]
    assert [h["score"] for h in found] == pytest.approx([score for score, _ in expected], abs=1e-4)


def test_sentences_of_a_batch_do_not_meet():
    dictionary = symbols("a b c d")
    model, lengths = tiny_model(dictionary, 3), (40, 28, 12, 4)
    together = frames(*lengths)
    search = BeamSearch(dictionary, BeamSearchSettings(beam=3, max_len_b=15))
    found = search.generate([model], together)
    assert len({len(hypotheses[0]["tokens"]) for hypotheses in found}) > 1
    for row, length in enumerate(lengths):
        padded = together["net_input"]["src_tokens"][row : row + 1]
        alone = {"src_tokens": padded, "src_lengths": torch.tensor([length])}
        (expected,) = search.generate([model], {"net_input": alone})
        assert [h["tokens"].tolist() for h in found[row]] == [
            h["tokens"].tolist() for h in expected
        ]
        assert [h["score"] for h in found[row]] == pytest.approx([h["score"] for h in expected])


def test_lengths_are_limited_and_unknown_symbols_made_rare():
    dictionary = symbols("a b")
    model, sample = tiny_model(dictionary), frames(12)
    for shortest, longest in ((4, 6), (1, 1)):
        settings = BeamSearchSettings(beam=3, min_len=shortest, max_len_b=longest, unkpen=1e6)
        for hypothesis in BeamSearch(dictionary, settings).generate([model], sample)[0]:
            tokens = hypothesis["tokens"].tolist()
            assert shortest <= len(tokens) - 1 <= longest and tokens.count(2) == 1
            assert 3 not in tokens and 1 not in tokens
    longest = BeamSearch(dictionary, BeamSearchSettings(max_len_a=0.5, max_len_b=2))._longest(
        model, 12
    )
    assert longest == 8
    with pytest.raises(ValueError, match="at most 0 symbols, but min_len is 1"):
        BeamSearch(dictionary, BeamSearchSettings(max_len_b=0)).generate([model], sample)
    with pytest.raises(ValueError, match="generatorrc: sampling not known"):
        BeamSearchSettings.of({"beam": 2, "sampling": True})


def test_sums_favour_short_outputs():
    dictionary = symbols("a b")
    model, sample = tiny_model(dictionary, 1), frames(12)
    (found,) = BeamSearch(
        dictionary, BeamSearchSettings(beam=5, max_len_b=4, unnormalized=True)
    ).generate([model], sample)
    assert found[0]["score"] == pytest.approx(
        log_prob(model, sample, found[0]["tokens"].tolist()), abs=1e-4
    )
