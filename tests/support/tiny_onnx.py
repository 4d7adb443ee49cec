"""ONNX files of a few nodes with the inputs and outputs of real segmenters."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
_OPSET = 18


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list]],
    outputs: dict[str, list],
    constants: dict[str, NDArray],
) -> Path:
    """Write a graph; inputs are name → element type and shape, outputs name → shape."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def efficient_sam(folder: Path) -> Path:
    """The encoder gives the picture's red; the decoder discs around the mean of the points.

    Masks a = 0, 1, 2 have radii that grow; the second has the largest predicted IoU.
    """
    save(
        folder / "encoder.onnx",
        [helper.make_node("Slice", ["batched_images", "zero", "one", "axis"], ["embedding"])],
        {"batched_images": (FLOAT, [1, 3, "height", "width"])},
        {"embedding": [1, 1, "height", "width"]},
        {"zero": np.array([0]), "one": np.array([1]), "axis": np.array([1])},
    )
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["batched_point_coords", "axis2"], ["centre"]),  # [1, 1, 1, 2]
        node("Split", ["centre", "halves"], ["x_", "y_"], axis=3),
        node("Gather", ["orig_im_size", "i0"], ["h"]),
        node("Gather", ["orig_im_size", "i1"], ["w"]),
        node("Range", ["i0", "h", "i1"], ["rows"]),
        node("Range", ["i0", "w", "i1"], ["columns"]),
        node("Cast", ["rows"], ["rows_f"], to=FLOAT),
        node("Cast", ["columns"], ["columns_f"], to=FLOAT),
        node("Unsqueeze", ["rows_f", "axes_rows"], ["y"]),  # [1, 1, h, 1]
        node("Unsqueeze", ["columns_f", "axes_columns"], ["x"]),  # [1, 1, 1, w]
        node("Sub", ["x", "x_"], ["dx"]),
        node("Sub", ["y", "y_"], ["dy"]),
        node("Mul", ["dx", "dx"], ["dx2"]),
        node("Mul", ["dy", "dy"], ["dy2"]),
        node("Add", ["dx2", "dy2"], ["d2"]),
        node("Unsqueeze", ["d2", "axis2"], ["d2_"]),  # [1, 1, 1, h, w]
        node("Sub", ["radii2", "d2_"], ["masks"]),
        node("ReduceMean", ["image_embeddings", "all_axes"], ["brightness"]),
        node("Squeeze", ["brightness"], ["brightness_"]),
        node("Add", ["ious_0", "brightness_"], ["ious"]),
        node("Identity", ["masks"], ["low"]),
    ]
    radii2 = np.array([4.0, 64.0, 400.0], np.float32).reshape(1, 1, 3, 1, 1)
    save(
        folder / "decoder.onnx",
        nodes,
        {
            "image_embeddings": (FLOAT, [1, 1, "eh", "ew"]),
            "batched_point_coords": (FLOAT, [1, 1, "points", 2]),
            "batched_point_labels": (FLOAT, [1, 1, "points"]),
            "orig_im_size": (TensorProto.INT64, [2]),
        },
        {"masks": [1, 1, 3, "h", "w"], "ious": [1, 1, 3], "low": [1, 1, 3, "h", "w"]},
        {
            "axis2": np.array([2]),
            "halves": np.array([1, 1]),
            "i0": np.array(0),
            "i1": np.array(1),
            "axes_rows": np.array([0, 1, 3]),
            "axes_columns": np.array([0, 1, 2]),
            "all_axes": np.array([0, 1, 2, 3]),
            "radii2": radii2,
            "ious_0": np.array([0.1, 0.5, 0.3], np.float32).reshape(1, 1, 3),
        },
    )
    return folder


def fast_sam(path: Path, detections_ck: NDArray, prototypes_mhw: NDArray, side: int) -> Path:
    """Gives these detections [5 + m, K] and prototypes [m, h, w] whatever the picture."""
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["images"], ["mean"], keepdims=0),
        node("Mul", ["mean", "nothing"], ["zero"]),
        node("Add", ["detections", "zero"], ["output0"]),
        node("Add", ["prototypes", "zero"], ["output1"]),
    ]
    return save(
        path,
        nodes,
        {"images": (FLOAT, [1, 3, side, side])},
        {
            "output0": [1, *detections_ck.shape],
            "output1": [1, *prototypes_mhw.shape],
        },
        {
            "nothing": np.array(0, np.float32),
            "detections": detections_ck[None].astype(np.float32),
            "prototypes": prototypes_mhw[None].astype(np.float32),
        },
    )
