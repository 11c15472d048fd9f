from pathlib import Path

from benchmarks.sampling import WANTED, WAYS, encode, repeat, take


def test_every_exact_way_takes_the_same_pictures_and_ours_decodes_fewest(tmp_path: Path) -> None:
    clip = repeat(encode(tmp_path / "part.mp4", (64, 48), 60), tmp_path / "clip.mp4", 60)
    found = {way: take(way, clip) for way in WAYS}
    exact = [one for way, one in found.items() if way != "platoon, keyframes"]
    assert len({one["digest"] for one in exact}) == 1
    assert all(one["pictures"] == WANTED for one in found.values())
    assert found["platoon, keyframes"]["decoded_per_wanted"] == 1
    assert found["platoon"]["decoded_per_wanted"] <= 60
    assert found["PyAV, decode all"]["decoded_per_wanted"] == 60 * 30 / WANTED
