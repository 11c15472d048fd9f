"""The fonts that plates are drawn with: free families that resemble plate lettering, fetched once into a cache.

Each family comes from its `@fontsource` package (SIL Open Font License), pinned to a version and checked against a
digest, fetched by `npm pack` from whichever registry npm is set up with. Fonts are only drawn with here: no font and
no part of one is kept in the repository or in the weights.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

DEFAULT_CACHE = Path("~/.cache/platoon/fonts").expanduser()


@dataclass(frozen=True)
class Family:
    """A font family, in those of its weights that we draw with."""

    name: str
    version: str
    weights: tuple[int, ...]
    sha256: str
    """Of the package's archive."""

    def file_names(self) -> list[str]:
        """The names of its files in the cache, one per weight."""
        return [f"{self.name}-latin-{weight}-normal.woff" for weight in self.weights]


class FontsMissing(RuntimeError):
    """The fonts are not in the cache or cannot be fetched."""


# fmt: off
FAMILIES = (
    Family("antonio", "5.3.0", (500, 700), "a4bcfad9e90770faf0d4d2680361504033bb659e257375224449af9f8d5a0c6d"),
    Family("archivo-narrow", "5.3.0", (600, 700), "7adbb6ba7514b065ae523907c88b1ab37dc69c002bf3602ab3c8b31d66be8c33"),
    Family("arimo", "5.3.0", (600, 700), "df44945077a74905969f15bba3b442f9fb6773818b2b59c970911deace01132f"),
    Family("b612", "5.3.0", (700,), "811c236470ccc542ce902fd1f03e93fdbe062e74f4a857d1e40d905ff16117f0"),
    Family("barlow", "5.3.0", (500, 600), "8ad808291f807367d10eadf915791608bd04cc393882e7e86e290daeeadd843c"),
    Family("barlow-condensed", "5.3.0", (500, 600), "759fcdd25df64b4ef41653808d849cdb9ba0a520999032ceb137ce035a17e2ea"),
    Family("barlow-semi-condensed", "5.3.0", (500, 600),
           "94991ed2fc3fe0e11d8af5129932bdd94d29b6a7355859ebfba9a19d6610cc77"),
    Family("bebas-neue", "5.3.0", (400,), "57928e0ee30b9e8a99033cdd5dc74ad06761007b4ad8fc32173e5d9072ba91fa"),
    Family("big-shoulders-display", "5.3.0", (700,),
           "2b1193236ad6a1e801780541347a6d1b46bd11e866098edf492a87fdccc8849c"),
    Family("chakra-petch", "5.3.0", (600,), "6a98a7d53cc1daedd1ff69490e96efd5c832c0889fc2353b178dcc56004503c8"),
    Family("dosis", "5.3.0", (600, 700), "201712f93c17a736f242bdf53fb27df2dc84f83752b6cab5be6ffdb71edba6e9"),
    Family("fira-sans-extra-condensed", "5.3.0", (500, 600),
           "27dc434aa6d44554335304b3b6181164cd50eceb28105425a8f41b0dbbed42da"),
    Family("fjalla-one", "5.3.0", (400,), "b550bf929a4e2479cdc1aea606748b301d4b67c07cd62ff5c77b7d6086c8ec7d"),
    Family("francois-one", "5.3.0", (400,), "90ec252a89b2c420eea8314be57de4db93f0da7f51aaa3a764e477bc0c3db95c"),
    Family("k2d", "5.2.8", (600,), "78b22c0133ee3fa1d2776747a39d488a739c5efa3b1230d2e02ab8a49875d4fd"),
    Family("kanit", "5.3.0", (500,), "12c3e3753d6539a9380ae11252f49a34e7defe5cb07b6e0ec3af18b13268eeb4"),
    Family("kaushan-script", "5.3.0", (400,), "1d665df77f4bcd3fbf106c9adc1405fc1d0ec492270d5c23b597f00da2f6515d"),
    Family("league-gothic", "5.3.0", (400,), "40c34bf02e0c3f88cccdca1851b889fd3780653eb01066ddcdeb9474903e2aa6"),
    Family("lobster", "5.3.0", (400,), "4ac6f6ab805b684026cb719f55dd605c892ca5d1db3f32fca88ca554a63b86d7"),
    Family("nunito", "5.3.0", (700,), "4d8e1fb4f4a40c125c7a302b21e5c6810b86569b60bac0fa0405c04380f4c77b"),
    Family("oswald", "5.3.0", (400, 500), "27bf46420288bb65bd186638cde54686aa8f9d5dc975b1d597dfe81a7dd472cb"),
    Family("overpass", "5.3.0", (600, 700), "1199885e2bc5353f2927cd457dc6d404c75c57356251f217ecd58c621abd234d"),
    Family("overpass-mono", "5.3.0", (600, 700), "3c72c65cd98f32ac25f5140edecce8241f096b0f3d0e28387958982befd0ba79"),
    Family("pathway-gothic-one", "5.3.0", (400,), "69b9152c0d69088c936f154ff32fe76d919a500d961c0ca061158da65caf51e4"),
    Family("pragati-narrow", "5.3.0", (700,), "efd3004a7449baf2d88dc2e72ba0aff481553268df7c2fadf5f850576efc5ed9"),
    Family("pt-sans-narrow", "5.3.0", (700,), "d22479707c849f8dfca08967bbdd2fecfdbae304ee5cc2171933a21ae81989f9"),
    Family("rajdhani", "5.3.0", (600, 700), "67d0bab8711edbefcb4a3f96f3ed7cd911c92063ab44b3b58317bed531f62154"),
    Family("roboto-condensed", "5.3.0", (500, 600), "03b2f8c75e4a4af7ae6180d0f3e9171a6dcbbcd5b1a02c48f5bcbd043a7a9868"),
    Family("roboto-mono", "5.3.0", (500, 600), "9825f59e72dab7ef3f96e6af79407d97844ba50927ae57f2c9c60199daa9ef62"),
    Family("roboto-slab", "5.3.0", (700,), "45d42c2f30be7fa361c673a297cb75e151e977a57905e449d25875adf97e77f5"),
    Family("saira-condensed", "5.3.0", (500, 600), "0c7d9f849443ea181a61f20c5c32e95a428afbd94a811969245c8aa9a8695de6"),
    Family("saira-semi-condensed", "5.3.0", (500,), "3aeeec9f10a2cd9160f6d03f46f0f4329233fb2a2795d1cd7dc2f9f24246408a"),
    Family("share-tech-mono", "5.3.0", (400,), "126fd40c9a7a53bfb224d24b8fd382412d48d9be1daefbe7726af0972a08980a"),
    Family("sofia-sans-condensed", "5.3.0", (500, 700),
           "f0e8618f6b051a05812d8108c71781d5591bb0cdb92b5e765a12aafb19608175"),
    Family("sofia-sans-extra-condensed", "5.3.0", (600, 700),
           "1aaf733c76bd8ab28faabf526024aff10575b41108b0d7ca6a9c53d03143c91b"),
    Family("staatliches", "5.3.0", (400,), "1a273984b07ca23c65d7fd5af449c1c8d3d7361e0fc822052b7d927f6207d4f4"),
    Family("teko", "5.3.0", (500,), "ed90afc402c7939762eaf2a10cda3418187faecfef021f59fc8ea3eee94bc7ea"),
    Family("varela-round", "5.3.0", (400,), "02c3c32618eadd4063eb3c5579895491573d775bc9c6508bb336ab739b1cd637"),
)
# fmt: on


def fetch(cache: Path = DEFAULT_CACHE) -> None:
    """Fetch all families that `cache` lacks. Needs npm and the network.

    Raises:
        FontsMissing: npm is missing or failed, or an archive is not the one that was pinned.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        if not all((cache / name).exists() for name in family.file_names()):
            _fetch_family(family, cache)


def font_files(cache: Path = DEFAULT_CACHE) -> dict[str, Path]:
    """All fonts by "family weight" ("barlow 500").

    Raises:
        FontsMissing: one of them is not in `cache`.
    """
    files = {}
    for family in FAMILIES:
        for weight, name in zip(family.weights, family.file_names(), strict=True):
            path = cache / name
            if not path.exists():
                raise FontsMissing(f"no font {name} in {cache}; fetch the fonts: python -m training.draw fonts")
            files[f"{family.name} {weight}"] = path
    return files


def _fetch_family(family: Family, cache: Path) -> None:
    package = f"@fontsource/{family.name}@{family.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, package]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            raise FontsMissing(f"cannot fetch {package}: {error}; npm and its registry are needed once") from error
        (archive,) = Path(folder).glob("*.tgz")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != family.sha256:
            raise FontsMissing(f"{package} is not the archive that was pinned: sha256 {digest}, not {family.sha256}")
        with tarfile.open(archive) as package_files:
            for name in family.file_names():
                member = package_files.extractfile(f"package/files/{name}")
                if member is None:
                    raise FontsMissing(f"{package} holds no {name}")
                (cache / name).write_bytes(member.read())
