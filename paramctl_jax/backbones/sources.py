"""Where the weights of every registered backbone come from, in one table.

A field is empty where it could not be confirmed; nothing here is guessed. Digests are
of the published file; torchvision publishes the first eight digits in the file's name.
No accuracy was measured by this project; those of networks without a classifier say
how they were obtained. Looked up in November 2026.
"""

from __future__ import annotations

from paramctl_jax.backbones.spec import Source

_TORCHVISION = "https://download.pytorch.org/models/"
_HUB = "https://huggingface.co/"
_ROBUST = f"{_HUB}madrylab/robust-imagenet-models/resolve/main/"
_CLIP = "https://openaipublic.azureedge.net/clip/models/"
_CROP = "resize 256 bilinear, crop 224"


def _torchvision(file: str, sha256: str, top1: float, resize: int = 256) -> Source:
    return Source(
        url=_TORCHVISION + file,
        sha256=sha256,
        licence="BSD-3-Clause",
        preprocessing=f"resize {resize} bilinear, crop 224",
        top1=top1,
    )


def _madry(tail: str, top1: float, note: str) -> Source:
    """MadryLab's `robustness` library publishes no digests."""
    return Source(
        url=f"https://www.dropbox.com/s/{tail}?dl=1",
        licence="MIT (the repository's)",
        preprocessing=_CROP,
        top1=top1,
        note=f"MadryLab robustness, {note}",
    )


def _salman(norm: str, radius: str, top1: float, sha256: str) -> Source:
    unit = "/255" if norm == "linf" else ""
    return Source(
        url=f"{_ROBUST}resnet50_{norm}_eps{radius}.ckpt",
        sha256=sha256,
        licence="MIT",
        preprocessing=_CROP,
        top1=top1,
        note=f"Salman et al. 2020, adversarially trained, {norm} {radius}{unit}",
    )


_SERIES = {
    ("l2", "0"): (
        75.80,
        "72d4a99582db5d7fa86c3fd2a089f0bfd6a10f69d635bca51f6ad72ac6b458f0",
    ),
    ("l2", "0.01"): (
        75.68,
        "53d7a7c09d2733b113e255ac9fc578091f44adb8d00eee274c0e71dd1f4dc41e",
    ),
    ("l2", "0.03"): (
        75.76,
        "e375df3bf07bf1360c04b0aff5cc19bb215e850b1af713327c87cf0353a5598f",
    ),
    ("l2", "0.05"): (
        75.59,
        "e09d8763fcf825542f07389a1904adf15930451b8661a0de209c3bc39828c2ea",
    ),
    ("l2", "0.1"): (
        74.78,
        "3298f8cf689e514d096df883ab491a11ee32c3b8d456d674add29d7b50721a43",
    ),
    ("l2", "0.25"): (74.14, ""),
    ("l2", "0.5"): (
        73.16,
        "a5fc6fcc54946b73af7bd74289b0003cc9d2744fa0ff55c1a3d9fb2bce8fbd30",
    ),
    ("l2", "1"): (
        70.43,
        "09f5273a568830ae23caf9162a06f4831a920293e0da1801aa182289052dcf90",
    ),
    ("l2", "3"): (
        62.83,
        "380b14e6f9750bffa1447cf7017f65da4dc5ce71a3dd112f107515dcf7b14d9d",
    ),
    ("l2", "5"): (
        56.13,
        "c50db4bbd9a61bc0e0a33290e1f07a79080e16489aa5ada869efc88306f497be",
    ),
    ("linf", "0.5"): (
        73.73,
        "9612d8096ef5378b4a32746072f72fedcb02c7ff4b747bc7163274f7ec2f0fd8",
    ),
    ("linf", "1.0"): (72.05, ""),  # its file name was not seen; it follows the others'
    ("linf", "2.0"): (
        69.10,
        "59f28de783a049cb4d91ba1c0a09c314db2cc4bb1e859566e023f842b02772ac",
    ),
    ("linf", "4.0"): (
        63.86,
        "9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db",
    ),
    ("linf", "8.0"): (
        54.53,
        "b907957f8e3ce209816813d8811c682e965a1b0f48455def828d35a4cc2953dc",
    ),
}

_BUNDLED = {
    "small_standard": (
        "d937059586a725d617c4653b3b2282ddc98fce064657d5918298265f3f046f0a"
    ),
    "small_robust": "2d99522573763de3a1c334d3e48fe7fad2fad045c444fbff02146069d66857d3",
    "small_linf_eps1": (
        "be1e635ba7f1fad663e830183acf34ab76d599c003b7287a8ec748665629ba08"
    ),
    "small_linf_eps4": (
        "dc9e0999a30844a79582621f5b5ad8a0298cfbb37c7e5f15bca037558d11584d"
    ),
    "small_subject_standard": (
        "00825b991ac3c0c413eb64f29aa34ba74e5f8332adcd8aa7d6bccca974143d6e"
    ),
    "small_subject_robust": (
        "1413dea27759b7feeea36ea489c9a700f0ebe88f79388607eaace4878ef3a3e8"
    ),
}


def _bundled(sha256: str) -> Source:
    return Source(
        sha256=sha256,
        licence="trained on photographs under ImageNet's terms",
        note="bundled, see weights/README.md",
    )


SOURCES: dict[str, Source] = {
    "resnet18": _torchvision(
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        69.76,
    ),
    "resnet34": _torchvision(
        "resnet34-b627a593.pth",
        "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
        73.31,
    ),
    "resnet50": _torchvision(
        "resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        76.13,
    ),
    "resnet50_v2": _torchvision("resnet50-11ad3fa6.pth", "11ad3fa6", 80.86, resize=232),
    "resnet101": _torchvision(
        "resnet101-63fe2227.pth",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        77.37,
    ),
    "resnet152": _torchvision(
        "resnet152-394f9c45.pth",
        "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
        78.31,
    ),
    "wide_resnet50_2": _torchvision("wide_resnet50_2-95faca4d.pth", "95faca4d", 78.47),
    "densenet121": _torchvision("densenet121-a639ec97.pth", "a639ec97", 74.43),
    "densenet169": _torchvision("densenet169-b2777c0a.pth", "b2777c0a", 75.60),
    "densenet201": _torchvision("densenet201-c1103571.pth", "c1103571", 76.90),
    "alexnet": _torchvision(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        56.52,
    ),
    "vgg16": _torchvision(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        71.59,
    ),
    "resnet50_robust": _madry(
        "yxn15a9zklz3s8q/imagenet_linf_8.pt", 47.91, "Linf 8/255"
    ),
    "resnet50_robust_linf4": _madry(
        "axfuary2w1cnyrg/imagenet_linf_4.pt", 62.42, "Linf 4/255"
    ),
    "resnet50_robust_l2_3": _madry("knf4uimlqsi1yz8/imagenet_l2_3_0.pt", 57.90, "L2 3"),
    **{
        f"resnet50_{norm}_eps{radius}": _salman(norm, radius, top1, sha256)
        for (norm, radius), (top1, sha256) in _SERIES.items()
    },
    "resnet50_dino": Source(
        url="https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
        licence="Apache-2.0 (the repository's)",
        note="self-supervised, no classifier; linear probe 75.3",
    ),
    "resnet50_clip": Source(
        url=f"{_CLIP}afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt",
        sha256="afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        licence="MIT",
        preprocessing="resize 224 bicubic, crop 224",
        note="image tower; its text tower is dropped",
    ),
    "clip_vitb32": Source(
        url=f"{_CLIP}40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        licence="MIT (the repository's)",
        preprocessing="resize 224 bicubic, crop 224",
        note="image tower; zero-shot 63.2",
    ),
    "clipag_vitb32": Source(
        url="https://zenodo.org/records/10446026/files/CLIPAG_ViTB32.pt",
        preprocessing="resize 224 bicubic, crop 224",
        note="Ganz & Elad 2024, adversarially finetuned CLIP; image tower",
    ),
    "dinov2_vitb14_reg": Source(
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",
        sha256="73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71",
        licence="Apache-2.0",
        note="self-supervised, no classifier; linear probe 84.6",
    ),
    "siglip2_vitb16": Source(
        url=f"{_HUB}timm/ViT-B-16-SigLIP2/resolve/main/open_clip_model.safetensors",
        licence="Apache-2.0",
        preprocessing="resize 224 bicubic",
        note="image tower; zero-shot 78.2",
    ),
    "radio_v2.5-b": Source(
        url=f"{_HUB}nvidia/RADIO/resolve/main/radio-v2.5-b_half.pth.tar",
        sha256="6bff4bd732d815136652d454598e8fe6c6f4e658716d5e6a697f0e6b60bd8a98",
        licence="NVIDIA NSCL, non-commercial",
        note="zero-shot 74.57 at 768 pixels",
    ),
    "regnety_640": Source(
        url=f"{_HUB}timm/regnety_640.seer/resolve/main/model.safetensors",
        licence="SEER licence",
        preprocessing="resize 232 bicubic, crop 224",
        note="SEER, self-supervised, no classifier; linear probe 75.25",
    ),
    "AlexNet_training_seed_01": Source(
        preprocessing="224 directly",
        note=(
            "untrained control; Brain-Score's training_seed_01.pth, "
            "sha1 4b1bb7810d5288631c04cf4cde882540d6ebee77"
        ),
        filename="training_seed_01.pth",
    ),
    **{name: _bundled(sha256) for name, sha256 in _BUNDLED.items()},
}
