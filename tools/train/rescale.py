"""Make the image's features smaller or larger, and undo it wherever memory is attended to or made.

`python -m tools.train.rescale IN.safetensors FACTOR --out OUT.safetensors`

SAM 2's decoder compares features with positions and prompts, which have a scale of one. Features
that have gone through memory attention end in a norm and have it too; those of a frame without
memories come as the neck makes them. Where they have grown in training, no prompt is heard on an
object's first frame. Tracked frames are as they were, but for the position that is added to the
features before memory attention; what is decoded without memories is not, and wants training.
"""

import argparse
import sys
from collections.abc import Mapping
from collections.abc import Sequence as Arguments
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from tracker.errors import OutputError, TrackdError
from tracker.models.state_dict import read_state

_MADE = ("image_encoder.neck.convs.0.conv.", "image_encoder.neck.convs.1.conv.")
_ADDED = ("self_attn.out_proj.", "cross_attn_image.out_proj.", "linear2.")  # to the features
_READ = "memory_encoder.pix_feat_proj.weight"


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.rescale", description=__doc__)
    parser.add_argument("weights", type=Path, metavar="IN.safetensors")
    parser.add_argument("factor", type=float)
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.safetensors")
    options = parser.parse_args(argv)
    try:
        state = rescaled(read_state(options.weights), options.factor)
        save_file(state, options.out)
    except TrackdError as err:
        print(f"rescale: {err}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        failure = OutputError(f"cannot write {options.out}: {err.strerror}", "use another place")
        print(f"rescale: {failure}", file=sys.stderr)
        return failure.exit_code
    return 0


def rescaled(state: Mapping[str, Tensor], factor: float) -> dict[str, Tensor]:
    """The weights of a SAM 2 whose features at stride 16 are `factor` times what they were."""
    return {name: tensor * _factor(name, factor) for name, tensor in state.items()}


def _factor(name: str, factor: float) -> float:
    if name == _READ:
        return 1 / factor
    adds = name.startswith("memory_attention.layers.") and any(part in name for part in _ADDED)
    return factor if adds or name.startswith(_MADE) else 1


if __name__ == "__main__":
    raise SystemExit(main())
