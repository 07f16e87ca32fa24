"""Clusters against SciPy's connected components, and recombined states against every exchange of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import qama_jax
from qama_jax.problems.sparse import SparseCouplings
from qama_jax.sampling.clusters import clusters, exchange_clusters, recombine

pytestmark = pytest.mark.usefixtures("strict")


def random_edges(size, edges, hub=0, seed=0):
    """Pairs without a direction, each once, and `hub` besides from the last bit to others."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, size, (edges, 2)), axis=1)
    hub_ends = np.stack([rng.choice(size - 1, hub, replace=False), np.full(hub, size - 1)], axis=1)
    ends = np.concatenate([ends, hub_ends])
    return np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0).T


def lists(size, rows, columns):
    return SparseCouplings.from_pairs(np.zeros(size), rows, columns, np.ones(len(rows)), jnp.float32)


def components(size, rows, columns, member):
    """The smallest index of each member's component."""
    inside = member[rows] & member[columns]
    graph = scipy.sparse.coo_array((np.ones(inside.sum()), (rows[inside], columns[inside])), (size, size))
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    first = np.full(size, size)
    np.minimum.at(first, component[member], np.flatnonzero(member))
    return np.where(member, first[component], size)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.8, 1])
@pytest.mark.parametrize(("edges", "hub"), [(150, 0), (400, 0), (300, 150)])
def test_clusters_are_connected_components(share, edges, hub):
    size = 300
    rows, columns = random_edges(size, edges, hub)
    member = np.random.default_rng(1).random(size) < share
    labels = jax.jit(clusters)(lists(size, rows, columns), jnp.asarray(member))
    np.testing.assert_array_equal(labels, components(size, rows, columns, member))


def test_clusters_of_a_long_path_in_any_order():
    """Its ends are 2,000 bits apart, and indices say nothing of who is near whom."""
    path = np.random.default_rng(0).permutation(2000)
    rows, columns = np.sort(np.stack([path[:-1], path[1:]]), axis=0)
    labels = clusters(lists(2000, rows, columns), jnp.ones(2000, bool))
    np.testing.assert_array_equal(labels, 0)


def test_a_hub_hears_of_all_its_neighbours():
    """Of many lists, the last alone holds the neighbour by which bit 0 belongs to the cluster."""
    neighbors = np.arange(20, 172)
    rows, columns = np.append(neighbors, 0), np.append(np.full(len(neighbors), 299), 171)
    assert lists(300, rows, columns).owners.size > 1
    labels = clusters(lists(300, rows, columns), jnp.ones(300, bool))
    np.testing.assert_array_equal(labels, components(300, rows, columns, np.ones(300, bool)))


def test_clusters_of_many_states_at_once():
    rows, columns = random_edges(300, 300)
    member = np.random.default_rng(1).random((4, 300)) < np.array([[0.1], [0.4], [0.7], [1]])
    labels = jax.vmap(clusters, (None, 0))(lists(300, rows, columns), jnp.asarray(member))
    np.testing.assert_array_equal(labels, [components(300, rows, columns, each) for each in member])


def test_exchanged_clusters_are_whole_and_keep_the_sum_of_energies():
    rng = np.random.default_rng(0)
    rows, columns = random_edges(200, 200)
    problem = qama_jax.Ising.from_edges(rows, columns, rng.integers(-3, 4, len(rows)), rng.integers(-3, 4, 200))
    one = rng.integers(0, 2, 200).astype(np.int8)
    other = np.where(rng.random(200) < 0.3, 1 - one, one).astype(np.int8)
    keys = jax.random.split(jax.random.key(0), 400)
    exchange = jax.vmap(lambda key: exchange_clusters(key, problem.as_sparse(), jnp.asarray(one), jnp.asarray(other)))
    first, second = map(np.asarray, exchange(keys))
    np.testing.assert_array_equal(first + second, np.broadcast_to(one + other, first.shape))
    sums = problem.exact_energy(first) + problem.exact_energy(second)
    np.testing.assert_array_equal(sums, problem.exact_energy(one) + problem.exact_energy(other))
    labels = components(200, rows, columns, one != other)
    exchanged = first != one
    for label in np.unique(labels[labels < 200]):
        whole = exchanged[:, labels == label]
        np.testing.assert_array_equal(whole, np.broadcast_to(whole[:, :1], whole.shape))
        assert 0.38 < whole[:, 0].mean() < 0.62


def test_recombined_is_the_lowest_of_all_exchanges():
    """Of each cluster, taken from one state or the other, in all combinations, by the energy alone."""
    size, fewest = 200, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows, columns = random_edges(size, 300, seed=seed)
        problem = qama_jax.Ising.from_edges(rows, columns, rng.normal(size=len(rows)), rng.normal(size=size))
        one = rng.integers(0, 2, size)
        other = np.where(rng.random(size) < 0.05, 1 - one, one)
        labels = components(size, rows, columns, one != other)
        names = np.unique(labels[labels < size])
        chosen = np.array(list(itertools.product([False, True], repeat=len(names))))
        exchanged = (labels[None, :, None] == names).astype(int) @ chosen.T.astype(int)
        states = np.where(exchanged[0].T, other, one)
        best = states[np.argmin(problem.exact_energy(states))]
        found = jax.jit(recombine)(problem, jnp.asarray(one, jnp.int8), jnp.asarray(other, jnp.int8))
        np.testing.assert_array_equal(found, best)
        fewest.append(min((best != one).sum(), (best != other).sum()))
    assert min(fewest) > 0


def test_complement_stands_in_where_fields_do_not_tell():
    """Both states and their complements have equal energies: the partner is the one that differs in fewer bits."""
    rows, columns = random_edges(200, 300)
    problem = qama_jax.Ising.from_edges(rows, columns, np.random.default_rng(0).normal(size=len(rows)))
    one = np.random.default_rng(1).integers(0, 2, 200).astype(np.int8)
    other = np.where(np.random.default_rng(2).random(200) < 0.1, 1 - one, one).astype(np.int8)
    near, far = (recombine(problem, jnp.asarray(one), jnp.asarray(state)) for state in (other, 1 - other))
    assert (np.asarray(near) != one).any()
    np.testing.assert_array_equal(near, far)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_never_above_either_state(is_sparse):
    """Also where all bits differ in one cluster, or in more than half of them."""
    rng = np.random.default_rng(0)
    rows, columns = random_edges(200, 2000)
    terms = qama_jax.Ising.from_edges(rows, columns, rng.normal(size=len(rows)), 5 * rng.normal(size=200)).terms()
    problem = qama_jax.Ising.from_terms(terms, is_sparse=is_sparse)
    states = jnp.asarray(rng.integers(0, 2, (20, 200)), jnp.int8)
    for one, other in ((states, states[::-1]), (states, 1 - states)):
        found = problem.exact_energy(np.asarray(jax.vmap(recombine, (None, 0, 0))(problem, one, other)))
        lower = np.minimum(problem.exact_energy(np.asarray(one)), problem.exact_energy(np.asarray(other)))
        assert (found <= lower + 1e-3).all()
        if not is_sparse:
            np.testing.assert_allclose(found, lower)
