"""What a compiled program costs, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks.compiled import attention_table, lines_of
from experiments.benchmarks.programs import cost_of

# Three iterations of a fused kernel that reads one row of x, then a gather of what a loop computed that ends by its
# data. y has rows of 100, padded to 128, and z lies near the core.
PROGRAM = """HloModule jit_f, is_scheduled=true

%row (a: f32[3,100], i: s32[]) -> f32[1,100] {
  %a = f32[3,100]{1,0:T(8,128)} parameter(0)
  %i = s32[] parameter(1)
  ROOT %slice = f32[1,100]{1,0:T(1,128)} dynamic-slice(%a, %i), dynamic_slice_sizes={1,100}
}

%body (state: (s32[], f32[3,100], f32[1,100])) -> (s32[], f32[3,100], f32[1,100]) {
  %state = (s32[], f32[3,100]{1,0:T(8,128)}, /*index=2*/f32[1,100]{1,0:T(1,128)S(1)}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state), index=0
  %x.1 = f32[3,100]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %y = f32[1,100]{1,0:T(1,128)S(1)} fusion(%x.1, %i.1), kind=kLoop, calls=%row, backend_config={"estimated_cycles":"70"}
  ROOT %next = (s32[], f32[3,100], f32[1,100]) tuple(%i.1, %x.1, %y)
}

%test (state.1: (s32[], f32[3,100], f32[1,100])) -> pred[] {
  %state.1 = (s32[], f32[3,100]{1,0:T(8,128)}, f32[1,100]{1,0:T(1,128)S(1)}) parameter(0)
  %i.2 = s32[] get-tuple-element(%state.1), index=0
  %limit = s32[] constant(5)
  ROOT %less = pred[] compare(%i.2, %limit), direction=LT
}

%open_body (v: f32[1,100]) -> f32[1,100] {
  %v = f32[1,100]{1,0:T(1,128)} parameter(0)
  %half = f32[1,100]{1,0:T(1,128)} negate(%v)
  ROOT %sum = f32[1,100]{1,0:T(1,128)} all-reduce(%half), to_apply=%row
}

%open_test (v.1: f32[1,100]) -> pred[] {
  %v.1 = f32[1,100]{1,0:T(1,128)} parameter(0)
  ROOT %done = pred[] custom-call(%v.1), custom_call_target="any"
}

ENTRY %main (x: f32[3,100], at: s32[2]) -> f32[2,100] {
  %x = f32[3,100]{1,0:T(8,128)} parameter(0)
  %at = s32[2]{0} parameter(1)
  %two = s32[] constant(2)
  %start = s32[] copy(%two)
  %room = f32[1,100]{1,0:T(1,128)S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %begin = (s32[], f32[3,100], f32[1,100]) tuple(%start, %x, %room)
  %loop = (s32[], f32[3,100], f32[1,100]) while(%begin), condition=%test, body=%body
  %row.1 = f32[1,100]{1,0:T(1,128)} get-tuple-element(%loop), index=2
  %found = f32[1,100]{1,0:T(1,128)} while(%row.1), condition=%open_test, body=%open_body
  ROOT %out = f32[2,100]{1,0:T(2,128)} gather(%found, %at), offset_dims={1}
}
"""


def test_a_program_against_a_count_by_hand():
    """`copy`, 5 - 2 iterations of one kernel, one of three kernels, and `gather`."""
    cost = cost_of(PROGRAM)
    assert cost.kernels == 1 + 3 * 1 + 3 + 1
    assert cost.open_loops == [3]
    assert cost.cycles == 3 * 70
    assert cost.unestimated == 1 + 3 + 1
    assert cost.collectives == {"all-reduce": 1}
    assert cost.moves == {"gather": 1}
    row = 128 * 4
    copy, loop, negate, reduce, test = 8, 3 * (row + 4), 2 * row, 2 * row, row + 1
    assert cost.traffic_bytes == copy + loop + negate + reduce + test + (2 * row + row + 2 * 4)


def test_loops_of_a_compiled_program_count_as_often_as_they_run():
    def program(outer):
        def step(x, _):
            return jax.lax.scan(lambda x, _: (jnp.sin(x @ x), None), x, None, length=2)[0], None

        compiled = jax.jit(lambda x: jax.lax.scan(step, x, None, length=outer)[0])
        return cost_of(compiled.lower(jnp.eye(64)).compile().as_text())

    three, five, nine = map(program, (3, 5, 9))
    assert three.open_loops == []
    assert nine.kernels - five.kernels == 2 * (five.kernels - three.kernels) > 0
    # Each product reads and writes its matrices, twice an iteration.
    assert five.traffic_bytes - three.traffic_bytes >= 2 * 2 * 2 * 64 * 64 * 4
    assert nine.traffic_bytes - five.traffic_bytes == 2 * (five.traffic_bytes - three.traffic_bytes)


def test_a_loop_that_ends_by_its_data_counts_once():
    def program(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 10, lambda x: jnp.sort(x * 2), x)

    cost = cost_of(jax.jit(program).lower(jnp.ones(8)).compile().as_text())
    assert len(cost.open_loops) == 1
    assert cost.moves == {"sort": 1}


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="text must be a compiled program"):
        cost_of("module @jit_f {}")
    with pytest.raises(ValueError, match="no parenthesis closes"):
        cost_of(PROGRAM.replace("parameter(1)", "parameter(1"))


def test_table_sets_times_beside_softmax(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.benchmarks.compiled.RESULTS", tmp_path)
    lines = lines_of(tmp_path / "benchmark_compiled.jsonl")
    size = {"part": "core", "pass": "training", "tokens": 1024, "dtype": "float32"}
    measured = {"traffic_bytes": 2e6, "temporary_bytes": 1e6, "kernels": 7, "open_loops": [3, 4], "compile_s": 1.0}
    for target, softmax, energy in (("v5e", 4.0, 1.0), ("H200", None, None)):
        lines.add({"target": target, "name": "softmax", **size, **measured, "milliseconds": softmax})
        lines.add({"target": target, "name": "energy", **size, **measured, "milliseconds": energy})
    lines.add({"target": "v6e", "name": "energy", **size, "error": "no such program"})
    rows = {row[3]: row[4:] for row in attention_table("core").rows}
    assert rows["softmax"] == ("4.00", "1.00", "–", "–", "2", "1", "2", "1", "7 (3) (4)", "1", "1")
    assert rows["energy"][:4] == ("1.00", "0.25", "–", "–")
