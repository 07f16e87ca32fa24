"""Flax Linen module: the drop-in for `flax.linen.MultiHeadDotProductAttention`."""

import functools
import warnings

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Bool, Float, Key

from qama_jax.attention import anneal, build_hamiltonians, diagnose
from qama_jax.layers.arguments import causal_readout, check_decoding, check_settings, complete_inputs, layer_solver
from qama_jax.layers.decoding import MemoryCache, decode_token, empty_cache
from qama_jax.layers.masked import run_masked_stages
from qama_jax.layers.streams import evaluation_key
from qama_jax.layers.weights import attention_weights, has_attention_weights
from qama_jax.readouts import Dropout, EnergyReadout, Readout, check_readout, is_mixing
from qama_jax.solvers.base import Solver


class QAMAAttention(nn.MultiHeadDotProductAttention):
    """Quantum annealing multi-head attention in place of `flax.linen.MultiHeadDotProductAttention`.

    It has the same fields, the same call and the same parameters (`query`, `key`, `value`, `out`), and W_ε in
    `qubo/importance`. Its tree is that of `qama_jax.QAMAAttention`, the layer for Flax NNX, and its outputs are equal
    bit for bit.
    Heads select tokens by a low-energy state of a QUBO, and `readout` makes features of the selection: the energies of
    the selected tokens, as in the paper and by default, or values. Time and memory are linear in the number of tokens.

    The selection is detached; `qama_jax.qama_attention` says what gradients do see.

    Random keys come from the call's `dropout_rng`, or else from the first of the streams `anneal`, `dropout` and
    `params` that exists. Deterministic layers, layers that are being initialised, and layers without any of these
    anneal from one fixed key. Where `deterministic` is None, a call with a key or a stream is training, and one without
    is evaluation.

    Masks that differ between queries or heads, another `attention_fn`, and an einsum for attention weights are refused,
    because a selection made once for the whole sequence cannot honour them. Causal masks, packed sequences and
    autoregressive decoding need `readout=qama_jax.MemoryReadout()`. In cross-attention the selection depends on all
    queries, so that early tokens of a decoder depend on later ones through it; where this matters, use Flax's layer
    there.

    Values belong to the queries with the default read-out. With all others they belong to the keys, as in Flax.

    With `decode=True`, the first call, such as that of `init`, makes the collection `cache`. Its size does not depend
    on the number of tokens, and only the batch dimensions of the inputs count. Each later call takes the next token,
    [*batch, 1, in_features]. Its mask, if there is one, is [*batch, 1, 1, 1] and says whether the token is visible.

    Attributes:
      solver: minimises the Hamiltonians; see the solvers of `qama_jax`. If None, `SimulatedBifurcation()` in
        evaluation, and in training the same solver with 10 steps and at most 4 steps of descent, from which a network
        learns as much.
      readout: makes features of the selection; see `qama_jax.readouts` for which to choose.
      rho_0: ρ₀ of equation (10), weight of the importances.
      gamma_0: γ₀ of equation (10), weight of the penalty on tokens that several heads select.
      importance_init: initialiser of W_ε.
      dropout_rate: unless the layer is deterministic, each of the read-out's weights becomes 0 with this probability,
        and is divided by one minus it otherwise. These are attention weights, but gates for `LinearReadout`, and
        energies for `EnergyReadout`.
        Dropout needs the stream `dropout`, for which, as in all of Flax, `params` serves too.
      broadcast_dropout: whether all heads and all elements of the batch drop the same entries.
      dtype, precision: those of the projections; energies and statistics are in float32 or wider, at the highest
        precision.
      force_fp32_for_softmax: energies are computed in float32 in any case.
      **: all other fields are as in `flax.linen.MultiHeadDotProductAttention`.

    Example:
      >>> import jax
      >>> from qama_jax.linen import QAMAAttention
      >>> layer = QAMAAttention(num_heads=8)
      >>> x = jax.numpy.ones((2, 16, 64))
      >>> variables = layer.init(jax.random.key(0), x)
      >>> layer.apply(variables, x, rngs={"anneal": jax.random.key(1)}).shape
      (2, 16, 64)

    References:
      arXiv:2504.11083v2.
    """

    solver: Solver | None = None
    readout: Readout = EnergyReadout()
    rho_0: float = 0.16
    gamma_0: float = 0.8
    importance_init: Initializer = nn.initializers.normal(0.05)

    @nn.compact
    def __call__(
        self,
        inputs_q: Float[Array, "*batch tokens in_features"],
        inputs_k: Float[Array, "*batch keys in_kv_features"] | None = None,
        inputs_v: Float[Array, "*batch selected in_kv_features"] | None = None,
        *,
        inputs_kv: Float[Array, "*batch tokens in_kv_features"] | None = None,
        mask: Bool[Array, "*#batch #heads #tokens keys"] | None = None,
        deterministic: bool | None = None,
        dropout_rng: Key[Array, ""] | None = None,
        sow_weights: bool = False,
    ) -> Float[Array, "*batch tokens out_features"]:
        """Applies the layer; arguments as in `flax.linen.MultiHeadDotProductAttention`.

        Args:
          inputs_q: [*batch, N, in_features].
          inputs_k: [*batch, M, in_kv_features]; `inputs_q` if None.
          inputs_v: [*batch, N, in_kv_features], or M for read-outs that select keys; `inputs_k` if None.
          inputs_kv: stands for both `inputs_k` and `inputs_v`; deprecated.
          mask: [*batch, 1, 1, M], true for visible keys; see `qama_jax.layers.padding` for what else is honoured.
          deterministic: overrides the field.
          dropout_rng: overrides the streams.
          sow_weights: sow into "intermediates" the `AttentionDiagnostics` as "attention_diagnostics", the features
            before the output projection as "attention_features", and for read-outs that select keys of the whole
            sequence Flax's "attention_weights" [*batch, H, N, M], in as much memory as softmax attention takes.
            `EnergyReadout` and `MemoryReadout` have no such weights; there, the bits of "attention_diagnostics" say
            what the heads select; in decoding, in the chunk that the token finishes, and all are 0 if it finishes none.

        Returns:
          [*batch, N, out_features]. Where a traced mask cannot be honoured, that element of the batch is NaN.

        Raises:
          ValueError: if an argument or field cannot be honoured, or shapes disagree.
          InvalidRngError: if dropout has no random stream.
        """
        qkv_features = self.qkv_features or inputs_q.shape[-1]
        self._check_fields(qkv_features)
        if inputs_kv is not None:
            if inputs_k is not None or inputs_v is not None:
                raise ValueError("inputs_kv stands for inputs_k and inputs_v; pass either it or them")
            warnings.warn("inputs_kv is deprecated, as in Flax: pass inputs_k", DeprecationWarning, stacklevel=2)
            inputs_k = inputs_kv
        inputs_k, inputs_v = complete_inputs(inputs_q, inputs_k, inputs_v, self.readout.select)
        if deterministic is None:
            deterministic = self.deterministic

        head_dim = qkv_features // self.num_heads
        typed = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense = functools.partial(nn.DenseGeneral, use_bias=self.use_bias, precision=self.precision, **typed)
        project = functools.partial(
            dense,
            features=(self.num_heads, head_dim),
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dot_general=self.qkv_dot_general,
            dot_general_cls=self.qkv_dot_general_cls,
        )
        query, key = project(name="query")(inputs_q), project(name="key")(inputs_k)
        value = project(name="value")(inputs_v)
        if self.normalize_qk:
            query = nn.LayerNorm(name="query_ln", use_bias=False, **typed)(query)
            key = nn.LayerNorm(name="key_ln", use_bias=False, **typed)(key)
        importance = _Importance(self.importance_init, self.param_dtype, name="qubo")(head_dim)
        mix = None
        if is_mixing(self.readout):
            mix = self.param("mix", nn.initializers.zeros_init(), (self.num_heads,), self.param_dtype)

        def build(query, key, value, mask, query_mask=None):
            return build_hamiltonians(
                query,
                key,
                value,
                importance,
                mask=mask,
                query_mask=query_mask,
                rho_0=self.rho_0,
                gamma_0=self.gamma_0,
                select=self.readout.select,
            )

        cache = self._cache(query) if self.decode else None
        if cache is not None:
            check_decoding(deterministic, self.dropout_rate)
        rng, dropout = self._random(deterministic, dropout_rng)
        if deterministic is None:
            deterministic = rng is None
        solver = layer_solver(self.solver, deterministic)
        stages = {
            "build": build,
            "anneal": functools.partial(
                anneal, evaluation_key() if rng is None else rng, solver=solver, one_key=rng is None
            ),
            "readout": self.readout,
        }
        if cache is not None:
            features, after, diagnostics = decode_token(
                MemoryCache(*(variable.value for variable in cache)), query, key, value, mask, mix=mix, **stages
            )
            for variable, array in zip(cache, after, strict=True):
                variable.value = array
            if sow_weights:
                self.sow("intermediates", "attention_diagnostics", diagnostics)
        else:
            features, hamiltonians, solution = run_masked_stages(
                query, key, value, importance, mask, dropout=dropout, mix=mix, **stages
            )
            if sow_weights:
                self.sow("intermediates", "attention_diagnostics", diagnose(hamiltonians, solution))
                if has_attention_weights(self.readout):
                    weights = attention_weights(self.readout, hamiltonians, solution, query, key, importance, mix)
                    self.sow("intermediates", "attention_weights", weights)
        if sow_weights:
            self.sow("intermediates", "attention_features", features)
        return dense(
            name="out",
            features=self.out_features or inputs_q.shape[-1],
            axis=(-2, -1),
            kernel_init=self.out_kernel_init or self.kernel_init,
            bias_init=self.out_bias_init or self.bias_init,
            dot_general=self.out_dot_general,
            dot_general_cls=self.out_dot_general_cls,
        )(features)

    def _check_fields(self, qkv_features: int) -> None:
        check_readout(self.readout)
        check_settings(
            num_heads=self.num_heads,
            qkv_features=qkv_features,
            out_features=self.out_features,
            attention_fn=self.attention_fn,
            flax_attention_fn=nn.dot_product_attention,
            dropout_rate=self.dropout_rate,
        )
        for name in ("qk_attn_weights_einsum_cls", "attn_weights_value_einsum_cls"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} computes with attention weights, which QAMA does not have; leave it None")

    def _cache(self, query: Float[Array, "*batch tokens heads head_dim"]) -> list[nn.Variable] | None:
        """The variables of the cache; None where this call is the first, which makes them."""
        there = self.has_variable("cache", "cache_index")
        *batch, _, heads, head_dim = query.shape
        empty = functools.partial(
            empty_cache,
            causal_readout(self.readout, "decode=True"),
            tuple(batch),
            heads=heads,
            kv_heads=heads,
            head_dim=head_dim,
            dtype=query.dtype,
        )
        variables = [
            self.variable("cache", name, lambda name=name: getattr(empty(), name)) for name in MemoryCache._fields
        ]
        return variables if there else None

    def _random(
        self, deterministic: bool | None, dropout_rng: Key[Array, ""] | None
    ) -> tuple[Key[Array, ""] | None, Dropout | None]:
        """The key of the annealer, None for that of evaluation, and the dropout where there is any."""
        if deterministic or self.is_initializing():
            return None, None
        drops = self.dropout_rate > 0
        if dropout_rng is not None:
            rng = _typed(dropout_rng)
            rng, dropout_rng = jax.random.split(rng) if drops else (rng, None)
        else:
            stream = next((name for name in ("anneal", "dropout", "params") if self.has_rng(name)), None)
            rng = None if stream is None else _typed(self.make_rng(stream))
            dropout_rng = _typed(self.make_rng("dropout")) if drops else None
        return rng, None if dropout_rng is None else Dropout(dropout_rng, self.dropout_rate, self.broadcast_dropout)


class SelfAttention(QAMAAttention):
    """`QAMAAttention` of one sequence, in place of `flax.linen.SelfAttention`: the mask may be positional."""

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        inputs_q: Float[Array, "*batch tokens in_features"],
        mask: Bool[Array, "*#batch #heads #tokens tokens"] | None = None,
        deterministic: bool | None = None,
        dropout_rng: Key[Array, ""] | None = None,
        sow_weights: bool = False,
    ) -> Float[Array, "*batch tokens out_features"]:
        """Applies the layer; see `QAMAAttention`."""
        call = {"deterministic": deterministic, "dropout_rng": dropout_rng, "sow_weights": sow_weights}
        return super().__call__(inputs_q, mask=mask, **call)


def _typed(rng: Key[Array, ""]) -> Key[Array, ""]:
    # Flax takes keys of the old kind, raw arrays, wherever it takes typed ones.
    return rng if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(rng)


class _Importance(nn.Module):
    """Holds W_ε under the name that the layer for Flax NNX gives it."""

    importance_init: Initializer
    param_dtype: Dtype

    @nn.compact
    def __call__(self, head_dim: int) -> Float[Array, "head_dim"]:
        return self.param("importance", self.importance_init, (head_dim,), self.param_dtype)
