"""The table as text, the checks of the inputs, and the small formatters."""

import dataclasses
import doctest
import math

import numpy as np
import pytest
from closed_loop import build

from paramctl_jax.report import markup, remarks, style, summary, summary_table, write
from paramctl_jax.types import ControlScore, InputError, StimulusSet


def test_summary_table_is_the_score(inputs):
    lines = summary_table(inputs).splitlines()
    score = inputs.score.subjects[""]["robust"]
    line = next(line for line in lines if line.startswith("robust "))
    slopes = np.mean([site.slope for site in score.sites.values()])
    evaluation = inputs.evaluations["robust"]
    expected = (
        f"robust 2 {evaluation.r.mean():.2f} {evaluation.r2.mean():.2f} "
        f"{evaluation.r_normalised.mean():.2f} {score.control_mean:.2f} ± "
        f"{score.control_sd:.2f} "
        f"[{score.control_ci[0]:.2f}, {score.control_ci[1]:.2f}] "
        f"{slopes:.2f} 6/6 28/30"
    )
    assert line.split() == expected.split()
    assert lines[-1].startswith("robust − standard: +")
    assert "p over seeds 0.25 (min 0.25), over sites 0.5 (min 0.5)" in lines[-1]
    assert len({len(line) for line in lines[:4]}) == 1


def test_many_comparisons_are_counted_not_listed(inputs):
    one = inputs.score.comparisons[0]
    for count in (summary.FEW, summary.FEW + 1):
        score = dataclasses.replace(inputs.score, comparisons=(one,) * count)
        lines = summary_table(dataclasses.replace(inputs, score=score)).splitlines()
        listed = [line for line in lines if line.startswith("robust − standard")]
        assert len(listed) == (count if count == summary.FEW else 0)
    assert lines[-1] == "7 differences between models are in the report"


def test_encoding_is_averaged_over_the_scored_sites_only(tmp_path):
    inputs = build(tmp_path / "s", {"m": 0.8}, ("a", "b"))
    wide = build(tmp_path / "w", {"m": 0.8}, ("a", "b", "c"))
    inputs = dataclasses.replace(inputs, evaluations=wide.evaluations)
    cells = summary.model_rows(inputs)[0].cells
    assert cells["r"].value == pytest.approx(wide.evaluations["m"].r[:2].mean())
    assert cells["sites"].text == "2"


def test_undefined_ceiling_has_its_reason(inputs):
    evaluation = inputs.evaluations["robust"]
    normalised = np.asarray([0.9, math.nan])
    changed = dataclasses.replace(evaluation, r_normalised=normalised)
    partial = dataclasses.replace(
        inputs, evaluations=inputs.evaluations | {"robust": changed}
    )
    cell = summary.model_rows(partial)[0].cells["r / ceiling"]
    assert (cell.value, cell.text) == (0.9, "0.90")
    assert "mean over 1 of 2 sites" in summary_table(partial)
    changed = dataclasses.replace(evaluation, r_normalised=np.full(2, math.nan))
    none = dataclasses.replace(
        inputs, evaluations=inputs.evaluations | {"robust": changed}
    )
    assert "–(a)" in summary_table(none)
    assert (
        "(a) the noise ceiling of every site is unknown or below .1"
        in summary_table(none)
    )


def test_zero_hits_are_a_number(inputs):
    stimuli = tuple(dataclasses.replace(s, hit=False) for s in inputs.stimuli.stimuli)
    missed = dataclasses.replace(
        inputs, stimuli=StimulusSet(inputs.stimuli.directory, stimuli)
    )
    cell = summary.model_rows(missed)[0].cells["hits"]
    assert (cell.value, cell.text) == (0.0, "0/30")
    lines = remarks.remarks(missed)
    assert "robust: 30 of 30 stimuli miss their target, at most by 0.80 z" in lines


def test_counts_are_of_the_set(inputs):
    counted = remarks.counts(inputs)
    assert counted["accentuated PNGs"] == "60"
    assert counted["un-accentuated seed PNGs"] == "12"
    assert counted["stimuli recorded"] == "72 of 72"
    assert (counted["levels per seed"], counted["repeats of each"]) == ("5", "10")


def test_unequal_level_grids_are_remarked(inputs):
    stimuli = tuple(
        dataclasses.replace(s, target=s.target + 0.5)
        if (s.model, s.site) == ("standard", "v4_31") and s.level is not None
        else s
        for s in inputs.stimuli.stimuli
    )
    changed = dataclasses.replace(
        inputs, stimuli=StimulusSet(inputs.stimuli.directory, stimuli)
    )
    said = " ".join(remarks.remarks(changed))
    assert "target levels differ between models at 1 sites (v4_31)" in said
    assert "target levels differ" not in " ".join(remarks.remarks(inputs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluations": {}}, "at least one encoding model"),
        ({"recorded": {"other": 1.0}}, "1 recorded stimuli are not in the set"),
        ({"subject": "paul"}, "subject='paul' is not scored"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(inputs, change, message):
    with pytest.raises(InputError, match=message) as caught:
        dataclasses.replace(inputs, **change)
    assert "\n" not in str(caught.value)


def test_models_without_evaluation_are_refused(inputs):
    evaluations = {"robust": inputs.evaluations["robust"]}
    with pytest.raises(InputError, match=r"stimuli of models \['standard'\]"):
        dataclasses.replace(inputs, evaluations=evaluations)
    empty = StimulusSet(inputs.stimuli.directory, ())
    with pytest.raises(InputError, match=r"control scores of models \['standard'\]"):
        dataclasses.replace(inputs, evaluations=evaluations, stimuli=empty, recorded={})


def test_one_of_several_subjects_must_be_named(inputs):
    models = inputs.score.subjects[""]
    both = ControlScore({"paul": models, "red": models}, inputs.score.comparisons)
    with pytest.raises(InputError, match=r"name one of \['paul', 'red'\]"):
        dataclasses.replace(inputs, score=both)
    chosen = dataclasses.replace(inputs, score=both, subject="red")
    assert "robust −" not in summary_table(chosen)


def test_two_stimuli_in_one_place_are_refused(inputs):
    first = inputs.stimuli.stimuli[1]
    twice = (*inputs.stimuli.stimuli, dataclasses.replace(first, stimulus_id="again"))
    with pytest.raises(InputError, match="'s0001' and 'again' are both model 'robust'"):
        dataclasses.replace(
            inputs, stimuli=StimulusSet(inputs.stimuli.directory, twice)
        )


@pytest.mark.parametrize("module", [markup, remarks, style, summary, write])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
