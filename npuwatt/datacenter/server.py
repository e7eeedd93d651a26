"""Inside the server: what fans and power supplies take before the components compute (ITUE)."""

from __future__ import annotations

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.record import Record


class Converter(Record):
    """One stage of power conversion: input = (output + standing) / efficiency."""

    standing_w: Real
    efficiency_fraction: Real

    def __post_init__(self) -> None:
        require.not_negative(standing=self.standing_w)
        require.fraction(efficiency=self.efficiency_fraction)


class Server(Record):
    """What a server takes beside its components. PUE sees none of it: it counts as IT."""

    fan_fraction: Real  # of the components' power, where air carries all heat
    rated_components_w: (
        Real  # that the converters' standing power belongs to; of other servers it is the same share
    )
    converters: tuple[Converter, ...]  # the one beside the components first

    def __post_init__(self) -> None:
        require.share(fan=self.fan_fraction)
        require.positive(rated_components=self.rated_components_w)


def server_input_w(server: Server, *, components_w: Real, liquid_fraction: Real = 0.0) -> Real:
    """Power that a server takes from the rack; scalar or (P, 1), watts.

    Liquid takes the heat it captures from the server's fans, and their power with it.
    """
    require.positive(components=components_w)
    require.share(liquid=liquid_fraction)
    power_w = components_w * (1.0 + server.fan_fraction * (1.0 - liquid_fraction))
    for converter in server.converters:
        power_w = (power_w + converter.standing_w) / converter.efficiency_fraction
    return power_w


def itue(server: Server, *, components_w: Real, liquid_fraction: Real = 0.0) -> Real:
    """IT input over the power of its components, 1 or more; times PUE it is TUE.

    Source
    ------
    Patterson et al., TUE, a new energy-efficiency metric applied at ORNL's Jaguar, ISC, 2013.
    """
    return server_input_w(server, components_w=components_w, liquid_fraction=liquid_fraction) / components_w


def rated_itue(server: Server, *, liquid_fraction: Real = 0.0) -> Real:
    """ITUE of a server of any size at its rating; scalar or (P, 1)."""
    return itue(server, components_w=server.rated_components_w, liquid_fraction=liquid_fraction)


def tue(itue_ratio: Real, pue_ratio: Real) -> Real:
    """Facility energy over energy of the components: ITUE times PUE."""
    require.within(1.0, 1e9, itue=itue_ratio, pue=pue_ratio)
    return itue_ratio * pue_ratio
