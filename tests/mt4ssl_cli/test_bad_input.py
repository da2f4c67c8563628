"""The console script: every bad input is one clear error, exit code 2, and nothing half-written."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import reference
import soundfile
import toy

import mt4ssl_cli


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"), utterances=6)


def refused(capsys, arguments, *parts):
    """The command fails with one error that has all ``parts``."""
    assert mt4ssl_cli.main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    errors = captured.err[captured.err.index("mt4ssl: error:") :]
    assert errors.count("mt4ssl: error:") == 1 and "Traceback" not in captured.err
    for part in parts:
        assert str(part) in errors, (part, errors)


def pretrain(source, km, out, *more, **changes):
    return ["pretrain", "tiny", *toy.overrides((source, km), out, **changes), *more]


def test_missing_folder_and_folder_without_audio(capsys, tmp_path):
    out = tmp_path / "km.safetensors"
    refused(capsys, ["kmeans", "fit", tmp_path / "none", out], "none")
    (tmp_path / "empty").mkdir()
    refused(capsys, ["kmeans", "fit", tmp_path / "empty", out], "empty", "audio")
    for folder in ("none", "empty"):
        run = pretrain(tmp_path / folder, None, tmp_path / "run", offline="null")
        refused(capsys, run, folder)
    assert not out.exists() and not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["truncated flac", "zero length", "NaN", "too short"])
def test_bad_audio_stops_a_strict_run_and_is_named(capsys, tmp_path, kind):
    toy.corpus(tmp_path, utterances=3)
    bad = tmp_path / "audio" / f"{kind.replace(' ', '_')}.wav"
    if kind == "truncated flac":
        bad = bad.with_suffix(".flac")
        soundfile.write(bad, np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
        bad.write_bytes(bad.read_bytes()[:20000])
    elif kind == "NaN":
        soundfile.write(bad, np.full(16000, np.nan), 16000, subtype="FLOAT")
    else:
        soundfile.write(bad, np.zeros(0 if kind == "zero length" else 100), 16000)
    out = tmp_path / "km.safetensors"
    arguments = ["kmeans", "fit", tmp_path / "audio", out, "--clusters", 4]
    refused(capsys, [*arguments, "--strict"], bad.name)
    assert not out.exists()
    assert mt4ssl_cli.main([str(a) for a in arguments]) == 0  # named, skipped, counted
    captured = capsys.readouterr()
    assert bad.name in captured.out + captured.err and out.exists()


def test_8_khz_stereo_mp3_works(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.mp3", rng.normal(0, 0.1, (16000, 2)), 8000)
    out = tmp_path / "km.safetensors"
    assert (
        mt4ssl_cli.main(["kmeans", "fit", str(tmp_path / "audio"), str(out), "--clusters", "4"])
        == 0
    )
    labels = tmp_path / "labels"
    assert mt4ssl_cli.main(["kmeans", "label", str(out), str(tmp_path / "audio"), str(labels)]) == 0
    frames = len((labels / "train.km").read_text().split())
    assert abs(frames - 99) <= 3  # two seconds


def test_tsv_with_a_missing_file(capsys, tmp_path):
    tsv, km = toy.corpus(tmp_path, utterances=3)
    (tmp_path / "audio" / "u01.wav").unlink()
    refused(capsys, pretrain(tsv, km, tmp_path / "run"), "u01.wav")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", ["one line too few", "label beyond K", "row too short"])
def test_bad_labels(capsys, tmp_path, fault):
    tsv, km = toy.corpus(tmp_path, utterances=3)
    lines = km.read_text().splitlines()
    if fault == "one line too few":
        lines = lines[:-1]
    elif fault == "label beyond K":
        lines[1] = lines[1].replace(lines[1].split()[0], str(toy.CLASSES), 1)
    else:
        lines[1] = " ".join(lines[1].split()[:-10])
    km.write_text("\n".join(lines) + "\n")
    place = [] if fault == "one line too few" else [":2"]
    arguments = pretrain(tsv, km, tmp_path / "run", data__valid_share=0.0)
    refused(capsys, arguments, km, *place)
    assert not (tmp_path / "run").exists()


def test_config_typos_are_reported_at_once(capsys, corpus, tmp_path):
    arguments = [*pretrain(*corpus, tmp_path / "run"), "optim.lrr=1", "encoder.dim=many"]
    refused(
        capsys, arguments, "Did you mean optim.lr?", "encoder.dim: 'many'; expected", "2 problem(s)"
    )
    assert not (tmp_path / "run").exists()


def test_checkpoint_of_another_shape(capsys, corpus, tmp_path):
    origin = reference.FOLDER / "fairseq_checkpoint_after5.pt"
    arguments = pretrain(*corpus, tmp_path / "run", run__init_from=origin)
    refused(capsys, arguments, origin.name)
    assert not (tmp_path / "run").exists()


def test_checkpoint_cut_in_half_and_one_that_would_run_code(capsys, tmp_path):
    whole = (reference.FOLDER / "fairseq_checkpoint_after5.pt").read_bytes()
    half = tmp_path / "half.pt"
    half.write_bytes(whole[: len(whole) // 2])
    refused(capsys, ["export", half, tmp_path / "hf"], half)

    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps({"model": Evil()}))
    for arguments in (
        ["export", evil, tmp_path / "hf"],
        ["extract", evil, reference.FOLDER, tmp_path / "features"],
    ):
        refused(capsys, arguments, evil)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "hf").exists()


def test_export_and_extract(corpus, tmp_path):
    origin = str(reference.FOLDER / "fairseq_checkpoint_after5.pt")
    assert mt4ssl_cli.main(["export", origin, str(tmp_path / "hf"), "--to", "hf"]) == 0
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= names
    audio, out = corpus[0].parent / "audio", tmp_path / "features"
    assert mt4ssl_cli.main(["extract", origin, str(audio), str(out), "--layers", "0,4"]) == 0
    found = sorted(out.rglob("*.npy"))
    assert len(found) == 6 and np.load(found[0]).shape[0] == 2


def test_help_and_version_work_from_the_command_line():
    for flag in ("--help", "--version"):
        done = subprocess.run(toy.cli(flag), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and "mt4ssl" in done.stdout
    done = subprocess.run(toy.cli("nothing"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 2


@pytest.mark.slow
def test_the_wheel_pre_trains_in_an_empty_environment(tmp_path):
    """Built and installed without this folder on the path, it shows its help and trains."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".venv", ".git", "*.egg-info", "build", "demo_out", "fixtures")
    shutil.copytree(toy.ROOT, source, ignore=ignored)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    built = subprocess.run(
        [*build, source], check=True, capture_output=True, text=True, timeout=300
    )
    assert "would be ignored" not in built.stdout + built.stderr
    (wheel,) = tmp_path.glob("mt4ssl-*.whl")
    sites = [p for p in sys.path if p.endswith("site-packages")]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=300)
    (tmp_path / "venv" / "lib").mkdir(exist_ok=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, timeout=300)
    inside = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    with open(f"{inside}/dependencies.pth", "w") as file:  # the installed torch, 2 GB, is borrowed
        file.write("\n".join(sites) + "\n")
    mt4ssl = tmp_path / "venv" / "bin" / "mt4ssl"
    where = subprocess.run(
        [python, "-c", "import mt4ssl_core; print(mt4ssl_core.__file__)"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert where.startswith(inside)
    subprocess.run([mt4ssl, "--help"], check=True, timeout=300, cwd=tmp_path)
    corpus = toy.corpus(tmp_path / "corpus")
    arguments = toy.overrides(corpus, tmp_path / "run", optim__max_updates=2)
    subprocess.run([mt4ssl, "pretrain", "tiny", *arguments], check=True, timeout=300, cwd=tmp_path)
    assert (tmp_path / "run" / "last.pt").exists()
    listing = subprocess.run(
        [python, "-m", "zipfile", "-l", wheel], check=True, capture_output=True, text=True
    ).stdout
    packages = ("analysis", "downstream_configs", "mini_superb", "mt4ssl_cli", "mt4ssl_core")
    packages += ("upstream",)
    for path in (p for package in packages for p in (source / package).rglob("*")):
        study = "analysis/scores/convergence/" in path.as_posix()  # of the README only
        if path.is_file() and "__pycache__" not in path.parts and not study:
            assert path.relative_to(source).as_posix() in listing
    assert "run_downstream.py" in listing
    for other in ("tests/", "benchmarks/", "__pycache__", "scores/convergence/"):
        assert other not in listing
