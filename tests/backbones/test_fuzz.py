"""Thousands of damaged weights files: read or refused, and nothing else happens."""

import contextlib
import faulthandler
import io
import pickletools
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from paramctl_jax.backbones import tensors
from paramctl_jax.backbones.torch_file import flat_tensors
from paramctl_jax.types import CheckpointError
from tests.golden import craft_torch as craft
from tests.golden import make_torch_files as golden

ROUNDS = [pytest.param(1, id="1"), pytest.param(3, id="3", marks=pytest.mark.slow)]
MUTANTS = 300  # of each seed and round
HANG = 120  # seconds for all of them; the interpreter then ends with a traceback
MEMORY = 16 * 2**20  # bytes at any moment, for files of some kilobytes
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # npz header


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.arange(6.0, dtype=np.float32), b=np.ones((2, 3), np.float16))
    return file.getvalue()


def plain_safetensors():
    return safetensors.numpy.save(
        {"a": np.arange(6.0, dtype=np.float32), "b": np.ones((2, 3), np.float16)}
    )


def torch_archive(name):
    """The pickle and the storages of a fixture, to be packed again."""
    with zipfile.ZipFile(golden.FOLDER / name) as file:
        parts = {key.partition("/")[2]: file.read(key) for key in file.namelist()}
    storages = {
        key.removeprefix("data/"): raw
        for key, raw in parts.items()
        if key.startswith("data/")
    }
    return parts["data.pkl"], storages


SEEDS = {
    "npz": npz,
    "safetensors": plain_safetensors,
    **{name: (golden.FOLDER / name).read_bytes for name in golden.FILES},
}
INSIDE = [name for name in golden.FILES if "stream" not in name]


def mutant(data, other, random):
    """One of six kinds of damage."""
    kind = random.randint(6)
    start, stop = sorted(random.randint(0, len(data) + 1, 2))
    stop = min(stop, start + int(2 ** random.uniform(0, 8)))
    if kind == 0:  # flipped bits, few or many
        changed = bytearray(data)
        for at in random.randint(0, len(data), random.choice([1, 2, 8, 32])):
            changed[at] ^= 1 << random.randint(8)
        return bytes(changed)
    if kind == 1:  # an extreme number
        width = random.choice([1, 2, 4, 8])
        value = random.choice([0, 1, 2**7 - 1, 2**7, 2**8 - 1])
        return (
            data[:start]
            + b"\xff" * (width - 1)
            + bytes([value])
            + data[start + width :]
        )
    if kind == 2:
        return data[:start]
    if kind == 3:
        return data[:start] + random.bytes(random.randint(1, 16)) + data[start:]
    if kind == 4:
        return data[:start] + data[stop:]
    at = random.randint(0, len(other))  # a piece of another file, or of this one
    return data[:start] + other[at : at + stop - start] + data[stop:]


def mutants(name, data, count):
    random = np.random.RandomState(sum(name.encode()) + count)
    others = [make() for make in SEEDS.values()]
    for _ in range(count):
        damaged = mutant(data, others[random.randint(len(others))], random)
        if random.randint(4) == 0:
            damaged = mutant(damaged + b"\0", data, random)
        yield damaged


def opcode_mutants(name, data, count):
    """Pickles whose opcodes, not bytes, are lost, doubled, swapped or exchanged."""
    random = np.random.RandomState(sum(name.encode()) + count + 1)
    places = [position for _, _, position in pickletools.genops(data)]
    ops = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
    codes = [code.code.encode("latin-1") for code in pickletools.opcodes]
    for _ in range(count):
        changed = list(ops)
        for at in random.randint(1, len(ops) - 1, random.choice([1, 2, 4])):
            kind = random.randint(4)
            source = ops[random.randint(1, len(ops) - 1)]
            code = codes[random.randint(len(codes))]
            changed[at] = [b"", 2 * ops[at], source, code + ops[at][1:]][kind]
        yield b"".join(changed)


def examine(data):
    """Reads a file to the last number; True if it was refused."""
    try:
        for tensor in flat_tensors(tensors.parse(data, "file"), "file").values():
            tensor.tobytes()
    except CheckpointError as error:
        message = str(error)
        assert message.startswith("file: ")
        assert len(message.splitlines()) == 1
        return True
    return False


@contextlib.contextmanager
def nothing_happens(but: frozenset[str] = frozenset()):
    """Fails on a hang, and on any import, code object, opened file or process."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    try:
        with craft.witness() as events:
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert set(events) <= but


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files(name, rounds):
    data = SEEDS[name]()
    assert not examine(data)
    damaged = list(mutants(name, data, MUTANTS * rounds))
    # Numpy parses an array's header as a literal, which Python counts as compiling.
    with nothing_happens(but=frozenset({"compile"} if name == "npz" else ())):
        refused = sum(examine(mutant) for mutant in damaged)
    # Bytes of a stream or of safetensors that are numbers may change unnoticed.
    zipped = zipfile.is_zipfile(io.BytesIO(data))
    assert refused > (0.8 if zipped else 0.3) * len(damaged)


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("mutate", [mutants, opcode_mutants])
@pytest.mark.parametrize("name", INSIDE)
def test_damaged_pickles_in_sound_archives(name, mutate, rounds):
    data, storages = torch_archive(name)
    assert not examine(craft.archive(data, storages))
    count = MUTANTS * rounds // 3
    damaged = [craft.archive(m, storages) for m in mutate(name, data, count)]
    with nothing_happens():
        refused = sum(examine(mutant) for mutant in damaged)
    assert 0.2 * len(damaged) < refused < len(damaged)


def test_memory_stays_in_proportion():
    data, storages = torch_archive("torch_robustness_zip.pt")
    stream = SEEDS["torch_stream.pt"]()
    damaged = [craft.archive(m, storages) for m in mutants("memory", data, 20)]
    damaged += [*mutants("memory", stream, 20), *mutants("memory", npz(), 20)]
    tracemalloc.start()
    try:
        for mutant_ in damaged:
            examine(mutant_)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
