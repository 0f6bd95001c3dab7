"""Sparse autoencoders: values against numpy and torch, gradients, files, refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from paramctl_jax.backbones import read
from paramctl_jax.backbones.sae import encode, with_sae
from paramctl_jax.encoding.prediction import predict_pixels
from paramctl_jax.images import prepare
from paramctl_jax.types import CheckpointError, InputError

READOUT = "layer1.0"
LATENTS = 40


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    return tiny_backbone


@pytest.fixture(scope="module")
def pixels(photographs):
    return jnp.asarray(photographs.pixels[:3], jnp.float32) / 255


def tensors(backbone, seed=0, **more):
    channels = backbone.readouts[READOUT][2]
    rng = np.random.default_rng(seed)
    drawn = {
        "W_enc": rng.standard_normal((channels, LATENTS)),
        "b_enc": 0.3 * rng.standard_normal(LATENTS),
        "b_dec": rng.standard_normal(channels),
    }
    return {n: a.astype(np.float32) for n, a in drawn.items()} | more


def by_hand(backbone, pixels, weights, activation):
    """Latents of every position in float64: ``[image, height, width, latent]``."""
    network = backbone.network
    x = network.module.apply(backbone.variables, prepare(pixels, network))[READOUT]
    x = np.asarray(x, np.float64)
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    out = np.maximum(pre, 0)
    if activation == "topk":
        smallest = np.sort(out, axis=-1)[..., -int(weights["k"]), None]
        out = np.where(out >= smallest, out, 0)
    elif activation == "jumprelu":
        out = np.where(pre > weights["threshold"], out, 0)
    return out


MORE = {
    "relu": {},
    "topk": {"k": np.array(4)},
    "jumprelu": {"threshold": np.linspace(-1, 2, LATENTS)},
}


@pytest.mark.parametrize("activation", MORE)
@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_latents_are_those_of_the_formula(backbone, pixels, activation, pool):
    weights = tensors(backbone, **MORE[activation])
    extended = with_sae(backbone, READOUT, weights, pool=pool)
    expected = by_hand(backbone, pixels, weights, activation)
    sparsity = np.mean(expected > 0)
    assert 0.05 < sparsity < 0.9  # neither nothing nor everything
    if pool == "none":
        expected = np.moveaxis(expected, -1, 1)
    else:
        expected = getattr(expected, pool)(axis=(1, 2))
    found = read(extended.network, extended.variables, pixels, f"{READOUT}.sae")
    np.testing.assert_allclose(found, expected.reshape(3, -1), atol=2e-5, rtol=2e-5)
    size = np.prod(extended.readouts[f"{READOUT}.sae"])
    assert found.shape == (3, size)


def test_other_readouts_stay(backbone, pixels):
    extended = with_sae(backbone, READOUT, tensors(backbone))
    assert list(extended.readouts) == [*backbone.readouts, f"{READOUT}.sae"]
    assert extended.readouts[f"{READOUT}.sae"] == (1, 1, LATENTS)
    for readout in ("layer1.0", "layer3.0"):
        np.testing.assert_array_equal(
            read(extended.network, extended.variables, pixels, readout),
            read(backbone.network, backbone.variables, pixels, readout),
        )


def test_latents_can_be_encoded_again(backbone, pixels):
    once = with_sae(backbone, READOUT, tensors(backbone), pool="none")
    kernel = np.random.default_rng(3).standard_normal((LATENTS, 7))
    twice = with_sae(once, f"{READOUT}.sae", {"W_enc": kernel})
    name = f"{READOUT}.sae.sae"
    assert twice.readouts[name] == (1, 1, 7)
    found = read(twice.network, twice.variables, pixels, name)
    inner = by_hand(backbone, pixels, tensors(backbone), "relu")
    expected = np.maximum(inner @ kernel, 0).mean(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("activation", MORE)
def test_gradients_flow_through_active_latents_only(activation):
    rng = np.random.default_rng(0)
    variables = {
        "centre": jnp.asarray(rng.standard_normal(6), jnp.float32),
        "kernel": jnp.asarray(rng.standard_normal((6, 20)), jnp.float32),
        "bias": jnp.asarray(rng.standard_normal(20), jnp.float32),
        "threshold": jnp.full(20, 0.7),
    }
    x = jnp.asarray(rng.standard_normal((1, 6)), jnp.float32)

    def latents(x):
        return encode(x, variables, activation, 3)[0]

    active = np.asarray(latents(x)) > 0
    assert 0 < active.sum() < 20
    jacobian = np.asarray(jax.jacobian(latents)(x))[:, 0]
    expected = np.where(active[:, None], np.asarray(variables["kernel"]).T, 0)
    np.testing.assert_allclose(jacobian, expected, atol=1e-6)


@pytest.mark.parametrize("k", [None, 5])
def test_accentuation_has_a_gradient(backbone, pixels, k):
    extended = with_sae(backbone, READOUT, tensors(backbone), k=k)
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.standard_normal((1, LATENTS)), jnp.float32)

    def predicted(image, variables, weights):
        responses = predict_pixels(
            extended.network, variables, weights, jnp.zeros(1), image[None],
            f"{READOUT}.sae",
        )  # fmt: skip
        return responses[0, 0]

    both = jax.jit(jax.vmap(jax.value_and_grad(predicted), (0, None, None)))
    _, gradients = both(pixels, extended.variables, weights)
    assert np.isfinite(gradients).all()
    assert np.all(np.abs(gradients).max(axis=(1, 2, 3)) > 0)
    if k is None:  # continuous: against difference quotients along the gradients
        norms = np.sqrt(np.sum(np.square(gradients), axis=(1, 2, 3)))
        step = 1e-3 * gradients / norms[:, None, None, None]
        high, low = (
            both(pixels + sign * step, extended.variables, weights)[0]
            for sign in (1, -1)
        )
        np.testing.assert_allclose((high - low) / 2e-3, norms, rtol=0.05)


def test_equal_architectures_share_a_program(backbone):
    first, second = (with_sae(backbone, READOUT, tensors(backbone, s)) for s in (0, 1))
    assert first.network == second.network
    assert hash(first.network) == hash(second.network)
    assert with_sae(backbone, READOUT, tensors(backbone, k=3)).network != first.network


def test_the_digest_covers_weights_and_choices(backbone):
    weights = tensors(backbone)
    plain = with_sae(backbone, READOUT, weights).provenance
    others = [
        with_sae(backbone, READOUT, tensors(backbone, 1)),
        with_sae(backbone, READOUT, weights, pool="max"),
        with_sae(backbone, READOUT, weights, centre=False),
        with_sae(backbone, READOUT, weights, k=3),
        with_sae(backbone, READOUT, weights, threshold=0.5),
        with_sae(backbone, "layer1.0", weights | {"b_dec": 0 * weights["b_dec"]}),
        with_sae(
            dataclasses.replace(backbone, provenance={"sha256": "sha256:other"}),
            READOUT,
            weights,
        ),
    ]
    digests = {plain["sha256"], *(other.provenance["sha256"] for other in others)}
    assert len(digests) == 8
    assert plain == with_sae(backbone, READOUT, dict(weights)).provenance
    assert plain["backbone_sha256"] == backbone.provenance["sha256"]
    assert plain["sha256"].startswith("sha256:")


def variables_of(backbone, weights, **settings):
    return with_sae(backbone, READOUT, weights, **settings).variables["sae"]


@pytest.mark.parametrize("container", ["safetensors", "npz"])
def test_files_are_read_as_the_mapping_is(backbone, tmp_path, container):
    weights = tensors(backbone, k=np.array(4))
    path = tmp_path / f"dictionary.{container}"
    if container == "npz":
        np.savez(path, **weights)
    else:
        save_file(weights, path)
    loaded = with_sae(backbone, READOUT, path)
    given = with_sae(backbone, READOUT, weights)
    assert loaded.network == given.network
    assert jax.tree.all(
        jax.tree.map(np.array_equal, loaded.variables["sae"], given.variables["sae"])
    )
    assert loaded.provenance["sae_file"] == path.name
    assert loaded.provenance["sha256"] == given.provenance["sha256"]


NAMES = {
    "sae_lens": {
        "W_enc": "W_enc", "b_enc": "b_enc", "b_dec": "b_dec", "decoder": "W_dec",
    },
    "dictionary_learning": {
        "W_enc": "encoder.weight", "b_enc": "encoder.bias", "b_dec": "bias",
        "decoder": "decoder.weight",
    },
    "openai": {
        "W_enc": "encoder.weight", "b_enc": "latent_bias", "b_dec": "pre_bias",
        "decoder": "decoder.weight",
    },
    "compiled overcomplete": {
        "W_enc": "_orig_mod.encoder.final_block.0.weight",
        "b_enc": "_orig_mod.encoder.final_block.0.bias",
        "b_dec": "decoder.bias",
        "decoder": "_orig_mod.dictionary._weights",
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", NAMES)
def test_publishers_names_are_one_encoder(backbone, layout):
    weights = tensors(backbone)
    renamed = {NAMES[layout][name]: array for name, array in weights.items()}
    renamed[NAMES[layout]["decoder"]] = weights["W_enc"].T
    if layout != "sae_lens":
        name = NAMES[layout]["W_enc"]
        renamed[name] = renamed[name].T
    expected, found = variables_of(backbone, weights), variables_of(backbone, renamed)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))


def test_torch_s_linear_and_batch_norm_are_folded(backbone, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    channels = backbone.readouts[READOUT][2]
    model = torch.nn.Sequential(
        torch.nn.Linear(channels, LATENTS), torch.nn.BatchNorm1d(LATENTS)
    )
    for _ in range(5):  # running statistics that differ from 0 and 1
        model(3 * torch.randn(50, channels) + 1)
    torch.nn.init.normal_(model[1].weight)
    torch.nn.init.normal_(model[1].bias)
    x = torch.randn(9, channels)
    expected = torch.relu(model.eval()(x)).detach().numpy()
    state = {f"encoder.{name}": t.numpy() for name, t in model.state_dict().items()}
    variables = variables_of(backbone, state)
    found = encode(jnp.asarray(x.numpy()), variables, "relu")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # JumpSAE stores the logarithm of its thresholds; torch's own file is read too
    state["thresholds"] = np.linspace(-2, 0, LATENTS)
    path = tmp_path / "jump.pt"
    torch.save({name: torch.from_numpy(a) for name, a in state.items()}, path)
    found = variables_of(backbone, path)["threshold"]
    np.testing.assert_allclose(found, np.exp(state["thresholds"]), rtol=1e-6)


def test_what_the_tensors_hold_says_which_activation(backbone):
    def chosen(weights, **settings):
        module = with_sae(backbone, READOUT, weights, **settings).network.module
        return module.activation, module.k

    both = tensors(backbone, k=4, threshold=np.array(0.2))
    assert chosen(tensors(backbone)) == ("relu", 0)
    assert chosen(tensors(backbone, k=4)) == ("topk", 4)
    assert chosen(tensors(backbone), k=2) == ("topk", 2)
    assert chosen(tensors(backbone, theta=0.2)) == ("jumprelu", 0)
    assert chosen(tensors(backbone), threshold=0.2) == ("jumprelu", 0)
    assert chosen(both, activation="topk") == ("topk", 4)
    assert chosen(both, activation="jumprelu") == ("jumprelu", 0)
    assert chosen(tensors(backbone, k=4, threshold=-1.0)) == ("topk", 4)  # not set
    with pytest.raises(InputError, match="holds both k and threshold"):
        chosen(both)
    with pytest.raises(InputError, match="needs k, which is not among"):
        chosen(tensors(backbone), activation="topk")
    with pytest.raises(InputError, match="needs threshold, which"):
        chosen(tensors(backbone), activation="jumprelu")
    with pytest.raises(InputError, match="'tpok'; did you mean 'topk'"):
        chosen(tensors(backbone), activation="tpok")


def test_the_decoder_s_bias_is_subtracted_unless_told_otherwise(backbone):
    weights = tensors(backbone)
    centre = variables_of(backbone, weights)["centre"]
    np.testing.assert_array_equal(centre, weights["b_dec"])
    assert not variables_of(backbone, weights, centre=False)["centre"].any()


def test_all_problems_are_listed_at_once(backbone):
    weights = {
        "W_enc": np.zeros((3, 5)),
        "b_enc": np.zeros(4),
        "b_dec": np.zeros(8),
        "pre_bias": np.zeros(8),
        "gate": np.zeros(5),
        "k": 6,
        "threshold": np.array([np.nan]),
    }
    with pytest.raises(CheckpointError) as hit:
        with_sae(backbone, READOUT, weights)
    message = str(hit.value)
    for part in (
        "layer1.0 with 8 channels",
        "1 unknown (gate)",
        "1 given twice (pre_bias)",
        "W_enc (3, 5) instead of (8, 5)",
        "encoder.bias (4,) instead of (5,)",
        "k 6 instead of 1 to 5",
        "1 non-finite (threshold)",
    ):
        assert part in message
    assert "\n" not in message


def refused(backbone, weights, **settings):
    with pytest.raises(InputError) as hit:
        with_sae(backbone, READOUT, weights, **settings)
    return str(hit.value)


def test_unusable_input_is_refused(backbone, tmp_path):
    weights = tensors(backbone)
    transposed = {"W_enc": weights["W_enc"].T}
    assert "(40, 8) instead of (8, 8)" in refused(backbone, transposed)
    assert "encoder.weight or W_enc" in refused(backbone, {"b_enc": np.zeros(3)})
    twice = weights | {"encoder.weight": weights["W_enc"].T}
    assert "W_enc beside encoder.weight" in refused(backbone, twice)
    two = weights | {"theta": 0.1, "log_threshold": 0.1}
    assert "threshold beside its logarithm" in refused(backbone, two)
    norm = weights | {"encoder.final_block.1.weight": np.ones(LATENTS)}
    assert "norm.running_var of a batch norm" in refused(backbone, norm)
    assert "k 2.5 instead of 1 to 40" in refused(backbone, tensors(backbone, k=2.5))
    assert "valid: mean, max, none" in refused(backbone, weights, pool="sum")
    objects = weights | {"name": np.array("sae")}
    assert "expected names and tensors only, but name" in refused(backbone, objects)
    assert "expected named tensors" in refused(backbone, {})
    assert "no such weights file" in refused(backbone, tmp_path / "absent.npz")
    np.savez(tmp_path / "objects.npz", W_enc=np.array([{}], object))
    assert "not plain tensors" in refused(backbone, tmp_path / "objects.npz")
    assert "start from the plain one" in refused(
        with_sae(backbone, READOUT, weights), weights
    )
    with pytest.raises(InputError, match=r"unknown readout of tiny 'layer1.9'"):
        with_sae(backbone, "layer1.9", weights)
