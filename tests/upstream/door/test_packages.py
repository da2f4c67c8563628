import importlib.util
import sys
from importlib.machinery import ModuleSpec

import pytest

from upstream import compat
from upstream.door import packages


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages with s3prl's package in it, the first on the path."""
    (tmp_path / "s3prl").mkdir()
    (tmp_path / "s3prl" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    spec = importlib.util.spec_from_file_location("s3prl", tmp_path / "s3prl" / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return tmp_path


def add(site, name, version):
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_each_one_is_told_from_the_other(site):
    assert packages.s3prl() == "of unknown version"
    (site / "s3prl" / "version.txt").write_text("0.4.19\n")
    assert packages.s3prl() == "0.4.19"
    add(site, "espnet-s3prl", "2026.5.14")
    assert packages.s3prl() == "espnet-s3prl 2026.5.14"


def test_the_release_has_no_name(site):
    add(site, "s3prl", "0.4.18")
    assert packages.s3prl() == "0.4.18"


@pytest.mark.parametrize("call", [packages.s3prl, compat.install])
def test_both_in_one_folder_are_an_error_that_names_the_way_out(site, call):
    add(site, "s3prl", "0.4.18")
    add(site, "espnet-s3prl", "2026.5.14")
    with pytest.raises(ValueError, match="are both installed in") as said:
        call()
    assert "s3prl 0.4.18 and espnet-s3prl 2026.5.14" in str(said.value)
    assert "pip uninstall -y s3prl espnet-s3prl" in str(said.value)


def test_both_in_two_folders_are_the_first_one(site, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    add(other, "s3prl", "0.4.18")
    monkeypatch.setattr(sys, "path", [str(other), *sys.path])
    add(site, "espnet-s3prl", "2026.5.14")
    assert packages.s3prl() == "espnet-s3prl 2026.5.14"


@pytest.mark.parametrize("spec", [None, ModuleSpec("s3prl", None)])  # the second: a mere folder
def test_none(monkeypatch, spec):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"s3prl is not installed; .*pip install"):
        packages.s3prl()
