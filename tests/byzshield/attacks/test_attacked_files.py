import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import aspis, aspis_plus, baseline, mols
from mlsys_ray.byzshield.attacks import Adversary

CODES = [mols(5, 3), mols(7, 5), aspis(9, 3), aspis_plus(13), baseline(9)]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.scheme)
@pytest.mark.parametrize("byzantine", [(), (2,), (0, 3, 7), (1, 2, 5, 8)])
def test_which_files_are_attacked(code, byzantine):
    liars = set(byzantine)
    framed = [worker for worker in range(code.num_workers) if worker not in liars][: len(liars)]
    for file in range(code.num_files):
        holders = set(code.holders_of(file))
        held = bool(holders & liars)
        expected = {
            "held": held,
            "majority": len(holders & liars) > len(holders - liars),
            "framing": len(holders & liars) > len(holders - liars)
            and holders - liars <= set(framed),
        }
        for attacks, attacked in expected.items():
            adversary = Adversary(code, byzantine, attacks=attacks)
            assert adversary.attacked_files()[file] == attacked
            assert adversary.distorted_files()[file] == (attacked and expected["majority"])


def test_lying_on_majorities_only_distorts_as_many():
    code = mols(5, 3)
    everywhere, hidden = (
        Adversary(code, (0, 1, 5, 11), attacks=attacks) for attacks in ("held", "majority")
    )
    np.testing.assert_array_equal(everywhere.distorted_files(), hidden.distorted_files())
    assert hidden.attacked_files().sum() == 5 < everywhere.attacked_files().sum()
