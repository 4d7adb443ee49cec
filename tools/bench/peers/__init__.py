"""Trackers that take turns, each in a process of its own, so that none disturbs another.

Their packages clash (three are called `sam2`), so what one needs lies in a folder that only its
process sees. `worker.py` is their side of the conversation, `process.py` ours; nothing here may
import more than a peer's folder and torch can give.
"""
