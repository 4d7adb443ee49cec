"""Tracks every video of a folder that has prompts beside it: annotate_folder.py FOLDER OUT.

Beside `dog.mp4` stands `dog.json`, as `trackd schema prompts` describes it. For each video OUT gets
a folder of palette PNGs and a COCO file. After an interruption, run it again: what is done stays,
and what was begun goes on.
"""

import sys
from pathlib import Path

from tracker.cli.main import main as trackd


def main() -> int:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    failed = []
    for video in sorted(folder.glob("*.mp4")):
        prompts = video.with_suffix(".json")
        if not prompts.is_file():
            print(f"{video.name}: no {prompts.name}, left out", file=sys.stderr)
            continue
        target = out / video.stem
        if (target / "done").is_file():
            continue
        target.mkdir(parents=True, exist_ok=True)
        outputs = ["--davis", str(target / "masks"), "--coco", str(target / "masks.json")]
        state = ["--resume", str(target / "state"), "--quiet"]
        if trackd(["track", str(video), "--prompts", str(prompts), *outputs, *state]) == 0:
            (target / "done").touch()
        else:
            failed.append(video.name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
