"""int8: every constant matrix of a streaming graph in 8-bit blocks, with int8 arithmetic on rows of their own scale.

Rows keep their own scale, so the decoder's two sets of latents do not disturb each other.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx

BLOCK = 32
INT8_ARITHMETIC = 4  # MatMulNBits' accuracy_level


def quantize_int8(source: Path, target: Path) -> None:
    """Replace the matrix products of `source` by 8-bit ones (com.microsoft.MatMulNBits)."""
    logging.disable(logging.INFO)  # the quantiser reports every node
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

            config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_ARITHMETIC, bits=8)
            quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
            quantizer.process()
            quantizer.model.save_model_to_file(str(target))
    finally:
        logging.disable(logging.NOTSET)
