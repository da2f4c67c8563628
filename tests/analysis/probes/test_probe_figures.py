import matplotlib.image
import pandas as pd
import pytest

from analysis import plots
from analysis.probes import layer_plots


def found(measures=("phone", "phone_ctc", "cca_mel", "cca_phone", "pnmi_excess"), layers=3, **more):
    rows = [
        {
            "layer": layer, "measure": name, "value": 0.1 * layer + 0.3, "low": 0.2, "high": 0.7,
            "baseline": 0.1 if name == "phone" else None, "control": None, "direction": "max",
        }
        for name in measures
        for layer in range(layers)
    ]  # fmt: skip
    return {"model": "m", "layers": layers, "rows": rows, "matrices": [], **more}


def test_a_panel_per_kind_of_measure():
    figure, data = layer_plots.layer_curves({"one": found()})
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == 4 and len(data) == 15
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in shown)
    figure.canvas.draw()
    legends = [(axis, axis.get_legend()) for axis in shown if axis.get_legend()]
    for axis, legend in legends:  # off the data
        assert legend.get_window_extent().y1 <= axis.get_window_extent().y0
    labels = [text.get_text() for _, legend in legends for text in legend.get_texts()]
    assert labels == ["baseline", "cca_mel", "cca_phone"]
    better = ["higher" in axis.get_ylabel() for axis in shown]
    assert better == [True, False, False, True] and figure.get_figwidth() <= plots.WIDTH


def test_models_over_each_other():
    figure, data = layer_plots.layer_curves({"one": found(), "two": found(("phone",), layers=5)})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert set(data["model"]) == {"one", "two"}
    with pytest.raises(ValueError, match="no rows to draw"):
        layer_plots.layer_curves({"one": found(())})


def test_a_heat_map_s_scale_is_that_of_its_values_and_layers_are_whole_numbers():
    values = [[0.99, 0.97] * 10] * 2
    figure, _ = layer_plots.matrices(found(matrices=[{"measure": "cca", "values": values}]), "mine")
    axis = figure.axes[0]
    assert axis.images[0].get_clim() == (0.97, 0.99)
    assert list(axis.get_yticks()) == [0, 1] and list(axis.get_xticks()) == list(range(0, 20, 2))
    assert axis.get_xlabel() == "layer of mine"


def test_matrices_and_files(tmp_path):
    kinds = [
        {"measure": "cca", "values": [[1.0, 0.5], [0.5, 1.0]]},
        {"measure": "cka", "first": "m", "second": "other", "values": [[0.9, 0.2, 0.1]]},
    ]
    bases = layer_plots.write({"m": found(matrices=kinds)}, tmp_path)
    assert [base.name for base in bases] == ["layers", "similarity"]
    for base in bases:
        assert matplotlib.image.imread(f"{base}.png").std() > 0.05
        assert base.with_suffix(".svg").read_text().startswith("<?xml")
    table = pd.read_csv(tmp_path / "similarity.csv")
    assert len(table) == 7 and set(table.second) == {"m", "other"}
    with pytest.raises(ValueError, match="no layers were compared"):
        layer_plots.matrices(found())


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        figure, axes = plots.new()
        axes[0, 0].plot([1, 2], [3, 1])
        plots.tidy(axes[0, 0], "t", "x (s)", "y (m)")
        plots.save(figure, tmp_path / name, pd.DataFrame({"x": [1, 2]}))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.csv").read_text() == "x\n1\n2\n"
