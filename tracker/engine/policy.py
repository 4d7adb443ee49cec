"""What the engine may keep and how it departs from the official predictor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and choices of a session.

    The official `SAM2VideoPredictor` keeps every memory and has no limits. The caps below bind
    only on objects that were prompted often; up to them, `OFFICIAL` gives the official results.

    Attributes:
        max_objects: Objects tracked at a time; one more is refused.
        max_prompted_memories: Memories kept of frames with prompts: the first, which stays, and
            the newest of the rest.
        max_points: Clicks on one object on one frame, a box counting as two.
        corrections_condition: Whether a later correction becomes a lasting prompted memory, as
            the official `add_all_frames_to_correct_as_cond`; otherwise it replaces that frame's
            recent memory and fades with it (the official default).
        fill_hole_area: Holes of up to this many low-resolution pixels are filled, as the
            official predictor does on CUDA; 0 leaves them, as it does on a CPU.
        confine_to_box: Whether a prompted mask ends at the box that prompted it, give or take a
            twentieth of its size. A box says where the object is not, which a small model hears
            badly; the official predictor lets the mask leave the box.
        batch_objects: Objects in one pass through the network; more go in several passes.
    """

    max_objects: int = 64
    max_prompted_memories: int = 4
    max_points: int = 64
    corrections_condition: bool = False
    fill_hole_area: int = 8
    confine_to_box: bool = True
    batch_objects: int = 16


#: What the official predictor does without its CUDA extension.
OFFICIAL = Policy(fill_hole_area=0, confine_to_box=False)

#: Policies by name, for commands.
POLICIES = {"default": Policy(), "official": OFFICIAL}
