"""Tracks an object through a file: `python annotate_file.py clip.mp4 FRAME X0 Y0 X1 Y1`.

The first run tracks both ways from the prompted frame. The second keeps its results in the folder
`state`: after a crash, the same call goes on from there.
"""

import sys

from tracker.annotate.plan import PlacedPrompt, PromptPlan
from tracker.annotate.run import run
from tracker.types import Prompt

video, frame = sys.argv[1], int(sys.argv[2])
x0, y0, x1, y1 = map(float, sys.argv[3:7])
plan = PromptPlan([PlacedPrompt(frame, Prompt(1, box_xyxy=(x0, y0, x1, y1), label="it"))])
print(run(video, plan, {"video": "both.mp4", "coco": "both.json"}, backward=True).as_json())
print(run(video, plan, {"davis": "masks", "coco": "onward.json"}, resume="state").as_json())
