"""Control scores of an exchange table.

    python -m launch.score --table=responses.csv --out=scores.json

The table has one row per shown stimulus, ``model,site,seed,level,predicted,recorded``;
see `paramctl_jax.scoring.read_table`. Where the level is the target itself, as in the
authors' tables, ``--target_column=level`` gives the scores without missed targets too.
Several animals are told apart by a column ``subject``. docs/scores.md explains every
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from launch import _main
from paramctl_jax import artifacts, scoring
from paramctl_jax.types import InputError

_TABLE = flags.DEFINE_string("table", None, "CSV with one row per shown stimulus.")
_OUT = flags.DEFINE_string("out", None, "Where to write the scores as JSON, if at all.")
_N_BOOTSTRAP = flags.DEFINE_integer(
    "n_bootstrap", 10_000, "Draws of the crossed seed x site bootstrap.", lower_bound=1
)
_TARGET = flags.DEFINE_string(
    "target_column", "target", "Column with the level asked for, in response units."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap's generator.", lower_bound=0)


def main(argv: Sequence[str]) -> None:
    """Reads the table, prints the scores, writes them where asked."""
    del argv
    if not _TABLE.value:
        raise InputError(
            "--table: expected a CSV file, found nothing; give --table=FILE"
        )
    if _OUT.value and Path(_OUT.value).resolve() == Path(_TABLE.value).resolve():
        raise InputError("--out: expected another file than --table, found the same")
    table = scoring.read_table(_TABLE.value, _TARGET.value)
    score = scoring.score_table(
        table, n_bootstrap=_N_BOOTSTRAP.value, random_seed=_SEED.value
    )
    if _OUT.value:
        artifacts.write_json(_OUT.value, scoring.scores_to_json(score))
    print(scoring.format_scores(score))


if __name__ == "__main__":
    _main.run(main)
