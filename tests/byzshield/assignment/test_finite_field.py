import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.byzshield.assignment.finite_field import finite_field, is_prime, prime_power

ORDERS = [2, 3, 4, 5, 7, 8, 9, 11, 16, 25, 27]


@pytest.mark.parametrize("order", ORDERS)
def test_the_axioms_hold(order):
    plus, times = finite_field(order)
    elements = np.arange(order)
    for table, neutral in ((plus, 0), (times, 1)):
        np.testing.assert_array_equal(table, table.T)
        np.testing.assert_array_equal(table[neutral], elements)
        np.testing.assert_array_equal(table[table], table[:, table])
    assert (np.sort(plus, axis=1) == elements).all()
    assert (np.sort(times[1:, 1:], axis=1) == elements[1:]).all()
    np.testing.assert_array_equal(times[:, plus], plus[times[:, :, None], times[:, None, :]])


@pytest.mark.parametrize("order", ORDERS)
def test_addition_and_multiplication_are_those_of_galois_up_to_names(order):
    galois = pytest.importorskip("galois")
    plus, times = finite_field(order)
    field = galois.GF(order)
    # The powers of a primitive element name the elements of both fields.
    for generator in range(order):
        powers, value = [1], generator
        while value not in (0, 1):
            powers.append(value)
            value = times[value, generator]
        if len(powers) < order - 1:
            continue
        theirs = [int(field.primitive_element**i) for i in range(order - 1)]
        name = np.zeros(order, dtype=int)
        name[powers] = theirs
        if np.array_equal(name[plus], np.add(field(name)[:, None], field(name))):
            np.testing.assert_array_equal(name[times], field(name)[:, None] * field(name))
            return
    pytest.fail("no isomorphism found")


@pytest.mark.parametrize("order", [0, 1, 6, 10, 12, 15])
def test_orders_that_are_no_prime_power_are_refused(order):
    with pytest.raises(ValueError, match=f"no finite field has {order} elements"):
        finite_field(order)


@given(st.integers(2, 2000))
def test_prime_powers(number):
    power = prime_power(number)
    if power is None:
        assert sum(number % d == 0 and is_prime(d) for d in range(2, number + 1)) > 1
    else:
        assert is_prime(power[0])
        assert power[0] ** power[1] == number
