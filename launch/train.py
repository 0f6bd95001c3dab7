"""Train a small backbone from labelled photographs.

    python -m launch.train --config=configs/train_small.py:robust --workdir=runs/robust

Leaves ``checkpoints/`` and ``log.jsonl`` (resumed by the same command),
``weights.safetensors`` for `load_backbone`, and ``result.json``.
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from launch import _main
from paramctl_jax import artifacts, history, training
from paramctl_jax.backbones import checkpoint, registry, tensors
from paramctl_jax.types import Network

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")


def main(argv: Sequence[str]) -> None:
    """Loads the photographs, trains, evaluates, exports."""
    del argv
    config, workdir = _main.required(
        config=_main.settings(_CONFIG), workdir=_WORKDIR.value
    )
    spec = registry.spec_of(config["backbone"])
    data = training.load_labelled(config["data"], spec.input_size)
    train = data["train"]
    print(
        f"{len(train)} training and {len(data['val'])} validation photographs, "
        f"{len(train.classes)} classes",
        flush=True,
    )
    module = spec.build(classes=len(train.classes))
    network = Network(module, spec.input_size, spec.mean, spec.std)
    attack = training.Attack(**config["attack"])
    test = training.Attack(**config["test_attack"])
    recipe = training.Recipe(**config["recipe"], attack=attack)
    workdir = artifacts.claim_directory(workdir, config)
    history.begin(workdir)
    state = training.train(
        network, data, recipe, workdir=workdir, seed=config["seed"], watch=test
    )
    weights = training.export(state, workdir / "weights.safetensors")
    shipped = checkpoint.load_variables(
        module, module, spec.input_size, tensors.read_tree(weights), str(weights)
    )
    result = {
        "clean_accuracy": training.accuracy(network, shipped, data["val"]),
        "attacked_accuracy": training.accuracy(
            network, shipped, data["val"], test, limit=2000
        ),
        "test_attack": config["test_attack"],
        "weights": artifacts.sha256_file(weights),
    }
    artifacts.write_json(workdir / "result.json", result)
    print(artifacts.to_json(result), end="")
    print(weights)


if __name__ == "__main__":
    _main.run(main)
