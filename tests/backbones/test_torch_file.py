"""Torch files against torch's own reading of them; hostile ones have no effect."""

import builtins
import importlib
import io
import os
import pickle
import struct
import subprocess
import zipfile

import ml_dtypes
import numpy as np
import pytest

from paramctl_jax.backbones import torch_archive, torch_pickle
from paramctl_jax.backbones.torch_file import (
    flat_tensors,
    is_torch,
    parse_torch,
    read_torch,
)
from paramctl_jax.backbones.torch_inert import Inert, executes
from paramctl_jax.types import CheckpointError
from tests.golden import craft_torch as craft
from tests.golden import make_torch_files as golden

SIX = np.arange(6, dtype="<f4")
RAW = SIX.tobytes()


def fixture(name):
    return (golden.FOLDER / name).read_bytes()


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.EXPECTED) as file:
        return dict(file)


def named_tensors(file):
    tree = read_torch(fixture(file), file)
    if golden.FILES[file] == "robustness":
        tree = tree["model"]
    return flat_tensors(tree)


def assert_same(found, expected, name):
    if found.dtype == ml_dtypes.bfloat16:
        found = found.view(np.uint16)
    assert found.dtype == expected.dtype, name
    assert found.shape == expected.shape, name
    np.testing.assert_array_equal(found, expected, err_msg=name)


def refusal(data):
    """The one line that a file is refused with, while nothing happens besides."""
    with craft.witness() as events, pytest.raises(CheckpointError) as caught:
        read_torch(data, "file.pt")
    message = str(caught.value)
    assert message.startswith("file.pt: ")
    assert message.isprintable()
    assert not events, message
    return message


# --- What torch writes ----------------------------------------------------------------


@pytest.mark.parametrize("file", golden.FILES)
def test_every_tensor_equals_torchs(file, stored):
    assert is_torch(fixture(file))
    found = named_tensors(file)
    prefix = golden.FILES[file] + "/"
    expected = {k.removeprefix(prefix): v for k, v in stored.items() if prefix in k}
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert_same(tensor, expected[name], name)
        assert not tensor.flags.writeable


@pytest.mark.parametrize("file", ["torch_zip.pt", "torch_stream.pt"])
def test_views_of_one_storage_share_memory(file):
    found = named_tensors(file)
    for view in ("float32", "transposed", "strided", "expanded"):
        assert np.shares_memory(found["tied"], found[view]), view
    assert not np.shares_memory(found["tied"], found["parameter"])
    assert found["transposed"].strides == found["tied"].strides[::-1]


@pytest.mark.parametrize("file", [f for f in golden.FILES if "robustness" in f])
def test_robustness_checkpoint_with_its_functions(file):
    parsed = parse_torch(fixture(file), file)
    tree = parsed.tree
    assert (tree["epoch"], tree["amp"], float(tree["nat_prec1"])) == (3, None, 62.5)
    assert all(isinstance(function, Inert) for function in tree["schedule"]["f"])
    assert isinstance(tree["schedule"]["lr_lambdas"][0], dict)  # of the callable object
    assert "dill._dill._create_function" in parsed.foreign
    assert not any(name.startswith("torch.") for name in parsed.foreign)
    model = tree["model"]
    kernel = "model.conv.weight"
    assert np.shares_memory(
        model[f"module.{kernel}"], model[f"module.attacker.{kernel}"]
    )
    momentum = tree["optimizer"]["state"][0]["momentum_buffer"]
    assert momentum.shape == model[f"module.{kernel}"].shape


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("tree", ["tensors", "robustness"])
def test_reading_equals_live_torch(tree, zipped):
    pytest.importorskip("torch", reason="the live comparison needs torch")
    pytest.importorskip("dill", reason="robustness checkpoints need dill")
    made = getattr(golden, tree)()
    read = read_torch(golden.saved(made, zipped=zipped), tree)
    if tree == "robustness":
        made, read = made["model"], read["model"]
    assert list(read) == list(made)
    for name, tensor in made.items():
        assert_same(read[name], golden.as_numpy(tensor), name)
        strides = [n * tensor.element_size() for n in tensor.stride()]
        if tensor.numel() > 1 and min(tensor.shape) > 1:
            assert list(read[name].strides) == strides


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_module_trees_equal_live_state_dicts():
    torch = pytest.importorskip("torch", reason="the live comparison needs torch")
    module = golden.script()
    found = flat_tensors(read_torch(golden.saved_script(module), "script"))
    assert found.keys() == module.state_dict().keys()
    file = io.BytesIO()
    whole = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(whole, file)
    found = flat_tensors(read_torch(file.getvalue(), "whole"))
    assert list(found) == list(whole.state_dict())


def test_protocols_and_old_rebuild_functions():
    old = craft.tensor(rebuild="torch._utils _rebuild_tensor")
    typed = (  # a tensor that has Python attributes
        b"ctorch._tensor\n_rebuild_from_type_v2\n("
        b"ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n("
        + craft.tensor().partition(b"_rebuild_tensor_v2\n(")[2][:-1]
        + craft.fragment({"note": 1})
        + b"tR"
    )
    for body in (old, craft.tensor(), typed):
        for protocol in (2, 4, 5):
            data = craft.archive(craft.pickled(body, protocol), {"0": RAW})
            found = read_torch(data, "file")
            np.testing.assert_array_equal(found, SIX.reshape(2, 3))


@pytest.mark.parametrize("kind", ["Float", "Double", "Long", "Half", "ComplexFloat"])
@pytest.mark.parametrize("container", ["zip", "stream"])
def test_big_endian_files_are_swapped(kind, container):
    codes = {"Float": "f4", "Double": "f8", "Long": "i8", "Half": "f2"}
    values = np.arange(6) + 1
    raw = values.astype(">" + codes.get(kind, "c8")).tobytes()
    pickle_ = craft.pickled(craft.tensor(kind=f"{kind}Storage"))
    if container == "zip":
        data = craft.archive(pickle_, {"0": raw}, order=b"big")
    else:
        data = craft.stream(pickle_, {"0": (6, raw)}, little=False)
    found = read_torch(data, "file")
    np.testing.assert_array_equal(found, values.reshape(2, 3).astype(found.dtype))


def test_storage_that_is_a_slice_of_another():
    view = craft.tensor(size=(2,), stride=(1,))
    view = view.replace(b"tQ", craft.fragment(("v", 3, 2)) + b"tQ")
    data = craft.stream(craft.pickled(view), {"0": (6, RAW)})
    np.testing.assert_array_equal(read_torch(data, "file"), SIX[3:5])
    outside = view.replace(craft.fragment(("v", 3, 2)), craft.fragment(("v", 3, 4)))
    data = craft.stream(craft.pickled(outside), {"0": (6, RAW)})
    assert "seen up to 7" in refusal(data)


def test_content_decides_what_is_torchs():
    npz = io.BytesIO()
    np.savez(npz, a=SIX)
    header = b'{"a":1}'.ljust(0x280)
    assert not is_torch(npz.getvalue())
    assert not is_torch(struct.pack("<q", len(header)) + header)  # begins \x80\x02
    assert not is_torch(b"")
    assert not is_torch(b"<!DOCTYPE html>")
    assert is_torch(fixture("torch_zip.pt")[:300])
    tar = b"pickle".ljust(257, b"\0") + b"ustar\x0000"
    assert is_torch(tar)
    assert "tar" in refusal(tar)
    assert "truncated" in refusal(b"")
    assert "not one that torch wrote" in refusal(pickle.dumps({"a": 1}))


# --- What would execute something -----------------------------------------------------


class Reduced:
    """Pickles as a call of whatever it was given."""

    def __init__(self, *reduction):
        self.reduction = reduction

    def __reduce__(self):
        return self.reduction


def calls(marker):
    touch = f"touch {marker}"
    return {
        "system": Reduced(os.system, (touch,)),
        "popen": Reduced(subprocess.Popen, (["touch", marker],)),
        "eval": Reduced(eval, (f"open({marker!r}, 'w')",)),
        "exec": Reduced(exec, (f"open({marker!r}, 'w')",)),
        "open": Reduced(builtins.open, (marker, "w")),
        "import": Reduced(importlib.import_module, ("antigravity",)),
        "loads": Reduced(pickle.loads, (pickle.dumps(Reduced(os.system, (touch,))),)),
        "items": Reduced(dict, (), None, None, iter([(1, Reduced(os.abort, ()))])),
    }


CONTAINERS = {
    "bare": lambda data: data,
    "zip": craft.archive,
    "stream": craft.stream,
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("container", CONTAINERS)
def test_pickles_that_call_are_refused_without_effect(tmp_path, container, protocol):
    marker = str(tmp_path / "marker")
    for name in calls(marker):
        for wrap in (
            lambda x: x,
            lambda x: {"model": {"a": [x]}},
            lambda x: (("b", x),),
        ):
            tree = wrap(calls(marker)[name])
            message = refusal(CONTAINERS[container](pickle.dumps(tree, protocol)))
            assert "tries to call" in message, name
            assert "nothing was run" in message, name
    assert not os.path.exists(marker)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_the_same_pickles_have_an_effect_in_python(tmp_path):
    for name in ("open", "eval", "exec"):
        marker = tmp_path / name
        pickle.loads(pickle.dumps([calls(str(marker))[name]]))
        assert marker.exists()


TOUCH = craft.fragment("touch marker")
OPCODES = {
    "inst": b"(" + TOUCH + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + TOUCH + b"o",
    "newobj": b"cos\nsystem\n" + TOUCH + b"\x85\x81",
    "newobj_ex": b"csubprocess\nPopen\n)" + craft.fragment({"args": "id"}) + b"\x92",
    "dotted": craft.fragment("logging") + craft.fragment("os.system") + b"\x93)R",
    "builtins": craft.fragment("logging")
    + craft.fragment("__builtins__.eval")
    + b"\x93)R",
    "getattr": b"c__builtin__\ngetattr\ncposix\n__dict__\n"
    + craft.fragment("system")
    + b"\x86R)R",
    "imported": b"cdill._dill\n_import_module\n" + craft.fragment("os") + b"\x85R"
    b"q\x10c__builtin__\ngetattr\nh\x10" + craft.fragment("system") + b"\x86R)R",
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("opcode", OPCODES)
def test_every_opcode_that_calls_is_refused(tmp_path, monkeypatch, opcode, container):
    monkeypatch.chdir(tmp_path)
    data = CONTAINERS[container](craft.pickled(OPCODES[opcode], 4))
    assert "nothing was run" in refusal(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\0", b"\x84\x01\0\0\0"])
def test_extension_registry_is_refused(opcode):
    assert "EXT" in refusal(craft.archive(craft.pickled(opcode + b")R")))


@pytest.mark.parametrize(
    "body",
    [
        craft.fragment("text") + b")R",
        b"]" + craft.fragment({}) + b"b0Ncos\nsystem\nb",
        b"ccollections\nOrderedDict\n)R)R",
        b"\x97",
        b"\x98",
        b"Pid\n",
        craft.fragment(3) + b"Q",
        b"Nccollections\nOrderedDict\n\x86Q",
        b"(i__builtin__\n",
    ],
)
def test_nonsense_is_refused(body):
    refusal(craft.archive(craft.pickled(body)))


def test_foreign_objects_stay_inert():
    class_ = b"crobustness.attacker\nAttackerModel\n"
    made = class_ + craft.fragment((1, "two")) + b"R"
    state = craft.fragment({"__class__": 1, "x": 2}) + b"b"
    items = craft.fragment([3]) + b"0" + craft.fragment("k") + craft.fragment(4) + b"s"
    ordered = (
        b"ccollections\nOrderedDict\n)R" + craft.fragment({"__reduce__": 1}) + b"b"
    )
    attributes = b"ccollections\nOrderedDict\n" + state  # on the class itself
    body = b"(" + made + state + items + ordered + attributes + b"l"
    parsed = parse_torch(craft.archive(craft.pickled(body)), "file")
    foreign, mapping, class_again = parsed.tree
    assert (foreign.name, foreign.args) == (
        "robustness.attacker.AttackerModel()",
        (1, "two"),
    )
    assert foreign.state == {"__class__": 1, "x": 2}
    assert (mapping, type(mapping)) == ({}, dict)
    assert isinstance(class_again, Inert)
    assert repr(foreign) == "<inert robustness.attacker.AttackerModel()>"
    assert parsed.foreign == ("robustness.attacker.AttackerModel",)
    assert type(foreign) is Inert


def test_names_that_execute():
    assert executes("nt.system")
    assert executes("builtins.eval")
    assert executes("subprocess.Popen")
    assert executes("torch.serialization.os.system")
    assert not executes("builtins.getattr")  # dill writes it
    assert not executes("dill._dill._create_function")
    assert not executes("model.eval")
    assert not executes("argparse.Namespace")


# --- What lies about its tensors ------------------------------------------------------

HUGE = 10**15
LIES = {
    "offset": ({"offset": 1}, "up to element 6"),
    "negative offset": ({"offset": -1}, "natural"),
    "negative stride": ({"stride": (-3, 1)}, "natural"),
    "negative size": ({"size": (-2, 3)}, "natural"),
    "stride": ({"stride": (4, 1)}, "up to element 6"),
    "size": ({"size": (3, 3)}, "up to element 8"),
    "huge stride": ({"stride": (2**61, 1)}, "up to element"),
    "overflow": ({"size": (2, 3), "stride": (2**62, 1)}, "natural"),
    "wide bomb": ({"size": (HUGE,), "stride": (0,)}, "over a storage of 6"),
    "rank": ({"size": (2,), "stride": (1, 1)}, "do not fit together"),
    "axes": ({"size": (1,) * 40, "stride": (0,) * 40}, "sizes or strides"),
    "empty with offset": ({"size": (0,), "stride": (1,), "offset": 7}, "do not fit"),
    "float size": ({"size": (2.0, 3)}, "natural"),
    "text offset": ({"offset": "0"}, "natural"),
    "no tuple": ({"size": 6}, "sizes or strides"),
    "numel": ({"numel": 7}, "24 bytes instead of 28"),
    "small numel": ({"numel": 5}, "24 bytes instead of 20"),
    "negative numel": ({"numel": -6}, "natural"),
    "huge numel": ({"numel": HUGE}, "24 bytes instead of"),
    "type": ({"kind": "DoubleStorage"}, "24 bytes instead of 48"),
    "quantised": ({"kind": "QInt8Storage"}, "torch.QInt8Storage are not read"),
    "key": ({"key": "1"}, "storage 1 is missing"),
    "key outside": ({"key": "../../etc/passwd"}, "is missing"),
    "key of another type": ({"key": 0}, "persistent id"),
}


@pytest.mark.parametrize("lie", LIES)
def test_tensors_that_leave_their_storage_are_refused(lie):
    claims, reason = LIES[lie]
    data = craft.archive(craft.pickled(craft.tensor(**claims)), {"0": RAW})
    assert reason in refusal(data)


def test_storage_of_two_types_or_sizes_is_refused():
    for second in (craft.tensor(numel=3), craft.tensor(kind="IntStorage")):
        body = b"(" + craft.tensor() + second + b"t"
        data = craft.archive(craft.pickled(body), {"0": RAW})
        assert "two types or sizes" in refusal(data)


def test_expanded_views_have_a_limit():
    for count, fits in ((2**16, True), (2**16 + 1, False)):
        body = craft.tensor(size=(count,), stride=(0,))
        data = craft.archive(craft.pickled(body), {"0": RAW})
        if fits:
            assert read_torch(data, "file").shape == (count,)
        else:
            assert f"{count} elements" in refusal(data)


@pytest.mark.parametrize(
    ("storages", "keys", "reason"),
    [
        ({"0": (5, RAW[:20])}, None, "5 elements"),
        ({"0": (-1, RAW)}, None, "elements"),
        ({"0": (2**62, RAW)}, None, "elements"),
        ({"0": (6, RAW[:20])}, None, "truncated at storage 0"),
        ({"0": (6, RAW + b"\0")}, None, "bytes are left"),
        ({}, None, "not the one"),
        ({"1": (6, RAW)}, None, "not the one"),
        ({"0": (6, RAW)}, ["0", "0"], "not the one"),
        ({"0": (6, RAW)}, ["0", "1"], "not the one"),
        ({"0": (6, RAW)}, "0", "no list"),
        ({"0": (6, RAW)}, [["0"]], "no list"),
    ],
)
def test_streams_that_lie_are_refused(storages, keys, reason):
    pickle_ = craft.pickled(craft.tensor())
    assert reason in refusal(craft.stream(pickle_, storages, keys=keys))


def test_stream_of_another_version_or_too_large_is_refused():
    pickle_ = craft.pickled(craft.tensor(numel=HUGE))
    assert "larger than the file" in refusal(craft.stream(pickle_))
    assert "1001" in refusal(craft.stream(pickle_, version=1000))


@pytest.mark.parametrize("file", golden.FILES)
def test_truncation_is_noticed_everywhere(file):
    data = fixture(file)
    for length in range(0, len(data), 173):
        refusal(data[:length])


# --- Archives -------------------------------------------------------------------------


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


PICKLE = craft.pickled(craft.tensor())
GOOD = [("archive/data.pkl", PICKLE), ("archive/data/0", RAW)]
ARCHIVES = {
    "parent": ([*GOOD, ("archive/../../evil", b"")], "leaves"),
    "absolute": ([*GOOD, ("/etc/evil", b"")], "leaves"),
    "backslash": ([*GOOD, ("archive\\..\\evil", b"")], "leaves"),
    "drive": ([*GOOD, ("C:/evil", b"")], "leaves"),
    "link": ([*GOOD, (entry("archive/x", 0o120777), b"/etc/passwd")], "link"),
    "twice": ([*GOOD, GOOD[1]], "two entries"),
    "two roots": ([*GOOD, ("other/data.pkl", PICKLE)], "found 2"),
    "no root": ([("data.pkl", PICKLE), ("x/y/data.pkl", b"")], "found 0"),
    "order": ([*GOOD, ("archive/byteorder", b"middle")], "byte order"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_odd_archives_are_refused(case):
    entries, reason = ARCHIVES[case]
    np.testing.assert_array_equal(read_torch(craft.zipped(GOOD), "file").ravel(), SIX)
    assert reason in refusal(craft.zipped(entries))


def test_deflated_archives_are_read_and_bombs_are_not():
    raw = bytes(2**23)
    bomb = craft.tensor(size=(2**21,), stride=(1,), numel=2**21)
    small = craft.archive(PICKLE, {"0": RAW}, compression=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(read_torch(small, "file").ravel(), SIX)
    data = craft.archive(
        craft.pickled(bomb), {"0": raw}, compression=zipfile.ZIP_DEFLATED
    )
    assert len(data) < 20_000
    assert "expands to" in refusal(data)
    assert "oddly compressed" in refusal(
        craft.archive(PICKLE, {"0": RAW}, compression=zipfile.ZIP_BZIP2)
    )


def test_entry_that_expands_beyond_its_claim_is_cut(monkeypatch):
    raw = bytes(2**24)
    data = bytearray(
        craft.archive(PICKLE, {"0": raw}, compression=zipfile.ZIP_DEFLATED)
    )
    for offset in (data.index(b"archive/data/0") - 8, data.rindex(b"archive/data/0")):
        at = offset if offset < 1000 else offset - 22  # uncompressed size, both headers
        assert struct.unpack_from("<I", data, at) == (2**24,)
        struct.pack_into("<I", data, at, 24)
    longest = 0
    original = getattr(zipfile.ZipExtFile, "_read1")  # noqa: B009

    def watched(self, size):
        nonlocal longest
        found = original(self, size)
        longest = max(longest, len(found))
        return found

    monkeypatch.setattr(zipfile.ZipExtFile, "_read1", watched)
    assert "CRC" in refusal(bytes(data))
    assert longest <= 4096


def test_flipped_bits_and_encryption_are_noticed():
    data = craft.archive(PICKLE, {"0": RAW})
    where = data.index(RAW)
    flipped = data[: where + 5] + bytes([data[where + 5] ^ 4]) + data[where + 6 :]
    assert "CRC" in refusal(flipped)
    locked = bytearray(data)
    start = locked.index(b"PK\1\2")
    locked[start + 8] |= 1
    assert "encrypted" in refusal(bytes(locked))


def test_too_many_entries_are_refused_before_they_are_listed(monkeypatch):
    monkeypatch.setattr(torch_archive, "_ENTRY_LIMIT", 2)
    assert "more than 2 entries" in refusal(craft.archive(PICKLE, {"0": RAW}))


# --- Bombs in the pickle --------------------------------------------------------------

NESTED = 20_000
INTEGERS = b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(10_001))
PAIR = craft.fragment("a") + b"N\x86"
BOMBS = {
    "memo index": (b"Nr\xff\xff\xff\x7f0j\xff\xff\xff\x7f", None),
    "memo": (b"N" + b"p4294967295123\n", None),
    "tuples": (b")" + b"\x85" * NESTED, None),
    "lists": (b"]" * NESTED + b"a" * (NESTED - 1), None),
    "marks": (b"(" * NESTED, "truncated"),
    "instances": (b"N" + b"(cx\ny\nN" * 3 + b"o" * 3, None),
    "long text": (b"\x8d" + struct.pack("<q", 2**62), "truncated"),
    "long bytes": (b"\x8e" + struct.pack("<q", 2**62), "truncated"),
    "bytearray": (b"\x96" + struct.pack("<q", 2**62), "truncated"),
    "frame": (b"\x95" + struct.pack("<q", 2**62) + b"N", None),
    "long integer": (b"\x8b" + struct.pack("<i", 2**30), "truncated"),
    "negative length": (b"\x8b" + struct.pack("<i", -1), "truncated"),
    "large integer": (b"\x8b" + struct.pack("<i", 10**6) + b"\1" * 10**6, "bits"),
    "digits": (b"L" + b"9" * 10_000 + b"L\n", "truncated"),
    "keys": (b"}(" + INTEGERS + b"u", "keys that are not text"),
    "operations": (b"N0" * 10_000 + b"N", "operations"),
    "copies": (
        b"("
        + PAIR * 100
        + b"lq\x090"
        + b"ccollections\nOrderedDict\nh\x09\x85R0" * 200,
        "operations",
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_do_no_harm(bomb, monkeypatch):
    body, reason = BOMBS[bomb]
    if reason == "operations":
        monkeypatch.setattr(torch_pickle, "WORK_LIMIT", 15_000)
    data = craft.archive(craft.pickled(body, 4))
    if reason is None:
        read_torch(data, "file")
    else:
        assert reason in refusal(data)


def test_keys_with_costly_hashes_are_kept_by_identity():
    laughs = b")" + b"2\x86" * 60  # (((), ()), ((), ())) ...: its hash takes 2^60 steps
    keys = [laughs, b"]", b"}", craft.tensor(), craft.fragment(2**4000)]
    body = b"}(" + b"".join(key + b"N" for key in keys) + b"u"
    found = read_torch(craft.archive(craft.pickled(body), {"0": RAW}), "file")
    assert len(found) == len(keys)
    assert all(isinstance(key, Inert) for key in found)


@pytest.mark.parametrize(
    "body",
    [
        b"]q\0h\0a",  # a list in itself
        b"}q\7" + craft.fragment("a") + b"h\7s",
        b"]" + b"q\0]h\0ah\0a" * 60,  # 2^60 paths
        b"]q\0(" + b"h\0" * 5000 + b"e",
    ],
)
def test_endless_trees_are_refused_when_walked(body):
    tree = read_torch(craft.archive(craft.pickled(body)), "file")
    with pytest.raises(CheckpointError, match="without end"):
        flat_tensors(tree, "file")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"\x80\x02c" + 2000 * b"a" + b"\nb\n.", "a name of more than 1000 characters"),
        (b"\x80\x04cx\ny\nVtext\n}\x92.", "something else than a tuple"),
    ],
)
def test_what_would_cost_more_than_its_bytes_is_refused(stream, said):
    with pytest.raises(CheckpointError, match=said):
        read_torch(stream, "file")


def test_calls_with_long_arguments_count_as_work():
    # a tuple of 100 000 is memoised, then given to call after call, each with keywords
    arguments = b"(" + 100_000 * b"N" + b"t\x94"
    call = b"cx\ny\nh\x00}Va\nNs\x920"
    stream = b"\x80\x04" + arguments + b"0" + 100 * call + b"N."
    with pytest.raises(CheckpointError, match="operations"):
        read_torch(stream, "file")
