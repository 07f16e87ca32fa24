"""Both Flax layers against the Flax layers that they replace, and against each other."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import linen, nnx, traverse_util

import qama_jax
import qama_jax.linen
from qama_jax import attention as functional

HEADS, FEATURES, TOKENS = 4, 16, 10
VALID = np.arange(TOKENS) < np.array([[6], [0]])


class Nnx:
    ours, flax = qama_jax.QAMAAttention, nnx.MultiHeadAttention
    zeros, ones, normal = nnx.initializers.zeros, nnx.initializers.ones, nnx.initializers.normal
    make_attention_mask = staticmethod(nnx.make_attention_mask)

    @staticmethod
    def signatures(layer):
        return {"fields": inspect.signature(layer.__init__).parameters, "call": inspect.signature(layer).parameters}

    @staticmethod
    def build(layer, inputs, settings):
        """Parameters by path, and the layer as a function of them."""
        given = {"in_features": inputs[0].shape[-1], "in_kv_features": inputs[-1].shape[-1], "decode": False} | settings
        module = layer(rngs=nnx.Rngs(params=0), **given)
        graph, parameters, rest = nnx.split(module, nnx.Param, ...)

        def apply(parameters, *inputs, **call):
            return nnx.merge(graph, parameters, rest)(*inputs, **call)

        return parameters, apply

    @staticmethod
    def paths(parameters):
        return {"/".join(path): leaf[...] for path, leaf in nnx.to_flat_state(parameters)}

    @staticmethod
    def sown(parameters, apply, *inputs, **call):
        module = qama_jax.QAMAAttention(HEADS, FEATURES, solver=Coins(), rngs=nnx.Rngs(params=0))
        return nnx.to_pure_dict(nnx.capture(module, nnx.Intermediate)(*inputs, **call)[1])


class Linen:
    ours, flax = qama_jax.linen.QAMAAttention, linen.MultiHeadDotProductAttention
    zeros, ones, normal = linen.initializers.zeros, linen.initializers.ones, linen.initializers.normal
    make_attention_mask = staticmethod(linen.make_attention_mask)

    @staticmethod
    def signatures(layer):
        return {"fields": inspect.signature(layer).parameters, "call": inspect.signature(layer.__call__).parameters}

    @staticmethod
    def build(layer, inputs, settings):
        module = layer(**settings)
        parameters = jax.jit(module.init)(jax.random.key(0), *inputs)["params"]

        def apply(parameters, *inputs, **call):
            return module.apply({"params": parameters}, *inputs, **call)

        return parameters, apply

    @staticmethod
    def paths(parameters):
        return traverse_util.flatten_dict(parameters, sep="/")

    @staticmethod
    def sown(parameters, apply, *inputs, **call):
        return apply(parameters, *inputs, mutable=["intermediates"], **call)[1].get("intermediates", {})


APIS = {"nnx": Nnx, "linen": Linen}


@pytest.fixture(params=APIS.values(), ids=APIS)
def api(request):
    return request.param


def draw(*shape, seed=1):
    return jax.random.normal(jax.random.key(seed), shape)


def build(api, inputs, **settings):
    return api.build(api.ours, inputs, {"num_heads": HEADS, "solver": Coins()} | settings)


@functools.cache
def standard(api):
    return build(api, (draw(2, TOKENS, FEATURES),))


def attend(api, *inputs, **call):
    """The standard layer on each of the inputs, deterministic, compiled as a whole; masks are known."""
    parameters, apply = standard(api)
    fixed = jax.jit(functools.partial(apply, deterministic=True, **call))
    return [fixed(parameters, x) for x in inputs]


# --- signatures


@pytest.mark.parametrize("part", ["fields", "call"])
def test_signature_is_a_superset_of_flax(api, part):
    ours, theirs = api.signatures(api.ours)[part], api.signatures(api.flax)[part]
    positional = [name for name, parameter in theirs.items() if parameter.kind != parameter.KEYWORD_ONLY]
    order = [name for name in ours if name in positional]
    assert order == positional
    for name, parameter in theirs.items():
        if name in ("parent", "name"):  # of every Linen module, after its own fields
            continue
        assert ours[name].kind == parameter.kind
        # Initialisers are closures, in NNX new ones each time.
        if not callable(parameter.default) or api is Linen:
            assert ours[name].default == parameter.default


# --- shapes, types and parameters are those of Flax

SETTINGS = {
    "plain": {},
    "projected": {"qkv_features": 32, "out_features": 8},
    "one head": {"num_heads": 1},
    "no bias": {"use_bias": False},
    "normalized": {"normalize_qk": True},
    "bfloat16": {"dtype": jnp.bfloat16},
    "float16": {"dtype": jnp.float16, "normalize_qk": True},
    "bfloat16 parameters": {"param_dtype": jnp.bfloat16},
    "all bfloat16": {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16, "normalize_qk": True},
}


def compare(api, inputs, settings):
    outputs = []
    for layer in (api.ours, api.flax):
        parameters, apply = api.build(layer, inputs, {"num_heads": HEADS} | settings)
        output = jax.eval_shape(functools.partial(apply, deterministic=True), parameters, *inputs)
        outputs.append((output, api.paths(parameters)))
    (ours, our_parameters), (theirs, their_parameters) = outputs
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    importance = our_parameters.pop("qubo/importance")
    assert importance.shape == (our_parameters["query/kernel"].shape[-1],)
    assert importance.dtype == our_parameters["query/kernel"].dtype
    assert our_parameters.keys() == their_parameters.keys()
    for path, parameter in their_parameters.items():
        assert our_parameters[path].dtype == parameter.dtype
        np.testing.assert_array_equal(our_parameters[path], parameter)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_one_word_replaces_flax(api, settings):
    compare(api, (draw(2, TOKENS, FEATURES),), settings)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (2, 1, 3)])
def test_any_number_of_batch_dimensions(api, batch):
    compare(api, (draw(*batch, TOKENS, FEATURES),), {})


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_inputs_of_low_precision(api, dtype):
    compare(api, (draw(2, TOKENS, FEATURES).astype(dtype),), {})
    compare(api, (draw(2, TOKENS, FEATURES).astype(dtype),), {"param_dtype": dtype})


def test_keys_and_values_of_other_features(api):
    compare(api, (draw(2, TOKENS, FEATURES), draw(2, TOKENS, 6), draw(2, TOKENS, 6)), {"out_features": 5})


def test_initialisers_are_separate(api):
    settings = {"kernel_init": api.ones, "bias_init": api.normal(1.0), "out_kernel_init": api.zeros}
    compare(api, (draw(2, TOKENS, FEATURES),), settings | {"out_bias_init": api.ones})
    compare(api, (draw(2, TOKENS, FEATURES),), {"kernel_init": api.zeros, "bias_init": api.ones})
    parameters, _ = build(api, (draw(2, TOKENS, FEATURES),), importance_init=api.ones)
    np.testing.assert_array_equal(api.paths(parameters)["qubo/importance"], np.ones(FEATURES // HEADS))


def test_projections_are_those_of_flax(api):
    """Precision and own dot_general reach the projections; the core keeps its own precision."""
    calls = []

    def own(*operands, **settings):
        calls.append(settings["precision"])
        return jax.lax.dot_general(*operands, **settings)

    x = draw(2, TOKENS, FEATURES)
    precision = jax.lax.Precision.HIGH
    parameters, apply = build(api, (x,), qkv_dot_general=own, out_dot_general=own, precision=precision)
    calls.clear()
    jax.eval_shape(functools.partial(apply, deterministic=True), parameters, x)
    assert calls == [precision] * 4


# --- the two layers are one

FEW_STEPS = qama_jax.SimulatedBifurcation(num_steps=2, max_descent_steps=0)

PARITY = {
    "plain": ({}, {}),
    "projected": ({"qkv_features": 32, "out_features": 8, "use_bias": False}, {}),
    "normalized": ({"normalize_qk": True}, {}),
    "bfloat16": ({"dtype": jnp.bfloat16}, {}),
    "padded": ({}, {"mask": VALID[:, None, None, :]}),
    "values": ({"readout": qama_jax.WindowReadout(2, 3)}, {"mask": VALID[:, None, None, :]}),
    "annealed": ({"solver": FEW_STEPS, "rho_0": 0.3, "gamma_0": 0.5}, {}),
}


def both_layers(settings, call):
    """The two layers on the same parameters, as functions of a key; None for deterministic layers."""
    x = draw(2, TOKENS, FEATURES)
    parameters, apply = build(Nnx, (x,), **settings)
    copied = {"params": nnx.to_pure_dict(parameters)}
    module = qama_jax.linen.QAMAAttention(**{"num_heads": HEADS, "solver": Coins()} | settings)

    def in_nnx(key):
        rngs = None if key is None else nnx.Rngs(anneal=key)
        return apply(parameters, x, rngs=rngs, deterministic=key is None, **call)

    def in_linen(key):
        rng = None if key is None else nnx.Rngs(anneal=key).anneal()  # the first that the stream gives
        return module.apply(copied, x, dropout_rng=rng, deterministic=key is None, **call)

    return in_nnx, in_linen


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("settings", "call"), PARITY.values(), ids=PARITY)
def test_nnx_and_linen_agree_bitwise(settings, call, compiled):
    layers = both_layers(settings, call)
    if compiled:
        layers = map(jax.jit, layers)
    one, other = ([np.float32(layer(jax.random.key(seed))) for seed in (7, 9)] for layer in layers)
    np.testing.assert_array_equal(one, other)
    assert (one[0] != one[1]).any()


def test_deterministic_layers_agree_bitwise():
    in_nnx, in_linen = both_layers({}, {})
    np.testing.assert_array_equal(in_nnx(None), in_linen(None))


# --- masks


MASKS = {
    "keys": lambda api: VALID[:, None, None, :],
    "every query": lambda api: np.broadcast_to(VALID[:, None, None, :], (2, 1, TOKENS, TOKENS)),
    "every query and head": lambda api: np.broadcast_to(VALID[:, None, None, :], (2, HEADS, TOKENS, TOKENS)),
    "make_attention_mask": lambda api: api.make_attention_mask(VALID, VALID),
}


unchecked_masks = pytest.mark.filterwarnings("ignore::qama_jax.layers.padding.UncheckedMaskWarning")


@unchecked_masks
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_padding_in_every_layout(api, mask):
    """Hidden tokens have no influence and no features; a mask that is traced does the same as one that is known."""
    x = draw(2, TOKENS, FEATURES)
    mask = mask(api)
    output, changed = attend(api, x, x.at[:, 6:].set(7.0), mask=mask)
    np.testing.assert_allclose(changed[0, :6], output[0, :6], rtol=1e-5, atol=1e-6)
    bias = api.paths(standard(api)[0])["out/bias"]
    for hidden in (output[0, 6:], output[1]):
        np.testing.assert_array_equal(hidden, np.broadcast_to(bias, hidden.shape))
    parameters, apply = standard(api)
    traced = jax.jit(lambda mask: apply(parameters, x, mask=mask, deterministic=True))(mask)
    np.testing.assert_allclose(traced, output, rtol=1e-5, atol=1e-6)


@unchecked_masks
def test_masks_that_differ_between_queries_are_refused_or_nan(api):
    causal = np.tril(np.ones((TOKENS, TOKENS), bool))[None, None]
    with pytest.raises(ValueError, match="differs between heads or queries"):
        attend(api, draw(2, TOKENS, FEATURES), mask=causal)
    mask = np.stack([causal[0], VALID[:1, None, :] & np.ones((TOKENS, 1), bool)])
    parameters, apply = standard(api)
    x = draw(2, TOKENS, FEATURES)
    output = jax.jit(lambda mask: apply(parameters, x, mask=mask, deterministic=True))(mask)
    assert np.isnan(output[0]).all()
    assert np.isfinite(output[1]).all()


@unchecked_masks
def test_gradients_of_padded_elements_are_zero(api):
    parameters, apply = standard(api)

    @jax.jit
    def gradient(parameters, x, mask):
        def loss(parameters, x):
            return jnp.sum(apply(parameters, x, mask=mask, deterministic=True) ** 2)

        return jax.grad(loss, argnums=(0, 1))(parameters, x)

    of_parameters, of_inputs = gradient(parameters, draw(2, TOKENS, FEATURES), api.make_attention_mask(VALID, VALID))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_parameters))
    assert np.any(of_inputs[0, :6])
    assert not np.any(of_inputs[0, 6:])
    assert not np.any(of_inputs[1])


# --- cross-attention


@unchecked_masks
@pytest.mark.parametrize("keys", [3, 25])
def test_keys_of_another_number(api, keys):
    x, memory = draw(2, TOKENS, FEATURES), draw(2, keys, 6, seed=2)
    values = draw(2, TOKENS, 6, seed=3)
    parameters, apply = build(api, (x, memory, values))
    padding = np.arange(keys) < np.array([[2], [keys]])

    @jax.jit
    def attend(memory, mask):
        return apply(parameters, x, memory, values, mask=mask, deterministic=True)

    output = attend(memory, padding[:, None, None, :])
    assert output.shape == (2, TOKENS, FEATURES)
    hidden = attend(memory.at[0, 2:].set(7.0), np.broadcast_to(padding[:, None, None, :], (2, 1, TOKENS, keys)))
    np.testing.assert_allclose(hidden, output, rtol=1e-5, atol=1e-6)
    assert not np.allclose(attend(memory, np.ones((2, 1, 1, keys), bool))[0], output[0])


@pytest.mark.parametrize("readout", [qama_jax.LinearReadout(), qama_jax.SelectedKeysReadout(3)])
@pytest.mark.parametrize(("queries", "keys"), [(1, 16), (5, 9)])
def test_values_of_a_memory_as_in_flax(api, readout, queries, keys):
    """A pooling head and a decoder: keys are selected, and hidden ones might be anything."""
    x, memory = draw(2, queries, FEATURES), draw(2, keys, 6, seed=2)
    parameters, apply = build(api, (x, memory), readout=readout)
    padding = np.arange(keys) < np.array([[4], [keys]])

    @jax.jit
    def attend(x, memory):
        return apply(parameters, x, memory, mask=padding[:, None, None, :], deterministic=True)

    output = attend(x, memory)
    assert output.shape == (2, queries, FEATURES)
    np.testing.assert_allclose(attend(x, memory.at[0, 4:].set(7.0)), output, rtol=1e-5, atol=1e-6)
    assert not np.allclose(attend(x, memory.at[0, :4].multiply(2.0))[0], output[0], rtol=1e-3)


@unchecked_masks
@pytest.mark.parametrize(("readout", "keys"), [(qama_jax.EnergyReadout(), 7), (qama_jax.LinearReadout(), TOKENS)])
def test_padded_queries_of_cross_attention(api, readout, keys):
    """As if they were not there, under masks that are known and that are traced."""
    asking, visible = np.arange(TOKENS) < 6, np.arange(keys) < np.array([[4], [keys]])
    mask = np.asarray(api.make_attention_mask(np.tile(asking, (2, 1)), visible))
    x, memory = draw(2, TOKENS, FEATURES), draw(2, keys, FEATURES, seed=2)
    energies = readout.select == "queries"
    parameters, apply = build(api, (x, memory, x if energies else memory), readout=readout)

    def attend(x, mask):
        return apply(parameters, x, memory, x if energies else memory, mask=mask, deterministic=True)

    output, others = jax.jit(attend)(x, mask), jax.jit(functools.partial(attend, mask=mask))(x.at[:, 6:].add(9.0))
    np.testing.assert_allclose(others[:, :6], output[:, :6], rtol=1e-4, atol=1e-5)
    if energies:
        bias = api.paths(parameters)["out/bias"]
        np.testing.assert_array_equal(output[:, 6:], np.broadcast_to(bias, (2, 4, FEATURES)))
    else:
        alone = jax.jit(attend)(x[:, :6], visible[:, None, None])
        np.testing.assert_allclose(output[:, :6], alone, rtol=1e-4, atol=1e-5)


# --- randomness


def test_deterministic_layers_repeat_themselves(api):
    x = draw(2, TOKENS, FEATURES)
    first, second = attend(api, x, x)
    np.testing.assert_array_equal(first, second)
    parameters, fixed = build(api, (x,), deterministic=True)
    np.testing.assert_array_equal(jax.jit(fixed)(parameters, x), first)


# --- what is computed in which precision


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_close(api, dtype):
    """Equal selections: the solver decides which, and near ties it decides otherwise after any rounding."""
    x = draw(8, 24, FEATURES)
    parameters, exact = build(api, (x,))
    _, low = build(api, (x,), dtype=dtype)
    expected = jax.jit(functools.partial(exact, deterministic=True))(parameters, x)
    output = jax.jit(functools.partial(low, deterministic=True))(parameters, x)
    assert output.dtype == dtype
    error = np.linalg.norm(output.astype(jnp.float32) - expected) / np.linalg.norm(expected)
    assert error < 0.02


# --- compilation


def test_equal_configurations_compile_once(api):
    """Eagerly too: a solver is static and hashes by its settings."""
    x = draw(2, TOKENS, FEATURES)
    functions = (functional.build_hamiltonians, functional.anneal, functional.distribute_energies)

    def sizes_after_one_call(seed):
        settings = {"solver": qama_jax.SteepestDescent(max_steps=3), "importance_init": api.normal(float(seed))}
        parameters, apply = build(api, (x,), **settings)
        apply(parameters, x, deterministic=True)
        return [function._cache_size() for function in functions]

    assert sizes_after_one_call(1) == sizes_after_one_call(2)


# --- diagnostics


def test_diagnostics_are_sown_on_request(api):
    x = draw(2, TOKENS, FEATURES)
    sown = api.sown(*standard(api), x, deterministic=True, sow_weights=True)
    ((diagnostics,), (features,)) = sown["attention_diagnostics"], sown["attention_features"]
    assert diagnostics.bits.shape == diagnostics.token_energy.shape == (2, HEADS, TOKENS)
    assert diagnostics.energy.shape == (2,)
    assert features.shape == (2, TOKENS, HEADS, FEATURES // HEADS)
    selected = np.moveaxis(np.asarray(diagnostics.bits), -1, -2)[..., None]
    assert not np.any(features * (1 - selected))
    assert not api.sown(*standard(api), x, deterministic=True)


# --- errors


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("settings", "inputs", "call", "message"),
    [
        ({"attention_fn": lambda *a, **k: None}, [], {}, "attention_fn is what"),
        ({"dropout_rate": 1.0}, [], {}, "dropout_rate must be a probability, at least 0 and below 1, got 1.0"),
        ({"readout": "window"}, [], {}, "readout must be an instance such as"),
        ({"readout": qama_jax.WindowReadout()}, [zeros(2, 5, 16)], {}, "as many keys as queries, 10, got 5"),
        (
            {"readout": qama_jax.LinearReadout()},
            [zeros(2, 9, 16), zeros(2, 5, 16)],
            {},
            "inputs_v must have as many tokens as inputs_k, 9, got 5",
        ),
        ({"num_heads": 3}, [], {}, "qkv_features=16 must be divisible by num_heads=3"),
        ({"num_heads": 0}, [], {}, "num_heads must be an integer >= 1, got 0"),
        ({"num_heads": -2}, [], {}, "num_heads must be an integer >= 1, got -2"),
        ({"num_heads": 2.0}, [], {}, "num_heads must be an integer >= 1, got 2.0"),
        ({"out_features": -8}, [], {}, "out_features must be an integer >= 1, got -8"),
        ({"dropout_rate": jnp.float32(0.5)}, [], {}, r"dropout_rate must be a Python number, .*float\(dropout_rate\)"),
        ({}, [], {"mask": np.full((2, 1, 1, 10), -1e9)}, "mask must be boolean, or 1 for visible keys"),
        ({"decode": True}, [], {}, "decode=True"),
        ({}, [], {"mask": np.ones((2, 10), bool)}, r"mask must be \[\*batch, heads, queries, keys\]"),
        ({}, [], {"mask": np.ones((3, 1, 1, 10), bool)}, "mask must be"),
        ({}, [], {"mask": np.ones((2, 3, 10, 10), bool)}, "mask must be"),
        ({}, [], {"mask": np.tril(np.ones((2, 1, 10, 10)))}, "use Flax's attention|Use Flax's attention"),
        ({}, [], {"inputs_v": zeros(2, 10, 16)}, "inputs_k must be given"),
        ({}, [zeros(2, 5, 16)], {}, "inputs_v must have as many tokens as inputs_q, 10, got 5 from inputs_k"),
        ({}, [zeros(2, 10, 16), zeros(2, 5, 16)], {}, "inputs_v must have as many .* pass inputs_v=inputs_q"),
        ({}, [zeros(3, 10, 16)], {}, "inputs_k must be .* batch dimensions of inputs_q"),
        ({}, [np.ones((2, 1, 10, 10), bool)], {}, "inputs_k must be .* pass an attention mask by its name, mask="),
    ],
)
def test_what_cannot_be_honoured_is_refused(api, settings, inputs, call, message):
    x = zeros(2, TOKENS, FEATURES)

    def use():
        if settings:
            parameters, apply = build(api, (x,), **settings)
        else:
            parameters, apply = standard(api)
        return apply(parameters, x, *inputs, deterministic=True, **call)

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(use)
