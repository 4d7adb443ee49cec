"""The entry of `trackd`."""

import sys
from collections.abc import Sequence

import tracker
from tracker.cli import (
    checkpoints,
    choose,
    config,
    doctor,
    export,
    failures,
    find,
    fleet,
    keys,
    models,
    objects,
    prompt,
    prompts,
    replay,
    restream,
    ros,
    schema,
    segment,
    serve,
    streams,
    studio,
    track,
    view,
    watch,
)
from tracker.cli.terminal import drop_output, prepare_output
from tracker.process import leave_stacks, prepare_process
from tracker.signals import forget_interrupt, signals_reach_main_thread

_COMMANDS = {
    "track": track.run,
    "export": export.run,
    "find": find.run,
    "segment": segment.run,
    "serve": serve.run,
    "config": config.run,
    "keys": keys.run,
    "streams": streams.run,
    "prompt": prompt.run,
    "prompts": prompts.run,
    "objects": objects.run,
    "watch": watch.run,
    "ros": ros.run,
    "view": view.run,
    "restream": restream.run,
    "replay": replay.run,
    "doctor": doctor.run,
    "schema": schema.run,
    "studio": studio.run,
    "fleet": fleet.run,
    "checkpoints": checkpoints.run,
    "models": models.run,
    "choose": choose.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, `sys.argv` where none is given, and return the exit code.

    The code is 0 for success, 1 for a failure, 2 for wrong usage, 78 for saved state that cannot be
    read, 130 when interrupted.
    """
    prepare_process()
    leave_stacks()
    prepare_output()
    parser = build_parser()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    try:
        args = parser.parse_args(arguments)
        with signals_reach_main_thread():
            code = _COMMANDS[args.command](args)
        if sys.stdout is not None:  # it is, where there is none
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output left
        code = 1
    except (Exception, KeyboardInterrupt) as error:
        code = failures.report(error)
    finally:
        forget_interrupt()
    drop_output()
    return code


def build_parser() -> failures.Parser:
    """The parser of all commands and their options."""
    parser = failures.Parser(
        prog="trackd",
        description="Tracks any object through video with SAM 2, one frame at a time.",
        epilog="example: trackd track clip.mp4 --box 1:120,80,340,400 --out tracked.mp4",
    )
    parser.add_argument("--version", action="version", version=f"trackd {tracker.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    track.add_parser(subparsers)
    export.add_parser(subparsers)
    find.add_parser(subparsers)
    segment.add_parser(subparsers)
    serve.add_parser(subparsers)
    checkpoints.add_parser(subparsers)
    models.add_parser(subparsers)
    choose.add_parser(subparsers)
    config.add_parser(subparsers)
    keys.add_parser(subparsers)
    streams.add_parser(subparsers)
    prompt.add_parser(subparsers)
    prompts.add_parser(subparsers)
    objects.add_parser(subparsers)
    watch.add_parser(subparsers)
    replay.add_parser(subparsers)
    studio.add_parser(subparsers)
    fleet.add_parser(subparsers)
    ros.add_parser(subparsers)
    view.add_parser(subparsers)
    restream.add_parser(subparsers)
    doctor.add_parser(subparsers)
    schema.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
