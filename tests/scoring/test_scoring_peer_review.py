"""Makers by reviewers: against scipy entry by entry, the control score, and a table."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import control_score
from paramctl_jax.scoring.peer_review import peer_review, review_table, review_tables
from paramctl_jax.types import InputError, Recordings, Stimulus, StimulusSet

SITES, SEEDS, LEVELS = ("07", "V4_12", "V4_13"), ("cat", "dog", "owl", "elk"), 6
MODELS = ("m1", "m2")


def stimulus(model, site, seed, level, predicted):
    name = f"{model}-{site}-{seed}-{'seed' if level is None else level}"
    return Stimulus(
        stimulus_id=name, filename=f"{name}.png", model=model, site=site, seed=seed,
        level=level, target=0.0, predicted=predicted, hit=True, sha256="sha256:00",
        start=0.0, reached=predicted, step=3, stop_reason="hit", relative_error=0.0,
        rms=0.1, linf=0.2, clipped=0.0,
    )  # fmt: skip


@pytest.fixture
def stimuli(tmp_path):
    rng = np.random.default_rng(0)
    return StimulusSet(
        tmp_path,
        tuple(
            stimulus(model, site, seed, level, float(rng.normal(level or 0, 0.5)))
            for model in MODELS
            for site in SITES
            for seed in SEEDS
            for level in (None, *range(LEVELS))
        ),
    )


@pytest.fixture
def responses(stimuli):
    rng = np.random.default_rng(1)
    made = [stimuli.stimuli[i] for i in rng.permutation(len(stimuli))]
    drive = np.array([0.0 if s.level is None else float(s.level) for s in made])
    trials = drive[:, None, None] * 0.4 + rng.normal(0, 1, (len(made), 3, 2))
    return Recordings(trials, tuple(s.stimulus_id for s in made), SITES)


@pytest.fixture
def predictions(stimuli):
    """Models know their own stimuli; a third one, and each other, see them noisily."""
    rng = np.random.default_rng(2)
    return {
        reviewer: {
            s.stimulus_id: s.predicted + (s.model != reviewer) * float(rng.normal(0, 2))
            for s in stimuli.stimuli
        }
        for reviewer in (*MODELS, "third")
    }


def by_hand(stimuli, responses, maker, said, statistic):
    row = {name: i for i, name in enumerate(responses.stimulus_ids)}
    of_sites = []
    for column, site in enumerate(responses.site_ids):
        of_seeds = []
        for seed in SEEDS:
            own = [
                s for s in stimuli.stimuli
                if (s.model, s.site, s.seed) == (maker, site, seed)
                and s.level is not None
            ]  # fmt: skip
            x = [said[s.stimulus_id] for s in own]
            y = [responses.responses[row[s.stimulus_id], column].mean() for s in own]
            of_seeds.append(statistic(x, y))
        of_sites.append(np.mean(of_seeds))
    return np.mean(of_sites)


def test_every_entry_agrees_with_scipy(stimuli, responses, predictions):
    review = peer_review(stimuli, responses, predictions, n_bootstrap=50)
    assert (review.makers, review.reviewers) == (MODELS, (*MODELS, "third"))
    for i, maker in enumerate(review.makers):
        for j, reviewer in enumerate(review.reviewers):
            args = (stimuli, responses, maker, predictions[reviewer])
            r = by_hand(*args, lambda x, y: scipy.stats.pearsonr(x, y)[0])
            slope = by_hand(*args, lambda x, y: np.polyfit(x, y, 1)[0])
            np.testing.assert_allclose(review.control[i, j], r, atol=1e-12)
            np.testing.assert_allclose(review.slope[i, j], slope, atol=1e-12)
    assert (review.n_sites == 3).all()
    assert review.notes == ()


def test_the_diagonal_is_each_models_own_control(stimuli, responses, predictions):
    review = peer_review(stimuli, responses, predictions, n_bootstrap=300)
    score = control_score(stimuli, responses, n_bootstrap=300).subjects[""]
    for i, model in enumerate(MODELS):
        np.testing.assert_allclose(review.control[i, i], score[model].control_mean)
        np.testing.assert_allclose(review.ci[i, i], score[model].control_ci)


def test_generalisation_leaves_out_own_stimuli(stimuli, responses, predictions):
    review = peer_review(stimuli, responses, predictions, n_bootstrap=20)
    q = review.control
    expected = [q[1, 0], q[0, 1], q[:, 2].mean()]
    np.testing.assert_allclose(review.generalisation, expected)
    q[0, 1] = np.nan
    assert np.isnan(review.generalisation[1])


def test_order_of_stimuli_and_reviewers_does_not_matter(
    stimuli, responses, predictions
):
    review = peer_review(stimuli, responses, predictions, n_bootstrap=100)
    turned = dataclasses.replace(stimuli, stimuli=stimuli.stimuli[::-1])
    backward = dict(reversed(predictions.items()))
    other = peer_review(turned, responses, backward, n_bootstrap=100)
    assert other.makers == review.makers[::-1]
    np.testing.assert_allclose(other.control[::-1, ::-1], review.control, atol=1e-12)
    np.testing.assert_allclose(other.ci[::-1, ::-1], review.ci, atol=1e-12)


def test_what_a_reviewer_does_not_know_is_left_out_and_counted(
    stimuli, responses, predictions
):
    known = {
        s.stimulus_id: s.predicted
        for s in stimuli.stimuli
        if s.model == "m1" and s.site != "07"
    }
    review = peer_review(
        stimuli, responses, {**predictions, "narrow": known}, n_bootstrap=20
    )
    assert review.n_sites[:, 3].tolist() == [2, 0]
    assert np.isnan(review.control[1, 3])
    notes = [note for note in review.notes if note.startswith("narrow on stimuli of")]
    assert any("m1: 24 points left out" in note for note in notes)
    assert any("m1: 4 of 12 sweeps have no r" in note for note in notes)
    assert any("m2: 12 of 12 sweeps have no r" in note for note in notes)


def write_rows(path, stimuli, responses, predictions):
    row = {name: i for i, name in enumerate(responses.stimulus_ids)}
    lines = ["maker,reviewer,site,seed,level,predicted,recorded,extra"]
    for reviewer, said in predictions.items():
        for s in stimuli.stimuli:
            if s.level is not None:
                column = responses.site_ids.index(s.site)
                y = responses.responses[row[s.stimulus_id], column].mean()
                lines.append(
                    f"{s.model},{reviewer},{s.site},{s.seed},{s.level},"
                    f"{said[s.stimulus_id]!r},{float(y)!r},x"
                )
    path.write_text("\n".join(lines) + "\n")


def test_a_long_table_gives_the_same_matrix(tmp_path, stimuli, responses, predictions):
    path = tmp_path / "review.csv"
    write_rows(path, stimuli, responses, predictions)
    review = review_tables(review_table(path), n_bootstrap=100)
    expected = peer_review(stimuli, responses, predictions, n_bootstrap=100)
    assert (review.makers, review.reviewers) == (expected.makers, expected.reviewers)
    np.testing.assert_allclose(review.control, expected.control, atol=1e-12)
    np.testing.assert_allclose(review.ci, expected.ci, atol=1e-12)


HEADER = "maker,reviewer,site,seed,level,predicted,recorded"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("maker,site,seed,level,predicted,recorded\n", "missing column.*reviewer"),
        (f"{HEADER}\n", "only the header"),
        (f"{HEADER}\na,b,s,i,0,1\n", "row 2: expected 7 cells"),
        (f"{HEADER}\na,,s,i,0,1,2\n", "row 2, column 'reviewer'"),
        (f"{HEADER}\na,b,s,i,0,high,2\n", "row 2, column 'predicted'.*'high'"),
        (f"{HEADER}\na,b,s,i,0,1,inf\n", "row 2, column 'recorded'.*'inf'"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    path = tmp_path / "review.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        review_table(path)


def test_missing_files_reviewers_and_several_subjects_are_refused(tmp_path):
    with pytest.raises(InputError, match="readable CSV"):
        review_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="at least one reviewer"):
        review_tables({})
    path = tmp_path / "review.csv"
    path.write_text(f"subject,{HEADER}\nx,a,b,s,i,0,1,2\ny,a,b,s,i,0,1,2\n")
    with pytest.raises(InputError, match="one subject"):
        review_tables(review_table(path))
