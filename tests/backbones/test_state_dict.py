"""The tensors of one network out of what trainers, wrappers, libraries add to them."""

import re

import numpy as np
import pytest

from paramctl_jax.backbones import REGISTRY, Spec, checkpoint, loading, spec_of
from paramctl_jax.backbones.state_dict import state_dict
from paramctl_jax.types import CheckpointError

SPEC = spec_of("resnet50")
RESNET50 = SPEC.build


def network(seed=0):
    rng = np.random.default_rng(seed)
    names = ("conv1.weight", "layer1.0.bn1.running_mean", "fc.bias")
    return {name: rng.standard_normal(3, np.float32) for name in names}


def prefixed(prefix, named):
    return {prefix + name: tensor for name, tensor in named.items()}


def robustness(wrapper="module.", **changes):
    """As the `robustness` library saves: the network twice, and a normaliser twice."""
    mean = np.asarray(SPEC.mean, np.float32).reshape(3, 1, 1)
    std = np.asarray(SPEC.std, np.float32).reshape(3, 1, 1)
    return {
        **prefixed(f"{wrapper}model.", network()),
        **prefixed(f"{wrapper}attacker.model.", network()),
        f"{wrapper}normalizer.new_mean": mean,
        f"{wrapper}normalizer.new_std": std,
        f"{wrapper}attacker.normalize.new_mean": mean,
        f"{wrapper}attacker.normalize.new_std": std,
        **changes,
    }


def equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(
    "tree",
    [
        network(),
        prefixed("module.", network()),
        prefixed("_orig_mod.module.", network()),
        prefixed("module.model.", network()),
        {"state_dict": prefixed("module.", network()), "epoch": 90},
        {"model": network(), "optimizer": {"state": {0: np.zeros(3)}}},
        {"model_state_dict": network()},
        {"model": {"state_dict": network()}},
        {"model": "resnet50", "state_dict": network()},
        {"model": None, "model_state_dict": network()},
        {"state_dict": prefixed("base.", network()), "state_dict_ema": network()},
        {**network(), "bn1.num_batches_tracked": np.asarray(7)},
        {"model": robustness(), "schedule": None, "adv_prec1": np.asarray(3.0)},
        {"state_dict": robustness(wrapper="")},
    ],
    ids=range(14),
)
def test_wrappings_come_off(tree):
    equal(state_dict(tree, SPEC, "file"), network())


def test_copies_that_differ_are_refused():
    other = network()
    other["fc.bias"] = other["fc.bias"] + 1
    changed = robustness(**prefixed("module.attacker.model.", other))
    with pytest.raises(CheckpointError, match=r"file: .* differ at fc.bias \(1 in all"):
        state_dict({"model": changed}, SPEC, "file")
    less = robustness()
    del less["module.attacker.model.conv1.weight"]
    with pytest.raises(CheckpointError, match=r"differ at conv1.weight"):
        state_dict(less, SPEC, "file")


@pytest.mark.parametrize("where", ["normalizer", "attacker.normalize"])
@pytest.mark.parametrize("value", [(0.5, 0.5, 0.5), (0.485, 0.456)])
def test_another_normaliser_is_refused(where, value):
    name = f"module.{where}.new_mean"
    wrong = robustness(**{name: np.asarray(value, np.float32)})
    with pytest.raises(CheckpointError, match=r"normalises by .*expected \[0.485"):
        state_dict(wrong, SPEC, "file")


def test_the_normaliser_is_the_backbones_own():
    half = Spec(RESNET50, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    with pytest.raises(CheckpointError, match=r"expected \[0.5, 0.5, 0.5\]"):
        state_dict(robustness(), half, "file")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "found an empty mapping"),
        ({"epoch": 3, "args": "x"}, "found the keys epoch, args"),
        ({"model": {"epoch": 3}}, "expected a state dict"),
        ({**network(), 3: np.zeros(2)}, "found the key 3"),
        ({**network(), "fc.weight": "text"}, "a tensor at fc.weight, found str"),
        ({**network(), "fc.weight": np.zeros(2, complex)}, "type complex128"),
        (robustness(**{"module.extra": np.zeros(2)}), "what extra is for"),
        ({**network(), "\x1b[2J" + 200 * "x": "text"}, r"\x1b[2Jxxx"),
        ([1, 2], "holds no tensors"),
        (None, "holds no tensors"),
    ],
    ids=range(10),
)
def test_what_is_no_state_dict_is_one_line(tree, said):
    with pytest.raises(CheckpointError) as error:
        state_dict(tree, SPEC, "file.pt")
    assert str(error.value).startswith("file.pt: ")
    assert said in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def test_a_mapping_that_holds_itself_ends():
    tree: dict = {"model": None}
    tree["model"] = tree
    with pytest.raises(CheckpointError, match=r"file: .*nested without end"):
        state_dict(tree, SPEC, "file")


THEIR_NAMES = {
    "Keras": ("conv2_block1_0_bn|gamma", "conv1|conv|kernel", "bn|moving_variance"),
    "CLIP": ("visual.class_embedding", "visual.proj", "visual.positional_embedding"),
    "CLIP ResNet": ("visual.conv1.weight", "visual.attnpool.positional_embedding"),
    "timm": ("stem.conv1.conv.weight", "head.pos_embed"),
    "DINOv2": ("register_tokens", "cls_token", "pos_embed"),
    "RADIO": (
        "base_model.patch_generator.pos_embed",
        "base_model.patch_generator.embedder.weight",
        "base_model.patch_generator.cls_token.token",
        "input_conditioner.norm_mean",
    ),
    "open_clip": ("visual.trunk.blocks.0.x",),
    "dotted": ("a.denselayer1.norm.1.weight",),
}


@pytest.mark.parametrize("publisher", THEIR_NAMES)
@pytest.mark.parametrize(
    "shape", [(), (0,), (3,), (0, 0), (2, 3), (1, 1, 4), (2, 2, 2, 2, 2)], ids=str
)
def test_layouts_take_tensors_of_any_shape(publisher, shape):
    named = {name: np.zeros(shape, np.float32) for name in THEIR_NAMES[publisher]}
    read = [layout(named) for spec in REGISTRY.values() for layout in spec.layouts]
    assert any(found is not None for found in read)


def test_endless_prefixes_end():
    named = {"module." * 2000 + "x": np.zeros(3, np.float32)}
    assert len(state_dict(named, SPEC, "file")) == 1


def test_the_first_layout_that_knows_the_names_translates():
    def theirs(tensors):
        if "stem" not in tensors:
            return None
        return {"conv1.weight": tensors["stem"]}

    def never(tensors):
        raise AssertionError

    spec = Spec(RESNET50, layouts=(theirs, never))
    stem = np.zeros(3, np.float32)
    equal(state_dict({"module.stem": stem}, spec, "file"), {"conv1.weight": stem})
    unknown = Spec(RESNET50, layouts=(theirs,))
    equal(state_dict(network(), unknown, "file"), network())


def test_a_guess_knows_the_publishers_names(tmp_path):
    wanted = checkpoint.shapes(spec_of("densenet121").build(), 64)
    named = {
        re.sub(r"(denselayer\d+\.)(norm|conv)([12])", r"\1\2.\3", name): shape
        for name, shape in checkpoint.torch_shapes(wanted).items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in named
    path = tmp_path / "mystery.npz"
    np.savez(path, **{name: np.zeros(s, np.float16) for name, s in named.items()})
    with pytest.raises(CheckpointError, match=r"this looks like densenet121$"):
        loading.load_backbone("resnet18", path)


def test_a_file_that_is_another_network_says_which(tmp_path):
    resnet18 = loading._draw(
        loading.checkpoint.shapes(spec_of("resnet18").build(), 64),
        np.random.default_rng(0),
    )
    path = tmp_path / "mystery.npz"
    np.savez(path, **resnet18)
    with pytest.raises(CheckpointError, match=r"this looks like resnet18$") as error:
        loading.load_backbone("resnet34", path)
    assert "missing" in str(error.value)
