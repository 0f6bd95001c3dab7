"""Loads an export with the real brainscore-core, in an environment of its own.

brainscore-core needs numpy < 2 and cannot live beside JAX; nothing of this project is
imported here. See ``docs/exchange.md`` for the two commands.
"""

import csv
import importlib
import math
import sys
from pathlib import Path

BRAINIO = "brainscore_core.supported_data_standards.brainio"


def check(folder: Path) -> str:
    stimuli = importlib.import_module(f"{BRAINIO}.stimuli")
    validator = importlib.import_module(f"{BRAINIO}.upload_validator")
    table = folder / "stimulus_set.csv"
    loaded = stimuli.StimulusSet.from_files(str(table), str(folder / "stimuli"))
    assert validator.validate_stimulus_set(loaded)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(loaded["stimulus_id"]) == [row["stimulus_id"] for row in rows]
    for column in loaded.columns:
        _check_column(column, list(loaded[column]), [row[column] for row in rows])
    for row in rows:
        assert Path(loaded.get_stimulus(row["stimulus_id"])).name == row["filename"]
    files = {path.name for path in (folder / "stimuli").iterdir()}
    assert files == {row["filename"] for row in rows}
    return f"{folder}: {len(rows)} stimuli, {len(loaded.columns)} columns, valid"


def _check_column(name: str, read: list, written: list) -> None:
    """Text stays the text it was, numbers are numbers; nothing else is missing."""
    is_text = any(isinstance(cell, str) for cell in read)
    for found, cell in zip(read, written, strict=True):
        if is_text:
            assert found == cell, f"{name}: {cell!r} was read as {found!r}"
        elif cell:
            # pandas drops digits of a number beyond its 17th place
            close = math.isclose(found, float(cell), rel_tol=1e-12)
            assert close, f"{name}: {cell} was read as {found}"
        else:
            assert found != found, f"{name}: nothing was read as {found}"


if __name__ == "__main__":
    sys.stdout.write(check(Path(sys.argv[1])) + "\n")
