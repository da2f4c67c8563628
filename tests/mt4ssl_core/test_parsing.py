"""The command line: what was meant is named, numbers have bounds, ``~`` is the home folder."""

import argparse

import pytest

import mt4ssl_cli
from mt4ssl_core.settings import bounds


def refused(capsys, words):
    with pytest.raises(SystemExit) as left:
        mt4ssl_cli.main(words.split(" "))
    assert left.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pretrian tiny", "invalid choice: 'pretrian'; did you mean pretrain?"),
        ("pre-train tiny", "did you mean pretrain?"),
        ("kmean fit a b", "did you mean kmeans?"),
        ("kmeans lable a b c", "did you mean label?"),
        ("store prnue", "did you mean prune?"),
        ("superb runn", "did you mean run?"),
        ("superb docter", "did you mean doctor?"),
        ("leader_board", "did you mean leaderboard?"),
        (
            "kmeans fit a b --num-clusters 5",
            "--num-clusters 5: not known; did you mean --clusters?",
        ),
        ("kmeans fit a b --min_seconds 5", "did you mean --min-seconds?"),
        ("store ls --stor-dir x", "did you mean --store-dir?"),
        ("extract a b c --layer_list 1", "did you mean --layers?"),
        ("pretrain tiny --strickt", "did you mean --strict?"),
        ("pretrain tiny --learning_rate 1", "in optim.lr=1e-3. Did you mean optim.lr?"),
        ("pretrain tiny --optim.lr=1", "settings are given without dashes, as in optim.lr=1e-3."),
        ("pretrain tiny --batch-size 8", "Did you mean data.batch_seconds (seconds of audio"),
        ("export a b c", "c: not known; there is no place for so many words"),
        ("xyz", "invalid choice: 'xyz' (choose from"),
        ("extract a b c --zzz", "--zzz: not known; see --help"),
        ("pre\x1b[2Jtrain", r"pre\x1b[2Jtrain"),
    ],
)
def test_what_was_meant(capsys, words, said):
    line = refused(capsys, words)
    assert said in line and line.startswith("mt4ssl") and ": error: " in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "kmeans fit a b --clusters -5",
            "--clusters: -5; must be at least 1 and at most 1,000,000",
        ),
        ("kmeans fit a b --clusters 5.5", "--clusters: '5.5'; expected a whole number"),
        ("kmeans fit a b --seed -1", "--seed: -1; must be at least 0 and below 2**63"),
        ("kmeans fit a b --sample-frames 0", "--sample-frames: 0; must be"),
        ("kmeans fit a b --iterations 0", "--iterations: 0; must be"),
        ("kmeans label a b c --min-seconds nan", "--min-seconds: nan; must be"),
        ("kmeans fit a b --store-gb=-1", "--store-gb: -1.0; must be"),
        ("kmeans fit a b --device gpu", "--device: 'gpu'; use auto, cpu, cuda or cuda:N"),
        ("extract a b c --device cuda:x", "--device: 'cuda:x'; use"),
        ("superb run --roots a --out b --jobs 100000", "--jobs: 100000; must be"),
        (f"superb run --roots a --out b --seed {2**32}", "below 2**32"),
        ("superb run --roots a --out b --store-gb inf", "--store-gb: inf; must be"),
        ("superb run --roots a --out b --store-crops -1", "--store-crops: -1; must be"),
        ("store fill --task ks --store-gb nan", "--store-gb: nan; must be"),
        ("store prune --days inf", "--days: inf; must be"),
        ("probe --data a --out b --minutes nan", "--minutes: nan; must be above 0"),
        ("probe --data a --out b --clusters 1000000000", "--clusters: 1000000000; must be"),
        ("probe --data a --out b --device CPU", "--device: 'CPU'; use"),
        ("convergence a --minutes 0", "--minutes: 0.0; must be above 0"),
        ("convergence study tiny --seeds 0", "--seeds: 0; must be"),
    ],
)
def test_numbers_and_devices_are_checked_first(capsys, words, said):
    assert said in refused(capsys, words)


def test_settings_may_stand_behind_an_option(capsys, tmp_path):
    assert mt4ssl_cli.main(["pretrain", "tiny", "a.b=1", "--strict", "data.train=/no"]) == 2
    said = capsys.readouterr().err
    assert "a.b: unknown key" in said and "data.train: /no: no such file" in said


def test_the_home_folder_in_every_path(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for words in (
        "export ~/a.pt ~/b", "kmeans fit ~/audio ~/k", "extract ~/a.pt ~/b ~/c", "report ~/run",
        "store ls --store-dir=~/store", "superb submit ~/run --out=~/z", "leaderboard ~/run",
        "kmeans fit . b --features ckpt:~/a.pt:3", "pretrain ~/a.yaml", "convergence ~/run",
        "probe ~/a.pt --data=~/d --out=~/o", "layer-weights ~/run",
    ):  # fmt: skip
        assert mt4ssl_cli.main(words.split()) == 2, words
        said = capsys.readouterr().err
        assert str(tmp_path) in said and "~" not in said, (words, said)
    assert not (tmp_path / "~").exists() and not (tmp_path / "o").exists()
    assert mt4ssl_cli.main(["export", "~no_such_user/a", "b"]) == 2
    assert "~no_such_user/a: no such home folder; write the path out" in capsys.readouterr().err


def arguments(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from arguments(sub)
        else:
            yield parser.prog, action


NO_PATHS = {
    "overrides", "tasks", "upstream", "slurm", "stages", "set", "rates", "which", "name", "layers",
    "probes", "labels", "layer", "superb", "target", "help", "version", "device",
}  # fmt: skip


def test_every_argument_is_a_path_a_choice_a_number_or_named_here():
    for prog, action in arguments(mt4ssl_cli._parser()):
        known = {*NO_PATHS, *mt4ssl_cli.PATHS}
        plain = action.type is None and not action.choices and action.nargs != 0
        assert not plain or action.dest in known, (prog, action.dest)
        assert action.type not in (int, float), (prog, action.dest)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (bounds.whole(at_least=0, at_most=5_000_000), "2e6", 2_000_000),
        (bounds.whole(at_least=0, at_most=9), "007", 7),
        (bounds.real(above=0, at_most=1), "5e-4", 5e-4),
        (bounds.device_name, "cuda:1", "cuda:1"),
    ],
)
def test_numbers_of_a_command_line(read, text, value):
    assert read(text) == value
