"""Give a pico parts that it lacks: `python -m tools.train.grow IN.safetensors PACK --out OUT`.

Nothing changes before they are trained: what they add begins as zero. The rest of a top-down path
begins with random weights, so scaled that what each convolution gives has about the same spread on
pictures of the pack (after Mishkin and Matas, "All you need is a good init", 2016), since there are
no norms in it and what is beyond 0 and 6 is cut off.
"""

import argparse
import sys
from collections.abc import Sequence as Arguments
from itertools import islice
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from tools.train.calibrate import sample_pictures
from tools.train.packed import Pack
from tracker.errors import ModelError, OutputError, TrackdError, UsageError
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.pico.top_down import TopDown
from tracker.models.state_dict import read_state

PICTURES = 24
SEED = 0
# Deviation and mean of what convolutions give: before the mixing of a level, and in it.
_LINEAR, _MIXED = (1.0, 0.3), (1.5, 0.5)


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.grow", description=__doc__)
    parser.add_argument("weights", type=Path, metavar="IN.safetensors")
    parser.add_argument("pack", type=Path, help="folder that tools.train.pack wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.safetensors")
    parser.add_argument(
        "--top-down", type=int, nargs=2, metavar=("MIDDLE", "FINE"), help="its channels"
    )
    parser.add_argument("--fine-prompts", action="store_true")
    options = parser.parse_args(argv)
    parts: dict[str, object] = {"fine_prompts": True} if options.fine_prompts else {}
    if options.top_down is not None:
        parts["top_down"] = tuple(options.top_down)
    try:
        grow(options.weights, parts, Pack(options.pack), options.out)
    except TrackdError as err:
        print(f"grow: {err}", file=sys.stderr)
        return err.exit_code
    return 0


def grow(weights: Path, parts: dict[str, object], pack: Pack, out: Path) -> None:
    """Write the weights of a larger architecture, and its configuration beside them.

    Args:
        weights: With a configuration beside them.
        parts: What to change in its architecture.
        pack: Pictures for the first weights of a top-down path.
        out: To be written.

    Raises:
        UsageError: There is no such architecture.
        ModelError: The weights cannot be read, or have such parts already.
        OutputError: The files cannot be written.
    """
    config = _grown(read_pico_config(weights.with_suffix(".json")), parts)
    torch.manual_seed(SEED)
    network = build_pico(config).eval().requires_grad_(False)
    state = {
        name: t.float() if t.is_floating_point() else t for name, t in read_state(weights).items()
    }
    new = set(network.state_dict()) - set(state)
    if not new:
        raise ModelError(f"{weights} has these parts already", "give it others")
    network.load_state_dict(state, strict=False)
    top_down = network.image_encoder.trunk.top_down
    if any(".top_down." in name for name in new):
        pictures = islice(sample_pictures(config.input, pack), PICTURES)
        _begin(top_down, [network.image_encoder.trunk.body(picture) for picture in pictures])
    if any(name.startswith("fine_prompts.") for name in new):
        _silence(network.fine_prompts)
    half = {n: t.half() if t.is_floating_point() else t for n, t in network.state_dict().items()}
    try:
        save_file(half, out)
        out.with_suffix(".json").write_text(config.model_dump_json(indent=2) + "\n")
    except OSError as err:
        raise OutputError(f"cannot write {out}: {err.strerror}", "choose another place") from err


def _grown(config: PicoConfig, parts: dict[str, object]) -> PicoConfig:
    tree = config.model_dump()
    tree["architecture"] |= parts
    tree |= {"trunk_ranges": None, "look_distance": None}  # to be measured after training
    try:
        return PicoConfig.model_validate(tree)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"no pico has this {where}: {first['msg']}", "choose another") from err


def _begin(top_down: TopDown, maps_of_pictures: list[list[Tensor]]) -> None:
    """First weights of a top-down path: convolution after convolution, in the order they run."""
    _silence(top_down.middle.out)
    _silence(top_down.fine.out)
    for level, before in (
        (top_down.middle, [top_down.coarse, top_down.top]),
        (top_down.fine, [top_down.narrow]),
    ):
        for conv in (*before, level.lateral):
            _spread_out(top_down, conv, maps_of_pictures, *_LINEAR)
        for conv in (part for part in level.mixes.modules() if isinstance(part, nn.Conv2d)):
            _spread_out(top_down, conv, maps_of_pictures, *_MIXED)


def _spread_out(
    top_down: TopDown, conv: nn.Conv2d, maps: list[list[Tensor]], deviation: float, mean: float
) -> None:
    """Scale and shift what each channel of a convolution gives on some pictures."""
    given: list[Tensor] = []
    hook = conv.register_forward_hook(
        lambda _, __, out: given.append(out.transpose(0, 1).flatten(1))
    )
    for of_picture in maps:
        top_down.steps(of_picture)
    hook.remove()
    values_cn = torch.cat(given, dim=1)
    assert conv.bias is not None
    scale_c = deviation / values_cn.std(dim=1).clamp(min=1e-3)
    conv.weight *= scale_c[:, None, None, None]
    conv.bias.copy_((conv.bias - values_cn.mean(dim=1)) * scale_c + mean)


def _silence(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    conv.weight.zero_()
    conv.bias.zero_()


if __name__ == "__main__":
    raise SystemExit(main())
