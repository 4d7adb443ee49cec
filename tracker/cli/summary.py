"""Summary of `trackd track` in words."""

from tracker.annotate.finding import FoundSummary
from tracker.annotate.summary import Summary
from tracker.cli.printable import printable

_BIRTHS_SHOWN = 20


def summary_text(summary: Summary) -> str:
    """The summary in lines for people."""
    ms = summary.ms_per_frame
    lines = [
        f"tracked {summary.frames} frames of {summary.source} with {summary.model} "
        f"on {summary.device} ({summary.dtype}), {summary.fps:.1f} fps",
        f"  ms per frame  decode {ms.decode:.1f}, encode {ms.encode:.1f}, "
        f"track {ms.track:.1f}, write {ms.write:.1f}",
    ]
    for item in summary.objects:
        name = f"{item.id} {item.label}" if item.label else f"{item.id}"
        lines.append(f"  object {name}: on {item.frames} of {summary.frames} frames")
    if summary.found is not None:
        lines += [f"  {line}" for line in _found(summary.found)]
    lines += [f"  {line}" for line in _mishaps(summary)]
    lines += [f"  {note}" for note in summary.notes]
    lines += [f"  {kind}: {path}" for kind, path in summary.outputs.items()]
    if summary.stopped_at is not None and "state" in summary.outputs:
        lines.append("  the same command goes on from here")
    return "\n".join(map(printable, lines))


def _found(found: FoundSummary) -> list[str]:
    """Births, deaths and refusals of a finder."""
    words = f" ({', '.join(found.phrases)})" if found.phrases else ""
    lines = [
        f"finder {found.finder}{words}: {found.searches} searches, "
        f"{found.ms_per_search:.1f} ms each; {found.births_in_all} objects began, "
        f"{found.deaths_in_all} expired"
    ]
    for birth in found.births[:_BIRTHS_SHOWN]:
        name = f"{birth.id} {birth.label}" if birth.label else f"{birth.id}"
        lines.append(f"  began: {name} on frame {birth.frame}, score {birth.score:.2f}")
    more = found.births_in_all - min(len(found.births), _BIRTHS_SHOWN)
    lines += [f"  began: {more} more"] if more else []
    lines += [
        f"  expired: {death.id} on frame {death.frame}" for death in found.deaths[:_BIRTHS_SHOWN]
    ]
    if found.refused:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(found.refused.items()))
        lines.append(f"  not taken: {counts}")
    if found.invalid or found.surplus:
        lines.append(f"  left out: {found.invalid} not valid, {found.surplus} too many")
    if found.first_failure is not None:
        lines.append(f"  {found.failures} searches failed, the first: {found.first_failure}")
    if found.gave_up is not None:
        lines.append(f"  the finder was given up: {found.gave_up}")
    return lines


def _mishaps(summary: Summary) -> list[str]:
    lines = []
    if summary.replayed:
        lines.append(f"{summary.replayed} of them from the interrupted run")
    if summary.backward:
        lines.append(f"tracked backward over {summary.backward} frames")
    if summary.stopped_at is not None:
        lines.append(f"stopped early at frame {summary.stopped_at}")
    elif summary.frames == 0:
        lines.append("stopped before the first frame; nothing was written")
    lost, damaged = summary.lost, summary.damaged_pictures
    if damaged.count:
        names = ", ".join(printable(name) for name in damaged.names)
        more = damaged.count - len(damaged.names)
        pictures = (
            "1 damaged picture" if damaged.count == 1 else f"{damaged.count} damaged pictures"
        )
        lines.append(f"left out {pictures}: {names}" + (f" and {more} more" if more else ""))
        return lines
    if lost.missing:
        lines.append(
            f"lost {lost.missing} frames: the source claims {lost.claimed}, "
            f"{lost.decoded} could be decoded"
        )
    if lost.corrupt_packets:
        lines.append(f"skipped {lost.corrupt_packets} corrupt packets")
    if lost.damage:
        lines.append(f"the source is damaged at its end: {lost.damage}")
    return lines
