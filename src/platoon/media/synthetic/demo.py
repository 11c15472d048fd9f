"""The demo's four scenes: a car park's gate, a motorway, a street at night, a toll lane at dusk."""

from __future__ import annotations

from platoon.media.synthetic.scene import (
    DUSK,
    NIGHT,
    Camera,
    Drive,
    Lane,
    Scene,
    Setting,
    Sign,
    Vehicle,
)

_SILVER, _WHITE, _GRAPHITE, _RED = (168, 172, 178), (216, 218, 220), (64, 68, 76), (150, 34, 34)
_BLUE, _GREEN, _SAND = (44, 78, 132), (50, 92, 74), (178, 160, 130)


def demo_scenes() -> tuple[Scene, ...]:
    """Four scenes whose vehicles are out of sight at start and end, so that their clips loop."""
    return _gate(), _motorway(), _night_street(), _toll()


def _gate() -> Scene:
    def enters(enters_s: float, *, waits_s: float) -> Drive:
        return Drive(enters_s=enters_s, speed_mps=4.0, stop_at_m=6.5, stop_s=waits_s)

    return Scene(
        name="Car park gate",
        camera=Camera(focal=1.5, x_m=-1.3, height_m=1.9, yaw_deg=5.0, pitch_deg=3.5),
        lanes=(Lane(0.0, towards=False),),
        vehicles=(
            Vehicle(plate="M KX 204", country="DE", colour=_SILVER, badge="TX4", motion=enters(0.2, waits_s=3.0)),
            Vehicle(plate="KRA2E19", country="BR", colour=_RED, motion=enters(6.6, waits_s=1.5)),
            Vehicle(plate="PHT482", country="NZ", colour=_WHITE, badge="SPORT", motion=enters(10.9, waits_s=2.4)),
        ),
        duration_s=25.0,
        far_m=30.0,
        setting=Setting.CAR_PARK,
        barrier_m=11.6,
        signs=(
            Sign("PARKING", 0.0, 3.5, 21.5, 2.6, (24, 66, 140), posts=False),
            Sign("BAKERY", -4.0, 2.2, 17.0, 2.2, (120, 54, 36)),
        ),
        seed=11,
    )


def _motorway() -> Scene:
    def passes(enters_s: float, speed_mps: float) -> Drive:
        return Drive(enters_s=enters_s, speed_mps=speed_mps)

    return Scene(
        name="Motorway north",
        camera=Camera(focal=6.0, height_m=2.35, pitch_deg=1.6, yaw_deg=0.3),
        lanes=(Lane(-1.75, towards=False), Lane(1.75, towards=True)),
        vehicles=(
            Vehicle(plate="AB 371 CD", country="FR", lane=1, colour=_BLUE, motion=passes(0.2, 13.5)),
            Vehicle(plate="GX15 MBK", country="GB", lane=0, colour=_GRAPHITE, badge="GT2", motion=passes(1.0, 13)),
            Vehicle(plate="K 529 PR", country="NL", lane=1, colour=_SAND, motion=passes(5.0, 13.5)),
            Vehicle(plate="WE 48271", country="PL", lane=0, colour=_WHITE, badge="SPORT", motion=passes(6.0, 13)),
            Vehicle(plate="4827 HJK", country="ES", lane=1, colour=_RED, motion=passes(11.0, 13)),
            Vehicle(plate="HB KM 2864", country="DE", lane=0, colour=_SILVER, motion=passes(11.2, 13.5)),
        ),
        duration_s=24.0,
        far_m=150.0,
        setting=Setting.MOTORWAY,
        signs=(Sign("NORTH 12", 6.4, 3.0, 95.0, 3.6),),
        seed=12,
    )


def _night_street() -> Scene:
    return Scene(
        name="Harbour street",
        camera=Camera(focal=3.6, height_m=2.3, x_m=0.2, pitch_deg=2.6, yaw_deg=0.4, roll_deg=0.8),
        lanes=(Lane(-1.7, towards=False), Lane(1.7, towards=True)),
        vehicles=(
            Vehicle(
                plate="34 TRK 58",
                country="TR",
                lane=1,
                colour=_SILVER,
                motion=Drive(enters_s=0.2, speed_mps=8.2),
            ),
            Vehicle(
                plate="AE 4826 KB",
                country="UA",
                lane=0,
                colour=_BLUE,
                motion=Drive(enters_s=2.0, speed_mps=8),
            ),
            Vehicle(plate="FG 372KL", country="IT", lane=1, colour=_RED, motion=Drive(enters_s=7.0, speed_mps=8)),
            Vehicle(
                plate="B 7284HK",
                country="AT",
                lane=0,
                colour=_WHITE,
                motion=Drive(enters_s=11.0, speed_mps=8),
            ),
        ),
        duration_s=24.0,
        far_m=85.0,
        setting=Setting.STREET,
        light=NIGHT,
        clock_s=80_114,
        signs=(Sign("CAFE MOLE", -4.55, 2.9, 48.0, 2.4, (126, 30, 60)),),
        seed=13,
    )


def _toll() -> Scene:
    return Scene(
        name="Toll plaza",
        camera=Camera(focal=2.4, height_m=2.05, pitch_deg=2.8, x_m=0.1),
        lanes=(Lane(-1.75), Lane(1.75)),
        vehicles=(
            Vehicle(
                plate="M TH 4826",
                country="DE",
                lane=0,
                colour=_GRAPHITE,
                motion=Drive(enters_s=0.2, speed_mps=5.2),
            ),
            Vehicle(
                plate="KA 05 MH 4723",
                country="IN",
                lane=1,
                colour=_WHITE,
                badge="TX4",
                motion=Drive(enters_s=3.0, speed_mps=5.2, stop_at_m=11.0, stop_s=1.6),
            ),
            Vehicle(plate="2683 KTB", country="ES", lane=0, colour=_SAND, motion=Drive(enters_s=5.4, speed_mps=5.2)),
            Vehicle(
                plate="GX 284 TM",
                country="FR",
                lane=0,
                colour=_BLUE,
                motion=Drive(enters_s=9.8, speed_mps=5.2),
            ),
            Vehicle(
                plate="KR 52864",
                country="PL",
                lane=1,
                colour=_GREEN,
                motion=Drive(enters_s=11.0, speed_mps=5.2),
            ),
        ),
        duration_s=25.0,
        far_m=64.0,
        setting=Setting.TOLL,
        light=DUSK,
        clock_s=71_455,
        signs=(Sign("CARDS ONLY", 4.6, 2.9, 30.0, 2.2, (30, 60, 120)),),
        seed=14,
    )
