"""The journal gives results back as they were."""

from io import BytesIO

import numpy as np
import pytest

from tests.support.tracked_frames import disc, found
from tracker.annotate.journal import Journal
from tracker.types import StageTimes, TrackResult


@pytest.mark.parametrize("identity", [None, 0.625])
def test_identity_is_kept(identity: float | None) -> None:
    journal, item = Journal(BytesIO()), found(1, disc(20, 20), identity=identity)
    journal.append(4, TrackResult(0, (item,), StageTimes(0.0, 0.0)))
    (read,) = journal.read(4).objects
    assert (read.id, read.identity, read.box_xyxy) == (1, identity, item.box_xyxy)
    assert np.array_equal(read.mask_hw, item.mask_hw)


def test_lines_of_versions_that_knew_no_identity_are_read() -> None:
    file = BytesIO()
    journal = Journal(file)
    journal.append(0, TrackResult(0, (found(1, disc(20, 20)),), StageTimes(0.0, 0.0)))
    older = file.getvalue().replace(b',"identity":null', b"")
    assert older != file.getvalue()
    assert Journal(BytesIO(older)).read(0).objects[0].identity is None
