"""Tracks an object on a live stream from one box: prompt_stream.py STREAM X0,Y0,X1,Y1 [LABEL].

The box is applied on the frame that was received, and the object is tracked on from there to now.
"""

import sys

from tracker.client import Client, DaemonError


def main() -> int:
    stream, corners = sys.argv[1:3]
    label = sys.argv[3] if len(sys.argv) > 3 else None
    x0, y0, x1, y1 = map(float, corners.split(","))
    with Client() as client, client.results(stream, timeout_s=60) as results:
        seen = next(results)
        try:
            answer = client.prompt(stream, box=(x0, y0, x1, y1), label=label, frame=seen)
        except DaemonError as error:
            print(error, file=sys.stderr)
            return 1
        print(answer.object.id, answer.object.label, answer.object.state, answer.object.box)
    return 0


if __name__ == "__main__":
    sys.exit(main())
