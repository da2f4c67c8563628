"""How the roofline model counts the work of an update."""

import torch

from benchmarks.ceiling import BESIDE, OTHERS, shares
from benchmarks.roofline import Count, Kept, seconds


def test_what_lies_between_two_matrix_products_is_one_kernel_that_keeps_its_results_to_itself():
    with torch.device("meta"):
        x, w, v = torch.empty(64, 32), torch.empty(32, 16), torch.empty(16, 8)
        with Count(keep=True) as found:
            ((x @ w).exp() + 1).tanh() @ v
    first, between, second = found.fused()
    assert (first.flops, second.flops) == (2 * 64 * 32 * 16, 2 * 64 * 16 * 8)
    one = 64 * 16 * 4  # bytes of what goes in, and of what comes out
    assert (between.flops, between.size) == (0, 2 * one)
    assert sum(item.size for item in found.operations if not item.flops) == 6 * one
    assert seconds([between], 1.0, 100.0) == 2 * one / 100


def test_what_is_needed_again_later_is_written_by_the_kernel_that_made_it():
    with torch.device("meta"):
        x, w = torch.empty(16, 16), torch.empty(16, 16)
        with Count(keep=True) as found:
            kept = (x @ w).exp()
            (kept + 1) @ kept
    between = found.fused()[1]
    assert len(between.written) == 2 and len(between.read) == 1


def test_memory_that_several_saved_tensors_share_counts_once():
    kept, x = Kept(), torch.ones(4, 4, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda saved: saved):
        y = x.exp()  # saves itself
        (y * y.T).sum()  # saves it again, and turned
    assert kept.bytes == 64


def test_the_times_of_the_kinds_of_operators_add_up_to_that_of_the_update():
    x, w = torch.randn(64, 32), torch.randn(32, 16)
    found = shares(lambda: [(x @ w).exp() for _ in range(50)] and None)
    products = found["matrix products: extractor and linear layers"]
    assert products[1] == 50 * 2 * 64 * 32 * 16 and products[0] > 0
    assert found[OTHERS][1] == 0 and found[BESIDE][0] > 0
