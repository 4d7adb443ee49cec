"""Ids for objects without one: never one of late, and never at an end."""

import pytest

from tracker.daemon.tracking.object_ids import MAX_OBJECT_ID, ObjectIds


def given(ids: ObjectIds, in_use: set[int] | None = None) -> int:
    object_id = ids.free(in_use or set())
    ids.use(object_id)
    return object_id


@pytest.mark.parametrize("far", [MAX_OBJECT_ID, MAX_OBJECT_ID - 1, 10**6])
def test_an_id_of_a_client_s_own_far_away_changes_nothing(far: int) -> None:
    ids = ObjectIds()
    assert [given(ids), given(ids)] == [1, 2]
    ids.use(far)
    assert [given(ids), given(ids)] == [3, 4]


def test_an_id_of_a_client_s_own_nearby_is_followed() -> None:
    ids = ObjectIds()
    ids.use(7)
    assert given(ids) == 8
    ids.use(3)
    assert given(ids) == 9


def test_after_the_last_id_the_first_come_again_without_those_in_use_and_of_late() -> None:
    ids = ObjectIds()
    ids.go_on(MAX_OBJECT_ID - 1)
    for object_id in (2, 3):
        ids.use(object_id)
    assert [given(ids, {1}) for _ in range(4)] == [MAX_OBJECT_ID - 1, MAX_OBJECT_ID, 4, 5]


@pytest.mark.slow
def test_whatever_clients_push_ids_are_valid_and_none_comes_twice_of_late() -> None:
    """A client that jumps ahead as far as is followed, over and over, up to the last id."""
    ids = ObjectIds()
    newest: list[int] = []
    for _ in range(50_000):
        ids.use(min(ids.next + 99_999, MAX_OBJECT_ID))
        object_id = given(ids)
        assert 1 <= object_id <= MAX_OBJECT_ID
        assert object_id not in newest[-500:]
        newest.append(object_id)


def test_ids_go_on_where_they_were_and_begin_again_where_they_had_ended() -> None:
    ids = ObjectIds()
    ids.go_on(40)
    ids.go_on(2)
    assert given(ids) == 40
    ended = ObjectIds()
    ended.go_on(2**31)  # as versions before kept it, once the highest id was in use
    assert given(ended, {1}) == 2
