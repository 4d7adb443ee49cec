"""Catalogue of the peers that can take turns, and how each is run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to track.

    Attributes:
        name: In tables and on the command line.
        module: What its process runs.
        how: What is called, for the reader of a table.
        arguments: Further ones of the module.
        needs: What pip installs, without dependencies, into the folder that it alone sees.
        dtype: A precision of its own; None where it takes that of the run.
    """

    name: str
    module: str
    how: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    dtype: str | None = None


_PACKAGE = "tools.bench.peers"
_OFFICIAL = "`SAM2VideoPredictor` of the sam2 package, the same weights"
_RESAMPLED = "its own `SAM2VideoPredictor`, autocast unless fp32"
PEERS = {
    peer.name: peer
    for peer in (
        Peer("ours", f"{_PACKAGE}.ours", "`Session` with the default policy"),
        Peer(
            "ours-unbatched",
            f"{_PACKAGE}.ours",
            "`Session` with one object in a pass (`batch_objects=1`)",
            arguments=("--unbatched",),
        ),
        Peer(
            "ours-without-graphs",
            f"{_PACKAGE}.ours",
            "`Session` without CUDA graphs (`TRACKD_WITHOUT=cuda_graphs`)",
            arguments=("--without-graphs",),
        ),
        Peer("official", f"{_PACKAGE}.official", f"{_OFFICIAL}, autocast unless fp32"),
        Peer("official-fp32", f"{_PACKAGE}.official", f"{_OFFICIAL}, always fp32", dtype="fp32"),
        Peer(
            "official-vos",
            f"{_PACKAGE}.official",
            f"{_OFFICIAL}, compiled (`vos_optimized`), autocast unless fp32",
            arguments=("--vos",),
        ),
        Peer(
            "transformers",
            f"{_PACKAGE}.hugging_face",
            "its class of the network, streaming session, autocast unless fp32",
        ),
        Peer("edgetam", f"{_PACKAGE}.edgetam", _RESAMPLED, needs=("edgetam-dimos==1.0.1",)),
        Peer(
            "efficienttam",
            f"{_PACKAGE}.efficienttam",
            _RESAMPLED,
            needs=("efficient-track-anything==1.0",),
        ),
        Peer(
            "cutie",
            f"{_PACKAGE}.cutie",
            "`InferenceCore` as in its `process_video`, autocast unless fp32",
            needs=("rf-cutie==1.0.1", "einops"),
        ),
    )
}
