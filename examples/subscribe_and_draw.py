"""Draws masks on previews of a stream: subscribe_and_draw.py STREAM FOLDER [PICTURES].

The daemon makes previews only while someone subscribes. They come less often than masks, so each is
matched with the masks of the same frame.
"""

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from tracker.client import Client

COLOUR_BGR = np.array([80, 200, 255])


def main() -> None:
    stream, folder = sys.argv[1], Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else None
    folder.mkdir(parents=True, exist_ok=True)
    with Client() as client, client.results(stream) as results, client.frames(stream) as pictures:
        for picture in islice(pictures, count):
            seq = picture.message.frame.seq
            result = next(one for one in results if one.message.frame.seq >= seq)
            image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
            if result.message.frame.seq > seq or image is None:
                continue  # the masks of this frame were lost on the way
            height, width = image.shape[:2]
            for mask_hw in result.masks().values():
                small = cv2.resize(mask_hw.astype(np.uint8), (width, height)) > 0
                image[small] = image[small] // 2 + COLOUR_BGR // 2
            path = folder / f"{seq:08}.jpg"
            cv2.imwrite(str(path), image)
            print(path, flush=True)


if __name__ == "__main__":
    main()
