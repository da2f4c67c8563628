"""The words of a command line: what was meant is named, numbers have bounds, ``~`` is the home
folder, and spellings of the version before work with a note.
"""

import inspect
import os
import subprocess
import sys

import pytest
import toy
from typer.models import ParameterInfo

import mt4ssl_cli
from mt4ssl_cli import commands, earlier, framework, readers
from mt4ssl_core.settings import bounds


def refused(capsys, words):
    """Return the only line on stderr of a command that exits with 2."""
    assert mt4ssl_cli.main(words.split(" ")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mt4ssl: error: ")
    return line


@pytest.fixture
def asked(monkeypatch):
    """Return a function from words to what a command is called with; nothing is done."""
    monkeypatch.setattr(
        framework.Command, "invoke", lambda self, ctx: (ctx.command_path, ctx.params)
    )
    return lambda words: framework.run(
        commands.app, words if isinstance(words, list) else words.split()
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pretrian tiny", "No such command 'pretrian'. Did you mean 'pretrain'?"),
        ("pre-train tiny", "Did you mean 'pretrain'?"),
        ("kmean fit a b", "Did you mean 'kmeans'?"),
        ("kmeans lable a b c", "Did you mean 'label'?"),
        ("store prnue", "Did you mean 'prune'?"),
        ("superb runn", "Did you mean 'run'"),
        ("superb docter", "Did you mean 'doctor'?"),
        ("leader_board", "Did you mean 'leaderboard'?"),
        ("kmeans fit a b --num-clusters 5", "--num-clusters (Possible options: --clusters)"),
        ("kmeans fit a b --min_seconds 5", "(Possible options: --min-seconds)"),
        ("store ls --stor-dir x", "(Possible options: --store-dir"),
        ("extract a b c --layer_list 1", "(Possible options: --layers"),
        ("pretrain tiny --strickt", "(Possible options: --strict"),
        ("pretrain tiny --learning_rate 1", "in optim.lr=1e-3. Did you mean optim.lr?"),
        ("pretrain tiny --optim.lr=1", "settings are given without dashes, as in optim.lr=1e-3."),
        ("pretrain tiny --batch-size 8", "Did you mean data.batch_seconds (seconds of audio"),
        ("export a b c", "extra argument(s) (c); see `mt4ssl export --help`"),
        ("export a", "Missing argument 'OUT'"),
        ("export  b", "checkpoint: '': expected a path; the current folder is ."),
        ("predict a ", "audio: '': expected a path"),
        ("leaderboard --out ", "--out: '': expected a path"),
        ("xyz", "No such command 'xyz'; see `mt4ssl --help`"),
        ("extract a b c --zzz", "No such option: --zzz; see `mt4ssl extract --help`"),
        ("pre\x1b[2Jtrain", r"pre\x1b[2Jtrain"),
        ("superb run --roots a --out b --executor slrum", "did you mean slurm?"),
        ("leaderboard --format pdf", "--format: 'pdf': unknown; use md, latex,"),
        ("[bold]x[/bold]", "'[bold]x[/bold]'"),
    ],
)
def test_what_was_meant(capsys, words, said):
    assert said in refused(capsys, words)


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
        ("store fill --tasks ks --store-gb nan", "--store-gb: nan; must be"),
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


def test_settings_pass_untouched(asked):
    words = ["a=runs/a #1", "b=1e3", "c=-5", "d=", "e=[1, 2]", "f='x'", "g={h: ~}", "i=--j", " k=l"]
    _, found = asked(["pretrain", "tiny", *words[:4], "--strict", *words[4:], "--from=p.pt"])
    assert found == {
        "config": "tiny", "overrides": words, "strict": True, "resume_from": "p.pt",
    }  # fmt: skip


def test_several_words_after_one_option_or_the_option_again(asked):
    for words in ("a=1 b=-2 --smoke", "a=1 --set b=-2 --smoke", "a=1 --smoke --set=b=-2"):
        _, found = asked(f"superb run --roots r --out o --set {words}")
        assert found["set"] == ("a=1", "b=-2") or found["set"] == ["a=1", "b=-2"], words
        assert found["smoke"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kmeans fit a b -k 5", "kmeans fit a b --clusters 5"),
        ("kmeans fit a b -k5", "kmeans fit a b --clusters 5"),
        ("store fill --task ks -k c", "store fill --tasks ks -k c"),
        ("store fill --task=ks -k c", "store fill --tasks ks -k c"),
        ("store fill c --tasks ks", "store fill --tasks ks -k c"),
        ("leaderboard --set public", "leaderboard --score-set public"),
        ("report r --set public", "report r --score-set public"),
        ("convergence r --superb ks --roots x", "convergence r --tasks ks --roots x"),
        ("superb prepare ks,pr --root r", "superb prepare --tasks ks,pr --root r"),
        ("superb run c --roots r --out o", "superb run -k c --roots r --out o"),
        ("superb doctor c --roots r", "superb doctor -k c --roots r"),
        ("probe c --data d --out o", "probe -k c --data d --out o"),
    ],
)
def test_the_old_spelling_works_with_a_note(asked, capsys, old, new):
    found = asked(old)
    note = capsys.readouterr().err
    assert (
        note.startswith("mt4ssl: note: ") and "the old spelling goes with the next version" in note
    )
    assert found == asked(new) and not capsys.readouterr().err


def test_every_old_spelling_is_of_a_command(asked):
    paths = {path for path, *_ in parameters()}
    assert {*earlier.OPTIONS, *earlier.WORDS} <= paths


def test_a_word_too_many_beside_a_checkpoint(capsys):
    for words in ("superb run a b --roots r --out o", "superb run a -k b --roots r --out o"):
        assert "there is no place for so many words" in refused(capsys, words)


def test_the_home_folder_in_every_path(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for words in (
        "export ~/a.pt ~/b", "kmeans fit ~/audio ~/k", "extract ~/a.pt ~/b ~/c", "report ~/run",
        "store ls --store-dir=~/store", "superb submit ~/run --out=~/z", "leaderboard ~/run",
        "kmeans fit . b --features ckpt:~/a.pt:3", "pretrain ~/a.yaml", "convergence ~/run",
        "probe -k ~/a.pt --data=~/d --out=~/o", "layer-weights ~/run", "config ~/a.yaml",
    ):  # fmt: skip
        assert mt4ssl_cli.main(words.split()) == 2, words
        said = capsys.readouterr().err
        assert str(tmp_path) in said and "~" not in said, (words, said)
    assert not (tmp_path / "~").exists() and not (tmp_path / "o").exists()
    assert mt4ssl_cli.main(["export", "~no_such_user/a", "b"]) == 2
    assert "~no_such_user/a: no such home folder; write the path out" in capsys.readouterr().err


def parameters():
    """(command, parameter, its typer info, what else its annotation says) of every command."""
    for group in commands.app.registered_groups:
        inner = group.typer_instance
        for item in inner.registered_commands:
            name = item.name or item.callback.__name__.replace("_", "-")
            path = " ".join(filter(None, ["mt4ssl", inner.info.name, name]))
            for parameter in inspect.signature(item.callback).parameters.values():
                for info in getattr(parameter.annotation, "__metadata__", ()):
                    assert isinstance(info, ParameterInfo)
                    yield path, parameter, info


NO_PATHS = {
    "tasks", "upstream", "slurm", "stages", "set", "rates", "name", "layers",
    "probes", "labels", "layer", "target", "size", "license", "datasets", "push", "lm_weights",
    "word_scores", "remove", "labelled", "heads",
}  # fmt: skip


def test_every_parameter_is_a_path_a_choice_a_number_or_named_here():
    found = list(parameters())
    assert len({path for path, *_ in found}) >= 20
    for path, parameter, info in found:
        plain = info.parser is None and parameter.annotation.__origin__ is not bool
        assert not plain or parameter.name in NO_PATHS, (path, parameter.name)
        assert info.help, (path, parameter.name)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (bounds.whole(at_least=0, at_most=5_000_000), "2e6", 2_000_000),
        (bounds.whole(at_least=0, at_most=9), "007", 7),
        (bounds.real(above=0, at_most=1), "5e-4", 5e-4),
        (bounds.device_name, "cuda:1", "cuda:1"),
        (readers.whole(at_least=0, at_most=9), "7", 7),
        (readers.whole(at_least=0, at_most=9), 7, 7),
    ],
)
def test_numbers_of_a_command_line(read, text, value):
    assert read(text) == value


PAGES = sorted({path.removeprefix("mt4ssl ") for path, *_ in parameters()})


@pytest.mark.parametrize("page", ["", "kmeans", "data", "superb", "store", *PAGES])
def test_a_page_of_help(page, capsys):
    assert mt4ssl_cli.main([*page.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: mt4ssl {page}".strip())
    assert max(map(len, said.splitlines())) <= 80
    if page not in ("kmeans", "data", "superb", "store"):
        assert f"Example:\n    mt4ssl {page}".rstrip() in said
    if page not in PAGES:  # a group alone shows its help
        assert mt4ssl_cli.main(page.split()) == 0 and capsys.readouterr().out == said


def test_an_example_of_help_can_be_typed(asked):
    for group in commands.app.registered_groups:
        for item in group.typer_instance.registered_commands:
            for line in item.epilog.splitlines()[2:]:
                if not line.strip().startswith("mt4ssl downstream"):
                    path, _ = asked(line.split()[1:])
                    assert line.strip().startswith(path)


def test_defaults_are_shown(capsys):
    mt4ssl_cli.main(["kmeans", "fit", "--help"])
    said = capsys.readouterr().out
    for default in ("500", "25", "0.025", "0.05", "mfcc", "auto"):
        assert f"[default: {default}]" in said


def test_help_is_quick_and_without_torch():
    code = (
        "import sys, mt4ssl_cli; code = mt4ssl_cli.main(['superb', 'run', '--help']);"
        "loaded = {'torch', 'numpy', 'pandas', 'rich'} & set(sys.modules);"
        "sys.exit(code or loaded or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=toy.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"), [("mt4ssl supe", "superb"), ("mt4ssl superb run --executor sl", "slurm")]
)
def test_a_shell_completes(typed, offered):
    words = {
        "_MT4SSL_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(toy.cli(), env={**os.environ, **words}, capture_output=True, text=True)
    assert done.stdout.split() == [offered]


def test_mini_superb_as_a_module_is_the_command_with_a_note(tmp_path):
    words = [sys.executable, "-m", "mini_superb", tmp_path, "--tasks", "kss"]
    done = subprocess.run(words, cwd=toy.ROOT, capture_output=True, text=True)
    note, error = done.stderr.splitlines()
    assert done.returncode == 2 and note == "mini_superb: note: this is now `mt4ssl mini`"
    assert error.startswith("mt4ssl: error: unknown task 'kss'")


@pytest.mark.parametrize(
    ("place", "words", "said"),
    [("mini_superb.corpus.make_some", ["mini", "out"], "starts over"),
     ("mt4ssl_core.labelling.kmeans_fit.fit_corpus", ["kmeans", "fit", "a", "km"], "starts over"),
     ("mt4ssl_core.labelling.kmeans_label.label_corpus", ["kmeans", "label", "km", "a", "out"],
      "goes on where it stopped"),
     ("analysis.demo.demo", ["demo"], "goes on where it stopped"),
     ("analysis.probes.probing.probe", ["probe", "--data", "x", "--out", "o"],
      "goes on where it stopped")],
)  # fmt: skip
def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys, place, words, said):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, stopped)
    assert mt4ssl_cli.main(words) == 130
    assert capsys.readouterr().err == f"mt4ssl: interrupted; the same command {said}\n"


def test_downstream_passes_all_its_words(monkeypatch, tmp_path):
    import run_downstream

    seen = []
    monkeypatch.setattr(run_downstream, "main", lambda words, program: seen.append(words) or 3)
    words = ["-m", "train", "--then-test", "-o", "a.b=-1,,c=--d", "--help", "-k", "x", "--", "y"]
    assert mt4ssl_cli.main(["downstream", *words]) == 3 and seen == [words]


@pytest.mark.parametrize("name", [None, "tiny", "base"])
def test_config_prints_a_config(name, tmp_path, capsys):
    from mt4ssl_core import config

    assert mt4ssl_cli.main(["config", *([name] if name else [])]) == 0
    said = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(said.replace("???", "x.tsv"))
    again = config.values(tmp_path / "again.yaml")
    expected = config.values(name)
    expected["data"]["train"] = "x.tsv"
    assert again == expected
    assert ("<-- default: " in said) == (name is not None)
    for section in config.sections():
        assert f"\n{section}:" in f"\n{said}"


@pytest.mark.parametrize("setting", ["data.train=/nowhere", "optim.lr=1e-3", "online=null"])
@pytest.mark.parametrize(
    "flags", [["--probe-data", "a", "b"], ["--set", "ks:x=1"], ["--seeds", "1"]]
)
def test_settings_may_come_after_an_option_of_several_words(monkeypatch, setting, flags):
    asked = []
    monkeypatch.setattr(
        "analysis.convergence.study.study_of", lambda *given: asked.append(given[0]) or 0
    )
    assert mt4ssl_cli.main(["convergence", "study", "tiny", *flags, setting, "data.seed=1"]) == 0
    assert asked == [["tiny", setting, "data.seed=1"]]
