import numpy as np
import pytest

from mt4ssl_core.data.cuts import ListedCuts, file_cut
from mt4ssl_core.data.manifest import Manifest, hours_of
from mt4ssl_core.data.selection import select
from mt4ssl_core.settings.selecting import parse


def manifest(samples):
    cuts = ListedCuts(file_cut(f"u{i}", f"/u{i}", 16_000, 1, n) for i, n in enumerate(samples))
    return Manifest(cuts, hours_of(cuts))


def kept(samples, text):
    found = select(manifest(samples), parse(text))
    assert found.hours == pytest.approx(found.cuts.samples.sum() / 16_000 / 3600)
    return [found.cuts.id(place) for place in range(len(found.cuts))]


def test_the_longest_and_shortest_of_a_budget_keep_their_order():
    samples = [400, 900, 500, 700, 500]  # 3000
    assert kept(samples, "longest:0.6") == ["u1", "u3"]
    assert kept(samples, "shortest:0.5") == ["u0", "u2", "u4"]
    assert kept(samples, "longest:1") == [f"u{i}" for i in range(5)]
    assert kept(samples, "longest:0.001") == ["u1"]  # one at least


def test_a_random_part_depends_on_ids_alone_and_grows():
    samples = np.random.default_rng(0).integers(400, 9000, 300).tolist()
    tenth, half = (set(kept(samples, f"random:{share}")) for share in (0.1, 0.5))
    assert tenth < half and 20 < len(tenth) < 45 and 120 < len(half) < 180
    assert tenth == set(kept(samples, "random:0.1"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("longst:0.5", "did you mean longest:0.5?"),
        ("Longest:0.5", "did you mean longest:0.5?"),
        ("0.5", "expected longest:0.5"),
        ("longest", "no colon with a share"),
        ("longest:", "no share behind the colon"),
        ("longest:half", "no share behind the colon"),
        ("random:0", "must be above 0 and at most 1"),
        ("random:1.5", "must be above 0 and at most 1"),
        ("random:nan", "must be above 0 and at most 1"),
    ],
)
def test_a_selection_is_read_strictly(text, said):
    with pytest.raises(ValueError, match="") as error:
        parse(text)
    assert said in str(error.value)
