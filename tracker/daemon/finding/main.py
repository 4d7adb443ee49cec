"""Finder process: owns the finders of a worker's streams, and looks at one picture at a time.

    python -m tracker.daemon.finding.main CHANNEL PICTURE       file descriptors

It computes with one thread at the lowest urgency but a few, so that tracking goes first. It ends
when the worker hangs up, even while a finder hangs.
"""

import faulthandler
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections import OrderedDict
from functools import cached_property
from typing import Any

from tracker.daemon.config.schema import ModelConfig
from tracker.daemon.finding.messages import (
    MAX_MESSAGE_BYTES,
    MAX_SENT,
    Begun,
    Failed,
    Forget,
    Found,
    FoundItem,
    Search,
    Setup,
    ToFinder,
    packed,
    to_finder,
)
from tracker.daemon.finding.shared_picture import SharedPicture
from tracker.daemon.workers.channel import Channel, ChannelError
from tracker.errors import FinderError, TrackdError, UsageError
from tracker.finders.base import ChecksPhrases, Finder, Needs, Proposal
from tracker.finders.checked import check_proposals
from tracker.finders.registry import FINDERS
from tracker.process import forbid_core_dumps, leave_stacks, prepare_process
from tracker.protocol.fields import MAX_RLE_CHARS, RleMask
from tracker.rle import encode_rle

NICE = 10
#: Finders that all streams share and that stay loaded; the one used longest ago goes.
MAX_SHARED = 3
_LOG = logging.getLogger("trackd.finder")
_MASKS_BYTES = MAX_MESSAGE_BYTES // 2
_Key = tuple[str, str, str]


class FinderServer:
    """Loads finders and asks them."""

    def __init__(self, channel: Channel, picture: SharedPicture, model: ModelConfig) -> None:
        self._channel = channel
        self._picture = picture
        self._config = model
        self._finders: OrderedDict[_Key, Finder] = OrderedDict()
        self._messages: queue.SimpleQueue[ToFinder] = queue.SimpleQueue()

    def run(self) -> None:
        """Answer searches; does not return."""
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while True:
            match self._messages.get():
                case Search() as search:
                    self._answer(search)
                case Forget(owner=owner):
                    self._drop(lambda key: key[0] == owner)

    def _listen(self) -> None:
        """Queue what comes, and end the process with the channel, whatever a finder does."""
        try:
            while (parts := self._channel.receive()) is not None:
                self._messages.put(to_finder(parts))
        except ChannelError:
            pass
        finally:
            os._exit(0)

    def _answer(self, search: Search) -> None:
        try:
            answer: Found | Failed = self._found(search)
        except (UsageError, FinderError) as error:
            answer = Failed(id=search.id, message=error.message, hint=error.hint)
        except Exception as error:
            # Clients see the answer, and texts about files and downloads hold paths and hosts.
            own = isinstance(error, TrackdError)
            _LOG.error("finder %s failed: %s", search.finder, error, exc_info=not own)
            text = f"finder {search.finder} failed: {type(error).__name__}"
            answer = Failed(id=search.id, message=text, hint="the daemon's log tells more")
        self._channel.send(packed(answer))

    def _found(self, search: Search) -> Found:
        finder = self._finder(search)
        self._channel.send(packed(Begun(id=search.id)))
        image_hwc = self._picture.read(search.height, search.width)
        found = finder.find(image_hwc, search.phrases)
        checked = check_proposals(found, search.height, search.width, finder=search.finder)
        proposals = checked.proposals[: MAX_SENT if search.wanted else 0]
        items = _items(proposals)
        more = len(checked.proposals) - len(items) if search.wanted else 0
        left_out = checked.invalid + checked.surplus + more
        return Found(id=search.id, items=tuple(items), left_out=left_out)

    def _finder(self, search: Search) -> Finder:
        key = search.owner, search.finder, str(sorted(search.options.items()))
        finder = self._finders.pop(key, None)
        if finder is None:
            if search.owner:
                self._drop(lambda other: other[0] == search.owner)
            finder = self._made(search)
        self._finders[key] = finder
        shared = [one for one in self._finders if not one[0]]
        if len(shared) > MAX_SHARED:
            del self._finders[shared[0]]
        if isinstance(finder, ChecksPhrases):
            finder.check_phrases(search.phrases)
        return finder

    def _made(self, search: Search) -> Finder:
        spec = FINDERS.find(search.finder)
        return spec.make(self._given(spec.needs), spec.parse_settings(search.options))

    def _given(self, needs: Needs) -> Any:
        match needs:
            case Needs.NOTHING:
                return None
            case Needs.DEVICE:
                return _DeviceOnly(self._config.device)
            case Needs.MODEL:
                return self._model

    def _drop(self, is_gone: Any) -> None:
        for key in [key for key in self._finders if is_gone(key)]:
            del self._finders[key]

    @cached_property
    def _model(self) -> Any:
        import torch

        from tracker.models import load_model

        torch.set_num_threads(1)
        config = self._config
        return load_model(
            config.name,
            checkpoint=config.checkpoint,
            device=config.device,
            dtype=config.dtype,
            without=config.without,
        )


class _DeviceOnly:
    """What a finder is given in place of the model where it needs no more than its device."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def device(self) -> Any:
        """As torch has it, which is imported only then."""
        from tracker.models.load import choose_device

        return choose_device(self._name)


def _items(proposals: tuple[Proposal, ...]) -> list[FoundItem]:
    """Proposals as they are sent; those whose masks are too long are left out."""
    items, size = [], 0
    for proposal in proposals:
        mask = None
        if proposal.mask_hw is not None:
            rle = encode_rle(proposal.mask_hw)
            size += len(rle.counts)
            if len(rle.counts) > MAX_RLE_CHARS or size > _MASKS_BYTES:
                continue
            mask = RleMask(size=(rle.height, rle.width), counts=rle.counts)
        items.append(
            FoundItem(
                box=proposal.box_xyxy,
                score=proposal.score,
                label=proposal.label,
                area=proposal.area_px,
                mask=mask,
            )
        )
    return items


def main(channel_descriptor: int, picture_descriptor: int) -> None:
    """Serve the worker at the other end until it hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prepare_process()
    leave_stacks()
    if faulthandler.is_enabled():
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    forbid_core_dumps()
    os.nice(NICE)
    channel = Channel(socket.socket(fileno=channel_descriptor), max_bytes=MAX_MESSAGE_BYTES)
    setup = to_finder(channel.receive() or [])
    assert isinstance(setup, Setup)
    FinderServer(channel, SharedPicture(picture_descriptor), setup.model).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
