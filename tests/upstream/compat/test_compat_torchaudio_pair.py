import subprocess
import sys

import pytest
import torch

from upstream.compat import torchaudio_pair
from upstream.door import packages

OTHER_MINOR = """
import torch
told = torch.version.cuda
torch.version.cuda = fake = told.split(".")[0] + ".99"
from upstream.compat import torchaudio_pair
assert torchaudio_pair.install() is True
assert torch.version.cuda == fake
import torchaudio
assert torchaudio.functional is not None
assert torchaudio_pair.install() is False
"""


def test_torchaudio_beside_a_torch_of_another_minor_version():
    if torch.version.cuda is None:
        pytest.skip("a torch without CUDA is compared with nothing")
    subprocess.run([sys.executable, "-c", OTHER_MINOR], check=True, timeout=300)


def test_another_major_version_is_an_error_that_names_both():
    torchaudio_pair.check("13.2", 13000, "2.11.0")
    with pytest.raises(ValueError, match=r"CUDA 14\.0, torchaudio 2\.11\.0 .*pip install"):
        torchaudio_pair.check("14.0", 13000, "2.11.0")


@pytest.mark.parametrize(
    ("of_torch", "right"),
    [
        ("2.8.0", "2.8.0"),
        ("2.9.1+cu128", "2.9.1"),
        ("2.10.0", "2.10.0"),
        ("2.11.0+cu130", "2.11.0"),
        ("2.12.1", "2.11.0"),
        ("2.13.0+cpu", "2.11.1"),
        ("2.15.0", "2.11.1"),
        ("2.16.0a0+git123", "2.11.1"),
        ("3.0", "2.11.1"),
    ],
)
def test_the_torchaudio_that_belongs_to_a_torch(of_torch, right):
    assert torchaudio_pair.belonging(of_torch) == right


def test_the_remedy_is_for_the_same_build(monkeypatch):
    def remedy(version):
        monkeypatch.setattr(torch, "__version__", version)
        monkeypatch.setattr(packages, "version_of", lambda name: version)
        return torchaudio_pair.install_command()

    assert remedy("2.12.1") == "pip install --no-deps torchaudio==2.11.0"
    assert remedy("2.13.0+cpu").endswith("2.11.1 --index-url https://download.pytorch.org/whl/cpu")
    assert remedy("2.9.1+cu126").endswith(
        "2.9.1 --index-url https://download.pytorch.org/whl/cu126"
    )
    assert remedy("2.12.0a0+gitabc") == "pip install --no-deps torchaudio==2.11.0"


BROKEN = {
    "symbol": "raise OSError('Could not load: x.so') from OSError('x.so: undefined symbol: y')",
    "cuda": "raise OSError('libcudart.so.12: cannot open shared object file')",
    "versions": "raise RuntimeError('compiled with different CUDA versions')",
    "python": "import torch; torch.no_such_function",
    "half": "import torchaudio.lost",
}
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import upstream
for _ in range(2):
    try:
        upstream.register()
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize("fault", BROKEN)
def test_a_torchaudio_that_does_not_load_is_an_error_that_names_the_right_one(fault, tmp_path):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(BROKEN[fault])
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    right = f"torchaudio=={torchaudio_pair.belonging(torch.__version__)}"
    said = done.stdout.splitlines()
    assert len(said) == 2, done.stderr
    assert all("does not load beside torch" in line and right in line for line in said)
    assert "undefined symbol: y" in said[0] or fault != "symbol"


def test_without_torchaudio(monkeypatch):
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr(torchaudio_pair.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"torchaudio is not installed; .*pip install"):
        torchaudio_pair.install()
