from collections.abc import Iterator
from hashlib import sha256

import httpx
import pytest

from platoon.api.access import Access, check_listening, is_loopback
from platoon.errors import Forbidden, InvalidSettings, Overloaded, Unauthorised
from platoon.ocr.engine import TextEngine
from platoon.settings import Scope, ServiceSettings
from tests.drawn import encoded, page
from tests.keys import key
from tests.serving import serving

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


def test_a_key_without_scopes_may_do_what_keys_could_before_there_were_any() -> None:
    access = Access(KEYED)
    assert access.admit({"x-api-key": "gate-secret"}, None, "infer").scopes == {"infer"}
    for need in ("read", "operate", "admin"):
        with pytest.raises(Forbidden, match=f"the scope '{need}'; 'gate' has infer"):
            access.admit({"x-api-key": "gate-secret"}, None, need)


@pytest.mark.parametrize(
    ("scopes", "implied"),
    [
        (("read",), {"read"}),
        (("operate",), {"operate", "read"}),
        (("operate", "infer"), {"operate", "read", "infer"}),
        (("admin",), {"read", "operate", "infer", "admin"}),
    ],
)
def test_scopes_imply_others(scopes: tuple[Scope, ...], implied: set[Scope]) -> None:
    access = Access(ServiceSettings(keys=(key("any-secret", scopes=scopes),)))
    assert access.admit({"x-api-key": "any-secret"}, None, "key").scopes == implied


def test_a_key_with_no_or_an_unknown_scope_is_refused() -> None:
    for scopes in ((), ("write",)):
        with pytest.raises(ValueError, match="scopes"):
            key("any-secret", scopes=scopes)


def wrong(access: Access, number: int, client: str) -> None:
    with pytest.raises(Unauthorised):
        access.admit({"x-api-key": f"guess-{number}"}, client, "infer")


@pytest.mark.parametrize(
    ("client", "same", "other"),
    [("203.0.113.9", "203.0.113.9", "203.0.113.10"), ("2001:db8::1", "2001:db8::2:3:4:5", "2001:db8:0:1::1")],
)
def test_whoever_guesses_keys_is_stopped_and_nobody_at_another_address(client: str, same: str, other: str) -> None:
    now = 100.0
    access = Access(KEYED, clock=lambda: now)
    for number in range(20):
        wrong(access, number, client)
    known = {"x-api-key": "gate-secret"}
    with pytest.raises(Overloaded, match="unknown API keys") as refusal:
        access.admit(known, same, "infer")
    assert 0 < refusal.value.retry_after_s <= 60
    assert access.admit(known, other, "infer").name == "gate"
    now += 60
    assert access.admit(known, client, "infer").name == "gate"


def test_a_program_with_an_old_key_shuts_nobody_out_who_shares_its_address() -> None:
    access = Access(KEYED)
    for _ in range(100):
        wrong(access, 1, "203.0.113.9")
    assert access.admit({"x-api-key": "gate-secret"}, "203.0.113.9", "infer").name == "gate"


def test_a_session_goes_on_while_somebody_at_its_address_guesses() -> None:
    access = Access(KEYED)
    cookie = f"{access.sessions.cookie}={access.sessions.begin(KEYED.keys[0])}"
    for number in range(20):
        wrong(access, number, "203.0.113.9")
    assert access.admit({"cookie": cookie}, "203.0.113.9", "infer").name == "gate"


def test_what_is_remembered_of_guesses_is_bounded() -> None:
    access = Access(KEYED)
    for number in range(5000):
        wrong(access, number, f"198.51.{number // 256}.{number % 256}")
    for number in range(20):
        wrong(access, number, "203.0.113.9")
    with pytest.raises(Overloaded):
        access.admit({"x-api-key": "gate-secret"}, "203.0.113.9", "infer")
    assert len(access._guesses._by_address) <= 4096


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


def test_each_contract_answers_its_callers_that_a_key_is_needed(client: httpx.Client) -> None:
    picture = encoded(page(("Key", 10, 40), size=(128, 64)))
    multipart = client.post("/ocr", files={"image": picture})
    json = client.post("/ocr", json={"file": "aaaa", "logId": "mine"})
    assert multipart.status_code == json.status_code == 401
    assert multipart.headers["www-authenticate"] == json.headers["www-authenticate"] == "Bearer"
    assert "API key" in multipart.json()["error"]
    assert json.json()["errorCode"] == 401


def test_a_key_that_calls_too_often_is_answered_when_to_come_back(client: httpx.Client) -> None:
    picture = encoded(page(("Key", 10, 40), size=(128, 64)))
    key_header = {"Authorization": "Bearer gate-secret"}
    replies = [client.post("/ocr", files={"image": picture}, headers=key_header) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert int(replies[2].headers["retry-after"]) >= 900
    assert replies[2].json()["retry"] is True
