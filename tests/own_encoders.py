"""An encoder in a Python file, as a user writes one, and ways to break it."""

from pathlib import Path

GOOD = '''"""Log magnitudes of windows, and a projection of them: two layers."""
import torch
from torch import nn


class MyEncoder(nn.Module):
    name = "windows"
    num_layers, dim, frame_rate = 2, 24, 50

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("basis", torch.randn(400, 24, generator=generator) / 20)
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, waves):
        lengths = torch.tensor([(len(w) - 400) // 320 + 1 for w in waves], device=waves[0].device)
        padded = nn.utils.rnn.pad_sequence(waves, batch_first=True)  # (B, N)
        first = (padded.unfold(1, 400, 320) @ self.basis).abs().add(1e-3).log()  # (B, T, 24)
        return [first, torch.tanh(self.scale * first)], lengths
'''
RETURN = "return [first, torch.tanh(self.scale * first)], lengths"
BROKEN = {  # what is wrong: (text in the file, text in its place, what is said)
    "one layer only": (RETURN, "return [first], lengths", r"gives 1 hidden state.*num_layers = 2"),
    "wrong rate": ("frame_rate = 2, 24, 50", "frame_rate = 2, 24, 100", "frame_rate = 100 makes"),
    "no whole rate": ("frame_rate = 2, 24, 50", "frame_rate = 2, 24, 75", "frame_rate = 75; say"),
    "no rate": (
        "num_layers, dim, frame_rate = 2, 24, 50",
        "num_layers, dim = 2, 24",
        "= None; say",
    ),
    "wrong size": ("frame_rate = 2, 24, 50", "frame_rate = 2, 32, 50", "says dim = 32; give"),
    "NaN": (RETURN, "return [first, first / 0 * 0], lengths", "layer 1 has NaN or infinity"),
    "layers of different lengths": (
        RETURN,
        "return [first, first[:, 1:]], lengths",
        "are of shapes",
    ),
    "lengths too long": (RETURN, "return [first, first], lengths + 9", "valid frames of"),
    "lengths missing": (RETURN, "return [first, first]", r"returns a list; return \(states, len"),
    "lengths no numbers": (RETURN, "return [first, first], lengths.float()", "no whole numbers"),
    "numpy": (
        RETURN,
        "return [first.numpy(), first.numpy()], lengths",
        "are ndarray; return a list",
    ),
    "another device": (RETURN, "return [first, first.to('meta')], lengths", "answers on meta"),
    "with gradient": (RETURN, "return [first, first.requires_grad_()], lengths", "have gradients"),
    "whole numbers": (
        RETURN,
        "return [first, first.long()], lengths",
        r"layer 1 is of torch\.int64",
    ),
    "an error inside": ("first = (", "first = padded.no_such() or (", r"my\.py:19: AttributeError"),
    "not a module": (
        "class MyEncoder(nn.Module)",
        "class MyEncoder(dict)",
        r"not a torch\.nn\.Mod",
    ),
    "not a class": (
        "class MyEncoder(nn.Module)",
        "MyEncoder = 3\n\n\nclass Other(nn.Module)",
        "an? int, not a class",
    ),
    "no such class": ("class MyEncoder", "class TheirEncoder", "no such class.*TheirEncoder"),
    "needs arguments": (
        "def __init__(self):",
        "def __init__(self, size):",
        r"needs arguments \(size\)",
    ),
    "syntax error": ("import torch\n", "import torch,\n", r"my\.py:2: .*; correct that line"),
    "missing package": (
        "import torch\n",
        "import torch, no_such\n",
        r"my\.py:2: ModuleNotFoundError",
    ),
    "a name of two lines": ('name = "windows"', 'name = "a\\nb"', "name = .*give a text"),
}


def write(folder: Path, old: str = "", new: str = "", file: str = "my.py") -> str:
    """Write the file, with ``old`` replaced; return FILE.py:CLASS."""
    assert old in GOOD
    path = folder / file
    path.write_text(GOOD.replace(old, new) if old else GOOD)
    return f"{path}:MyEncoder"
