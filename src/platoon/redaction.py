"""What may be shown of a text that came from outside: not too much of it, no credentials, no control characters.

Nobody can list every way to write a password into an address. So of an address only what is known to be harmless is
kept: scheme, host, port, the plain words of its path, and which channel of a recorder is meant. All of it is linear in
the text, which is cut before it is looked at.
"""

import ipaddress
import re

MOST = 8_192
"""Characters of a message, or of a field of a log line."""
HIDDEN = "***"
_MARK = 48
"""Characters that are kept free for the mark of a cut."""
_FAR = 256
"""Characters in which a password with blanks ends at the latest."""
_MOST_SEGMENTS = 16

_SUSPICIOUS = re.compile(
    r"""(?i)[@=]|:\\{0,4}/|//|%(?:25){0,4}(?:3a|40)|["';]\s{0,2}[:,]|(?:key|pass\w{0,8}|pwd|psw|pin|secret|token|jwt)"""
    r"[\s:>]|--|-u|auth|cookie|bearer|basic|digest"
)
_WORD = re.compile(r"\S+")
_URL = re.compile(
    r"(?i)(?P<scheme>[a-z][a-z0-9+.-]{1,31}):(?P<slashes>(?:\\{0,4}/)+)"
    r"|(?P<coded>[a-z][a-z0-9+.-]{1,31})%(?:25){0,4}3a(?:\\{0,4}/|%(?:25){0,4}2f)"
    r"|(?<![\w./\\-])(?P<relative>//)"
)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}(?:%[\w.]{1,32})?\]|\w[\w.-]{0,252})?(?::\d{1,5})?(?=[/?#\\]|$)", re.ASCII)
_AUTHORITY_END = re.compile(r"[/?#\\]|$")
_PLAIN_SEGMENT = re.compile(r"[\w.,~+-]{0,64}|\*\*\*")
_RANDOM = re.compile(
    r"(?=[A-Za-z]{0,64}\d)(?=\d{0,64}[A-Za-z])[A-Za-z0-9]{16}|(?=(?:[a-z]{0,8}[A-Z]{1,8}){4})[A-Za-z]{16}"
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}|(?=[^a-z]{0,64}[a-z])(?=[^A-Z]{0,64}[A-Z])(?=\D{0,64}\d)[\w-]{24}",
    re.ASCII,
)
"""Keys that some servers put into the path."""
_NAMES_USER = re.compile(r"(?i)(?:admin|administrator|root|operator|viewer|guest|supervisor|service|psk|pin)\d{0,3}")
"""Some cameras have the password behind it in the path."""
_CHANNEL = re.compile(r"(?i)(?<![a-z0-9])(channel|camera|ch|stream|subtype|profile)=(\d{1,3})(?![a-z0-9@%])")
"""Says which camera of one recorder is meant."""
_AT_ADDRESS = re.compile(r"(?i)(?:@|%(?:25){0,4}40)(?=[\w.\[-])")
_LOGIN_WITH_BLANKS = re.compile(
    r"(?<![^\s'\"(=|])[^\s:/@'\"(=|]{1,64}:[^\s@*/\\][^\n@]{0,64}@(?=\d{1,3}(?:\.\d{1,3}){3}(?!\d))"
)
_COLON = re.compile(r"(?i):|%(?:25){0,4}3a")

_SECRET_NAME = (
    r"(?:pass(?!e[sd]|ing)|pwd|psw|pw(?![a-z])|loginpas|token(?!s)|secret|auth(?!or(?!i[sz]))|key(?![a-z])|session(?!s)"
    r"|sess(?![a-z])|sid(?![a-z])|cred|sig(?![a-z])|signature|cookie|login|usr(?![a-z])|user(?:name|id)?(?![a-z])|jwt)"
)
_QUOTE = r"""(?:\\{0,4}["']|&quot;|&#0{0,3}3[49];)"""
_PAIR = re.compile(
    rf"(?i)((?:{_SECRET_NAME}|bearer|basic|digest)[\w.-]{{0,32}}"
    rf"(?:{_QUOTE}?\s{{0,2}}(?:=>?|%(?:25){{0,4}}3d)|{_QUOTE}\s{{0,2}}[:,])\s{{0,2}})"
    r"""(?:(?:bearer|basic|digest)\s{1,2})?(?:b?"[^"\n]*(?:"\S*)?|b?'[^'\n]*(?:'\S*)?|\S+)"""
)
_ELEMENT = re.compile(rf"(?i)(<(?:[\w.-]{{1,32}}:)?[\w.-]{{0,16}}{_SECRET_NAME}[\w.-]{{0,32}})(?:>|\s)[^<]+")
_OPTION = re.compile(
    rf"(?i)(?<![\w-])(--(?:[a-z]{{1,16}}-){{0,3}}{_SECRET_NAME}[\w-]{{0,32}}\s{{1,2}}|-u\s{{1,2}})[^\s*-]\S*"
)
_NAMES_SECRET = re.compile(rf"(?i)(?<![a-z]){_SECRET_NAME}(?P<value>[,~+_-]\w)?")
_HEADER = re.compile(r"(?i)((?:authorization|api-?key|cookie)\s{0,2}:\s{0,2})[^\n]+")
_SAID = re.compile(
    r"(?i)(?<![a-z])((?:pass(?:word|wd|phrase|code)?|pwd|psw|pin|secret|jwt|(?:\w{1,16}[-_]){0,3}token"
    r"|(?:\w{1,16}[-_]){0,3}(?:access|account|api|auth|private|secret|shared|signing)[-_ ]?key)\s{0,2}:\s{0,2}"
    r"|(?<![a-z])(?:pass(?:word|wd|phrase|code)|pwd|psw)\s{1,2}(?=\S{0,64}\d))[^\s:*]\S*"
)
_SCHEME_AND_KEY = re.compile(
    r"(?i)(?<![a-z])(bearer|basic|digest)(\s{1,2})(?=[^\s\d=]{0,128}[\d=])[A-Za-z0-9+/_.~=-]{8,}"
)

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def redact(text: object, most: int = MOST) -> str:
    """Text without credentials, of at most `most` characters, that can be written as UTF-8.

    Of every URL in it only what is harmless is left; values of what is called like a secret (`password=`, `token=`,
    `"authorization":`) are masked too. What is cut off is counted at the end. Lone surrogates, which JSON and names of
    files may hold, are written as escapes. Redacting twice changes nothing.
    """
    whole = str(text)
    is_cut = len(whole) > most
    room = most - _MARK if is_cut else most
    shown = whole[:room].encode("utf-8", "backslashreplace").decode()[:most]
    if _SUSPICIOUS.search(shown):
        shown = "".join(_without_credentials(shown, is_cut))
        shown = _LOGIN_WITH_BLANKS.sub(f"{HIDDEN}@", shown)
        for pattern in (_PAIR, _HEADER, _SAID, _ELEMENT, _OPTION):
            shown = pattern.sub(rf"\g<1>{HIDDEN}", shown)
        shown = _SCHEME_AND_KEY.sub(rf"\g<1>\g<2>{HIDDEN}", shown)
    return f"{shown[:room]}… [{len(whole) - room} more characters]" if is_cut else shown[:most]


def visible(text: str, *, keep: str = "") -> str:
    """Text whose control characters, and those that turn the direction of writing, are written as escapes.

    Args:
        keep: those that stay.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    """As Python writes it and, from U+007F on, as JSON does too."""
    return character.encode("unicode_escape").decode() if character < " " else f"\\u{ord(character):04x}"


def _without_credentials(text: str, is_cut: bool) -> list[str]:
    """The parts of a text, URLs masked. Each word is looked at once."""
    parts = []
    at = 0
    while (word := _WORD.search(text, at)) is not None:
        parts.append(text[at : word.start()])
        start, at = word.span()
        url = _URL.search(text, start, at)
        if url is None or (url["relative"] and "@" not in word[0]):
            parts.append(_without_login(word[0]))
            continue
        parts.append(_without_login(text[start : url.start()]))
        if url["coded"]:
            parts.append(f"{url['coded']}://{HIDDEN}")
            continue
        at = _end(text, url.end(), at)
        rest = text[url.end() : at]
        if is_cut and at == len(text):  # what would say whether it holds a password may be missing
            parts.append(url[0] + HIDDEN)
            continue
        address = rest if "[" in rest else rest.rstrip("]")
        address = address.rstrip(".,;:!?)}>'\"`")
        parts += [url[0], _address(address), rest[len(address) :]]
    parts.append(text[at:])
    return parts


def _end(text: str, start: int, end: int) -> int:
    """Where an address ends that begins at `start`: with its word, or, as passwords may hold blanks, later."""
    authority = text[start : _AUTHORITY_END.search(text, start, end).start()]  # type: ignore[union-attr]
    if text[end - 1] == "=" and (value := _WORD.match(text, end + 1)) is not None:
        return value.end()
    ends_in_login = text[end - 1] == "@"
    if ":" not in authority or ("@" in text[start:end] and not ends_in_login) or _HOST.match(text, start, end):
        return end
    line_end = text.find("\n", end)
    until = min(len(text) if line_end < 0 else line_end, end + _FAR)
    later = text.find("@", end, until)
    if later < 0 or "://" in text[end:later]:
        return end
    word = _WORD.match(text, later)
    return word.end() if word is not None else end


def _without_login(word: str) -> str:
    """`user:password@10.0.0.1` and `user:password@camera` are addresses also where they say no scheme."""
    last = None
    for found in _AT_ADDRESS.finditer(word):
        last = found
    if last is None or not _COLON.search(word, 0, last.start()):
        return word
    return f"{HIDDEN}@{word[last.end() :]}"


def _address(address: str) -> str:
    """What is shown of an address behind its scheme."""
    end = _AUTHORITY_END.search(address).start()  # type: ignore[union-attr]
    authority, at = address[:end], address.rfind("@")
    login, _, host = authority.rpartition("@")
    if at > end and not _is_ip(host):
        # An unescaped / ? or # in a password, or an @ in what follows the host: who can tell?
        if "=" in address[end:at]:
            return HIDDEN
        login, address = address[:at], address[at + 1 :]
    else:
        address = address[end - len(host) :]
    place = _HOST.match(address)
    if place is None:
        return HIDDEN
    shown = f"{HIDDEN}@" if login else ""
    return f"{shown}{place[0]}{_path_and_query(address[place.end() :])}"


def _is_ip(host: str) -> bool:
    bare = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    return True


def _path_and_query(rest: str) -> str:
    path = re.split(r"[?#]", rest, maxsplit=1)[0]
    query = rest[len(path) + 1 :]
    segments = re.sub(r"[\\/]+", "/", path).split("/")
    shown = []
    for segment in segments[:_MOST_SEGMENTS]:
        secret = _NAMES_SECRET.search(segment)
        if not _PLAIN_SEGMENT.fullmatch(segment) or _RANDOM.search(segment) or (secret and secret["value"]):
            shown.append(HIDDEN)
        else:
            shown.append(segment)
            if len(shown) < len(segments) and (secret or _NAMES_USER.fullmatch(segment)):
                shown.append(HIDDEN)
                break
    else:
        if len(segments) > _MOST_SEGMENTS:
            shown.append(HIDDEN)
    channels = [f"{name}={number}" for name, number in _CHANNEL.findall(rest)]
    if _CHANNEL.sub("", query).strip("?&;#"):
        channels.append(HIDDEN)
    return "/".join(shown) + (f"?{'&'.join(channels)}" if channels else "")
