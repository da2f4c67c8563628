import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
import report_runs
import score_runs
from pretraining_runs import run as pretraining_run

from analysis.probes import layer_plots
from analysis.report import report, sections
from mt4ssl_core.files import write_json

VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """The page as a browser would take it apart; tags that do not match are an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.images, self.links = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.ids += [facts["id"]] if "id" in facts else []
        self.links += [facts[k] for k in ("src", "href", "xlink:href") if facts.get(k)]
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag == "svg":
            self.images.append(facts)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(folder, *others, **options):
    return report.report(folder, others, **options).read_text(encoding="utf-8")


def test_other_heads_of_a_suite_have_one_row(tmp_path):
    run = score_runs.suite(tmp_path / "run", score_runs.record("ks", 0.5))
    changed = {"heads": "deep", "overrides": {"a": 1}}
    score_runs.suite(run / "heads_deep", score_runs.record("ks", 0.6, **changed))
    text = text_of(run, names=["mine"])
    assert "mine (deep heads)" in text and "heads_deep" not in text and "mine: mine" not in text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return report_runs.whole(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def text(whole):
    assert report.report(whole) == whole / "report.html"
    return (whole / "report.html").read_text(encoding="utf-8")


def test_everything_is_shown_and_nothing_is_missing(text):
    for said in (
        "mini_superb, synthesised corpora: not comparable with SUPERB",
        "shares its attention among the 3 layers",
        "read from a single frame of a layer? Best: layer 1.",
        "Layers of the model against each other.",
        "How hard the target still is to predict",
        "The sooner a curve is lower, the faster it learns. Bands are the range of seeds",
        "100 (90 to 160)",
        "max_updates",
        "two cores",
        "first/superb/results.jsonl",
    ):
        assert said in text, said
    missing = re.findall(r'class="missing">(.*?)</p>', text)
    untrained, fbank, norms = missing  # to compare with; norms of layers need audio
    assert "--upstream mt4ssl_untrained" in untrained and "--upstream fbank" in fbank
    assert "mt4ssl layer-weights" in norms


def test_the_page_is_well_formed_and_told_in_words(text):
    page = Page(text)
    assert [i for i, n in Counter(page.ids).items() if n > 1] == []
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    steps = [b - a for a, b in zip(page.headings, page.headings[1:], strict=False)]
    assert max(steps) <= 1
    assert len(page.images) > 8
    assert all(image["role"] == "img" and len(image["aria-label"]) > 20 for image in page.images)
    assert text.count("<figcaption>") == len(page.images)
    assert '<html lang="en">' in text and "<title>first: mt4ssl report</title>" in text


def test_it_needs_nothing_else_and_is_small(text):
    assert all(link.startswith(("#", "data:")) for link in Page(text).links)
    assert "default-src 'none'" in text
    assert len(text.encode()) < 1_000_000


def test_the_same_input_gives_the_same_page(whole, text, tmp_path):
    again = report.report(whole, out=tmp_path / "again.html")
    assert again.read_text(encoding="utf-8") == text


def test_scores_on_the_real_corpora_stand_beside_published_ones(tmp_path):
    report_runs.published(tmp_path / "mine" / "superb", params=94.7e6)
    text = text_of(tmp_path / "mine")
    assert "<dt>superb_s, paper set</dt><dd>941</dd>" in text  # HuBERT Base's
    assert "<dt>Parameters</dt><dd>94.7 M</dd>" in text
    assert '<th scope="row">WavLM Large</th>' in text
    said = "mine has a superb_s of 941, level with HuBERT Base, the nearest published model"
    assert said in text
    assert '<tr class="own rule"><th scope="row">mine</th>' in text
    public = text_of(tmp_path / "mine", score_set="public")
    assert "<dt>superb_s, public set</dt><dd>778</dd>" in public


def test_a_run_that_lacks_tasks_says_how_many_there_are(tmp_path):
    score_runs.suite(tmp_path / "mine", score_runs.record("ks", 0.9), score_runs.record("ic", 0.8))
    text = text_of(tmp_path / "mine")
    assert "superb_s needs all tasks of the set; mine has 2 of 10 tasks." in text
    assert "the nearest published model on the same 2 tasks" in text
    assert "Where the model is strong and weak." in text
    assert "All models with every task of the set" not in text


def test_synthesised_corpora_never_stand_beside_published_scores(text):
    assert "WavLM" not in text


def test_other_runs_stand_beside_the_run(whole, tmp_path):
    other = report_runs.whole(tmp_path / "second")
    text = text_of(whole, other)
    assert '<th scope="row">second</th>' in text
    assert "Best: first layer 1, second layer 1." in text
    assert ">second (held out)<" in text
    assert '<tr class="own"><th scope="row">first</th>' in text


def test_curves_of_runs_on_other_audio_are_left_out(whole, tmp_path):
    other = pretraining_run(tmp_path / "second", hours=99.0)
    text = text_of(whole, other)
    assert "The others&#39; curves are left out: pre-trained on different corpora" in text
    assert ">second (held out)<" not in text


def test_what_is_missing_is_named_with_its_command(tmp_path):
    pretraining_run(tmp_path / "bare")
    text = text_of(tmp_path / "bare")
    for command in (
        "superb run -k CKPT", "probe -k CKPT --data SOURCE", "convergence RUN --probe-data",
    ):  # fmt: skip
        assert f"mt4ssl {command}" in text


def test_probes_of_another_checkpoint_are_told_apart(tmp_path):
    run = report_runs.mini(tmp_path / "mine", ks=[0.0, 1.0, 0.0])
    report_runs.probe(run / "probe", fingerprint="b0")
    assert "probed another checkpoint (fingerprint b0)" in text_of(run)


def test_weights_that_were_scaled_before_are_shown(tmp_path):
    run = report_runs.mini(tmp_path / "mine", ks=[0.0, 1.0, 0.0])
    weights = (0.21194156, 0.57611688, 0.21194156)  # the softmax
    lines = [f"gone,ks,{i},{w},,1,1.0,{w}\n" for i, w in enumerate(weights)]
    head = "model,task,layer,weight,spread,heads,norm,scaled\n"
    (run / "layer_weights.csv").write_text(head + "".join(lines))
    text = text_of(run)
    assert "Weights times layer norms" in text
    (run / "layer_weights.csv").write_text(head + "gone,ks,0,0.9,,1,1.0,0.9\n")  # of other heads
    assert "Weights times layer norms" not in text_of(run)


def test_heads_that_are_gone_do_not_stop_the_report(tmp_path):
    score_runs.suite(tmp_path / "mine", score_runs.record("ks", 0.9))
    assert "No layer weights: " in text_of(tmp_path / "mine")


def test_all_text_is_escaped(tmp_path):
    bad = "<script>alert(1)<" + "/script>"
    run = pretraining_run(tmp_path / "<script>alert(1)", run__note=bad)
    score_runs.suite(
        run / "superb", score_runs.record("ks", 0.9), upstream=bad, overrides={bad: bad}
    )
    report_runs.probe(run / "probe", f"{bad} $x_{{", f"{bad} $y$")
    report_runs.convergence(run / "convergence", (bad, "\"'><img src=x onerror=alert(1)> $_{"))
    text = text_of(run)
    assert text.count("<script>") == 1 and "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    Page(text)


def test_long_logs_do_not_make_large_pages(tmp_path):
    random = np.random.default_rng(0)
    runs = [
        pretraining_run(tmp_path / name, 3 + random.random(4000), online=1.0, run__seed=1)
        for name in ("one", "two", "three")
    ]
    path = report.report(runs[0], runs[1:])
    assert path.stat().st_size < 2_500_000
    assert path.read_text().count(">40000<") >= 3


def test_scores_of_single_checkpoints_are_not_the_runs(tmp_path):
    run = pretraining_run(tmp_path / "mine")
    score_runs.suite(run / "superb" / "update_10", score_runs.record("ks", 0.123))
    assert "12.30" not in text_of(run)


def test_experiments_of_s3prl_are_read_too(tmp_path):
    alone = {"upstream_ckpt": None, "upstream_trainable": False, "layer": 0, "head": None}
    for name, value in (("mt4ssl", 0.9), ("fbank", 0.1)):
        record = score_runs.record("ks", value, upstream=name, fingerprint=name, **alone)
        score_runs.experiment(tmp_path / "mine" / "superb" / "ks" / name, record)
    text = text_of(tmp_path / "mine")
    assert '<th scope="row">mine<' in text and '<th scope="row">fbank<' in text


def test_seeds_of_a_study_are_one_group(tmp_path):
    for seed in (1, 2):
        pretraining_run(tmp_path / "study" / "both" / f"seed{seed}", run__seed=seed)
    assert ">study (held out)<" in text_of(tmp_path / "study")


def test_single_seeds_of_a_study_are_compared(tmp_path):
    runs = [pretraining_run(tmp_path / group / "seed1", run__seed=1) for group in ("both", "one")]
    text = text_of(*runs)
    assert ">both/seed1 (held out)<" in text and ">one/seed1 (held out)<" in text


def test_a_folder_with_nothing_names_the_commands(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to report.*mt4ssl superb run.*mt4ssl probe"):
        report.report(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        report.report(tmp_path / "none")


def test_two_runs_of_one_name_are_refused(whole, tmp_path):
    other = pretraining_run(tmp_path / "elsewhere" / "first")
    with pytest.raises(ValueError, match="both are called 'first'"):
        report.report(whole, [other])


def test_damaged_files_are_named(tmp_path):
    folder = report_runs.probe(tmp_path / "mine" / "probe")
    (folder / "probe.json").write_text("{")
    with pytest.raises(ValueError, match=r"probe\.json: not valid JSON"):
        report.report(tmp_path / "mine")
    (folder / "probe.json").write_text(json.dumps({"model": "m"}))
    with pytest.raises(ValueError, match=r"has no fingerprint, layers"):
        report.report(tmp_path / "mine")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("convergence.json", "5", "expected an object"),
        ("convergence.json", '{"runs": [], "points": [{"a": 1}], "reach": []}', "points: a line"),
        ("convergence.json", '{"runs": [], "points": {}, "reach": null}', "points: a line has no"),
        ("probe.json", '{"model": 1, "fingerprint": "f", "layers": 1, "rows": [], "matrices": []}',
         "model cannot be 1"),
    ],
)  # fmt: skip
def test_foreign_files_are_refused(tmp_path, name, text, told):
    folder = pretraining_run(tmp_path / "mine")
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}: {told}.*write it again with `mt4ssl"):
        report.report(folder)


def test_names_may_begin_with_an_underscore_and_hold_dollars(tmp_path):
    ks = [score_runs.record(task, 0.5, corpus=score_runs.MINI) for task in ("ks", "sid")]
    folder = score_runs.suite(tmp_path / "_x" / "superb", *ks).parent
    other = score_runs.suite(tmp_path / r"a$\\foo$" / "superb", *ks, fingerprint="f1").parent
    text = text_of(folder, other)
    assert ">\N{ZERO WIDTH SPACE}_x<" in text and r">a$\\foo$<" in text


def test_groups_of_one_name_in_two_runs_are_told_apart(tmp_path):
    for group, losses in (("a", (4.0, 3.0)), ("b", (4.0, 3.0))):
        pretraining_run(tmp_path / "mine" / group, losses)
    text = text_of(tmp_path / "mine", pretraining_run(tmp_path / "a", (9.0, 8.0)))
    assert all(f">{name} (held out)<" in text for name in ("mine/a", "mine/b", "a"))


def test_an_unknown_set_is_refused(whole):
    with pytest.raises(ValueError, match="--set all"):
        report.report(whole, score_set="all")


def test_the_page_is_called_after_the_model_and_as_asked(tmp_path):
    run = report_runs.published(tmp_path / "out", ckpt="/models/our_hubert.pt")
    assert "<title>our_hubert: mt4ssl report</title>" in text_of(run)
    other = report_runs.published(tmp_path / "b" / "out", ckpt="/models/our_hubert.pt", smoke=True)
    with pytest.raises(ValueError, match=r"both are called 'out'; give each run once, and --name"):
        text_of(run, other)
    named = text_of(run, other, names=["large, 400k", "smoke"])
    assert "<title>large, 400k: mt4ssl report</title>" in named
    assert '<th scope="row">smoke</th>' in named


def test_word_error_rates_stand_beside_the_published_ones(tmp_path):
    run = tmp_path / "mine"
    record = {
        "labelled": "10h",
        "fingerprint": "a" * 64,
        "data": "LibriSpeech/test-clean",
        "utterances": 2620,
        "wer": {"rate": 0.0312, "interval": None},
        "search": {"kind": "greedy"},
        "skipped": [],
    }
    write_json(run / "decode" / "decode.json", record)
    (run / "config.yaml").write_text("text:\n  case: upper\n")
    (run / "log.jsonl").write_text('{"update": 0, "audio_hours": 0.5}\n')  # of fine-tuning
    text = text_of(run)
    assert "Pre-trained on" not in text
    assert "Word error rates after fine-tuning" in text and "LibriSpeech, 10 h of" in text
    assert "<strong>3.1</strong>" in text and "ILS-SSL/README.md" in text
    assert "LibriSpeech, 1 h of transcribed speech: WER in %: not run" in text
    assert "decode/decode.json" in text
    write_json(run / "decode" / "decode.json", record | {"wer": 3})
    with pytest.raises(ValueError, match=r"decode\.json: not a record"):
        text_of(run)


def test_every_panel_of_probes_has_a_sentence():
    assert {title for title, *_ in layer_plots.PANELS} == sections._TOLD.keys()
