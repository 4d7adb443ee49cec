"""Sends nonsense to a daemon, and requests that are nearly right.

    python -m tools.fuzz.protocol --minutes 30 --report hostile.md    a daemon of its own
    python -m tools.fuzz.protocol --messages 10000 --endpoint tcp://127.0.0.1:5570     one that runs

Fields of the wrong type, size and script, broken and doubled JSON, envelopes and parts that mean
nothing, huge messages, and bytes that are not ZeroMQ at all. Every message that a reply can be
given to must get one typed reply under its id; the others must be counted. Meanwhile masks must
flow, pings be answered, and memory stay; the daemon's log must hold no traceback. The messages are
the same for the same seed. Streams that are added on the way are named `hostile-N` and removed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tools.fuzz.protocol import campaign, report
from tools.fuzz.protocol.attack import Attack, bombard, resident_mb


def main() -> int:
    """Attack, print what came back; 1 where something came that should not have."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.protocol",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, help="against a daemon of its own, for so long")
    parser.add_argument("--seed", type=int, default=0, help="of the messages")
    parser.add_argument("--report", type=Path, help="with --minutes: write the page there")
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:5570", help="its control socket")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--max-bytes", type=int, default=2**20, help="control.max_message_bytes")
    parser.add_argument("--pid", type=int, help="the daemon's; its memory is printed")
    args = parser.parse_args()
    return _attack_running(args) if args.minutes is None else _attack_own(args)


def _attack_own(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        outcome = campaign.run(Path(folder), minutes=args.minutes, seed=args.seed)
    print(report.page(outcome))
    if args.report is not None:
        report.write(outcome, args.report)
    return 1 if outcome.faults else 0


def _attack_running(args: argparse.Namespace) -> int:
    with Attack(args.endpoint) as attack:
        if not attack.check():
            print(f"nobody answers at {args.endpoint}", file=sys.stderr)
            return 1
        warm_up = max(1, args.messages // 10)
        bombard(attack, messages=warm_up, max_bytes=args.max_bytes, seed=args.seed)
        before_mb = None if args.pid is None else resident_mb(args.pid)
        bombard(attack, messages=args.messages, max_bytes=args.max_bytes, seed=args.seed + 1)
        after_mb = None if args.pid is None else resident_mb(args.pid)
    for outcome, count in attack.counts.most_common():
        print(f"{count:7d}  {outcome}")
    print(f"{attack.pings:7d}  pings answered")
    if before_mb is not None and after_mb is not None:
        print(f"resident memory of the daemon: {before_mb:.1f} MB, then {after_mb:.1f} MB")
    for fault in attack.faults:
        print(f"fault: {fault}", file=sys.stderr)
    return 1 if attack.fault_count else 0


if __name__ == "__main__":
    sys.exit(main())
