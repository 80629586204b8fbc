"""Claims, one module each: what is claimed, the command, the minutes, the number."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import allconv  # noqa: F401, before TensorFlow, whose kernels it chooses

HERE = Path(__file__).parent
TABLES, FIGURES = HERE / "tables", HERE / "figures"
RECORDS = HERE.parent / "records"
