"""Limits of a session, and the choices in which it departs from the official predictor."""

from dataclasses import dataclass

from tracker.engine.gallery import MAX_ENTRIES
from tracker.engine.memory_policy import MEMORY_POLICIES, MemoryPolicy, policy_name


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and choices of a session.

    The official `SAM2VideoPredictor` keeps every memory and has no limits. The caps below bind
    only on objects that were prompted often; up to them, `OFFICIAL` gives the official results.

    Attributes:
        gallery_entries: Looks of an object that are kept, to tell how sure it is that it is still
            the same; 0 for none, as the official predictor; at most 16.
        redetect: Whether a lost object is looked for in the whole picture by its gallery, must be
            recognised to come back, and is put back where another has its mask. Needs a gallery.
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
        believe_prompts: Whether an object is there wherever it was prompted, and takes up half of a
            box in which the network sees next to nothing: whoever prompts sees it. The official
            predictor believes the network.
        draw_prompts: Whether a network that was trained so is shown prompts as a rough mask, too,
            and on a tracked frame the mask before, which the official predictor never does.
        follow_edges: Whether masks of few pixels, such as pico's, are published in greater detail,
            by the edges of the picture, see `tracker.engine.refine`. What is remembered is not.
        whole_memories: Whether a memory keeps every token, as the official predictor's does, also
            where the network was trained to keep means of squares of them.
        keep_memories: Which tracked frames are remembered, by the name of a memory policy: "all"
            (official), "present" (those on which the object is there), "confident" (those with a
            confident mask too, further back if need be, an idea of SAMURAI; the default, as it
            scores best), "distractors" (all, and for long a few that show the object beside its
            like, an idea of DAM4SAM). "sure" and "rivals" are older names of the last two.
        appear_score: Object score, 0..1, with which an absent object comes back.
        lost_after: Frames of absence after which an object is lost.
        settle_frames: Frames for which a lost object that came back is called reacquired.
        history_frames: Frames back to which a prompt may be applied.
        history_bytes: Bound on the features kept for that; fewer frames if they are larger.
        batch_objects: Objects in one pass through the network; more go in several passes.

    Raises:
        ValueError: There is no memory policy of that name, or a gallery of that size.
    """

    gallery_entries: int = MAX_ENTRIES
    redetect: bool = True
    max_objects: int = 64
    max_prompted_memories: int = 4
    max_points: int = 64
    corrections_condition: bool = False
    fill_hole_area: int = 8
    confine_to_box: bool = True
    believe_prompts: bool = True
    draw_prompts: bool = True
    follow_edges: bool = True
    whole_memories: bool = False
    keep_memories: str = "confident"
    appear_score: float = 0.6
    lost_after: int = 30
    settle_frames: int = 5
    history_frames: int = 60
    history_bytes: int = 256 * 2**20
    batch_objects: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep_memories", policy_name(self.keep_memories))
        if not 0 <= self.gallery_entries <= MAX_ENTRIES:
            raise ValueError(f"a gallery has 0 to {MAX_ENTRIES} entries")

    @property
    def memory(self) -> MemoryPolicy:
        """The memory policy that `keep_memories` names."""
        return MEMORY_POLICIES[self.keep_memories]

    @property
    def frames_held(self) -> int:
        """Frames of the history and the newest one."""
        return 1 + self.history_frames


#: The official predictor without its CUDA extension.
OFFICIAL = Policy(
    fill_hole_area=0,
    confine_to_box=False,
    believe_prompts=False,
    draw_prompts=False,
    follow_edges=False,
    whole_memories=True,
    keep_memories="all",
    gallery_entries=0,
    redetect=False,
    appear_score=0.5,
)

#: Policies by name, for commands.
POLICIES = {
    "default": Policy(),
    "no-gallery": Policy(gallery_entries=0, redetect=False),
    "official": OFFICIAL,
}
