"""The camera's clock: what single packets tell wrongly does not disturb it."""

from fractions import Fraction

from streams.decode.sender_clock import SenderClock

START_US = 1_700_000_000_000_000


class Told(SenderClock):
    def zeros_us(self, *told: int) -> list[int | None]:
        zeros = []
        for zero_us in told:
            self.note_zero(START_US + zero_us, START_US)
            at_ns = self.at_ns(0, Fraction(1, 90_000))
            zeros.append(None if at_ns is None else at_ns // 1000 - START_US)
        return zeros


def test_times_on_the_wrong_packet_are_left_out() -> None:
    assert Told().zeros_us(40_000, 0, -80_000, 1, 33_333) == [0, 0, 0, 1, 1]


def test_a_drift_is_followed() -> None:
    assert Told().zeros_us(*range(0, 60_000, 1000))[-1] == 59_000


def test_a_clock_that_was_set_is_believed_in_the_end() -> None:
    zeros = Told().zeros_us(0, *[10**9] * 101)
    assert zeros[:101] == [0] * 101
    assert zeros[101] == 10**9
