"""The Hamiltonian of quantum annealing multi-head attention, in linear time and memory."""

import dataclasses
import functools
import math
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from qama_jax.problems.base import Bits, Problem, as_float_array, check_bits, register_pytree
from qama_jax.problems.coupling import CouplingFactor, DenseCoupling, LowRankCoupling, make_coupling
from qama_jax.problems.normalization import standardize
from qama_jax.problems.qubo import Qubo

# Whose tokens the bits select.
Select = Literal["queries", "keys"]


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class AttentionHamiltonian(Problem):
    """The energy of a selection `s` [H, N], one bit for each head t and token i. Made by `attention_hamiltonian`.

        H(s) = -Σ_t Σ_{i<j} J_tij s_ti s_tj - ρ Σ h_ti s_ti + λ Σ_i Σ_{t<u} s_ti s_ui          (3)

    The couplings J keep the smaller of two forms: a matrix for N, M <= 2D, rank-D factors above, so that N×N with
    N > 2D never exists. Every quantity is differentiable with respect to query, key, value and importance.
    Padded tokens belong to no term: their bits count as 0, their fields are 0.

    Attributes:
      coupling: J, zero on the diagonal.
      linear: ρh, [H, N].
      penalty: λ.
      mask: [N], true for valid tokens, or None where all are.
      length: number of valid tokens.
      rho_0: ρ₀ of equation (10).

    References:
      Du et al., "QAMA: Scalable Quantum Annealing Multi-Head Attention Operator for Deep Learning",
      arXiv:2504.11083v2, equations (3), (4), (5), (10) and (12).
    """

    coupling: DenseCoupling | LowRankCoupling
    linear: Float[Array, "heads tokens"]
    penalty: Float[Array, ""]
    mask: Bool[Array, "tokens"] | None
    length: Float[Array, ""]
    rho_0: Float[Array, ""]

    @property
    def shape(self) -> tuple[int, int]:
        if self.linear.ndim != 2:
            raise ValueError(
                f"expected one problem with linear coefficients [heads, tokens], got shape {self.linear.shape}; "
                "for a batch of problems, jax.vmap over the leading axis"
            )
        heads, tokens = self.linear.shape
        return heads, tokens

    def couple(self, bits: Num[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        """`Σ_j J_tij s_tj - λ Σ_{u≠t} s_ui`, the part of equation (12) that depends on the other bits."""
        return self._couple(bits, jax.lax.Precision.HIGHEST)

    def couple_roughly(self, x: Num[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        return self._couple(x, jax.lax.Precision.DEFAULT)

    def _couple(self, bits: Num[Array, "heads tokens"], precision: jax.lax.Precision) -> Float[Array, "heads tokens"]:
        s = self._valid(bits)
        return self.coupling.product(s, precision) - self.penalty * (jnp.sum(s, axis=0, keepdims=True) - s)

    def coupling_sums(self) -> Float[Array, "heads tokens"]:
        # No product: as Q is centred, rows of J⁰ with their diagonal sum to 0.
        valid, coupling = self._valid(jnp.ones(self.shape, self.dtype)), self.coupling
        within = -coupling.shift * self.length * valid - coupling.curvature
        return within - self.penalty * (self.shape[0] - 1) * valid

    def differentiable_field(self, bits: Num[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        """The field of equation (12), in the form whose derivatives cost products with vectors alone."""
        s = self._valid(bits)
        others = jnp.sum(s, axis=0, keepdims=True) - s
        return self.linear + self.coupling.differentiable_product(s) - self.penalty * others

    def coupling_scale(self) -> Float[Array, ""]:
        heads = self.shape[0]
        # The couplings of a head have mean 0 and standard deviation 1.
        return jnp.sqrt(jnp.maximum(self.length - 1, 0) + self.penalty**2 * (heads - 1))

    def token_energy(self, bits: Num[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        """`e_ti = -½ s_ti Σ_j J_tij s_tj - ρ h_ti s_ti`; sums to `E_out = -H_α - ρ H_β` of equation (5)."""
        check_bits(bits, "bits")
        s = self._valid(bits)
        return -s * (self.coupling.differentiable_product(s) / 2 + self.linear)

    def energy(self, bits: Num[Array, "heads tokens"]) -> Float[Array, ""]:
        """H(s), equation (3)."""
        selected_heads = jnp.sum(self._valid(bits), axis=0)
        overlap = jnp.sum(selected_heads * (selected_heads - 1)) / 2
        return jnp.sum(self.token_energy(bits)) + self.penalty * overlap

    def energy_scale(self) -> Float[Array, ""]:
        """Expected magnitude of a token energy by equations (8) and (9): `N (½ + ρ₀) / √(2π)`."""
        return jnp.maximum(self.length, 1) * (0.5 + self.rho_0) / math.sqrt(2 * math.pi)

    def clamp(self, bits: Bits) -> Bits:
        """Padded tokens are selected by no head."""
        return bits if self.mask is None else bits * self.mask.astype(bits.dtype)[None]

    def best_moves(
        self, bits: Num[Array, "heads tokens"], field: Float[Array, "heads tokens"]
    ) -> tuple[Float[Array, "heads tokens"], Float[Array, "1 tokens"]]:
        """The best column of bits of each token, all others held, and how much it lowers the energy.

        The H bits of a token are free together: a state that no such move improves is a local minimum under single
        flips, and under exchanges between heads. The heads of a token see each other only through the penalty
        on their number k: the best k are those of largest field, and the k-th pays λ (k - 1).
        """
        check_bits(bits, "bits")
        s = self._valid(bits)
        field = field + self.penalty * (jnp.sum(s, axis=0, keepdims=True) - s)
        heads = jnp.arange(s.shape[0])[:, None]
        rank = jnp.zeros_like(field)
        for head in range(s.shape[0]):  # unrolled: one fused loop without an H×H×N array
            ahead = jnp.where(heads > head, field[head][None] >= field, field[head][None] > field)
            rank = rank + ahead.astype(field.dtype)
        moved = self._valid((field > self.penalty * rank).astype(field.dtype))

        def cost(s: Float[Array, "heads tokens"]) -> Float[Array, "1 tokens"]:
            count = jnp.sum(s, axis=0, keepdims=True)
            return self.penalty * count * (count - 1) / 2 - jnp.sum(field * s, axis=0, keepdims=True)

        return moved, cost(s) - cost(moved)

    def as_matrix(self) -> Float[Array, "bits bits"]:
        """C of `Problem` over H·N bits, head-major: O(H² N²) memory."""
        heads, tokens = self.shape
        same_head = jnp.eye(heads, dtype=self.dtype)[:, None, :, None]
        valid = self._valid(jnp.ones(self.shape, self.dtype))[0]
        same_token = jnp.diag(valid)[None, :, None, :]
        matrix = same_head * self.coupling.to_matrix()[:, :, None, :] - self.penalty * same_token * (1 - same_head)
        return matrix.reshape(heads * tokens, heads * tokens)

    def factor(self) -> CouplingFactor:
        """J by its factor, `J = B Bᵀ` off the diagonal, O(N D) per head."""
        return self.coupling.to_factor()

    def to_qubo(self) -> Qubo:
        """The same energies as a dense `Qubo` over H·N bits, head-major (`bits.reshape(-1)`): O(H² N²) memory."""
        return Qubo(-self.as_matrix() / 2 - jnp.diag(self.linear.reshape(-1)))

    def lowest_eigenvalue(self) -> Float[Array, ""]:
        """The penalty's own; couplings within a head are a square but for their diagonal, and add little."""
        return -self.penalty * (self.shape[0] - 1)

    def flip_energy_range(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """See `Problem`; the largest is the Cauchy-Schwarz bound, as rows of J are never formed."""
        spread = self.coupling_scale()
        centre = self.linear + self.coupling_sums() / 2
        heads, tokens = self.shape
        return spread / math.sqrt(heads * tokens), jnp.max(jnp.abs(centre)) + spread * math.sqrt(heads + tokens) / 2

    def _valid(self, bits: Num[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        s = bits.astype(self.dtype)
        return s if self.mask is None else s * self.mask.astype(self.dtype)[None]


def attention_hamiltonian(
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "keys heads head_dim"],
    value: Float[Array, "selected heads head_dim"],
    importance: Float[Array, "head_dim"],
    *,
    mask: Bool[Array, "keys"] | None = None,
    query_mask: Bool[Array, "tokens"] | None = None,
    rho_0: float = 0.16,
    gamma_0: float = 0.8,
    select: Select = "queries",
) -> AttentionHamiltonian:
    """Builds the Hamiltonian of one attention problem from its queries, keys and values.

    Per head, over the valid tokens: every feature of Q and K is standardised, then the off-diagonal couplings
    `Q KᵀK Qᵀ / (2D)` and the importances `h_ti = V_ti · importance` (4). The coefficients are
    `ρ = N ρ₀` and `λ = N √(2/π) γ₀ / (H - 1)` (10), for N valid tokens; λ = 0 for one head.
    Statistics that do not exist (one token, equal couplings, equal importances) make their term 0.

    Keys enter through KᵀK alone, so that there may be any number M of them: in cross-attention, they couple the
    queries by what the queries have in common along the directions in which the keys vary. Values belong to the
    queries, and each query has an importance.

    With `select="keys"` the roles of Q and K are exchanged: the bits are those of the M keys, coupled by
    `K QᵀQ Kᵀ / (2D)`, and the importances those of the M values. The paper's attention is self-attention, where either
    reading has one bit for each token; for other lengths, only keys can be selected for the values they carry.

    Args:
      query: [N, H, D], as `flax.nnx.dot_product_attention` takes it, without the batch.
      key: [M, H, D].
      value: [N, H, D], or [M, H, D] to select keys.
      importance: [D], the learnable W_ε, shared by the heads.
      mask: bool [M], true for visible keys. Where M = N, a hidden key is a padded token: its query and value are
        hidden too. Where M ≠ N, all queries are valid, and without any visible key the couplings are 0.
        Hidden keys are never selected.
      query_mask: bool [N], true for queries that ask, for any M: the others enter no statistic and no coupling, and
        are never selected. None: what `mask` says.
      rho_0: weight of the importances; the paper's section IV aims at interactions 1.3 times as strong.
      gamma_0: weight of the penalty on tokens that several heads select; interactions twice as strong.
      select: "queries", as in the paper, or "keys".

    Returns:
      An `AttentionHamiltonian` of bits [H, N], or [H, M] where keys are selected, computed in float32 or wider.

    Raises:
      ValueError: if shapes disagree, a mask is not boolean, or `select` is neither "queries" nor "keys".

    Example:
      >>> import jax, qama_jax
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 16, 2, 4))
      >>> hamiltonian = qama_jax.attention_hamiltonian(q, k, v, jax.numpy.ones(4))
      >>> hamiltonian.shape
      (2, 16)

    References:
      arXiv:2504.11083v2, equations (3), (4) and (7) to (10).
    """
    if jnp.ndim(query) != 3:
        raise ValueError(
            f"query must be [tokens, heads, head_dim], got shape {jnp.shape(query)}; for a batch, jax.vmap "
            "attention_hamiltonian or call qama_attention"
        )
    query, key, value, importance = (
        _at_least_float32(array, name)
        for array, name in ((query, "query"), (key, "key"), (value, "value"), (importance, "importance"))
    )
    check_shapes(query, key, value, importance, mask, select, query_mask)
    query_mask = asking_queries(mask, query_mask, query.shape[0], key.shape[0])
    if select == "keys":
        return _build(key, query, value, importance, mask, query_mask, rho_0, gamma_0)
    return _build(query, key, value, importance, query_mask, mask, rho_0, gamma_0)


@functools.partial(jax.jit, inline=True)
def _build(query, key, value, importance, mask, key_mask, rho_0, gamma_0) -> AttentionHamiltonian:
    """The Hamiltonian whose bits are those of the queries; `mask` is the mask of the queries."""
    tokens, heads, _ = query.shape
    dtype = jnp.result_type(query, key, value, importance)
    query, key, value, importance = (array.astype(dtype) for array in (query, key, value, importance))
    length = jnp.asarray(tokens, dtype) if mask is None else jnp.sum(mask.astype(dtype))
    coupling = make_coupling(query, key, mask, key_mask)
    raw_importance = jnp.einsum("nhd,d->nh", value, importance, precision=jax.lax.Precision.HIGHEST).T
    linear = length * rho_0 * standardize(raw_importance, mask, 1)
    penalty = length * (math.sqrt(2 / math.pi) * gamma_0 / (heads - 1) if heads > 1 else 0.0)
    return AttentionHamiltonian(coupling, linear, penalty, mask, length, jnp.asarray(rho_0, dtype))


def _at_least_float32(value: Any, name: str) -> Float[Array, "..."]:
    array = as_float_array(value, name)
    return array if jnp.finfo(array.dtype).bits >= 32 else array.astype(jnp.float32)


def asking_queries(
    mask: Bool[Array, "keys"] | None, query_mask: Bool[Array, "tokens"] | None, queries: int, keys: int
) -> Bool[Array, "tokens"] | None:
    """Which queries ask; None for all. As many keys as queries are the same tokens, unless `query_mask` says more."""
    return mask if query_mask is None and queries == keys else query_mask


def check_shapes(query, key, value, importance, mask, select: Select, query_mask=None) -> None:
    """Raises `ValueError` where the arguments of one attention problem, or of a batch of them, do not fit together."""
    if select not in get_args(Select):
        raise ValueError(f"select must be one of {', '.join(map(repr, get_args(Select)))}, got {select!r}")
    if query.ndim < 3 or 0 in query.shape[-3:]:
        raise ValueError(
            f"query must be [*batch, tokens, heads, head_dim], none of the last three 0, got shape {query.shape}"
        )
    *batch, _, heads, head_dim = query.shape
    if key.ndim != query.ndim or key.shape != (*batch, max(key.shape[-3], 1), heads, head_dim):
        raise ValueError(
            f"key must have the shape of query {query.shape}, but for the number of keys, which is at least 1; "
            f"got {key.shape}"
        )
    if select == "queries" and value.shape != query.shape:
        raise ValueError(
            f"value must have the shape of query {query.shape}, got {value.shape}: the importance of a token is "
            "computed from a value of its own; keys alone may be more or fewer. To let values belong to the keys, "
            "choose a readout that selects keys, such as qama_jax.LinearReadout()"
        )
    if select == "keys" and value.shape != key.shape:
        raise ValueError(
            f"value must have the shape of key {key.shape}, got {value.shape}: the keys are selected, and each has a "
            "value"
        )
    if importance.shape != (head_dim,):
        raise ValueError(f"importance must have shape {(head_dim,)} to fit query {query.shape}, got {importance.shape}")
    if mask is not None and (mask.shape != key.shape[:-2] or mask.dtype != jnp.bool_):
        raise ValueError(
            f"mask must be boolean of shape {key.shape[:-2]}, true for visible keys, got {mask.dtype} {mask.shape}"
        )
    if query_mask is not None and (query_mask.shape != query.shape[:-2] or query_mask.dtype != jnp.bool_):
        raise ValueError(
            f"query_mask must be boolean of shape {query.shape[:-2]}, true for queries that ask, got "
            f"{query_mask.dtype} {query_mask.shape}"
        )
