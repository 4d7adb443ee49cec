"""Tells an arm where an object is, and when not to move: robot_reach.py STREAM OBJECT [MESSAGES].

Prints a line of JSON for each frame: the mask's centroid and width in pixels and the frame's age,
or that the arm must stop because the object is hidden, or the frame too old.
"""

import json
import sys
import time
from itertools import islice

from tracker.client import Client, Result
from tracker.types import ObjectState

SAFE_AGE_S = 0.5
SEEN = (ObjectState.VISIBLE, ObjectState.REACQUIRED)


def target(result: Result, object_id: int, now_s: float) -> dict[str, object]:
    """What the arm should do on this frame."""
    age_s = now_s - result.message.frame.captured_ns / 1e9
    found = next((item for item in result.objects if item.id == object_id), None)
    if found is None or found.state not in SEEN or found.box is None or found.centroid is None:
        return {"stop": "not in sight" if found is None else found.state.value}
    if age_s > SAFE_AGE_S:
        return {"stop": f"the frame is {age_s:.2f} s old"}
    x, y = found.centroid
    return {
        "x_px": round(x, 1),
        "y_px": round(y, 1),
        "width_px": found.box[2] - found.box[0],
        "age_s": round(age_s, 3),
    }


def main() -> None:
    stream, object_id = sys.argv[1], int(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else None
    with Client() as client, client.results(stream) as results:
        for result in islice(results, count):
            print(json.dumps(target(result, object_id, time.time())), flush=True)


if __name__ == "__main__":
    main()
