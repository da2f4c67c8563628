from upstream.suite import table

RECORD = {
    "task": "ks", "metric": "acc", "value": 0.96504, "unit": "fraction", "direction": "max",
    "stage": "test", "smoke": False, "overrides": {}, "rate": 1e-4, "layer": None,
    "corpus": {"kind": "real"},
    "tried": [{"rate": 1e-4, "layer": None, "dev": 0.9}, {"rate": 1e-3, "layer": None, "dev": 0.1}],
    "reference": {"unit": "percent", "fbank": 41.38, "sota": 96.66},
}  # fmt: skip


def test_columns():
    qbe = {**RECORD, "task": "qbe", "value": None, "unit": None, "rate": None, "layer": 3}
    lm = {**RECORD, "task": "asr", "stage": "lm", "direction": "min", "reference": None}
    head, rule, *rows = table.render_table([RECORD, qbe, lm]).splitlines()
    assert head.split() == [
        *(["task", "metric", "value", "unit", "better", "chosen", "corpus", "FBANK", "SOTA"]),
    ]
    assert set(rule) == {"-", " "} and len({row.index("real") for row in rows}) == 1
    assert rows[0].split("  ")[0] == "ks" and "0.965" in rows[0] and "lr 0.0001 of 2" in rows[0]
    assert "41.38 percent" in rows[0] and "96.66 percent" in rows[0]
    assert "nan" in rows[1] and "layer 3 of 2" in rows[1]
    assert "acc (lm)" in rows[2] and "lower" in rows[2]


def test_published_figures_stand_beside_whole_real_corpora_only():
    mini = {**RECORD, "corpus": {"kind": "mini"}}
    smoke = {**RECORD, "smoke": True, "overrides": {"runner.total_steps": 4}}
    changed = {**smoke, "smoke": False}
    shown = table.render_table([mini, smoke, changed])
    assert "real, changed" in shown
    assert "FBANK" not in shown and "41.38" not in shown and "real, smoke" in shown
    mixed = table.render_table([RECORD, mini]).splitlines()
    assert "41.38" in mixed[2] and "41.38" not in mixed[3]
    assert table.render_table([]) == "no results yet"


def test_transformed_features_and_heads_that_learned_nothing_are_named():
    whitened = {**RECORD, "feature_transform": {"kind": "whiten"}}
    blank = {**RECORD, "blank_share": 0.999, "emitted_share": 0.0}
    rows = table.render_table([RECORD, whitened, blank]).splitlines()
    assert "real, --feature-transform whiten" in rows[3] and "41.38" not in rows[3]
    assert "real, only blanks: not learned" in rows[4] and "41.38" in rows[4]
