"""ONNX files in ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.errors import ModelError
from tracker.extras import import_extra


class OnnxFile:
    """A network in an ONNX file, on the CPU, or on CUDA where that package of ONNX Runtime is here.

    Attributes:
        path: The file.
        input_shapes: Shape of each input by name; None or a name where it varies.
    """

    def __init__(self, path: Path, device: torch.device, *, who: str) -> None:
        """Load `path`; `who` is the model's name in errors.

        Raises:
            UsageError: ONNX Runtime is not installed.
            ModelError: The file is no ONNX model, or cannot be run.
        """
        runtime = import_extra("onnxruntime", extra="onnx", who=who)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
        providers = [name for name in wanted if name in runtime.get_available_providers()]
        try:
            self._session: Any = runtime.InferenceSession(
                str(path), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(
                f"{path} cannot be loaded as an ONNX model: {_first_line(error)}",
                f"give the ONNX file of {who}",
            ) from error
        self.path = path
        self._who = who
        self.input_shapes: dict[str, list[Any]] = {
            item.name: list(item.shape) for item in self._session.get_inputs()
        }

    def require(self, inputs: Sequence[str], outputs: int) -> None:
        """Check that the file takes these inputs and gives so many outputs at least.

        Raises:
            ModelError: It is the file of another model.
        """
        given = len(self._session.get_outputs())
        if not set(inputs) <= set(self.input_shapes) or given < outputs:
            raise ModelError(
                f"{self.path} is no {self._who}: it takes {', '.join(self.input_shapes)} and gives "
                f"{given} outputs, not {', '.join(inputs)} and {outputs}",
                f"give the ONNX file of {self._who}",
            )

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs.

        Raises:
            ModelError: The network refuses the inputs.
        """
        try:
            found: list[NDArray[np.float32]] = self._session.run(None, dict(inputs))
        except Exception as error:
            raise ModelError(
                f"{self.path} cannot be run: {_first_line(error)}",
                f"give the ONNX file of {self._who}",
            ) from error
        return found


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
