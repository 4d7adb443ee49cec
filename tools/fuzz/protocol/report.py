"""Report of a campaign, as a page."""

import os
from pathlib import Path

from tools.fuzz.protocol.campaign import ATTACKERS, Outcome


def page(outcome: Outcome) -> str:
    """The page, in Markdown."""
    messages = sum(outcome.counts.values())
    rows = "\n".join(f"| {what} | {count} |" for what, count in outcome.counts.most_common())
    resident = outcome.resident_mb
    warm = resident[: outcome.warm] or resident
    memory = "not told by the system"
    if resident:
        memory = (
            f"{resident[0]:.0f} MB at the start, {warm[-1]:.0f} MB once warm, "
            f"{max(resident):.0f} MB at most, {resident[-1]:.0f} MB at the end"
        )
    faults = "\n".join(f"- {fault}" for fault in outcome.faults) or "No fault."
    command = f"python -m tools.fuzz.protocol --minutes {outcome.minutes:g} --seed {outcome.seed}"
    addressless, undelivered = (outcome.control.get(n) for n in ("unanswerable", "undelivered"))
    return f"""# {messages} hostile messages

`{command}`: {ATTACKERS} clients at once
against `trackd serve` in a process of its own, with one stream that is tracked and prompted
meanwhile, {os.cpu_count()} shared CPUs.

| reply | messages |
|---|---:|
{rows}

{outcome.pings} pings between them were answered; {outcome.masks} masks of the stream came.
Messages without a return address that the daemon counted: {addressless}; replies that could not be
delivered: {undelivered}. Resident memory of the daemon: {memory}.

{faults}
"""


def write(outcome: Outcome, path: Path) -> None:
    """Write the page."""
    path.write_text(page(outcome), encoding="utf-8")
