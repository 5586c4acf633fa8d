from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmed.preprocess.labels import nearest

IDENTITY = np.eye(4)[:3]
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_the_same_grid_changes_nothing(labels):
    assert np.array_equal(nearest(labels, IDENTITY, labels.shape), labels)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_turning_and_mirroring_move_every_voxel_to_its_place(labels, axes, mirrored):
    turned = labels.transpose(axes)
    turned = turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in mirrored)]
    matrix = np.zeros((3, 4))
    for out, (axis, flip) in enumerate(zip(axes, mirrored, strict=True)):
        matrix[axis, out] = -1 if flip else 1
        matrix[axis, 3] = labels.shape[axis] - 1 if flip else 0
    assert np.array_equal(nearest(labels, matrix, turned.shape), turned)


def test_beyond_the_mask_is_background_and_half_a_voxel_still_belongs_to_it():
    labels = np.full((1, 1, 2), 7, np.uint8)
    halves = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, -1.0]])
    # at -1, -0.5, 0, 0.5, 1, 1.5: a tie goes up
    assert nearest(labels, halves, (1, 1, 6)).ravel().tolist() == [0, 7, 7, 7, 7, 0]


@given(arrays(np.uint8, (4, 4, 4), elements=st.sampled_from([0, 3, 9])), st.floats(0.2, 3), st.floats(-2, 2))
def test_only_classes_that_were_there_come_out(labels, step, start):
    matrix = np.hstack([np.eye(3) * step, np.full((3, 1), start)])
    assert set(np.unique(nearest(labels, matrix, (5, 5, 5)))) <= {0, *np.unique(labels)}
