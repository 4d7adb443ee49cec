"""Galleries: what is kept of an object's looks, and how sure a look makes that it is the same."""

import numpy as np
import pytest
import torch

from tracker.engine import Policy
from tracker.engine.appearance import describe, describe_windows, distances
from tracker.engine.gallery import MAX_DISTRACTORS, MAX_ENTRIES, Gallery
from tracker.engine.identity import ALIKE, identities, identity, relative_similarity
from tracker.models.base import Features

DIFFERENT = 0.01


def look(degrees: float) -> np.ndarray:
    """A descriptor of two numbers; two of them are 1 - cos(angle between them) apart."""
    radians = np.radians(degrees)
    return np.array([np.cos(radians), np.sin(radians)], np.float32)


def gallery_of(*degrees: float) -> Gallery:
    gallery = Gallery()
    for step, one in enumerate(degrees):
        gallery.add(step, 0.1, look(one), MAX_ENTRIES)
    return gallery


def features_of(level_chw: np.ndarray) -> Features:
    level_1chw = torch.from_numpy(level_chw.astype(np.float32))[None]
    return Features(level_1chw, torch.zeros_like(level_1chw), (level_1chw,))


class TestKept:
    def test_a_full_gallery_keeps_the_first_the_newest_and_what_differs(self) -> None:
        gallery = Gallery()
        for step, degrees in enumerate([0, 10, 11, 40, 41.5, 80]):
            gallery.add(step, 0.1, look(degrees), max_entries=4)
        assert gallery.own.steps == [0, 2, 4, 5]  # of each pair the older gave way

    def test_it_never_holds_more_than_it_may(self) -> None:
        gallery = Gallery()
        for step in range(100):
            gallery.add(step, 0.1, look(7 * step), MAX_ENTRIES)
            gallery.add_distractor(step, 0.1, look(3 * step))
        assert (len(gallery), len(gallery.distractors)) == (MAX_ENTRIES, MAX_DISTRACTORS)
        assert gallery.own.steps[0] == 0
        assert gallery.own.steps[-1] == 99
        assert gallery.distractors.steps == list(range(100 - MAX_DISTRACTORS, 100))
        assert gallery.nbytes == (MAX_ENTRIES + MAX_DISTRACTORS) * 2 * 4

    def test_one_of_a_single_entry_keeps_the_newest(self) -> None:
        gallery = Gallery()
        for step in range(3):
            gallery.add(step, 0.1, look(step), max_entries=1)
        assert gallery.own.steps == [2]

    def test_what_came_since_a_step_is_forgotten(self) -> None:
        gallery = gallery_of(0, 10, 20, 30)
        gallery.add_distractor(2, 0.1, look(90))
        gallery.forget_since(2)
        assert gallery.own.steps == [0, 1]
        assert len(gallery.distractors) == 0
        assert gallery.spread == pytest.approx(1 - np.cos(np.radians(10)), abs=1e-6)

    @pytest.mark.parametrize("entries", [-1, MAX_ENTRIES + 1])
    def test_a_policy_asks_for_no_other_size(self, entries: int) -> None:
        with pytest.raises(ValueError, match="0 to 16 entries"):
            Policy(gallery_entries=entries)


class TestIdentity:
    def test_as_near_to_its_own_as_to_another_is_one_half(self) -> None:
        own, other = gallery_of(0), gallery_of(12)
        assert identity(look(6)[None], own, [other], DIFFERENT) == pytest.approx(0.5, abs=1e-3)

    def test_it_falls_with_the_distance_and_rises_with_that_of_others(self) -> None:
        looks_nd = np.stack([look(d) for d in (0, 3, 6, 12)])
        alone = identity(looks_nd, gallery_of(0), [], DIFFERENT)
        beside = identity(looks_nd, gallery_of(0), [gallery_of(13)], DIFFERENT)
        assert alone[0] == pytest.approx(1)
        assert list(alone) == sorted(alone, reverse=True)
        assert beside[2] < alone[2]

    def test_where_no_other_is_near_the_distance_of_different_things_decides(self) -> None:
        own_n = np.float32([0, DIFFERENT, 10 * DIFFERENT])
        far_n = np.full(3, np.inf, np.float32)
        got = relative_similarity(own_n, far_n, np.full(3, DIFFERENT, np.float32))
        assert got == pytest.approx([1, 0.5, 1 / 101])

    def test_a_twin_does_not_take_the_identity_of_what_looks_the_same(self) -> None:
        near_n = np.float32([ALIKE * DIFFERENT / 4])
        got = relative_similarity(near_n, np.float32([0]), np.float32([DIFFERENT]))
        assert got == pytest.approx([16 / 17])

    def test_an_object_that_varies_is_given_more_room(self) -> None:
        steady, varied = gallery_of(0, 0.1, 0.2), gallery_of(0, 12, 24)
        away = look(36)[None]
        assert identity(look(12.2)[None], steady, [], DIFFERENT)[0] < 0.5
        assert identity(away, varied, [], DIFFERENT)[0] == pytest.approx(0.5, abs=1e-3)

    def test_all_objects_at_once_are_as_one_by_one(self) -> None:
        galleries = [gallery_of(0, 1), gallery_of(5), gallery_of(90)]
        galleries[2].add_distractor(0, 0.1, look(85))
        looks_nd = np.stack([look(d) for d in (2, 4, 86)])
        got = identities(looks_nd, [0, 1, 2], galleries, DIFFERENT)
        for i, mine in enumerate(galleries):
            others = [g for g in galleries if g is not mine]
            assert got[i] == pytest.approx(
                identity(looks_nd[i : i + 1], mine, others, DIFFERENT)[0]
            )

    def test_an_empty_gallery_knows_nothing(self) -> None:
        assert identities(look(0)[None], [0], [Gallery()], DIFFERENT) == pytest.approx([0])


class TestDescriptor:
    def test_it_is_mean_and_deviation_in_the_mask_each_of_unit_length(self) -> None:
        random = np.random.default_rng(0)
        level_chw = random.normal(2, 1, (3, 8, 8))
        logits = torch.full((1, 1, 16, 16), -1.0)
        logits[..., 4:12, 2:10] = 1.0  # cells 2:6 and 1:5
        (got,) = describe(features_of(level_chw), logits)
        inside_cq = level_chw[:, 2:6, 1:5].reshape(3, -1)
        mean, deviation = inside_cq.mean(axis=1), inside_cq.std(axis=1)
        halves = [mean / np.linalg.norm(mean), deviation / np.linalg.norm(deviation)]
        assert got == pytest.approx(np.concatenate(halves) / np.sqrt(2), abs=1e-5)
        assert np.linalg.norm(got) == pytest.approx(1, abs=1e-5)

    def test_that_of_an_empty_mask_is_zero_and_unlike_all(self) -> None:
        features = features_of(np.random.default_rng(0).normal(size=(3, 8, 8)))
        got = describe(features, torch.full((1, 1, 16, 16), -1.0))
        assert not got.any()
        assert distances(got, got) == pytest.approx(1)

    def test_the_window_most_like_an_object_lies_on_it(self) -> None:
        random = np.random.default_rng(0)
        level_chw = random.normal(0, 1, (4, 20, 20))
        level_chw[:, 6:12, 10:16] += np.array([5, -4, 3, 6])[:, None, None]
        features = features_of(level_chw)
        logits = torch.full((1, 1, 40, 40), -1.0)
        logits[..., 12:24, 20:32] = 1.0
        windows = describe_windows(features, side=0.3)
        near_q = distances(describe(features, logits), windows.descriptors_qd)[0]
        assert windows.centres_q2[near_q.argmin()] == pytest.approx([13 / 20, 9 / 20], abs=0.05)
