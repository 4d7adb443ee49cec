"""The registry of models: names, configurations, and the origin and license of the weights."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracker.errors import UnknownModelError

_HUGGING_FACE = "https://huggingface.co"
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
_APACHE = WeightsLicense("Apache-2.0", "for any use, with the license and its notices kept")
_SAM_LICENSE = WeightsLicense(
    "LicenseRef-SAM-License",
    "Meta's SAM License: read what it forbids before you accept it where the weights are",
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of the registry.

    Attributes:
        name: What a user types.
        family: "pico", a release such as "sam2.1", or another family's name.
        config: Architecture in the family's own terms: pico's packaged JSON, a path inside the sam2
            package's `configs`, a size of EfficientTAM.
        filename: File name of the weights.
        license: Of the weights, which need not be that of the code.
        url: Where the weights are published; None where they lie in this package, or are gated.
        sha256: Hex digest of the published file, None where it is not known.
        loader: `package.module:object` of its family, see `tracker.models.family.Family`.
        gated: Page on which a user accepts the license and fetches the weights; None where trackd
            may fetch them.
    """

    name: str
    family: str
    config: str
    filename: str
    license: WeightsLicense
    url: str | None
    sha256: str | None = None
    loader: str = "tracker.models.sam2.family:FAMILY"
    gated: str | None = None

    @property
    def embedded(self) -> bool:
        """True if the weights come with the package."""
        return self.url is None and self.gated is None


def _official(family: str, release: str) -> tuple[ModelSpec, ...]:
    return tuple(
        ModelSpec(
            name=f"{family}-{size}",
            family=family,
            config=f"{family}/{family}_hiera_{letter}.yaml",
            filename=f"{family}_hiera_{file_size}.pt",
            license=_APACHE,
            url=f"{_BASE_URL}/{release}/{family}_hiera_{file_size}.pt",
        )
        for size, file_size, letter in _SIZES
    )


_PICO = ModelSpec(
    name="pico",
    family="pico",
    config="pico.json",
    filename="pico.safetensors",
    license=_PICO_LICENSE,
    url=None,
    loader="tracker.models.pico.family:FAMILY",
)
_EDGETAM = ModelSpec(
    name="edgetam",
    family="edgetam",
    config="",
    filename="edgetam.safetensors",
    license=_APACHE,
    url=f"{_HUGGING_FACE}/yonigozlan/EdgeTAM-hf/resolve/main/model.safetensors",
    loader="tracker.models.edgetam.family:FAMILY",
)
_SAM3_TRACKER = ModelSpec(
    name="sam3-tracker",
    family="sam3-tracker",
    config="",
    filename="sam3.safetensors",
    license=_SAM_LICENSE,
    url=None,
    loader="tracker.models.sam3_tracker.family:FAMILY",
    gated=f"{_HUGGING_FACE}/facebook/sam3",
)


def _efficienttam(size: str, suffix: str, file_suffix: str) -> ModelSpec:
    filename = f"efficienttam_{size}{file_suffix}.pt"
    return ModelSpec(
        name=f"efficienttam-{size}{suffix}",
        family="efficienttam",
        config=f"{size}{suffix}",
        filename=filename,
        license=_APACHE,
        url=f"{_HUGGING_FACE}/yunyangx/efficient-track-anything/resolve/main/{filename}",
        loader="tracker.models.efficienttam.family:FAMILY",
    )


_SPECS = (
    _PICO,
    *_official("sam2.1", "092824"),
    *_official("sam2", "072824"),
    _EDGETAM,
    *(_efficienttam(size, *at) for at in (("", ""), ("-512", "_512x512")) for size in ("ti", "s")),
    _SAM3_TRACKER,
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
