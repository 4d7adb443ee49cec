"""State of a session: all that a snapshot keeps and that its next frame depends on."""

from collections import deque
from dataclasses import dataclass, field

from tracker.engine.budget import FULL, ComputeBudget
from tracker.engine.encode import inference
from tracker.engine.history import HistoryFrame
from tracker.engine.memory_bank import MemoryBank, MemoryShape
from tracker.engine.objects import ObjectTable
from tracker.engine.policy import Policy
from tracker.engine.refine import COARSE_SIDE, GuidedFilter
from tracker.errors import PromptError, UsageError
from tracker.models import Model, resized, with_whole_memories

TURNS_REACH = 32  # steps back that maps are looked for, where objects take turns


@dataclass(slots=True)
class SessionState:
    """Objects, their memories and the frames that prompts may be applied to.

    Attributes:
        model: The model as it is used now: for pictures of the size of the newest budget.
        policy: Limits and choices.
        budget: What was spent on the newest frame, and is on prompts.
        bank: Memories of the objects.
        own_size: Side in pixels of the pictures that the model was given for.
        history: The frames held, all of one input size, oldest first.
        objects: The objects; their rows are those of the bank.
        guide: The newest picture, where masks are published by its edges.
    """

    model: Model
    policy: Policy
    budget: ComputeBudget
    bank: MemoryBank
    own_size: int
    history: deque[HistoryFrame]
    objects: ObjectTable = field(default_factory=ObjectTable)
    guide: GuidedFilter | None = None

    @classmethod
    def new(cls, model: Model, policy: Policy, budget: ComputeBudget = FULL) -> "SessionState":
        """A state without frames and objects.

        Raises:
            UsageError: The model takes no pictures of the budget's size, or finds no distractors
                for a policy that remembers them.
        """
        if policy.memory.distractor_memories and not model.network.capabilities.finds_distractors:
            raise UsageError(
                f"{model.name} finds no distractors, which keep_memories={policy.keep_memories!r} "
                "needs",
                "use another memory policy",
            )
        model = with_whole_memories(model) if policy.whole_memories else model
        reach = _reach(policy, FULL)
        shape = MemoryShape.of(
            model.network.memory,
            prompted=policy.max_prompted_memories,
            history=max(policy.history_frames, reach or 0),
            distractors=policy.memory.distractor_memories,
        )
        bank = MemoryBank(shape, model.device, reach=reach)
        history: deque[HistoryFrame] = deque(maxlen=policy.frames_held)
        state = cls(model, policy, FULL, bank, model.input.size, history)
        state.spend(budget)
        return state

    @property
    def newest(self) -> HistoryFrame | None:
        """The newest frame; None before the first."""
        return self.history[-1] if self.history else None

    @property
    def follows_edges(self) -> bool:
        """True if masks are published by the edges of the picture, at this input size."""
        return self.policy.follow_edges and self.model.network.mask_side <= COARSE_SIDE

    def spend(self, budget: ComputeBudget) -> None:
        """Spend another budget from now on.

        Raises:
            UsageError: The model takes no pictures of its size.
        """
        if budget == self.budget:
            return
        size = self.own_size if budget.input_size is None else budget.input_size
        if size != self.model.input.size:
            self._resize(size)
        self.bank.recall_within(_reach(self.policy, budget), budget.memories)
        self.budget = budget

    def frame_of(self, object_id: int, step: int | None) -> HistoryFrame:
        """The frame that a prompt for an object is applied to; None stands for the newest.

        Raises:
            PromptError: The history does not hold it.
        """
        who = f"prompt for object {object_id}"
        if not self.history:
            raise PromptError(f"{who}: no frame yet", "give the session a frame")
        newest, oldest = self.history[-1].step, self.history[0].step
        if step is None:
            return self.history[-1]
        if step > newest:
            raise PromptError(f"{who}: step {step} is still to come", f"the newest is {newest}")
        if step < oldest:
            raise PromptError(
                f"{who}: step {step} is older than the history, which begins at {oldest}",
                "draw it on a newer frame, or raise history_frames",
            )
        return self.history[step - oldest]

    def trim_history(self) -> None:
        """Keep the history to one input size and within its bound in bytes.

        Its bound in frames keeps itself.
        """
        history = self.history
        while history[0].input_size != history[-1].input_size:
            history.popleft()
        held = sum(frame.encoded.nbytes for frame in history)
        while len(history) > 1 and held > self.policy.history_bytes:
            held -= history.popleft().encoded.nbytes
        for obj in self.objects.rows:
            obj.forget_before(history[0].step)

    def _resize(self, size: int) -> None:
        """Go on with pictures of another size, and with what is remembered fitted to it."""
        model = resized(self.model, size)
        newest = 0 if self.newest is None else self.newest.step
        with inference(model):
            self.bank = self.bank.resampled(model.network.memory.tokens, newest)
        for obj in self.objects.rows:
            obj.areas.clear()  # they are pixels of the size before
            obj.resize_outputs(model.network.mask_side)
        self.model = model


def _reach(policy: Policy, budget: ComputeBudget) -> int | None:
    """Number of steps back that recent maps are looked for; None for as many as there are maps."""
    return policy.memory.reach if budget.objects_per_frame is None else TURNS_REACH
