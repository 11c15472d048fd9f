import logging

import pytest

from platoon.streams.hub import Hub


def test_listeners_hear_their_camera_or_all() -> None:
    hub = Hub()
    all_heard: list[int] = []
    one_heard: list[int] = []
    hub.subscribe(lambda message: all_heard.append(message["n"]))
    leave = hub.subscribe(lambda message: one_heard.append(message["n"]), "gate")
    hub.publish("gate", {"n": 1})
    hub.publish("yard", {"n": 2})
    leave()
    hub.publish("gate", {"n": 3})
    assert all_heard == [1, 2, 3]
    assert one_heard == [1]


def test_nobody_listening_is_known() -> None:
    hub = Hub()
    assert not hub.wanted("gate")
    leave = hub.subscribe(lambda _message: None, "gate")
    assert hub.wanted("gate")
    assert not hub.wanted("yard")
    leave()
    assert not hub.wanted("gate")


def test_a_listener_that_fails_is_left_out_and_the_others_hear(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    heard: list[int] = []

    def broken(_message: object) -> None:
        raise RuntimeError("gone")

    hub.subscribe(broken)
    hub.subscribe(lambda message: heard.append(message["n"]))
    with caplog.at_level(logging.CRITICAL):
        hub.publish("gate", {"n": 1})
        hub.publish("gate", {"n": 2})
    assert heard == [1, 2]
