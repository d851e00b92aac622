"""What values say of themselves: one line each, whatever a file put into them, and a picture in notebooks."""

from __future__ import annotations

import re
from base64 import b64decode

import torch
from samples import mask_of, statistics_of

from lape import Intervention, ResidualIntervention, ResidualMeans
from lape.inspection.activations import Activations
from lape.recording.statistics import statistics_svg

MASK = mask_of({"fr": [(0, 1), (1, 2)], "es": [(1, 1)]}, {"fr": [1.0, 2.0], "es": [3.0]}, model="org/a", method="lape")
STATISTICS = statistics_of({"fr": [[1, 2, 3], [4, 5, 6]], "es": [[6, 5, 4], [3, 2, 1]]}, 10)


def test_values_are_one_line() -> None:
    shown = "<NeuronMask of org/a by lape: fr 2, es 1; 2 languages, 2 layers x 4 neurons>"
    assert repr(MASK) == shown
    assert repr(STATISTICS) == (
        "<ActivationStatistics of org/tiny: 2 languages (es, fr), 10 tokens each, 2 layers x 3 neurons>"
    )
    steered = Intervention(MASK, off="fr", on="es", layers=range(1, 2))
    assert repr(steered) == f"Intervention(mask={shown}, off=('fr',), on='es', layers=range(1, 2))"
    sums = {code: torch.ones(2, 3).double() for code in ("fr", "es")}
    means = ResidualMeans(sums, {code: torch.ones(2).double() for code in sums}, {"fr": 4, "es": 9}, {})
    moved = "<ResidualMeans: 2 languages (es, fr), 4 to 9 tokens each, 2 layers x 3 dimensions>"
    assert repr(ResidualIntervention(means, on="fr")) == f"ResidualIntervention(means={moved}, on='fr')"
    seen = Activations(("été", "s"), (2, 1), torch.arange(4), torch.zeros(3, 4))
    assert repr(seen) == "Activations(pieces=('été', 's'), tokens=(2, 1), neurons=int64[4], values=float32[3, 4])"


def test_many_languages_are_counted_and_no_file_writes_a_second_line() -> None:
    many = mask_of({f"x{place:02}": [(0, 1)] for place in range(30)}, model="a\n\x1b[31mb", method="m\r")
    assert repr(many).isprintable()
    assert " x07 1 and 22 more; 30 languages," in repr(many)


def test_a_notebook_shows_a_picture_that_stands_alone() -> None:
    hostile = mask_of({"fr": [(0, 1)]}, model='"><script src="https://evil.org">', method="lape")
    values = {"Neurons per layer and language": MASK, "Neurons active at a token": STATISTICS, "": hostile}
    for said, value in values.items():
        shown = value._repr_html_()
        assert re.findall("<(\\w+)", shown) == ["br", "img"]
        (svg,) = re.findall('src="data:image/svg\\+xml;base64,([^"]*)"', shown)
        picture = b64decode(svg).decode()
        assert said in picture
        assert "prefers-color-scheme: dark" in picture
        assert "<script" not in picture


def test_the_picture_of_statistics_counts_the_neurons_that_are_active_at_a_token() -> None:
    counts = {"fr": [[10, 10, 10, 2], [0, 0, 9, 8]]}  # of 10 tokens: 3.2 neurons of the first layer, 1.7 of the second
    assert "French (fr): 5 neurons, most in layer 0." in statistics_svg(statistics_of(counts, 10))
