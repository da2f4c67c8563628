"""Query-by-example search through s3prl: two layers on dev, one on test, on a tiny corpus."""

import pytest
import superb_data

from upstream.door import overrides, tasks
from upstream.heads import command, runner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def search(folder, split, *more, upstream="mt4ssl", **changes):
    settings = {**tasks.header("qbe")["smoke"], **changes}
    argv = ["-m", "evaluate", "--task", "qbe", "--root", str(superb_data.corpus("qbe"))]
    argv += ["-u", upstream, "-p", str(folder), "--evaluate_split", split, "--device", "cpu"]
    argv += ["-k", str(superb_data.tiny_checkpoint())] if upstream == "mt4ssl" else []
    argv += ["-o", overrides.render(settings), *more]
    return runner.launch(command.resolve(argv))


def values(records):
    return {record["metric"]: record["value"] for record in records}


def test_layers_on_dev_and_test(tmp_path):
    for layer in (0, 2):
        records = search(tmp_path / f"dev{layer}", "dev", "-l", str(layer))
        assert {record["metric"] for record in records} == {"mtwv", "atwv"}
        assert {record["layer"] for record in records} == {layer}
        assert values(records)["mtwv"] >= max(0, values(records)["atwv"])
    records = search(tmp_path / "test", "test", "-l", "2")
    assert {record["split"] for record in records} == {"test"}
    found = (tmp_path / "test" / "benchmark.stdlist.xml").read_text()
    assert found.count("detected_termlist termid") == 3  # the English queries
    assert "quesst14_eval_" in found
    assert "quesst14_dev_" not in found


def test_two_processes_find_what_one_finds_and_fbank_finds_something(tmp_path):
    one = search(tmp_path / "one", "dev", upstream="fbank")
    two = search(tmp_path / "two", "dev", upstream="fbank", **{"downstream_expert.max_workers": 2})
    assert values(one) == values(two)
    assert values(one)["mtwv"] > 0
