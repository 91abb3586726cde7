"""Which detection threshold keeps the false alarms that an operator accepts.

Only a calibration knows: it has counted the false alarms of a row of threshold factors in neutral
footage of this camera, light and face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.calibrated import use_calibration
from streamer.config import GlintConfig
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from calibration.threshold import ThresholdResult

RATES_PER_MIN = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""False alarms a minute that may be chosen, beside the calibration's own."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The threshold factor for a rate of false alarms.

    Attributes:
        per_min: False alarms a minute.
        factor: The factor that keeps it on average over what the calibration leaves possible.
        low: Lower end of the 90 % interval of the factor that endless footage would lead to.
        high: Upper end.
    """

    per_min: float
    factor: float
    low: float
    high: float


class AlarmBudget:
    """What a calibration's neutral footage says of false alarms.

    Args:
        learned: The calibration's threshold step.
    """

    def __init__(self, learned: ThresholdResult) -> None:
        from calibration.threshold import HIGHEST, choose_factor  # noqa: PLC0415 - loads slowly

        self.fitted_s = learned.fitted_s
        own = learned.budget_per_min
        kept = {own: Kept(own, learned.factor, learned.factor_low, learned.factor_high)}
        for rate in RATES_PER_MIN:
            if rate not in kept:
                low, factor, high = choose_factor(
                    learned.factors, learned.alarms, learned.fitted_s, rate
                )
                kept[rate] = Kept(rate, round(factor, 2), round(low, 2), round(high, 2))
        # Where the highest factor that is ever advised is not enough, none keeps the rate.
        self.rates = {rate: kept[rate] for rate in sorted(kept) if kept[rate].factor < HIGHEST}

    def at(self, per_min: float) -> Kept:
        """Return the factor for a rate.

        Raises:
            ConfigError: No factor keeps it, or it is none of `rates`.
        """
        try:
            return self.rates[per_min]
        except KeyError:
            offered = ", ".join(f"{rate:g}" for rate in self.rates)
            raise ConfigError(
                f"This calibration knows no threshold for {per_min:g} false alarms a minute: "
                f"choose one of {offered}, or calibrate with a longer take."
            ) from None

    def of(self, factor: float | None) -> Kept | None:
        """Return the rate that a factor was chosen for; None for a factor set by hand."""
        return next((kept for kept in self.rates.values() if kept.factor == factor), None)


def alarm_budget(config: GlintConfig) -> AlarmBudget | str:
    """Return what is known of false alarms in a session, or why nothing is, in a sentence.

    Raises:
        ConfigError: The calibration file is missing or none.
    """
    used = use_calibration(config)[1]
    if used is None:
        return (
            "Needs a calibration of this camera, light and face: how often a threshold is wrong "
            "shows in their neutral footage only. Make one with python -m calibration, and start "
            "with --calibration FILE."
        )
    calibration = used.calibration
    if not calibration.applies or calibration.threshold is None:
        return "The calibration's verdict is 'not fit', so its threshold is not used: calibrate."
    spotter = calibration.spotter.rsplit(" ", 1)[0]
    if config.spotter != spotter:
        return (
            f"The calibration tried the spotter {spotter} and says nothing about "
            f"{config.spotter}: choose {spotter}, or calibrate with {config.spotter}."
        )
    return AlarmBudget(calibration.threshold)
