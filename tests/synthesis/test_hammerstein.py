import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.synthesis.hammerstein import Hammerstein, trapezoid, visible_interval

STEP = 0.01
TIMES = np.arange(0.0, 8.0, STEP)

muscles = st.builds(
    Hammerstein,
    exponent=st.floats(0.5, 3.0),
    frequency=st.floats(3.0, 60.0),
    damping=st.floats(1.0, 2.0),
)
shares = st.floats(0.05, 1.0)


@given(muscles)
@settings(max_examples=30, deadline=None)
def test_nothing_in_is_nothing_out(muscle: Hammerstein) -> None:
    assert not muscle.response(np.zeros(100), STEP).any()


@given(muscles, shares, shares, shares)
@settings(max_examples=60, deadline=None)
def test_a_pulse_rises_once_stays_below_its_drive_and_returns_to_rest(
    muscle: Hammerstein, attack: float, hold: float, release: float
) -> None:
    course = muscle.response(trapezoid(TIMES, attack, hold, release), STEP)
    apex = int(np.argmax(course))
    assert course.min() >= -1e-12
    assert 0 < course[apex] <= 1 + 1e-9
    assert (np.diff(course[: apex + 1]) >= -1e-9).all()
    assert (np.diff(course[apex:]) <= 1e-9).all()
    assert course[-1] < 0.02 * course[apex]


@given(muscles)
@settings(max_examples=30, deadline=None)
def test_a_lasting_activation_settles_at_full_displacement(muscle: Hammerstein) -> None:
    assert muscle.response(np.ones(len(TIMES)), STEP)[-1] == pytest.approx(1.0, abs=0.02)


def test_the_response_does_not_depend_on_the_step() -> None:
    muscle = Hammerstein(exponent=1.5, frequency=15.0)
    coarse = muscle.response(trapezoid(TIMES, 0.4, 0.2, 0.4), STEP)
    fine_times = np.arange(0.0, 8.0, STEP / 10)
    fine = muscle.response(trapezoid(fine_times, 0.4, 0.2, 0.4), STEP / 10)
    # Activation is held over a step: the coarse response is half a step early.
    assert np.abs(coarse - np.interp(TIMES, fine_times, fine)).max() < 0.03


def test_weak_activation_is_recruited_less_than_proportionally() -> None:
    muscle = Hammerstein(exponent=2.0)
    half = muscle.response(np.full(1000, 0.5), STEP)
    assert half[-1] == pytest.approx(0.25, abs=1e-6)


def test_the_visible_interval_is_where_a_tenth_of_the_peak_is_reached() -> None:
    course = np.array([0.0, 0.05, 0.2, 1.0, 2.0, 0.3, 0.2, 0.1, 0.0])
    assert visible_interval(course) == (2, 4, 6)


@pytest.mark.parametrize(("exponent", "frequency", "damping"), [(0, 1, 1), (1, 0, 1), (1, 1, 0.5)])
def test_an_impossible_muscle_is_refused(exponent: float, frequency: float, damping: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Hammerstein(exponent, frequency, damping)
