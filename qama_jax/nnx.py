"""Flax NNX modules: the three stages of QAMA, and the drop-in for `nnx.MultiHeadAttention`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.attention import default_kernel_init
from flax.nnx.nn.dtypes import promote_dtype
from flax.typing import Dtype, Initializer, PrecisionLike, PromoteDtypeFn
from jaxtyping import Array, Bool, Float, Int8, Key

from qama_jax.attention import anneal, build_hamiltonians, diagnose, distribute_energies, read_out
from qama_jax.drop_in import check_decode, check_settings, complete_inputs, evaluation_key
from qama_jax.padding import key_padding
from qama_jax.problems.attention import AttentionHamiltonian, Select
from qama_jax.readouts import EnergyReadout, Readout, check_readout
from qama_jax.solvers.base import Solution, Solver
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation


class QuboConstruction(nnx.Module):
    """First stage: from queries, keys and values to Hamiltonians, equations (3), (4) and (10).

    Attributes:
      importance: the learnable W_ε, [head_dim].

    Args:
      head_dim: D.
      rho_0: ρ₀ of equation (10).
      gamma_0: γ₀ of equation (10).
      importance_init: initialiser of W_ε. The importances are standardised, so that its scale matters for the output
        alone, of which it is the initial scale: small, so that a layer starts quiet beside the residual stream.
      param_dtype: type of W_ε.
      select: whose tokens the bits select, "queries" or "keys".
      rngs: gives the stream `params`.
    """

    def __init__(
        self,
        head_dim: int,
        *,
        rho_0: float = 0.16,
        gamma_0: float = 0.8,
        importance_init: Initializer = nnx.initializers.normal(0.05),
        param_dtype: Dtype = jnp.float32,
        select: Select = "queries",
        rngs: nnx.Rngs,
    ):
        self.rho_0 = rho_0
        self.gamma_0 = gamma_0
        self.select = select
        self.importance = nnx.Param(importance_init(rngs.params(), (head_dim,), param_dtype))

    def __call__(
        self,
        query: Float[Array, "*batch tokens heads head_dim"],
        key: Float[Array, "*batch keys heads head_dim"],
        value: Float[Array, "*batch selected heads head_dim"],
        mask: Bool[Array, "*batch keys"] | None = None,
    ) -> AttentionHamiltonian:
        """Hamiltonians whose leaves carry the batch dimensions; see `qama_jax.attention_hamiltonian`."""
        return build_hamiltonians(
            query,
            key,
            value,
            self.importance[...],
            mask=mask,
            rho_0=self.rho_0,
            gamma_0=self.gamma_0,
            select=self.select,
        )


class Annealer(nnx.Module):
    """Second stage: low-energy states of a batch of Hamiltonians.

    Keys come from the stream `anneal` of the call's `rngs`, else of the constructor's; `dropout` serves where there
    is no `anneal`. A deterministic annealer uses one fixed key, so that equal inputs give equal outputs.

    Args:
      solver: any solver of `qama_jax`.
      deterministic: whether to use the fixed key; `module.eval()` sets it.
      rngs: random streams, kept as a fork.
    """

    def __init__(
        self,
        solver: Solver = SimulatedBifurcation(),
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ):
        self.solver = solver
        self.deterministic = deterministic
        stream = _anneal_stream(rngs)
        self.stream = nnx.data(None if stream is None else stream.fork())

    def __call__(
        self,
        hamiltonians: AttentionHamiltonian,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ) -> Solution:
        """Solutions whose leaves carry the batch dimensions; see `qama_jax.solve`.

        Raises:
          ValueError: if not deterministic and there is no random stream.
        """
        if deterministic is None:
            deterministic = self.deterministic
        return anneal(self._key(bool(deterministic), rngs), hamiltonians, self.solver)

    def _key(self, deterministic: bool, rngs: nnx.Rngs | nnx.RngStream | None) -> Key[Array, ""]:
        if deterministic:
            return evaluation_key()
        stream = _anneal_stream(rngs) or self.stream
        if stream is None:
            raise ValueError(
                "the annealer needs the random stream `anneal` (or `dropout`): pass rngs=nnx.Rngs(anneal=0) to the "
                "constructor or to the call, or deterministic=True"
            )
        return stream()


class EnergyDistribution(nnx.Module):
    """Third stage of the paper: from a selection to features, equation (5), as `EnergyReadout` makes them.

    It has no parameters: W_ε is shared with the first stage.
    """

    def __call__(
        self,
        hamiltonians: AttentionHamiltonian,
        bits: Int8[Array, "*batch heads tokens"],
        importance: Float[Array, "head_dim"],
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """Features; see `qama_jax.distribute_energy`."""
        return distribute_energies(hamiltonians, bits, importance)


class QAMAAttention(nnx.MultiHeadAttention):
    """Quantum annealing multi-head attention in place of `flax.nnx.MultiHeadAttention`.

    Same constructor, same call, same parameters (`query`, `key`, `value`, `out`), and W_ε in `qubo.importance`.
    Heads select tokens by a low-energy state of a QUBO, and `readout` makes features of the selection: the energies of
    the selected tokens, as in the paper and by default, or values. Time and memory are linear in the number of tokens.

    The selection is detached; what gradients do see is said by `qama_jax.qama_attention`.

    Refused, because a selection made once for the whole sequence cannot honour them: masks that differ between
    queries or heads, causal attention, autoregressive decoding, attention dropout, another `attention_fn`. Values
    belong to the queries with the default read-out, to the keys with all others, as in Flax.

    Args:
      num_heads: H.
      in_features: size of the inputs.
      solver: minimises the Hamiltonians; see the solvers of `qama_jax`.
      readout: makes features of the selection; see `qama_jax.readouts` for which to choose.
      rho_0: ρ₀ of equation (10), weight of the importances.
      gamma_0: γ₀ of equation (10), weight of the penalty on tokens that several heads select.
      importance_init: initialiser of W_ε.
      deterministic: anneal from one fixed key; `model.eval()` sets it, `model.train()` unsets it.
      dtype, precision: of the projections; energies and statistics are in float32 or wider, at the highest precision.
      rngs: random streams: `params`, and `anneal` (or `dropout`) for the annealer.
      **: all other arguments as in `flax.nnx.MultiHeadAttention`.

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
        solver: Solver = SimulatedBifurcation(),
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
            qkv_features=in_features if qkv_features is None else qkv_features,
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
          mask: [*batch, 1, 1, M], true for visible keys; see `qama_jax.padding.key_padding` for what else is honoured.
          deterministic: overrides the constructor's.
          rngs: overrides the constructor's streams.
          sow_weights: sow, as `nnx.Intermediate`, the `AttentionDiagnostics` under "attention_diagnostics" and the
            features before the output projection under "attention_features".
          decode: must not be True.
          is_causal: must not be True.
          out_sharding: sharding of the output projection.
          qkv_sharding: sharding of the input projections.

        Returns:
          [*batch, N, out_features]. Where a traced mask cannot be honoured, the element of the batch is NaN.

        Raises:
          ValueError: if an argument cannot be honoured, or shapes disagree.
        """
        if is_causal:
            raise ValueError("is_causal=True: QAMA selects tokens once for all queries; use nnx.MultiHeadAttention")
        check_decode(self.decode if decode is None else decode)
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
        key = self._for_every_head(self.key(inputs_k, out_sharding=qkv_sharding))
        value = self._for_every_head(self.value(inputs_v, out_sharding=qkv_sharding))
        if self.normalize_qk:
            query, key = self.query_ln(query), self.key_ln(key)

        *batch, tokens, heads, _ = query.shape
        padding = None
        if mask is not None:
            padding = key_padding(mask, batch=tuple(batch), heads=heads, queries=tokens, keys=key.shape[-3])
        hamiltonians = self.qubo(query, key, value, None if padding is None else padding.visible)
        solution = self.annealer(hamiltonians, deterministic=deterministic, rngs=rngs)
        features = read_out(self.readout, hamiltonians, solution, query, key, value, self.qubo.importance[...])
        if padding is not None:
            features = padding.mark(features)
        if sow_weights:
            self.sow(nnx.Intermediate, "attention_diagnostics", diagnose(hamiltonians, solution))
            self.sow(nnx.Intermediate, "attention_features", features)
        return self.out(features, out_sharding=out_sharding)

    def init_cache(self, input_shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> None:
        """Refused: QAMA has no autoregressive cache."""
        raise ValueError("QAMA has no autoregressive cache; use nnx.MultiHeadAttention for decoding")

    def _for_every_head(self, array: Float[Array, "*batch tokens kv_heads head_dim"]) -> Float[Array, "..."]:
        return jnp.repeat(array, self.num_heads // self.num_kv_heads, axis=-2)


def _anneal_stream(rngs: nnx.Rngs | nnx.RngStream | None) -> nnx.RngStream | None:
    if rngs is None or isinstance(rngs, nnx.RngStream):
        return rngs
    for name in ("anneal", "dropout"):
        try:
            return getattr(rngs, name)
        except AttributeError:
            continue
    return None
