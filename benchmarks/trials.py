"""Twelve short synthetic clips, each with something that makes plates hard to follow or easy to see where none are.

Rain, night, two lanes, tailgating, a parked row, plates of two lines and of many countries, a bus that carries adverts,
a gate with its barrier, a camera that looks steeply from the side, vehicles of one fleet; into all of them a clock and
a name are burnt.
Every vehicle is seen large enough to be read, so each must become exactly one final event, and nothing else may.
"""

from __future__ import annotations

from platoon.media.synthetic.scene import (
    DAY,
    DUSK,
    NIGHT,
    Body,
    Camera,
    Drive,
    Lane,
    Light,
    Parked,
    Scene,
    Setting,
    Sign,
    Vehicle,
)
from platoon.media.synthetic.shapes import Colour

FPS = 5
_BEFORE_S = 1.5
"""The first vehicles came into sight so long before the clip begins."""
_SILVER, _WHITE, _GRAPHITE, _RED = (168, 172, 178), (216, 218, 220), (64, 68, 76), (150, 34, 34)
_BLUE, _GREEN, _SAND = (44, 78, 132), (50, 92, 74), (178, 160, 130)
_COLOURS: tuple[Colour, ...] = (_SILVER, _GRAPHITE, _WHITE, _RED, _BLUE, _SAND, _GREEN)
_TWO_LANES = (Lane(-1.75), Lane(1.75))
_TOLL = Camera(focal=2.4, height_m=2.05, pitch_deg=2.8, x_m=0.1)


def trials() -> tuple[Scene, ...]:
    """The scenes; the same every time."""
    return (
        _rain(),
        _rainy_night(),
        _night(),
        _two_lanes(),
        _tailgating(),
        _parked_row(),
        _two_lines(),
        _countries(),
        _bus(),
        _gate(),
        _steep(),
        _fleet(),
    )


def _street(
    name: str,
    written: tuple[tuple[str, str, float, int], ...],
    *,
    seed: int,
    camera: Camera = _TOLL,
    lanes: tuple[Lane, ...] = _TWO_LANES,
    speed_mps: float = 9.0,
    far_m: float = 50.0,
    light: Light = DAY,
    rain: float = 0.0,
    setting: Setting = Setting.STREET,
    signs: tuple[Sign, ...] = (),
    others: tuple[Vehicle, ...] = (),
) -> Scene:
    """Cars that pass at one speed: (plate, country, when it comes into sight, lane) of each."""
    cars = tuple(
        Vehicle(
            plate=plate,
            country=country,
            lane=lane,
            colour=_COLOURS[(seed + number) % len(_COLOURS)],
            motion=Drive(enters_s=enters_s - _BEFORE_S, speed_mps=speed_mps),
        )
        for number, (plate, country, enters_s, lane) in enumerate(written)
    )
    last_s = max((enters_s for _, _, enters_s, _ in written), default=0.0)
    return Scene(
        name=name,
        camera=camera,
        lanes=lanes,
        vehicles=cars + others,
        duration_s=last_s - _BEFORE_S + (far_m - 6.0) / speed_mps,
        far_m=far_m,
        setting=setting,
        light=light,
        signs=signs,
        rain=rain,
        fps=FPS,
        seed=seed,
    )


def _rain() -> Scene:
    plates = (
        ("B KR 4826", "DE", 0.0, 0), ("GX 284 TM", "FR", 0.9, 1), ("4827 HJK", "ES", 2.6, 0),
        ("KR 52864", "PL", 3.4, 1), ("K 529 PR", "NL", 5.2, 0),
    )  # fmt: skip
    return _street("Rain", plates, rain=0.6, seed=21, signs=(Sign("BAKERY 24H", -5.0, 2.4, 22.0, 2.2),))


def _rainy_night() -> Scene:
    plates = (
        ("34 TRK 58", "TR", 0.0, 1), ("AE 4826 KB", "UA", 1.2, 0), ("FG 372KL", "IT", 3.2, 1),
        ("HB KM 286", "DE", 4.2, 0),
    )  # fmt: skip
    signs = (Sign("CAFE 1905", -4.6, 2.6, 30.0, 2.2, (126, 30, 60)),)
    return _street("Rainy night", plates, rain=0.4, light=NIGHT, seed=22, signs=signs, camera=_near_lens())


def _near_lens() -> Camera:
    return Camera(focal=3.0, height_m=2.3, pitch_deg=2.8, x_m=0.1)


def _night() -> Scene:
    plates = (
        ("GX15 MBK", "GB", 0.0, 0), ("M KX 204", "DE", 1.4, 1), ("PHT482", "NZ", 3.0, 0), ("WE 48271", "PL", 4.4, 1),
    )  # fmt: skip
    return _street(
        "Night going away",
        plates,
        lanes=(Lane(-1.75, towards=False), Lane(1.75, towards=False)),
        speed_mps=7.0,
        light=NIGHT,
        seed=23,
        camera=_near_lens(),
        signs=(Sign("HOTEL 5", 5.0, 2.8, 34.0, 2.4),),
    )


def _two_lanes() -> Scene:
    plates = (
        ("AB 371 CD", "FR", 0.0, 0), ("AB 317 CD", "FR", 0.1, 1), ("2683 KTB", "ES", 2.4, 1),
        ("2688 KTB", "ES", 2.5, 0), ("M TH 4826", "DE", 4.8, 0), ("M HT 4826", "DE", 4.8, 1),
    )  # fmt: skip
    return _street("Two lanes", plates, setting=Setting.MOTORWAY, seed=24, speed_mps=10.0)


def _tailgating() -> Scene:
    plates = tuple(
        (plate, country, 0.9 * number, 0)
        for number, (plate, country) in enumerate(
            (("KA 482 LM", "FR"), ("D KW 2864", "DE"), ("7284 BCD", "ES"), ("PN 48261", "PL"), ("LN 582 B", "NL"))
        )
    )
    camera = Camera(focal=2.2, height_m=3.6, pitch_deg=9.0, x_m=0.2)
    return _street("Tailgating", plates, lanes=(Lane(0.0),), camera=camera, setting=Setting.TOLL, seed=25, far_m=40.0)


def _parked_row() -> Scene:
    row = tuple(
        Vehicle(
            plate=plate, country=country, motion=Parked(13.0 + 0.4 * number), lane=0, offset_m=offset, colour=colour
        )
        for number, (plate, country, offset, colour) in enumerate(
            (
                ("F TK 582", "DE", -4.2, _GREEN),
                ("EX 482 RT", "FR", -1.9, _SAND),
                ("SG LM 284", "DE", 3.6, _RED),
            )
        )
    )
    plates = (("WX 58274", "PL", 0.5, 0), ("8264 LMN", "ES", 4.0, 0))
    return _street(
        "Parked row",
        plates,
        lanes=(Lane(1.2),),
        camera=Camera(focal=1.5, height_m=2.2, pitch_deg=5.0, x_m=1.0),
        setting=Setting.CAR_PARK,
        speed_mps=5.0,
        far_m=26.0,
        others=row,
        seed=26,
    )


def _two_lines() -> Scene:
    plates = (
        ("30A/482 65", "VN", 0.0, 0), ("KA 05/MH 4723", "IN square", 1.4, 1), ("M/KX 204", "DE square", 3.2, 0),
        ("51G/728 34", "VN", 4.4, 1),
    )  # fmt: skip
    return _street("Two lines", plates, seed=27)


def _countries() -> Scene:
    plates = (
        ("7KLM284", "US-CA", 0.0, 0), ("KRA2E19", "BR", 1.2, 1), ("HKL 2846", "US-AZ", 3.0, 0),
        ("LMK 48F", "AU", 4.0, 1), ("PHT482", "NZ", 6.0, 0),
        ("KA 05 MH 4723", "IN", 7.0, 1), ("B 7284HK", "AT", 8.6, 0),
    )  # fmt: skip
    return _street("Countries", plates, seed=28)


def _bus() -> Scene:
    adverts = (
        Vehicle(
            plate="HH VK 4826",
            country="DE",
            lane=1,
            colour=_RED,
            badge="SUMMER SALE 50/CALL 0800 442/WWW.CITY24.DE",
            body=Body.BUS,
            motion=Drive(enters_s=0.0, speed_mps=6.0),
        ),
        Vehicle(
            plate="KX 482 LM",
            country="FR",
            lane=0,
            colour=_BLUE,
            badge="42A CENTRAL",
            body=Body.BUS,
            motion=Drive(enters_s=0.0, speed_mps=7.0),
        ),
    )
    plates = (("GX15 MBK", "GB", 4.4, 0), ("PN 58264", "PL", 7.0, 0))
    lanes = (Lane(-1.9), Lane(1.9, towards=False))
    camera = Camera(focal=2.0, height_m=2.2, pitch_deg=2.2, x_m=0.0)
    return _street("Bus stop", plates, lanes=lanes, camera=camera, speed_mps=7.0, others=adverts, seed=29)


def _gate() -> Scene:
    waits = tuple(
        Vehicle(
            plate=plate,
            country=country,
            colour=_COLOURS[number],
            badge=badge,
            motion=Drive(enters_s=enters_s, speed_mps=5.0, stop_at_m=6.8, stop_s=1.2),
        )
        for number, (plate, country, badge, enters_s) in enumerate(
            (("KN 284 TR", "FR", "TX4", 0.0), ("S KD 5826", "DE", "GT2", 5.4), ("4826 HJK", "ES", "SPORT", 10.8))
        )
    )
    return Scene(
        name="Gate at dusk",
        camera=Camera(focal=1.5, x_m=-1.3, height_m=1.9, yaw_deg=5.0, pitch_deg=3.5),
        lanes=(Lane(0.0, towards=False),),
        vehicles=waits,
        duration_s=20.0,
        far_m=30.0,
        setting=Setting.CAR_PARK,
        light=DUSK,
        barrier_m=11.6,
        signs=(Sign("PARKING", 0.0, 3.5, 21.5, 2.6, (24, 66, 140), posts=False), Sign("P 200M", -4.2, 2.2, 17.0, 2.0)),
        fps=FPS,
        seed=30,
    )


def _steep() -> Scene:
    plates = (("AB 482 KL", "FR", 0.0, 0), ("K DT 2648", "DE", 2.2, 0), ("5826 JKL", "ES", 4.4, 0))
    camera = Camera(focal=1.9, x_m=4.6, height_m=4.2, yaw_deg=-22.0, pitch_deg=17.0, roll_deg=5.0)
    return _street("From the side", plates, lanes=(Lane(0.0),), camera=camera, speed_mps=6.0, far_m=26.0, seed=31)


def _fleet() -> Scene:
    plates = (
        ("B TX 2841", "DE", 0.0, 0), ("B TX 2842", "DE", 2.0, 1), ("B TX 2843", "DE", 4.0, 0),
        ("B TX 2847", "DE", 6.0, 1),
    )  # fmt: skip
    return _street("A fleet", plates, seed=32, signs=(Sign("TAXI 555", 5.2, 2.4, 20.0, 2.0),))
