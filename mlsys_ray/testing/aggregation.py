"""What every aggregation rule must hold to."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation import AggregationRule


class AggregationRuleTests(ABC):
    """Subclass it as `class TestMyRule(AggregationRuleTests)` and write `make`.

    Attributes:
        counts: numbers of inputs n to test with.
        dimension: length of the inputs d.
        permutation_invariant: the order of the inputs does not matter.
        translation_equivariant: inputs moved by a vector move the result by it.
        honest_positions_first: Byzantine inputs never come first (for rules that trust one).
        max_deviation: how far within its tolerance the result may lie from the honest mean, in
            diameters of the honest inputs.
        relative_error: rounding allowed between results that should be equal.
    """

    counts: ClassVar[tuple[int, ...]] = (7, 12)
    dimension: ClassVar[int] = 40
    permutation_invariant: ClassVar[bool] = True
    translation_equivariant: ClassVar[bool] = True
    honest_positions_first: ClassVar[bool] = False
    max_deviation: ClassVar[float] = 2.0
    relative_error: ClassVar[float] = 1e-4

    @abstractmethod
    def make(self, num_gradients: int, num_byzantine: int) -> AggregationRule:
        """The rule for n inputs of which c may be Byzantine."""

    def rules(self) -> Iterator[tuple[int, int, AggregationRule]]:
        """n, c and the rule: for every n the most c that the rule stands."""
        for n in self.counts:
            c = self.make(n, 0).tolerance(n)
            yield n, c, self.make(n, c)

    def gradients(self, num_gradients: int, seed: int = 0) -> np.ndarray:
        """Honest inputs: one direction and noise, float32 `[n, d]`."""
        draw = np.random.default_rng([seed, num_gradients])
        noise = draw.standard_normal((num_gradients, self.dimension))
        return (draw.standard_normal(self.dimension) + noise).astype(np.float32)

    def assert_close(self, actual: np.ndarray, expected: np.ndarray) -> None:
        """Equal but for rounding."""
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(
            actual, expected, rtol=self.relative_error, atol=self.relative_error * scale
        )

    def test_tolerance_is_a_minority(self) -> None:
        """The rule claims to stand some number of inputs below half of them."""
        for n in range(1, 40):
            assert 0 <= self.make(n, 0).tolerance(n) < (n + 1) / 2

    def test_result_is_a_new_float32_vector(self) -> None:
        """Shape, dtype, and no view of the input."""
        for n, _, rule in self.rules():
            gradients = self.gradients(n)
            result = rule.aggregate(gradients)
            assert (result.shape, result.dtype) == ((self.dimension,), np.float32)
            assert not np.shares_memory(result, gradients)

    def test_input_is_unchanged(self) -> None:
        """Also where the input cannot be written."""
        for n, _, rule in self.rules():
            gradients = self.gradients(n)
            gradients.setflags(write=False)
            before = gradients.copy()
            rule.aggregate(gradients)
            np.testing.assert_array_equal(gradients, before)

    def test_same_input_gives_same_bits(self) -> None:
        """No state and no randomness of its own."""
        for n, _, rule in self.rules():
            first, second = (rule.aggregate(self.gradients(n)) for _ in range(2))
            assert first.tobytes() == second.tobytes()

    def test_is_a_value(self) -> None:
        """Equal to its pickled copy, so that it travels to other processes."""
        for _, _, rule in self.rules():
            assert pickle.loads(pickle.dumps(rule)) == rule
            assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))

    def test_one_gradient(self) -> None:
        """A single input gives something finite."""
        result = self.make(1, 0).aggregate(self.gradients(1))
        assert np.isfinite(result).all()

    def test_permutation(self) -> None:
        """The order of the inputs does not matter."""
        if not self.permutation_invariant:
            return
        for n, _, rule in self.rules():
            gradients = self.gradients(n)
            order = np.random.default_rng(1).permutation(n)
            self.assert_close(rule.aggregate(gradients[order]), rule.aggregate(gradients))

    def test_translation(self) -> None:
        """Inputs moved by a vector move the result by it."""
        if not self.translation_equivariant:
            return
        for n, _, rule in self.rules():
            gradients = self.gradients(n)
            step = np.linspace(-3, 3, self.dimension, dtype=np.float32)
            self.assert_close(rule.aggregate(gradients + step), rule.aggregate(gradients) + step)

    def test_stands_its_tolerance(self) -> None:
        """As many arbitrary inputs as the rule claims to stand leave it near the honest ones."""
        for n, c, rule in self.rules():
            if c == 0:
                continue
            for seed, lies in enumerate(self.lies(c)):
                gradients = self.gradients(n, seed)
                draw = np.random.default_rng(seed)
                first = 1 if self.honest_positions_first else 0
                liars = draw.permutation(np.arange(first, n))[:c]
                honest = np.delete(gradients, liars, axis=0)
                gradients[liars] = lies
                result = rule.aggregate(gradients)
                diameter = np.linalg.norm(honest[:, None] - honest, axis=2).max()
                deviation = np.linalg.norm(result - honest.mean(axis=0))
                assert deviation <= self.max_deviation * diameter

    def lies(self, num_byzantine: int) -> Iterator[np.ndarray]:
        """Byzantine inputs, each float32 `[c, d]`: together, apart, opposed, in one coordinate."""
        shape = (num_byzantine, self.dimension)
        for scale in (1e3, 1e8, 1e15):
            yield np.full(shape, scale, dtype=np.float32)
            yield scale * np.random.default_rng(2).standard_normal(shape).astype(np.float32)
            signs = np.where(np.arange(num_byzantine) % 2, 1, -1)[:, None]
            yield np.broadcast_to(np.float32(scale) * signs, shape).astype(np.float32)
            one_coordinate = np.zeros(shape, dtype=np.float32)
            one_coordinate[:, 0] = scale
            yield one_coordinate

    def test_unusable_rows(self) -> None:
        """NaN, infinities and overflowing lengths, in whole rows and single values, stay out."""
        for n, c, rule in self.rules():
            for value in (np.nan, np.inf, -np.inf, 3e38):
                for columns in (slice(None), slice(3, 4)):
                    gradients = self.gradients(n)
                    gradients[n - max(1, c) :, columns] = value
                    assert np.isfinite(rule.aggregate(gradients)).all()
