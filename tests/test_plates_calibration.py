import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.plates.calibration import Calibration

shares = st.floats(0, 1)


@given(shares)
def test_without_a_fit_nothing_changes(confidence: float) -> None:
    assert Calibration().calibrated(confidence) == pytest.approx(confidence, abs=2e-6)


@given(shares, shares)
def test_who_is_surer_stays_so(one: float, other: float) -> None:
    calibrated = Calibration(slope=0.4, intercept=-0.7).calibrated
    low, high = sorted((one, other))
    assert 0 < calibrated(low) <= calibrated(high) < 1


def test_a_slope_below_one_makes_less_sure_both_ways() -> None:
    calibrated = Calibration(slope=0.5).calibrated
    assert 0.5 < calibrated(0.99) < 0.99
    assert 0.01 < calibrated(0.01) < 0.5
