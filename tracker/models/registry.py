"""The registry of models: names, configurations, and the origin and license of the weights."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracker.errors import UnknownModelError

_BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything_2"
_SIZES = (
    ("tiny", "tiny", "t"),
    ("small", "small", "s"),
    ("base-plus", "base_plus", "b+"),
    ("large", "large", "l"),
)


@dataclass(frozen=True, slots=True)
class WeightsLicense:
    """The license of a model's weights.

    Attributes:
        spdx: Its SPDX identifier.
        allows: What it allows, in a few words.
    """

    spdx: str
    allows: str

    def __str__(self) -> str:
        return f"{self.spdx}, {self.allows}"


_PICO_LICENSE = WeightsLicense(
    "LicenseRef-trackd-pico-weights",
    "for research and evaluation only, not for products or services (LICENSE-weights.md)",
)
_OFFICIAL_LICENSE = WeightsLicense(
    "Apache-2.0", "for any use, with the license and its notices kept"
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of the registry.

    Attributes:
        name: What a user types.
        family: "pico", or the official release "sam2.1" or "sam2".
        config: The packaged JSON of pico, or a path inside the sam2 package's `configs`.
        filename: File name of the weights.
        license: Of the weights, which need not be that of the code.
        url: Where the weights are published; None where they lie in this package.
        sha256: Hex digest of the published file, None where it is not known.
        loader: `package.module:function` that loads a model of another family than SAM 2's, see
            `tracker.models.load.Loader`.
    """

    name: str
    family: str
    config: str
    filename: str
    license: WeightsLicense
    url: str | None
    sha256: str | None = None
    loader: str | None = None

    @property
    def embedded(self) -> bool:
        """True if the weights come with the package."""
        return self.url is None


def _official(family: str, release: str) -> tuple[ModelSpec, ...]:
    return tuple(
        ModelSpec(
            name=f"{family}-{size}",
            family=family,
            config=f"{family}/{family}_hiera_{letter}.yaml",
            filename=f"{family}_hiera_{file_size}.pt",
            license=_OFFICIAL_LICENSE,
            url=f"{_BASE_URL}/{release}/{family}_hiera_{file_size}.pt",
        )
        for size, file_size, letter in _SIZES
    )


_SPECS = (
    ModelSpec("pico", "pico", "pico.json", "pico.safetensors", _PICO_LICENSE, None),
    *_official("sam2.1", "092824"),
    *_official("sam2", "072824"),
)
REGISTRY: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})


def find_spec(name: str) -> ModelSpec:
    """Return the entry of `name`.

    Raises:
        UnknownModelError: No such model; the message names the closest and all the others.
    """
    spec = REGISTRY.get(name)
    if spec is not None:
        return spec
    close = difflib.get_close_matches(name, REGISTRY, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    raise UnknownModelError(f"unknown model {name!r}", f"{guess}known: {', '.join(REGISTRY)}")
