"""MATLAB files: version 5 written by scipy, 7.3 written as MATLAB does, real ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from paramctl_jax.recordings.mat_values import Foreign
from paramctl_jax.recordings.mat_variables import list_names, read_values
from paramctl_jax.recordings.matlab import read_mat
from paramctl_jax.types import InputError, Recordings, Trials

REAL = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
CLASSES = {"f8": "double", "f4": "single", "u1": "uint8", "i4": "int32", "u2": "uint16"}


def text(value):
    return np.asarray(value, dtype=object)


def write_v5(path, variables, compress=False):
    scipy.io.savemat(path, variables, do_compression=compress, oned_as="column")
    return path


def write_v73(path, variables):
    """HDF5 behind a 512-byte header, axes reversed, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        for name, value in variables.items():
            put(file, name, value, references)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
    with path.open("r+b") as stream:
        stream.write(header.ljust(116) + b"\0" * 8 + b"\x00\x02IM")
    return path


def put(parent, name, value, references):
    """Writes a value as MATLAB does; object arrays are cells, dicts are structs."""
    if isinstance(value, dict):
        group = parent.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, inner in value.items():
            put(group, field, inner, references)
    elif isinstance(value, str) and not value:
        empty = parent.create_dataset(name, data=np.zeros(2, np.uint64))
        empty.attrs["MATLAB_class"] = np.bytes_("char")
        empty.attrs["MATLAB_empty"] = np.uint8(1)
    elif isinstance(value, str):
        units = np.frombuffer(value.encode("utf-16-le"), "<u2")
        dataset = parent.create_dataset(name, data=units[:, None])
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
        dataset.attrs["MATLAB_int_decode"] = np.int32(2)
    elif np.asarray(value).dtype == object:
        cells = []
        for entry in value:
            label = f"r{len(references)}"
            put(references, label, entry, references)
            cells.append(references[label].ref)
        dataset = parent.create_dataset(name, (1, len(cells)), h5py.ref_dtype)
        dataset[0] = cells
        dataset.attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        array = np.asarray(value)
        matrix = array.reshape(-1, 1) if array.ndim < 2 else array
        dataset = parent.create_dataset(name, data=matrix.T)
        kind = CLASSES.get(array.dtype.str[1:], "double")
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)


WRITERS = pytest.mark.parametrize("write", [write_v5, write_v73])


def variables(**changed):
    rng = np.random.default_rng(0)
    content = {
        "responses": rng.standard_normal((4, 3, 2)),
        "stimulus_ids": text(["im_a", "im_b", "ü 7", "im_d"]),
        "site_ids": text(["s0", "s1", "s2"]),
    }
    content.update(changed)
    return {name: value for name, value in content.items() if value is not None}


def refused(call, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@WRITERS
def test_round_trip(tmp_path, write):
    content = variables(
        units="spikes/s",
        window_ms=np.array([70.0, 170.0]),
        site_meta={
            "area": text(["V4", "V4", "IT"]),
            "depth": np.array([0.5, 1.5, 2.5]),
            "position": np.arange(6.0).reshape(3, 2),
        },
    )
    content["responses"][1, 2, 1] = np.nan
    content["responses"][2, 2, 1] = np.inf
    read = read_mat(write(tmp_path / "day 1.mat", content))
    assert isinstance(read, Recordings)
    np.testing.assert_array_equal(read.responses, content["responses"])
    assert read.stimulus_ids == ("im_a", "im_b", "ü 7", "im_d")
    assert read.site_ids == ("s0", "s1", "s2")
    assert (read.units, read.window_ms, read.notes) == ("spikes/s", (70.0, 170.0), ())
    assert read.site_meta["area"].tolist() == ["V4", "V4", "IT"]
    assert read.site_meta["depth"].tolist() == [0.5, 1.5, 2.5]
    np.testing.assert_array_equal(
        read.site_meta["position"], np.arange(6.0).reshape(3, 2)
    )


@WRITERS
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_integers_and_singles_become_float64(tmp_path, write, dtype):
    counts = np.arange(24).reshape(4, 3, 2).astype(dtype)
    read = read_mat(write(tmp_path / "x.mat", variables(responses=counts)))
    np.testing.assert_array_equal(read.responses, counts)
    assert read.responses.dtype == np.float64


@WRITERS
def test_a_matrix_is_averages_or_trials(tmp_path, write):
    matrix = np.arange(12.0).reshape(4, 3)
    averages = read_mat(write(tmp_path / "a.mat", variables(responses=matrix)))
    assert isinstance(averages, Recordings)
    np.testing.assert_array_equal(averages.responses, matrix[..., None])
    shown = text(["a", "b", "a", "c"])
    content = variables(responses=matrix, stimulus_ids=shown)
    trials = read_mat(write(tmp_path / "b.mat", content))
    assert isinstance(trials, Trials)
    np.testing.assert_array_equal(trials.responses, matrix)
    assert trials.stimulus_ids == ("a", "b", "a", "c")
    days = text(["d1", "d1", "d2", "d2"])
    content = variables(responses=matrix, session_ids=days)
    trials = read_mat(write(tmp_path / "c.mat", content))
    assert isinstance(trials, Trials)
    assert trials.session_ids == ("d1", "d1", "d2", "d2")


@WRITERS
def test_names_reach_into_structs(tmp_path, write):
    base = variables()
    content = {
        "data": {"rates": base["responses"], "ids": {"im": base["stimulus_ids"]}},
        "channels": base["site_ids"],
        "notes": "day one",
    }
    path = write(tmp_path / "x.mat", content)
    names = {
        "responses": "data.rates",
        "stimulus_ids": "data.ids.im",
        "site_ids": "channels",
    }
    read = read_mat(path, names=names)
    np.testing.assert_array_equal(read.responses, base["responses"])
    say = refused(read_mat, path)
    for name in ("data.rates", "data.ids", "channels", "notes", "names={'responses'"):
        assert name in say
    assert "missing data.absent" in refused(
        read_mat, path, names={**names, "units": "data.absent"}
    )
    assert "did you mean 'responses'" in refused(
        read_mat, path, names={"response": "x"}
    )


@WRITERS
def test_numbers_as_ids_become_text_and_a_note(tmp_path, write):
    content = variables(stimulus_ids=np.array([3.0, 1, 2, 40]), site_ids=np.arange(3))
    read = read_mat(write(tmp_path / "x.mat", content))
    assert read.stimulus_ids == ("3", "1", "2", "40")
    assert read.site_ids == ("0", "1", "2")
    assert read.notes == (
        "stimulus_ids: numbers were made text, 1 became '1'",
        "site_ids: numbers were made text, 1 became '1'",
    )
    cells = variables(stimulus_ids=text([3.0, 1.0, 2.0, 40.0]))
    read = read_mat(write(tmp_path / "y.mat", cells))
    assert read.stimulus_ids == ("3", "1", "2", "40")
    for wrong in (1.5, np.nan, np.inf):
        content = variables(stimulus_ids=np.array([wrong, 1, 2, 3]))
        say = refused(read_mat, write(tmp_path / "z.mat", content))
        assert "stimulus_ids: expected ids as text or whole numbers, found the " in say


def test_char_matrices_lose_their_blanks(tmp_path):
    path = tmp_path / "x.mat"
    padded = np.array(["im_a ", "im_bb", "c    ", "d    "])
    read = read_mat(write_v5(path, variables(stimulus_ids=padded)))
    assert read.stimulus_ids == ("im_a", "im_bb", "c", "d")
    with h5py.File(write_v73(path, variables(stimulus_ids=None)), "a") as file:
        rows = np.frombuffer("".join(padded).encode("utf-16-le"), "<u2").reshape(4, 5)
        dataset = file.create_dataset("stimulus_ids", data=rows.T)
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
    assert read_mat(path).stimulus_ids == ("im_a", "im_bb", "c", "d")


@WRITERS
def test_transposed_arrays_are_told_and_read_with_axes(tmp_path, write):
    responses = np.arange(24.0).reshape(3, 4, 2)
    path = write(tmp_path / "x.mat", variables(responses=responses))
    say = refused(read_mat, path)
    assert "= (4, 3, ...), found shape (3, 4, 2)" in say
    assert "read with axes='site image repeat'" in say
    read = read_mat(path, axes="site image repeat")
    np.testing.assert_array_equal(read.responses, responses.transpose(1, 0, 2))
    path = write(tmp_path / "y.mat", variables(responses=responses[..., 0]))
    assert "axes='site image'" in refused(read_mat, path)
    for axes in ("site image", "site image repeat"):
        read = read_mat(path, axes=axes)
        np.testing.assert_array_equal(read.responses[..., 0], responses[..., 0].T)


@WRITERS
@pytest.mark.parametrize(
    ("changed", "say"),
    [
        ({"stimulus_ids": None}, "missing stimulus_ids; found responses, site_ids"),
        ({"responses": "text"}, "responses: expected an array of numbers, found text"),
        ({"responses": text(["a", "b"])}, "found a cell array"),
        ({"responses": {"rates": np.ones(3)}}, "found a struct"),
        ({"stimulus_ids": np.ones((2, 2))}, "stimulus_ids: expected text"),
        ({"stimulus_ids": text(["a", 1.0, "c", "d"])}, "a cell array of other things"),
        ({"stimulus_ids": text(["a", "", "c", "d"])}, "1 empty ones"),
        ({"stimulus_ids": text(["a", "b", "c"])}, "3 ids, but responses hold 4"),
        ({"units": np.ones(1)}, "units: expected text"),
        ({"window_ms": np.array([170.0, 70.0])}, "start before stop"),
        ({"site_meta": np.ones(3)}, "site_meta: expected a struct"),
        ({"site_meta": {"area": text(["V4"])}}, "site_meta/area: expected one entry"),
    ],
)
def test_bad_contents_give_one_clear_line(tmp_path, write, changed, say):
    path = write(tmp_path / "bad.mat", variables(**changed))
    found = refused(read_mat, path)
    assert say in found
    assert "bad.mat" in found


def test_sparse_and_complex_are_refused(tmp_path):
    path = tmp_path / "x.mat"
    sparse = scipy.sparse.csc_array(np.eye(4, 3))
    write_v5(path, variables(responses=sparse))
    assert "a sparse matrix; in MATLAB, save full(x)" in refused(read_mat, path)
    write_v5(path, variables(responses=np.ones((4, 3, 2), complex)))
    assert "real numbers, found complex128" in refused(read_mat, path)
    write_v73(path, variables(responses=np.ones((4, 3, 2), complex)))
    assert "real numbers" in refused(read_mat, path)
    with h5py.File(write_v73(path, variables(responses=None)), "a") as file:
        group = file.create_group("responses")
        group.attrs["MATLAB_sparse"] = np.uint64(4)
    assert "save full(x)" in refused(read_mat, path)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("string", "cellstr(x)"), ("table", "plain arrays"), ("myclass", "plain arrays")],
)
def test_objects_of_version_73_are_refused_by_name(tmp_path, kind, remedy):
    with h5py.File(write_v73(tmp_path / "x.mat", variables(site_ids=None)), "a") as f:
        opaque = f.create_dataset("site_ids", data=np.zeros((1, 6), np.uint32))
        opaque.attrs["MATLAB_class"] = np.bytes_(kind)
        opaque.attrs["MATLAB_object_decode"] = np.int32(3)
    say = refused(read_mat, tmp_path / "x.mat")
    assert f"MATLAB's class {kind}; in MATLAB, save " in say
    assert remedy in say


def test_foreign_hdf5_contents(tmp_path):
    path = write_v73(tmp_path / "x.mat", variables(site_ids=None))
    with h5py.File(path, "a") as file:
        file["site_ids"] = np.arange(3)
    assert "without MATLAB_class" in refused(read_mat, path)
    with h5py.File(path, "a") as file:
        del file["site_ids"]
        loop = file.create_dataset("site_ids", (1, 3), h5py.ref_dtype)
        loop[0] = [loop.ref] * 3
    assert "a cell array that contains itself" in refused(read_mat, path)
    with h5py.File(path, "a") as file:
        file["site_ids"][0] = [h5py.Reference()] * 3
    assert "an empty reference" in refused(read_mat, path)


@WRITERS
@pytest.mark.parametrize("keep", [0, 100, 127, 200, 600, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(tmp_path, write, keep):
    content = variables(responses=np.random.default_rng(1).random((4, 3, 200)))
    path = write(tmp_path / "cut.mat", {"site_ids": content.pop("site_ids"), **content})
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    assert "cut.mat" in refused(read_mat, path)


def compressed(path, variables):
    return write_v5(path, variables, compress=True)


@pytest.mark.parametrize("write", [write_v5, compressed, write_v73])
def test_damage_is_an_input_error_or_harmless(tmp_path, write):
    """No flipped byte ends otherwise; where there are checksums, no value changes."""
    path = write(tmp_path / "x.mat", variables())
    data = path.read_bytes()
    expected = read_mat(path)
    rng = np.random.default_rng(2)
    n_refused = 0
    for position in rng.integers(0, len(data), 80):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read = read_mat(path)
        except InputError:
            n_refused += 1
            continue
        if write is compressed:
            np.testing.assert_array_equal(read.responses, expected.responses)
            assert read.stimulus_ids == expected.stimulus_ids
    assert n_refused


# Codes of types and classes that scipy's reader looks up unchecked: it would crash.
@pytest.mark.parametrize("position", [145, 200, 201, 512, 568, 904])
def test_codes_that_crash_compiled_readers(tmp_path, position):
    path = write_v5(tmp_path / "x.mat", variables())
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 0xFF
    path.write_bytes(damaged)
    assert "truncated or damaged" in refused(read_mat, path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.mat").write_text("site,response\n" * 50)
    assert "not a MATLAB file" in refused(read_mat, tmp_path / "x.mat")
    assert "found No such file" in refused(read_mat, tmp_path / "absent.mat")
    assert "found a folder" in refused(read_mat, tmp_path)


def real(name):
    """A file written by MATLAB itself, of scipy's own tests."""
    path = REAL / name
    if not path.is_file():
        pytest.skip(f"this build of scipy comes without its test file {name}")
    return path


@pytest.mark.parametrize(
    "name",
    ["testhdf5_7.4_GLNX86.mat", "testdouble_7.4_GLNX86.mat", "testdouble_6.1_SOL2.mat"],
)
def test_real_numbers_of_every_version(name):
    read = read_values(real(name), ["testdouble"])["testdouble"]
    assert isinstance(read, np.ndarray)
    np.testing.assert_allclose(read, np.arange(0, 9)[None] * np.pi / 4, rtol=1e-15)


def as_scipy(value):
    """scipy's arrays in this project's neutral form, for comparison."""
    if value.dtype.names:
        rows = value.ravel(order="F")
        columns = {n: [as_scipy(row[n]) for row in rows] for n in value.dtype.names}
        return {n: c[0] if len(c) == 1 else c for n, c in columns.items()}
    if value.dtype == object:
        return [as_scipy(entry) for entry in value.ravel(order="F")]
    if value.dtype.kind == "U":
        return [row.rstrip(" ") for row in value.tolist()] or [""]
    return value.tolist()


def as_lists(value):
    if isinstance(value, dict):
        return {name: as_lists(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_lists(entry) for entry in value]
    assert isinstance(value, np.ndarray)
    return value.tolist()


@pytest.mark.parametrize("system", ["6.1_SOL2", "6.5.1_GLNX86", "7.1_GLNX86", "7.4*"])
def test_real_files_of_version_5_agree_with_scipy(system):
    """Both byte orders, with and without compression, every kind but objects."""
    compared = 0
    for path in sorted(REAL.glob(f"test*_{system}.mat")):
        if any(word in path.name for word in ("sparse", "object", "func", "hdf5")):
            continue
        expected = scipy.io.loadmat(path)
        names = [name for name in expected if not name.startswith("__")]
        read = read_values(path, names)
        assert list(read) == names
        for name in names:
            assert as_lists(read[name]) == as_scipy(expected[name]), path.name
            compared += 1
    if not compared:
        pytest.skip("this build of scipy comes without its test files")
    assert compared > 10


@pytest.mark.parametrize(
    ("name", "variable", "what"),
    [
        ("testfunc_7.4_GLNX86.mat", "testfunc", "class function_handle"),
        ("some_functions.mat", "sqr", "class function_handle"),
        ("testobject_7.4_GLNX86.mat", "testobject", "class inline"),
        ("testmatlabstring_7_WIN64.mat", "matstring1", "class string"),
        ("testsparse_7.4_GLNX86.mat", "testsparse", "a sparse matrix"),
    ],
)
def test_real_objects_are_named_and_never_run(name, variable, what):
    read = read_values(real(name), [variable])[variable]
    assert isinstance(read, Foreign)
    assert what in read.what
    assert variable in list_names(real(name))


@pytest.mark.parametrize(
    "name", ["corrupted_zlib_data.mat", "malformed1.mat", "bad_miuint32.mat"]
)
def test_real_damaged_files(name):
    assert name in refused(read_mat, real(name))
