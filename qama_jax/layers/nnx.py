"""Flax NNX module: the drop-in for `nnx.MultiHeadAttention`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from flax.nnx.nn.linear import default_kernel_init
from flax.typing import Dtype, Initializer, PrecisionLike, PromoteDtypeFn, Shape
from jaxtyping import Array, Bool, Float

from qama_jax.attention import AttentionDiagnostics, diagnose
from qama_jax.layers.arguments import causal_readout, check_decoding, check_settings, complete_inputs
from qama_jax.layers.decoding import MemoryCache, decode_token, empty_cache
from qama_jax.layers.grouped_heads import for_every_head
from qama_jax.layers.masked import run_masked_stages
from qama_jax.layers.stages import Annealer, QuboConstruction, prepare
from qama_jax.layers.streams import draw, first_stream
from qama_jax.layers.weights import attention_weights, has_attention_weights
from qama_jax.readouts import Dropout, EnergyReadout, Readout, check_readout, is_mixing
from qama_jax.solvers.base import Solver


class QAMAAttention(nnx.MultiHeadAttention):
    """Quantum annealing multi-head attention in place of `flax.nnx.MultiHeadAttention`.

    It has the same constructor, the same call and the same parameters (`query`, `key`, `value`, `out`), and W_ε in
    `qubo.importance`.
    Heads select tokens by a low-energy state of a QUBO, and `readout` makes features of the selection: the energies of
    the selected tokens, as in the paper and by default, or values. Time and memory are linear in the number of tokens.

    The selection is detached; `qama_jax.qama_attention` says what gradients do see.

    Masks that differ between queries or heads and another `attention_fn` are refused, because a selection made once for
    the whole sequence cannot honour them. Causal attention, with causal masks, packed sequences and autoregressive
    decoding, needs `readout=qama_jax.MemoryReadout()`. In cross-attention the selection depends on all queries, so that
    early tokens of a decoder depend on later ones through it; where this matters, use Flax's layer there.

    Values belong to the queries with the default read-out. With all others they belong to the keys, as in Flax.

    Each call in training anneals with a new key of the stream `anneal`, or of `dropout` where there is no `anneal`.
    Without either stream, it anneals with the one fixed key of evaluation, and if nothing says whether the layer is
    `deterministic`, it then is. So the layer has random state even where `dropout_rate` is 0 and Flax's layer has none:
    `nnx.split(model, nnx.Param, ...)` needs its dots. Drawing from a stream changes the layer. In place of plain
    `jax.jit`, `jax.grad` or `jax.lax.scan` over it, use `nnx.jit` and its like, or `nnx.split` and `nnx.merge`, or call
    `model.eval()` first. With `keep_rngs=False` the layer has no random state. It then splits and compiles like Flax's
    layer without dropout, and trains with the streams that are passed to its calls as `rngs`.

    Args:
      num_heads: H.
      in_features: size of the inputs.
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
      broadcast_dropout: whether all heads and all elements of the batch drop the same entries.
      deterministic: whether to anneal from one fixed key and drop nothing; `model.eval()` sets it, `model.train()`
        unsets it.
      dtype, precision: those of the projections; energies and statistics are in float32 or wider, at the highest
        precision.
      rngs: random streams: `params`, `anneal` (or `dropout`) for the annealer, `dropout` for dropout.
      **: all other arguments are as in `flax.nnx.MultiHeadAttention`.

    Raises:
      ValueError: if an argument cannot be honoured; the message names it and what to use instead.

    Example:
      >>> import jax, qama_jax
      >>> from flax import nnx
      >>> layer = qama_jax.QAMAAttention(num_heads=8, in_features=64, decode=False, rngs=nnx.Rngs(0))
      >>> layer(jax.numpy.ones((2, 16, 64))).shape
      (2, 16, 64)

    References:
      arXiv:2504.11083v2.
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        num_kv_heads: int | None = None,
        in_kv_features: int | None = None,
        *,
        solver: Solver | None = None,
        readout: Readout = EnergyReadout(),
        rho_0: float = 0.16,
        gamma_0: float = 0.8,
        importance_init: Initializer = nnx.initializers.normal(0.05),
        dtype: Dtype | None = None,
        param_dtype: Dtype = jnp.float32,
        broadcast_dropout: bool = True,
        dropout_rate: float = 0.0,
        deterministic: bool | None = None,
        precision: PrecisionLike = None,
        kernel_init: Initializer = default_kernel_init,
        out_kernel_init: Initializer | None = None,
        bias_init: Initializer = nnx.initializers.zeros_init(),
        out_bias_init: Initializer | None = None,
        use_bias: bool = True,
        attention_fn: Callable[..., Array] = nnx.dot_product_attention,
        decode: bool | None = None,
        normalize_qk: bool = False,
        qkv_promote_dtype: PromoteDtypeFn = promote_dtype,
        out_promote_dtype: PromoteDtypeFn = promote_dtype,
        ln_promote_dtype: PromoteDtypeFn = promote_dtype,
        qkv_dot_general: Any = None,
        out_dot_general: Any = None,
        qkv_dot_general_cls: Any = None,
        out_dot_general_cls: Any = None,
        rngs: nnx.Rngs,
        keep_rngs: bool = True,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        out_kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        out_bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        query_ln_scale_metadata: Mapping[str, Any] = MappingProxyType({}),
        key_ln_scale_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        check_readout(readout)
        check_settings(
            num_heads=num_heads,
            in_features=in_features,
            qkv_features=in_features if qkv_features is None else qkv_features,
            out_features=out_features,
            num_kv_heads=num_kv_heads,
            in_kv_features=in_kv_features,
            attention_fn=attention_fn,
            flax_attention_fn=nnx.dot_product_attention,
            dropout_rate=dropout_rate,
        )
        super().__init__(
            num_heads,
            in_features,
            qkv_features,
            out_features,
            num_kv_heads,
            in_kv_features,
            dtype=dtype,
            param_dtype=param_dtype,
            broadcast_dropout=broadcast_dropout,
            dropout_rate=dropout_rate,
            deterministic=deterministic,
            precision=precision,
            kernel_init=kernel_init,
            out_kernel_init=out_kernel_init,
            bias_init=bias_init,
            out_bias_init=out_bias_init,
            use_bias=use_bias,
            decode=decode,
            normalize_qk=normalize_qk,
            qkv_promote_dtype=qkv_promote_dtype,
            out_promote_dtype=out_promote_dtype,
            ln_promote_dtype=ln_promote_dtype,
            qkv_dot_general=qkv_dot_general,
            out_dot_general=out_dot_general,
            qkv_dot_general_cls=qkv_dot_general_cls,
            out_dot_general_cls=out_dot_general_cls,
            rngs=rngs,
            keep_rngs=keep_rngs,
            kernel_metadata=kernel_metadata,
            out_kernel_metadata=out_kernel_metadata,
            bias_metadata=bias_metadata,
            out_bias_metadata=out_bias_metadata,
            query_ln_scale_metadata=query_ln_scale_metadata,
            key_ln_scale_metadata=key_ln_scale_metadata,
        )
        self.qubo = QuboConstruction(
            self.head_dim,
            rho_0=rho_0,
            gamma_0=gamma_0,
            importance_init=importance_init,
            param_dtype=param_dtype,
            select=readout.select,
            rngs=rngs,
        )
        self.annealer = Annealer(solver, deterministic=deterministic, rngs=rngs if keep_rngs else None)
        self.readout = readout
        mixes = is_mixing(readout)
        self.mix = nnx.data(nnx.Param(jnp.zeros(num_heads, param_dtype)) if mixes else None)
        for name in MemoryCache._fields:
            setattr(self, name, nnx.data(None))

    def __call__(
        self,
        inputs_q: Float[Array, "*batch tokens in_features"],
        inputs_k: Float[Array, "*batch keys in_kv_features"] | None = None,
        inputs_v: Float[Array, "*batch selected in_kv_features"] | None = None,
        *,
        mask: Bool[Array, "*#batch #heads #tokens keys"] | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        sow_weights: bool = False,
        decode: bool | None = None,
        is_causal: bool = False,
        out_sharding: Any = None,
        qkv_sharding: Any = None,
    ) -> Float[Array, "*batch tokens out_features"]:
        """Applies the layer; arguments as in `flax.nnx.MultiHeadAttention`.

        Args:
          inputs_q: [*batch, N, in_features].
          inputs_k: [*batch, M, in_kv_features]; `inputs_q` if None.
          inputs_v: [*batch, N, in_kv_features], or M for read-outs that select keys; `inputs_k` if None.
          mask: [*batch, 1, 1, M], true for visible keys; see `qama_jax.layers.padding` for what else is honoured.
          deterministic: overrides the constructor's.
          rngs: overrides the constructor's streams.
          sow_weights: sow, as `nnx.Intermediate`, the `AttentionDiagnostics` under "attention_diagnostics", the
            features before the output projection under "attention_features", and for read-outs that select keys of the
            whole sequence Flax's "attention_weights" [*batch, H, N, M], in as much memory as softmax attention takes.
            `EnergyReadout` and `MemoryReadout` have no such weights; there, the bits of "attention_diagnostics" say
            what the heads select; in decoding, in the chunk that the token finishes, and all are 0 if it finishes none.
          decode: whether the inputs are the next token [*batch, 1, in_features] after those in the cache, see
            `init_cache`; overrides the constructor's. The mask is then [*batch, 1, 1, 1] and says whether the token is
            visible.
          is_causal: whether later keys are hidden. A causal read-out always hides them; True needs such a read-out.
          out_sharding: sharding of the output projection.
          qkv_sharding: sharding of the input projections.

        Returns:
          [*batch, N, out_features]. Where a traced mask cannot be honoured, that element of the batch is NaN.

        Raises:
          ValueError: if an argument cannot be honoured, shapes disagree, or dropout has no random stream.
          TraceContextError: if a transformation of JAX holds the stream that is to advance.
        """
        decode = self.decode if decode is None else decode
        if is_causal:
            causal_readout(self.readout, "is_causal=True")
        inputs_k, inputs_v = complete_inputs(inputs_q, inputs_k, inputs_v, self.readout.select)
        for inputs, name, features in (
            (inputs_q, "inputs_q", self.in_features),
            (inputs_k, "inputs_k", self.in_kv_features),
            (inputs_v, "inputs_v", self.in_kv_features),
        ):
            if inputs.shape[-1] != features:
                raise ValueError(f"{name} must have {features} features, as the layer was made for, got {inputs.shape}")
        if deterministic is None:
            deterministic = self.deterministic

        query = self.query(inputs_q, out_sharding=qkv_sharding)
        key = self.key(inputs_k, out_sharding=qkv_sharding)
        value = self.value(inputs_v, out_sharding=qkv_sharding)
        if self.query_ln is not None and self.key_ln is not None:
            query, key = self.query_ln(query), self.key_ln(key)

        if decode:
            features, diagnostics = self._decode(query, key, value, mask, deterministic, rngs)
            if sow_weights:
                self.sow(nnx.Intermediate, "attention_diagnostics", diagnostics)
                self.sow(nnx.Intermediate, "attention_features", features)
            return self.out(features, out_sharding=out_sharding)

        def anneal(hamiltonians):
            # By name, as `nnx.tabulate` cannot show dataclasses among positional arguments.
            return self.annealer(hamiltonians=hamiltonians, deterministic=deterministic, rngs=rngs)

        key, value = for_every_head(key, self.num_heads), for_every_head(value, self.num_heads)
        mix = None if self.mix is None else self.mix[...]
        features, hamiltonians, solution = run_masked_stages(
            query,
            key,
            value,
            self.qubo.importance[...],
            mask,
            build=self.qubo,
            anneal=anneal,
            readout=self.readout,
            dropout=None if deterministic or self.dropout_rate == 0 else self._dropout(rngs),
            mix=mix,
        )
        if sow_weights:
            self.sow(nnx.Intermediate, "attention_diagnostics", diagnose(hamiltonians, solution))
            self.sow(nnx.Intermediate, "attention_features", features)
            if has_attention_weights(self.readout):
                importance = self.qubo.importance[...]
                weights = attention_weights(self.readout, hamiltonians, solution, query, key, importance, mix)
                self.sow(nnx.Intermediate, "attention_weights", weights)
        return self.out(features, out_sharding=out_sharding)

    def init_cache(self, input_shape: Shape, dtype: Dtype = jnp.float32) -> None:
        """Makes the empty cache of a decoder; its size does not depend on the number of tokens.

        Args:
          input_shape: [*batch, N, in_features]; only the batch counts.
          dtype: type of the queries, keys and values in the cache.

        Raises:
          ValueError: if the read-out is not causal.
        """
        cache = empty_cache(
            causal_readout(self.readout, "init_cache"),
            tuple(input_shape[:-2]),
            heads=self.num_heads,
            kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            dtype=jnp.dtype(dtype),
        )
        for name, array in cache._asdict().items():
            setattr(self, name, nnx.Cache(array))

    def _decode(
        self,
        query: Float[Array, "*batch 1 heads head_dim"],
        key: Float[Array, "*batch 1 kv_heads head_dim"],
        value: Float[Array, "*batch 1 kv_heads head_dim"],
        mask: Bool[Array, "*#batch 1 1 1"] | None,
        deterministic: bool | None,
        rngs: nnx.Rngs | nnx.RngStream | None,
    ) -> tuple[Float[Array, "*batch 1 heads head_dim"], AttentionDiagnostics]:
        readout = causal_readout(self.readout, "decode=True")
        check_decoding(deterministic, self.dropout_rate)
        if self.cache_index is None:
            raise ValueError("decode=True needs a cache; call layer.init_cache(inputs_q.shape) before the first token")
        variables = [getattr(self, name) for name in MemoryCache._fields]
        features, cache, diagnostics = decode_token(
            MemoryCache(*(variable[...] for variable in variables)),
            query,
            key,
            value,
            mask,
            readout=readout,
            build=self.qubo,
            anneal=prepare(self.annealer, deterministic, rngs),
            mix=None if self.mix is None else self.mix[...],
        )
        for variable, array in zip(variables, cache, strict=True):
            variable[...] = array
        return features, diagnostics

    def _dropout(self, rngs: nnx.Rngs | nnx.RngStream | None) -> Dropout:
        stream = first_stream(rngs, "dropout") or self.rngs
        if stream is None:
            raise ValueError(
                f"dropout_rate={self.dropout_rate} needs the random stream `dropout`: pass rngs=nnx.Rngs(dropout=0) to "
                "the call, leave keep_rngs=True, or pass deterministic=True"
            )
        return Dropout(draw(stream), self.dropout_rate, self.broadcast_dropout)
