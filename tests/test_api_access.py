from collections.abc import Iterator
from hashlib import sha256

import httpx
import pytest

from platoon.api.access import Access, check_listening, is_loopback
from platoon.errors import Forbidden, InvalidSettings, Overloaded, Unauthorised
from platoon.ocr.engine import TextEngine
from platoon.settings import ApiKey, ServiceSettings
from tests.drawn import encoded, page
from tests.serving import serving


def key(secret: str, **fields: float) -> ApiKey:
    name = secret.split("-")[0]
    return ApiKey(name=name, sha256=sha256(secret.encode()).hexdigest(), **fields)  # type: ignore[arg-type]


KEYED = ServiceSettings(keys=(key("gate-secret"), key("yard-secret")))


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"authorization": "Bearer gate-secret"}, "gate"),
        ({"authorization": "bearer  yard-secret"}, "yard"),
        ({"x-api-key": "yard-secret"}, "yard"),
    ],
)
def test_a_key_is_known_by_either_header(headers: dict[str, str], name: str) -> None:
    assert Access(KEYED).admit(headers, "203.0.113.9", "infer").name == name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic gate-secret"},
        {"x-api-key": sha256(b"gate-secret").hexdigest()},
        {"x-api-key": "gate-secret\udcff"},
    ],
)
def test_without_a_known_key_nobody_is_served_not_even_from_this_machine(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorised):
        Access(KEYED).admit(headers, "127.0.0.1", "infer")


def test_without_keys_only_this_machine_is_served_unless_the_service_is_open() -> None:
    assert Access(ServiceSettings()).admit({}, "127.0.0.1", "admin").name == ""
    for client in ("192.168.1.5", "203.0.113.9", None, "testclient", "::ffff:192.168.1.5"):
        with pytest.raises(Forbidden, match=r"service\.keys"):
            Access(ServiceSettings()).admit({}, client, "read")
        assert Access(ServiceSettings(open=True)).admit({}, client, "admin").name == ""


def test_a_key_has_its_rate_and_its_burst() -> None:
    now = 100.0
    settings = ServiceSettings(keys=(key("slow-1", rate=2, burst=3), key("free-1")))
    access = Access(settings, clock=lambda: now)
    slow = {"x-api-key": "slow-1"}
    for _ in range(3):
        access.admit(slow, None, "infer")
    with pytest.raises(Overloaded, match="'slow' may call 2 times a second") as refusal:
        access.admit(slow, None, "infer")
    assert refusal.value.retry_after_s == pytest.approx(0.5)
    for _ in range(100):
        access.admit({"x-api-key": "free-1"}, None, "infer")
    now += 0.5
    access.admit(slow, None, "infer")
    with pytest.raises(Overloaded):
        access.admit(slow, None, "infer")
    now += 60
    for _ in range(3):
        access.admit(slow, None, "infer")
    with pytest.raises(Overloaded):
        access.admit(slow, None, "infer")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_addresses(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_service_that_everybody_reaches_and_nobody_may_call_does_not_start() -> None:
    with pytest.raises(InvalidSettings, match=r"0\.0\.0\.0.*service\.keys.*service\.open"):
        check_listening("0.0.0.0", ServiceSettings())
    check_listening("0.0.0.0", ServiceSettings(open=True))
    check_listening("0.0.0.0", KEYED)
    check_listening("127.0.0.1", ServiceSettings())


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        ServiceSettings(keys=(key("gate-1"), key("gate-2")))


@pytest.fixture
def client(text_engine: TextEngine) -> Iterator[httpx.Client]:
    with serving(text_engine, keys=(key("gate-secret", rate=0.001, burst=2),)) as client:
        yield client


def test_each_contract_tells_its_callers_that_a_key_is_needed(client: httpx.Client) -> None:
    picture = encoded(page(("Key", 10, 40), size=(128, 64)))
    multipart = client.post("/ocr", files={"image": picture})
    json = client.post("/ocr", json={"file": "aaaa", "logId": "mine"})
    assert multipart.status_code == json.status_code == 401
    assert multipart.headers["www-authenticate"] == json.headers["www-authenticate"] == "Bearer"
    assert "API key" in multipart.json()["error"]
    assert json.json()["errorCode"] == 401


def test_a_key_that_calls_too_often_is_told_when_to_come_back(client: httpx.Client) -> None:
    picture = encoded(page(("Key", 10, 40), size=(128, 64)))
    key_header = {"Authorization": "Bearer gate-secret"}
    replies = [client.post("/ocr", files={"image": picture}, headers=key_header) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert int(replies[2].headers["retry-after"]) >= 900
    assert replies[2].json()["retry"] is True
