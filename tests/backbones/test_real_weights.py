"""Published ImageNet weights on real photographs: they must do what they were made for.

The files are not part of the project; $PARAMCTL_DATA names the folder that holds them.
"""

import collections
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from PIL import Image

from paramctl_jax import images
from paramctl_jax.backbones import layers, load_backbone, read

DATA = Path(os.environ.get("PARAMCTL_DATA", ""))
DENSENET = DATA / "weights/densenet121_imagenet_keras.npz"
RESNET = DATA / "weights/resnet50_v1_through_layer3.npz"
SIDE = 224
N_PHOTOGRAPHS = 12  # of COCO, for the batch norms


def needs(*names):
    """Skips where a file is absent, or no folder of data is named."""
    absent = [name for name in names if not (DATA / name).is_file()]
    if "PARAMCTL_DATA" not in os.environ:
        absent = ["PARAMCTL_DATA is not set to the folder with the weights"]
    return pytest.mark.skipif(bool(absent), reason=f"absent: {', '.join(absent)}")


def photograph(data):
    """The middle square, bilinearly to the network's side, in [0, 1]; no crop."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    return np.asarray(image, np.float32) / 255


def content(archive, member):
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def class_names():
    with open(DATA / "weights/imagenet_classes.json") as file:
        return {int(index): name for index, name in json.load(file).items()}


def take_each(files, count):
    """The first `count` of every class: ``[(class, photograph)]``."""
    taken, seen = [], collections.Counter()
    for _, index, data in sorted(files):
        seen[index] += 1
        if seen[index] <= count:
            taken.append((index, photograph(data)))
    return taken


def caltech():
    """Five photographs of each category whose name is that of exactly one class."""

    def plain(name):
        return name.lower().replace("_", " ").removesuffix("s")

    synonyms = collections.defaultdict(set)
    for index, name in class_names().items():
        for synonym in name.split(", "):
            synonyms[plain(synonym)].add(index)
    files = []
    with tarfile.open(DATA / "caltech101_112.tar.gz") as archive:
        for member in archive:
            category = plain(Path(member.name).parent.name)
            if member.isfile() and len(synonyms[category]) == 1:
                (index,) = synonyms[category]
                files.append((member.name, index, content(archive, member)))
    return take_each(files, 5)


def tiny_imagenet():
    """One validation photograph of each of a hundred classes, 64 x 64 pixels."""
    index_of = {name: index for index, name in class_names().items()}
    files = []
    with tarfile.open(DATA / "tiny_imagenet100_64.tar.gz") as archive:
        words = content(archive, "tiny_imagenet100/words.txt").decode()
        name_of = dict(line.split("\t") for line in words.splitlines())
        for member in archive:
            path = Path(member.name)
            if member.isfile() and path.parent.parent.name == "val":
                index = index_of[name_of[path.parent.name]]
                files.append((member.name, index, content(archive, member)))
    return take_each(files, 1)


@pytest.fixture(scope="module")
def classify():
    """Photographs to the indices of the classes, likeliest first."""
    backbone = load_backbone("densenet121", DENSENET)

    @jax.jit
    def logits(variables, pixels):
        return read(backbone.network, variables, pixels, "classifier")

    def ranked(pixels):
        found = []
        for start in range(0, len(pixels), 16):
            batch = np.zeros((16, SIDE, SIDE, 3), np.float32)
            chunk = pixels[start : start + 16]
            batch[: len(chunk)] = chunk
            found.append(logits(backbone.variables, jnp.asarray(batch))[: len(chunk)])
        return np.argsort(-np.concatenate(found), axis=1)

    return ranked


# Measured over the thousand classes, top-1 and top-5: .594 and .826 of the photographs
# of Caltech-101, .32 and .60 of these of Tiny ImageNet, which have 64 x 64 pixels. The
# bounds are about three standard errors below; chance is .001 and .005.
@pytest.mark.slow
@needs(
    "weights/densenet121_imagenet_keras.npz",
    "weights/imagenet_classes.json",
    "caltech101_112.tar.gz",
    "tiny_imagenet100_64.tar.gz",
)
@pytest.mark.parametrize(
    ("labelled", "count", "top1", "top5"),
    [(caltech, 31 * 5, 0.48, 0.74), (tiny_imagenet, 100, 0.18, 0.45)],
)
def test_densenet121_names_what_it_sees(classify, labelled, count, top1, top5):
    classes, pixels = zip(*labelled(), strict=True)
    assert len(classes) == count
    ranks = classify(np.stack(pixels)) == np.asarray(classes)[:, None]
    assert ranks[:, 0].mean() >= top1
    assert ranks[:, :5].any(axis=1).mean() >= top5


def norm_statistics(name, pixels):
    """What each batch norm sees and expects: ``{norm: (mean, var, running m, v)}``."""
    backbone = load_backbone(name, RESNET, through="layer3")
    module: Any = backbone.network.module
    running: dict = traverse_util.flatten_dict(
        backbone.variables["batch_stats"], sep="."
    )

    @jax.jit
    def measure(variables, pixels):
        _, kept = module.apply(
            variables,
            images.prepare(pixels, backbone.network),
            capture_intermediates=lambda layer, _: isinstance(layer, layers.Conv),
            mutable=["intermediates"],
        )
        outputs: dict = traverse_util.flatten_dict(kept["intermediates"])
        return {
            ".".join(path[:-1]): (out.mean((0, 1, 2)), out.var((0, 1, 2)))
            for path, (out,) in outputs.items()
        }

    found = {}
    for conv, (mean, var) in measure(backbone.variables, pixels).items():
        norm = conv.replace("conv", "bn").replace("downsample.0", "downsample.1")
        expected = running[f"{norm}.mean"], running[f"{norm}.var"]
        found[norm] = np.asarray(mean), np.asarray(var), *expected
    return found


def agreement(statistics):
    """Per norm: r of means, r of log variances, median ratio, median |standardised|."""
    rows = {}
    for norm, (mean, var, running_mean, running_var) in statistics.items():
        rows[norm] = (
            np.corrcoef(mean, running_mean)[0, 1],
            np.corrcoef(np.log(var), np.log(running_var))[0, 1],
            np.median(var / running_var),
            np.median(np.abs(mean - running_mean) / np.sqrt(running_var)),
        )
    return rows


@needs("weights/resnet50_v1_through_layer3.npz", "coco256_425.tar")
def test_resnet50_v1_meets_the_statistics_it_was_trained_to():
    with tarfile.open(DATA / "coco256_425.tar") as archive:
        names = sorted(n for n in archive.getnames() if n.endswith(".jpg"))
        files = [content(archive, n) for n in names[:N_PHOTOGRAPHS]]
    pixels = jnp.asarray(np.stack([photograph(data) for data in files]))
    v1 = agreement(norm_statistics("resnet50_v1", pixels))
    control = agreement(norm_statistics("resnet50", pixels))
    assert v1.keys() == control.keys()
    assert len(v1) == 43
    means, variances, ratios, offsets = np.array(list(v1.values())).T
    # the stem's means are all near 0, as the normalised photographs': no correlation
    assert means[1:].min() > 0.85
    assert variances.min() > 0.75
    assert 0.95 < np.median(ratios) < 1.15
    assert offsets.max() < 0.4
    # the 31 norms after the first stride that differs tell v1 from torchvision's
    differ = [norm for norm in v1 if v1[norm] != control[norm]]
    assert len(differ) == 31
    closer = [v1[norm][1] > control[norm][1] for norm in differ]
    assert np.mean(closer) > 0.9
    assert np.median([control[norm][2] for norm in differ]) < 0.9
