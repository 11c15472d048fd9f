import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from platoon.redaction import MOST, redact, visible

SECRET = "S3cret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/ch1", "rtsp://***@10.0.0.5:554/ch1"),
        ("rtsp://admin:p@ss@w0rd@cam/1", "rtsp://***@cam/1"),
        ("cannot open rtsp://u:p@a/1 and http://v:q@b/2", "cannot open rtsp://***@a/1 and http://***@b/2"),
        ("http://cam/video?user=admin&password=secret&x=1", "http://cam/video?***"),
        ("rtsp://u:p/w#d?@cam/1", "rtsp://***@cam/1"),
        ("rtsp://admin:12345/6@cam:554/1", "rtsp://***@cam:554/1"),
        ("rtsp://h:554/user=a_password=x_channel=1_stream=0.sdp", "rtsp://h:554/***?channel=1&stream=0"),
        ("rtsp://h/cam/realmonitor?channel=2&subtype=0", "rtsp://h/cam/realmonitor?channel=2&subtype=0"),
        ("(rtsp://u:p@[fe80::1]:554/Streaming/Channels/101)", "(rtsp://***@[fe80::1]:554/Streaming/Channels/101)"),
        ("/site/rtsp:/u:p@cam/1", "/site/rtsp:/***@cam/1"),
        ("'https://example.com/manual.pdf', page 3", "'https://example.com/manual.pdf', page 3"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("rtsps://cam:7441/vcsDfgHJkLmnbVcX", "rtsps://cam:7441/***"),
        ("http://cam/6f9a1c2e-7dec-11d0-a765-00a0c91e6bf6/1", "http://cam/***/1"),
    ],
)
def test_of_an_address_what_says_which_is_meant_stays(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain text, no url",
        "file a: b@c of 12:30, mail joe@example.com; pass 2 of 3, the token of page 4, -used --author Smith",
        r"C:\cameras\gate.mp4 and \\server\share",
        "/api/cameras/gate/preview: 200 in 12 ms, 3/4, a=b, keyframes=25, 7 tokens=9",
        "the password is wrong; author=Smith",
        "WWW-Authenticate: Bearer",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


FORMS = (
    "rtsp://admin:{}@10.0.0.1:554/x",
    "rtsp://{}@10.0.0.1/x",
    "RTSP://ADMIN:{}@10.0.0.1/x",
    "rtsp:/admin:{}@10.0.0.1/x",
    "/site/rtsp:/admin:{}@cam/x",
    r"rtsp:\/\/admin:{}@cam\/x",
    "rtsp://admin:12345/{}@cam/x",
    "rtsp://admin:a#{}@cam/x",
    "rtsp://admin:a?{}@cam/x",
    "rtsp://admin:a@b/{}@cam/x",
    "rtsp://admin:a|{}@cam/x",
    "rtsp://admin:a {}@cam/x",
    "rtsp://admin:{}",
    "rtsp://admin%3A{}%40cam/x",
    "rtsp%3A%2F%2Fadmin%3A{}%40cam%2Fx",
    "rtsp%253A%252F%252Fadmin%253A{}%2540cam",
    "rtsp://admin:{}@[2001:db8::1]:554/x",
    "admin:{}@10.0.0.1/x",
    "//admin:{}@cam/x",
    "admin:{}@cam.local:554",
    "rtsp:admin:{}@cam/x",
    "rtsp:\\\\admin:{}@cam\\x",
    "redis://:{}@redis:6379/0",
    "rtsp://10.0.0.1:554/user=admin_password={}_channel=1_stream=0.sdp",
    "rtsp://10.0.0.1/user=admin&password=a@{}&channel=1",
    "rtsp://cam/user=admin&password=a@{}&channel=1",
    "rtsp://10.0.0.1/live?loginuse=admin&loginpas={}",
    "rtsp://10.0.0.1/live?authbasic={}&channel=1",
    "http://10.0.0.1/live?psw={}",
    "http://10.0.0.1/live?passphrase={}",
    "http://10.0.0.1/live?access_token={}",
    "http://10.0.0.1/live?api-key={}",
    "http://10.0.0.1/live?session={}",
    "http://10.0.0.1/live?whatever={}#more",
    "http://10.0.0.1/live#{}=1",
    "http://10.0.0.1/live;jsessionid={}/x",
    "http://10.0.0.1/password/{}/x",
    "https://hooks.example.com/services/T1/{}aB3dE5gH7jK9mN1pQ",
    "/live?password={}&x=1",
    "token='{} and more'",
    '{{"password": "{}", "x": 1}}',
    r"{{\"api_key\": \"{}\"}}",
    "Authorization: Basic {}",
    "authorization=Bearer {}",
    "Bearer {}0123456",
    "x-api-key: {}",
    "password: {}",
    "pwd:{}",
    "rtsp://admin:@ {}@cam/x",
    "rtsp://10.0.0.1/live?password= {}&x=1",
    "admin:{}@cam",
    "admin:{}@fe80::1",
    "admin:a b{}@192.168.1.10:554",
    "admin:{} b@192.168.1.10:554",
    "admin%3A{}%40cam",
    "admin%3a{}@10.0.0.1/x",
    "rtsp:&#47;&#47;admin:{}@cam&#47;1",
    "rtsp：//admin:{}@cam/1",
    "ffmpeg:{}@cam/1#video=copy",
    "http://gateway/rtsp%3A%2F%2Fadmin%3A{}%40cam%2F1",
    "rtsp://10.0.0.1/admin/{}/ch1",
    "rtsp://10.0.0.1/live/root/{}",
    "rtsp://10.0.0.1/0/admin:{}/main",
    "http://10.0.0.1/pw-{}/ch1",
    "http://10.0.0.1/psk/{}",
    "curl --digest -u admin:{} cam",
    "--http-password {} --verbose",
    "<password>{}</password>",
    '<wsse:Password Type="http://docs.example.org/wss#PasswordDigest">{}</wsse:Password>',
    "X-Auth-Token: {}",
    "aws_secret_access_key: {}",
    "private key: {}",
    "token: {}",
    "passcode: {}",
    "bearer={}",
    "password => {}",
    "login admin, password {}",
    "[b'x-api-key', b'{}']",
    "('password', '{}')",
    "&quot;password&quot;:&quot;{}&quot;",
    "éBearer {}0123456",
)
AROUND = ("{}", "cannot open {}: no route", "'{}'", '"{}",', "({})", "{}.", "a@b {} c@d", "x={}", "{0} {0}", "n:{}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", AROUND)
def test_no_form_of_a_credential_is_shown(form: str, around: str) -> None:
    shown = redact(around.format(form.format(SECRET)))
    assert SECRET not in shown
    assert redact(shown) == shown


@given(
    st.text(st.characters(codec="ascii", exclude_characters=" ", exclude_categories=["Cc"]), max_size=12),
    st.text(st.characters(codec="ascii", exclude_characters=" ", exclude_categories=["Cc"]), max_size=12),
    st.sampled_from(["cam", "10.0.0.1", "cam.example:554", "[2001:db8::1]:554"]),
    st.sampled_from(["", "/", "/Streaming/Channels/101", "/x?channel=1"]),
    st.sampled_from(AROUND),
)
@example("a@", "=", "cam", "/x?channel=1", "{}")
@trying(max_examples=300, deadline=None)
def test_whatever_stands_around_it_in_a_password_it_is_not_shown(
    before: str, after: str, host: str, path: str, around: str
) -> None:
    shown = redact(around.format(f"rtsp://admin:{before}{SECRET}{after}@{host}{path}"))
    assert SECRET not in shown
    assert redact(shown) == shown


@given(st.text(st.sampled_from("a1/:@?#=&%'\" \\.[]-*\n") | st.characters(), max_size=200), st.integers(60, 300))
@trying(max_examples=300, deadline=None)
def test_any_text_can_be_written_within_its_bound_and_twice(text: str, most: int) -> None:
    shown = redact(text, most)
    shown.encode()
    assert len(shown) <= most


@pytest.mark.parametrize("kept", range(MOST - 200, MOST, 7))
def test_an_address_that_is_cut_shows_nothing_of_what_was_cut_off(kept: int) -> None:
    shown = redact(f"{'.' * kept} rtsp://admin:{SECRET}{SECRET}@cam/1 and more")
    assert "S3c" not in shown
    assert len(shown) <= MOST


def test_what_is_left_out_is_counted() -> None:
    assert redact("x" * 1000, 100) == f"{'x' * 52}… [948 more characters]"


FAMILIES = (
    "/://a:", "://", "rtsp://a:b ", "rtsp://a:b@", "//a@b", "@1.1.1.1", "a:b@1.1.1.1", "a@", "a=", "password", "auth:",
    '"password":', "\\/", ":\\\\", "rtsp:\\", "key ", "key=", "basic a", "%25", "%3a", "[::", "channel=1", "/a1",
    "-----", "--a-", "--pass ", "-u ", "<a:", "<pass ", "<pass>", "access_", "access_token:", "a-b-", "aB", "/aBc1-",
    "&quot;", "b'", "password 1", "%40", "a:b@", "/admin", "/pw-", "password ", "\u202e", "\ud800", "\n", " ", "x",
)  # fmt: skip


def cost(work: Callable[[str], object], text: str) -> float:
    """Seconds of processor time of this thread, the least of a few tries."""
    seconds = []
    for _ in range(3):
        started = time.thread_time()
        work(text)
        seconds.append(time.thread_time() - started)
    return min(seconds)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_looked_at_costs_in_proportion_to_its_length(family: str) -> None:
    def work(text: str) -> None:
        visible(redact(text, len(text)))

    short, long = (family * (length // len(family)) for length in (16_000, 64_000))
    work(short)
    assert cost(work, long) < 9 * cost(work, short) + 0.002


def test_more_than_the_bound_costs_no_more() -> None:
    text = "/://a:" * 10_000
    assert cost(redact, text * 16) < 4 * cost(redact, text) + 0.002


def test_control_characters_are_written_as_escapes() -> None:
    assert visible("a\x1b[31m\r\n\0\x9b\u202e\u2066é") == r"a\x1b[31m\r\n\x00\u009b\u202e\u2066é"
