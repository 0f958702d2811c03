from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.ios.engines.onednn.placement import ALIGNMENT, arrange, extent

LIVES = st.tuples(st.integers(0, 8), st.integers(0, 4)).map(lambda x: (x[0], x[0] + x[1]))


@given(st.lists(st.tuples(st.integers(1, 1000), LIVES), max_size=12))
def test_values_that_live_together_do_not_overlap(values):
    sizes = {str(i): size for i, (size, _) in enumerate(values)}
    lives = {str(i): life for i, (_, life) in enumerate(values)}
    offsets = arrange(sizes, lives)
    for a in sizes:
        assert offsets[a] % ALIGNMENT == 0
        assert offsets[a] + sizes[a] <= extent(sizes, offsets)
        for b in sizes:
            together = lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]
            if a < b and together:
                apart = offsets[a] + sizes[a] <= offsets[b] or offsets[b] + sizes[b] <= offsets[a]
                assert apart


def test_memory_of_dead_values_is_used_again():
    sizes = {"a": 640, "b": 640, "c": 640}
    offsets = arrange(sizes, {"a": (0, 1), "b": (1, 2), "c": (2, 3)})
    assert offsets["a"] == offsets["c"] != offsets["b"]
