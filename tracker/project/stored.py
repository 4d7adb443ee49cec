"""What the stored results of a project say, without tracking."""

from collections.abc import Mapping

from tracker.project.folder import Project
from tracker.project.prompts import ProjectPrompts, first_prompts_digest
from tracker.project.results import Direction, ResultStore, StoredObject


def is_tracked(project: Project, prompts: ProjectPrompts, store: ResultStore) -> bool:
    """True if all of a project was tracked with these prompts and its settings as they are."""
    plan = prompts.plan(project.frames)
    if (
        plan is None
        or not store.is_forward_done
        or store.prompts_json != prompts.to_json()
        or store.settings_json != project.settings.model_dump_json()
    ):
        return False
    backward = project.settings.backward
    return not backward or store.backward_of == first_prompts_digest(plan)


def stored_objects(
    store: ResultStore, frame: int, first_frames: Mapping[int, int], *, backward: bool
) -> list[StoredObject]:
    """The objects on a frame, by id; those without a prompt any more are left out.

    Before its first prompt an object is as the backward pass found it.
    """
    found = {item.id: item for item in store.objects(Direction.FORWARD, frame)}
    if backward:
        for item in store.objects(Direction.BACKWARD, frame):
            if frame < first_frames.get(item.id, 0):
                found[item.id] = item
    return [found[number] for number in sorted(found.keys() & first_frames.keys())]
