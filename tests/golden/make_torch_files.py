"""Make ``torch_*.pt`` and ``torch_files.npz``: small checkpoints of every container.

    python tests/golden/make_torch_files.py            # needs torch and dill

Each file is written by torch itself, and ``torch_files.npz`` holds what torch makes of
it, under ``tree/name`` (bfloat16 as its bits). ``torch_robustness_*.pt`` have the
layout of the `robustness` library: the network twice over the same storages, a
normaliser, the optimiser's momentum, and functions pickled by dill. Made with torch
2.13 and dill 0.4.1.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "torch_files.npz"
# The tree that each file holds.
FILES = {
    "torch_zip.pt": "tensors",
    "torch_stream.pt": "tensors",
    "torch_robustness_zip.pt": "robustness",
    "torch_robustness_stream.pt": "robustness",
    "torch_script.pt": "script",
}
_SCHEDULE = """
import math
class Warmup:
    def __init__(self, epochs):
        self.epochs = epochs
    def __call__(self, epoch):
        return min(1.0, epoch / self.epochs)
def steps(rate):
    def schedule(epoch):
        return rate * math.exp(-epoch // 50)
    return schedule
decay = lambda epoch: 0.1 ** (epoch // 50)
"""


def tensors() -> dict[str, Any]:
    """A tensor of every type and kind of view."""
    import torch

    random = np.random.RandomState(0)
    base = torch.from_numpy(random.standard_normal((4, 6)).astype(np.float32))
    whole = torch.from_numpy(random.randint(-100, 100, 12))
    named = {
        str(dtype).removeprefix("torch."): base.to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    }
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        named[str(dtype).removeprefix("torch.")] = whole.to(dtype)
    return named | {
        "bool": whole > 0,
        "complex64": torch.complex(base[0], base[1]),
        "kernel": torch.from_numpy(random.standard_normal((2, 3, 2, 2))),
        "parameter": torch.nn.Parameter(base.clone()),
        "buffer": torch.nn.Buffer(base.clone()),
        "tied": base,
        "transposed": base.T,
        "strided": base[1:, 1::2],
        "expanded": base[0, :1].expand(5, 1),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }


def network() -> Any:
    """A convolution, a batch norm with statistics and a list of dense layers."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 2, 3)
            self.norm = torch.nn.BatchNorm2d(2)
            self.heads = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
            self.register_buffer("mask", torch.tensor([True, False]))

        def forward(self, x):
            return self.heads[0](self.norm(self.conv(x)).mean((2, 3)))

    torch.manual_seed(0)
    made = Network()
    made(torch.randn(4, 3, 8, 8)).sum().backward()  # statistics and gradients
    return made


def robustness() -> dict[str, Any]:
    """A checkpoint as `robustness.train` writes it, with functions in it."""
    import torch

    made = network()
    optimiser = torch.optim.SGD(made.parameters(), lr=0.1, momentum=0.9)
    optimiser.step()
    space: dict[str, Any] = {"__name__": "train"}
    exec(compile(_SCHEDULE, "train.py", "exec"), space)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, space["Warmup"](5))
    model = {f"module.model.{k}": v for k, v in made.state_dict().items()}
    model |= {f"module.attacker.model.{k}": v for k, v in made.state_dict().items()}
    for prefix in ("module.normalizer", "module.attacker.normalize"):
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        model[f"{prefix}.new_mean"] = torch.tensor(mean)[:, None, None]
        model[f"{prefix}.new_std"] = torch.tensor(std)[:, None, None]
    return {
        "model": model,
        "optimizer": optimiser.state_dict(),
        "schedule": schedule.state_dict() | {"f": [space["decay"], space["steps"](2)]},
        "epoch": 3,
        "amp": None,
        "nat_prec1": torch.tensor(62.5),
    }


def script() -> Any:
    """The network traced."""
    import torch

    return torch.jit.trace(network().eval(), torch.zeros(1, 3, 8, 8))


def saved(tree: Any, *, zipped: bool = True) -> bytes:
    """A tree as torch and dill save it."""
    import dill
    import torch

    file = io.BytesIO()
    torch.save(tree, file, pickle_module=dill, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def saved_script(module: Any) -> bytes:
    """A TorchScript archive without the paths of the sources it was traced from."""
    import torch

    file = io.BytesIO()
    torch.jit.save(module, file)
    out = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(out, "w") as kept:
        for entry in archive.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                kept.writestr(entry, archive.read(entry))
    return out.getvalue()


def as_numpy(tensor: Any) -> np.ndarray:
    """A torch tensor's values; bfloat16 as its bits."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.numpy().copy()


def main() -> None:
    """Writes the fixtures."""
    warnings.simplefilter("ignore")  # torch's of its own tracing
    trees = {"tensors": tensors(), "robustness": robustness(), "script": script()}
    for file, tree in FILES.items():
        if tree == "script":
            data = saved_script(trees[tree])
        else:
            data = saved(trees[tree], zipped="stream" not in file)
        (FOLDER / file).write_bytes(data)
    flat = {
        "tensors": trees["tensors"],
        "robustness": trees["robustness"]["model"],
        "script": trees["script"].state_dict(),
    }
    expected = {
        f"{tree}/{name}": as_numpy(tensor)
        for tree, named in flat.items()
        for name, tensor in named.items()
    }
    np.savez_compressed(EXPECTED, allow_pickle=False, **expected)


if __name__ == "__main__":
    main()
