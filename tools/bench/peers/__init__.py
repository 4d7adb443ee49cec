"""Trackers that take turns, each in a process of its own, so that none disturbs another.

Their packages clash (three are called `sam2`), so what one needs lies in a folder that only its
process sees. `worker.py` is their side of the conversation, `process.py` ours. What runs in a
peer's process, those of ours and of the official predictor apart, must not import what needs sam2.
"""
